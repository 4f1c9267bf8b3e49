/*
 * Norms, softmax, gates and conversions in scalar C: the definition that every variant equals. Contracts:
 * kernels.h.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "kernels/scalar/scalar.h"

#include "kernels/math.h"

static void softmax(float *x, int64_t n, const float *extra)
{
    float largest = extra ? *extra : -INFINITY, p[16] = {0};
    for (int64_t i = 0; i < n; i++)
        largest = x[i] > largest ? x[i] : largest;
    for (int64_t i = 0; i < n; i++) {
        x[i] = mlt_exp(x[i] - largest);
        p[i % 16] = p[i % 16] + x[i];
    }
    float sum = mlt_tree16(p);
    if (extra) sum = sum + mlt_exp(*extra - largest);
    float factor = 1.0f / sum;
    for (int64_t i = 0; i < n; i++)
        x[i] = x[i] * factor;
}

static void rms_norm(const float *x, const float *w, int64_t n, float eps, float *y)
{
    float p[16] = {0};
    for (int64_t i = 0; i < n; i++)
        p[i % 16] = fmaf(x[i], x[i], p[i % 16]);
    float r = 1.0f / sqrtf(mlt_tree16(p) / (float)n + eps);
    for (int64_t i = 0; i < n; i++) {
        float scaled = x[i] * r;
        y[i] = w ? scaled * w[i] : scaled;
    }
}

static void layer_norm(const float *x, const float *w, const float *b, int64_t n, float eps, float *y)
{
    float p[16] = {0}, v[16] = {0};
    for (int64_t i = 0; i < n; i++)
        p[i % 16] = p[i % 16] + x[i];
    float mean = mlt_tree16(p) / (float)n;
    for (int64_t i = 0; i < n; i++) {
        float c = x[i] - mean;
        v[i % 16] = fmaf(c, c, v[i % 16]);
    }
    float r = 1.0f / sqrtf(mlt_tree16(v) / (float)n + eps);
    for (int64_t i = 0; i < n; i++) {
        float scaled = (x[i] - mean) * r;
        if (w) scaled = scaled * w[i];
        y[i] = b ? scaled + b[i] : scaled;
    }
}

static void silu(const float *g, const float *u, int64_t n, float *y)
{
    for (int64_t i = 0; i < n; i++) {
        float a = mlt_silu(g[i]);
        y[i] = u ? a * u[i] : a;
    }
}

static void gelu(const float *g, const float *u, int64_t n, float *y)
{
    for (int64_t i = 0; i < n; i++) {
        float a = mlt_gelu(g[i]);
        y[i] = u ? a * u[i] : a;
    }
}

static void softcap(float *x, int64_t n, float cap)
{
    for (int64_t i = 0; i < n; i++)
        x[i] = cap * mlt_tanh(x[i] / cap);
}

static void to_half(const float *x, uint16_t *y, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        y[i] = mlt_float_to_half(x[i]);
}

void mlt_kernels_scalar_elementwise(struct mlt_kernels *table)
{
    table->softmax = softmax;
    table->rms_norm = rms_norm;
    table->layer_norm = layer_norm;
    table->silu = silu;
    table->gelu = gelu;
    table->softcap = softcap;
    table->to_half = to_half;
}
