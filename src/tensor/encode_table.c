/*
 * Encoders of the types whose codes stand for values of a table: IQ4_NL, IQ4_XS and MXFP4. Without
 * importances the bytes are those of GGUF's reference implementation.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tensor/encoders.h"
#include "tensor/fit.h"
#include "tensor/pack.h"
#include "tensor/quant_blocks.h"

#include <math.h>

/*
 * The sixteen values of IQ4_NL and IQ4_XS are nearest to what lies between the midpoints: twice these are
 * integers. A code is the number of midpoints that are not above x; comparing with all of them, without a
 * branch, lets compilers work on many values at once.
 */
struct midpoints {
    float doubled[15]; /* of values i and i + 1 */
    float step[15];    /* from value i to i + 1 */
};

static void find_midpoints(struct midpoints *mid)
{
    for (int i = 0; i < 15; i++) {
        mid->doubled[i] = (float)(mlt_iq4_values[i] + mlt_iq4_values[i + 1]);
        mid->step[i] = (float)(mlt_iq4_values[i + 1] - mlt_iq4_values[i]);
    }
}

static void nearest_codes(const struct midpoints *mid, const float *x, float inverse, uint8_t q[MLT_QK])
{
    for (int i = 0; i < MLT_QK; i++) {
        float doubled = 2 * (inverse * x[i]);
        int code = 0;
        for (int k = 0; k < 15; k++)
            code += doubled >= mid->doubled[k];
        q[i] = (uint8_t)code;
    }
}

/*
 * The scale of 32 values. The extreme value is put onto table values of -134 to -120 in steps of one, and
 * onto 127 (where the table ends at 113), codes are rounded, and the weighted least-squares scale with the
 * largest gain wins, as in mlt_fit_signed. The table is not symmetric, so that the sign of the scale matters.
 */
static float fit_scale(const struct midpoints *mid, const float *x, const float *weights)
{
    enum { CANDIDATES = 16 };
    float extreme = mlt_extreme(x, MLT_QK);
    if (fabsf(extreme) < MLT_TINY_GROUP) return 0;
    float lowest = mlt_iq4_values[0];
    float inverse[CANDIDATES], xq[CANDIDATES] = {0}, qq[CANDIDATES] = {0};
    inverse[0] = 1 / (-extreme / lowest);
    for (int c = 1; c < CANDIDATES; c++)
        inverse[c] = ((float)(c - 8) + lowest) / extreme;
    for (int i = 0; i < MLT_QK; i++) {
        float doubled[CANDIDATES], value[CANDIDATES];
        for (int c = 0; c < CANDIDATES; c++) {
            doubled[c] = 2 * (inverse[c] * x[i]);
            value[c] = lowest;
        }
        for (int k = 0; k < 15; k++) {
            float midpoint = mid->doubled[k], step = mid->step[k];
            for (int c = 0; c < CANDIDATES; c++)
                value[c] += doubled[c] >= midpoint ? step : 0.0f;
        }
        for (int c = 0; c < CANDIDATES; c++) {
            float weighted = weights[i] * value[c];
            xq[c] += weighted * x[i];
            qq[c] += weighted * value[c];
        }
    }
    float scale = qq[0] > 0 ? xq[0] / qq[0] : 0;
    float gain = scale * xq[0];
    for (int c = 1; c < CANDIDATES; c++) {
        if (!(qq[c] > 0 && xq[c] * xq[c] > gain * qq[c])) continue;
        scale = xq[c] / qq[c];
        gain = scale * xq[c];
    }
    return isfinite(scale) && scale != 0 ? scale : extreme / lowest;
}

static void weights_of_group(const float *x, const float *importance, float mean_square,
                             float weights[MLT_QK])
{
    if (importance) {
        mlt_weights_from_importance(x, importance, MLT_QK, 2 * mean_square, weights);
    } else {
        for (int i = 0; i < MLT_QK; i++)
            weights[i] = x[i] * x[i];
    }
}

