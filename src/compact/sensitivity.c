/* millet_sensitivity_measure. SPDX-License-Identifier: Apache-2.0 */
#include "compact/sensitivity.h"

#include "base/clock.h"
#include "compact/plan_probe.h"
#include "compact/quantize_types.h"
#include "import/open_any.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { FEW = 2, MAX_TYPES = 40, SAVE_SECONDS = 20, MEASURING = 8 };
/* Multiply-adds that take a core two minutes: up to there all types are measured. */
static const double LITTLE_WORK = 4e12;

/* Those that no other of the same size is better than; where rows allow both, blocks of 256 are. */
static const char *const of_256[] = {"IQ1_S", "IQ1_M",   "IQ2_XXS", "IQ2_XS", "IQ2_S",
                                     "Q2_K",  "IQ3_XXS", "IQ3_S",   "Q3_K",   "IQ4_XS",
                                     "Q4_K",  "Q5_K",    "Q6_K",    "Q8_0",   "F16"};
static const char *const of_32[] = {"MXFP4", "IQ4_NL", "Q5_0", "Q5_1", "Q8_0", "F16"};

struct run {
    millet_allocator allocator;
    const millet_sensitivity_options *options;
    struct mlt_probe probe;
    struct mlt_sensitivity *table;
    size_t *place;                   /* [n_tensors] of the checkpoint */
    mlt_dtype candidates[MAX_TYPES]; /* that were asked for */
    size_t n_candidates;             /* 0: none was */
    size_t n_measured;               /* of each matrix */
    size_t done, total;              /* roundings; a measurement counts as several */
    double saved;
};

millet_sensitivity_options millet_sensitivity_options_default(void)
{
    return (millet_sensitivity_options){0};
}

/* ---- Candidates ---- */

static millet_status wrong(millet_error *err, const char *option, const char *what)
{
    return mlt_fail_at(err, MILLET_BAD_ARGUMENT, NULL, option, MILLET_NO_OFFSET, "%s", what);
}

static millet_status read_candidates(struct run *r, millet_error *err)
{
    const char *at = r->options->types ? r->options->types : "";
    for (;;) {
        char name[32];
        at += strspn(at, ", ");
        size_t length = strcspn(at, ", ");
        if (length == 0) break;
        if (length >= sizeof name || r->n_candidates == MAX_TYPES)
            return wrong(err, "types", "it is a list of at most 40 types of tensors, as Q4_K");
        memcpy(name, at, length);
        name[length] = '\0';
        at += length;
        mlt_dtype dtype;
        if (!mlt_dtype_by_name(name, &dtype) || !mlt_dtype_info(dtype)->is_float)
            return mlt_fail_at(err, MILLET_BAD_ARGUMENT, NULL, "types", MILLET_NO_OFFSET,
                               "\"%s\" is no type of weights; it must be Q4_K, Q6_K, Q8_0 or another of that "
                               "kind, not a mix of them",
                               name);
        r->candidates[r->n_candidates++] = dtype;
    }
    return r->options->types && r->n_candidates == 0 ? wrong(err, "types", "the list is empty") : MILLET_OK;
}

static bool is_possible(const struct mlt_tensor *tensor, mlt_dtype dtype)
{
    return tensor->ne[0] % mlt_dtype_info(dtype)->block_length == 0 &&
           mlt_dtype_row_bytes(dtype, tensor->ne[0]) < tensor->row_bytes;
}

/* The types that this matrix could get, but its own. */
static size_t candidates_of(const struct run *r, const struct mlt_tensor *tensor, mlt_dtype *out)
{
    size_t n = 0;
    if (mlt_dtype_info(tensor->dtype)->quantised && !r->options->allow_requantize) return 0;
    for (size_t i = 0; i < r->n_candidates; i++)
        if (is_possible(tensor, r->candidates[i])) out[n++] = r->candidates[i];
    if (r->n_candidates) return n;
    bool wide = tensor->ne[0] % 256 == 0;
    const char *const *names = wide ? of_256 : of_32;
    for (size_t i = 0; i < (wide ? MLT_COUNT(of_256) : MLT_COUNT(of_32)); i++) {
        mlt_dtype dtype;
        if (mlt_dtype_by_name(names[i], &dtype) && is_possible(tensor, dtype)) out[n++] = dtype;
    }
    return n;
}

