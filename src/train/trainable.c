/*
 * Finding a checkpoint's weights by name, and reading them as float. Names, shapes and which tensors are
 * optional are those of model/weights.c.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "train/trainable.h"

#include "base/random.h"
#include "corpus/checksum.h"
#include "format/adapter_file.h"
#include "model/model.h"
#include "train/storage.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { VALUE_ALIGNMENT = MLT_ALIGNMENT / sizeof(float) };

static const struct mlt_slice absent = {.offset = -1};

struct finder {
    struct mlt_trainable *t;
    size_t capacity, frozen_capacity, pair_capacity;
    millet_error *err;
    int32_t layer; /* -1: outside the blocks */
    char name[64];
};

enum need { REQUIRED, OPTIONAL };

static const struct mlt_tensor *find(struct finder *f, const char *suffix)
{
    if (f->layer < 0)
        snprintf(f->name, sizeof f->name, "%s", suffix);
    else
        snprintf(f->name, sizeof f->name, "blk.%d.%s", f->layer, suffix);
    return mlt_checkpoint_tensor(f->t->checkpoint, f->name);
}

/* Adds to one of the lists of parameters, whose values so far are *n_values. */
static millet_status add_parameter(struct finder *f, struct mlt_parameter **list, size_t *count,
                                   size_t *capacity, int64_t *n_values, struct mlt_parameter parameter)
{
    void *grown = *list;
    MLT_TRY(mlt_grow(&f->t->allocator, &grown, capacity, *count, sizeof **list, f->err));
    *list = grown;
    parameter.offset = *n_values;
    (*list)[(*count)++] = parameter;
    *n_values += (int64_t)mlt_round_up((uint64_t)(parameter.rows * parameter.columns), VALUE_ALIGNMENT);
    return MILLET_OK;
}

static millet_status add_trained(struct finder *f, struct mlt_parameter parameter)
{
    struct mlt_trainable *t = f->t;
    t->n_weights += (uint64_t)(parameter.rows * parameter.columns);
    return add_parameter(f, &t->parameters, &t->n_parameters, &f->capacity, &t->n_values, parameter);
}

/* A matrix of an adapter, under its name in the adapter's file. */
static millet_status add_half(struct finder *f, const struct mlt_tensor *target, const char *end,
                              int64_t rows, int64_t columns)
{
    struct mlt_trainable *t = f->t;
    struct mlt_tensor *tensor = mlt_arena_alloc(&t->arena, 1, sizeof *tensor, f->err);
    size_t length = target->name.length + strlen(end);
    char *name = mlt_arena_alloc(&t->arena, length + 1, 1, f->err);
    if (!tensor || !name) return MILLET_NO_MEMORY;
    snprintf(name, length + 1, "%s%s", target->name.data, end);
    *tensor = (struct mlt_tensor){
        .name = {name, length}, .dtype = MLT_F32, .n_dims = 2, .ne = {columns, rows, 1, 1}};
    return add_trained(f,
                       (struct mlt_parameter){
                           .tensor = tensor, .kind = MLT_PARAMETER_MATRIX, .rows = rows, .columns = columns});
}

static bool is_mapped(const struct mlt_parameter *p)
{
    return p->kind != MLT_PARAMETER_VECTOR && p->tensor->data;
}

/* The tensor stays as it is; where it is one of those asked for, it gets an adapter. */
static millet_status freeze(struct finder *f, const char *suffix, struct mlt_parameter parameter,
                            struct mlt_slice *out)
{
    struct mlt_trainable *t = f->t;
    struct mlt_low_rank_training *low = t->low_rank;
    int64_t rank = low->options.rank;
    int64_t none = 0;
    bool mapped = is_mapped(&parameter);
    *out = (struct mlt_slice){
        .offset = mapped ? 0 : low->n_values, .rows = parameter.rows, .columns = parameter.columns};
    MLT_TRY(add_parameter(f, &low->frozen, &low->n_frozen, &f->frozen_capacity,
                          mapped ? &none : &low->n_values, parameter));
    if (mapped) out->mapped = (int32_t)low->n_frozen;
    if (mapped && !mlt_in_place(parameter.tensor))
        low->n_decoded = MLT_MAX(low->n_decoded, parameter.rows * parameter.columns);
    if (f->layer < 0 || !mlt_low_rank_includes(low->options.targets, suffix)) return MILLET_OK;
    void *grown = low->pairs;
    MLT_TRY(mlt_grow(&t->allocator, &grown, &f->pair_capacity, low->n_pairs, sizeof *low->pairs, f->err));
    low->pairs = grown;
    struct mlt_low_rank_pair *pair = &low->pairs[low->n_pairs++];
    pair->a = t->n_values;
    MLT_TRY(add_half(f, parameter.tensor, MLT_ADAPTER_A, rank, parameter.columns));
    pair->b = t->n_values;
    MLT_TRY(add_half(f, parameter.tensor, MLT_ADAPTER_B, parameter.rows, rank));
    out->pair = (int32_t)low->n_pairs;
    return MILLET_OK;
}

