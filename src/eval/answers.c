/* SPDX-License-Identifier: Apache-2.0 */
#include "eval/answers.h"

#include <string.h>

enum {
    DEFAULT_CTX = 2048,
    MAX_BRANCHES = 8,
    MAX_ROWS = 256,
    ROWS_BYTES = 64 << 20,
    CACHE_BYTES = 1 << 30, /* branches are fewer where the cache would take more */
};

/* ---- Opening ---- */

static millet_status open_session(struct mlt_answering *a, millet_session_options *options, millet_error *err)
{
    for (;; a->n_branches /= 2) {
        millet_memory memory;
        options->n_sequences = 1 + a->n_branches;
        MLT_TRY(millet_estimate(a->model, options, &memory, err));
        if (a->n_branches <= 1 || memory.cache <= CACHE_BYTES) break;
    }
    return millet_session_open(a->model, options, &a->session, err);
}

static millet_status open_all(struct mlt_answering *a, const millet_task_session *how, bool base,
                              millet_error *err)
{
    int64_t row = (int64_t)sizeof(float) * a->model->config.n_vocab;
    a->n_rows = (int32_t)MLT_MAX(1, MLT_MIN(ROWS_BYTES / row, (int64_t)MAX_ROWS));
    a->n_rows = MLT_MIN(a->n_rows, a->n_ctx);
    a->held = mlt_alloc(&a->allocator, (size_t)a->n_ctx, sizeof *a->held, err);
    a->items = mlt_alloc(&a->allocator, (size_t)a->n_ctx, sizeof *a->items, err);
    a->targets = mlt_alloc(&a->allocator, (size_t)a->n_rows, sizeof *a->targets, err);
    a->scores = mlt_alloc(&a->allocator, (size_t)a->n_rows, sizeof *a->scores, err);
    if (!a->held || !a->items || !a->targets || !a->scores) return MILLET_NO_MEMORY;
    millet_session_options options = {
        .allocator = &a->allocator,
        .n_ctx = a->n_ctx,
        .n_batch = how->n_batch,
        .n_logits = a->n_rows,
        .n_threads = how->n_threads,
        .cache_type = base ? how->base_cache_type : how->cache_type,
        .exact_activations = how->exact_activations,
        .adapters = base ? NULL : how->adapters,
        .n_adapters = base ? 0 : how->n_adapters,
    };
    MLT_TRY(open_session(a, &options, err));
    return mlt_thread_pool_open(&a->allocator, how->n_threads, &a->pool, err);
}

millet_status mlt_answering_open(struct mlt_answering *answering, const millet_allocator *allocator,
                                 const millet_model *model, const millet_task_session *options, bool base,
                                 int32_t n_answers, millet_error *err)
{
    *answering = (struct mlt_answering){.allocator = *allocator, .model = model};
    if (!model->tokenizer)
        return mlt_fail_at(err, MILLET_UNSUPPORTED, model->checkpoint->path, NULL, MILLET_NO_OFFSET,
                           "the model has no tokenizer");
    if (options->n_ctx < 0 || options->n_ctx == 1)
        return mlt_fail_at(err, MILLET_BAD_ARGUMENT, NULL, "n_ctx", MILLET_NO_OFFSET,
                           "n_ctx: must be 0 (automatic) or at least 2");
    int32_t trained = model->config.n_ctx_train;
    answering->n_ctx = options->n_ctx                         ? options->n_ctx
                       : trained > 1 && trained < DEFAULT_CTX ? trained
                                                              : DEFAULT_CTX;
    answering->n_branches = MLT_MAX(1, MLT_MIN(n_answers, (int32_t)MAX_BRANCHES));
    millet_status status = open_all(answering, options, base, err);
    if (status) mlt_answering_close(answering);
    return status;
}

void mlt_answering_close(struct mlt_answering *a)
{
    millet_session_close(&a->session);
    mlt_thread_pool_close(&a->pool);
    mlt_free(&a->allocator, a->held);
    mlt_free(&a->allocator, a->items);
    mlt_free(&a->allocator, a->targets);
    mlt_free(&a->allocator, a->scores);
    a->held = a->targets = NULL;
    a->items = NULL;
    a->scores = NULL;
}

/* ---- Scoring ---- */

static int32_t common_length(const int32_t *a, int32_t n_a, const int32_t *b, int32_t n_b)
{
    int32_t n = 0;
    while (n < n_a && n < n_b && a[n] == b[n])
        n++;
    return n;
}

