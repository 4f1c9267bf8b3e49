/*
 * Whole rows with one token, straight from the blocks: what rows_neon.c and rows_dotprod.c compile for their
 * instruction sets. Before including it they define
 *
 *     static int32x4_t dot16(int32x4_t sum, int8x16_t w, int8x16_t x)
 *     static int32x4_t dot32(int32x4_t sum, int8x16_t w0, int8x16_t x0, int8x16_t w1, int8x16_t x1, bool
 * small)
 *
 * which add the sixteen products w * x, or those of two pairs, to the four lanes of `sum`, each product to
 * any lane. small: all w are in [-64, 64].
 *
 * Codes are multiplied as they are stored, without their offset (8 in Q4_0, 32 in Q6_K ...): the offset times
 * the token's sum over the block is taken from the integer sum. Rows are read four at a time, from end
 * to end.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_ROWS_TEMPLATE_H
#define MLT_ROWS_TEMPLATE_H

#include "kernels/arm/rows_block32.h"
#include "kernels/arm/unpack_neon.h"

#include "tensor/quant_blocks.h"

#include <stddef.h>

/* Codes of columns 16 c .. 16 c + 15 of a block, plus the dtype's offset; c is a constant wherever this is
 * called. */
typedef int8x16_t read_codes(const uint8_t *block, int c);

MLT_INLINE int8x16_t low_nibbles(const uint8_t *bytes)
{
    return vreinterpretq_s8_u8(mlt_low_nibbles(vld1q_u8(bytes)));
}

MLT_INLINE int8x16_t high_nibbles(const uint8_t *bytes)
{
    return vreinterpretq_s8_u8(mlt_high_nibbles(vld1q_u8(bytes)));
}

/* v >> n for a constant n of 0 to 7. */
MLT_INLINE uint8x16_t shift_right(uint8x16_t v, int n)
{
    switch (n) {
    case 1: return vshrq_n_u8(v, 1);
    case 2: return vshrq_n_u8(v, 2);
    case 3: return vshrq_n_u8(v, 3);
    case 4: return vshrq_n_u8(v, 4);
    case 5: return vshrq_n_u8(v, 5);
    case 6: return vshrq_n_u8(v, 6);
    case 7: return vshrq_n_u8(v, 7);
    default: return v;
    }
}

MLT_INLINE uint8x16_t shift_left(uint8x16_t v, int n)
{
    switch (n) {
    case 1: return vshlq_n_u8(v, 1);
    case 2: return vshlq_n_u8(v, 2);
    case 3: return vshlq_n_u8(v, 3);
    case 4: return vshlq_n_u8(v, 4);
    default: return v;
    }
}

/* ---- Superblocks of 256 ---- */

MLT_INLINE int8x16_t codes_q2_K(const uint8_t *block, int c)
{
    uint8x16_t bytes = vld1q_u8(block + offsetof(struct mlt_block_q2_K, qs) + c / 8 * 32 + c % 2 * 16);
    return vreinterpretq_s8_u8(vandq_u8(shift_right(bytes, c % 8 / 2 * 2), vdupq_n_u8(3)));
}

MLT_INLINE int8x16_t codes_tq2_0(const uint8_t *block, int c)
{
    uint8x16_t bytes = vld1q_u8(block + offsetof(struct mlt_block_tq2_0, qs) + c / 8 * 32 + c % 2 * 16);
    return vreinterpretq_s8_u8(vandq_u8(shift_right(bytes, c % 8 / 2 * 2), vdupq_n_u8(3)));
}

/* Inserting shifts join parts of a code: sli keeps the low bits of its first operand, sri the high ones. */
MLT_INLINE int8x16_t codes_q3_K(const uint8_t *block, int c)
{
    uint8x16_t bytes = vld1q_u8(block + offsetof(struct mlt_block_q3_K, qs) + c / 8 * 32 + c % 2 * 16);
    uint8x16_t thirds = vld1q_u8(block + offsetof(struct mlt_block_q3_K, hmask) + c % 2 * 16);
    uint8x16_t joined = vsliq_n_u8(shift_right(bytes, c % 8 / 2 * 2), shift_right(thirds, c / 2), 2);
    return vreinterpretq_s8_u8(vandq_u8(joined, vdupq_n_u8(7)));
}

