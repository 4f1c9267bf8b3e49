/*
 * Losses: stages between the hidden states that a pass has made and the gradient that it takes back.
 * Cross-entropy is the first; others (distillation, preferences) have the same form.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_LOSS_H
#define MLT_LOSS_H

#include "train/pass.h"
#include "train/ranks.h"

/* Sums over the targets of a batch. A next token counts 1, a label the batch's tag_weight. */
struct mlt_loss_sums {
    double nll;    /* weighted: -ln p of the targets, natural logarithm */
    double z;      /* weighted: squared logarithms of the softmax's denominators */
    double weight; /* what nll and z are divided by for their means */
    uint64_t n_targets;
    double label_nll; /* of the labels alone, not weighted */
    uint64_t n_labels;
};

/* *sums becomes the sum over all ranks, unless `status` (each rank's own) is a failure on one of them: then
 * all return the first's error. */
millet_status mlt_loss_sums_of_ranks(millet_ranks *ranks, millet_status status, struct mlt_loss_sums *sums,
                                     millet_error *err);
void mlt_loss_sums_add(struct mlt_loss_sums *all, const struct mlt_loss_sums *sums);

/*
 * Reads pass->hidden. With `backward` it writes pass->d_hidden and adds to the gradients of what it has used
 * (the output matrix): all of `scale` times the loss's sum over the targets.
 */
struct mlt_loss_stage {
    void *context;
    millet_status (*run)(void *context, struct mlt_pass *pass, const struct mlt_batch *batch, bool backward,
                         float scale, struct mlt_loss_sums *sums, millet_error *err);
    void (*close)(void *context);
};

/*
 * Cross-entropy with the targets, plus z_loss * (log of the softmax's denominator)^2. Logits exist for some
 * rows at a time only, and only for positions that have a target; labels are weighted with the batch's
 * tag_weight. `tokens`: positions of the largest batch.
 */
millet_status mlt_cross_entropy_open(const millet_allocator *allocator, const struct mlt_config *config,
                                     int64_t tokens, float z_loss, struct mlt_loss_stage *out,
                                     millet_error *err);
/* Bytes that mlt_cross_entropy_open takes. */
uint64_t mlt_cross_entropy_bytes(const struct mlt_config *config, int64_t tokens);

#endif