static int by_bytes(const void *a, const void *b)
{
    const millet_sensitivity_type *x = a, *y = b;
    if (x->bytes != y->bytes) return x->bytes < y->bytes ? -1 : 1;
    return strcmp(x->type, y->type);
}

static millet_status add_tensor(struct run *r, size_t index, millet_error *err)
{
    struct mlt_sensitivity *table = r->table;
    const struct mlt_tensor *tensor = &r->probe.model->checkpoint->tensors[index];
    mlt_dtype dtypes[MAX_TYPES + 1];
    size_t n = candidates_of(r, tensor, dtypes), at = table->public.n_tensors++;
    millet_sensitivity_type *types = mlt_arena_alloc(&table->arena, n + 1, sizeof *types, err);
    char *name = mlt_arena_text(&table->arena, tensor->name.data, tensor->name.length, err);
    if (!types || !name) return MILLET_NO_MEMORY;
    for (size_t k = 0; k < n; k++)
        types[k] =
            (millet_sensitivity_type){.type = mlt_dtype_info(dtypes[k])->name,
                                      .bytes = mlt_dtype_row_bytes(dtypes[k], tensor->ne[0]) * tensor->rows,
                                      .error = NAN,
                                      .kl = NAN};
    qsort(types, n, sizeof *types, by_bytes);
    types[n] = (millet_sensitivity_type){
        .type = mlt_dtype_info(tensor->dtype)->name, .bytes = tensor->bytes, .measured = true};
    r->place[at] = index;
    table->types[at] = types;
    table->tensors[at] = (millet_sensitivity_tensor){
        .name = name, .type = types[n].type, .bytes = tensor->bytes, .n_types = n + 1, .types = types};
    for (int k = 0; k < tensor->n_dims; k++)
        table->tensors[at].shape[k] = tensor->ne[k];
    return MILLET_OK;
}

static millet_status make_table(struct run *r, const char *path, millet_error *err)
{
    const struct mlt_checkpoint *checkpoint = r->probe.model->checkpoint;
    size_t n = checkpoint->n_tensors;
    struct mlt_sensitivity *table = r->table = mlt_alloc_zero(&r->allocator, 1, sizeof *table, err);
    if (!table) return MILLET_NO_MEMORY;
    mlt_arena_init(&table->arena, &r->allocator);
    table->tensors = mlt_arena_alloc(&table->arena, n, sizeof *table->tensors, err);
    table->types = mlt_arena_alloc(&table->arena, n, sizeof *table->types, err);
    r->place = mlt_alloc(&r->allocator, n, sizeof *r->place, err);
    char *name = mlt_arena_text(&table->arena, path, strlen(path), err);
    if (!table->tensors || !table->types || !r->place || !name) return MILLET_NO_MEMORY;
    table->public = (millet_sensitivity){.model = name,
                                         .n_tokens = r->probe.n_tokens,
                                         .fingerprint = r->probe.fingerprint,
                                         .tensors = table->tensors};
    for (size_t i = 0; i < n; i++)
        if (mlt_quantize_applies(&checkpoint->tensors[i])) MLT_TRY(add_tensor(r, i, err));
    return MILLET_OK;
}

/* ---- Estimates ---- */

/* Of measured types with an error, the nearest and the next in ln error; SIZE_MAX: there is none. */
static void find_near(const millet_sensitivity_type *types, size_t n, double error, size_t near[2])
{
    near[0] = near[1] = SIZE_MAX;
    for (size_t k = 0; k < n; k++) {
        if (!types[k].measured || !(types[k].error > 0) || !(types[k].kl > 0)) continue;
        double distance = fabs(log(types[k].error / error));
        if (near[0] == SIZE_MAX || distance < fabs(log(types[near[0]].error / error))) {
            near[1] = near[0];
            near[0] = k;
        } else if (near[1] == SIZE_MAX || distance < fabs(log(types[near[1]].error / error))) {
            near[1] = k;
        }
    }
}

