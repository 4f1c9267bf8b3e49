/*
 * What the two directions of a pass share. Shapes: T = tokens of the batch, E = n_embd, Hq, Hk, Hv, Ho, F as
 * in model/model.h.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_PASS_STATE_H
#define MLT_PASS_STATE_H

#include "train/pass.h"

/* Means (LayerNorm) and 1 / deviations of normed rows. */
struct mlt_norm_stat {
    float *mean, *rstd;
};

/* What a layer keeps for the way back. */
struct mlt_kept {
    float *x;                                                                /* [T][E] the layer's input */
    struct mlt_norm_stat attn_stat, ffn_stat, attn_post_stat, ffn_post_stat; /* [T] */
    struct mlt_norm_stat q_stat, k_stat;                                     /* [T][heads] */
    float *q_raw, *k_raw;            /* before qk-norm; NULL without one */
    float *q, *k, *v;                /* as attention reads them */
    float *attended, *log_sum;       /* [T][Ho], [T][n_heads] */
    float *attn_branch, *ffn_branch; /* [T][E] before post norms; NULL without them */
    float *middle;                   /* [T][E] between attention and feed-forward */
    float *gate, *up;                /* [T][F] before the activation; up NULL where there is no gate */
};

enum { MLT_PASS_ROPES = 2 }; /* global and local */

struct mlt_pass_state {
    millet_allocator allocator;
    struct mlt_pass_options options;
    float *block;          /* everything below */
    struct mlt_kept *kept; /* [n_layers]; with recompute they differ in x only */
    float *last;           /* [T][E] the last layer's output */
    struct mlt_norm_stat output_stat;
    float *normed;                                        /* [T][E] */
    float *branch;                                        /* [T][E] */
    float *stream;                                        /* [T][E] the gradient of the residual stream */
    float *wide, *wide2;                                  /* [T][max(F, Hq + Hk + Hv, Ho)] */
    float *low, *d_low;                                   /* [T][rank] of an adapter */
    float *cosine[MLT_PASS_ROPES], *sine[MLT_PASS_ROPES]; /* [length][rope_size / 2] */
    int32_t *position;                                    /* [T] */
};

/* ---- Stages on all threads ---- */

void mlt_pass_norm(struct mlt_pass *pass, struct mlt_norm *norm, int64_t rows);
void mlt_pass_norm_backward(struct mlt_pass *pass, struct mlt_norm *norm, int64_t rows);
void mlt_pass_rotate(struct mlt_pass *pass, struct mlt_rotation *rotation);
/* `index` runs over the batch's rows and key heads. */
void mlt_pass_attention(struct mlt_pass *pass, const struct mlt_batch *batch, struct mlt_attention *attention,
                        bool backward);
void mlt_pass_gate(struct mlt_pass *pass, struct mlt_gate *gate, int64_t count, bool backward);
/* y += scale * x, `count` values. */
void mlt_pass_add(struct mlt_pass *pass, float *y, const float *x, float scale, int64_t count);

/* ---- Dropout ---- */

enum mlt_branch { MLT_BRANCH_ATTENTION, MLT_BRANCH_FEED_FORWARD, MLT_BRANCH_EMBEDDING };

/* Whether anything is left out. */
bool mlt_pass_drops(const struct mlt_pass *pass);
/*
 * y += scale * x [T][E], with the values of x that dropout leaves out of a layer's branch taken as 0 and the
 * others divided by the probability of staying. Forward x is the branch's output, on the way back the
 * stream's gradient: a key leaves out the same values in both.
 */
void mlt_pass_add_dropped(struct mlt_pass *pass, float *y, const float *x, float scale, int32_t layer,
                          enum mlt_branch branch);
/* The same for embeddings or their gradient [T][E], in place; nothing where nothing is left out. */
void mlt_pass_drop_embedding(struct mlt_pass *pass, float *x);

/* dbias += column sums of dy [tokens][n]. */
void mlt_pass_add_rows(struct mlt_pass *pass, const float *dy, int64_t rows, int64_t n, float *dbias);

/* out[rows][weight.rows] = x . weight^T + bias, or added to what out holds. */
void mlt_pass_linear(struct mlt_pass *pass, const float *x, int64_t rows, struct mlt_slice weight,
                     struct mlt_slice bias, bool add, float *out);
/* The gradients of the weight and the bias are added to; dx (may be NULL) is set, or added to. */
void mlt_pass_linear_backward(struct mlt_pass *pass, const float *x, const float *dy, int64_t rows,
                              struct mlt_slice weight, struct mlt_slice bias, bool add, float *dx);

/* ---- Descriptions that both directions need ---- */

/* A norm over rows of E values, with weights of the slices. */
struct mlt_norm mlt_pass_row_norm(const struct mlt_pass *pass, struct mlt_slice weight, struct mlt_slice bias,
                                  const float *x, float *y, struct mlt_norm_stat stat);
/* The norm of each head of q or k. */
struct mlt_norm mlt_pass_head_norm(const struct mlt_pass *pass, struct mlt_slice weight, const float *x,
                                   float *y, struct mlt_norm_stat stat);
struct mlt_rotation mlt_pass_rotation(const struct mlt_pass *pass, int32_t layer, float *x, int32_t heads,
                                      bool backward);
struct mlt_attention mlt_pass_layer_attention(const struct mlt_pass *pass, int32_t layer);
struct mlt_gate mlt_pass_layer_gate(const struct mlt_pass *pass, int32_t layer, float *h);

/* Norms x for the attention (or feed-forward) of a layer into state->normed. */
void mlt_pass_attention_input(struct mlt_pass *pass, int32_t layer);
void mlt_pass_feed_forward_input(struct mlt_pass *pass, int32_t layer);
/* The layer from its kept input on; `out` NULL: only what is kept is wanted. */
void mlt_pass_layer(struct mlt_pass *pass, const struct mlt_batch *batch, int32_t layer, float *out);

static inline const float *mlt_weight(const struct mlt_pass *pass, struct mlt_slice slice)
{
    return mlt_has(slice) ? pass->model->base + slice.offset : NULL;
}

/* A matrix's values, valid until the next one is asked for. */
const float *mlt_pass_matrix(struct mlt_pass *pass, struct mlt_slice matrix);

/* NULL where the model's own weights are not trained. */
static inline float *mlt_gradient(const struct mlt_pass *pass, struct mlt_slice slice)
{
    return mlt_has(slice) && pass->model->gradient && !pass->model->low_rank
               ? pass->model->gradient + slice.offset
               : NULL;
}

#endif
