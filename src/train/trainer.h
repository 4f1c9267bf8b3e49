/*
 * A step of training: batches in, new weights out. train.c has what is around it: files, states, reports.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_TRAINER_H
#define MLT_TRAINER_H

#include "train/loss.h"
#include "train/optimizer.h"

struct mlt_teaching;

struct mlt_trainer {
    millet_allocator allocator;
    const millet_train_options *options;
    struct mlt_trainable *model;
    struct mlt_pass *pass;
    struct mlt_loss_stage loss;
    struct mlt_teaching *teaching; /* NULL: none */
    struct mlt_optimizer optimizer;
    struct mlt_batch_source source;
    struct mlt_batch batch; /* room for one: this rank's rows of it */
};

struct mlt_step_result {
    double loss;       /* weighted mean of -ln p over the targets; NAN where there were none */
    double label_loss; /* mean over the labels alone */
    double divergence; /* from the teacher; NAN where there is none */
    double hidden;     /* error of the matched states; NAN where there are none */
    double attention;  /* divergence of the matched attention; NAN where there is none */
    double z, gradient_norm, rate;
};

/* Processes that share the work. */
int32_t mlt_trainer_ranks(const millet_train_options *options);
/* Settings as the passes take them, of the rank with most rows; n_threads is made definite. */
struct mlt_pass_options mlt_trainer_pass_options(const millet_train_options *options);

/* `options` (checked by the caller), `model` and the source must outlive the trainer. On failure too, the
 * caller calls close. */
millet_status mlt_trainer_open(const millet_allocator *allocator, struct mlt_trainable *model,
                               const millet_train_options *options, struct mlt_batch_source source,
                               struct mlt_trainer *out, millet_error *err);
/* A teacher for the trainer, before its first step; it must outlive it. */
millet_status mlt_trainer_teach(struct mlt_trainer *trainer, struct mlt_teaching *teaching,
                                millet_error *err);
void mlt_trainer_close(struct mlt_trainer *trainer);

/*
 * Step `step`, which counts from 0. Where no batch of it has a target, nothing is learnt. BAD_FORMAT where
 * the loss or the gradient is not finite: the weights are then as they were before. All ranks have the same
 * result, and the same error.
 */
millet_status mlt_trainer_step(struct mlt_trainer *trainer, uint64_t step, struct mlt_step_result *result,
                               millet_error *err);

/* The loss of a batch without learning from it, added to *sums. */
millet_status mlt_trainer_measure(struct mlt_trainer *trainer, const struct mlt_batch *batch,
                                  struct mlt_loss_sums *sums, millet_error *err);

#endif
