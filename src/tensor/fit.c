/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/fit.h"
#include "tensor/quant_blocks.h"

#include <math.h>

float mlt_extreme(const float *x, int n)
{
    /* Maxima of eight columns, which compilers turn into vectors, then a search for the first of them. */
    enum { WIDE = 8 };
    float most[WIDE] = {0}, magnitude = 0;
    int i = 0;
    for (; i + WIDE <= n; i += WIDE)
        for (int j = 0; j < WIDE; j++)
            most[j] = fabsf(x[i + j]) > most[j] ? fabsf(x[i + j]) : most[j];
    for (; i < n; i++)
        most[0] = fabsf(x[i]) > most[0] ? fabsf(x[i]) : most[0];
    for (int j = 0; j < WIDE; j++)
        magnitude = most[j] > magnitude ? most[j] : magnitude;
    for (i = 0; i < n; i++)
        if (fabsf(x[i]) == magnitude) return x[i];
    return 0;
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

/*
 * The affine fit works on all groups of a superblock side by side: value i of group g lies at [i * groups +
 * g], and the innermost loops run over groups. A group's sums are still formed in order of i, and what
 * happens in one group does not touch another: only the decisions (is this candidate the best so far?) become
 * selections.
 *
 * There is a version of all loops for each number of groups: everything SPECIALISED is inlined and called
 * with constants. gcc unrolls a loop over eight groups completely before it looks for vectors, and then finds
 * none.
 */
#if defined(__GNUC__)
#define SPECIALISED static inline __attribute__((always_inline))
#else
#define SPECIALISED static inline
#endif
#if defined(__GNUC__) && !defined(__clang__)
#define KEEP_LOOP _Pragma("GCC unroll 1")
#else
#define KEEP_LOOP
#endif

enum { MAX_GROUPS = 16 };

struct affine_groups {
    float x[MLT_QK_K], weights[MLT_QK_K], codes[MLT_QK_K];
    float sum_w[MAX_GROUPS], sum_x[MAX_GROUPS]; /* of the weights, of the weighted x */
    float max[MAX_GROUPS];
    float scale[MAX_GROUPS], min[MAX_GROUPS], error[MAX_GROUPS]; /* the best so far */
    float inverse[MAX_GROUPS], origin[MAX_GROUPS]; /* its codes are (x - origin) * inverse, rounded */
};

static inline float round_code(float value, float top)
{
    value = value > 0.0f ? value : 0.0f;
    value = value < top ? value : top;
    return value + 12582912.0f - 12582912.0f;
}

/* The sum of weights * |scale * codes + min - x| or of its square, for each group. */
SPECIALISED void line_errors(const struct affine_groups *a, int groups, int n, const float *scale,
                             const float *min, bool absolute, float *error)
{
    float sum[MAX_GROUPS] = {0};
    for (int i = 0; i < n; i++) {
        const float *x = a->x + i * groups, *weights = a->weights + i * groups,
                    *codes = a->codes + i * groups;
        if (absolute) {
            KEEP_LOOP
            for (int g = 0; g < groups; g++)
                sum[g] += weights[g] * fabsf(scale[g] * codes[g] + min[g] - x[g]);
        } else {
            KEEP_LOOP
            for (int g = 0; g < groups; g++) {
                float difference = scale[g] * codes[g] + min[g] - x[g];
                sum[g] += weights[g] * (difference * difference);
            }
        }
    }
    for (int g = 0; g < groups; g++)
        error[g] = sum[g];
}

/* Codes from the values' ranges alone: the starting point. */
SPECIALISED void start_affine(struct affine_groups *a, const float *x, const float *weights, int groups,
                              int n, float top, bool absolute)
{
    for (int i = 0; i < n; i++) {
        for (int g = 0; g < groups; g++) {
            a->x[i * groups + g] = x[g * n + i];
            a->weights[i * groups + g] = weights[g * n + i];
        }
    }
    for (int g = 0; g < groups; g++) {
        a->min[g] = a->max[g] = a->x[g];
        a->sum_w[g] = a->weights[g];
        a->sum_x[g] = a->weights[g] * a->x[g];
    }
    for (int i = 1; i < n; i++) {
        KEEP_LOOP
        for (int g = 0; g < groups; g++) {
            float value = a->x[i * groups + g], weight = a->weights[i * groups + g];
            a->min[g] = value < a->min[g] ? value : a->min[g];
            a->max[g] = value > a->max[g] ? value : a->max[g];
            a->sum_w[g] += weight;
            a->sum_x[g] += weight * value;
        }
    }
    for (int g = 0; g < groups; g++) {
        if (a->min[g] > 0) a->min[g] = 0;
        a->origin[g] = a->min[g];
        a->inverse[g] = top / (a->max[g] - a->min[g]);
        a->scale[g] = 1 / a->inverse[g];
    }
    for (int i = 0; i < n * groups; i++)
        a->codes[i] = round_code(a->inverse[i % groups] * (a->x[i] - a->min[i % groups]), top);
    line_errors(a, groups, n, a->scale, a->min, absolute, a->error);
}

/*
 * One candidate in every group: the codes are rounded on the grid that begins at the best minimum so far,
 * with `steps` of it between that and the largest value; then scale and minimum are solved for by weighted
 * least squares. The minimum is not allowed to be positive: a min is stored as what is subtracted.
 */
SPECIALISED void try_affine(struct affine_groups *a, int groups, int n, float top, float steps, bool absolute)
{
    float origin[MAX_GROUPS], inverse[MAX_GROUPS], scale[MAX_GROUPS], min[MAX_GROUPS], error[MAX_GROUPS];
    float sum_q[MAX_GROUPS] = {0}, sum_qq[MAX_GROUPS] = {0}, sum_xq[MAX_GROUPS] = {0};
    for (int g = 0; g < groups; g++) {
        origin[g] = a->min[g];
        inverse[g] = steps / (a->max[g] - a->min[g]);
    }
    for (int i = 0; i < n; i++) {
        const float *x = a->x + i * groups, *weights = a->weights + i * groups;
        float *codes = a->codes + i * groups;
        KEEP_LOOP
        for (int g = 0; g < groups; g++) {
            float code = round_code(inverse[g] * (x[g] - origin[g]), top), weighted = weights[g] * code;
            codes[g] = code;
            sum_q[g] += weighted;
            sum_qq[g] += weighted * code;
            sum_xq[g] += weighted * x[g];
        }
    }
    for (int g = 0; g < groups; g++) {
        float determinant = a->sum_w[g] * sum_qq[g] - sum_q[g] * sum_q[g];
        scale[g] = (a->sum_w[g] * sum_xq[g] - a->sum_x[g] * sum_q[g]) / determinant;
        min[g] = (sum_qq[g] * a->sum_x[g] - sum_q[g] * sum_xq[g]) / determinant;
        if (min[g] > 0) {
            min[g] = 0;
            scale[g] = sum_xq[g] / sum_qq[g];
        }
        if (!(determinant > 0))
            min[g] = NAN; /* no solution: the error will be no number, and not the smallest */
    }
    line_errors(a, groups, n, scale, min, absolute, error);
    for (int g = 0; g < groups; g++) {
        if (!(error[g] < a->error[g])) continue;
        a->error[g] = error[g];
        a->origin[g] = origin[g];
        a->inverse[g] = inverse[g];
        a->scale[g] = scale[g];
        a->min[g] = min[g];
    }
}

SPECIALISED void fit_affine(const float *x, const float *weights, int groups, int n, int top,
                            const struct mlt_affine_search *search, bool absolute, uint8_t *q,
                            struct mlt_affine *fits)
{
    struct affine_groups a;
    float high = (float)top;
    start_affine(&a, x, weights, groups, n, high, absolute);
    for (int k = 0; k <= search->steps; k++)
        try_affine(&a, groups, n, high, search->first + search->step * (float)k + high, absolute);
    for (int g = 0; g < groups; g++) {
        /* A range of zero, or one so small that its inverse may be infinite. */
        bool flat = !(a.max[g] - a.origin[g] > 1e-37f);
        fits[g] = (struct mlt_affine){flat ? 0 : a.scale[g], flat ? -a.origin[g] : -a.min[g]};
        for (int i = 0; i < n; i++) {
            float code = round_code(a.inverse[g] * (x[g * n + i] - a.origin[g]), high);
            q[g * n + i] = (uint8_t)(flat ? 0.0f : code);
        }
    }
}

void mlt_fit_affine(const float *x, const float *weights, int groups, int top,
                    const struct mlt_affine_search *search, uint8_t *q, struct mlt_affine *fits)
{
    if (groups == 1)
        fit_affine(x, weights, 1, 32, top, search, false, q, fits);
    else if (groups == 8)
        fit_affine(x, weights, 8, 32, top, search, false, q, fits);
    else if (search->absolute)
        fit_affine(x, weights, 16, 16, top, search, true, q, fits);
    else
        fit_affine(x, weights, 16, 16, top, search, false, q, fits);
}
