/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/random.h"
#include "support/toy_model.h"

struct toy_model toy_model_default(const char *architecture)
{
    return (struct toy_model){.architecture = architecture,
                              .n_layers = 2,
                              .n_embd = 64,
                              .n_heads = 4,
                              .n_kv_heads = 2,
                              .n_ff = 96,
                              .n_vocab = 320,
                              .n_ctx = 64,
                              .window = 6,
                              .dtype = MLT_F32,
                              .seed = 1};
}

struct mlt_meta toy_u32(uint32_t value)
{
    return (struct mlt_meta){.type = MLT_META_U32, .element = MLT_META_U32, .count = 1, .value.u = value};
}

struct mlt_meta toy_i32(int32_t value)
{
    return (struct mlt_meta){.type = MLT_META_I32, .element = MLT_META_I32, .count = 1, .value.i = value};
}

struct mlt_meta toy_f32(float value)
{
    return (struct mlt_meta){
        .type = MLT_META_F32, .element = MLT_META_F32, .count = 1, .value.f = (double)value};
}

struct mlt_meta toy_string(const char *value)
{
    return (struct mlt_meta){.type = MLT_META_STRING,
                             .element = MLT_META_STRING,
                             .count = 1,
                             .value.string = {value, strlen(value)}};
}

struct builder {
    const struct toy_model *toy;
    struct mlt_checkpoint *checkpoint;
    struct mlt_random random;
    millet_error *err;
    millet_status status; /* the first failure; after it nothing is added */
    char prefix[24];      /* of tensor names: "blk.0." */
};

/* ---- Metadata ---- */

static void add_meta(struct builder *b, const char *key, struct mlt_meta meta)
{
    if (b->status != MILLET_OK) return;
    meta.key = (struct mlt_string){key, strlen(key)};
    b->status = mlt_checkpoint_add_meta(b->checkpoint, &meta, b->err);
}

/* A key of the architecture, unless the test overrides it. */
static void add_key(struct builder *b, const char *suffix, struct mlt_meta meta)
{
    for (size_t i = 0; i < b->toy->n_keys; i++)
        if (!strcmp(b->toy->keys[i].key, suffix)) return;
    char key[128];
    snprintf(key, sizeof key, "%s.%s", b->toy->architecture, suffix);
    add_meta(b, key, meta);
}

static bool is(const struct builder *b, const char *architecture)
{
    return !strcmp(b->toy->architecture, architecture);
}

static bool layer_norms(const struct builder *b)
{
    return is(b, "gpt2") || is(b, "stablelm");
}

static void add_keys(struct builder *b)
{
    const struct toy_model *t = b->toy;
    add_meta(b, "general.architecture", toy_string(t->architecture));
    add_meta(b, "general.name", toy_string("toy"));
    add_key(b, "block_count", toy_u32((uint32_t)t->n_layers));
    add_key(b, "context_length", toy_u32((uint32_t)t->n_ctx));
    add_key(b, "embedding_length", toy_u32((uint32_t)t->n_embd));
    add_key(b, "feed_forward_length", toy_u32((uint32_t)t->n_ff));
    add_key(b, "attention.head_count", toy_u32((uint32_t)t->n_heads));
    add_key(b, "attention.head_count_kv", toy_u32((uint32_t)t->n_kv_heads));
    if (t->head_size) add_key(b, "attention.key_length", toy_u32((uint32_t)t->head_size));
    if (t->value_size) add_key(b, "attention.value_length", toy_u32((uint32_t)t->value_size));
    if (t->rope_size) add_key(b, "rope.dimension_count", toy_u32((uint32_t)t->rope_size));
    if (t->n_experts) {
        add_key(b, "expert_count", toy_u32((uint32_t)t->n_experts));
        add_key(b, "expert_used_count", toy_u32((uint32_t)t->n_experts_used));
    }
    add_key(b, layer_norms(b) ? "attention.layer_norm_epsilon" : "attention.layer_norm_rms_epsilon",
            toy_f32(1e-5f));
    if (is(b, "gemma2") || is(b, "gemma3") || is(b, "phi3"))
        add_key(b, "attention.sliding_window", toy_u32((uint32_t)t->window));
    if (is(b, "minicpm")) {
        add_key(b, "embedding_scale", toy_f32(3.0f));
        add_key(b, "residual_scale", toy_f32(0.7f));
        add_key(b, "logit_scale", toy_f32(2.0f));
    }
    for (size_t i = 0; i < t->n_keys; i++) {
        char key[128];
        snprintf(key, sizeof key, "%s.%s", t->architecture, t->keys[i].key);
        if (!t->keys[i].omit) add_meta(b, key, t->keys[i].value);
    }
}

/* ---- Tensors ---- */

