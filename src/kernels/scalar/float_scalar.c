/*
 * Float products in scalar C: the definition that every variant equals. Contracts: kernels.h.
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

void mlt_kernels_scalar_float(struct mlt_kernels *table)
{
    table->dot_f32 = dot_f32;
    table->dot_f16 = dot_f16;
    table->dot_bf16 = dot_bf16;
}
