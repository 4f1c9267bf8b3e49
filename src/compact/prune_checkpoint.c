/* Cutting a model's tensors. SPDX-License-Identifier: Apache-2.0 */
#include "compact/prune_checkpoint.h"

#include "compact/prune_vocabulary.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* What a dimension of a tensor counts. */
enum axis { ALL, WIDTH, QUERY, KEY, VALUE, QKV, ATTENDED, CHANNEL, GATE_UP, HEAD, KEY_HEAD, TOKEN, AXES };

/* Old positions that stay along an axis, in their new order; NULL: all. */
struct kept {
    const int32_t *list;
    int64_t count, all;
};

/* How a tensor is made from an old one: the source of a tensor of the new checkpoint. */
struct cut {
    const struct mlt_tensor *from;
    const millet_allocator *allocator;
    struct kept rows, columns;
    float scale;
};

struct builder {
    const struct mlt_checkpoint *from;
    const struct mlt_config *config;
    const struct mlt_prune_selection *selection;
    mlt_dtype storage;
    float attention_scale; /* to be written; 0: what metadata say anyway is right */
    struct mlt_checkpoint *out;
    struct kept global[AXES], *layer; /* of the whole model, and of a place [n_layers][AXES] */
    struct cut *embedding, *output_norm;
    millet_error *err;
};

/* ---- Reading ---- */

static millet_status read_row(const struct mlt_tensor *tensor, uint64_t row, uint8_t *bytes, float *old,
                              float *new, void *out, millet_error *err)
{
    const struct cut *cut = tensor->source;
    const struct mlt_tensor *from = cut->from;
    if (cut->rows.list) row = (uint64_t)cut->rows.list[row];
    if (from->dtype == tensor->dtype && !cut->columns.list && cut->scale == 1)
        return mlt_tensor_read(from, row, 1, out, err);
    MLT_TRY(mlt_tensor_read(from, row, 1, bytes, err));
    mlt_decode(from->dtype, bytes, old, from->ne[0]);
    float largest = 0;
    for (int64_t i = 0; i < tensor->ne[0]; i++) {
        float value = old[cut->columns.list ? cut->columns.list[i] : i];
        new[i] = cut->scale == 1 ? value : value * cut->scale;
        largest = MLT_MAX(largest, fabsf(new[i]));
    }
    if (mlt_encode_check(new, tensor->ne[0]) >= 0)
        return mlt_fail_at(err, MILLET_BAD_FORMAT, from->file, from->name.data, from->offset,
                           "row %llu has a value that is not a finite number", (unsigned long long)row);
    if (tensor->dtype == MLT_F16 && largest >= 65520)
        return mlt_fail_at(err, MILLET_BAD_FORMAT, from->file, from->name.data, from->offset,
                           "row %llu has the value %g, too large for F16: store as BF16 or F32",
                           (unsigned long long)row, (double)largest);
    mlt_encode(tensor->dtype, new, NULL, out, tensor->ne[0]);
    return MILLET_OK;
}

static millet_status read_cut(const struct mlt_tensor *tensor, uint64_t row, uint64_t rows, void *out,
                              millet_error *err)
{
    const struct cut *cut = tensor->source;
    size_t old = (size_t)cut->from->ne[0], new = (size_t)tensor->ne[0];
    float *values = mlt_alloc(cut->allocator, old + new, sizeof *values, err);
    uint8_t *bytes = mlt_alloc(cut->allocator, (size_t)cut->from->row_bytes, 1, err);
    millet_status status = values && bytes ? MILLET_OK : MILLET_NO_MEMORY;
    for (uint64_t i = 0; i < rows && status == MILLET_OK; i++)
        status = read_row(tensor, row + i, bytes, values, values + old,
                          (uint8_t *)out + i * tensor->row_bytes, err);
    mlt_free(cut->allocator, values);
    mlt_free(cut->allocator, bytes);
    return status;
}

/* ---- Axes ---- */

/* Appends to a list what n units of `size` positions, from `offset` on, become. */
static int64_t append(int32_t *list, int64_t at, const int32_t *units, int64_t n, int64_t size,
                      int64_t offset)
{
    for (int64_t i = 0; i < n; i++)
        for (int64_t k = 0; k < size; k++)
            list[at++] = (int32_t)(offset + units[i] * size + k);
    return at;
}

