/*
 * Events: in the store, from and to iCalendar files (RFC 5545), and the times at which repeated ones take
 * place.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_ASSISTANT_CALENDAR_H
#define MLT_ASSISTANT_CALENDAR_H

#include "assistant/assistant_state.h"

struct mlt_event {
    int64_t id;
    char uid[256], title[256], place[256];
    int64_t starts, ends; /* milliseconds since 1970 */
    bool whole_day;
    char rule[160]; /* of repetition, "" for none: FREQ, INTERVAL, COUNT, UNTIL and BYDAY of weeks are heeded
                     */
};

/* Keeps an event under its UID; "" makes one of `id`. Sets event->id. */
millet_status mlt_event_keep(millet_assistant *assistant, struct mlt_event *event, millet_error *err);

/* The first time at which an event takes place that ends after `from` and begins before `to`; its start goes
 * to *starts. */
bool mlt_event_occurs(const millet_assistant *assistant, const struct mlt_event *event, int64_t from,
                      int64_t to, int64_t *starts);

/* Events that take place within [from, to), in order of their time, with starts and ends moved there; `title`
 * (NULL: any) is a part of theirs. `limit` at most. */
millet_status mlt_events_find(millet_assistant *assistant, int64_t from, int64_t to, const char *title,
                              struct mlt_event *events, int limit, int *count, millet_error *err);

/* ---- Files
 * ------------------------------------------------------------------------------------------------ */

typedef millet_status mlt_event_taker(void *context, struct mlt_event *event, millet_error *err);
/* Hands out each VEVENT. Times without a zone are local; with one, and with Z, they are brought to UTC. */
millet_status mlt_calendar_read(const millet_assistant *assistant, const char *text, size_t length,
                                mlt_event_taker *take, void *context, millet_error *err);
/* Appends an event as VEVENT. */
millet_status mlt_calendar_write(const millet_assistant *assistant, const struct mlt_event *event,
                                 struct mlt_text *out, millet_error *err);

#endif
