/*
 * A pool of threads that run one function together. A pool belongs to one context (a session, a quantiser)
 * and is used by one caller at a time.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_THREAD_POOL_H
#define MLT_THREAD_POOL_H

#include "base/memory.h"

struct mlt_thread_pool;

enum { MLT_MAX_THREADS = 256 };

/* Number of CPUs this process may use; at least 1. */
int mlt_cpu_count(void);

/*
 * Starts a pool of `threads` threads in all, the caller's included (1 starts none); 0 means mlt_cpu_count().
 * Errors: BAD_ARGUMENT, NO_MEMORY.
 */
millet_status mlt_thread_pool_open(const millet_allocator *allocator, int threads,
                                   struct mlt_thread_pool **out, millet_error *err);
/* Bytes that mlt_thread_pool_open takes from its allocator; stacks of the threads are the system's. */
uint64_t mlt_thread_pool_bytes(void);
void mlt_thread_pool_close(struct mlt_thread_pool **pool);
int mlt_thread_pool_size(const struct mlt_thread_pool *pool);

/*
 * Calls task(argument, share, threads) once for every share in [0, threads) and returns when all have
 * returned: share 0 on the caller, the others on the threads of the pool, or on the caller too where a thread
 * comes too late. Calls must not wait for each other. Writes made before the call are seen by all shares, and
 * theirs by the caller after it. A NULL pool runs the task on the caller alone.
 */
typedef void mlt_task(void *argument, int share, int threads);
void mlt_thread_pool_run(struct mlt_thread_pool *pool, mlt_task *task, void *argument);

/* The part [*begin, *end) of `count` items for one of `threads` threads, in multiples of `grain`; may be
 * empty. */
void mlt_thread_share(int64_t count, int64_t grain, int thread, int threads, int64_t *begin, int64_t *end);

#endif
