/*
 * Tokens to text: whole characters only, whatever the tokens; the rules for spaces; which tokens end a
 * generation.
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

#include "base/random.h"
#include "support/tiny_vocabulary.h"

#define MARK "\xE2\x96\x81"
#define REPLACEMENT "\xEF\xBF\xBD"

static struct tiny_vocabulary tiny;

static struct mlt_tokenizer *open_tiny(void)
{
    struct mlt_tokenizer *tokenizer = NULL;
    millet_error err;
    if (mlt_tokenizer_open(mlt_default_allocator(), &tiny.spec, &tokenizer, &err))
        fail_msg("%s: %s", err.item, err.message);
    return tokenizer;
}

/* What the texts (stored forms) of tokens decode to, each followed by "|", the end by what was pending. */
static const char *decoded(const struct mlt_tokenizer *tokenizer, bool special, const char *const *texts)
{
    static char line[1024];
    size_t filled = 0;
    struct mlt_decode_state state = {0};
    for (; *texts; texts++) {
        int32_t id = mlt_tokenizer_find(tokenizer, *texts, strlen(*texts));
        assert_true(id >= 0);
        filled += mlt_decode_token(tokenizer, &state, id, special, line + filled);
        line[filled++] = '|';
    }
    filled += mlt_decode_finish(&state, line + filled);
    line[filled] = 0;
    return line;
}

#define DECODED(tokenizer, special, ...) decoded(tokenizer, special, (const char *const[]){__VA_ARGS__, NULL})

static void sentencepiece_spaces_and_bytes(void **state)
{
    (void)state;
    tiny_fill(&tiny, MLT_TOKENIZER_SPM);
    struct mlt_tokenizer *tokenizer = open_tiny();
    /* The space that the tokenizer put before the text is not part of it; the later ones are. */
    assert_string_equal(DECODED(tokenizer, false, MARK "hello", MARK "world"), "hello| world|");
    assert_string_equal(DECODED(tokenizer, false, "<s>", MARK, MARK "w"), "|| w|");
    assert_string_equal(DECODED(tokenizer, true, "<s>", MARK "hello", "</s>"), "<s>|hello|</s>|");
    assert_string_equal(DECODED(tokenizer, false, "<user>", MARK "hello"), "<user>| hello|");
    /* A smile in four bytes, one by one. */
    assert_string_equal(DECODED(tokenizer, false, "<0xF0>", "<0x9F>", "<0x98>", "<0x81>", "o"),
                        "|||\xF0\x9F\x98\x81|o|");
    mlt_tokenizer_close(&tokenizer);
    tiny.spec.add_space_prefix = false;
    tokenizer = open_tiny();
    assert_string_equal(DECODED(tokenizer, false, MARK "hello", MARK "world"), " hello| world|");
    mlt_tokenizer_close(&tokenizer);
}

static void broken_characters_become_replacements(void **state)
{
    (void)state;
    tiny_fill(&tiny, MLT_TOKENIZER_SPM);
    struct mlt_tokenizer *tokenizer = open_tiny();
    /* Cut short by a letter; by another lead; by the end. */
    assert_string_equal(DECODED(tokenizer, false, "<0xF0>", "<0x9F>", "o"), "||" REPLACEMENT "o|");
    assert_string_equal(DECODED(tokenizer, false, "<0xE2>", "<0xC3>", "<0xA9>"),
                        "|" REPLACEMENT "|\xC3\xA9|");
    assert_string_equal(DECODED(tokenizer, false, "<0xE2>", "<0x82>"), "||" REPLACEMENT);
    /* Bytes that begin nothing: continuations, C0, FF; a surrogate; an overlong form. */
    assert_string_equal(DECODED(tokenizer, false, "<0x80>", "<0xC0>", "<0xFF>"),
                        REPLACEMENT "|" REPLACEMENT "|" REPLACEMENT "|");
    assert_string_equal(DECODED(tokenizer, false, "<0xED>", "<0xA0>", "<0x80>"),
                        "|" REPLACEMENT REPLACEMENT "|" REPLACEMENT "|");
    assert_string_equal(DECODED(tokenizer, false, "<0xE0>", "<0x80>"), "|" REPLACEMENT REPLACEMENT "|");
    mlt_tokenizer_close(&tokenizer);
}

static void byte_level_and_wordpiece(void **state)
{
    (void)state;
    tiny_fill(&tiny, MLT_TOKENIZER_BPE);
    struct mlt_tokenizer *tokenizer = open_tiny();
    assert_string_equal(DECODED(tokenizer, false, "hello", "\xC4\xA0wor", "ld"), "hello| wor|ld|");
    /* The two bytes of U+00E9, as characters U+00C3 and U+00A9. */
    assert_string_equal(DECODED(tokenizer, false, "\xC3\x83", "\xC2\xA9", "<|endoftext|>"), "|\xC3\xA9||");
    mlt_tokenizer_close(&tokenizer);
    tiny_fill(&tiny, MLT_TOKENIZER_WORDPIECE);
    tokenizer = open_tiny();
    assert_string_equal(DECODED(tokenizer, false, "[CLS]", MARK "un", "aff", "able", MARK "world", MARK "!"),
                        "|un|aff|able| world|!|");
    mlt_tokenizer_close(&tokenizer);
}

