/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/x86/lanes_avx512.h"

#include "kernels/x86/dot16_vnni.h"

#define FEW_TILE 4
#include "kernels/x86/blocks32_lanes.h"

void mlt_avx512_vnni_blocks32(struct mlt_kernels *table)
{
    set_unpack32(table);
    set_rows32(table);
}
