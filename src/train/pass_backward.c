/* The way back through the described decoder. SPDX-License-Identifier: Apache-2.0 */
#include "train/pass_state.h"

#include <string.h>

/* The gradient of a branch, from that of the stream: scaled, without what was dropped, and through the
 * branch's post norm. */
static const float *branch_gradient(struct mlt_pass *pass, int32_t layer, enum mlt_branch which,
                                    struct mlt_slice post, const float *kept_branch,
                                    struct mlt_norm_stat stat)
{
    struct mlt_pass_state *s = pass->state;
    const struct mlt_config *c = &pass->model->config;
    const float *d = s->stream;
    bool drops = mlt_pass_drops(pass);
    if (c->residual_scale != 1 || drops) {
        memset(s->branch, 0, (size_t)(pass->tokens * c->n_embd) * sizeof *s->branch);
        if (drops)
            mlt_pass_add_dropped(pass, s->branch, s->stream, c->residual_scale, layer, which);
        else
            mlt_pass_add(pass, s->branch, s->stream, c->residual_scale, pass->tokens * c->n_embd);
        d = s->branch;
    }
    if (!mlt_has(post)) return d;
    struct mlt_slice none = {.offset = -1};
    struct mlt_norm norm = mlt_pass_row_norm(pass, post, none, kept_branch, NULL, stat);
    norm.dy = d;
    norm.dx = s->branch;
    mlt_pass_norm_backward(pass, &norm, pass->tokens);
    return s->branch;
}

/* stream += the norm's gradient of d_normed. */
static void through_norm(struct mlt_pass *pass, struct mlt_slice weight, struct mlt_slice bias,
                         const float *x, struct mlt_norm_stat stat)
{
    struct mlt_norm norm = mlt_pass_row_norm(pass, weight, bias, x, NULL, stat);
    norm.dy = pass->d_hidden;
    norm.dx = pass->state->stream;
    norm.add = true;
    mlt_pass_norm_backward(pass, &norm, pass->tokens);
}

/*
 * d_hidden is free once the last norm's gradient is taken: it holds the gradient of the normed input of a
 * branch. In a parallel block both branches add to it.
 */
static void feed_forward_backward(struct mlt_pass *pass, int32_t layer)
{
    const struct mlt_config *c = &pass->model->config;
    const struct mlt_trainable_layer *l = &pass->model->layers[layer];
    struct mlt_pass_state *s = pass->state;
    struct mlt_kept *k = &s->kept[layer];
    int64_t tokens = pass->tokens, count = tokens * c->n_ff;
    const float *d = branch_gradient(pass, layer, MLT_BRANCH_FEED_FORWARD, l->ffn_post_norm, k->ffn_branch,
                                     k->ffn_post_stat);
    struct mlt_gate gate = mlt_pass_layer_gate(pass, layer, s->wide);
    mlt_pass_gate(pass, &gate, count, false);
    mlt_pass_linear_backward(pass, s->wide, d, tokens, l->w_down, l->b_down, false, s->wide2);
    gate.dh = s->wide2;
    mlt_pass_gate(pass, &gate, count, true);
    if (c->parallel_block)
        mlt_pass_attention_input(pass, layer);
    else
        mlt_pass_feed_forward_input(pass, layer);
    mlt_pass_linear_backward(pass, s->normed, k->gate, tokens, c->gated ? l->w_gate : l->w_up,
                             c->gated ? l->b_gate : l->b_up, false, pass->d_hidden);
    if (c->gated)
        mlt_pass_linear_backward(pass, s->normed, k->up, tokens, l->w_up, l->b_up, true, pass->d_hidden);
    if (!c->parallel_block) through_norm(pass, l->ffn_norm, l->ffn_norm_bias, k->middle, k->ffn_stat);
}

/* From the gradient of placed heads to that of the projection's output, in place. */
static void place_backward(struct mlt_pass *pass, int32_t layer, struct mlt_slice weight, const float *raw,
                           struct mlt_norm_stat stat, int32_t heads, float *d)
{
    if (pass->model->config.layers[layer].rope) {
        struct mlt_rotation rotation = mlt_pass_rotation(pass, layer, d, heads, true);
        mlt_pass_rotate(pass, &rotation);
    }
    if (!raw) return;
    struct mlt_norm norm = mlt_pass_head_norm(pass, weight, raw, NULL, stat);
    norm.dy = norm.dx = d;
    mlt_pass_norm_backward(pass, &norm, pass->tokens * heads);
}

/* What losses say about a layer's queries, keys and values. */
static void add_projections(struct mlt_pass *pass, int32_t layer, const struct mlt_attention *attention)
{
    if (!pass->d_projections || !pass->d_projections[layer].q) return;
    const struct mlt_config *c = &pass->model->config;
    struct mlt_projections d = pass->d_projections[layer];
    mlt_pass_add(pass, attention->dq, d.q, 1, pass->tokens * c->n_heads * c->head_size);
    mlt_pass_add(pass, attention->dk, d.k, 1, pass->tokens * c->n_kv_heads * c->head_size);
    mlt_pass_add(pass, attention->dv, d.v, 1, pass->tokens * c->n_kv_heads * c->value_size);
}