/* Mean 0, variance 1, from exact operations only: the same weights with every C library. */
static float near_normal(struct mlt_random *random)
{
    float sum = -2;
    for (int i = 0; i < 4; i++)
        sum += mlt_random_float(random);
    return sum * 1.7320508f;
}

/* Values mean + spread * near_normal. */
static void add_tensor(struct builder *b, const char *suffix, mlt_dtype dtype, int64_t ne0, int64_t ne1,
                       int64_t ne2, float mean, float spread)
{
    if (b->status != MILLET_OK) return;
    char name[64];
    snprintf(name, sizeof name, "%s%s", b->prefix, suffix);
    struct mlt_tensor tensor = {
        .name = {name, strlen(name)}, .dtype = dtype, .ne = {ne0, ne1, ne2, 1}, .offset = 4096};
    for (size_t i = 0; i < b->toy->n_tensors; i++) {
        const struct toy_tensor *other = &b->toy->tensors[i];
        if (strcmp(other->name, name)) continue;
        if (other->omit) return;
        for (int d = 0; d < MLT_MAX_DIMS; d++)
            if (other->ne[d]) tensor.ne[d] = other->ne[d];
        if (other->retyped) tensor.dtype = other->dtype;
    }
    tensor.n_dims = tensor.ne[2] > 1 ? 3 : tensor.ne[1] > 1 ? 2 : 1;
    int64_t elements = tensor.ne[0] * tensor.ne[1] * tensor.ne[2] * tensor.ne[3];
    const struct mlt_dtype_info *info = mlt_dtype_info(tensor.dtype);
    size_t bytes = (size_t)elements / (size_t)info->block_length * (size_t)info->block_bytes;
    /* One byte past a boundary: files promise no alignment, so no test should get any. */
    uint8_t *data = mlt_arena_alloc(&b->checkpoint->arena, bytes + 1, 1, b->err);
    if (!data) {
        b->status = MILLET_NO_MEMORY;
        return;
    }
    data++;
    memset(data, 0, bytes);
    float *values = malloc((size_t)elements * sizeof *values);
    for (int64_t i = 0; i < elements; i++)
        values[i] = mean + spread * near_normal(&b->random);
    if (info->is_float) mlt_encode(tensor.dtype, values, NULL, data, elements);
    free(values);
    tensor.data = data;
    b->status = mlt_checkpoint_add_tensor(b->checkpoint, &tensor, b->err);
}

static void add_matrix(struct builder *b, const char *suffix, int64_t rows, int64_t columns)
{
    add_tensor(b, suffix, b->toy->dtype, columns, rows, 1, 0, 0.12f);
}

static void add_vector(struct builder *b, const char *suffix, int64_t n, float mean)
{
    add_tensor(b, suffix, MLT_F32, n, 1, 1, mean, 0.2f);
}

static void add_norm(struct builder *b, const char *base)
{
    char suffix[48];
    snprintf(suffix, sizeof suffix, "%s.weight", base);
    add_vector(b, suffix, b->toy->n_embd, 1);
    snprintf(suffix, sizeof suffix, "%s.bias", base);
    if (layer_norms(b)) add_vector(b, suffix, b->toy->n_embd, 0);
}

static void add_attention(struct builder *b)
{
    const struct toy_model *t = b->toy;
    int64_t head_size = t->head_size ? t->head_size : t->n_embd / t->n_heads;
    int64_t value_size = t->value_size ? t->value_size : t->n_embd / t->n_heads;
    int64_t nq = t->n_heads * head_size, nk = t->n_kv_heads * head_size, nv = t->n_kv_heads * value_size;
    bool gemma = is(b, "gemma2") || is(b, "gemma3");
    add_norm(b, "attn_norm");
    if (is(b, "gpt2") || is(b, "phi3")) {
        add_matrix(b, "attn_qkv.weight", nq + nk + nv, t->n_embd);
        if (is(b, "gpt2") || t->biases) add_vector(b, "attn_qkv.bias", nq + nk + nv, 0);
    } else {
        add_matrix(b, "attn_q.weight", nq, t->n_embd);
        add_matrix(b, "attn_k.weight", nk, t->n_embd);
        add_matrix(b, "attn_v.weight", nv, t->n_embd);
        if (is(b, "qwen2") || t->biases) {
            add_vector(b, "attn_q.bias", nq, 0);
            add_vector(b, "attn_k.bias", nk, 0);
            add_vector(b, "attn_v.bias", nv, 0);
        }
    }
    if (is(b, "qwen3") || is(b, "gemma3")) {
        add_vector(b, "attn_q_norm.weight", head_size, 1);
        add_vector(b, "attn_k_norm.weight", head_size, 1);
    } else if (t->qk_norm) {
        add_tensor(b, "attn_q_norm.weight", MLT_F32, head_size, t->n_heads, 1, 1, 0.2f);
        add_tensor(b, "attn_k_norm.weight", MLT_F32, head_size, t->n_kv_heads, 1, 1, 0.2f);
    }
    add_matrix(b, "attn_output.weight", t->n_embd, t->n_heads * value_size);
    if (is(b, "gpt2") || t->biases) add_vector(b, "attn_output.bias", t->n_embd, 0);
    if (gemma) add_vector(b, "post_attention_norm.weight", t->n_embd, 1);
}

