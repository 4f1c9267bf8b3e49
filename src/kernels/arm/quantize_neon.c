/*
 * Activations to int8. Contract: struct mlt_act in kernels.h.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "kernels/arm/arm.h"
#include "kernels/math.h"

#include <arm_neon.h>

/* The largest magnitude of a block by its bits: for non-negative floats they order like integers, NaN above
 * infinity. */
static uint32_t largest_bits(const float *x, int n)
{
    uint32x4_t magnitude = vdupq_n_u32(0x7fffffff), a = vdupq_n_u32(0), b = a;
    for (int i = 0; i < n; i += 8) {
        a = vmaxq_u32(a, vandq_u32(vreinterpretq_u32_f32(vld1q_f32(x + i)), magnitude));
        b = vmaxq_u32(b, vandq_u32(vreinterpretq_u32_f32(vld1q_f32(x + i + 4)), magnitude));
    }
    return vmaxvq_u32(vmaxq_u32(a, b));
}

/* Sixteen values to int8 in [-127, 127]; the conversion is to the nearest even integer in any rounding mode.
 */
static int8x16_t quantize16(const float *x, float scale)
{
    int32x4_t a = vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x), scale));
    int32x4_t b = vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x + 4), scale));
    int32x4_t c = vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x + 8), scale));
    int32x4_t d = vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x + 12), scale));
    int16x8_t ab = vcombine_s16(vqmovn_s32(a), vqmovn_s32(b)),
              cd = vcombine_s16(vqmovn_s32(c), vqmovn_s32(d));
    return vmaxq_s8(vcombine_s8(vqmovn_s16(ab), vqmovn_s16(cd)), vdupq_n_s8(-127));
}

void mlt_quantize_neon(const float *x, int64_t columns, int block, int8_t *q, float *d, int16_t *sums,
                       int16_t *reach)
{
    const uint32_t zero_below = mlt_float_bits(0x1p-100f), infinity = mlt_float_bits(INFINITY);
    for (int64_t at = 0; at < columns; at += block) {
        uint32_t bits = largest_bits(x + at, block);
        if (bits < zero_below || bits >= infinity) {
            d[at / block] = bits >= infinity ? NAN : 0.0f;
            memset(q + at, 0, (size_t)block);
            memset(sums + at / 16, 0, (size_t)block / 16 * sizeof *sums);
            reach[at / block] = 0;
            continue;
        }
        float largest = mlt_bits_to_float(bits), scale = 127.0f / largest;
        d[at / block] = largest / 127.0f;
        int16_t most = 0;
        for (int64_t i = at; i < at + block; i += 16) {
            int8x16_t codes = quantize16(x + i, scale);
            vst1q_s8(q + i, codes);
            sums[i / 16] = vaddlvq_s8(codes);
            most = MLT_MAX(most, (int16_t)vaddlvq_u8(vreinterpretq_u8_s8(vabsq_s8(codes))));
        }
        reach[at / block] = most;
    }
}
