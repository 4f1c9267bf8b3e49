/* A decoder with random weights. SPDX-License-Identifier: Apache-2.0 */
#include "measure/plain_model.h"

#include "base/random.h"

#include <stdio.h>
#include <string.h>

struct builder {
    struct mlt_checkpoint *checkpoint;
    const float *values; /* of the largest matrix */
    millet_error *err;
};

static millet_status add_tensor(struct builder *b, const char *name, int64_t columns, int64_t rows)
{
    struct mlt_tensor tensor = {.name = {name, strlen(name)},
                                .dtype = rows > 1 ? MLT_Q8_0 : MLT_F32,
                                .n_dims = rows > 1 ? 2 : 1,
                                .ne = {columns, rows, 1, 1}};
    size_t row = mlt_dtype_row_bytes(tensor.dtype, columns);
    uint8_t *data = mlt_arena_alloc(&b->checkpoint->arena, (size_t)rows, row, b->err);
    if (!data) return MILLET_NO_MEMORY;
    mlt_encode(tensor.dtype, b->values, NULL, data, columns * rows);
    tensor.data = data;
    return mlt_checkpoint_add_tensor(b->checkpoint, &tensor, b->err);
}

static millet_status fill(struct builder *b, const struct mlt_plain_shape *s)
{
    int64_t width = s->n_embd, n_ff = 2 * width;
    const struct {
        const char *key;
        uint32_t value;
    } numbers[] = {
        {"llama.block_count", (uint32_t)s->n_layers},
        {"llama.context_length", (uint32_t)s->n_ctx},
        {"llama.embedding_length", (uint32_t)s->n_embd},
        {"llama.feed_forward_length", (uint32_t)n_ff},
        {"llama.attention.head_count", (uint32_t)s->n_embd / 64},
        {"llama.attention.head_count_kv", (uint32_t)s->n_embd / 64},
        {"llama.vocab_size", (uint32_t)s->n_vocab},
    };
    MLT_TRY(mlt_checkpoint_set_string(b->checkpoint, "general.architecture", "llama", 5, b->err));
    for (size_t i = 0; i < MLT_COUNT(numbers); i++)
        MLT_TRY(mlt_checkpoint_set_u32(b->checkpoint, numbers[i].key, numbers[i].value, b->err));
    MLT_TRY(mlt_checkpoint_set_f32(b->checkpoint, "llama.attention.layer_norm_rms_epsilon", 1e-5f, b->err));
    MLT_TRY(add_tensor(b, "token_embd.weight", width, s->n_vocab));
    MLT_TRY(add_tensor(b, "output_norm.weight", width, 1));
    MLT_TRY(add_tensor(b, "output.weight", width, s->n_vocab));
    for (int32_t layer = 0; layer < s->n_layers; layer++) {
        const struct {
            const char *name;
            int64_t columns, rows;
        } parts[] = {
            {"attn_norm", width, 1},   {"attn_q", width, width},      {"attn_k", width, width},
            {"attn_v", width, width},  {"attn_output", width, width}, {"ffn_norm", width, 1},
            {"ffn_gate", width, n_ff}, {"ffn_up", width, n_ff},       {"ffn_down", n_ff, width},
        };
        for (size_t i = 0; i < MLT_COUNT(parts); i++) {
            char name[64];
            snprintf(name, sizeof name, "blk.%d.%s.weight", layer, parts[i].name);
            MLT_TRY(add_tensor(b, name, parts[i].columns, parts[i].rows));
        }
    }
    return mlt_checkpoint_seal(b->checkpoint, b->err);
}

millet_status mlt_plain_model(const millet_allocator *allocator, const struct mlt_plain_shape *shape,
                              millet_model **out, millet_error *err)
{
    *out = NULL;
    int64_t most = (int64_t)shape->n_embd * MLT_MAX(2 * shape->n_embd, shape->n_vocab);
    float *values = mlt_alloc(allocator, (size_t)most, sizeof *values, err);
    struct builder b = {.values = values, .err = err};
    if (!values) return MILLET_NO_MEMORY;
    struct mlt_random random;
    mlt_random_seed(&random, 1);
    for (int64_t i = 0; i < most; i++)
        values[i] = (float)(0.1 * (mlt_random_double(&random) - 0.5));
    millet_status status = mlt_checkpoint_new(allocator, "plain", "", &b.checkpoint, err);
    if (status == MILLET_OK) status = fill(&b, shape);
    mlt_free(allocator, values);
    if (status == MILLET_OK) return mlt_model_from_checkpoint(allocator, b.checkpoint, out, err);
    mlt_checkpoint_close(&b.checkpoint);
    return status;
}
