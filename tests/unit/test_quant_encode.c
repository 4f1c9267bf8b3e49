/*
 * Encoding: what comes back after decoding, at all sizes of values, and what importances do.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/random.h"
#include "support/sha256.h"
#include "tensor/dtype.h"

#include <math.h>
#include <string.h>

enum { ROW = 4096, LARGEST_BYTES = ROW * 4 };

/*
 * Every quantised type with the root mean square error that it leaves on normal values, as a fraction of
 * their standard deviation, and the largest value that it holds. The errors are measured, with a margin of
 * 3%: a change of an encoder that makes it worse shows here.
 */
static const struct {
    mlt_dtype dtype;
    double error;
    double largest;
} types[] = {
    {MLT_Q8_0, 0.0056, 127.0 * 65504},   {MLT_Q4_0, 0.0899, 8.0 * 65504},
    {MLT_Q4_1, 0.08, 16.0 * 65504},      {MLT_Q5_0, 0.0445, 16.0 * 65504},
    {MLT_Q5_1, 0.0389, 32.0 * 65504},    {MLT_Q2_K, 0.305, 45.0 * 65504},
    {MLT_Q3_K, 0.157, 128.0 * 65504},    {MLT_Q4_K, 0.0734, 945.0 * 65504},
    {MLT_Q5_K, 0.0372, 1953.0 * 65504},  {MLT_Q6_K, 0.0181, 4096.0 * 65504},
    {MLT_IQ4_NL, 0.0782, 127.0 * 65504}, {MLT_IQ4_XS, 0.0786, 4064.0 * 65504},
    {MLT_TQ1_0, 0.814, 65504},           {MLT_TQ2_0, 0.814, 65504},
    {MLT_MXFP4, 0.1161, INFINITY},
};

static const char *name_of(mlt_dtype dtype)
{
    return mlt_dtype_info(dtype)->name;
}

/* Nearly normal values, mean 0 and deviation 1, from sums of exact floats: the same on every machine. */
static void fill_normal(float *values, int count, uint64_t seed)
{
    struct mlt_random random;
    mlt_random_seed(&random, seed);
    for (int i = 0; i < count; i++) {
        float sum = -6;
        for (int k = 0; k < 12; k++)
            sum += mlt_random_float(&random);
        values[i] = sum;
    }
}

/* Encodes, checks that exactly the row's bytes were written, and decodes. */
static void round_trip(mlt_dtype dtype, const float *values, const float *importance, int count,
                       float *decoded)
{
    static uint8_t bytes[LARGEST_BYTES + 2];
    size_t size = mlt_dtype_row_bytes(dtype, count);
    memset(bytes, 0xa5, sizeof bytes);
    mlt_encode(dtype, values, importance, bytes + 1, count); /* at an odd address */
    assert_int_equal(bytes[0], 0xa5);
    assert_int_equal(bytes[1 + size], 0xa5);
    mlt_decode(dtype, bytes + 1, decoded, count);
}

static double weighted_error(const float *a, const float *b, const float *weights, int count)
{
    double sum = 0, sum_weights = 0;
    for (int i = 0; i < count; i++) {
        double w = weights ? weights[i] : 1, difference = (double)a[i] - b[i];
        sum += w * difference * difference;
        sum_weights += w;
    }
    return sqrt(sum / sum_weights);
}

static void floats_round_trip(void **state)
{
    (void)state;
    float values[ROW], decoded[ROW];
    fill_normal(values, ROW, 1);
    round_trip(MLT_F32, values, NULL, ROW, decoded);
    assert_memory_equal(values, decoded, sizeof values);
    round_trip(MLT_F16, values, NULL, ROW, decoded);
    for (int i = 0; i < ROW; i++)
        assert_true(decoded[i] == mlt_half_to_float(mlt_float_to_half(values[i])));
    round_trip(MLT_BF16, values, NULL, ROW, decoded);
    for (int i = 0; i < ROW; i++)
        assert_true(decoded[i] == mlt_bfloat_to_float(mlt_float_to_bfloat(values[i])));
}

