/*
 * What a tokenizer refuses, under which key it says so, and that it releases what it took; string table, trie
 * and normal forms.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/random.h"
#include "support/counting_allocator.h"
#include "support/tiny_vocabulary.h"
#include "tokenizer/string_table.h"
#include "tokenizer/trie.h"
#include "tokenizer/unicode.h"

static struct tiny_vocabulary tiny;

static void expect_refused(millet_status status, const char *item, const char *part)
{
    struct counting_allocator counting;
    counting_allocator_init(&counting);
    struct mlt_tokenizer *tokenizer;
    millet_error err;
    assert_int_equal(mlt_tokenizer_open(&counting.allocator, &tiny.spec, &tokenizer, &err), status);
    assert_null(tokenizer);
    assert_string_equal(err.item, item);
    if (!strstr(err.message, part)) fail_msg("\"%s\" does not say \"%s\"", err.message, part);
    assert_int_equal(atomic_load(&counting.live), 0);
}

static void specifications_are_checked(void **state)
{
    (void)state;
    tiny_init(&tiny, MLT_TOKENIZER_SPM);
    expect_refused(MILLET_BAD_FORMAT, "tokenizer.ggml.tokens", "0 tokens");
    tiny_fill(&tiny, MLT_TOKENIZER_SPM);
    tiny_add(&tiny, "hello", MLT_TOKEN_NORMAL, 0);
    expect_refused(MILLET_BAD_FORMAT, "tokenizer.ggml.tokens", "same text as token 270");
    tiny_fill(&tiny, MLT_TOKENIZER_SPM);
    tiny.spec.bos = tiny.spec.n_tokens;
    expect_refused(MILLET_BAD_FORMAT, "tokenizer.ggml.bos_token_id", "outside the vocabulary");
    tiny_fill(&tiny, MLT_TOKENIZER_SPM);
    tiny.spec.mask = -2;
    expect_refused(MILLET_BAD_FORMAT, "tokenizer.ggml.mask_token_id", "-2");
    tiny_fill(&tiny, MLT_TOKENIZER_SPM);
    tiny.spec.bos = -1;
    tiny.spec.add_bos = true;
    expect_refused(MILLET_BAD_FORMAT, "tokenizer.ggml.bos_token_id", "to be added");
    tiny_fill(&tiny, MLT_TOKENIZER_SPM);
    tiny.spec.eos = -1;
    tiny.spec.add_eos = true;
    expect_refused(MILLET_BAD_FORMAT, "tokenizer.ggml.eos_token_id", "to be added");
    tiny_fill(&tiny, MLT_TOKENIZER_SPM);
    tiny.types[7] = 9;
    expect_refused(MILLET_BAD_FORMAT, "tokenizer.ggml.token_type", "token 7 has the type 9");
    tiny_fill(&tiny, MLT_TOKENIZER_SPM);
    tiny.types[0] = MLT_TOKEN_BYTE;
    expect_refused(MILLET_BAD_FORMAT, "tokenizer.ggml.token_type", "<0xNN>");
    tiny_fill(&tiny, MLT_TOKENIZER_SPM);
    tiny.scores[3] = NAN;
    expect_refused(MILLET_BAD_FORMAT, "tokenizer.ggml.scores", "token 3");
}

static void merges_and_patterns_are_checked(void **state)
{
    (void)state;
    tiny_fill(&tiny, MLT_TOKENIZER_BPE);
    tiny_add_merge(&tiny, "nospace");
    expect_refused(MILLET_BAD_FORMAT, "tokenizer.ggml.merges", "merge 8 has no space");
    tiny_fill(&tiny, MLT_TOKENIZER_BPE);
    tiny_add_merge(&tiny, "right ");
    expect_refused(MILLET_BAD_FORMAT, "tokenizer.ggml.merges", "nothing behind");
    tiny_fill(&tiny, MLT_TOKENIZER_BPE);
    tiny.spec.n_merges = -1;
    expect_refused(MILLET_UNSUPPORTED, "tokenizer.ggml.merges", "-1");
    tiny_fill(&tiny, MLT_TOKENIZER_BPE);
    tiny.spec.pre = "made-up";
    expect_refused(MILLET_UNSUPPORTED, "tokenizer.ggml.pre", "made-up");
    tiny_fill(&tiny, MLT_TOKENIZER_BPE);
    tiny.spec.pre_pattern = "[";
    expect_refused(MILLET_UNSUPPORTED, "", "pattern");
}

static void empty_texts_may_repeat(void **state)
{
    (void)state;
    tiny_fill(&tiny, MLT_TOKENIZER_SPM);
    int32_t first = tiny_add(&tiny, "", MLT_TOKEN_UNUSED, 0);
    tiny_add(&tiny, "", MLT_TOKEN_UNUSED, 0);
    struct mlt_tokenizer *tokenizer;
    assert_int_equal(mlt_tokenizer_open(mlt_default_allocator(), &tiny.spec, &tokenizer, NULL), MILLET_OK);
    assert_int_equal(mlt_tokenizer_token(tokenizer, first + 1).length, 0);
    assert_int_equal(mlt_tokenizer_size(tokenizer), first + 2);
    mlt_tokenizer_close(&tokenizer);
    mlt_tokenizer_close(&tokenizer); /* of NULL: nothing */
}

