/* A pass's memory, and the way forward. SPDX-License-Identifier: Apache-2.0 */
#include "train/pass.h"

#include "model/rope.h"
#include "train/pass_state.h"

#include <math.h>
#include <string.h>

/* ---- Memory ---- */

/* Hands out pieces of the block, or only counts them where there is none. */
struct layout {
    float *block;
    uint64_t floats;
    bool failed;
};

static float *reserve(struct layout *l, int64_t count, int64_t width)
{
    uint64_t values, at = l->floats;
    if (!mlt_mul_u64((uint64_t)count, (uint64_t)width, &values) || values > SIZE_MAX / 32 ||
        at > SIZE_MAX / 32) {
        l->failed = true;
        return NULL;
    }
    l->floats = mlt_round_up(at + values, MLT_ALIGNMENT / sizeof(float));
    return l->block ? l->block + at : NULL;
}

static struct mlt_norm_stat reserve_stat(struct layout *l, const struct mlt_config *c, int64_t rows)
{
    struct mlt_norm_stat stat = {.rstd = reserve(l, rows, 1)};
    if (c->norm == MLT_NORM_LAYER || c->qk_norm == MLT_QK_LAYER_HEAD) stat.mean = reserve(l, rows, 1);
    return stat;
}

static struct mlt_kept reserve_kept(struct layout *l, const struct mlt_config *c, int64_t tokens)
{
    int64_t nq = (int64_t)c->n_heads * c->head_size, nk = (int64_t)c->n_kv_heads * c->head_size;
    struct mlt_kept k = {.attn_stat = reserve_stat(l, c, tokens)};
    if (c->qk_norm != MLT_QK_NONE) {
        k.q_stat = reserve_stat(l, c, tokens * c->n_heads);
        k.k_stat = reserve_stat(l, c, tokens * c->n_kv_heads);
        k.q_raw = reserve(l, tokens, nq);
        k.k_raw = reserve(l, tokens, nk);
    }
    k.q = reserve(l, tokens, nq);
    k.k = reserve(l, tokens, nk);
    k.v = reserve(l, tokens, (int64_t)c->n_kv_heads * c->value_size);
    k.attended = reserve(l, tokens, (int64_t)c->n_heads * c->value_size);
    k.log_sum = reserve(l, tokens, c->n_heads);
    if (c->post_norms) {
        k.attn_post_stat = reserve_stat(l, c, tokens);
        k.ffn_post_stat = reserve_stat(l, c, tokens);
        k.attn_branch = reserve(l, tokens, c->n_embd);
        k.ffn_branch = reserve(l, tokens, c->n_embd);
    }
    k.middle = reserve(l, tokens, c->n_embd);
    k.ffn_stat = reserve_stat(l, c, tokens);
    k.gate = reserve(l, tokens, c->n_ff);
    if (c->gated) k.up = reserve(l, tokens, c->n_ff);
    return k;
}

/* `s` and `pass` may be NULL: then nothing but the size is wanted. */
static void lay_out(struct layout *l, const struct mlt_config *c, const struct mlt_pass_options *o,
                    struct mlt_pass_state *s, struct mlt_pass *pass)
{
    int64_t tokens = (int64_t)o->rows * o->length, n_embd = c->n_embd;
    int64_t nqkv =
        ((int64_t)c->n_heads + c->n_kv_heads) * c->head_size + (int64_t)c->n_kv_heads * c->value_size;
    int64_t wide = MLT_MAX(MLT_MAX((int64_t)c->n_ff, nqkv), (int64_t)c->n_heads * c->value_size);
    bool shared = o->recompute || !o->backward;
    struct mlt_pass_state none = {0};
    struct mlt_pass no_pass = {0};
    struct mlt_kept one = {0};
    if (!s) s = &none;
    if (!pass) pass = &no_pass;
    if (shared) one = reserve_kept(l, c, tokens);
    for (int32_t i = 0; i < c->n_layers; i++) {
        struct mlt_kept kept = shared ? one : reserve_kept(l, c, tokens);
        /* Without a way back the stream needs one place only. */
        kept.x = !o->backward && i > 0 && s->kept ? s->kept[0].x
                 : o->backward || i == 0          ? reserve(l, tokens, n_embd)
                                                  : NULL;
        if (s->kept) s->kept[i] = kept;
    }
    s->last = o->backward ? reserve(l, tokens, n_embd) : s->kept ? s->kept[0].x : NULL;
    s->output_stat = reserve_stat(l, c, tokens);
    s->normed = reserve(l, tokens, n_embd);
    s->branch = reserve(l, tokens, n_embd);
    s->wide = reserve(l, tokens, wide);
    if (o->backward) {
        s->stream = reserve(l, tokens, n_embd);
        s->wide2 = reserve(l, tokens, wide);
        pass->d_hidden = reserve(l, tokens, n_embd);
    }
    pass->hidden = reserve(l, tokens, n_embd);
    for (int i = 0; i < MLT_PASS_ROPES; i++) {
        s->cosine[i] = reserve(l, o->length, c->rope_size / 2);
        s->sine[i] = reserve(l, o->length, c->rope_size / 2);
    }
    s->position = (int32_t *)(void *)reserve(l, tokens, 1);
    s->low = reserve(l, tokens, o->rank);
    s->d_low = reserve(l, tokens, o->rank);
}

