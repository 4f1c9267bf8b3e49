/* Points in time in words. SPDX-License-Identifier: Apache-2.0 */
#include "assistant/words.h"
#include "assistant/words_scan.h"
#include "assistant/zone.h"

#include <stdio.h>
#include <string.h>

enum { DAY = 86400, HOUR = 3600, MINUTE = 60 };

/* What has been read so far. */
struct reading_when {
    int64_t now, day; /* local; `day`: its beginning */
    bool has_day, has_time, has_part, hour_is_24, bare, morning;
    int hour, minute, second;
    int part_from; /* the part of the day begins at this hour */
    double after;  /* "in ten minutes" */
    bool has_after;
};

static const char *const weekdays[7] = {"sunday",   "monday", "tuesday", "wednesday",
                                        "thursday", "friday", "saturday"};
static const char *const weekdays_short[7] = {"sun", "mon", "tue", "wed", "thu", "fri", "sat"};
static const char *const months[12] = {"january", "february", "march",     "april",   "may",      "june",
                                       "july",    "august",   "september", "october", "november", "december"};
static const char *const months_short[12] = {"jan", "feb", "mar", "apr", "may", "jun",
                                             "jul", "aug", "sep", "oct", "nov", "dec"};

static bool take_any(struct mlt_scan *s, const char *const *words, size_t n, int *which)
{
    for (size_t i = 0; i < n; i++)
        if (mlt_scan_take_word(s, words[i])) {
            *which = (int)i;
            return true;
        }
    return false;
}

static void set_day(struct reading_when *w, int64_t day)
{
    w->day = day;
    w->has_day = true;
}

/* ---- Days
 * ---------------------------------------------------------------------------------------------------- */

struct day_word {
    const char *word;
    int days;
    int part_from; /* of the day; -1: none */
};
static const struct day_word near_days[] = {{"the day after tomorrow", 2, -1},
                                            {"day after tomorrow", 2, -1},
                                            {"tomorrow", 1, -1},
                                            {"today", 0, -1},
                                            {"tonight", 0, 18},
                                            {"this morning", 0, 6},
                                            {"this afternoon", 0, 12},
                                            {"this evening", 0, 18},
                                            {"the day before yesterday", -2, -1},
                                            {"yesterday", -1, -1},
                                            {"tomorow", 1, -1}};
static const struct day_word near_days_zh[] = {
    {"大后天", 3, -1}, {"后天", 2, -1}, {"明天", 1, -1}, {"明早", 1, 6},  {"明晚", 1, 18},
    {"今天", 0, -1},   {"今早", 0, 6},  {"今晚", 0, 18}, {"今夜", 0, 18}, {"昨天", -1, -1},
    {"前天", -2, -1},  {"明日", 1, -1}, {"今日", 0, -1}};

static bool near_day(struct mlt_scan *s, struct reading_when *w)
{
    for (size_t i = 0; i < sizeof near_days / sizeof near_days[0]; i++)
        if (mlt_scan_take_word(s, near_days[i].word)) {
            set_day(w, w->day + near_days[i].days * (int64_t)DAY);
            if (near_days[i].part_from >= 0) w->has_part = true, w->part_from = near_days[i].part_from;
            return true;
        }
    for (size_t i = 0; i < sizeof near_days_zh / sizeof near_days_zh[0]; i++)
        if (mlt_scan_take(s, near_days_zh[i].word)) {
            set_day(w, w->day + near_days_zh[i].days * (int64_t)DAY);
            if (near_days_zh[i].part_from >= 0) w->has_part = true, w->part_from = near_days_zh[i].part_from;
            return true;
        }
    return false;
}

/* The next such weekday after today; `weeks` more. */
static void set_weekday(struct reading_when *w, int weekday, int weeks)
{
    int ahead = (weekday - mlt_date_of(w->day).weekday + 7) % 7;
    set_day(w, w->day + (int64_t)(ahead == 0 ? 7 : ahead) * DAY + (int64_t)weeks * 7 * DAY);
}

