/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/x86/lanes_avx512.h"

#include "kernels/x86/elementwise_lanes.h"

void mlt_avx512_elementwise(struct mlt_kernels *table)
{
    set_elementwise(table);
}
