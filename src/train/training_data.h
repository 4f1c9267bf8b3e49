/*
 * What a training learns from and is measured on: token caches, opened, checked against the model, and packed
 * into rows.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_TRAINING_DATA_H
#define MLT_TRAINING_DATA_H

#include "corpus/batches.h"
#include "millet/train.h"
#include "train/trainable.h"

struct mlt_training_data {
    millet_allocator allocator;
    millet_cache **caches; /* [n_caches]: those to learn from, then those to measure on */
    size_t n_caches;
    millet_batches *batches; /* to learn from */
    millet_batches_info info;
    /* To measure on: each cache by itself, in order, so that every row is there once. */
    millet_batches **held_out;
    size_t n_held_out;
    uint64_t n_held_out_rows; /* of all; 0: nothing is measured */
};

/*
 * Options are checked by the caller, but for those of batches. Errors: BAD_ARGUMENT (a cache of another
 * tokenizer; nothing to learn; too few rows for a batch), those of opening a cache and of
 * millet_batches_open. On failure too, the caller calls close.
 */
millet_status mlt_training_data_open(const millet_allocator *allocator, const millet_train_options *options,
                                     const struct mlt_trainable *model, struct mlt_training_data *out,
                                     millet_error *err);
void mlt_training_data_close(struct mlt_training_data *data);

/* Row `index` (< n_held_out_rows) to measure on, as row `row` of the batch, whose length is the options'. */
millet_status mlt_training_data_held_out(const struct mlt_training_data *data, uint64_t index,
                                         struct mlt_batch *batch, int32_t row, millet_error *err);

/* Steps of so many epochs, rounded up; at least 1. */
uint64_t mlt_training_data_steps(const struct mlt_training_data *data, const millet_train_options *options);

/* Everything about the data that changes what a step does, as lines "name=value". */
millet_status mlt_training_data_describe(const struct mlt_training_data *data,
                                         const millet_train_options *options, struct mlt_text *out,
                                         millet_error *err);

#endif
