/*
 * Encoders of the K types: superblocks of 256 elements in groups of 16 or 32, each with a small integer scale
 * (and minimum) in units of the superblock's d (and dmin).
 *
 * All go the same way: fit every group by itself, in floats; round the groups' scales to integers in units of
 * a superblock scale; then round the elements once more, for the scales as they are stored. Without
 * importances the weights of errors, the ranges of the searches and the superblock scale (from the largest
 * group scale) are those of GGUF's reference implementation, and so are the bytes. With importances the
 * superblock scale is fitted too, each group weighing as much as its elements.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tensor/encoders.h"
#include "tensor/fit.h"
#include "tensor/pack.h"
#include "tensor/quant_blocks.h"

#include <math.h>

enum { MAX_GROUPS = 16 };

/* ---- Types with minima: Q2_K, Q4_K, Q5_K ---- */

struct affine_type {
    int groups;
    int top;       /* largest code of an element */
    int scale_top; /* largest code of a group's scale or minimum */
    struct mlt_affine_search plain, important;
};

struct affine_superblock {
    /* gcc 12 takes this for aligned when it is allowed AVX-512, and does not see to it by itself. */
    _Alignas(64) uint8_t q[MLT_QK_K];
    uint8_t scales[MAX_GROUPS], mins[MAX_GROUPS];
    uint16_t d, dmin;
};

/* The default weights. Large values weigh more: they do more to a product. Q2_K's search compares sums of
 * absolute errors, and its weights are the magnitudes alone. */
static void default_weights(const float *x, int length, bool absolute, float *weights)
{
    float offset = absolute ? 0 : sqrtf(mlt_sum_of_squares(x, length) / (float)length);
    for (int i = 0; i < length; i++)
        weights[i] = offset + fabsf(x[i]);
}

/* values[g] ~ d * codes[g] with the largest value on the largest code. Returns d. */
static uint16_t codes_of_largest(const float *values, int groups, int top, uint8_t *codes)
{
    float largest = 0;
    for (int g = 0; g < groups; g++)
        largest = values[g] > largest ? values[g] : largest;
    float inverse = largest > 1e-36f ? (float)top / largest : 0;
    for (int g = 0; g < groups; g++)
        codes[g] = (uint8_t)mlt_round_to_range(inverse * values[g], 0, top);
    return mlt_scale_to_half(largest / (float)top);
}

static void encode_affine_superblock(const struct affine_type *type, const float *x, const float *importance,
                                     struct affine_superblock *out)
{
    struct mlt_affine fits[MAX_GROUPS];
    float weights[MLT_QK_K], scales[MAX_GROUPS], mins[MAX_GROUPS], group_weights[MAX_GROUPS];
    int length = MLT_QK_K / type->groups;
    /* Q4_K and Q5_K double the mean square in the weights from importances. */
    float mean_square = mlt_sum_of_squares(x, MLT_QK_K) / MLT_QK_K;
    if (length == 32) mean_square *= 2;
    if (importance) mlt_weights_from_importance(x, importance, MLT_QK_K, mean_square, weights);
    for (int g = 0; g < type->groups; g++) {
        if (!importance) default_weights(x + g * length, length, type->plain.absolute, weights + g * length);
        group_weights[g] = mlt_sum(weights + g * length, length);
    }
    mlt_fit_affine(x, weights, type->groups, type->top, importance ? &type->important : &type->plain, out->q,
                   fits);
    for (int g = 0; g < type->groups; g++) {
        scales[g] = fits[g].scale;
        mins[g] = fits[g].min;
    }
    if (importance) {
        out->d = mlt_scale_to_half(
            mlt_fit_unsigned(scales, group_weights, type->groups, type->scale_top, out->scales));
        out->dmin = mlt_scale_to_half(
            mlt_fit_unsigned(mins, group_weights, type->groups, type->scale_top, out->mins));
    } else {
        out->d = codes_of_largest(scales, type->groups, type->scale_top, out->scales);
        out->dmin = codes_of_largest(mins, type->groups, type->scale_top, out->mins);
    }
    float d = mlt_half_to_float_inline(out->d), dmin = mlt_half_to_float_inline(out->dmin);
    for (int g = 0; g < type->groups; g++) {
        float scale = d * (float)out->scales[g], min = dmin * (float)out->mins[g];
        if (scale == 0) continue; /* codes mean nothing; they stay as they were fitted */
        for (int i = g * length; i < (g + 1) * length; i++)
            out->q[i] = (uint8_t)mlt_round_to_range((x[i] + min) / scale, 0, type->top);
    }
}

static void pack_k4_scales(const uint8_t scales[8], const uint8_t mins[8], uint8_t packed[12])
{
    for (int i = 0; i < 4; i++) {
        packed[i] = (uint8_t)(scales[i] | scales[i + 4] >> 4 << 6);
        packed[i + 4] = (uint8_t)(mins[i] | mins[i + 4] >> 4 << 6);
        packed[i + 8] = (uint8_t)((scales[i + 4] & 15) | mins[i + 4] << 4);
    }
}

void mlt_encode_q2_K(const float *x, const float *importance, uint8_t *block)
{
    static const struct affine_type type = {16, 3, 15, {-0.5f, 0.1f, 15, true}, {-0.9f, 0.05f, 36, false}};
    struct affine_superblock super;
    struct mlt_block_q2_K out;
    encode_affine_superblock(&type, x, importance, &super);
    for (int g = 0; g < 16; g++)
        out.scales[g] = (uint8_t)(super.scales[g] | super.mins[g] << 4);
    mlt_pack_2bit(super.q, out.qs);
    out.d = super.d;
    out.dmin = super.dmin;
    memcpy(block, &out, sizeof out);
}