static void texts_too_long_are_refused(void **state)
{
    (void)state;
    tiny_fill(&tiny, MLT_TOKENIZER_SPM);
    struct mlt_tokenizer *tokenizer;
    assert_int_equal(mlt_tokenizer_open(mlt_default_allocator(), &tiny.spec, &tokenizer, NULL), MILLET_OK);
    int32_t *ids;
    size_t count;
    millet_error err;
    assert_int_equal(mlt_tokenize(tokenizer, mlt_default_allocator(), "", SIZE_MAX, 0, &ids, &count, &err),
                     MILLET_UNSUPPORTED);
    assert_null(ids);
    mlt_tokenizer_close(&tokenizer);
}

static void string_table_finds_what_was_added(void **state)
{
    (void)state;
    struct mlt_string_table table;
    int32_t first;
    /* Made for two strings, it takes many. */
    assert_int_equal(mlt_string_table_open(&table, mlt_default_allocator(), 2, 4, NULL), MILLET_OK);
    char text[32];
    for (int i = 0; i < 5000; i++) {
        int length = snprintf(text, sizeof text, "%0*d", 1 + i % 20, i);
        assert_int_equal(mlt_string_table_add(&table, text, (size_t)length, &first, NULL), MILLET_OK);
    }
    for (int i = 0; i < 5000; i++) {
        int length = snprintf(text, sizeof text, "%0*d", 1 + i % 20, i);
        int32_t found = mlt_string_table_find(&table, text, (size_t)length);
        size_t there_length;
        const char *there = mlt_string_table_get(&table, found, &there_length);
        assert_true(found <= i);
        assert_int_equal(there_length, length);
        assert_memory_equal(there, text, there_length);
    }
    assert_int_equal(mlt_string_table_find(&table, "absent", 6), -1);
    assert_int_equal(mlt_string_table_add(&table, "a\0b", 3, &first, NULL), MILLET_OK);
    assert_int_equal(mlt_string_table_find(&table, "a\0b", 3), first);
    assert_int_equal(mlt_string_table_find(&table, "a", 1), -1);
    mlt_string_table_close(&table);
}

