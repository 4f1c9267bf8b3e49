/*
 * Real texts and dialogues: tokenizers learned from them give the same tokens from both files, and every text
 * comes back; caches hold what the sources do.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "millet/corpus.h"
#include "support/file_bytes.h"
#include "support/test_data.h"

static int set_up(void **state)
{
    (void)state;
    return folder_make() ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    folder_remove();
    return 0;
}

static millet_tokenizer *open_file(const char *path)
{
    millet_tokenizer *tokenizer;
    millet_error err = {.status = MILLET_OK};
    if (millet_tokenizer_open(path, NULL, NULL, &tokenizer, &err) != MILLET_OK)
        fail_msg("%s: %s", err.item, err.message);
    return tokenizer;
}

/* Texts of English, Chinese, code, and sentences in dozens of languages, as they lie in the data's folder. */
static const char *const sources[] = {"text/tinyshakespeare.txt", "text/zh_tang300.txt", "text/recipes.txt"};
enum { N_SOURCES = sizeof sources / sizeof *sources };

static void compare_tokens(const millet_tokenizer *a, const millet_tokenizer *b, const char *text,
                           size_t length, bool comes_back)
{
    size_t capacity = length + 16, m, n, back;
    int32_t *ids = malloc(capacity * sizeof *ids), *other = malloc(capacity * sizeof *other);
    char *decoded = malloc(capacity);
    assert_non_null(ids);
    assert_non_null(other);
    assert_non_null(decoded);
    assert_int_equal(millet_tokenizer_encode(a, text, length, 0, ids, capacity, &m, NULL), MILLET_OK);
    assert_int_equal(millet_tokenizer_encode(b, text, length, 0, other, capacity, &n, NULL), MILLET_OK);
    assert_int_equal(m, n);
    assert_true(m <= capacity);
    assert_memory_equal(ids, other, m * sizeof *ids);
    if (comes_back) {
        assert_int_equal(millet_tokenizer_decode(a, ids, m, false, decoded, capacity, &back, NULL),
                         MILLET_OK);
        assert_int_equal(back, length);
        assert_memory_equal(decoded, text, length);
    }
    free(ids);
    free(other);
    free(decoded);
}

static void check_kind(const millet_tokenizer_train_options *options, bool comes_back, double least_bytes)
{
    const char *paths[N_SOURCES];
    char copies[N_SOURCES][1024];
    millet_tokenizer_training result;
    millet_error err = {.status = MILLET_OK};
    for (int i = 0; i < N_SOURCES; i++) {
        snprintf(copies[i], sizeof copies[i], "%s", test_data_path(sources[i]));
        paths[i] = copies[i];
    }
    char gguf[1024], json[1024];
    snprintf(gguf, sizeof gguf, "%s", folder_path("t.gguf"));
    snprintf(json, sizeof json, "%s", folder_path("tokenizer.json"));
    if (millet_tokenizer_train(paths, N_SOURCES, gguf, json, options, &result, &err) != MILLET_OK)
        fail_msg("%s: %s", err.item, err.message);
    assert_int_equal(result.n_tokens, options->vocabulary);
    millet_tokenizer *a = open_file(gguf), *b = open_file(json);
    static const char *const others[] = {"text/tinyshakespeare.txt", "text/zh_song300.txt",
                                         "text/recipes.txt",         "text/wikitext2_valid.txt",
                                         "ha_intents/tests.jsonl",   "dialogues/chatterbot.jsonl"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        size_t size;
        char *text = test_data_read(others[i], &size);
        compare_tokens(a, b, text, size < 400000 ? size : 400000, comes_back);
        free(text);
    }
    millet_tokenizer_measure_result measured;
    assert_int_equal(millet_tokenizer_measure(a, paths, N_SOURCES, false, NULL, &measured, NULL), MILLET_OK);
    assert_int_equal(measured.n_unknown, 0);
    if (comes_back) assert_int_equal(measured.n_lost, 0);
    /* What the trainer counted is what the tokenizer does: BPE exactly, unigram but for ties and words it had
     * to part. */
    double counted = (double)result.n_text_tokens, found = (double)measured.n_tokens;
    if (options->kind == MILLET_TOKENIZER_BPE)
        assert_int_equal(result.n_text_tokens, measured.n_tokens);
    else
        assert_true(found > 0.98 * counted && found < 1.02 * counted);
    if ((double)measured.text_bytes / found <= least_bytes)
        fail_msg("%f bytes a token; more than %f are expected", (double)measured.text_bytes / found,
                 least_bytes);
    millet_tokenizer_close(&a);
    millet_tokenizer_close(&b);
}

