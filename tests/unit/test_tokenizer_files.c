/*
 * tiktoken's and SentencePiece's files, put together here byte by byte: what they say, and what is wrong with
 * them.
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

#include "support/file_bytes.h"
#include "tokenizer/vocabulary_file.h"

static void expect_token(const struct mlt_vocabulary_file *file, int32_t id, const char *text, int32_t type)
{
    assert_int_equal(file->spec.tokens[id].length, strlen(text));
    assert_memory_equal(file->spec.tokens[id].data, text, strlen(text));
    assert_int_equal(file->spec.types[id], type);
}

static millet_status read_ranks(const char *text, const struct mlt_special_token *special, size_t n_special,
                                struct mlt_vocabulary_file *file, millet_error *err)
{
    /* An exact copy, so that sanitizers see reads past the end. */
    char *copy = malloc(strlen(text) + 1);
    memcpy(copy, text, strlen(text));
    millet_status status =
        mlt_tiktoken_read(mlt_default_allocator(), copy, strlen(text), special, n_special, file, err);
    free(copy);
    return status;
}

static void rank_files_are_read(void **state)
{
    (void)state;
    struct mlt_vocabulary_file file;
    millet_error err;
    const struct mlt_special_token special[] = {{"<|end|>", 6}};
    /* "a", "ab", "abc", a space, and the byte 0xFF, which is U+00FF; Windows line ends and an empty line. */
    assert_int_equal(read_ranks("YQ== 0\r\nYWI= 1\n\nYWJj 2\nIA== 3\n/w== 4", special, 1, &file, &err),
                     MILLET_OK);
    assert_int_equal(file.spec.kind, MLT_TOKENIZER_BPE);
    assert_int_equal(file.spec.n_tokens, 7);
    expect_token(&file, 0, "a", MLT_TOKEN_NORMAL);
    expect_token(&file, 2, "abc", MLT_TOKEN_NORMAL);
    expect_token(&file, 3, "\xC4\xA0", MLT_TOKEN_NORMAL);
    expect_token(&file, 4, "\xC3\xBF", MLT_TOKEN_NORMAL);
    expect_token(&file, 5, "", MLT_TOKEN_UNUSED);
    expect_token(&file, 6, "<|end|>", MLT_TOKEN_CONTROL);
    assert_int_equal(file.spec.ranks[2], 2);
    assert_int_equal(file.spec.ranks[5], -1);
    assert_int_equal(file.spec.ranks[6], -1);
    mlt_vocabulary_file_release(&file);
}

static void broken_rank_files_name_the_line(void **state)
{
    (void)state;
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"", "empty"},
        {"\n\n", "empty"},
        {"YQ== 0\nYWI=1\n", "line 2"},
        {"YQ== 0\n 1\n", "line 2"},
        {"YQ== x\n", "not a number"},
        {"YQ== \n", "no rank"},
        {"YQ== 99999999999999999999\n", "above 2^31"},
        {"YQ== 5000\n", "ids up to 5000"},
        {"YQ== 0\nYg== 0\n", "stood there before"},
        {"Y?== 0\n", "not Base64"},
        {"YQ 0\n", "not Base64"},
        {"Y=== 0\n", "not Base64"},
        {"==== 0\n", "not Base64"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct mlt_vocabulary_file file;
        millet_error err;
        assert_int_equal(read_ranks(cases[i].text, NULL, 0, &file, &err), MILLET_BAD_FORMAT);
        if (!strstr(err.message, cases[i].says)) fail_msg("%s: %s", cases[i].text, err.message);
        assert_int_equal(file.spec.n_tokens, 0);
    }
    struct mlt_vocabulary_file file;
    millet_error err;
    const struct mlt_special_token taken[] = {{"<x>", 0}}, negative[] = {{"<x>", -1}};
    assert_int_equal(read_ranks("YQ== 0\n", taken, 1, &file, &err), MILLET_BAD_FORMAT);
    assert_int_equal(read_ranks("YQ== 0\n", negative, 1, &file, &err), MILLET_BAD_ARGUMENT);
}

/* ---- Protobuf ---- */

static void put_varint(struct file_bytes *bytes, uint64_t value)
{
    while (value >= 0x80) {
        bytes_u8(bytes, (uint8_t)(value | 0x80));
        value >>= 7;
    }
    bytes_u8(bytes, (uint8_t)value);
}

static void put_number(struct file_bytes *bytes, unsigned field, uint64_t value)
{
    put_varint(bytes, field << 3);
    put_varint(bytes, value);
}

static void put_block(struct file_bytes *bytes, unsigned field, const void *data, size_t size)
{
    put_varint(bytes, field << 3 | 2);
    put_varint(bytes, size);
    bytes_put(bytes, data, size);
}

static void put_message(struct file_bytes *bytes, unsigned field, struct file_bytes *message)
{
    put_block(bytes, field, message->data, message->size);
    bytes_free(message);
}

static void put_piece(struct file_bytes *model, const char *text, float score, unsigned type)
{
    struct file_bytes piece = {0};
    put_block(&piece, 1, text, strlen(text));
    put_varint(&piece, 2 << 3 | 5);
    bytes_f32(&piece, score);
    if (type) put_number(&piece, 3, type);
    put_message(model, 1, &piece);
}

