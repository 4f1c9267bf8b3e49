/*
 * Plans: which type each tensor of a compacted model gets. A plan is a readable JSON file that can be edited
 * and applied. Part of libmillet-lab; the conventions of millet.h hold here too. docs/plan.md has the whole.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MILLET_PLAN_H
#define MILLET_PLAN_H

#include "millet/lab.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { MILLET_PLAN_DIMS = 4 };

typedef struct millet_plan_tensor {
    const char *name;
    const char *type;                /* its dtype in the output: "Q4_K", "F32", ... */
    int64_t shape[MILLET_PLAN_DIMS]; /* as in GGUF, the row's length first; 0s at the end: fewer dimensions;
                                        all 0: not said */
    uint64_t bytes;                  /* in that type; 0: not said */
    /* Of that tensor alone, NAN where it was not measured: the mean divergence in nats that rounding it
     * causes, and the seconds that it takes for a generated token. */
    double kl, seconds;
} millet_plan_tensor;

typedef struct millet_plan {
    const char *model; /* the path that it was made for, or "" */
    uint64_t n_tensors;
    const millet_plan_tensor *tensors;
    uint64_t file_bytes;   /* of one GGUF file; 0: not said */
    uint64_t memory_bytes; /* when it runs with a context of memory_ctx tokens; 0: not said */
    int32_t memory_ctx;
    double kl;                /* sum over tensors: an estimate of the whole; NAN: not measured */
    double tokens_per_second; /* of generation, predicted; NAN: not said */
} millet_plan;

/*
 * Reads a plan. `allocator` NULL: the C library's. Members that are not known are left alone, "bytes", "kl"
 * and the like need not be there: name and type are enough. Errors: NOT_FOUND, IO, BAD_FORMAT (no JSON; a
 * tensor without name or type, or twice; names what), UNSUPPORTED (a version after this one), NO_MEMORY.
 */
MILLET_API millet_status millet_plan_read(const millet_allocator *allocator, const char *path,
                                          millet_plan **plan, millet_error *err);

/* Writes it, a tensor a line; atomic, as all files. Errors: IO, NO_MEMORY. */
MILLET_API millet_status millet_plan_write(const millet_plan *plan, const char *path, millet_error *err);

/*
 * The plan that millet_quantize follows with these options, to be looked at, edited, applied. Where they have
 * a plan, that one with shapes and bytes as they are; what it says of divergence and seconds is kept of
 * tensors, not of the whole. Errors: those of millet_quantize before it writes.
 */
MILLET_API millet_status millet_plan_of(const char *model, const millet_quantize_options *options,
                                        millet_plan **plan, millet_error *err);

/* Nulls the handle; nothing for NULL. */
MILLET_API void millet_plan_free(millet_plan **plan);

#ifdef __cplusplus
}
#endif
#endif