static struct mlt_workers_shape workers_shape(const struct mlt_config *c, const struct mlt_pass_options *o)
{
    int64_t depth = MLT_MAX(MLT_MAX(c->n_embd, c->n_ff), c->n_vocab);
    depth = MLT_MAX(depth, (int64_t)c->n_heads * MLT_MAX(c->head_size, c->value_size));
    depth = MLT_MAX(depth, MLT_MAX((int64_t)o->rows * o->length, (int64_t)o->rank));
    return (struct mlt_workers_shape){depth, o->length, c->head_size, c->value_size};
}

static millet_status check_options(const struct mlt_config *c, const struct mlt_pass_options *o,
                                   millet_error *err)
{
    if (o->rows < 1 || o->length < 1)
        return mlt_fail(err, MILLET_BAD_ARGUMENT, "a batch of %d x %d tokens", o->rows, o->length);
    if (o->length > c->n_ctx_train)
        return mlt_fail(err, MILLET_BAD_ARGUMENT, "sequences of %d tokens, but the model's context is %d",
                        o->length, c->n_ctx_train);
    return MILLET_OK;
}

millet_status mlt_pass_estimate(const struct mlt_config *config, const struct mlt_pass_options *options,
                                uint64_t *bytes, millet_error *err)
{
    MLT_TRY(check_options(config, options, err));
    struct layout l = {0};
    lay_out(&l, config, options, NULL, NULL);
    if (l.failed)
        return mlt_fail(err, MILLET_BAD_ARGUMENT,
                        "the activations of %d x %d tokens are beyond the address space", options->rows,
                        options->length);
    struct mlt_workers_shape shape = workers_shape(config, options);
    *bytes = l.floats * sizeof(float) + mlt_workers_bytes(&shape, options->n_threads);
    return MILLET_OK;
}

static millet_status prepare_rope(struct mlt_pass *pass, millet_error *err)
{
    const struct mlt_config *c = &pass->model->config;
    struct mlt_pass_state *s = pass->state;
    int32_t pairs = c->rope_size / 2;
    if (c->rope_kind == MLT_ROPE_NONE) return MILLET_OK;
    double *frequency = mlt_alloc(&s->allocator, (size_t)pairs, sizeof *frequency, err);
    if (!frequency) return MILLET_NO_MEMORY;
    for (int i = 0; i < (c->rope_local_differs ? 2 : 1); i++) {
        /* Both tables have the same divisors, as in the engine. */
        float magnitude = mlt_rope_frequencies(i ? &c->rope_local : &c->rope, c->rope_size,
                                               pass->model->rope_divisors, frequency);
        for (int32_t p = 0; p < s->options.length; p++)
            mlt_rope_angles(frequency, pairs, magnitude, p, s->cosine[i] + (int64_t)p * pairs,
                            s->sine[i] + (int64_t)p * pairs);
    }
    mlt_free(&s->allocator, frequency);
    return MILLET_OK;
}

