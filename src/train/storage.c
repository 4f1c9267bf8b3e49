/* Which dtype, and what is left in it. SPDX-License-Identifier: Apache-2.0 */
#include "train/storage.h"

#include "tensor/quant_blocks.h"

#include <string.h>

/* In the order of millet_train_storage. File types are those of GGUF (compact/quantize_types.c has them all).
 */
static const struct {
    const char *name;
    mlt_dtype dtype;
    uint32_t file_type;
} storages[] = {
    [MILLET_STORE_F32] = {"f32", MLT_F32, 0},        [MILLET_STORE_BF16] = {"bf16", MLT_BF16, 32},
    [MILLET_STORE_Q8_0] = {"q8_0", MLT_Q8_0, 7},     [MILLET_STORE_Q4_0] = {"q4_0", MLT_Q4_0, 2},
    [MILLET_STORE_TQ2_0] = {"tq2_0", MLT_TQ2_0, 37},
};

mlt_dtype mlt_storage_dtype(millet_train_storage storage)
{
    return storages[storage].dtype;
}

const char *mlt_storage_name(millet_train_storage storage)
{
    return storages[storage].name;
}

uint32_t mlt_storage_file_type(mlt_dtype dtype)
{
    for (size_t i = 0; i < MLT_COUNT(storages); i++)
        if (storages[i].dtype == dtype) return storages[i].file_type;
    return 1; /* F16 */
}

mlt_dtype mlt_storage_choose(const struct mlt_parameter *p, mlt_dtype dtype)
{
    if (p->kind == MLT_PARAMETER_VECTOR) return MLT_F32;
    if (!mlt_dtype_info(dtype)->quantised) return dtype;
    if (!strcmp(p->tensor->name.data, "position_embd.weight")) return MLT_F32;
    if (dtype == MLT_TQ2_0 && p->kind == MLT_PARAMETER_EMBEDDING) dtype = MLT_Q8_0;
    if (p->columns % mlt_dtype_info(dtype)->block_length == 0) return dtype;
    return p->columns % MLT_QK == 0 ? MLT_Q8_0 : MLT_F16;
}

void mlt_storage_round(mlt_dtype dtype, const float *values, float *out, int64_t n)
{
    if (dtype == MLT_F32) {
        memcpy(out, values, (size_t)n * sizeof *out);
        return;
    }
    /* In pieces that stay in the cache; a multiple of every block length. */
    enum { PIECE = 1024, MOST_BYTES = PIECE * 4 };
    uint8_t bytes[MOST_BYTES];
    for (int64_t i = 0; i < n; i += PIECE) {
        int64_t count = MLT_MIN(n - i, (int64_t)PIECE);
        mlt_encode(dtype, values + i, NULL, bytes, count);
        mlt_decode(dtype, bytes, out + i, count);
    }
}
