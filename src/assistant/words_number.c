/* Numbers in words, and lengths of time. SPDX-License-Identifier: Apache-2.0 */
#include "assistant/words.h"

#include "assistant/words_scan.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct word_value {
    const char *word;
    double value;
};

static const struct word_value small[] = {
    {"zero", 0},      {"one", 1},       {"two", 2},       {"three", 3},    {"four", 4},     {"five", 5},
    {"six", 6},       {"seven", 7},     {"eight", 8},     {"nine", 9},     {"ten", 10},     {"eleven", 11},
    {"twelve", 12},   {"thirteen", 13}, {"fourteen", 14}, {"fifteen", 15}, {"sixteen", 16}, {"seventeen", 17},
    {"eighteen", 18}, {"nineteen", 19}, {"twenty", 20},   {"thirty", 30},  {"forty", 40},   {"fifty", 50},
    {"sixty", 60},    {"seventy", 70},  {"eighty", 80},   {"ninety", 90},  {"a", 1},        {"an", 1},
    {"oh", 0},
};
static const struct word_value scales[] = {
    {"hundred", 100}, {"thousand", 1e3}, {"million", 1e6}, {"billion", 1e9}, {"dozen", 12},
};
static const struct word_value chinese_digits[] = {
    {"零", 0}, {"〇", 0}, {"一", 1}, {"二", 2}, {"两", 2}, {"三", 3}, {"四", 4},
    {"五", 5}, {"六", 6}, {"七", 7}, {"八", 8}, {"九", 9}, {"俩", 2}, {"壹", 1},
};
static const struct word_value chinese_scales[] = {{"十", 10}, {"百", 100}, {"千", 1000}};
static const struct word_value chinese_myriads[] = {{"万", 1e4}, {"亿", 1e8}};

static bool take(struct mlt_scan *s, const struct word_value *words, size_t n, bool whole_words,
                 double *value)
{
    size_t best = 0;
    for (size_t i = 0; i < n; i++) {
        size_t length = whole_words ? mlt_scan_sees_word(s, words[i].word) : mlt_scan_sees(s, words[i].word);
        if (length > best) {
            best = length;
            *value = words[i].value;
        }
    }
    s->at += best;
    return best > 0;
}

#define TAKE(s, table, whole, value) take(s, table, sizeof(table) / sizeof((table)[0]), whole, value)

/* "1,200.5" */
static bool digits(struct mlt_scan *s, double *number)
{
    char plain[64];
    size_t used = 0, at = s->at;
    bool point = false, any = false;
    for (; at < s->length && used + 1 < sizeof plain; at++) {
        char c = s->text[at];
        bool digit = c >= '0' && c <= '9',
             next = at + 1 < s->length && s->text[at + 1] >= '0' && s->text[at + 1] <= '9';
        if (digit) {
            any = true;
            plain[used++] = c;
        } else if (c == '.' && !point && next) {
            point = true;
            plain[used++] = c;
        } else if (c == ',' && any && !point && at + 3 < s->length && next &&
                   (at + 4 >= s->length || s->text[at + 4] < '0' || s->text[at + 4] > '9') &&
                   s->text[at + 2] >= '0' && s->text[at + 3] >= '0' && s->text[at + 2] <= '9' &&
                   s->text[at + 3] <= '9') {
            continue;
        } else {
            break;
        }
    }
    if (!any) return false;
    plain[used] = 0;
    *number = strtod(plain, NULL);
    s->at = at;
    return true;
}

/* "two hundred and five", "twenty-five", "a thousand". */
static bool english_whole(struct mlt_scan *s, double *number)
{
    double total = 0, group = 0, value = 0;
    bool any = false;
    for (;;) {
        struct mlt_scan ahead = *s;
        mlt_scan_space(&ahead);
        if (any && mlt_scan_sees_word(&ahead, "and")) {
            ahead.at += 3;
            mlt_scan_space(&ahead);
            if (group != 100 && fmod(group, 100) != 0 && total == 0) break; /* "five and ..." is no number */
        }
        struct mlt_scan before = ahead;
        if (TAKE(&ahead, small, true, &value)) {
            bool article = mlt_scan_sees_word(&before, "a") || mlt_scan_sees_word(&before, "an");
            struct mlt_scan after = ahead;
            mlt_scan_space(&after);
            double ignored;
            if (any && article) break;
            if (article && !TAKE(&after, scales, true, &ignored) && s->no_article) break;
            if (any && value >= 10 && fmod(group, 100) != 0) break;
            if (any && value < 10 && fmod(group, 10) != 0) break;
            if (any && value < 10 && fmod(group, 100) >= 10 && fmod(group, 100) < 20) break;
            group += value;
        } else if (any && TAKE(&ahead, scales, true, &value)) {
            if (value == 100 || value == 12) {
                group = (group == 0 ? 1 : group) * value;
            } else {
                total += (group == 0 ? 1 : group) * value;
                group = 0;
            }
        } else {
            break;
        }
        any = true;
        *s = ahead;
    }
    *number = total + group;
    return any;
}

