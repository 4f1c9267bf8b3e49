/*
 * Quantised blocks as integers, one function a dtype. Byte layouts: quant_blocks.h.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tensor/unpack.h"
#include "tensor/half.h"
#include "tensor/quant_blocks.h"

/* Blocks come from files at any address: each is copied before its fields are read. */
#define LOAD_BLOCK(type, name, bytes)                                                                        \
    struct type name;                                                                                        \
    memcpy(&name, bytes, sizeof name)

/* Sixteen bytes of two 4-bit codes, low half first. */
static void nibbles(const uint8_t *qs, int offset, int8_t *q)
{
    for (int i = 0; i < 16; i++) {
        q[i] = (int8_t)((qs[i] & 15) + offset);
        q[i + 16] = (int8_t)((qs[i] >> 4) + offset);
    }
}

static void nibble_codes(const uint8_t *qs, const int8_t values[16], int8_t *q)
{
    for (int i = 0; i < 16; i++) {
        q[i] = values[qs[i] & 15];
        q[i + 16] = values[qs[i] >> 4];
    }
}

/* The fifth bits of 32 elements, bit i of qh for element i. */
static void add_fifth_bits(const uint8_t qh[4], int8_t *q)
{
    for (int i = 0; i < 32; i++)
        q[i] = (int8_t)(q[i] + 16 * ((qh[i / 8] >> (i % 8)) & 1));
}

static void unpack_q4_0(const uint8_t *bytes, struct mlt_unpacked *out)
{
    LOAD_BLOCK(mlt_block_q4_0, block, bytes);
    out->d = mlt_half_to_float_inline(block.d);
    nibbles(block.qs, -8, out->q);
}

static void unpack_q4_1(const uint8_t *bytes, struct mlt_unpacked *out)
{
    LOAD_BLOCK(mlt_block_q4_1, block, bytes);
    out->d = mlt_half_to_float_inline(block.d);
    out->m = mlt_half_to_float_inline(block.m);
    nibbles(block.qs, 0, out->q);
}

static void unpack_q5_0(const uint8_t *bytes, struct mlt_unpacked *out)
{
    LOAD_BLOCK(mlt_block_q5_0, block, bytes);
    out->d = mlt_half_to_float_inline(block.d);
    nibbles(block.qs, -16, out->q);
    add_fifth_bits(block.qh, out->q);
}

static void unpack_q5_1(const uint8_t *bytes, struct mlt_unpacked *out)
{
    LOAD_BLOCK(mlt_block_q5_1, block, bytes);
    out->d = mlt_half_to_float_inline(block.d);
    out->m = mlt_half_to_float_inline(block.m);
    nibbles(block.qs, 0, out->q);
    add_fifth_bits(block.qh, out->q);
}

static void unpack_q8_0(const uint8_t *bytes, struct mlt_unpacked *out)
{
    LOAD_BLOCK(mlt_block_q8_0, block, bytes);
    out->d = mlt_half_to_float_inline(block.d);
    memcpy(out->q, block.qs, sizeof block.qs);
}

static void unpack_iq4_nl(const uint8_t *bytes, struct mlt_unpacked *out)
{
    LOAD_BLOCK(mlt_block_iq4_nl, block, bytes);
    out->d = mlt_half_to_float_inline(block.d);
    nibble_codes(block.qs, mlt_iq4_values, out->q);
}

static void unpack_mxfp4(const uint8_t *bytes, struct mlt_unpacked *out)
{
    LOAD_BLOCK(mlt_block_mxfp4, block, bytes);
    out->d = mlt_e8m0_half(block.e);
    nibble_codes(block.qs, mlt_e2m1_doubled, out->q);
}

/*
 * Superblocks lie in runs of 32 elements with one place in their bytes each. Loops over a run have shifts
 * that do not change, so that compilers make vectors of them.
 *
 * 2-bit fields: two halves of 128 elements in 32 bytes each; a byte holds elements i, i + 32, i + 64 and i
 * + 96.
 */
static void run_of_2bit(const uint8_t qs[64], int run, int offset, int8_t *q)
{
    const uint8_t *bytes = qs + 32 * (run / 4);
    int shift = 2 * (run % 4);
    for (int i = 0; i < 32; i++)
        q[32 * run + i] = (int8_t)(((bytes[i] >> shift) & 3) + offset);
}

