/*
 * The machine's limits: how fast memory is read and how fast multiply-adds go, on as many threads as the
 * model will run on. What speed is compared with.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "base/clock.h"
#include "base/thread_pool.h"
#include "kernels/kernels.h"
#include "measure/measure.h"

#include <string.h>

enum { TRIES = 5 };

/* Enough that no cache holds it. */
#define READ_BYTES ((uint64_t)256 << 20)

struct trial {
    const struct mlt_kernels *kernels;
    const uint64_t *data; /* READ_BYTES */
    int64_t rounds;
    double operations[MLT_MAX_THREADS];
    volatile uint64_t sink[MLT_MAX_THREADS];
};

static void read_task(void *argument, int thread, int threads)
{
    struct trial *trial = argument;
    int64_t begin, end;
    mlt_thread_share((int64_t)(READ_BYTES / sizeof(uint64_t)), 64, thread, threads, &begin, &end);
    /* Eight sums, so that the loop waits for memory and for nothing else. */
    uint64_t sum[8] = {0};
    for (const uint64_t *p = trial->data + begin; p + 8 <= trial->data + end; p += 8) {
        __builtin_prefetch(p + 256);
        for (int i = 0; i < 8; i++)
            sum[i] += p[i];
    }
    trial->sink[thread] = sum[0] + sum[1] + sum[2] + sum[3] + sum[4] + sum[5] + sum[6] + sum[7];
}

static void int8_task(void *argument, int thread, int threads)
{
    (void)threads;
    struct trial *trial = argument;
    trial->operations[thread] = trial->kernels->peak_int8(trial->rounds);
}

static void f32_task(void *argument, int thread, int threads)
{
    (void)threads;
    struct trial *trial = argument;
    trial->operations[thread] = trial->kernels->peak_f32(trial->rounds);
}

/* The best of several tries: limits are what is possible, so the fastest counts. In operations a second. */
static double peak(struct mlt_thread_pool *pool, mlt_task *task, struct trial *trial)
{
    double best = 0;
    trial->rounds = 64;
    for (int i = 0; i < TRIES;) {
        double began = mlt_clock_seconds();
        mlt_thread_pool_run(pool, task, trial);
        double seconds = mlt_clock_seconds() - began, operations = 0;
        if (seconds < 0.02) { /* too short to time */
            trial->rounds *= 2;
            continue;
        }
        for (int t = 0; t < mlt_thread_pool_size(pool); t++)
            operations += trial->operations[t];
        best = MLT_MAX(best, operations / seconds);
        i++;
    }
    return best;
}

millet_status millet_machine_measure(int32_t n_threads, millet_machine *machine, millet_error *err)
{
    const millet_allocator *allocator = mlt_default_allocator();
    struct mlt_thread_pool *pool = NULL;
    MLT_TRY(mlt_thread_pool_open(allocator, n_threads, &pool, err));
    uint64_t *data = mlt_alloc(allocator, READ_BYTES, 1, err);
    struct trial *trial = mlt_alloc_zero(allocator, 1, sizeof *trial, err);
    millet_status status = data && trial ? MILLET_OK : MILLET_NO_MEMORY;
    if (status == MILLET_OK) {
        memset(data, 1, READ_BYTES); /* real pages */
        trial->data = data;
        trial->kernels = mlt_kernels_default();
        double fastest = 1e30;
        for (int i = 0; i < TRIES; i++) {
            double began = mlt_clock_seconds();
            mlt_thread_pool_run(pool, read_task, trial);
            fastest = MLT_MIN(fastest, mlt_clock_seconds() - began);
        }
        *machine = (millet_machine){.cpu = mlt_cpu_tier_name(trial->kernels->cpu),
                                    .n_threads = mlt_thread_pool_size(pool),
                                    .read_bytes_per_second = (double)READ_BYTES / fastest,
                                    .int8_operations_per_second = peak(pool, int8_task, trial),
                                    .f32_operations_per_second = peak(pool, f32_task, trial)};
    }
    mlt_free(allocator, trial);
    mlt_free(allocator, data);
    mlt_thread_pool_close(&pool);
    return status;
}
