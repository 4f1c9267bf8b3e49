/* Learning merges, against a trainer that counts all pairs anew before each merge. SPDX-License-Identifier:
 * Apache-2.0 */
#include "base/random.h"
#include "corpus/bpe_train.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MAX_WORDS = 400, MAX_LENGTH = 24, MAX_SYMBOLS = 256 + 300 };

struct naive {
    int32_t symbols[MAX_WORDS][MAX_LENGTH];
    int lengths[MAX_WORDS];
    uint64_t counts[MAX_WORDS];
    int n_words;
    int bytes[MAX_SYMBOLS];
};

static uint64_t pair_counts[MAX_SYMBOLS][MAX_SYMBOLS];

/* One merge; false where no pair may be merged. */
static bool naive_merge(struct naive *n, int32_t made, uint64_t least, int most_bytes,
                        struct mlt_bpe_merge *merge)
{
    memset(pair_counts, 0, sizeof pair_counts);
    for (int w = 0; w < n->n_words; w++)
        for (int i = 0; i + 1 < n->lengths[w]; i++)
            pair_counts[n->symbols[w][i]][n->symbols[w][i + 1]] += n->counts[w];
    *merge = (struct mlt_bpe_merge){-1, -1, 0};
    for (int32_t a = 0; a < made; a++)
        for (int32_t b = 0; b < made; b++)
            if (pair_counts[a][b] >= least && pair_counts[a][b] > merge->count &&
                n->bytes[a] + n->bytes[b] <= most_bytes)
                *merge = (struct mlt_bpe_merge){a, b, pair_counts[a][b]};
    if (merge->left < 0) return false;
    n->bytes[made] = n->bytes[merge->left] + n->bytes[merge->right];
    for (int w = 0; w < n->n_words; w++) {
        int to = 0;
        for (int i = 0; i < n->lengths[w];) {
            bool here = i + 1 < n->lengths[w] && n->symbols[w][i] == merge->left &&
                        n->symbols[w][i + 1] == merge->right;
            n->symbols[w][to++] = here ? made : n->symbols[w][i];
            i += here ? 2 : 1;
        }
        n->lengths[w] = to;
    }
    return true;
}

static void compare(uint64_t seed, int letters, int n_words, int longest, uint64_t least, int most_bytes)
{
    static struct naive naive;
    struct mlt_random random;
    struct mlt_word_counts words = {.allocator = mlt_default_allocator()};
    mlt_random_seed(&random, seed);
    for (int w = 0; w < n_words; w++) {
        char text[MAX_LENGTH];
        int length = 1 + (int)(mlt_random_u64(&random) % (unsigned)longest);
        for (int i = 0; i < length; i++)
            text[i] = (char)('a' + mlt_random_u64(&random) % (unsigned)letters);
        assert_int_equal(
            mlt_word_counts_add(&words, text, (size_t)length, 1 + mlt_random_u64(&random) % 9, NULL),
            MILLET_OK);
    }
    mlt_word_counts_sort(&words);
    naive = (struct naive){.n_words = (int)words.n_words};
    for (int i = 0; i < 256; i++)
        naive.bytes[i] = 1;
    for (int w = 0; w < naive.n_words; w++) {
        naive.counts[w] = words.words[w].count;
        naive.lengths[w] = (int)words.words[w].length;
        for (int i = 0; i < naive.lengths[w]; i++)
            naive.symbols[w][i] = (uint8_t)mlt_word_text(&words, &words.words[w])[i];
    }
    enum { WANTED = 60 };
    struct mlt_bpe_merge merges[WANTED];
    const struct mlt_bpe_options options = {
        .n_merges = WANTED, .min_frequency = least, .max_bytes = most_bytes};
    int32_t n_merges;
    uint64_t n_tokens, naive_tokens = 0;
    assert_int_equal(
        mlt_bpe_train(mlt_default_allocator(), &words, &options, merges, &n_merges, &n_tokens, NULL),
        MILLET_OK);
    int32_t i = 0;
    for (struct mlt_bpe_merge merge; i < WANTED && naive_merge(&naive, 256 + i, least, most_bytes, &merge);
         i++) {
        assert_true(i < n_merges);
        assert_int_equal(merges[i].left, merge.left);
        assert_int_equal(merges[i].right, merge.right);
        assert_int_equal(merges[i].count, merge.count);
    }
    assert_int_equal(i, n_merges);
    for (int w = 0; w < naive.n_words; w++)
        naive_tokens += naive.counts[w] * (uint64_t)naive.lengths[w];
    assert_int_equal(n_tokens, naive_tokens);
    mlt_word_counts_release(&words);
}

