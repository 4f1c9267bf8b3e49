/*
 * Time zones from the system's database (TZif, RFC 8536), and dates of the Gregorian calendar.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_ASSISTANT_ZONE_H
#define MLT_ASSISTANT_ZONE_H

#include "base/memory.h"

#include <time.h>

struct mlt_zone;

/* NULL: the system's ($TZ, /etc/localtime, UTC). Errors: NOT_FOUND, BAD_FORMAT, NO_MEMORY. */
millet_status mlt_zone_open(const millet_allocator *allocator, const char *name, struct mlt_zone **zone,
                            millet_error *err);
void mlt_zone_close(struct mlt_zone **zone);

/* Seconds that local time is ahead of UTC at a moment. */
int32_t mlt_zone_offset(const struct mlt_zone *zone, int64_t utc);
/* The moment of a local time: a time that there is twice is the first, one that is skipped is moved on. */
int64_t mlt_zone_utc(const struct mlt_zone *zone, int64_t local);

/* Days since 1970 of a date, and the parts of a local second. Months from 1; weekday 0 is Sunday. */
struct mlt_date {
    int year, month, day, hour, minute, second, weekday;
};
int64_t mlt_days(int year, int month, int day);
struct mlt_date mlt_date_of(int64_t local);
int64_t mlt_local_of(const struct mlt_date *date);
int mlt_days_of_month(int year, int month);

#endif
