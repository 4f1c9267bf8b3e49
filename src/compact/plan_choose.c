/* millet_plan_choose: from sensitivities and a budget to a plan. SPDX-License-Identifier: Apache-2.0 */
#include "compact/plan_build.h"
#include "compact/plan_knapsack.h"
#include "compact/plan_memory.h"
#include "compact/plan_speed.h"
#include "import/open_any.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { CORRECTIONS = 4 };

struct run {
    millet_allocator allocator;
    const char *model;
    const millet_sensitivity *table;
    const millet_budget *budget;
    const millet_quantize_options *options;
    millet_quantized *as_it_is; /* every tensor copied: the layout */
    uint64_t alignment;
    uint64_t fixed;                /* of the file: all but the matrices, with the zeros after them */
    struct mlt_plan_memory memory; /* without the file */
    struct mlt_plan_speed speed;   /* where there is a profile */
    struct mlt_choice *choices;    /* of all matrices, one after the other */
    const struct mlt_choice **rows;
    size_t *counts;
    uint32_t *picked;
    double seconds; /* of the picked, for a token */
    struct mlt_plan *plan;
};

static millet_status wrong_model(const struct run *r, const char *name, millet_error *err)
{
    return mlt_fail_at(err, MILLET_BAD_ARGUMENT, r->model, name, MILLET_NO_OFFSET,
                       "the sensitivities are of another model, %s", r->table->model);
}

/* ---- What there is ---- */

static millet_status read_layout(struct run *r, millet_error *err)
{
    static const char *const all[] = {"*"};
    millet_quantize_options copy = *r->options;
    copy.plan = NULL;
    copy.dry_run = true;
    copy.keep = all;
    copy.n_keep = 1;
    copy.type = NULL;
    copy.split_bytes = 0;
    return millet_quantize(r->model, NULL, &copy, &r->as_it_is, err);
}

static millet_status read_model(struct run *r, millet_error *err)
{
    struct mlt_checkpoint *checkpoint = NULL;
    const uint32_t usual = 32;
    uint32_t alignment = usual;
    MLT_TRY(mlt_open_any(&r->allocator, r->model, r->options->tokenizer_path, &checkpoint, err));
    millet_status status = mlt_meta_get_u32(checkpoint, "general.alignment", &usual, &alignment, err);
    r->alignment = alignment;
    if (status == MILLET_OK && r->budget->profile)
        status = mlt_plan_speed_open(&r->speed, r->budget->profile, checkpoint, err);
    if (status == MILLET_OK && r->budget->memory_bytes)
        return mlt_plan_memory(&r->allocator, checkpoint, r->budget->memory_ctx, r->options->n_threads,
                               &r->memory, err);
    mlt_checkpoint_close(&checkpoint);
    return status;
}

/* The matrices of the table stand in the layout in the same order. */
static millet_status make_choices(struct run *r, millet_error *err)
{
    const millet_sensitivity *s = r->table;
    size_t total = 0, at = 0, used = 0;
    for (size_t i = 0; i < s->n_tensors; i++)
        total += s->tensors[i].n_types;
    r->choices = mlt_alloc(&r->allocator, total, sizeof *r->choices, err);
    r->rows = mlt_alloc(&r->allocator, s->n_tensors, sizeof *r->rows, err);
    r->counts = mlt_alloc(&r->allocator, s->n_tensors, sizeof *r->counts, err);
    r->picked = mlt_alloc(&r->allocator, s->n_tensors, sizeof *r->picked, err);
    if (!r->choices || !r->rows || !r->counts || !r->picked) return MILLET_NO_MEMORY;
    r->fixed = r->as_it_is->file_bytes;
    for (size_t i = 0; i < s->n_tensors; i++) {
        const millet_sensitivity_tensor *tensor = &s->tensors[i];
        while (at < r->as_it_is->n_tensors && strcmp(r->as_it_is->tensors[at].name, tensor->name) != 0)
            at++;
        if (at == r->as_it_is->n_tensors || r->as_it_is->tensors[at].bytes_before != tensor->bytes)
            return wrong_model(r, tensor->name, err);
        r->fixed -= mlt_round_up(tensor->bytes, r->alignment);
        r->rows[i] = &r->choices[used];
        r->counts[i] = tensor->n_types;
        for (size_t k = 0; k < tensor->n_types; k++)
            r->choices[used++] = (struct mlt_choice){
                .bytes = mlt_round_up(tensor->types[k].bytes, r->alignment), .loss = tensor->types[k].kl};
    }
    return MILLET_OK;
}

/* ---- Choosing ---- */

