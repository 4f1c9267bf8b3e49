/*
 * A plan beside the checkpoint that it is to be applied to.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_PLAN_TYPES_H
#define MLT_PLAN_TYPES_H

#include "compact/quantize_types.h"
#include "millet/plan.h"

/*
 * The dtype of every tensor of the checkpoint in dtypes[n_tensors]. Errors, naming the tensor: NOT_FOUND (the
 * checkpoint does not have it), BAD_ARGUMENT (named twice; a matrix that the plan leaves out; no type of
 * weights; rows that are no multiple of its blocks; another shape than the plan says; a tensor that is no
 * matrix and would change), NO_MEMORY.
 */
millet_status mlt_plan_types(const millet_plan *plan, const struct mlt_checkpoint *checkpoint,
                             const millet_allocator *allocator, mlt_dtype *dtypes, millet_error *err);

/* The type to be named in general.file_type: that of most elements. */
const struct mlt_quantize_type *mlt_plan_main_type(const struct mlt_checkpoint *checkpoint,
                                                   const mlt_dtype *dtypes);

#endif
