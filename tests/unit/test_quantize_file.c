/*
 * millet_quantize from file to file: types, rules, metadata, refusals, and that a file is all or nothing.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "compact/encode_tensor.h"
#include "compact/quantize_types.h"
#include "millet/lab.h"
#include "support/counting_allocator.h"
#include "support/file_bytes.h"
#include "support/tiny_model.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static int set_up(void **state)
{
    (void)state;
    folder_make();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    folder_remove();
    return 0;
}

/* 256 wide: every type has rows that fit. */
static struct tiny_shape wide(void)
{
    struct tiny_shape shape = tiny_default();
    shape.n_embd = 256;
    shape.n_ff = 512;
    return shape;
}

static struct mlt_checkpoint *open_file(const char *path)
{
    struct mlt_checkpoint *checkpoint;
    millet_error err;
    if (mlt_checkpoint_open(mlt_default_allocator(), path, NULL, &checkpoint, &err) != MILLET_OK)
        fail_msg("%s", err.message);
    return checkpoint;
}

static millet_quantized *quantize(const char *input, const char *output, millet_quantize_options options)
{
    millet_quantized *result = NULL;
    millet_error err;
    if (!options.n_threads) options.n_threads = 1;
    if (millet_quantize(input, output, &options, &result, &err) != MILLET_OK)
        fail_msg("%s: %s", err.item, err.message);
    return result;
}

static const char *dtype_of(const struct mlt_checkpoint *checkpoint, const char *name)
{
    const struct mlt_tensor *tensor = mlt_checkpoint_tensor(checkpoint, name);
    assert_non_null(tensor);
    return mlt_dtype_info(tensor->dtype)->name;
}

static uint32_t number_of(const struct mlt_checkpoint *checkpoint, const char *key)
{
    uint32_t value;
    assert_int_equal(mlt_meta_get_u32(checkpoint, key, NULL, &value, NULL), MILLET_OK);
    return value;
}

/* ---- The rules ------------------------------------------------------------------------------------------
 */

static const char *choice(const char *type, struct mlt_quantize_facts facts, const char *name)
{
    struct mlt_tensor tensor = {
        .name = {name, strlen(name)}, .dtype = MLT_F32, .n_dims = 2, .ne = {256, 8, 1, 1}};
    return mlt_dtype_info(mlt_quantize_choose(mlt_quantize_type_find(type), &facts, &tensor))->name;
}

/* What llama-quantize gives a Llama of 32 layers. */
static void test_mix_of_32_layers(void **state)
{
    (void)state;
    const struct mlt_quantize_facts facts = {.n_layers = 32, .group_size = 1};
    static const int more[] = {0, 1, 2, 3, 6, 9, 12, 15, 18, 21, 24, 27, 28, 29, 30, 31};
    size_t next = 0;
    for (int layer = 0; layer < 32; layer++) {
        char value[64], down[64], output[64], key[64];
        snprintf(value, sizeof value, "blk.%d.attn_v.weight", layer);
        snprintf(down, sizeof down, "blk.%d.ffn_down.weight", layer);
        snprintf(output, sizeof output, "blk.%d.attn_output.weight", layer);
        snprintf(key, sizeof key, "blk.%d.attn_k.weight", layer);
        bool is_more = next < MLT_COUNT(more) && more[next] == layer;
        next += is_more;
        assert_string_equal(choice("Q4_K_M", facts, value), is_more ? "Q6_K" : "Q4_K");
        assert_string_equal(choice("Q4_K_M", facts, down), is_more ? "Q6_K" : "Q4_K");
        assert_string_equal(choice("Q4_K_M", facts, output), "Q4_K");
        assert_string_equal(choice("Q4_K_M", facts, key), "Q4_K");
        assert_string_equal(choice("Q5_K_M", facts, value), is_more ? "Q6_K" : "Q5_K");
        assert_string_equal(choice("Q5_K_M", facts, down), is_more ? "Q6_K" : "Q5_K");
        assert_string_equal(choice("Q5_K_S", facts, down), "Q5_K");
        assert_string_equal(choice("Q4_K_S", facts, value), layer < 4 ? "Q5_K" : "Q4_K");
        assert_string_equal(choice("Q4_K_S", facts, down), layer < 4 ? "Q5_K" : "Q4_K");
        assert_string_equal(choice("Q3_K_M", facts, value), layer < 2 ? "Q5_K" : "Q4_K");
        assert_string_equal(choice("Q3_K_M", facts, down), layer < 2 ? "Q5_K" : "Q4_K");
        assert_string_equal(choice("Q3_K_M", facts, output), "Q4_K");
        assert_string_equal(choice("Q3_K_L", facts, value), "Q5_K");
        assert_string_equal(choice("Q3_K_L", facts, down), "Q5_K");
        assert_string_equal(choice("Q3_K_L", facts, output), "Q5_K");
        assert_string_equal(choice("Q3_K_S", facts, value), "Q3_K");
        assert_string_equal(choice("Q3_K_S", facts, down), "Q3_K");
        assert_string_equal(choice("Q2_K", facts, value), "Q3_K");
        assert_string_equal(choice("Q2_K", facts, down), "Q3_K");
        assert_string_equal(choice("Q2_K", facts, output), "Q3_K");
        assert_string_equal(choice("Q2_K", facts, key), "Q2_K");
        assert_string_equal(choice("IQ4_XS", facts, down), layer < 4 ? "Q5_K" : "IQ4_XS");
        assert_string_equal(choice("Q4_0", facts, down), "Q4_0");
    }
    assert_int_equal(next, MLT_COUNT(more));
}