static bool weekday(struct mlt_scan *s, struct reading_when *w)
{
    struct mlt_scan ahead = *s;
    int which;
    bool next = mlt_scan_take_word(&ahead, "next");
    if (!next && !mlt_scan_take_word(&ahead, "this")) mlt_scan_take_word(&ahead, "coming");
    if (take_any(&ahead, weekdays, 7, &which) || take_any(&ahead, weekdays_short, 7, &which)) {
        /* "next friday" on a tuesday is that of next week */
        int today = (mlt_date_of(w->day).weekday + 6) % 7, that = (which + 6) % 7;
        set_weekday(w, which, next && that > today);
        *s = ahead;
        return true;
    }
    static const char *const prefixes[] = {"下周", "下星期", "下礼拜", "这周", "本周", "周", "星期", "礼拜"};
    static const char *const names[] = {"日", "一", "二", "三", "四", "五", "六", "天"};
    for (size_t p = 0; p < 8; p++) {
        ahead = *s;
        if (!mlt_scan_take(&ahead, prefixes[p])) continue;
        for (int d = 0; d < 8; d++)
            if (mlt_scan_take(&ahead, names[d])) {
                int target = d % 7;
                int today = (mlt_date_of(w->day).weekday + 6) % 7, that = (target + 6) % 7;
                if (p < 3)
                    set_day(w, w->day + (int64_t)(7 - today + that) * DAY);
                else if (p < 5)
                    set_day(w, w->day + (int64_t)(that - today) * DAY);
                else
                    set_weekday(w, target, 0);
                *s = ahead;
                return true;
            }
    }
    return false;
}

/* "5th", "fifth", "twenty first": of a month. */
static bool ordinal(struct mlt_scan *s, int *day)
{
    static const char *const ordinals[] = {
        "first",        "second",       "third",          "fourth",        "fifth",        "sixth",
        "seventh",      "eighth",       "ninth",          "tenth",         "eleventh",     "twelfth",
        "thirteenth",   "fourteenth",   "fifteenth",      "sixteenth",     "seventeenth",  "eighteenth",
        "nineteenth",   "twentieth",    "twenty first",   "twenty second", "twenty third", "twenty fourth",
        "twenty fifth", "twenty sixth", "twenty seventh", "twenty eighth", "twenty ninth", "thirtieth",
        "thirty first"};
    static const char *const suffixes[] = {"st", "nd", "rd", "th"};
    for (int i = 30; i >= 0; i--)
        if (mlt_scan_take_word(s, ordinals[i])) {
            *day = i + 1;
            return true;
        }
    struct mlt_scan ahead = *s;
    double number;
    if (!mlt_scan_number(&ahead, &number) || number < 1 || number > 31 || number != (int)number) return false;
    for (size_t i = 0; i < 4; i++) {
        size_t n = mlt_scan_sees(&ahead, suffixes[i]);
        if (!n) continue;
        ahead.at += n;
        *day = (int)number;
        *s = ahead;
        return true;
    }
    return false;
}

/* The next date of that month and day; false where there is no such day. */
static bool set_month_day(struct reading_when *w, int month, int day)
{
    int year = mlt_date_of(w->day).year;
    if (mlt_days(year, month, 1) * DAY + (day - 1) * (int64_t)DAY < w->day) year++;
    if (day < 1 || day > mlt_days_of_month(year, month)) return false;
    set_day(w, mlt_days(year, month, day) * DAY);
    return true;
}

static bool plain_number(struct mlt_scan *s, int low, int high, int *number)
{
    struct mlt_scan ahead = *s;
    double value;
    ahead.no_article = true;
    if (!mlt_scan_number(&ahead, &value) || value < low || value > high || value != (int)value) return false;
    *number = (int)value;
    *s = ahead;
    return true;
}

static bool month_name(struct mlt_scan *s, int *month)
{
    return take_any(s, months, 12, month) || take_any(s, months_short, 12, month);
}

static bool take_year(struct mlt_scan *s, struct reading_when *w, int month, int day)
{
    int year;
    struct mlt_scan ahead = *s;
    if (!plain_number(&ahead, 1970, 2200, &year) || day > mlt_days_of_month(year, month)) return false;
    set_day(w, mlt_days(year, month, day) * DAY);
    *s = ahead;
    return true;
}

