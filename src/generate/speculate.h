/*
 * Speculation: cheap guesses at the next tokens, which the model verifies in one step of several tokens.
 *
 * The sampler is driven with the model's own logits, row after row, as without guesses; a guess is accepted
 * exactly when it is the token that the sampler chose, and with the first that is not, the rest are dropped.
 * Since logits do not depend on how tokens are cut into batches, what is generated is the same bit for bit;
 * guesses decide how long it takes (greedy: Stern et al., 2018; Leviathan et al., 2023).
 *
 * Guesses come from the text itself, where its last tokens have stood before (ngram.h), or from a smaller
 * model with the same vocabulary. That model is sampled with the generation's own options and next random
 * numbers, so that where its distribution is near the model's the same token is drawn, at any temperature.
 * How many guesses are worth their time is judged from what was accepted and how long things took (pace.h).
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_SPECULATE_H
#define MLT_SPECULATE_H

#include "base/thread_pool.h"
#include "generate/pace.h"
#include "millet/millet.h"

enum { MLT_DEFAULT_DRAFT = 8 };

struct mlt_speculation;

/*
 * Checks draft, n_draft and lookup of the session's options and says how many proposals a step has at most;
 * 0: there is no speculation. Errors: BAD_ARGUMENT (a number out of range; a draft model whose vocabulary
 * differs).
 */
millet_status mlt_speculation_check(const millet_model *model, const millet_session_options *options,
                                    int32_t *n_draft, millet_error *err);

/* What mlt_speculation_open would allocate. `options` are definite but for n_logits, and have been checked.
 */
millet_status mlt_speculation_estimate(const millet_model *model, const millet_session_options *options,
                                       millet_memory *memory, millet_error *err);
/*
 * Opens what `options` ask for, with a session for the draft model that uses the threads of `pool` (NULL: the
 * caller alone). The pool must outlive it.
 */
millet_status mlt_speculation_open(const millet_allocator *allocator, const millet_model *model,
                                   const millet_session_options *options, struct mlt_thread_pool *pool,
                                   struct mlt_speculation **out, millet_error *err);
void mlt_speculation_close(struct mlt_speculation **speculation);

/* Makes what is kept for sequence `to` a copy of what is kept for `from`. */
void mlt_speculation_copy(struct mlt_speculation *speculation, int32_t from, int32_t to);

/* A generation begins: the session's sequence has its prompt. */
void mlt_speculation_start(struct mlt_speculation *speculation, const millet_session *session,
                           int32_t sequence);

/*
 * A round. First proposals for what follows the sequence's last token, at most `room`: returns their number,
 * *proposed are the speculation's until the next round. Then the caller computes (and says so at once, which
 * is when the clock is read), gives each token that the sampler chose, in order, until the answer is false:
 * the row of logits after that token was not computed. Last, with the session's sequence as it is now, the
 * end.
 */
int32_t mlt_speculation_propose(struct mlt_speculation *speculation, const millet_session *session,
                                int32_t room, const int32_t **proposed);
void mlt_speculation_computed(struct mlt_speculation *speculation);
bool mlt_speculation_chosen(struct mlt_speculation *speculation, int32_t token);
void mlt_speculation_end(struct mlt_speculation *speculation, const millet_session *session);

/* Since the start: proposals that were verified, and those that were chosen. */
void mlt_speculation_counts(const struct mlt_speculation *speculation, int32_t *drafted, int32_t *accepted);

#endif
