/* Finding the matrices that an adapter is for. SPDX-License-Identifier: Apache-2.0 */
#include "model/adapter.h"

#include <stdio.h>
#include <string.h>

static struct mlt_matrix matrix_of(const struct mlt_tensor *tensor)
{
    return (struct mlt_matrix){tensor->data, tensor->row_bytes, tensor->ne[1], tensor->ne[0], tensor->dtype};
}

/* The adapter of rows [first, first + rows) of the matrix. */
static struct mlt_low_rank part(const struct mlt_adapter_pair *pair, int64_t first, int64_t rows)
{
    struct mlt_low_rank low = {matrix_of(pair->a), matrix_of(pair->b)};
    low.b.data += (uint64_t)first * low.b.row_bytes;
    low.b.rows = rows;
    return low;
}

static struct mlt_low_rank whole(const struct mlt_adapter_pair *pair)
{
    return part(pair, 0, pair->b->ne[1]);
}

/* "attn_q.weight" and so on to the slots of a layer; false where the pass has no such matrix. */
static bool place(const struct mlt_config *c, const char *suffix, const struct mlt_adapter_pair *pair,
                  struct mlt_low_rank slots[MLT_LAYER_SLOTS])
{
    static const struct {
        const char *suffix;
        enum mlt_adapter_slot slot;
    } plain[] = {
        {"attn_q.weight", MLT_SLOT_Q},      {"attn_k.weight", MLT_SLOT_K},
        {"attn_v.weight", MLT_SLOT_V},      {"attn_output.weight", MLT_SLOT_O},
        {"ffn_gate.weight", MLT_SLOT_GATE}, {"ffn_up.weight", MLT_SLOT_UP},
        {"ffn_down.weight", MLT_SLOT_DOWN},
    };
    int64_t nq = (int64_t)c->n_heads * c->head_size, nk = (int64_t)c->n_kv_heads * c->head_size;
    int64_t rows = pair->b->ne[1], n_ff = c->n_ff;
    if (strcmp(suffix, "attn_qkv.weight") == 0) { /* the shapes of both are those of the model */
        slots[MLT_SLOT_Q] = part(pair, 0, nq);
        slots[MLT_SLOT_K] = part(pair, nq, nk);
        slots[MLT_SLOT_V] = part(pair, nq + nk, rows - nq - nk);
        return true;
    }
    if (strcmp(suffix, "ffn_up.weight") == 0 && c->gated && rows == 2 * n_ff) {
        slots[MLT_SLOT_GATE] = part(pair, 0, n_ff);
        slots[MLT_SLOT_UP] = part(pair, n_ff, n_ff);
        return true;
    }
    for (size_t i = 0; i < MLT_COUNT(plain); i++) {
        if (strcmp(suffix, plain[i].suffix) != 0) continue;
        slots[plain[i].slot] = whole(pair);
        return true;
    }
    return false;
}

static millet_status bind(millet_adapter *adapter, const struct mlt_adapter_pair *pair, millet_error *err)
{
    const struct mlt_config *c = &adapter->model->config;
    const char *name = pair->target->name.data;
    int32_t layer;
    int length = 0;
    bool known = false;
    if (strcmp(name, "output.weight") == 0) {
        adapter->output = whole(pair);
        known = true;
    } else if (sscanf(name, "blk.%9d.%n", &layer, &length) == 1 && length && layer >= 0 &&
               layer < c->n_layers) {
        known = place(c, name + length, pair, adapter->layers[layer]);
    }
    if (!known)
        return mlt_fail_at(err, MILLET_UNSUPPORTED, pair->a->file, pair->a->name.data, pair->a->offset,
                           "adapters are for matrices of attention and feed-forward, and the output matrix");
    adapter->max_rank = MLT_MAX(adapter->max_rank, mlt_adapter_rank(pair));
    adapter->max_rows = MLT_MAX(adapter->max_rows, pair->b->ne[1]);
    return MILLET_OK;
}

static millet_status fill(millet_adapter *adapter, millet_error *err)
{
    const millet_model *model = adapter->model;
    size_t n = (size_t)model->config.n_layers;
    MLT_TRY(
        mlt_adapter_file_read(adapter->checkpoint, model->checkpoint, &adapter->arena, &adapter->file, err));
    adapter->layers = mlt_arena_alloc(&adapter->arena, n, sizeof *adapter->layers, err);
    if (!adapter->layers) return MILLET_NO_MEMORY;
    memset(adapter->layers, 0, n * sizeof *adapter->layers);
    for (size_t i = 0; i < adapter->file.n_pairs; i++)
        MLT_TRY(bind(adapter, &adapter->file.pairs[i], err));
    return MILLET_OK;
}

millet_status mlt_adapter_from_checkpoint(const millet_model *model, struct mlt_checkpoint *checkpoint,
                                          millet_adapter **out, millet_error *err)
{
    *out = NULL;
    millet_adapter *adapter = mlt_alloc_zero(&model->allocator, 1, sizeof *adapter, err);
    if (!adapter) {
        mlt_checkpoint_close(&checkpoint);
        return MILLET_NO_MEMORY;
    }
    adapter->allocator = model->allocator;
    adapter->model = model;
    adapter->checkpoint = checkpoint;
    mlt_arena_init(&adapter->arena, &model->allocator);
    millet_status status = fill(adapter, err);
    if (status != MILLET_OK) {
        mlt_error_in_file(err, checkpoint->path);
        millet_adapter_close(&adapter);
        return status;
    }
    *out = adapter;
    return MILLET_OK;
}

millet_status millet_adapter_open(const millet_model *model, const char *path, millet_adapter **adapter,
                                  millet_error *err)
{
    *adapter = NULL;
    struct mlt_checkpoint *checkpoint = NULL;
    MLT_TRY(mlt_checkpoint_open(&model->allocator, path, NULL, &checkpoint, err));
    return mlt_adapter_from_checkpoint(model, checkpoint, adapter, err);
}

void millet_adapter_close(millet_adapter **handle)
{
    millet_adapter *adapter = *handle;
    if (!adapter) return;
    millet_allocator allocator = adapter->allocator;
    mlt_arena_release(&adapter->arena);
    mlt_checkpoint_close(&adapter->checkpoint);
    mlt_free(&allocator, adapter);
    *handle = NULL;
}

void millet_adapter_get_info(const millet_adapter *adapter, millet_adapter_info *info)
{
    *info = (millet_adapter_info){.path = adapter->checkpoint->path,
                                  .alpha = adapter->file.alpha,
                                  .rank = (int32_t)MLT_MIN(adapter->max_rank, (int64_t)INT32_MAX),
                                  .n_matrices = adapter->file.n_pairs,
                                  .bytes = adapter->file.bytes};
    for (size_t i = 0; i < adapter->file.n_pairs; i++) {
        const struct mlt_adapter_pair *pair = &adapter->file.pairs[i];
        info->parameters += (uint64_t)((pair->a->ne[0] + pair->b->ne[1]) * mlt_adapter_rank(pair));
    }
}
