/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/fit.h"

#include <math.h>

float mlt_extreme(const float *x, int n)
{
    float extreme = 0, magnitude = 0;
    for (int i = 0; i < n; i++) {
        if (fabsf(x[i]) > magnitude) {
            magnitude = fabsf(x[i]);
            extreme = x[i];
        }
    }
    return extreme;
}

float mlt_sum(const float *x, int n)
{
    float sum = 0;
    for (int i = 0; i < n; i++)
        sum += x[i];
    return sum;
}

float mlt_sum_of_squares(const float *x, int n)
{
    float sum = 0;
    for (int i = 0; i < n; i++)
        sum += x[i] * x[i];
    return sum;
}

void mlt_weights_from_importance(const float *x, const float *importance, int n, float mean_square,
                                 float *weights)
{
    for (int i = 0; i < n; i++)
        weights[i] = importance[i] * sqrtf(mean_square + x[i] * x[i]);
}

/*
 * For codes q the best scale is xq / qq with xq = sum w x q and qq = sum w q q, and the error that is left is
 * sum w x x - xq^2 / qq: the candidate with the largest xq^2 / qq wins. The products that compare two
 * candidates avoid a division.
 */
float mlt_fit_signed(const float *x, const float *weights, int n, int levels, int8_t *q)
{
    enum { SIDE = 9, CANDIDATES = 2 * SIDE + 1, PADDED = 20 };
    float extreme = mlt_extreme(x, n);
    if (fabsf(extreme) < MLT_TINY_GROUP) {
        for (int i = 0; i < n; i++)
            q[i] = (int8_t)-levels;
        return 0;
    }
    /* The extreme value at levels - 0.9 .. levels + 0.9. All candidates side by side, which compilers turn
     * into vectors; each one's sums are in order of i. */
    float inverse[PADDED], xq[PADDED] = {0}, qq[PADDED] = {0};
    for (int c = 0; c < PADDED; c++)
        inverse[c] = -((float)levels + 0.1f * (float)(c - SIDE)) / extreme;
    float low = (float)-levels, high = (float)(levels - 1);
    for (int i = 0; i < n; i++) {
        float w = weights[i], wx = w * x[i];
        for (int c = 0; c < PADDED; c++) {
            float code = inverse[c] * x[i];
            code = code > low ? code : low;
            code = code < high ? code : high;
            code = code + 12582912.0f - 12582912.0f;
            xq[c] += wx * code;
            qq[c] += w * code * code;
        }
    }
    int best = SIDE;
    float scale = qq[SIDE] > 0 ? xq[SIDE] / qq[SIDE] : 1 / inverse[SIDE];
    float gain = scale * xq[SIDE];
    for (int c = 0; c < CANDIDATES; c++) {
        if (c == SIDE || !(qq[c] > 0 && xq[c] * xq[c] > gain * qq[c])) continue;
        best = c;
        scale = xq[c] / qq[c];
        gain = scale * xq[c];
    }
    for (int i = 0; i < n; i++)
        q[i] = (int8_t)mlt_round_to_range(inverse[best] * x[i], -levels, levels - 1);
    return isfinite(scale) ? scale : 1 / inverse[best];
}

float mlt_fit_signed_by_descent(const float *x, int n, int levels, int8_t *q)
{
    float extreme = mlt_extreme(x, n);
    if (fabsf(extreme) < MLT_TINY_GROUP) {
        for (int i = 0; i < n; i++)
            q[i] = (int8_t)-levels;
        return 0;
    }
    float inverse = (float)-levels / extreme, xq = 0, qq = 0;
    for (int i = 0; i < n; i++) {
        float w = x[i] * x[i];
        int code = mlt_round_to_range(inverse * x[i], -levels, levels - 1);
        q[i] = (int8_t)code;
        xq += w * x[i] * (float)code;
        qq += w * (float)code * (float)code;
    }
    for (int round = 0, changes = 1; round < 5 && changes > 0; round++) {
        changes = 0;
        for (int i = 0; i < n; i++) {
            /* Without element i, the scale would be rest_xq / rest_qq. */
            float w = x[i] * x[i];
            float rest_xq = xq - w * x[i] * (float)q[i];
            if (!(rest_xq > 0)) continue;
            float rest_qq = qq - w * (float)q[i] * (float)q[i];
            int code = mlt_round_to_range(x[i] * rest_qq / rest_xq, -levels, levels - 1);
            if (code == q[i]) continue;
            float new_xq = rest_xq + w * x[i] * (float)code;
            float new_qq = rest_qq + w * (float)code * (float)code;
            if (new_qq > 0 && new_xq * new_xq * qq > xq * xq * new_qq) {
                q[i] = (int8_t)code;
                xq = new_xq;
                qq = new_qq;
                changes++;
            }
        }
    }
    return qq > 0 ? xq / qq : 0;
}

/* Error of rounding x to multiples of 1 / inverse. */
static float rounding_error(const float *x, const float *weights, int n, int top, float inverse)
{
    float scale = 1 / inverse, error = 0;
    for (int i = 0; i < n; i++) {
        float difference = x[i] - scale * (float)mlt_round_to_range(inverse * x[i], 0, top);
        error += weights[i] * difference * difference;
    }
    return error;
}

/* First the best of nine inverse scales, without a fit; then codes are moved one by one as in
 * mlt_fit_signed_by_descent. */
