/*
 * The elementary functions of Millet's arithmetic: defined by these float operations, the same on every
 * machine.
 *
 * Polynomials after S. L. Moshier's Cephes library (expf, logf, tanhf); errors against the true functions are
 * at most 2 ulp (a test measures them). SIMD variants repeat the operations lane by lane.
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

#define MLT_SQRT_HALF 0.70710678f
#define MLT_LOG_C0 7.0376836292e-2f
#define MLT_LOG_C1 -1.1514610310e-1f
#define MLT_LOG_C2 1.1676998740e-1f
#define MLT_LOG_C3 -1.2420140846e-1f
#define MLT_LOG_C4 1.4249322787e-1f
#define MLT_LOG_C5 -1.6668057665e-1f
#define MLT_LOG_C6 2.0000714765e-1f
#define MLT_LOG_C7 -2.4999993993e-1f
#define MLT_LOG_C8 3.3333331174e-1f

/*
 * ln x: x = (1 + r) 2^n with 1 + r in [sqrt 1/2, sqrt 2); ln(1 + r) = r - r^2 / 2 + r^3 p(r); n ln 2 in two
 * parts. Zero gives -infinity, negative numbers and NaN give NaN; subnormals are exact input.
 */
static inline float mlt_log(float x)
{
    if (!(x > 0.0f)) return x == 0.0f ? -INFINITY : NAN;
    if (x == INFINITY) return x;
    int32_t n = -126;
    if (x < 0x1p-126f) {
        x *= 0x1p24f;
        n -= 24;
    }
    uint32_t bits = mlt_float_bits(x);
    n += (int32_t)(bits >> 23);
    float m = mlt_bits_to_float((bits & 0x7fffffu) | 0x3f000000u), r; /* x = m 2^n, m in [1/2, 1) */
    if (m < MLT_SQRT_HALF) {
        r = (m + m) - 1.0f;
        n--;
    } else {
        r = m - 1.0f;
    }
    float p = MLT_LOG_C0;
    p = fmaf(p, r, MLT_LOG_C1);
    p = fmaf(p, r, MLT_LOG_C2);
    p = fmaf(p, r, MLT_LOG_C3);
    p = fmaf(p, r, MLT_LOG_C4);
    p = fmaf(p, r, MLT_LOG_C5);
    p = fmaf(p, r, MLT_LOG_C6);
    p = fmaf(p, r, MLT_LOG_C7);
    p = fmaf(p, r, MLT_LOG_C8);
    float e = (float)n, z = r * r;
    float y = fmaf(p * r, z, e * MLT_LN2_LO);
    y = fmaf(-0.5f, z, y);
    return fmaf(e, MLT_LN2_HI, r + y);
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