static void test_other_rules(void **state)
{
    (void)state;
    const struct mlt_quantize_facts plain = {.n_layers = 32, .group_size = 1},
                                    tied = {.n_layers = 32, .tied = true},
                                    grouped = {.n_layers = 32, .group_size = 4},
                                    largest = {.n_layers = 80, .group_size = 8},
                                    experts = {.n_layers = 32, .group_size = 4, .n_experts = 8};
    const char *value = "blk.10.attn_v.weight";
    static const char *const quantised[] = {"Q6_K", "Q5_K_M", "Q4_0",  "Q4_K_S",
                                            "Q2_K", "IQ4_NL", "MXFP4", "TQ1_0"};
    for (size_t i = 0; i < MLT_COUNT(quantised); i++) {
        assert_string_equal(choice(quantised[i], plain, "output.weight"), "Q6_K");
        assert_string_equal(choice(quantised[i], tied, "token_embd.weight"), "Q6_K");
    }
    assert_string_equal(choice("Q8_0", plain, "output.weight"), "Q8_0");
    assert_string_equal(choice("F16", plain, "output.weight"), "F16");
    assert_string_equal(choice("Q4_K_M", plain, "token_embd.weight"), "Q4_K");
    assert_string_equal(choice("TQ2_0", plain, "token_embd.weight"), "Q4_K");
    assert_string_equal(choice("Q2_K", grouped, value), "Q4_K");
    assert_string_equal(choice("IQ4_NL", grouped, value), "Q5_K");
    assert_string_equal(choice("IQ4_NL", plain, value), "IQ4_NL");
    assert_string_equal(choice("Q4_K_M", largest, "blk.11.attn_v.weight"), "Q5_K");
    assert_string_equal(choice("Q3_K_S", largest, value), "Q5_K");
    assert_string_equal(choice("Q4_0", experts, value), "Q8_0");
    assert_string_equal(choice("Q4_K_M", experts, "blk.3.attn_k.weight"), "Q8_0");
    assert_string_equal(choice("Q4_K_M", experts, "blk.3.attn_output.weight"), "Q5_K");
    assert_string_equal(choice("Q3_K_L", experts, "blk.3.attn_output.weight"), "Q3_K");
    assert_string_equal(choice("Q4_K_M", experts, "blk.9.ffn_down_exps.weight"), "Q6_K");
    assert_string_equal(choice("Q4_K_M", plain, "blk.3.attn_qkv.weight"), "Q5_K");
    assert_string_equal(choice("Q5_K_M", plain, "blk.3.attn_qkv.weight"), "Q6_K");
    assert_string_equal(choice("Q3_K_M", plain, "blk.3.attn_qkv.weight"), "Q4_K");
}

