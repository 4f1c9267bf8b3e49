/*
 * New tokenizers: what files they become, that both say the same, what options do, what is refused.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "corpus/corpus_tokenizer.h"
#include "corpus/nfkc_map.h"
#include "support/corpus_files.h"
#include "support/file_bytes.h"
#include "tokenizer/charsmap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static int set_up(void **state)
{
    (void)state;
    if (!folder_make()) return -1;
    corpus_write_documents("words.txt", 100000, 3);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    folder_remove();
    return 0;
}

static millet_tokenizer *open_file(const char *name)
{
    millet_tokenizer *tokenizer;
    millet_error err = {.status = MILLET_OK};
    if (millet_tokenizer_open(folder_path(name), NULL, NULL, &tokenizer, &err) != MILLET_OK)
        fail_msg("%s: %s", err.item, err.message);
    return tokenizer;
}

static millet_tokenizer_training train(const millet_tokenizer_train_options *options, const char *gguf,
                                       const char *json)
{
    const char *source = folder_path("words.txt");
    millet_tokenizer_training result;
    millet_error err = {.status = MILLET_OK};
    if (millet_tokenizer_train(&source, 1, gguf ? folder_path(gguf) : NULL, json ? folder_path(json) : NULL,
                               options, &result, &err) != MILLET_OK)
        fail_msg("%s: %s", err.item, err.message);
    return result;
}

/* Texts that try what tokenizers trip over. */
static const char *const texts[] = {
    "kalomi turen. sa-vor igpel\n\nnast  oo",
    " a",
    "   kalo   mi   ",
    "12345 3.14 don't DON'T it's\r\n\ttab",
    "\xE6\xBC\xA2\xE5\xAD\x97 \xC3\xA9 e\xCC\x81 \xF0\x9F\x98\x80",
    "<|endoftext|> <s> </s> <unk> <0x41>",
    "\x01\x7F\xEF\xBF\xBD \xE2\x96\x81x",
    "",
};

static size_t encode(const millet_tokenizer *tokenizer, const char *text, unsigned flags, int32_t *ids,
                     size_t capacity)
{
    size_t count;
    assert_int_equal(
        millet_tokenizer_encode(tokenizer, text, strlen(text), flags, ids, capacity, &count, NULL),
        MILLET_OK);
    assert_true(count <= capacity);
    return count;
}

/* Two files of one tokenizer give the same tokens, and texts come back. */
static void check_pair(const char *gguf, const char *json, bool comes_back)
{
    millet_tokenizer *a = open_file(gguf), *b = open_file(json);
    millet_tokenizer_info x, y;
    millet_tokenizer_get_info(a, &x);
    millet_tokenizer_get_info(b, &y);
    assert_int_equal(x.n_tokens, y.n_tokens);
    assert_string_equal(x.kind, y.kind);
    assert_int_equal(x.bos, y.bos);
    assert_int_equal(x.eos, y.eos);
    assert_int_equal(x.add_bos, y.add_bos);
    assert_int_equal(x.add_eos, y.add_eos);
    for (int32_t id = 0; id < x.n_tokens; id++) {
        size_t m, n;
        const char *s = millet_tokenizer_token(a, id, &m), *t = millet_tokenizer_token(b, id, &n);
        assert_int_equal(m, n);
        assert_memory_equal(s, t, m);
        assert_int_equal(mlt_tokenizer_type(a->tokenizer, id), mlt_tokenizer_type(b->tokenizer, id));
    }
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        for (unsigned flags = 0; flags < 4; flags++) {
            int32_t ids[512], other[512];
            size_t n = encode(a, texts[i], flags, ids, 512);
            assert_int_equal(n, encode(b, texts[i], flags, other, 512));
            assert_memory_equal(ids, other, n * sizeof *ids);
            char text[512];
            size_t length;
            if (flags || !comes_back) continue;
            assert_int_equal(millet_tokenizer_decode(a, ids, n, false, text, sizeof text, &length, NULL),
                             MILLET_OK);
            assert_int_equal(length, strlen(texts[i]));
            assert_memory_equal(text, texts[i], length);
        }
    millet_tokenizer_close(&a);
    millet_tokenizer_close(&b);
}

