/*
 * Sums over the inputs of a model's matrices, gathered while it computes.
 *
 * Matrices that are multiplied with the same input share its sums. A sum is formed in the order of the
 * tokens, whatever the threads.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_INPUT_SUMS_H
#define MLT_INPUT_SUMS_H

#include "format/imatrix.h"
#include "millet/lab.h"
#include "model/forward.h"

struct mlt_input_sums;

/* `gram_bytes` 0: no grams. `pool` computes grams; it and the model must outlive the sums. Errors: NO_MEMORY.
 */
millet_status mlt_input_sums_open(const millet_allocator *allocator, const millet_model *model,
                                  uint64_t gram_bytes, struct mlt_thread_pool *pool,
                                  struct mlt_input_sums **out, millet_error *err);
void mlt_input_sums_close(struct mlt_input_sums **sums);

/* A mlt_product_observer; the context are the sums. */
void mlt_input_sums_observe(void *sums, const float *x, int64_t ldx, int64_t tokens,
                            const struct mlt_product *products, int n_products);

/* What an importance file is written from, valid until the sums are closed. BAD_FORMAT: an input is not
 * finite. */
millet_status mlt_input_sums_finish(struct mlt_input_sums *sums, const struct mlt_importance_sums **entries,
                                    size_t *n_entries, millet_error *err);
/* Fills all of the result but the perplexity. */
void mlt_input_sums_counts(const struct mlt_input_sums *sums, millet_calibration *result);

#endif
