/*
 * Tokens hidden from the model while it learns, so that it has to do with what stands around them: each token
 * of a document's prefix that is no control token becomes <|mask|> with a given probability. Where it has no
 * label it may then be what is to be predicted there (Devlin et al., 2019).
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_TOKEN_MASK_H
#define MLT_TOKEN_MASK_H

#include "corpus/batch.h"
#include "format/checkpoint.h"

struct mlt_token_mask {
    millet_allocator allocator;
    struct mlt_batch_source inner;
    double probability;
    bool predict;
    uint64_t seed;
    int32_t mask, n_tokens;
    uint8_t *control; /* [n_tokens]: stays as it is */
};

/*
 * Batches of `inner` with masked tokens. Which are masked follows from seed, step and place in the
 * (whole) batch alone: the same batch for the same step. `probability`: 0 to 1. `out` must stay where it is
 * while its source is used. Errors: BAD_ARGUMENT (the tokenizer has no control token <|mask|>), those of
 * reading the vocabulary, NO_MEMORY.
 */
millet_status mlt_token_mask_open(const millet_allocator *allocator, const struct mlt_checkpoint *checkpoint,
                                  struct mlt_batch_source inner, double probability, bool predict,
                                  uint64_t seed, struct mlt_token_mask *out, millet_error *err);
void mlt_token_mask_close(struct mlt_token_mask *mask);
struct mlt_batch_source mlt_token_mask_source(struct mlt_token_mask *mask);

#endif
