/*
 * Shares of two models on the same questions, compared in pairs.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_PAIRED_H
#define MLT_PAIRED_H

#include "millet/tasks.h"

/* How often both, only the first, only the second and neither were right; and chose the same. */
struct mlt_pairs {
    int64_t both, first, second, neither, same;
};

void mlt_pairs_add(struct mlt_pairs *pairs, bool first, bool second, bool same);
/* All of it; without a base only `right` is known. */
millet_task_share mlt_pairs_share(const struct mlt_pairs *pairs, bool with_base);

/* n > 0 independent pairs. */
int64_t mlt_pairs_count(const struct mlt_pairs *pairs);
/* The first's share - the second's, with the interval of Agresti and Min (2005): half a pair added to each of
 * the four. */
millet_interval mlt_pairs_difference(const struct mlt_pairs *pairs);
/* The first's share / the second's, with the interval of Bonett and Price (2006) for ratios of paired shares;
 * NAN where the second's is 0. */
millet_interval mlt_pairs_ratio(const struct mlt_pairs *pairs);

#endif