void mlt_encode_q4_K(const float *x, const float *importance, uint8_t *block)
{
    static const struct affine_type type = {8, 15, 63, {-1.0f, 0.1f, 20, false}, {-0.9f, 0.05f, 36, false}};
    struct affine_superblock super;
    struct mlt_block_q4_K out;
    encode_affine_superblock(&type, x, importance, &super);
    out.d = super.d;
    out.dmin = super.dmin;
    pack_k4_scales(super.scales, super.mins, out.scales);
    mlt_pack_4bit(super.q, out.qs);
    memcpy(block, &out, sizeof out);
}

void mlt_encode_q5_K(const float *x, const float *importance, uint8_t *block)
{
    static const struct affine_type type = {8, 31, 63, {-0.5f, 0.1f, 15, false}, {-0.9f, 0.05f, 36, false}};
    struct affine_superblock super;
    struct mlt_block_q5_K out;
    encode_affine_superblock(&type, x, importance, &super);
    out.d = super.d;
    out.dmin = super.dmin;
    pack_k4_scales(super.scales, super.mins, out.scales);
    mlt_pack_bit(super.q, 4, out.qh);
    mlt_pack_4bit(super.q, out.qs);
    memcpy(block, &out, sizeof out);
}

/* ---- Symmetric types: Q3_K, Q6_K ---- */

/* Codes of elements for the scales as stored: q[i] = x[i] / (d * scale), plus `levels`. */
static void round_symmetric(const float *x, float d, const int8_t scales[16], int levels, uint8_t q[MLT_QK_K])
{
    for (int g = 0; g < 16; g++) {
        float scale = d * (float)scales[g];
        if (scale == 0) continue; /* codes mean nothing; they stay as they were fitted */
        for (int i = 16 * g; i < 16 * (g + 1); i++)
            q[i] = (uint8_t)(mlt_round_to_range(x[i] / scale, -levels, levels - 1) + levels);
    }
}

static void store_codes(const int8_t *fitted, int levels, uint8_t *q)
{
    for (int i = 0; i < 16; i++)
        q[i] = (uint8_t)(fitted[i] + levels);
}

/* scales[g] ~ d * codes[g], codes in [-levels, levels - 1], the extreme one on -levels. Returns d. */
static uint16_t codes_of_extreme(const float scales[16], int levels, int8_t codes[16])
{
    float extreme = mlt_extreme(scales, 16);
    float inverse = fabsf(extreme) > 1e-36f ? (float)-levels / extreme : 0;
    for (int g = 0; g < 16; g++)
        codes[g] = (int8_t)mlt_round_to_range(inverse * scales[g], -levels, levels - 1);
    return mlt_scale_to_half(inverse != 0 ? 1 / inverse : 0);
}

static void pack_q3_scales(const int8_t scales[16], uint8_t packed[12])
{
    memset(packed, 0, 12);
    for (int i = 0; i < 16; i++) {
        int code = scales[i] + 32;
        packed[i % 8] |= (uint8_t)((code & 15) << (i / 8 * 4));
        packed[8 + i % 4] |= (uint8_t)(code >> 4 << (i / 4 * 2));
    }
}

void mlt_encode_q3_K(const float *x, const float *importance, uint8_t *block)
{
    struct mlt_block_q3_K out;
    uint8_t q[MLT_QK_K];
    int8_t fitted[16], codes[16];
    float scales[16], weights[16], group_weights[16];
    float mean_square = 2 * mlt_sum_of_squares(x, MLT_QK_K) / MLT_QK_K;
    for (int g = 0; g < 16; g++) {
        const float *group = x + 16 * g;
        if (importance) {
            mlt_weights_from_importance(group, importance + 16 * g, 16, mean_square, weights);
            group_weights[g] = mlt_sum(weights, 16);
            scales[g] = mlt_fit_signed(group, weights, 16, 4, fitted);
        } else {
            scales[g] = mlt_fit_signed_by_descent(group, 16, 4, fitted);
        }
        store_codes(fitted, 4, q + 16 * g);
    }
    if (importance)
        out.d = mlt_scale_to_half(mlt_fit_signed(scales, group_weights, 16, 32, codes));
    else
        out.d = codes_of_extreme(scales, 32, codes);
    round_symmetric(x, mlt_half_to_float_inline(out.d), codes, 4, q);
    pack_q3_scales(codes, out.scales);
    mlt_pack_bit(q, 2, out.hmask);
    mlt_pack_2bit(q, out.qs);
    memcpy(block, &out, sizeof out);
}

void mlt_encode_q6_K(const float *x, const float *importance, uint8_t *block)
{
    struct mlt_block_q6_K out;
    uint8_t q[MLT_QK_K];
    int8_t fitted[16];
    float scales[16], weights[16];
    for (int g = 0; g < 16; g++) {
        const float *group = x + 16 * g;
        for (int i = 0; i < 16; i++)
            weights[i] = importance ? importance[16 * g + i] : group[i] * group[i];
        scales[g] = mlt_fit_signed(group, weights, 16, 32, fitted);
        store_codes(fitted, 32, q + 16 * g);
    }
    memset(&out, 0, sizeof out);
    if (fabsf(mlt_extreme(scales, 16)) >= MLT_TINY_GROUP) {
        out.d = codes_of_extreme(scales, 128, out.scales);
        round_symmetric(x, mlt_half_to_float_inline(out.d), out.scales, 32, q);
        mlt_pack_6bit(q, out.ql, out.qh);
    }
    memcpy(block, &out, sizeof out);
}
