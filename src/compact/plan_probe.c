/* One matrix rounded at a time. SPDX-License-Identifier: Apache-2.0 */
#include "compact/plan_probe.h"

#include <math.h>
#include <string.h>

enum { DEFAULT_CTX = 256, DEFAULT_TOKENS = 1024, LEAST_TOKENS = 16, ROWS = 64, BASE_BYTES = 256 << 20 };

/* ---- Opening ---- */

/* Tensors that are put together on reading are put together once. */
static millet_status gather_tensors(struct mlt_checkpoint *checkpoint, millet_error *err)
{
    for (size_t i = 0; i < checkpoint->n_tensors; i++) {
        struct mlt_tensor *tensor = &checkpoint->tensors[i];
        if (tensor->data || tensor->bytes == 0) continue;
        uint8_t *copy = tensor->bytes <= SIZE_MAX
                            ? mlt_arena_alloc(&checkpoint->arena, (size_t)tensor->bytes, 1, err)
                            : NULL;
        if (!copy) return MILLET_NO_MEMORY;
        MLT_TRY(mlt_tensor_read(tensor, 0, tensor->rows, copy, err));
        tensor->data = copy;
        tensor->read = NULL;
    }
    return MILLET_OK;
}

static void mix_in(uint64_t *hash, const void *bytes, uint64_t size)
{
    const uint8_t *at = bytes;
    for (uint64_t i = 0; i < size; i++)
        *hash = (*hash ^ at[i]) * 0x100000001b3u; /* FNV-1a */
}

/* Names, shapes, types and the ends of all tensors; the tokens. */
static void take_fingerprint(struct mlt_probe *p)
{
    enum { ENDS = 4096 };
    uint64_t hash = 0xcbf29ce484222325u;
    const struct mlt_checkpoint *checkpoint = p->model->checkpoint;
    for (size_t i = 0; i < checkpoint->n_tensors; i++) {
        const struct mlt_tensor *tensor = &checkpoint->tensors[i];
        uint64_t part = MLT_MIN(tensor->bytes, (uint64_t)ENDS);
        uint32_t dtype = tensor->dtype;
        mix_in(&hash, tensor->name.data, tensor->name.length + 1);
        mix_in(&hash, tensor->ne, sizeof tensor->ne);
        mix_in(&hash, &dtype, sizeof dtype);
        mix_in(&hash, tensor->data, part);
        mix_in(&hash, tensor->data + (tensor->bytes - part), part);
    }
    mix_in(&hash, p->tokens, (uint64_t)p->n_tokens * sizeof *p->tokens);
    mix_in(&hash, &p->n_ctx, sizeof p->n_ctx);
    p->fingerprint = hash >> 1; /* a JSON integer has a sign */
}

/* The first max_tokens tokens of windows that each begin with BOS, where the model asks for it. */
static millet_status cut_text(struct mlt_probe *p, const struct mlt_probe_options *options, millet_error *err)
{
    const millet_model *model = p->model;
    int32_t *ids = NULL;
    size_t count = 0, at = 0;
    if (!model->tokenizer)
        return mlt_fail_at(err, MILLET_UNSUPPORTED, model->checkpoint->path, NULL, MILLET_NO_OFFSET,
                           "the model has no tokenizer; without it a text cannot be put before it");
    MLT_TRY(mlt_tokenize(model->tokenizer, &p->allocator, options->text, options->text_length, 0, &ids,
                         &count, err));
    p->n_ctx = options->n_ctx;
    if (p->n_ctx == 0) {
        p->n_ctx = DEFAULT_CTX;
        if (model->config.n_ctx_train > 0) p->n_ctx = MLT_MIN(p->n_ctx, model->config.n_ctx_train);
    }
    int64_t most = options->max_tokens ? options->max_tokens : DEFAULT_TOKENS;
    most = MLT_MIN(most, (int64_t)BASE_BYTES / ((int64_t)sizeof(float) * model->config.n_vocab));
    bool bos = model->add_bos && model->bos >= 0;
    p->tokens = mlt_alloc(&p->allocator, (size_t)MLT_MAX(most, 1), sizeof *p->tokens, err);
    if (!p->tokens) {
        mlt_free(&p->allocator, ids);
        return MILLET_NO_MEMORY;
    }
    for (; p->n_tokens < most && at < count; p->n_tokens++)
        p->tokens[p->n_tokens] = bos && p->n_tokens % p->n_ctx == 0 ? model->bos : ids[at++];
    mlt_free(&p->allocator, ids);
    if (p->n_tokens >= LEAST_TOKENS) return MILLET_OK;
    return mlt_fail(err, MILLET_BAD_ARGUMENT,
                    "the text to measure sensitivity on has %lld tokens; at least %d are needed, and some "
                    "hundreds are better",
                    (long long)p->n_tokens, LEAST_TOKENS);
}

