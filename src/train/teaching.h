/*
 * The teacher's side of a training: what millet_distillation asks for, opened and checked, and its losses.
 *
 *     mlt_teaching_start     before the student is opened: teachers that run beside it, matrices to learn
 *     mlt_teaching_open      when student and data are open
 *     mlt_teaching_begin     each batch: teachers that run beside the student see it
 *     labels                 for the loss of logits (loss.h)
 *     mlt_teaching_match     after it: hidden states
 *     mlt_teaching_relate    and attention
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_TEACHING_H
#define MLT_TEACHING_H

#include "train/loss.h"
#include "train/teacher_file.h"
#include "train/teachers.h"
#include "train/training_data.h"

/* Queries, keys and values that are matched, by layer; what is not wanted is NULL. */
struct mlt_relations {
    int32_t heads; /* that both sides' values are cut into */
    int32_t n_mine, n_theirs;
    struct mlt_projections *mine, *d_mine; /* [n_mine] the student's, and their gradients */
    struct mlt_projections *theirs;        /* [n_theirs] */
    float *weight;                         /* [tokens of a batch] what a position counts */
    double *sums;                          /* of each row, kind and head */
};

struct mlt_teaching {
    millet_allocator allocator;
    const millet_train_options *options;

    /* From files. */
    struct mlt_teacher_file *files; /* [n_files], one a cache of the data */
    size_t n_files;
    /* Or beside the student. */
    struct mlt_teachers teachers;
    double *entropy; /* [chunk_rows] sums of p ln p */

    struct mlt_soft_labels labels; /* without a context where there is no teacher */
    int64_t n_vocab, width;        /* of the student; values of p for a position */
    float *p;                      /* [chunk_rows][width], or the teachers' own width where that is more */
    int32_t *ids;                  /* [chunk_rows][width] */
    float *scratch;                /* [chunk_rows][width] */

    /* Hidden states. */
    struct mlt_added_matrix *maps; /* [n_maps] (teacher's width x student's) */
    size_t n_maps;
    float **streams;         /* [teacher's layers + 1] */
    const float **d_streams; /* [student's layers + 1] */
    float **d_writable;      /* the same */
    int64_t match_rows;      /* that are worked on together */
    float *input, *d_input;  /* [match_rows][student's width] */
    float *mapped;           /* [match_rows][teacher's width] */
    double *errors;          /* [match_rows] */
    int64_t *positions;      /* [match_rows] */

    struct mlt_relations relations;
};

/* The options' numbers. BAD_ARGUMENT names the option. */
millet_status mlt_teaching_check(const millet_train_options *options, millet_error *err);
/* `options` must outlive the teaching, which does nothing where they want no teacher; `estimate`: read no
 * weights. Errors: those of mlt_teachers_open. On failure too, the caller calls close. */
millet_status mlt_teaching_start(const millet_allocator *allocator, const millet_train_options *options,
                                 const struct mlt_checkpoint *student, bool estimate,
                                 struct mlt_teaching *out, millet_error *err);
/* Errors: BAD_ARGUMENT (outputs of another cache, or at another temperature; a layer that is not there),
 * those of mlt_teacher_file_open. */
millet_status mlt_teaching_open(struct mlt_teaching *teaching, const struct mlt_training_data *data,
                                const struct mlt_trainable *student, millet_error *err);
void mlt_teaching_close(struct mlt_teaching *teaching);
/* Bytes that it would take, the trainer's share for it included, after a start with `estimate`. Where files
 * are not there yet, the options' top_k says how many tokens they will have. */
millet_status mlt_teaching_bytes(const struct mlt_teaching *teaching, const struct mlt_trainable *student,
                                 uint64_t *bytes, millet_error *err);
/* What changes a step, as lines "name=value"; none without a teacher. */
millet_status mlt_teaching_describe(const struct mlt_teaching *teaching, struct mlt_text *out,
                                    millet_error *err);

millet_status mlt_teaching_begin(struct mlt_teaching *teaching, const struct mlt_batch *batch,
                                 millet_error *err);
/* Adds to *sums; with `backward` sets what the pass reads of d_streams, and adds to the maps' gradients. */
void mlt_teaching_match(struct mlt_teaching *teaching, struct mlt_pass *pass, const struct mlt_batch *batch,
                        bool backward, float scale, struct mlt_loss_sums *sums);
/* The same for attention; with `backward` sets what the pass reads of d_projections. */
void mlt_teaching_relate(struct mlt_teaching *teaching, struct mlt_pass *pass, const struct mlt_batch *batch,
                         bool backward, float scale, struct mlt_loss_sums *sums);

/* teaching_match.c, for mlt_teaching_start, _open and _bytes. */
millet_status mlt_match_make_maps(struct mlt_teaching *teaching, const struct mlt_checkpoint *student,
                                  millet_error *err);
millet_status mlt_match_open(struct mlt_teaching *teaching, const struct mlt_trainable *student,
                             millet_error *err);
void mlt_match_close(struct mlt_teaching *teaching);
uint64_t mlt_match_bytes(const struct mlt_teaching *teaching, const struct mlt_trainable *student);

/* teaching_relations.c, for mlt_teaching_open and _bytes. BAD_ARGUMENT: a layer that is not there, heads that
 * do not divide the widths. */
millet_status mlt_relations_open(struct mlt_teaching *teaching, const struct mlt_trainable *student,
                                 millet_error *err);
void mlt_relations_close(struct mlt_teaching *teaching);
uint64_t mlt_relations_bytes(const struct mlt_teaching *teaching, const struct mlt_trainable *student);

#endif
