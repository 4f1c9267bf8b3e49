/*
 * Finds a model's tensors and checks their shapes. Matrices are used where they lie in the mapped file;
 * vectors (norms, biases, rope divisors) are small and are converted to float.
 *
 * Names and shapes are those of the GGUF specification. Tensors that no field asks for are left alone: files
 * carry some that the arithmetic does not need (precomputed rope frequencies a layer, quantiser leftovers).
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "model/model.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

struct loader {
    struct mlt_weights *weights;
    const struct mlt_checkpoint *checkpoint;
    const struct mlt_config *config;
    millet_error *err;
    int layer; /* -1: outside the blocks */
    char name[64];
};

/* "blk.LAYER.suffix" within a block, else "suffix"; valid until the next call. */
static const char *name_of(struct loader *l, const char *suffix)
{
    if (l->layer < 0)
        snprintf(l->name, sizeof l->name, "%s", suffix);
    else
        snprintf(l->name, sizeof l->name, "blk.%d.%s", l->layer, suffix);
    return l->name;
}

static const struct mlt_tensor *find(struct loader *l, const char *suffix)
{
    return mlt_checkpoint_tensor(l->checkpoint, name_of(l, suffix));
}

enum need { REQUIRED, OPTIONAL };

/*
 * Finds a tensor of exactly these dimensions and a dtype that can be a weight. *out is NULL where an optional
 * one is absent.
 */
static millet_status take(struct loader *l, const char *suffix, enum need need, int64_t ne0, int64_t ne1,
                          int64_t ne2, const struct mlt_tensor **out)
{
    const struct mlt_tensor *tensor = find(l, suffix);
    *out = tensor;
    if (!tensor) {
        if (need == OPTIONAL) return MILLET_OK;
        return mlt_fail_at(l->err, MILLET_NOT_FOUND, l->checkpoint->path, l->name, MILLET_NO_OFFSET,
                           "the tensor does not exist; the architecture %s needs it",
                           l->config->architecture);
    }
    if (tensor->ne[0] != ne0 || tensor->ne[1] != ne1 || tensor->ne[2] != ne2 || tensor->ne[3] != 1)
        return mlt_fail_at(
            l->err, MILLET_BAD_FORMAT, tensor->file, l->name, tensor->offset,
            "the dimensions are %lld x %lld x %lld x %lld; metadata ask for %lld x %lld x %lld "
            "x 1",
            (long long)tensor->ne[0], (long long)tensor->ne[1], (long long)tensor->ne[2],
            (long long)tensor->ne[3], (long long)ne0, (long long)ne1, (long long)ne2);
    const struct mlt_dtype_info *info = mlt_dtype_info(tensor->dtype);
    if (!info->is_float)
        return mlt_fail_at(l->err, MILLET_UNSUPPORTED, tensor->file, l->name, tensor->offset,
                           "the dtype %s cannot be a weight", info->name);
    return MILLET_OK;
}

/* The tensor's bytes: in the map, or read into the arena where they have to be assembled first. */
static millet_status bytes_of(struct loader *l, const struct mlt_tensor *tensor, const uint8_t **out)
{
    *out = tensor->data;
    if (tensor->data) return MILLET_OK;
    if (tensor->bytes > SIZE_MAX)
        return mlt_fail_at(l->err, MILLET_NO_MEMORY, tensor->file, tensor->name.data, tensor->offset,
                           "%llu bytes are more than the address space", (unsigned long long)tensor->bytes);
    uint8_t *copy = mlt_arena_alloc(&l->weights->arena, (size_t)tensor->bytes, 1, l->err);
    if (!copy) return MILLET_NO_MEMORY;
    MLT_TRY(mlt_tensor_read(tensor, 0, tensor->rows, copy, l->err));
    *out = copy;
    return MILLET_OK;
}

/* ---- Matrices ---- */

static millet_status matrix(struct loader *l, const char *suffix, enum need need, int64_t rows,
                            int64_t columns, struct mlt_matrix *out)
{
    const struct mlt_tensor *tensor;
    MLT_TRY(take(l, suffix, need, columns, rows, 1, &tensor));
    if (!tensor) return MILLET_OK;
    *out = (struct mlt_matrix){NULL, tensor->row_bytes, rows, columns, tensor->dtype};
    return bytes_of(l, tensor, &out->data);
}

