/* SPDX-License-Identifier: Apache-2.0 */
#include "support/tiny_model.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/random.h"
#include "format/gguf_write.h"

#define REQUIRE(call)                                                                                        \
    do {                                                                                                     \
        millet_error err;                                                                                    \
        millet_status status = (call);                                                                       \
        if (status != MILLET_OK) fail_msg("%s: %s", #call, err.message);                                     \
    } while (0)

enum { MAX_TOKENS = 400 };

static const char *const words[] = {
    "\xe2\x96\x81",
    "a",
    "b",
    "c",
    "d",
    "e",
    "f",
    "g",
    "h",
    "i",
    "j",
    "k",
    "l",
    "m",
    "n",
    "o",
    "p",
    "q",
    "r",
    "s",
    "t",
    "u",
    "v",
    "w",
    "x",
    "y",
    "z",
    "th",
    "he",
    "an",
    "in",
    "er",
    "the",
    "and",
    "\xc3\xa9", /* é */
    "\xe2\x96\x81t",
    "\xe2\x96\x81the",
    "\xe2\x96\x81"
    "a",
    "\xe2\x96\x81"
    "and",
};

struct tiny_shape tiny_default(void)
{
    return (struct tiny_shape){
        .n_layers = 2, .n_embd = 64, .n_heads = 4, .n_kv_heads = 2, .n_ff = 96, .n_ctx = 128, .seed = 1};
}

static void add_array(struct mlt_checkpoint *c, const char *key, enum mlt_meta_type element, uint64_t count,
                      const void *array)
{
    struct mlt_meta meta = {{key, strlen(key)}, MLT_META_ARRAY, element, count, {.array = array}};
    REQUIRE(mlt_checkpoint_add_meta(c, &meta, &err));
}

static uint32_t add_vocabulary(struct mlt_checkpoint *c, const struct tiny_shape *shape)
{
    static char bytes[256][8];
    struct mlt_string tokens[MAX_TOKENS] = {{"<unk>", 5}, {"<s>", 3}, {"</s>", 4}};
    float scores[MAX_TOKENS] = {0};
    int32_t types[MAX_TOKENS] = {MLT_TOKEN_UNKNOWN, MLT_TOKEN_CONTROL, MLT_TOKEN_CONTROL};
    uint32_t n = TINY_BYTES;
    for (int i = 0; i < 256; i++) {
        snprintf(bytes[i], sizeof bytes[i], "<0x%02X>", i);
        types[n] = MLT_TOKEN_BYTE;
        tokens[n++] = (struct mlt_string){bytes[i], 6};
    }
    for (size_t i = 0; i < MLT_COUNT(words) + (shape->word != NULL); i++) {
        const char *word = i < MLT_COUNT(words) ? words[i] : shape->word;
        types[n] = MLT_TOKEN_NORMAL;
        scores[n] = -(float)i;
        tokens[n++] = (struct mlt_string){word, strlen(word)};
    }
    REQUIRE(mlt_checkpoint_set_string(c, "tokenizer.ggml.model", "llama", 5, &err));
    add_array(c, "tokenizer.ggml.tokens", MLT_META_STRING, n, tokens);
    add_array(c, "tokenizer.ggml.scores", MLT_META_F32, n, scores);
    add_array(c, "tokenizer.ggml.token_type", MLT_META_I32, n, types);
    REQUIRE(mlt_checkpoint_set_u32(c, "tokenizer.ggml.bos_token_id", TINY_BOS, &err));
    REQUIRE(mlt_checkpoint_set_u32(c, "tokenizer.ggml.eos_token_id", TINY_EOS, &err));
    REQUIRE(mlt_checkpoint_set_u32(c, "tokenizer.ggml.unknown_token_id", TINY_UNKNOWN, &err));
    REQUIRE(mlt_checkpoint_set_bool(c, "tokenizer.ggml.add_bos_token", true, &err));
    REQUIRE(mlt_checkpoint_set_bool(c, "tokenizer.ggml.add_eos_token", false, &err));
    return n;
}

struct weights {
    struct mlt_checkpoint *checkpoint;
    struct mlt_random random, noise;
    float noise_size;
};

static void add_tensor(struct weights *w, const char *name, int64_t columns, int64_t rows, float mean,
                       float size)
{
    struct mlt_tensor tensor = {.name = {name, strlen(name)},
                                .dtype = MLT_F32,
                                .n_dims = rows > 1 ? 2 : 1,
                                .ne = {columns, rows, 1, 1},
                                .row_bytes = (uint64_t)columns * sizeof(float),
                                .rows = (uint64_t)rows,
                                .file = ""};
    tensor.bytes = tensor.row_bytes * tensor.rows;
    float *data = mlt_arena_alloc(&w->checkpoint->arena, (size_t)tensor.bytes, 1, NULL);
    assert_non_null(data);
    for (int64_t i = 0; i < columns * rows; i++) {
        data[i] = mean + size * mlt_random_normal(&w->random);
        if (w->noise_size != 0) data[i] += w->noise_size * size * mlt_random_normal(&w->noise);
    }
    tensor.data = (const uint8_t *)data;
    REQUIRE(mlt_checkpoint_add_tensor(w->checkpoint, &tensor, &err));
}

struct mlt_checkpoint *tiny_checkpoint(const millet_allocator *allocator, const struct tiny_shape *shape)
{
    struct mlt_checkpoint *c = NULL;
    REQUIRE(mlt_checkpoint_new(allocator, "tiny", "test", &c, &err));
    const struct {
        const char *key;
        uint32_t value;
    } numbers[] = {
        {"llama.block_count", shape->n_layers},         {"llama.embedding_length", shape->n_embd},
        {"llama.attention.head_count", shape->n_heads}, {"llama.attention.head_count_kv", shape->n_kv_heads},
        {"llama.feed_forward_length", shape->n_ff},     {"llama.context_length", shape->n_ctx},
    };
    REQUIRE(mlt_checkpoint_set_string(c, "general.architecture", "llama", 5, &err));
    REQUIRE(mlt_checkpoint_set_string(c, "general.name", "Tiny", 4, &err));
    for (size_t i = 0; i < MLT_COUNT(numbers); i++)
        REQUIRE(mlt_checkpoint_set_u32(c, numbers[i].key, numbers[i].value, &err));
    REQUIRE(mlt_checkpoint_set_f32(c, "llama.attention.layer_norm_rms_epsilon", 1e-5f, &err));
    uint32_t n_vocab = shape->no_tokenizer ? 300 : add_vocabulary(c, shape);

    struct weights w = {.checkpoint = c, .noise_size = shape->noise};
    mlt_random_seed(&w.random, shape->seed);
    mlt_random_seed(&w.noise, shape->seed + 1000);
    int64_t embd = shape->n_embd, ff = shape->n_ff, kv = embd / shape->n_heads * shape->n_kv_heads;
    float size = 1 / sqrtf((float)embd);
    add_tensor(&w, "token_embd.weight", embd, n_vocab, 0, shape->tied ? 2 * size : 1);
    for (uint32_t i = 0; i < shape->n_layers; i++) {
        const struct {
            const char *name;
            int64_t columns, rows;
        } matrices[] = {
            {"attn_q", embd, embd}, {"attn_k", embd, kv}, {"attn_v", embd, kv},   {"attn_output", embd, embd},
            {"ffn_gate", embd, ff}, {"ffn_up", embd, ff}, {"ffn_down", ff, embd},
        };
        char name[64];
        snprintf(name, sizeof name, "blk.%u.attn_norm.weight", i);
        add_tensor(&w, name, embd, 1, 1, 0.1f);
        snprintf(name, sizeof name, "blk.%u.ffn_norm.weight", i);
        add_tensor(&w, name, embd, 1, 1, 0.1f);
        for (size_t j = 0; j < MLT_COUNT(matrices); j++) {
            snprintf(name, sizeof name, "blk.%u.%s.weight", i, matrices[j].name);
            add_tensor(&w, name, matrices[j].columns, matrices[j].rows, 0, size);
        }
    }
    add_tensor(&w, "output_norm.weight", embd, 1, 1, 0.1f);
    if (!shape->tied) add_tensor(&w, "output.weight", embd, n_vocab, 0, 2 * size);
    REQUIRE(mlt_checkpoint_seal(c, &err));
    return c;
}

millet_model *tiny_model(const millet_allocator *allocator, const struct tiny_shape *shape)
{
    millet_model *model = NULL;
    REQUIRE(mlt_model_from_checkpoint(allocator, tiny_checkpoint(allocator, shape), &model, &err));
    return model;
}

void tiny_write(const char *path, const struct tiny_shape *shape)
{
    struct mlt_checkpoint *c = tiny_checkpoint(mlt_default_allocator(), shape);
    struct mlt_gguf_contents contents = {
        .metas = c->metas, .n_metas = c->n_metas, .tensors = c->tensors, .n_tensors = c->n_tensors};
    struct mlt_gguf_writer *writer = NULL;
    REQUIRE(mlt_gguf_writer_open(mlt_default_allocator(), path, &contents, &writer, &err));
    for (size_t i = 0; i < c->n_tensors; i++)
        REQUIRE(mlt_gguf_writer_write(writer, i, c->tensors[i].data, c->tensors[i].bytes, &err));
    REQUIRE(mlt_gguf_writer_commit(&writer, &err));
    mlt_checkpoint_close(&c);
}
