/* Reading and writing iCalendar. SPDX-License-Identifier: Apache-2.0 */
#include "assistant/calendar.h"
#include "assistant/when.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { MAX_LINE = 4096, DAY_MS = 86400000 };

struct reader {
    const millet_assistant *assistant;
    const char *text;
    size_t length, at;
    int64_t number; /* of the line */
    char line[MAX_LINE];
    millet_error *err;
};

static millet_status bad(const struct reader *r, const char *what)
{
    return mlt_fail_at(r->err, MILLET_BAD_FORMAT, NULL, NULL, (uint64_t)r->number,
                       "line %lld of the calendar: %s", (long long)r->number, what);
}

/* The next line, folded ones as one; what is longer than MAX_LINE is cut. */
static bool next_line(struct reader *r)
{
    size_t used = 0;
    if (r->at >= r->length) return false;
    for (bool more = true; more;) {
        while (r->at < r->length && r->text[r->at] != '\n') {
            char c = r->text[r->at++];
            if (c != '\r' && used + 1 < MAX_LINE) r->line[used++] = c;
        }
        r->at++;
        r->number++;
        more = r->at < r->length && (r->text[r->at] == ' ' || r->text[r->at] == '\t');
        if (more) r->at++;
    }
    r->line[used] = 0;
    return true;
}

/* The value of a line that begins with the name, and its parameters in `parameters`; NULL: another line. */
static char *value_of(struct reader *r, const char *name, const char **parameters)
{
    size_t n = strlen(name);
    if (strncasecmp(r->line, name, n) != 0 || (r->line[n] != ':' && r->line[n] != ';')) return NULL;
    char *colon = r->line + n;
    for (bool quoted = false; *colon && (quoted || *colon != ':'); colon++)
        if (*colon == '"') quoted = !quoted;
    if (!*colon) return NULL;
    *colon = 0;
    *parameters = r->line + n;
    return colon + 1;
}

/* Backslashes undone. */
static void take_text(char *to, size_t size, const char *from)
{
    size_t used = 0;
    for (; *from && used + 1 < size; from++) {
        if (*from == '\\' && from[1]) from++;
        to[used++] = *from == 'n' && from[-1] == '\\' ? ' ' : *from;
    }
    /* no half of a character at the end */
    while (*from && used && ((unsigned char)to[used - 1] & 0xC0) == 0x80)
        used--;
    if (*from && used && ((unsigned char)to[used - 1] & 0x80)) used--;
    to[used] = 0;
}

/* "20261231T183000Z", "20261231": *ms since 1970. */
static millet_status take_time(const struct reader *r, const char *value, const char *parameters, int64_t *ms,
                               bool *whole_day)
{
    struct mlt_date d = {0};
    int used = 0;
    bool day = sscanf(value, "%4d%2d%2d%n", &d.year, &d.month, &d.day, &used) == 3 && used == 8;
    bool time = day && value[8] == 'T' &&
                sscanf(value + 9, "%2d%2d%2d%n", &d.hour, &d.minute, &d.second, &used) == 3 && used == 6;
    if (!day || (value[8] && !time) || d.month < 1 || d.month > 12 || d.day < 1 || d.year < 1900 ||
        d.day > mlt_days_of_month(d.year, d.month) || d.hour > 23 || d.minute > 59 || d.second > 60)
        return bad(r, "no point in time");
    int64_t local = mlt_local_of(&d);
    *whole_day = !time;
    const char *zone = strstr(parameters, "TZID=");
    if (time && value[15] == 'Z') {
        *ms = local * 1000;
    } else if (time && zone) {
        char name[128];
        struct mlt_zone *there;
        snprintf(name, sizeof name, "%s", zone + 5);
        name[strcspn(name, ";")] = 0;
        /* zones that are not of the database are read as here */
        if (mlt_zone_open(&r->assistant->allocator, name, &there, NULL) != MILLET_OK) {
            *ms = mlt_wall_ms(r->assistant, local);
            return MILLET_OK;
        }
        *ms = mlt_zone_utc(there, local) * 1000;
        mlt_zone_close(&there);
    } else {
        *ms = mlt_wall_ms(r->assistant, local);
    }
    return MILLET_OK;
}

/* "P1DT2H30M", "PT1H". */
static bool take_length(const char *value, int64_t *ms)
{
    int64_t total = 0;
    if (*value++ != 'P') return false;
    for (; *value; value++) {
        char *end;
        if (*value == 'T') continue;
        long n = strtol(value, &end, 10);
        int64_t unit = *end == 'W'   ? 604800
                       : *end == 'D' ? 86400
                       : *end == 'H' ? 3600
                       : *end == 'M' ? 60
                       : *end == 'S' ? 1
                                     : 0;
        if (end == value || n < 0 || n > 100000 || !unit) return false;
        total += n * unit * 1000;
        value = end;
    }
    *ms = total;
    return total > 0;
}

