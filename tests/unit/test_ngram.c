/*
 * The index of n-grams against a search through the whole text.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/random.h"
#include "generate/ngram.h"

enum { LONGEST_TEXT = 2000 };

static int32_t tokens[LONGEST_TEXT];

/* Tokens that stand alike before `a` and before `length`. */
static int32_t common(int32_t a, int32_t length)
{
    int32_t n = 0;
    while (n < MLT_NGRAM_LONGEST && n < a && tokens[a - 1 - n] == tokens[length - 1 - n])
        n++;
    return n;
}

/* The latest place where at least min(n, MLT_NGRAM_MAX) tokens match, n as great as possible. */
static struct mlt_ngram_match search(int32_t length)
{
    for (int32_t n = MLT_NGRAM_MAX; n >= 1; n--)
        for (int32_t at = length - 1; at > 0; at--)
            if (common(at, length) >= n) return (struct mlt_ngram_match){at, common(at, length)};
    return (struct mlt_ngram_match){0, 0};
}

static void test_against_search(void **state)
{
    (void)state;
    struct mlt_random random;
    mlt_random_seed(&random, 1);
    void *memory = malloc((size_t)mlt_ngram_bytes(LONGEST_TEXT));
    struct mlt_ngram_index index;
    mlt_ngram_init(&index, memory, LONGEST_TEXT);
    int found = 0, same = 0;
    for (uint64_t words = 2; words <= 200000; words *= 10) {
        mlt_ngram_reset(&index);
        int32_t extended = 0;
        for (int32_t i = 0; i < LONGEST_TEXT; i++) {
            /* Sometimes the text goes on as it did at a place before. */
            bool copy = i > 20 && mlt_random_u64(&random) % 4;
            tokens[i] = copy ? tokens[i - 13] : (int32_t)(mlt_random_u64(&random) % words) * 7919;
            if (mlt_random_u64(&random) % 3 == 0) continue; /* several tokens are added at a time */
            mlt_ngram_extend(&index, tokens, i + 1);
            extended++;
            struct mlt_ngram_match match = mlt_ngram_find(&index, tokens, i + 1), naive = search(i + 1);
            assert_true(match.length >= 0 && match.length <= naive.length + MLT_NGRAM_LONGEST);
            if (match.length > 0) { /* what it says is so */
                assert_true(match.follows > 0 && match.follows <= i);
                assert_int_equal(match.length, common(match.follows, i + 1));
            }
            found += naive.length > 0;
            same += naive.length > 0 && match.follows == naive.follows && match.length == naive.length;
        }
        assert_true(extended > 0);
    }
    /* Two n-grams of one slot are the only difference. */
    assert_true(found > 1000);
    assert_true(same > 0.8 * found);
    free(memory);
}

static void test_nothing_to_find(void **state)
{
    (void)state;
    void *memory = malloc((size_t)mlt_ngram_bytes(1));
    struct mlt_ngram_index index;
    mlt_ngram_init(&index, memory, 1);
    for (int32_t i = 0; i < 100; i++)
        tokens[i] = i;
    for (int32_t length = 0; length < 100; length++) {
        mlt_ngram_extend(&index, tokens, length);
        assert_int_equal(mlt_ngram_find(&index, tokens, length).length, 0);
    }
    free(memory);
}

/* A text that is shorter and other than when it was indexed: nothing is claimed that is not so. */
static void test_stale_entries(void **state)
{
    (void)state;
    struct mlt_random random;
    mlt_random_seed(&random, 2);
    void *memory = malloc((size_t)mlt_ngram_bytes(LONGEST_TEXT));
    struct mlt_ngram_index index;
    mlt_ngram_init(&index, memory, LONGEST_TEXT);
    for (int32_t i = 0; i < LONGEST_TEXT; i++)
        tokens[i] = (int32_t)(mlt_random_u64(&random) % 5);
    mlt_ngram_extend(&index, tokens, LONGEST_TEXT);
    int found = 0;
    for (int32_t length = 0; length < LONGEST_TEXT; length++) {
        struct mlt_ngram_match match = mlt_ngram_find(&index, tokens, length);
        tokens[length] = (int32_t)(mlt_random_u64(&random) % 5);
        if (match.length == 0) continue;
        found++;
        assert_true(match.follows > 0 && match.follows < length);
        assert_int_equal(match.length, common(match.follows, length));
    }
    assert_true(found > 0);
    free(memory);
}

static void test_repetition_goes_on(void **state)
{
    (void)state;
    void *memory = malloc((size_t)mlt_ngram_bytes(64));
    struct mlt_ngram_index index;
    mlt_ngram_init(&index, memory, 64);
    const int32_t period[] = {4, 9, 4, 7};
    for (int32_t i = 0; i < 11; i++)
        tokens[i] = period[i % 4];
    mlt_ngram_extend(&index, tokens, 11);
    struct mlt_ngram_match match = mlt_ngram_find(&index, tokens, 11);
    assert_int_equal(match.follows, 7);
    assert_int_equal(match.length, 7);
    int32_t proposed[16];
    for (int32_t i = 0; i < 16; i++) {
        proposed[i] = mlt_ngram_next(match, tokens, 11, proposed, i);
        assert_int_equal(proposed[i], period[(11 + i) % 4]);
    }
    free(memory);
}

static void test_memory_is_bounded(void **state)
{
    (void)state;
    assert_true(mlt_ngram_bytes(4096) == 4096 * 16);
    assert_true(mlt_ngram_bytes(4097) == 4096 * 32);
    assert_true(mlt_ngram_bytes(INT32_MAX) == 16 << 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_search),    cmocka_unit_test(test_nothing_to_find),
        cmocka_unit_test(test_stale_entries),     cmocka_unit_test(test_repetition_goes_on),
        cmocka_unit_test(test_memory_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
