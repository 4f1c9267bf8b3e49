/*
 * Encoding: every dtype that can be a weight, from float. Floats are converted here; blocks go to the encoder
 * of their type, with values limited to what the searches for scales can compute with.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tensor/dtype.h"
#include "tensor/encoders.h"
#include "tensor/half.h"
#include "tensor/quant_blocks.h"

#include <float.h>

static mlt_block_encoder *const encoders[MLT_DTYPE_LIMIT] = {
    [MLT_Q4_0] = mlt_encode_q4_0,   [MLT_Q4_1] = mlt_encode_q4_1,     [MLT_Q5_0] = mlt_encode_q5_0,
    [MLT_Q5_1] = mlt_encode_q5_1,   [MLT_Q8_0] = mlt_encode_q8_0,     [MLT_Q2_K] = mlt_encode_q2_K,
    [MLT_Q3_K] = mlt_encode_q3_K,   [MLT_Q4_K] = mlt_encode_q4_K,     [MLT_Q5_K] = mlt_encode_q5_K,
    [MLT_Q6_K] = mlt_encode_q6_K,   [MLT_IQ4_NL] = mlt_encode_iq4_nl, [MLT_IQ4_XS] = mlt_encode_iq4_xs,
    [MLT_TQ1_0] = mlt_encode_tq1_0, [MLT_TQ2_0] = mlt_encode_tq2_0,   [MLT_MXFP4] = mlt_encode_mxfp4,
};

/* NaN, which callers have been told to keep away, becomes a number too: no encoder has to think of it. */
static void limit_values(const float *values, int count, float limit, float *x)
{
    for (int i = 0; i < count; i++) {
        float value = values[i] > -limit ? values[i] : -limit;
        x[i] = value < limit ? value : limit;
    }
}

static void encode_f16(const float *values, uint8_t *out, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        uint16_t half = mlt_float_to_half_inline(values[i]);
        memcpy(out + 2 * i, &half, sizeof half);
    }
}

static void encode_bf16(const float *values, uint8_t *out, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        uint16_t bfloat = mlt_float_to_bfloat_inline(values[i]);
        memcpy(out + 2 * i, &bfloat, sizeof bfloat);
    }
}

void mlt_encode(mlt_dtype dtype, const float *values, const float *importance, void *bytes, int64_t elements)
{
    uint8_t *out = bytes;
    if (dtype == MLT_F32) {
        memcpy(out, values, (size_t)elements * sizeof *values);
    } else if (dtype == MLT_F16) {
        encode_f16(values, out, elements);
    } else if (dtype == MLT_BF16) {
        encode_bf16(values, out, elements);
    } else {
        const struct mlt_dtype_info *info = mlt_dtype_info(dtype);
        float limit = dtype == MLT_MXFP4 ? FLT_MAX : MLT_ENCODE_LIMIT;
        for (int64_t i = 0; i < elements; i += info->block_length, out += info->block_bytes) {
            float x[MLT_QK_K];
            limit_values(values + i, info->block_length, limit, x);
            encoders[dtype](x, importance ? importance + i : NULL, out);
        }
    }
}

int64_t mlt_encode_check(const float *values, int64_t elements)
{
    for (int64_t i = 0; i < elements; i++)
        if ((mlt_bits_of_float(values[i]) & 0x7f800000u) == 0x7f800000u) return i;
    return -1;
}