static millet_status fill(struct mlt_pass *pass, millet_error *err)
{
    struct mlt_pass_state *s = pass->state;
    const struct mlt_config *c = &pass->model->config;
    uint64_t bytes;
    MLT_TRY(mlt_pass_estimate(c, &s->options, &bytes, err));
    struct mlt_workers_shape shape = workers_shape(c, &s->options);
    s->kept = mlt_alloc_zero(&s->allocator, (size_t)c->n_layers, sizeof *s->kept, err);
    if (!s->kept) return MILLET_NO_MEMORY;
    struct layout l = {0};
    lay_out(&l, c, &s->options, NULL, NULL);
    s->block = mlt_alloc(&s->allocator, (size_t)l.floats, sizeof(float), err);
    if (!s->block) return MILLET_NO_MEMORY;
    l = (struct layout){.block = s->block};
    lay_out(&l, c, &s->options, s, pass);
    MLT_TRY(mlt_workers_open(&pass->workers, &s->allocator, &shape, s->options.n_threads, err));
    return prepare_rope(pass, err);
}

millet_status mlt_pass_open(const millet_allocator *allocator, struct mlt_trainable *model,
                            const struct mlt_pass_options *options, struct mlt_pass **out, millet_error *err)
{
    *out = NULL;
    struct mlt_pass *pass = mlt_alloc_zero(allocator, 1, sizeof *pass, err);
    struct mlt_pass_state *state = mlt_alloc_zero(allocator, 1, sizeof *state, err);
    if (!pass || !state) {
        mlt_free(allocator, pass);
        mlt_free(allocator, state);
        return MILLET_NO_MEMORY;
    }
    pass->model = model;
    pass->state = state;
    pass->workers.allocator = *allocator;
    state->allocator = *allocator;
    state->options = *options;
    millet_status status = fill(pass, err);
    if (status != MILLET_OK) {
        mlt_pass_close(&pass);
        return status;
    }
    *out = pass;
    return MILLET_OK;
}

void mlt_pass_close(struct mlt_pass **handle)
{
    struct mlt_pass *pass = *handle;
    if (!pass) return;
    millet_allocator allocator = pass->state->allocator;
    mlt_workers_close(&pass->workers);
    mlt_free(&allocator, pass->state->block);
    mlt_free(&allocator, pass->state->kept);
    mlt_free(&allocator, pass->state);
    mlt_free(&allocator, pass);
    *handle = NULL;
}

/* ---- Descriptions ---- */

struct mlt_norm mlt_pass_row_norm(const struct mlt_pass *pass, struct mlt_slice weight, struct mlt_slice bias,
                                  const float *x, float *y, struct mlt_norm_stat stat)
{
    const struct mlt_config *c = &pass->model->config;
    return (struct mlt_norm){.kind = c->norm,
                             .n = c->n_embd,
                             .weight_rows = 1,
                             .eps = c->norm_eps,
                             .x = x,
                             .weight = mlt_weight(pass, weight),
                             .bias = mlt_weight(pass, bias),
                             .y = y,
                             .mean = stat.mean,
                             .rstd = stat.rstd,
                             .dweight = mlt_gradient(pass, weight),
                             .dbias = mlt_gradient(pass, bias)};
}

struct mlt_norm mlt_pass_head_norm(const struct mlt_pass *pass, struct mlt_slice weight, const float *x,
                                   float *y, struct mlt_norm_stat stat)
{
    const struct mlt_config *c = &pass->model->config;
    return (struct mlt_norm){.kind = c->qk_norm == MLT_QK_LAYER_HEAD ? MLT_NORM_LAYER : MLT_NORM_RMS,
                             .n = c->head_size,
                             .weight_rows = weight.rows,
                             .eps = c->norm_eps,
                             .x = x,
                             .weight = mlt_weight(pass, weight),
                             .y = y,
                             .mean = stat.mean,
                             .rstd = stat.rstd,
                             .dweight = mlt_gradient(pass, weight)};
}

struct mlt_rotation mlt_pass_rotation(const struct mlt_pass *pass, int32_t layer, float *x, int32_t heads,
                                      bool backward)
{
    const struct mlt_config *c = &pass->model->config;
    const struct mlt_pass_state *s = pass->state;
    int table = c->layers[layer].local && c->rope_local_differs;
    return (struct mlt_rotation){.kind = c->rope_kind,
                                 .heads = heads,
                                 .head_size = c->head_size,
                                 .pairs = c->rope_size / 2,
                                 .position = s->position,
                                 .cosine = s->cosine[table],
                                 .sine = s->sine[table],
                                 .x = x,
                                 .backward = backward};
}