static void test_bpe_files(void **state)
{
    (void)state;
    static const char *const names[] = {"gpt-2", "starcoder", "llama-bpe", "qwen2", "gpt-4o", "tekken"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        millet_tokenizer_train_options options = millet_tokenizer_train_options_default();
        options.vocabulary = 500;
        options.pre_tokenizer = names[i];
        options.n_threads = 1;
        millet_tokenizer_training result = train(&options, "t.gguf", "tokenizer.json");
        assert_int_equal(result.n_tokens, 500);
        assert_int_equal(result.n_special + result.n_bytes + result.n_learned, 500);
        check_pair("t.gguf", "tokenizer.json", true);
        assert_non_null(strstr(millet_pretokenizer_names(), names[i]));
    }
    millet_tokenizer_train_options options = millet_tokenizer_train_options_default();
    options.vocabulary = 400;
    options.pattern = "\\p{L}+|[^\\p{L}]";
    train(&options, "t.gguf", "tokenizer.json");
    check_pair("t.gguf", "tokenizer.json", true);
    static const char *const special[] = {"<a>", "<b>", "<|endoftext|>"};
    options = millet_tokenizer_train_options_default();
    options.vocabulary = 400;
    options.special = special;
    options.n_special = 3;
    options.bos = "<b>";
    options.eos = "<|endoftext|>";
    options.pad = "<a>";
    options.add_bos = true;
    options.chat_template = "{{ '<|im_start|>' }}";
    options.name = "words";
    train(&options, "t.gguf", "tokenizer.json");
    check_pair("t.gguf", "tokenizer.json", true);
    millet_tokenizer *tokenizer = open_file("t.gguf");
    millet_tokenizer_info info;
    millet_tokenizer_get_info(tokenizer, &info);
    assert_int_equal(info.bos, 1);
    assert_int_equal(info.eos, 2);
    assert_true(info.add_bos);
    assert_string_equal(info.chat_template, "chatml");
    int32_t ids[8];
    assert_int_equal(encode(tokenizer, "<a>", MILLET_TOKENIZE_SPECIAL | MILLET_TOKENIZE_BOS, ids, 8), 2);
    assert_int_equal(ids[0], 1);
    assert_int_equal(ids[1], 0);
    millet_tokenizer_close(&tokenizer);
}

static void test_unigram_files(void **state)
{
    (void)state;
    for (int variant = 0; variant < 8; variant++) {
        millet_tokenizer_train_options options = millet_tokenizer_train_options_default();
        options.kind = MILLET_TOKENIZER_UNIGRAM;
        options.vocabulary = 400;
        options.add_prefix_space = variant & 1;
        options.add_bos = variant & 1;
        options.split_digits = variant & 2;
        options.nfkc = variant & 4;
        options.n_threads = 1;
        millet_tokenizer_training result = train(&options, "t.gguf", "tokenizer.json");
        assert_int_equal(result.n_tokens, 400);
        check_pair("t.gguf", "tokenizer.json", false);
        /* Identity: what was there comes back, but for what is written with the mark of a space or is none of
         * Unicode's. */
        millet_tokenizer *tokenizer = open_file("t.gguf");
        for (size_t i = 0; i < 6 && !options.nfkc; i++) {
            int32_t ids[512];
            char text[512];
            size_t length, n = encode(tokenizer, texts[i], 0, ids, 512);
            assert_int_equal(
                millet_tokenizer_decode(tokenizer, ids, n, false, text, sizeof text, &length, NULL),
                MILLET_OK);
            assert_int_equal(length, strlen(texts[i]));
            assert_memory_equal(text, texts[i], length);
        }
        millet_tokenizer_close(&tokenizer);
    }
}

static void test_threads(void **state)
{
    (void)state;
    for (int kind = 0; kind < 2; kind++)
        for (int threads = 1; threads <= 4; threads++) {
            millet_tokenizer_train_options options = millet_tokenizer_train_options_default();
            options.kind = (millet_tokenizer_kind)kind;
            options.vocabulary = 450;
            options.n_threads = threads;
            train(&options, threads == 1 ? "first.gguf" : "other.gguf", NULL);
            if (threads > 1) assert_true(files_are_same("first.gguf", "other.gguf"));
        }
}

static bool has_token(const millet_tokenizer *tokenizer, const char *text)
{
    return mlt_tokenizer_find(tokenizer->tokenizer, text, strlen(text)) >= 0;
}