MLT_INLINE int8x16_t codes_q4_K(const uint8_t *block, int c)
{
    const uint8_t *qs = block + offsetof(struct mlt_block_q4_K, qs) + c / 4 * 32 + c % 2 * 16;
    return c % 4 < 2 ? low_nibbles(qs) : high_nibbles(qs);
}

MLT_INLINE int8x16_t codes_q5_K(const uint8_t *block, int c)
{
    uint8x16_t bytes = vld1q_u8(block + offsetof(struct mlt_block_q5_K, qs) + c / 4 * 32 + c % 2 * 16);
    uint8x16_t fifths = vld1q_u8(block + offsetof(struct mlt_block_q5_K, qh) + c % 2 * 16);
    int bit = c / 2;
    if (c % 4 < 2)
        return vreinterpretq_s8_u8(vandq_u8(vsliq_n_u8(bytes, shift_right(fifths, bit), 4), vdupq_n_u8(31)));
    uint8x16_t fifth = bit < 4 ? shift_left(fifths, 4 - bit) : shift_right(fifths, bit - 4);
    return vreinterpretq_s8_u8(vsriq_n_u8(vandq_u8(fifth, vdupq_n_u8(16)), bytes, 4));
}

MLT_INLINE int8x16_t codes_q6_K(const uint8_t *block, int c)
{
    uint8x16_t low = vld1q_u8(block + offsetof(struct mlt_block_q6_K, ql) + c / 8 * 64 + c % 4 * 16);
    uint8x16_t pairs = vld1q_u8(block + offsetof(struct mlt_block_q6_K, qh) + c / 8 * 32 + c % 2 * 16);
    if (c % 8 < 4)
        return vreinterpretq_s8_u8(
            vandq_u8(vsliq_n_u8(low, shift_right(pairs, c % 8 / 2 * 2), 4), vdupq_n_u8(0x3f)));
    uint8x16_t top = vandq_u8(shift_right(pairs, c % 8 < 6 ? 0 : 2), vdupq_n_u8(0x30));
    return vreinterpretq_s8_u8(vsriq_n_u8(top, low, 4));
}

MLT_INLINE int8x16_t codes_iq4_xs(const uint8_t *block, int c)
{
    const uint8_t *qs = block + offsetof(struct mlt_block_iq4_xs, qs) + c / 2 * 16;
    return values(mlt_iq4_values, c % 2 ? high_nibbles(qs) : low_nibbles(qs));
}

/* Digit n is the first one after multiplying by 3^n; the first is the byte times 3 / 256. */
MLT_INLINE int8x16_t codes_tq1_0(const uint8_t *block, int c)
{
    static const uint8_t powers[5] = {1, 3, 9, 27, 81};
    static const uint8_t last[16] = {1, 1, 1, 1, 3, 3, 3, 3, 9, 9, 9, 9, 27, 27, 27, 27};
    const uint8_t *qs = block + offsetof(struct mlt_block_tq1_0, qs);
    uint8x16_t bytes;
    if (c < 10)
        bytes = vmulq_u8(vld1q_u8(qs + c % 2 * 16), vdupq_n_u8(powers[c / 2]));
    else if (c < 15)
        bytes = vmulq_u8(vld1q_u8(qs + 32), vdupq_n_u8(powers[c - 10]));
    else
        bytes = vmulq_u8(
            vreinterpretq_u8_u32(vdupq_n_u32(mlt_load_u32(block + offsetof(struct mlt_block_tq1_0, qh)))),
            vld1q_u8(last));
    return vreinterpretq_s8_u8(vshrq_n_u8(vhaddq_u8(bytes, vshrq_n_u8(bytes, 1)), 6));
}

/* A superblock's sub-scales and mins by group; high: groups 8..15, where there are as many. */
struct group_scales {
    int16x8_t scale, scale_high, min, min_high;
};