static void errors_on_normal_values(void **state)
{
    (void)state;
    float values[ROW], decoded[ROW];
    fill_normal(values, ROW, 2);
    for (size_t t = 0; t < MLT_COUNT(types); t++) {
        round_trip(types[t].dtype, values, NULL, ROW, decoded);
        double error = weighted_error(values, decoded, NULL, ROW);
        if (!(error < types[t].error) || !(error > types[t].error * 0.9))
            fail_msg("%s: error %.5f, expected up to %.5f", name_of(types[t].dtype), error, types[t].error);
    }
}

/* Per element: half a step of the grid, plus what rounding the scale to a half moves. */
static void error_of_each_element(void **state)
{
    (void)state;
    float values[ROW], decoded[ROW];
    fill_normal(values, ROW, 3);
    const struct {
        mlt_dtype dtype;
        double steps; /* of the grid, from the extreme value to zero (or to the other extreme) */
        bool affine;
    } grids[] = {{MLT_Q8_0, 127, false},
                 {MLT_Q4_0, 8, false},
                 {MLT_Q5_0, 16, false},
                 {MLT_Q4_1, 15, true},
                 {MLT_Q5_1, 31, true}};
    for (size_t t = 0; t < MLT_COUNT(grids); t++) {
        round_trip(grids[t].dtype, values, NULL, ROW, decoded);
        for (int block = 0; block < ROW; block += 32) {
            double low = 0, high = 0, step;
            for (int i = block; i < block + 32; i++) {
                if (values[i] < low) low = values[i];
                if (values[i] > high) high = values[i];
            }
            step = (grids[t].affine ? high - low : fmax(high, -low)) / grids[t].steps;
            /* Q4_0 and Q5_0 have one code less on the side that the extreme value is not on. */
            bool one_sided = grids[t].dtype == MLT_Q4_0 || grids[t].dtype == MLT_Q5_0;
            double bound = step * (one_sided ? 1 : 0.5) + fmax(high, -low) * 0x1p-10;
            for (int i = block; i < block + 32; i++)
                assert_true(fabs((double)values[i] - decoded[i]) <= bound);
        }
    }
}

static void zeros_stay_zero(void **state)
{
    (void)state;
    float values[256] = {0}, decoded[256];
    for (size_t t = 0; t < MLT_COUNT(types); t++) {
        round_trip(types[t].dtype, values, NULL, 256, decoded);
        for (int i = 0; i < 256; i++)
            assert_true(decoded[i] == 0);
        round_trip(types[t].dtype, values, values, 256, decoded); /* importances of zero as well */
        for (int i = 0; i < 256; i++)
            assert_true(decoded[i] == 0);
    }
}

/* One value in all of a block is held well by every type, of either sign. */
static void constants(void **state)
{
    (void)state;
    float values[256], decoded[256];
    for (size_t t = 0; t < MLT_COUNT(types); t++) {
        for (float value = -3; value <= 3; value += 6) {
            for (int i = 0; i < 256; i++)
                values[i] = value;
            round_trip(types[t].dtype, values, NULL, 256, decoded);
            for (int i = 0; i < 256; i++)
                if (!(fabsf(decoded[i] - value) <= 0.02f))
                    fail_msg("%s: %g became %g", name_of(types[t].dtype), value, decoded[i]);
        }
    }
}

