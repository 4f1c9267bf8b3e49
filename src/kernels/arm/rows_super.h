/*
 * Whole rows of superblocks with one token; a part of rows_template.h, which says what it needs and why.
 *
 * A superblock's integer sum is the sum over its groups g of scale[g] * p[g], p the products' sums. The
 * products' sums run on from group to group, t[g] = p[0] + ... + p[g], and are multiplied with the
 * differences of neighbouring scales: sum of (scale[g] - scale[g + 1]) * t[g], the scale behind the last
 * being 0. It is the same sum, mod 2^32 on the way, without setting a register to zero for each group.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_ROWS_SUPER_H
#define MLT_ROWS_SUPER_H

#include "kernels/arm/rows_read.h"

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

/* ---- Scales ---- */

/* A superblock's sub-scales and mins by group; high: groups 8..15, where there are as many. */
struct group_scales {
    int16x8_t scale, scale_high, min, min_high;
};

/* What four rows' superblocks have beside codes. */
struct super_scales {
    struct group_scales rows[MLT_UNPACK_ROWS];
    float32x4_t d, dmin; /* a row in each lane */
};

typedef void read_super_scales(const uint8_t *const b[MLT_UNPACK_ROWS], struct super_scales *scales);

/* Four bits of one byte and two of another make a 6-bit number; `high` has its two bits at 4 and 5 already.
 */
MLT_INLINE uint32x4_t six_bits(uint32x4_t low, uint32x4_t high)
{
    return vorrq_u32(vandq_u32(low, vdupq_n_u32(0x0f0f0f0f)), vandq_u32(high, vdupq_n_u32(0x30303030)));
}

/* Bytes 0 .. 7 and 8 .. 15 to 16 bits. */
MLT_INLINE int16x8_t first_unsigned(uint8x16_t bytes)
{
    return vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(bytes)));
}

MLT_INLINE int16x8_t last_unsigned(uint8x16_t bytes)
{
    return vreinterpretq_s16_u16(vmovl_high_u8(bytes));
}

/* Both begin with d, dmin and twelve bytes of scales and mins: sixteen bytes, read as four words a row. */
MLT_INLINE void scales_q4_K(const uint8_t *const b[MLT_UNPACK_ROWS], struct super_scales *scales)
{
    struct mlt_words words = mlt_load_words(b, 0);
    uint32x4_t halves = vreinterpretq_u32_u8(words.v[0]), s = vreinterpretq_u32_u8(words.v[1]),
               m = vreinterpretq_u32_u8(words.v[2]), rest = vreinterpretq_u32_u8(words.v[3]);
    scales->d = vcvt_f32_f16(vreinterpret_f16_u16(vmovn_u32(halves)));
    scales->dmin = vcvt_f32_f16(vreinterpret_f16_u16(vshrn_n_u32(halves, 16)));
    const uint32x4_t six = vdupq_n_u32(0x3f3f3f3f);
    /* Groups 0 .. 3 and 4 .. 7 of four rows; then all groups of two rows. */
    uint32x4_t s0 = vandq_u32(s, six), s4 = six_bits(rest, vshrq_n_u32(s, 2));
    uint32x4_t m0 = vandq_u32(m, six), m4 = six_bits(vshrq_n_u32(rest, 4), vshrq_n_u32(m, 2));
    uint8x16_t s01 = vreinterpretq_u8_u32(vzip1q_u32(s0, s4)), s23 = vreinterpretq_u8_u32(vzip2q_u32(s0, s4));
    uint8x16_t m01 = vreinterpretq_u8_u32(vzip1q_u32(m0, m4)), m23 = vreinterpretq_u8_u32(vzip2q_u32(m0, m4));
    scales->rows[0] = (struct group_scales){.scale = first_unsigned(s01), .min = first_unsigned(m01)};
    scales->rows[1] = (struct group_scales){.scale = last_unsigned(s01), .min = last_unsigned(m01)};
    scales->rows[2] = (struct group_scales){.scale = first_unsigned(s23), .min = first_unsigned(m23)};
    scales->rows[3] = (struct group_scales){.scale = last_unsigned(s23), .min = last_unsigned(m23)};
}

