/* Events in the store, and when they take place. SPDX-License-Identifier: Apache-2.0 */
#include "assistant/calendar.h"

#include "assistant/when.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_STEPS = 20000, DAY = 86400 };

static void copy(char *to, size_t size, const char *from)
{
    snprintf(to, size, "%s", from);
}

millet_status mlt_event_keep(millet_assistant *assistant, struct mlt_event *event, millet_error *err)
{
    if (!event->uid[0]) {
        uint64_t a = mlt_random_u64(&assistant->random), b = mlt_random_u64(&assistant->random);
        snprintf(event->uid, sizeof event->uid, "%016llx%016llx@millet", (unsigned long long)a,
                 (unsigned long long)b);
    }
    MLT_TRY(mlt_store_run(assistant->store, err,
                          "INSERT OR REPLACE INTO events(uid, title, place, starts, ends, whole_day, rule)"
                          " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                          "sssiiis", event->uid, event->title, event->place[0] ? event->place : NULL,
                          event->starts, event->ends, (int64_t)event->whole_day,
                          event->rule[0] ? event->rule : NULL));
    event->id = mlt_store_last_id(assistant->store);
    return MILLET_OK;
}

/* ---- Repetition
 * ----------------------------------------------------------------------------------------------- */

struct rule {
    char frequency; /* D, W, M, Y */
    int interval, count;
    int64_t until; /* local seconds; INT64_MAX: none */
    bool days[7];  /* BYDAY, Sunday first */
    bool has_days;
};

static bool read_rule(const char *text, struct rule *rule)
{
    static const char *const codes[7] = {"SU", "MO", "TU", "WE", "TH", "FR", "SA"};
    *rule = (struct rule){.interval = 1, .until = INT64_MAX};
    for (const char *at = text; *at; at += strcspn(at, ";"), at += *at == ';') {
        size_t n = strcspn(at, ";");
        struct mlt_date d = {0};
        if (strncmp(at, "FREQ=", 5) == 0) {
            rule->frequency = at[5];
        } else if (strncmp(at, "INTERVAL=", 9) == 0) {
            rule->interval = atoi(at + 9);
        } else if (strncmp(at, "COUNT=", 6) == 0) {
            rule->count = atoi(at + 6);
        } else if (strncmp(at, "UNTIL=", 6) == 0 &&
                   sscanf(at + 6, "%4d%2d%2d", &d.year, &d.month, &d.day) == 3) {
            rule->until = mlt_local_of(&d) + DAY - 1;
        } else if (strncmp(at, "BYDAY=", 6) == 0) {
            for (int i = 0; i < 7; i++)
                for (size_t c = 6; c + 2 <= n; c++)
                    if (strncmp(at + c, codes[i], 2) == 0) rule->days[i] = rule->has_days = true;
        }
    }
    return strchr("DWMY", rule->frequency) && rule->frequency && rule->interval >= 1 && rule->interval < 1000;
}

/* The start of step `n` in local seconds; false where that month has no such day. */
static bool step_start(const struct rule *rule, int64_t first, int64_t n, int64_t *start)
{
    struct mlt_date d = mlt_date_of(first);
    if (rule->frequency == 'D' || rule->frequency == 'W') {
        *start = first + n * (rule->frequency == 'W' && !rule->has_days ? 7 : 1) * (int64_t)DAY;
        return true;
    }
    int64_t months = d.month - 1 + n * (rule->frequency == 'Y' ? 12 : 1);
    d.year += (int)(months / 12);
    d.month = (int)(months % 12) + 1;
    if (d.day > mlt_days_of_month(d.year, d.month)) return false;
    *start = mlt_local_of(&d);
    return true;
}

/* Whether step n belongs to the rule: every so many days, weeks (with days of the week: steps are days),
 * months. */
static bool step_counts(const struct rule *rule, int64_t first, int64_t n, int64_t start)
{
    if (rule->frequency == 'W' && rule->has_days) {
        int64_t monday = (mlt_date_of(first).weekday + 6) % 7;
        int64_t week = (n + monday) / 7;
        return week % rule->interval == 0 && rule->days[mlt_date_of(start).weekday];
    }
    return n % rule->interval == 0;
}