static void trie_finds_the_longest_prefix(void **state)
{
    (void)state;
    struct mlt_random random;
    mlt_random_seed(&random, 11);
    for (int round = 0; round < 100; round++) {
        static char texts[64][8];
        struct mlt_trie_entry entries[64], sorted[64];
        for (int i = 0; i < 64; i++) {
            uint32_t length = 1 + (uint32_t)(mlt_random_u64(&random) % 6);
            for (uint32_t k = 0; k < length; k++)
                texts[i][k] = "a\xFF\0b"[mlt_random_u64(&random) % 4];
            entries[i] = sorted[i] = (struct mlt_trie_entry){texts[i], length, i};
        }
        struct mlt_trie trie;
        assert_int_equal(mlt_trie_open(&trie, mlt_default_allocator(), sorted, 64, NULL), MILLET_OK);
        for (int i = 0; i < 64; i++) {
            char text[12];
            for (size_t k = 0; k < sizeof text; k++)
                text[k] = "a\xFF\0b"[mlt_random_u64(&random) % 4];
            uint32_t expected = 0;
            int32_t expected_value = -1, value = -1;
            for (int k = 0; k < 64; k++)
                if (entries[k].length > expected && memcmp(text, entries[k].text, entries[k].length) == 0) {
                    expected = entries[k].length;
                    expected_value = entries[k].value; /* of equals the first */
                }
            assert_int_equal(mlt_trie_longest(&trie, text, sizeof text, &value), expected);
            if (expected) assert_int_equal(value, expected_value);
        }
        mlt_trie_close(&trie);
    }
}

static void expect_nfc(const char *text, const char *expected)
{
    struct mlt_text out = {.allocator = mlt_default_allocator()};
    assert_int_equal(mlt_text_to_nfc(text, strlen(text), &out, NULL), MILLET_OK);
    assert_string_equal(out.data, expected);
    mlt_text_release(&out);
}

static void characters_and_normal_forms(void **state)
{
    (void)state;
    expect_nfc("plain \xC3\xA9", "plain \xC3\xA9");
    expect_nfc("e\xCC\x81", "\xC3\xA9");
    /* Marks are put in order: dot below (220) before dot above (230), so both fit the s of U+1E69. */
    expect_nfc("s\xCC\x87\xCC\xA3", "\xE1\xB9\xA9");
    expect_nfc("s\xCC\xA3\xCC\x87", "\xE1\xB9\xA9");
    /* A second acute is blocked; the Angstrom sign becomes the letter. */
    expect_nfc("e\xCC\x81\xCC\x81", "\xC3\xA9\xCC\x81");
    expect_nfc("\xE2\x84\xAB", "\xC3\x85");
    /* Hangul: h, a, n become one syllable. */
    expect_nfc("\xE1\x84\x92\xE1\x85\xA1\xE1\x86\xAB", "\xED\x95\x9C");
    /* U+0958 is excluded from composition. */
    expect_nfc("\xE0\xA5\x98", "\xE0\xA4\x95\xE0\xA4\xBC");

    uint32_t parts[MLT_MAX_DECOMPOSITION];
    assert_int_equal(mlt_char_decompose(0x1F82, parts), 4); /* alpha, psili, varia, ypogegrammeni */
    assert_true(parts[0] == 0x3B1 && parts[1] == 0x313 && parts[2] == 0x300 && parts[3] == 0x345);
    assert_int_equal(mlt_char_lower('A'), 'a');
    assert_int_equal(mlt_char_lower(0x410), 0x430); /* Cyrillic A */
    assert_int_equal(mlt_char_lower(0x100), 0x101); /* every second letter of the block */
    assert_int_equal(mlt_char_lower(0x101), 0x101);
    assert_int_equal(mlt_char_lower(0x10FFFF), 0x10FFFF);
    assert_int_equal(mlt_char_class(0x3000), MLT_CHAR_SPACE);
    assert_int_equal(mlt_char_class(0x200B), MLT_CHAR_CONTROL);
    assert_int_equal(mlt_char_class(0x3002), MLT_CHAR_PUNCTUATION);
    assert_int_equal(mlt_char_class(0x301), MLT_CHAR_MARK);
    assert_int_equal(mlt_char_class('x'), MLT_CHAR_OTHER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(specifications_are_checked),
        cmocka_unit_test(merges_and_patterns_are_checked),
        cmocka_unit_test(empty_texts_may_repeat),
        cmocka_unit_test(texts_too_long_are_refused),
        cmocka_unit_test(string_table_finds_what_was_added),
        cmocka_unit_test(trie_finds_the_longest_prefix),
        cmocka_unit_test(characters_and_normal_forms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