typedef struct group_scales read_group_scales(const uint8_t *block);

/* Four bits of one byte and two of another make a 6-bit number; `high` has its two bits at 4 and 5 already.
 */
MLT_INLINE uint32_t six_bits(uint32_t low, uint32_t high)
{
    return (low & 0x0f0f0f0f) | (high & 0x30303030);
}

MLT_INLINE uint8x8_t eight_bytes(uint32_t low, uint32_t high)
{
    return vcreate_u8(low | (uint64_t)high << 32);
}

MLT_INLINE struct group_scales scales_k4(const uint8_t packed[12])
{
    uint32_t s = mlt_load_u32(packed), m = mlt_load_u32(packed + 4), rest = mlt_load_u32(packed + 8);
    struct group_scales scales = {0};
    scales.scale = vreinterpretq_s16_u16(vmovl_u8(eight_bytes(s & 0x3f3f3f3f, six_bits(rest, s >> 2))));
    scales.min = vreinterpretq_s16_u16(vmovl_u8(eight_bytes(m & 0x3f3f3f3f, six_bits(rest >> 4, m >> 2))));
    return scales;
}

MLT_INLINE struct group_scales scales_q4_K(const uint8_t *block)
{
    return scales_k4(block + offsetof(struct mlt_block_q4_K, scales));
}

MLT_INLINE struct group_scales scales_q5_K(const uint8_t *block)
{
    return scales_k4(block + offsetof(struct mlt_block_q5_K, scales));
}

MLT_INLINE struct group_scales scales_q2_K(const uint8_t *block)
{
    uint8x16_t bytes = vld1q_u8(block + offsetof(struct mlt_block_q2_K, scales));
    uint8x16_t low = mlt_low_nibbles(bytes), high = mlt_high_nibbles(bytes);
    return (struct group_scales){
        vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(low))), vreinterpretq_s16_u16(vmovl_high_u8(low)),
        vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(high))), vreinterpretq_s16_u16(vmovl_high_u8(high))};
}

MLT_INLINE struct group_scales signed_scales(int8x16_t bytes)
{
    struct group_scales scales = {0};
    scales.scale = vmovl_s8(vget_low_s8(bytes));
    scales.scale_high = vmovl_high_s8(bytes);
    return scales;
}

MLT_INLINE struct group_scales scales_q3_K(const uint8_t *block)
{
    const uint8_t *packed = block + offsetof(struct mlt_block_q3_K, scales);
    uint32_t first = mlt_load_u32(packed), second = mlt_load_u32(packed + 4), top = mlt_load_u32(packed + 8);
    uint8x16_t bytes = vcombine_u8(eight_bytes(six_bits(first, top << 4), six_bits(second, top << 2)),
                                   eight_bytes(six_bits(first >> 4, top), six_bits(second >> 4, top >> 2)));
    return signed_scales(vsubq_s8(vreinterpretq_s8_u8(bytes), vdupq_n_s8(32)));
}

MLT_INLINE struct group_scales scales_q6_K(const uint8_t *block)
{
    return signed_scales(vreinterpretq_s8_u8(vld1q_u8(block + offsetof(struct mlt_block_q6_K, scales))));
}

MLT_INLINE struct group_scales scales_iq4_xs(const uint8_t *block)
{
    static const int32_t low_shifts[8] = {0, -4, -8, -12, -16, -20, -24, -28};
    static const int16_t high_shifts[8] = {4, 2, 0, -2, -4, -6, -8, -10};
    uint32x4_t words = vdupq_n_u32(mlt_load_u32(block + offsetof(struct mlt_block_iq4_xs, scales_l)));
    uint16x8_t low = vcombine_u16(vmovn_u32(vshlq_u32(words, vld1q_s32(low_shifts))),
                                  vmovn_u32(vshlq_u32(words, vld1q_s32(low_shifts + 4))));
    uint16x8_t high = vdupq_n_u16(mlt_load_u16(block + offsetof(struct mlt_block_iq4_xs, scales_h)));
    high = vshlq_u16(high, vld1q_s16(high_shifts));
    uint16x8_t joined = vorrq_u16(vandq_u16(low, vdupq_n_u16(15)), vandq_u16(high, vdupq_n_u16(0x30)));
    struct group_scales scales = {0};
    scales.scale = vsubq_s16(vreinterpretq_s16_u16(joined), vdupq_n_s16(32));
    return scales;
}