/* "point five", "point one four". */
static double english_decimals(struct mlt_scan *s)
{
    struct mlt_scan ahead = *s;
    double part = 0, place = 0.1, value = 0;
    mlt_scan_space(&ahead);
    if (!mlt_scan_sees_word(&ahead, "point")) return 0;
    ahead.at += 5;
    for (mlt_scan_space(&ahead); TAKE(&ahead, small, true, &value) && value < 10; mlt_scan_space(&ahead)) {
        part += value * place;
        place /= 10;
        *s = ahead;
    }
    return part;
}

static bool chinese_whole(struct mlt_scan *s, double *number)
{
    double total = 0, section = 0, digit = -1, value = 0, last_scale = 1;
    bool any = false, plain = true;
    while (s->at < s->length) {
        if (TAKE(s, chinese_digits, false, &value)) {
            digit = digit >= 0 && plain ? digit * 10 + value : value; /* 二零二六 */
            if (value == 0) last_scale = 10;
        } else if (TAKE(s, chinese_scales, false, &value)) {
            section += (digit < 0 ? 1 : digit) * value;
            digit = -1;
            plain = false;
            last_scale = value;
        } else if (any && TAKE(s, chinese_myriads, false, &value)) {
            total += (section + MLT_WORDS_MAX(digit, 0)) * value;
            section = 0;
            digit = -1;
            plain = false;
            last_scale = value;
        } else {
            break;
        }
        any = true;
    }
    if (digit >= 0 && !plain && last_scale >= 100) digit *= last_scale / 10; /* 一百二 is 120 */
    *number = total + section + MLT_WORDS_MAX(digit, 0);
    return any;
}

static double chinese_decimals(struct mlt_scan *s)
{
    struct mlt_scan ahead = *s;
    double part = 0, place = 0.1, value = 0;
    size_t n = mlt_scan_sees(&ahead, "点");
    if (!n) return 0;
    ahead.at += n;
    while (TAKE(&ahead, chinese_digits, false, &value)) {
        part += value * place;
        place /= 10;
        *s = ahead;
    }
    return part;
}

bool mlt_scan_number(struct mlt_scan *s, double *number)
{
    struct mlt_scan ahead = *s;
    double value = 0;
    mlt_scan_space(&ahead);
    bool minus = false;
    static const char *const signs[] = {"minus ", "negative ", "-", "负", "零下"};
    for (size_t i = 0; i < 5 && !minus; i++) {
        size_t n = mlt_scan_sees(&ahead, signs[i]);
        minus = n > 0;
        ahead.at += n;
    }
    if (digits(&ahead, &value)) {
        static const struct word_value after[] = {{"万", 1e4}, {"亿", 1e8}, {"千", 1e3}, {"百", 100}};
        double scale;
        struct mlt_scan more = ahead;
        mlt_scan_space(&more);
        if (TAKE(&ahead, after, false, &scale)) {
            value *= scale;
        } else if (TAKE(&more, scales, true, &scale)) {
            value *= scale;
            ahead = more;
        }
    } else if (english_whole(&ahead, &value)) {
        value += english_decimals(&ahead);
    } else if (mlt_scan_sees_word(&ahead, "half")) {
        ahead.at += 4;
        value = 0.5;
    } else if (chinese_whole(&ahead, &value)) {
        value += chinese_decimals(&ahead);
    } else {
        return false;
    }
    struct mlt_scan half = ahead;
    mlt_scan_space(&half);
    if (mlt_scan_sees_word(&half, "and a half")) {
        half.at += 10;
        value += 0.5;
        ahead = half;
    } else if (mlt_scan_sees_word(&half, "and a quarter")) {
        half.at += 13;
        value += 0.25;
        ahead = half;
    }
    *number = minus ? -value : value;
    *s = ahead;
    return true;
}

bool mlt_words_number(const char *text, size_t length, double *number)
{
    struct mlt_scan s = {text, length, 0, false};
    return mlt_scan_number(&s, number) && mlt_scan_at_end(&s);
}

size_t mlt_words_number_prefix(const char *text, size_t length, double *number)
{
    struct mlt_scan s = {text, length, 0, true};
    return mlt_scan_number(&s, number) ? s.at : 0;
}

/* ---- Lengths of time
 * ------------------------------------------------------------------------------------------- */

