/*
 * A table of what rounding costs: being measured, and in its file.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_SENSITIVITY_H
#define MLT_SENSITIVITY_H

#include "base/memory.h"
#include "millet/plan.h"
#include "tensor/dtype.h"

/* The public struct is the first member. */
struct mlt_sensitivity {
    millet_sensitivity public;
    struct mlt_arena arena;
    millet_sensitivity_tensor *tensors; /* public.tensors */
    millet_sensitivity_type **types;    /* [n_tensors]: their types; errors and kl NAN: not known yet */
};

/*
 * Takes from the file what it knows of the table's tensors and types; a file that does not exist knows
 * nothing. Errors: BAD_ARGUMENT (of another model or text), those of reading JSON.
 */
millet_status mlt_sensitivity_read(struct mlt_sensitivity *table, const millet_allocator *allocator,
                                   const char *path, millet_error *err);
/* Writes what was measured so far; atomic. */
millet_status mlt_sensitivity_write(const struct mlt_sensitivity *table, const millet_allocator *allocator,
                                    const char *path, millet_error *err);

/*
 * Fills the types of a tensor that were not measured by those that were: ln kl is linear in ln error between
 * two that were measured, and beyond them; with one, kl is in proportion to the error.
 */
void mlt_sensitivity_estimate(millet_sensitivity_type *types, size_t n_types);

#endif
