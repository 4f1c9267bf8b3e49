/*
 * The families of tokenizers on vocabularies small enough to see what they must do, and on random ones
 * against the naive algorithms.
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
#include "base/thread_pool.h"
#include "support/tiny_vocabulary.h"

#define MARK "\xE2\x96\x81" /* U+2581 */

static struct tiny_vocabulary tiny;

static struct mlt_tokenizer *open_tiny(void)
{
    struct mlt_tokenizer *tokenizer = NULL;
    millet_error err;
    if (mlt_tokenizer_open(mlt_default_allocator(), &tiny.spec, &tokenizer, &err))
        fail_msg("%s: %s", err.item, err.message);
    return tokenizer;
}

static struct mlt_tokenizer *open_kind(enum mlt_tokenizer_kind kind)
{
    tiny_fill(&tiny, kind);
    return open_tiny();
}

/* The stored texts of the ids of a text, separated by "|"; static storage. */
static const char *pieces_of_bytes(const struct mlt_tokenizer *tokenizer, const char *text, size_t length,
                                   unsigned flags)
{
    static char line[8192];
    int32_t *ids;
    size_t count, filled = 0;
    millet_error err;
    if (mlt_tokenize(tokenizer, mlt_default_allocator(), text, length, flags, &ids, &count, &err))
        fail_msg("%s", err.message);
    line[0] = 0;
    for (size_t i = 0; i < count; i++) {
        struct mlt_token_text token = mlt_tokenizer_token(tokenizer, ids[i]);
        filled += (size_t)snprintf(line + filled, sizeof line - filled, "%s%s", i ? "|" : "", token.data);
        assert_true(filled < sizeof line);
    }
    mlt_free(mlt_default_allocator(), ids);
    return line;
}

static const char *pieces(const struct mlt_tokenizer *tokenizer, const char *text, unsigned flags)
{
    return pieces_of_bytes(tokenizer, text, strlen(text), flags);
}

static void spm_merges_by_score(void **state)
{
    (void)state;
    struct mlt_tokenizer *tokenizer = open_kind(MLT_TOKENIZER_SPM);
    assert_string_equal(pieces(tokenizer, "hello world", 0), MARK "hello|" MARK "w|or|ld");
    assert_string_equal(pieces(tokenizer, "", 0), "");
    assert_string_equal(pieces(tokenizer, " hello", 0), MARK "|" MARK "hello");
    assert_string_equal(pieces(tokenizer, "hellhello", 0), MARK "|hell|hello");
    /* What has no token becomes bytes; a character that has one does not. */
    assert_string_equal(pieces(tokenizer, "h\xC3\xA9\xC3\xA8", 0), MARK "h|\xC3\xA9|<0xC3>|<0xA8>");
    assert_string_equal(pieces_of_bytes(tokenizer, "h\0\xFF", 3, 0), MARK "h|<0x00>|<0xFF>");
    mlt_tokenizer_close(&tokenizer);
}

static void spm_without_prefix_and_bytes(void **state)
{
    (void)state;
    tiny_init(&tiny, MLT_TOKENIZER_SPM);
    tiny.spec.unknown = tiny_add(&tiny, "<unk>", MLT_TOKEN_UNKNOWN, 0);
    tiny_add(&tiny, "a", MLT_TOKEN_NORMAL, -1);
    tiny_add(&tiny, "b", MLT_TOKEN_NORMAL, -2);
    tiny_add(&tiny, "ab", MLT_TOKEN_NORMAL, -3);
    tiny_add(&tiny, "ba", MLT_TOKEN_NORMAL, -3);
    tiny.spec.add_space_prefix = false;
    struct mlt_tokenizer *tokenizer = open_tiny();
    /* Of equal scores the left one comes first. */
    assert_string_equal(pieces(tokenizer, "aba", 0), "ab|a");
    assert_string_equal(pieces(tokenizer, "bab", 0), "ba|b");
    assert_string_equal(pieces(tokenizer, "axyb", 0), "a|<unk>|<unk>|b");
    mlt_tokenizer_close(&tokenizer);
}