static void attention_backward(struct mlt_pass *pass, const struct mlt_batch *batch, int32_t layer)
{
    const struct mlt_config *c = &pass->model->config;
    const struct mlt_trainable_layer *l = &pass->model->layers[layer];
    struct mlt_pass_state *s = pass->state;
    struct mlt_kept *k = &s->kept[layer];
    int64_t tokens = pass->tokens;
    const float *d = branch_gradient(pass, layer, MLT_BRANCH_ATTENTION, l->attn_post_norm, k->attn_branch,
                                     k->attn_post_stat);
    mlt_pass_linear_backward(pass, k->attended, d, tokens, l->wo, l->bo, false, s->wide2);
    struct mlt_attention attention = mlt_pass_layer_attention(pass, layer);
    attention.dout = s->wide2;
    attention.dq = s->wide;
    attention.dk = attention.dq + tokens * c->n_heads * c->head_size;
    attention.dv = attention.dk + tokens * c->n_kv_heads * c->head_size;
    mlt_pass_attention(pass, batch, &attention, true);
    add_projections(pass, layer, &attention);
    place_backward(pass, layer, l->q_norm, k->q_raw, k->q_stat, c->n_heads, attention.dq);
    place_backward(pass, layer, l->k_norm, k->k_raw, k->k_stat, c->n_kv_heads, attention.dk);
    if (!c->parallel_block) mlt_pass_attention_input(pass, layer);
    mlt_pass_linear_backward(pass, s->normed, attention.dq, tokens, l->wq, l->bq, c->parallel_block,
                             pass->d_hidden);
    mlt_pass_linear_backward(pass, s->normed, attention.dk, tokens, l->wk, l->bk, true, pass->d_hidden);
    mlt_pass_linear_backward(pass, s->normed, attention.dv, tokens, l->wv, l->bv, true, pass->d_hidden);
    through_norm(pass, l->attn_norm, l->attn_norm_bias, k->x, k->attn_stat);
}

struct embedding {
    const struct mlt_pass *pass;
    const int32_t *tokens;
};

/* Columns are shared among threads: rows of a token that occurs several times are added in order. */
static void embed_backward(const void *argument, int64_t begin, int64_t end)
{
    const struct embedding *e = argument;
    const struct mlt_trainable *t = e->pass->model;
    const struct mlt_ops *ops = e->pass->workers.ops;
    int64_t n = t->config.n_embd;
    for (int64_t row = 0; row < e->pass->tokens; row++) {
        const float *d = e->pass->state->stream + row * n;
        ops->add_scaled(t->gradient + t->token_embd.offset + e->tokens[row] * n, d, t->config.embedding_scale,
                        begin, end);
        if (mlt_has(t->position_embd))
            ops->add_scaled(t->gradient + t->position_embd.offset + e->pass->state->position[row] * n, d, 1,
                            begin, end);
    }
}

static void layer_done(const struct mlt_pass *pass, int32_t layer)
{
    if (pass->layer_done) pass->layer_done(pass->layer_done_context, layer);
}

/* What losses say about the stream behind layer n. */
static void add_gradient(struct mlt_pass *pass, int32_t n)
{
    if (pass->d_streams && pass->d_streams[n])
        mlt_pass_add(pass, pass->state->stream, pass->d_streams[n], 1,
                     pass->tokens * pass->model->config.n_embd);
}

void mlt_pass_backward(struct mlt_pass *pass, const struct mlt_batch *batch)
{
    const struct mlt_trainable *t = pass->model;
    struct mlt_pass_state *s = pass->state;
    struct mlt_norm norm =
        mlt_pass_row_norm(pass, t->output_norm, t->output_norm_bias, s->last, NULL, s->output_stat);
    norm.dy = pass->d_hidden;
    norm.dx = s->stream;
    mlt_pass_norm_backward(pass, &norm, pass->tokens);
    add_gradient(pass, t->config.n_layers);
    layer_done(pass, t->config.n_layers);
    for (int32_t layer = t->config.n_layers - 1; layer >= 0; layer--) {
        if (s->options.recompute && layer < t->config.n_layers - 1) mlt_pass_layer(pass, batch, layer, NULL);
        feed_forward_backward(pass, layer);
        attention_backward(pass, batch, layer);
        add_gradient(pass, layer);
        layer_done(pass, layer);
    }
    if (t->low_rank) { /* embeddings stay as they are */
        layer_done(pass, -1);
        return;
    }
    mlt_pass_drop_embedding(pass, s->stream);
    struct embedding e = {pass, batch->tokens};
    mlt_for_range(&pass->workers, t->config.n_embd, 64, embed_backward, &e);
    layer_done(pass, -1);
}