static void test_what_is_quantised(void **state)
{
    (void)state;
    const struct {
        const char *name;
        mlt_dtype dtype;
        int n_dims;
        bool applies;
    } cases[] = {
        {"blk.0.attn_q.weight", MLT_F32, 2, true},
        {"blk.0.attn_q.weight", MLT_F32, 1, false},
        {"blk.0.attn_q.bias", MLT_F32, 2, false},
        {"blk.0.attn_q_norm.weight", MLT_F32, 2, false},
        {"blk.0.ffn_gate_inp.weight", MLT_F16, 2, false},
        {"blk.0.ffn_gate_exps.weight", MLT_BF16, 3, true},
        {"position_embd.weight", MLT_F32, 2, false},
        {"token_embd.weight", MLT_F16, 2, true},
        {"token_types.weight", MLT_F32, 2, false},
        {"blk.0.ssm_conv1d.weight", MLT_F32, 2, false},
        {"blk.0.ids.weight", MLT_I32, 2, false},
        {"output.weight", MLT_Q4_0, 2, true},
        {"weight", MLT_F32, 2, true},
        {"eight", MLT_F32, 2, false},
    };
    for (size_t i = 0; i < MLT_COUNT(cases); i++) {
        struct mlt_tensor tensor = {.name = {cases[i].name, strlen(cases[i].name)},
                                    .dtype = cases[i].dtype,
                                    .n_dims = cases[i].n_dims};
        assert_int_equal(mlt_quantize_applies(&tensor), cases[i].applies);
    }
}

static void test_fit(void **state)
{
    (void)state;
    const struct {
        mlt_dtype wanted;
        int64_t elements;
        mlt_dtype fits;
    } cases[] = {
        {MLT_Q4_K, 512, MLT_Q4_K},    {MLT_Q4_K, 96, MLT_Q5_0},   {MLT_Q5_K, 96, MLT_Q5_1},
        {MLT_Q6_K, 96, MLT_Q8_0},     {MLT_Q3_K, 96, MLT_IQ4_NL}, {MLT_Q2_K, 96, MLT_IQ4_NL},
        {MLT_IQ4_XS, 96, MLT_IQ4_NL}, {MLT_TQ1_0, 96, MLT_Q4_0},  {MLT_TQ2_0, 96, MLT_Q4_0},
        {MLT_Q6_K, 100, MLT_F16},     {MLT_Q8_0, 100, MLT_F16},   {MLT_MXFP4, 16, MLT_F16},
        {MLT_F32, 7, MLT_F32},        {MLT_BF16, 7, MLT_BF16},
    };
    for (size_t i = 0; i < MLT_COUNT(cases); i++)
        assert_int_equal(mlt_quantize_fit(cases[i].wanted, cases[i].elements), cases[i].fits);
}

static void test_type_names(void **state)
{
    (void)state;
    char names[512];
    snprintf(names, sizeof names, "%s", millet_quantize_type_names());
    int n = 0;
    for (char *name = strtok(names, ", "); name; name = strtok(NULL, ", "), n++) {
        assert_non_null(mlt_quantize_type_find(name));
        assert_string_equal(mlt_quantize_type_find(name)->name, name);
    }
    assert_int_equal(n, 22);
    assert_string_equal(mlt_quantize_type_find("q4_k")->name, "Q4_K_M");
    assert_null(mlt_quantize_type_find("Q4"));
    assert_null(mlt_quantize_type_find(""));
}

/* ---- Files ----------------------------------------------------------------------------------------------
 */

/* A tensor's bytes are those of its rows encoded one by one; the error is that of the whole. */
static void check_tensor(const struct mlt_tensor *from, const struct mlt_tensor *to,
                         const millet_quantized_tensor *report)
{
    assert_string_equal(report->name, from->name.data);
    assert_string_equal(report->from, mlt_dtype_info(from->dtype)->name);
    assert_string_equal(report->to, mlt_dtype_info(to->dtype)->name);
    assert_int_equal(report->bytes_before, from->bytes);
    assert_int_equal(report->bytes_after, to->bytes);
    assert_memory_equal(from->ne, to->ne, sizeof from->ne);
    int64_t n = from->ne[0];
    float *a = malloc((size_t)n * sizeof(float)), *b = malloc((size_t)n * sizeof(float));
    uint8_t *bytes = malloc((size_t)to->row_bytes);
    double squares = 0, difference = 0;
    for (uint64_t row = 0; row < from->rows; row++) {
        mlt_decode(from->dtype, from->data + row * from->row_bytes, a, n);
        if (from->dtype == to->dtype)
            memcpy(bytes, from->data + row * from->row_bytes, (size_t)to->row_bytes);
        else
            mlt_encode(to->dtype, a, NULL, bytes, n);
        assert_memory_equal(bytes, to->data + row * to->row_bytes, (size_t)to->row_bytes);
        mlt_decode(to->dtype, bytes, b, n);
        for (int64_t i = 0; i < n; i++) {
            squares += (double)a[i] * (double)a[i];
            difference += ((double)b[i] - (double)a[i]) * ((double)b[i] - (double)a[i]);
        }
    }
    assert_true(fabs(report->error - sqrt(difference / squares)) < 1e-9);
    free(a);
    free(b);
    free(bytes);
}