/* What a type can hold exactly comes back exactly. */
static void representable_values_are_exact(void **state)
{
    (void)state;
    struct mlt_random random;
    float values[ROW], decoded[ROW];
    mlt_random_seed(&random, 4);
    for (int i = 0; i < ROW; i++)
        values[i] = (float)(int)(mlt_random_u64(&random) % 3) - 1;
    for (int i = 0; i < ROW; i += 256)
        values[i] = 1; /* the largest magnitude is there */
    for (int i = 0; i < ROW; i++)
        values[i] *= 0.0123291015625f; /* a half */
    const mlt_dtype ternary[] = {MLT_TQ1_0, MLT_TQ2_0};
    for (size_t t = 0; t < MLT_COUNT(ternary); t++) {
        round_trip(ternary[t], values, NULL, ROW, decoded);
        for (int i = 0; i < ROW; i++)
            assert_true(decoded[i] == values[i]);
    }
    const float e2m1[8] = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6};
    for (int i = 0; i < ROW; i++) {
        uint64_t bits = mlt_random_u64(&random);
        values[i] = ldexpf(i % 32 == 0 ? 4 : e2m1[bits >> 40 & 7], i / 32 % 200 - 100);
        if (bits & 1) values[i] = -values[i];
    }
    round_trip(MLT_MXFP4, values, NULL, ROW, decoded);
    for (int i = 0; i < ROW; i++)
        assert_true(decoded[i] == values[i]);
    for (int i = 0; i < ROW; i++)
        values[i] = i % 32 == 0 ? -127 : (float)(int)(mlt_random_u64(&random) % 255) - 127;
    round_trip(MLT_Q8_0, values, NULL, ROW, decoded);
    for (int i = 0; i < ROW; i++)
        assert_true(decoded[i] == values[i]);
}

static void a_known_block(void **state)
{
    (void)state;
    float values[32];
    uint8_t bytes[18];
    const uint8_t expected[18] = {0x00, 0xb8, /* d = 4 / -8 = -0.5: 4 gets code 0 */
                                  0xf0, 0xe1, 0xd2, 0xc3, 0xb4, 0xa5, 0x96, 0x87,
                                  0x88, 0x88, 0x88, 0x88, 0x88, 0x88, 0x88, 0x88};
    memset(values, 0, sizeof values);
    for (int i = 0; i < 8; i++) {
        values[i] = 4 - 0.5f * (float)i;
        values[i + 16] = -3.5f + 0.5f * (float)i;
    }
    mlt_encode(MLT_Q4_0, values, NULL, bytes, 32);
    assert_memory_equal(bytes, expected, sizeof bytes);
}

/* Values of all sizes: nothing becomes infinite or NaN, what fits is near, what does not is clipped. */
static void extreme_sizes(void **state)
{
    (void)state;
    float normal[256], values[256], importance[256], decoded[256];
    fill_normal(normal, 256, 5);
    for (int i = 0; i < 256; i++)
        importance[i] = (float)(i % 7);
    for (size_t t = 0; t < MLT_COUNT(types); t++) {
        for (int exponent = -149; exponent <= 124; exponent++) {
            for (int i = 0; i < 256; i++)
                values[i] = ldexpf(normal[i], exponent);
            for (int weighted = 0; weighted < 2; weighted++) {
                round_trip(types[t].dtype, values, weighted ? importance : NULL, 256, decoded);
                float largest = 0;
                for (int i = 0; i < 256; i++)
                    largest = fmaxf(largest, fabsf(decoded[i])); /* NaN is passed over here */
                for (int i = 0; i < 256; i++)
                    assert_true(decoded[i] - decoded[i] == 0);
                assert_true((double)largest <= types[t].largest);
                /* Far above the smallest scale, and below where the type ends. */
                bool inside = exponent >= -4 && ldexp(5, exponent) < types[t].largest / 40;
                double error = weighted_error(values, decoded, NULL, 256);
                if (inside && !weighted && !(error < types[t].error * 1.2 * ldexp(1, exponent)))
                    fail_msg("%s at 2^%d: error %g", name_of(types[t].dtype), exponent, error);
            }
        }
    }
}

