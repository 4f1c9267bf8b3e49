/*
 * How rows_block32.h and rows_super.h read tokens and blocks.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_ROWS_READ_H
#define MLT_ROWS_READ_H

#include "kernels/arm/pairs_neon.h"
#include "kernels/arm/unpack_neon.h"

#include "tensor/quant_blocks.h"

#include <stddef.h>

/* The head of a function in the table. */
#define ROWS_ENTRY(type)                                                                                     \
    static void rows_##type(const uint8_t *const rows[MLT_PANEL_ROWS], const struct mlt_act *act,            \
                            int64_t token, float y[MLT_PANEL_ROWS])

/* A token's quantised row. */
struct token {
    const int8_t *x;
    const float *dx;
    const int16_t *sums;
    int64_t blocks;
};

MLT_INLINE struct token token_of(const struct mlt_act *act, int64_t token)
{
    int64_t blocks = act->columns / act->block;
    return (struct token){act->q + token * act->columns, act->d + token * blocks,
                          act->sums + token * (act->columns / 16), blocks};
}

/* Lane i has the sum of the lanes of v_i. */
MLT_INLINE int32x4_t reduce4(int32x4_t v0, int32x4_t v1, int32x4_t v2, int32x4_t v3)
{
    return vpaddq_s32(vpaddq_s32(v0, v1), vpaddq_s32(v2, v3));
}

MLT_INLINE int8x16_t values(const int8_t table[16], int8x16_t index)
{
    return vqtbl1q_s8(vld1q_s8(table), vreinterpretq_u8_s8(index));
}

/* Memory that an instruction reads. */
struct bytes_1 {
    uint8_t byte[1];
};
struct bytes_2 {
    uint8_t byte[2];
};

/*
 * take...(b): reads what *b points at and moves *b behind it. Written as post-indexed loads, so that moving
 * pointers costs no instructions; compilers find those of whole registers, but not of lanes and pairs.
 */
MLT_INLINE uint8x16_t take16(const uint8_t **b)
{
    uint8x16_t bytes = vld1q_u8(*b);
    *b += 16;
    return bytes;
}

/* 32 columns of a row or of a token. */
struct codes {
    int8x16_t low, high;
};

MLT_INLINE struct codes take_bytes(const uint8_t **b)
{
    struct mlt_pair bytes;
    MLT_TAKE_PAIR(bytes, *b, 32);
    return (struct codes){bytes.first, bytes.second};
}

MLT_INLINE uint32_t take4(const uint8_t **b)
{
    uint32_t value = mlt_load_u32(*b);
    *b += 4;
    return value;
}

/* An element of `bytes` bytes to lane 0, the others 0; and to another lane. width: b, h, s. */
#define TAKE_FIRST(v, width, bytes, b)                                                                       \
    __asm__("ldr %" width "0, [%1], #" #bytes                                                                \
            : "=w"(v), "+r"(*(b))                                                                            \
            : "m"(*(const struct bytes_##bytes *)*(b)))
#define TAKE_LANE(v, width, lane, bytes, b)                                                                  \
    __asm__("ld1 {%0." width "}[" #lane "], [%1], #" #bytes                                                  \
            : "+w"(v), "+r"(*(b))                                                                            \
            : "m"(*(const struct bytes_##bytes *)*(b)))

/* The next binary16 of rows b[0 .. 3]. */
MLT_INLINE float32x4_t take_halves4(const uint8_t **b)
{
    uint16x4_t halves;
    TAKE_FIRST(halves, "h", 2, b);
    TAKE_LANE(halves, "h", 1, 2, b + 1);
    TAKE_LANE(halves, "h", 2, 2, b + 2);
    TAKE_LANE(halves, "h", 3, 2, b + 3);
    return vcvt_f32_f16(vreinterpret_f16_u16(halves));
}

/* The next exponent byte of rows b[0 .. 3], as the scale of MXFP4. */
MLT_INLINE float32x4_t take_exponents4(const uint8_t **b)
{
    uint32x4_t exponents;
    TAKE_FIRST(exponents, "b", 1, b);
    TAKE_LANE(exponents, "b", 4, 1, b + 1);
    TAKE_LANE(exponents, "b", 8, 1, b + 2);
    TAKE_LANE(exponents, "b", 12, 1, b + 3);
    return mlt_scales_of_exponents(exponents);
}

#endif
