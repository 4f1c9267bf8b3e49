/*
 * Learning the merges of byte-level BPE (Sennrich et al., 2016, arXiv:1508.07909; bytes: Radford et al.,
 * 2019).
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_BPE_TRAIN_H
#define MLT_BPE_TRAIN_H

#include "corpus/word_counts.h"

/* One merge: symbols below 256 are bytes, symbol 256 + i is what merge i made. */
struct mlt_bpe_merge {
    int32_t left, right;
    uint64_t count; /* of the pair when it was merged */
};

struct mlt_bpe_options {
    int32_t n_merges;       /* at most */
    uint64_t min_frequency; /* >= 1 */
    int32_t max_bytes;      /* of a token */
    bool (*progress)(void *context, double fraction);
    void *context;
};

/*
 * At each step the neighbours that are most frequent in all words are merged; among equals those with the
 * smaller left, then right symbol. merges[options->n_merges] takes them, *n_merges their number: fewer where
 * no pair is frequent and short enough. *n_tokens is what all words together have in the end. Errors:
 * CANCELLED, NO_MEMORY.
 */
millet_status mlt_bpe_train(const millet_allocator *allocator, const struct mlt_word_counts *words,
                            const struct mlt_bpe_options *options, struct mlt_bpe_merge *merges,
                            int32_t *n_merges, uint64_t *n_tokens, millet_error *err);

#endif