static double log_sum(const float *logits, int32_t n)
{
    float max = -INFINITY;
    double sum = 0;
    for (int32_t i = 0; i < n; i++)
        max = logits[i] > max ? logits[i] : max;
    for (int32_t i = 0; i < n; i++)
        sum += exp((double)logits[i] - (double)max);
    return (double)max + log(sum);
}

/* Rows of logits at hand, of tokens [first, first + count). */
struct rows {
    struct mlt_probe *probe;
    int64_t first;
    int32_t count;
};

static void keep_share(void *argument, int thread, int threads)
{
    const struct rows *rows = argument;
    struct mlt_probe *p = rows->probe;
    size_t n = (size_t)p->model->config.n_vocab;
    int64_t begin, end;
    mlt_thread_share(rows->count, 1, thread, threads, &begin, &end);
    for (int64_t i = begin; i < end; i++) {
        size_t at = (size_t)(rows->first + i);
        memcpy(p->base + at * n, millet_logits(p->session, (int32_t)i), n * sizeof *p->base);
        p->base_sum[at] = p->scores[at] = log_sum(p->base + at * n, (int32_t)n);
    }
}

static void score_share(void *argument, int thread, int threads)
{
    const struct rows *rows = argument;
    struct mlt_probe *p = rows->probe;
    size_t n = (size_t)p->model->config.n_vocab;
    int64_t begin, end;
    mlt_thread_share(rows->count, 1, thread, threads, &begin, &end);
    for (int64_t i = begin; i < end; i++) {
        size_t at = (size_t)(rows->first + i);
        const float *now = millet_logits(p->session, (int32_t)i), *base = p->base + at * n;
        double sum = log_sum(now, (int32_t)n), kl = 0;
        for (size_t k = 0; k < n; k++) {
            double x = (double)base[k] - p->base_sum[at], weight = exp(x);
            if (weight > 0) kl += weight * (x - ((double)now[k] - sum));
        }
        p->scores[at] = kl < 0 ? 0 : kl; /* rounding can take equal predictions below zero */
    }
}

/* Reads all tokens, giving the rows of logits to `task`; then no score may be NaN or infinite. */
static millet_status read_all(struct mlt_probe *p, mlt_task *task, millet_error *err)
{
    for (int64_t at = 0; at < p->n_tokens;) {
        int64_t in_window = at % p->n_ctx;
        if (in_window == 0) MLT_TRY(millet_sequence_truncate(p->session, 0, 0, err));
        int32_t count = (int32_t)MLT_MIN(MLT_MIN((int64_t)p->n_rows, p->n_ctx - in_window), p->n_tokens - at);
        for (int32_t i = 0; i < count; i++)
            p->items[i] = (millet_item){p->tokens[at + i], 0, true};
        MLT_TRY(millet_eval(p->session, p->items, count, err));
        struct rows rows = {p, at, count};
        mlt_thread_pool_run(p->encoder.pool, task, &rows);
        at += count;
    }
    for (int64_t i = 0; i < p->n_tokens; i++)
        if (!isfinite(p->scores[i]))
            return mlt_fail_at(err, MILLET_BAD_FORMAT, p->model->checkpoint->path, NULL, MILLET_NO_OFFSET,
                               "the logits of token %lld are not finite", (long long)i);
    return MILLET_OK;
}

static millet_status open_parts(struct mlt_probe *p, const struct mlt_probe_options *options,
                                millet_error *err)
{
    MLT_TRY(cut_text(p, options, err));
    size_t n = (size_t)p->n_tokens;
    p->n_rows = MLT_MIN(ROWS, p->n_ctx);
    p->items = mlt_alloc(&p->allocator, (size_t)p->n_rows, sizeof *p->items, err);
    p->base = mlt_alloc(&p->allocator, n * (size_t)p->model->config.n_vocab, sizeof *p->base, err);
    p->base_sum = mlt_alloc(&p->allocator, n, sizeof *p->base_sum, err);
    p->scores = mlt_alloc(&p->allocator, n, sizeof *p->scores, err);
    if (!p->items || !p->base || !p->base_sum || !p->scores) return MILLET_NO_MEMORY;
    const struct mlt_checkpoint *checkpoint = p->model->checkpoint;
    for (size_t i = 0; i < checkpoint->n_tensors; i++)
        p->exact = p->exact || mlt_dtype_info(checkpoint->tensors[i].dtype)->quantised;
    millet_session_options session = {
        .allocator = &p->allocator,
        .n_ctx = p->n_ctx,
        .n_batch = p->n_rows,
        .n_logits = p->n_rows,
        .n_threads = options->n_threads,
        .cache_type = MILLET_CACHE_F32,
        .exact_activations = p->exact,
    };
    MLT_TRY(millet_session_open(p->model, &session, &p->session, err));
    MLT_TRY(mlt_encoder_open(&p->encoder, &p->allocator, options->n_threads, err));
    take_fingerprint(p);
    return read_all(p, keep_share, err);
}

