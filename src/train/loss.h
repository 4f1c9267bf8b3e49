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
    double
        divergence; /* weighted: from the teacher, softened, over the targets that it says something about */
    double soft_weight;   /* of those */
    double hidden;        /* weighted: errors of the matched hidden states, in parts of the teacher's */
    double hidden_weight; /* of their positions */
    double relations;     /* weighted: divergences of the matched attention, means over heads */
    double relation_weight;
};

/* *sums becomes the sum over all ranks, unless `status` (each rank's own) is a failure on one of them: then
 * all return the first's error. */
millet_status mlt_loss_sums_of_ranks(millet_ranks *ranks, millet_status status, struct mlt_loss_sums *sums,
                                     millet_error *err);
void mlt_loss_sums_add(struct mlt_loss_sums *all, const struct mlt_loss_sums *sums);

/* What a position of a batch counts in a loss. */
float mlt_loss_weight(const struct mlt_batch *batch, int64_t position);

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
 * What a teacher says about positions. `rows` fills out[0 .. n) for positions row[0 .. n) of the batch, n at
 * most `chunk_rows`; p NULL: nothing. What they point to is valid until the next call. `context` NULL: there
 * is no teacher.
 */
struct mlt_soft_labels {
    void *context;
    int64_t chunk_rows;
    millet_status (*rows)(void *context, const struct mlt_batch *batch, const int64_t *row, int64_t n,
                          struct mlt_soft_target *out, millet_error *err);
};

/*
 * Cross-entropy with the targets, plus z_loss * (log of the softmax's denominator)^2. Logits exist for some
 * rows at a time only, and only for positions that have a target; labels are weighted with the batch's
 * tag_weight. `tokens`: positions of the largest batch.
 */
millet_status mlt_cross_entropy_open(const millet_allocator *allocator, const struct mlt_config *config,
                                     int64_t tokens, float z_loss, struct mlt_loss_stage *out,
                                     millet_error *err);
/* Distillation: cross-entropy is mixed with the divergence from a teacher where that says something. The
 * labels must outlive the stage, which must be one of mlt_cross_entropy_open. */
millet_status mlt_cross_entropy_teach(struct mlt_loss_stage *stage, const struct mlt_soft_labels *labels,
                                      const struct mlt_distillation *mix, millet_error *err);
/* Bytes that mlt_cross_entropy_open takes. */
uint64_t mlt_cross_entropy_bytes(const struct mlt_config *config, int64_t tokens);

#endif
