/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/x86/lanes_avx512.h"

#include "kernels/x86/unpack256_lanes.h"

void mlt_avx512_unpack256(struct mlt_kernels *table)
{
    set_unpack256(table);
}
