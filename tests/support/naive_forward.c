/* SPDX-License-Identifier: Apache-2.0 */
#include "support/naive_forward.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define PI 3.14159265358979323846

static double *vector_of(int64_t n)
{
    return calloc((size_t)n, sizeof(double));
}

static void row_of(const struct mlt_matrix *m, int64_t row, double *out)
{
    float *values = malloc((size_t)m->columns * sizeof *values);
    mlt_decode(m->dtype, m->data + (uint64_t)row * m->row_bytes, values, m->columns);
    for (int64_t i = 0; i < m->columns; i++)
        out[i] = (double)values[i];
    free(values);
}

/* y = W x + b */
static void multiply(const struct mlt_matrix *m, const float *bias, const double *x, double *y)
{
    double *row = vector_of(m->columns);
    for (int64_t r = 0; r < m->rows; r++) {
        row_of(m, r, row);
        y[r] = bias ? (double)bias[r] : 0;
        for (int64_t i = 0; i < m->columns; i++)
            y[r] += row[i] * x[i];
    }
    free(row);
}

static void norm(enum mlt_norm_kind kind, const double *x, const float *weight, const float *bias, int64_t n,
                 double eps, double *y)
{
    double mean = 0, variance = 0;
    for (int64_t i = 0; kind == MLT_NORM_LAYER && i < n; i++)
        mean += x[i] / (double)n;
    for (int64_t i = 0; i < n; i++)
        variance += (x[i] - mean) * (x[i] - mean) / (double)n;
    for (int64_t i = 0; i < n; i++)
        y[i] = (x[i] - mean) / sqrt(variance + eps) * (double)weight[i] + (bias ? (double)bias[i] : 0);
}

static double activation(enum mlt_activation kind, double x)
{
    if (kind == MLT_ACT_SILU) return x / (1 + exp(-x));
    return 0.5 * x * (1 + tanh(sqrt(2 / PI) * (x + 0.044715 * x * x * x)));
}

static void rope(const millet_model *model, bool local, int32_t n_ctx, int32_t position, double *head)
{
    const struct mlt_config *c = &model->config;
    const struct mlt_weights *w = &model->weights;
    const struct mlt_rope *r = local ? &c->rope_local : &c->rope;
    const float *divisors = w->rope_factors;
    if (w->rope_factors_long && n_ctx > r->n_ctx_original) divisors = w->rope_factors_long;
    int32_t size = c->rope_size;
    double base = (double)r->base, factor = (double)r->factor;
    double magnitude = (double)r->magnitude;
    if (r->yarn) magnitude *= 0.1 * log(factor) + 1;
    for (int32_t i = 0; i < size / 2; i++) {
        double theta = position * pow(base, -2.0 * i / size);
        if (divisors) theta /= (double)divisors[i];
        if (r->yarn) {
            double context = r->n_ctx_original;
            double low = size * log(context / ((double)r->yarn_beta_fast * 2 * PI)) / (2 * log(base));
            double high = size * log(context / ((double)r->yarn_beta_slow * 2 * PI)) / (2 * log(base));
            low = fmax(floor(low), 0);
            high = fmin(ceil(high), size - 1);
            double ramp = fmin(fmax((i - low) / fmax(high - low, 0.001), 0), 1);
            theta = theta / factor * ramp + theta * (1 - ramp);
        } else {
            theta /= factor;
        }
        bool halves = c->rope_kind == MLT_ROPE_HALVES;
        double *a = head + (halves ? i : 2 * i), *b = head + (halves ? i + size / 2 : 2 * i + 1);
        double x = *a, y = *b;
        *a = magnitude * (x * cos(theta) - y * sin(theta));
        *b = magnitude * (x * sin(theta) + y * cos(theta));
    }
}

static void norm_heads(const struct mlt_config *c, double *x, int32_t heads, const float *weight)
{
    for (int32_t h = 0; h < heads; h++) {
        double *head = x + (int64_t)h * c->head_size;
        if (c->qk_norm == MLT_QK_RMS_HEAD)
            norm(MLT_NORM_RMS, head, weight, NULL, c->head_size, (double)c->norm_eps, head);
        if (c->qk_norm == MLT_QK_LAYER_HEAD)
            norm(MLT_NORM_LAYER, head, weight + (int64_t)h * c->head_size, NULL, c->head_size,
                 (double)c->norm_eps, head);
    }
}

