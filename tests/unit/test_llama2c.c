/* llama2.c checkpoints and tokenizers: mapping to GGUF's names, decoding, damage. SPDX-License-Identifier:
 * Apache-2.0 */
#include "format/readers.h"
#include "support/counting_allocator.h"
#include "support/file_bytes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct counting_allocator counting;

static int set_up(void **state)
{
    (void)state;
    counting_allocator_init(&counting);
    folder_make();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    folder_remove();
    return counting.live == 0 ? 0 : -1;
}

static void write_sample(const char *name, int version, int32_t n_vocab, int shared, int32_t group,
                         int odd_scales)
{
    struct file_bytes bytes;
    bytes_sample_llama2c(&bytes, version, n_vocab, shared, group, odd_scales);
    file_write(folder_path(name), &bytes);
    bytes_free(&bytes);
}

static void write_tokenizer(const char *name, int32_t n_vocab)
{
    struct file_bytes bytes;
    bytes_sample_tokenizer(&bytes, n_vocab);
    file_write(folder_path(name), &bytes);
    bytes_free(&bytes);
}

static struct mlt_checkpoint *open_sample(const char *name, const char *tokenizer)
{
    struct mlt_checkpoint *checkpoint;
    millet_error err;
    if (mlt_checkpoint_open(&counting.allocator, folder_path(name), tokenizer, &checkpoint, &err) !=
        MILLET_OK)
        fail_msg("%s: %s: %s", err.file, err.item, err.message);
    return checkpoint;
}

static const struct mlt_tensor *tensor_of(const struct mlt_checkpoint *checkpoint, const char *name,
                                          int64_t cols, int64_t rows)
{
    const struct mlt_tensor *tensor = mlt_checkpoint_tensor(checkpoint, name);
    if (!tensor) fail_msg("no tensor %s", name);
    assert_int_equal(tensor->ne[0], cols);
    assert_int_equal(tensor->rows, rows);
    assert_int_equal(tensor->n_dims, rows == 1 ? 1 : 2);
    return tensor;
}

/* The first float of a tensor; in the samples float i of a file is i / 1024 - 1, so that it tells the place.
 */
static int64_t first_float(const struct mlt_checkpoint *checkpoint, const char *name, int64_t cols,
                           int64_t rows)
{
    const struct mlt_tensor *tensor = tensor_of(checkpoint, name, cols, rows);
    float value, *all = malloc(tensor->bytes);
    assert_non_null(all);
    assert_int_equal(tensor->dtype, MLT_F32);
    assert_int_equal(mlt_tensor_read(tensor, 0, tensor->rows, all, NULL), MILLET_OK);
    for (int64_t i = 1; i < cols * rows; i++)
        assert_true((all[i] - all[i - 1]) * 1024 == 1.0f); /* the rest follows without a gap */
    value = all[0];
    free(all);
    return (int64_t)((value + 1) * 1024);
}

static void check_numbers(const struct mlt_checkpoint *checkpoint, uint32_t n_vocab)
{
    const struct {
        const char *key;
        uint32_t value;
    } numbers[] = {{"llama.vocab_size", n_vocab},        {"llama.context_length", 8},
                   {"llama.embedding_length", 64},       {"llama.block_count", 2},
                   {"llama.feed_forward_length", 96},    {"llama.attention.head_count", 4},
                   {"llama.attention.head_count_kv", 2}, {"llama.rope.dimension_count", 16}};
    for (size_t i = 0; i < MLT_COUNT(numbers); i++) {
        uint32_t value;
        assert_int_equal(mlt_meta_get_u32(checkpoint, numbers[i].key, NULL, &value, NULL), MILLET_OK);
        assert_int_equal(value, numbers[i].value);
    }
    float value;
    assert_int_equal(
        mlt_meta_get_f32(checkpoint, "llama.attention.layer_norm_rms_epsilon", NULL, &value, NULL),
        MILLET_OK);
    assert_true(value == 1e-5f);
    struct mlt_string text;
    assert_int_equal(mlt_meta_get_string(checkpoint, "general.architecture", NULL, &text, NULL), MILLET_OK);
    assert_string_equal(text.data, "llama");
    assert_int_equal(mlt_meta_get_string(checkpoint, "general.name", NULL, &text, NULL), MILLET_OK);
    assert_string_equal(text.data, "sample");
}

