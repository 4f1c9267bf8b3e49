/* Greedy search for counts. SPDX-License-Identifier: Apache-2.0 */
#include "compact/prune_search.h"

#include <math.h>

enum { STEPS = 5, PARTS_OF_ALL = 16, BLOCK = 32, MANY = 128 };

/* A sixteenth less, down to a multiple of a block. */
static int32_t less(int32_t now, int32_t all)
{
    int32_t unit = all >= MANY ? BLOCK : 1, step = MLT_MAX(unit, all / PARTS_OF_ALL);
    return now > step ? MLT_MAX(unit, (now - step) / unit * unit) : now;
}

/* Takes step `step`; false where there is nothing more to take, or it is not to be touched. */
static bool take_step(const struct mlt_config *c, const struct mlt_prune_counts *fixed, int step,
                      struct mlt_prune_counts *n)
{
    struct mlt_prune_counts before = *n;
    int32_t group = n->heads / n->kv_heads;
    switch (step) {
    case 0:
        if (!fixed->layers) n->layers -= n->layers > 1;
        break;
    case 1:
        if (!fixed->kv_heads && !fixed->heads && n->kv_heads > 1) {
            n->kv_heads--;
            n->heads -= group;
        }
        break;
    case 2:
        if (!fixed->heads && group > 1) n->heads -= n->kv_heads;
        break;
    case 3:
        if (!fixed->feed_forward) n->feed_forward = less(n->feed_forward, c->n_ff);
        break;
    default:
        if (!fixed->width) n->width = less(n->width, c->n_embd);
        break;
    }
    return n->layers != before.layers || n->heads != before.heads || n->feed_forward != before.feed_forward ||
           n->width != before.width;
}

struct state {
    struct mlt_prune_counts counts;
    double loss;
    uint64_t parameters;
};

static millet_status try_counts(struct mlt_prune_trial trial, struct state *s, millet_error *err)
{
    MLT_TRY(trial.run(trial.context, &s->counts, &s->loss, &s->parameters, err));
    if (isfinite(s->loss)) return MILLET_OK;
    return mlt_fail(err, MILLET_BAD_FORMAT, "the loss of a pruned model is not a finite number");
}

millet_status mlt_prune_search(const struct mlt_config *config, const struct mlt_prune_counts *fixed,
                               uint64_t most, struct mlt_prune_trial trial, struct mlt_prune_counts *out,
                               millet_error *err)
{
    struct state now = {.counts = *fixed};
    MLT_TRY(mlt_prune_counts_check(config, &now.counts, err));
    MLT_TRY(try_counts(trial, &now, err));
    while (now.parameters > most) {
        struct state best = now;
        double best_price = INFINITY;
        for (int step = 0; step < STEPS; step++) {
            struct state next = now;
            if (!take_step(config, fixed, step, &next.counts)) continue;
            MLT_TRY(try_counts(trial, &next, err));
            if (next.parameters >= now.parameters) continue;
            double price = (next.loss - now.loss) / (double)(now.parameters - next.parameters);
            if (price >= best_price) continue;
            best = next;
            best_price = price;
        }
        if (best_price == INFINITY)
            return mlt_fail_at(err, MILLET_BAD_ARGUMENT, NULL, "parameters", MILLET_NO_OFFSET,
                               "%llu cannot be met: the least that can be left has %llu",
                               (unsigned long long)most, (unsigned long long)now.parameters);
        now = best;
    }
    *out = now.counts;
    return MILLET_OK;
}
