/*
 * Grammars and the tokens that they allow.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_GRAMMAR_MASK_H
#define MLT_GRAMMAR_MASK_H

#include "millet/grammar.h"

/* Whether it was opened for the tokens of this model. */
bool mlt_grammar_is_for(const millet_grammar *grammar, const millet_model *model);

/* Copies logits[n_vocab] to out; those of tokens that are not allowed become NaN, which no sampler draws.
 * Errors: those of millet_grammar_allowed; UNSUPPORTED (no token of the vocabulary can go on with the text).
 */
millet_status mlt_grammar_mask(millet_grammar *grammar, const float *logits, float *out, millet_error *err);

#endif
