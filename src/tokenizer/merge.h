/*
 * Merging neighbours, best first: the heart of both BPE families.
 *
 * Symbols stand in a linked list; all neighbours that may be merged wait in a heap, ordered by priority and
 * then from left to right. Each merge adds at most two candidates, so the time is O(n log n) in the number of
 * symbols. (Sennrich et al., 2016, arXiv:1508.07909; SentencePiece: Kudo and Richardson, 2018,
 * arXiv:1808.06226.)
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_MERGE_H
#define MLT_MERGE_H

#include "tokenizer/tokenizer_internal.h"

struct mlt_merge_symbol {
    uint32_t start, length; /* in the text; length 0: merged into another symbol */
    int32_t number;         /* of its string in the table, or -1 */
    int32_t previous, next; /* -1: none */
};

struct mlt_merge_candidate {
    uint32_t priority; /* smaller first */
    int32_t left;      /* symbol */
    uint32_t length;   /* of both together: tells whether one of them has changed since */
    int32_t number;    /* of the result */
};

/* Whether two neighbours may be merged: then fills priority and number. */
typedef bool mlt_merge_rule(const struct mlt_tokenizer *tokenizer, const char *text,
                            const struct mlt_merge_symbol *left, const struct mlt_merge_symbol *right,
                            struct mlt_merge_candidate *candidate);

/* Makes room for merging `count` symbols in run->symbols. Errors: NO_MEMORY, UNSUPPORTED (2^30 symbols and
 * more). */
millet_status mlt_merge_reserve(struct mlt_tokenize_run *run, size_t count, millet_error *err);

/* Merges run->symbols[0..count), whose start, length and number are set, over `text`. Symbol 0 stays the
 * first; the rest is found by `next`. */
void mlt_merge_symbols(struct mlt_tokenize_run *run, const char *text, size_t count, mlt_merge_rule *rule);

#endif