static millet_status read_event(struct reader *r, struct mlt_event *event)
{
    const char *parameters, *value;
    bool starts = false, day;
    int depth = 0; /* of VALARM and the like */
    int64_t length = 0;
    *event = (struct mlt_event){0};
    while (next_line(r)) {
        if (strncasecmp(r->line, "END:VEVENT", 10) == 0 && depth == 0) {
            if (!starts) return bad(r, "an event without DTSTART");
            if (length) event->ends = event->starts + length;
            if (event->ends <= event->starts) event->ends = event->starts + (event->whole_day ? DAY_MS : 0);
            if (!event->title[0]) strcpy(event->title, "?");
            return MILLET_OK;
        }
        depth += strncasecmp(r->line, "BEGIN:", 6) == 0;
        depth -= strncasecmp(r->line, "END:", 4) == 0;
        if (depth > 0) continue;
        if ((value = value_of(r, "SUMMARY", &parameters))) {
            take_text(event->title, sizeof event->title, value);
        } else if ((value = value_of(r, "LOCATION", &parameters))) {
            take_text(event->place, sizeof event->place, value);
        } else if ((value = value_of(r, "UID", &parameters))) {
            take_text(event->uid, sizeof event->uid, value);
        } else if ((value = value_of(r, "RRULE", &parameters))) {
            snprintf(event->rule, sizeof event->rule, "%s", value);
        } else if ((value = value_of(r, "DURATION", &parameters))) {
            if (!take_length(value, &length)) return bad(r, "no length of time");
        } else if ((value = value_of(r, "DTSTART", &parameters))) {
            starts = true;
            MLT_TRY(take_time(r, value, parameters, &event->starts, &event->whole_day));
        } else if ((value = value_of(r, "DTEND", &parameters))) {
            MLT_TRY(take_time(r, value, parameters, &event->ends, &day));
        }
    }
    return bad(r, "an event does not end");
}

millet_status mlt_calendar_read(const millet_assistant *assistant, const char *text, size_t length,
                                mlt_event_taker *take, void *context, millet_error *err)
{
    struct reader *r = mlt_alloc_zero(&assistant->allocator, 1, sizeof *r, err);
    struct mlt_event event;
    bool calendar = false;
    if (!r) return MILLET_NO_MEMORY;
    *r = (struct reader){.assistant = assistant, .text = text, .length = length, .err = err};
    millet_status status = MILLET_OK;
    while (status == MILLET_OK && next_line(r)) {
        calendar |= strncasecmp(r->line, "BEGIN:VCALENDAR", 15) == 0;
        if (!calendar && r->line[0]) status = bad(r, "no calendar: it must begin with BEGIN:VCALENDAR");
        if (status != MILLET_OK || strncasecmp(r->line, "BEGIN:VEVENT", 12) != 0) continue;
        status = read_event(r, &event);
        if (status == MILLET_OK) status = take(context, &event, err);
    }
    if (status == MILLET_OK && !calendar) status = bad(r, "no calendar: it must begin with BEGIN:VCALENDAR");
    mlt_free(&assistant->allocator, r);
    return status;
}

/* A line, folded at 75 bytes and not within a character. */
static millet_status put_line(struct mlt_text *out, const char *name, const char *value, bool escape,
                              millet_error *err)
{
    char line[2048];
    size_t used = (size_t)snprintf(line, sizeof line, "%s", name);
    for (; *value && used + 3 < sizeof line; value++) {
        if (escape && strchr("\\,;", *value)) line[used++] = '\\';
        line[used++] = *value;
    }
    for (size_t at = 0; at < used;) {
        size_t n = MLT_MIN(used - at, at ? 74 : 75);
        while (at + n < used && ((unsigned char)line[at + n] & 0xC0) == 0x80)
            n--;
        if (at) MLT_TRY(mlt_text_append(out, " ", 1, err));
        MLT_TRY(mlt_text_append(out, line + at, n, err));
        MLT_TRY(mlt_text_append(out, "\r\n", 2, err));
        at += n;
    }
    return MILLET_OK;
}

static millet_status put_time(const millet_assistant *assistant, struct mlt_text *out, const char *name,
                              int64_t ms, bool whole_day, millet_error *err)
{
    struct mlt_date d = mlt_date_of(whole_day ? mlt_local_seconds(assistant, ms) : ms / 1000);
    if (whole_day)
        return mlt_text_printf(out, err, "%s;VALUE=DATE:%04d%02d%02d\r\n", name, d.year, d.month, d.day);
    return mlt_text_printf(out, err, "%s:%04d%02d%02dT%02d%02d%02dZ\r\n", name, d.year, d.month, d.day,
                           d.hour, d.minute, d.second);
}

millet_status mlt_calendar_write(const millet_assistant *assistant, const struct mlt_event *event,
                                 struct mlt_text *out, millet_error *err)
{
    MLT_TRY(mlt_text_printf(out, err, "BEGIN:VEVENT\r\n"));
    MLT_TRY(put_line(out, "UID:", event->uid, true, err));
    MLT_TRY(put_time(assistant, out, "DTSTAMP", assistant->clock.wall(assistant->clock.context), false, err));
    MLT_TRY(put_time(assistant, out, "DTSTART", event->starts, event->whole_day, err));
    MLT_TRY(put_time(assistant, out, "DTEND", event->ends, event->whole_day, err));
    MLT_TRY(put_line(out, "SUMMARY:", event->title, true, err));
    if (event->place[0]) MLT_TRY(put_line(out, "LOCATION:", event->place, true, err));
    if (event->rule[0]) MLT_TRY(put_line(out, "RRULE:", event->rule, false, err));
    return mlt_text_printf(out, err, "END:VEVENT\r\n");
}