/* 4-bit fields: 64 elements in 32 bytes, the first 32 in the low nibbles. */
static void run_of_4bit(const uint8_t qs[128], int run, int8_t *q)
{
    const uint8_t *bytes = qs + 32 * (run / 2);
    int shift = 4 * (run % 2);
    for (int i = 0; i < 32; i++)
        q[32 * run + i] = (int8_t)((bytes[i] >> shift) & 15);
}

static void unpack_q2_K(const uint8_t *bytes, struct mlt_unpacked *out)
{
    LOAD_BLOCK(mlt_block_q2_K, block, bytes);
    out->d = mlt_half_to_float_inline(block.d);
    out->m = mlt_half_to_float_inline(block.dmin);
    for (int g = 0; g < 16; g++) {
        out->scale[g] = block.scales[g] & 15;
        out->min[g] = block.scales[g] >> 4;
    }
    for (int run = 0; run < 8; run++)
        run_of_2bit(block.qs, run, 0, out->q);
}

static void unpack_q3_K(const uint8_t *bytes, struct mlt_unpacked *out)
{
    LOAD_BLOCK(mlt_block_q3_K, block, bytes);
    out->d = mlt_half_to_float_inline(block.d);
    for (int g = 0; g < 16; g++) {
        int low = g < 8 ? block.scales[g] & 15 : block.scales[g - 8] >> 4;
        int high = (block.scales[8 + g % 4] >> (2 * (g / 4))) & 3;
        out->scale[g] = (int16_t)((low | high << 4) - 32);
    }
    for (int run = 0; run < 8; run++) {
        run_of_2bit(block.qs, run, -4, out->q);
        for (int i = 0; i < 32; i++)
            out->q[32 * run + i] = (int8_t)(out->q[32 * run + i] + 4 * ((block.hmask[i] >> run) & 1));
    }
}

/* Eight 6-bit scales and eight 6-bit mins in twelve bytes: the first four of each whole, the rest in halves.
 */
static void unpack_scales_k4(const uint8_t packed[12], struct mlt_unpacked *out)
{
    for (int g = 0; g < 4; g++) {
        out->scale[g] = packed[g] & 63;
        out->min[g] = packed[g + 4] & 63;
        out->scale[g + 4] = (int16_t)((packed[g + 8] & 15) | (packed[g] >> 6) << 4);
        out->min[g + 4] = (int16_t)((packed[g + 8] >> 4) | (packed[g + 4] >> 6) << 4);
    }
}

static void unpack_q4_K(const uint8_t *bytes, struct mlt_unpacked *out)
{
    LOAD_BLOCK(mlt_block_q4_K, block, bytes);
    out->d = mlt_half_to_float_inline(block.d);
    out->m = mlt_half_to_float_inline(block.dmin);
    unpack_scales_k4(block.scales, out);
    for (int run = 0; run < 8; run++)
        run_of_4bit(block.qs, run, out->q);
}

static void unpack_q5_K(const uint8_t *bytes, struct mlt_unpacked *out)
{
    LOAD_BLOCK(mlt_block_q5_K, block, bytes);
    out->d = mlt_half_to_float_inline(block.d);
    out->m = mlt_half_to_float_inline(block.dmin);
    unpack_scales_k4(block.scales, out);
    for (int run = 0; run < 8; run++) {
        run_of_4bit(block.qs, run, out->q);
        for (int i = 0; i < 32; i++)
            out->q[32 * run + i] = (int8_t)(out->q[32 * run + i] + 16 * ((block.qh[i] >> run) & 1));
    }
}

static void unpack_q6_K(const uint8_t *bytes, struct mlt_unpacked *out)
{
    LOAD_BLOCK(mlt_block_q6_K, block, bytes);
    out->d = mlt_half_to_float_inline(block.d);
    for (int g = 0; g < 16; g++)
        out->scale[g] = block.scales[g];
    /* In each half of 128: 64 bytes of low nibbles (elements 0..63 low, 64..127 high), 32 bytes of high bit
     * pairs. */
    for (int run = 0; run < 8; run++) {
        const uint8_t *ql = block.ql + 64 * (run / 4) + 32 * (run % 2), *qh = block.qh + 32 * (run / 4);
        int low_shift = run % 4 / 2 * 4, high_shift = run % 4 * 2;
        for (int i = 0; i < 32; i++) {
            int code = ((ql[i] >> low_shift) & 15) | ((qh[i] >> high_shift) & 3) << 4;
            out->q[32 * run + i] = (int8_t)(code - 32);
        }
    }
}

