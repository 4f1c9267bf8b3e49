/*
 * The sampler chain: from a row of logits to a probability distribution over few tokens, and a draw from it.
 *
 * The result is a function of the logits, the recent tokens, the options and the random state alone, the same
 * on every machine: tokens are ranked by logit, the lower id first among equals; probabilities come from the
 * softmax kernel; sums are formed in double in ascending order of id (top-p and typical-p: of rank).
 * Survivors of every filter stay in the order of their ids, so that the draw does not depend on how they were
 * found.
 *
 * What is not a number: a NaN logit is a token that does not exist. +infinity takes all of the probability,
 * shared equally where several have it; where all are -infinity they are equal too.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_SAMPLER_H
#define MLT_SAMPLER_H

#include "base/memory.h"
#include "base/random.h"
#include "kernels/kernels.h"
#include "millet/millet.h"

enum { MLT_SAMPLER_DEFAULT_LAST = 64, MLT_SAMPLER_MAX_LAST = 1 << 20 };

/* What a sampler is made for: everything it will need is in one block. */
struct mlt_sampler_size {
    int32_t n_vocab;
    int32_t max_candidates; /* tokens that can survive the first filter */
    int32_t max_recent;     /* tokens that the penalties can look back on */
};

/* The least size for these options, which must have passed mlt_sampler_check. */
struct mlt_sampler_size mlt_sampler_size_for(int32_t n_vocab, const millet_sampler_options *options);
/* The size that serves all options as long as no more than `max_recent` tokens can be looked back on. */
struct mlt_sampler_size mlt_sampler_size_any(int32_t n_vocab, int32_t max_recent);

/* Bytes that mlt_sampler_create takes, in one allocation. */
uint64_t mlt_sampler_bytes(struct mlt_sampler_size size);
/* The sampler must be given options before it is used. Errors: NO_MEMORY. */
millet_status mlt_sampler_create(const millet_allocator *allocator, struct mlt_sampler_size size,
                                 millet_sampler **sampler, millet_error *err);

/* BAD_ARGUMENT names the option and its range. */
millet_status mlt_sampler_check(const millet_sampler_options *options, millet_error *err);
/* Sets the options, which must have passed mlt_sampler_check and fit the size, and resets the sampler. */
void mlt_sampler_configure(millet_sampler *sampler, const millet_sampler_options *options);

/*
 * Makes `sampler` draw next what `from` would draw from the same logits: its options, random state and, where
 * there is room for them, recent tokens. The sizes of the two vocabularies may differ. `from` is unchanged.
 */
void mlt_sampler_follow(millet_sampler *sampler, const millet_sampler *from);

/* One entry for each token that can be drawn, in ascending order of id; owned by the sampler. */
struct mlt_distribution {
    int32_t count; /* >= 1 */
    const int32_t *ids;
    const float *weights; /* probability in proportion, >= 0 */
    double total;         /* sum of the weights, > 0 */
};

/* What millet_sampler_sample draws from: all of the chain but the draw. `logits` are n_vocab floats. */
millet_status mlt_sampler_distribution(millet_sampler *sampler, const float *logits,
                                       struct mlt_distribution *out, millet_error *err);

/* The greatest of x[n], NaN left out; -infinity where there is none. */
float mlt_greatest(const float *x, int32_t n);

#endif
