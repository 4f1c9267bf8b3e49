/*
 * Timers, alarms and reminders in the store: what is due, and when.
 *
 * A timer counts on the clock that goes on while the machine sleeps and does not jump; after a restart of the
 * machine, and for alarms and reminders always, the time of day counts.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_ASSISTANT_TIMERS_H
#define MLT_ASSISTANT_TIMERS_H

#include "assistant/call.h"

enum { MLT_MAX_TIMERS = 64 };

struct mlt_timer {
    int64_t id;
    char kind[10]; /* "timer", "alarm", "reminder" */
    char name[200];
    int64_t length_ms; /* of timers */
    int64_t due_wall;
    int64_t left_ms; /* until it is due; of a paused one what was left */
    bool paused;
    char repeat[40];
};

/* Those that run or are paused, the next one first. Returns MLT_MAX_TIMERS at most in *count. */
millet_status mlt_timers_list(millet_assistant *assistant, const char *kind, struct mlt_timer *timers,
                              int *count, millet_error *err);
/* Starts a timer of so many milliseconds, or an alarm or reminder at `due_wall`; name and repeat may be NULL.
 */
millet_status mlt_timer_start(millet_assistant *assistant, const char *name, int64_t length_ms, int64_t *id,
                              millet_error *err);
millet_status mlt_alarm_set(millet_assistant *assistant, const char *kind, const char *name, int64_t due_wall,
                            const char *repeat, int64_t *id, millet_error *err);
/* "running", "paused" with what is left; "cancelled". */
millet_status mlt_timer_run(millet_assistant *assistant, int64_t id, int64_t left_ms, millet_error *err);
millet_status mlt_timer_pause(millet_assistant *assistant, const struct mlt_timer *timer, millet_error *err);
millet_status mlt_timer_end(millet_assistant *assistant, int64_t id, const char *state, millet_error *err);

#endif