/* Special tokens in the texts, digits, frequency, length. */
static void test_options(void **state)
{
    (void)state;
    char text[20000];
    size_t length = 0;
    for (int i = 0; i < 300; i++)
        length +=
            (size_t)snprintf(text + length, sizeof text - length, "2024 alphabet<|user|>beta %d\n", i % 3);
    const char *source = corpus_write("special.txt", text);
    static const char *const special[] = {"<|user|>", "<|endoftext|>"};
    millet_tokenizer_train_options options = millet_tokenizer_train_options_default();
    options.vocabulary = 330;
    options.special = special;
    options.n_special = 2;
    options.pre_tokenizer = "llama-bpe";
    const char *path = folder_path("special.gguf");
    millet_tokenizer_training result;
    assert_int_equal(millet_tokenizer_train(&source, 1, path, NULL, &options, &result, NULL), MILLET_OK);
    millet_tokenizer *tokenizer = open_file("special.gguf");
    assert_true(has_token(tokenizer, "\xC4\xA0"
                                     "alphabet"));
    assert_true(has_token(tokenizer, "202"));
    assert_false(has_token(tokenizer, "user") || has_token(tokenizer, "<|") || has_token(tokenizer, "us"));
    millet_tokenizer_close(&tokenizer);
    assert_true(result.n_tokens < 330); /* the text has no more to learn */
    options.split_digits = true;
    options.max_token_bytes = 4;
    assert_int_equal(millet_tokenizer_train(&source, 1, path, NULL, &options, &result, NULL), MILLET_OK);
    tokenizer = open_file("special.gguf");
    assert_false(has_token(tokenizer, "202") || has_token(tokenizer, "20"));
    for (int32_t id = 2; id < result.n_tokens; id++) {
        struct mlt_token_text token = mlt_tokenizer_token(tokenizer->tokenizer, id);
        assert_true(token.length <= 5); /* a byte-mapped space is of two bytes */
    }
    millet_tokenizer_close(&tokenizer);
    options.min_frequency = 1000;
    assert_int_equal(millet_tokenizer_train(&source, 1, path, NULL, &options, &result, NULL), MILLET_OK);
    assert_int_equal(result.n_learned, 0);
    options.min_frequency = 0;
    options.max_bytes = 700;
    assert_int_equal(millet_tokenizer_train(&source, 1, path, NULL, &options, &result, NULL), MILLET_OK);
    assert_int_equal(result.text_bytes, 700);
    /* JSONL: texts of all forms. */
    source = corpus_write(
        "all.jsonl",
        "{\"text\": \"kalokalo kalokalo\"}\n{\"prompt\": \"mimi mimi\", \"completion\": \"turtur turtur\"}\n"
        "{\"messages\": [{\"role\": \"user\", \"content\": \"vorvor vorvor\"}]}\nx\n");
    options = millet_tokenizer_train_options_default();
    options.vocabulary = 300;
    assert_int_equal(millet_tokenizer_train(&source, 1, path, NULL, &options, &result, NULL), MILLET_OK);
    assert_int_equal(result.n_skipped[MILLET_SKIP_JSON], 1);
    tokenizer = open_file("special.gguf");
    assert_true(has_token(tokenizer, "kalokalo") && has_token(tokenizer, "mimi") &&
                has_token(tokenizer, "turtur") && has_token(tokenizer, "vorvor"));
    assert_false(has_token(tokenizer, "user"));
    millet_tokenizer_close(&tokenizer);
}

static void expect_refusal(const millet_tokenizer_train_options *options, const char *item)
{
    const char *source = folder_path("words.txt");
    millet_error err = {.status = MILLET_OK};
    assert_int_equal(millet_tokenizer_train(&source, 1, folder_path("none.gguf"), NULL, options, NULL, &err),
                     MILLET_BAD_ARGUMENT);
    assert_string_equal(err.item, item);
    assert_true(err.message[0]);
}

static bool stop(void *context, double fraction)
{
    (void)context;
    (void)fraction;
    return false;
}

