/*
 * Decoding against a second decoder, written apart from the first: one element at a time, in double, from the
 * formulas and layouts of the GGUF specification.
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
#include "tensor/dtype.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static double half_at(const uint8_t *bytes)
{
    int half = bytes[0] | bytes[1] << 8, exponent = half >> 10 & 31;
    double sign = half & 0x8000 ? -1 : 1, fraction = half & 0x03ff;
    if (exponent == 31) return fraction != 0 ? NAN : sign * INFINITY;
    return exponent == 0 ? sign * ldexp(fraction, -24) : sign * ldexp(1024 + fraction, exponent - 25);
}

static int nibble(const uint8_t *bytes, int position_in_byte, int byte)
{
    return position_in_byte ? bytes[byte] >> 4 : bytes[byte] & 15;
}

/* Codes of a block of 32: low nibbles first. */
static int code_32(const uint8_t *qs, int i)
{
    return nibble(qs, i >= 16, i % 16);
}

static int bit(const uint8_t *bytes, int index)
{
    return bytes[index / 8] >> (index % 8) & 1;
}

static void k4_scale(const uint8_t *p, int g, int *scale, int *min)
{
    if (g < 4) {
        *scale = p[g] % 64;
        *min = p[g + 4] % 64;
    } else {
        *scale = p[g + 4] % 16 + p[g - 4] / 64 * 16;
        *min = p[g + 4] / 16 + p[g] / 64 * 16;
    }
}

/* The four values whose product and sum an element is: factor * code - min. */
struct parts {
    double factor, code, min;
};

