/*
 * The forward pass as plainly as it can be written: double arithmetic, the C library's functions, the whole
 * text at once, nothing kept. The oracle of src/model/forward.c.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_NAIVE_FORWARD_H
#define MLT_NAIVE_FORWARD_H

#include "model/model.h"

/* logits[n][n_vocab] of a text of n tokens in a context of n_ctx positions. */
void naive_forward(const millet_model *model, const int32_t *tokens, int32_t n, int32_t n_ctx,
                   double *logits);
/* The same where the first `prefix` positions see each other in both directions. */
void naive_forward_prefix(const millet_model *model, const int32_t *tokens, int32_t n, int32_t prefix,
                          int32_t n_ctx, double *logits);

#endif
