/* Importance measured on the way forward. SPDX-License-Identifier: Apache-2.0 */
#include "compact/prune_importance.h"

#include "train/pass_state.h"

#include <math.h>
#include <string.h>

enum { SHARE_COLUMNS = 64, SHARE_ROWS = 8 };

millet_status mlt_importance_open(const millet_allocator *allocator, const struct mlt_config *c,
                                  struct mlt_importance *m, millet_error *err)
{
    *m = (struct mlt_importance){.allocator = *allocator,
                                 .n_layers = c->n_layers,
                                 .n_heads = c->n_heads,
                                 .n_kv_heads = c->n_kv_heads,
                                 .n_ff = c->n_ff,
                                 .n_embd = c->n_embd};
    size_t layers = (size_t)c->n_layers, heads = layers * (size_t)c->n_heads,
           groups = layers * (size_t)c->n_kv_heads;
    size_t channels = layers * (size_t)c->n_ff, norms = (MLT_PRUNE_NORMS * layers + 1) * (size_t)c->n_embd;
    double *block =
        mlt_alloc_zero(allocator, layers + heads + groups + channels + 2 * norms, sizeof *block, err);
    if (!block) return MILLET_NO_MEMORY;
    m->layers = block;
    m->heads = m->layers + layers;
    m->groups = m->heads + heads;
    m->feed_forward = m->groups + groups;
    m->magnitude = m->feed_forward + channels;
    m->energy = m->magnitude + norms;
    return MILLET_OK;
}

void mlt_importance_close(struct mlt_importance *m)
{
    if (m->layers) mlt_free(&m->allocator, m->layers);
    memset(m, 0, sizeof *m);
}

struct mlt_importance_watch {
    struct mlt_importance *importance;
    struct mlt_pass *pass;
    struct mlt_pass_observer observer;
    float *input;  /* [tokens][n_embd] of the layer at hand */
    float *branch; /* [tokens][n_embd] what some heads add */
    double *row;   /* [tokens] a number of each position */
    bool *counts;  /* [tokens] it is no padding */
};

/* ---- Sums over the positions ---- */

/* Sums of a channel of rows of n values: z = (x - mean) * rstd, y = z * weight + bias; without rstd y is x.
 */
struct columns {
    const struct mlt_importance_watch *watch;
    const float *x, *mean, *rstd, *weight, *bias;
    int64_t n;
    double *magnitude, *square, *energy; /* sums of |y|, y^2 and z^2 / n; each may be NULL */
};

static void sum_columns(const void *argument, int64_t begin, int64_t end)
{
    const struct columns *s = argument;
    for (int64_t row = 0; row < s->watch->pass->tokens; row++) {
        if (!s->watch->counts[row]) continue;
        const float *x = s->x + row * s->n;
        float mean = s->mean ? s->mean[row] : 0, rstd = s->rstd ? s->rstd[row] : 1;
        for (int64_t i = begin; i < end; i++) {
            float z = (x[i] - mean) * rstd, y = z;
            if (s->weight) y *= s->weight[i];
            if (s->bias) y += s->bias[i];
            if (s->magnitude) s->magnitude[i] += fabs((double)y);
            if (s->square) s->square[i] += (double)y * (double)y;
            if (s->energy) s->energy[i] += (double)z * (double)z / (double)s->n;
        }
    }
}

static void add_norm(struct mlt_importance_watch *w, size_t norm, struct mlt_slice weight,
                     struct mlt_slice bias, const float *x, struct mlt_norm_stat stat, bool magnitude)
{
    const struct mlt_config *c = &w->pass->model->config;
    size_t at = norm * (size_t)c->n_embd;
    struct columns s = {.watch = w,
                        .x = x,
                        .mean = c->norm == MLT_NORM_LAYER ? stat.mean : NULL,
                        .rstd = stat.rstd,
                        .weight = mlt_weight(w->pass, weight),
                        .bias = mlt_weight(w->pass, bias),
                        .n = c->n_embd,
                        .magnitude = magnitude ? w->importance->magnitude + at : NULL,
                        .energy = w->importance->energy + at};
    mlt_for_range(&w->pass->workers, s.n, SHARE_COLUMNS, sum_columns, &s);
}

/* A number of each row: 1 - cos(x, y), or the norm of x where y is NULL. */
struct rows {
    const struct mlt_importance_watch *watch;
    const float *x, *y;
    int64_t n;
};