void mlt_sensitivity_estimate(millet_sensitivity_type *types, size_t n)
{
    for (size_t k = 0; k < n; k++) {
        millet_sensitivity_type *type = &types[k];
        if (type->measured) continue;
        type->kl = 0;
        size_t near[2];
        if (!(type->error > 0)) continue;
        find_near(types, n, type->error, near);
        if (near[0] == SIZE_MAX) continue;
        const millet_sensitivity_type *a = &types[near[0]];
        double slope = 1;
        if (near[1] != SIZE_MAX) {
            const millet_sensitivity_type *b = &types[near[1]];
            double span = log(b->error / a->error);
            if (fabs(span) > 0.1) slope = fmin(fmax(log(b->kl / a->kl) / span, 0.5), 2);
        }
        type->kl = a->kl * pow(type->error / a->error, slope);
    }
}

/* ---- Measuring ---- */

/* Whether type k of n (its own apart) is among those to measure. */
static bool is_chosen(const millet_sensitivity_tensor *tensor, size_t n_measured, size_t k)
{
    size_t n = tensor->n_types - 1, near = 0;
    if (n_measured >= n) return true;
    if (n_measured > FEW) { /* evenly */
        for (size_t i = 0; i < n_measured; i++)
            if (i * (n - 1) / (n_measured - 1) == k) return true;
        return false;
    }
    double elements = 1, wanted = n_measured == FEW ? 4.5 : 3.5; /* bits */
    for (int d = 0; d < MILLET_PLAN_DIMS && tensor->shape[d]; d++)
        elements *= (double)tensor->shape[d];
    for (size_t i = 1; i < n; i++)
        if (fabs(8 * (double)tensor->types[i].bytes / elements - wanted) <
            fabs(8 * (double)tensor->types[near].bytes / elements - wanted))
            near = i;
    if (n_measured == FEW && near == 0) near = n - 1;
    return k == near || (n_measured == FEW && k == 0);
}

static void settle_measured(struct run *r)
{
    double elements = 0, matrices = 0;
    const millet_sensitivity *s = &r->table->public;
    for (size_t i = 0; i < s->n_tensors; i++) {
        const struct mlt_tensor *tensor = &r->probe.model->checkpoint->tensors[r->place[i]];
        elements += (double)tensor->rows * (double)tensor->ne[0];
        matrices += (double)(s->tensors[i].n_types - 1);
    }
    double work = elements * matrices * (double)s->n_tokens;
    r->n_measured = r->options->n_measured ? (size_t)r->options->n_measured
                    : work <= LITTLE_WORK  ? (size_t)MAX_TYPES
                                           : (size_t)FEW;
    for (size_t i = 0; i < s->n_tensors; i++)
        for (size_t k = 0; k + 1 < s->tensors[i].n_types; k++)
            r->total += is_chosen(&s->tensors[i], r->n_measured, k) ? MEASURING : 1;
}

static millet_status save(struct run *r, bool now, millet_error *err)
{
    if (!r->options->cache || (!now && mlt_clock_seconds() - r->saved < SAVE_SECONDS)) return MILLET_OK;
    r->saved = mlt_clock_seconds();
    return mlt_sensitivity_write(r->table, &r->allocator, r->options->cache, err);
}

static millet_status advance(struct run *r, size_t steps, millet_error *err)
{
    r->done += steps;
    if (!r->options->progress ||
        r->options->progress(r->options->context, (double)r->done / (double)MLT_MAX(r->total, 1)))
        return save(r, false, err);
    MLT_TRY(save(r, true, err));
    return mlt_fail(err, MILLET_CANCELLED, "cancelled with %.0f%% measured",
                    100 * (double)r->done / (double)MLT_MAX(r->total, 1));
}

