/*
 * Threads wait for work by spinning for a short while and then sleeping on a condition variable: products of
 * one token follow each other within microseconds, but a pool that is idle must cost nothing.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#define _GNU_SOURCE
#include "base/thread_pool.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <unistd.h>

/* About 20 microseconds of looking before sleeping. */
enum { SPINS = 4000 };

struct mlt_thread_pool {
    millet_allocator allocator;
    int threads;
    mlt_task *task;
    void *argument;
    _Alignas(64) atomic_uint generation; /* grows by one for each run */
    _Alignas(64) atomic_int unfinished;  /* workers still busy with this run */
    _Alignas(64) atomic_int sleepers;    /* workers on the condition variable */
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    bool stop;
    pthread_t handles[MLT_MAX_THREADS];
    struct worker {
        struct mlt_thread_pool *pool;
        int index;
    } workers[MLT_MAX_THREADS];
};

int mlt_cpu_count(void)
{
    cpu_set_t set;
    int count = 0;
    if (sched_getaffinity(0, sizeof set, &set) == 0) count = CPU_COUNT(&set);
    if (count < 1) count = (int)sysconf(_SC_NPROCESSORS_ONLN);
    return count < 1 ? 1 : count > MLT_MAX_THREADS ? MLT_MAX_THREADS : count;
}

static void pause_cpu(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static void *work(void *context)
{
    struct worker *worker = context;
    struct mlt_thread_pool *pool = worker->pool;
    unsigned seen = 0;
    for (;;) {
        for (int i = 0; i < SPINS && atomic_load_explicit(&pool->generation, memory_order_acquire) == seen;
             i++)
            pause_cpu();
        if (atomic_load_explicit(&pool->generation, memory_order_acquire) == seen) {
            pthread_mutex_lock(&pool->mutex);
            atomic_fetch_add(&pool->sleepers, 1);
            while (atomic_load(&pool->generation) == seen)
                pthread_cond_wait(&pool->wake, &pool->mutex);
            atomic_fetch_sub(&pool->sleepers, 1);
            pthread_mutex_unlock(&pool->mutex);
        }
        seen++;
        if (pool->stop) return NULL;
        pool->task(pool->argument, worker->index, pool->threads);
        atomic_fetch_sub_explicit(&pool->unfinished, 1, memory_order_release);
    }
}

/* Publishes a run (or the stop) to the workers. */
static void announce(struct mlt_thread_pool *pool)
{
    atomic_store_explicit(&pool->unfinished, pool->threads - 1, memory_order_relaxed);
    atomic_fetch_add(&pool->generation, 1);
    /* Sequentially consistent with the worker's increment of sleepers before it looks at generation again. */
    if (atomic_load(&pool->sleepers) > 0) {
        pthread_mutex_lock(&pool->mutex);
        pthread_cond_broadcast(&pool->wake);
        pthread_mutex_unlock(&pool->mutex);
    }
}

uint64_t mlt_thread_pool_bytes(void)
{
    return sizeof(struct mlt_thread_pool);
}

millet_status mlt_thread_pool_open(const millet_allocator *allocator, int threads,
                                   struct mlt_thread_pool **out, millet_error *err)
{
    *out = NULL;
    if (threads == 0) threads = mlt_cpu_count();
    if (threads < 1 || threads > MLT_MAX_THREADS)
        return mlt_fail(err, MILLET_BAD_ARGUMENT, "%d threads; 1 to %d are possible", threads,
                        MLT_MAX_THREADS);
    struct mlt_thread_pool *pool = mlt_alloc_zero(allocator, 1, sizeof *pool, err);
    if (!pool) return MILLET_NO_MEMORY;
    pool->allocator = *allocator;
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->wake, NULL);
    pool->threads = 1;
    for (int i = 1; i < threads; i++) {
        pool->workers[i] = (struct worker){pool, i};
        if (pthread_create(&pool->handles[i], NULL, work, &pool->workers[i]) != 0) {
            mlt_thread_pool_close(&pool);
            return mlt_fail(err, MILLET_NO_MEMORY, "the system gave %d of %d threads; ask for fewer", i,
                            threads);
        }
        pool->threads = i + 1;
    }
    *out = pool;
    return MILLET_OK;
}

void mlt_thread_pool_close(struct mlt_thread_pool **handle)
{
    struct mlt_thread_pool *pool = *handle;
    if (!pool) return;
    pool->stop = true;
    announce(pool);
    for (int i = 1; i < pool->threads; i++)
        pthread_join(pool->handles[i], NULL);
    pthread_cond_destroy(&pool->wake);
    pthread_mutex_destroy(&pool->mutex);
    millet_allocator allocator = pool->allocator;
    mlt_free(&allocator, pool);
    *handle = NULL;
}

int mlt_thread_pool_size(const struct mlt_thread_pool *pool)
{
    return pool ? pool->threads : 1;
}

void mlt_thread_pool_run(struct mlt_thread_pool *pool, mlt_task *task, void *argument)
{
    if (!pool || pool->threads == 1) {
        task(argument, 0, 1);
        return;
    }
    pool->task = task;
    pool->argument = argument;
    announce(pool);
    task(argument, 0, pool->threads);
    for (int spins = 0; atomic_load_explicit(&pool->unfinished, memory_order_acquire) > 0; spins++) {
        if (spins < SPINS)
            pause_cpu();
        else
            sched_yield(); /* a worker has lost its CPU to another process: let it run */
    }
}

void mlt_thread_share(int64_t count, int64_t grain, int thread, int threads, int64_t *begin, int64_t *end)
{
    int64_t grains = (count + grain - 1) / grain;
    *begin = MLT_MIN(grains * thread / threads * grain, count);
    *end = MLT_MIN(grains * (thread + 1) / threads * grain, count);
}