/* "december 5th", "the 5th of december", "2026-12-05", 12月5日, "the fifth". */
static bool calendar_date(struct mlt_scan *s, struct reading_when *w)
{
    struct mlt_scan ahead = *s;
    int month, day, year, used = 0;
    mlt_scan_space(&ahead);
    if (ahead.length - ahead.at >= 10 &&
        sscanf(ahead.text + ahead.at, "%4d-%2d-%2d%n", &year, &month, &day, &used) == 3 && used >= 8 &&
        year >= 1970 && month >= 1 && month <= 12 && day >= 1 && day <= mlt_days_of_month(year, month)) {
        set_day(w, mlt_days(year, month, day) * DAY);
        s->at = ahead.at + (size_t)used;
        return true;
    }
    if (month_name(&ahead, &month)) {
        mlt_scan_take_word(&ahead, "the");
        if (!ordinal(&ahead, &day) && !plain_number(&ahead, 1, 31, &day)) return false;
        if (!set_month_day(w, month + 1, day)) return false;
        take_year(&ahead, w, month + 1, day);
        *s = ahead;
        return true;
    }
    ahead = *s;
    bool the = mlt_scan_take_word(&ahead, "the");
    if (ordinal(&ahead, &day)) {
        struct mlt_scan more = ahead;
        mlt_scan_take_word(&more, "of");
        if (month_name(&more, &month)) {
            if (!set_month_day(w, month + 1, day)) return false;
            take_year(&more, w, month + 1, day);
            *s = more;
            return true;
        }
        if (!the) return false;
        struct mlt_date today = mlt_date_of(w->day);
        int in = today.month;
        if (day < today.day) in = in % 12 + 1;
        if (!set_month_day(w, in, day)) return false;
        *s = ahead;
        return true;
    }
    ahead = *s;
    if (plain_number(&ahead, 1, 12, &month) && mlt_scan_take(&ahead, "月") &&
        plain_number(&ahead, 1, 31, &day) && (mlt_scan_take(&ahead, "日") || mlt_scan_take(&ahead, "号")) &&
        set_month_day(w, month, day)) {
        *s = ahead;
        return true;
    }
    ahead = *s;
    if (plain_number(&ahead, 1, 31, &day) && mlt_scan_take(&ahead, "号")) {
        struct mlt_date today = mlt_date_of(w->day);
        if (!set_month_day(w, day < today.day ? today.month % 12 + 1 : today.month, day)) return false;
        *s = ahead;
        return true;
    }
    return false;
}

/* "next week", "in three days" are days; "in two hours" a moment. */
static bool relative(struct mlt_scan *s, struct reading_when *w)
{
    struct mlt_scan ahead = *s;
    double seconds;
    if (mlt_scan_take_word(&ahead, "next week") || mlt_scan_take(&ahead, "下周") ||
        mlt_scan_take(&ahead, "下星期")) {
        set_day(w, w->day + 7 * (int64_t)DAY);
        *s = ahead;
        return true;
    }
    ahead.no_article = false; /* "in an hour" */
    if (mlt_scan_take_word(&ahead, "in") || mlt_scan_take_word(&ahead, "after")) {
        if (!mlt_scan_duration(&ahead, &seconds)) return false;
    } else if (mlt_scan_duration(&ahead, &seconds)) {
        if (!mlt_scan_take_word(&ahead, "from now") && !mlt_scan_take(&ahead, "以后") &&
            !mlt_scan_take(&ahead, "之后") && !mlt_scan_take(&ahead, "后"))
            return false;
    } else {
        return false;
    }
    if (seconds >= DAY && seconds == (double)((int64_t)seconds / DAY * DAY)) {
        set_day(w, w->day + (int64_t)seconds);
    } else {
        w->after = seconds;
        w->has_after = true;
    }
    *s = ahead;
    return true;
}

/* ---- Times of day
 * -------------------------------------------------------------------------------------------- */

static const struct day_word parts[] = {
    {"in the early morning", 0, 0}, {"in the morning", 0, 6}, {"in the afternoon", 0, 12},
    {"in the evening", 0, 18},      {"at night", 0, 18},      {"morning", 0, 6},
    {"afternoon", 0, 12},           {"evening", 0, 18},       {"night", 0, 18}};
static const struct day_word parts_zh[] = {{"凌晨", 0, 0},  {"清晨", 0, 5},  {"早上", 0, 6},  {"早晨", 0, 6},
                                           {"上午", 0, 6},  {"中午", 0, 11}, {"下午", 0, 12}, {"傍晚", 0, 17},
                                           {"晚上", 0, 18}, {"夜里", 0, 18}, {"半夜", 0, 0}};