MLT_INLINE void scales_q2_K(const uint8_t *const b[MLT_UNPACK_ROWS], struct super_scales *scales)
{
    for (int r = 0; r < MLT_UNPACK_ROWS; r++) {
        uint8x16_t bytes = vld1q_u8(b[r] + offsetof(struct mlt_block_q2_K, scales));
        uint8x16_t low = mlt_low_nibbles(bytes), high = mlt_high_nibbles(bytes);
        scales->rows[r] = (struct group_scales){first_unsigned(low), last_unsigned(low), first_unsigned(high),
                                                last_unsigned(high)};
    }
    scales->d = mlt_halves4(b, offsetof(struct mlt_block_q2_K, d));
    scales->dmin = mlt_halves4(b, offsetof(struct mlt_block_q2_K, dmin));
}

MLT_INLINE struct group_scales signed_scales(int8x16_t bytes)
{
    return (struct group_scales){.scale = vmovl_s8(vget_low_s8(bytes)), .scale_high = vmovl_high_s8(bytes)};
}

MLT_INLINE void scales_q3_K(const uint8_t *const b[MLT_UNPACK_ROWS], struct super_scales *scales)
{
    const int at = offsetof(struct mlt_block_q3_K, scales);
    uint32x4_t first = mlt_words4(b, at), second = mlt_words4(b, at + 4), top = mlt_words4(b, at + 8);
    /* Groups 0 .. 3, 4 .. 7, 8 .. 11, 12 .. 15 of four rows. */
    uint32x4_t words[4] = {six_bits(first, vshlq_n_u32(top, 4)), six_bits(second, vshlq_n_u32(top, 2)),
                           six_bits(vshrq_n_u32(first, 4), top),
                           six_bits(vshrq_n_u32(second, 4), vshrq_n_u32(top, 2))};
    struct mlt_words rows = mlt_transpose_words(words[0], words[1], words[2], words[3]);
    for (int r = 0; r < MLT_UNPACK_ROWS; r++)
        scales->rows[r] = signed_scales(vsubq_s8(vreinterpretq_s8_u8(rows.v[r]), vdupq_n_s8(32)));
    scales->d = mlt_halves4(b, offsetof(struct mlt_block_q3_K, d));
}

MLT_INLINE void scales_q6_K(const uint8_t *const b[MLT_UNPACK_ROWS], struct super_scales *scales)
{
    for (int r = 0; r < MLT_UNPACK_ROWS; r++)
        scales->rows[r] =
            signed_scales(vreinterpretq_s8_u8(vld1q_u8(b[r] + offsetof(struct mlt_block_q6_K, scales))));
    scales->d = mlt_halves4(b, offsetof(struct mlt_block_q6_K, d));
}

MLT_INLINE void scales_iq4_xs(const uint8_t *const b[MLT_UNPACK_ROWS], struct super_scales *scales)
{
    static const int32_t low_shifts[8] = {0, -4, -8, -12, -16, -20, -24, -28};
    static const int16_t high_shifts[8] = {4, 2, 0, -2, -4, -6, -8, -10};
    for (int r = 0; r < MLT_UNPACK_ROWS; r++) {
        uint32x4_t words = vdupq_n_u32(mlt_load_u32(b[r] + offsetof(struct mlt_block_iq4_xs, scales_l)));
        uint16x8_t low = vcombine_u16(vmovn_u32(vshlq_u32(words, vld1q_s32(low_shifts))),
                                      vmovn_u32(vshlq_u32(words, vld1q_s32(low_shifts + 4))));
        uint16x8_t high = vdupq_n_u16(mlt_load_u16(b[r] + offsetof(struct mlt_block_iq4_xs, scales_h)));
        high = vshlq_u16(high, vld1q_s16(high_shifts));
        uint16x8_t joined = vorrq_u16(vandq_u16(low, vdupq_n_u16(15)), vandq_u16(high, vdupq_n_u16(0x30)));
        scales->rows[r] =
            (struct group_scales){.scale = vsubq_s16(vreinterpretq_s16_u16(joined), vdupq_n_s16(32))};
    }
    scales->d = mlt_halves4(b, offsetof(struct mlt_block_iq4_xs, d));
}

MLT_INLINE void scales_tq1_0(const uint8_t *const b[MLT_UNPACK_ROWS], struct super_scales *scales)
{
    scales->d = mlt_halves4(b, offsetof(struct mlt_block_tq1_0, d));
}

MLT_INLINE void scales_tq2_0(const uint8_t *const b[MLT_UNPACK_ROWS], struct super_scales *scales)
{
    scales->d = mlt_halves4(b, offsetof(struct mlt_block_tq2_0, d));
}

/* ---- Sums ---- */

