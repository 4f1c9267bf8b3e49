/* Plans in memory. SPDX-License-Identifier: Apache-2.0 */
#include "compact/plan_build.h"

#include <math.h>
#include <string.h>

millet_status mlt_plan_new(const millet_allocator *allocator, const char *model, uint64_t n_tensors,
                           struct mlt_plan **out, millet_error *err)
{
    *out = NULL;
    struct mlt_plan *plan = mlt_alloc_zero(allocator, 1, sizeof *plan, err);
    if (!plan) return MILLET_NO_MEMORY;
    mlt_arena_init(&plan->arena, allocator);
    plan->tensors = mlt_arena_alloc(&plan->arena, (size_t)n_tensors, sizeof *plan->tensors, err);
    char *name = mlt_arena_text(&plan->arena, model, strlen(model), err);
    millet_plan *public = &plan->public;
    if (!plan->tensors || !name) {
        millet_plan_free(&public);
        return MILLET_NO_MEMORY;
    }
    plan->public = (millet_plan){
        .model = name, .n_tensors = n_tensors, .tensors = plan->tensors, .kl = NAN, .tokens_per_second = NAN};
    for (uint64_t i = 0; i < n_tensors; i++)
        plan->tensors[i] = (millet_plan_tensor){.name = "", .type = "", .kl = NAN, .seconds = NAN};
    *out = plan;
    return MILLET_OK;
}

millet_status mlt_plan_from_result(const millet_allocator *allocator, const char *model,
                                   const millet_quantized *result, struct mlt_plan **out, millet_error *err)
{
    MLT_TRY(mlt_plan_new(allocator, model, result->n_tensors, out, err));
    struct mlt_plan *plan = *out;
    plan->public.file_bytes = result->file_bytes;
    for (uint64_t i = 0; i < result->n_tensors; i++) {
        const millet_quantized_tensor *from = &result->tensors[i];
        millet_plan_tensor *to = &plan->tensors[i];
        to->name = mlt_arena_text(&plan->arena, from->name, strlen(from->name), err);
        to->type = from->to; /* static text */
        to->bytes = from->bytes_after;
        memcpy(to->shape, from->shape, sizeof to->shape);
        if (to->name) continue;
        millet_plan *public = &plan->public;
        millet_plan_free(&public);
        *out = NULL;
        return MILLET_NO_MEMORY;
    }
    return MILLET_OK;
}

/* Figures that no dry run gives, from an older form of the plan. Both have the order of the file, or an
 * edited one. */
static void keep_figures(struct mlt_plan *plan, const millet_plan *old)
{
    uint64_t at = 0;
    for (uint64_t i = 0; i < plan->public.n_tensors; i++) {
        millet_plan_tensor *to = &plan->tensors[i];
        for (uint64_t tries = 0; tries < old->n_tensors; tries++) {
            const millet_plan_tensor *from = &old->tensors[at];
            at = (at + 1) % old->n_tensors;
            if (strcmp(from->name, to->name) != 0) continue;
            to->kl = from->kl;
            to->seconds = from->seconds;
            break;
        }
    }
}

millet_status millet_plan_of(const char *model, const millet_quantize_options *options, millet_plan **plan,
                             millet_error *err)
{
    millet_quantize_options dry = options ? *options : millet_quantize_options_default();
    dry.dry_run = true;
    *plan = NULL;
    millet_quantized *result = NULL;
    MLT_TRY(millet_quantize(model, NULL, &dry, &result, err));
    struct mlt_plan *made = NULL;
    const millet_allocator *allocator = dry.allocator ? dry.allocator : mlt_default_allocator();
    millet_status status = mlt_plan_from_result(allocator, model, result, &made, err);
    millet_quantized_free(&result);
    if (status != MILLET_OK) return status;
    if (dry.plan) keep_figures(made, dry.plan);
    *plan = &made->public;
    return MILLET_OK;
}

void millet_plan_free(millet_plan **handle)
{
    if (!*handle) return;
    struct mlt_plan *plan = (struct mlt_plan *)(void *)*handle;
    millet_allocator allocator = plan->arena.allocator;
    mlt_arena_release(&plan->arena);
    mlt_free(&allocator, plan);
    *handle = NULL;
}
