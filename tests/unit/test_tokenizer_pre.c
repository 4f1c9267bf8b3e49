/*
 * Pre-tokenising: what the patterns of the known names cut, that they cut nothing away, and that no text
 * makes them hang.
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

#include "base/random.h"
#include "tokenizer/pretokenizer.h"

static struct mlt_text pieces;
static size_t covered, count;

static millet_status collect(void *context, const char *word, size_t length, millet_error *err)
{
    (void)context;
    assert_true(length > 0);
    covered += length;
    if (count++) MLT_TRY(mlt_text_append(&pieces, "|", 1, err));
    return mlt_text_append(&pieces, word, length, err);
}

static millet_status split(const struct mlt_pretokenizer *pretokenizer, const char *text, size_t length,
                           millet_error *err)
{
    struct mlt_pretokenizer_scratch *scratch;
    pieces.allocator = mlt_default_allocator();
    pieces.length = covered = count = 0;
    if (mlt_text_append(&pieces, "", 0, err)) return MILLET_NO_MEMORY;
    assert_int_equal(mlt_pretokenizer_scratch_open(pretokenizer, mlt_default_allocator(), &scratch, err),
                     MILLET_OK);
    millet_status status = mlt_pretokenizer_split(pretokenizer, scratch, text, length, collect, NULL, err);
    mlt_pretokenizer_scratch_close(&scratch);
    return status;
}

/* The pieces of a text, separated by "|". */
static const char *cut(const char *name, const char *text)
{
    struct mlt_pretokenizer *pretokenizer;
    millet_error err;
    if (mlt_pretokenizer_open(mlt_default_allocator(), name, NULL, &pretokenizer, &err))
        fail_msg("%s", err.message);
    if (split(pretokenizer, text, strlen(text), &err)) fail_msg("%s", err.message);
    assert_int_equal(covered, strlen(text));
    mlt_pretokenizer_close(&pretokenizer);
    return pieces.data;
}

static void names_cut_as_their_models_do(void **state)
{
    (void)state;
    const char *text = "I'LL pay  12345 Euro!\n\n ok";
    assert_string_equal(cut("gpt-2", text), "I|'|LL| pay| | 12345| Euro|!|\n\n| ok");
    assert_string_equal(cut("llama-bpe", text), "I|'LL| pay| | |123|45| Euro|!\n\n| ok");
    assert_string_equal(cut("qwen2", text), "I|'LL| pay| | |1|2|3|4|5| Euro|!\n\n| ok");
    assert_string_equal(cut("starcoder", text), "I|'|LL| pay|  |1|2|3|4|5| Euro|!|\n\n| ok");
    assert_string_equal(cut("falcon", text), "I|'|LL| pay| | |123|45| Euro|!|\n\n| ok");
    assert_string_equal(cut("deepseek-coder", text), "I|'|LL| pay|  |1|2|3|4|5| Euro|!|\n|\n| ok");
    assert_string_equal(cut("deepseek-v3", text), "I|'LL| pay|  |123|45| Euro|!\n\n| ok");
    assert_string_equal(cut("bloom", text), "I'LL| pay| | 12345| Euro|!\n\n| ok");
    assert_string_equal(cut("viking", "a 12"), "a| |1|2");
    assert_string_equal(cut("gemma4", "a b\n\n\nc"), "a b|\n\n\n|c");
    assert_string_equal(cut("seed-coder", "a!\nb"), "a|!|\n|b");
    assert_string_equal(cut("chameleon", "a  b<sentinel:12>IMGIMGABCZ"),
                        "a|  |b|<|sentinel|:|1|2|>|IMGIMGABCZ");
}