struct mlt_attention mlt_pass_layer_attention(const struct mlt_pass *pass, int32_t layer)
{
    const struct mlt_config *c = &pass->model->config;
    const struct mlt_kept *k = &pass->state->kept[layer];
    return (struct mlt_attention){.length = pass->length,
                                  .n_heads = c->n_heads,
                                  .n_kv_heads = c->n_kv_heads,
                                  .head_size = c->head_size,
                                  .value_size = c->value_size,
                                  .window = c->layers[layer].local ? c->window : 0,
                                  .scale = c->attention_scale,
                                  .softcap = c->attention_softcap,
                                  .q = k->q,
                                  .k = k->k,
                                  .v = k->v,
                                  .out = k->attended,
                                  .log_sum = k->log_sum};
}

struct mlt_gate mlt_pass_layer_gate(const struct mlt_pass *pass, int32_t layer, float *h)
{
    const struct mlt_kept *k = &pass->state->kept[layer];
    return (struct mlt_gate){
        .activation = pass->model->config.activation, .gate = k->gate, .up = k->up, .h = h};
}

/* ---- Forward ---- */

struct embedding {
    const struct mlt_pass *pass;
    const int32_t *tokens;
    float *x;
};

/* A row of embeddings; `room` takes it where it has to be decoded. */
static const float *matrix_row(const struct mlt_trainable *t, struct mlt_slice matrix, int64_t row,
                               float *room)
{
    if (!matrix.mapped) return t->base + matrix.offset + row * matrix.columns;
    const struct mlt_tensor *tensor = t->low_rank->frozen[matrix.mapped - 1].tensor;
    mlt_decode(tensor->dtype, tensor->data + (uint64_t)row * tensor->row_bytes, room, matrix.columns);
    return room;
}

static void embed_rows(const void *argument, int64_t begin, int64_t end)
{
    const struct embedding *e = argument;
    const struct mlt_trainable *t = e->pass->model;
    int64_t n = t->config.n_embd;
    for (int64_t row = begin; row < end; row++) {
        float *x = e->x + row * n, *position = e->pass->state->branch + row * n;
        const float *from = matrix_row(t, t->token_embd, e->tokens[row], x);
        for (int64_t i = 0; i < n; i++)
            x[i] = from[i] * t->config.embedding_scale;
        if (!mlt_has(t->position_embd)) continue;
        const float *learned = matrix_row(t, t->position_embd, e->pass->state->position[row], position);
        for (int64_t i = 0; i < n; i++)
            x[i] += learned[i];
    }
}

static millet_status take_batch(struct mlt_pass *pass, const struct mlt_batch *batch, millet_error *err)
{
    const struct mlt_config *c = &pass->model->config;
    const struct mlt_pass_options *o = &pass->state->options;
    if (batch->rows < 1 || batch->length < 1 || batch->rows > o->rows || batch->length > o->length)
        return mlt_fail(err, MILLET_BAD_ARGUMENT, "a batch of %d x %d tokens, where %d x %d were planned",
                        batch->rows, batch->length, o->rows, o->length);
    pass->rows = batch->rows;
    pass->length = batch->length;
    pass->tokens = (int64_t)batch->rows * batch->length;
    pass->first_token = (int64_t)batch->first_row * batch->length;
    for (int64_t row = 0; row < pass->tokens; row++) {
        int32_t i = (int32_t)(row % batch->length), begin = batch->begin[row], end = batch->end[row];
        int32_t token = batch->tokens[row], target = batch->targets[row];
        if (token < 0 || token >= c->n_vocab || target >= c->n_vocab || begin < 0 || begin > i || end < i ||
            end >= batch->length)
            return mlt_fail(
                err, MILLET_BAD_ARGUMENT,
                "position %d of row %lld: token %d, target %d, attention to %d..%d; the vocabulary has "
                "%d tokens, the row %d positions",
                i, (long long)(row / batch->length), token, target, begin, end, c->n_vocab, batch->length);
        pass->state->position[row] = i - begin;
    }
    return MILLET_OK;
}