/* A model of three pieces, with settings of the given type. */
static struct file_bytes sample_model(uint64_t model_type)
{
    struct file_bytes model = {0}, trainer = {0}, normalizer = {0};
    put_piece(&model, "<unk>", 0, MLT_TOKEN_UNKNOWN);
    put_piece(&model, "\xE2\x96\x81hi", -1.5f, 0);
    put_piece(&model, "\xE2\x96\x81\xE2\x96\x81", 0, MLT_TOKEN_USER_DEFINED);
    put_block(&trainer, 1, "corpus.txt", 10); /* a field that is of no interest */
    put_number(&trainer, 3, model_type);
    put_number(&trainer, 40, 0);
    put_number(&trainer, 41, UINT64_MAX); /* -1 */
    put_number(&trainer, 42, UINT64_MAX);
    put_message(&model, 2, &trainer);
    put_number(&normalizer, 3, 0);
    put_number(&normalizer, 4, 1);
    put_block(&normalizer, 2, "\0\0\0\0", 4);
    put_message(&model, 3, &normalizer);
    put_varint(&model, 9 << 3 | 1); /* an unknown field of 8 bytes */
    bytes_u64(&model, 1);
    return model;
}

static void sentencepiece_models_are_read(void **state)
{
    (void)state;
    struct file_bytes model = sample_model(2);
    struct mlt_vocabulary_file file;
    millet_error err;
    assert_int_equal(mlt_sentencepiece_read(mlt_default_allocator(), model.data, model.size, &file, &err),
                     MILLET_OK);
    bytes_free(&model);
    assert_int_equal(file.spec.kind, MLT_TOKENIZER_SPM);
    assert_int_equal(file.spec.n_tokens, 3);
    expect_token(&file, 0, "<unk>", MLT_TOKEN_UNKNOWN);
    expect_token(&file, 1, "\xE2\x96\x81hi", MLT_TOKEN_NORMAL);
    expect_token(&file, 2, "  ", MLT_TOKEN_USER_DEFINED); /* as it stands in a text */
    assert_true(file.spec.scores[1] == -1.5f);
    assert_int_equal(file.spec.unknown, 0);
    assert_int_equal(file.spec.bos, -1);
    assert_false(file.spec.add_bos);
    assert_false(file.spec.add_space_prefix);
    assert_true(file.spec.remove_extra_whitespace);
    assert_int_equal(file.spec.charsmap_bytes, 4);
    struct mlt_tokenizer *tokenizer;
    assert_int_equal(mlt_tokenizer_open(mlt_default_allocator(), &file.spec, &tokenizer, &err), MILLET_OK);
    mlt_tokenizer_close(&tokenizer);
    mlt_vocabulary_file_release(&file);

    model = sample_model(1);
    assert_int_equal(mlt_sentencepiece_read(mlt_default_allocator(), model.data, model.size, &file, &err),
                     MILLET_OK);
    assert_int_equal(file.spec.kind, MLT_TOKENIZER_UNIGRAM);
    mlt_vocabulary_file_release(&file);
    bytes_free(&model);
    model = sample_model(3);
    assert_int_equal(mlt_sentencepiece_read(mlt_default_allocator(), model.data, model.size, &file, &err),
                     MILLET_UNSUPPORTED);
    bytes_free(&model);
}

static void broken_models_are_refused(void **state)
{
    (void)state;
    struct file_bytes model = sample_model(2);
    struct mlt_vocabulary_file file;
    millet_error err;
    assert_int_equal(mlt_sentencepiece_read(mlt_default_allocator(), "", 0, &file, &err), MILLET_BAD_FORMAT);
    /* Every cut is an error, or (between two fields) a shorter model. */
    unsigned errors = 0;
    for (size_t size = 1; size < model.size; size++) {
        uint8_t *cut = malloc(size);
        memcpy(cut, model.data, size);
        millet_status status = mlt_sentencepiece_read(mlt_default_allocator(), cut, size, &file, &err);
        assert_true(status == MILLET_OK || status == MILLET_BAD_FORMAT);
        if (status)
            errors++;
        else
            mlt_vocabulary_file_release(&file);
        free(cut);
    }
    assert_true(errors > model.size * 3 / 4);
    bytes_free(&model);

    static const struct {
        const char *bytes;
        size_t size;
        const char *says;
    } cases[] = {
        {"\x0A\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01", 11, "longer than what is left"},
        {"\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF", 11, "more than ten"},
        {"\x0B", 1, "unknown kind"},
        {"\x10\x01", 2, "no pieces"},
        {"\x0A\x02\x18\x09", 4, "unknown type"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(
            mlt_sentencepiece_read(mlt_default_allocator(), cases[i].bytes, cases[i].size, &file, &err),
            MILLET_BAD_FORMAT);
        if (!strstr(err.message, cases[i].says)) fail_msg("case %zu: %s", i, err.message);
        assert_true(err.offset <= cases[i].size);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rank_files_are_read),
        cmocka_unit_test(broken_rank_files_name_the_line),
        cmocka_unit_test(sentencepiece_models_are_read),
        cmocka_unit_test(broken_models_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