/* An axis of n of `all` units of `size` positions. */
static millet_status expand(struct builder *b, const int32_t *units, int64_t n, int64_t all, int64_t size,
                            struct kept *out)
{
    *out = (struct kept){NULL, n * size, all * size};
    if (n == all) return MILLET_OK;
    int32_t *list = mlt_arena_alloc(&b->out->arena, (size_t)(n * size), sizeof *list, b->err);
    if (!list) return MILLET_NO_MEMORY;
    append(list, 0, units, n, size, 0);
    out->list = list;
    return MILLET_OK;
}

/* Queries, keys and values one behind the other. */
static millet_status expand_qkv(struct builder *b, const int32_t *heads, const int32_t *keys,
                                struct kept *out)
{
    const struct mlt_config *c = b->config;
    const struct mlt_prune_selection *s = b->selection;
    int64_t k = c->head_size, v = c->value_size, nq = c->n_heads * k, nk = c->n_kv_heads * k;
    *out = (struct kept){NULL, s->n_heads * k + s->n_kv_heads * (k + v), nq + nk + c->n_kv_heads * v};
    if (out->count == out->all) return MILLET_OK;
    int32_t *list = mlt_arena_alloc(&b->out->arena, (size_t)out->count, sizeof *list, b->err);
    if (!list) return MILLET_NO_MEMORY;
    int64_t at = append(list, 0, heads, s->n_heads, k, 0);
    at = append(list, at, keys, s->n_kv_heads, k, nq);
    append(list, at, keys, s->n_kv_heads, v, nq + nk);
    out->list = list;
    return MILLET_OK;
}

/* Gates and then ups. */
static millet_status expand_gate_up(struct builder *b, const int32_t *channels, struct kept *out)
{
    int64_t n = b->selection->n_ff, all = b->config->n_ff;
    *out = (struct kept){NULL, 2 * n, 2 * all};
    if (n == all) return MILLET_OK;
    int32_t *list = mlt_arena_alloc(&b->out->arena, (size_t)(2 * n), sizeof *list, b->err);
    if (!list) return MILLET_NO_MEMORY;
    append(list, append(list, 0, channels, n, 1, 0), channels, n, 1, all);
    out->list = list;
    return MILLET_OK;
}

static millet_status set_axes(struct builder *b)
{
    const struct mlt_config *c = b->config;
    const struct mlt_prune_selection *s = b->selection;
    b->layer = mlt_arena_alloc(&b->out->arena, (size_t)s->n_layers * AXES, sizeof *b->layer, b->err);
    if (!b->layer) return MILLET_NO_MEMORY;
    MLT_TRY(expand(b, s->width, s->n_embd, c->n_embd, 1, &b->global[WIDTH]));
    b->global[TOKEN] = (struct kept){s->vocabulary, s->n_vocab, c->n_vocab};
    for (int64_t j = 0; j < s->n_layers; j++) {
        struct kept *axis = b->layer + j * AXES;
        const int32_t *heads = s->heads + j * s->n_heads, *keys = s->kv_heads + j * s->n_kv_heads;
        const int32_t *channels = s->feed_forward + j * s->n_ff;
        memcpy(axis, b->global, sizeof b->global);
        MLT_TRY(expand(b, heads, s->n_heads, c->n_heads, c->head_size, &axis[QUERY]));
        MLT_TRY(expand(b, keys, s->n_kv_heads, c->n_kv_heads, c->head_size, &axis[KEY]));
        MLT_TRY(expand(b, keys, s->n_kv_heads, c->n_kv_heads, c->value_size, &axis[VALUE]));
        MLT_TRY(expand_qkv(b, heads, keys, &axis[QKV]));
        MLT_TRY(expand(b, heads, s->n_heads, c->n_heads, c->value_size, &axis[ATTENDED]));
        MLT_TRY(expand(b, heads, s->n_heads, c->n_heads, 1, &axis[HEAD]));
        MLT_TRY(expand(b, keys, s->n_kv_heads, c->n_kv_heads, 1, &axis[KEY_HEAD]));
        MLT_TRY(expand(b, channels, s->n_ff, c->n_ff, 1, &axis[CHANNEL]));
        MLT_TRY(expand_gate_up(b, channels, &axis[GATE_UP]));
    }
    return MILLET_OK;
}

/* ---- Tensors ---- */

enum { NO_NORM = -1 };

