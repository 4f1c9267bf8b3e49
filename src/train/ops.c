/* Which table of operations the CPU gets. SPDX-License-Identifier: Apache-2.0 */
#include "train/ops.h"

#include "kernels/kernels.h"

enum { WIDEST_PANEL = 32 };

int64_t mlt_product_scratch(void)
{
    /* Left panels are rounded up to whole tiles. */
    return (int64_t)(MLT_PRODUCT_ROWS + WIDEST_PANEL) * MLT_PRODUCT_DEPTH;
}

int64_t mlt_attention_scratch(int32_t length, int32_t head_size, int32_t value_size)
{
    int64_t size = MLT_MAX(head_size, value_size), rows = MLT_MAX((int64_t)length, (int64_t)MLT_QUERY_BLOCK);
    return mlt_product_scratch() + 2 * (int64_t)MLT_QUERY_BLOCK * length +
           (rows + WIDEST_PANEL) * (size + WIDEST_PANEL);
}

const struct mlt_ops *mlt_ops_default(void)
{
    unsigned cpu = mlt_kernels_default()->cpu;
    (void)cpu;
#if defined(MLT_HAVE_AVX512)
    if (cpu & MLT_CPU_AVX512) return &mlt_ops_avx512;
#endif
#if defined(MLT_HAVE_AVX2)
    if (cpu & MLT_CPU_AVX2) return &mlt_ops_avx2;
#endif
    return &mlt_ops_scalar;
}
