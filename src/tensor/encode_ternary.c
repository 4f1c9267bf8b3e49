/*
 * Encoders of the ternary types TQ1_0 (1.69 bits a weight) and TQ2_0 (2.06): -d, 0 or d.
 *
 * They are meant for models that were trained to such weights. Then d is the largest magnitude, and nothing
 * is lost but the rounding of d; these are also the bytes of GGUF's reference implementation. For other
 * weights that choice is poor. With importances, d is fitted.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tensor/encoders.h"
#include "tensor/fit.h"
#include "tensor/pack.h"
#include "tensor/quant_blocks.h"

#include <math.h>

/* q[i] = the nearest of -1, 0, 1 to x[i] * inverse, halves away from 0, plus 1. */
static void round_ternary(const float *x, float inverse, uint8_t q[MLT_QK_K])
{
    for (int i = 0; i < MLT_QK_K; i++)
        q[i] = (uint8_t)(1 + (x[i] * inverse >= 0.5f) - (x[i] * inverse <= -0.5f));
}

/*
 * For a threshold t, values beyond it in magnitude become -d or d, and the best d is their weighted mean
 * magnitude. 31 thresholds up to the largest magnitude are tried; the gain of one is xq^2 / qq, as in
 * mlt_fit_signed. The codes that come out are nearest for a scale of 2 t, so that is what the caller rounds
 * with; `d` is what it stores.
 */
static float fit_ternary(const float *x, const float *weights, float largest, float *d)
{
    enum { STEPS = 32 };
    float best_gain = 0, best_threshold = largest / 2;
    *d = largest;
    for (int k = 1; k < STEPS; k++) {
        float threshold = largest * (float)k / STEPS, xq = 0, qq = 0;
        for (int i = 0; i < MLT_QK_K; i++) {
            float weight = fabsf(x[i]) >= threshold ? weights[i] : 0;
            xq += weight * fabsf(x[i]);
            qq += weight;
        }
        if (!(qq > 0) || !isfinite(xq) || !(xq / qq * xq > best_gain)) continue;
        best_gain = xq / qq * xq;
        best_threshold = threshold;
        *d = xq / qq;
    }
    return best_threshold;
}

static uint16_t encode_ternary(const float *x, const float *importance, uint8_t q[MLT_QK_K])
{
    float d = fabsf(mlt_extreme(x, MLT_QK_K)), threshold = d / 2;
    if (d > 65504.0f) {
        threshold = 65504.0f / 2;
    } else if (importance && d > MLT_TINY_GROUP) {
        threshold = fit_ternary(x, importance, d, &d);
    }
    round_ternary(x, threshold > 1e-37f ? 0.5f / threshold : 0, q);
    return mlt_scale_to_half(d);
}

void mlt_encode_tq1_0(const float *x, const float *importance, uint8_t *block)
{
    struct mlt_block_tq1_0 out;
    uint8_t q[MLT_QK_K];
    out.d = encode_ternary(x, importance, q);
    mlt_pack_digits(q, out.qs, out.qh);
    memcpy(block, &out, sizeof out);
}

void mlt_encode_tq2_0(const float *x, const float *importance, uint8_t *block)
{
    struct mlt_block_tq2_0 out;
    uint8_t q[MLT_QK_K];
    out.d = encode_ternary(x, importance, q);
    mlt_pack_2bit(q, out.qs);
    memcpy(block, &out, sizeof out);
}