struct form {
    const char *name;
    enum axis rows, columns; /* of a vector: columns */
    int norm;                /* whose weight it is */
};

static const struct form outside[] = {
    {"token_embd.weight", TOKEN, WIDTH, NO_NORM},
    {"position_embd.weight", ALL, WIDTH, NO_NORM},
    {"output_norm.weight", ALL, WIDTH, MLT_PRUNE_NORMS},
    {"output_norm.bias", ALL, WIDTH, NO_NORM},
    {"output.weight", TOKEN, WIDTH, NO_NORM},
    {"output.bias", ALL, TOKEN, NO_NORM},
    {"rope_freqs.weight", ALL, ALL, NO_NORM},
    {"rope_factors_short.weight", ALL, ALL, NO_NORM},
    {"rope_factors_long.weight", ALL, ALL, NO_NORM},
};

static const struct form inside[] = {
    {"attn_norm.weight", ALL, WIDTH, MLT_NORM_OF_ATTENTION},
    {"attn_norm.bias", ALL, WIDTH, NO_NORM},
    {"attn_q.weight", QUERY, WIDTH, NO_NORM},
    {"attn_q.bias", ALL, QUERY, NO_NORM},
    {"attn_k.weight", KEY, WIDTH, NO_NORM},
    {"attn_k.bias", ALL, KEY, NO_NORM},
    {"attn_v.weight", VALUE, WIDTH, NO_NORM},
    {"attn_v.bias", ALL, VALUE, NO_NORM},
    {"attn_qkv.weight", QKV, WIDTH, NO_NORM},
    {"attn_qkv.bias", ALL, QKV, NO_NORM},
    {"attn_q_norm.weight", HEAD, ALL, NO_NORM}, /* one row where all heads share it */
    {"attn_k_norm.weight", KEY_HEAD, ALL, NO_NORM},
    {"attn_output.weight", WIDTH, ATTENDED, NO_NORM},
    {"attn_output.bias", ALL, WIDTH, NO_NORM},
    {"post_attention_norm.weight", ALL, WIDTH, MLT_NORM_AFTER_ATTENTION},
    {"ffn_norm.weight", ALL, WIDTH, MLT_NORM_OF_FEED_FORWARD},
    {"ffn_norm.bias", ALL, WIDTH, NO_NORM},
    {"ffn_gate.weight", CHANNEL, WIDTH, NO_NORM},
    {"ffn_gate.bias", ALL, CHANNEL, NO_NORM},
    {"ffn_up.weight", CHANNEL, WIDTH, NO_NORM}, /* GATE_UP where it holds both */
    {"ffn_up.bias", ALL, CHANNEL, NO_NORM},
    {"ffn_down.weight", WIDTH, CHANNEL, NO_NORM},
    {"ffn_down.bias", ALL, WIDTH, NO_NORM},
    {"post_ffw_norm.weight", ALL, WIDTH, MLT_NORM_AFTER_FEED_FORWARD},
    {"rope_freqs.weight", ALL, ALL, NO_NORM}, /* of old files; nobody reads it */
    {"attn_rot_embd.weight", ALL, ALL, NO_NORM},
};

static const struct form *find_form(const struct form *forms, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(forms[i].name, name) == 0) return &forms[i];
    return NULL;
}

/* "blk.N.rest": N, and the rest; -1 for other names. */
static int32_t layer_of(const char *name, const char **rest)
{
    int32_t layer = 0;
    *rest = name;
    if (strncmp(name, "blk.", 4) != 0) return -1;
    const char *c = name + 4;
    for (; *c >= '0' && *c <= '9' && layer < 1 << 20; c++)
        layer = layer * 10 + (*c - '0');
    if (c == name + 4 || *c != '.') return -1;
    *rest = c + 1;
    return layer;
}

static int32_t place_of(const struct mlt_prune_selection *s, int32_t layer)
{
    for (int32_t j = 0; j < s->n_layers; j++)
        if (s->layers[j] == layer) return j;
    return -1;
}

static mlt_dtype type_of(const struct builder *b, const struct mlt_tensor *from, bool matrix)
{
    if (!matrix) return from->dtype;
    if (b->storage != MLT_DTYPE_LIMIT) return b->storage;
    return mlt_dtype_info(from->dtype)->quantised ? MLT_F16 : from->dtype;
}