/* Bytes that the matrices may have; UINT64_MAX: any number. */
static uint64_t most_bytes(const struct run *r)
{
    uint64_t most = UINT64_MAX, file = r->budget->file_bytes, memory = r->budget->memory_bytes;
    if (file) most = file > r->fixed ? file - r->fixed : 0;
    uint64_t around = r->fixed + r->memory.bytes;
    if (memory) most = MLT_MIN(most, memory > around ? memory - around : 0);
    return most;
}

/* The smallest budget that would do. */
static millet_status fail_budget(const struct run *r, uint64_t least, millet_error *err)
{
    uint64_t file = r->fixed + least, memory = file + r->memory.bytes;
    if (r->budget->file_bytes && file > r->budget->file_bytes)
        return mlt_fail_at(err, MILLET_BAD_ARGUMENT, NULL, "budget", MILLET_NO_OFFSET,
                           "no choice of types gives a file of %llu bytes; the smallest that would do is "
                           "file=%llu (%.2f MB)",
                           (unsigned long long)r->budget->file_bytes, (unsigned long long)file,
                           (double)file * 1e-6);
    return mlt_fail_at(
        err, MILLET_BAD_ARGUMENT, NULL, "budget", MILLET_NO_OFFSET,
        "no choice of types runs in %llu bytes with a context of %d; the smallest that would do "
        "is ram=%llu@%d (%.2f MB), of which %.2f MB are not weights",
        (unsigned long long)r->budget->memory_bytes, r->memory.n_ctx, (unsigned long long)memory,
        r->memory.n_ctx, (double)memory * 1e-6, (double)r->memory.bytes * 1e-6);
}

/* Seconds of all choices, where as many bytes of weights are read for each token as were picked. */
static millet_status time_choices(struct run *r, uint64_t set_bytes, millet_error *err)
{
    size_t at = 0;
    for (size_t i = 0; i < r->table->n_tensors; i++) {
        const millet_sensitivity_tensor *tensor = &r->table->tensors[i];
        for (size_t k = 0; k < tensor->n_types; k++)
            MLT_TRY(mlt_plan_speed_seconds(&r->speed, tensor, tensor->types[k].type, set_bytes,
                                           &r->choices[at++].seconds, err));
    }
    return MILLET_OK;
}

/* The fastest that the choices allow, by the seconds at hand. */
static millet_status fail_speed(const struct run *r, double least_seconds, bool alone, millet_error *err)
{
    /* A little less: what is picked is read from more memory than the least there is. */
    double fastest = 0.98 / (least_seconds + r->speed.overhead);
    double unit = pow(10, floor(log10(fastest)) - 2);
    if (alone)
        return mlt_fail_at(err, MILLET_BAD_ARGUMENT, NULL, "budget", MILLET_NO_OFFSET,
                           "no choice of types is predicted to generate %.4g tokens a second; the most that "
                           "would do is speed=%.6g",
                           r->budget->tokens_per_second, floor(fastest / unit) * unit);
    return mlt_fail_at(err, MILLET_BAD_ARGUMENT, NULL, "budget", MILLET_NO_OFFSET,
                       "no choice of types meets both the size and the speed of %.4g tokens a second, though "
                       "each alone can be met; allow a larger file or a lower speed",
                       r->budget->tokens_per_second);
}

static millet_status fill_plan(struct run *r, millet_error *err)
{
    MLT_TRY(mlt_plan_from_result(&r->allocator, r->model, r->as_it_is, &r->plan, err));
    size_t at = 0;
    r->plan->public.kl = 0;
    for (size_t i = 0; i < r->table->n_tensors; i++) {
        const millet_sensitivity_tensor *tensor = &r->table->tensors[i];
        const millet_sensitivity_type *type = &tensor->types[r->picked[i]];
        while (strcmp(r->plan->tensors[at].name, tensor->name) != 0)
            at++;
        millet_plan_tensor *to = &r->plan->tensors[at];
        to->type = mlt_arena_text(&r->plan->arena, type->type, strlen(type->type), err);
        if (!to->type) return MILLET_NO_MEMORY;
        to->bytes = type->bytes;
        to->kl = type->kl;
        if (r->budget->profile) to->seconds = r->rows[i][r->picked[i]].seconds;
        r->plan->public.kl += type->kl;
    }
    return MILLET_OK;
}

/* The size of the file that the quantiser would write. */
static millet_status size_plan(struct run *r, millet_error *err)
{
    millet_quantize_options dry = *r->options;
    millet_quantized *result = NULL;
    dry.plan = &r->plan->public;
    dry.dry_run = true;
    MLT_TRY(millet_quantize(r->model, NULL, &dry, &result, err));
    r->plan->public.file_bytes = result->file_bytes;
    millet_quantized_free(&result);
    if (r->budget->memory_bytes) {
        r->plan->public.memory_bytes = r->plan->public.file_bytes + r->memory.bytes;
        r->plan->public.memory_ctx = r->memory.n_ctx;
    }
    return MILLET_OK;
}