/* Rows [first, first + rows) of a matrix that holds several. */
static struct mlt_matrix rows_of(const struct mlt_matrix *whole, int64_t first, int64_t rows)
{
    struct mlt_matrix part = *whole;
    part.data += (uint64_t)first * whole->row_bytes;
    part.rows = rows;
    return part;
}

/* The matrices of all experts, stored as one tensor of three dimensions. */
static millet_status expert_matrices(struct loader *l, const char *suffix, int64_t rows, int64_t columns,
                                     const struct mlt_matrix **out)
{
    int64_t n = l->config->n_experts;
    const struct mlt_tensor *tensor;
    MLT_TRY(take(l, suffix, REQUIRED, columns, rows, n, &tensor));
    struct mlt_matrix whole = {NULL, tensor->row_bytes, rows * n, columns, tensor->dtype};
    MLT_TRY(bytes_of(l, tensor, &whole.data));
    struct mlt_matrix *experts = mlt_arena_alloc(&l->weights->arena, (size_t)n, sizeof *experts, l->err);
    if (!experts) return MILLET_NO_MEMORY;
    for (int64_t e = 0; e < n; e++)
        experts[e] = rows_of(&whole, e * rows, rows);
    *out = experts;
    return MILLET_OK;
}

/* ---- Vectors ---- */

/* ne1 rows of ne0 values as floats; *out stays NULL where an optional vector is absent. */
static millet_status vector_rows(struct loader *l, const char *suffix, enum need need, int64_t ne0,
                                 int64_t ne1, const float **out)
{
    const struct mlt_tensor *tensor;
    MLT_TRY(take(l, suffix, need, ne0, ne1, 1, &tensor));
    if (!tensor) return MILLET_OK;
    const uint8_t *bytes;
    MLT_TRY(bytes_of(l, tensor, &bytes));
    float *values = mlt_arena_alloc(&l->weights->arena, (size_t)(ne0 * ne1), sizeof *values, l->err);
    if (!values) return MILLET_NO_MEMORY;
    mlt_decode(tensor->dtype, bytes, values, ne0 * ne1);
    *out = values;
    return MILLET_OK;
}

static millet_status vector(struct loader *l, const char *suffix, enum need need, int64_t n,
                            const float **out)
{
    return vector_rows(l, suffix, need, n, 1, out);
}

/* A norm's weight and, where the family has LayerNorm, its optional bias. */
static millet_status norm(struct loader *l, const char *base, const float **weight, const float **bias)
{
    char suffix[48];
    snprintf(suffix, sizeof suffix, "%s.weight", base);
    MLT_TRY(vector(l, suffix, REQUIRED, l->config->n_embd, weight));
    if (l->config->norm != MLT_NORM_LAYER) return MILLET_OK;
    snprintf(suffix, sizeof suffix, "%s.bias", base);
    return vector(l, suffix, OPTIONAL, l->config->n_embd, bias);
}

/* Divisors of rope's frequencies: what is not a finite number above zero would make angles NaN. */
static millet_status divisors(struct loader *l, const char *suffix, const float **out)
{
    int64_t n = l->config->rope_size / 2;
    MLT_TRY(vector(l, suffix, OPTIONAL, n, out));
    if (!*out) return MILLET_OK;
    for (int64_t i = 0; i < n; i++) {
        if (!isfinite((*out)[i]) || (*out)[i] <= 0)
            return mlt_fail_at(l->err, MILLET_BAD_FORMAT, l->checkpoint->path, l->name, MILLET_NO_OFFSET,
                               "value %lld is %g; frequencies can only be divided by finite numbers above 0",
                               (long long)i, (double)(*out)[i]);
    }
    return MILLET_OK;
}

/* ---- A block ---- */

