/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/scalar/scalar.h"

void mlt_kernels_init_scalar(struct mlt_kernels *table)
{
    *table = (struct mlt_kernels){0};
    mlt_kernels_scalar_quantized(table);
    mlt_kernels_scalar_float(table);
    mlt_kernels_scalar_attention(table);
    mlt_kernels_scalar_elementwise(table);
    mlt_kernels_scalar_peak(table);
}
