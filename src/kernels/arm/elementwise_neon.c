/*
 * Norms, softmax, gates and conversions. Contracts: kernels.h.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "kernels/arm/lanes_neon.h"
#include "kernels/arm/math_neon.h"

/* ---- Softmax ---- */

/* The largest of n values and `first`; NaN where one is NaN, since fmax passes NaN on. */
static float largest_of(const float *x, int64_t n, float first)
{
    float32x4_t a = vdupq_n_f32(first), b = a;
    int64_t i = 0;
    for (; i + 8 <= n; i += 8) {
        a = vmaxq_f32(a, vld1q_f32(x + i));
        b = vmaxq_f32(b, vld1q_f32(x + i + 4));
    }
    for (; i < n; i++)
        a = vmaxq_f32(a, vdupq_n_f32(x[i]));
    return vmaxvq_f32(vmaxq_f32(a, b));
}

MLT_INLINE struct mlt_lanes exp_lanes(struct mlt_lanes x, float largest)
{
    for (int i = 0; i < 4; i++)
        x.v[i] = mlt_exp4(vsubq_f32(x.v[i], vdupq_n_f32(largest)));
    return x;
}

MLT_INLINE struct mlt_lanes add_lanes(struct mlt_lanes a, struct mlt_lanes b)
{
    for (int i = 0; i < 4; i++)
        a.v[i] = vaddq_f32(a.v[i], b.v[i]);
    return a;
}

/* p + v^2, one rounding */
MLT_INLINE struct mlt_lanes add_squares(struct mlt_lanes p, struct mlt_lanes v)
{
    for (int i = 0; i < 4; i++)
        p.v[i] = vfmaq_f32(p.v[i], v.v[i], v.v[i]);
    return p;
}

/* v - value */
MLT_INLINE struct mlt_lanes minus(struct mlt_lanes v, float value)
{
    for (int i = 0; i < 4; i++)
        v.v[i] = vsubq_f32(v.v[i], vdupq_n_f32(value));
    return v;
}

static void softmax(float *x, int64_t n, const float *extra)
{
    float largest = largest_of(x, n, extra ? *extra : -INFINITY);
    struct mlt_lanes p = mlt_zero_lanes();
    int64_t i = 0;
    for (; i + 16 <= n; i += 16) {
        struct mlt_lanes e = exp_lanes(mlt_load_floats(x + i), largest);
        mlt_store_floats(x + i, e);
        p = add_lanes(p, e);
    }
    if (i < n) {
        int rest = (int)(n - i);
        struct mlt_lanes e = exp_lanes(mlt_load_some_floats(x + i, rest), largest);
        mlt_store_some_floats(x + i, e, rest);
        p = mlt_first_lanes(rest, add_lanes(p, e), p);
    }
    float sum = mlt_tree_lanes(p);
    if (extra) sum = sum + mlt_exp(*extra - largest);
    float factor = 1.0f / sum;
    for (i = 0; i + 4 <= n; i += 4)
        vst1q_f32(x + i, vmulq_n_f32(vld1q_f32(x + i), factor));
    for (; i < n; i++)
        x[i] = x[i] * factor;
}

/* ---- Norms ---- */

static void rms_norm(const float *x, const float *w, int64_t n, float eps, float *y)
{
    struct mlt_lanes p = mlt_zero_lanes();
    int64_t i = 0;
    for (; i + 16 <= n; i += 16)
        p = add_squares(p, mlt_load_floats(x + i));
    if (i < n) {
        int rest = (int)(n - i);
        p = mlt_first_lanes(rest, add_squares(p, mlt_load_some_floats(x + i, rest)), p);
    }
    float r = 1.0f / sqrtf(mlt_tree_lanes(p) / (float)n + eps);
    for (i = 0; i + 4 <= n; i += 4) {
        float32x4_t scaled = vmulq_n_f32(vld1q_f32(x + i), r);
        if (w) scaled = vmulq_f32(scaled, vld1q_f32(w + i));
        vst1q_f32(y + i, scaled);
    }
    for (; i < n; i++) {
        float scaled = x[i] * r;
        y[i] = w ? scaled * w[i] : scaled;
    }
}

