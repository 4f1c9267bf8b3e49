/*
 * Learning the unigram model (Kudo, 2018, arXiv:1804.10959): expectation maximisation over all segmentations,
 * and pruning of the pieces whose loss costs the text least.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_UNIGRAM_TRAIN_H
#define MLT_UNIGRAM_TRAIN_H

#include "corpus/piece_set.h"

struct mlt_unigram_options {
    size_t n_pieces;  /* wanted */
    double shrink;    /* each pruning leaves this part of the pieces; SentencePiece: 0.75 */
    int32_t em_steps; /* between prunings; SentencePiece: 2 */
    struct mlt_thread_pool *pool;
    bool (*progress)(void *context, double fraction);
    void *context;
};

/* Shrinks the set to the pieces of the model and sets their scores, the best first. *n_tokens: of all words,
 * by the best segmentation. */
millet_status mlt_unigram_train(const struct mlt_word_counts *words,
                                const struct mlt_unigram_options *options, struct mlt_piece_set *set,
                                uint64_t *n_tokens, millet_error *err);

/* What a pass over the words gives. Words are parted at characters that no piece covers. */
struct mlt_unigram_expectation {
    double *counts;        /* [set->count]: how often each piece is expected */
    double log_likelihood; /* of all words */
    uint64_t n_tokens;     /* where only the best segmentations were counted */
};

/*
 * Expected counts over all segmentations, or with `best` counts in the best segmentation of each word. The
 * sums are made of whole numbers (units of 2^-20): they do not depend on the order in which threads add.
 * Errors: NO_MEMORY.
 */
millet_status mlt_unigram_expect(const struct mlt_word_counts *words, const struct mlt_piece_set *set,
                                 struct mlt_thread_pool *pool, bool best, struct mlt_unigram_expectation *out,
                                 millet_error *err);

/*
 * Scores from expected counts: log probabilities, by maximum likelihood or, `bayesian`, with the digamma
 * function in place of the logarithm, which takes from rare pieces. Pieces that are not required and expected
 * less than `least` times are dropped.
 */
void mlt_unigram_maximize(struct mlt_piece_set *set, const double *counts, bool bayesian, double least);

#endif