static struct parts naive_parts(mlt_dtype dtype, const uint8_t *b, int i)
{
    static const double iq4[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
    static const double e2m1[16] = {0, 0.5, 1, 1.5, 2, 3, 4, 6, 0, -0.5, -1, -1.5, -2, -3, -4, -6};
    static const int powers_of_3[5] = {81, 27, 9, 3, 1};
    int scale, min;
    switch (dtype) {
    case MLT_Q4_0: return (struct parts){half_at(b), code_32(b + 2, i) - 8, 0};
    case MLT_Q4_1: return (struct parts){half_at(b), code_32(b + 4, i), -half_at(b + 2)};
    case MLT_Q5_0: return (struct parts){half_at(b), code_32(b + 6, i) + 16 * bit(b + 2, i) - 16, 0};
    case MLT_Q5_1: return (struct parts){half_at(b), code_32(b + 8, i) + 16 * bit(b + 4, i), -half_at(b + 2)};
    case MLT_Q8_0: return (struct parts){half_at(b), b[2 + i] < 128 ? b[2 + i] : b[2 + i] - 256, 0};
    case MLT_IQ4_NL: return (struct parts){half_at(b), iq4[code_32(b + 2, i)], 0};
    case MLT_MXFP4: return (struct parts){ldexp(1, b[0] - 127), e2m1[code_32(b + 1, i)], 0};
    case MLT_Q2_K: {
        int code = b[16 + i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3;
        return (struct parts){half_at(b + 80) * (b[i / 16] & 15), code, half_at(b + 82) * (b[i / 16] >> 4)};
    }
    case MLT_Q3_K: {
        const uint8_t *scales = b + 96;
        int g = i / 16, low = nibble(scales, g >= 8, g % 8), high = scales[8 + g % 4] >> (g / 4 * 2) & 3;
        int code = b[32 + i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3;
        if (!(b[i % 32] >> (i / 32) & 1)) code -= 4;
        return (struct parts){half_at(b + 108) * (low + 16 * high - 32), code, 0};
    }
    case MLT_Q4_K:
        k4_scale(b + 4, i / 32, &scale, &min);
        return (struct parts){half_at(b) * scale, nibble(b + 16, i / 32 % 2, i / 64 * 32 + i % 32),
                              half_at(b + 2) * min};
    case MLT_Q5_K:
        k4_scale(b + 4, i / 32, &scale, &min);
        return (struct parts){half_at(b) * scale,
                              nibble(b + 48, i / 32 % 2, i / 64 * 32 + i % 32) +
                                  16 * (b[16 + i % 32] >> i / 32 & 1),
                              half_at(b + 2) * min};
    case MLT_Q6_K: {
        int half = i / 128, j = i % 128, signed_scale = b[192 + i / 16];
        if (signed_scale > 127) signed_scale -= 256;
        int code =
            nibble(b + 64 * half, j >= 64, j % 64) + 16 * (b[128 + 32 * half + j % 32] >> (j / 32 * 2) & 3);
        return (struct parts){half_at(b + 208) * signed_scale, code - 32, 0};
    }
    case MLT_IQ4_XS: {
        int g = i / 32, high = (b[2] | b[3] << 8) >> (2 * g) & 3;
        scale = nibble(b + 4, g % 2, g / 2) + 16 * high - 32;
        return (struct parts){half_at(b) * scale, iq4[code_32(b + 8 + 16 * g, i % 32)], 0};
    }
    case MLT_TQ1_0: {
        int byte = i < 160 ? i % 32 : i < 240 ? 32 + (i - 160) % 16 : 48 + (i - 240) % 4;
        int digit = i < 160 ? i / 32 : i < 240 ? (i - 160) / 16 : (i - 240) / 4;
        int number = b[byte] * 243 / 256; /* what ceil(number * 256 / 243) was made of */
        return (struct parts){half_at(b + 52), number / powers_of_3[digit] % 3 - 1, 0};
    }
    case MLT_TQ2_0: {
        int code = b[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3;
        return (struct parts){half_at(b + 64), code - 1, 0};
    }
    default: fail(); return (struct parts){0, 0, 0};
    }
}

/* Offsets of the halves in a block, ended by -1. */
static const int *scale_offsets(mlt_dtype dtype)
{
    static const int at_0[] = {0, -1}, at_0_2[] = {0, 2, -1}, q2[] = {80, 82, -1}, q3[] = {108, -1},
                     q6[] = {208, -1}, tq1[] = {52, -1}, tq2[] = {64, -1}, none[] = {-1};
    switch (dtype) {
    case MLT_Q4_1:
    case MLT_Q5_1:
    case MLT_Q4_K:
    case MLT_Q5_K: return at_0_2;
    case MLT_Q2_K: return q2;
    case MLT_Q3_K: return q3;
    case MLT_Q6_K: return q6;
    case MLT_TQ1_0: return tq1;
    case MLT_TQ2_0: return tq2;
    case MLT_MXFP4: return none;
    default: return at_0;
    }
}

static const mlt_dtype quantised[] = {MLT_Q4_0,   MLT_Q4_1,   MLT_Q5_0,  MLT_Q5_1,  MLT_Q8_0,
                                      MLT_Q2_K,   MLT_Q3_K,   MLT_Q4_K,  MLT_Q5_K,  MLT_Q6_K,
                                      MLT_IQ4_NL, MLT_IQ4_XS, MLT_TQ1_0, MLT_TQ2_0, MLT_MXFP4};

static void random_bytes(struct mlt_random *random, uint8_t *bytes, int count)
{
    for (int i = 0; i < count; i++)
        bytes[i] = (uint8_t)(mlt_random_u64(random) >> 32);
}

/* TQ1_0 has 243 meaningful bytes of 256; the others decode to something, which test_quant_reference compares.
 */
static void make_ternary_bytes(uint8_t *bytes, int count)
{
    for (int i = 0; i < count; i++)
        bytes[i] = (uint8_t)((bytes[i] % 243 * 256 + 242) / 243);
}

static void compare_block(mlt_dtype dtype, const uint8_t *bytes)
{
    int length = mlt_dtype_info(dtype)->block_length;
    float values[256];
    mlt_decode(dtype, bytes, values, length);
    for (int i = 0; i < length; i++) {
        struct parts parts = naive_parts(dtype, bytes, i);
        double expected = parts.factor * parts.code - parts.min;
        if (!(fabs(expected) <= 0x1.fffffep127)) { /* NaN, infinite, or beyond float: MXFP4's largest */
            assert_true(isnan(expected) ? isnan(values[i])
                                        : (double)values[i] == copysign(INFINITY, expected));
            continue;
        }
        /* Up to three roundings to float, each half a unit of 2^-23 of what is rounded. */
        double bound = 2 * ldexp(fabs(parts.factor * parts.code) + fabs(parts.min), -23);
        if (!(fabs(values[i] - expected) <= bound))
            fail_msg("%s: element %d is %.9g, expected %.9g", mlt_dtype_info(dtype)->name, i, values[i],
                     expected);
    }
}

static void random_blocks_with_sane_scales(void **state)
{
    (void)state;
    struct mlt_random random;
    mlt_random_seed(&random, 1);
    for (size_t t = 0; t < MLT_COUNT(quantised); t++) {
        const struct mlt_dtype_info *info = mlt_dtype_info(quantised[t]);
        for (int repeat = 0; repeat < 500; repeat++) {
            uint8_t bytes[256];
            random_bytes(&random, bytes, info->block_bytes);
            if (quantised[t] == MLT_TQ1_0) make_ternary_bytes(bytes, 52);
            for (const int *at = scale_offsets(quantised[t]); *at >= 0; at++)
                bytes[*at + 1] = (uint8_t)((bytes[*at + 1] & 0x83) | 0x20); /* +-0.008 to 0.015 */
            compare_block(quantised[t], bytes);
        }
    }
}

/* Every half may stand for a scale: subnormal, the largest, infinity, NaN. */
static void every_scale(void **state)
{
    (void)state;
    struct mlt_random random;
    mlt_random_seed(&random, 2);
    for (size_t t = 0; t < MLT_COUNT(quantised); t++) {
        const struct mlt_dtype_info *info = mlt_dtype_info(quantised[t]);
        for (uint32_t half = 0; half < 0x10000; half += 31) {
            uint8_t bytes[256];
            random_bytes(&random, bytes, info->block_bytes);
            if (quantised[t] == MLT_TQ1_0) make_ternary_bytes(bytes, 52);
            for (const int *at = scale_offsets(quantised[t]); *at >= 0; at++) {
                bytes[*at] = (uint8_t)half;
                bytes[*at + 1] = (uint8_t)(half >> 8);
            }
            if (quantised[t] == MLT_MXFP4) bytes[0] = (uint8_t)(half % 255);
            compare_block(quantised[t], bytes);
        }
    }
}

static void bad_scales_show(void **state)
{
    (void)state;
    uint8_t bytes[256] = {0};
    float values[256];
    bytes[1] = 0x7e; /* d = NaN */
    mlt_decode(MLT_Q8_0, bytes, values, 32);
    assert_true(isnan(values[0]));
    bytes[1] = 0xfc; /* d = -infinity, codes 0, 1 and -1 */
    bytes[3] = 1;
    bytes[4] = 255;
    mlt_decode(MLT_Q8_0, bytes, values, 32);
    assert_true(isnan(values[0]));
    assert_true(values[1] == -INFINITY);
    assert_true(values[2] == INFINITY);
}

/* Blocks written out by hand. */
static void known_blocks(void **state)
{
    (void)state;
    float values[32];
    uint8_t q4_0[18] = {0x00, 0xbc, 0x0f}; /* d = -1, codes 15 and 0, then 0 */
    mlt_decode(MLT_Q4_0, q4_0, values, 32);
    assert_true(values[0] == -7 && values[16] == 8 && values[1] == 8);
    uint8_t q5_1[24] = {0x00, 0x40, 0x00, 0xc2, 0x01, 0, 0x02, 0, 0x3a}; /* d = 2, m = -3 */
    mlt_decode(MLT_Q5_1, q5_1, values, 32);
    assert_true(values[0] == 2 * 26 - 3 && values[16] == 2 * 3 - 3 && values[17] == 2 * 16 - 3);
    uint8_t mxfp4[17] = {128, 0x8f, 0x71}; /* scale 2: -6, -0, 0.5, 6 */
    mlt_decode(MLT_MXFP4, mxfp4, values, 32);
    assert_true(values[0] == -12 && values[16] == 0 && values[1] == 1 && values[17] == 12);
    uint8_t iq4_nl[18] = {0x00, 0x3c, 0xf0}; /* d = 1 */
    mlt_decode(MLT_IQ4_NL, iq4_nl, values, 32);
    assert_true(values[0] == -127 && values[16] == 113);
}

/* Rows in files begin at any byte, and a row is its blocks one after the other. */
static void unaligned_rows(void **state)
{
    (void)state;
    struct mlt_random random;
    mlt_random_seed(&random, 3);
    const mlt_dtype floats[] = {MLT_F32, MLT_F16, MLT_BF16};
    for (size_t t = 0; t < MLT_COUNT(quantised) + MLT_COUNT(floats); t++) {
        mlt_dtype dtype = t < MLT_COUNT(quantised) ? quantised[t] : floats[t - MLT_COUNT(quantised)];
        const struct mlt_dtype_info *info = mlt_dtype_info(dtype);
        enum { BLOCKS = 3 };
        size_t size = mlt_dtype_row_bytes(dtype, BLOCKS * info->block_length);
        uint8_t bytes[BLOCKS * 256];
        float row[BLOCKS * 256], block[256];
        random_bytes(&random, bytes, (int)size);
        uint8_t *shifted = malloc(size + 3); /* ends where the row ends: sanitizers see a read past it */
        assert_non_null(shifted);
        memcpy(shifted + 3, bytes, size);
        mlt_decode(dtype, shifted + 3, row, BLOCKS * info->block_length);
        for (int b = 0; b < BLOCKS; b++) {
            mlt_decode(dtype, bytes + b * info->block_bytes, block, info->block_length);
            assert_memory_equal(block, row + b * info->block_length,
                                sizeof(float) * (size_t)info->block_length);
        }
        free(shifted);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_blocks_with_sane_scales),
        cmocka_unit_test(every_scale),
        cmocka_unit_test(bad_scales_show),
        cmocka_unit_test(known_blocks),
        cmocka_unit_test(unaligned_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