/* Makes the tensor a parameter. */
static millet_status take_tensor(struct finder *f, const char *suffix, const struct mlt_tensor *tensor,
                                 enum mlt_parameter_kind kind, int64_t rows, int64_t columns,
                                 struct mlt_slice *out)
{
    struct mlt_trainable *t = f->t;
    if (tensor->ne[0] != columns || tensor->ne[1] != rows || tensor->ne[2] != 1 || tensor->ne[3] != 1)
        return mlt_fail_at(f->err, MILLET_BAD_FORMAT, tensor->file, f->name, tensor->offset,
                           "the dimensions are %lld x %lld x %lld x %lld; metadata ask for %lld x %lld",
                           (long long)tensor->ne[0], (long long)tensor->ne[1], (long long)tensor->ne[2],
                           (long long)tensor->ne[3], (long long)columns, (long long)rows);
    if (!mlt_dtype_info(tensor->dtype)->is_float)
        return mlt_fail_at(f->err, MILLET_UNSUPPORTED, tensor->file, f->name, tensor->offset,
                           "the dtype %s cannot be a weight", mlt_dtype_info(tensor->dtype)->name);
    struct mlt_parameter parameter = {.tensor = tensor, .kind = kind, .rows = rows, .columns = columns};
    if (t->low_rank) return freeze(f, suffix, parameter, out);
    *out = (struct mlt_slice){.offset = t->n_values, .rows = rows, .columns = columns};
    return add_trained(f, parameter);
}

static millet_status take(struct finder *f, const char *suffix, enum need need, enum mlt_parameter_kind kind,
                          int64_t rows, int64_t columns, struct mlt_slice *out)
{
    const struct mlt_tensor *tensor = find(f, suffix);
    *out = absent;
    if (tensor) return take_tensor(f, suffix, tensor, kind, rows, columns, out);
    if (need == OPTIONAL) return MILLET_OK;
    return mlt_fail_at(f->err, MILLET_NOT_FOUND, f->t->checkpoint->path, f->name, MILLET_NO_OFFSET,
                       "the tensor does not exist; the architecture %s needs it", f->t->config.architecture);
}

static millet_status vector(struct finder *f, const char *suffix, enum need need, int64_t n,
                            struct mlt_slice *out)
{
    return take(f, suffix, need, MLT_PARAMETER_VECTOR, 1, n, out);
}

static millet_status matrix(struct finder *f, const char *suffix, int64_t rows, int64_t columns,
                            struct mlt_slice *out)
{
    return take(f, suffix, REQUIRED, MLT_PARAMETER_MATRIX, rows, columns, out);
}

static millet_status norm_pair(struct finder *f, const char *base, struct mlt_slice *weight,
                               struct mlt_slice *bias)
{
    char suffix[48];
    int64_t n = f->t->config.n_embd;
    *bias = absent;
    snprintf(suffix, sizeof suffix, "%s.weight", base);
    MLT_TRY(vector(f, suffix, REQUIRED, n, weight));
    if (f->t->config.norm != MLT_NORM_LAYER) return MILLET_OK;
    snprintf(suffix, sizeof suffix, "%s.bias", base);
    return vector(f, suffix, OPTIONAL, n, bias);
}

/* Rows [first, first + rows) of a matrix, or values of a bias, that holds several. */
static struct mlt_slice part(struct mlt_slice whole, int64_t first, int64_t rows)
{
    if (!mlt_has(whole)) return absent;
    struct mlt_slice slice = whole;
    if (whole.rows == 1) {
        slice.offset += first;
        slice.columns = rows;
        return slice;
    }
    if (!whole.mapped) slice.offset += first * whole.columns;
    slice.rows = rows;
    slice.row = first;
    return slice;
}

