/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/x86/x86.h"

void mlt_kernels_init_avx512(struct mlt_kernels *table)
{
    mlt_avx512_blocks32(table);
    mlt_avx512_blocks256(table);
    mlt_avx512_float(table);
    mlt_avx512_attention(table);
    mlt_avx512_quantize(table);
    mlt_avx512_elementwise(table);
    mlt_avx512_dot_panel(table);
    mlt_avx512_peak(table);
}
