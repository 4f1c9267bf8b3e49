/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/x86/lanes_avx2.h"

#include "kernels/x86/quantize_lanes.h"

void mlt_avx2_quantize(struct mlt_kernels *table)
{
    table->quantize = quantize;
}