static millet_status find_qkv(struct finder *f, struct mlt_trainable_layer *l)
{
    const struct mlt_config *c = &f->t->config;
    int64_t nq = (int64_t)c->n_heads * c->head_size, nk = (int64_t)c->n_kv_heads * c->head_size;
    int64_t nv = (int64_t)c->n_kv_heads * c->value_size;
    if (find(f, "attn_qkv.weight")) {
        struct mlt_slice all, bias;
        MLT_TRY(matrix(f, "attn_qkv.weight", nq + nk + nv, c->n_embd, &all));
        MLT_TRY(vector(f, "attn_qkv.bias", OPTIONAL, nq + nk + nv, &bias));
        l->wq = part(all, 0, nq), l->wk = part(all, nq, nk), l->wv = part(all, nq + nk, nv);
        l->bq = part(bias, 0, nq), l->bk = part(bias, nq, nk), l->bv = part(bias, nq + nk, nv);
        return MILLET_OK;
    }
    MLT_TRY(matrix(f, "attn_q.weight", nq, c->n_embd, &l->wq));
    MLT_TRY(matrix(f, "attn_k.weight", nk, c->n_embd, &l->wk));
    MLT_TRY(matrix(f, "attn_v.weight", nv, c->n_embd, &l->wv));
    MLT_TRY(vector(f, "attn_q.bias", OPTIONAL, nq, &l->bq));
    MLT_TRY(vector(f, "attn_k.bias", OPTIONAL, nk, &l->bk));
    return vector(f, "attn_v.bias", OPTIONAL, nv, &l->bv);
}

static millet_status find_attention(struct finder *f, struct mlt_trainable_layer *l)
{
    const struct mlt_config *c = &f->t->config;
    l->q_norm = l->k_norm = l->attn_post_norm = absent;
    MLT_TRY(norm_pair(f, "attn_norm", &l->attn_norm, &l->attn_norm_bias));
    MLT_TRY(find_qkv(f, l));
    if (c->qk_norm != MLT_QK_NONE) {
        bool own = c->qk_norm == MLT_QK_LAYER_HEAD; /* weights for each head */
        MLT_TRY(take(f, "attn_q_norm.weight", REQUIRED, MLT_PARAMETER_VECTOR, own ? c->n_heads : 1,
                     c->head_size, &l->q_norm));
        MLT_TRY(take(f, "attn_k_norm.weight", REQUIRED, MLT_PARAMETER_VECTOR, own ? c->n_kv_heads : 1,
                     c->head_size, &l->k_norm));
    }
    MLT_TRY(matrix(f, "attn_output.weight", c->n_embd, (int64_t)c->n_heads * c->value_size, &l->wo));
    MLT_TRY(vector(f, "attn_output.bias", OPTIONAL, c->n_embd, &l->bo));
    if (!c->post_norms) return MILLET_OK;
    return vector(f, "post_attention_norm.weight", REQUIRED, c->n_embd, &l->attn_post_norm);
}

static millet_status find_feed_forward(struct finder *f, struct mlt_trainable_layer *l)
{
    const struct mlt_config *c = &f->t->config;
    int64_t n_ff = c->n_ff, n_embd = c->n_embd;
    l->ffn_norm = l->ffn_norm_bias = l->w_gate = l->b_gate = l->ffn_post_norm = absent;
    if (!c->parallel_block) MLT_TRY(norm_pair(f, "ffn_norm", &l->ffn_norm, &l->ffn_norm_bias));
    if (c->gated && !find(f, "ffn_gate.weight")) {
        struct mlt_slice both, bias;
        MLT_TRY(matrix(f, "ffn_up.weight", 2 * n_ff, n_embd, &both));
        MLT_TRY(vector(f, "ffn_up.bias", OPTIONAL, 2 * n_ff, &bias));
        l->w_gate = part(both, 0, n_ff), l->w_up = part(both, n_ff, n_ff);
        l->b_gate = part(bias, 0, n_ff), l->b_up = part(bias, n_ff, n_ff);
    } else {
        if (c->gated) {
            MLT_TRY(matrix(f, "ffn_gate.weight", n_ff, n_embd, &l->w_gate));
            MLT_TRY(vector(f, "ffn_gate.bias", OPTIONAL, n_ff, &l->b_gate));
        }
        MLT_TRY(matrix(f, "ffn_up.weight", n_ff, n_embd, &l->w_up));
        MLT_TRY(vector(f, "ffn_up.bias", OPTIONAL, n_ff, &l->b_up));
    }
    MLT_TRY(matrix(f, "ffn_down.weight", n_embd, n_ff, &l->w_down));
    MLT_TRY(vector(f, "ffn_down.bias", OPTIONAL, n_embd, &l->b_down));
    if (!c->post_norms) return MILLET_OK;
    return vector(f, "post_ffw_norm.weight", REQUIRED, n_embd, &l->ffn_post_norm);
}