/* One head of one position, which sees up to `last`: out[value_size]. */
static void attend(const struct mlt_config *c, int32_t layer, const double *q, const double *k,
                   const double *v, int32_t kv_head, int32_t position, int32_t last, double *out)
{
    int32_t begin = 0;
    if (c->layers[layer].local && position - c->window + 1 > 0) begin = position - c->window + 1;
    double *p = vector_of(last + 1), greatest = -INFINITY, sum = 0;
    for (int32_t t = begin; t <= last; t++) {
        const double *key = k + ((int64_t)t * c->n_kv_heads + kv_head) * c->head_size;
        for (int32_t i = 0; i < c->head_size; i++)
            p[t] += q[i] * key[i];
        p[t] *= (double)c->attention_scale;
        double cap = (double)c->attention_softcap;
        if (cap > 0) p[t] = cap * tanh(p[t] / cap);
        greatest = fmax(greatest, p[t]);
    }
    memset(out, 0, (size_t)c->value_size * sizeof *out);
    for (int32_t t = begin; t <= last; t++)
        sum += exp(p[t] - greatest);
    for (int32_t t = begin; t <= last; t++) {
        const double *value = v + ((int64_t)t * c->n_kv_heads + kv_head) * c->value_size;
        for (int32_t i = 0; i < c->value_size; i++)
            out[i] += exp(p[t] - greatest) / sum * value[i];
    }
    free(p);
}

static void gated(const struct mlt_config *c, const struct mlt_matrix *gate, const float *b_gate,
                  const struct mlt_matrix *up, const float *b_up, const struct mlt_matrix *down,
                  const float *b_down, const double *x, double *y)
{
    double *h = vector_of(c->n_ff), *g = vector_of(c->n_ff);
    multiply(up, b_up, x, h);
    if (c->gated) multiply(gate, b_gate, x, g);
    for (int32_t i = 0; i < c->n_ff; i++)
        h[i] = c->gated ? activation(c->activation, g[i]) * h[i] : activation(c->activation, h[i]);
    multiply(down, b_down, h, y);
    free(h);
    free(g);
}

static void feed_forward(const struct mlt_config *c, const struct mlt_layer *l, const double *x, double *y)
{
    if (!c->n_experts) {
        gated(c, &l->w_gate, l->b_gate, &l->w_up, l->b_up, &l->w_down, l->b_down, x, y);
        return;
    }
    double *p = vector_of(c->n_experts), *one = vector_of(c->n_embd), sum = 0;
    bool *chosen = calloc((size_t)c->n_experts, sizeof *chosen);
    multiply(&l->router, NULL, x, p);
    memset(y, 0, (size_t)c->n_embd * sizeof *y);
    /* The softmax over the chosen ones alone is the renormalised softmax over all. */
    for (int32_t u = 0; u < c->n_experts_used; u++) {
        int32_t best = -1;
        for (int32_t e = 0; e < c->n_experts; e++)
            if (!chosen[e] && (best < 0 || p[e] > p[best])) best = e;
        chosen[best] = true;
        sum += exp(p[best]);
    }
    for (int32_t e = 0; e < c->n_experts; e++) {
        if (!chosen[e]) continue;
        gated(c, &l->e_gate[e], NULL, &l->e_up[e], NULL, &l->e_down[e], NULL, x, one);
        for (int32_t i = 0; i < c->n_embd; i++)
            y[i] += exp(p[e]) / sum * one[i];
    }
    free(p);
    free(one);
    free(chosen);
}

static void add_branch(const struct mlt_config *c, const float *post_norm, double *branch, double *x)
{
    if (post_norm) norm(MLT_NORM_RMS, branch, post_norm, NULL, c->n_embd, (double)c->norm_eps, branch);
    for (int32_t i = 0; i < c->n_embd; i++)
        x[i] += (double)c->residual_scale * branch[i];
}