/* Checks a dimension and sets it. */
static millet_status cut_axis(const struct builder *b, const struct mlt_tensor *from, const struct kept *axes,
                              enum axis axis, int64_t *ne, struct kept *out)
{
    *out = (struct kept){NULL, *ne, *ne};
    if (axis == ALL) return MILLET_OK;
    *out = axes[axis];
    if (*ne != out->all)
        return mlt_fail_at(b->err, MILLET_BAD_FORMAT, from->file, from->name.data, from->offset,
                           "a dimension is %lld; metadata ask for %lld", (long long)*ne, (long long)out->all);
    *ne = out->count;
    return MILLET_OK;
}

static millet_status add_tensor(struct builder *b, const struct mlt_tensor *from, const char *name,
                                const struct form *form, const struct kept *axes, float scale)
{
    enum axis rows = form->rows, columns = form->columns;
    bool fused = b->config->gated && strncmp(form->name, "ffn_up.", 7) == 0;
    if (fused && (from->n_dims > 1 ? from->ne[1] : from->ne[0]) == 2 * (int64_t)b->config->n_ff) {
        if (rows == CHANNEL) rows = GATE_UP;
        if (columns == CHANNEL) columns = GATE_UP;
    }
    bool per_head = rows == HEAD || rows == KEY_HEAD;
    if (per_head && b->config->qk_norm != MLT_QK_LAYER_HEAD) rows = ALL;
    bool matrix = rows != ALL || strcmp(form->name, "position_embd.weight") == 0;
    struct cut *cut = mlt_arena_alloc(&b->out->arena, 1, sizeof *cut, b->err);
    if (!cut) return MILLET_NO_MEMORY;
    struct mlt_tensor tensor = {.name = {name, strlen(name)},
                                .dtype = type_of(b, from, matrix && !per_head),
                                .n_dims = from->n_dims,
                                .read = read_cut,
                                .source = cut};
    memcpy(tensor.ne, from->ne, sizeof tensor.ne);
    *cut = (struct cut){.from = from, .allocator = &b->out->allocator, .scale = scale};
    MLT_TRY(cut_axis(b, from, axes, columns, &tensor.ne[0], &cut->columns));
    MLT_TRY(cut_axis(b, from, axes, rows, &tensor.ne[1], &cut->rows));
    if (strcmp(name, "token_embd.weight") == 0) b->embedding = cut;
    if (strcmp(name, "output_norm.weight") == 0) b->output_norm = cut;
    return mlt_checkpoint_add_tensor(b->out, &tensor, b->err);
}

/* The state of a training is a model too; what the optimiser keeps beside it does not fit what is left. */
static bool of_training(const char *name)
{
    return strncmp(name, "train.", 6) == 0;
}

static millet_status take_tensor(struct builder *b, const struct mlt_tensor *from)
{
    if (of_training(from->name.data)) return MILLET_OK;
    const struct mlt_prune_selection *s = b->selection;
    const char *rest;
    char name[96];
    int32_t layer = layer_of(from->name.data, &rest);
    const struct form *form =
        layer < 0 ? find_form(outside, MLT_COUNT(outside), rest) : find_form(inside, MLT_COUNT(inside), rest);
    if (!form || layer >= b->config->n_layers)
        return mlt_fail_at(b->err, MILLET_UNSUPPORTED, from->file, from->name.data, from->offset,
                           "it is not known how this tensor is pruned");
    if (layer < 0) {
        float scale = form->norm == NO_NORM ? 1 : s->norm_scale[(int64_t)s->n_layers * MLT_PRUNE_NORMS];
        return add_tensor(b, from, from->name.data, form, b->global, scale);
    }
    int32_t place = place_of(s, layer);
    if (place < 0) return MILLET_OK;
    snprintf(name, sizeof name, "blk.%d.%s", place, rest);
    float scale = form->norm == NO_NORM ? 1 : s->norm_scale[(int64_t)place * MLT_PRUNE_NORMS + form->norm];
    return add_tensor(b, from, name, form, b->layer + (int64_t)place * AXES, scale);
}

/* ---- Metadata ---- */

static const char *key_of(const struct builder *b, const char *suffix, char *key, size_t size)
{
    snprintf(key, size, "%s.%s", b->config->architecture, suffix);
    return key;
}

/* What is written anew. */
struct number {
    const char *suffix;
    uint32_t value;
    bool wanted; /* also where the old model does not have it */
};

