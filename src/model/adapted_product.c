/*
 * Matrix products of the pass with the adapters in use.
 *
 * After the product with W itself, each adapter in the order given adds to a row y of the output
 *     low = A x,   add = B low,   y = y + c * add,
 * with the two products those of kernels/matmul.h for the dtypes of A and B, and c, the factor, a float;
 * product and sum of the last step are rounded each. A row depends on its own input alone, as everywhere.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "model/forward_state.h"

#include <string.h>

static const struct mlt_low_rank *low_rank(const millet_adapter *adapter, int32_t layer,
                                           enum mlt_adapter_slot slot)
{
    return slot == MLT_SLOT_OUTPUT ? &adapter->output : &adapter->layers[layer][slot];
}

/* Floats of `adapter_add`: rows of the output that are computed together stay in a cache. */
enum { ADD_FLOATS = 1 << 17 };

struct mlt_adapter_room mlt_adapter_room(const struct mlt_forward_options *o)
{
    struct mlt_adapter_room room = {0};
    for (int32_t i = 0; i < o->n_adapters; i++) {
        const millet_adapter *adapter = o->adapters[i].adapter;
        room.rank = MLT_MAX(room.rank, adapter->max_rank);
        room.add = MLT_MAX(room.add, MLT_MAX(adapter->max_rows, (int64_t)ADD_FLOATS));
    }
    return room;
}

/* What the threads add: rows of `width`, of the output and of the addition. */
struct addition {
    float *y;
    const float *add;
    int64_t ld, width, rows;
    float factor;
};

static void add_share(void *argument, int thread, int threads)
{
    const struct addition *s = argument;
    int64_t begin, end;
    mlt_thread_share(s->width, MLT_ALIGNMENT / (int64_t)sizeof(float), thread, threads, &begin, &end);
    for (int64_t row = 0; row < s->rows; row++) {
        float *y = s->y + row * s->ld;
        const float *add = s->add + row * s->width;
        for (int64_t i = begin; i < end; i++)
            y[i] += s->factor * add[i];
    }
}

static void add_product(struct mlt_forward *f, const struct mlt_low_rank *pair, const float *low,
                        float factor, const struct mlt_product *product)
{
    int64_t rank = pair->b.columns, width = pair->b.rows, step = MLT_MAX(f->adapter_room.add / width, 1);
    for (int64_t row = 0; row < f->rows; row += step) {
        int64_t rows = MLT_MIN(step, f->rows - row);
        struct mlt_product up = {&pair->b, NULL, f->adapter_add, width};
        mlt_matmul_run(&f->matmul, low + row * rank, rank, rows, &up, 1);
        struct addition s = {
            product->out + row * product->ld, f->adapter_add, product->ld, width, rows, factor};
        mlt_thread_pool_run(rows * width < MLT_WORTH_SHARING ? NULL : f->pool, add_share, &s);
    }
}

void mlt_adapted_products(struct mlt_forward *f, const float *x, int64_t ldx,
                          const struct mlt_product *products, const enum mlt_adapter_slot *slots, int n)
{
    mlt_matmul_run(&f->matmul, x, ldx, f->rows, products, n);
    for (int32_t i = 0; i < f->options.n_adapters; i++) {
        const millet_adapter_use *use = &f->adapters[i];
        const struct mlt_low_rank *pairs[MLT_ADAPTED_PRODUCTS];
        struct mlt_product down[MLT_ADAPTED_PRODUCTS];
        int which[MLT_ADAPTED_PRODUCTS], count = 0;
        for (int p = 0; p < n && use->scale != 0; p++) {
            const struct mlt_low_rank *pair = low_rank(use->adapter, f->layer, slots[p]);
            if (!pair->a.data) continue;
            float *low = f->adapter_low + (int64_t)count * f->options.n_batch * f->adapter_room.rank;
            pairs[count] = pair;
            which[count] = p;
            down[count++] = (struct mlt_product){&pair->a, NULL, low, pair->a.rows};
        }
        mlt_matmul_run(&f->matmul, x, ldx, f->rows, down, count);
        for (int p = 0; p < count; p++)
            add_product(f, pairs[p], down[p].out,
                        mlt_adapter_factor(use->adapter->file.alpha, pairs[p]->b.columns, use->scale),
                        &products[which[p]]);
    }
}
