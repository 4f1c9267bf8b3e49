/*
 * A run has one share for each thread. Shares are claimed, not dealt out: the caller works on the first and
 * then on those that nobody has claimed, so it waits only for threads that are at work. A thread that has
 * lost its CPU to another process, or sleeps, is not waited for.
 *
 * Who waits looks for a few microseconds, since products of one token follow each other that fast, and then
 * sleeps: an idle pool costs nothing, and a thread that shares its CPU with the one it waits for gives way.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#define _GNU_SOURCE
#include "base/thread_pool.h"

#include "base/clock.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <unistd.h>

#define LOOK_SECONDS 40e-6
/*
 * A thread gives way that often, between two shares. Where it has its CPU for itself this costs nothing;
 * where it has not, its turn ends at a time at which nobody waits for it, before the system ends it in the
 * middle of a share.
 */
#define TURN_SECONDS 1e-3

struct mlt_thread_pool {
    millet_allocator allocator;
    int threads;
    mlt_task *task;
    void *argument;
    _Alignas(64) atomic_ullong claims;  /* number of the run << 16 | next share to claim */
    _Alignas(64) atomic_int unfinished; /* shares, but for the caller's first, that are not done */
    _Alignas(64) atomic_int sleepers;   /* workers on `wake` */
    atomic_bool caller_sleeps;
    atomic_bool stop;
    pthread_mutex_t mutex;
    pthread_cond_t wake, done;
    pthread_t handles[MLT_MAX_THREADS];
};

enum { SHARE_BITS = 16, SHARE_MASK = (1 << SHARE_BITS) - 1 };

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

/* Looks until `ready` or the time is over; true when ready. */
typedef bool ready_test(const struct mlt_thread_pool *pool);

static bool look(const struct mlt_thread_pool *pool, ready_test *ready)
{
    enum { LOOKS_A_TIME = 64 };
    for (double start = 0;;) {
        for (int i = 0; i < LOOKS_A_TIME; i++) {
            if (ready(pool)) return true;
            pause_cpu();
        }
        double now = mlt_clock_seconds();
        if (start == 0) start = now;
        if (now - start > LOOK_SECONDS) return false;
    }
}

/* The next share of the run at hand, or -1. */
static int claim(struct mlt_thread_pool *pool)
{
    unsigned long long claims = atomic_load_explicit(&pool->claims, memory_order_acquire);
    for (;;) {
        int share = (int)(claims & SHARE_MASK);
        if (share >= pool->threads) return -1;
        /* A new run has another number, so a claim of the old one cannot succeed by chance. */
        if (atomic_compare_exchange_weak_explicit(&pool->claims, &claims, claims + 1, memory_order_acq_rel,
                                                  memory_order_acquire))
            return share;
    }
}

static bool is_work(const struct mlt_thread_pool *pool)
{
    return (int)(atomic_load(&pool->claims) & SHARE_MASK) < pool->threads || atomic_load(&pool->stop);
}

static bool is_finished(const struct mlt_thread_pool *pool)
{
    return atomic_load(&pool->unfinished) == 0;
}

static void sleep_until_work(struct mlt_thread_pool *pool)
{
    pthread_mutex_lock(&pool->mutex);
    atomic_fetch_add(&pool->sleepers, 1);
    while (!is_work(pool))
        pthread_cond_wait(&pool->wake, &pool->mutex);
    atomic_fetch_sub(&pool->sleepers, 1);
    pthread_mutex_unlock(&pool->mutex);
}

static void finish_share(struct mlt_thread_pool *pool)
{
    if (atomic_fetch_sub(&pool->unfinished, 1) != 1) return;
    /* Sequentially consistent with the caller, which says that it sleeps before it looks a last time. */
    if (atomic_load(&pool->caller_sleeps)) {
        pthread_mutex_lock(&pool->mutex);
        pthread_cond_signal(&pool->done);
        pthread_mutex_unlock(&pool->mutex);
    }
}

static void *work(void *context)
{
    struct mlt_thread_pool *pool = context;
    double turn = mlt_clock_seconds();
    for (;;) {
        if (!look(pool, is_work)) {
            sleep_until_work(pool);
            turn = mlt_clock_seconds();
        }
        if (atomic_load(&pool->stop)) return NULL;
        for (int share; (share = claim(pool)) >= 0;) {
            pool->task(pool->argument, share, pool->threads);
            finish_share(pool);
        }
        double now = mlt_clock_seconds();
        if (now - turn > TURN_SECONDS) {
            sched_yield();
            turn = mlt_clock_seconds();
        }
    }
}

static void wake_sleepers(struct mlt_thread_pool *pool)
{
    /* Sequentially consistent with the worker's increment of sleepers before it looks a last time. */
    if (atomic_load(&pool->sleepers) == 0) return;
    pthread_mutex_lock(&pool->mutex);
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->mutex);
}

/* Ends the first `threads` threads, the caller's counted, and the pool. */
static void close_pool(struct mlt_thread_pool *pool, int threads)
{
    atomic_store(&pool->stop, true);
    wake_sleepers(pool);
    for (int i = 1; i < threads; i++)
        pthread_join(pool->handles[i], NULL);
    pthread_cond_destroy(&pool->wake);
    pthread_cond_destroy(&pool->done);
    pthread_mutex_destroy(&pool->mutex);
    millet_allocator allocator = pool->allocator;
    mlt_free(&allocator, pool);
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
    pthread_cond_init(&pool->done, NULL);
    atomic_store(&pool->claims, SHARE_MASK); /* none to claim */
    pool->threads = threads;
    for (int i = 1; i < threads; i++) {
        if (pthread_create(&pool->handles[i], NULL, work, pool) != 0) {
            close_pool(pool, i);
            return mlt_fail(err, MILLET_NO_MEMORY, "the system gave %d of %d threads; ask for fewer", i,
                            threads);
        }
    }
    *out = pool;
    return MILLET_OK;
}

void mlt_thread_pool_close(struct mlt_thread_pool **handle)
{
    struct mlt_thread_pool *pool = *handle;
    if (!pool) return;
    close_pool(pool, pool->threads);
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
    atomic_store(&pool->unfinished, pool->threads - 1);
    unsigned long long run = (atomic_load(&pool->claims) >> SHARE_BITS) + 1;
    atomic_store(&pool->claims, run << SHARE_BITS | 1); /* share 0 is the caller's */
    wake_sleepers(pool);
    task(argument, 0, pool->threads);
    for (int share; (share = claim(pool)) >= 0;) {
        task(argument, share, pool->threads);
        atomic_fetch_sub(&pool->unfinished, 1);
    }
    if (look(pool, is_finished)) return;
    pthread_mutex_lock(&pool->mutex);
    atomic_store(&pool->caller_sleeps, true);
    while (!is_finished(pool))
        pthread_cond_wait(&pool->done, &pool->mutex);
    atomic_store(&pool->caller_sleeps, false);
    pthread_mutex_unlock(&pool->mutex);
}

void mlt_thread_share(int64_t count, int64_t grain, int thread, int threads, int64_t *begin, int64_t *end)
{
    int64_t grains = (count + grain - 1) / grain;
    *begin = MLT_MIN(grains * thread / threads * grain, count);
    *end = MLT_MIN(grains * (thread + 1) / threads * grain, count);
}
