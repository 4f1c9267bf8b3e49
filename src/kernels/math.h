/*
 * The elementary functions of Millet's arithmetic: defined by these float operations, the same on every
 * machine.
 *
 * Polynomials after S. L. Moshier's Cephes library (expf, tanhf); errors against the true functions are at
 * most 2 ulp (a test measures them). SIMD variants repeat the operations lane by lane.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_MATH_H
#define MLT_MATH_H

#include <math.h>
#include <stdint.h>
#include <string.h>

static inline float mlt_bits_to_float(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static inline uint32_t mlt_float_bits(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

/* Adding and subtracting 1.5 * 2^23 rounds to the nearest even integer for |x| < 2^22. */
#define MLT_ROUND_MAGIC 12582912.0f

#define MLT_LOG2E 1.44269504088896341f
#define MLT_LN2_HI 0.693359375f
#define MLT_LN2_LO -2.12194440e-4f
/* Below MLT_EXP_MIN the result would be subnormal: it is 0. Above MLT_EXP_MAX it is infinite. */
#define MLT_EXP_MIN -87.3365402f
#define MLT_EXP_MAX 88.7228317f

#define MLT_EXP_C0 1.9875691500e-4f
#define MLT_EXP_C1 1.3981999507e-3f
#define MLT_EXP_C2 8.3334519073e-3f
#define MLT_EXP_C3 4.1665795894e-2f
#define MLT_EXP_C4 1.6666665459e-1f
#define MLT_EXP_C5 5.0000001201e-1f

/*
 * e^x: n = round(x * log2 e); r = x - n ln 2 in two steps; p(r) by Horner's rule; times 2^n in two halves, so
 * that n = 128 is reached without overflow. NaN gives NaN.
 */
static inline float mlt_exp(float x)
{
    if (!(x >= MLT_EXP_MIN)) return x != x ? x : 0.0f;
    if (x > MLT_EXP_MAX) return INFINITY;
    float n = (x * MLT_LOG2E + MLT_ROUND_MAGIC) - MLT_ROUND_MAGIC;
    float r = fmaf(n, -MLT_LN2_HI, x);
    r = fmaf(n, -MLT_LN2_LO, r);
    float p = MLT_EXP_C0;
    p = fmaf(p, r, MLT_EXP_C1);
    p = fmaf(p, r, MLT_EXP_C2);
    p = fmaf(p, r, MLT_EXP_C3);
    p = fmaf(p, r, MLT_EXP_C4);
    p = fmaf(p, r, MLT_EXP_C5);
    p = fmaf(p, r * r, r + 1.0f);
    int32_t i = (int32_t)n, half = i >> 1; /* arithmetic shift: rounds down for negative n too */
    p = p * mlt_bits_to_float((uint32_t)(half + 127) << 23);
    return p * mlt_bits_to_float((uint32_t)(i - half + 127) << 23);
}

#define MLT_TANH_SMALL 0.625f
#define MLT_TANH_C0 -5.70498872745e-3f
#define MLT_TANH_C1 2.06390887954e-2f
#define MLT_TANH_C2 -5.37397155531e-2f
#define MLT_TANH_C3 1.33314422036e-1f
#define MLT_TANH_C4 -3.33332819422e-1f

/* tanh: an odd polynomial below 0.625, else 1 - 2 / (e^(2|x|) + 1) with the sign of x. */
static inline float mlt_tanh(float x)
{
    float a = fabsf(x);
    if (!(a >= MLT_TANH_SMALL)) { /* NaN too */
        float z = x * x;
        float p = MLT_TANH_C0;
        p = fmaf(p, z, MLT_TANH_C1);
        p = fmaf(p, z, MLT_TANH_C2);
        p = fmaf(p, z, MLT_TANH_C3);
        p = fmaf(p, z, MLT_TANH_C4);
        return fmaf(p * z, x, x);
    }
    float t = 1.0f - 2.0f / (mlt_exp(a + a) + 1.0f);
    return x < 0.0f ? -t : t;
}

/* 1 / (1 + e^-x) */
static inline float mlt_sigmoid(float x)
{
    return 1.0f / (1.0f + mlt_exp(-x));
}

/* x * sigmoid(x), as x / (1 + e^-x) */
static inline float mlt_silu(float x)
{
    return x / (1.0f + mlt_exp(-x));
}

#define MLT_GELU_A 0.797884560802865356f /* sqrt(2 / pi) */
#define MLT_GELU_B 0.044715f

/* The tanh form of GELU (Hendrycks and Gimpel, 2016): 0.5 x (1 + tanh(A (x + B x^3))). */
static inline float mlt_gelu(float x)
{
    float inner = (MLT_GELU_A * x) * fmaf(MLT_GELU_B * x, x, 1.0f);
    return (0.5f * x) * (1.0f + mlt_tanh(inner));
}

/* tree16 of kernels.h. */
static inline float mlt_tree16(const float p[16])
{
    float s[8], t[4];
    for (int i = 0; i < 8; i++)
        s[i] = p[i] + p[i + 8];
    for (int i = 0; i < 4; i++)
        t[i] = s[i] + s[i + 4];
    return (t[0] + t[1]) + (t[2] + t[3]);
}

#endif