static void layer_norm(const float *x, const float *w, const float *b, int64_t n, float eps, float *y)
{
    struct mlt_lanes p = mlt_zero_lanes(), v = p;
    int64_t whole = n / 16 * 16;
    int rest = (int)(n - whole);
    for (int64_t i = 0; i < whole; i += 16)
        p = add_lanes(p, mlt_load_floats(x + i));
    if (rest) p = mlt_first_lanes(rest, add_lanes(p, mlt_load_some_floats(x + whole, rest)), p);
    float mean = mlt_tree_lanes(p) / (float)n;
    for (int64_t i = 0; i < whole; i += 16)
        v = add_squares(v, minus(mlt_load_floats(x + i), mean));
    if (rest)
        v = mlt_first_lanes(rest, add_squares(v, minus(mlt_load_some_floats(x + whole, rest), mean)), v);
    float r = 1.0f / sqrtf(mlt_tree_lanes(v) / (float)n + eps);
    int64_t i = 0;
    for (; i + 4 <= n; i += 4) {
        float32x4_t scaled = vmulq_n_f32(vsubq_f32(vld1q_f32(x + i), vdupq_n_f32(mean)), r);
        if (w) scaled = vmulq_f32(scaled, vld1q_f32(w + i));
        if (b) scaled = vaddq_f32(scaled, vld1q_f32(b + i));
        vst1q_f32(y + i, scaled);
    }
    for (; i < n; i++) {
        float scaled = (x[i] - mean) * r;
        if (w) scaled = scaled * w[i];
        y[i] = b ? scaled + b[i] : scaled;
    }
}

/* ---- Gates and conversions: the last values, fewer than four, by the scalar functions ---- */

static void silu(const float *g, const float *u, int64_t n, float *y)
{
    int64_t i = 0;
    for (; i + 4 <= n; i += 4) {
        float32x4_t a = mlt_silu4(vld1q_f32(g + i));
        vst1q_f32(y + i, u ? vmulq_f32(a, vld1q_f32(u + i)) : a);
    }
    for (; i < n; i++) {
        float a = mlt_silu(g[i]);
        y[i] = u ? a * u[i] : a;
    }
}

static void gelu(const float *g, const float *u, int64_t n, float *y)
{
    int64_t i = 0;
    for (; i + 4 <= n; i += 4) {
        float32x4_t a = mlt_gelu4(vld1q_f32(g + i));
        vst1q_f32(y + i, u ? vmulq_f32(a, vld1q_f32(u + i)) : a);
    }
    for (; i < n; i++) {
        float a = mlt_gelu(g[i]);
        y[i] = u ? a * u[i] : a;
    }
}

static void softcap(float *x, int64_t n, float cap)
{
    float32x4_t caps = vdupq_n_f32(cap);
    int64_t i = 0;
    for (; i + 4 <= n; i += 4)
        vst1q_f32(x + i, vmulq_f32(caps, mlt_tanh4(vdivq_f32(vld1q_f32(x + i), caps))));
    for (; i < n; i++)
        x[i] = cap * mlt_tanh(x[i] / cap);
}

static void to_half(const float *x, uint16_t *y, int64_t n)
{
    int64_t i = 0;
    for (; i + 4 <= n; i += 4)
        vst1_u16(y + i, vreinterpret_u16_f16(vcvt_f16_f32(vld1q_f32(x + i))));
    for (; i < n; i++)
        y[i] = mlt_float_to_half(x[i]);
}

void mlt_kernels_neon_elementwise(struct mlt_kernels *table)
{
    table->softmax = softmax;
    table->rms_norm = rms_norm;
    table->layer_norm = layer_norm;
    table->silu = silu;
    table->gelu = gelu;
    table->softcap = softcap;
    table->to_half = to_half;
}