float mlt_fit_unsigned(const float *x, const float *weights, int n, int top, uint8_t *q)
{
    float largest = 0;
    for (int i = 0; i < n; i++)
        largest = x[i] > largest ? x[i] : largest;
    if (largest < MLT_TINY_GROUP) {
        for (int i = 0; i < n; i++)
            q[i] = 0;
        return 0;
    }
    float inverse = (float)top / largest;
    float best_error = rounding_error(x, weights, n, top, inverse);
    for (int k = -4; k <= 4; k++) {
        float candidate = (0.1f * (float)k + (float)top) / largest;
        float error = k == 0 ? best_error : rounding_error(x, weights, n, top, candidate);
        if (error < best_error) {
            best_error = error;
            inverse = candidate;
        }
    }
    float xq = 0, qq = 0;
    for (int i = 0; i < n; i++) {
        int code = mlt_round_to_range(inverse * x[i], 0, top);
        q[i] = (uint8_t)code;
        xq += weights[i] * x[i] * (float)code;
        qq += weights[i] * (float)code * (float)code;
    }
    for (int round = 0, changes = 1; round < 5 && changes > 0; round++) {
        changes = 0;
        for (int i = 0; i < n; i++) {
            float w = weights[i];
            float rest_xq = xq - w * x[i] * (float)q[i];
            float rest_qq = qq - w * (float)q[i] * (float)q[i];
            if (!(rest_xq > 0 && rest_qq > 0)) continue;
            int code = mlt_round_to_range(x[i] * rest_qq / rest_xq, 0, top);
            if (code == q[i]) continue;
            float new_xq = rest_xq + w * x[i] * (float)code;
            float new_qq = rest_qq + w * (float)code * (float)code;
            if (new_xq * new_xq * qq > xq * xq * new_qq) {
                q[i] = (uint8_t)code;
                xq = new_xq;
                qq = new_qq;
                changes++;
            }
        }
    }
    return qq > 0 ? xq / qq : 1 / inverse;
}

/* Rounds x to codes of the grid that starts at `min` and returns the error of the line scale * q + min. */
static float line_error(const float *x, const float *weights, const float *codes, int n, float scale,
                        float min, bool absolute)
{
    float error = 0;
    for (int i = 0; i < n; i++) {
        float difference = scale * codes[i] + min - x[i];
        error += weights[i] * (absolute ? fabsf(difference) : difference * difference);
    }
    return error;
}

static void round_codes(const float *x, int n, int top, float inverse, float min, float *codes)
{
    for (int i = 0; i < n; i++) {
        float code = inverse * (x[i] - min);
        code = code > 0 ? code : 0;
        code = code < (float)top ? code : (float)top;
        codes[i] = code + 12582912.0f - 12582912.0f;
    }
}

/*
 * A candidate's codes are rounded on the grid that begins at the best minimum found so far; then scale and
 * minimum are solved for by weighted least squares. The range of candidates slides along with that minimum,
 * so they are tried in order.
 */
struct mlt_affine mlt_fit_affine(const float *x, const float *weights, int n, int top,
                                 const struct mlt_affine_search *search, uint8_t *q)
{
    float min = x[0], max = x[0], sum_w = weights[0], sum_x = weights[0] * x[0];
    for (int i = 1; i < n; i++) {
        min = x[i] < min ? x[i] : min;
        max = x[i] > max ? x[i] : max;
        sum_w += weights[i];
        sum_x += weights[i] * x[i];
    }
    if (min > 0) min = 0;
    /* Below 1e-37 the inverse scale may be infinite. */
    if (!(max - min > 1e-37f)) {
        for (int i = 0; i < n; i++)
            q[i] = 0;
        return (struct mlt_affine){0, -min};
    }
    float codes[MLT_MAX_GROUP], best_codes[MLT_MAX_GROUP];
    float scale = 1 / ((float)top / (max - min));
    round_codes(x, n, top, (float)top / (max - min), min, best_codes);
    float best_error = line_error(x, weights, best_codes, n, scale, min, search->absolute);
    for (int k = 0; k <= search->steps; k++) {
        float inverse = (search->first + search->step * (float)k + (float)top) / (max - min);
        round_codes(x, n, top, inverse, min, codes);
        float sum_q = 0, sum_qq = 0, sum_xq = 0;
        for (int i = 0; i < n; i++) {
            float wq = weights[i] * codes[i];
            sum_q += wq;
            sum_qq += wq * codes[i];
            sum_xq += wq * x[i];
        }
        float determinant = sum_w * sum_qq - sum_q * sum_q;
        if (!(determinant > 0)) continue;
        float new_scale = (sum_w * sum_xq - sum_x * sum_q) / determinant;
        float new_min = (sum_qq * sum_x - sum_q * sum_xq) / determinant;
        if (new_min > 0) {
            new_min = 0;
            new_scale = sum_xq / sum_qq;
        }
        float error = line_error(x, weights, codes, n, new_scale, new_min, search->absolute);
        if (error < best_error) {
            memcpy(best_codes, codes, (size_t)n * sizeof *codes);
            best_error = error;
            scale = new_scale;
            min = new_min;
        }
    }
    for (int i = 0; i < n; i++)
        q[i] = (uint8_t)best_codes[i];
    return (struct mlt_affine){scale, -min};
}
