/*
 * From gradients to new weights: AdamW, Muon for matrices, and the learning rate's course. Where several
 * ranks train, each keeps the moments of its part of the weights and changes those (sharding.h).
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_OPTIMIZER_H
#define MLT_OPTIMIZER_H

#include "millet/train.h"
#include "train/sharding.h"
#include "train/trainable.h"
#include "train/workers.h"

struct mlt_optimizer {
    millet_allocator allocator;
    struct mlt_trainable *model;
    const millet_train_options *options;
    struct mlt_sharding sharding;
    struct mlt_share *own; /* [n_parameters] what of each is this rank's: moments are of that */
    float *mean;           /* first moments, or Muon's momentum */
    float *square;         /* second moments, of the parameters that AdamW changes */
    int64_t *mean_at;      /* [n_parameters] offset in `mean` */
    int64_t *square_at;    /* [n_parameters] offset in `square`; -1: Muon's */
    double *partial;       /* sums of squares, one for each piece of a gradient */
    float *work;           /* of Muon */
};

/* Bytes of the rank that needs most. Errors: NO_MEMORY. */
millet_status mlt_optimizer_estimate(const millet_allocator *allocator, const struct mlt_trainable *model,
                                     millet_optimizer kind, int32_t n_ranks, uint64_t *bytes,
                                     millet_error *err);
/* `options`, and the ranks in them, must outlive it. Moments start at 0. */
millet_status mlt_optimizer_open(const millet_allocator *allocator, struct mlt_trainable *model,
                                 const millet_train_options *options, struct mlt_optimizer *out,
                                 millet_error *err);
void mlt_optimizer_close(struct mlt_optimizer *optimizer);

/* Where ranks share the work: begins to add up the gradients of a layer (-1: the embeddings; n_layers: what
 * comes after the layers), which are complete on this one. */
void mlt_optimizer_reduce(struct mlt_optimizer *optimizer, int32_t layer);
/* The norm of the gradient, all parameters together; waits for what was begun. Errors: IO (a rank was lost).
 */
millet_status mlt_optimizer_gradient_norm(struct mlt_optimizer *optimizer, struct mlt_workers *workers,
                                          double *norm, millet_error *err);
/* One step with the gradients times `scale`; step counts from 0. Brings the model's weights up to date.
 * Errors: IO (a rank was lost). */
millet_status mlt_optimizer_step(struct mlt_optimizer *optimizer, struct mlt_workers *workers, uint64_t step,
                                 double rate, double scale, millet_error *err);

/* The learning rate of a step, which counts from 0. */
double mlt_learning_rate(const millet_train_options *options, uint64_t step);

#endif