static void test_v0(void **state)
{
    (void)state;
    const int64_t vocab = 20, attn = 64 * 64, kv = 64 * 32, ff = 64 * 96;
    for (int shared = 0; shared < 2; shared++) {
        write_sample("sample.bin", 0, (int32_t)vocab, shared, 0, 0);
        struct mlt_checkpoint *c = open_sample("sample.bin", NULL);
        assert_string_equal(c->format, "llama2.c v0");
        assert_int_equal(c->n_tensors, 2 * 9 + 2 + !shared);
        check_numbers(c, (uint32_t)vocab);
        int64_t at = 0;
        assert_int_equal(first_float(c, "token_embd.weight", 64, vocab), at);
        at += vocab * 64;
        assert_int_equal(first_float(c, "blk.0.attn_norm.weight", 64, 1), at);
        assert_int_equal(first_float(c, "blk.1.attn_norm.weight", 64, 1), at + 64);
        at += 128;
        assert_int_equal(first_float(c, "blk.0.attn_q.weight", 64, 64), at);
        assert_int_equal(first_float(c, "blk.1.attn_q.weight", 64, 64), at + attn);
        at += 2 * attn;
        assert_int_equal(first_float(c, "blk.0.attn_k.weight", 64, 32), at);
        assert_int_equal(first_float(c, "blk.1.attn_k.weight", 64, 32), at + kv);
        at += 2 * kv;
        assert_int_equal(first_float(c, "blk.0.attn_v.weight", 64, 32), at);
        at += 2 * kv;
        assert_int_equal(first_float(c, "blk.1.attn_output.weight", 64, 64), at + attn);
        at += 2 * attn;
        assert_int_equal(first_float(c, "blk.1.ffn_norm.weight", 64, 1), at + 64);
        at += 128;
        assert_int_equal(first_float(c, "blk.1.ffn_gate.weight", 64, 96), at + ff);
        at += 2 * ff;
        assert_int_equal(first_float(c, "blk.1.ffn_down.weight", 96, 64), at + ff);
        at += 2 * ff;
        assert_int_equal(first_float(c, "blk.1.ffn_up.weight", 64, 96), at + ff);
        at += 2 * ff;
        assert_int_equal(first_float(c, "output_norm.weight", 64, 1), at);
        at += 64 + 8 * 16; /* the tables of angles: 8 positions, 8 cosines and 8 sines */
        if (!shared) assert_int_equal(first_float(c, "output.weight", 64, vocab), at);
        if (shared) assert_null(mlt_checkpoint_tensor(c, "output.weight"));
        assert_null(mlt_checkpoint_meta(c, "tokenizer.ggml.model"));
        mlt_checkpoint_close(&c);
    }
}

static void test_v1(void **state)
{
    (void)state;
    const int64_t vocab = 20, attn = 64 * 64, kv = 64 * 32, ff = 64 * 96;
    for (int shared = 0; shared < 2; shared++) {
        write_sample("sample.bin", 1, (int32_t)vocab, shared, 0, 0);
        struct mlt_checkpoint *c = open_sample("sample.bin", NULL);
        assert_string_equal(c->format, "llama2.c v1");
        check_numbers(c, (uint32_t)vocab);
        assert_int_equal(c->tensors[0].offset, 256 + 4 * 5 * 64);
        int64_t at = 0;
        assert_int_equal(first_float(c, "blk.0.attn_norm.weight", 64, 1), at);
        assert_int_equal(first_float(c, "blk.1.ffn_norm.weight", 64, 1), at + 192);
        assert_int_equal(first_float(c, "output_norm.weight", 64, 1), at + 256);
        at += 320;
        assert_int_equal(first_float(c, "token_embd.weight", 64, vocab), at);
        at += vocab * 64;
        assert_int_equal(first_float(c, "blk.1.attn_q.weight", 64, 64), at + attn);
        at += 2 * attn + 4 * kv;
        assert_int_equal(first_float(c, "blk.0.attn_output.weight", 64, 64), at);
        at += 2 * attn;
        assert_int_equal(first_float(c, "blk.0.ffn_gate.weight", 64, 96), at);
        assert_int_equal(first_float(c, "blk.0.ffn_down.weight", 96, 64), at + 2 * ff);
        assert_int_equal(first_float(c, "blk.1.ffn_up.weight", 64, 96), at + 5 * ff);
        if (!shared) assert_int_equal(first_float(c, "output.weight", 64, vocab), at + 6 * ff);
        mlt_checkpoint_close(&c);
    }
}

