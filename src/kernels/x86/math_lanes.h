/*
 * The functions of kernels/math.h, operation by operation, on sixteen lanes; and tree16.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_MATH_LANES_H
#define MLT_MATH_LANES_H

#include "kernels/math.h"

static inline vf vf_exp(vf x)
{
    vf magic = vf_set(MLT_ROUND_MAGIC);
    vf n = vf_sub(vf_add(vf_mul(x, vf_set(MLT_LOG2E)), magic), magic);
    vf r = vf_fma(n, vf_set(-MLT_LN2_HI), x);
    r = vf_fma(n, vf_set(-(MLT_LN2_LO)), r);
    vf p = vf_set(MLT_EXP_C0);
    p = vf_fma(p, r, vf_set(MLT_EXP_C1));
    p = vf_fma(p, r, vf_set(MLT_EXP_C2));
    p = vf_fma(p, r, vf_set(MLT_EXP_C3));
    p = vf_fma(p, r, vf_set(MLT_EXP_C4));
    p = vf_fma(p, r, vf_set(MLT_EXP_C5));
    p = vf_fma(p, vf_mul(r, r), vf_add(r, vf_set(1.0f)));
    vi i = vi_from_vf(n), half = vi_sar32(i, 1), bias = vi_set32(127);
    p = vf_mul(p, vf_as_bits(vi_shl32(vi_add32(half, bias), 23)));
    p = vf_mul(p, vf_as_bits(vi_shl32(vi_add32(vi_sub32(i, half), bias), 23)));
    p = vf_choose(vm_less(x, vf_set(MLT_EXP_MIN)), vf_set(0.0f), p);
    return vf_choose(vm_less(vf_set(MLT_EXP_MAX), x), vf_set(INFINITY), p);
}

static inline vf vf_negate(vf x)
{
    return vf_flip_sign(x, vf_set(-0.0f));
}

static inline vf vf_tanh(vf x)
{
    vf a = vf_abs(x), z = vf_mul(x, x), one = vf_set(1.0f);
    vf p = vf_set(MLT_TANH_C0);
    p = vf_fma(p, z, vf_set(MLT_TANH_C1));
    p = vf_fma(p, z, vf_set(MLT_TANH_C2));
    p = vf_fma(p, z, vf_set(MLT_TANH_C3));
    p = vf_fma(p, z, vf_set(MLT_TANH_C4));
    p = vf_fma(vf_mul(p, z), x, x);
    vf t = vf_sub(one, vf_div(vf_set(2.0f), vf_add(vf_exp(vf_add(a, a)), one)));
    return vf_choose(vm_not_less(a, vf_set(MLT_TANH_SMALL)), vf_flip_sign(t, x), p);
}

static inline vf vf_silu(vf x)
{
    return vf_div(x, vf_add(vf_set(1.0f), vf_exp(vf_negate(x))));
}

static inline vf vf_gelu(vf x)
{
    vf one = vf_set(1.0f);
    vf inner = vf_mul(vf_mul(vf_set(MLT_GELU_A), x), vf_fma(vf_mul(vf_set(MLT_GELU_B), x), x, one));
    return vf_mul(vf_mul(vf_set(0.5f), x), vf_add(one, vf_tanh(inner)));
}

static inline float vf_tree16(vf p)
{
    __m128 t = vf_tree4(p);
    t = _mm_hadd_ps(t, t);
    return _mm_cvtss_f32(_mm_hadd_ps(t, t));
}

#endif