static void case_and_scripts_cut_words(void **state)
{
    (void)state;
    assert_string_equal(cut("gpt-4o", "camelCase ABCdef's 12345/\n"), "camel|Case| ABCdef's| |123|45|/\n");
    assert_string_equal(cut("tekken", "camelCase ABCdef's 12"), "camel|Case| ABCdef|'s| |1|2");
    /* Two ideographs, then Latin letters, in Kimi's and in DeepSeek's way. */
    assert_string_equal(cut("kimi-k2", "ab\xE4\xB8\xAD\xE6\x96\x87\x63\x64"),
                        "ab|\xE4\xB8\xAD\xE6\x96\x87|cd");
    assert_string_equal(cut("deepseek-v3", "ab\xE4\xB8\xAD\xE6\x96\x87\x63\x64"),
                        "ab|\xE4\xB8\xAD\xE6\x96\x87|cd");
    assert_string_equal(cut("gpt-4o", "ab\xE4\xB8\xAD\xE6\x96\x87\x63\x64"),
                        "ab\xE4\xB8\xAD\xE6\x96\x87\x63\x64");
    /* A letter and its accent: Qwen 3.5 keeps marks in words, Qwen 2 does not. */
    assert_string_equal(cut("qwen35", "xe\xCC\x81y"), "xe\xCC\x81y");
    assert_string_equal(cut("qwen2", "xe\xCC\x81y"), "xe|\xCC\x81y");
    assert_string_equal(cut("exaone-moe", "one two 3"), "one two| |3");
}

static void digits_are_grouped_from_the_right(void **state)
{
    (void)state;
    assert_string_equal(cut("superbpe", "x1234567"), "x|1|234|567");
    assert_string_equal(cut("superbpe", "123456"), "123|456");
    assert_string_equal(cut("afmoe", "a 12345"), "a| |12|345");
    assert_string_equal(cut("tiny_aya", "12345."), "12|345|.");
    /* Followed by a letter the digits end no word, and the second pattern takes them from the left. */
    assert_string_equal(cut("tiny_aya", "12345x"), "123|45|x");
}

static const char *const fragments[] = {
    "a",
    "Z",
    " ",
    "  ",
    "\n",
    "\r\n",
    "\t",
    "'s",
    "'LL",
    "1",
    "12345",
    "\xC2\xB2",
    "!",
    "$",
    "\xE3\x80\x82",
    "\xE4\xB8\xAD",
    "\xED\x95\x9C",
    "\xC3\x89",
    "\xCC\x81",
    "\xC2\xA0",
    "\xE2\x80\x8B",
    "\xF0\x9F\xA6\x99",
    "\xD9\xA3",
    "\xCA\xB0",
    "_",
    "\x01",
};

static void nothing_is_cut_away(void **state)
{
    (void)state;
    struct mlt_random random;
    mlt_random_seed(&random, 7);
    for (size_t i = 0; i < mlt_pretokenizer_source_count; i++) {
        struct mlt_pretokenizer *pretokenizer;
        millet_error err;
        const char *name = mlt_pretokenizer_sources[i].name;
        if (mlt_pretokenizer_open(mlt_default_allocator(), name, NULL, &pretokenizer, &err))
            fail_msg("%s: %s", name, err.message);
        for (int round = 0; round < 50; round++) {
            char text[512] = "";
            for (int k = 0; k < 40; k++)
                strcat(text, fragments[mlt_random_u64(&random) % MLT_COUNT(fragments)]);
            if (split(pretokenizer, text, strlen(text), &err)) fail_msg("%s: %s", name, err.message);
            assert_int_equal(covered, strlen(text));
        }
        mlt_pretokenizer_close(&pretokenizer);
    }
}

/* Long runs of one thing are where backtracking patterns take quadratic time: that would be refused for its
 * number of steps. */