static void test_refusals(void **state)
{
    (void)state;
    static const char *const twice[] = {"<a>", "<a>"}, *const letter[] = {"a"}, *const none[] = {""};
#define REFUSED(name, ...)                                                                                   \
    do {                                                                                                     \
        millet_tokenizer_train_options options = {__VA_ARGS__};                                              \
        expect_refusal(&options, name);                                                                      \
    } while (0)
    REFUSED("vocabulary", .vocabulary = 200);
    REFUSED("vocabulary", .vocabulary = 300, .kind = MILLET_TOKENIZER_UNIGRAM);
    REFUSED("vocabulary", .vocabulary = 1 << 30);
    REFUSED("kind", .kind = (millet_tokenizer_kind)7);
    REFUSED("special", .special = twice, .n_special = 2);
    REFUSED("special", .special = letter, .n_special = 1);
    REFUSED("special", .special = none, .n_special = 1);
    REFUSED("bos", .bos = "<x>");
    REFUSED("pad", .pad = "<x>");
    REFUSED("pre_tokenizer", .pre_tokenizer = "bert");
    REFUSED("pattern", .pre_tokenizer = "qwen2", .pattern = "x");
    REFUSED("pattern", .pattern = "x", .kind = MILLET_TOKENIZER_UNIGRAM);
    REFUSED("nfkc", .nfkc = true);
    REFUSED("add_prefix_space", .add_prefix_space = true);
    REFUSED("max_token_bytes", .max_token_bytes = 1000);
    REFUSED("character_coverage", .kind = MILLET_TOKENIZER_UNIGRAM, .character_coverage = 1.5);
#undef REFUSED
    millet_tokenizer_train_options options = millet_tokenizer_train_options_default();
    const char *source = folder_path("words.txt"), *missing = folder_path("missing.txt");
    millet_error err;
    options.pattern = "(";
    assert_int_equal(millet_tokenizer_train(&source, 1, folder_path("none.gguf"), NULL, &options, NULL, &err),
                     MILLET_UNSUPPORTED);
    options = millet_tokenizer_train_options_default();
    assert_int_equal(
        millet_tokenizer_train(&missing, 1, folder_path("none.gguf"), NULL, &options, NULL, &err),
        MILLET_NOT_FOUND);
    assert_int_equal(millet_tokenizer_train(NULL, 0, folder_path("none.gguf"), NULL, &options, NULL, &err),
                     MILLET_BAD_FORMAT);
    options.progress = stop;
    assert_int_equal(millet_tokenizer_train(&source, 1, folder_path("none.gguf"), NULL, &options, NULL, &err),
                     MILLET_CANCELLED);
    millet_tokenizer *tokenizer;
    assert_int_equal(millet_tokenizer_open(folder_path("none.gguf"), NULL, NULL, &tokenizer, NULL),
                     MILLET_NOT_FOUND);
}

static void expect_normal(const struct mlt_charsmap *map, const char *text, const char *expected)
{
    char out[256];
    size_t length = 0;
    for (size_t i = 0; text[i];) {
        const char *replacement = NULL;
        size_t size = mlt_charsmap_longest(map, text + i, strlen(text + i), &replacement);
        if (size) {
            length += (size_t)snprintf(out + length, sizeof out - length, "%s", replacement);
            i += size;
        } else {
            out[length++] = text[i++];
        }
    }
    out[length] = 0;
    assert_string_equal(out, expected);
}

/* Pairs as the reference program writes them with its rule nmt_nfkc. */
static void test_nfkc(void **state)
{
    (void)state;
    struct mlt_nfkc_map bytes;
    struct mlt_charsmap *map;
    assert_int_equal(mlt_nfkc_map_build(mlt_default_allocator(), &bytes, NULL), MILLET_OK);
    assert_int_equal(mlt_charsmap_open(mlt_default_allocator(), bytes.bytes, bytes.size, &map, NULL),
                     MILLET_OK);
    expect_normal(map, "plain text", "plain text");
    expect_normal(map,
                  "a\tb\rc\x01"
                  "d\x7F"
                  "e",
                  "a b cde");
    expect_normal(map, "\xEF\xBC\xA1\xEF\xBC\x91", "A1"); /* full width */
    expect_normal(map, "\xEF\xBD\x9E", "\xEF\xBD\x9E");   /* the full-width tilde stays */
    expect_normal(map, "e\xCC\x81", "\xC3\xA9");          /* e, acute */
    expect_normal(map, "u\xCC\x88\xCC\x84", "\xC7\x96");  /* u, diaeresis, macron: one character */
    expect_normal(map, "\xC3\xBC\xCC\x84", "\xC7\x96");   /* u with diaeresis, macron */
    expect_normal(map, "\xEF\xAC\x81", "fi");             /* a ligature */
    expect_normal(map, "\xE3\x8D\x97", "\xE3\x83\xAF\xE3\x83\x83\xE3\x83\x88"); /* square watt */
    expect_normal(map, "\xE1\x84\x92\xE1\x85\xA1\xE1\x86\xAB", "\xED\x95\x9C"); /* Hangul */
    expect_normal(map, "\xE2\x80\x8B\xEF\xBB\xBF\xE2\x96\x81", "   ");
    expect_normal(map, "\xF0\x9D\x93\x90", "A"); /* mathematical script */
    mlt_charsmap_close(&map);
    mlt_nfkc_map_release(&bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bpe_files), cmocka_unit_test(test_unigram_files),
        cmocka_unit_test(test_threads),   cmocka_unit_test(test_options),
        cmocka_unit_test(test_refusals),  cmocka_unit_test(test_nfkc),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
