/*
 * One or two models reading the same text together, and what they thought of each of its tokens.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_READING_H
#define MLT_READING_H

#include "base/memory.h"
#include "base/thread_pool.h"
#include "eval/windows.h"
#include "millet/lab.h"
#include "model/model.h"

/* A scored token; [0] of the first model, [1] of the second. */
struct mlt_token_score {
    double nll[2];
    double kl;       /* D(first || second), in nats, >= 0 */
    int32_t best[2]; /* the most probable token, the lowest id among equals */
    bool valid;      /* no logit was NaN or +infinity */
};

/* What is known of one token after the other, in the order of the text. */
typedef void mlt_add_score(void *context, const struct mlt_token_score *score);

struct mlt_reading {
    millet_allocator allocator;
    millet_eval_options options;
    int n_models;
    const millet_model *models[2];
    millet_session *sessions[2];
    struct mlt_thread_pool *pool; /* for scoring; the sessions have their own */
    struct mlt_windows windows;
    int32_t *ids;                   /* [n_ids], the text */
    int32_t *tokens;                /* [n_ctx], a window */
    millet_item *items;             /* [n_ctx] */
    int32_t n_rows;                 /* rows of logits computed together */
    struct mlt_token_score *scores; /* [n_rows] */
    int64_t n_windows, n_scored;
};

/*
 * Tokenises the text and makes everything that reading it takes. On failure nothing is left. Errors: those of
 * millet_perplexity_measure; BAD_ARGUMENT where two models have different tokenizers.
 */
millet_status mlt_reading_open(struct mlt_reading *reading, const millet_model *const *models, int n_models,
                               const char *text, size_t length, const millet_eval_options *options,
                               millet_error *err);
void mlt_reading_close(struct mlt_reading *reading);

/* Reads the text, giving every scored token to `add`. Errors: BAD_FORMAT (NaN), CANCELLED. */
millet_status mlt_reading_run(struct mlt_reading *reading, mlt_add_score *add, void *context,
                              millet_error *err);

/* ln of the sum of e^x of logits[n], and the greatest; false where one is NaN or +infinity or all are
 * -infinity. */
bool mlt_log_sum(const float *logits, int32_t n, double *out, int32_t *best);

/* Compares one row of logits [n] of each of one or two models, with the text's token `target`. */
void mlt_score_rows(const float *const *logits, int n_models, int32_t n, int32_t target,
                    struct mlt_token_score *score);

/* Fills what a reading knows of a perplexity. */
millet_perplexity mlt_reading_perplexity(const struct mlt_reading *reading, millet_interval nll);

#endif
