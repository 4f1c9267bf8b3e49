/*
 * Rotary positions: the elementary functions against the C library's, frequencies, the rotation.
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
#include "model/rope.h"
#include "model/rope_math.h"

#include <math.h>

/* Distance of two floats in units of the last place of the larger. */
static double ulps(double exact, double value)
{
    float a = (float)exact, b = (float)value;
    if (a == b) return 0;
    float unit = nextafterf(fabsf(a), INFINITY) - fabsf(a);
    return fabs((double)a - (double)b) / (double)unit;
}

static void check_angle(double x)
{
    double s, c;
    mlt_sin_cos(x, &s, &c);
    if (ulps(sin(x), s) > 1 || ulps(cos(x), c) > 1) fail_msg("%.17g: sine %.17g, cosine %.17g", x, s, c);
    /* In double the errors are absolute: a few units of the last place of 1. */
    assert_true(fabs(s - sin(x)) < 1e-15 && fabs(c - cos(x)) < 1e-15);
}

static void test_sine_and_cosine(void **state)
{
    (void)state;
    struct mlt_random random;
    mlt_random_seed(&random, 1);
    for (int i = 0; i < 200000; i++)
        check_angle((mlt_random_double(&random) - 0.5) * ldexp(1, i % 45));
    /* Whole positions, where a frequency is 1, and the multiples of pi / 4 at which the reduction turns. */
    for (int i = 0; i < 100000; i++) {
        check_angle(i);
        check_angle(i * 0.78539816339744830962);
    }
    check_angle(1073741823.0);
    check_angle(5e-324);
    double s, c;
    mlt_sin_cos(0, &s, &c);
    assert_true(s == 0 && c == 1);
    const double beyond[] = {1e300, -1e300, INFINITY, -INFINITY, NAN};
    for (size_t i = 0; i < sizeof beyond / sizeof beyond[0]; i++) {
        mlt_sin_cos(beyond[i], &s, &c);
        assert_true(s == 0 && c == 1);
    }
}

static void test_exponential_and_logarithm(void **state)
{
    (void)state;
    struct mlt_random random;
    mlt_random_seed(&random, 2);
    for (int i = 0; i < 200000; i++) {
        double x = (mlt_random_double(&random) - 0.5) * 1400;
        assert_true(fabs(mlt_exp_double(x) / exp(x) - 1) < 1e-15);
        x = ldexp(1 + mlt_random_double(&random), i % 2000 - 1000);
        assert_true(fabs(mlt_log(x) - log(x)) <= 4e-16 * fmax(1, fabs(log(x))));
    }
    assert_true(mlt_exp_double(0) == 1 && mlt_log(1) == 0);
}

static void test_frequencies(void **state)
{
    (void)state;
    struct mlt_rope rope = {.base = 10000, .factor = 1, .magnitude = 1, .n_ctx_original = 64};
    double frequency[16];
    assert_true(mlt_rope_frequencies(&rope, 32, NULL, frequency) == 1);
    for (int i = 0; i < 16; i++)
        assert_true(fabs(frequency[i] / pow(10000, -i / 16.0) - 1) < 1e-14);

    float divisors[16];
    for (int i = 0; i < 16; i++)
        divisors[i] = i == 3 ? 1e30f : 1 + (float)i;
    rope.factor = 4;
    rope.magnitude = 1.5f;
    assert_true(mlt_rope_frequencies(&rope, 32, divisors, frequency) == 1.5f);
    for (int i = 0; i < 16; i++)
        assert_true(fabs(frequency[i] * 4 * (double)divisors[i] / pow(10000, -i / 16.0) - 1) < 1e-14);

    /* YaRN: the quickest pair keeps its frequency, the slowest is slowed, those between lie between. */
    rope = (struct mlt_rope){10000, 8, 1, true, 32, 1, 1, 4096};
    float magnitude = mlt_rope_frequencies(&rope, 32, NULL, frequency);
    assert_true(fabs((double)magnitude - (1 + 0.1 * log(8))) < 1e-6);
    assert_true(fabs(frequency[0] - 1) < 1e-14);
    assert_true(fabs(frequency[15] * 8 / pow(10000, -15 / 16.0) - 1) < 1e-14);
    /* The ramp begins at the pair that turns 32 times in 4096 positions and ends at the one that turns once.
     */
    double low = floor(32 * log(4096 / (32 * 2 * M_PI)) / (2 * log(10000)));
    double high = ceil(32 * log(4096 / (2 * M_PI)) / (2 * log(10000)));
    assert_true(low == 5 && high == 12);
    for (int i = 0; i < 16; i++) {
        double ramp = fmin(fmax((i - low) / (high - low), 0), 1);
        double kept = frequency[i] / pow(10000, -i / 16.0);
        assert_true(fabs(kept - (ramp / 8 + (1 - ramp))) < 1e-13);
    }
    /* Without extrapolation it is linear scaling, without a change of length. */
    rope.yarn_ext_factor = 0;
    assert_true(mlt_rope_frequencies(&rope, 32, NULL, frequency) == 1);
    assert_true(fabs(frequency[0] * 8 - 1) < 1e-14);
}

/* What only the first 2 * pairs elements of each head may feel, and in which pairs. */
static void test_rotation(void **state)
{
    (void)state;
    const double frequency[2] = {1, 0.25};
    float cosine[2], sine[2];
    mlt_rope_angles(frequency, 2, 2, 3, cosine, sine);
    for (int i = 0; i < 2; i++) {
        assert_true(cosine[i] == (float)(2 * cos(3 * frequency[i])));
        assert_true(sine[i] == (float)(2 * sin(3 * frequency[i])));
    }
    for (int kind = MLT_ROPE_INTERLEAVED; kind <= MLT_ROPE_HALVES; kind++) {
        float x[12], before[12];
        for (int i = 0; i < 12; i++)
            x[i] = before[i] = (float)(i * i) - 20;
        mlt_rope_rotate((enum mlt_rope_kind)kind, cosine, sine, 2, x, 2, 6);
        for (int head = 0; head < 12; head += 6) {
            for (int i = 0; i < 2; i++) {
                int a = head + (kind == MLT_ROPE_HALVES ? i : 2 * i),
                    b = a + (kind == MLT_ROPE_HALVES ? 2 : 1);
                assert_true(x[a] == before[a] * cosine[i] - before[b] * sine[i]);
                assert_true(x[b] == before[a] * sine[i] + before[b] * cosine[i]);
            }
            assert_true(x[head + 4] == before[head + 4] && x[head + 5] == before[head + 5]);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sine_and_cosine),
        cmocka_unit_test(test_exponential_and_logarithm),
        cmocka_unit_test(test_frequencies),
        cmocka_unit_test(test_rotation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
