/*
 * A session: the tokens of every sequence, the forward pass over their cache, and all memory that generating
 * needs, taken in one block when the session is opened.
 *
 * A sequence may hold tokens whose keys and values are not computed yet: the last token that millet_generate
 * chose needs computing only if something follows it. What is missing is made up for in the next computation.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_SESSION_H
#define MLT_SESSION_H

#include "generate/sampler.h"
#include "generate/stop.h"
#include "model/forward.h"

enum { MLT_MAX_BEST = 64 };

struct millet_session {
    millet_allocator allocator;
    const millet_model *model;
    struct mlt_forward *forward;
    millet_sampler *sampler; /* of millet_generate: has room for every choice of options */
    struct mlt_forward_options options;
    int32_t *tokens; /* [n_sequences][n_ctx] */
    int32_t *length; /* [n_sequences] tokens, computed or not */
    int32_t *given;  /* [n_sequences] tokens that a computation at hand has put into batches, or will add */
    millet_item *batch; /* [n_batch] */
    float *logits;      /* [n_logits][n_vocab] */
    int32_t n_rows;     /* rows of logits that are valid */
    float *row;         /* [n_vocab]: log-probabilities */
    char *held;         /* [held_size]: text that may turn out to belong to a stop string */
    size_t held_size;
};

/* Adds tokens (in range, and with room for them: the caller has checked) to a sequence without computing
 * them. */
void mlt_session_append(millet_session *session, int32_t sequence, const int32_t *tokens, size_t count);

/*
 * Computes all tokens of a sequence (at least one) that are not computed yet and returns the logits after the
 * last one, n_vocab floats, valid until the next computation.
 */
const float *mlt_session_compute(millet_session *session, int32_t sequence);

#endif
