/* SPDX-License-Identifier: Apache-2.0 */
#include "eval/reading.h"

#include "eval/statistics.h"

#include <math.h>
#include <string.h>

enum {
    DEFAULT_CTX = 512,
    /* Logits of one model that are computed before they are looked at: a vocabulary of 150 000 would else
       take 300 MB for a batch of 512. */
    LOGITS_BYTES = 64 << 20,
};

millet_eval_options millet_eval_options_default(void)
{
    return (millet_eval_options){0};
}

/* ---- Scores ---------------------------------------------------------------------------------------------
 */

bool mlt_log_sum(const float *logits, int32_t n, double *out, int32_t *best)
{
    float max = logits[0];
    *best = 0;
    for (int32_t i = 0; i < n; i++) {
        if (logits[i] != logits[i]) return false;
        if (logits[i] > max) {
            max = logits[i];
            *best = i;
        }
    }
    if (isinf(max)) return false;
    double sum = 0;
    for (int32_t i = 0; i < n; i++)
        sum += exp((double)logits[i] - (double)max);
    *out = (double)max + log(sum);
    return true;
}

void mlt_score_rows(const float *const *logits, int n_models, int32_t n, int32_t target,
                    struct mlt_token_score *score)
{
    double sum[2] = {0, 0};
    *score = (struct mlt_token_score){.valid = true};
    for (int m = 0; m < n_models; m++) {
        score->valid = score->valid && mlt_log_sum(logits[m], n, &sum[m], &score->best[m]);
        score->nll[m] = sum[m] - (double)logits[m][target];
    }
    if (n_models < 2 || !score->valid) return;
    double kl = 0;
    for (int32_t i = 0; i < n; i++) {
        double p = (double)logits[0][i] - sum[0], q = (double)logits[1][i] - sum[1], weight = exp(p);
        if (weight > 0) kl += weight * (p - q);
    }
    score->kl = fmax(kl, 0); /* rounding can take equal distributions below zero */
}

/* ---- Opening --------------------------------------------------------------------------------------------
 */

static millet_status bad_option(millet_error *err, const char *name, const char *why)
{
    return mlt_fail_at(err, MILLET_BAD_ARGUMENT, NULL, name, MILLET_NO_OFFSET, "%s: %s", name, why);
}

static millet_status settle_options(struct mlt_reading *r, millet_error *err)
{
    millet_eval_options *options = &r->options;
    if (options->n_ctx < 0)
        return bad_option(err, "n_ctx", "must be 0 (automatic) or the tokens of a window");
    if (options->overlap < 0) return bad_option(err, "overlap", "must be 0 or more");
    if (options->max_tokens < 0) return bad_option(err, "max_tokens", "must be 0 (all) or more");
    if (options->n_ctx == 0) {
        options->n_ctx = DEFAULT_CTX;
        for (int m = 0; m < r->n_models; m++)
            if (r->models[m]->config.n_ctx_train > 0)
                options->n_ctx = MLT_MIN(options->n_ctx, r->models[m]->config.n_ctx_train);
    }
    int32_t bos = r->models[0]->add_bos && r->models[0]->bos >= 0;
    if (options->n_ctx < 2 + bos) return bad_option(err, "n_ctx", "a window needs at least 3 tokens");
    if (options->second_half && options->overlap > 0)
        return bad_option(err, "overlap", "windows of which the second half is scored do not overlap");
    if (options->overlap > options->n_ctx - bos - 1)
        return bad_option(err, "overlap", "a window must have room for a token that is scored");
    return MILLET_OK;
}

static millet_status same_token(const millet_model *a, const millet_model *b, int32_t id, millet_error *err)
{
    struct mlt_token_text x = mlt_tokenizer_token(a->tokenizer, id),
                          y = mlt_tokenizer_token(b->tokenizer, id);
    if (x.length == y.length && memcmp(x.data, y.data, x.length) == 0 &&
        mlt_tokenizer_type(a->tokenizer, id) == mlt_tokenizer_type(b->tokenizer, id))
        return MILLET_OK;
    return mlt_fail(
        err, MILLET_BAD_ARGUMENT,
        "the models' tokenizers differ: token %d is \"%.*s\" (type %d) in %s and \"%.*s\" (type %d) "
        "in %s",
        id, (int)MLT_MIN(x.length, (size_t)40), x.data, (int)mlt_tokenizer_type(a->tokenizer, id),
        a->checkpoint->path, (int)MLT_MIN(y.length, (size_t)40), y.data,
        (int)mlt_tokenizer_type(b->tokenizer, id), b->checkpoint->path);
}

