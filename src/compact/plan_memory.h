/*
 * The memory that a model takes when it runs, but for the file that is mapped.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_PLAN_MEMORY_H
#define MLT_PLAN_MEMORY_H

#include "format/checkpoint.h"

struct mlt_plan_memory {
    int32_t n_ctx;
    uint64_t bytes; /* keys and values, the session, the opened model, the program itself */
};

/*
 * Opens the model to see what that takes. n_ctx 0: 4096, or the trained context if that is less. Owns the
 * checkpoint. Errors: those of opening a model, BAD_ARGUMENT (n_ctx).
 */
millet_status mlt_plan_memory(const millet_allocator *allocator, struct mlt_checkpoint *checkpoint,
                              int32_t n_ctx, int32_t n_threads, struct mlt_plan_memory *out,
                              millet_error *err);

#endif
