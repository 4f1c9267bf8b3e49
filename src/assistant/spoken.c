/* Values as they are said. SPDX-License-Identifier: Apache-2.0 */
#include "assistant/spoken.h"

#include "assistant/when.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { DAY = 86400 };

void mlt_spoken_duration(char *text, size_t size, int64_t milliseconds, enum mlt_language language)
{
    static const struct {
        int64_t seconds;
        const char *one, *more, *chinese;
    } units[] = {{DAY, "day", "days", "天"},
                 {3600, "hour", "hours", "小时"},
                 {60, "minute", "minutes", "分钟"},
                 {1, "second", "seconds", "秒"}};
    int64_t left = (MLT_MAX(milliseconds, 0) + 500) / 1000;
    char parts[4][48];
    int n = 0;
    for (size_t i = 0; i < 4; i++) {
        int64_t count = left / units[i].seconds;
        left -= count * units[i].seconds;
        if (!count && (i < 3 || n > 0)) continue;
        if (language == MLT_CHINESE)
            snprintf(parts[n++], sizeof parts[0], "%lld%s", (long long)count, units[i].chinese);
        else
            snprintf(parts[n++], sizeof parts[0], "%lld %s", (long long)count,
                     count == 1 ? units[i].one : units[i].more);
    }
    size_t used = 0;
    text[0] = 0;
    for (int i = 0; i < n && used < size; i++) {
        const char *joint = i == 0 ? "" : language == MLT_CHINESE ? "" : i == n - 1 ? " and " : ", ";
        used += (size_t)snprintf(text + used, size - used, "%s%s", joint, parts[i]);
    }
}

/* The part of the day that Chinese says before an hour. */
static const char *chinese_part(int hour)
{
    return hour < 6    ? "凌晨"
           : hour < 9  ? "早上"
           : hour < 12 ? "上午"
           : hour < 13 ? "中午"
           : hour < 18 ? "下午"
                       : "晚上";
}

static void time_of(const struct mlt_date *d, enum mlt_language language, char *text, size_t size)
{
    int hour = d->hour % 12 == 0 ? 12 : d->hour % 12;
    if (language == MLT_CHINESE && d->minute == 0)
        snprintf(text, size, "%s%d点", chinese_part(d->hour), hour);
    else if (language == MLT_CHINESE)
        snprintf(text, size, "%s%d点%02d分", chinese_part(d->hour), hour, d->minute);
    else
        snprintf(text, size, "%d:%02d %s", hour, d->minute, d->hour < 12 ? "AM" : "PM");
}

static const char *const weekdays[7] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                        "Thursday", "Friday", "Saturday"};
static const char *const weekdays_zh[7] = {"星期日", "星期一", "星期二", "星期三",
                                           "星期四", "星期五", "星期六"};
static const char *const months[12] = {"January", "February", "March",     "April",   "May",      "June",
                                       "July",    "August",   "September", "October", "November", "December"};

/* In English with what comes before a time: "tomorrow", "on Friday". */
static void day_of(const millet_assistant *assistant, const struct mlt_date *d, bool bare, char *text,
                   size_t size)
{
    int64_t today = mlt_local_now(assistant) / DAY, day = mlt_days(d->year, d->month, d->day);
    bool zh = assistant->dialogue.language == MLT_CHINESE;
    static const char *const near[] = {"yesterday", "today", "tomorrow"}, *const near_zh[] = {"昨天", "今天",
                                                                                              "明天", "后天"};
    int64_t ahead = day - today;
    if (zh && ahead >= -1 && ahead <= 2)
        snprintf(text, size, "%s", near_zh[ahead + 1]);
    else if (!zh && ahead >= -1 && ahead <= 1)
        snprintf(text, size, "%s", near[ahead + 1]);
    else if (zh)
        snprintf(text, size, "%d月%d日%s", d->month, d->day, weekdays_zh[d->weekday]);
    else
        snprintf(text, size, "%s%s, %s %d", bare ? "" : "on ", weekdays[d->weekday], months[d->month - 1],
                 d->day);
}

void mlt_spoken_time(const millet_assistant *assistant, char *text, size_t size, int64_t wall_ms)
{
    struct mlt_date d = mlt_date_of(mlt_local_seconds(assistant, wall_ms));
    time_of(&d, assistant->dialogue.language, text, size);
}

void mlt_spoken_local_time(const millet_assistant *assistant, char *text, size_t size, int64_t local)
{
    struct mlt_date d = mlt_date_of(local);
    time_of(&d, assistant->dialogue.language, text, size);
}

void mlt_spoken_moment(const millet_assistant *assistant, char *text, size_t size, int64_t wall_ms)
{
    struct mlt_date d = mlt_date_of(mlt_local_seconds(assistant, wall_ms));
    char day[96], time[64];
    day_of(assistant, &d, false, day, sizeof day);
    time_of(&d, assistant->dialogue.language, time, sizeof time);
    snprintf(text, size, assistant->dialogue.language == MLT_CHINESE ? "%s%s" : "%s at %s", day, time);
}

void mlt_spoken_day(const millet_assistant *assistant, char *text, size_t size, int64_t wall_ms)
{
    struct mlt_date d = mlt_date_of(mlt_local_seconds(assistant, wall_ms));
    day_of(assistant, &d, true, text, size);
}

void mlt_spoken_date(const millet_assistant *assistant, char *text, size_t size, int64_t wall_ms)
{
    struct mlt_date d = mlt_date_of(mlt_local_seconds(assistant, wall_ms));
    if (assistant->dialogue.language == MLT_CHINESE)
        snprintf(text, size, "%d年%d月%d日%s", d.year, d.month, d.day, weekdays_zh[d.weekday]);
    else
        snprintf(text, size, "%s, %s %d, %d", weekdays[d.weekday], months[d.month - 1], d.day, d.year);
}

void mlt_spoken_number(char *text, size_t size, double number)
{
    if (number == 0) number = 0; /* no minus */
    if (fabs(number) < 1e15 && number == floor(number)) {
        snprintf(text, size, "%.0f", number);
        return;
    }
    int decimals = fabs(number) >= 1000 ? 1 : fabs(number) >= 1 ? 2 : 4;
    if (fabs(number) >= 1e15 || fabs(number) < 1e-4) {
        snprintf(text, size, "%.4g", number);
        return;
    }
    snprintf(text, size, "%.*f", decimals, number);
    size_t n = strlen(text);
    while (n && text[n - 1] == '0')
        text[--n] = 0;
    if (n && text[n - 1] == '.') text[n - 1] = 0;
}

millet_status mlt_spoken_list(struct mlt_text *out, const json_t *items, enum mlt_language language,
                              millet_error *err)
{
    size_t n = json_array_size(items);
    for (size_t i = 0; i < n; i++) {
        const char *item = json_string_value(json_array_get(items, i));
        const char *joint =
            language == MLT_CHINESE ? (i + 1 == n ? "和" : "、") : (i + 1 == n ? " and " : ", ");
        if (i) MLT_TRY(mlt_text_append(out, joint, strlen(joint), err));
        MLT_TRY(mlt_text_append(out, item ? item : "", item ? strlen(item) : 0, err));
    }
    return MILLET_OK;
}