static bool part_of_day(struct mlt_scan *s, struct reading_when *w)
{
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        if (mlt_scan_take_word(s, parts[i].word)) {
            w->has_part = true;
            w->part_from = parts[i].part_from;
            return true;
        }
    for (size_t i = 0; i < sizeof parts_zh / sizeof parts_zh[0]; i++)
        if (mlt_scan_take(s, parts_zh[i].word)) {
            w->has_part = true;
            w->part_from = parts_zh[i].part_from;
            return true;
        }
    return false;
}

/* "am", "p.m.": 1 before noon, 2 after, 0 not told. */
static int half_of_day(struct mlt_scan *s)
{
    static const char *const am[] = {"a.m.", "a.m", "a m", "am"}, *const pm[] = {"p.m.", "p.m", "p m", "pm"};
    for (int i = 0; i < 4; i++) {
        if (mlt_scan_take_word(s, am[i])) return 1;
        if (mlt_scan_take_word(s, pm[i])) return 2;
    }
    return 0;
}

static void set_time(struct reading_when *w, int hour, int minute, int half)
{
    if (half == 1) hour %= 12;
    if (half == 2) hour = hour % 12 + 12;
    w->hour = hour;
    w->minute = minute;
    w->hour_is_24 = half != 0 || hour > 12 || hour == 0;
    w->has_time = true;
}

static bool special_time(struct mlt_scan *s, struct reading_when *w)
{
    static const struct {
        const char *word;
        int hour;
    } words[] = {{"noon", 12}, {"midday", 12}, {"midnight", 0}, {"正午", 12}, {"午夜", 24}};
    for (size_t i = 0; i < 5; i++)
        if (i < 3 ? mlt_scan_take_word(s, words[i].word) : mlt_scan_take(s, words[i].word)) {
            set_time(w, words[i].hour, 0, 0);
            if (words[i].hour == 0) w->hour = 24; /* the end of the day */
            w->hour_is_24 = true;
            return true;
        }
    return false;
}

/* "half past six", "quarter to eight", "ten past seven". */
static bool past_or_to(struct mlt_scan *s, struct reading_when *w)
{
    struct mlt_scan ahead = *s;
    int minutes, hour;
    mlt_scan_take_word(&ahead, "a");
    if (mlt_scan_take_word(&ahead, "half"))
        minutes = 30;
    else if (mlt_scan_take_word(&ahead, "quarter"))
        minutes = 15;
    else if (!plain_number(&ahead, 1, 59, &minutes))
        return false;
    mlt_scan_take_word(&ahead, "minutes");
    bool to = false;
    if (!mlt_scan_take_word(&ahead, "past") && !mlt_scan_take_word(&ahead, "after")) {
        to = mlt_scan_take_word(&ahead, "to") || mlt_scan_take_word(&ahead, "before");
        if (!to) return false;
    }
    if (!plain_number(&ahead, 1, 12, &hour)) return false;
    mlt_scan_take_word(&ahead, "o'clock");
    if (to) {
        hour = hour == 1 ? 12 : hour - 1;
        minutes = 60 - minutes;
    }
    set_time(w, hour, minutes, half_of_day(&ahead));
    *s = ahead;
    return true;
}

/* "7", "7:30", "seven thirty", "7pm", "seven o'clock". A bare number needs "at" or something else around it.
 */
static bool english_time(struct mlt_scan *s, struct reading_when *w)
{
    struct mlt_scan ahead = *s;
    int hour, minute = 0;
    bool at = mlt_scan_take_word(&ahead, "at") || mlt_scan_take_word(&ahead, "by"), told = at;
    if (special_time(&ahead, w) || past_or_to(&ahead, w)) {
        *s = ahead;
        return true;
    }
    mlt_scan_take_word(&ahead, "around");
    struct mlt_scan digits = ahead;
    mlt_scan_space(&digits);
    int used = 0;
    if (sscanf(digits.text + digits.at, "%2d:%2d%n", &hour, &minute, &used) == 2 && used >= 4 &&
        (size_t)used <= digits.length - digits.at && hour >= 0 && hour < 25 && minute >= 0 && minute < 60) {
        ahead.at = digits.at + (size_t)used;
        told = true;
    } else if (plain_number(&ahead, 0, 24, &hour)) {
        minute = 0;
        struct mlt_scan more = ahead;
        if (mlt_scan_take_word(&more, "oh")) told = true;
        if (mlt_scan_take_word(&ahead, "o'clock") || mlt_scan_take_word(&ahead, "oclock")) {
            told = true;
        } else if (plain_number(&more, 1, 59, &minute)) {
            ahead = more;
            told = true;
        } else {
            minute = 0;
        }
    } else if (plain_number(&ahead, 100, 959, &hour) &&
               hour % 100 < 60) { /* "seven thirty" may come as 730 */
        minute = hour % 100;
        hour /= 100;
        told = true;
    } else {
        return false;
    }
    int half = half_of_day(&ahead);
    w->bare = !told && !half;
    set_time(w, hour, minute, half);
    *s = ahead;
    return true;
}