millet_status mlt_probe_open(struct mlt_probe *probe, const millet_allocator *allocator,
                             struct mlt_checkpoint *checkpoint, const struct mlt_probe_options *options,
                             millet_error *err)
{
    *probe = (struct mlt_probe){.allocator = *allocator};
    millet_status status = gather_tensors(checkpoint, err);
    if (status != MILLET_OK) {
        mlt_checkpoint_close(&checkpoint);
        return status;
    }
    MLT_TRY(mlt_model_from_checkpoint(allocator, checkpoint, &probe->model, err));
    status = open_parts(probe, options, err);
    if (status != MILLET_OK) mlt_probe_close(probe);
    return status;
}

void mlt_probe_close(struct mlt_probe *p)
{
    millet_session_close(&p->session);
    if (p->encoder.pool) mlt_encoder_close(&p->encoder);
    mlt_free(&p->allocator, p->tokens);
    mlt_free(&p->allocator, p->items);
    mlt_free(&p->allocator, p->base);
    mlt_free(&p->allocator, p->base_sum);
    mlt_free(&p->allocator, p->scores);
    mlt_free(&p->allocator, p->values);
    millet_model_close(&p->model);
    *p = (struct mlt_probe){.allocator = p->allocator};
}

/* ---- Rounding ---- */

/* Where the bytes of a rounded tensor go: back to floats. */
struct decoding {
    float *out;
    mlt_dtype dtype;
};

static millet_status decode_part(void *context, const void *bytes, uint64_t size, uint64_t elements,
                                 millet_error *err)
{
    struct decoding *d = context;
    (void)size;
    (void)err;
    mlt_decode(d->dtype, bytes, d->out, (int64_t)elements);
    d->out += elements;
    return MILLET_OK;
}

millet_status mlt_probe_round(struct mlt_probe *p, size_t index, mlt_dtype dtype,
                              struct mlt_encode_error *error, millet_error *err)
{
    const struct mlt_tensor *tensor = &p->model->checkpoint->tensors[index];
    size_t elements = (size_t)tensor->rows * (size_t)tensor->ne[0];
    if (elements > p->values_capacity) {
        mlt_free(&p->allocator, p->values);
        p->values_capacity = 0;
        p->values = mlt_alloc(&p->allocator, elements, sizeof *p->values, err);
        if (!p->values) return MILLET_NO_MEMORY;
        p->values_capacity = elements;
    }
    struct decoding to = {p->values, dtype};
    return mlt_encode_tensor(&p->encoder, tensor, dtype, NULL, decode_part, &to, error, err);
}

/* The weights found anew: matrices are pointed to, vectors are small. */
static millet_status reload(struct mlt_probe *p, millet_error *err)
{
    struct mlt_weights weights;
    millet_status status =
        mlt_weights_load(&weights, &p->allocator, p->model->checkpoint, &p->model->config, err);
    struct mlt_weights old = status == MILLET_OK ? p->model->weights : weights;
    if (status == MILLET_OK) p->model->weights = weights;
    mlt_arena_release(&old.arena);
    return status;
}

millet_status mlt_probe_measure(struct mlt_probe *p, size_t index, double *kl, millet_error *err)
{
    struct mlt_tensor *tensor = &p->model->checkpoint->tensors[index], as_it_is = *tensor;
    tensor->dtype = MLT_F32;
    tensor->data = (const uint8_t *)p->values;
    tensor->row_bytes = (uint64_t)tensor->ne[0] * sizeof(float);
    tensor->bytes = tensor->row_bytes * tensor->rows;
    millet_status status = reload(p, err);
    if (status == MILLET_OK) status = read_all(p, score_share, err);
    *tensor = as_it_is;
    if (status == MILLET_OK) status = reload(p, err);
    if (status != MILLET_OK) return status;
    double sum = 0;
    for (int64_t i = 0; i < p->n_tokens; i++)
        sum += p->scores[i];
    *kl = sum / (double)p->n_tokens;
    return MILLET_OK;
}
