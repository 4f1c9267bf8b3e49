/*
 * From gradients to new weights: AdamW, Muon for matrices, and the learning rate's course.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_OPTIMIZER_H
#define MLT_OPTIMIZER_H

#include "millet/train.h"
#include "train/trainable.h"
#include "train/workers.h"

struct mlt_optimizer {
    millet_allocator allocator;
    struct mlt_trainable *model;
    const millet_train_options *options;
    float *mean;        /* [n_values] first moments, or Muon's momentum */
    float *square;      /* second moments, of the parameters that AdamW changes */
    int64_t *square_at; /* [n_parameters] offset in `square`; -1: Muon's */
    int64_t n_squares;
    double *partial; /* sums of squares, one for each piece of a gradient */
    float *work;     /* of Muon */
};

uint64_t mlt_optimizer_bytes(const struct mlt_trainable *model, millet_optimizer kind);
/* `options` must outlive it. Moments start at 0. */
millet_status mlt_optimizer_open(const millet_allocator *allocator, struct mlt_trainable *model,
                                 const millet_train_options *options, struct mlt_optimizer *out,
                                 millet_error *err);
void mlt_optimizer_close(struct mlt_optimizer *optimizer);

/* The norm of the gradient, all parameters together. */
double mlt_optimizer_gradient_norm(struct mlt_optimizer *optimizer, struct mlt_workers *workers);
/* One step with the gradients times `scale`; step counts from 0. Brings the model's weights up to date. */
void mlt_optimizer_step(struct mlt_optimizer *optimizer, struct mlt_workers *workers, uint64_t step,
                        double rate, double scale);

/* The learning rate of a step, which counts from 0. */
double mlt_learning_rate(const millet_train_options *options, uint64_t step);

#endif
