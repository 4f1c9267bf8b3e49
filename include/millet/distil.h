/*
 * Distillation: what teachers say about a token cache, made once and kept in a file, for students to learn
 * from (Hinton et al., 2015, arXiv:1503.02531). Part of libmillet-lab; the conventions of millet.h hold here
 * too. docs/distil.md has the whole.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MILLET_DISTIL_H
#define MILLET_DISTIL_H

#include "millet/corpus.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Teacher outputs ---- */

typedef struct millet_teacher_options {
    const millet_allocator *allocator; /* NULL: the C library's */
    const char *const *teachers; /* checkpoints that millet_train could go on with, of any dtype; of several
                                    the mean of their probabilities is taken */
    size_t n_teachers;           /* 1 to 16 */
    /* What is known from elsewhere about the first tokens of completions, as of classifiers: JSONL, a line a
     * record, {"prompt": TEXT, "probabilities": {TOKEN: p}}; NULL: nothing. Where a prompt has a line, its
     * distribution, softened too, has `labels_weight` beside the teachers' mean. */
    const char *labels;
    float labels_weight; /* 0 to 1; 0.5 */
    int32_t top_k;     /* most probable tokens whose probabilities are kept, and of the others the sum; 32; 0,
                          or at least the vocabulary: all */
    float temperature; /* that the teachers' logits are divided by; 2 */
    int32_t length;    /* tokens that a teacher sees at a time: documents are cut into such parts; 256 */
    int32_t rows;      /* such parts that are worked on together; 8 */
    int32_t n_threads; /* 0: one for each CPU. The file is the same for every number. */
    bool rebuild;      /* also where the old file is current */
    millet_progress_callback *progress; /* NULL: none */
    void *context;
} millet_teacher_options;

MILLET_API millet_teacher_options millet_teacher_options_default(void);

typedef struct millet_teacher_info {
    uint64_t n_positions; /* that have a target, and so a distribution */
    uint64_t file_bytes;
    uint64_t checksum;       /* of everything in the file; 0 in an estimate */
    uint64_t cache_checksum; /* that of the cache's millet_cache_info */
    int32_t top_k;           /* of the vocabulary where all are kept */
    int32_t n_vocab, length, n_teachers;
    float temperature;
    bool reused;       /* millet_teacher_build found it current */
    double taken_over; /* the part that an earlier process had done, 0 to 1 */
} millet_teacher_info;

/* What millet_teacher_build would make of a cache, without running a teacher. Errors: those of
 * millet_cache_open, BAD_ARGUMENT (names the option). */
MILLET_API millet_status millet_teacher_estimate(const char *cache, const millet_teacher_options *options,
                                                 millet_teacher_info *info, millet_error *err);

/*
 * Runs the teachers over a token cache and writes what they say into the file `output`, or leaves that as it
 * is where it was made of the same cache by the same teachers with the same options, and its checksum is
 * right. The size is known beforehand, and the room taken at once. Until the file is complete and on disk,
 * its name is `output` + ".part"; a run that was stopped or killed is gone on with, and gives the same bytes
 * (on the same CPU tier).
 *
 * Errors: BAD_ARGUMENT (an option; a teacher of another tokenizer, or with fewer tokens than the cache's
 * vocabulary), those of opening caches and models, IO (disk full), CANCELLED, NO_MEMORY.
 */
MILLET_API millet_status millet_teacher_build(const char *cache, const char *output,
                                              const millet_teacher_options *options,
                                              millet_teacher_info *info, millet_error *err);

/* Describes a file of millet_teacher_build. `verify`: reads all of it and compares the checksum. Errors:
 * NOT_FOUND, IO, BAD_FORMAT, NO_MEMORY. */
MILLET_API millet_status millet_teacher_inspect(const char *path, bool verify, millet_teacher_info *info,
                                                millet_error *err);

/* ---- A student's side ---- */

/* The residual streams of a student behind its layer `student` and of a teacher behind its layer `teacher`:
 * 0 is behind the embeddings, the number of layers before the last norm. */
typedef struct millet_layer_match {
    int32_t student, teacher;
} millet_layer_match;

/*
 * A member of millet_train_options. The loss of a position that a teacher has something to say about is
 * (1 - alpha) times cross-entropy plus alpha temperature^2 times the divergence of the teacher's distribution
 * from the student's, both softened by the temperature; that of others is cross-entropy.
 *
 * Teachers speak from files, or run beside the student. Then hidden states can be matched too: a linear map
 * for each match, which is learnt with the student and kept in the state, but not in the output, takes the
 * student's to the teacher's; its squared error in parts of the teacher's square, averaged over the matches
 * (the part of the teacher's state that the student cannot tell), is added `hidden_weight` times to the loss
 * of each position that has a target.
 *
 * And attention: how queries relate to queries, keys to keys and values to values among the positions of a
 * document, as softmaxes over what a position sees of their products (MiniLMv2: Wang et al., 2021). Both
 * sides' values are cut into as many heads, so that widths and heads may differ. The mean over matches, kinds
 * and heads of the divergence from the teacher's relations is added `attention_weight` times to the loss of
 * each position that has a target.
 */
typedef struct millet_distillation {
    /* Files of millet_teacher_build, one for each of `data` and then of `evaluation_data`; NULL: none. */
    const char *const *outputs;
    /* Instead of files: checkpoints, as in millet_teacher_options, 1 to 16 of them; they take their memory,
     * and the time of their pass at every step. */
    const char *const *teachers;
    size_t n_teachers;
    const millet_layer_match *hidden;    /* of the first teacher; NULL: none */
    size_t n_hidden;                     /* 0 to 64 */
    float hidden_weight;                 /* 0 to 1e6; 1 */
    const millet_layer_match *attention; /* of the first teacher, layers from 1 on; NULL: none */
    size_t n_attention;                  /* 0 to 64 */
    float attention_weight;              /* 0 to 1e6; 1 */
    int32_t attention_heads;             /* 0: the largest number that divides both sides' key heads */
    float alpha;                         /* 0 to 1; 0.9 */
    float temperature;                   /* 0.01 to 100, that of the files; 2 */
    int32_t top_k; /* that the files have, or will have; read by millet_train_estimate alone */
} millet_distillation;

#ifdef __cplusplus
}
#endif
#endif
