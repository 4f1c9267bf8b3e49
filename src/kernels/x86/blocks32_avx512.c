/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/x86/lanes_avx512.h"

#include "kernels/x86/dot16_maddubs.h"

#define FEW_TILE 1
#include "kernels/x86/blocks32_lanes.h"

void mlt_avx512_blocks32(struct mlt_kernels *table)
{
    set_unpack32(table);
    set_rows32(table);
}