static void special_tokens_are_cut_out(void **state)
{
    (void)state;
    struct mlt_tokenizer *tokenizer = open_kind(MLT_TOKENIZER_SPM);
    const char *text = "hello<|im_end|>hello<user></s>";
    assert_string_equal(pieces(tokenizer, text, MLT_TOKENIZE_SPECIAL),
                        MARK "hello|<|im_end|>|" MARK "hello|<user>|</s>");
    /* Without the flag only user-defined tokens are, and control tokens are text. */
    assert_string_equal(pieces(tokenizer, "<user>hello", 0), "<user>|" MARK "hello");
    assert_string_equal(pieces(tokenizer, "</s>", 0), MARK "|<0x3C>|<0x2F>|<0x73>|<0x3E>");
    mlt_tokenizer_close(&tokenizer);
}

static void special_tokens_prefer_the_longest(void **state)
{
    (void)state;
    tiny_init(&tiny, MLT_TOKENIZER_SPM);
    tiny.spec.unknown = tiny_add(&tiny, "<unk>", MLT_TOKEN_UNKNOWN, 0);
    tiny_add(&tiny, "<a>", MLT_TOKEN_CONTROL, 0);
    tiny_add(&tiny, "<a><b>", MLT_TOKEN_CONTROL, 0);
    int32_t left = tiny_add(&tiny, "<l>", MLT_TOKEN_CONTROL, 0),
            right = tiny_add(&tiny, "<r>", MLT_TOKEN_CONTROL, 0);
    tiny_add(&tiny, "x", MLT_TOKEN_NORMAL, 0);
    tiny_add(&tiny, MARK, MLT_TOKEN_NORMAL, 0);
    tiny.spec.add_space_prefix = false;
    tiny.strip[left] = MLT_STRIP_LEFT;
    tiny.strip[right] = MLT_STRIP_RIGHT;
    tiny.spec.strip = tiny.strip;
    struct mlt_tokenizer *tokenizer = open_tiny();
    assert_string_equal(pieces(tokenizer, "x<a><b><a>x", MLT_TOKENIZE_SPECIAL), "x|<a><b>|<a>|x");
    assert_string_equal(pieces(tokenizer, "x \n<l> x <r> \t x", MLT_TOKENIZE_SPECIAL),
                        "x|<l>|" MARK "|x|" MARK "|<r>|x");
    assert_string_equal(pieces(tokenizer, " <l><r> ", MLT_TOKENIZE_SPECIAL), "<l>|<r>");
    mlt_tokenizer_close(&tokenizer);
}

static void begin_and_end_are_added_as_asked(void **state)
{
    (void)state;
    tiny_fill(&tiny, MLT_TOKENIZER_SPM);
    tiny.spec.add_bos = tiny.spec.add_eos = true;
    struct mlt_tokenizer *tokenizer = open_tiny();
    assert_string_equal(pieces(tokenizer, "", MLT_TOKENIZE_BOS_EOS), "<s>|</s>");
    assert_string_equal(pieces(tokenizer, "h", MLT_TOKENIZE_BOS_EOS), "<s>|" MARK "h|</s>");
    assert_string_equal(pieces(tokenizer, "h", 0), MARK "h");
    mlt_tokenizer_close(&tokenizer);
    tokenizer = open_kind(MLT_TOKENIZER_WORDPIECE);
    assert_string_equal(pieces(tokenizer, "hello", MLT_TOKENIZE_BOS_EOS), "[CLS]|" MARK "hello|[SEP]");
    mlt_tokenizer_close(&tokenizer);
}