static void drop_plan(struct run *r)
{
    millet_plan *plan = r->plan ? &r->plan->public : NULL;
    millet_plan_free(&plan);
    r->plan = NULL;
}

static millet_status solve(struct run *r, double most_seconds, struct mlt_knapsack_answer *answer,
                           millet_error *err)
{
    const struct mlt_knapsack k = {.n_groups = r->table->n_tensors,
                                   .choices = r->rows,
                                   .n_choices = r->counts,
                                   .most_bytes = most_bytes(r),
                                   .most_seconds = most_seconds};
    millet_status status = mlt_knapsack_solve(&r->allocator, &k, r->picked, answer, err);
    if (status != MILLET_BAD_ARGUMENT) return status;
    if (answer->bytes > k.most_bytes) return fail_budget(r, answer->bytes, err);
    return fail_speed(r, answer->seconds, answer->seconds > most_seconds, err);
}

/* How fast weights are read depends on how many there are: chosen, timed by what was chosen, chosen again. */
static millet_status choose_types(struct run *r, millet_error *err)
{
    enum { ROUNDS = 6 };
    struct mlt_knapsack_answer answer;
    double wanted = r->budget->tokens_per_second;
    if (!r->budget->profile) return solve(r, INFINITY, &answer, err);
    uint64_t set_bytes = 0;
    for (size_t i = 0; i < r->table->n_tensors; i++)
        set_bytes += r->rows[i][0].bytes;
    for (int i = 0; i < ROUNDS; i++) {
        MLT_TRY(time_choices(r, set_bytes, err));
        double most = wanted > 0 ? 1 / wanted - r->speed.overhead : INFINITY;
        MLT_TRY(solve(r, most, &answer, err));
        MLT_TRY(time_choices(r, answer.bytes, err));
        double seconds = 0;
        for (size_t k = 0; k < r->table->n_tensors; k++)
            seconds += r->rows[k][r->picked[k]].seconds;
        r->seconds = seconds;
        if (seconds <= most) return MILLET_OK;
        set_bytes = MLT_MAX(set_bytes, answer.bytes);
    }
    return fail_speed(r, r->seconds, true, err);
}

static millet_status choose(struct run *r, millet_error *err)
{
    MLT_TRY(choose_types(r, err));
    MLT_TRY(fill_plan(r, err));
    if (r->budget->profile) r->plan->public.tokens_per_second = 1 / (r->seconds + r->speed.overhead);
    return size_plan(r, err);
}

static millet_status run(struct run *r, millet_error *err)
{
    MLT_TRY(read_layout(r, err));
    MLT_TRY(read_model(r, err));
    MLT_TRY(make_choices(r, err));
    /* What the quantiser adds to the metadata of a file with other types is seen afterwards. */
    for (int i = 0; i < CORRECTIONS; i++) {
        drop_plan(r);
        MLT_TRY(choose(r, err));
        const millet_plan *plan = &r->plan->public;
        uint64_t over = 0;
        if (r->budget->file_bytes && plan->file_bytes > r->budget->file_bytes)
            over = plan->file_bytes - r->budget->file_bytes;
        if (r->budget->memory_bytes && plan->memory_bytes > r->budget->memory_bytes)
            over = MLT_MAX(over, plan->memory_bytes - r->budget->memory_bytes);
        if (over == 0) return MILLET_OK;
        r->fixed += over;
    }
    return mlt_fail(err, MILLET_INTERNAL, "the size of a file that follows the plan could not be predicted");
}

millet_status millet_plan_choose(const char *model, const millet_sensitivity *sensitivity,
                                 const millet_budget *budget, const millet_quantize_options *options,
                                 millet_plan **plan, millet_error *err)
{
    millet_quantize_options defaults = millet_quantize_options_default();
    struct run r = {
        .model = model, .table = sensitivity, .budget = budget, .options = options ? options : &defaults};
    r.allocator = r.options->allocator ? *r.options->allocator : *mlt_default_allocator();
    *plan = NULL;
    millet_status status = run(&r, err);
    if (status != MILLET_OK) drop_plan(&r);
    if (r.plan) *plan = &r.plan->public;
    millet_quantized_free(&r.as_it_is);
    mlt_free(&r.allocator, r.choices);
    mlt_free(&r.allocator, r.rows);
    mlt_free(&r.allocator, r.counts);
    mlt_free(&r.allocator, r.picked);
    return status;
}
