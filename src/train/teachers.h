/*
 * Teachers: models that run forward only, beside each other, over the same batches.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_TEACHERS_H
#define MLT_TEACHERS_H

#include "train/pass.h"

enum { MLT_TEACHERS_MOST = 16 };

struct mlt_teachers {
    millet_allocator allocator;
    size_t n;
    struct mlt_trainable *models[MLT_TEACHERS_MOST];
    struct mlt_pass *passes[MLT_TEACHERS_MOST];
    float temperature;
    int64_t wide;          /* tokens of the largest vocabulary among them */
    int64_t chunk_rows;    /* of mlt_teachers_soften, at most */
    uint64_t checksum;     /* of the files' bytes and of what their metadata say about the models */
    float *input, *logits; /* [chunk_rows][largest width], [chunk_rows][wide] */
};

struct mlt_teachers_options {
    const char *const *paths;
    size_t n; /* 1 to MLT_TEACHERS_MOST */
    float temperature;
    struct mlt_pass_options pass; /* backward: false */
    /* What they must have in common with the data. */
    uint64_t tokenizer_checksum;
    int32_t n_vocab;  /* at least */
    const char *data; /* for messages: whose tokenizer it is */
    bool estimate;    /* read no weights: for the checksum and mlt_teachers_bytes */
};

/* Errors: BAD_ARGUMENT (another tokenizer, a smaller vocabulary, a context shorter than the rows), those of
 * opening models. On failure too, the caller calls close. */
millet_status mlt_teachers_open(const millet_allocator *allocator, const struct mlt_teachers_options *options,
                                struct mlt_teachers *out, millet_error *err);
void mlt_teachers_close(struct mlt_teachers *teachers);
/* Bytes that teachers opened with `estimate` would take. */
millet_status mlt_teachers_bytes(const struct mlt_teachers *teachers, const struct mlt_pass_options *pass,
                                 uint64_t *bytes, millet_error *err);

/* Runs all of them over a batch. */
millet_status mlt_teachers_forward(struct mlt_teachers *teachers, const struct mlt_batch *batch,
                                   millet_error *err);
/*
 * p[i][wide] = the mean of the teachers' softened probabilities at position row[i] of the batch, i < n <=
 * chunk_rows; 0 where a teacher has fewer tokens. entropy[i] (unless that is NULL) = the sum of p ln p.
 * BAD_FORMAT where one's logits are not finite.
 */
millet_status mlt_teachers_soften(struct mlt_teachers *teachers, const int64_t *row, int64_t n, float *p,
                                  double *entropy, millet_error *err);

#endif