static millet_status same_vocabulary(const millet_model *a, const millet_model *b, millet_error *err)
{
    const struct {
        const char *what;
        int32_t a, b;
    } numbers[] = {
        {"tokens", mlt_tokenizer_size(a->tokenizer), mlt_tokenizer_size(b->tokenizer)},
        {"rows of logits", a->config.n_vocab, b->config.n_vocab},
        {"as BOS", a->bos, b->bos},
        {"BOS before a text", a->add_bos, b->add_bos},
    };
    for (size_t i = 0; i < MLT_COUNT(numbers); i++)
        if (numbers[i].a != numbers[i].b)
            return mlt_fail(err, MILLET_BAD_ARGUMENT,
                            "the models' tokenizers differ: %s has %d %s, %s has %d", a->checkpoint->path,
                            numbers[i].a, numbers[i].what, b->checkpoint->path, numbers[i].b);
    for (int32_t id = 0; id < numbers[0].a; id++)
        MLT_TRY(same_token(a, b, id, err));
    return MILLET_OK;
}

static millet_status tokenize(struct mlt_reading *r, int model, const char *text, size_t length,
                              int32_t **ids, size_t *count, millet_error *err)
{
    MLT_TRY(mlt_tokenize(r->models[model]->tokenizer, &r->allocator, text, length,
                         r->options.special ? MLT_TOKENIZE_SPECIAL : 0, ids, count, err));
    if (r->options.max_tokens && (uint64_t)r->options.max_tokens < *count)
        *count = (size_t)r->options.max_tokens;
    return MILLET_OK;
}

/* Equal vocabularies may still cut a text differently, by their merges. */
static millet_status same_tokens(struct mlt_reading *r, const char *text, size_t length, size_t count,
                                 millet_error *err)
{
    int32_t *ids = NULL;
    size_t n = 0, at = 0;
    MLT_TRY(tokenize(r, 1, text, length, &ids, &n, err));
    while (at < n && at < count && ids[at] == r->ids[at])
        at++;
    bool same = at == n && n == count;
    mlt_free(&r->allocator, ids);
    if (same) return MILLET_OK;
    return mlt_fail(err, MILLET_BAD_ARGUMENT,
                    "the models' tokenizers differ: %s and %s cut the text differently from token %zu on",
                    r->models[0]->checkpoint->path, r->models[1]->checkpoint->path, at);
}

static millet_status open_text(struct mlt_reading *r, const char *text, size_t length, millet_error *err)
{
    for (int m = 0; m < r->n_models; m++)
        if (!r->models[m]->tokenizer)
            return mlt_fail_at(err, MILLET_UNSUPPORTED, r->models[m]->checkpoint->path, NULL,
                               MILLET_NO_OFFSET, "the model has no tokenizer");
    if (r->n_models == 2) MLT_TRY(same_vocabulary(r->models[0], r->models[1], err));
    MLT_TRY(settle_options(r, err));
    size_t count = 0;
    MLT_TRY(tokenize(r, 0, text, length, &r->ids, &count, err));
    if (r->n_models == 2) MLT_TRY(same_tokens(r, text, length, count, err));
    const millet_model *model = r->models[0];
    r->windows = (struct mlt_windows){
        .ids = r->ids,
        .n_ids = (int64_t)count,
        .n_ctx = r->options.n_ctx,
        .overlap = r->options.overlap,
        .bos = model->add_bos ? model->bos : -1,
        .second_half = r->options.second_half,
    };
    mlt_windows_count(r->windows, &r->n_windows, &r->n_scored);
    if (r->n_scored < 2)
        return mlt_fail(
            err, MILLET_BAD_ARGUMENT,
            "the text has %zu tokens, of which %lld would be scored in windows of %d; at least 2 are "
            "needed",
            count, (long long)r->n_scored, r->options.n_ctx);
    return MILLET_OK;
}

static millet_status open_sessions(struct mlt_reading *r, millet_error *err)
{
    const millet_eval_options *options = &r->options;
    int32_t n_ctx = options->n_ctx;
    int64_t row = (int64_t)sizeof(float) * r->models[0]->config.n_vocab;
    r->n_rows = (int32_t)MLT_MAX(1, MLT_MIN(LOGITS_BYTES / row, (int64_t)n_ctx));
    r->tokens = mlt_alloc(&r->allocator, (size_t)n_ctx, sizeof *r->tokens, err);
    r->items = mlt_alloc(&r->allocator, (size_t)n_ctx, sizeof *r->items, err);
    r->scores = mlt_alloc(&r->allocator, (size_t)r->n_rows, sizeof *r->scores, err);
    if (!r->tokens || !r->items || !r->scores) return MILLET_NO_MEMORY;
    millet_session_options session = {
        .allocator = &r->allocator,
        .n_ctx = n_ctx,
        .n_batch = options->n_batch,
        .n_logits = r->n_rows,
        .n_threads = options->n_threads,
        .exact_activations = options->exact_activations,
    };
    for (int m = 0; m < r->n_models; m++) {
        bool base = m == 0 && r->n_models > 1; /* of a comparison, the first */
        session.cache_type = base ? options->base_cache_type : options->cache_type;
        session.adapters = base ? NULL : options->adapters;
        session.n_adapters = base ? 0 : options->n_adapters;
        MLT_TRY(millet_session_open(r->models[m], &session, &r->sessions[m], err));
    }
    return mlt_thread_pool_open(&r->allocator, options->n_threads, &r->pool, err);
}