millet_status mlt_answering_text(struct mlt_answering *a, const int32_t *ids, int32_t count,
                                 millet_error *err)
{
    /* The last token's logits are wanted, so it is computed in any case. */
    int32_t common = MLT_MIN(common_length(a->held, a->n_held, ids, count), count - 1);
    a->n_held = common;
    MLT_TRY(millet_sequence_truncate(a->session, 0, common, err));
    for (int32_t i = common; i < count; i++)
        a->items[i - common] = (millet_item){ids[i], 0, i == count - 1};
    MLT_TRY(millet_eval(a->session, a->items, count - common, err));
    memcpy(a->held + common, ids + common, sizeof *ids * (size_t)(count - common));
    a->n_held = count;
    a->n_computed += count - common;
    return MILLET_OK;
}

static millet_status damaged(const struct mlt_answering *a, millet_error *err)
{
    return mlt_fail_at(err, MILLET_BAD_FORMAT, a->model->checkpoint->path, NULL, MILLET_NO_OFFSET,
                       "the logits after a question are not finite: the model is damaged");
}

/* The first token of each answer: all are in one row of logits. */
static millet_status score_first(struct mlt_answering *a, struct mlt_answer *answers, int32_t n_answers,
                                 millet_error *err)
{
    const float *logits = millet_logits(a->session, 0);
    double sum;
    int32_t best;
    if (!mlt_log_sum(logits, a->model->config.n_vocab, &sum, &best)) return damaged(a, err);
    for (int32_t i = 0; i < n_answers; i++) {
        int32_t token = answers[i].ids[0];
        answers[i].log_p = (double)logits[token] - sum;
        answers[i].greedy = best == token;
    }
    return MILLET_OK;
}

static void score_share(void *argument, int thread, int threads)
{
    struct mlt_answering *a = argument;
    int64_t begin, end;
    mlt_thread_share(a->n_at_hand, 1, thread, threads, &begin, &end);
    for (int64_t i = begin; i < end; i++) {
        const float *logits = millet_logits(a->session, (int32_t)i);
        mlt_score_rows(&logits, 1, a->model->config.n_vocab, a->targets[i], &a->scores[i]);
    }
}

/* A place in a list of answers, each but for its last token, which nothing is computed after. */
struct place {
    int32_t answer, token;
};

static bool next_place(const struct mlt_answer *answers, int32_t n, struct place *place)
{
    while (place->answer < n && place->token + 1 >= answers[place->answer].count)
        *place = (struct place){place->answer + 1, 0};
    return place->answer < n;
}

/* Answers [0, n) in branches of their own. */
static millet_status score_branches(struct mlt_answering *a, struct mlt_answer *answers, int32_t n,
                                    millet_error *err)
{
    for (int32_t i = 0; i < n; i++)
        if (answers[i].count > 1) MLT_TRY(millet_sequence_copy(a->session, 0, 1 + i, err));
    struct place place = {0, 0};
    while (next_place(answers, n, &place)) {
        struct place reader = place;
        int32_t rows = 0;
        for (; rows < a->n_rows && next_place(answers, n, &place); rows++, place.token++) {
            const int32_t *ids = answers[place.answer].ids + place.token;
            a->items[rows] = (millet_item){ids[0], 1 + place.answer, true};
            a->targets[rows] = ids[1];
        }
        MLT_TRY(millet_eval(a->session, a->items, rows, err));
        a->n_at_hand = rows;
        mlt_thread_pool_run(a->pool, score_share, a);
        a->n_computed += rows;
        for (int32_t i = 0; i < rows; i++, reader.token++) {
            next_place(answers, n, &reader);
            if (!a->scores[i].valid) return damaged(a, err);
            answers[reader.answer].log_p -= a->scores[i].nll[0];
            answers[reader.answer].greedy &= a->scores[i].best[0] == a->targets[i];
        }
    }
    return MILLET_OK;
}

millet_status mlt_answers_score(struct mlt_answering *a, const int32_t *ids, int32_t count,
                                struct mlt_answer *answers, int32_t n_answers, millet_error *err)
{
    MLT_TRY(mlt_answering_text(a, ids, count, err));
    MLT_TRY(score_first(a, answers, n_answers, err));
    for (int32_t i = 0; i < n_answers; i++)
        a->n_tokens += count + answers[i].count - 1;
    for (int32_t i = 0; i < n_answers; i += a->n_branches)
        MLT_TRY(score_branches(a, answers + i, MLT_MIN(a->n_branches, n_answers - i), err));
    return MILLET_OK;
}