static millet_status measure_type(struct run *r, size_t i, size_t k, millet_error *err)
{
    millet_sensitivity_type *type = &r->table->types[i][k];
    bool chosen = is_chosen(&r->table->tensors[i], r->n_measured, k);
    struct mlt_encode_error error;
    mlt_dtype dtype;
    if (!isfinite(type->error) || (chosen && !type->measured)) {
        if (!mlt_dtype_by_name(type->type, &dtype)) return MILLET_INTERNAL;
        MLT_TRY(mlt_probe_round(&r->probe, r->place[i], dtype, &error, err));
        type->error = error.squares > 0 ? error.difference / error.squares : 0;
        if (chosen) MLT_TRY(mlt_probe_measure(&r->probe, r->place[i], &type->kl, err));
        type->measured = chosen;
    }
    return advance(r, chosen ? MEASURING : 1, err);
}

static millet_status measure_all(struct run *r, millet_error *err)
{
    millet_sensitivity *s = &r->table->public;
    settle_measured(r);
    r->saved = mlt_clock_seconds();
    for (size_t i = 0; i < s->n_tensors; i++)
        for (size_t k = 0; k + 1 < s->tensors[i].n_types; k++)
            MLT_TRY(measure_type(r, i, k, err));
    MLT_TRY(save(r, true, err));
    for (size_t i = 0; i < s->n_tensors; i++) {
        for (size_t k = 0; k + 1 < s->tensors[i].n_types; k++)
            *(r->table->types[i][k].measured ? &s->n_measured : &s->n_estimated) += 1;
        mlt_sensitivity_estimate(r->table->types[i], s->tensors[i].n_types - 1);
    }
    return MILLET_OK;
}

static millet_status check_options(const struct run *r, millet_error *err)
{
    const millet_sensitivity_options *o = r->options;
    if (!o->text) return wrong(err, "text", "a text is needed to measure divergence on");
    if (o->n_ctx && (o->n_ctx < 8 || o->n_ctx > 1 << 24))
        return wrong(err, "n_ctx", "8 tokens of a window or more are needed; 0: automatic");
    if (o->max_tokens < 0) return wrong(err, "max_tokens", "0 (1024) or more is needed");
    if (o->n_measured < 0) return wrong(err, "n_measured", "0 (automatic) or more is needed");
    if (o->n_threads < 0 || o->n_threads > MLT_MAX_THREADS)
        return wrong(err, "n_threads", "0 (one for each CPU) to 256 are possible");
    return MILLET_OK;
}

static millet_status run(struct run *r, const char *path, millet_error *err)
{
    const millet_sensitivity_options *o = r->options;
    struct mlt_checkpoint *checkpoint = NULL;
    MLT_TRY(check_options(r, err));
    MLT_TRY(read_candidates(r, err));
    MLT_TRY(mlt_open_any(&r->allocator, path, o->tokenizer_path, &checkpoint, err));
    const struct mlt_probe_options probe = {.text = o->text,
                                            .text_length = o->text_length,
                                            .n_ctx = o->n_ctx,
                                            .max_tokens = o->max_tokens,
                                            .n_threads = o->n_threads};
    MLT_TRY(mlt_probe_open(&r->probe, &r->allocator, checkpoint, &probe, err));
    MLT_TRY(make_table(r, path, err));
    if (o->cache) MLT_TRY(mlt_sensitivity_read(r->table, &r->allocator, o->cache, err));
    return measure_all(r, err);
}

millet_status millet_sensitivity_measure(const char *model, const millet_sensitivity_options *options,
                                         millet_sensitivity **sensitivity, millet_error *err)
{
    struct run r = {.options = options};
    r.allocator = options->allocator ? *options->allocator : *mlt_default_allocator();
    r.probe.allocator = r.allocator;
    *sensitivity = NULL;
    millet_status status = run(&r, model, err);
    mlt_probe_close(&r.probe);
    mlt_free(&r.allocator, r.place);
    millet_sensitivity *made = r.table ? &r.table->public : NULL;
    if (status == MILLET_OK)
        *sensitivity = made;
    else
        millet_sensitivity_free(&made);
    return status;
}

void millet_sensitivity_free(millet_sensitivity **handle)
{
    if (!*handle) return;
    struct mlt_sensitivity *table = (struct mlt_sensitivity *)(void *)*handle;
    millet_allocator allocator = table->arena.allocator;
    mlt_arena_release(&table->arena);
    mlt_free(&allocator, table);
    *handle = NULL;
}
