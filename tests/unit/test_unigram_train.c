/* The unigram model, against all segmentations written out, and its seeds against all substrings counted.
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/random.h"
#include "corpus/unigram_train.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void random_words(struct mlt_word_counts *words, uint64_t seed, int letters, int n_words, int longest)
{
    struct mlt_random random;
    *words = (struct mlt_word_counts){.allocator = mlt_default_allocator()};
    mlt_random_seed(&random, seed);
    for (int w = 0; w < n_words; w++) {
        char text[64];
        int length = 1 + (int)(mlt_random_u64(&random) % (unsigned)longest);
        for (int i = 0; i < length; i++) /* uneven: some letters are more frequent */
            text[i] =
                (char)('a' + (mlt_random_u64(&random) % (unsigned)letters) * (mlt_random_u64(&random) % 2));
        assert_int_equal(
            mlt_word_counts_add(words, text, (size_t)length, 1 + mlt_random_u64(&random) % 5, NULL),
            MILLET_OK);
    }
    mlt_word_counts_sort(words);
}

static struct mlt_piece_set seeds_of(const struct mlt_word_counts *words, size_t max_seeds,
                                     int32_t max_characters)
{
    const struct mlt_seed_options options = {.max_seeds = max_seeds,
                                             .min_frequency = 2,
                                             .max_characters = max_characters,
                                             .coverage = 1,
                                             .max_required = 1000};
    struct mlt_piece_set set;
    assert_int_equal(mlt_seed_pieces(words, &options, &set, NULL), MILLET_OK);
    return set;
}

/* How often `text` stands in the words. */
static uint64_t occurrences(const struct mlt_word_counts *words, const char *text, size_t length)
{
    uint64_t count = 0;
    for (size_t w = 0; w < words->n_words; w++)
        for (size_t i = 0; i + length <= words->words[w].length; i++)
            if (memcmp(mlt_word_text(words, &words->words[w]) + i, text, length) == 0)
                count += words->words[w].count;
    return count;
}

static bool has_piece(const struct mlt_piece_set *set, const char *text, size_t length)
{
    for (size_t i = 0; i < set->count; i++)
        if (set->pieces[i].length == length && memcmp(set->pieces[i].text, text, length) == 0) return true;
    return false;
}

/*
 * Every seed has its frequency, once; every substring that is as frequent as it can be (each longer one by a
 * letter at its end is rarer) is a seed.
 */
static void test_seeds(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 8; seed++) {
        enum { LONGEST = 5 };
        struct mlt_word_counts words;
        random_words(&words, seed, 3, 40, 9);
        struct mlt_piece_set set = seeds_of(&words, 100000, LONGEST);
        for (size_t i = 0; i < set.count; i++) {
            const struct mlt_piece *piece = &set.pieces[i];
            assert_true(piece->length <= LONGEST);
            assert_true(piece->score ==
                        (double)(occurrences(&words, piece->text, piece->length) * piece->length));
            for (size_t k = 0; k < i; k++)
                assert_false(set.pieces[k].length == piece->length &&
                             memcmp(set.pieces[k].text, piece->text, piece->length) == 0);
            if (i && !piece->required)
                assert_true(set.pieces[i - 1].required || set.pieces[i - 1].score >= piece->score);
        }
        for (size_t w = 0; w < words.n_words; w++) {
            const char *text = mlt_word_text(&words, &words.words[w]);
            for (size_t from = 0; from < words.words[w].length; from++)
                for (size_t length = 1; length <= LONGEST && from + length <= words.words[w].length;
                     length++) {
                    uint64_t count = occurrences(&words, text + from, length);
                    bool as_frequent_when_longer = false;
                    for (char letter = 'a'; letter <= 'c' && length < LONGEST; letter++) {
                        char longer[LONGEST + 1];
                        memcpy(longer, text + from, length);
                        longer[length] = letter;
                        as_frequent_when_longer =
                            as_frequent_when_longer || occurrences(&words, longer, length + 1) == count;
                    }
                    if (count >= 2 && !as_frequent_when_longer)
                        assert_true(has_piece(&set, text + from, length));
                }
        }
        mlt_piece_set_release(&set);
        mlt_word_counts_release(&words);
    }
}

