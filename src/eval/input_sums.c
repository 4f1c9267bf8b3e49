/* Sums over inputs: see input_sums.h. SPDX-License-Identifier: Apache-2.0 */
#include "eval/input_sums.h"

#include "model/model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GRAM_ROWS = 64, MAX_TOKENS = 512 };

/* A matrix by where its weights lie. */
struct place {
    const uint8_t *data;
    int32_t entry, slice;
};

/* A matrix (or the matrices of all experts), under the name of its tensor. */
struct entry {
    char *name;
    int64_t columns, slices;
    double *squares; /* [slices][columns] */
    double *counts;  /* [slices] */
    float *gram;     /* [columns][columns], or NULL */
    int32_t input;   /* the entry whose sums these are: its own number, or that of one with the same input */
    bool may_have_gram;
};

struct mlt_input_sums {
    millet_allocator allocator;
    struct mlt_arena arena;
    const millet_model *model;
    struct entry *entries;
    int32_t n_entries, capacity;
    struct place *places; /* ascending by data */
    int32_t n_places, place_capacity;
    uint64_t gram_bytes;
    struct mlt_matmul matmul; /* of grams */
    bool has_matmul;
    float *turned;  /* [widest][MAX_TOKENS] the input with channels as rows */
    float *product; /* [GRAM_ROWS][widest] */
    struct mlt_importance_sums *out;
    float *out_values;
};

/* ---- Which matrices there are ---- */

static millet_status add_place(struct mlt_input_sums *s, const struct mlt_matrix *matrix, int32_t entry,
                               int32_t slice, millet_error *err)
{
    void *array = s->places;
    size_t capacity = (size_t)s->place_capacity;
    millet_status status =
        mlt_grow(&s->allocator, &array, &capacity, (size_t)s->n_places, sizeof *s->places, err);
    s->places = array;
    s->place_capacity = (int32_t)capacity;
    MLT_TRY(status);
    s->places[s->n_places++] = (struct place){matrix->data, entry, slice};
    return MILLET_OK;
}

/* An entry for `suffix` of a layer (-1: outside), with `n` matrices; nothing where the model has not that
 * tensor. */
static millet_status add_entry(struct mlt_input_sums *s, int32_t layer, const char *suffix,
                               const struct mlt_matrix *matrices, int64_t n, int32_t *input,
                               millet_error *err)
{
    char name[80];
    if (layer < 0)
        snprintf(name, sizeof name, "%s", suffix);
    else
        snprintf(name, sizeof name, "blk.%d.%s", layer, suffix);
    if (n == 0 || !matrices || !matrices[0].data || !mlt_checkpoint_tensor(s->model->checkpoint, name))
        return MILLET_OK;
    void *array = s->entries;
    size_t capacity = (size_t)s->capacity;
    millet_status status =
        mlt_grow(&s->allocator, &array, &capacity, (size_t)s->n_entries, sizeof *s->entries, err);
    s->entries = array;
    s->capacity = (int32_t)capacity;
    MLT_TRY(status);
    int32_t number = s->n_entries++;
    bool owns = *input < 0;
    if (owns) *input = number;
    struct entry *e = &s->entries[number];
    *e = (struct entry){
        .columns = matrices[0].columns, .slices = n, .input = *input, .may_have_gram = owns && n == 1};
    e->name = mlt_arena_text(&s->arena, name, strlen(name), err);
    if (!e->name) return MILLET_NO_MEMORY;
    if (owns) {
        size_t values = (size_t)n * (size_t)e->columns;
        e->squares = mlt_alloc_zero(&s->allocator, values + (size_t)n, sizeof *e->squares, err);
        if (!e->squares) return MILLET_NO_MEMORY;
        e->counts = e->squares + values;
    }
    /* Only the first matrix with an input is looked for: the others of its products come with it. */
    for (int64_t i = 0; i < n && owns; i++)
        MLT_TRY(add_place(s, &matrices[i], number, (int32_t)i, err));
    return MILLET_OK;
}