/* How the superblocks of a dtype are read. */
struct super {
    size_t block_bytes, d, dmin; /* dmin: 0 where the dtype has no mins */
    int group, offset;
    bool small; /* as dot32 wants to know */
    read_codes *codes;
    read_group_scales *scales; /* NULL: all 1 */
};

/* The sums of a token's int8 over eight groups of `group` columns from the first or (high) the ninth on. */
MLT_INLINE int16x8_t group_sums(const int16_t *sums, int group, bool high)
{
    if (group == 16) return vld1q_s16(sums + (high ? 8 : 0));
    return vpaddq_s16(vld1q_s16(sums), vld1q_s16(sums + 8));
}

/* The sum over groups of factor * the token's sum, over four lanes. */
MLT_INLINE int32x4_t dot_sums(int16x8_t factor, int16x8_t factor_high, const int16_t *sums, int group)
{
    int16x8_t x = group_sums(sums, group, false);
    int32x4_t sum = vmlal_high_s16(vmull_s16(vget_low_s16(factor), vget_low_s16(x)), factor, x);
    if (group == 32) return sum;
    x = group_sums(sums, group, true);
    sum = vmlal_s16(sum, vget_low_s16(factor_high), vget_low_s16(x));
    return vmlal_high_s16(sum, factor_high, x);
}

/* Columns 16 c .. of the block with the token's. */
#define DOT(sum, c) dot16(sum, how.codes(block, c), vld1q_s8(x + 16 * (c)))
#define ZERO vdupq_n_s32(0)
#define GROUPS_OF_16(c) reduce4(DOT(ZERO, c), DOT(ZERO, c + 1), DOT(ZERO, c + 2), DOT(ZERO, c + 3))
#define DOT_TWO(sum, c)                                                                                      \
    dot32(sum, how.codes(block, c), vld1q_s8(x + 16 * (c)), how.codes(block, (c) + 1),                       \
          vld1q_s8(x + 16 * (c) + 16), how.small)
#define GROUPS_OF_32(c)                                                                                      \
    reduce4(DOT_TWO(ZERO, c), DOT_TWO(ZERO, (c) + 2), DOT_TWO(ZERO, (c) + 4), DOT_TWO(ZERO, (c) + 6))
#define DOT_FOUR(sum, c) DOT_TWO(DOT_TWO(sum, c), (c) + 2)

/* The integer sum of a superblock over four lanes, and at *msum that of its mins. */
MLT_INLINE int32x4_t super_sums(struct super how, const uint8_t *block, const int8_t *x, const int16_t *sums,
                                int32x4_t *msum)
{
    if (!how.scales) {
        int32x4_t isum = vaddq_s32(DOT_FOUR(DOT_FOUR(ZERO, 0), 4), DOT_FOUR(DOT_FOUR(ZERO, 8), 12));
        int32x4_t all = vaddq_s32(vpaddlq_s16(vld1q_s16(sums)), vpaddlq_s16(vld1q_s16(sums + 8)));
        return vmlsq_n_s32(isum, all, how.offset);
    }
    struct group_scales scales = how.scales(block);
    int32x4_t isum;
    if (how.group == 16) {
        isum = vmulq_s32(GROUPS_OF_16(0), vmovl_s16(vget_low_s16(scales.scale)));
        isum = vmlaq_s32(isum, GROUPS_OF_16(4), vmovl_high_s16(scales.scale));
        isum = vmlaq_s32(isum, GROUPS_OF_16(8), vmovl_s16(vget_low_s16(scales.scale_high)));
        isum = vmlaq_s32(isum, GROUPS_OF_16(12), vmovl_high_s16(scales.scale_high));
    } else {
        isum = vmulq_s32(GROUPS_OF_32(0), vmovl_s16(vget_low_s16(scales.scale)));
        isum = vmlaq_s32(isum, GROUPS_OF_32(8), vmovl_high_s16(scales.scale));
    }
    if (how.offset)
        isum = vmlsq_n_s32(isum, dot_sums(scales.scale, scales.scale_high, sums, how.group), how.offset);
    if (how.dmin) *msum = dot_sums(scales.min, scales.min_high, sums, how.group);
    return isum;
}