/* 七点, 7点半, 三点一刻, 十五点三十分. */
static bool chinese_time(struct mlt_scan *s, struct reading_when *w)
{
    struct mlt_scan ahead = *s;
    static const char *const hours[] = {"零", "一", "二", "三", "四",   "五",  "六",
                                        "七", "八", "九", "十", "十一", "十二"};
    int hour = -1, minute = 0;
    mlt_scan_space(&ahead);
    /* 点 is a decimal point too: the hour is taken by itself */
    for (int i = 12; i >= 0 && hour < 0; i--) {
        struct mlt_scan more = ahead;
        if (mlt_scan_take(&more, hours[i]) && (mlt_scan_sees(&more, "点") || mlt_scan_sees(&more, "时"))) {
            hour = i;
            ahead = more;
        }
    }
    if (hour < 0) {
        struct mlt_scan more = ahead;
        if (mlt_scan_take(&more, "两") && mlt_scan_sees(&more, "点")) {
            hour = 2;
            ahead = more;
        } else if (!plain_number(&ahead, 0, 24, &hour)) {
            return false;
        }
    }
    if (!mlt_scan_take(&ahead, "点钟") && !mlt_scan_take(&ahead, "点") && !mlt_scan_take(&ahead, "时"))
        return false;
    if (mlt_scan_take(&ahead, "半"))
        minute = 30;
    else if (mlt_scan_take(&ahead, "一刻"))
        minute = 15;
    else if (mlt_scan_take(&ahead, "三刻"))
        minute = 45;
    else if (plain_number(&ahead, 0, 59, &minute))
        mlt_scan_take(&ahead, "分");
    else
        mlt_scan_take(&ahead, "整");
    set_time(w, hour, minute, 0);
    *s = ahead;
    return true;
}

/* ---- The whole
 * ----------------------------------------------------------------------------------------------- */

/* Seven in the evening is 19; a bare seven is the next one. */
static void settle_hour(struct reading_when *w)
{
    if (w->hour_is_24) return;
    if (w->has_part) {
        if (w->part_from >= 12 && w->hour < 12) w->hour += 12;
        if (w->part_from == 0 && w->hour == 12) w->hour = 0;
        if (w->part_from == 18 && w->hour == 24) w->hour = 24;
        if (w->part_from == 11 && w->hour < 4) w->hour += 12;
        return;
    }
    if (w->has_day && w->day > w->now) {
        if (w->hour >= 1 && w->hour <= 4) w->hour += 12; /* tomorrow at three is no hour of the night */
        return;
    }
    if (w->morning && w->hour >= 4 && w->hour < 12) return;
    int64_t at = w->day + w->hour * HOUR + w->minute * MINUTE;
    if (at <= w->now && w->hour < 12) w->hour += 12;
    if (w->hour == 12 && at > w->now + 12 * HOUR) w->hour = 0;
}

static void finish(struct reading_when *w, struct mlt_when *when)
{
    if (w->has_after) {
        *when = (struct mlt_when){w->now + (int64_t)w->after, true};
        return;
    }
    if (!w->has_time) {
        /* "this evening" is a time where it is all that is told of one */
        *when = (struct mlt_when){w->day, false};
        if (w->has_part) {
            static const int usual[] = {5, 8, 15, 20};
            int kind = w->part_from >= 18 ? 3 : w->part_from >= 12 ? 2 : w->part_from >= 6 ? 1 : 0;
            when->local += usual[kind] * HOUR;
            if (w->part_from == 11) when->local = w->day + 12 * HOUR;
            when->has_time = true;
            if (!w->has_day && when->local <= w->now) when->local += DAY;
        }
        return;
    }
    settle_hour(w);
    int64_t at = w->day + w->hour * HOUR + w->minute * MINUTE + w->second;
    if (!w->has_day && at <= w->now) at += DAY;
    *when = (struct mlt_when){at, true};
}

