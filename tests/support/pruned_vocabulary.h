/*
 * Whether a pruned vocabulary tokenises as the whole one does.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_TEST_PRUNED_VOCABULARY_H
#define MLT_TEST_PRUNED_VOCABULARY_H

#include "format/checkpoint.h"
#include "tokenizer/tokenizer.h"

struct pruned_vocabulary_text {
    const char *data;
    size_t length;
};

/*
 * Drops the tokens that the first n_corpus texts use less than min_count times. With 1, these texts (also as
 * whole dialogues: with special tokens and BOS) must have the same tokens in the smaller vocabulary; the
 * other texts must be tokens of it that decode to what the old tokens decode to, where `lossless`. Returns
 * how many tokens stay. What is wrong fails the cmocka test, with `name`.
 */
int32_t check_pruned_vocabulary(const char *name, const struct mlt_checkpoint *from,
                                const struct pruned_vocabulary_text *texts, size_t n_texts, size_t n_corpus,
                                uint64_t min_count, bool lossless);

/* A checkpoint with the metadata of a specification and nothing else. */
struct mlt_checkpoint *vocabulary_checkpoint(const char *model, const struct mlt_tokenizer_spec *spec);

#endif
