/*
 * Stop strings in streamed text: what is given out never contains a part of one, wherever the text is cut.
 *
 * The end is where the first stop string begins in the whole text: text that may be the beginning of one is
 * held until it is known, and so is a stop string that was found while an earlier one is still possible.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_STOP_H
#define MLT_STOP_H

#include "base/base.h"

enum {
    MLT_MAX_STOPS = 16,
    MLT_MAX_STOP_LENGTH = 256,
    MLT_MAX_FINISH = 16, /* what mlt_decode_finish may add at the end */
};

struct mlt_stop_filter {
    const char *const *stops;
    size_t n_stops, lengths[MLT_MAX_STOPS];
    char *held; /* the caller's: MLT_MAX_STOP_LENGTH plus the longest piece plus MLT_MAX_FINISH bytes */
    size_t n_held;
};

/* Checks the stop strings, which must outlive the filter: BAD_ARGUMENT for too many, empty and long ones. */
millet_status mlt_stop_init(struct mlt_stop_filter *filter, const char *const *stops, size_t n_stops,
                            char *held, millet_error *err);

/* Adds text (whole UTF-8 characters) at the end. */
void mlt_stop_push(struct mlt_stop_filter *filter, const char *text, size_t length);

/*
 * Says how much of held[0 .. n_held) may be given out; true when a stop string follows there. `last`: no text
 * comes after this.
 */
bool mlt_stop_scan(const struct mlt_stop_filter *filter, bool last, size_t *ready);

/* Forgets what has been given out. */
void mlt_stop_drop(struct mlt_stop_filter *filter, size_t length);

#endif