/* q, k and v: three matrices, or one that holds them in this order. */
static millet_status load_qkv(struct loader *l, struct mlt_layer *layer)
{
    const struct mlt_config *c = l->config;
    int64_t n_embd = c->n_embd;
    int64_t nq = (int64_t)c->n_heads * c->head_size;
    int64_t nk = (int64_t)c->n_kv_heads * c->head_size, nv = (int64_t)c->n_kv_heads * c->value_size;
    if (!find(l, "attn_qkv.weight")) {
        MLT_TRY(matrix(l, "attn_q.weight", REQUIRED, nq, n_embd, &layer->wq));
        MLT_TRY(matrix(l, "attn_k.weight", REQUIRED, nk, n_embd, &layer->wk));
        MLT_TRY(matrix(l, "attn_v.weight", REQUIRED, nv, n_embd, &layer->wv));
        MLT_TRY(vector(l, "attn_q.bias", OPTIONAL, nq, &layer->bq));
        MLT_TRY(vector(l, "attn_k.bias", OPTIONAL, nk, &layer->bk));
        return vector(l, "attn_v.bias", OPTIONAL, nv, &layer->bv);
    }
    struct mlt_matrix all = {0};
    MLT_TRY(matrix(l, "attn_qkv.weight", REQUIRED, nq + nk + nv, n_embd, &all));
    layer->wq = rows_of(&all, 0, nq);
    layer->wk = rows_of(&all, nq, nk);
    layer->wv = rows_of(&all, nq + nk, nv);
    const float *bias = NULL;
    MLT_TRY(vector(l, "attn_qkv.bias", OPTIONAL, nq + nk + nv, &bias));
    if (bias) {
        layer->bq = bias;
        layer->bk = bias + nq;
        layer->bv = bias + nq + nk;
    }
    return MILLET_OK;
}

static millet_status load_attention(struct loader *l, struct mlt_layer *layer)
{
    const struct mlt_config *c = l->config;
    MLT_TRY(norm(l, "attn_norm", &layer->attn_norm, &layer->attn_norm_bias));
    MLT_TRY(load_qkv(l, layer));
    if (c->qk_norm == MLT_QK_RMS_HEAD) {
        MLT_TRY(vector(l, "attn_q_norm.weight", REQUIRED, c->head_size, &layer->q_norm));
        MLT_TRY(vector(l, "attn_k_norm.weight", REQUIRED, c->head_size, &layer->k_norm));
    } else if (c->qk_norm == MLT_QK_LAYER_HEAD) {
        MLT_TRY(vector_rows(l, "attn_q_norm.weight", REQUIRED, c->head_size, c->n_heads, &layer->q_norm));
        MLT_TRY(vector_rows(l, "attn_k_norm.weight", REQUIRED, c->head_size, c->n_kv_heads, &layer->k_norm));
    }
    MLT_TRY(matrix(l, "attn_output.weight", REQUIRED, c->n_embd, (int64_t)c->n_heads * c->value_size,
                   &layer->wo));
    MLT_TRY(vector(l, "attn_output.bias", OPTIONAL, c->n_embd, &layer->bo));
    if (c->post_norms)
        MLT_TRY(vector(l, "post_attention_norm.weight", REQUIRED, c->n_embd, &layer->attn_post_norm));
    return MILLET_OK;
}

static millet_status load_experts(struct loader *l, struct mlt_layer *layer)
{
    const struct mlt_config *c = l->config;
    MLT_TRY(matrix(l, "ffn_gate_inp.weight", REQUIRED, c->n_experts, c->n_embd, &layer->router));
    MLT_TRY(expert_matrices(l, "ffn_gate_exps.weight", c->n_ff, c->n_embd, &layer->e_gate));
    MLT_TRY(expert_matrices(l, "ffn_up_exps.weight", c->n_ff, c->n_embd, &layer->e_up));
    return expert_matrices(l, "ffn_down_exps.weight", c->n_embd, c->n_ff, &layer->e_down);
}

