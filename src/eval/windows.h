/*
 * Windows of a text: which tokens a model sees together, and which of them are scored.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_WINDOWS_H
#define MLT_WINDOWS_H

#include "base/base.h"

struct mlt_windows {
    const int32_t *ids; /* of the text, without BOS */
    int64_t n_ids;
    int32_t n_ctx;    /* tokens of a window */
    int32_t overlap;  /* of them, repeated from the window before; < n_ctx minus one for BOS */
    int32_t bos;      /* begins each window; -1: none */
    bool second_half; /* llama.cpp's way */
    int64_t next;     /* first token of the text that has not been in a window; 0 to begin */
};

struct mlt_window {
    int32_t count; /* tokens */
    int32_t first; /* tokens [first, count) are scored; >= 1; may be count: none */
};

/* Writes the next window's tokens[n_ctx] and goes on; false where the text is at its end. */
bool mlt_windows_next(struct mlt_windows *windows, int32_t *tokens, struct mlt_window *window);

/* How many windows there are, and how many tokens they score together. */
void mlt_windows_count(struct mlt_windows windows, int64_t *n_windows, int64_t *n_scored);

#endif