static void check_file(const char *input, const char *output, const millet_quantized *result,
                       const char *type_name)
{
    struct mlt_checkpoint *from = open_file(input), *to = open_file(output);
    assert_int_equal(result->n_tensors, from->n_tensors);
    assert_int_equal(to->n_tensors, from->n_tensors);
    const struct mlt_quantize_type *type = mlt_quantize_type_find(type_name);
    assert_string_equal(result->type, type->name);
    uint64_t before = 0, after = 0;
    for (size_t i = 0; i < from->n_tensors; i++) {
        check_tensor(&from->tensors[i], &to->tensors[i], &result->tensors[i]);
        assert_string_equal(from->tensors[i].name.data, to->tensors[i].name.data);
        before += from->tensors[i].bytes;
        after += to->tensors[i].bytes;
    }
    assert_int_equal(result->bytes_before, before);
    assert_int_equal(result->bytes_after, after);
    assert_int_equal(result->file_bytes, to->maps[0].size);
    /* Metadata: all that was there, in order, and two numbers more. */
    assert_int_equal(to->n_metas, from->n_metas + 2);
    for (size_t i = 0; i < from->n_metas; i++) {
        assert_string_equal(from->metas[i].key.data, to->metas[i].key.data);
        assert_int_equal(from->metas[i].type, to->metas[i].type);
        assert_int_equal(from->metas[i].count, to->metas[i].count);
    }
    assert_int_equal(number_of(to, "general.file_type"), type->file_type);
    assert_int_equal(number_of(to, "general.quantization_version"), 2);
    mlt_checkpoint_close(&from);
    mlt_checkpoint_close(&to);
}

static void test_every_type(void **state)
{
    (void)state;
    struct tiny_shape shape = wide();
    const char *input = folder_path("in.gguf"), *output = folder_path("out.gguf");
    tiny_write(input, &shape);
    char names[512];
    snprintf(names, sizeof names, "%s", millet_quantize_type_names());
    double last_error = 0;
    for (char *name = strtok(names, ", "); name; name = strtok(NULL, ", ")) {
        millet_quantized *result =
            quantize(input, output, (millet_quantize_options){.type = name, .n_threads = 2});
        check_file(input, output, result, name);
        assert_int_equal(result->n_fallbacks, 0);
        assert_int_equal(result->n_files, 1);
        if (strcmp(name, "F32") == 0)
            assert_true(result->error == 0 && result->bytes_after == result->bytes_before);
        if (strcmp(name, "Q8_0") == 0) assert_true(result->error > 1e-4 && result->error < 0.01);
        if (strcmp(name, "Q2_K") == 0) assert_true(result->error > last_error);
        last_error = result->error;
        millet_quantized_free(&result);
        assert_null(result);
        millet_model *model;
        assert_int_equal(millet_model_open(output, NULL, &model, NULL), MILLET_OK);
        millet_model_close(&model);
    }
    assert_int_equal(folder_count(), 2); /* no temporary file is left */
}

static void test_threads_make_no_difference(void **state)
{
    (void)state;
    struct tiny_shape shape = wide();
    shape.n_layers = 1;
    shape.n_ff = 4096 + 256; /* rows of more than one segment */
    const char *input = folder_path("in.gguf"), *one = folder_path("one.gguf"),
               *three = folder_path("three.gguf");
    tiny_write(input, &shape);
    millet_quantized *a = quantize(input, one, (millet_quantize_options){.type = "Q4_K_M", .n_threads = 1});
    millet_quantized *b = quantize(input, three, (millet_quantize_options){.type = "Q4_K_M", .n_threads = 3});
    check_file(input, one, a, "Q4_K_M");
    assert_true(a->error == b->error);
    struct file_bytes x = file_read(one), y = file_read(three);
    assert_int_equal(x.size, y.size);
    assert_memory_equal(x.data, y.data, x.size);
    bytes_free(&x);
    bytes_free(&y);
    millet_quantized_free(&a);
    millet_quantized_free(&b);
}

