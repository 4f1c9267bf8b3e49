/*
 * Opening models: which tensors are found, what is refused about them, and what the queries of the API say.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/tiny_model.h"
#include "support/toy_model.h"

#include <math.h>
#include <stdio.h>

static millet_status open_model(const struct toy_model *toy, millet_model **model, millet_error *err)
{
    struct mlt_checkpoint *checkpoint;
    if (toy_checkpoint(mlt_default_allocator(), toy, &checkpoint, err)) fail_msg("%s", err->message);
    return mlt_model_from_checkpoint(mlt_default_allocator(), checkpoint, model, err);
}

static void refuse(struct toy_model toy, const struct toy_tensor *tensor, millet_status expected,
                   const char *text)
{
    toy.tensors = tensor;
    toy.n_tensors = 1;
    millet_model *model;
    millet_error err;
    millet_status status = open_model(&toy, &model, &err);
    if (status != expected)
        fail_msg("%s: %s instead of %s", tensor->name, millet_status_name(status),
                 millet_status_name(expected));
    assert_null(model);
    assert_string_equal(err.item, tensor->name);
    assert_string_equal(err.file, "toy.gguf");
    if (!strstr(err.message, text)) fail_msg("\"%s\" does not say \"%s\"", err.message, text);
}

/* Every tensor of every family is needed, unless it is listed here; leaving it out names it. */
static void test_missing_tensors(void **state)
{
    (void)state;
    static const char *const families[] = {"llama", "qwen2", "qwen3",    "gemma2",  "gemma3",
                                           "phi3",  "gpt2",  "stablelm", "smollm3", "minicpm"};
    int refused = 0;
    for (size_t i = 0; i < sizeof families / sizeof families[0]; i++) {
        struct toy_model toy = toy_model_default(families[i]);
        millet_model *model = toy_model_open(&toy);
        for (uint64_t t = 0; t < millet_model_tensor_count(model); t++) {
            millet_tensor_info info;
            millet_model_tensor(model, t, &info);
            bool first_block = !strncmp(info.name, "blk.0.", 6);
            /* Biases may be absent; without ffn_gate, ffn_up must hold both; without the first ffn_norm,
             * stablelm's blocks are parallel. */
            if (strstr(info.name, ".bias") || strstr(info.name, "ffn_gate")) continue;
            if (!strcmp(families[i], "stablelm") && first_block && strstr(info.name, "ffn_norm")) continue;
            /* Without the fused matrix the three single ones are missed. */
            if (strstr(info.name, "attn_qkv")) continue;
            struct toy_tensor without = {.name = info.name, .omit = true};
            refuse(toy, &without, MILLET_NOT_FOUND, "does not exist");
            refused++;
        }
        millet_model_close(&model);
    }
    assert_true(refused > 150);
}

static void test_wrong_shapes(void **state)
{
    (void)state;
    struct toy_model toy = toy_model_default("llama");
    refuse(toy, &(struct toy_tensor){.name = "blk.1.attn_q.weight", .ne = {64, 63}}, MILLET_BAD_FORMAT,
           "64 x 63 x 1 x 1; metadata ask for 64 x 64 x 1 x 1");
    refuse(toy, &(struct toy_tensor){.name = "blk.0.attn_k.weight", .ne = {32, 64}}, MILLET_BAD_FORMAT,
           "metadata ask for 64 x 32 x 1 x 1");
    refuse(toy, &(struct toy_tensor){.name = "output_norm.weight", .ne = {65}}, MILLET_BAD_FORMAT, "65 x 1");
    refuse(toy, &(struct toy_tensor){.name = "blk.0.ffn_down.weight", .ne = {96, 64, 2}}, MILLET_BAD_FORMAT,
           "96 x 64 x 2");
    /* The embedding's rows define the vocabulary, its columns do not define the width. */
    refuse(toy, &(struct toy_tensor){.name = "token_embd.weight", .ne = {32}}, MILLET_BAD_FORMAT, "32 x 320");
    refuse(toy, &(struct toy_tensor){.name = "blk.0.attn_v.weight", .retyped = true, .dtype = MLT_I32},
           MILLET_UNSUPPORTED, "I32");
    toy.n_experts = 4;
    toy.n_experts_used = 2;
    refuse(toy, &(struct toy_tensor){.name = "blk.1.ffn_up_exps.weight", .ne = {64, 96, 3}},
           MILLET_BAD_FORMAT, "64 x 96 x 3");
    refuse(toy, &(struct toy_tensor){.name = "blk.0.ffn_gate_inp.weight", .ne = {64, 5}}, MILLET_BAD_FORMAT,
           "64 x 5");
    toy = toy_model_default("phi3");
    refuse(toy, &(struct toy_tensor){.name = "blk.0.attn_qkv.weight", .ne = {64, 127}}, MILLET_BAD_FORMAT,
           "64 x 128");
    refuse(toy, &(struct toy_tensor){.name = "blk.0.ffn_up.weight", .ne = {64, 96}}, MILLET_BAD_FORMAT,
           "64 x 192");
    toy = toy_model_default("stablelm");
    toy.qk_norm = true;
    refuse(toy, &(struct toy_tensor){.name = "blk.0.attn_k_norm.weight", .ne = {16, 4}}, MILLET_BAD_FORMAT,
           "16 x 2");
}

