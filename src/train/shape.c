/* A checkpoint of a described new model. SPDX-License-Identifier: Apache-2.0 */
#include "train/shape.h"

#include "base/random.h"
#include "import/json_read.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* What the families that can be made differ in, as tensors: model/config.c has the arithmetic. */
struct family {
    const char *name;
    bool qkv_bias, qk_norm, post_norms, window;
    bool gpt2; /* LayerNorm, biases everywhere, learned positions, no gate */
};

static const struct family families[] = {
    {.name = "llama"},
    {.name = "gpt2", .gpt2 = true},
    {.name = "qwen2", .qkv_bias = true},
    {.name = "qwen3", .qk_norm = true},
    {.name = "gemma2", .post_norms = true, .window = true},
    {.name = "gemma3", .qk_norm = true, .post_norms = true, .window = true},
};

/* The rule that a tensor's values follow. */
struct values {
    uint64_t seed;
    float mean, spread;
};

struct builder {
    struct mlt_checkpoint *checkpoint;
    const struct family *family;
    uint32_t layers, width, heads, kv_heads, head_size, feed_forward, context, vocabulary, window;
    bool tied;
    double rope_base, epsilon, spread;
    uint64_t seed;
    millet_error *err;
    millet_status status; /* the first failure; after it nothing is added */
    char prefix[24];
};

/* ---- Description ---- */

static millet_status read_family(struct builder *b, const struct mlt_json *json)
{
    const char *name = mlt_json_string(json->object, "architecture");
    for (size_t i = 0; name && i < MLT_COUNT(families); i++)
        if (!strcmp(families[i].name, name)) b->family = &families[i];
    if (b->family) return MILLET_OK;
    return mlt_json_fail(json, "architecture", b->err, MILLET_UNSUPPORTED,
                         "it must be one of llama, gpt2, qwen2, qwen3, gemma2, gemma3");
}

static millet_status read_count(struct builder *b, const struct mlt_json *json, const char *key,
                                uint32_t most, const uint32_t *fallback, uint32_t *out)
{
    MLT_TRY(mlt_json_get_u32(json, key, fallback, out, b->err));
    if (*out >= 1 && *out <= most) return MILLET_OK;
    return mlt_json_fail(json, key, b->err, MILLET_BAD_FORMAT, "%u is outside the range from 1 to %u", *out,
                         most);
}

static millet_status read_number(struct builder *b, const struct mlt_json *json, const char *key,
                                 double fallback, double *out)
{
    MLT_TRY(mlt_json_get_f64(json, key, &fallback, out, b->err));
    if (isfinite(*out) && *out > 0) return MILLET_OK;
    return mlt_json_fail(json, key, b->err, MILLET_BAD_FORMAT, "%g is no number above 0", *out);
}

static millet_status check_members(struct builder *b, const struct mlt_json *json)
{
    static const char *const known[] = {"architecture", "layers",       "width",   "heads",      "kv_heads",
                                        "head_size",    "feed_forward", "context", "vocabulary", "tied",
                                        "rope_base",    "norm_epsilon", "window",  "spread"};
    const char *key;
    json_t *value;
    union { /* jansson's iterators take no const */
        const json_t *constant;
        json_t *plain;
    } object = {json->object};
    json_object_foreach (object.plain, key, value) {
        size_t i = 0;
        while (i < MLT_COUNT(known) && strcmp(known[i], key) != 0)
            i++;
        if (i == MLT_COUNT(known))
            return mlt_json_fail(json, key, b->err, MILLET_BAD_FORMAT, "there is no such member");
    }
    return MILLET_OK;
}

static millet_status read_description(struct builder *b, const struct mlt_json *json, uint32_t tokens)
{
    enum { MAX_WIDTH = 1 << 20 };
    static const bool yes = true;
    static const uint32_t usual_window = 512;
    MLT_TRY(check_members(b, json));
    MLT_TRY(read_family(b, json));
    MLT_TRY(read_count(b, json, "layers", 4096, NULL, &b->layers));
    MLT_TRY(read_count(b, json, "width", MAX_WIDTH, NULL, &b->width));
    MLT_TRY(read_count(b, json, "heads", 4096, NULL, &b->heads));
    MLT_TRY(read_count(b, json, "kv_heads", b->heads, &b->heads, &b->kv_heads));
    uint32_t size = b->width / b->heads;
    MLT_TRY(read_count(b, json, "head_size", 4096, size ? &size : NULL, &b->head_size));
    MLT_TRY(read_count(b, json, "feed_forward", MAX_WIDTH, NULL, &b->feed_forward));
    MLT_TRY(read_count(b, json, "context", 1 << 24, NULL, &b->context));
    MLT_TRY(read_count(b, json, "vocabulary", 1 << 24, tokens ? &tokens : NULL, &b->vocabulary));
    if (b->vocabulary < tokens)
        return mlt_json_fail(json, "vocabulary", b->err, MILLET_BAD_FORMAT,
                             "%u, but the tokenizer has %u tokens", b->vocabulary, tokens);
    MLT_TRY(read_count(b, json, "window", 1 << 24, &usual_window, &b->window));
    MLT_TRY(mlt_json_get_bool(json, "tied", &yes, &b->tied, b->err));
    MLT_TRY(read_number(b, json, "rope_base", 10000, &b->rope_base));
    MLT_TRY(read_number(b, json, "norm_epsilon", 1e-6, &b->epsilon));
    return read_number(b, json, "spread", 0.02, &b->spread);
}