static void test_same_merges(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 12; seed++) {
        compare(seed, 2, 60, 12, 2, 48); /* many repeats within words: aaaa */
        compare(seed, 4, 200, 10, 2, 48);
        compare(seed, 26, 300, 8, 2, 48);
        compare(seed, 3, 100, 20, 30, 48); /* stops early */
        compare(seed, 3, 100, 20, 2, 4);   /* short tokens only */
    }
}

static void test_words_are_found_by_content(void **state)
{
    (void)state;
    struct mlt_word_counts words = {.allocator = mlt_default_allocator()};
    char text[32];
    for (int round = 0; round < 3; round++)
        for (int i = 0; i < 5000; i++) {
            int length = snprintf(text, sizeof text, "word %d", i);
            assert_int_equal(mlt_word_counts_add(&words, text, (size_t)length, (uint64_t)(i % 3 + 1), NULL),
                             MILLET_OK);
        }
    assert_int_equal(words.n_words, 5000);
    mlt_word_counts_sort(&words);
    for (size_t i = 0; i + 1 < words.n_words; i++)
        assert_true(words.words[i].count >= words.words[i + 1].count);
    assert_int_equal(words.words[0].count, 9);
    assert_memory_equal(mlt_word_text(&words, &words.words[0]), "word 1001",
                        9); /* the first by bytes of those with 2 modulo 3 */
    mlt_word_counts_release(&words);
}

/* A word of a million bytes is counted in parts, between characters. */
static void test_long_words(void **state)
{
    (void)state;
    enum { SIZE = 300000 };
    struct mlt_word_counts words = {.allocator = mlt_default_allocator()};
    char *text = malloc(SIZE);
    assert_non_null(text);
    for (size_t i = 0; i < SIZE; i += 3)
        memcpy(text + i, "\xE6\xBC\xA2", 3);
    assert_int_equal(mlt_word_counts_add(&words, text, SIZE, 1, NULL), MILLET_OK);
    uint64_t total = 0;
    for (size_t i = 0; i < words.n_words; i++) {
        assert_true(words.words[i].length <= MLT_MAX_WORD && words.words[i].length % 3 == 0);
        total += words.words[i].count * words.words[i].length;
    }
    assert_int_equal(total, SIZE);
    free(text);
    mlt_word_counts_release(&words);
}

static bool stop(void *context, double fraction)
{
    (void)context;
    (void)fraction;
    return false;
}

static void test_cancelling(void **state)
{
    (void)state;
    struct mlt_word_counts words = {.allocator = mlt_default_allocator()};
    char text[16];
    for (int i = 0; i < 2000; i++) {
        int length = snprintf(text, sizeof text, "%d", i * 7919);
        assert_int_equal(mlt_word_counts_add(&words, text, (size_t)length, 1, NULL), MILLET_OK);
    }
    static struct mlt_bpe_merge merges[500];
    const struct mlt_bpe_options options = {
        .n_merges = 500, .min_frequency = 1, .max_bytes = 48, .progress = stop};
    int32_t n_merges;
    uint64_t n_tokens;
    assert_int_equal(
        mlt_bpe_train(mlt_default_allocator(), &words, &options, merges, &n_merges, &n_tokens, NULL),
        MILLET_CANCELLED);
    mlt_word_counts_release(&words);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_merges),
        cmocka_unit_test(test_words_are_found_by_content),
        cmocka_unit_test(test_long_words),
        cmocka_unit_test(test_cancelling),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
