/*
 * Texts written by a model, always with its most probable token, for several prompts at once; what prompts
 * have in common is computed once. Bit for bit what each would get alone.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_GREEDY_H
#define MLT_GREEDY_H

#include "eval/answers.h"

struct mlt_written {
    struct mlt_text text; /* its allocator is set by the caller, who releases it */
    int32_t n_tokens;
    bool ended;         /* by an end token or by `enough` */
    int32_t last, n_in; /* the newest token, and how many are in its sequence */
    struct mlt_decode_state state;
};

/* Whether a text needs no more; it may be cut. */
typedef bool mlt_enough(struct mlt_text *text);

/* How many prompts are taken together. */
int32_t mlt_greedy_width(const struct mlt_answering *answering);

/*
 * Goes on with prompts[n <= width] of counts[i] >= 1 tokens until end token, `enough`, max_tokens or the end
 * of the context. Errors: BAD_FORMAT (NaN), NO_MEMORY.
 */
millet_status mlt_greedy_write(struct mlt_answering *answering, int32_t *const *prompts,
                               const int32_t *counts, int32_t n, int32_t max_tokens, mlt_enough *enough,
                               struct mlt_written *written, millet_error *err);

#endif
