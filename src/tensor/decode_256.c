/*
 * Decoding of the types with superblocks of 256 elements. quant_blocks.h gives each layout and formula. Every
 * product and difference below is one rounding, in this order: that is what "exact" means for these types.
 * The scale of a group is multiplied out first, so that a group costs one product and one difference an
 * element.
 *
 * A block is copied before it is read, since a row in a file may start at any byte.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tensor/codecs.h"
#include "tensor/half.h"
#include "tensor/k_scales.h"
#include "tensor/quant_blocks.h"

/*
 * Q2_K and Q3_K store 2-bit fields alike: 32 bytes hold 128 elements, the first 32 of them in the lowest two
 * bits of each byte, the next 32 in the next two bits ... Group g of 16 elements thus lies in bytes
 * 32 * (g / 8) + 16 * (g % 2) and on, shifted by 2 * (g % 8 / 2).
 */
static const uint8_t *group_bytes_2bit(const uint8_t qs[64], int group)
{
    return qs + 32 * (group / 8) + 16 * (group % 2);
}

static int group_shift_2bit(int group)
{
    return group % 8 / 2 * 2;
}

void mlt_decode_q2_K(const void *bytes, float *values, int64_t blocks)
{
    const uint8_t *source = bytes;
    for (int64_t b = 0; b < blocks; b++) {
        struct mlt_block_q2_K block;
        memcpy(&block, source + (size_t)b * sizeof block, sizeof block);
        float d = mlt_half_to_float_inline(block.d), dmin = mlt_half_to_float_inline(block.dmin);
        for (int group = 0; group < 16; group++, values += 16) {
            float scale = d * (float)(block.scales[group] & 15);
            float min = dmin * (float)(block.scales[group] >> 4);
            const uint8_t *q = group_bytes_2bit(block.qs, group);
            int shift = group_shift_2bit(group);
            for (int i = 0; i < 16; i++)
                values[i] = scale * (float)(q[i] >> shift & 3) - min;
        }
    }
}

void mlt_decode_q3_K(const void *bytes, float *values, int64_t blocks)
{
    const uint8_t *source = bytes;
    for (int64_t b = 0; b < blocks; b++) {
        struct mlt_block_q3_K block;
        int8_t scales[16];
        memcpy(&block, source + (size_t)b * sizeof block, sizeof block);
        mlt_unpack_q3_scales(block.scales, scales);
        float d = mlt_half_to_float_inline(block.d);
        for (int group = 0; group < 16; group++, values += 16) {
            float scale = d * (float)scales[group];
            const uint8_t *q = group_bytes_2bit(block.qs, group);
            int shift = group_shift_2bit(group);
            /* Bit k of hmask[i] belongs to element 32 * k + i: it is the value 4 that is subtracted where it
             * is clear. */
            const uint8_t *high = block.hmask + 16 * (group % 2);
            int high_bit = group / 2;
            for (int i = 0; i < 16; i++) {
                int code = (q[i] >> shift & 3) | (high[i] >> high_bit & 1) << 2;
                values[i] = scale * (float)(code - 4);
            }
        }
    }
}

/* Q4_K and Q5_K: 32 bytes hold 64 elements, the first 32 in the low nibbles. */
void mlt_decode_q4_K(const void *bytes, float *values, int64_t blocks)
{
    const uint8_t *source = bytes;
    for (int64_t b = 0; b < blocks; b++) {
        struct mlt_block_q4_K block;
        uint8_t scales[8], mins[8];
        memcpy(&block, source + (size_t)b * sizeof block, sizeof block);
        mlt_unpack_k4_scales(block.scales, scales, mins);
        float d = mlt_half_to_float_inline(block.d), dmin = mlt_half_to_float_inline(block.dmin);
        for (int group = 0; group < 8; group++, values += 32) {
            float scale = d * (float)scales[group], min = dmin * (float)mins[group];
            const uint8_t *q = block.qs + 32 * (group / 2);
            int shift = 4 * (group % 2);
            for (int i = 0; i < 32; i++)
                values[i] = scale * (float)(q[i] >> shift & 15) - min;
        }
    }
}

void mlt_decode_q5_K(const void *bytes, float *values, int64_t blocks)
{
    const uint8_t *source = bytes;
    for (int64_t b = 0; b < blocks; b++) {
        struct mlt_block_q5_K block;
        uint8_t scales[8], mins[8];
        memcpy(&block, source + (size_t)b * sizeof block, sizeof block);
        mlt_unpack_k4_scales(block.scales, scales, mins);
        float d = mlt_half_to_float_inline(block.d), dmin = mlt_half_to_float_inline(block.dmin);
        for (int group = 0; group < 8; group++, values += 32) {
            float scale = d * (float)scales[group], min = dmin * (float)mins[group];
            const uint8_t *q = block.qs + 32 * (group / 2);
            int shift = 4 * (group % 2);
            /* Bit `group` of qh[i] is the fifth bit of the group's element i. */
            for (int i = 0; i < 32; i++) {
                int code = (q[i] >> shift & 15) | (block.qh[i] >> group & 1) << 4;
                values[i] = scale * (float)code - min;
            }
        }
    }
}

void mlt_decode_q6_K(const void *bytes, float *values, int64_t blocks)
{
    const uint8_t *source = bytes;
    for (int64_t b = 0; b < blocks; b++) {
        struct mlt_block_q6_K block;
        memcpy(&block, source + (size_t)b * sizeof block, sizeof block);
        float d = mlt_half_to_float_inline(block.d);
        for (int group = 0; group < 16; group++, values += 16) {
            float scale = d * (float)block.scales[group];
            /* 64 bytes of ql and 32 of qh hold 128 elements. The first 64 elements are ql's low nibbles, the
             * next 64 its high ones; each 32 elements in turn take the next two bits of the bytes of qh. */
            int part = group % 8;
            const uint8_t *low = block.ql + 64 * (group / 8) + 16 * (part % 4);
            const uint8_t *high = block.qh + 32 * (group / 8) + 16 * (part % 2);
            int low_shift = part / 4 * 4, high_shift = part / 2 * 2;
            for (int i = 0; i < 16; i++) {
                int code = (low[i] >> low_shift & 15) | (high[i] >> high_shift & 3) << 4;
                values[i] = scale * (float)(code - 32);
            }
        }
    }
}

void mlt_decode_iq4_xs(const void *bytes, float *values, int64_t blocks)
{
    const uint8_t *source = bytes;
    for (int64_t b = 0; b < blocks; b++) {
        struct mlt_block_iq4_xs block;
        memcpy(&block, source + (size_t)b * sizeof block, sizeof block);
        float d = mlt_half_to_float_inline(block.d);
        for (int group = 0; group < 8; group++, values += 32) {
            int low = block.scales_l[group / 2] >> (group % 2 * 4) & 15;
            int high = block.scales_h >> (2 * group) & 3;
            float scale = d * (float)((low | high << 4) - 32);
            const uint8_t *q = block.qs + 16 * group;
            for (int i = 0; i < 16; i++) {
                values[i] = scale * (float)mlt_iq4_values[q[i] & 15];
                values[i + 16] = scale * (float)mlt_iq4_values[q[i] >> 4];
            }
        }
    }
}
