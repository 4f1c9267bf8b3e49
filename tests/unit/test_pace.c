/*
 * When speculation is worth its time: generations with made-up chances and costs, timed by their own clock.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/random.h"
#include "generate/pace.h"

#include <math.h>
#include <string.h>

/* A machine and a text. A step of m tokens takes 1 + slope (m - 1) seconds, give or take the noise. */
struct world {
    double slope, noise, chance, propose, catch_up;
};

static double seconds_of(const struct world *world, int32_t tokens, struct mlt_random *random)
{
    double seconds = 1 + world->slope * (tokens - 1);
    if (mlt_random_double(random) < 0.01) seconds *= 1 + 5 * world->noise; /* another process */
    return seconds * (1 + world->noise * (mlt_random_double(random) - 0.5));
}

/* How many of n proposals are right. */
static int32_t right_of(const struct world *world, int32_t n, struct mlt_random *random)
{
    int32_t right = 0;
    while (right < n && mlt_random_double(random) < world->chance)
        right++;
    return right;
}

enum { N_DRAFT = 8, N_TOKENS = 20000 };

/* Tokens a second with lookups, each of which costs nothing; without it would be 1. */
static double rate_with_lookup(const struct world *world, uint64_t seed)
{
    struct mlt_random random;
    struct mlt_pace pace = {0};
    struct mlt_chance chance = mlt_chance_prior(0.5f, 2);
    double clock = 0;
    int32_t tokens = 0;
    mlt_random_seed(&random, seed);
    mlt_pace_start(&pace);
    while (tokens < N_TOKENS) {
        float chances[N_DRAFT];
        double rate;
        for (int i = 0; i < N_DRAFT; i++)
            chances[i] = mlt_chance_value(chance);
        int32_t n = mlt_pace_choose(&pace, chances, N_DRAFT, 0, &rate);
        double seconds = seconds_of(world, n + 1, &random);
        int32_t right = right_of(world, N_DRAFT, &random);
        for (int32_t i = 0; i <= right && i <= n && i < N_DRAFT; i++)
            mlt_chance_learn(&chance, i < right);
        mlt_pace_learn_step(&pace, n + 1, seconds);
        clock += seconds;
        tokens += MLT_MIN(right, n) + 1;
    }
    return tokens / clock;
}

/* The same with a model that proposes, as speculate.c asks it. */
static double rate_with_model(const struct world *world, const struct world *later, uint64_t seed)
{
    struct mlt_random random;
    struct mlt_pace pace = {0};
    struct mlt_chance chance = mlt_chance_prior(0.7f, 3);
    double clock = 0;
    int32_t tokens = 0, behind = 1;
    mlt_random_seed(&random, seed);
    mlt_pace_start(&pace);
    while (tokens < N_TOKENS) {
        if (tokens > N_TOKENS / 2) world = later;
        int32_t n_proposed = 0, n = 0;
        double spent = 0, rate;
        if (mlt_pace_wants_model(&pace, mlt_chance_value(chance), N_DRAFT, behind)) {
            float chances[N_DRAFT];
            for (int i = 0; i < N_DRAFT; i++)
                chances[i] = mlt_chance_value(chance);
            do
                n_proposed++;
            while (n_proposed < N_DRAFT &&
                   mlt_pace_choose(&pace, chances, N_DRAFT, pace.propose, &rate) > n_proposed);
            n = mlt_pace_choose(&pace, chances, n_proposed, pace.propose, &rate);
            spent = behind * world->catch_up + n_proposed * world->propose;
            mlt_pace_learn_propose(&pace, behind, n_proposed, spent);
            behind = 0;
        }
        double seconds = seconds_of(world, n + 1, &random);
        int32_t right = right_of(world, n_proposed, &random);
        for (int32_t i = 0; i <= right && i <= n && i < n_proposed; i++)
            mlt_chance_learn(&chance, i < right);
        mlt_pace_learn_step(&pace, n + 1, seconds);
        int32_t given = MLT_MIN(right, n) + 1;
        double reading = MLT_MAX(spent - pace.propose * n_proposed, 0);
        mlt_pace_learn_round(&pace, given, seconds, spent, reading);
        behind += 1;
        if (spent == 0) behind += given - 1;
        clock += seconds + spent;
        tokens += given;
    }
    return tokens / clock;
}

static const double slopes[] = {0, 0.05, 0.2, 0.6, 1, 1.5}, noises[] = {0, 0.1, 0.5};

/* What the best fixed number of proposals would reach. */
static double best_rate(const struct world *world)
{
    double best = 1, sum = 1, reach = 1;
    for (int32_t n = 1; n <= N_DRAFT; n++) {
        reach *= world->chance;
        sum += reach;
        best = fmax(best, sum / (1 + n * (world->slope + world->propose)));
    }
    return best;
}