void mlt_pass_attention_input(struct mlt_pass *pass, int32_t layer)
{
    const struct mlt_trainable_layer *l = &pass->model->layers[layer];
    struct mlt_kept *k = &pass->state->kept[layer];
    struct mlt_norm norm =
        mlt_pass_row_norm(pass, l->attn_norm, l->attn_norm_bias, k->x, pass->state->normed, k->attn_stat);
    mlt_pass_norm(pass, &norm, pass->tokens);
}

void mlt_pass_feed_forward_input(struct mlt_pass *pass, int32_t layer)
{
    const struct mlt_trainable_layer *l = &pass->model->layers[layer];
    struct mlt_kept *k = &pass->state->kept[layer];
    if (pass->model->config.parallel_block) return; /* reads what attention read */
    struct mlt_norm norm =
        mlt_pass_row_norm(pass, l->ffn_norm, l->ffn_norm_bias, k->middle, pass->state->normed, k->ffn_stat);
    mlt_pass_norm(pass, &norm, pass->tokens);
}

/* Norms each head of q or k (kept raw) and gives it its position. */
static void place_heads(struct mlt_pass *pass, int32_t layer, struct mlt_slice weight, const float *raw,
                        float *x, struct mlt_norm_stat stat, int32_t heads)
{
    if (raw) {
        struct mlt_norm norm = mlt_pass_head_norm(pass, weight, raw, x, stat);
        mlt_pass_norm(pass, &norm, pass->tokens * heads);
    }
    if (!pass->model->config.layers[layer].rope) return;
    struct mlt_rotation rotation = mlt_pass_rotation(pass, layer, x, heads, false);
    mlt_pass_rotate(pass, &rotation);
}

/* out = x + residual_scale * dropout(post_norm(weight . input + bias)) */
static void add_branch(struct mlt_pass *pass, int32_t layer, enum mlt_branch which, const float *input,
                       struct mlt_slice weight, struct mlt_slice bias, struct mlt_slice post,
                       float *kept_branch, struct mlt_norm_stat stat, const float *x, float *out)
{
    bool drops = mlt_pass_drops(pass);
    struct mlt_pass_state *s = pass->state;
    int64_t count = pass->tokens * pass->model->config.n_embd;
    float scale = pass->model->config.residual_scale;
    if (out != x) memcpy(out, x, (size_t)count * sizeof *out);
    if (!mlt_has(post) && scale == 1 && !drops) {
        mlt_pass_linear(pass, input, pass->tokens, weight, bias, true, out);
        return;
    }
    float *branch = mlt_has(post) ? kept_branch : s->branch;
    mlt_pass_linear(pass, input, pass->tokens, weight, bias, false, branch);
    if (mlt_has(post)) {
        struct mlt_slice none = {.offset = -1};
        struct mlt_norm norm = mlt_pass_row_norm(pass, post, none, branch, s->branch, stat);
        mlt_pass_norm(pass, &norm, pass->tokens);
    }
    if (drops)
        mlt_pass_add_dropped(pass, out, s->branch, scale, layer, which);
    else
        mlt_pass_add(pass, out, s->branch, scale, count);
}

