/*
 * Decoding of the types with blocks of 32 elements. quant_blocks.h gives each layout and formula. Every
 * product and sum below is one rounding, in this order: that is what "exact" means for these types.
 *
 * A block is copied before it is read, since a row in a file may start at any byte.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tensor/codecs.h"
#include "tensor/half.h"
#include "tensor/quant_blocks.h"

const int8_t mlt_iq4_values[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
const int8_t mlt_e2m1_doubled[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

enum { HALF_BLOCK = MLT_QK / 2 };

void mlt_decode_q4_0(const void *bytes, float *values, int64_t blocks)
{
    const uint8_t *source = bytes;
    for (int64_t b = 0; b < blocks; b++, values += MLT_QK) {
        struct mlt_block_q4_0 block;
        memcpy(&block, source + (size_t)b * sizeof block, sizeof block);
        float d = mlt_half_to_float_inline(block.d);
        for (int i = 0; i < HALF_BLOCK; i++) {
            values[i] = (float)((block.qs[i] & 15) - 8) * d;
            values[i + HALF_BLOCK] = (float)((block.qs[i] >> 4) - 8) * d;
        }
    }
}

void mlt_decode_q4_1(const void *bytes, float *values, int64_t blocks)
{
    const uint8_t *source = bytes;
    for (int64_t b = 0; b < blocks; b++, values += MLT_QK) {
        struct mlt_block_q4_1 block;
        memcpy(&block, source + (size_t)b * sizeof block, sizeof block);
        float d = mlt_half_to_float_inline(block.d), m = mlt_half_to_float_inline(block.m);
        for (int i = 0; i < HALF_BLOCK; i++) {
            values[i] = (float)(block.qs[i] & 15) * d + m;
            values[i + HALF_BLOCK] = (float)(block.qs[i] >> 4) * d + m;
        }
    }
}

/* The fifth bits of elements i and i + 16, in place to be added to the low four. */
static int fifth_bit_low(const uint8_t qh[4], int i)
{
    return (qh[i / 8] >> (i % 8) & 1) << 4;
}

static int fifth_bit_high(const uint8_t qh[4], int i)
{
    return (qh[2 + i / 8] >> (i % 8) & 1) << 4;
}

void mlt_decode_q5_0(const void *bytes, float *values, int64_t blocks)
{
    const uint8_t *source = bytes;
    for (int64_t b = 0; b < blocks; b++, values += MLT_QK) {
        struct mlt_block_q5_0 block;
        memcpy(&block, source + (size_t)b * sizeof block, sizeof block);
        float d = mlt_half_to_float_inline(block.d);
        for (int i = 0; i < HALF_BLOCK; i++) {
            values[i] = (float)((block.qs[i] & 15) + fifth_bit_low(block.qh, i) - 16) * d;
            values[i + HALF_BLOCK] = (float)((block.qs[i] >> 4) + fifth_bit_high(block.qh, i) - 16) * d;
        }
    }
}

void mlt_decode_q5_1(const void *bytes, float *values, int64_t blocks)
{
    const uint8_t *source = bytes;
    for (int64_t b = 0; b < blocks; b++, values += MLT_QK) {
        struct mlt_block_q5_1 block;
        memcpy(&block, source + (size_t)b * sizeof block, sizeof block);
        float d = mlt_half_to_float_inline(block.d), m = mlt_half_to_float_inline(block.m);
        for (int i = 0; i < HALF_BLOCK; i++) {
            values[i] = (float)((block.qs[i] & 15) + fifth_bit_low(block.qh, i)) * d + m;
            values[i + HALF_BLOCK] = (float)((block.qs[i] >> 4) + fifth_bit_high(block.qh, i)) * d + m;
        }
    }
}

void mlt_decode_q8_0(const void *bytes, float *values, int64_t blocks)
{
    const uint8_t *source = bytes;
    for (int64_t b = 0; b < blocks; b++, values += MLT_QK) {
        struct mlt_block_q8_0 block;
        memcpy(&block, source + (size_t)b * sizeof block, sizeof block);
        float d = mlt_half_to_float_inline(block.d);
        for (int i = 0; i < MLT_QK; i++)
            values[i] = (float)block.qs[i] * d;
    }
}

void mlt_decode_iq4_nl(const void *bytes, float *values, int64_t blocks)
{
    const uint8_t *source = bytes;
    for (int64_t b = 0; b < blocks; b++, values += MLT_QK) {
        struct mlt_block_iq4_nl block;
        memcpy(&block, source + (size_t)b * sizeof block, sizeof block);
        float d = mlt_half_to_float_inline(block.d);
        for (int i = 0; i < HALF_BLOCK; i++) {
            values[i] = d * (float)mlt_iq4_values[block.qs[i] & 15];
            values[i + HALF_BLOCK] = d * (float)mlt_iq4_values[block.qs[i] >> 4];
        }
    }
}

void mlt_decode_mxfp4(const void *bytes, float *values, int64_t blocks)
{
    const uint8_t *source = bytes;
    for (int64_t b = 0; b < blocks; b++, values += MLT_QK) {
        struct mlt_block_mxfp4 block;
        memcpy(&block, source + (size_t)b * sizeof block, sizeof block);
        float d = mlt_e8m0_half(block.e);
        for (int i = 0; i < HALF_BLOCK; i++) {
            values[i] = d * (float)mlt_e2m1_doubled[block.qs[i] & 15];
            values[i + HALF_BLOCK] = d * (float)mlt_e2m1_doubled[block.qs[i] >> 4];
        }
    }
}