/* ---- Tensors that are assembled on reading ---- */

/* Gives the rows of the mapped tensor behind it in reverse order. */
static millet_status read_reversed(const struct mlt_tensor *tensor, uint64_t row, uint64_t rows, void *out,
                                   millet_error *err)
{
    (void)err;
    const struct mlt_tensor *from = tensor->source;
    for (uint64_t i = 0; i < rows; i++)
        memcpy((uint8_t *)out + i * from->row_bytes,
               from->data + (from->rows - 1 - row - i) * from->row_bytes, (size_t)from->row_bytes);
    return MILLET_OK;
}

static millet_status gather(void *context, const void *bytes, uint64_t size, uint64_t elements,
                            millet_error *err)
{
    (void)elements;
    (void)err;
    bytes_put(context, bytes, (size_t)size);
    return MILLET_OK;
}

static void test_assembled_tensor(void **state)
{
    (void)state;
    enum { COLUMNS = 4864, ROWS = 450 }; /* rows of two segments, in three readings */
    float *values = malloc(sizeof(float) * COLUMNS * ROWS);
    for (int i = 0; i < COLUMNS * ROWS; i++)
        values[i] = (float)(i * 97 % 1009) / 500 - 1;
    struct mlt_tensor mapped = {.name = {"m", 1},
                                .dtype = MLT_F32,
                                .n_dims = 2,
                                .ne = {COLUMNS, ROWS, 1, 1},
                                .row_bytes = COLUMNS * sizeof(float),
                                .rows = ROWS,
                                .bytes = sizeof(float) * COLUMNS * ROWS,
                                .data = (const uint8_t *)values,
                                .file = ""};
    struct mlt_tensor assembled = mapped;
    assembled.data = NULL;
    assembled.read = read_reversed;
    assembled.source = &mapped;
    struct mlt_encoder encoder;
    struct mlt_encode_error errors[2];
    struct file_bytes bytes[2] = {{0}, {0}};
    assert_int_equal(mlt_encoder_open(&encoder, mlt_default_allocator(), 2, NULL), MILLET_OK);
    const struct mlt_tensor *tensors[2] = {&mapped, &assembled};
    for (int i = 0; i < 2; i++)
        assert_int_equal(
            mlt_encode_tensor(&encoder, tensors[i], MLT_Q5_0, NULL, gather, &bytes[i], &errors[i], NULL),
            MILLET_OK);
    size_t row = mlt_dtype_row_bytes(MLT_Q5_0, COLUMNS);
    assert_int_equal(bytes[0].size, row * ROWS);
    assert_int_equal(bytes[1].size, row * ROWS);
    for (size_t i = 0; i < ROWS; i++)
        assert_memory_equal(bytes[0].data + i * row, bytes[1].data + (ROWS - 1 - i) * row, row);
    assert_true(fabs(errors[0].difference / errors[1].difference - 1) < 1e-9);
    /* A damaged element is named by its place in what was assembled. */
    values[(ROWS - 1 - 333) * COLUMNS + 4200] = NAN;
    millet_error err;
    assert_int_equal(
        mlt_encode_tensor(&encoder, &assembled, MLT_Q5_0, NULL, gather, &bytes[1], &errors[1], &err),
        MILLET_BAD_ARGUMENT);
    assert_non_null(strstr(err.message, "(row 333, column 4200)"));
    mlt_encoder_close(&encoder);
    bytes_free(&bytes[0]);
    bytes_free(&bytes[1]);
    free(values);
}

static void test_fallbacks(void **state)
{
    (void)state;
    struct tiny_shape shape = tiny_default(); /* 64 wide, feed-forward 96 */
    shape.n_ff = 100;
    const char *input = folder_path("in.gguf"), *output = folder_path("out.gguf");
    tiny_write(input, &shape);
    millet_quantized *result = quantize(input, output, (millet_quantize_options){.type = "Q4_K_M"});
    check_file(input, output, result, "Q4_K_M");
    struct mlt_checkpoint *c = open_file(output);
    assert_string_equal(dtype_of(c, "blk.0.attn_q.weight"), "Q5_0");
    assert_string_equal(dtype_of(c, "blk.0.ffn_down.weight"), "F16"); /* rows of 100 */
    assert_string_equal(dtype_of(c, "output.weight"), "Q8_0");
    assert_string_equal(dtype_of(c, "blk.0.attn_norm.weight"), "F32");
    assert_int_equal(result->n_fallbacks, 2 * 7 + 2);
    for (size_t i = 0; i < result->n_tensors; i++)
        assert_int_equal(result->tensors[i].fallback, strcmp(result->tensors[i].to, "F32") != 0);
    mlt_checkpoint_close(&c);
    millet_quantized_free(&result);
}

