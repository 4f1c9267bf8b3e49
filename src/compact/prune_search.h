/*
 * How many parts of each kind to keep for a number of parameters: what costs the least loss for each
 * parameter goes first.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_PRUNE_SEARCH_H
#define MLT_PRUNE_SEARCH_H

#include "compact/prune_select.h"

/* The loss and the number of parameters of the model that is left with these counts, all of them above 0. */
struct mlt_prune_trial {
    void *context;
    millet_status (*run)(void *context, const struct mlt_prune_counts *counts, double *loss,
                         uint64_t *parameters, millet_error *err);
};

/*
 * From the whole model on, one step after the other until at most `most` parameters are left: one layer, one
 * key head with its query heads, one query head of each key head, a sixteenth of the feed-forward or of the
 * width (in multiples of 32 where there are 128 and more, as block types want them) is tried, and the step
 * that raises the loss least for each parameter it removes is taken. Counts that `fixed` sets (not 0) stay.
 * BAD_ARGUMENT, naming "parameters", where even the least of all is more.
 */
millet_status mlt_prune_search(const struct mlt_config *config, const struct mlt_prune_counts *fixed,
                               uint64_t most, struct mlt_prune_trial trial, struct mlt_prune_counts *out,
                               millet_error *err);

#endif
