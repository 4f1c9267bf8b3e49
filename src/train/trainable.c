/*
 * Finding a checkpoint's weights by name, reading them as float, and writing them again. Names, shapes and
 * which tensors are optional are those of model/weights.c.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "train/trainable.h"

#include "format/gguf_write.h"
#include "model/model.h"
#include "tensor/half.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { VALUE_ALIGNMENT = MLT_ALIGNMENT / sizeof(float) };

static const struct mlt_slice absent = {-1, 0, 0};

struct finder {
    struct mlt_trainable *t;
    size_t capacity;
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

/* Makes the tensor a parameter. */
static millet_status take(struct finder *f, const char *suffix, enum need need, enum mlt_parameter_kind kind,
                          int64_t rows, int64_t columns, struct mlt_slice *out)
{
    struct mlt_trainable *t = f->t;
    const struct mlt_tensor *tensor = find(f, suffix);
    *out = absent;
    if (!tensor) {
        if (need == OPTIONAL) return MILLET_OK;
        return mlt_fail_at(f->err, MILLET_NOT_FOUND, t->checkpoint->path, f->name, MILLET_NO_OFFSET,
                           "the tensor does not exist; the architecture %s needs it", t->config.architecture);
    }
    if (tensor->ne[0] != columns || tensor->ne[1] != rows || tensor->ne[2] != 1 || tensor->ne[3] != 1)
        return mlt_fail_at(f->err, MILLET_BAD_FORMAT, tensor->file, f->name, tensor->offset,
                           "the dimensions are %lld x %lld x %lld x %lld; metadata ask for %lld x %lld",
                           (long long)tensor->ne[0], (long long)tensor->ne[1], (long long)tensor->ne[2],
                           (long long)tensor->ne[3], (long long)columns, (long long)rows);
    if (!mlt_dtype_info(tensor->dtype)->is_float)
        return mlt_fail_at(f->err, MILLET_UNSUPPORTED, tensor->file, f->name, tensor->offset,
                           "the dtype %s cannot be a weight", mlt_dtype_info(tensor->dtype)->name);
    void *parameters = t->parameters;
    MLT_TRY(
        mlt_grow(&t->allocator, &parameters, &f->capacity, t->n_parameters, sizeof *t->parameters, f->err));
    t->parameters = parameters;
    t->parameters[t->n_parameters++] = (struct mlt_parameter){tensor, kind, rows, columns, t->n_values};
    *out = (struct mlt_slice){t->n_values, rows, columns};
    t->n_weights += (uint64_t)(rows * columns);
    t->n_values += (int64_t)mlt_round_up((uint64_t)(rows * columns), VALUE_ALIGNMENT);
    return MILLET_OK;
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
    if (whole.rows == 1) return (struct mlt_slice){whole.offset + first, 1, rows};
    return (struct mlt_slice){whole.offset + first * whole.columns, rows, whole.columns};
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

/* ---- Reading ---- */

static millet_status read_values(const struct mlt_trainable *t, const struct mlt_tensor *tensor, float *out,
                                 millet_error *err)
{
    uint8_t *row = mlt_alloc(&t->allocator, (size_t)tensor->row_bytes, 1, err);
    if (!row) return MILLET_NO_MEMORY;
    millet_status status = MILLET_OK;
    for (uint64_t r = 0; status == MILLET_OK && r < tensor->rows; r++, out += tensor->ne[0]) {
        status = mlt_tensor_read(tensor, r, 1, row, err);
        if (status != MILLET_OK) break;
        mlt_decode(tensor->dtype, row, out, tensor->ne[0]);
        int64_t bad = mlt_encode_check(out, tensor->ne[0]);
        if (bad >= 0)
            status = mlt_fail_at(err, MILLET_BAD_FORMAT, tensor->file, tensor->name.data, tensor->offset,
                                 "value %lld of row %llu is not a finite number", (long long)bad,
                                 (unsigned long long)r);
    }
    mlt_free(&t->allocator, row);
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
    MLT_TRY(read_values(t, tensor, values, f->err));
    for (int64_t i = 0; i < n; i++)
        if (values[i] <= 0)
            return mlt_fail_at(f->err, MILLET_BAD_FORMAT, tensor->file, f->name, tensor->offset,
                               "value %lld is %g; frequencies can only be divided by numbers above 0",
                               (long long)i, (double)values[i]);
    t->rope_divisors = values;
    return MILLET_OK;
}

static millet_status read_weights(struct mlt_trainable *t, mlt_dtype stored, millet_error *err)
{
    size_t n = (size_t)t->n_values;
    t->master = mlt_alloc_zero(&t->allocator, n, sizeof(float), err);
    t->gradient = mlt_alloc_zero(&t->allocator, n, sizeof(float), err);
    t->weights = stored == MLT_F32 ? t->master : mlt_alloc_zero(&t->allocator, n, sizeof(float), err);
    if (!t->master || !t->gradient || !t->weights) return MILLET_NO_MEMORY;
    for (size_t i = 0; i < t->n_parameters; i++)
        MLT_TRY(read_values(t, t->parameters[i].tensor, t->master + t->parameters[i].offset, err));
    mlt_trainable_refresh(t, 0, t->n_values);
    return MILLET_OK;
}

static millet_status fill(struct mlt_trainable *t, mlt_dtype stored, millet_error *err)
{
    const struct mlt_checkpoint *checkpoint = t->checkpoint;
    struct finder f = {.t = t, .err = err, .layer = -1};
    MLT_TRY(mlt_config_read(&t->config, checkpoint, &t->arena, err));
    if (t->config.n_experts)
        return mlt_fail_at(err, MILLET_UNSUPPORTED, checkpoint->path, NULL, MILLET_NO_OFFSET,
                           "models with experts cannot be trained yet");
    MLT_TRY(find_all(&f));
    MLT_TRY(read_divisors(&f));
    return stored == MLT_DTYPE_LIMIT ? MILLET_OK : read_weights(t, stored, err);
}

millet_status mlt_trainable_open(const millet_allocator *allocator, struct mlt_checkpoint *checkpoint,
                                 mlt_dtype stored, struct mlt_trainable **out, millet_error *err)
{
    *out = NULL;
    struct mlt_trainable *t = mlt_alloc_zero(allocator, 1, sizeof *t, err);
    if (!t) {
        mlt_checkpoint_close(&checkpoint);
        return MILLET_NO_MEMORY;
    }
    t->allocator = *allocator;
    t->checkpoint = checkpoint;
    mlt_arena_init(&t->arena, allocator);
    millet_status status = fill(t, stored, err);
    if (status != MILLET_OK) {
        mlt_error_in_file(err, checkpoint->path);
        mlt_trainable_close(&t);
        return status;
    }
    *out = t;
    return MILLET_OK;
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
    mlt_arena_release(&t->arena);
    mlt_checkpoint_close(&t->checkpoint);
    mlt_free(&allocator, t);
    *handle = NULL;
}

void mlt_trainable_refresh(struct mlt_trainable *t, int64_t begin, int64_t end)
{
    if (t->weights == t->master) return;
    for (int64_t i = begin; i < end; i++)
        t->weights[i] = mlt_bfloat_to_float_inline(mlt_float_to_bfloat_inline(t->master[i]));
}

/* ---- Writing ---- */

struct plan {
    const struct mlt_trainable *t;
    struct mlt_meta *metas;
    struct mlt_tensor *tensors;
    const float **values;            /* of each tensor; NULL: copied from the checkpoint, or asked for */
    const struct mlt_extras *extras; /* the last tensors */
    const struct mlt_tensor **sources;
    size_t n_metas, n_tensors;
};

static bool of_training(const struct mlt_string *name)
{
    return strncmp(name->data, "train.", 6) == 0;
}

static const struct mlt_parameter *parameter_of(const struct mlt_trainable *t,
                                                const struct mlt_tensor *tensor)
{
    for (size_t i = 0; i < t->n_parameters; i++)
        if (t->parameters[i].tensor == tensor) return &t->parameters[i];
    return NULL;
}

static void add_tensor(struct plan *p, const struct mlt_tensor *like, mlt_dtype dtype, const float *values)
{
    struct mlt_tensor *tensor = &p->tensors[p->n_tensors];
    *tensor = *like;
    tensor->dtype = dtype;
    p->values[p->n_tensors] = values;
    p->sources[p->n_tensors++] = like;
}

static void set_number(struct plan *p, const char *key, uint32_t value)
{
    size_t i = 0;
    while (i < p->n_metas && strcmp(p->metas[i].key.data, key) != 0)
        i++;
    if (i == p->n_metas) p->n_metas++;
    p->metas[i] = (struct mlt_meta){.key = {key, strlen(key)},
                                    .type = MLT_META_U32,
                                    .element = MLT_META_U32,
                                    .count = 1,
                                    .value.u = value};
}

static millet_status plan_file(struct plan *p, mlt_dtype dtype, const struct mlt_extras *extras,
                               struct mlt_arena *arena, millet_error *err)
{
    const struct mlt_checkpoint *from = p->t->checkpoint;
    size_t n_metas = from->n_metas + extras->n_metas + 1, n = from->n_tensors + extras->n_tensors;
    p->metas = mlt_arena_alloc(arena, n_metas, sizeof *p->metas, err);
    p->tensors = mlt_arena_alloc(arena, n, sizeof *p->tensors, err);
    p->values = mlt_arena_alloc(arena, n, sizeof *p->values, err);
    p->sources = mlt_arena_alloc(arena, n, sizeof *p->sources, err);
    if (!p->metas || !p->tensors || !p->values || !p->sources) return MILLET_NO_MEMORY;
    for (size_t i = 0; i < from->n_metas; i++)
        if (!of_training(&from->metas[i].key)) p->metas[p->n_metas++] = from->metas[i];
    set_number(p, "general.file_type", dtype == MLT_F32 ? 0 : dtype == MLT_F16 ? 1 : 32);
    for (size_t i = 0; i < extras->n_metas; i++)
        p->metas[p->n_metas++] = extras->metas[i];
    for (size_t i = 0; i < from->n_tensors; i++) {
        const struct mlt_tensor *tensor = &from->tensors[i];
        const struct mlt_parameter *parameter = parameter_of(p->t, tensor);
        if (parameter)
            add_tensor(p, tensor, parameter->kind == MLT_PARAMETER_VECTOR ? MLT_F32 : dtype,
                       p->t->master + parameter->offset);
        else if (!of_training(&tensor->name))
            add_tensor(p, tensor, tensor->dtype, NULL);
    }
    for (size_t i = 0; i < extras->n_tensors; i++)
        add_tensor(p, &extras->tensors[i].tensor, MLT_F32, extras->tensors[i].values);
    return MILLET_OK;
}

static millet_status write_tensor(const struct plan *p, size_t index, struct mlt_gguf_writer *writer,
                                  millet_error *err)
{
    const struct mlt_tensor *tensor = &p->tensors[index];
    int64_t columns = tensor->ne[0], rows = tensor->ne[1] * tensor->ne[2] * tensor->ne[3];
    const float *values = p->values[index];
    size_t first_extra = p->n_tensors - p->extras->n_tensors;
    if (!values && index >= first_extra)
        MLT_TRY(p->extras->read(p->extras->context, index - first_extra, &values, err));
    if (values && tensor->dtype == MLT_F32)
        return mlt_gguf_writer_write(writer, index, values, (uint64_t)(rows * columns) * sizeof(float), err);
    size_t bytes = mlt_dtype_row_bytes(tensor->dtype, columns);
    uint8_t *row = mlt_alloc(&p->t->allocator, bytes, 1, err);
    if (!row) return MILLET_NO_MEMORY;
    millet_status status = MILLET_OK;
    for (int64_t r = 0; status == MILLET_OK && r < rows; r++) {
        if (values)
            mlt_encode(tensor->dtype, values + r * columns, NULL, row, columns);
        else
            status = mlt_tensor_read(p->sources[index], (uint64_t)r, 1, row, err);
        if (status == MILLET_OK) status = mlt_gguf_writer_write(writer, index, row, bytes, err);
    }
    mlt_free(&p->t->allocator, row);
    return status;
}

millet_status mlt_trainable_write(const struct mlt_trainable *t, const char *path, mlt_dtype dtype,
                                  const struct mlt_extras *extras, millet_error *err)
{
    static const struct mlt_extras none;
    struct plan p = {.t = t, .extras = extras ? extras : &none};
    struct mlt_gguf_writer *writer = NULL;
    struct mlt_arena arena;
    mlt_arena_init(&arena, &t->allocator);
    millet_status status = plan_file(&p, dtype, p.extras, &arena, err);
    if (status == MILLET_OK) {
        struct mlt_gguf_contents contents = {
            .metas = p.metas, .n_metas = p.n_metas, .tensors = p.tensors, .n_tensors = p.n_tensors};
        status = mlt_gguf_writer_open(&t->allocator, path, &contents, &writer, err);
    }
    for (size_t i = 0; status == MILLET_OK && i < p.n_tensors; i++)
        status = write_tensor(&p, i, writer, err);
    if (status == MILLET_OK) status = mlt_gguf_writer_commit(&writer, err);
    mlt_gguf_writer_abort(&writer);
    mlt_arena_release(&arena);
    return status;
}
