/*
 * The choice of types against trying everything.
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
#include "compact/plan_knapsack.h"

#include <math.h>

enum { GROUPS = 7, CHOICES = 5 };

struct instance {
    struct mlt_choice choices[GROUPS][CHOICES];
    const struct mlt_choice *rows[GROUPS];
    size_t counts[GROUPS];
    struct mlt_knapsack k;
};

static double draw(struct mlt_random *random)
{
    return (double)(mlt_random_u64(random) >> 11) / 9007199254740992.0;
}

/* Losses that mostly, but not always, fall with the bytes; every third has equal sizes among its choices. */
static void make(struct instance *x, struct mlt_random *random, bool timed)
{
    *x = (struct instance){0};
    uint64_t least = 0, most = 0;
    double fast = 0, slow = 0;
    for (size_t g = 0; g < GROUPS; g++) {
        x->counts[g] = 1 + mlt_random_u64(random) % CHOICES;
        x->rows[g] = x->choices[g];
        uint64_t low = UINT64_MAX, high = 0;
        double f = INFINITY, s = 0, scale = pow(10, 3 * draw(random));
        for (size_t i = 0; i < x->counts[g]; i++) {
            struct mlt_choice *c = &x->choices[g][i];
            c->bytes = 32 * (1 + mlt_random_u64(random) % (g % 3 ? 1000 : 4));
            c->loss = scale * draw(random) / (double)c->bytes;
            c->seconds = timed ? draw(random) : 0;
            low = MLT_MIN(low, c->bytes);
            high = MLT_MAX(high, c->bytes);
            f = fmin(f, c->seconds);
            s = fmax(s, c->seconds);
        }
        least += low;
        most += high;
        fast += f;
        slow += s;
    }
    x->k = (struct mlt_knapsack){.n_groups = GROUPS, .choices = x->rows, .n_choices = x->counts};
    x->k.most_bytes = least + (uint64_t)(1.1 * draw(random) * (double)(most - least));
    x->k.most_seconds = timed ? fast + 1.1 * draw(random) * (slow - fast) : INFINITY;
}

/* The least loss of all choices that fit; INFINITY: none does. */
static double try_all(const struct instance *x, size_t g, uint64_t bytes, double seconds, double loss)
{
    if (bytes > x->k.most_bytes || seconds > x->k.most_seconds) return INFINITY;
    if (g == GROUPS) return loss;
    double best = INFINITY;
    for (size_t i = 0; i < x->counts[g]; i++) {
        const struct mlt_choice *c = &x->choices[g][i];
        best = fmin(best, try_all(x, g + 1, bytes + c->bytes, seconds + c->seconds, loss + c->loss));
    }
    return best;
}

static void check_answer(const struct instance *x, const uint32_t *picked,
                         const struct mlt_knapsack_answer *answer)
{
    uint64_t bytes = 0;
    double seconds = 0, loss = 0;
    for (size_t g = 0; g < GROUPS; g++) {
        assert_true(picked[g] < x->counts[g]);
        bytes += x->choices[g][picked[g]].bytes;
        seconds += x->choices[g][picked[g]].seconds;
        loss += x->choices[g][picked[g]].loss;
    }
    assert_int_equal(bytes, answer->bytes);
    assert_true(fabs(seconds - answer->seconds) < 1e-12 * (1 + seconds));
    assert_true(fabs(loss - answer->loss) < 1e-12 * (1 + loss));
    assert_true(bytes <= x->k.most_bytes);
    assert_true(seconds <= x->k.most_seconds * (1 + 1e-12));
}

static void compare(bool timed)
{
    struct mlt_random random;
    mlt_random_seed(&random, timed ? 5 : 4);
    int possible = 0;
    for (int i = 0; i < 300; i++) {
        struct instance x;
        make(&x, &random, timed);
        uint32_t picked[GROUPS];
        struct mlt_knapsack_answer answer;
        double best = try_all(&x, 0, 0, 0, 0);
        millet_status status = mlt_knapsack_solve(mlt_default_allocator(), &x.k, picked, &answer, NULL);
        assert_int_equal(status, isfinite(best) ? MILLET_OK : MILLET_BAD_ARGUMENT);
        if (status != MILLET_OK) continue;
        possible++;
        check_answer(&x, picked, &answer);
        assert_true(answer.best);
        assert_true(fabs(answer.loss - best) <= 1e-9 * best);

        /* With few partial choices: what fits, and no better than the best. */
        x.k.width = 3;
        if (mlt_knapsack_solve(mlt_default_allocator(), &x.k, picked, &answer, NULL) != MILLET_OK) continue;
        check_answer(&x, picked, &answer);
        assert_true(answer.loss >= best * (1 - 1e-9));
        if (answer.best) assert_true(answer.loss <= best * (1 + 1e-9));
    }
    assert_true(possible > 150);
}

static void test_bytes(void **state)
{
    (void)state;
    compare(false);
}

static void test_bytes_and_seconds(void **state)
{
    (void)state;
    compare(true);
}

static void test_what_is_impossible(void **state)
{
    (void)state;
    static const struct mlt_choice a[] = {{64, 1, 5}, {96, 0.5, 3}}, b[] = {{32, 2, 0}};
    static const struct mlt_choice *const rows[] = {a, b};
    static const size_t counts[] = {2, 1};
    struct mlt_knapsack k = {
        .n_groups = 2, .choices = rows, .n_choices = counts, .most_bytes = 95, .most_seconds = INFINITY};
    uint32_t picked[2];
    struct mlt_knapsack_answer answer;
    assert_int_equal(mlt_knapsack_solve(mlt_default_allocator(), &k, picked, &answer, NULL),
                     MILLET_BAD_ARGUMENT);
    assert_int_equal(answer.bytes, 96);
    assert_true(answer.seconds == 2.5);
    k.most_bytes = 96;
    assert_int_equal(mlt_knapsack_solve(mlt_default_allocator(), &k, picked, &answer, NULL), MILLET_OK);
    assert_int_equal(picked[0], 0);
    k.most_seconds = 2.5; /* each could be met alone */
    assert_int_equal(mlt_knapsack_solve(mlt_default_allocator(), &k, picked, &answer, NULL),
                     MILLET_BAD_ARGUMENT);
    k.most_bytes = UINT64_MAX;
    assert_int_equal(mlt_knapsack_solve(mlt_default_allocator(), &k, picked, &answer, NULL), MILLET_OK);
    assert_int_equal(picked[0], 1);
    k.n_groups = 0;
    assert_int_equal(mlt_knapsack_solve(mlt_default_allocator(), &k, picked, &answer, NULL), MILLET_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_bytes_and_seconds),
        cmocka_unit_test(test_what_is_impossible),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
