/*
 * Encoders of Q4_0, Q4_1, Q5_0, Q5_1 and Q8_0.
 *
 * Without importances the scale follows from the extreme values alone, as in GGUF's reference implementation,
 * whose bytes these are: no search, no fit. With importances scale (and minimum) are fitted, then codes are
 * rounded for the scale as it is stored.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tensor/encoders.h"
#include "tensor/fit.h"
#include "tensor/pack.h"
#include "tensor/quant_blocks.h"

#include <math.h>

/* For values that are not negative: floor(value), at most `high`. */
static uint8_t floor_code(float value, int high)
{
    int code = (int)(value > 0 ? value < (float)high ? value : (float)high : 0);
    return (uint8_t)code;
}

static void weights_of_block(const float *x, const float *importance, float weights[MLT_QK])
{
    float mean_square = mlt_sum_of_squares(x, MLT_QK) / MLT_QK;
    mlt_weights_from_importance(x, importance, MLT_QK, mean_square, weights);
}

/*
 * w = d * (q - levels), q in [0, 2 * levels): the extreme value gets code 0, so that all of the range is
 * used, and the scale the opposite sign.
 */
static uint16_t encode_signed(const float *x, const float *importance, int levels, uint8_t q[MLT_QK])
{
    uint16_t stored;
    float inverse;
    if (importance) {
        float weights[MLT_QK];
        int8_t fitted[MLT_QK];
        weights_of_block(x, importance, weights);
        stored = mlt_scale_to_half(mlt_fit_signed(x, weights, MLT_QK, levels, fitted));
        inverse = mlt_inverse_of_scale(mlt_half_to_float_inline(stored));
    } else {
        float scale = mlt_limit_scale(mlt_extreme(x, MLT_QK) / (float)-levels);
        stored = mlt_scale_to_half(scale);
        inverse = mlt_inverse_of_scale(scale);
    }
    for (int i = 0; i < MLT_QK; i++)
        q[i] = floor_code(x[i] * inverse + ((float)levels + 0.5f), 2 * levels - 1);
    return stored;
}

/* w = d * q + m, q in [0, top]. */
static void encode_affine(const float *x, const float *importance, int top, uint16_t *d, uint16_t *m,
                          uint8_t q[MLT_QK])
{
    float min, inverse;
    if (importance) {
        static const struct mlt_affine_search search = {-0.9f, 0.05f, 36, false};
        float weights[MLT_QK];
        weights_of_block(x, importance, weights);
        struct mlt_affine fit;
        mlt_fit_affine(x, weights, 1, top, &search, q, &fit);
        *d = mlt_scale_to_half(fit.scale);
        *m = mlt_scale_to_half(-fit.min);
        min = mlt_half_to_float_inline(*m);
        inverse = mlt_inverse_of_scale(mlt_half_to_float_inline(*d));
    } else {
        float max = x[0];
        min = x[0];
        for (int i = 1; i < MLT_QK; i++) {
            min = x[i] < min ? x[i] : min;
            max = x[i] > max ? x[i] : max;
        }
        min = mlt_limit_scale(min);
        float scale = mlt_limit_scale((max - min) / (float)top);
        *d = mlt_scale_to_half(scale);
        *m = mlt_scale_to_half(min);
        inverse = mlt_inverse_of_scale(scale);
    }
    for (int i = 0; i < MLT_QK; i++)
        q[i] = floor_code((x[i] - min) * inverse + 0.5f, top);
}

void mlt_encode_q4_0(const float *x, const float *importance, uint8_t *block)
{
    struct mlt_block_q4_0 out;
    uint8_t q[MLT_QK];
    out.d = encode_signed(x, importance, 8, q);
    mlt_pack_nibbles(q, out.qs);
    memcpy(block, &out, sizeof out);
}

void mlt_encode_q5_0(const float *x, const float *importance, uint8_t *block)
{
    struct mlt_block_q5_0 out;
    uint8_t q[MLT_QK];
    out.d = encode_signed(x, importance, 16, q);
    mlt_pack_nibbles(q, out.qs);
    mlt_pack_fifth_bits(q, out.qh);
    memcpy(block, &out, sizeof out);
}

void mlt_encode_q4_1(const float *x, const float *importance, uint8_t *block)
{
    struct mlt_block_q4_1 out;
    uint8_t q[MLT_QK];
    encode_affine(x, importance, 15, &out.d, &out.m, q);
    mlt_pack_nibbles(q, out.qs);
    memcpy(block, &out, sizeof out);
}

void mlt_encode_q5_1(const float *x, const float *importance, uint8_t *block)
{
    struct mlt_block_q5_1 out;
    uint8_t q[MLT_QK];
    encode_affine(x, importance, 31, &out.d, &out.m, q);
    mlt_pack_nibbles(q, out.qs);
    mlt_pack_fifth_bits(q, out.qh);
    memcpy(block, &out, sizeof out);
}

/* Importances would change nothing worth having: the error is a thousandth of the largest value as it is. */
void mlt_encode_q8_0(const float *x, const float *importance, uint8_t *block)
{
    (void)importance;
    struct mlt_block_q8_0 out;
    float scale = mlt_limit_scale(fabsf(mlt_extreme(x, MLT_QK)) / 127);
    float inverse = mlt_inverse_of_scale(scale);
    out.d = mlt_scale_to_half(scale);
    for (int i = 0; i < MLT_QK; i++)
        out.qs[i] = (int8_t)mlt_round_half_away(x[i] * inverse, 127);
    memcpy(block, &out, sizeof out);
}