static void test_bpe(void **state)
{
    (void)state;
    static const char *const names[] = {"qwen2", "gpt-2", "tekken"};
    for (int i = 0; i < 3; i++) {
        millet_tokenizer_train_options options = millet_tokenizer_train_options_default();
        options.vocabulary = 4096;
        options.pre_tokenizer = names[i];
        check_kind(&options, true, 2.6);
    }
}

static void test_unigram(void **state)
{
    (void)state;
    for (int variant = 0; variant < 2; variant++) {
        millet_tokenizer_train_options options = millet_tokenizer_train_options_default();
        options.kind = MILLET_TOKENIZER_UNIGRAM;
        options.vocabulary = 4096;
        options.nfkc = options.add_prefix_space = variant;
        check_kind(&options, variant == 0, 2.6);
    }
}

/* Short exchanges as messages: the turns are the user's and the assistant's by turns. Returns how many end in
 * a reply. */
static uint64_t write_dialogues(const char *path)
{
    size_t size;
    uint64_t count = 0;
    char *text = test_data_read("dialogues/chatterbot.jsonl", &size);
    FILE *out = fopen(path, "wb");
    assert_non_null(out);
    for (char *line = text, *end; line < text + size; line = end + 1) {
        end = memchr(line, '\n', (size_t)(text + size - line));
        if (!end) break;
        json_t *record = json_loadb(line, (size_t)(end - line), 0, NULL), *messages = json_array();
        json_t *turns = json_object_get(record, "turns");
        assert_non_null(turns);
        for (size_t i = 0; i < json_array_size(turns); i++)
            json_array_append_new(messages, json_pack("{s:s,s:O}", "role", i % 2 ? "assistant" : "user",
                                                      "content", json_array_get(turns, i)));
        count += json_array_size(turns) > 1;
        json_t *dialogue = json_pack("{s:o}", "messages", messages);
        assert_int_equal(json_dumpf(dialogue, out, JSON_COMPACT), 0);
        fputc('\n', out);
        json_decref(dialogue);
        json_decref(record);
    }
    assert_int_equal(fclose(out), 0);
    free(text);
    return count;
}

/* A cache of dialogues: replies are trained on, and only they. */
static void test_dialogues(void **state)
{
    (void)state;
    static const char *const special[] = {"<|endoftext|>", "<|im_start|>", "<|im_end|>"};
    millet_tokenizer_train_options options = millet_tokenizer_train_options_default();
    char source[1024], path[1024], cache_path[1024];
    snprintf(source, sizeof source, "%s", folder_path("chat.jsonl"));
    uint64_t count = write_dialogues(source);
    snprintf(path, sizeof path, "%s", folder_path("chat.gguf"));
    snprintf(cache_path, sizeof cache_path, "%s", folder_path("chat.tokens"));
    const char *sources_of[] = {source};
    options.vocabulary = 2048;
    options.special = special;
    options.n_special = 3;
    millet_error err = {.status = MILLET_OK};
    if (millet_tokenizer_train(sources_of, 1, path, NULL, &options, NULL, &err) != MILLET_OK)
        fail_msg("%s", err.message);
    millet_tokenizer *tokenizer = open_file(path);
    millet_cache_options cache_options = millet_cache_options_default();
    millet_cache_info info;
    /* The tokenizer's file has no template, and none was named. */
    assert_int_equal(millet_cache_build(source, cache_path, tokenizer, &cache_options, &info, &err),
                     MILLET_BAD_ARGUMENT);
    cache_options.source.chat_template = "chatml";
    if (millet_cache_build(source, cache_path, tokenizer, &cache_options, &info, &err) != MILLET_OK)
        fail_msg("%s", err.message);
    assert_int_equal(info.n_documents, count);
    assert_true(info.masked);
    assert_true(info.n_trained > info.n_tokens / 5 && info.n_trained < info.n_tokens * 4 / 5);
    millet_cache *cache;
    assert_int_equal(millet_cache_open(cache_path, NULL, true, &cache, NULL), MILLET_OK);
    /* Every document ends with a reply: its last token and the end of its turn are trained on, its first
     * token is not. */
    for (uint64_t d = 0; d < info.n_documents; d++) {
        millet_document document;
        bool first, last;
        assert_int_equal(millet_cache_document(cache, d, &document, NULL), MILLET_OK);
        millet_cache_token(cache, document.first, &first);
        millet_cache_token(cache, document.first + document.count - 1, &last);
        assert_true(!first || last);
        assert_false(first);
    }
    millet_cache_close(&cache);
    millet_tokenizer_close(&tokenizer);
}

int main(void)
{
    if (!test_data_root()) return TEST_SKIPPED;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_bpe, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_unigram, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_dialogues, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