bool mlt_event_occurs(const millet_assistant *assistant, const struct mlt_event *event, int64_t from,
                      int64_t to, int64_t *starts)
{
    int64_t length = event->ends - event->starts;
    struct rule rule;
    *starts = event->starts;
    if (!event->rule[0] || !read_rule(event->rule, &rule))
        return event->starts < to && (event->ends > from || (length == 0 && event->starts >= from));
    int64_t first = mlt_local_seconds(assistant, event->starts), start;
    int counted = 0;
    for (int64_t n = 0; n < MAX_STEPS; n++) {
        if (!step_start(&rule, first, n, &start) || !step_counts(&rule, first, n, start)) continue;
        if (start > rule.until || (rule.count && ++counted > rule.count)) return false;
        *starts = mlt_wall_ms(assistant, start);
        if (*starts >= to) return false;
        if (*starts + length > from || (length == 0 && *starts >= from)) return true;
    }
    return false;
}

/* ---- Finding
 * --------------------------------------------------------------------------------------------------- */

static void read_row(const struct mlt_rows *rows, struct mlt_event *event)
{
    *event = (struct mlt_event){.id = mlt_row_int(rows, 0),
                                .starts = mlt_row_int(rows, 4),
                                .ends = mlt_row_int(rows, 5),
                                .whole_day = mlt_row_int(rows, 6) != 0};
    copy(event->uid, sizeof event->uid, mlt_row_text(rows, 1));
    copy(event->title, sizeof event->title, mlt_row_text(rows, 2));
    copy(event->place, sizeof event->place, mlt_row_text(rows, 3));
    copy(event->rule, sizeof event->rule, mlt_row_text(rows, 7));
}

static int by_start(const void *a, const void *b)
{
    const struct mlt_event *x = a, *y = b;
    return x->starts != y->starts ? (x->starts > y->starts) - (x->starts < y->starts)
                                  : (x->id > y->id) - (x->id < y->id);
}

millet_status mlt_events_find(millet_assistant *assistant, int64_t from, int64_t to, const char *title,
                              struct mlt_event *events, int limit, int *count, millet_error *err)
{
    struct mlt_rows rows;
    *count = 0;
    MLT_TRY(mlt_rows_open(
        assistant->store, &rows, err,
        "SELECT id, uid, title, place, starts, ends, whole_day, rule FROM events WHERE starts < ?2"
        " AND (ends >= ?1 OR rule IS NOT NULL)"
        " AND (?3 IS NULL OR instr(lower(title), lower(?3)) > 0) ORDER BY starts, id",
        "iis", from, to, title));
    while (mlt_rows_next(&rows) && *count < limit) {
        struct mlt_event *event = &events[*count];
        int64_t starts;
        read_row(&rows, event);
        if (!mlt_event_occurs(assistant, event, from, to, &starts)) continue;
        event->ends += starts - event->starts;
        event->starts = starts;
        ++*count;
    }
    qsort(events, (size_t)*count, sizeof *events, by_start);
    return mlt_rows_close(&rows, err);
}

/* ---- Import and export
 * ----------------------------------------------------------------------------------------- */

struct import {
    millet_assistant *assistant;
    int32_t count;
};

static millet_status take_event(void *context, struct mlt_event *event, millet_error *err)
{
    struct import *import = context;
    import->count++;
    return mlt_event_keep(import->assistant, event, err);
}

millet_status millet_assistant_import_calendar(millet_assistant *assistant, const char *text, size_t length,
                                               int32_t *count, millet_error *err)
{
    struct import import = {assistant, 0};
    MLT_TRY(mlt_store_begin(assistant->store, err));
    millet_status status = mlt_calendar_read(assistant, text, length, take_event, &import, err);
    if (status == MILLET_OK) status = mlt_store_commit(assistant->store, err);
    if (status != MILLET_OK) mlt_store_rollback(assistant->store);
    *count = status == MILLET_OK ? import.count : 0;
    return status;
}

millet_status millet_assistant_export_calendar(millet_assistant *assistant, const char **text, size_t *length,
                                               millet_error *err)
{
    struct mlt_rows rows;
    struct mlt_text *out = &assistant->text;
    out->length = 0;
    MLT_TRY(mlt_text_printf(out, err, "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//Millet//assist//EN\r\n"));
    MLT_TRY(mlt_rows_open(
        assistant->store, &rows, err,
        "SELECT id, uid, title, place, starts, ends, whole_day, rule FROM events ORDER BY starts, id", ""));
    millet_status status = MILLET_OK;
    while (status == MILLET_OK && mlt_rows_next(&rows)) {
        struct mlt_event event;
        read_row(&rows, &event);
        status = mlt_calendar_write(assistant, &event, out, err);
    }
    millet_status closed = mlt_rows_close(&rows, status == MILLET_OK ? err : NULL);
    if (status == MILLET_OK) status = closed;
    if (status == MILLET_OK) status = mlt_text_printf(out, err, "END:VCALENDAR\r\n");
    *text = out->data;
    *length = out->length;
    return status;
}