bool mlt_words_when(const char *text, size_t length, int64_t local_now, bool morning, struct mlt_when *when)
{
    struct mlt_scan s = {text, length, 0, true};
    struct reading_when w = {.now = local_now, .morning = morning};
    int64_t second = local_now % DAY;
    w.day = local_now - (second < 0 ? second + DAY : second);
    bool any = false;
    while (!mlt_scan_at_end(&s)) {
        size_t before = s.at;
        if (!w.has_after && !w.has_day && !w.has_time && relative(&s, &w)) {
        } else if (!w.has_day && (near_day(&s, &w) || weekday(&s, &w) || calendar_date(&s, &w))) {
        } else if (!w.has_part && part_of_day(&s, &w)) {
        } else if (!w.has_time && !w.has_after && (chinese_time(&s, &w) || english_time(&s, &w))) {
        } else if (!mlt_scan_take_word(&s, "on") && !mlt_scan_take_word(&s, "the") &&
                   !mlt_scan_take(&s, "的") && !mlt_scan_take_word(&s, "in")) {
            return false;
        }
        if (s.at == before) return false;
        any |= w.has_day || w.has_time || w.has_part || w.has_after;
    }
    if (!any || (w.bare && !w.has_day && !w.has_part)) return false; /* a number alone is no time */
    finish(&w, when);
    return true;
}

/* ---- Repeating
 * ----------------------------------------------------------------------------------------------- */

bool mlt_words_repeat(const char *text, size_t length, char *repeat, size_t size)
{
    static const struct {
        const char *word, *value;
    } whole[] = {{"every day", "daily"},
                 {"daily", "daily"},
                 {"each day", "daily"},
                 {"every weekday", "weekdays"},
                 {"on weekdays", "weekdays"},
                 {"weekdays", "weekdays"},
                 {"every weekend", "weekends"},
                 {"on weekends", "weekends"},
                 {"every morning", "daily"},
                 {"every evening", "daily"},
                 {"every night", "daily"},
                 {"每天", "daily"},
                 {"每日", "daily"},
                 {"天天", "daily"},
                 {"工作日", "weekdays"},
                 {"每个工作日", "weekdays"},
                 {"每周末", "weekends"},
                 {"周末", "weekends"}};
    static const char *const codes[7] = {"SU", "MO", "TU", "WE", "TH", "FR", "SA"};
    static const char *const plural[7] = {"sundays",   "mondays", "tuesdays", "wednesdays",
                                          "thursdays", "fridays", "saturdays"};
    static const char *const chinese[7] = {"日", "一", "二", "三", "四", "五", "六"};
    struct mlt_scan s = {text, length, 0, false};
    for (size_t i = 0; i < sizeof whole / sizeof whole[0]; i++) {
        s.at = 0;
        if (mlt_scan_take(&s, whole[i].word) && mlt_scan_at_end(&s)) {
            snprintf(repeat, size, "%s", whole[i].value);
            return true;
        }
    }
    s.at = 0;
    int which;
    bool on[7] = {false}, any = false;
    bool every = mlt_scan_take_word(&s, "every") || mlt_scan_take_word(&s, "each");
    bool zh =
        !every && (mlt_scan_take(&s, "每周") || mlt_scan_take(&s, "每星期") || mlt_scan_take(&s, "每个星期"));
    if (!every && !zh) mlt_scan_take_word(&s, "on");
    while (!mlt_scan_at_end(&s)) {
        bool got = every ? take_any(&s, weekdays, 7, &which) : !zh && take_any(&s, plural, 7, &which);
        for (int d = 0; zh && d < 7 && !got; d++)
            if (mlt_scan_take(&s, chinese[d])) {
                which = d;
                got = true;
            }
        if (got)
            on[which] = any = true;
        else if (!mlt_scan_take_word(&s, "and") && !mlt_scan_take(&s, "和") && !mlt_scan_take(&s, "、") &&
                 !mlt_scan_take(&s, "周"))
            return false;
    }
    size_t used = 0;
    repeat[0] = 0;
    for (int d = 1; d <= 7 && any; d++)
        if (on[d % 7])
            used += (size_t)snprintf(repeat + used, size - used, used ? ",%s" : "%s", codes[d % 7]);
    return any;
}
