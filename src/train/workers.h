/*
 * The threads of a trainer, and the operations of ops.h carried out by all of them together. Each call
 * returns when all is done. Which thread does which part never changes a result.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_WORKERS_H
#define MLT_WORKERS_H

#include "base/thread_pool.h"
#include "train/ops.h"

struct mlt_workers {
    millet_allocator allocator;
    const struct mlt_ops *ops;
    struct mlt_thread_pool *pool;
    int n_threads;
    float *packed; /* a strip of the right matrix */
    int64_t packed_floats;
    float *scratch; /* [n_threads][scratch_floats] */
    int64_t scratch_floats;
};

/* Sizes of what is shared: the deepest sum of any product, and the longest sequence with its head sizes. */
struct mlt_workers_shape {
    int64_t depth;
    int32_t length, head_size, value_size;
};

/* Bytes that mlt_workers_open takes. */
uint64_t mlt_workers_bytes(const struct mlt_workers_shape *shape, int n_threads);
/* n_threads >= 1. On failure nothing is held. */
millet_status mlt_workers_open(struct mlt_workers *workers, const millet_allocator *allocator,
                               const struct mlt_workers_shape *shape, int n_threads, millet_error *err);
void mlt_workers_close(struct mlt_workers *workers);

/* c[rows][columns] = or += a (rows x depth) . b (depth x columns); ld of c is ldc. */
void mlt_product(struct mlt_workers *workers, struct mlt_operand a, struct mlt_operand b, int64_t rows,
                 int64_t columns, int64_t depth, bool add, float *c, int64_t ldc);

/* Calls task(argument, begin, end) for parts of [0, count) in multiples of `grain`, on all threads. */
typedef void mlt_range_task(const void *argument, int64_t begin, int64_t end);
void mlt_for_range(struct mlt_workers *workers, int64_t count, int64_t grain, mlt_range_task *task,
                   const void *argument);

/* Calls task(argument, index, scratch) for every index in [0, count), each on the thread that is free, with
 * scratch_floats of memory. */
typedef void mlt_item_task(const void *argument, int64_t index, float *scratch);
void mlt_for_items(struct mlt_workers *workers, int64_t count, mlt_item_task *task, const void *argument);

#endif