static void bpe_merges_by_rank(void **state)
{
    (void)state;
    struct mlt_tokenizer *tokenizer = open_kind(MLT_TOKENIZER_BPE);
    assert_string_equal(pieces(tokenizer, "hello world", 0), "hello|\xC4\xA0wor|ld");
    assert_string_equal(pieces(tokenizer, "hello<|endoftext|>", MLT_TOKENIZE_SPECIAL), "hello|<|endoftext|>");
    assert_string_equal(pieces(tokenizer, "\xC3\xA9", 0), "\xC3\x83|\xC2\xA9");
    /* Bytes that are not UTF-8 are U+FFFD each. */
    assert_string_equal(pieces(tokenizer, "\xFF", 0), "\xC3\xAF|\xC2\xBF|\xC2\xBD");
    mlt_tokenizer_close(&tokenizer);
}

static void bpe_takes_whole_words_where_asked(void **state)
{
    (void)state;
    tiny_fill(&tiny, MLT_TOKENIZER_BPE);
    tiny_add(&tiny, "world", MLT_TOKEN_NORMAL, 0); /* no merge leads to it */
    struct mlt_tokenizer *tokenizer = open_tiny();
    assert_string_equal(pieces(tokenizer, "world", 0), "w|or|ld");
    mlt_tokenizer_close(&tokenizer);
    tiny.spec.ignore_merges = true;
    tokenizer = open_tiny();
    assert_string_equal(pieces(tokenizer, "world", 0), "world");
    mlt_tokenizer_close(&tokenizer);
}

static void bpe_by_ranks_needs_no_merges(void **state)
{
    (void)state;
    tiny_init(&tiny, MLT_TOKENIZER_BPE);
    tiny_add_mapped_bytes(&tiny);
    tiny_add(&tiny, "bc", MLT_TOKEN_NORMAL, 0);
    tiny_add(&tiny, "ab", MLT_TOKEN_NORMAL, 0);
    tiny_add(&tiny, "abc", MLT_TOKEN_NORMAL, 0);
    int32_t special = tiny_add(&tiny, "abcd", MLT_TOKEN_CONTROL, 0);
    for (int32_t id = 0; id < tiny.spec.n_tokens; id++)
        tiny.ranks[id] = id == special ? -1 : id;
    tiny.spec.ranks = tiny.ranks;
    tiny.spec.pre_pattern = "\\S+|\\s+";
    struct mlt_tokenizer *tokenizer = open_tiny();
    /* "bc" first, then "a" with it; the special token is out of reach. */
    assert_string_equal(pieces(tokenizer, "abcd", 0), "abc|d");
    assert_string_equal(pieces(tokenizer, "abab", 0), "ab|ab");
    assert_string_equal(pieces(tokenizer, "abcd", MLT_TOKENIZE_SPECIAL), "abcd");
    mlt_tokenizer_close(&tokenizer);
    /* A name whose vocabularies are plain text does not make them so. */
    tiny.spec.pre_pattern = NULL;
    tiny.spec.pre = "gemma4";
    tokenizer = open_tiny();
    assert_string_equal(pieces(tokenizer, "abcd ab", 0), "abc|d|\xC4\xA0|ab");
    mlt_tokenizer_close(&tokenizer);
}

static void bpe_without_some_bytes(void **state)
{
    (void)state;
    tiny_init(&tiny, MLT_TOKENIZER_BPE);
    tiny_add(&tiny, "a", MLT_TOKEN_NORMAL, 0);
    tiny_add(&tiny, "ab", MLT_TOKEN_NORMAL, 0);
    /* "b" and "bc" are in merges only: strings of their own, but no tokens. */
    tiny_add_merge(&tiny, "b c");
    tiny_add_merge(&tiny, "a b");
    struct mlt_tokenizer *tokenizer = open_tiny();
    assert_string_equal(pieces(tokenizer, "ab", 0), "ab");
    assert_string_equal(pieces(tokenizer, "abca", 0), "a|a");
    assert_int_equal(mlt_tokenizer_find(tokenizer, "bc", 2), -1);
    mlt_tokenizer_close(&tokenizer);
    tiny.spec.unknown = tiny_add(&tiny, "<unk>", MLT_TOKEN_UNKNOWN, 0);
    tokenizer = open_tiny();
    assert_string_equal(pieces(tokenizer, "abca", 0), "a|<unk>|<unk>|a");
    mlt_tokenizer_close(&tokenizer);
}