/* How the superblocks of a dtype are read. */
struct super {
    size_t block_bytes;
    int group; /* columns of a group: 16, 32, or 256 where there are no sub-scales */
    int offset;
    bool has_min;
    bool small; /* as dot32 wants to know */
    read_codes *codes;
    read_super_scales *scales;
};

/* The token's sums of eight groups, the first or (high) the last ones. */
struct group_sums {
    int16x8_t low, high;
};

MLT_INLINE struct group_sums group_sums(const int16_t *sums, int group)
{
    struct group_sums x = {vld1q_s16(sums), vld1q_s16(sums + 8)};
    if (group == 32) x.low = vpaddq_s16(x.low, x.high);
    return x;
}

/* The sum over groups of factor * the token's sum, over four lanes. */
MLT_INLINE int32x4_t dot_sums(int16x8_t factor, int16x8_t factor_high, struct group_sums x, int group)
{
    int32x4_t sum = vmull_s16(vget_low_s16(factor), vget_low_s16(x.low));
    sum = vmlal_high_s16(sum, factor, x.low);
    if (group == 32) return sum;
    sum = vmlal_s16(sum, vget_low_s16(factor_high), vget_low_s16(x.high));
    return vmlal_high_s16(sum, factor_high, x.high);
}

/* Adds columns 16 c .. 16 c + 31 to the running sum. */
#define DOT_PAIR(c)                                                                                          \
    {                                                                                                        \
        struct codes x32 = take_bytes(&x);                                                                   \
        total = dot32(total, how.codes(block, c), x32.low, how.codes(block, (c) + 1), x32.high, how.small);  \
    }
#define DOT_ALL                                                                                              \
    DOT_PAIR(0) DOT_PAIR(2) DOT_PAIR(4) DOT_PAIR(6) DOT_PAIR(8) DOT_PAIR(10) DOT_PAIR(12) DOT_PAIR(14)
#define ADD_SCALED(lane)                                                                                     \
    isum = vmlaq_laneq_s32(isum, total, by, lane);                                                           \
    __asm__("" : "+w"(total), "+w"(isum)); /* in this order: a copy of `total` for later costs a move */
/* Two groups from column 16 c on; first, second: lanes of `by` with their differences of scales. */
#define TWO_GROUPS_OF_32(c, first, second) DOT_PAIR(c) ADD_SCALED(first) DOT_PAIR((c) + 2) ADD_SCALED(second)
#define TWO_GROUPS_OF_16(c, first, second)                                                                   \
    {                                                                                                        \
        struct codes x32 = take_bytes(&x);                                                                   \
        total = dot16(total, how.codes(block, c), x32.low);                                                  \
        ADD_SCALED(first)                                                                                    \
        total = dot16(total, how.codes(block, (c) + 1), x32.high);                                           \
        ADD_SCALED(second)                                                                                   \
    }
/* Four groups from column 16 c on; differences: of their scales, each with the next one. */
#define FOUR_GROUPS_OF_32(c, differences)                                                                    \
    {                                                                                                        \
        int32x4_t by = differences;                                                                          \
        TWO_GROUPS_OF_32(c, 0, 1) TWO_GROUPS_OF_32((c) + 4, 2, 3)                                            \
    }
#define FOUR_GROUPS_OF_16(c, differences)                                                                    \
    {                                                                                                        \
        int32x4_t by = differences;                                                                          \
        TWO_GROUPS_OF_16(c, 0, 1) TWO_GROUPS_OF_16((c) + 2, 2, 3)                                            \
    }

/* The integer sum of a row's superblock over four lanes. */
MLT_INLINE int32x4_t super_sum(struct super how, const uint8_t *block, const uint8_t *x,
                               struct group_scales scales, struct group_sums sums)
{
    int32x4_t total = vdupq_n_s32(0), isum = total;
    if (how.group == 256) {
        int32x4_t all = vpadalq_s16(vpaddlq_s16(sums.low), sums.high);
        DOT_ALL
        return vmlsq_n_s32(total, all, how.offset);
    }
    int16x8_t behind = how.group == 16 ? scales.scale_high : vdupq_n_s16(0);
    int16x8_t low = vsubq_s16(scales.scale, vextq_s16(scales.scale, behind, 1));
    if (how.group == 16) {
        int16x8_t high = vsubq_s16(behind, vextq_s16(behind, vdupq_n_s16(0), 1));
        FOUR_GROUPS_OF_16(0, vmovl_s16(vget_low_s16(low)))
        FOUR_GROUPS_OF_16(4, vmovl_high_s16(low))
        FOUR_GROUPS_OF_16(8, vmovl_s16(vget_low_s16(high)))
        FOUR_GROUPS_OF_16(12, vmovl_high_s16(high))
    } else {
        FOUR_GROUPS_OF_32(0, vmovl_s16(vget_low_s16(low)))
        FOUR_GROUPS_OF_32(8, vmovl_high_s16(low))
    }
    if (how.offset)
        isum = vmlsq_n_s32(isum, dot_sums(scales.scale, scales.scale_high, sums, how.group), how.offset);
    return isum;
}