static millet_status add_layer(struct mlt_input_sums *s, int32_t layer, millet_error *err)
{
    const struct mlt_layer *l = &s->model->weights.layers[layer];
    int64_t n_experts = s->model->config.n_experts;
    int32_t attention = -1, out = -1, router = -1, experts = -1, expert_down = -1, forward = -1, down = -1;
    MLT_TRY(add_entry(s, layer, "attn_qkv.weight", &l->wq, 1, &attention, err));
    MLT_TRY(add_entry(s, layer, "attn_q.weight", &l->wq, 1, &attention, err));
    MLT_TRY(add_entry(s, layer, "attn_k.weight", &l->wk, 1, &attention, err));
    MLT_TRY(add_entry(s, layer, "attn_v.weight", &l->wv, 1, &attention, err));
    MLT_TRY(add_entry(s, layer, "attn_output.weight", &l->wo, 1, &out, err));
    if (n_experts) {
        MLT_TRY(add_entry(s, layer, "ffn_gate_inp.weight", &l->router, 1, &router, err));
        MLT_TRY(add_entry(s, layer, "ffn_gate_exps.weight", l->e_gate, n_experts, &experts, err));
        MLT_TRY(add_entry(s, layer, "ffn_up_exps.weight", l->e_up, n_experts, &experts, err));
        return add_entry(s, layer, "ffn_down_exps.weight", l->e_down, n_experts, &expert_down, err);
    }
    MLT_TRY(add_entry(s, layer, "ffn_up.weight", &l->w_up, 1, &forward, err));
    MLT_TRY(add_entry(s, layer, "ffn_gate.weight", &l->w_gate, 1, &forward, err));
    return add_entry(s, layer, "ffn_down.weight", &l->w_down, 1, &down, err);
}

static int compare_places(const void *left, const void *right)
{
    const struct place *a = left, *b = right;
    return (a->data > b->data) - (a->data < b->data);
}

static millet_status add_all(struct mlt_input_sums *s, millet_error *err)
{
    for (int32_t layer = 0; layer < s->model->config.n_layers; layer++)
        MLT_TRY(add_layer(s, layer, err));
    const struct mlt_matrix *output = &s->model->weights.output;
    int32_t input = -1;
    MLT_TRY(add_entry(s, -1, "output.weight", output, 1, &input, err));
    if (input < 0) MLT_TRY(add_entry(s, -1, "token_embd.weight", output, 1, &input, err));
    qsort(s->places, (size_t)s->n_places, sizeof *s->places, compare_places);
    return MILLET_OK;
}

/* ---- Grams ---- */

/* Gives memory for grams to the inputs, the narrowest first. */
static millet_status open_grams(struct mlt_input_sums *s, uint64_t limit, struct mlt_thread_pool *pool,
                                millet_error *err)
{
    int64_t widest = 0;
    for (;;) {
        struct entry *next = NULL;
        for (int32_t i = 0; i < s->n_entries; i++) {
            struct entry *e = &s->entries[i];
            if (e->may_have_gram && !e->gram && (!next || e->columns < next->columns)) next = e;
        }
        if (!next) break;
        uint64_t bytes = (uint64_t)next->columns * (uint64_t)next->columns * sizeof(float);
        if (bytes > limit - s->gram_bytes) break;
        next->gram =
            mlt_alloc_zero(&s->allocator, (size_t)next->columns * (size_t)next->columns, sizeof(float), err);
        if (!next->gram) return MILLET_NO_MEMORY;
        s->gram_bytes += bytes;
        widest = next->columns;
    }
    if (widest == 0) return MILLET_OK;
    s->turned = mlt_alloc(&s->allocator, (size_t)widest * MAX_TOKENS, sizeof *s->turned, err);
    s->product = mlt_alloc(&s->allocator, (size_t)widest * GRAM_ROWS, sizeof *s->product, err);
    if (!s->turned || !s->product) return MILLET_NO_MEMORY;
    MLT_TRY(
        mlt_matmul_open(&s->matmul, &s->allocator, mlt_kernels_default(), pool, GRAM_ROWS, MAX_TOKENS, err));
    s->has_matmul = true;
    return MILLET_OK;
}

/* gram += X^T X over at most MAX_TOKENS tokens: channels are the rows of both factors. */
static void add_gram(struct mlt_input_sums *s, struct entry *e, const float *x, int64_t ldx, int64_t tokens)
{
    int64_t n = e->columns;
    for (int64_t t = 0; t < tokens; t++)
        for (int64_t i = 0; i < n; i++)
            s->turned[i * tokens + t] = x[t * ldx + i];
    struct mlt_matrix all = {(const uint8_t *)s->turned, (uint64_t)tokens * sizeof(float), n, tokens,
                             MLT_F32};
    for (int64_t first = 0; first < n; first += GRAM_ROWS) {
        int64_t rows = MLT_MIN(GRAM_ROWS, n - first);
        struct mlt_product product = {&all, NULL, s->product, n};
        mlt_matmul_run(&s->matmul, s->turned + first * tokens, tokens, rows, &product, 1);
        float *gram = e->gram + first * n;
        for (int64_t i = 0; i < rows * n; i++)
            gram[i] += s->product[i];
    }
}

/* ---- Gathering ---- */