static void block(const millet_model *model, int32_t layer, int32_t n, int32_t prefix, int32_t n_ctx,
                  double *x)
{
    const struct mlt_config *c = &model->config;
    const struct mlt_layer *l = &model->weights.layers[layer];
    int64_t nq = (int64_t)c->n_heads * c->head_size, nk = (int64_t)c->n_kv_heads * c->head_size;
    int64_t nv = (int64_t)c->n_kv_heads * c->value_size, no = (int64_t)c->n_heads * c->value_size;
    double eps = (double)c->norm_eps;
    double *normed = vector_of(n * c->n_embd), *q = vector_of(n * nq), *k = vector_of(n * nk);
    double *v = vector_of(n * nv), *out = vector_of(no), *branch = vector_of(c->n_embd);
    bool local = c->layers[layer].local;
    for (int32_t t = 0; t < n; t++) {
        double *input = normed + (int64_t)t * c->n_embd;
        norm(c->norm, x + (int64_t)t * c->n_embd, l->attn_norm, l->attn_norm_bias, c->n_embd, eps, input);
        multiply(&l->wq, l->bq, input, q + t * nq);
        multiply(&l->wk, l->bk, input, k + t * nk);
        multiply(&l->wv, l->bv, input, v + t * nv);
        norm_heads(c, q + t * nq, c->n_heads, l->q_norm);
        norm_heads(c, k + t * nk, c->n_kv_heads, l->k_norm);
        for (int32_t h = 0; c->layers[layer].rope && h < c->n_heads; h++)
            rope(model, local, n_ctx, t, q + t * nq + (int64_t)h * c->head_size);
        for (int32_t h = 0; c->layers[layer].rope && h < c->n_kv_heads; h++)
            rope(model, local, n_ctx, t, k + t * nk + (int64_t)h * c->head_size);
    }
    for (int32_t t = 0; t < n; t++) {
        double *stream = x + (int64_t)t * c->n_embd, *input = normed + (int64_t)t * c->n_embd;
        for (int32_t h = 0; h < c->n_heads; h++)
            attend(c, layer, q + t * nq + (int64_t)h * c->head_size, k, v, h / (c->n_heads / c->n_kv_heads),
                   t, t < prefix ? prefix - 1 : t, out + (int64_t)h * c->value_size);
        multiply(&l->wo, l->bo, out, branch);
        add_branch(c, l->attn_post_norm, branch, stream);
        if (!c->parallel_block) norm(c->norm, stream, l->ffn_norm, l->ffn_norm_bias, c->n_embd, eps, input);
        feed_forward(c, l, input, branch);
        add_branch(c, l->ffn_post_norm, branch, stream);
    }
    free(normed);
    free(q);
    free(k);
    free(v);
    free(out);
    free(branch);
}

void naive_forward(const millet_model *model, const int32_t *tokens, int32_t n, int32_t n_ctx, double *logits)
{
    naive_forward_prefix(model, tokens, n, 0, n_ctx, logits);
}

void naive_forward_prefix(const millet_model *model, const int32_t *tokens, int32_t n, int32_t prefix,
                          int32_t n_ctx, double *logits)
{
    const struct mlt_config *c = &model->config;
    const struct mlt_weights *w = &model->weights;
    double *x = vector_of((int64_t)n * c->n_embd), *row = vector_of(c->n_embd);
    for (int32_t t = 0; t < n; t++) {
        double *stream = x + (int64_t)t * c->n_embd;
        row_of(&w->token_embd, tokens[t], stream);
        if (c->position_embd) row_of(&w->position_embd, t, row);
        for (int32_t i = 0; i < c->n_embd; i++)
            stream[i] = stream[i] * (double)c->embedding_scale + (c->position_embd ? row[i] : 0);
    }
    for (int32_t layer = 0; layer < c->n_layers; layer++)
        block(model, layer, n, prefix, n_ctx, x);
    for (int32_t t = 0; t < n; t++) {
        double *out = logits + (int64_t)t * c->n_vocab, cap = (double)c->logit_softcap;
        norm(c->norm, x + (int64_t)t * c->n_embd, w->output_norm, w->output_norm_bias, c->n_embd,
             (double)c->norm_eps, row);
        multiply(&w->output, w->output_bias, row, out);
        for (int32_t i = 0; i < c->n_vocab; i++) {
            out[i] *= (double)c->logit_scale;
            if (cap > 0) out[i] = cap * tanh(out[i] / cap);
        }
    }
    free(x);
    free(row);
}