static const struct word_value units[] = {
    {"seconds", 1},  {"second", 1},  {"secs", 1},   {"sec", 1},        {"s", 1},
    {"minutes", 60}, {"minute", 60}, {"mins", 60},  {"min", 60},       {"m", 60},
    {"hours", 3600}, {"hour", 3600}, {"hrs", 3600}, {"hr", 3600},      {"h", 3600},
    {"days", 86400}, {"day", 86400}, {"d", 86400},  {"weeks", 604800}, {"week", 604800},
};
static const struct word_value chinese_units[] = {
    {"秒钟", 1},        {"秒", 1},        {"分钟", 60},   {"分", 60},         {"个小时", 3600},
    {"小时", 3600},     {"个钟头", 3600}, {"钟头", 3600}, {"个钟", 3600},     {"天", 86400},
    {"个星期", 604800}, {"星期", 604800}, {"周", 604800}, {"个礼拜", 604800}, {"刻钟", 900},
};

static bool unit_at(struct mlt_scan *s, double *unit)
{
    struct mlt_scan ahead = *s;
    mlt_scan_space(&ahead);
    bool any = TAKE(&ahead, units, true, unit) || TAKE(&ahead, chinese_units, false, unit);
    if (any) *s = ahead;
    return any;
}

/* "and a half" after a unit, 半 in or after one. */
static double half_after(struct mlt_scan *s)
{
    static const struct word_value halves[] = {
        {"and a half", 0.5}, {"and a quarter", 0.25}, {"and half", 0.5}};
    struct mlt_scan ahead = *s;
    double half;
    mlt_scan_space(&ahead);
    if (!TAKE(&ahead, halves, true, &half)) return 0;
    *s = ahead;
    return half;
}

/* "half an hour", "a quarter of an hour", "half a minute", 半小时, 半个小时. */
static bool fraction_first(struct mlt_scan *s, double *seconds)
{
    static const struct word_value firsts[] = {{"half an", 0.5},
                                               {"half a", 0.5},
                                               {"a half", 0.5},
                                               {"half", 0.5},
                                               {"a quarter of an", 0.25},
                                               {"quarter of an", 0.25},
                                               {"three quarters of an", 0.75},
                                               {"a couple of", 2},
                                               {"a couple", 2},
                                               {"a few", 3}};
    static const struct word_value chinese[] = {{"半个", 0.5}, {"半", 0.5}, {"个半", 1.5}};
    struct mlt_scan ahead = *s;
    double part, unit;
    mlt_scan_space(&ahead);
    if (!TAKE(&ahead, firsts, true, &part) && !TAKE(&ahead, chinese, false, &part)) return false;
    if (!unit_at(&ahead, &unit)) return false;
    *seconds = part * unit;
    *s = ahead;
    return true;
}

/* One number and its unit. */
static bool one_length(struct mlt_scan *s, double *seconds, double *unit)
{
    struct mlt_scan ahead = *s;
    double number;
    if (fraction_first(s, seconds)) {
        *unit = 1;
        return true;
    }
    if (!mlt_scan_number(&ahead, &number) || number < 0) return false;
    size_t half = mlt_scan_sees(&ahead, "个半"); /* 一个半小时 */
    ahead.at += half;
    if (half) number += 0.5;
    if (mlt_scan_sees(&ahead, "-")) ahead.at++; /* 8-hour */
    if (!unit_at(&ahead, unit)) return false;
    number += half_after(&ahead);
    *seconds = number * *unit;
    size_t chinese_half = *unit >= 3600 || *unit == 60 ? mlt_scan_sees(&ahead, "半") : 0; /* 一小时半 */
    if (chinese_half) *seconds += *unit / 2;
    ahead.at += chinese_half;
    *s = ahead;
    return true;
}

bool mlt_scan_duration(struct mlt_scan *s, double *seconds)
{
    double total = 0, part, unit, last = 1e18;
    bool any = false;
    for (;;) {
        struct mlt_scan ahead = *s;
        mlt_scan_space(&ahead);
        if (any && mlt_scan_sees_word(&ahead, "and")) ahead.at += 3;
        size_t also = any ? mlt_scan_sees(&ahead, "零") : 0;
        ahead.at += also;
        if (!one_length(&ahead, &part, &unit) || unit >= last) break;
        total += part;
        last = unit;
        any = true;
        *s = ahead;
    }
    *seconds = total;
    return any;
}

bool mlt_words_duration(const char *text, size_t length, double *seconds)
{
    struct mlt_scan s = {text, length, 0, false};
    return mlt_scan_duration(&s, seconds) && mlt_scan_at_end(&s);
}
