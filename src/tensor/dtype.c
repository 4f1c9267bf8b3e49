/*
 * The table of dtypes, and the dispatch to their codecs.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tensor/dtype.h"
#include "tensor/codecs.h"
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

static mlt_decoder *const decoders[MLT_DTYPE_LIMIT] = {
    [MLT_F32] = mlt_decode_f32,     [MLT_F16] = mlt_decode_f16,       [MLT_BF16] = mlt_decode_bf16,
    [MLT_Q4_0] = mlt_decode_q4_0,   [MLT_Q4_1] = mlt_decode_q4_1,     [MLT_Q5_0] = mlt_decode_q5_0,
    [MLT_Q5_1] = mlt_decode_q5_1,   [MLT_Q8_0] = mlt_decode_q8_0,     [MLT_Q2_K] = mlt_decode_q2_K,
    [MLT_Q3_K] = mlt_decode_q3_K,   [MLT_Q4_K] = mlt_decode_q4_K,     [MLT_Q5_K] = mlt_decode_q5_K,
    [MLT_Q6_K] = mlt_decode_q6_K,   [MLT_IQ4_NL] = mlt_decode_iq4_nl, [MLT_IQ4_XS] = mlt_decode_iq4_xs,
    [MLT_TQ1_0] = mlt_decode_tq1_0, [MLT_TQ2_0] = mlt_decode_tq2_0,   [MLT_MXFP4] = mlt_decode_mxfp4,
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

void mlt_decode(mlt_dtype dtype, const void *bytes, float *values, int64_t elements)
{
    decoders[dtype](bytes, values, elements / infos[dtype].block_length);
}

int64_t mlt_encode_check(const float *values, int64_t elements)
{
    for (int64_t i = 0; i < elements; i++)
        if ((mlt_bits_of_float(values[i]) & 0x7f800000u) == 0x7f800000u) return i;
    return -1;
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
