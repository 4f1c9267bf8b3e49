/*
 * Float products in scalar C: the definition that every variant equals. Contracts: kernels.h.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "kernels/scalar/scalar.h"

static void dot_float(mlt_dtype dtype, const uint8_t *w, uint64_t row_bytes, int64_t rows, const float *x,
                      int64_t ldx, int64_t tokens, int64_t columns, float *y, int64_t ldy)
{
    for (int64_t t = 0; t < tokens; t++)
        for (int64_t r = 0; r < rows; r++)
            y[t * ldy + r] = scalar_dot(dtype, w + (uint64_t)r * row_bytes, x + t * ldx, columns);
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