static millet_status load_dense(struct loader *l, struct mlt_layer *layer)
{
    const struct mlt_config *c = l->config;
    int64_t n_ff = c->n_ff, n_embd = c->n_embd;
    if (c->gated && !find(l, "ffn_gate.weight")) {
        /* One matrix holds the gate's rows and then those of up. */
        struct mlt_matrix both = {0};
        MLT_TRY(matrix(l, "ffn_up.weight", REQUIRED, 2 * n_ff, n_embd, &both));
        layer->w_gate = rows_of(&both, 0, n_ff);
        layer->w_up = rows_of(&both, n_ff, n_ff);
        const float *bias = NULL;
        MLT_TRY(vector(l, "ffn_up.bias", OPTIONAL, 2 * n_ff, &bias));
        if (bias) {
            layer->b_gate = bias;
            layer->b_up = bias + n_ff;
        }
    } else {
        if (c->gated) {
            MLT_TRY(matrix(l, "ffn_gate.weight", REQUIRED, n_ff, n_embd, &layer->w_gate));
            MLT_TRY(vector(l, "ffn_gate.bias", OPTIONAL, n_ff, &layer->b_gate));
        }
        MLT_TRY(matrix(l, "ffn_up.weight", REQUIRED, n_ff, n_embd, &layer->w_up));
        MLT_TRY(vector(l, "ffn_up.bias", OPTIONAL, n_ff, &layer->b_up));
    }
    MLT_TRY(matrix(l, "ffn_down.weight", REQUIRED, n_embd, n_ff, &layer->w_down));
    return vector(l, "ffn_down.bias", OPTIONAL, n_embd, &layer->b_down);
}

static millet_status load_layer(struct loader *l, struct mlt_layer *layer)
{
    const struct mlt_config *c = l->config;
    MLT_TRY(load_attention(l, layer));
    if (!c->parallel_block) MLT_TRY(norm(l, "ffn_norm", &layer->ffn_norm, &layer->ffn_norm_bias));
    MLT_TRY(c->n_experts ? load_experts(l, layer) : load_dense(l, layer));
    if (c->post_norms) MLT_TRY(vector(l, "post_ffw_norm.weight", REQUIRED, c->n_embd, &layer->ffn_post_norm));
    return MILLET_OK;
}

/* ---- The whole ---- */

static millet_status load_ends(struct loader *l)
{
    struct mlt_weights *w = l->weights;
    const struct mlt_config *c = l->config;
    MLT_TRY(matrix(l, "token_embd.weight", REQUIRED, c->n_vocab, c->n_embd, &w->token_embd));
    if (c->position_embd)
        MLT_TRY(matrix(l, "position_embd.weight", REQUIRED, c->n_ctx_train, c->n_embd, &w->position_embd));
    MLT_TRY(norm(l, "output_norm", &w->output_norm, &w->output_norm_bias));
    w->output = w->token_embd;
    if (!c->tied) MLT_TRY(matrix(l, "output.weight", REQUIRED, c->n_vocab, c->n_embd, &w->output));
    MLT_TRY(vector(l, "output.bias", OPTIONAL, c->n_vocab, &w->output_bias));
    if (c->rope_kind == MLT_ROPE_NONE) return MILLET_OK;
    MLT_TRY(divisors(l, "rope_freqs.weight", &w->rope_factors));
    if (w->rope_factors) return MILLET_OK;
    MLT_TRY(divisors(l, "rope_factors_short.weight", &w->rope_factors));
    return divisors(l, "rope_factors_long.weight", &w->rope_factors_long);
}

millet_status mlt_weights_load(struct mlt_weights *weights, const millet_allocator *allocator,
                               const struct mlt_checkpoint *checkpoint, const struct mlt_config *config,
                               millet_error *err)
{
    memset(weights, 0, sizeof *weights);
    mlt_arena_init(&weights->arena, allocator);
    struct loader l = {weights, checkpoint, config, err, -1, ""};
    MLT_TRY(load_ends(&l));
    size_t n = (size_t)config->n_layers;
    weights->layers = mlt_arena_alloc(&weights->arena, n, sizeof *weights->layers, err);
    if (!weights->layers) return MILLET_NO_MEMORY;
    memset(weights->layers, 0, n * sizeof *weights->layers);
    for (l.layer = 0; l.layer < config->n_layers; l.layer++)
        MLT_TRY(load_layer(&l, &weights->layers[l.layer]));
    return MILLET_OK;
}
