/*
 * A model: a checkpoint, what it describes, and its weights in place.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_MODEL_H
#define MLT_MODEL_H

#include "format/checkpoint.h"
#include "kernels/matmul.h"
#include "millet/millet.h"
#include "model/config.h"
#include "model/vocabulary.h"
#include "tokenizer/tokenizer.h"

/*
 * Weights of one decoder block; a matrix whose data is NULL or a vector that is NULL is absent. Shapes: E =
 * n_embd, Hq = n_heads * head_size, Hk = n_kv_heads * head_size, Hv = n_kv_heads * value_size, Ho = n_heads *
 * value_size, F = n_ff, X = n_experts. Vectors are float.
 */
struct mlt_layer {
    const float *attn_norm, *attn_norm_bias; /* [E] */
    struct mlt_matrix wq, wk, wv;            /* [Hq][E], [Hk][E], [Hv][E] */
    const float *bq, *bk, *bv;               /* [Hq], [Hk], [Hv] */
    const float *q_norm, *k_norm; /* [head_size], or [n_heads][head_size] and [n_kv_heads][head_size] */
    struct mlt_matrix wo;         /* [E][Ho] */
    const float *bo;              /* [E] */
    const float *attn_post_norm;  /* [E] */
    const float *ffn_norm, *ffn_norm_bias;           /* [E] */
    struct mlt_matrix w_gate, w_up, w_down;          /* [F][E], [F][E], [E][F] */
    const float *b_gate, *b_up, *b_down;             /* [F], [F], [E] */
    const float *ffn_post_norm;                      /* [E] */
    struct mlt_matrix router;                        /* [X][E] */
    const struct mlt_matrix *e_gate, *e_up, *e_down; /* [X] matrices each */
};

struct mlt_weights {
    struct mlt_matrix token_embd;    /* [V][E] */
    struct mlt_matrix position_embd; /* [n_ctx_train][E] or absent */
    const float *output_norm, *output_norm_bias;
    struct mlt_matrix output; /* [V][E]; token_embd where tied */
    const float *output_bias; /* [V] or NULL */
    /* [rope_size / 2] divisors of the frequencies, or NULL; `_long` where n_ctx is above the original context
     */
    const float *rope_factors, *rope_factors_long;
    struct mlt_layer *layers; /* [n_layers] */
    struct mlt_arena arena;   /* vectors converted to float, assembled tensors */
};

struct millet_model {
    millet_allocator allocator;
    struct mlt_checkpoint *checkpoint; /* owned */
    struct mlt_config config;
    struct mlt_arena config_arena; /* what config points to */
    struct mlt_weights weights;
    struct mlt_tokenizer *tokenizer; /* NULL where the file has none */
    int32_t bos, eos;                /* -1: none */
    bool add_bos, add_eos;
    const char *chat_template; /* "" where there is none */
};

/* Makes a model of a checkpoint, which it owns from then on, also when this fails. */
millet_status mlt_model_from_checkpoint(const millet_allocator *allocator, struct mlt_checkpoint *checkpoint,
                                        millet_model **out, millet_error *err);

/*
 * Fills `weights` from the checkpoint's tensors: checks every shape against the configuration. Matrices point
 * into the checkpoint. On failure too, the caller releases weights->arena. Errors name the tensor.
 */
millet_status mlt_weights_load(struct mlt_weights *weights, const millet_allocator *allocator,
                               const struct mlt_checkpoint *checkpoint, const struct mlt_config *config,
                               millet_error *err);

#endif