/* Divisors of frequencies that would make NaN or infinite angles. */
static void test_hostile_divisors(void **state)
{
    (void)state;
    struct toy_model toy = toy_model_default("llama");
    toy.rope_freqs = true;
    static const float bad[] = {0, -1, NAN, INFINITY};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct mlt_checkpoint *checkpoint;
        millet_model *model;
        millet_error err;
        assert_int_equal(toy_checkpoint(mlt_default_allocator(), &toy, &checkpoint, &err), MILLET_OK);
        float values[8] = {1, 1, 1, bad[i], 1, 1, 1, 1};
        for (size_t t = 0; t < checkpoint->n_tensors; t++)
            if (!strcmp(checkpoint->tensors[t].name.data, "rope_freqs.weight"))
                checkpoint->tensors[t].data = (const uint8_t *)values;
        assert_int_equal(mlt_model_from_checkpoint(mlt_default_allocator(), checkpoint, &model, &err),
                         MILLET_BAD_FORMAT);
        assert_string_equal(err.item, "rope_freqs.weight");
    }
}

/* Matrices lie in the checkpoint's own bytes, and parts of fused ones are views. */
static void test_views(void **state)
{
    (void)state;
    struct toy_model toy = toy_model_default("phi3");
    toy.biases = true;
    toy.dtype = MLT_Q8_0;
    millet_model *model = toy_model_open(&toy);
    const struct mlt_layer *layer = &model->weights.layers[1];
    const struct mlt_tensor *qkv = mlt_checkpoint_tensor(model->checkpoint, "blk.1.attn_qkv.weight");
    const struct mlt_tensor *up = mlt_checkpoint_tensor(model->checkpoint, "blk.1.ffn_up.weight");
    assert_ptr_equal(layer->wq.data, qkv->data);
    assert_ptr_equal(layer->wk.data, qkv->data + 64 * 68);
    assert_ptr_equal(layer->wv.data, qkv->data + 96 * 68);
    assert_int_equal(layer->wv.rows, 32);
    assert_ptr_equal(layer->w_gate.data, up->data);
    assert_ptr_equal(layer->w_up.data, up->data + 96 * 68);
    assert_ptr_equal(layer->bk, layer->bq + 64);
    assert_ptr_equal(layer->b_up, layer->b_gate + 96);
    assert_ptr_equal(model->weights.output.data, model->weights.token_embd.data);
    millet_model_close(&model);

    toy = toy_model_default("llama");
    toy.n_experts = 3;
    toy.n_experts_used = 1;
    toy.untied = true;
    model = toy_model_open(&toy);
    const struct mlt_tensor *down = mlt_checkpoint_tensor(model->checkpoint, "blk.0.ffn_down_exps.weight");
    for (int e = 0; e < 3; e++) {
        const struct mlt_matrix *expert = &model->weights.layers[0].e_down[e];
        assert_ptr_equal(expert->data, down->data + e * 64 * 96 * 4);
        assert_int_equal(expert->rows, 64);
        assert_int_equal(expert->columns, 96);
    }
    assert_false(model->config.tied);
    millet_model_close(&model);
}