static void add_feed_forward(struct builder *b)
{
    const struct toy_model *t = b->toy;
    if (!t->parallel_block) add_norm(b, "ffn_norm");
    if (t->n_experts) {
        add_matrix(b, "ffn_gate_inp.weight", t->n_experts, t->n_embd);
        add_tensor(b, "ffn_gate_exps.weight", t->dtype, t->n_embd, t->n_ff, t->n_experts, 0, 0.12f);
        add_tensor(b, "ffn_up_exps.weight", t->dtype, t->n_embd, t->n_ff, t->n_experts, 0, 0.12f);
        add_tensor(b, "ffn_down_exps.weight", t->dtype, t->n_ff, t->n_embd, t->n_experts, 0, 0.12f);
        return;
    }
    bool fused = is(b, "phi3"), gated = !is(b, "gpt2"), biases = is(b, "gpt2") || t->biases;
    add_matrix(b, "ffn_up.weight", fused ? 2 * t->n_ff : t->n_ff, t->n_embd);
    if (biases) add_vector(b, "ffn_up.bias", fused ? 2 * t->n_ff : t->n_ff, 0);
    if (gated && !fused) {
        add_matrix(b, "ffn_gate.weight", t->n_ff, t->n_embd);
        if (biases) add_vector(b, "ffn_gate.bias", t->n_ff, 0);
    }
    add_matrix(b, "ffn_down.weight", t->n_embd, t->n_ff);
    if (biases) add_vector(b, "ffn_down.bias", t->n_embd, 0);
    if (is(b, "gemma2") || is(b, "gemma3")) add_vector(b, "post_ffw_norm.weight", t->n_embd, 1);
}

static void add_tensors(struct builder *b)
{
    const struct toy_model *t = b->toy;
    int64_t head_size = t->head_size ? t->head_size : t->n_embd / t->n_heads;
    int64_t pairs = (t->rope_size ? t->rope_size : head_size) / 2;
    /* Embeddings of another scale than matrices, so that logits spread as those of real models do. */
    add_tensor(b, "token_embd.weight", t->dtype, t->n_embd, t->n_vocab, 1, 0, 0.5f);
    if (is(b, "gpt2")) add_tensor(b, "position_embd.weight", t->dtype, t->n_embd, t->n_ctx, 1, 0, 0.3f);
    add_norm(b, "output_norm");
    if (t->untied) add_matrix(b, "output.weight", t->n_vocab, t->n_embd);
    if (t->rope_freqs) add_tensor(b, "rope_freqs.weight", MLT_F32, pairs, 1, 1, 4, 0.5f);
    if (t->long_factors) {
        add_tensor(b, "rope_factors_short.weight", MLT_F32, pairs, 1, 1, 1.5f, 0.05f);
        add_tensor(b, "rope_factors_long.weight", MLT_F32, pairs, 1, 1, 5, 0.5f);
    }
    for (int32_t i = 0; i < t->n_layers; i++) {
        snprintf(b->prefix, sizeof b->prefix, "blk.%d.", i);
        add_attention(b);
        add_feed_forward(b);
    }
}

millet_status toy_checkpoint(const millet_allocator *allocator, const struct toy_model *toy,
                             struct mlt_checkpoint **out, millet_error *err)
{
    struct builder b = {.toy = toy, .err = err};
    MLT_TRY(mlt_checkpoint_new(allocator, "toy.gguf", "GGUF v3", &b.checkpoint, err));
    mlt_random_seed(&b.random, toy->seed);
    add_keys(&b);
    add_tensors(&b);
    if (b.status == MILLET_OK) b.status = mlt_checkpoint_seal(b.checkpoint, err);
    if (b.status != MILLET_OK) mlt_checkpoint_close(&b.checkpoint);
    *out = b.checkpoint;
    return b.status;
}

millet_model *toy_model_open(const struct toy_model *toy)
{
    millet_error err;
    struct mlt_checkpoint *checkpoint;
    millet_model *model = NULL;
    millet_status status = toy_checkpoint(mlt_default_allocator(), toy, &checkpoint, &err);
    if (status == MILLET_OK)
        status = mlt_model_from_checkpoint(mlt_default_allocator(), checkpoint, &model, &err);
    if (status != MILLET_OK) {
        char text[800];
        millet_error_format(&err, text, sizeof text);
        fail_msg("%s", text);
    }
    return model;
}
