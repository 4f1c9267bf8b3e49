/*
 * Log-probabilities of a row of logits, and its most probable tokens. NaN logits are tokens that do not
 * exist; infinities are as in the sampler.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_LOGPROB_H
#define MLT_LOGPROB_H

#include "kernels/kernels.h"
#include "millet/millet.h"

/* ln p = x - max - ln(sum of e^(x - max)). */
struct mlt_log_scale {
    float max, log_sum;
};

static inline float mlt_log_probability(const struct mlt_log_scale *scale, float x)
{
    return (x == scale->max ? 0.0f : x - scale->max) - scale->log_sum;
}

/* `row` is scratch for n floats. At least one of the n logits is a number. */
struct mlt_log_scale mlt_log_scale_of(const struct mlt_kernels *kernels, const float *logits, float *row,
                                      int32_t n);

/*
 * Writes the n_best most probable tokens (fewer where fewer logits are numbers) to best[n_best], best first,
 * the lower id first among equals, and returns how many there are.
 */
int32_t mlt_find_best(const float *logits, int32_t n_vocab, const struct mlt_log_scale *scale,
                      millet_token_logprob *best, int32_t n_best);

#endif
