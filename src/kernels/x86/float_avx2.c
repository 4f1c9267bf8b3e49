/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/x86/lanes_avx2.h"

/* 16 registers of half the width: 8 of them are sums. */
enum { DOT_ROWS = 2, DOT_TOKENS = 2 };

#include "kernels/x86/float_lanes.h"

void mlt_avx2_float(struct mlt_kernels *table)
{
    set_float(table);
}
