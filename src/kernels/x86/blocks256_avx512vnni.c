/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/x86/lanes_avx512.h"

#include "kernels/x86/dot16_vnni.h"

#define FEW_TILE 4
#include "kernels/x86/blocks256_lanes.h"

void mlt_avx512_vnni_blocks256(struct mlt_kernels *table)
{
    set_unpack256(table);
    set_rows256(table);
}