void mlt_input_sums_observe(void *context, const float *x, int64_t ldx, int64_t tokens,
                            const struct mlt_product *products, int n_products)
{
    struct mlt_input_sums *s = context;
    struct place key = {.data = products[0].w->data};
    const struct place *place = NULL;
    for (int i = 0; i < n_products && !place; i++) {
        key.data = products[i].w->data;
        place = bsearch(&key, s->places, (size_t)s->n_places, sizeof key, compare_places);
    }
    if (!place) return;
    struct entry *e = &s->entries[place->entry];
    double *squares = e->squares + place->slice * e->columns;
    for (int64_t t = 0; t < tokens; t++)
        for (int64_t i = 0; i < e->columns; i++)
            squares[i] += (double)x[t * ldx + i] * (double)x[t * ldx + i];
    e->counts[place->slice] += (double)tokens;
    for (int64_t t = 0; t < tokens && e->gram; t += MAX_TOKENS)
        add_gram(s, e, x + t * ldx, ldx, MLT_MIN(tokens - t, MAX_TOKENS));
}

/* ---- Opening and closing ---- */

millet_status mlt_input_sums_open(const millet_allocator *allocator, const millet_model *model,
                                  uint64_t gram_bytes, struct mlt_thread_pool *pool,
                                  struct mlt_input_sums **out, millet_error *err)
{
    *out = NULL;
    struct mlt_input_sums *s = mlt_alloc_zero(allocator, 1, sizeof *s, err);
    if (!s) return MILLET_NO_MEMORY;
    s->allocator = *allocator;
    s->model = model;
    mlt_arena_init(&s->arena, allocator);
    millet_status status = add_all(s, err);
    if (status == MILLET_OK && gram_bytes) status = open_grams(s, gram_bytes, pool, err);
    if (status != MILLET_OK) {
        mlt_input_sums_close(&s);
        return status;
    }
    *out = s;
    return MILLET_OK;
}

void mlt_input_sums_close(struct mlt_input_sums **sums)
{
    struct mlt_input_sums *s = *sums;
    *sums = NULL;
    if (!s) return;
    millet_allocator allocator = s->allocator;
    for (int32_t i = 0; i < s->n_entries; i++) {
        mlt_free(&allocator, s->entries[i].squares);
        mlt_free(&allocator, s->entries[i].gram);
    }
    if (s->has_matmul) mlt_matmul_close(&s->matmul);
    mlt_free(&allocator, s->entries);
    mlt_free(&allocator, s->places);
    mlt_free(&allocator, s->turned);
    mlt_free(&allocator, s->product);
    mlt_free(&allocator, s->out);
    mlt_free(&allocator, s->out_values);
    mlt_arena_release(&s->arena);
    mlt_free(&allocator, s);
}

/* ---- The end ---- */

millet_status mlt_input_sums_finish(struct mlt_input_sums *s, const struct mlt_importance_sums **entries,
                                    size_t *n_entries, millet_error *err)
{
    size_t total = 0;
    for (int32_t i = 0; i < s->n_entries; i++)
        total += (size_t)(s->entries[i].slices * (s->entries[i].columns + 1));
    s->out = mlt_alloc(&s->allocator, (size_t)s->n_entries, sizeof *s->out, err);
    s->out_values = mlt_alloc(&s->allocator, total, sizeof *s->out_values, err);
    if (!s->out || !s->out_values) return MILLET_NO_MEMORY;
    float *at = s->out_values;
    for (int32_t i = 0; i < s->n_entries; i++) {
        const struct entry *e = &s->entries[i], *input = &s->entries[e->input];
        int64_t n = e->slices * e->columns;
        for (int64_t k = 0; k < n + e->slices; k++) {
            at[k] = (float)input->squares[k]; /* the counts lie behind them */
            if (!(fabsf(at[k]) < INFINITY))
                return mlt_fail_at(
                    err, MILLET_BAD_FORMAT, s->model->checkpoint->path, e->name, MILLET_NO_OFFSET,
                    "channel %lld of its input is not finite on this text: the model is damaged",
                    (long long)(k % e->columns));
        }
        s->out[i] = (struct mlt_importance_sums){.name = e->name,
                                                 .columns = e->columns,
                                                 .slices = e->slices,
                                                 .sums = at,
                                                 .counts = at + n,
                                                 .gram = e->gram,
                                                 .gram_of = input->gram ? input->name : NULL};
        at += n + e->slices;
    }
    *entries = s->out;
    *n_entries = (size_t)s->n_entries;
    return MILLET_OK;
}

void mlt_input_sums_counts(const struct mlt_input_sums *s, millet_calibration *result)
{
    result->n_matrices = (uint64_t)s->n_entries;
    result->gram_bytes = s->gram_bytes;
    for (int32_t i = 0; i < s->n_entries; i++) {
        const struct entry *e = &s->entries[i];
        result->widest = MLT_MAX(result->widest, e->columns);
        result->n_grams += e->gram != NULL;
        result->n_grams_left_out += e->may_have_gram && !e->gram;
        for (int64_t k = 0; e->input == i && k < e->slices; k++)
            result->n_unseen += e->counts[k] == 0;
    }
}