static void test_choices(void **state)
{
    (void)state;
    struct tiny_shape shape = wide();
    const char *input = folder_path("in.gguf"), *output = folder_path("out.gguf");
    tiny_write(input, &shape);
    const char *const keep[] = {"blk.1.ffn_*", "blk.0.attn_?.weight"};
    millet_quantize_options options = {
        .type = "q4_0", .output_type = "Q5_1", .embedding_type = "f16", .keep = keep, .n_keep = 2};
    millet_quantized *result = quantize(input, output, options);
    check_file(input, output, result, "Q4_0");
    struct mlt_checkpoint *c = open_file(output);
    assert_string_equal(dtype_of(c, "output.weight"), "Q5_1");
    assert_string_equal(dtype_of(c, "token_embd.weight"), "F16");
    assert_string_equal(dtype_of(c, "blk.1.ffn_up.weight"), "F32");
    assert_string_equal(dtype_of(c, "blk.0.ffn_up.weight"), "Q4_0");
    assert_string_equal(dtype_of(c, "blk.0.attn_v.weight"), "F32");
    assert_string_equal(dtype_of(c, "blk.0.attn_output.weight"), "Q4_0");
    mlt_checkpoint_close(&c);
    millet_quantized_free(&result);

    result = quantize(input, output, (millet_quantize_options){.type = "Q4_K", .uniform = true});
    c = open_file(output);
    for (size_t i = 0; i < c->n_tensors; i++)
        assert_string_equal(mlt_dtype_info(c->tensors[i].dtype)->name,
                            c->tensors[i].n_dims > 1 ? "Q4_K" : "F32");
    mlt_checkpoint_close(&c);
    millet_quantized_free(&result);

    shape.tied = true;
    tiny_write(input, &shape);
    result = quantize(input, output, (millet_quantize_options){.type = "Q4_0", .output_type = "Q8_0"});
    c = open_file(output);
    assert_string_equal(dtype_of(c, "token_embd.weight"), "Q8_0");
    mlt_checkpoint_close(&c);
    millet_quantized_free(&result);
}

static void test_quantising_again(void **state)
{
    (void)state;
    struct tiny_shape shape = wide();
    const char *input = folder_path("in.gguf"), *first = folder_path("first.gguf"),
               *output = folder_path("out.gguf");
    tiny_write(input, &shape);
    millet_quantized *result = quantize(input, first, (millet_quantize_options){.type = "Q8_0"});
    millet_quantized_free(&result);
    millet_error err;
    millet_quantize_options options = {.type = "Q4_0", .n_threads = 1};
    assert_int_equal(millet_quantize(first, output, &options, &result, &err), MILLET_BAD_ARGUMENT);
    assert_null(result);
    assert_string_equal(err.item, "token_embd.weight");
    assert_non_null(strstr(err.message, "Q8_0"));
    assert_int_equal(folder_count(), 2);
    options.allow_requantize = true;
    result = quantize(first, output, options);
    assert_string_equal(result->tensors[0].from, "Q8_0");
    assert_string_equal(result->tensors[0].to, "Q4_0");
    millet_quantized_free(&result);
    /* The same type again is a copy; F32 loses nothing. */
    result = quantize(first, output, (millet_quantize_options){.type = "Q8_0"});
    assert_true(result->error == 0);
    millet_quantized_free(&result);
    struct file_bytes a = file_read(first), b = file_read(output);
    assert_int_equal(a.size, b.size);
    assert_memory_equal(a.data, b.data, a.size);
    bytes_free(&a);
    bytes_free(&b);
    result = quantize(first, output, (millet_quantize_options){.type = "F32"});
    assert_true(result->error == 0);
    assert_string_equal(result->tensors[0].to, "F32");
    millet_quantized_free(&result);
}

