/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/x86/lanes_avx512.h"

/* 16 of 32 registers are sums. */
enum { DOT_ROWS = 4, DOT_TOKENS = 4 };

#include "kernels/x86/float_lanes.h"

void mlt_avx512_float(struct mlt_kernels *table)
{
    set_float(table);
}