static void bpe_normalises_where_asked(void **state)
{
    (void)state;
    tiny_fill(&tiny, MLT_TOKENIZER_BPE);
    struct mlt_tokenizer *tokenizer = open_tiny();
    assert_string_equal(pieces(tokenizer, "e\xCC\x81", 0), "e|\xC3\x8C|\xC4\xA3"); /* e, U+0301 */
    mlt_tokenizer_close(&tokenizer);
    tiny.spec.nfc = true;
    tokenizer = open_tiny();
    assert_string_equal(pieces(tokenizer, "e\xCC\x81", 0), "\xC3\x83|\xC2\xA9");
    mlt_tokenizer_close(&tokenizer);
}

static void gemma4_writes_plain_text(void **state)
{
    (void)state;
    tiny_init(&tiny, MLT_TOKENIZER_BPE);
    tiny_add(&tiny, MARK, MLT_TOKEN_NORMAL, 0);
    tiny_add(&tiny, "h", MLT_TOKEN_NORMAL, 0);
    tiny_add(&tiny, "i", MLT_TOKEN_NORMAL, 0);
    tiny_add(&tiny, "hi", MLT_TOKEN_NORMAL, 0);
    tiny_add(&tiny, MARK "hi", MLT_TOKEN_NORMAL, 0);
    tiny_add(&tiny, "\n", MLT_TOKEN_NORMAL, 0);
    tiny_add(&tiny, "\n\n", MLT_TOKEN_NORMAL, 0);
    tiny_add_byte_tokens(&tiny);
    tiny_add_merge(&tiny, "h i");
    tiny_add_merge(&tiny, MARK " hi");
    tiny.spec.pre = "gemma4";
    struct mlt_tokenizer *tokenizer = open_tiny();
    assert_string_equal(pieces(tokenizer, "hi hi\n\nx", 0), "hi|" MARK "hi|\n\n|<0x78>");
    mlt_tokenizer_close(&tokenizer);
}

static void unigram_finds_the_best_segmentation(void **state)
{
    (void)state;
    tiny_init(&tiny, MLT_TOKENIZER_UNIGRAM);
    tiny.spec.unknown = tiny_add(&tiny, "<unk>", MLT_TOKEN_UNKNOWN, 0);
    tiny_add(&tiny, MARK, MLT_TOKEN_NORMAL, -2);
    tiny_add(&tiny, "a", MLT_TOKEN_NORMAL, -3);
    tiny_add(&tiny, "b", MLT_TOKEN_NORMAL, -3);
    tiny_add(&tiny, "ab", MLT_TOKEN_NORMAL, -4);
    tiny_add(&tiny, "aba", MLT_TOKEN_NORMAL, -8);
    tiny_add(&tiny, MARK "a", MLT_TOKEN_NORMAL, -4.5f);
    tiny.spec.add_space_prefix = tiny.spec.remove_extra_whitespace = true;
    struct mlt_tokenizer *tokenizer = open_tiny();
    /* _ ab a costs 9, _a b a 10.5, _ aba 10. */
    assert_string_equal(pieces(tokenizer, "aba", 0), MARK "|ab|a");
    assert_string_equal(pieces(tokenizer, "  a   b  ", 0), MARK "a|" MARK "|b");
    assert_string_equal(pieces(tokenizer, "   ", 0), "");
    /* Characters without a token make one unknown token together. */
    assert_string_equal(pieces(tokenizer, "axyzb", 0), MARK "a|<unk>|b");
    mlt_tokenizer_close(&tokenizer);

    tiny_add_byte_tokens(&tiny);
    tiny_add(&tiny, MARK "x", MLT_TOKEN_USER_DEFINED, -100);
    tokenizer = open_tiny();
    assert_string_equal(pieces(tokenizer, "ay b", 0), MARK "a|<0x79>|" MARK "|b");
    assert_string_equal(pieces(tokenizer, "x", 0), MARK "x");
    mlt_tokenizer_close(&tokenizer);
}

