/* Local time and repetition. SPDX-License-Identifier: Apache-2.0 */
#include "assistant/when.h"

#include <stdio.h>
#include <string.h>

enum { DAY = 86400 };

static int64_t floor_seconds(int64_t ms)
{
    return ms >= 0 ? ms / 1000 : -((-ms + 999) / 1000);
}

int64_t mlt_local_seconds(const millet_assistant *assistant, int64_t wall_ms)
{
    int64_t utc = floor_seconds(wall_ms);
    return utc + mlt_zone_offset(assistant->zone, utc);
}

int64_t mlt_wall_ms(const millet_assistant *assistant, int64_t local_seconds)
{
    return mlt_zone_utc(assistant->zone, local_seconds) * 1000;
}

int64_t mlt_local_now(const millet_assistant *assistant)
{
    return mlt_local_seconds(assistant, assistant->clock.wall(assistant->clock.context));
}

void mlt_when_text(const struct mlt_when *when, char *text, size_t size)
{
    struct mlt_date d = mlt_date_of(when->local);
    if (when->has_time)
        snprintf(text, size, "%04d-%02d-%02dT%02d:%02d:%02d", d.year, d.month, d.day, d.hour, d.minute,
                 d.second);
    else
        snprintf(text, size, "%04d-%02d-%02d", d.year, d.month, d.day);
}

bool mlt_when_read(const char *text, struct mlt_when *when)
{
    struct mlt_date d = {0};
    int used = 0, time = 0;
    if (strlen(text) > 30 || sscanf(text, "%4d-%2d-%2d%n", &d.year, &d.month, &d.day, &used) != 3)
        return false;
    if (d.year < 1970 || d.year > 9999 || d.month < 1 || d.month > 12 || d.day < 1 ||
        d.day > mlt_days_of_month(d.year, d.month))
        return false;
    if (!text[used]) {
        *when = (struct mlt_when){mlt_local_of(&d), false};
        return true;
    }
    if ((text[used] != 'T' && text[used] != ' ') ||
        sscanf(text + used + 1, "%2d:%2d%n:%2d%n", &d.hour, &d.minute, &time, &d.second, &time) < 2)
        return false;
    if (text[used + 1 + time] || d.hour < 0 || d.hour > 23 || d.minute < 0 || d.minute > 59 || d.second < 0 ||
        d.second > 59)
        return false;
    *when = (struct mlt_when){mlt_local_of(&d), true};
    return true;
}

bool mlt_repeat_has(const char *repeat, int weekday)
{
    static const char *const codes[7] = {"SU", "MO", "TU", "WE", "TH", "FR", "SA"};
    bool weekend = weekday == 0 || weekday == 6;
    if (strcmp(repeat, "daily") == 0) return true;
    if (strcmp(repeat, "weekdays") == 0) return !weekend;
    if (strcmp(repeat, "weekends") == 0) return weekend;
    return strstr(repeat, codes[weekday]) != NULL;
}

bool mlt_next_repeat(const millet_assistant *assistant, const char *repeat, int64_t due_ms, int64_t now_ms,
                     int64_t *next_ms)
{
    int64_t local = mlt_local_seconds(assistant, due_ms), now = mlt_local_seconds(assistant, now_ms);
    int64_t of_day = ((local % DAY) + DAY) % DAY;
    int64_t day = MLT_MAX(local, now - DAY) - of_day;
    day -= ((day % DAY) + DAY) % DAY;
    for (int i = 0; i < 16; i++, day += DAY) {
        int64_t moment = mlt_wall_ms(assistant, day + of_day);
        if (moment <= due_ms || moment <= now_ms || !mlt_repeat_has(repeat, mlt_date_of(day).weekday))
            continue;
        *next_ms = moment;
        return true;
    }
    return false;
}
