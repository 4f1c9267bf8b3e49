/* Reading TZif files and their rules. SPDX-License-Identifier: Apache-2.0 */
#include "assistant/zone.h"

#include "base/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_TRANSITIONS = 4096, MAX_KINDS = 256, LIMIT = 1 << 20, DAY = 86400 };

/* The day of a year on which a rule changes: Mm.w.d, at a second of the day. */
struct rule {
    int month, week, weekday, second;
};

struct mlt_zone {
    millet_allocator allocator;
    int32_t n_transitions, first_offset;
    int64_t *times;
    int32_t *offsets; /* from times[i] on */
    bool has_rule, has_summer;
    int32_t standard, summer; /* of the rule, for what comes after the last transition */
    struct rule begin, end;
};

int64_t mlt_days(int year, int month, int day)
{
    /* Howard Hinnant, "chrono-compatible low-level date algorithms" */
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    int64_t of_era = year - era * 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

struct mlt_date mlt_date_of(int64_t local)
{
    int64_t days = local / DAY, second = local % DAY;
    if (second < 0) {
        second += DAY;
        days--;
    }
    int64_t z = days + 719468, era = (z >= 0 ? z : z - 146096) / 146097, doe = z - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100), mp = (5 * doy + 2) / 153;
    int month = (int)(mp < 10 ? mp + 3 : mp - 9);
    return (struct mlt_date){.year = (int)(yoe + era * 400 + (month <= 2)),
                             .month = month,
                             .day = (int)(doy - (153 * mp + 2) / 5 + 1),
                             .hour = (int)(second / 3600),
                             .minute = (int)(second / 60 % 60),
                             .second = (int)(second % 60),
                             .weekday = (int)(((days + 4) % 7 + 7) % 7)};
}

int64_t mlt_local_of(const struct mlt_date *date)
{
    return mlt_days(date->year, date->month, date->day) * DAY + date->hour * 3600 + date->minute * 60 +
           date->second;
}

int mlt_days_of_month(int year, int month)
{
    return (int)(month == 12 ? mlt_days(year + 1, 1, 1) - mlt_days(year, 12, 1)
                             : mlt_days(year, month + 1, 1) - mlt_days(year, month, 1));
}

/* ---- The rule at a file's end, "CET-1CEST,M3.5.0,M10.5.0/3"
 * --------------------------------------------------- */

static const char *skip_name(const char *at)
{
    if (*at == '<') return strchr(at, '>') ? strchr(at, '>') + 1 : at + strlen(at);
    while ((*at >= 'A' && *at <= 'Z') || (*at >= 'a' && *at <= 'z'))
        at++;
    return at;
}

/* "[+-]h[:m[:s]]" as seconds. */
static const char *read_time(const char *at, int *seconds)
{
    int sign = *at == '-' ? -1 : 1, parts[3] = {0};
    if (*at == '-' || *at == '+') at++;
    for (int i = 0; i < 3 && *at >= '0' && *at <= '9'; i++) {
        char *end;
        long value = strtol(at, &end, 10);
        parts[i] = (int)MLT_MIN(value, 1000);
        at = end;
        if (*at == ':' && i < 2) at++;
    }
    *seconds = sign * (parts[0] * 3600 + parts[1] * 60 + parts[2]);
    return at;
}

static bool read_change(const char **at, struct rule *rule)
{
    int used = 0;
    rule->second = 7200;
    if (sscanf(*at, ",M%d.%d.%d%n", &rule->month, &rule->week, &rule->weekday, &used) != 3) return false;
    *at += used;
    if (**at == '/') *at = read_time(*at + 1, &rule->second);
    return rule->month >= 1 && rule->month <= 12 && rule->week >= 1 && rule->week <= 5 &&
           rule->weekday >= 0 && rule->weekday <= 6;
}

