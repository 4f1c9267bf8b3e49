/*
 * Importance: what the inputs of a model's matrices look like on a text. The field calls the file an imatrix;
 * both of its forms are read, and written.
 *
 *   GGUF    general.type "imatrix", imatrix.chunk_count, imatrix.chunk_size, imatrix.datasets; for a matrix
 * NAME the tensors NAME.in_sum2 F32 [columns, slices], sums of squares of each input channel over the tokens,
 * and NAME.counts F32 [1, slices], tokens. Slices are experts; others have one. Ours may also have
 *           NAME.in_gram F32 [columns, columns], the sum of x x^T, and millet.gram.tensors and
 *           millet.gram.owners, which say for each matrix the NAME under which that of its input stands.
 *   legacy  entries of (length, name, calls, number of values, values): values / calls are mean squares
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_IMATRIX_H
#define MLT_IMATRIX_H

#include "format/checkpoint.h"

struct mlt_importance_entry {
    const char *name;  /* of the matrix: "blk.0.attn_q.weight" */
    int64_t n;         /* columns times slices */
    float *mean;       /* [n] mean square of each channel; 0 where a slice has seen nothing */
    int64_t slices;    /* 0: not known (legacy) */
    const float *gram; /* [columns][columns] sum of x x^T over gram_count tokens, or NULL */
    double gram_count;
};

struct mlt_imatrix {
    millet_allocator allocator;
    struct mlt_arena arena;
    struct mlt_checkpoint *checkpoint;    /* NULL: legacy */
    struct mlt_importance_entry *entries; /* ascending by name */
    size_t n_entries;
    uint32_t chunk_count, chunk_size; /* 0 where not known */
};

/*
 * Errors: those of opening a file; BAD_FORMAT (neither form; sizes that do not fit; a value that is negative
 * or no number, naming the matrix), NO_MEMORY.
 */
millet_status mlt_imatrix_open(const millet_allocator *allocator, const char *path, struct mlt_imatrix **out,
                               millet_error *err);
void mlt_imatrix_close(struct mlt_imatrix **imatrix);
/* NULL where the matrix has none. */
const struct mlt_importance_entry *mlt_imatrix_find(const struct mlt_imatrix *imatrix, const char *name);

/* ---- Writing ---- */

struct mlt_importance_sums {
    const char *name;
    int64_t columns, slices;
    const float *sums;   /* [slices][columns] of squares */
    const float *counts; /* [slices] tokens */
    const float *gram;   /* [columns][columns] or NULL */
    const char
        *gram_of; /* another matrix with the same input whose gram is written; NULL: its own, or none */
};

struct mlt_imatrix_contents {
    const struct mlt_importance_sums *entries;
    size_t n_entries;
    uint32_t chunk_count, chunk_size;
    const char *dataset;
};

/* Atomic. `legacy`: in the old form, without grams. */
millet_status mlt_imatrix_write(const millet_allocator *allocator, const char *path,
                                const struct mlt_imatrix_contents *contents, bool legacy, millet_error *err);

#endif
