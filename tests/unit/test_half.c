/*
 * binary16 and bfloat16: every bit pattern, and every border between two of them.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tensor/dtype.h"

#include <math.h>
#include <string.h>

static uint32_t bits_of(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static float float_of(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* A half's value by its definition; not for NaN. */
static double half_value(uint32_t half)
{
    double sign = half & 0x8000 ? -1 : 1, fraction = half & 0x03ff;
    int exponent = half >> 10 & 31;
    if (exponent == 31) return sign * INFINITY;
    return exponent == 0 ? sign * ldexp(fraction, -24) : sign * ldexp(1024 + fraction, exponent - 25);
}

static void every_half_to_float_and_back(void **state)
{
    (void)state;
    for (uint32_t half = 0; half < 0x10000; half++) {
        float value = mlt_half_to_float((uint16_t)half);
        if ((half & 0x7fff) > 0x7c00) {
            /* Quiet, with sign and payload. */
            assert_int_equal(bits_of(value), (half & 0x8000) << 16 | 0x7fc00000 | (half & 0x03ff) << 13);
            assert_int_equal(mlt_float_to_half(value), half | 0x0200);
            continue;
        }
        assert_int_equal(bits_of(value), bits_of((float)half_value(half)));
        assert_int_equal(mlt_float_to_half(value), half);
    }
}

/* From each half to the next: what lies at the middle, and beside it. */
static void rounds_to_the_nearest_half(void **state)
{
    (void)state;
    for (uint32_t half = 0; half < 0x7c00; half++) {
        /* Infinity begins where 2^16 would be the next half. */
        double below = half_value(half), above = half == 0x7bff ? 65536.0 : half_value(half + 1);
        float middle = (float)((below + above) / 2);
        assert_true((double)middle == (below + above) / 2);
        uint32_t even = half & 1 ? half + 1 : half;
        for (uint32_t sign = 0; sign <= 0x8000; sign += 0x8000) {
            float direction = sign ? -1 : 1;
            assert_int_equal(mlt_float_to_half(direction * middle), sign | even);
            assert_int_equal(mlt_float_to_half(direction * nextafterf(middle, 0)), sign | half);
            assert_int_equal(mlt_float_to_half(direction * nextafterf(middle, INFINITY)), sign | (half + 1));
        }
    }
}

static void halves_of_extreme_floats(void **state)
{
    (void)state;
    assert_int_equal(mlt_float_to_half(0.0f), 0);
    assert_int_equal(mlt_float_to_half(-0.0f), 0x8000);
    assert_int_equal(mlt_float_to_half(float_of(1)), 0); /* the smallest float */
    assert_int_equal(mlt_float_to_half(float_of(0x80000001)), 0x8000);
    assert_int_equal(mlt_float_to_half(65504.0f), 0x7bff);
    assert_int_equal(mlt_float_to_half(3.4e38f), 0x7c00);
    assert_int_equal(mlt_float_to_half(-INFINITY), 0xfc00);
    assert_int_equal(mlt_float_to_half(float_of(0x7f800001)), 0x7e00);                /* a signalling NaN */
    assert_int_equal(mlt_float_to_half(float_of(0xffc00000 | 0x155u << 13)), 0xff55); /* sign and payload */
}

static void every_bfloat_to_float_and_back(void **state)
{
    (void)state;
    for (uint32_t bfloat = 0; bfloat < 0x10000; bfloat++) {
        float value = mlt_bfloat_to_float((uint16_t)bfloat);
        assert_int_equal(bits_of(value), bfloat << 16);
        bool is_nan = (bfloat & 0x7fff) > 0x7f80;
        assert_int_equal(mlt_float_to_bfloat(value), is_nan ? bfloat | 0x0040 : bfloat);
    }
}

static void rounds_to_the_nearest_bfloat(void **state)
{
    (void)state;
    for (uint32_t bfloat = 0; bfloat < 0x7f80; bfloat++) {
        uint32_t middle = bfloat << 16 | 0x8000, even = bfloat & 1 ? bfloat + 1 : bfloat;
        for (uint32_t sign = 0; sign <= 0x8000; sign += 0x8000) {
            assert_int_equal(mlt_float_to_bfloat(float_of(sign << 16 | middle)), sign | even);
            assert_int_equal(mlt_float_to_bfloat(float_of(sign << 16 | (middle - 1))), sign | bfloat);
            assert_int_equal(mlt_float_to_bfloat(float_of(sign << 16 | (middle + 1))), sign | (bfloat + 1));
        }
    }
    assert_int_equal(mlt_float_to_bfloat(float_of(0x7f800001)), 0x7fc0); /* NaN, not infinity */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_half_to_float_and_back), cmocka_unit_test(rounds_to_the_nearest_half),
        cmocka_unit_test(halves_of_extreme_floats),     cmocka_unit_test(every_bfloat_to_float_and_back),
        cmocka_unit_test(rounds_to_the_nearest_bfloat),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
