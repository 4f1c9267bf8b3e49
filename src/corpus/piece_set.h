/*
 * Pieces of the unigram model while it is learned.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_PIECE_SET_H
#define MLT_PIECE_SET_H

#include "corpus/word_counts.h"

enum { MLT_MAX_PIECE_CHARACTERS = 64 };

struct mlt_piece {
    const char *text; /* in the words, or in the arena of the set */
    uint32_t length;  /* bytes */
    bool required;    /* a single character, which stays */
    double score;     /* at first frequency times characters, then a log probability */
};

struct mlt_piece_set {
    const millet_allocator *allocator;
    struct mlt_piece *pieces;
    size_t count;
};

struct mlt_seed_options {
    size_t max_seeds; /* pieces of several characters, the best by frequency times length */
    uint64_t min_frequency;
    int32_t max_characters; /* 1 .. MLT_MAX_PIECE_CHARACTERS */
    double coverage;        /* characters that make up this part of the text are required */
    size_t max_required;    /* but so many at most, the most frequent ones */
    struct mlt_thread_pool *pool;
};

/*
 * The pieces to begin with: characters, and every text that occurs at least min_frequency times and that
 * cannot be made longer without becoming rarer (the inner nodes of a suffix tree; Kudo, 2018,
 * arXiv:1804.10959). Words are `words`; a character that is not required parts them. Pieces of the same text
 * occur once; the order is that of the scores, then of the bytes. Errors: NO_MEMORY.
 */
millet_status mlt_seed_pieces(const struct mlt_word_counts *words, const struct mlt_seed_options *options,
                              struct mlt_piece_set *out, millet_error *err);
void mlt_piece_set_release(struct mlt_piece_set *set);

#endif