void mlt_pass_layer(struct mlt_pass *pass, const struct mlt_batch *batch, int32_t layer, float *out)
{
    const struct mlt_config *c = &pass->model->config;
    const struct mlt_trainable_layer *l = &pass->model->layers[layer];
    struct mlt_pass_state *s = pass->state;
    struct mlt_kept *k = &s->kept[layer];
    int64_t tokens = pass->tokens;
    mlt_pass_attention_input(pass, layer);
    mlt_pass_linear(pass, s->normed, tokens, l->wq, l->bq, false, k->q_raw ? k->q_raw : k->q);
    mlt_pass_linear(pass, s->normed, tokens, l->wk, l->bk, false, k->k_raw ? k->k_raw : k->k);
    mlt_pass_linear(pass, s->normed, tokens, l->wv, l->bv, false, k->v);
    place_heads(pass, layer, l->q_norm, k->q_raw, k->q, k->q_stat, c->n_heads);
    place_heads(pass, layer, l->k_norm, k->k_raw, k->k, k->k_stat, c->n_kv_heads);
    struct mlt_attention attention = mlt_pass_layer_attention(pass, layer);
    mlt_pass_attention(pass, batch, &attention, false);
    add_branch(pass, layer, MLT_BRANCH_ATTENTION, k->attended, l->wo, l->bo, l->attn_post_norm,
               k->attn_branch, k->attn_post_stat, k->x, k->middle);
    mlt_pass_feed_forward_input(pass, layer);
    mlt_pass_linear(pass, s->normed, tokens, c->gated ? l->w_gate : l->w_up, c->gated ? l->b_gate : l->b_up,
                    false, k->gate);
    if (c->gated) mlt_pass_linear(pass, s->normed, tokens, l->w_up, l->b_up, false, k->up);
    if (!out && !k->ffn_branch) return; /* what is kept is complete */
    struct mlt_gate gate = mlt_pass_layer_gate(pass, layer, s->wide);
    mlt_pass_gate(pass, &gate, tokens * c->n_ff, false);
    if (out) {
        add_branch(pass, layer, MLT_BRANCH_FEED_FORWARD, s->wide, l->w_down, l->b_down, l->ffn_post_norm,
                   k->ffn_branch, k->ffn_post_stat, k->middle, out);
    } else {
        struct mlt_slice none = {.offset = -1};
        mlt_pass_linear(pass, s->wide, tokens, l->w_down, l->b_down, false, k->ffn_branch);
        struct mlt_norm norm =
            mlt_pass_row_norm(pass, l->ffn_post_norm, none, k->ffn_branch, s->branch, k->ffn_post_stat);
        mlt_pass_norm(pass, &norm, tokens);
    }
}

const float *mlt_pass_stream(const struct mlt_pass *pass, int32_t n)
{
    return n < pass->model->config.n_layers ? pass->state->kept[n].x : pass->state->last;
}

static void copy_stream(struct mlt_pass *pass, int32_t n, const float *stream)
{
    if (pass->streams && pass->streams[n])
        memcpy(pass->streams[n], stream,
               (size_t)(pass->tokens * pass->model->config.n_embd) * sizeof *stream);
}

static void copy_projections(struct mlt_pass *pass, int32_t layer)
{
    if (!pass->projections || !pass->projections[layer].q) return;
    const struct mlt_config *c = &pass->model->config;
    const struct mlt_kept *k = &pass->state->kept[layer];
    struct mlt_projections to = pass->projections[layer];
    size_t heads = (size_t)pass->tokens * sizeof(float);
    memcpy(to.q, k->q, heads * (size_t)(c->n_heads * c->head_size));
    memcpy(to.k, k->k, heads * (size_t)(c->n_kv_heads * c->head_size));
    memcpy(to.v, k->v, heads * (size_t)(c->n_kv_heads * c->value_size));
}

millet_status mlt_pass_forward(struct mlt_pass *pass, const struct mlt_batch *batch, millet_error *err)
{
    const struct mlt_trainable *t = pass->model;
    struct mlt_pass_state *s = pass->state;
    MLT_TRY(take_batch(pass, batch, err));
    struct embedding e = {pass, batch->tokens, s->kept[0].x};
    mlt_for_range(&pass->workers, pass->tokens, 16, embed_rows, &e);
    mlt_pass_drop_embedding(pass, e.x);
    copy_stream(pass, 0, s->kept[0].x);
    const struct mlt_pass_observer *o = pass->observer;
    for (int32_t layer = 0; layer < t->config.n_layers; layer++) {
        float *out = layer + 1 < t->config.n_layers ? s->kept[layer + 1].x : s->last;
        if (o) o->before(o->context, pass, layer);
        mlt_pass_layer(pass, batch, layer, out);
        copy_stream(pass, layer + 1, out);
        copy_projections(pass, layer);
        if (o) o->after(o->context, pass, layer, out);
    }
    struct mlt_norm norm =
        mlt_pass_row_norm(pass, t->output_norm, t->output_norm_bias, s->last, pass->hidden, s->output_stat);
    mlt_pass_norm(pass, &norm, pass->tokens);
    return MILLET_OK;
}