static void put_unit(uint8_t *map, uint32_t index, uint32_t unit)
{
    for (int i = 0; i < 4; i++)
        map[4 + 4 * index + i] = (uint8_t)(unit >> (8 * i));
}

static void unigram_maps_characters(void **state)
{
    (void)state;
    /* One key, "A": the root's children begin at 0x100, those of "A" at 0x141 ^ 0x200. Replaced by "ab". */
    static uint8_t map[4 + 4 * 0x400 + 3];
    memset(map, 0, sizeof map);
    map[1] = 0x10; /* 0x400 units */
    put_unit(map, 0, 0x100u << 10);
    put_unit(map, 0x141, 0x41u | 1u << 8 | 0x200u << 10);
    put_unit(map, 0x341, 1u << 31);
    memcpy(map + 4 + 4 * 0x400, "ab", 3);
    tiny_init(&tiny, MLT_TOKENIZER_UNIGRAM);
    tiny.spec.unknown = tiny_add(&tiny, "<unk>", MLT_TOKEN_UNKNOWN, 0);
    tiny_add(&tiny, "a", MLT_TOKEN_NORMAL, -3);
    tiny_add(&tiny, "ab", MLT_TOKEN_NORMAL, -4);
    tiny_add(&tiny, "\xEF\xBF\xBD", MLT_TOKEN_NORMAL, -5);
    tiny.spec.charsmap = map;
    tiny.spec.charsmap_bytes = sizeof map;
    struct mlt_tokenizer *tokenizer = open_tiny();
    assert_string_equal(pieces(tokenizer, "aAa", 0), "a|ab|a");
    assert_string_equal(pieces(tokenizer, "a\xC3", 0), "a|\xEF\xBF\xBD");
    mlt_tokenizer_close(&tokenizer);

    millet_error err;
    map[1] = 0x11; /* more units than there are bytes */
    assert_int_equal(mlt_tokenizer_open(mlt_default_allocator(), &tiny.spec, &tokenizer, &err),
                     MILLET_BAD_FORMAT);
    assert_null(tokenizer);
    map[1] = 0x10;
    put_unit(map, 0x341, 1u << 31 | 0x1000); /* a replacement outside: no match */
    tokenizer = open_tiny();
    assert_string_equal(pieces(tokenizer, "aAa", 0), "a|<unk>|a");
    mlt_tokenizer_close(&tokenizer);

    /* Replacements of 255 bytes and of one more: that is none. */
    static uint8_t large[4 + 4 * 0x400 + 257];
    memcpy(large, map, 4 + 4 * 0x400);
    memset(large + 4 + 4 * 0x400, 'a', 256);
    tiny.spec.charsmap = large;
    tiny.spec.charsmap_bytes = sizeof large;
    for (unsigned skip = 0; skip < 2; skip++) {
        put_unit(large, 0x341, 1u << 31 | skip);
        tokenizer = open_tiny();
        assert_int_equal(strlen(pieces(tokenizer, "A", 0)), skip ? 255 + 254 : strlen("<unk>"));
        mlt_tokenizer_close(&tokenizer);
    }
}