/* Characters of several bytes are never cut, and rare ones part the words. */
static void test_seeds_of_characters(void **state)
{
    (void)state;
    struct mlt_word_counts words = {.allocator = mlt_default_allocator()};
    /* U+4E00, U+4E01 differ in the last byte. */
    assert_int_equal(mlt_word_counts_add(&words, "\xE4\xB8\x80\xE4\xB8\x81", 6, 50, NULL), MILLET_OK);
    assert_int_equal(mlt_word_counts_add(&words, "\xE4\xB8\x80\xE4\xB8\x80", 6, 50, NULL), MILLET_OK);
    assert_int_equal(mlt_word_counts_add(&words,
                                         "ab\xC3\xA9"
                                         "ab",
                                         6, 2, NULL),
                     MILLET_OK);
    const struct mlt_seed_options options = {
        .max_seeds = 1000, .min_frequency = 2, .max_characters = 16, .coverage = 0.989, .max_required = 1000};
    struct mlt_piece_set set;
    assert_int_equal(mlt_seed_pieces(&words, &options, &set, NULL), MILLET_OK);
    assert_true(has_piece(&set, "\xE4\xB8\x80\xE4\xB8\x81", 6));
    assert_true(has_piece(&set, "ab", 2));
    assert_false(has_piece(&set, "\xC3\xA9", 2)); /* 2 of 210 characters */
    for (size_t i = 0; i < set.count; i++)
        for (size_t k = 0; k < set.pieces[i].length; k++)
            assert_true((uint8_t)set.pieces[i].text[k] != 0xC3);
    for (size_t i = 0; i < set.count; i++)
        assert_true(((uint8_t)set.pieces[i].text[0] & 0xC0) != 0x80);
    mlt_piece_set_release(&set);
    mlt_word_counts_release(&words);
}

static void random_scores(struct mlt_piece_set *set, uint64_t seed)
{
    struct mlt_random random;
    double sum = 0;
    mlt_random_seed(&random, seed);
    for (size_t i = 0; i < set->count; i++)
        sum += set->pieces[i].score = 0.05 + mlt_random_double(&random);
    for (size_t i = 0; i < set->count; i++)
        set->pieces[i].score = log(set->pieces[i].score / sum);
}

/* Walks all segmentations of a word: probability, and the pieces of the current one. */
struct walk {
    const struct mlt_piece_set *set;
    const char *text;
    size_t length;
    int path[64];
    double total, best;
    double *expected; /* of one occurrence, not yet divided by the total */
    int best_tokens;
};

static void walk(struct walk *w, size_t at, int depth, double p)
{
    if (at == w->length) {
        w->total += p;
        for (int i = 0; i < depth; i++)
            w->expected[w->path[i]] += p;
        if (p > w->best) {
            w->best = p;
            w->best_tokens = depth;
        }
        return;
    }
    for (size_t i = 0; i < w->set->count; i++) {
        const struct mlt_piece *piece = &w->set->pieces[i];
        if (piece->length > w->length - at || memcmp(piece->text, w->text + at, piece->length) != 0) continue;
        w->path[depth] = (int)i;
        walk(w, at + piece->length, depth + 1, p * exp(piece->score));
    }
}

static void test_expected_counts(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 10; seed++) {
        struct mlt_word_counts words;
        random_words(&words, seed, 3, 30, 8);
        struct mlt_piece_set set = seeds_of(&words, 60, 6);
        random_scores(&set, seed + 100);
        double *expected = calloc(set.count, sizeof *expected), *one = calloc(set.count, sizeof *one);
        assert_non_null(expected);
        assert_non_null(one);
        double log_likelihood = 0;
        uint64_t best_tokens = 0;
        for (size_t i = 0; i < words.n_words; i++) {
            memset(one, 0, set.count * sizeof *one);
            struct walk w = {.set = &set,
                             .text = mlt_word_text(&words, &words.words[i]),
                             .length = words.words[i].length,
                             .expected = one};
            walk(&w, 0, 0, 1);
            log_likelihood += (double)words.words[i].count * log(w.total);
            best_tokens += words.words[i].count * (uint64_t)w.best_tokens;
            for (size_t k = 0; k < set.count; k++)
                expected[k] += (double)words.words[i].count * one[k] / w.total;
        }
        struct mlt_unigram_expectation found;
        assert_int_equal(mlt_unigram_expect(&words, &set, NULL, false, &found, NULL), MILLET_OK);
        for (size_t k = 0; k < set.count; k++)
            assert_true(fabs(found.counts[k] - expected[k]) < 1e-3);
        assert_true(fabs(found.log_likelihood - log_likelihood) < 0.1);
        free(found.counts);
        assert_int_equal(mlt_unigram_expect(&words, &set, NULL, true, &found, NULL), MILLET_OK);
        assert_int_equal(found.n_tokens, best_tokens);
        free(found.counts);
        free(expected);
        free(one);
        mlt_piece_set_release(&set);
        mlt_word_counts_release(&words);
    }
}

