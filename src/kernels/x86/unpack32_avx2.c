/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/x86/lanes_avx2.h"

#include "kernels/x86/unpack32_lanes.h"

void mlt_avx2_unpack32(struct mlt_kernels *table)
{
    set_unpack32(table);
}