static void read_rule(struct mlt_zone *zone, const char *at)
{
    int west;
    at = read_time(skip_name(at), &west);
    zone->standard = zone->summer = -west;
    zone->has_rule = true;
    if (!*at) return;
    at = skip_name(at);
    zone->summer = zone->standard + 3600;
    if (*at && *at != ',') {
        at = read_time(at, &west);
        zone->summer = -west;
    }
    zone->has_summer = read_change(&at, &zone->begin) && read_change(&at, &zone->end);
}

/* The local second at which the rule changes in a year. */
static int64_t change_of(const struct rule *rule, int year)
{
    int64_t first = mlt_days(year, rule->month, 1);
    int weekday = (int)(((first + 4) % 7 + 7) % 7);
    int day = (rule->weekday - weekday + 7) % 7 + (rule->week - 1) * 7;
    while (day >= mlt_days_of_month(year, rule->month))
        day -= 7;
    return (first + day) * DAY + rule->second;
}

static int32_t rule_offset(const struct mlt_zone *zone, int64_t utc)
{
    if (!zone->has_summer) return zone->standard;
    int year = mlt_date_of(utc + zone->standard).year;
    int64_t begin = change_of(&zone->begin, year) - zone->standard;
    int64_t end = change_of(&zone->end, year) - zone->summer;
    bool summer = begin < end ? utc >= begin && utc < end : !(utc >= end && utc < begin);
    return summer ? zone->summer : zone->standard;
}

/* ---- The file
 * ------------------------------------------------------------------------------------------------ */

static int64_t big_endian(const uint8_t *at, int bytes)
{
    uint64_t value = at[0] & 0x80 ? UINT64_MAX : 0;
    for (int i = 0; i < bytes; i++)
        value = value << 8 | at[i];
    return (int64_t)value;
}

struct counts {
    int64_t utc, standard, leap, times, kinds, names;
};

static bool read_header(const uint8_t *at, uint64_t left, struct counts *counts)
{
    if (left < 44 || memcmp(at, "TZif", 4) != 0) return false;
    int64_t *fields[] = {&counts->utc,   &counts->standard, &counts->leap,
                         &counts->times, &counts->kinds,    &counts->names};
    for (int i = 0; i < 6; i++) {
        *fields[i] = big_endian(at + 20 + 4 * i, 4);
        if (*fields[i] < 0 || *fields[i] > 65536) return false;
    }
    return counts->times <= MAX_TRANSITIONS && counts->kinds >= 1 && counts->kinds <= MAX_KINDS;
}

static uint64_t body_size(const struct counts *c, int time_size)
{
    return (uint64_t)(c->times * (time_size + 1) + c->kinds * 6 + c->names + c->leap * (time_size + 4) +
                      c->standard + c->utc);
}

static millet_status read_body(struct mlt_zone *zone, const uint8_t *at, const struct counts *c,
                               int time_size, millet_error *err)
{
    const uint8_t *index = at + c->times * time_size, *kinds = index + c->times;
    zone->times = mlt_alloc(&zone->allocator, (size_t)c->times, sizeof *zone->times, err);
    zone->offsets = mlt_alloc(&zone->allocator, (size_t)c->times, sizeof *zone->offsets, err);
    if (!zone->times || !zone->offsets) return MILLET_NO_MEMORY;
    for (int64_t i = 0; i < c->times; i++) {
        if (index[i] >= c->kinds) return mlt_fail(err, MILLET_BAD_FORMAT, "a kind of time that there is not");
        zone->times[i] = big_endian(at + i * time_size, time_size);
        zone->offsets[i] = (int32_t)big_endian(kinds + 6 * index[i], 4);
    }
    zone->n_transitions = (int32_t)c->times;
    zone->first_offset = (int32_t)big_endian(kinds, 4);
    return MILLET_OK;
}

