/* SPDX-License-Identifier: Apache-2.0 */
#include "generate/pace.h"

/* The first round with a model is believed to bring some of a token: it takes several bad ones to give up. */
static const double FIRST_PROFIT = 0.4;
/* A guess for sizes that were never tried: each further token costs a tenth of the first. */
static const double HOPED_SLOPE = 0.1;
/* What chances and times are not exact enough to tell from nothing. */
static const double WORTH_WHILE = 1.03;
/* Steps without proposals before there are any, in a new session; and how seldom they may become later. */
enum { PLAIN_STEPS_FIRST = 3, PLAIN_STEP_EVERY = 100 };
/* Part of the time that attempts may cost. */
static const double TRIAL_SHARE = 0.04;
/* A guess: what a token costs in a batch, in parts of what it costs alone. */
static const double BATCHED_COST = 0.25;

void mlt_pace_start(struct mlt_pace *pace)
{
    pace->profit = FIRST_PROFIT;
    pace->purse = 0;
}

/* A running mean that a single interruption by another process does not carry far. */
static void learn_seconds(double *mean, double seconds, double up, double down)
{
    if (*mean == 0)
        *mean = seconds;
    else if (seconds > *mean)
        *mean += up * (MLT_MIN(seconds, 3 * *mean) - *mean);
    else
        *mean += down * (seconds - *mean);
}

void mlt_pace_learn_step(struct mlt_pace *pace, int32_t tokens, double seconds)
{
    if (seconds <= 0) return;
    /* What is not tried looks better with time, so that it is tried again: the machine may have changed. */
    for (int32_t m = 2; m <= MLT_MAX_DRAFT + 1; m++)
        if (m != tokens) pace->step[m] -= pace->step[m] / 4096;
    /* In doubt a plain step is quick and a longer one is slow: wrong the other way, time would be lost. */
    if (tokens == 1) {
        pace->plain_steps += pace->plain_steps < PLAIN_STEPS_FIRST;
        pace->since_plain = 0;
        learn_seconds(&pace->step[1], seconds, 0.1, 0.3);
    } else {
        pace->since_plain++;
        learn_seconds(&pace->step[tokens], seconds, 0.5, 0.25);
    }
}

double mlt_pace_step(const struct mlt_pace *pace, int32_t tokens)
{
    if (pace->step[tokens] > 0) return pace->step[tokens];
    int32_t below = tokens - 1, above = tokens + 1;
    while (below > 0 && pace->step[below] == 0)
        below--;
    while (above <= MLT_MAX_DRAFT + 1 && pace->step[above] == 0)
        above++;
    bool has_above = above <= MLT_MAX_DRAFT + 1;
    if (below == 0) return has_above ? pace->step[above] : 0;
    double start = pace->step[below], further = tokens - below;
    if (has_above) return start + (pace->step[above] - start) * further / (above - below);
    double one = pace->step[1] > 0 ? pace->step[1] : start;
    return start + HOPED_SLOPE * one * further;
}

/* Everything is measured by what a step without proposals takes. */
static bool must_be_plain(const struct mlt_pace *pace)
{
    return pace->plain_steps < PLAIN_STEPS_FIRST || pace->since_plain >= PLAIN_STEP_EVERY;
}

int32_t mlt_pace_choose(const struct mlt_pace *pace, const float *chance, int32_t n, double propose,
                        double *rate)
{
    double one = mlt_pace_step(pace, 1), reach = 1, tokens = 1;
    int32_t best = 0;
    *rate = 0;
    if (must_be_plain(pace)) return 0;
    double least = WORTH_WHILE / one;
    for (int32_t i = 0; i < n; i++) {
        reach *= (double)chance[i];
        tokens += reach;
        double expected = tokens / (mlt_pace_step(pace, i + 2) + (i + 1) * propose);
        if (expected <= least) continue;
        least = *rate = expected;
        best = i + 1;
    }
    return best;
}

void mlt_pace_learn_propose(struct mlt_pace *pace, int32_t behind, int32_t count, double seconds)
{
    if (count == 0) return;
    int32_t extra = MLT_MAX(behind - 1, 0); /* the last of them is computed for the first proposal */
    if (pace->propose == 0) {
        pace->propose = seconds / (count + BATCHED_COST * extra);
        pace->catch_up = BATCHED_COST * pace->propose;
    } else if (extra <= 1) {
        learn_seconds(&pace->propose, seconds / count, 0.2, 0.2);
    } else {
        double rest = MLT_MAX(seconds - pace->propose * count, 0) / extra;
        learn_seconds(&pace->catch_up, MLT_MIN(rest, pace->propose), 0.2, 0.2);
    }
}

bool mlt_pace_wants_model(const struct mlt_pace *pace, int32_t behind)
{
    if (must_be_plain(pace)) return false;
    if (pace->profit > 0) return true;
    double trial = mlt_pace_step(pace, 3) - mlt_pace_step(pace, 1) + 2 * pace->propose;
    return pace->purse >= trial + behind * pace->catch_up;
}

void mlt_pace_learn_round(struct mlt_pace *pace, int32_t tokens, double seconds, double spent)
{
    double one = mlt_pace_step(pace, 1);
    if (spent > 0 && pace->profit <= 0) pace->purse = 0;
    if (spent == 0) pace->purse += TRIAL_SHARE * one * tokens;
    if (seconds <= 0 || one <= 0) return;
    double profit = tokens - seconds / one;
    pace->profit += 0.05 * (MLT_MAX(profit, -4.0) - pace->profit);
}
