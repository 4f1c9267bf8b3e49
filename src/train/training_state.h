/*
 * What a stopped training goes on from: a GGUF file of the model in F32 with the optimiser's moments beside
 * its tensors
 * ("train.mean.NAME", "train.square.NAME") and where it was ("train.step", "train.tokens", "train.settings").
 * The engine can run it as it is; it takes what it knows.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_TRAINING_STATE_H
#define MLT_TRAINING_STATE_H

#include "train/optimizer.h"

struct mlt_training_state {
    uint64_t step, tokens; /* done */
};

/* Every option that changes what a step does, as lines "name=value"; those about the data come from
 * mlt_training_data_describe. */
millet_status mlt_training_settings(const millet_train_options *options, struct mlt_text *out,
                                    millet_error *err);

/* Atomic: until the new file is complete on disk, the old one stays. With ranks all of them call this: the
 * first writes, and the others send it their moments, one tensor at a time. */
millet_status mlt_training_state_write(const struct mlt_optimizer *optimizer,
                                       const struct mlt_training_state *state, const char *settings,
                                       const char *path, millet_error *err);

/*
 * Takes the moments and the place from the model's checkpoint, which is the state's file. BAD_ARGUMENT names
 * the first setting that differs from `settings`, unless that is NULL; NOT_FOUND and BAD_FORMAT name the key
 * or tensor.
 */
millet_status mlt_training_state_read(struct mlt_optimizer *optimizer, const char *settings,
                                      struct mlt_training_state *state, millet_error *err);

#endif