static void wordpiece_covers_words(void **state)
{
    (void)state;
    struct mlt_tokenizer *tokenizer = open_kind(MLT_TOKENIZER_WORDPIECE);
    assert_string_equal(pieces(tokenizer, "unaffable", 0), MARK "un|aff|able");
    assert_string_equal(pieces(tokenizer, "Hello,  WORLD!", 0),
                        MARK "hello|" MARK ",|" MARK "world|" MARK "!");
    /* Accents go, ideographs stand alone, control characters vanish. */
    assert_string_equal(pieces(tokenizer, "R\xC3\xA9sum\xC3\xA9s", 0), MARK "resume|s");
    assert_string_equal(pieces(tokenizer, "\xE4\xB8\xAD\xE6\x96\x87", 0),
                        MARK "\xE4\xB8\xAD|" MARK "\xE6\x96\x87");
    assert_string_equal(pieces(tokenizer, "he\x01\xE2\x80\x8Bllo\t\xFFworld", 0), MARK "hello|" MARK "world");
    /* A word that cannot be covered is one unknown token. */
    assert_string_equal(pieces(tokenizer, "unaffxable hello", 0), "[UNK]|" MARK "hello");
    char longest[128];
    memset(longest, 's', sizeof longest);
    memcpy(longest, "hello", 5);
    longest[100] = 0;
    assert_string_not_equal(pieces(tokenizer, longest, 0), "[UNK]");
    longest[100] = 's';
    longest[101] = 0;
    assert_string_equal(pieces(tokenizer, longest, 0), "[UNK]");
    mlt_tokenizer_close(&tokenizer);
    tiny.spec.lowercase = false;
    tokenizer = open_tiny();
    assert_string_equal(pieces(tokenizer, "Hello hello", 0), "[UNK]|" MARK "hello");
    mlt_tokenizer_close(&tokenizer);
}

/* ---- Against the naive algorithms ---- */

enum { RANDOM_TEXT = 60 };

static void random_text(struct mlt_random *random, const char *alphabet, char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        text[i] = alphabet[mlt_random_u64(random) % strlen(alphabet)];
    text[length] = 0;
}

/* Merges the best pair, the leftmost of equals, until there is none: quadratic. `score` is > 0 for texts that
 * are tokens and the higher the better. Pieces are separated by "|". */
static void naive_merges(const char *text, float (*score)(const char *text, size_t length), char *out)
{
    size_t starts[RANDOM_TEXT + 1], count = strlen(text);
    for (size_t i = 0; i <= count; i++)
        starts[i] = i;
    for (;;) {
        size_t best = SIZE_MAX;
        float best_score = 0;
        for (size_t i = 0; i + 2 <= count; i++) {
            float merged = score(text + starts[i], starts[i + 2] - starts[i]);
            if (merged > best_score) {
                best_score = merged;
                best = i;
            }
        }
        if (best == SIZE_MAX) break;
        memmove(starts + best + 1, starts + best + 2, (count - best - 1) * sizeof *starts);
        count--;
    }
    for (size_t i = 0; i < count; i++)
        out += sprintf(out, "%s%.*s", i ? "|" : "", (int)(starts[i + 1] - starts[i]), text + starts[i]);
    *out = 0;
}

static float score_of_token(const char *text, size_t length)
{
    for (int32_t id = 0; id < tiny.spec.n_tokens; id++)
        if (tiny.tokens[id].length == length && memcmp(tiny.tokens[id].data, text, length) == 0)
            return tiny.scores[id];
    return -1;
}

/* A vocabulary of the letters and of random texts that begin with one text and end with another of it. */
static void random_vocabulary(struct mlt_random *random, char texts[][16], int words)
{
    tiny_init(&tiny, MLT_TOKENIZER_SPM);
    tiny.spec.add_space_prefix = false;
    tiny_add(&tiny, "a", MLT_TOKEN_NORMAL, 1);
    tiny_add(&tiny, "b", MLT_TOKEN_NORMAL, 1);
    tiny_add(&tiny, "c", MLT_TOKEN_NORMAL, 1);
    for (int i = 0; i < words; i++) {
        int32_t left = (int32_t)(mlt_random_u64(random) % (uint64_t)tiny.spec.n_tokens);
        int32_t right = (int32_t)(mlt_random_u64(random) % (uint64_t)tiny.spec.n_tokens);
        if (tiny.tokens[left].length + tiny.tokens[right].length > 15) continue;
        snprintf(texts[i], 16, "%s%s", tiny.tokens[left].data, tiny.tokens[right].data);
        if (score_of_token(texts[i], strlen(texts[i])) >= 0) continue;
        /* Few scores, so that there are ties. */
        tiny_add(&tiny, texts[i], MLT_TOKEN_NORMAL, (float)(1 + mlt_random_u64(random) % 5));
    }
}