static void unpack_iq4_xs(const uint8_t *bytes, struct mlt_unpacked *out)
{
    LOAD_BLOCK(mlt_block_iq4_xs, block, bytes);
    out->d = mlt_half_to_float_inline(block.d);
    for (int g = 0; g < 8; g++) {
        int low = (block.scales_l[g / 2] >> (g % 2 * 4)) & 15, high = (block.scales_h >> (2 * g)) & 3;
        out->scale[g] = (int16_t)((low | high << 4) - 32);
        nibble_codes(block.qs + 16 * g, mlt_iq4_values, out->q + 32 * g);
    }
}

static void unit_scales(struct mlt_unpacked *out)
{
    for (int g = 0; g < 16; g++)
        out->scale[g] = 1;
}

/*
 * Five base-3 digits a byte, stored as a fixed-point fraction of 256: multiplying by 3^n (mod 256) brings
 * digit n to the front, and times 3 / 256 reads it.
 */
static int8_t ternary_digit(uint8_t packed, int n)
{
    static const uint8_t power[5] = {1, 3, 9, 27, 81};
    return (int8_t)(((uint8_t)(packed * power[n]) * 3 >> 8) - 1);
}

static void unpack_tq1_0(const uint8_t *bytes, struct mlt_unpacked *out)
{
    LOAD_BLOCK(mlt_block_tq1_0, block, bytes);
    out->d = mlt_half_to_float_inline(block.d);
    unit_scales(out);
    for (int n = 0; n < 5; n++) { /* 32 bytes of five digits, then 16 bytes of five */
        for (int i = 0; i < 32; i++)
            out->q[32 * n + i] = ternary_digit(block.qs[i], n);
        for (int i = 0; i < 16; i++)
            out->q[160 + 16 * n + i] = ternary_digit(block.qs[32 + i], n);
    }
    for (int n = 0; n < 4; n++) /* 4 bytes of four */
        for (int i = 0; i < 4; i++)
            out->q[240 + 4 * n + i] = ternary_digit(block.qh[i], n);
}

static void unpack_tq2_0(const uint8_t *bytes, struct mlt_unpacked *out)
{
    LOAD_BLOCK(mlt_block_tq2_0, block, bytes);
    out->d = mlt_half_to_float_inline(block.d);
    unit_scales(out);
    for (int run = 0; run < 8; run++)
        run_of_2bit(block.qs, run, -1, out->q);
}

const struct mlt_unpack_traits *mlt_unpack_traits(mlt_dtype dtype)
{
    static const struct mlt_unpack_traits none;
    static const struct mlt_unpack_traits table[MLT_DTYPE_LIMIT] = {
        [MLT_Q4_0] = {unpack_q4_0, 1, false, -8, 7},
        [MLT_Q4_1] = {unpack_q4_1, 1, true, 0, 15},
        [MLT_Q5_0] = {unpack_q5_0, 1, false, -16, 15},
        [MLT_Q5_1] = {unpack_q5_1, 1, true, 0, 31},
        [MLT_Q8_0] = {unpack_q8_0, 1, false, -128, 127},
        [MLT_IQ4_NL] = {unpack_iq4_nl, 1, false, -127, 113},
        [MLT_MXFP4] = {unpack_mxfp4, 1, false, -12, 12},
        [MLT_Q2_K] = {unpack_q2_K, 16, true, 0, 3},
        [MLT_Q3_K] = {unpack_q3_K, 16, false, -4, 3},
        [MLT_Q4_K] = {unpack_q4_K, 8, true, 0, 15},
        [MLT_Q5_K] = {unpack_q5_K, 8, true, 0, 31},
        [MLT_Q6_K] = {unpack_q6_K, 16, false, -32, 31},
        [MLT_IQ4_XS] = {unpack_iq4_xs, 8, false, -127, 113},
        [MLT_TQ1_0] = {unpack_tq1_0, 8, false, -1, 1},
        [MLT_TQ2_0] = {unpack_tq2_0, 8, false, -1, 2},
    };
    return dtype < MLT_DTYPE_LIMIT ? &table[dtype] : &none;
}