static void too_large_is_clipped(void **state)
{
    (void)state;
    float values[256], decoded[256];
    for (int i = 0; i < 256; i++)
        values[i] = i % 2 ? -3e38f : 3e38f;
    for (size_t t = 0; t < MLT_COUNT(types); t++) {
        if (types[t].dtype == MLT_MXFP4) continue; /* holds it */
        round_trip(types[t].dtype, values, NULL, 256, decoded);
        for (int i = 0; i < 256; i++) {
            assert_true(decoded[i] * values[i] > 0);
            assert_true(fabs(decoded[i]) > 0.03 * types[t].largest);
        }
    }
    round_trip(MLT_Q8_0, values, NULL, 256, decoded);
    assert_true(decoded[0] == 127.0f * 65504.0f && decoded[1] == -127.0f * 65504.0f);
    /* Within a block, what is small beside the clipped values keeps its place on the grid. */
    values[2] = 65504.0f * 5;
    round_trip(MLT_Q8_0, values, NULL, 256, decoded);
    assert_true(decoded[2] == 65504.0f * 5);
}

/* Callers must not pass these; still nothing worse than bad numbers may come of it. */
static void values_that_are_not_finite(void **state)
{
    (void)state;
    float values[256], decoded[256];
    const float bad[] = {NAN, INFINITY, -INFINITY};
    for (size_t t = 0; t < MLT_COUNT(types); t++) {
        for (size_t b = 0; b < MLT_COUNT(bad); b++) {
            fill_normal(values, 256, 6);
            values[77] = bad[b];
            round_trip(types[t].dtype, values, NULL, 256, decoded);
            round_trip(types[t].dtype, values, values, 256, decoded);
            for (int i = 0; i < 256; i++)
                values[i] = bad[b];
            round_trip(types[t].dtype, values, NULL, 256, decoded);
        }
    }
}

static void check_finds_what_is_not_finite(void **state)
{
    (void)state;
    float values[100];
    fill_normal(values, 100, 7);
    assert_int_equal(mlt_encode_check(values, 100), -1);
    assert_int_equal(mlt_encode_check(values, 0), -1);
    values[99] = NAN;
    assert_int_equal(mlt_encode_check(values, 100), 99);
    assert_int_equal(mlt_encode_check(values, 99), -1);
    values[40] = -INFINITY;
    values[41] = INFINITY;
    assert_int_equal(mlt_encode_check(values, 100), 40);
    values[40] = 3.4e38f;
    assert_int_equal(mlt_encode_check(values, 100), 41);
}

static void importance_steers_the_error(void **state)
{
    (void)state;
    float values[ROW], importance[ROW], plain[ROW], steered[ROW];
    struct mlt_random random;
    fill_normal(values, ROW, 8);
    mlt_random_seed(&random, 9);
    /* A few elements matter much: one in eight a hundred times as much as the others. */
    for (int i = 0; i < ROW; i++)
        importance[i] = mlt_random_u64(&random) % 8 == 0 ? 100.0f : 1.0f;
    for (size_t t = 0; t < MLT_COUNT(types); t++) {
        mlt_dtype dtype = types[t].dtype;
        round_trip(dtype, values, NULL, ROW, plain);
        round_trip(dtype, values, importance, ROW, steered);
        double before = weighted_error(values, plain, importance, ROW);
        double after = weighted_error(values, steered, importance, ROW);
        double limit = dtype == MLT_Q8_0 ? 1 : dtype == MLT_Q6_K || dtype == MLT_MXFP4 ? 0.97 : 0.93;
        if (!(after <= limit * before))
            fail_msg("%s: weighted error %g, %g without importances", name_of(dtype), after, before);
    }
}

/* Only ratios of importances matter. */
static void importance_has_no_unit(void **state)
{
    (void)state;
    float values[ROW], importance[ROW];
    static uint8_t first[LARGEST_BYTES], second[LARGEST_BYTES];
    struct mlt_random random;
    fill_normal(values, ROW, 10);
    mlt_random_seed(&random, 11);
    for (int i = 0; i < ROW; i++)
        importance[i] = mlt_random_float(&random);
    for (size_t t = 0; t < MLT_COUNT(types); t++) {
        for (int exponent = -20; exponent <= 20; exponent += 40) {
            float scaled[ROW];
            for (int i = 0; i < ROW; i++)
                scaled[i] = ldexpf(importance[i], exponent);
            mlt_encode(types[t].dtype, values, importance, first, ROW);
            mlt_encode(types[t].dtype, values, scaled, second, ROW);
            assert_memory_equal(first, second, mlt_dtype_row_bytes(types[t].dtype, ROW));
        }
    }
}