/* Overwrites float `element` of a tensor in a GGUF file. */
static void damage(const char *path, const char *name, uint64_t element, float value)
{
    struct mlt_checkpoint *c = open_file(path);
    const struct mlt_tensor *tensor = mlt_checkpoint_tensor(c, name);
    long offset = (long)(tensor->offset + element * sizeof(float));
    mlt_checkpoint_close(&c);
    FILE *file = fopen(path, "r+b");
    assert_int_equal(fseek(file, offset, SEEK_SET), 0);
    assert_int_equal(fwrite(&value, sizeof value, 1, file), 1);
    fclose(file);
}

static void test_values_that_cannot_be(void **state)
{
    (void)state;
    struct tiny_shape shape = wide();
    const char *input = folder_path("in.gguf"), *output = folder_path("out.gguf");
    const struct {
        float value;
        const char *type, *tensor;
        uint64_t element;
        const char *says;
    } cases[] = {
        {NAN, "Q4_0", "blk.1.ffn_up.weight", 256 * 3 + 5, "element 773 (row 3, column 5) is NaN"},
        {INFINITY, "Q8_0", "token_embd.weight", 0, "element 0 (row 0, column 0) is NaN or infinite"},
        {-INFINITY, "F16", "output.weight", 1000, "element 1000 (row 3, column 232)"},
        {NAN, "Q4_K_M", "output_norm.weight", 7, "element 7"}, /* copied, and damaged all the same */
        {NAN, "F32", "blk.0.attn_q.weight", 256 * 256 - 1, "element 65535"},
        {1e6f, "F16", "blk.0.attn_k.weight", 9, "element 9 (row 0, column 9) is too large for F16"},
        {1e30f, "Q8_0", "blk.0.attn_k.weight", 40, "element 40 (row 0, column 40) is too large for Q8_0"},
        {-1e6f, "Q4_0", "blk.0.attn_k.weight", 40, "element 40 (row 0, column 40) is too large for Q4_0"},
    };
    for (size_t i = 0; i < MLT_COUNT(cases); i++) {
        tiny_write(input, &shape);
        damage(input, cases[i].tensor, cases[i].element, cases[i].value);
        millet_error err;
        millet_quantize_options options = {.type = cases[i].type, .n_threads = 2};
        assert_int_equal(millet_quantize(input, output, &options, NULL, &err), MILLET_BAD_ARGUMENT);
        assert_string_equal(err.item, cases[i].tensor);
        assert_string_equal(err.file, input);
        if (!strstr(err.message, cases[i].says)) fail_msg("%s: %s", cases[i].says, err.message);
        assert_int_equal(folder_count(), 1);
    }
}

static bool stop_half_way(void *context, double fraction)
{
    double *last = context;
    assert_true(fraction > *last && fraction <= 1);
    *last = fraction;
    return fraction < 0.5;
}

static void test_refusals_leave_the_old_file(void **state)
{
    (void)state;
    struct tiny_shape shape = wide();
    const char *input = folder_path("in.gguf"), *output = folder_path("out.gguf");
    tiny_write(input, &shape);
    struct file_bytes old = {0}, after;
    bytes_put(&old, "old", 3);
    file_write(output, &old);
    double fraction = 0;
    const char *const no_name[] = {NULL};
    const struct {
        const char *item;
        millet_status status;
        millet_quantize_options options;
    } cases[] = {
        {"type", MILLET_BAD_ARGUMENT, {.type = "Q4"}},
        {"output_type", MILLET_BAD_ARGUMENT, {.output_type = "I32"}},
        {"embedding_type", MILLET_BAD_ARGUMENT, {.embedding_type = "Q4_K_M"}},
        {"keep", MILLET_BAD_ARGUMENT, {.keep = no_name, .n_keep = 1}},
        {"n_threads", MILLET_BAD_ARGUMENT, {.n_threads = -1}},
        {"",
         MILLET_CANCELLED,
         {.type = "Q8_0", .progress = stop_half_way, .context = &fraction, .n_threads = 1}},
    };
    for (size_t i = 0; i < MLT_COUNT(cases); i++) {
        millet_error err;
        millet_quantized *result;
        assert_int_equal(millet_quantize(input, output, &cases[i].options, &result, &err), cases[i].status);
        assert_string_equal(err.item, cases[i].item);
        assert_null(result);
    }
    millet_error err;
    assert_int_equal(millet_quantize(folder_path("none.gguf"), output, NULL, NULL, &err), MILLET_NOT_FOUND);
    assert_int_equal(millet_quantize(output, output, NULL, NULL, &err), MILLET_BAD_FORMAT);
    assert_int_equal(millet_quantize(input, folder_path("no/such/folder.gguf"), NULL, NULL, &err),
                     MILLET_NOT_FOUND);
    after = file_read(output);
    assert_int_equal(after.size, 3);
    assert_memory_equal(after.data, "old", 3);
    bytes_free(&after);
    bytes_free(&old);
    assert_int_equal(folder_count(), 2);
}

