/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/x86/x86.h"

void mlt_kernels_init_avx512_vnni(struct mlt_kernels *table)
{
    mlt_avx512_vnni_dot_panel(table);
    mlt_avx512_vnni_blocks32(table);
    mlt_avx512_vnni_blocks256(table);
    table->biased = true; /* all of the unpackers above */
    mlt_avx512_vnni_rows_q8_0(table);
    mlt_avx512_vnni_peak(table);
}