static void long_runs_are_no_trouble(void **state)
{
    (void)state;
    enum { LENGTH = 60000 };
    static const char *const runs[] = {" ",  "a", "A", "1", "\n", " \n", "'", ".", "\xCC\x81", "\xE4\xB8\xAD",
                                       "aB", " a"};
    char *text = malloc(LENGTH + 8);
    for (size_t i = 0; i < mlt_pretokenizer_source_count; i++) {
        struct mlt_pretokenizer *pretokenizer;
        millet_error err;
        const char *name = mlt_pretokenizer_sources[i].name;
        assert_int_equal(mlt_pretokenizer_open(mlt_default_allocator(), name, NULL, &pretokenizer, &err),
                         MILLET_OK);
        for (size_t k = 0; k < MLT_COUNT(runs); k++) {
            size_t length = 0;
            while (length < LENGTH) {
                memcpy(text + length, runs[k], strlen(runs[k]));
                length += strlen(runs[k]);
            }
            text[length++] = 'x';
            if (split(pretokenizer, text, length, &err))
                fail_msg("%s: run of \"%s\": %s", name, runs[k], err.message);
            assert_int_equal(covered, length);
        }
        mlt_pretokenizer_close(&pretokenizer);
    }
    free(text);
}

static void hostile_patterns_are_stopped(void **state)
{
    (void)state;
    struct mlt_pretokenizer *pretokenizer;
    millet_error err;
    assert_int_equal(mlt_pretokenizer_open(mlt_default_allocator(), NULL, "(a+)+$", &pretokenizer, &err),
                     MILLET_OK);
    char text[64];
    memset(text, 'a', sizeof text);
    text[63] = 'b';
    assert_int_equal(split(pretokenizer, text, sizeof text, &err), MILLET_UNSUPPORTED);
    assert_non_null(strstr(err.message, "too long"));
    mlt_pretokenizer_close(&pretokenizer);

    assert_int_equal(mlt_pretokenizer_open(mlt_default_allocator(), NULL, "a(", &pretokenizer, &err),
                     MILLET_UNSUPPORTED);
    assert_non_null(strstr(err.message, "byte 2"));
    assert_null(pretokenizer);
    /* Patterns that match nothing at a place, and that move the begin of the match. */
    assert_int_equal(mlt_pretokenizer_open(mlt_default_allocator(), NULL, "x*", &pretokenizer, &err),
                     MILLET_OK);
    assert_int_equal(split(pretokenizer, "\xC3\xA9xxb", 5, &err), MILLET_OK);
    assert_int_equal(covered, 5);
    mlt_pretokenizer_close(&pretokenizer);
    assert_int_equal(mlt_pretokenizer_open(mlt_default_allocator(), NULL, "a\\Kb", &pretokenizer, &err),
                     MILLET_OK);
    assert_int_equal(split(pretokenizer, "cabc", 4, &err), MILLET_OK);
    assert_string_equal(pieces.data, "ca|b|c");
    mlt_pretokenizer_close(&pretokenizer);
}

static void unknown_names_are_refused(void **state)
{
    (void)state;
    struct mlt_pretokenizer *pretokenizer;
    millet_error err;
    assert_int_equal(mlt_pretokenizer_open(mlt_default_allocator(), "no-such", NULL, &pretokenizer, &err),
                     MILLET_UNSUPPORTED);
    assert_string_equal(err.item, "tokenizer.ggml.pre");
    assert_non_null(strstr(err.message, "no-such"));
    struct mlt_pretokenizer_traits traits;
    assert_false(mlt_pretokenizer_traits("no-such", &traits));
    assert_true(mlt_pretokenizer_traits("llama-bpe", &traits));
    assert_true(traits.ignore_merges && traits.add_bos);
    assert_true(mlt_pretokenizer_traits(NULL, &traits));
    assert_false(traits.ignore_merges || traits.add_bos);
}

static int release(void **state)
{
    (void)state;
    mlt_text_release(&pieces);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_cut_as_their_models_do),      cmocka_unit_test(case_and_scripts_cut_words),
        cmocka_unit_test(digits_are_grouped_from_the_right), cmocka_unit_test(nothing_is_cut_away),
        cmocka_unit_test(long_runs_are_no_trouble),          cmocka_unit_test(hostile_patterns_are_stopped),
        cmocka_unit_test(unknown_names_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, release);
}
