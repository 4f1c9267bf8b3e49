/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/arm/arm.h"

void mlt_kernels_init_dotprod(struct mlt_kernels *table)
{
    table->dot_block32 = mlt_dot_block32_dotprod;
    table->dot_super32 = mlt_dot_super32_dotprod;
    table->dot_super16 = mlt_dot_super16_dotprod;
    mlt_kernels_dotprod_rows(table);
    table->peak_int8 = mlt_peak_int8_dotprod;
}
