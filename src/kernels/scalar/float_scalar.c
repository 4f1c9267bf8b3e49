/*
 * Float products and attention in scalar C: the definition that every variant equals. Contracts: kernels.h.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "kernels/scalar/scalar.h"

#include "kernels/math.h"

/* Element `i` of an array of F32, F16 or BF16 at any address. */
static float element(mlt_dtype dtype, const uint8_t *bytes, int64_t i)
{
    uint16_t half;
    float value;
    switch (dtype) {
    case MLT_F16: memcpy(&half, bytes + 2 * i, sizeof half); return mlt_half_to_float(half);
    case MLT_BF16: memcpy(&half, bytes + 2 * i, sizeof half); return mlt_bfloat_to_float(half);
    default: memcpy(&value, bytes + 4 * i, sizeof value); return value;
    }
}

/* tree16(lanes16(n, p = fma(w[k], x[k], p))) */
static float dot(mlt_dtype dtype, const uint8_t *w, const float *x, int64_t n)
{
    float p[16] = {0};
    for (int64_t k = 0; k < n; k++)
        p[k % 16] = fmaf(element(dtype, w, k), x[k], p[k % 16]);
    return mlt_tree16(p);
}

static void dot_float(mlt_dtype dtype, const uint8_t *w, uint64_t row_bytes, int64_t rows, const float *x,
                      int64_t ldx, int64_t tokens, int64_t columns, float *y, int64_t ldy)
{
    for (int64_t t = 0; t < tokens; t++)
        for (int64_t r = 0; r < rows; r++)
            y[t * ldy + r] = dot(dtype, w + (uint64_t)r * row_bytes, x + t * ldx, columns);
}

#define DOT_ENTRY(name, dtype)                                                                               \
    static void name(const uint8_t *w, uint64_t row_bytes, int64_t rows, const float *x, int64_t ldx,        \
                     int64_t tokens, int64_t columns, float *y, int64_t ldy)                                 \
    {                                                                                                        \
        dot_float(dtype, w, row_bytes, rows, x, ldx, tokens, columns, y, ldy);                               \
    }
DOT_ENTRY(dot_f32, MLT_F32)
DOT_ENTRY(dot_f16, MLT_F16)
DOT_ENTRY(dot_bf16, MLT_BF16)
#undef DOT_ENTRY

static void score(mlt_dtype dtype, const float *q, int heads, const uint8_t *k, int64_t stride_bytes,
                  int64_t n, int size, float scale, float *s, int64_t lds)
{
    for (int h = 0; h < heads; h++)
        for (int64_t i = 0; i < n; i++)
            s[h * lds + i] = scale * dot(dtype, k + i * stride_bytes, q + (int64_t)h * size, size);
}

static void score_f32(const float *q, int heads, const void *k, int64_t stride, int64_t n, int size,
                      float scale, float *s, int64_t lds)
{
    score(MLT_F32, q, heads, k, stride * 4, n, size, scale, s, lds);
}

static void score_f16(const float *q, int heads, const void *k, int64_t stride, int64_t n, int size,
                      float scale, float *s, int64_t lds)
{
    score(MLT_F16, q, heads, k, stride * 2, n, size, scale, s, lds);
}

enum { MIX_CHUNK = 256 };

static void mix(mlt_dtype dtype, const float *p, int64_t ldp, int heads, const uint8_t *v,
                int64_t stride_bytes, int64_t n, int size, float *out)
{
    for (int h = 0; h < heads; h++) {
        for (int j = 0; j < size; j++) {
            float sum = 0.0f;
            for (int64_t begin = 0; begin < n; begin += MIX_CHUNK) {
                float c = 0.0f;
                for (int64_t i = begin; i < n && i < begin + MIX_CHUNK; i++)
                    c = fmaf(p[h * ldp + i], element(dtype, v + i * stride_bytes, j), c);
                sum = sum + c;
            }
            out[(int64_t)h * size + j] = sum;
        }
    }
}

static void mix_f32(const float *p, int64_t ldp, int heads, const void *v, int64_t stride, int64_t n,
                    int size, float *out)
{
    mix(MLT_F32, p, ldp, heads, v, stride * 4, n, size, out);
}

static void mix_f16(const float *p, int64_t ldp, int heads, const void *v, int64_t stride, int64_t n,
                    int size, float *out)
{
    mix(MLT_F16, p, ldp, heads, v, stride * 2, n, size, out);
}

void mlt_kernels_scalar_float(struct mlt_kernels *table)
{
    table->dot_f32 = dot_f32;
    table->dot_f16 = dot_f16;
    table->dot_bf16 = dot_bf16;
    table->score_f32 = score_f32;
    table->score_f16 = score_f16;
    table->mix_f32 = mix_f32;
    table->mix_f16 = mix_f16;
}