/* The value that element `i` of all int8 has, times the scale of its group. */
static float expected_value(int64_t i, int32_t group, int odd_scales)
{
    int64_t k = i / group;
    float scale = odd_scales ? 0.1f + (float)k / 1000.0f : 1.0f / (float)(1 << (k % 5));
    return (float)(int8_t)(uint8_t)(i * 7 % 255 - 127) * scale;
}

static void check_quantised(const struct mlt_checkpoint *c, const char *name, int64_t cols, int64_t rows,
                            int64_t at, int32_t group, int odd_scales, mlt_dtype dtype)
{
    const struct mlt_tensor *tensor = tensor_of(c, name, cols, rows);
    assert_int_equal(tensor->dtype, dtype);
    assert_null(tensor->data);
    uint8_t *bytes = malloc(tensor->row_bytes * 3);
    float *values = malloc((size_t)cols * 3 * sizeof *values);
    assert_non_null(bytes);
    assert_non_null(values);
    for (int64_t row = 0; row < rows; row += 3) { /* rows in twos and threes, and the last ones */
        int64_t count = MLT_MIN(rows - row, 3);
        assert_int_equal(mlt_tensor_read(tensor, (uint64_t)row, (uint64_t)count, bytes, NULL), MILLET_OK);
        mlt_decode(tensor->dtype, bytes, values, cols * count);
        for (int64_t i = 0; i < cols * count; i++) {
            float expected = expected_value(at + row * cols + i, group, odd_scales);
            if (values[i] != expected)
                fail_msg("%s row %d, element %d: %g, not %g", name, (int)row, (int)i, (double)values[i],
                         (double)expected);
        }
    }
    free(values);
    free(bytes);
}

static void test_v2(void **state)
{
    (void)state;
    const int64_t vocab = 20, attn = 64 * 64, kv = 64 * 32, ff = 64 * 96;
    static const struct {
        int32_t group;
        int odd_scales;
        mlt_dtype dtype;
    } cases[] = {
        {64, 0, MLT_Q8_0},  {32, 0, MLT_Q8_0}, {64, 1, MLT_F32}, {16, 0, MLT_F32},
        {128, 0, MLT_Q8_0}, {256, 1, MLT_F32}, {1, 0, MLT_F32},
    };
    for (size_t i = 0; i < MLT_COUNT(cases); i++) {
        for (int shared = 0; shared < 2; shared++) {
            int32_t group = cases[i].group;
            int odd = cases[i].odd_scales;
            mlt_dtype dtype = cases[i].dtype;
            write_sample("sample.bin", 2, (int32_t)vocab, shared, group, odd);
            struct mlt_checkpoint *c = open_sample("sample.bin", NULL);
            assert_string_equal(c->format, "llama2.c v2");
            check_numbers(c, (uint32_t)vocab);
            assert_int_equal(first_float(c, "blk.1.attn_norm.weight", 64, 1), 64);
            assert_int_equal(first_float(c, "output_norm.weight", 64, 1), 256);
            int64_t at = 0;
            check_quantised(c, "token_embd.weight", 64, vocab, at, group, odd, dtype);
            at += vocab * 64;
            check_quantised(c, "blk.1.attn_q.weight", 64, 64, at + attn, group, odd, dtype);
            check_quantised(c, "blk.0.attn_k.weight", 64, 32, at + 2 * attn, group, odd, dtype);
            check_quantised(c, "blk.1.attn_v.weight", 64, 32, at + 2 * attn + 3 * kv, group, odd, dtype);
            at += 4 * attn + 4 * kv;
            check_quantised(c, "blk.0.ffn_gate.weight", 64, 96, at, group, odd, dtype);
            check_quantised(c, "blk.1.ffn_down.weight", 96, 64, at + 3 * ff, group, odd, dtype);
            check_quantised(c, "blk.1.ffn_up.weight", 64, 96, at + 5 * ff, group, odd, dtype);
            if (!shared) check_quantised(c, "output.weight", 64, vocab, at + 6 * ff, group, odd, dtype);
            uint32_t file_type;
            assert_int_equal(mlt_meta_get_u32(c, "general.file_type", NULL, &file_type, NULL), MILLET_OK);
            assert_int_equal(file_type, dtype == MLT_Q8_0 ? 7 : 0);
            mlt_checkpoint_close(&c);
        }
    }
}

