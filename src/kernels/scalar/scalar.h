/* The parts of mlt_kernels_init_scalar, one a file, and what they share. SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_KERNELS_SCALAR_H
#define MLT_KERNELS_SCALAR_H

#include "kernels/kernels.h"
#include "kernels/math.h"

#include <string.h>

void mlt_kernels_scalar_quantized(struct mlt_kernels *table);
void mlt_kernels_scalar_float(struct mlt_kernels *table);
void mlt_kernels_scalar_attention(struct mlt_kernels *table);
void mlt_kernels_scalar_elementwise(struct mlt_kernels *table);
void mlt_kernels_scalar_peak(struct mlt_kernels *table);

/* Element `i` of an array of F32, F16 or BF16 at any address. */
static inline float scalar_element(mlt_dtype dtype, const uint8_t *bytes, int64_t i)
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
static inline float scalar_dot(mlt_dtype dtype, const uint8_t *w, const float *x, int64_t n)
{
    float p[16] = {0};
    for (int64_t k = 0; k < n; k++)
        p[k % 16] = fmaf(scalar_element(dtype, w, k), x[k], p[k % 16]);
    return mlt_tree16(p);
}

#endif
