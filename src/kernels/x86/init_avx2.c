/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/x86/x86.h"

void mlt_kernels_init_avx2(struct mlt_kernels *table)
{
    mlt_avx2_blocks32(table);
    mlt_avx2_blocks256(table);
    mlt_avx2_peak(table);
    mlt_avx2_float(table);
    mlt_avx2_attention(table);
    mlt_avx2_quantize(table);
    mlt_avx2_elementwise(table);
    mlt_avx2_dot_panel(table);
}
