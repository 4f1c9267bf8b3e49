/*
 * Which rank keeps the optimiser's state of which weights (ZeRO: Rajbhandari et al., 2020), and in which
 * groups gradients are exchanged.
 *
 * The block of a model falls into buckets, whose gradients are complete one after the other on the way back:
 * what comes after the layers, each layer from the last to the first, the embeddings; what belongs to an
 * adapter is in the last. A bucket is cut into as many even shares as there are ranks, wherever tensors begin
 * in it; but Muon needs whole matrices, so that in a bucket that has any each parameter is one share, which
 * goes to the rank that has least so far.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_SHARDING_H
#define MLT_SHARDING_H

#include "train/ranks.h"
#include "train/trainable.h"

struct mlt_sharding {
    millet_allocator allocator;
    struct mlt_share *shares; /* in the order of the block, which they cover */
    size_t n_shares;
    size_t *first; /* [n_buckets + 1]: the first share of each bucket */
    size_t n_buckets;
};

/* The bucket of a layer; -1: embeddings, n_layers: what comes after. */
static inline size_t mlt_bucket_of_layer(int32_t layer)
{
    return (size_t)(layer + 1);
}

/* The same for all ranks. On failure nothing is held. Errors: NO_MEMORY. */
millet_status mlt_sharding_open(const millet_allocator *allocator, const struct mlt_trainable *model,
                                millet_optimizer kind, int32_t n_ranks, struct mlt_sharding *out,
                                millet_error *err);
void mlt_sharding_close(struct mlt_sharding *sharding);

/* Whether Muon changes the parameter. */
bool mlt_is_muon(millet_optimizer kind, const struct mlt_parameter *parameter);
/* What of a parameter belongs to a rank: one range of it, from .begin (of the parameter) on, or nothing. */
struct mlt_share mlt_sharding_part(const struct mlt_sharding *sharding, const struct mlt_parameter *parameter,
                                   int32_t rank);
/* All parts of a parameter that are not empty, in order; `parts` has room for one for each rank. Returns
 * their number. */
size_t mlt_sharding_parts(const struct mlt_sharding *sharding, const struct mlt_parameter *parameter,
                          struct mlt_share *parts);

#endif
