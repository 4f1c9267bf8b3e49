/* SPDX-License-Identifier: Apache-2.0 */
#include "generate/pace.h"

/* The first round with a model is believed to bring some of a token: it takes several bad ones to give up. */
static const double FIRST_PROFIT = 0.4;
/*
 * A guess for sizes that were never tried: what each further token costs, in parts of the first. It begins
 * with what a token of a prompt cost, and becomes hopeful in a hundred steps: the first prompt may have
 * waited for a file.
 */
static const double HOPED_SLOPE = 0.1, HOPE_GROWS = 0.97;
/* Luck that a model which proposes is given credit for before it has shown what it can do. */
static const float HOPED_CHANCE = 0.85f;
/* What chances and times are not exact enough to tell from nothing. */
static const double WORTH_WHILE = 1.03;
/* Steps without proposals before there are any, in a new session; and how seldom they may become later. */
enum { PLAIN_STEPS_FIRST = 3, PLAIN_STEP_EVERY = 100 };
/* Part of the time that attempts may cost. */
static const double TRIAL_SHARE = 0.04;
/* What may be saved up for them, in steps of one token. */
static const double PURSE_STEPS = 256;
/* A guess: what a token costs in a batch, in parts of what it costs alone. */
static const double BATCHED_COST = 0.25;

void mlt_pace_start(struct mlt_pace *pace)
{
    if (pace->has_read && pace->profit <= 0) return; /* it has to earn also the reading of this text */
    pace->profit = FIRST_PROFIT;
    pace->has_read = false;
}

void mlt_pace_learn_prompt(struct mlt_pace *pace, int32_t tokens, double seconds)
{
    enum { ENOUGH = 8 };
    if (tokens >= ENOUGH) pace->further = seconds / tokens;
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
    pace->further *= HOPE_GROWS;
    /* What is not tried looks better with time, so that it is tried again: the machine may have changed. */
    for (int32_t m = 2; m <= MLT_MAX_DRAFT + 1; m++)
        if (m != tokens && pace->step[m] > pace->step[1]) pace->step[m] -= pace->step[m] / 4096;
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
    double slope = MLT_MIN(MLT_MAX(pace->further, HOPED_SLOPE * one), one);
    if (below > 1) slope = MLT_MAX(slope, (start - one) / (below - 1) / 2);
    return start + slope * further;
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
    if (count == 0 || seconds <= 0) return;
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

bool mlt_pace_wants_model(const struct mlt_pace *pace, float chance, int32_t n, int32_t behind)
{
    float chances[MLT_MAX_DRAFT];
    double rate;
    for (int32_t i = 0; i < n; i++)
        chances[i] = MLT_MAX(chance, HOPED_CHANCE);
    if (mlt_pace_choose(pace, chances, n, pace->propose, &rate) == 0) return false;
    enum { FEW = 2 }; /* what is behind after every round */
    double needed = 0;
    if (pace->has_read && behind > FEW) needed += behind * pace->catch_up;
    if (pace->profit <= 0) needed += mlt_pace_step(pace, 3) - mlt_pace_step(pace, 1) + 2 * pace->propose;
    return needed == 0 || pace->purse >= needed;
}

void mlt_pace_learn_round(struct mlt_pace *pace, int32_t tokens, double step, double spent, double reading)
{
    double one = mlt_pace_step(pace, 1);
    if (one <= 0) return;
    pace->purse = MLT_MIN(pace->purse + TRIAL_SHARE * one * tokens, PURSE_STEPS * one);
    if (spent == 0) return;
    double profit = tokens - (step + spent - reading) / one;
    double loss = pace->profit <= 0 ? MLT_MAX(step + spent - reading - tokens * one, 0) : 0;
    pace->purse -= loss + (pace->has_read ? reading : 0);
    pace->purse = MLT_MAX(pace->purse, -PURSE_STEPS * one);
    pace->has_read = true;
    pace->profit += 0.05 * (MLT_MAX(profit, -4.0) - pace->profit);
}
