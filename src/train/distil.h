/*
 * The teacher's side of a training: what millet_distillation asks for, opened and checked.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_DISTIL_H
#define MLT_DISTIL_H

#include "train/loss.h"
#include "train/teacher_file.h"
#include "train/training_data.h"

struct mlt_distil {
    millet_allocator allocator;
    struct mlt_teacher_file *files; /* [n_files], one a cache of the data */
    size_t n_files;
    int64_t n_vocab, width;        /* of the student; values of p for a position */
    float *p;                      /* [chunk_rows][width] */
    int32_t *ids;                  /* [chunk_rows][width] */
    float *scratch;                /* [chunk_rows][width] */
    struct mlt_soft_labels labels; /* without a context where there is no teacher */
};

/* The options' numbers. BAD_ARGUMENT names the option. */
millet_status mlt_distil_check(const millet_train_options *options, millet_error *err);
/*
 * Opens what the options ask for; nothing where that is nothing. Errors: BAD_ARGUMENT (outputs of another
 * cache, or at another temperature), those of mlt_teacher_file_open. On failure too, the caller calls close.
 */
millet_status mlt_distil_open(const millet_allocator *allocator, const millet_train_options *options,
                              const struct mlt_training_data *data, const struct mlt_config *student,
                              struct mlt_distil *out, millet_error *err);
void mlt_distil_close(struct mlt_distil *distil);
/* Bytes that it takes, the trainer's share for it included. Where files are not there yet, top_k says how
 * many tokens they will have. */
millet_status mlt_distil_bytes(const millet_train_options *options, const struct mlt_config *student,
                               uint64_t *bytes, millet_error *err);
/* What changes a step, as lines "name=value"; none without a teacher. */
millet_status mlt_distil_describe(const struct mlt_distil *distil, const millet_train_options *options,
                                  struct mlt_text *out, millet_error *err);

#endif