/* Random tokens: what comes out is valid UTF-8 at every step and within the bound, and nothing valid is lost.
 */
static void any_tokens_decode_to_valid_text(void **state)
{
    (void)state;
    tiny_fill(&tiny, MLT_TOKENIZER_BPE);
    struct mlt_tokenizer *tokenizer = open_tiny();
    struct mlt_random random;
    mlt_random_seed(&random, 5);
    size_t capacity = mlt_tokenizer_max_piece(tokenizer);
    char *piece = malloc(capacity + 16);
    for (int round = 0; round < 500; round++) {
        struct mlt_decode_state decode = {0};
        size_t given = 0, text = 0, replaced = 0;
        for (int i = 0; i <= 40; i++) {
            int32_t id = (int32_t)(mlt_random_u64(&random) % 256);
            size_t size = i < 40 ? mlt_decode_token(tokenizer, &decode, id, false, piece)
                                 : mlt_decode_finish(&decode, piece);
            assert_true(size <= capacity);
            given += i < 40;
            for (size_t at = 0; at < size;) {
                /* Step over one character, checked by hand. */
                uint8_t lead = (uint8_t)piece[at];
                size_t length = lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
                assert_true(lead < 0x80 || lead >= 0xC2);
                assert_true(at + length <= size);
                for (size_t k = 1; k < length; k++)
                    assert_int_equal(piece[at + k] & 0xC0, 0x80);
                bool is_replacement = length == 3 && memcmp(piece + at, REPLACEMENT, 3) == 0;
                replaced += is_replacement;
                text += is_replacement ? 0 : length;
                at += length;
            }
        }
        /* Each replacement stands for at least one byte and at most three. */
        assert_true(text + replaced <= given && given <= text + 3 * replaced);
    }
    free(piece);
    mlt_tokenizer_close(&tokenizer);
}

static bool ends(const struct mlt_tokenizer *tokenizer, const char *text)
{
    return mlt_tokenizer_is_end(tokenizer, mlt_tokenizer_find(tokenizer, text, strlen(text)));
}

static void ends_of_turns_are_known(void **state)
{
    (void)state;
    tiny_fill(&tiny, MLT_TOKENIZER_SPM);
    /* Marked as text, as some files have it. */
    tiny_add(&tiny, "<end_of_turn>", MLT_TOKEN_NORMAL, 0);
    int32_t turn = tiny_add(&tiny, "[turn]", MLT_TOKEN_CONTROL, 0);
    tiny.spec.eot = turn;
    struct mlt_tokenizer *tokenizer = open_tiny();
    assert_true(ends(tokenizer, "</s>"));
    assert_true(ends(tokenizer, "<|im_end|>"));
    assert_true(ends(tokenizer, "[turn]"));
    assert_true(ends(tokenizer, "<end_of_turn>"));
    assert_int_equal(mlt_tokenizer_type(tokenizer, turn - 1), MLT_TOKEN_CONTROL);
    assert_false(ends(tokenizer, "<s>"));
    assert_false(ends(tokenizer, "hello"));
    assert_false(mlt_tokenizer_is_end(tokenizer, -1));
    assert_false(mlt_tokenizer_is_end(tokenizer, 1 << 20));
    mlt_tokenizer_close(&tokenizer);

    /* gpt-oss ends a channel, not the turn, with <|end|>. */
    tiny_fill(&tiny, MLT_TOKENIZER_BPE);
    tiny_add(&tiny, "<|return|>", MLT_TOKEN_CONTROL, 0);
    tiny_add(&tiny, "<|call|>", MLT_TOKEN_CONTROL, 0);
    tiny_add(&tiny, "<|end|>", MLT_TOKEN_CONTROL, 0);
    tiny_add(&tiny, "<|channel|>", MLT_TOKEN_CONTROL, 0);
    tokenizer = open_tiny();
    assert_true(ends(tokenizer, "<|return|>"));
    assert_true(ends(tokenizer, "<|call|>"));
    assert_false(ends(tokenizer, "<|end|>"));
    assert_string_equal(DECODED(tokenizer, false, "<|channel|>", "<|end|>", "<|return|>"),
                        "<|channel|>|<|end|>||");
    mlt_tokenizer_close(&tokenizer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sentencepiece_spaces_and_bytes),
        cmocka_unit_test(broken_characters_become_replacements),
        cmocka_unit_test(byte_level_and_wordpiece),
        cmocka_unit_test(any_tokens_decode_to_valid_text),
        cmocka_unit_test(ends_of_turns_are_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
