/*
 * The searches for scales that the encoders share. Internal to src/tensor.
 *
 * All of them minimise a weighted error of one group: sum of weights[i] * (x[i] - decoded[i])^2. A quantiser
 * knows the best scale once it knows the codes (a linear least-squares problem in one or two unknowns), and
 * the best codes once it knows the scale (rounding), but not both at once: the joint problem has many local
 * minima. So each search tries inverse scales around the one that maps the extreme value onto the extreme
 * code, rounds, solves for the scale, and keeps the best. The idea and the ranges are those of the K-quants
 * in GGUF's reference implementation, whose bytes come out where the weights are the same; the order of every
 * float operation below is part of that.
 *
 * Inputs are finite and at most 2^30 in magnitude (encode.c sees to it), weights >= 0. Where importances are
 * so large that sums overflow, a search keeps its starting point; scales are finite and codes in range in any
 * case.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_FIT_H
#define MLT_FIT_H

#include "tensor/half.h"

#include <math.h>
#include <stdbool.h>

/* Groups whose largest magnitude is below this are zero. */
#define MLT_TINY_GROUP 1e-15f

/* The nearest integer, ties to even, of a value limited to [low, high]; |low|, |high| < 2^22. NaN gives
 * `low`. */
static inline int mlt_round_to_range(float value, int low, int high)
{
    value = value > (float)low ? value : (float)low;
    value = value < (float)high ? value : (float)high;
    /* 1.5 * 2^23: the sum has no bits below the units, and the addition rounds to even. */
    return (int)(value + 12582912.0f - 12582912.0f);
}

/* The nearest integer, ties away from zero, limited to [-limit, limit]; limit <= 127. */
static inline int mlt_round_half_away(float value, int limit)
{
    value = value > (float)-limit ? value : (float)-limit;
    value = value < (float)limit ? value : (float)limit;
    /* With the number below 0.5 what is just under a half does not reach 1, and a half still does. */
    return (int)(value + copysignf(0x1.fffffep-2f, value));
}

/* Scales are stored as halves: what these cannot hold becomes the largest half of its sign. */
static inline float mlt_limit_scale(float scale)
{
    return scale > 65504.0f ? 65504.0f : scale < -65504.0f ? -65504.0f : scale;
}

static inline uint16_t mlt_scale_to_half(float scale)
{
    return mlt_float_to_half_inline(mlt_limit_scale(scale));
}

/* 0 where 1 / scale might overflow: such a scale is zero as a half. */
static inline float mlt_inverse_of_scale(float scale)
{
    return scale > 1e-36f || scale < -1e-36f ? 1 / scale : 0;
}

/* The element of the largest magnitude, the first of equals; 0 for a group of zeros. */
float mlt_extreme(const float *x, int n);

/*
 * weights[i] = importance[i] * sqrt(mean_square + x[i]^2): the weight of an element's squared error where the
 * caller measured importances. The root favours large weights somewhat; that the errors of a row's elements
 * are not independent, which a per-element importance cannot say, is the reason.
 */
void mlt_weights_from_importance(const float *x, const float *importance, int n, float mean_square,
                                 float *weights);
float mlt_sum(const float *x, int n);
float mlt_sum_of_squares(const float *x, int n);

/*
 * x[i] ~ scale * q[i], q[i] in [-levels, levels - 1]. Returns the scale, which takes the sign that puts the
 * extreme value onto code -levels (or near it). A group of zeros has scale 0 and codes -levels. n <= 32.
 */
float mlt_fit_signed(const float *x, const float *weights, int n, int levels, int8_t *q);

/*
 * The same form with weights x[i]^2, searched in another way: from the extreme value's scale, one code at a
 * time is moved to where it is best for the scale that the others ask for, until nothing improves (five
 * rounds at most).
 */
float mlt_fit_signed_by_descent(const float *x, int n, int levels, int8_t *q);

/* x[i] ~ scale * q[i] for x[i] >= 0, q[i] in [0, top]: group scales within a superblock. n <= 32. */
float mlt_fit_unsigned(const float *x, const float *weights, int n, int top, uint8_t *q);

struct mlt_affine {
    float scale, min;
};

/* Candidates of mlt_fit_affine: inverse scales (top + first + step * k) / range for k = 0 .. steps. */
struct mlt_affine_search {
    float first, step;
    int steps;
    bool absolute; /* compare candidates by the sum of weights[i] * |error| instead of its square */
};

/*
 * x[i] ~ scale * q[i] - min, min >= 0, q[i] in [0, top], for each of `groups` groups that follow one another:
 * 1 or 8 groups of 32, or 16 of 16 (only these may have search->absolute).
 */
void mlt_fit_affine(const float *x, const float *weights, int groups, int top,
                    const struct mlt_affine_search *search, uint8_t *q, struct mlt_affine *fits);

#endif