static void test_lookup_never_costs_much(void **state)
{
    (void)state;
    for (size_t i = 0; i < MLT_COUNT(slopes); i++)
        for (size_t j = 0; j < MLT_COUNT(noises); j++)
            for (double chance = 0; chance <= 1; chance += 0.1) {
                struct world world = {slopes[i], noises[j], chance, 0, 0}, plain = {0, noises[j], 0, 0, 0};
                double rate = rate_with_lookup(&world, i + 10), without = rate_with_lookup(&plain, i + 10);
                if (rate < 0.95 * without)
                    fail_msg("slope %g, noise %g, chance %g: %g of %g tokens/s", slopes[i], noises[j], chance,
                             rate, without);
            }
}

static void test_lookup_gains_where_it_can(void **state)
{
    (void)state;
    for (size_t i = 0; i < MLT_COUNT(slopes); i++)
        for (double chance = 0; chance <= 1; chance += 0.1) {
            struct world world = {slopes[i], 0.1, chance, 0, 0};
            double rate = rate_with_lookup(&world, 3);
            if (rate < 0.85 * best_rate(&world))
                fail_msg("slope %g, chance %g: %g of %g tokens/s", slopes[i], chance, rate,
                         best_rate(&world));
        }
}

static void test_bad_model_costs_little(void **state)
{
    (void)state;
    for (size_t i = 0; i < MLT_COUNT(slopes); i++)
        for (double propose = 0.05; propose < 2; propose *= 2)
            for (double chance = 0; chance <= 0.3; chance += 0.1) {
                struct world world = {slopes[i], 0.1, chance, propose, propose / 4};
                double rate = rate_with_model(&world, &world, 5);
                if (rate < 0.93)
                    fail_msg("slope %g, propose %g, chance %g: %g tokens/s", slopes[i], propose, chance,
                             rate);
            }
}

static void test_good_model_gains(void **state)
{
    (void)state;
    for (double propose = 0.02; propose < 0.1; propose *= 2)
        for (double chance = 0.6; chance <= 1; chance += 0.1) {
            struct world world = {0.1, 0.1, chance, propose, propose / 4};
            double rate = rate_with_model(&world, &world, 7), best = best_rate(&world);
            if (rate < 0.85 * best)
                fail_msg("propose %g, chance %g: %g of %g tokens/s", propose, chance, rate, best);
        }
}

/* Text that becomes predictable later: the model is tried again. */
static void test_model_is_tried_again(void **state)
{
    (void)state;
    struct world bad = {0.1, 0.1, 0, 0.1, 0.02}, good = {0.1, 0.1, 0.9, 0.1, 0.02};
    double first = rate_with_model(&bad, &bad, 9), changed = rate_with_model(&bad, &good, 9);
    assert_true(first > 0.93 && first < 1.05);
    assert_true(changed > 1.2);
}

static void test_sizes_that_were_never_tried(void **state)
{
    (void)state;
    struct mlt_pace pace = {0};
    mlt_pace_start(&pace);
    assert_true(mlt_pace_step(&pace, 1) == 0);
    mlt_pace_learn_step(&pace, 1, 1.0);
    assert_true(mlt_pace_step(&pace, 3) > 1 && mlt_pace_step(&pace, 3) < 1.5);
    mlt_pace_learn_step(&pace, 5, 3.0);
    assert_true(fabs(mlt_pace_step(&pace, 3) - 2) < 0.01); /* between its neighbours */
    assert_true(mlt_pace_step(&pace, 6) > 3);
    assert_true(mlt_pace_step(&pace, MLT_MAX_DRAFT + 1) > 3);
    /* Nothing is proposed before the cost of a plain step is known. */
    float chance[] = {1, 1, 1};
    double rate;
    assert_int_equal(mlt_pace_choose(&pace, chance, 3, 0, &rate), 0);
    assert_false(mlt_pace_wants_model(&pace, 1, 3, 0));
    mlt_pace_learn_step(&pace, 1, 1.0);
    mlt_pace_learn_step(&pace, 1, 1.0);
    assert_int_equal(mlt_pace_choose(&pace, chance, 3, 0, &rate), 3);
    assert_true(rate > 1.2);
    assert_int_equal(mlt_pace_choose(&pace, chance, 3, 2.0, &rate), 0); /* proposals that cost too much */
    assert_true(mlt_pace_wants_model(&pace, 0, 3, 0));
    pace.propose = 2.0;
    assert_false(mlt_pace_wants_model(&pace, 1, 3, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lookup_never_costs_much), cmocka_unit_test(test_lookup_gains_where_it_can),
        cmocka_unit_test(test_bad_model_costs_little),  cmocka_unit_test(test_good_model_gains),
        cmocka_unit_test(test_model_is_tried_again),    cmocka_unit_test(test_sizes_that_were_never_tried),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
