/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/x86/lanes_avx512.h"

#include "kernels/x86/dot16_maddubs.h"

#define FEW_TILE 1
#include "kernels/x86/blocks256_lanes.h"

void mlt_avx512_blocks256(struct mlt_kernels *table)
{
    set_unpack256(table);
    set_rows256(table);
}
