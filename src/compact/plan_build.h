/*
 * Plans in memory: one that is being made, and the memory behind it.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_PLAN_BUILD_H
#define MLT_PLAN_BUILD_H

#include "base/memory.h"
#include "millet/plan.h"

/* The public struct is the first member. */
struct mlt_plan {
    millet_plan public;
    millet_plan_tensor *tensors; /* public.tensors */
    struct mlt_arena arena;      /* tensors and strings */
};

/* Room for n tensors, all zero but the NANs. Released by millet_plan_free. */
millet_status mlt_plan_new(const millet_allocator *allocator, const char *model, uint64_t n_tensors,
                           struct mlt_plan **out, millet_error *err);

/* The types, shapes and bytes of a dry run of millet_quantize. */
millet_status mlt_plan_from_result(const millet_allocator *allocator, const char *model,
                                   const millet_quantized *result, struct mlt_plan **out, millet_error *err);

#endif