#undef DOT_PAIR
#undef DOT_ALL
#undef ADD_SCALED
#undef TWO_GROUPS_OF_32
#undef TWO_GROUPS_OF_16
#undef FOUR_GROUPS_OF_32
#undef FOUR_GROUPS_OF_16

MLT_INLINE void rows_super(const uint8_t *const rows[MLT_PANEL_ROWS], const struct mlt_act *act,
                           int64_t number, float y[MLT_PANEL_ROWS], struct super how)
{
    const struct token token = token_of(act, number);
    for (int row = 0; row < MLT_PANEL_ROWS; row += MLT_UNPACK_ROWS) {
        const uint8_t *b[MLT_UNPACK_ROWS] = {rows[row], rows[row + 1], rows[row + 2], rows[row + 3]};
        float32x4_t sum = vdupq_n_f32(0.0f);
        for (int64_t i = 0; i < token.blocks; i++) {
            const uint8_t *x = (const uint8_t *)token.x + MLT_QK_K * i;
            struct group_sums sums = group_sums(token.sums + MLT_QK_K / 16 * i, how.group);
            struct super_scales scales = {0};
            how.scales(b, &scales);
            float dx = token.dx[i];
            int32x4_t msum = vdupq_n_s32(0);
            if (how.has_min) {
                int32x4_t m[MLT_UNPACK_ROWS];
                for (int r = 0; r < MLT_UNPACK_ROWS; r++)
                    m[r] = dot_sums(scales.rows[r].min, scales.rows[r].min_high, sums, how.group);
                msum = reduce4(m[0], m[1], m[2], m[3]);
            }
            int32x4_t isums[MLT_UNPACK_ROWS];
            MLT_UNROLL(4)
            for (int r = 0; r < MLT_UNPACK_ROWS; r++) {
                MLT_KEEP_ORDER();
                isums[r] = super_sum(how, b[r], x, scales.rows[r], sums);
            }
            int32x4_t isum = reduce4(isums[0], isums[1], isums[2], isums[3]);
            sum = vfmaq_f32(sum, vmulq_n_f32(scales.d, dx), vcvtq_f32_s32(isum));
            if (how.has_min) sum = vfmsq_f32(sum, vmulq_n_f32(scales.dmin, dx), vcvtq_f32_s32(msum));
            for (int r = 0; r < MLT_UNPACK_ROWS; r++)
                b[r] += how.block_bytes;
        }
        vst1q_f32(y + row, sum);
    }
}

/* ---- The entries ---- */

#define SUPER_DTYPES(X)                                                                                      \
    X(Q2_K, q2_K, 16, 0, true, true, codes_q2_K, scales_q2_K)                                                \
    X(Q3_K, q3_K, 16, 4, false, true, codes_q3_K, scales_q3_K)                                               \
    X(Q4_K, q4_K, 32, 0, true, true, codes_q4_K, scales_q4_K)                                                \
    X(Q5_K, q5_K, 32, 0, true, true, codes_q5_K, scales_q4_K)                                                \
    X(Q6_K, q6_K, 16, 32, false, true, codes_q6_K, scales_q6_K)                                              \
    X(IQ4_XS, iq4_xs, 32, 0, false, false, codes_iq4_xs, scales_iq4_xs)                                      \
    X(TQ1_0, tq1_0, 256, 1, false, true, codes_tq1_0, scales_tq1_0)                                          \
    X(TQ2_0, tq2_0, 256, 1, false, true, codes_tq2_0, scales_tq2_0)

#define SUPER_ENTRY(name, type, ...)                                                                         \
    ROWS_ENTRY(type)                                                                                         \
    {                                                                                                        \
        rows_super(rows, act, token, y, (struct super){sizeof(struct mlt_block_##type), __VA_ARGS__});       \
    }
SUPER_DTYPES(SUPER_ENTRY)
#undef SUPER_ENTRY

#endif