/* Expectation and maximisation by maximum likelihood never make the text less likely. */
static void test_likelihood_rises(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 5; seed++) {
        struct mlt_word_counts words;
        random_words(&words, seed, 4, 400, 12);
        struct mlt_piece_set set = seeds_of(&words, 500, 8);
        random_scores(&set, seed);
        double before = -INFINITY, first = 0;
        for (int step = 0; step < 30; step++) {
            struct mlt_unigram_expectation now;
            assert_int_equal(mlt_unigram_expect(&words, &set, NULL, false, &now, NULL), MILLET_OK);
            /* The sums are rounded to units of 2^-10. */
            assert_true(now.log_likelihood >= before - 0.5);
            before = now.log_likelihood;
            if (step == 0) first = before;
            mlt_unigram_maximize(&set, now.counts, false, 0);
            free(now.counts);
        }
        assert_true(before > first + 10);
        mlt_piece_set_release(&set);
        mlt_word_counts_release(&words);
    }
}

/* The same model for every number of threads, of the size asked for, that covers every letter. */
static void test_training(void **state)
{
    (void)state;
    struct mlt_word_counts words;
    random_words(&words, 7, 6, 3000, 14);
    struct mlt_piece_set first = {0};
    uint64_t first_tokens = 0, small_tokens = 0;
    for (int threads = 1; threads <= 4; threads++) {
        struct mlt_thread_pool *pool;
        assert_int_equal(mlt_thread_pool_open(mlt_default_allocator(), threads, &pool, NULL), MILLET_OK);
        const struct mlt_seed_options seed = {.max_seeds = 5000,
                                              .min_frequency = 2,
                                              .max_characters = 10,
                                              .coverage = 1,
                                              .max_required = 1000,
                                              .pool = pool};
        const struct mlt_unigram_options options = {
            .n_pieces = 200, .shrink = 0.75, .em_steps = 2, .pool = pool};
        struct mlt_piece_set set;
        uint64_t n_tokens;
        assert_int_equal(mlt_seed_pieces(&words, &seed, &set, NULL), MILLET_OK);
        assert_int_equal(mlt_unigram_train(&words, &options, &set, &n_tokens, NULL), MILLET_OK);
        assert_int_equal(set.count, 200);
        for (char letter = 'a'; letter < 'g'; letter++)
            assert_true(has_piece(&set, &letter, 1));
        if (threads == 1) {
            first = set;
            first_tokens = n_tokens;
        } else {
            assert_int_equal(n_tokens, first_tokens);
            for (size_t i = 0; i < set.count; i++) {
                assert_int_equal(set.pieces[i].length, first.pieces[i].length);
                assert_memory_equal(set.pieces[i].text, first.pieces[i].text, set.pieces[i].length);
                assert_true(set.pieces[i].score == first.pieces[i].score);
            }
            mlt_piece_set_release(&set);
        }
        mlt_thread_pool_close(&pool);
    }
    mlt_piece_set_release(&first);
    /* Fewer pieces say the same with more tokens. */
    struct mlt_piece_set set = seeds_of(&words, 5000, 10);
    const struct mlt_unigram_options options = {.n_pieces = 50, .shrink = 0.75, .em_steps = 2};
    assert_int_equal(mlt_unigram_train(&words, &options, &set, &small_tokens, NULL), MILLET_OK);
    assert_true(small_tokens > first_tokens);
    mlt_piece_set_release(&set);
    mlt_word_counts_release(&words);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_seeds),           cmocka_unit_test(test_seeds_of_characters),
        cmocka_unit_test(test_expected_counts), cmocka_unit_test(test_likelihood_rises),
        cmocka_unit_test(test_training),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