void mlt_encode_iq4_nl(const float *x, const float *importance, uint8_t *block)
{
    struct mlt_block_iq4_nl out;
    struct midpoints mid;
    float weights[MLT_QK];
    uint8_t q[MLT_QK];
    find_midpoints(&mid);
    weights_of_group(x, importance, mlt_sum_of_squares(x, MLT_QK) / MLT_QK, weights);
    float scale = fit_scale(&mid, x, weights);
    out.d = mlt_scale_to_half(scale);
    nearest_codes(&mid, x, mlt_inverse_of_scale(scale), q);
    mlt_pack_nibbles(q, out.qs);
    memcpy(block, &out, sizeof out);
}

void mlt_encode_iq4_xs(const float *x, const float *importance, uint8_t *block)
{
    struct mlt_block_iq4_xs out;
    struct midpoints mid;
    float scales[8], weights[MLT_QK];
    uint8_t q[MLT_QK];
    float mean_square = mlt_sum_of_squares(x, MLT_QK_K) / MLT_QK_K;
    find_midpoints(&mid);
    for (int g = 0; g < 8; g++) {
        const float *group = x + MLT_QK * g;
        weights_of_group(group, importance ? importance + MLT_QK * g : NULL, mean_square, weights);
        scales[g] = fit_scale(&mid, group, weights);
    }
    float d = -mlt_extreme(scales, 8) / 32;
    float inverse = mlt_inverse_of_scale(d);
    out.d = mlt_scale_to_half(d);
    out.scales_h = 0;
    memset(out.scales_l, 0, sizeof out.scales_l);
    for (int g = 0; g < 8; g++) {
        int scale = mlt_round_to_range(inverse * scales[g], -32, 31);
        nearest_codes(&mid, x + MLT_QK * g, mlt_inverse_of_scale(d * (float)scale), q);
        mlt_pack_nibbles(q, out.qs + MLT_QK / 2 * g);
        out.scales_l[g / 2] |= (uint8_t)(((scale + 32) & 15) << (g % 2 * 4));
        out.scales_h |= (uint16_t)((scale + 32) >> 4 << (2 * g));
    }
    memcpy(block, &out, sizeof out);
}

/* ---- MXFP4 ---- */

/* Codes for d = half of the block's scale; ties go to the smaller magnitude, and zero has no sign. Returns
 * the weighted squared error. */
static float round_e2m1(const float *x, const float *weights, float d, uint8_t q[MLT_QK])
{
    static const float doubled_midpoints[7] = {1, 3, 5, 7, 10, 14, 20};
    float error = 0;
    for (int i = 0; i < MLT_QK; i++) {
        float doubled = 2 * fabsf(x[i]);
        int code = 0;
        for (int k = 0; k < 7; k++)
            code += doubled > doubled_midpoints[k] * d;
        float difference = fabsf(x[i]) - (float)mlt_e2m1_doubled[code] * d;
        error += (weights ? weights[i] : 1) * difference * difference;
        q[i] = (uint8_t)(code | (x[i] < 0 && code > 0) << 3);
    }
    return error;
}

/*
 * The scale is a power of two: the one by which the largest value lies between 4 and 8, of which 6 is the
 * largest code, so that it may be clipped by up to a quarter. That is the rule of the OCP Microscaling
 * specification. With importances its two neighbours are tried as well.
 */
void mlt_encode_mxfp4(const float *x, const float *importance, uint8_t *block)
{
    struct mlt_block_mxfp4 out;
    uint8_t q[MLT_QK];
    uint32_t bits = mlt_bits_of_float(mlt_extreme(x, MLT_QK));
    int exponent =
        (int)(bits >> 23 & 255) - 2; /* floor(log2) + 127 - 2; a zero or subnormal extreme gives -2 */
    if (exponent < 0) exponent = 0;
    float best = round_e2m1(x, importance, mlt_e8m0_half((uint8_t)exponent), q);
    out.e = (uint8_t)exponent;
    for (int e = exponent - 1; importance && e <= exponent + 1; e += 2) {
        uint8_t candidate[MLT_QK];
        if (e < 0) continue;
        float error = round_e2m1(x, importance, mlt_e8m0_half((uint8_t)e), candidate);
        if (error < best) {
            best = error;
            out.e = (uint8_t)e;
            memcpy(q, candidate, sizeof q);
        }
    }
    mlt_pack_nibbles(q, out.qs);
    memcpy(block, &out, sizeof out);
}