/* ---- Metadata ---- */

static void set_u32(struct builder *b, const char *suffix, uint32_t value)
{
    char key[96];
    snprintf(key, sizeof key, "%s.%s", b->family->name, suffix);
    if (b->status == MILLET_OK) b->status = mlt_checkpoint_set_u32(b->checkpoint, key, value, b->err);
}

static void set_f32(struct builder *b, const char *suffix, double value)
{
    char key[96];
    snprintf(key, sizeof key, "%s.%s", b->family->name, suffix);
    if (b->status == MILLET_OK) b->status = mlt_checkpoint_set_f32(b->checkpoint, key, (float)value, b->err);
}

static void add_metadata(struct builder *b, const struct mlt_checkpoint *tokenizer)
{
    b->status = mlt_checkpoint_set_string(b->checkpoint, "general.architecture", b->family->name,
                                          strlen(b->family->name), b->err);
    set_u32(b, "block_count", b->layers);
    set_u32(b, "context_length", b->context);
    set_u32(b, "embedding_length", b->width);
    set_u32(b, "feed_forward_length", b->feed_forward);
    set_u32(b, "attention.head_count", b->heads);
    set_u32(b, "attention.head_count_kv", b->kv_heads);
    set_u32(b, "attention.key_length", b->head_size);
    set_u32(b, "attention.value_length", b->head_size);
    set_u32(b, "vocab_size", b->vocabulary);
    set_f32(b, b->family->gpt2 ? "attention.layer_norm_epsilon" : "attention.layer_norm_rms_epsilon",
            b->epsilon);
    if (!b->family->gpt2) {
        set_u32(b, "rope.dimension_count", b->head_size);
        set_f32(b, "rope.freq_base", b->rope_base);
    }
    if (b->family->window) set_u32(b, "attention.sliding_window", b->window);
    for (size_t i = 0; tokenizer && b->status == MILLET_OK && i < tokenizer->n_metas; i++)
        if (!strncmp(tokenizer->metas[i].key.data, "tokenizer.", 10) ||
            !strncmp(tokenizer->metas[i].key.data, "millet.tokenizer.", 17))
            b->status = mlt_checkpoint_add_meta(b->checkpoint, &tokenizer->metas[i], b->err);
}

/* ---- Weights ---- */

static millet_status make_rows(const struct mlt_tensor *tensor, uint64_t row, uint64_t rows, void *out,
                               millet_error *err)
{
    const struct values *v = tensor->source;
    float *values = out;
    (void)err;
    for (uint64_t r = row; r < row + rows; r++) {
        struct mlt_random random;
        mlt_random_seed(&random, v->seed + r * UINT64_C(0xd1342543de82ef95));
        for (int64_t i = 0; i < tensor->ne[0]; i++)
            *values++ = v->spread > 0 ? v->mean + v->spread * mlt_random_normal(&random) : v->mean;
    }
    return MILLET_OK;
}

static void add_tensor(struct builder *b, const char *suffix, uint32_t rows, uint32_t columns, float mean,
                       double spread)
{
    if (b->status != MILLET_OK) return;
    char name[96];
    snprintf(name, sizeof name, "%s%s", b->prefix, suffix);
    struct values *values = mlt_arena_alloc(&b->checkpoint->arena, 1, sizeof *values, b->err);
    if (!values) {
        b->status = MILLET_NO_MEMORY;
        return;
    }
    *values = (struct values){b->seed, mean, (float)spread};
    for (const char *c = name; *c; c++) /* FNV-1a */
        values->seed = (values->seed ^ (uint8_t)*c) * UINT64_C(0x100000001b3);
    struct mlt_tensor tensor = {.name = {name, strlen(name)},
                                .dtype = MLT_F32,
                                .n_dims = rows > 1 ? 2 : 1,
                                .ne = {columns, rows, 1, 1},
                                .read = make_rows,
                                .source = values};
    b->status = mlt_checkpoint_add_tensor(b->checkpoint, &tensor, b->err);
}

