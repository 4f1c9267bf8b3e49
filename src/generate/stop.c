/* SPDX-License-Identifier: Apache-2.0 */
#include "generate/stop.h"

#include <string.h>

millet_status mlt_stop_init(struct mlt_stop_filter *filter, const char *const *stops, size_t n_stops,
                            char *held, millet_error *err)
{
    *filter = (struct mlt_stop_filter){.stops = stops, .n_stops = stops ? n_stops : 0, .held = held};
    if (filter->n_stops > MLT_MAX_STOPS)
        return mlt_fail_at(err, MILLET_BAD_ARGUMENT, NULL, "stop", MILLET_NO_OFFSET,
                           "%zu stop strings; at most %d are possible", n_stops, MLT_MAX_STOPS);
    for (size_t i = 0; i < filter->n_stops; i++) {
        size_t length = stops[i] ? strnlen(stops[i], MLT_MAX_STOP_LENGTH + 1) : 0;
        if (length == 0 || length > MLT_MAX_STOP_LENGTH)
            return mlt_fail_at(err, MILLET_BAD_ARGUMENT, NULL, "stop", MILLET_NO_OFFSET,
                               "stop string %zu is %s; 1 to %d bytes are possible", i,
                               length ? "too long" : "empty", MLT_MAX_STOP_LENGTH);
        filter->lengths[i] = length;
    }
    return MILLET_OK;
}

void mlt_stop_push(struct mlt_stop_filter *filter, const char *text, size_t length)
{
    if (length) memcpy(filter->held + filter->n_held, text, length);
    filter->n_held += length;
}

/* Stop strings that are not UTF-8 may begin inside a character: it is held, or dropped, as a whole. */
static size_t character_start(const char *text, size_t at)
{
    while (at > 0 && ((unsigned char)text[at] & 0xc0) == 0x80)
        at--;
    return at;
}

bool mlt_stop_scan(const struct mlt_stop_filter *filter, bool last, size_t *ready)
{
    for (size_t at = 0; at < filter->n_held && filter->n_stops; at++) {
        size_t rest = filter->n_held - at;
        bool possible = false;
        for (size_t i = 0; i < filter->n_stops; i++) {
            size_t length = filter->lengths[i];
            if (memcmp(filter->held + at, filter->stops[i], MLT_MIN(rest, length)) != 0) continue;
            if (length <= rest) {
                *ready = character_start(filter->held, at);
                return true;
            }
            possible = true;
        }
        if (possible && !last) {
            *ready = character_start(filter->held, at);
            return false;
        }
    }
    *ready = filter->n_held;
    return false;
}

void mlt_stop_drop(struct mlt_stop_filter *filter, size_t length)
{
    filter->n_held -= length;
    memmove(filter->held, filter->held + length, filter->n_held);
}