/* A reader that assembles: rows in reverse order of what lies in `source`. */
static millet_status read_reversed(const struct mlt_tensor *tensor, uint64_t row, uint64_t rows, void *out,
                                   millet_error *err)
{
    (void)err;
    const uint8_t *bytes = tensor->source;
    for (uint64_t i = 0; i < rows; i++)
        memcpy((uint8_t *)out + i * tensor->row_bytes,
               bytes + (tensor->rows - 1 - row - i) * tensor->row_bytes, (size_t)tensor->row_bytes);
    return MILLET_OK;
}

static millet_status read_nothing(const struct mlt_tensor *tensor, uint64_t row, uint64_t rows, void *out,
                                  millet_error *err)
{
    (void)row, (void)rows, (void)out;
    return mlt_fail_at(err, MILLET_IO, tensor->file, tensor->name.data, tensor->offset, "gone");
}

static void test_assembled_tensors(void **state)
{
    (void)state;
    struct toy_model toy = toy_model_default("llama");
    for (int failing = 0; failing < 2; failing++) {
        struct mlt_checkpoint *checkpoint;
        millet_model *model;
        millet_error err;
        assert_int_equal(toy_checkpoint(mlt_default_allocator(), &toy, &checkpoint, &err), MILLET_OK);
        const uint8_t *original = NULL;
        for (size_t t = 0; t < checkpoint->n_tensors; t++) {
            struct mlt_tensor *tensor = &checkpoint->tensors[t];
            if (strcmp(tensor->name.data, "blk.0.attn_k.weight")) continue;
            original = tensor->data;
            tensor->source = tensor->data;
            tensor->read = failing ? read_nothing : read_reversed;
            tensor->data = NULL;
        }
        millet_status status = mlt_model_from_checkpoint(mlt_default_allocator(), checkpoint, &model, &err);
        if (failing) {
            assert_int_equal(status, MILLET_IO);
            assert_null(model);
            continue;
        }
        assert_int_equal(status, MILLET_OK);
        const struct mlt_matrix *wk = &model->weights.layers[0].wk;
        for (uint64_t row = 0; row < 32; row++)
            assert_memory_equal(wk->data + row * wk->row_bytes, original + (31 - row) * wk->row_bytes,
                                wk->row_bytes);
        millet_model_close(&model);
    }
}

static void test_tokenizer_fits(void **state)
{
    (void)state;
    struct tiny_shape shape = tiny_default();
    shape.tied = true;
    millet_model *model = tiny_model(mlt_default_allocator(), &shape);
    assert_non_null(model->tokenizer);
    assert_int_equal(model->bos, TINY_BOS);
    assert_int_equal(model->eos, TINY_EOS);
    assert_int_equal(mlt_tokenizer_size(model->tokenizer), model->config.n_vocab);
    millet_model_close(&model);

    /* One row of embeddings less than there are tokens. */
    struct mlt_checkpoint *checkpoint = tiny_checkpoint(mlt_default_allocator(), &shape);
    for (size_t t = 0; t < checkpoint->n_tensors; t++) {
        struct mlt_tensor *tensor = &checkpoint->tensors[t];
        if (strcmp(tensor->name.data, "token_embd.weight")) continue;
        tensor->ne[1]--;
        tensor->rows--;
        tensor->bytes -= tensor->row_bytes;
    }
    for (size_t i = 0; i < checkpoint->n_metas; i++)
        if (!strcmp(checkpoint->metas[i].key.data, "llama.vocab_size")) checkpoint->metas[i].value.u--;
    millet_error err;
    assert_int_equal(mlt_model_from_checkpoint(mlt_default_allocator(), checkpoint, &model, &err),
                     MILLET_BAD_FORMAT);
    assert_string_equal(err.item, "tokenizer.ggml.tokens");
}

/* The value of a key as text, and its type; false where the model has no such key. */
static bool find_metadata(const millet_model *model, const char *key, millet_metadata *entry, char *value,
                          size_t size)
{
    for (uint64_t i = 0; i < millet_model_metadata_count(model); i++) {
        char cut[4];
        uint64_t length = millet_model_metadata(model, i, entry, value, size);
        /* The same length whatever the room, and never more written than there is. */
        assert_int_equal(millet_model_metadata(model, i, NULL, NULL, 0), length);
        assert_int_equal(millet_model_metadata(model, i, NULL, cut, sizeof cut), length);
        assert_int_equal(strlen(cut), length < 3 ? length : 3);
        if (length < size) assert_int_equal(strlen(value), length);
        if (!strcmp(entry->key, key)) return true;
    }
    return false;
}