static millet_status parse(struct mlt_zone *zone, const uint8_t *data, uint64_t size, millet_error *err)
{
    struct counts counts;
    bool whole = read_header(data, size, &counts);
    uint64_t skip = whole ? 44 + body_size(&counts, 4) : 0;
    if (!whole || skip > size) return mlt_fail(err, MILLET_BAD_FORMAT, "no file of a time zone");
    if (data[4] < '2') return read_body(zone, data + 44, &counts, 4, err);
    if (!read_header(data + skip, size - skip, &counts) || 44 + body_size(&counts, 8) > size - skip)
        return mlt_fail(err, MILLET_BAD_FORMAT, "no file of a time zone");
    MLT_TRY(read_body(zone, data + skip + 44, &counts, 8, err));
    uint64_t end = skip + 44 + body_size(&counts, 8), n = size - end;
    char rule[128];
    if (n < 3 || n > sizeof rule || data[end] != '\n') return MILLET_OK;
    memcpy(rule, data + end + 1, n - 2);
    rule[n - 2] = 0;
    if (rule[0]) read_rule(zone, rule);
    return MILLET_OK;
}

static bool is_plain_name(const char *name)
{
    return *name && *name != '/' && !strstr(name, "..") &&
           strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+-/") == strlen(name);
}

static millet_status read_zone(struct mlt_zone *zone, const char *name, millet_error *err)
{
    char path[300];
    char *data;
    uint64_t size;
    const char *environment = name ? NULL : getenv("TZ");
    if (environment && *environment) name = *environment == ':' ? environment + 1 : environment;
    if (name && (strcmp(name, "UTC") == 0 || strcmp(name, "UTC0") == 0)) return MILLET_OK;
    if (name && (strlen(name) > 200 || !is_plain_name(name)))
        return mlt_fail(err, MILLET_NOT_FOUND, "there is no time zone \"%s\"", name);
    snprintf(path, sizeof path, name ? "/usr/share/zoneinfo/%s" : "/etc/localtime", name);
    millet_status status = mlt_file_read(&zone->allocator, path, LIMIT, &data, &size, err);
    if (status == MILLET_NOT_FOUND && !name) return MILLET_OK; /* a system without one counts in UTC */
    if (status != MILLET_OK) return status;
    status = parse(zone, (const uint8_t *)data, size, err);
    mlt_free(&zone->allocator, data);
    return status;
}

millet_status mlt_zone_open(const millet_allocator *allocator, const char *name, struct mlt_zone **out,
                            millet_error *err)
{
    struct mlt_zone *zone = mlt_alloc_zero(allocator, 1, sizeof *zone, err);
    if (!zone) return MILLET_NO_MEMORY;
    zone->allocator = *allocator;
    millet_status status = read_zone(zone, name, err);
    if (status != MILLET_OK)
        mlt_zone_close(&zone);
    else
        *out = zone;
    return status;
}

void mlt_zone_close(struct mlt_zone **handle)
{
    struct mlt_zone *zone = *handle;
    if (!zone) return;
    millet_allocator allocator = zone->allocator;
    mlt_free(&allocator, zone->times);
    mlt_free(&allocator, zone->offsets);
    mlt_free(&allocator, zone);
    *handle = NULL;
}

int32_t mlt_zone_offset(const struct mlt_zone *zone, int64_t utc)
{
    int32_t low = 0, high = zone->n_transitions;
    while (low < high) {
        int32_t middle = low + (high - low) / 2;
        if (zone->times[middle] <= utc)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == zone->n_transitions && zone->has_rule) return rule_offset(zone, utc);
    return low ? zone->offsets[low - 1] : zone->first_offset;
}

int64_t mlt_zone_utc(const struct mlt_zone *zone, int64_t local)
{
    int64_t early = local - mlt_zone_offset(zone, local - DAY),
            late = local - mlt_zone_offset(zone, local + DAY);
    if (early + mlt_zone_offset(zone, early) == local) return early;
    if (late + mlt_zone_offset(zone, late) == local) return late;
    return early; /* skipped: counted on from before the change */
}
