/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/arm/arm.h"

void mlt_kernels_init_neon(struct mlt_kernels *table)
{
    table->quantize = mlt_quantize_neon;
    table->dot_block32 = mlt_dot_block32_neon;
    table->dot_super32 = mlt_dot_super32_neon;
    table->dot_super16 = mlt_dot_super16_neon;
    mlt_kernels_neon_unpack(table);
    mlt_kernels_neon_unpack_super(table);
    mlt_kernels_neon_rows(table);
    mlt_kernels_neon_float(table);
    mlt_kernels_neon_attention(table);
    mlt_kernels_neon_elementwise(table);
    table->peak_int8 = mlt_peak_int8_neon;
    table->peak_f32 = mlt_peak_f32_neon;
}
