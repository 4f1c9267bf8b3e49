/* Work of a trainer shared by its threads. SPDX-License-Identifier: Apache-2.0 */
#include "train/workers.h"

#include <stdatomic.h>
#include <string.h>

/* A strip of the right matrix that is packed at a time: 16 MB, which a last-level cache holds. */
enum { STRIP_FLOATS = 1 << 22, WIDEST_PANEL = 32 };
/* Columns of a share of a product. */
enum { SHARE_COLUMNS = 2048 };

static void plan(const struct mlt_workers_shape *shape, int64_t *packed, int64_t *scratch)
{
    *packed = MLT_MAX((int64_t)STRIP_FLOATS, (int64_t)WIDEST_PANEL * shape->depth);
    *scratch = mlt_attention_scratch(shape->length, shape->head_size, shape->value_size);
    *scratch = (int64_t)mlt_round_up((uint64_t)*scratch, MLT_ALIGNMENT / sizeof(float));
}

uint64_t mlt_workers_bytes(const struct mlt_workers_shape *shape, int n_threads)
{
    int64_t packed, scratch;
    plan(shape, &packed, &scratch);
    return (uint64_t)(packed + scratch * n_threads) * sizeof(float) + mlt_thread_pool_bytes();
}

millet_status mlt_workers_open(struct mlt_workers *w, const millet_allocator *allocator,
                               const struct mlt_workers_shape *shape, int n_threads, millet_error *err)
{
    *w = (struct mlt_workers){.allocator = *allocator, .ops = mlt_ops_default(), .n_threads = n_threads};
    plan(shape, &w->packed_floats, &w->scratch_floats);
    w->packed = mlt_alloc(allocator, (size_t)w->packed_floats, sizeof(float), err);
    w->scratch = mlt_alloc(allocator, (size_t)w->scratch_floats * (size_t)n_threads, sizeof(float), err);
    millet_status status = w->packed && w->scratch ? MILLET_OK : MILLET_NO_MEMORY;
    if (status == MILLET_OK && n_threads > 1)
        status = mlt_thread_pool_open(allocator, n_threads, &w->pool, err);
    if (status != MILLET_OK) mlt_workers_close(w);
    return status;
}

void mlt_workers_close(struct mlt_workers *w)
{
    mlt_thread_pool_close(&w->pool);
    mlt_free(&w->allocator, w->packed);
    mlt_free(&w->allocator, w->scratch);
    w->packed = w->scratch = NULL;
}

/* ---- Items ---- */

struct items {
    struct mlt_workers *workers;
    int64_t count;
    mlt_item_task *task;
    const void *argument;
    atomic_llong next;
};

static void run_items(void *argument, int thread, int threads)
{
    (void)threads;
    struct items *s = argument;
    float *scratch = s->workers->scratch + s->workers->scratch_floats * thread;
    for (;;) {
        int64_t index = atomic_fetch_add_explicit(&s->next, 1, memory_order_relaxed);
        if (index >= s->count) return;
        s->task(s->argument, index, scratch);
    }
}

void mlt_for_items(struct mlt_workers *workers, int64_t count, mlt_item_task *task, const void *argument)
{
    struct items s = {.workers = workers, .count = count, .task = task, .argument = argument};
    atomic_init(&s.next, 0);
    mlt_thread_pool_run(count > 1 ? workers->pool : NULL, run_items, &s);
}

/* ---- Ranges ---- */

struct range {
    int64_t count, grain;
    mlt_range_task *task;
    const void *argument;
};

static void run_part(const void *argument, int64_t index, float *scratch)
{
    (void)scratch;
    const struct range *s = argument;
    s->task(s->argument, index * s->grain, MLT_MIN((index + 1) * s->grain, s->count));
}

void mlt_for_range(struct mlt_workers *workers, int64_t count, int64_t grain, mlt_range_task *task,
                   const void *argument)
{
    struct range s = {count, grain, task, argument};
    mlt_for_items(workers, (count + grain - 1) / grain, run_part, &s);
}

/* ---- Products ---- */

struct strip {
    struct mlt_workers *workers;
    struct mlt_operand a, b;
    int64_t rows, columns, depth, begin, end; /* of the strip: columns */
    int64_t row_parts, column_parts, part_rows;
    bool add;
    float *c;
    int64_t ldc;
};

static void pack_part(const void *argument, int64_t begin, int64_t end)
{
    const struct strip *s = argument;
    s->workers->ops->pack_right(&s->b, s->depth, s->columns, s->begin + begin, s->begin + end,
                                s->workers->packed + begin * s->depth);
}

static void multiply_part(const void *argument, int64_t index, float *scratch)
{
    const struct strip *s = argument;
    int64_t row = index / s->column_parts * s->part_rows, column = index % s->column_parts * SHARE_COLUMNS;
    s->workers->ops->multiply(&s->a, row, MLT_MIN(row + s->part_rows, s->rows),
                              s->workers->packed + column * s->depth, s->begin + column,
                              MLT_MIN(s->begin + column + SHARE_COLUMNS, s->end), s->depth, s->add, s->c,
                              s->ldc, scratch);
}

void mlt_product(struct mlt_workers *w, struct mlt_operand a, struct mlt_operand b, int64_t rows,
                 int64_t columns, int64_t depth, bool add, float *c, int64_t ldc)
{
    int64_t strip = w->packed_floats / depth / WIDEST_PANEL * WIDEST_PANEL;
    if (strip > SHARE_COLUMNS) strip = strip / SHARE_COLUMNS * SHARE_COLUMNS;
    struct strip s = {.workers = w,
                      .a = a,
                      .b = b,
                      .rows = rows,
                      .columns = columns,
                      .depth = depth,
                      .add = add,
                      .c = c,
                      .ldc = ldc};
    for (s.begin = 0; s.begin < columns; s.begin += strip) {
        s.end = MLT_MIN(s.begin + strip, columns);
        s.column_parts = (s.end - s.begin + SHARE_COLUMNS - 1) / SHARE_COLUMNS;
        /* Enough shares that a late thread holds nobody up, none so low that its panels are packed for
         * little. */
        s.part_rows = MLT_PRODUCT_ROWS;
        while (s.part_rows > 48 && (rows + s.part_rows - 1) / s.part_rows * s.column_parts < 4 * w->n_threads)
            s.part_rows /= 2;
        s.row_parts = (rows + s.part_rows - 1) / s.part_rows;
        mlt_for_range(w, s.end - s.begin, 4 * WIDEST_PANEL, pack_part, &s);
        mlt_for_items(w, s.row_parts * s.column_parts, multiply_part, &s);
    }
}
