/*
 * Batches of sequences: what the corpus gives and training takes.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_BATCH_H
#define MLT_BATCH_H

#include "base/base.h"
#include "millet/corpus.h"

enum { MLT_NO_TARGET = -1 };

/*
 * One batch of sequences. Position i of row r may attend to positions begin[r][i] .. end[r][i] of its row,
 * both included: begin is its document's first position (documents are packed, attention does not cross), end
 * is i for causal attention, later in a prefix that sees itself in both directions. Its rope position is i -
 * begin[r][i].
 */
struct mlt_batch {
    int32_t rows, length;
    /* Where several processes share a batch: the first of these rows in the whole, and how many that has; 0:
     * these are all. */
    int32_t first_row, all_rows;
    int32_t *tokens, *targets, *begin,
        *end;          /* [rows][length]; targets: the token to predict at each position, or MLT_NO_TARGET */
    uint8_t *marks;    /* [rows][length] of millet_mark; NULL: none anywhere */
    float tag_weight;  /* what a label counts in a loss, where a next token counts 1 */
    float *row_weight; /* [rows] what targets of a row count in a loss besides; NULL: 1 */
    uint64_t *source;  /* [rows][length] where each position comes from, or MLT_NO_SOURCE; NULL: not wanted */
};

/* A source is the number of the mixture's part, and that of the token in the part's cache. */
#define MLT_NO_SOURCE UINT64_MAX
enum { MLT_SOURCE_PART_SHIFT = 48 };

static inline uint64_t mlt_source(uint64_t part, uint64_t token)
{
    return part << MLT_SOURCE_PART_SHIFT | token;
}
static inline uint64_t mlt_source_part(uint64_t source)
{
    return source >> MLT_SOURCE_PART_SHIFT;
}
static inline uint64_t mlt_source_token(uint64_t source)
{
    return source & ((UINT64_C(1) << MLT_SOURCE_PART_SHIFT) - 1);
}

/*
 * A source of batches; `fill` makes the batch for step `step` (0, 1, ...), the same batch for the same step
 * and seed always, so that a resumed run sees what the first would have seen.
 */
struct mlt_batch_source {
    void *context;
    millet_status (*fill)(void *context, uint64_t step, struct mlt_batch *batch, millet_error *err);
};

#endif
