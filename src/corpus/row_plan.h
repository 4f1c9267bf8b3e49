/*
 * Which tokens of a cache stand in which row.
 *
 * A document of n tokens has n - 1 positions: each but the last token is seen, and predicts the one after it.
 * Positions are packed into rows; where a document is cut, the first token of a new part sees nothing before
 * it.
 *
 * Best fit (Ding et al., 2024, arXiv:2404.10830): documents are cut into parts of a row's length; what
 * remains of each is put, the longest first, into the row where the least room is left over.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_ROW_PLAN_H
#define MLT_ROW_PLAN_H

#include "corpus/token_cache.h"

struct mlt_row_plan {
    millet_allocator allocator;
    const struct millet_cache *cache;
    uint32_t length;
    uint32_t every; /* documents d with d % every == every - 1 are kept apart; 0: none */
    bool held_out, skip_long;
    uint64_t n_rows, n_positions, n_documents, n_left_out;
    /* Sequential: the first position of document 0, MLT_PLAN_STRIDE, ... among those that are chosen. */
    uint64_t *marks;
    /* Best fit: full rows come first, in the order of the documents; full_before[i] counts those of documents
     * before i * MLT_PLAN_STRIDE. Then row_first[r] is the document of the first part of row r, next[d] the
     * document after d in its row; NONE ends it. */
    uint64_t *full_before, n_full;
    uint32_t *row_first, *next;
};

enum { MLT_PLAN_STRIDE = 1024 };

/* A part of a row: `count` positions of a document from its token `first` (a number in the cache) on;
 * `offset` tokens come before it. */
struct mlt_row_part {
    uint64_t first, offset;
    uint32_t count, document;
};

/* Errors: NO_MEMORY. */
millet_status mlt_row_plan_open(const millet_allocator *allocator, const struct millet_cache *cache,
                                const millet_batch_options *options, struct mlt_row_plan *plan,
                                millet_error *err);
void mlt_row_plan_close(struct mlt_row_plan *plan);

/* Positions of a document, 0 where it is left out. */
uint64_t mlt_row_plan_positions(const struct mlt_row_plan *plan, uint64_t document);

/* Calls `part` for each part of a row, in order; row < n_rows. */
typedef void mlt_row_part_function(void *context, const struct mlt_row_part *part);
void mlt_row_plan_row(const struct mlt_row_plan *plan, uint64_t row, mlt_row_part_function *part,
                      void *context);

#endif