static void merging_equals_the_naive_way(void **state)
{
    (void)state;
    struct mlt_random random;
    mlt_random_seed(&random, 1);
    static char texts[24][16], text[RANDOM_TEXT + 1], expected[2 * RANDOM_TEXT + 1];
    for (int round = 0; round < 200; round++) {
        random_vocabulary(&random, texts, 24);
        struct mlt_tokenizer *tokenizer = open_tiny();
        for (int i = 0; i < 20; i++) {
            random_text(&random, "abc", text, 1 + mlt_random_u64(&random) % (RANDOM_TEXT - 1));
            naive_merges(text, score_of_token, expected);
            assert_string_equal(pieces(tokenizer, text, 0), expected);
        }
        mlt_tokenizer_close(&tokenizer);
    }
}

/* Spaces cut the text into words, unless a token reaches over one: the result is the same as without cutting.
 */
static void words_are_cut_only_where_no_token_reaches_over(void **state)
{
    (void)state;
    struct mlt_random random;
    mlt_random_seed(&random, 2);
    static char text[RANDOM_TEXT + 1];
    for (int reaches = 0; reaches < 2; reaches++) {
        tiny_init(&tiny, MLT_TOKENIZER_SPM);
        tiny.spec.add_space_prefix = false;
        static const char *const words[] = {"a",  "b",       MARK,           MARK "a", MARK MARK,
                                            "ab", MARK "ab", MARK MARK MARK, "ba"};
        for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
            tiny_add(&tiny, words[i], MLT_TOKEN_NORMAL, (float)(1 + i % 4));
        if (reaches) tiny_add(&tiny, "b" MARK, MLT_TOKEN_NORMAL, 9);
        struct mlt_tokenizer *tokenizer = open_tiny();
        for (int i = 0; i < 500; i++) {
            random_text(&random, "ab ", text, 20);
            char marked[3 * 20 + 1], expected[256];
            size_t length = 0;
            for (const char *c = text; *c; c++)
                length += (size_t)sprintf(marked + length, "%s", *c == ' ' ? MARK : (char[]){*c, 0});
            /* The naive way over characters: three-byte marks are single symbols from the start. */
            size_t starts[32], count = 0;
            for (size_t at = 0; at < length; at += (uint8_t)marked[at] < 0x80 ? 1 : 3)
                starts[count++] = at;
            starts[count] = length;
            for (;;) {
                size_t best = SIZE_MAX;
                float best_score = 0;
                for (size_t k = 0; k + 2 <= count; k++) {
                    float merged = score_of_token(marked + starts[k], starts[k + 2] - starts[k]);
                    if (merged > best_score) {
                        best_score = merged;
                        best = k;
                    }
                }
                if (best == SIZE_MAX) break;
                memmove(starts + best + 1, starts + best + 2, (count - best - 1) * sizeof *starts);
                count--;
            }
            char *out = expected;
            for (size_t k = 0; k < count; k++)
                out += sprintf(out, "%s%.*s", k ? "|" : "", (int)(starts[k + 1] - starts[k]),
                               marked + starts[k]);
            assert_string_equal(pieces(tokenizer, text, 0), expected);
        }
        mlt_tokenizer_close(&tokenizer);
    }
}

/* The sum of scores of the best segmentation of text[0..length), by trying all. */
static double best_sum(const char *text, size_t length, double unknown)
{
    if (length == 0) return 0;
    double best = unknown + best_sum(text + 1, length - 1, unknown);
    for (size_t size = 1; size <= length; size++) {
        float score = score_of_token(text, size);
        if (score >= 0) continue; /* normal tokens have negative scores here */
        for (int32_t id = 0; id < tiny.spec.n_tokens; id++)
            if (tiny.tokens[id].length == size && memcmp(tiny.tokens[id].data, text, size) == 0) {
                double sum = tiny.scores[id] + best_sum(text + size, length - size, unknown);
                if (sum > best) best = sum;
            }
    }
    return best;
}

