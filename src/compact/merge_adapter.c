/* SPDX-License-Identifier: Apache-2.0 */
#include "compact/merge_adapter.h"

#include <math.h>

/* Of a merged tensor: what it was, and what is added. */
struct merged {
    const millet_allocator *allocator;
    struct mlt_tensor original;
    struct mlt_adapter_pair pair;
    float factor;
};

/* A row of B, and for a row of A. */
struct buffers {
    uint8_t *bytes; /* of the widest row, in its dtype */
    float *b, *a;
};

static millet_status read_row(const struct mlt_tensor *tensor, uint64_t row, struct buffers *buffers,
                              float *out, millet_error *err)
{
    MLT_TRY(mlt_tensor_read(tensor, row, 1, buffers->bytes, err));
    mlt_decode(tensor->dtype, buffers->bytes, out, tensor->ne[0]);
    return MILLET_OK;
}

static millet_status merge_row(const struct merged *m, uint64_t row, struct buffers *buffers, float *out,
                               millet_error *err)
{
    MLT_TRY(read_row(&m->original, row, buffers, out, err));
    MLT_TRY(read_row(m->pair.b, row, buffers, buffers->b, err));
    for (int64_t k = 0; k < mlt_adapter_rank(&m->pair); k++) {
        MLT_TRY(read_row(m->pair.a, (uint64_t)k, buffers, buffers->a, err));
        float factor = m->factor * buffers->b[k];
        for (int64_t i = 0; i < m->original.ne[0]; i++)
            out[i] += factor * buffers->a[i];
    }
    return MILLET_OK;
}

static millet_status read_merged(const struct mlt_tensor *tensor, uint64_t row, uint64_t rows, void *out,
                                 millet_error *err)
{
    const struct merged *m = tensor->source;
    uint64_t widest = MLT_MAX(MLT_MAX(m->original.row_bytes, m->pair.a->row_bytes), m->pair.b->row_bytes);
    struct buffers buffers = {
        .bytes = mlt_alloc(m->allocator, (size_t)widest, 1, err),
        .a = mlt_alloc(m->allocator, (size_t)tensor->ne[0], sizeof(float), err),
        .b = mlt_alloc(m->allocator, (size_t)mlt_adapter_rank(&m->pair), sizeof(float), err),
    };
    millet_status status = buffers.bytes && buffers.a && buffers.b ? MILLET_OK : MILLET_NO_MEMORY;
    for (uint64_t r = 0; status == MILLET_OK && r < rows; r++)
        status = merge_row(m, row + r, &buffers, (float *)out + r * (uint64_t)tensor->ne[0], err);
    mlt_free(m->allocator, buffers.bytes);
    mlt_free(m->allocator, buffers.a);
    mlt_free(m->allocator, buffers.b);
    return status;
}

millet_status mlt_merge_adapter(struct mlt_checkpoint *base, const struct mlt_adapter_file *adapter,
                                float scale, millet_error *err)
{
    if (!isfinite(scale))
        return mlt_fail_at(err, MILLET_BAD_ARGUMENT, adapter->pairs[0].a->file, "scale", MILLET_NO_OFFSET,
                           "it is not a finite number");
    for (size_t i = 0; i < adapter->n_pairs; i++) {
        const struct mlt_adapter_pair *pair = &adapter->pairs[i];
        struct mlt_tensor *tensor = &base->tensors[pair->target - base->tensors];
        struct merged *m = mlt_arena_alloc(&base->arena, 1, sizeof *m, err);
        if (!m) return MILLET_NO_MEMORY;
        *m = (struct merged){&base->allocator, *tensor, *pair,
                             mlt_adapter_factor(adapter->alpha, mlt_adapter_rank(pair), scale)};
        tensor->dtype = MLT_F32;
        tensor->row_bytes = (uint64_t)tensor->ne[0] * sizeof(float);
        tensor->bytes = tensor->row_bytes * tensor->rows;
        tensor->data = NULL;
        tensor->read = read_merged;
        tensor->source = m;
    }
    return MILLET_OK;
}
