/*
 * Sixteen floats at a time: the lanes16 and tree16 of kernels.h in four registers, and the ways to fill them.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_LANES_NEON_H
#define MLT_LANES_NEON_H

#include "kernels/arm/arm.h"

#include <arm_neon.h>
#include <string.h>

/* Lane i is lane i % 4 of v[i / 4]. */
struct mlt_lanes {
    float32x4_t v[4];
};

/* Sixteen elements of F32, F16 or BF16 at any address, converted exactly. */
typedef struct mlt_lanes mlt_load_lanes(const uint8_t *bytes);

MLT_INLINE struct mlt_lanes mlt_load_f32(const uint8_t *bytes)
{
    return (struct mlt_lanes){
        {vreinterpretq_f32_u8(vld1q_u8(bytes)), vreinterpretq_f32_u8(vld1q_u8(bytes + 16)),
         vreinterpretq_f32_u8(vld1q_u8(bytes + 32)), vreinterpretq_f32_u8(vld1q_u8(bytes + 48))}};
}

/* Elements 0 .. 7 and 8 .. 15 of F16, or of BF16. */
MLT_INLINE struct mlt_lanes mlt_halves_to_lanes(uint8x16_t first, uint8x16_t last)
{
    float16x8_t low = vreinterpretq_f16_u8(first), high = vreinterpretq_f16_u8(last);
    return (struct mlt_lanes){{vcvt_f32_f16(vget_low_f16(low)), vcvt_high_f32_f16(low),
                               vcvt_f32_f16(vget_low_f16(high)), vcvt_high_f32_f16(high)}};
}

MLT_INLINE struct mlt_lanes mlt_bf16_to_lanes(uint8x16_t first, uint8x16_t last)
{
    uint16x8_t low = vreinterpretq_u16_u8(first), high = vreinterpretq_u16_u8(last);
    return (struct mlt_lanes){{vreinterpretq_f32_u32(vshll_n_u16(vget_low_u16(low), 16)),
                               vreinterpretq_f32_u32(vshll_high_n_u16(low, 16)),
                               vreinterpretq_f32_u32(vshll_n_u16(vget_low_u16(high), 16)),
                               vreinterpretq_f32_u32(vshll_high_n_u16(high, 16))}};
}

MLT_INLINE struct mlt_lanes mlt_load_f16(const uint8_t *bytes)
{
    return mlt_halves_to_lanes(vld1q_u8(bytes), vld1q_u8(bytes + 16));
}

MLT_INLINE struct mlt_lanes mlt_load_bf16(const uint8_t *bytes)
{
    return mlt_bf16_to_lanes(vld1q_u8(bytes), vld1q_u8(bytes + 16));
}

/* The first n < 16 elements, then zeros; nothing behind them is read. */
MLT_INLINE struct mlt_lanes mlt_load_some(mlt_load_lanes *load, size_t element_bytes, const uint8_t *bytes,
                                          int n)
{
    uint8_t padded[64] = {0};
    memcpy(padded, bytes, (size_t)n * element_bytes);
    return load(padded);
}

MLT_INLINE struct mlt_lanes mlt_load_floats(const float *x)
{
    return (struct mlt_lanes){{vld1q_f32(x), vld1q_f32(x + 4), vld1q_f32(x + 8), vld1q_f32(x + 12)}};
}

MLT_INLINE struct mlt_lanes mlt_load_some_floats(const float *x, int n)
{
    float padded[16] = {0};
    memcpy(padded, x, (size_t)n * sizeof *x);
    return mlt_load_floats(padded);
}

MLT_INLINE void mlt_store_floats(float *y, struct mlt_lanes lanes)
{
    for (int i = 0; i < 4; i++)
        vst1q_f32(y + 4 * i, lanes.v[i]);
}

MLT_INLINE void mlt_store_some_floats(float *y, struct mlt_lanes lanes, int n)
{
    float padded[16];
    mlt_store_floats(padded, lanes);
    memcpy(y, padded, (size_t)n * sizeof *y);
}

MLT_INLINE struct mlt_lanes mlt_zero_lanes(void)
{
    float32x4_t zero = vdupq_n_f32(0.0f);
    return (struct mlt_lanes){{zero, zero, zero, zero}};
}

/* Lanes below n of `some`, the others of `rest`: what a sum needs whose last terms fill only some lanes,
 * since adding a zero could turn -0 into +0. */
MLT_INLINE struct mlt_lanes mlt_first_lanes(int n, struct mlt_lanes some, struct mlt_lanes rest)
{
    static const int32_t numbers[4] = {0, 1, 2, 3};
    int32x4_t index = vld1q_s32(numbers);
    for (int i = 0; i < 4; i++)
        rest.v[i] = vbslq_f32(vcltq_s32(index, vdupq_n_s32(n - 4 * i)), some.v[i], rest.v[i]);
    return rest;
}

/* The four t of tree16. */
MLT_INLINE float32x4_t mlt_tree_top(float32x4_t p0, float32x4_t p1, float32x4_t p2, float32x4_t p3)
{
    return vaddq_f32(vaddq_f32(p0, p2), vaddq_f32(p1, p3));
}

MLT_INLINE float mlt_tree_lanes(struct mlt_lanes p)
{
    float32x4_t t = mlt_tree_top(p.v[0], p.v[1], p.v[2], p.v[3]);
    float32x4_t pairs = vpaddq_f32(t, t);
    return vpadds_f32(vget_low_f32(pairs));
}

#endif
