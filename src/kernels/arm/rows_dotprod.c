/* Whole rows with one token, by sdot. SPDX-License-Identifier: Apache-2.0 */
#include "kernels/arm/arm.h"

#include <arm_neon.h>

MLT_INLINE int32x4_t dot16(int32x4_t sum, int8x16_t w, int8x16_t x)
{
    return vdotq_s32(sum, w, x);
}

MLT_INLINE int32x4_t dot32(int32x4_t sum, int8x16_t w0, int8x16_t x0, int8x16_t w1, int8x16_t x1, bool small)
{
    (void)small;
    return vdotq_s32(vdotq_s32(sum, w0, x0), w1, x1);
}

#include "kernels/arm/rows_template.h"

void mlt_kernels_dotprod_rows(struct mlt_kernels *table)
{
    set_rows(table);
}
