/*
 * A decoder with random weights in memory, to be timed.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_PLAIN_MODEL_H
#define MLT_PLAIN_MODEL_H

#include "model/model.h"

/* A Llama with heads of 64, each with keys of its own, and a feed-forward of twice the width, in Q8_0. */
struct mlt_plain_shape {
    int32_t n_layers, n_embd, n_vocab, n_ctx; /* n_embd: a multiple of 64 */
};

/* Has no tokenizer. Errors: NO_MEMORY. */
millet_status mlt_plain_model(const millet_allocator *allocator, const struct mlt_plain_shape *shape,
                              millet_model **out, millet_error *err);

#endif