static millet_status find_all(struct finder *f)
{
    struct mlt_trainable *t = f->t;
    const struct mlt_config *c = &t->config;
    t->position_embd = absent;
    MLT_TRY(take(f, "token_embd.weight", REQUIRED, MLT_PARAMETER_EMBEDDING, c->n_vocab, c->n_embd,
                 &t->token_embd));
    if (c->position_embd)
        MLT_TRY(take(f, "position_embd.weight", REQUIRED, MLT_PARAMETER_EMBEDDING, c->n_ctx_train, c->n_embd,
                     &t->position_embd));
    t->layers = mlt_arena_alloc(&t->arena, (size_t)c->n_layers, sizeof *t->layers, f->err);
    if (!t->layers) return MILLET_NO_MEMORY;
    for (f->layer = 0; f->layer < c->n_layers; f->layer++) {
        MLT_TRY(find_attention(f, &t->layers[f->layer]));
        MLT_TRY(find_feed_forward(f, &t->layers[f->layer]));
    }
    f->layer = -1;
    MLT_TRY(norm_pair(f, "output_norm", &t->output_norm, &t->output_norm_bias));
    t->output = t->token_embd;
    if (!c->tied)
        MLT_TRY(
            take(f, "output.weight", REQUIRED, MLT_PARAMETER_EMBEDDING, c->n_vocab, c->n_embd, &t->output));
    return vector(f, "output.bias", OPTIONAL, c->n_vocab, &t->output_bias);
}

/* ---- Added matrices ---- */

enum { ADDED_NAME_BYTES = 64 };
static const char added_prefix[] = "train.map.";

bool mlt_parameter_is_added(const struct mlt_parameter *p)
{
    return strncmp(p->tensor->name.data, added_prefix, sizeof added_prefix - 1) == 0;
}

static millet_status make_map_rows(const struct mlt_tensor *tensor, uint64_t row, uint64_t rows, void *out,
                                   millet_error *err)
{
    float *values = out, spread = 1 / sqrtf((float)tensor->ne[0]);
    (void)err;
    for (uint64_t r = row; r < row + rows; r++) {
        struct mlt_random random;
        mlt_random_seed(&random, r);
        for (int64_t i = 0; i < tensor->ne[0]; i++)
            *values++ = tensor->ne[0] == tensor->ne[1] ? (float)(i == (int64_t)r)
                                                       : spread * mlt_random_normal(&random);
    }
    return MILLET_OK;
}

static millet_status add_matrix(struct finder *f, struct mlt_added_matrix *added)
{
    struct mlt_trainable *t = f->t;
    char name[ADDED_NAME_BYTES];
    int n = snprintf(name, sizeof name, "%s%s", added_prefix, added->name);
    const struct mlt_tensor *there = mlt_checkpoint_tensor(t->checkpoint, name);
    uint64_t n_weights = t->n_weights;
    if (!there) {
        struct mlt_tensor *tensor = mlt_arena_alloc(&t->arena, 1, sizeof *tensor, f->err);
        char *copy = mlt_arena_text(&t->arena, name, (size_t)n, f->err);
        if (!tensor || !copy) return MILLET_NO_MEMORY;
        *tensor = (struct mlt_tensor){.name = {copy, (size_t)n},
                                      .dtype = MLT_F32,
                                      .n_dims = 2,
                                      .ne = {added->columns, added->rows, 1, 1},
                                      .row_bytes = (uint64_t)added->columns * sizeof(float),
                                      .rows = (uint64_t)added->rows,
                                      .file = t->checkpoint->path,
                                      .read = make_map_rows};
        tensor->bytes = tensor->row_bytes * tensor->rows;
        there = tensor;
    }
    snprintf(f->name, sizeof f->name, "%s", name);
    MLT_TRY(take_tensor(f, "", there, MLT_PARAMETER_MATRIX, added->rows, added->columns, &added->slice));
    t->n_weights = n_weights; /* they are not the model's */
    return MILLET_OK;
}

