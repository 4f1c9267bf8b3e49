/* SPDX-License-Identifier: Apache-2.0 */
#include "eval/windows.h"

#include <string.h>

/* Where a window begins in the text, and its size. False at the end of the text. */
static bool advance(struct mlt_windows *w, struct mlt_window *window, int64_t *begin)
{
    int32_t bos = w->bos >= 0;
    if (w->second_half) {
        /* Windows of the text with BOS in front; in each the first token gives way to BOS. */
        *begin = w->next;
        int32_t taken = w->next == 0 ? w->n_ctx - bos : w->n_ctx;
        if (w->n_ids - w->next < taken) return false;
        w->next += taken;
        if (bos && *begin > 0) (*begin)++;
        window->count = w->n_ctx;
        window->first = w->n_ctx / 2 + 1;
        return true;
    }
    if (w->next >= w->n_ids) return false;
    int64_t repeated = MLT_MIN(w->next, (int64_t)w->overlap);
    *begin = w->next - repeated;
    int64_t taken = MLT_MIN(w->n_ids - *begin, (int64_t)(w->n_ctx - bos));
    w->next = *begin + taken;
    window->count = (int32_t)taken + bos;
    window->first = (int32_t)MLT_MAX(repeated + bos, (int64_t)1);
    return true;
}

bool mlt_windows_next(struct mlt_windows *windows, int32_t *tokens, struct mlt_window *window)
{
    int64_t begin;
    if (!advance(windows, window, &begin)) return false;
    int32_t bos = windows->bos >= 0;
    if (bos) tokens[0] = windows->bos;
    memcpy(tokens + bos, windows->ids + begin, sizeof *tokens * (size_t)(window->count - bos));
    return true;
}

void mlt_windows_count(struct mlt_windows windows, int64_t *n_windows, int64_t *n_scored)
{
    struct mlt_window window;
    int64_t begin;
    *n_windows = *n_scored = 0;
    while (advance(&windows, &window, &begin)) {
        ++*n_windows;
        *n_scored += window.count - window.first;
    }
}