/* Importances of zero, of 1e30, and both in a group: bytes that decode to numbers. */
static void extreme_importances(void **state)
{
    (void)state;
    float values[256], importance[256], decoded[256];
    fill_normal(values, 256, 12);
    for (size_t t = 0; t < MLT_COUNT(types); t++) {
        for (int kind = 0; kind < 3; kind++) {
            for (int i = 0; i < 256; i++)
                importance[i] = kind == 0 || (kind == 2 && i % 3) ? 0 : 1e30f;
            round_trip(types[t].dtype, values, importance, 256, decoded);
            for (int i = 0; i < 256; i++)
                assert_true(fabsf(decoded[i]) < 20);
            if (kind != 0) continue;
            /* Where nothing matters, the values still come back in some measure. */
            double error = weighted_error(values, decoded, NULL, 256);
            if (!(error < 1.5 * types[t].error)) fail_msg("%s: error %g", name_of(types[t].dtype), error);
        }
    }
}

static void a_row_is_its_blocks(void **state)
{
    (void)state;
    float values[ROW], importance[ROW];
    static uint8_t row[LARGEST_BYTES], block[1024];
    fill_normal(values, ROW, 13);
    for (int i = 0; i < ROW; i++)
        importance[i] = 1 + values[i] * values[i];
    for (size_t t = 0; t < MLT_COUNT(types); t++) {
        const struct mlt_dtype_info *info = mlt_dtype_info(types[t].dtype);
        for (int weighted = 0; weighted < 2; weighted++) {
            mlt_encode(types[t].dtype, values, weighted ? importance : NULL, row, ROW);
            for (int i = 0; i < ROW / info->block_length; i++) {
                int at = i * info->block_length;
                mlt_encode(types[t].dtype, values + at, weighted ? importance + at : NULL, block,
                           info->block_length);
                assert_memory_equal(block, row + i * info->block_bytes, (size_t)info->block_bytes);
            }
        }
    }
}

/* The same bytes on every machine, from every compiler, at every optimisation: one digest for all. */
static void the_same_bytes_everywhere(void **state)
{
    (void)state;
    float values[ROW], importance[ROW];
    static uint8_t bytes[MLT_COUNT(types) * 2 * LARGEST_BYTES];
    size_t size = 0;
    struct mlt_random random;
    fill_normal(values, ROW, 14);
    mlt_random_seed(&random, 15);
    for (int i = 0; i < ROW; i++)
        importance[i] = mlt_random_float(&random);
    for (size_t t = 0; t < MLT_COUNT(types); t++) {
        for (int weighted = 0; weighted < 2; weighted++) {
            mlt_encode(types[t].dtype, values, weighted ? importance : NULL, bytes + size, ROW);
            size += mlt_dtype_row_bytes(types[t].dtype, ROW);
        }
    }
    char hex[65];
    sha256_hex(bytes, size, hex);
    assert_string_equal(hex, "893108b0076970be30d6ef319f0434657d433b56c3a738268e90a8e46d3b3d2e");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(floats_round_trip),
        cmocka_unit_test(errors_on_normal_values),
        cmocka_unit_test(error_of_each_element),
        cmocka_unit_test(zeros_stay_zero),
        cmocka_unit_test(constants),
        cmocka_unit_test(representable_values_are_exact),
        cmocka_unit_test(a_known_block),
        cmocka_unit_test(extreme_sizes),
        cmocka_unit_test(too_large_is_clipped),
        cmocka_unit_test(values_that_are_not_finite),
        cmocka_unit_test(check_finds_what_is_not_finite),
        cmocka_unit_test(importance_steers_the_error),
        cmocka_unit_test(importance_has_no_unit),
        cmocka_unit_test(extreme_importances),
        cmocka_unit_test(a_row_is_its_blocks),
        cmocka_unit_test(the_same_bytes_everywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
