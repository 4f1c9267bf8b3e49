/*
 * Choosing one of several types for every tensor: the least total loss whose sizes and seconds fit into a
 * budget. (A multiple-choice knapsack with two constraints.)
 *
 * First Lagrange multipliers, a price for a byte and one for a second, by bisection: at given prices every
 * tensor chooses by itself, and the price of what is over budget rises. What that leaves unfilled, the second
 * part fills: partial choices, tensor by tensor, of which those are dropped that another is better than in
 * everything, or that cannot become better than the best that is known, by the bound that the prices give.
 * Where more than `width` are left, those with the best bounds go on; the answer is then very good, and else
 * the best there is.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_PLAN_KNAPSACK_H
#define MLT_PLAN_KNAPSACK_H

#include "base/memory.h"

struct mlt_choice {
    uint64_t bytes;
    double seconds, loss; /* finite, >= 0 */
};

struct mlt_knapsack {
    size_t n_groups;
    const struct mlt_choice *const *choices; /* [n_groups][n_choices[group]] */
    const size_t *n_choices;                 /* >= 1 */
    uint64_t most_bytes;                     /* UINT64_MAX: any number */
    double most_seconds;                     /* INFINITY: any number */
    size_t width;                            /* partial choices that go on from group to group; 0: 4096 */
};

struct mlt_knapsack_answer {
    uint64_t bytes;
    double seconds, loss;
    bool best; /* no other is better */
};

/*
 * Fills picked[n_groups]. BAD_ARGUMENT where nothing fits: then *answer has the least bytes and the least
 * seconds, each by itself, that the choices allow. NO_MEMORY.
 */
millet_status mlt_knapsack_solve(const millet_allocator *allocator, const struct mlt_knapsack *knapsack,
                                 uint32_t *picked, struct mlt_knapsack_answer *answer, millet_error *err);

#endif
