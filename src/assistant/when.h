/*
 * Local time: the assistant's zone, normal forms of points in time, repetition.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_ASSISTANT_WHEN_H
#define MLT_ASSISTANT_WHEN_H

#include "assistant/assistant_state.h"
#include "assistant/words.h"
#include "assistant/zone.h"

/* Local seconds of a moment in milliseconds since 1970, and back. */
int64_t mlt_local_seconds(const millet_assistant *assistant, int64_t wall_ms);
int64_t mlt_wall_ms(const millet_assistant *assistant, int64_t local_seconds);
int64_t mlt_local_now(const millet_assistant *assistant);

/* "2026-12-31T18:30:00" or "2026-12-31"; `size` of at least 24. */
void mlt_when_text(const struct mlt_when *when, char *text, size_t size);
/* The same read; seconds may be missing. */
bool mlt_when_read(const char *text, struct mlt_when *when);

/* The first moment after both `due_ms` and `now_ms` at the same time of day on a day of `repeat`. */
bool mlt_next_repeat(const millet_assistant *assistant, const char *repeat, int64_t due_ms, int64_t now_ms,
                     int64_t *next_ms);
/* Whether a weekday (0 Sunday) belongs to `repeat`. */
bool mlt_repeat_has(const char *repeat, int weekday);

#endif