static size_t list_numbers(const struct builder *b, struct number *out)
{
    const struct mlt_prune_selection *s = b->selection;
    const struct mlt_config *c = b->config;
    bool heads = s->n_heads != c->n_heads || s->n_kv_heads != c->n_kv_heads || s->n_embd != c->n_embd;
    const struct number all[] = {
        {"block_count", (uint32_t)s->n_layers, true},
        {"embedding_length", (uint32_t)s->n_embd, true},
        {"feed_forward_length", (uint32_t)s->n_ff, true},
        {"attention.head_count", (uint32_t)s->n_heads, true},
        {"attention.head_count_kv", (uint32_t)s->n_kv_heads, heads},
        {"attention.key_length", (uint32_t)c->head_size, heads},
        {"attention.value_length", (uint32_t)c->value_size, heads},
        {"rope.dimension_count", (uint32_t)c->rope_size, heads && c->rope_kind != MLT_ROPE_NONE},
        {"vocab_size", (uint32_t)s->n_vocab, s->n_vocab != c->n_vocab},
    };
    memcpy(out, all, sizeof all);
    return MLT_COUNT(all);
}

enum { MAX_NUMBERS = 16 };

/* An array with an element for each layer keeps those of the layers that stay. */
static millet_status add_meta(struct builder *b, const struct mlt_meta *meta)
{
    const struct mlt_prune_selection *s = b->selection;
    size_t length = strlen(b->config->architecture);
    bool own = strncmp(meta->key.data, b->config->architecture, length) == 0 && meta->key.data[length] == '.';
    if (!own || meta->type != MLT_META_ARRAY || meta->count != (uint64_t)b->config->n_layers ||
        s->n_layers == b->config->n_layers)
        return mlt_checkpoint_add_meta(b->out, meta, b->err);
    size_t size = mlt_meta_type_size(meta->element);
    uint8_t *array = mlt_arena_alloc(&b->out->arena, (size_t)s->n_layers, size, b->err);
    if (!array) return MILLET_NO_MEMORY;
    for (int32_t j = 0; j < s->n_layers; j++)
        memcpy(array + (size_t)j * size, (const uint8_t *)meta->value.array + (size_t)s->layers[j] * size,
               size);
    struct mlt_meta kept = *meta;
    kept.count = (uint64_t)s->n_layers;
    kept.value.array = array;
    return mlt_checkpoint_add_meta(b->out, &kept, b->err);
}

static bool changes_matrices(const struct builder *b)
{
    if (b->storage != MLT_DTYPE_LIMIT) return true;
    for (size_t i = 0; i < b->from->n_tensors; i++)
        if (mlt_dtype_info(b->from->tensors[i].dtype)->quantised) return true;
    return false;
}

/* Keys that say what is no longer so. */
static bool is_stale(const struct builder *b, const char *key)
{
    static const char *const facts[] = {"general.size_label", "general.parameter_count"};
    for (size_t i = 0; i < MLT_COUNT(facts); i++)
        if (strcmp(key, facts[i]) == 0) return true;
    if (of_training(key)) return true;
    if (b->selection->vocabulary && mlt_vocabulary_has_key(key)) return true; /* written by themselves */
    return changes_matrices(b) &&
           (strcmp(key, "general.file_type") == 0 || strcmp(key, "general.quantization_version") == 0);
}

static millet_status write_metadata(struct builder *b)
{
    struct number numbers[MAX_NUMBERS];
    bool written[MAX_NUMBERS] = {false};
    size_t n_numbers = list_numbers(b, numbers);
    char key[128];
    for (size_t i = 0; i < b->from->n_metas; i++) {
        const struct mlt_meta *meta = &b->from->metas[i];
        size_t n = 0;
        if (is_stale(b, meta->key.data)) continue;
        if (b->attention_scale > 0 &&
            strcmp(meta->key.data, key_of(b, "attention.scale", key, sizeof key)) == 0)
            continue;
        while (n < n_numbers && strcmp(meta->key.data, key_of(b, numbers[n].suffix, key, sizeof key)) != 0)
            n++;
        if (n == n_numbers) {
            MLT_TRY(add_meta(b, meta));
            continue;
        }
        written[n] = true;
        MLT_TRY(mlt_checkpoint_set_u32(b->out, key, numbers[n].value, b->err));
    }
    for (size_t n = 0; n < n_numbers; n++)
        if (numbers[n].wanted && !written[n])
            MLT_TRY(mlt_checkpoint_set_u32(b->out, key_of(b, numbers[n].suffix, key, sizeof key),
                                           numbers[n].value, b->err));
    if (b->attention_scale > 0)
        MLT_TRY(mlt_checkpoint_set_f32(b->out, key_of(b, "attention.scale", key, sizeof key),
                                       b->attention_scale, b->err));
    if (changes_matrices(b)) {
        uint32_t type = b->storage == MLT_F32 ? 0 : b->storage == MLT_BF16 ? 32 : 1;
        MLT_TRY(mlt_checkpoint_set_u32(b->out, "general.file_type", type, b->err));
    }
    if (!b->selection->vocabulary) return MILLET_OK;
    return mlt_vocabulary_write(b->from, b->selection->vocabulary, b->selection->n_vocab, b->out, b->err);
}

