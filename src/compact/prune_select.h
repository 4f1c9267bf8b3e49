/*
 * Which parts of a decoder stay: a choice by importance, for given numbers of each.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_PRUNE_SELECT_H
#define MLT_PRUNE_SELECT_H

#include "compact/prune_importance.h"

/* Numbers to keep; 0: as many as there are. */
struct mlt_prune_counts {
    int32_t layers, heads, kv_heads, feed_forward, width;
};

/* What stays, as numbers in the old model, each list rising. All lists lie in the arena given to mlt_select.
 */
struct mlt_prune_selection {
    int32_t n_layers, n_heads, n_kv_heads, n_ff, n_embd, n_vocab;
    int32_t *layers;       /* [n_layers] */
    int32_t *heads;        /* [n_layers][n_heads], each key head's one after the other */
    int32_t *kv_heads;     /* [n_layers][n_kv_heads] */
    int32_t *feed_forward; /* [n_layers][n_ff] */
    int32_t *width;        /* [n_embd] */
    int32_t *vocabulary;   /* [n_vocab], or NULL: all of them */
    float *norm_scale;     /* [MLT_PRUNE_NORMS * n_layers + 1] what norms' weights are multiplied by */
};

/*
 * Completes `counts`, and checks them against the model. Errors: BAD_ARGUMENT, whose item is the option's
 * name in millet_prune_options.
 */
millet_status mlt_prune_counts_check(const struct mlt_config *config, struct mlt_prune_counts *counts,
                                     millet_error *err);

/*
 * Chooses the most important parts. Heads go with their key head: key heads by the importance of their
 * groups, then in each the same number of query heads. Where the kinds of layers alternate (windows, rope),
 * the kept ones are chosen so that each has the kind that its new place asks for. A norm over fewer channels
 * divides by another mean square: its weight is multiplied by what this was measured to change (Muralidharan
 * et al. leave that to retraining).
 *
 * `random`: instead of the importance each part gets a random number of this seed, to compare with; 0: no.
 */
millet_status mlt_select(const struct mlt_config *config, const struct mlt_importance *importance,
                         const struct mlt_prune_counts *counts, uint64_t random, struct mlt_arena *arena,
                         struct mlt_prune_selection *out, millet_error *err);

/* The channels' importance over all norms that stay; out [n_embd]. */
void mlt_width_importance(const struct mlt_importance *importance,
                          const struct mlt_prune_selection *selection, double *out);

#endif