/* ---- Reading ---- */

/* `out` NULL: they are only checked. Adds the bytes to *checksum. */
static millet_status read_values(const struct mlt_trainable *t, const struct mlt_tensor *tensor, float *out,
                                 uint64_t *checksum, millet_error *err)
{
    uint8_t *row = mlt_alloc(&t->allocator, (size_t)tensor->row_bytes, 1, err);
    float *checked = out ? NULL : mlt_alloc(&t->allocator, (size_t)tensor->ne[0], sizeof(float), err);
    millet_status status = row && (out || checked) ? MILLET_OK : MILLET_NO_MEMORY;
    int64_t step = out ? tensor->ne[0] : 0;
    if (!out) out = checked;
    for (uint64_t r = 0; status == MILLET_OK && r < tensor->rows; r++, out += step) {
        status = mlt_tensor_read(tensor, r, 1, row, err);
        if (status != MILLET_OK) break;
        *checksum = mlt_checksum(*checksum, row, (size_t)tensor->row_bytes);
        mlt_decode(tensor->dtype, row, out, tensor->ne[0]);
        int64_t bad = mlt_encode_check(out, tensor->ne[0]);
        if (bad >= 0)
            status = mlt_fail_at(err, MILLET_BAD_FORMAT, tensor->file, tensor->name.data, tensor->offset,
                                 "value %lld of row %llu is not a finite number", (long long)bad,
                                 (unsigned long long)r);
    }
    mlt_free(&t->allocator, row);
    mlt_free(&t->allocator, checked);
    return status;
}

/* Divisors of rope's frequencies, which are not trained. LongRoPE's long ones are for contexts beyond
 * training. */
static millet_status read_divisors(struct finder *f)
{
    struct mlt_trainable *t = f->t;
    int64_t n = t->config.rope_size / 2;
    const struct mlt_tensor *tensor = find(f, "rope_freqs.weight");
    if (!tensor) tensor = find(f, "rope_factors_short.weight");
    if (!tensor || t->config.rope_kind == MLT_ROPE_NONE) return MILLET_OK;
    if (tensor->ne[0] != n || tensor->rows != 1 || !mlt_dtype_info(tensor->dtype)->is_float)
        return mlt_fail_at(f->err, MILLET_BAD_FORMAT, tensor->file, f->name, tensor->offset,
                           "%lld numbers are needed, one a pair", (long long)n);
    float *values = mlt_arena_alloc(&t->arena, (size_t)n, sizeof *values, f->err);
    if (!values) return MILLET_NO_MEMORY;
    uint64_t checksum = 0; /* metadata would not have it either */
    MLT_TRY(read_values(t, tensor, values, &checksum, f->err));
    for (int64_t i = 0; i < n; i++)
        if (values[i] <= 0)
            return mlt_fail_at(f->err, MILLET_BAD_FORMAT, tensor->file, f->name, tensor->offset,
                               "value %lld is %g; frequencies can only be divided by numbers above 0",
                               (long long)i, (double)values[i]);
    t->rope_divisors = values;
    return MILLET_OK;
}

static millet_status read_frozen(struct mlt_trainable *t, millet_error *err)
{
    struct mlt_low_rank_training *low = t->low_rank;
    low->values = mlt_alloc_zero(&t->allocator, (size_t)low->n_values, sizeof(float), err);
    low->decoded = mlt_alloc(&t->allocator, (size_t)low->n_decoded, sizeof(float), err);
    if (!low->values || !low->decoded) return MILLET_NO_MEMORY;
    low->checksum = MLT_CHECKSUM_START;
    for (size_t i = 0; i < low->n_frozen; i++)
        MLT_TRY(read_values(t, low->frozen[i].tensor,
                            is_mapped(&low->frozen[i]) ? NULL : low->values + low->frozen[i].offset,
                            &low->checksum, err));
    t->base = low->values;
    return MILLET_OK;
}

