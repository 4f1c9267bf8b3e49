/*
 * When to propose tokens and how many: arithmetic on what was seen, without models or clocks of its own.
 *
 * A step of 1 + n tokens gives at least one token, and one more for each proposal that is accepted, as far as
 * all before it were. With chance[i] that proposal i is accepted when those before it were, and seconds(m)
 * for a step of m tokens, n proposals make
 *
 *     (1 + chance[0] + chance[0] chance[1] + ... ) / (seconds(1 + n) + seconds to propose)
 *
 * tokens a second; the n with the greatest rate is chosen (Leviathan et al., 2023, weigh the same sum against
 * a fixed cost). Chances and seconds are running means of what happened: where batches are dear, or proposals
 * bad, n becomes 0.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_PACE_H
#define MLT_PACE_H

#include "base/base.h"

enum { MLT_MAX_DRAFT = 32 };

/* The chance that a proposal of one kind is accepted: a mean that forgets. */
struct mlt_chance {
    float hits, trials;
};

static inline struct mlt_chance mlt_chance_prior(float chance, float weight)
{
    return (struct mlt_chance){chance * weight, weight};
}

static inline float mlt_chance_value(struct mlt_chance chance)
{
    return chance.hits / chance.trials;
}

static inline void mlt_chance_learn(struct mlt_chance *chance, bool hit)
{
    const float keep = 0.97f; /* the last 30 or so count */
    chance->hits = keep * chance->hits + (hit ? 1.0f : 0.0f);
    chance->trials = keep * chance->trials + 1.0f;
}

struct mlt_pace {
    double step[MLT_MAX_DRAFT + 2]; /* [m] seconds of a step of m tokens; 0: not known */
    int32_t plain_steps; /* steps without proposals, counted up to the few that there must be first */
    int32_t since_plain; /* steps since the last of them */
    double further;      /* seconds of each further token in a step of a size that was never tried; a guess */
    double propose;      /* seconds in which a model proposes one token */
    double catch_up; /* seconds in which that model computes a token that others have chosen, in a batch */
    double profit;   /* tokens that a round of such proposals brings above what its time is worth */
    bool has_read;   /* the model has been asked in this text */
    double purse;    /* seconds that may be spent on trying whether proposals have become good */
};

/*
 * Another text. What steps cost is known already; a model is given credit again, unless it did not pay in the
 * last one. A new pace is all zeros.
 */
void mlt_pace_start(struct mlt_pace *pace);

/* Tokens of a prompt took so long: what a step of several tokens may cost. */
void mlt_pace_learn_prompt(struct mlt_pace *pace, int32_t tokens, double seconds);
/* A step of `tokens` tokens took so long. */
void mlt_pace_learn_step(struct mlt_pace *pace, int32_t tokens, double seconds);
/* Seconds of a step, also of sizes that were never tried (then a hopeful guess); 0 before the first step. */
double mlt_pace_step(const struct mlt_pace *pace, int32_t tokens);

/*
 * How many of n proposals to take, and the tokens a second that are expected then; `propose` is what one
 * costs in seconds. 0 when no number is expected to gain at least 3%.
 */
int32_t mlt_pace_choose(const struct mlt_pace *pace, const float *chance, int32_t n, double propose,
                        double *rate);

/* ---- Proposals of a model, which cost time whether they are taken or not ---- */

/* The model has computed `behind` tokens of others and proposed `count`. */
void mlt_pace_learn_propose(struct mlt_pace *pace, int32_t behind, int32_t count, double seconds);

/*
 * Whether the model is asked, of whose proposals the part `chance` were right and that may make n. No where
 * even with luck nothing could be gained. Yes while its rounds have paid; after that only when 4% of the time
 * without it covers an attempt. The same purse pays for the `behind` tokens that it has to compute first, but
 * for a text that it has credit for.
 */
bool mlt_pace_wants_model(const struct mlt_pace *pace, float chance, int32_t n, int32_t behind);

/*
 * A round has given `tokens` tokens: its step took `step` seconds, the model `spent` seconds before it (0: it
 * was not asked), `reading` of them for a text that it had not read, which is no part of what rounds cost.
 */
void mlt_pace_learn_round(struct mlt_pace *pace, int32_t tokens, double step, double spent, double reading);

#endif
