/*
 * The table of dtypes, and the conversions of single numbers.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tensor/dtype.h"
#include "tensor/half.h"
#include "tensor/quant_blocks.h"

/* Which numbers are weights: quantised, or one of the three floats that weights come in. */
#define IS_FLOAT(number, length)                                                                             \
    ((length) > 1 || (number) == MLT_F32 || (number) == MLT_F16 || (number) == MLT_BF16)

static const struct mlt_dtype_info infos[MLT_DTYPE_LIMIT] = {
#define INFO(name, number, text, length, bytes)                                                              \
    [number] = {text, length, bytes, (length) > 1, IS_FLOAT(number, length)},
    MLT_DTYPE_LIST(INFO)
#undef INFO
};

/* The structs are laid over files: they must have the sizes that the table says. */
#define SIZE_IS(dtype, type)                                                                                 \
    _Static_assert(sizeof(struct mlt_block_##type) == MLT_BYTES_##dtype, "padding in mlt_block_" #type)
enum {
#define BYTES(name, number, text, length, bytes) MLT_BYTES_##name = (bytes),
    MLT_DTYPE_LIST(BYTES)
#undef BYTES
};
SIZE_IS(Q4_0, q4_0);
SIZE_IS(Q4_1, q4_1);
SIZE_IS(Q5_0, q5_0);
SIZE_IS(Q5_1, q5_1);
SIZE_IS(Q8_0, q8_0);
SIZE_IS(Q2_K, q2_K);
SIZE_IS(Q3_K, q3_K);
SIZE_IS(Q4_K, q4_K);
SIZE_IS(Q5_K, q5_K);
SIZE_IS(Q6_K, q6_K);
SIZE_IS(IQ4_NL, iq4_nl);
SIZE_IS(IQ4_XS, iq4_xs);
SIZE_IS(TQ1_0, tq1_0);
SIZE_IS(TQ2_0, tq2_0);
SIZE_IS(MXFP4, mxfp4);

const struct mlt_dtype_info *mlt_dtype_find(uint32_t number)
{
    return number < MLT_DTYPE_LIMIT && infos[number].name ? &infos[number] : NULL;
}

const struct mlt_dtype_info *mlt_dtype_info(mlt_dtype dtype)
{
    return &infos[dtype];
}

/* Not toupper: a user's locale must not decide what a dtype is called. */
static char upper(char c)
{
    return c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
}

bool mlt_dtype_by_name(const char *name, mlt_dtype *dtype)
{
    for (int number = 0; number < MLT_DTYPE_LIMIT; number++) {
        const char *candidate = infos[number].name;
        if (!candidate) continue;
        size_t i = 0;
        while (name[i] && upper(name[i]) == candidate[i])
            i++;
        if (!name[i] && !candidate[i]) {
            *dtype = (mlt_dtype)number;
            return true;
        }
    }
    return false;
}

size_t mlt_dtype_row_bytes(mlt_dtype dtype, int64_t elements)
{
    const struct mlt_dtype_info *info = &infos[dtype];
    return (size_t)(elements / info->block_length) * (size_t)info->block_bytes;
}

float mlt_half_to_float(uint16_t half)
{
    return mlt_half_to_float_inline(half);
}

uint16_t mlt_float_to_half(float value)
{
    return mlt_float_to_half_inline(value);
}

float mlt_bfloat_to_float(uint16_t bfloat)
{
    return mlt_bfloat_to_float_inline(bfloat);
}

uint16_t mlt_float_to_bfloat(float value)
{
    return mlt_float_to_bfloat_inline(value);
}
