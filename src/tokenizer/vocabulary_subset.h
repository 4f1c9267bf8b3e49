/*
 * Which tokens a smaller vocabulary needs so that it tokenises texts as the larger one did.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_VOCABULARY_SUBSET_H
#define MLT_VOCABULARY_SUBSET_H

#include "tokenizer/tokenizer.h"

/* The tokens that a tokenizer knows by their part; -1: none. */
struct mlt_special_ids {
    int32_t bos, eos, eot, unknown, separator, cls;
};

struct mlt_special_ids mlt_tokenizer_special_ids(const struct mlt_tokenizer *tokenizer);

/* The strings of a tokenizer that stay. */
struct mlt_vocabulary_subset {
    millet_allocator allocator;
    bool *keep;        /* [n_strings]: the tokens under their ids, then strings that only merges mention */
    int32_t n_strings; /* at least the tokens */
};

/* A subset without tokens. */
millet_status mlt_vocabulary_subset_open(const millet_allocator *allocator,
                                         const struct mlt_tokenizer *tokenizer,
                                         struct mlt_vocabulary_subset *out, millet_error *err);
void mlt_vocabulary_subset_close(struct mlt_vocabulary_subset *subset);

/*
 * Adds to the tokens in `keep` what else has to stay:
 *   - special tokens (control, unknown, user-defined), tokens of bytes, those that the tokenizer adds, and
 * the visible space;
 *   - BPE of both families: every token that a kept one is merged from. Merging a text picks the best pair
 * there is; with fewer pairs, among them all that were picked, it picks the same;
 *   - unigram: the normal token with the lowest score, on which the price of unknown characters hangs. A best
 *     path stays the best among fewer;
 *   - WordPiece, and SentencePiece without tokens for all bytes: every token of one character.
 * Then a text whose tokens are all kept is cut into the same tokens as before, and every other text is cut
 * into tokens too. Errors: UNSUPPORTED (names a token of more than 4096 characters), NO_MEMORY.
 */
millet_status mlt_vocabulary_subset_complete(struct mlt_vocabulary_subset *subset,
                                             const struct mlt_tokenizer *tokenizer, millet_error *err);

/* Whether a merge "left right" of byte-level BPE has both its parts and its result in the subset. */
bool mlt_vocabulary_subset_has_merge(const struct mlt_vocabulary_subset *subset,
                                     const struct mlt_tokenizer *tokenizer, const char *text, size_t length);

#endif