static void measure_rows(const void *argument, int64_t begin, int64_t end)
{
    const struct rows *s = argument;
    for (int64_t row = begin; row < end; row++) {
        const float *x = s->x + row * s->n, *y = s->y ? s->y + row * s->n : x;
        double xx = 0, yy = 0, xy = 0;
        for (int64_t i = 0; i < s->n; i++) {
            xx += (double)x[i] * (double)x[i];
            yy += (double)y[i] * (double)y[i];
            xy += (double)x[i] * (double)y[i];
        }
        if (!s->y)
            s->watch->row[row] = sqrt(xx);
        else if (xx == xy && yy == xy) /* equal rows: nothing was done, and no rounding makes it something */
            s->watch->row[row] = 0;
        else
            s->watch->row[row] = xx > 0 && yy > 0 ? 1 - xy / sqrt(xx) / sqrt(yy) : 1;
    }
}

static double sum_rows(struct mlt_importance_watch *w, const float *x, const float *y)
{
    struct rows s = {w, x, y, w->importance->n_embd};
    double sum = 0;
    mlt_for_range(&w->pass->workers, w->pass->tokens, SHARE_ROWS, measure_rows, &s);
    for (int64_t row = 0; row < w->pass->tokens; row++)
        if (w->counts[row]) sum += w->row[row];
    return sum;
}

/* ---- A layer ---- */

/* The norm of what heads [first, first + count) add to the attention's output. */
static double add_heads(struct mlt_importance_watch *w, int32_t layer, int32_t first, int32_t count)
{
    struct mlt_pass *pass = w->pass;
    const struct mlt_config *c = &pass->model->config;
    struct mlt_slice wo = pass->model->layers[layer].wo;
    int64_t skip = (int64_t)first * c->value_size;
    struct mlt_operand a = {pass->state->kept[layer].attended + skip, wo.columns, false};
    struct mlt_operand b = {mlt_weight(pass, wo) + skip, wo.columns, true};
    mlt_product(&pass->workers, a, b, pass->tokens, wo.rows, (int64_t)count * c->value_size, false, w->branch,
                wo.rows);
    return sum_rows(w, w->branch, NULL);
}

static void before_layer(void *context, struct mlt_pass *pass, int32_t layer)
{
    struct mlt_importance_watch *w = context;
    size_t values = (size_t)(pass->tokens * w->importance->n_embd);
    memcpy(w->input, pass->state->kept[layer].x, values * sizeof *w->input);
}

static void after_layer(void *context, struct mlt_pass *pass, int32_t layer, const float *out)
{
    static const struct mlt_slice none = {.offset = -1};
    struct mlt_importance_watch *w = context;
    struct mlt_importance *m = w->importance;
    const struct mlt_config *c = &pass->model->config;
    const struct mlt_trainable_layer *l = &pass->model->layers[layer];
    const struct mlt_kept *k = &pass->state->kept[layer];
    size_t norm = MLT_PRUNE_NORMS * (size_t)layer, at = (size_t)layer;
    m->layers[at] += sum_rows(w, w->input, out);
    add_norm(w, norm + MLT_NORM_OF_ATTENTION, l->attn_norm, l->attn_norm_bias, w->input, k->attn_stat, true);
    if (!c->parallel_block)
        add_norm(w, norm + MLT_NORM_OF_FEED_FORWARD, l->ffn_norm, l->ffn_norm_bias, k->middle, k->ffn_stat,
                 true);
    if (c->post_norms) {
        add_norm(w, norm + MLT_NORM_AFTER_ATTENTION, l->attn_post_norm, none, k->attn_branch,
                 k->attn_post_stat, false);
        add_norm(w, norm + MLT_NORM_AFTER_FEED_FORWARD, l->ffn_post_norm, none, k->ffn_branch,
                 k->ffn_post_stat, false);
    }
    int32_t group = c->n_heads / c->n_kv_heads;
    for (int32_t h = 0; h < c->n_heads; h++)
        m->heads[at * (size_t)c->n_heads + (size_t)h] += add_heads(w, layer, h, 1);
    for (int32_t g = 0; g < c->n_kv_heads; g++)
        m->groups[at * (size_t)c->n_kv_heads + (size_t)g] += add_heads(w, layer, g * group, group);
    struct columns h = {
        .watch = w, .x = pass->state->wide, .n = c->n_ff, .square = m->feed_forward + at * (size_t)c->n_ff};
    mlt_for_range(&pass->workers, h.n, SHARE_COLUMNS, sum_columns, &h);
}

/* ---- The watch ---- */

uint64_t mlt_importance_watch_bytes(const struct mlt_config *c, int64_t tokens)
{
    uint64_t width = 2 * (uint64_t)c->n_embd * sizeof(float) + sizeof(double) + sizeof(bool);
    return (uint64_t)tokens * width + sizeof(struct mlt_importance_watch);
}

