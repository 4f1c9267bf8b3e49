/*
 * The functions of kernels/math.h lane by lane: the same operations in the same order, both sides of each
 * branch computed and one selected.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_MATH_NEON_H
#define MLT_MATH_NEON_H

#include "kernels/arm/arm.h"
#include "kernels/math.h"

#include <arm_neon.h>

MLT_INLINE float32x4_t mlt_exp4(float32x4_t x)
{
    const float32x4_t magic = vdupq_n_f32(MLT_ROUND_MAGIC);
    float32x4_t n = vsubq_f32(vaddq_f32(vmulq_n_f32(x, MLT_LOG2E), magic), magic);
    float32x4_t r = vfmaq_n_f32(x, n, -MLT_LN2_HI);
    r = vfmaq_n_f32(r, n, -MLT_LN2_LO);
    float32x4_t p = vdupq_n_f32(MLT_EXP_C0);
    p = vfmaq_f32(vdupq_n_f32(MLT_EXP_C1), p, r);
    p = vfmaq_f32(vdupq_n_f32(MLT_EXP_C2), p, r);
    p = vfmaq_f32(vdupq_n_f32(MLT_EXP_C3), p, r);
    p = vfmaq_f32(vdupq_n_f32(MLT_EXP_C4), p, r);
    p = vfmaq_f32(vdupq_n_f32(MLT_EXP_C5), p, r);
    p = vfmaq_f32(vaddq_f32(r, vdupq_n_f32(1.0f)), p, vmulq_f32(r, r));
    int32x4_t i = vcvtq_s32_f32(n), half = vshrq_n_s32(i, 1), bias = vdupq_n_s32(127);
    p = vmulq_f32(p, vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(half, bias), 23)));
    p = vmulq_f32(p, vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(vsubq_s32(i, half), bias), 23)));

    p = vbslq_f32(vcgtq_f32(x, vdupq_n_f32(MLT_EXP_MAX)), vdupq_n_f32(INFINITY), p);
    p = vbslq_f32(vcltq_f32(x, vdupq_n_f32(MLT_EXP_MIN)), vdupq_n_f32(0.0f), p);
    return vbslq_f32(vceqq_f32(x, x), p, x);
}

MLT_INLINE float32x4_t mlt_tanh4(float32x4_t x)
{
    float32x4_t z = vmulq_f32(x, x), p = vdupq_n_f32(MLT_TANH_C0), one = vdupq_n_f32(1.0f);
    p = vfmaq_f32(vdupq_n_f32(MLT_TANH_C1), p, z);
    p = vfmaq_f32(vdupq_n_f32(MLT_TANH_C2), p, z);
    p = vfmaq_f32(vdupq_n_f32(MLT_TANH_C3), p, z);
    p = vfmaq_f32(vdupq_n_f32(MLT_TANH_C4), p, z);
    float32x4_t small = vfmaq_f32(x, vmulq_f32(p, z), x);

    float32x4_t a = vabsq_f32(x);
    float32x4_t t = vsubq_f32(one, vdivq_f32(vdupq_n_f32(2.0f), vaddq_f32(mlt_exp4(vaddq_f32(a, a)), one)));
    t = vbslq_f32(vcltzq_f32(x), vnegq_f32(t), t);
    return vbslq_f32(vcgeq_f32(a, vdupq_n_f32(MLT_TANH_SMALL)), t, small);
}

MLT_INLINE float32x4_t mlt_silu4(float32x4_t x)
{
    return vdivq_f32(x, vaddq_f32(vdupq_n_f32(1.0f), mlt_exp4(vnegq_f32(x))));
}

MLT_INLINE float32x4_t mlt_gelu4(float32x4_t x)
{
    float32x4_t one = vdupq_n_f32(1.0f);
    float32x4_t inner = vmulq_f32(vmulq_n_f32(x, MLT_GELU_A), vfmaq_f32(one, vmulq_n_f32(x, MLT_GELU_B), x));
    return vmulq_f32(vmulq_n_f32(x, 0.5f), vaddq_f32(one, mlt_tanh4(inner)));
}

#endif
