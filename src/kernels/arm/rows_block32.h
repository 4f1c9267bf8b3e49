/*
 * Whole rows of 32-blocks with one token; a part of rows_template.h, which says what it needs and why.
 *
 * Per block of 32 columns of a row only the loads, the taking apart and the products are its own; the rest is
 * kept small: loads move their pointers on, integer sums are not set to zero for each block but run on, so
 * that the difference of two is a block's, and what a token needs is prepared for four blocks and eight rows.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_ROWS_BLOCK32_H
#define MLT_ROWS_BLOCK32_H

#include "kernels/arm/rows_read.h"

/* Takes what follows a block's scales: its rest. */
typedef struct codes take_codes(const uint8_t **b);

MLT_INLINE struct codes take_nibbles(const uint8_t **b)
{
    uint8x16_t bytes = take16(b);
    return (struct codes){vreinterpretq_s8_u8(mlt_low_nibbles(bytes)),
                          vreinterpretq_s8_u8(mlt_high_nibbles(bytes))};
}

/* Bit i of the four bytes before the nibbles is 16 in code i. */
MLT_INLINE struct codes take_five_bits(const uint8_t **b)
{
    static const uint8_t masks[16] = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
    static const uint8_t bytes[2][16] = {{0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1},
                                         {2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3}};
    const uint8x16_t mask = vld1q_u8(masks), sixteen = vdupq_n_u8(16);
    uint8x16_t bits = vreinterpretq_u8_u32(vdupq_n_u32(take4(b)));
    struct codes codes = take_nibbles(b);
    uint8x16_t low = vandq_u8(vtstq_u8(vqtbl1q_u8(bits, vld1q_u8(bytes[0])), mask), sixteen);
    uint8x16_t high = vandq_u8(vtstq_u8(vqtbl1q_u8(bits, vld1q_u8(bytes[1])), mask), sixteen);
    return (struct codes){vorrq_s8(codes.low, vreinterpretq_s8_u8(low)),
                          vorrq_s8(codes.high, vreinterpretq_s8_u8(high))};
}

MLT_INLINE struct codes take_iq4(const uint8_t **b)
{
    struct codes codes = take_nibbles(b);
    return (struct codes){values(mlt_iq4_values, codes.low), values(mlt_iq4_values, codes.high)};
}

MLT_INLINE struct codes take_e2m1(const uint8_t **b)
{
    struct codes codes = take_nibbles(b);
    return (struct codes){values(mlt_e2m1_doubled, codes.low), values(mlt_e2m1_doubled, codes.high)};
}

/* Takes the d, or the m, of a block of four rows. */
typedef float32x4_t take_scales(const uint8_t **b);

/* How the blocks of a dtype are read: their d, their m where `has_m`, then their codes. small: as dot32 wants
 * to know. */
struct block32 {
    take_scales *scales;
    take_codes *codes;
    bool has_m, small;
    int offset;
};

MLT_INLINE int32x4_t add_codes(int32x4_t sum, struct block32 how, const uint8_t **b, struct codes x)
{
    struct codes codes = how.codes(b);
    return dot32(sum, codes.low, x.low, codes.high, x.high, how.small);
}

