/* Whole rows with one token, without dot-product instructions. SPDX-License-Identifier: Apache-2.0 */
#include "kernels/arm/arm.h"

#include <arm_neon.h>

/* Two products a lane fit int16, since |w * x| <= 128 * 127. */
MLT_INLINE int32x4_t dot16(int32x4_t sum, int8x16_t w, int8x16_t x)
{
    return vpadalq_s16(sum, vmlal_high_s8(vmull_s8(vget_low_s8(w), vget_low_s8(x)), w, x));
}

/* Four products fit where |w| <= 64. */
MLT_INLINE int32x4_t dot32(int32x4_t sum, int8x16_t w0, int8x16_t x0, int8x16_t w1, int8x16_t x1, bool small)
{
    if (!small) return dot16(dot16(sum, w0, x0), w1, x1);
    int16x8_t products = vmlal_high_s8(vmull_s8(vget_low_s8(w0), vget_low_s8(x0)), w0, x0);
    return vpadalq_s16(sum, vmlal_high_s8(vmlal_s8(products, vget_low_s8(w1), vget_low_s8(x1)), w1, x1));
}

#include "kernels/arm/rows_template.h"

void mlt_kernels_neon_rows(struct mlt_kernels *table)
{
    set_rows(table);
}