static void check_tokens(const struct mlt_checkpoint *c, uint32_t n_vocab)
{
    const struct mlt_meta *tokens = mlt_checkpoint_meta(c, "tokenizer.ggml.tokens");
    const struct mlt_meta *scores = mlt_checkpoint_meta(c, "tokenizer.ggml.scores");
    const struct mlt_meta *types = mlt_checkpoint_meta(c, "tokenizer.ggml.token_type");
    assert_true(tokens && scores && types);
    assert_int_equal(tokens->count, n_vocab);
    assert_int_equal(scores->count, n_vocab);
    assert_int_equal(types->count, n_vocab);
    const struct mlt_string *text = tokens->value.array;
    const float *score = scores->value.array;
    const int32_t *type = types->value.array;
    assert_string_equal(text[0].data, "<unk>");
    assert_string_equal(text[1].data, "<s>"); /* without its line breaks */
    assert_string_equal(text[2].data, "</s>");
    assert_int_equal(type[0], 2);
    assert_int_equal(type[1], 3);
    assert_int_equal(type[2], 3);
    if (n_vocab > 266) {
        assert_string_equal(text[3].data, "<0x00>");
        assert_string_equal(text[258].data, "<0xFF>");
        assert_int_equal(type[3], 6);
        assert_int_equal(type[258], 6);
        assert_string_equal(text[259].data, "\xE2\x96\x81");
        assert_int_equal(text[259].length, 3);
        assert_string_equal(text[262].data, "\xE2\x96\x81"
                                            "a");
        assert_string_equal(text[264].data, "\xE2\x96\x81"
                                            "ab");
        assert_string_equal(text[265].data, "\xC3\xA9");
        assert_int_equal(type[262], 1);
        assert_true(score[262] == -3.0f);
    }
    uint32_t id;
    assert_int_equal(mlt_meta_get_u32(c, "tokenizer.ggml.bos_token_id", NULL, &id, NULL), MILLET_OK);
    assert_int_equal(id, 1);
    assert_int_equal(mlt_meta_get_u32(c, "tokenizer.ggml.eos_token_id", NULL, &id, NULL), MILLET_OK);
    assert_int_equal(id, 2);
    bool flag;
    assert_int_equal(mlt_meta_get_bool(c, "tokenizer.ggml.add_bos_token", NULL, &flag, NULL), MILLET_OK);
    assert_true(flag);
    assert_int_equal(mlt_meta_get_bool(c, "tokenizer.ggml.add_space_prefix", NULL, &flag, NULL), MILLET_OK);
    assert_true(flag);
    struct mlt_string model;
    assert_int_equal(mlt_meta_get_string(c, "tokenizer.ggml.model", NULL, &model, NULL), MILLET_OK);
    assert_string_equal(model.data, "llama");
}