/* ---- Texts and what may follow them ---- */

millet_status mlt_task_tokens(const millet_allocator *allocator, const millet_model *model, const char *text,
                              size_t length, int32_t **ids, int32_t *count, millet_error *err)
{
    int32_t *plain = NULL;
    size_t n = 0, bos = model->add_bos && model->bos >= 0;
    MLT_TRY(mlt_tokenize(model->tokenizer, allocator, text, length, 0, &plain, &n, err));
    int32_t *all = n < INT32_MAX ? mlt_alloc(allocator, n + bos, sizeof *all, err) : NULL;
    if (all) {
        if (bos) all[0] = model->bos;
        memcpy(all + bos, plain, n * sizeof *all);
        *ids = all;
        *count = (int32_t)(n + bos);
    }
    mlt_free(allocator, plain);
    return all ? MILLET_OK : MILLET_NO_MEMORY;
}

/* Text and answer as one text in `buffer`. */
static millet_status join(struct mlt_text *buffer, size_t length, const char *answer, millet_error *err)
{
    buffer->length = length;
    return mlt_text_append(buffer, answer, strlen(answer), err);
}

static millet_status fork_text(struct mlt_forked_text *fork, const millet_allocator *allocator,
                               const millet_model *model, struct mlt_text *buffer, size_t length,
                               const char *const *answers, millet_error *err)
{
    int32_t n = fork->n_answers;
    fork->wholes = mlt_alloc_zero(allocator, (size_t)n, sizeof *fork->wholes, err);
    fork->answers = mlt_alloc_zero(allocator, (size_t)n, sizeof *fork->answers, err);
    if (!fork->wholes || !fork->answers) return MILLET_NO_MEMORY;
    for (int32_t i = 0; i < n; i++) {
        int32_t *count = &fork->answers[i].count;
        MLT_TRY(join(buffer, length, answers[i], err));
        MLT_TRY(
            mlt_task_tokens(allocator, model, buffer->data, buffer->length, &fork->wholes[i], count, err));
        fork->n_text =
            MLT_MIN(fork->n_text, common_length(fork->text, fork->n_text, fork->wholes[i], *count));
    }
    for (int32_t i = 0; i < n; i++) {
        fork->answers[i].ids = fork->wholes[i] + fork->n_text;
        fork->answers[i].count -= fork->n_text;
        fork->longest = MLT_MAX(fork->longest, fork->answers[i].count);
    }
    return MILLET_OK;
}

millet_status mlt_fork_text(struct mlt_forked_text *fork, const millet_allocator *allocator,
                            const millet_model *model, const char *text, size_t length,
                            const char *const *answers, int32_t n_answers, millet_error *err)
{
    mlt_forked_text_release(fork, allocator);
    fork->n_answers = n_answers;
    struct mlt_text buffer = {.allocator = allocator};
    millet_status status = mlt_task_tokens(allocator, model, text, length, &fork->text, &fork->n_text, err);
    if (!status) status = mlt_text_append(&buffer, text, length, err);
    if (!status) status = fork_text(fork, allocator, model, &buffer, length, answers, err);
    mlt_text_release(&buffer);
    return status;
}

bool mlt_forked_text_cut(struct mlt_forked_text *fork, const millet_model *model, int32_t room, bool *cut)
{
    *cut = fork->n_text + fork->longest > room;
    if (!*cut) return true;
    int32_t bos = model->add_bos && model->bos >= 0, keep = room - fork->longest - bos;
    if (keep < 1) return false;
    memmove(fork->text + bos, fork->text + fork->n_text - keep, sizeof *fork->text * (size_t)keep);
    fork->n_text = bos + keep;
    return true;
}

void mlt_forked_text_release(struct mlt_forked_text *fork, const millet_allocator *allocator)
{
    for (int32_t i = 0; fork->wholes && i < fork->n_answers; i++)
        mlt_free(allocator, fork->wholes[i]);
    mlt_free(allocator, fork->wholes);
    mlt_free(allocator, fork->answers);
    mlt_free(allocator, fork->text);
    *fork = (struct mlt_forked_text){0};
}
