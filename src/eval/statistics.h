/*
 * Means with confidence intervals over the tokens of a text, and quantiles.
 *
 * Neighbouring tokens are not independent: a passage that is hard is hard for several tokens. The standard
 * error is therefore taken from batch means (Conway, 1963): the tokens in their order are cut into b batches
 * of equal length, b = sqrt(n) but at most 64, and the spread of the batches' means, with Student's t for b -
 * 1 degrees of freedom, gives the interval. Correlation over distances short against a batch is accounted
 * for.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_STATISTICS_H
#define MLT_STATISTICS_H

#include "millet/lab.h"

enum { MLT_MAX_BATCHES = 64 };

/* A mean of `n` values that come one after the other. */
struct mlt_mean {
    int64_t n, seen; /* n >= 2 */
    int batches;
    double sums[MLT_MAX_BATCHES];
};

void mlt_mean_start(struct mlt_mean *mean, int64_t n);
void mlt_mean_add(struct mlt_mean *mean, double value);
/* After n values. */
double mlt_mean_value(const struct mlt_mean *mean);
double mlt_mean_error(const struct mlt_mean *mean);
millet_interval mlt_mean_interval(const struct mlt_mean *mean);

/*
 * For a mean of zeros and ones: Wilson's score interval (1927), with as many independent tokens as would give
 * the standard error of the batch means, n at most.
 */
millet_interval mlt_share_interval(const struct mlt_mean *mean);

/* The same for a share p of n independent ones. */
millet_interval mlt_wilson_interval(double p, double n);

/* The interval of e^x. */
millet_interval mlt_interval_exp(millet_interval interval);

/* The 97.5% quantile of Student's t with `degrees` >= 1. */
double mlt_student_975(int degrees);

/* Sorts values[n >= 1] ascending, without NaN. */
void mlt_sort_floats(float *values, size_t n);
/* Quantile q in [0, 1] of sorted values, interpolated between neighbours (type 7 of Hyndman and Fan, 1996).
 */
double mlt_quantile(const float *sorted, size_t n, double q);

#endif