static void add_norm(struct builder *b, const char *base)
{
    char suffix[48];
    snprintf(suffix, sizeof suffix, "%s.weight", base);
    add_tensor(b, suffix, 1, b->width, 1, 0);
    snprintf(suffix, sizeof suffix, "%s.bias", base);
    if (b->family->gpt2) add_tensor(b, suffix, 1, b->width, 0, 0);
}

/* A matrix, and its bias where the family has one there. */
static void add_linear(struct builder *b, const char *base, uint32_t rows, uint32_t columns, double spread,
                       bool bias)
{
    char suffix[48];
    snprintf(suffix, sizeof suffix, "%s.weight", base);
    add_tensor(b, suffix, rows, columns, 0, spread);
    snprintf(suffix, sizeof suffix, "%s.bias", base);
    if (bias) add_tensor(b, suffix, 1, rows, 0, 0);
}

static void add_block(struct builder *b)
{
    const struct family *f = b->family;
    uint32_t nq = b->heads * b->head_size, nk = b->kv_heads * b->head_size;
    double last = b->spread / sqrt(2.0 * b->layers);
    add_norm(b, "attn_norm");
    if (f->gpt2) {
        add_linear(b, "attn_qkv", nq + 2 * nk, b->width, b->spread, true);
    } else {
        add_linear(b, "attn_q", nq, b->width, b->spread, f->qkv_bias);
        add_linear(b, "attn_k", nk, b->width, b->spread, f->qkv_bias);
        add_linear(b, "attn_v", nk, b->width, b->spread, f->qkv_bias);
    }
    if (f->qk_norm) {
        add_tensor(b, "attn_q_norm.weight", 1, b->head_size, 1, 0);
        add_tensor(b, "attn_k_norm.weight", 1, b->head_size, 1, 0);
    }
    add_linear(b, "attn_output", b->width, nq, last, f->gpt2);
    if (f->post_norms) add_norm(b, "post_attention_norm");
    add_norm(b, "ffn_norm");
    if (!f->gpt2) add_linear(b, "ffn_gate", b->feed_forward, b->width, b->spread, false);
    add_linear(b, "ffn_up", b->feed_forward, b->width, b->spread, f->gpt2);
    add_linear(b, "ffn_down", b->width, b->feed_forward, last, f->gpt2);
    if (f->post_norms) add_norm(b, "post_ffw_norm");
}

static void add_tensors(struct builder *b)
{
    add_tensor(b, "token_embd.weight", b->vocabulary, b->width, 0, b->spread);
    if (b->family->gpt2) add_tensor(b, "position_embd.weight", b->context, b->width, 0, b->spread);
    for (uint32_t i = 0; i < b->layers; i++) {
        snprintf(b->prefix, sizeof b->prefix, "blk.%u.", i);
        add_block(b);
    }
    b->prefix[0] = 0;
    add_norm(b, "output_norm");
    if (!b->tied) add_tensor(b, "output.weight", b->vocabulary, b->width, 0, b->spread);
}

millet_status mlt_shape_checkpoint(const millet_allocator *allocator, const char *description,
                                   const struct mlt_checkpoint *tokenizer, uint64_t seed,
                                   struct mlt_checkpoint **out, millet_error *err)
{
    struct builder b = {.seed = seed, .err = err};
    json_t *object = NULL;
    *out = NULL;
    MLT_TRY(mlt_json_parse("shape", 0, description, strlen(description), &object, err));
    struct mlt_json json = {.object = object, .file = "shape", .prefix = ""};
    const struct mlt_meta *tokens =
        tokenizer ? mlt_checkpoint_meta(tokenizer, "tokenizer.ggml.tokens") : NULL;
    b.status =
        read_description(&b, &json, tokens && tokens->count <= INT32_MAX ? (uint32_t)tokens->count : 0);
    json_decref(object);
    if (b.status == MILLET_OK)
        b.status = mlt_checkpoint_new(allocator, "a new model", "shape", &b.checkpoint, err);
    if (b.status == MILLET_OK) add_metadata(&b, tokenizer);
    if (b.status == MILLET_OK) add_tensors(&b);
    if (b.status == MILLET_OK) b.status = mlt_checkpoint_seal(b.checkpoint, err);
    if (b.status != MILLET_OK) mlt_checkpoint_close(&b.checkpoint);
    *out = b.checkpoint;
    return b.status;
}