/* ---- The whole ---- */

static millet_status build(struct builder *b)
{
    MLT_TRY(mlt_checkpoint_new(&b->from->allocator, b->from->path, "pruned", &b->out, b->err));
    MLT_TRY(set_axes(b));
    MLT_TRY(write_metadata(b));
    for (size_t i = 0; i < b->from->n_tensors; i++)
        MLT_TRY(take_tensor(b, &b->from->tensors[i]));
    return mlt_checkpoint_seal(b->out, b->err);
}

/* Whether what must not change has changed. */
static bool is_another(const struct mlt_config *a, const struct mlt_config *b, const int32_t *layers)
{
    bool another = a->head_size != b->head_size || a->value_size != b->value_size ||
                   a->rope_size != b->rope_size || a->tied != b->tied ||
                   a->parallel_block != b->parallel_block || a->qk_norm != b->qk_norm ||
                   a->window != b->window || a->attention_softcap != b->attention_softcap ||
                   a->logit_softcap != b->logit_softcap || a->logit_scale != b->logit_scale ||
                   a->residual_scale != b->residual_scale || a->norm_eps != b->norm_eps;
    for (int32_t j = 0; j < b->n_layers; j++)
        another = another || a->layers[layers[j]].local != b->layers[j].local ||
                  a->layers[layers[j]].rope != b->layers[j].rope;
    return another;
}

/* What the new metadata mean, beside what the weights were made for. */
static millet_status reconcile(struct builder *b, bool *again)
{
    struct mlt_config new;
    struct mlt_arena arena;
    mlt_arena_init(&arena, &b->from->allocator);
    millet_status status = mlt_config_read(&new, b->out, &arena, b->err);
    *again = status == MILLET_OK && new.attention_scale != b->config->attention_scale;
    if (*again && b->attention_scale > 0) status = MILLET_UNSUPPORTED;
    if (status == MILLET_OK && is_another(b->config, &new, b->selection->layers)) status = MILLET_UNSUPPORTED;
    mlt_arena_release(&arena);
    if (status == MILLET_UNSUPPORTED)
        return mlt_fail_at(b->err, MILLET_UNSUPPORTED, b->from->path, NULL, MILLET_NO_OFFSET,
                           "metadata cannot describe what would be left of the model");
    MLT_TRY(status);
    b->attention_scale = b->config->attention_scale;
    /* A scale that follows from the width: the embeddings make up for it, and where they are also the output
     * matrix, the norm before it does. */
    float ratio = b->config->embedding_scale / new.embedding_scale;
    b->embedding->scale *= ratio;
    if (b->config->tied) b->output_norm->scale /= ratio;
    return MILLET_OK;
}

millet_status mlt_prune_checkpoint(const struct mlt_checkpoint *from, const struct mlt_config *config,
                                   const struct mlt_prune_selection *selection, mlt_dtype storage,
                                   struct mlt_checkpoint **out, millet_error *err)
{
    struct builder b = {
        .from = from, .config = config, .selection = selection, .storage = storage, .err = err};
    bool again = false;
    *out = NULL;
    millet_status status = build(&b);
    if (status == MILLET_OK) status = reconcile(&b, &again);
    if (status == MILLET_OK && again) {
        mlt_checkpoint_close(&b.out);
        status = build(&b);
        if (status == MILLET_OK) status = reconcile(&b, &again);
    }
    if (status != MILLET_OK) mlt_checkpoint_close(&b.out);
    *out = b.out;
    return status;
}