/* The input may be the output: it is read from its old file until the new one takes the name. */
static void test_onto_itself(void **state)
{
    (void)state;
    struct tiny_shape shape = wide();
    const char *path = folder_path("model.gguf"), *expected = folder_path("expected.gguf");
    tiny_write(path, &shape);
    millet_quantized *result = quantize(path, expected, (millet_quantize_options){.type = "Q4_0"});
    millet_quantized_free(&result);
    result = quantize(path, path, (millet_quantize_options){.type = "Q4_0"});
    millet_quantized_free(&result);
    struct file_bytes a = file_read(path), b = file_read(expected);
    assert_int_equal(a.size, b.size);
    assert_memory_equal(a.data, b.data, a.size);
    bytes_free(&a);
    bytes_free(&b);
}

static void test_split(void **state)
{
    (void)state;
    struct tiny_shape shape = wide();
    const char *input = folder_path("in.gguf"), *output = folder_path("out.gguf");
    tiny_write(input, &shape);
    millet_quantized *whole = quantize(input, output, (millet_quantize_options){.type = "Q8_0"});
    millet_quantized *split = quantize(input, folder_path("split.gguf"),
                                       (millet_quantize_options){.type = "Q8_0", .split_bytes = 300000});
    assert_true(split->n_files > 2);
    char first[64];
    snprintf(first, sizeof first, "split-00001-of-%05d.gguf", (int)split->n_files);
    struct mlt_checkpoint *a = open_file(output), *b = open_file(folder_path(first));
    assert_int_equal(a->n_tensors, b->n_tensors);
    for (size_t i = 0; i < a->n_tensors; i++)
        assert_memory_equal(a->tensors[i].data, b->tensors[i].data, (size_t)a->tensors[i].bytes);
    uint64_t bytes = 0;
    for (size_t i = 0; i < b->n_maps; i++)
        bytes += b->maps[i].size;
    assert_int_equal(split->file_bytes, bytes);
    assert_int_equal(split->n_files, b->n_maps);
    mlt_checkpoint_close(&a);
    mlt_checkpoint_close(&b);
    millet_quantized_free(&whole);
    millet_quantized_free(&split);
}

/* Memory is that of the pieces at hand: eight times the model takes no more. */
static void test_memory_does_not_grow(void **state)
{
    (void)state;
    unsigned long long peaks[2];
    for (int i = 0; i < 2; i++) {
        struct tiny_shape shape = wide();
        shape.n_layers = 1;
        shape.n_ff = i ? 16 * 1024 : 2 * 1024;
        tiny_write(folder_path("in.gguf"), &shape);
        struct counting_allocator counting;
        counting_allocator_init(&counting);
        millet_quantized *result = quantize(
            folder_path("in.gguf"), folder_path("out.gguf"),
            (millet_quantize_options){.type = "Q8_0", .allocator = &counting.allocator, .n_threads = 2});
        millet_quantized_free(&result);
        assert_int_equal(counting.live, 0);
        peaks[i] = counting.peak;
    }
    assert_true(peaks[1] <= peaks[0] + 4096);
    assert_true(peaks[1] < 12u << 20); /* the larger model has 50 MB */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mix_of_32_layers),
        cmocka_unit_test(test_other_rules),
        cmocka_unit_test(test_what_is_quantised),
        cmocka_unit_test(test_fit),
        cmocka_unit_test(test_type_names),
        cmocka_unit_test(test_assembled_tensor),
        cmocka_unit_test_setup_teardown(test_every_type, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_threads_make_no_difference, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_fallbacks, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_choices, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_quantising_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_values_that_cannot_be, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_refusals_leave_the_old_file, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_onto_itself, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_split, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_memory_does_not_grow, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