static void test_info(void **state)
{
    (void)state;
    uint16_t numbers[] = {9, 8, 7, 6, 5, 4, 3, 2, 1};
    struct mlt_meta array = {.type = MLT_META_ARRAY, .element = MLT_META_U16, .count = 9};
    array.value.array = numbers;
    struct mlt_string texts[] = {{"one", 3}, {"two", 3}};
    struct mlt_meta strings = {.type = MLT_META_ARRAY, .element = MLT_META_STRING, .count = 2};
    strings.value.array = texts;
    struct mlt_meta yes = {.type = MLT_META_BOOL, .element = MLT_META_BOOL, .count = 1, .value.u = 1};
    struct toy_key keys[] = {{"a.string", false, toy_string("text")},
                             {"a.float", false, toy_f32(0.1f)},
                             {"a.negative", false, toy_i32(-3)},
                             {"a.bool", false, yes},
                             {"an.array", false, array},
                             {"some.strings", false, strings}};
    struct toy_model toy = toy_model_default("llama");
    toy.dtype = MLT_F16;
    toy.keys = keys;
    toy.n_keys = sizeof keys / sizeof keys[0];
    millet_model *model = toy_model_open(&toy);
    millet_model_info info;
    millet_model_get_info(model, &info);
    assert_string_equal(info.path, "toy.gguf");
    assert_string_equal(info.architecture, "llama");
    assert_string_equal(info.name, "toy");
    assert_string_equal(info.tokenizer, "");
    assert_string_equal(info.chat_template, "");
    assert_int_equal(info.n_ctx_train, 64);
    /* Embedding; per block q and o, k and v, three of the feed-forward, two norms; the last norm. */
    uint64_t matrices = 320 * 64 + 2 * (2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * 96), vectors = 5 * 64;
    assert_int_equal(info.parameters, matrices + vectors);
    assert_int_equal(info.weight_bytes, 2 * matrices + 4 * vectors);

    assert_int_equal(millet_model_tensor_count(model), 2 + 2 * 9);
    millet_tensor_info tensor;
    millet_model_tensor(model, 0, &tensor);
    assert_string_equal(tensor.name, "token_embd.weight");
    assert_string_equal(tensor.dtype, "F16");
    assert_int_equal(tensor.n_dims, 2);
    assert_true(tensor.dims[0] == 64 && tensor.dims[1] == 320 && tensor.dims[2] == 1);
    assert_int_equal(tensor.bytes, 320 * 64 * 2);

    static const struct {
        const char *key, *type, *value;
    } expected[] = {{"general.architecture", "string", "llama"},
                    {"llama.block_count", "u32", "2"},
                    {"llama.a.string", "string", "text"},
                    {"llama.a.float", "f32", "0.1"},
                    {"llama.a.negative", "i32", "-3"},
                    {"llama.a.bool", "bool", "true"},
                    {"llama.an.array", "u16[9]", "[9, 8, 7, 6, 5, 4, 3, 2, ...]"},
                    {"llama.some.strings", "string[2]", "[\"one\", \"two\"]"}};
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        millet_metadata entry;
        char value[64];
        assert_true(find_metadata(model, expected[i].key, &entry, value, sizeof value));
        assert_string_equal(entry.type, expected[i].type);
        assert_string_equal(value, expected[i].value);
    }
    millet_model_close(&model);
    millet_model_close(&model); /* of nothing: allowed */

    struct tiny_shape shape = tiny_default();
    model = tiny_model(mlt_default_allocator(), &shape);
    millet_model_get_info(model, &info);
    assert_string_equal(info.tokenizer, "SPM");
    millet_model_close(&model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_missing_tensors),
        cmocka_unit_test(test_wrong_shapes),
        cmocka_unit_test(test_hostile_divisors),
        cmocka_unit_test(test_views),
        cmocka_unit_test(test_assembled_tensors),
        cmocka_unit_test(test_tokenizer_fits),
        cmocka_unit_test(test_info),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