static void unigram_equals_trying_all(void **state)
{
    (void)state;
    struct mlt_random random;
    mlt_random_seed(&random, 3);
    static char texts[24][16], text[16];
    for (int round = 0; round < 50; round++) {
        random_vocabulary(&random, texts, 16);
        tiny.spec.kind = MLT_TOKENIZER_UNIGRAM;
        for (int32_t id = 0; id < tiny.spec.n_tokens; id++)
            tiny.scores[id] = -1.0f - (float)(mlt_random_u64(&random) % 64) / 4;
        struct mlt_tokenizer *tokenizer = open_tiny();
        for (int i = 0; i < 10; i++) {
            random_text(&random, "abc", text, 1 + mlt_random_u64(&random) % 9);
            int32_t *ids;
            size_t count;
            double sum = 0;
            assert_int_equal(
                mlt_tokenize(tokenizer, mlt_default_allocator(), text, strlen(text), 0, &ids, &count, NULL),
                MILLET_OK);
            for (size_t k = 0; k < count; k++)
                sum += tiny.scores[ids[k]];
            mlt_free(mlt_default_allocator(), ids);
            assert_true(sum == best_sum(text, strlen(text), -1e9));
        }
        mlt_tokenizer_close(&tokenizer);
    }
}

/* ---- Threads ---- */

enum { THREADS = 4, ROUNDS = 50 };

static void tokenize_often(void *argument, int thread, int threads)
{
    const struct mlt_tokenizer *tokenizer = argument;
    (void)threads;
    for (int round = 0; round < ROUNDS; round++) {
        char text[64];
        int length = snprintf(text, sizeof text, "hello world %d hello", thread * ROUNDS + round);
        int32_t *ids;
        size_t count;
        millet_error err;
        if (mlt_tokenize(tokenizer, mlt_default_allocator(), text, (size_t)length, 0, &ids, &count, &err))
            abort();
        char back[256];
        size_t filled = 0;
        struct mlt_decode_state state = {0};
        for (size_t i = 0; i < count; i++)
            filled += mlt_decode_token(tokenizer, &state, ids[i], false, back + filled);
        if (filled != (size_t)length || memcmp(back, text, filled) != 0) abort();
        mlt_free(mlt_default_allocator(), ids);
    }
}

static void threads_share_a_tokenizer(void **state)
{
    (void)state;
    struct mlt_thread_pool *pool;
    assert_int_equal(mlt_thread_pool_open(mlt_default_allocator(), THREADS, &pool, NULL), MILLET_OK);
    const enum mlt_tokenizer_kind kinds[] = {MLT_TOKENIZER_SPM, MLT_TOKENIZER_BPE};
    for (size_t i = 0; i < MLT_COUNT(kinds); i++) {
        struct mlt_tokenizer *tokenizer = open_kind(kinds[i]);
        mlt_thread_pool_run(pool, tokenize_often, tokenizer);
        mlt_tokenizer_close(&tokenizer);
    }
    mlt_thread_pool_close(&pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spm_merges_by_score),
        cmocka_unit_test(spm_without_prefix_and_bytes),
        cmocka_unit_test(special_tokens_are_cut_out),
        cmocka_unit_test(special_tokens_prefer_the_longest),
        cmocka_unit_test(begin_and_end_are_added_as_asked),
        cmocka_unit_test(bpe_merges_by_rank),
        cmocka_unit_test(bpe_takes_whole_words_where_asked),
        cmocka_unit_test(bpe_by_ranks_needs_no_merges),
        cmocka_unit_test(bpe_without_some_bytes),
        cmocka_unit_test(bpe_normalises_where_asked),
        cmocka_unit_test(gemma4_writes_plain_text),
        cmocka_unit_test(unigram_finds_the_best_segmentation),
        cmocka_unit_test(unigram_maps_characters),
        cmocka_unit_test(wordpiece_covers_words),
        cmocka_unit_test(merging_equals_the_naive_way),
        cmocka_unit_test(words_are_cut_only_where_no_token_reaches_over),
        cmocka_unit_test(unigram_equals_trying_all),
        cmocka_unit_test(threads_share_a_tokenizer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