/* A block of four rows; `lane`: where the token's numbers of the block are in dx and xsum. */
#define ADD_FOUR_ROWS(y, before, r0, r1, r2, r3, lane)                                                       \
    {                                                                                                        \
        MLT_KEEP_ORDER();                                                                                    \
        float32x4_t d = vmulq_laneq_f32(how.scales(&b[r0]), dx, lane), m = d;                                \
        if (how.has_m) m = take_halves4(&b[r0]);                                                             \
        sum##r0 = add_codes(sum##r0, how, &b[r0], x32);                                                      \
        sum##r1 = add_codes(sum##r1, how, &b[r1], x32);                                                      \
        sum##r2 = add_codes(sum##r2, how, &b[r2], x32);                                                      \
        sum##r3 = add_codes(sum##r3, how, &b[r3], x32);                                                      \
        uint32x4_t all = vreinterpretq_u32_s32(reduce4(sum##r0, sum##r1, sum##r2, sum##r3));                 \
        int32x4_t isum = vreinterpretq_s32_u32(vsubq_u32(all, before));                                      \
        before = all;                                                                                        \
        if (how.offset) isum = vmlsq_laneq_s32(isum, offset, xsum, lane);                                    \
        y = vfmaq_f32(y, d, vcvtq_f32_s32(isum));                                                            \
        if (how.has_m) y = vfmaq_laneq_f32(y, m, dx_xsum, lane);                                             \
    }
#define ADD_BLOCK(lane)                                                                                      \
    {                                                                                                        \
        MLT_KEEP_ORDER();                                                                                    \
        struct codes x32 = take_bytes(&x);                                                                   \
        ADD_FOUR_ROWS(y_low, before_low, 0, 1, 2, 3, lane)                                                   \
        ADD_FOUR_ROWS(y_high, before_high, 4, 5, 6, 7, lane)                                                 \
    }

MLT_INLINE void rows_block32(const uint8_t *const rows[MLT_PANEL_ROWS], const struct mlt_act *act,
                             int64_t number, float y[MLT_PANEL_ROWS], struct block32 how)
{
    const struct token token = token_of(act, number);
    int32x4_t offset = vdupq_n_s32(how.offset);
    __asm__("" : "+w"(offset)); /* else multiplying with it becomes shifts, which are more */
    for (int row = 0; row < MLT_PANEL_ROWS; row += 8) {
        const uint8_t *b[8] = {rows[row],     rows[row + 1], rows[row + 2], rows[row + 3],
                               rows[row + 4], rows[row + 5], rows[row + 6], rows[row + 7]};
        int32x4_t sum0 = vdupq_n_s32(0), sum1 = sum0, sum2 = sum0, sum3 = sum0, sum4 = sum0, sum5 = sum0,
                  sum6 = sum0, sum7 = sum0;
        uint32x4_t before_low = vdupq_n_u32(0), before_high = before_low;
        float32x4_t y_low = vdupq_n_f32(0.0f), y_high = y_low;
        const uint8_t *x = (const uint8_t *)token.x;
        int64_t i = 0;
        for (; i + 4 <= token.blocks; i += 4) {
            float32x4_t dx = vld1q_f32(token.dx + i);
            int32x4_t xsum = vpaddlq_s16(vld1q_s16(token.sums + 2 * i));
            float32x4_t dx_xsum = vmulq_f32(dx, vcvtq_f32_s32(xsum));
            ADD_BLOCK(0)
            ADD_BLOCK(1)
            ADD_BLOCK(2)
            ADD_BLOCK(3)
        }
        for (; i < token.blocks; i++) {
            float32x4_t dx = vdupq_n_f32(token.dx[i]);
            int32x4_t xsum = vdupq_n_s32(token.sums[2 * i] + token.sums[2 * i + 1]);
            float32x4_t dx_xsum = vmulq_f32(dx, vcvtq_f32_s32(xsum));
            ADD_BLOCK(0)
        }
        vst1q_f32(y + row, y_low);
        vst1q_f32(y + row + 4, y_high);
    }
}

#undef ADD_FOUR_ROWS
#undef ADD_BLOCK

#define BLOCK32_DTYPES(X)                                                                                    \
    X(Q4_0, q4_0, take_halves4, take_nibbles, false, true, 8)                                                \
    X(Q4_1, q4_1, take_halves4, take_nibbles, true, true, 0)                                                 \
    X(Q5_0, q5_0, take_halves4, take_five_bits, false, true, 16)                                             \
    X(Q5_1, q5_1, take_halves4, take_five_bits, true, true, 0)                                               \
    X(Q8_0, q8_0, take_halves4, take_bytes, false, false, 0)                                                 \
    X(IQ4_NL, iq4_nl, take_halves4, take_iq4, false, false, 0)                                               \
    X(MXFP4, mxfp4, take_exponents4, take_e2m1, false, true, 0)

#define BLOCK32_ENTRY(name, type, ...)                                                                       \
    ROWS_ENTRY(type)                                                                                         \
    {                                                                                                        \
        rows_block32(rows, act, token, y, (struct block32){__VA_ARGS__});                                    \
    }
BLOCK32_DTYPES(BLOCK32_ENTRY)
#undef BLOCK32_ENTRY

#endif