/* A parameter of an adapter: from the file that has it, or as training begins. */
static millet_status read_half(struct mlt_trainable *t, const struct mlt_parameter *p, uint64_t *checksum,
                               millet_error *err)
{
    const struct mlt_low_rank_training *low = t->low_rank;
    const char *name = p->tensor->name.data;
    float *values = t->master + p->offset;
    if (!low->saved) {
        if (strstr(name, MLT_ADAPTER_A))
            mlt_low_rank_start(low->options.seed, name, p->rows, p->columns, values);
        return MILLET_OK;
    }
    const struct mlt_tensor *tensor = mlt_checkpoint_tensor(low->saved, name);
    if (!tensor)
        return mlt_fail_at(err, MILLET_NOT_FOUND, low->saved->path, name, MILLET_NO_OFFSET,
                           "the adapter has no such tensor");
    if (!mlt_dtype_info(tensor->dtype)->is_float || tensor->ne[0] != p->columns ||
        tensor->rows != (uint64_t)p->rows)
        return mlt_fail_at(err, MILLET_BAD_FORMAT, low->saved->path, name, tensor->offset,
                           "weights of %lld x %lld are needed", (long long)p->columns, (long long)p->rows);
    return read_values(t, tensor, values, checksum, err);
}

static millet_status read_weights(struct mlt_trainable *t, mlt_dtype stored, bool frozen, millet_error *err)
{
    size_t n = (size_t)t->n_values;
    uint64_t checksum = MLT_CHECKSUM_START;
    for (size_t i = 0; i < t->n_parameters; i++)
        t->parameters[i].stored = mlt_parameter_is_added(&t->parameters[i])
                                      ? MLT_F32
                                      : mlt_storage_choose(&t->parameters[i], stored);
    t->master = mlt_alloc_zero(&t->allocator, n, sizeof(float), err);
    if (!frozen) t->gradient = mlt_alloc_zero(&t->allocator, n, sizeof(float), err);
    t->weights = stored == MLT_F32 ? t->master : mlt_alloc_zero(&t->allocator, n, sizeof(float), err);
    if (!t->master || (!t->gradient && !frozen) || !t->weights) return MILLET_NO_MEMORY;
    t->base = t->weights;
    if (t->low_rank) MLT_TRY(read_frozen(t, err));
    for (size_t i = 0; i < t->n_parameters; i++) {
        const struct mlt_parameter *p = &t->parameters[i];
        MLT_TRY(t->low_rank ? read_half(t, p, &checksum, err)
                            : read_values(t, p->tensor, t->master + p->offset, &checksum, err));
        mlt_trainable_refresh(t, i, 0, p->rows * p->columns);
    }
    return MILLET_OK;
}

/* How a model is opened. */
struct opening {
    mlt_dtype stored; /* MLT_DTYPE_LIMIT: without weights */
    bool frozen;
    struct mlt_added_matrix *added;
    size_t n_added;
};

static millet_status fill(struct mlt_trainable *t, const struct opening *how, millet_error *err)
{
    const struct mlt_checkpoint *checkpoint = t->checkpoint;
    struct finder f = {.t = t, .err = err, .layer = -1};
    MLT_TRY(mlt_config_read(&t->config, checkpoint, &t->arena, err));
    if (t->config.n_experts)
        return mlt_fail_at(err, MILLET_UNSUPPORTED, checkpoint->path, NULL, MILLET_NO_OFFSET,
                           "models with experts cannot be trained yet");
    MLT_TRY(find_all(&f));
    MLT_TRY(read_divisors(&f));
    for (size_t i = 0; i < how->n_added; i++)
        MLT_TRY(add_matrix(&f, &how->added[i]));
    if (t->n_parameters == 0)
        return mlt_fail_at(err, MILLET_BAD_ARGUMENT, checkpoint->path, "lora_targets", MILLET_NO_OFFSET,
                           "the model has none of the matrices that are to have an adapter");
    return how->stored == MLT_DTYPE_LIMIT ? MILLET_OK : read_weights(t, how->stored, how->frozen, err);
}

/* `low_rank`, with its saved checkpoint, belongs to the model from here on; NULL: the model is trained. */
static millet_status open_with(const millet_allocator *allocator, struct mlt_checkpoint *checkpoint,
                               struct mlt_low_rank_training *low_rank, const struct opening *how,
                               struct mlt_trainable **out, millet_error *err)
{
    struct mlt_trainable *t = mlt_alloc_zero(allocator, 1, sizeof *t, err);
    if (!t) {
        if (low_rank) mlt_checkpoint_close(&low_rank->saved);
        mlt_free(allocator, low_rank);
        mlt_checkpoint_close(&checkpoint);
        return MILLET_NO_MEMORY;
    }
    t->allocator = *allocator;
    t->checkpoint = checkpoint;
    t->low_rank = low_rank;
    mlt_arena_init(&t->arena, allocator);
    millet_status status = fill(t, how, err);
    if (status != MILLET_OK) {
        mlt_error_in_file(err, checkpoint->path);
        mlt_trainable_close(&t);
        return status;
    }
    *out = t;
    return MILLET_OK;
}