static void test_tokenizer_is_found(void **state)
{
    (void)state;
    write_sample("sample.bin", 0, 300, 1, 0, 0);
    write_tokenizer("other name.bin", 300);
    struct mlt_checkpoint *c = open_sample("sample.bin", folder_path("other name.bin"));
    check_tokens(c, 300);
    mlt_checkpoint_close(&c);

    write_tokenizer("tokenizer.bin", 300);
    c = open_sample("sample.bin", NULL);
    check_tokens(c, 300);
    mlt_checkpoint_close(&c);

    /* tok<size>.bin goes before tokenizer.bin, which may belong to another model. */
    write_tokenizer("tokenizer.bin", 290);
    write_tokenizer("tok300.bin", 300);
    c = open_sample("sample.bin", NULL);
    check_tokens(c, 300);
    mlt_checkpoint_close(&c);

    write_sample("small.bin", 1, 5, 0, 0, 0);
    write_tokenizer("tok5.bin", 5);
    c = open_sample("small.bin", NULL);
    check_tokens(c, 5);
    mlt_checkpoint_close(&c);
}

static void expect_failure(const char *model, const char *tokenizer, millet_status status, const char *file,
                           const char *part)
{
    struct mlt_checkpoint *checkpoint;
    millet_error err;
    assert_int_equal(
        mlt_checkpoint_open(&counting.allocator, folder_path(model), tokenizer, &checkpoint, &err), status);
    assert_null(checkpoint);
    assert_int_equal(counting.live, 0);
    if (!strstr(err.file, file)) fail_msg("\"%s\" lacks \"%s\"", err.file, file);
    if (!strstr(err.message, part)) fail_msg("\"%s\" lacks \"%s\"", err.message, part);
}

static void test_tokenizer_failures(void **state)
{
    (void)state;
    write_sample("sample.bin", 0, 300, 1, 0, 0);
    expect_failure("sample.bin", folder_path("absent.bin"), MILLET_NOT_FOUND, "absent.bin", "cannot open");
    write_tokenizer("tokenizer.bin", 299);
    expect_failure("sample.bin", NULL, MILLET_BAD_FORMAT, "tokenizer.bin", "before token 299");
    write_tokenizer("tokenizer.bin", 301);
    expect_failure("sample.bin", NULL, MILLET_BAD_FORMAT, "tokenizer.bin", "another model");

    struct file_bytes bytes;
    bytes_sample_tokenizer(&bytes, 300);
    for (size_t size = 0; size < bytes.size; size += size < 200 ? 1 : 97) {
        struct file_bytes cut = {bytes.data, size, size};
        file_write(folder_path("tokenizer.bin"), &cut);
        expect_failure("sample.bin", NULL, MILLET_BAD_FORMAT, "tokenizer.bin", "");
    }
    static const uint32_t lengths[] = {0x80000000u, 0xFFFFFFFFu, 0x7FFFFFFFu, 100000};
    for (size_t i = 0; i < MLT_COUNT(lengths); i++) {
        memcpy(bytes.data + 8, &lengths[i], 4);
        file_write(folder_path("tokenizer.bin"), &bytes);
        expect_failure("sample.bin", NULL, MILLET_BAD_FORMAT, "tokenizer.bin", "token 0 has a length");
    }
    bytes_free(&bytes);
    bytes_sample_tokenizer(&bytes, 300);
    const uint32_t nan = 0x7FC00000;
    memcpy(bytes.data + 4, &nan, 4);
    file_write(folder_path("tokenizer.bin"), &bytes);
    expect_failure("sample.bin", NULL, MILLET_BAD_FORMAT, "tokenizer.bin", "score of token 0");
    bytes_free(&bytes);
}