millet_status mlt_reading_open(struct mlt_reading *reading, const millet_model *const *models, int n_models,
                               const char *text, size_t length, const millet_eval_options *options,
                               millet_error *err)
{
    *reading = (struct mlt_reading){.n_models = n_models};
    reading->options = options ? *options : millet_eval_options_default();
    reading->allocator = reading->options.allocator ? *reading->options.allocator : models[0]->allocator;
    for (int m = 0; m < n_models; m++)
        reading->models[m] = models[m];
    millet_status status = open_text(reading, text, length, err);
    if (status == MILLET_OK) status = open_sessions(reading, err);
    if (status != MILLET_OK) mlt_reading_close(reading);
    return status;
}

void mlt_reading_close(struct mlt_reading *reading)
{
    for (int m = 0; m < 2; m++)
        millet_session_close(&reading->sessions[m]);
    mlt_thread_pool_close(&reading->pool);
    mlt_free(&reading->allocator, reading->ids);
    mlt_free(&reading->allocator, reading->tokens);
    mlt_free(&reading->allocator, reading->items);
    mlt_free(&reading->allocator, reading->scores);
    reading->ids = reading->tokens = NULL;
    reading->items = NULL;
    reading->scores = NULL;
}

/* ---- Reading --------------------------------------------------------------------------------------------
 */

/* Rows of logits at hand: row i is what was thought of tokens[i]. */
struct rows {
    struct mlt_reading *reading;
    const int32_t *tokens;
    int32_t count;
};

static void score_share(void *argument, int thread, int threads)
{
    const struct rows *rows = argument;
    struct mlt_reading *r = rows->reading;
    int64_t begin, end;
    mlt_thread_share(rows->count, 1, thread, threads, &begin, &end);
    for (int32_t i = (int32_t)begin; i < end; i++) {
        const float *logits[2] = {NULL, NULL};
        for (int m = 0; m < r->n_models; m++)
            logits[m] = millet_logits(r->sessions[m], i);
        mlt_score_rows(logits, r->n_models, r->models[0]->config.n_vocab, rows->tokens[i], &r->scores[i]);
    }
}

/* Computes tokens [at, at + count) of the window, and where `scored`, what they say of the tokens after them.
 */
static millet_status read_part(struct mlt_reading *r, int32_t at, int32_t count, bool scored,
                               millet_error *err)
{
    for (int32_t i = 0; i < count; i++)
        r->items[i] = (millet_item){r->tokens[at + i], 0, scored};
    for (int m = 0; m < r->n_models; m++)
        MLT_TRY(millet_eval(r->sessions[m], r->items, count, err));
    if (!scored) return MILLET_OK;
    struct rows rows = {r, r->tokens + at + 1, count};
    mlt_thread_pool_run(r->pool, score_share, &rows);
    return MILLET_OK;
}

millet_status mlt_reading_run(struct mlt_reading *r, mlt_add_score *add, void *context, millet_error *err)
{
    struct mlt_window window;
    int64_t done = 0;
    while (mlt_windows_next(&r->windows, r->tokens, &window)) {
        if (window.first == window.count) continue;
        for (int m = 0; m < r->n_models; m++)
            MLT_TRY(millet_sequence_truncate(r->sessions[m], 0, 0, err));
        int32_t at = window.first - 1;
        if (at > 0) MLT_TRY(read_part(r, 0, at, false, err));
        for (int32_t count; at + 1 < window.count; at += count) {
            count = MLT_MIN(r->n_rows, window.count - 1 - at);
            MLT_TRY(read_part(r, at, count, true, err));
            for (int32_t i = 0; i < count; i++, done++) {
                if (!r->scores[i].valid)
                    return mlt_fail_at(err, MILLET_BAD_FORMAT, r->models[r->n_models - 1]->checkpoint->path,
                                       NULL, MILLET_NO_OFFSET,
                                       "the logits for scored token %lld are not finite: the model%s damaged",
                                       (long long)done, r->n_models == 1 ? " is" : "s, or one of them, are");
                if (r->options.nll && (uint64_t)done < r->options.nll_capacity)
                    r->options.nll[done] = (float)r->scores[i].nll[0];
                add(context, &r->scores[i]);
            }
            if (r->options.progress &&
                !r->options.progress(r->options.context, (double)done / (double)r->n_scored))
                return mlt_fail(err, MILLET_CANCELLED, "cancelled after %lld of %lld tokens", (long long)done,
                                (long long)r->n_scored);
        }
    }
    return MILLET_OK;
}

millet_perplexity mlt_reading_perplexity(const struct mlt_reading *r, millet_interval nll)
{
    return (millet_perplexity){
        .n_tokens = r->windows.n_ids,
        .n_scored = r->n_scored,
        .n_windows = r->n_windows,
        .n_ctx = r->options.n_ctx,
        .overlap = r->options.overlap,
        .bos = r->windows.bos >= 0,
        .second_half = r->options.second_half,
        .nll = nll,
        .perplexity = mlt_interval_exp(nll),
    };
}
