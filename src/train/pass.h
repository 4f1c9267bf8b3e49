/*
 * The passes of training: forward over the described decoder with what the way back needs kept, and the way
 * back.
 *
 *     mlt_pass_forward(pass, batch)            tokens to hidden states
 *     stage->run(...)                          a loss: reads `hidden`, writes `d_hidden`, adds the output's
 * gradients mlt_pass_backward(pass, batch)           adds the gradients of everything else
 *
 * Gradients of a layer are complete when the way back has left it (from the last layer to the first), those
 * of the embeddings at the end.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_PASS_H
#define MLT_PASS_H

#include "corpus/batch.h"
#include "train/trainable.h"
#include "train/workers.h"

struct mlt_pass_options {
    int32_t rows, length; /* of a batch, at most */
    int32_t n_threads;
    bool recompute; /* keep only the layers' inputs, and compute the rest again on the way back */
    bool backward;  /* false: for evaluation only */
    int32_t rank;   /* of the adapter that is trained; 0: none */
};

struct mlt_pass;

/*
 * Watches the layers on the way forward, to measure activations. `before`: the layer's input is its x
 * (pass_state.h). `after`: `out` [tokens][n_embd] is its output, which may stand where the input stood; what
 * the layer keeps is there otherwise, and what goes into w_down [tokens][n_ff] in state->wide.
 */
struct mlt_pass_observer {
    void *context;
    void (*before)(void *context, struct mlt_pass *pass, int32_t layer);
    void (*after)(void *context, struct mlt_pass *pass, int32_t layer, const float *out);
};

/* Queries, keys and values of a layer as attention reads them: [tokens][n_heads * head_size],
 * [tokens][n_kv_heads * head_size], [tokens][n_kv_heads * value_size]. q NULL: not wanted. */
struct mlt_projections {
    float *q, *k, *v;
};

struct mlt_pass {
    struct mlt_trainable *model;
    const struct mlt_pass_observer *observer; /* NULL: nobody watches */
    struct mlt_workers workers;
    int32_t rows, length; /* of the batch at hand */
    int64_t tokens;       /* rows * length */
    int64_t first_token;  /* where several processes share the batch: the number of its first token in it */
    /* Dropout (Srivastava et al., 2014): the part of the embeddings' values and of the branches' outputs that
     * a forward pass and its way back leave out; 0: none. Which follows from the key. Set by the caller
     * before the forward pass. */
    float dropout; /* 0 to below 1, in steps of 2^-16 */
    uint64_t dropout_key;
    float *hidden;   /* [tokens][n_embd] after the last norm */
    float *d_hidden; /* [tokens][n_embd] its gradient */
    /* Of the residual stream behind layer n (0: behind the embeddings), for n of 0 .. n_layers; NULL, or NULL
     * for an n: not wanted. */
    float **streams;         /* [tokens][n_embd] forward writes a copy there */
    const float **d_streams; /* [tokens][n_embd] backward adds this to the gradient */
    /* The same of a layer's attention, [n_layers]; NULL: not wanted. */
    const struct mlt_projections *projections;   /* forward writes copies there */
    const struct mlt_projections *d_projections; /* backward adds these to the gradients */
    /* Called on the way back where the gradients of a layer are complete: n_layers for what comes after the
     * layers, -1 for the embeddings (and an output matrix tied to them). NULL: nobody is. */
    void (*layer_done)(void *context, int32_t layer);
    void *layer_done_context;
    struct mlt_pass_state *state;
};

/* Bytes that mlt_pass_open would take. */
millet_status mlt_pass_estimate(const struct mlt_config *config, const struct mlt_pass_options *options,
                                uint64_t *bytes, millet_error *err);
/* The model must outlive the pass. */
millet_status mlt_pass_open(const millet_allocator *allocator, struct mlt_trainable *model,
                            const struct mlt_pass_options *options, struct mlt_pass **out, millet_error *err);
void mlt_pass_close(struct mlt_pass **pass);

/* The residual stream behind layer n after a forward pass, where the pass has a way back. */
const float *mlt_pass_stream(const struct mlt_pass *pass, int32_t n);

/* BAD_ARGUMENT where the batch is larger than asked for at opening, or has tokens or ranges outside the
 * model's. */
millet_status mlt_pass_forward(struct mlt_pass *pass, const struct mlt_batch *batch, millet_error *err);
void mlt_pass_backward(struct mlt_pass *pass, const struct mlt_batch *batch);

#endif
