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
#include "generate/speculate.h"
#include "generate/stop.h"
#include "model/forward.h"

enum { MLT_MAX_BEST = 64 };

struct millet_session {
    millet_allocator allocator;
    const millet_model *model;
    struct mlt_forward *forward;
    struct mlt_speculation *speculation; /* NULL: none */
    millet_sampler *sampler;             /* of millet_generate: has room for every choice of options */
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

/*
 * millet_estimate and millet_session_open for a session whose forward pass shall use the threads of another:
 * of `pool`, NULL where those are the caller alone.
 */
millet_status mlt_session_estimate(const millet_model *model, const millet_session_options *options,
                                   bool lent_threads, millet_memory *memory, millet_error *err);
millet_status mlt_session_open_with(const millet_model *model, const millet_session_options *options,
                                    struct mlt_thread_pool *pool, millet_session **session,
                                    millet_error *err);

/* The tokens of a sequence, session->length[sequence] of them; room for n_ctx. */
static inline int32_t *mlt_session_tokens(const millet_session *session, int32_t sequence)
{
    return session->tokens + (size_t)sequence * (size_t)session->options.n_ctx;
}

/* Adds tokens (in range, and with room for them: the caller has checked) to a sequence without computing
 * them. */
void mlt_session_append(millet_session *session, int32_t sequence, const int32_t *tokens, size_t count);

/*
 * Computes all tokens of a sequence (at least one) that are not computed yet, and in the same batch what may
 * follow them: ahead[0 .. n_ahead), n_ahead < n_logits, for which the context has room. Returns n_ahead + 1
 * rows of logits, n_vocab floats each: after the sequence's last token, and after each one ahead. They are
 * valid until the next computation. The tokens ahead are not added to the sequence; mlt_session_settle must
 * follow.
 */
const float *mlt_session_compute(millet_session *session, int32_t sequence, const int32_t *ahead,
                                 int32_t n_ahead);
/* Forgets what was computed from position `length` on, as for tokens ahead that were wrong. */
void mlt_session_settle(millet_session *session, int32_t sequence, int32_t length);

#endif