/* One of the header's numbers, or the size, does not fit the rest. */
static void test_bad_headers(void **state)
{
    (void)state;
    for (int version = 0; version <= 2; version++) {
        struct file_bytes bytes;
        bytes_sample_llama2c(&bytes, version, 20, 1, 64, 0);
        size_t numbers = version == 0 ? 0 : 8;
        static const int32_t lies[] = {0, -1, 1, 3, 7, 65, 1 << 20, INT32_MAX, INT32_MIN};
        for (size_t field = 0; field < 7; field++) {
            int32_t old;
            memcpy(&old, bytes.data + numbers + 4 * field, 4);
            for (size_t i = 0; i < MLT_COUNT(lies); i++) {
                memcpy(bytes.data + numbers + 4 * field, &lies[i], 4);
                file_write(folder_path("sample.bin"), &bytes);
                struct mlt_checkpoint *checkpoint;
                millet_error err;
                counting.peak = 0;
                millet_status status = mlt_checkpoint_open(&counting.allocator, folder_path("sample.bin"),
                                                           NULL, &checkpoint, &err);
                /* Some lies keep the size: fewer or more kv heads do not, but the context length of v1 is
                 * free. */
                if (status == MILLET_OK) {
                    assert_true(version > 0 && field == 6);
                    mlt_checkpoint_close(&checkpoint);
                    continue;
                }
                assert_int_equal(status, MILLET_BAD_FORMAT);
                assert_non_null(strstr(err.file, "sample.bin"));
                assert_true(counting.peak < 1 << 20);
            }
            memcpy(bytes.data + numbers + 4 * field, &old, 4);
        }
        bytes_u8(&bytes, 0);
        file_write(folder_path("sample.bin"), &bytes);
        expect_failure("sample.bin", NULL, MILLET_BAD_FORMAT, "sample.bin", "asks for a file of");
        for (size_t size = 0; size + 1 < bytes.size; size += size < 300 ? 1 : 1009) {
            struct file_bytes cut = {bytes.data, size, size};
            file_write(folder_path("sample.bin"), &cut);
            expect_failure("sample.bin", NULL, MILLET_BAD_FORMAT, "sample.bin", "");
        }
        bytes_free(&bytes);
    }
}

static void test_bad_flags(void **state)
{
    (void)state;
    struct file_bytes bytes;
    bytes_sample_llama2c(&bytes, 2, 20, 1, 64, 0);
    bytes.data[36] = 2;
    file_write(folder_path("sample.bin"), &bytes);
    expect_failure("sample.bin", NULL, MILLET_BAD_FORMAT, "sample.bin", "shared classifier");
    bytes.data[36] = 1;
    static const int32_t groups[] = {0, -64, INT32_MIN};
    for (size_t i = 0; i < MLT_COUNT(groups); i++) {
        memcpy(bytes.data + 37, &groups[i], 4);
        file_write(folder_path("sample.bin"), &bytes);
        expect_failure("sample.bin", NULL, MILLET_BAD_FORMAT, "sample.bin", "group size");
    }
    const int32_t uneven = 60, huge = INT32_MAX;
    memcpy(bytes.data + 37, &uneven, 4);
    file_write(folder_path("sample.bin"), &bytes);
    expect_failure("sample.bin", NULL, MILLET_BAD_FORMAT, "sample.bin", "no multiple of the group size 60");
    memcpy(bytes.data + 37, &huge, 4);
    file_write(folder_path("sample.bin"), &bytes);
    expect_failure("sample.bin", NULL, MILLET_BAD_FORMAT, "sample.bin", "no multiple of the group size");
    const uint32_t version = 3;
    memcpy(bytes.data + 4, &version, 4);
    file_write(folder_path("sample.bin"), &bytes);
    expect_failure("sample.bin", NULL, MILLET_UNSUPPORTED, "sample.bin", "version 3");
    bytes_free(&bytes);
}

/* Every number is possible alone; the sizes that they give together are beyond 64 bits. */
static void test_sizes_overflow(void **state)
{
    (void)state;
    for (int version = 0; version <= 2; version++) {
        struct file_bytes bytes;
        bytes_sample_llama2c(&bytes, version, 20, 0, 1, 0);
        const int32_t numbers[] = {1 << 30, INT32_MAX, 4096, 1 << 29, 1 << 29, INT32_MAX, INT32_MAX};
        memcpy(bytes.data + (version == 0 ? 0 : 8), numbers, sizeof numbers);
        file_write(folder_path("sample.bin"), &bytes);
        expect_failure("sample.bin", NULL, MILLET_BAD_FORMAT, "sample.bin",
                       "more than 18446744073709551615 bytes");
        bytes_free(&bytes);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_v0),
        TEST(test_v1),
        TEST(test_v2),
        TEST(test_tokenizer_is_found),
        TEST(test_tokenizer_failures),
        TEST(test_bad_headers),
        TEST(test_bad_flags),
        TEST(test_sizes_overflow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