MLT_INLINE void rows_super(const uint8_t *const rows[MLT_PANEL_ROWS], const struct mlt_act *act,
                           int64_t number, float y[MLT_PANEL_ROWS], struct super how)
{
    const struct token token = token_of(act, number);
    for (int row = 0; row < MLT_PANEL_ROWS; row += MLT_UNPACK_ROWS) {
        const uint8_t *b[MLT_UNPACK_ROWS] = {rows[row], rows[row + 1], rows[row + 2], rows[row + 3]};
        float32x4_t sum = vdupq_n_f32(0.0f);
        for (int64_t i = 0; i < token.blocks; i++) {
            int32x4_t isums[MLT_UNPACK_ROWS], msums[MLT_UNPACK_ROWS];
            for (int r = 0; r < MLT_UNPACK_ROWS; r++)
                isums[r] =
                    super_sums(how, b[r], token.x + MLT_QK_K * i, token.sums + MLT_QK_K / 16 * i, &msums[r]);
            int32x4_t isum = reduce4(isums[0], isums[1], isums[2], isums[3]);
            float dx = token.dx[i];
            sum = vfmaq_f32(sum, vmulq_n_f32(mlt_halves4(b, (int)how.d), dx), vcvtq_f32_s32(isum));
            if (how.dmin) {
                int32x4_t msum = reduce4(msums[0], msums[1], msums[2], msums[3]);
                sum = vfmsq_f32(sum, vmulq_n_f32(mlt_halves4(b, (int)how.dmin), dx), vcvtq_f32_s32(msum));
            }
            for (int r = 0; r < MLT_UNPACK_ROWS; r++)
                b[r] += how.block_bytes;
        }
        vst1q_f32(y + row, sum);
    }
}

/* ---- The entries ---- */

#define SUPER_ENTRY(name, type, group, small, offset, scales, dmin)                                          \
    ROWS_ENTRY(type)                                                                                         \
    {                                                                                                        \
        rows_super(rows, act, token, y,                                                                      \
                   (struct super){sizeof(struct mlt_block_##type), offsetof(struct mlt_block_##type, d),     \
                                  dmin, group, offset, small, codes_##type, scales});                        \
    }

#define SUPER_DTYPES(X)                                                                                      \
    X(Q2_K, q2_K, 16, true, 0, scales_q2_K, offsetof(struct mlt_block_q2_K, dmin))                           \
    X(Q3_K, q3_K, 16, true, 4, scales_q3_K, 0)                                                               \
    X(Q4_K, q4_K, 32, true, 0, scales_q4_K, offsetof(struct mlt_block_q4_K, dmin))                           \
    X(Q5_K, q5_K, 32, true, 0, scales_q5_K, offsetof(struct mlt_block_q5_K, dmin))                           \
    X(Q6_K, q6_K, 16, true, 32, scales_q6_K, 0)                                                              \
    X(IQ4_XS, iq4_xs, 32, false, 0, scales_iq4_xs, 0)                                                        \
    X(TQ1_0, tq1_0, 32, true, 1, NULL, 0)                                                                    \
    X(TQ2_0, tq2_0, 32, true, 1, NULL, 0)

SUPER_DTYPES(SUPER_ENTRY)

MLT_INLINE void set_rows(struct mlt_kernels *table)
{
#define SET_ENTRY(name, type, ...) table->rows[MLT_##name] = rows_##type;
    BLOCK32_DTYPES(SET_ENTRY)
    SUPER_DTYPES(SET_ENTRY)
#undef SET_ENTRY
}

#endif
