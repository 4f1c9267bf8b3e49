/*
 * Likelihoods of answers to a text. The text is computed once, and of it only what differs from the text
 * before; the answers are branches after it, several computed together. Bit for bit what each answer would
 * get alone.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_ANSWERS_H
#define MLT_ANSWERS_H

#include "base/memory.h"
#include "base/thread_pool.h"
#include "eval/reading.h"
#include "millet/tasks.h"
#include "model/model.h"

struct mlt_answer {
    const int32_t *ids; /* [count] */
    int32_t count;
    double log_p; /* sum of ln p of its tokens, given the text and those before */
    bool greedy;  /* each of its tokens is the most probable one, the lowest id among equals */
};

struct mlt_answering {
    millet_allocator allocator;
    const millet_model *model;
    millet_session *session; /* sequence 0 has the text, the others are branches */
    struct mlt_thread_pool *pool;
    int32_t n_ctx, n_branches, n_rows;
    int32_t *held; /* [n_ctx] tokens of sequence 0 */
    int32_t n_held;
    millet_item *items;             /* [n_ctx] */
    int32_t *targets;               /* [n_rows] */
    struct mlt_token_score *scores; /* [n_rows] */
    int32_t n_at_hand;              /* of them */
    int64_t n_tokens, n_computed;   /* of texts and answers; computed */
};

/* Sessions for at most `n_answers` answers together. `base`: with the settings of what is compared with. On
 * failure nothing is left. Errors: those of millet_session_open; UNSUPPORTED (no tokenizer). */
millet_status mlt_answering_open(struct mlt_answering *answering, const millet_allocator *allocator,
                                 const millet_model *model, const millet_task_session *options, bool base,
                                 int32_t n_answers, millet_error *err);
void mlt_answering_close(struct mlt_answering *answering);

/* Makes sequence 0 this text; what it has in common with the text before is kept. The row of logits after it
 * is millet_logits(session, 0). count is in [1, n_ctx]. */
millet_status mlt_answering_text(struct mlt_answering *answering, const int32_t *ids, int32_t count,
                                 millet_error *err);

/*
 * Fills in log_p and greedy of each answer after the text ids[count >= 1]. Text and answer have room in
 * n_ctx, an answer has a token. Errors: BAD_FORMAT (NaN).
 */
millet_status mlt_answers_score(struct mlt_answering *answering, const int32_t *ids, int32_t count,
                                struct mlt_answer *answers, int32_t n_answers, millet_error *err);

/*
 * A text and what may follow it as tokens: with BOS where the model asks for it. Tokens may reach over the
 * border, so the text ends where the tokens of text and text + answer part, for the earliest of the answers.
 * Zeroed to begin; release it in any case.
 */
struct mlt_forked_text {
    int32_t *text;
    int32_t n_text;
    int32_t **wholes; /* [n_answers], text and answer */
    struct mlt_answer *answers;
    int32_t n_answers, longest; /* the longest answer's tokens */
};

millet_status mlt_fork_text(struct mlt_forked_text *fork, const millet_allocator *allocator,
                            const millet_model *model, const char *text, size_t length,
                            const char *const *answers, int32_t n_answers, millet_error *err);
/* Cuts the beginning off (BOS stays) until text and the longest answer have room; *cut says whether. False
 * where nothing of the text would be left. */
bool mlt_forked_text_cut(struct mlt_forked_text *fork, const millet_model *model, int32_t room, bool *cut);
void mlt_forked_text_release(struct mlt_forked_text *fork, const millet_allocator *allocator);

/* The tokens of a text, BOS first where the model asks for it; *ids is released with mlt_free. */
millet_status mlt_task_tokens(const millet_allocator *allocator, const millet_model *model, const char *text,
                              size_t length, int32_t **ids, int32_t *count, millet_error *err);

#endif