millet_status mlt_trainable_open(const millet_allocator *allocator, struct mlt_checkpoint *checkpoint,
                                 mlt_dtype stored, struct mlt_trainable **out, millet_error *err)
{
    *out = NULL;
    const struct opening how = {.stored = stored};
    return open_with(allocator, checkpoint, NULL, &how, out, err);
}

millet_status mlt_trainable_open_with(const millet_allocator *allocator, struct mlt_checkpoint *checkpoint,
                                      mlt_dtype stored, struct mlt_added_matrix *added, size_t n_added,
                                      struct mlt_trainable **out, millet_error *err)
{
    *out = NULL;
    const struct opening how = {.stored = stored, .added = added, .n_added = n_added};
    return open_with(allocator, checkpoint, NULL, &how, out, err);
}

millet_status mlt_trainable_open_frozen(const millet_allocator *allocator, struct mlt_checkpoint *checkpoint,
                                        struct mlt_trainable **out, millet_error *err)
{
    *out = NULL;
    const struct opening how = {.stored = MLT_F32, .frozen = true};
    return open_with(allocator, checkpoint, NULL, &how, out, err);
}

millet_status mlt_trainable_open_adapter(const millet_allocator *allocator, struct mlt_checkpoint *checkpoint,
                                         const struct mlt_low_rank_options *options,
                                         struct mlt_checkpoint *saved, mlt_dtype stored,
                                         struct mlt_trainable **out, millet_error *err)
{
    *out = NULL;
    struct mlt_low_rank_training *low = mlt_alloc_zero(allocator, 1, sizeof *low, err);
    if (!low) {
        mlt_checkpoint_close(&saved);
        mlt_checkpoint_close(&checkpoint);
        return MILLET_NO_MEMORY;
    }
    low->options = *options;
    low->saved = saved;
    const struct opening how = {.stored = stored};
    return open_with(allocator, checkpoint, low, &how, out, err);
}

const struct mlt_checkpoint *mlt_trainable_saved(const struct mlt_trainable *t)
{
    return t->low_rank && t->low_rank->saved ? t->low_rank->saved : t->checkpoint;
}

static void close_low_rank(const millet_allocator *allocator, struct mlt_low_rank_training *low)
{
    if (!low) return;
    mlt_free(allocator, low->frozen);
    mlt_free(allocator, low->values);
    mlt_free(allocator, low->decoded);
    mlt_free(allocator, low->pairs);
    mlt_checkpoint_close(&low->saved);
    mlt_free(allocator, low);
}

void mlt_trainable_close(struct mlt_trainable **handle)
{
    struct mlt_trainable *t = *handle;
    if (!t) return;
    millet_allocator allocator = t->allocator;
    if (t->weights != t->master) mlt_free(&allocator, t->weights);
    mlt_free(&allocator, t->master);
    mlt_free(&allocator, t->gradient);
    mlt_free(&allocator, t->parameters);
    close_low_rank(&allocator, t->low_rank);
    mlt_arena_release(&t->arena);
    mlt_checkpoint_close(&t->checkpoint);
    mlt_free(&allocator, t);
    *handle = NULL;
}

void mlt_trainable_refresh(struct mlt_trainable *t, size_t parameter, int64_t begin, int64_t end)
{
    const struct mlt_parameter *p = &t->parameters[parameter];
    if (t->weights == t->master) return;
    mlt_storage_round(t->exact ? MLT_F32 : p->stored, t->master + p->offset + begin,
                      t->weights + p->offset + begin, end - begin);
}

void mlt_trainable_set_exact(struct mlt_trainable *t, bool exact)
{
    if (t->exact == exact) return;
    t->exact = exact;
    for (size_t i = 0; i < t->n_parameters; i++)
        mlt_trainable_refresh(t, i, 0, t->parameters[i].rows * t->parameters[i].columns);
}