millet_status mlt_importance_watch_open(struct mlt_importance *importance, struct mlt_pass *pass,
                                        struct mlt_importance_watch **out, millet_error *err)
{
    const struct mlt_pass_options *o = &pass->state->options;
    size_t tokens = (size_t)o->rows * (size_t)o->length, values = tokens * (size_t)importance->n_embd;
    struct mlt_importance_watch *w = mlt_alloc_zero(&importance->allocator, 1, sizeof *w, err);
    *out = w;
    if (!w) return MILLET_NO_MEMORY;
    w->importance = importance;
    w->pass = pass;
    w->observer = (struct mlt_pass_observer){w, before_layer, after_layer};
    pass->observer = &w->observer;
    w->input = mlt_alloc(&importance->allocator, values, sizeof *w->input, err);
    w->branch = mlt_alloc(&importance->allocator, values, sizeof *w->branch, err);
    w->row = mlt_alloc(&importance->allocator, tokens, sizeof *w->row, err);
    w->counts = mlt_alloc(&importance->allocator, tokens, sizeof *w->counts, err);
    if (w->input && w->branch && w->row && w->counts) return MILLET_OK;
    mlt_importance_watch_close(out);
    return MILLET_NO_MEMORY;
}

void mlt_importance_watch_close(struct mlt_importance_watch **handle)
{
    struct mlt_importance_watch *w = *handle;
    if (!w) return;
    millet_allocator allocator = w->importance->allocator;
    w->pass->observer = NULL;
    mlt_free(&allocator, w->input);
    mlt_free(&allocator, w->branch);
    mlt_free(&allocator, w->row);
    mlt_free(&allocator, w->counts);
    mlt_free(&allocator, w);
    *handle = NULL;
}

void mlt_importance_watch_begin(struct mlt_importance_watch *w, const struct mlt_batch *b)
{
    int64_t tokens = (int64_t)b->rows * b->length;
    for (int64_t t = 0; t < tokens; t++) {
        int32_t i = (int32_t)(t % b->length);
        /* Padding is alone, with nothing to predict, and nobody looks at it. */
        bool alone = b->begin[t] == i && b->end[t] == i && b->targets[t] < 0;
        bool seen = i + 1 < b->length && b->begin[t + 1] <= i;
        w->counts[t] = !alone || seen;
        w->importance->n_positions += w->counts[t];
    }
}

void mlt_importance_watch_end(struct mlt_importance_watch *w)
{
    const struct mlt_trainable *t = w->pass->model;
    const struct mlt_pass_state *s = w->pass->state;
    add_norm(w, MLT_PRUNE_NORMS * (size_t)w->importance->n_layers, t->output_norm, t->output_norm_bias,
             s->last, s->output_stat, true);
}

/* ---- Means ---- */

/* The norm of each column of a matrix. */
static void column_norms(const float *weight, struct mlt_slice slice, double *out)
{
    memset(out, 0, (size_t)slice.columns * sizeof *out);
    for (int64_t r = 0; r < slice.rows; r++)
        for (int64_t i = 0; i < slice.columns; i++) {
            double value = (double)weight[r * slice.columns + i];
            out[i] += value * value;
        }
    for (int64_t i = 0; i < slice.columns; i++)
        out[i] = sqrt(out[i]);
}

millet_status mlt_importance_finish(struct mlt_importance *m, const struct mlt_trainable *model,
                                    millet_error *err)
{
    if (m->n_positions == 0) return mlt_fail(err, MILLET_BAD_ARGUMENT, "the calibration data have no tokens");
    size_t n_ff = (size_t)m->n_ff, layers = (size_t)m->n_layers;
    size_t norms = (MLT_PRUNE_NORMS * layers + 1) * (size_t)m->n_embd;
    double *end = m->energy + norms, scale = 1 / (double)m->n_positions;
    for (double *value = m->layers; value < end; value++) {
        *value *= scale;
        if (!isfinite(*value))
            return mlt_fail(err, MILLET_BAD_FORMAT, "the model's activations are not finite numbers");
    }
    double *norm = mlt_alloc(&m->allocator, n_ff, sizeof *norm, err);
    if (!norm) return MILLET_NO_MEMORY;
    for (size_t layer = 0; layer < layers; layer++) {
        struct mlt_slice down = model->layers[layer].w_down;
        double *channels = m->feed_forward + layer * n_ff;
        column_norms(model->weights + down.offset, down, norm);
        for (size_t i = 0; i < n_ff; i++)
            channels[i] = sqrt(channels[i]) * norm[i];
    }
    mlt_free(&m->allocator, norm);
    return MILLET_OK;
}
