/*
 * A vocabulary without the tokens that texts do not use, and its metadata.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_PRUNE_VOCABULARY_H
#define MLT_PRUNE_VOCABULARY_H

#include "format/checkpoint.h"

/*
 * Chooses the tokens that occur at least min_count (>= 1) times, and those that they and other texts need
 * (tokenizer/vocabulary_subset.h), and those that metadata name by their id. `counts` [n_vocab]: how often
 * each token occurs. *list [*n_list] of the kept tokens, rising, lies in the arena; rows of the matrices
 * beyond the tokenizer's tokens are not among them. Errors: UNSUPPORTED (no tokenizer; more tokens than
 * n_vocab; a key that would have to be renumbered and is not known), those of opening the tokenizer,
 * NO_MEMORY.
 */
millet_status mlt_vocabulary_choose(const struct mlt_checkpoint *checkpoint, const uint64_t *counts,
                                    int32_t n_vocab, uint64_t min_count, struct mlt_arena *arena,
                                    int32_t **list, int32_t *n_list, millet_error *err);

/*
 * Adds to `out` the metadata of the tokenizer of `checkpoint`, with nothing but the tokens of the list under
 * their new numbers. Ids that the file leaves to convention are written, since they may have moved.
 */
millet_status mlt_vocabulary_write(const struct mlt_checkpoint *checkpoint, const int32_t *list,
                                   int32_t n_list, struct mlt_checkpoint *out, millet_error *err);

/* Whether a key belongs to the tokenizer, and is written by the function above. */
bool mlt_vocabulary_has_key(const char *key);

#endif
