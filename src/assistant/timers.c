/* Timers in the store, and firing them. SPDX-License-Identifier: Apache-2.0 */
#include "assistant/timers.h"

#include "assistant/dialogue.h"
#include "assistant/spoken.h"
#include "assistant/when.h"

#include <stdio.h>
#include <string.h>

enum { MISSED_AFTER_MS = 60000 };

/* Milliseconds until a row is due, from ?1 the time of day, ?2 the uptime, ?3 the run of the machine. */
#define LEFT                                                                                                 \
    "CASE WHEN state = 'paused' THEN left_ms WHEN kind = 'timer' AND boot = ?3 AND boot <> ''"               \
    " THEN due_uptime - ?2 ELSE due_wall - ?1 END"

static int64_t wall(const millet_assistant *assistant)
{
    return assistant->clock.wall(assistant->clock.context);
}

static int64_t uptime(const millet_assistant *assistant)
{
    return assistant->clock.uptime(assistant->clock.context);
}

static const char *boot(const millet_assistant *assistant)
{
    return assistant->clock.boot ? assistant->clock.boot : "";
}

static void copy(char *to, size_t size, const char *from)
{
    snprintf(to, size, "%s", from);
}

millet_status mlt_timers_list(millet_assistant *assistant, const char *kind, struct mlt_timer *timers,
                              int *count, millet_error *err)
{
    struct mlt_rows rows;
    *count = 0;
    MLT_TRY(mlt_rows_open(
        assistant->store, &rows, err,
        "SELECT id, kind, name, length_ms, due_wall, " LEFT " AS left, state = 'paused', repeat"
        " FROM timers WHERE state IN ('running', 'paused') AND kind = ?4"
        " ORDER BY left, id LIMIT ?5",
        "iissi", wall(assistant), uptime(assistant), boot(assistant), kind, (int64_t)MLT_MAX_TIMERS));
    while (mlt_rows_next(&rows) && *count < MLT_MAX_TIMERS) {
        struct mlt_timer *timer = &timers[(*count)++];
        *timer = (struct mlt_timer){.id = mlt_row_int(&rows, 0),
                                    .length_ms = mlt_row_int(&rows, 3),
                                    .due_wall = mlt_row_int(&rows, 4),
                                    .left_ms = mlt_row_int(&rows, 5),
                                    .paused = mlt_row_int(&rows, 6) != 0};
        copy(timer->kind, sizeof timer->kind, mlt_row_text(&rows, 1));
        copy(timer->name, sizeof timer->name, mlt_row_text(&rows, 2));
        copy(timer->repeat, sizeof timer->repeat, mlt_row_text(&rows, 7));
    }
    return mlt_rows_close(&rows, err);
}

millet_status mlt_timer_start(millet_assistant *assistant, const char *name, int64_t length_ms, int64_t *id,
                              millet_error *err)
{
    MLT_TRY(
        mlt_store_run(assistant->store, err,
                      "INSERT INTO timers(kind, name, length_ms, due_wall, due_uptime, boot, state, created)"
                      " VALUES ('timer', ?1, ?2, ?3, ?4, ?5, 'running', ?6)",
                      "siiisi", name, length_ms, wall(assistant) + length_ms, uptime(assistant) + length_ms,
                      boot(assistant), wall(assistant)));
    *id = mlt_store_last_id(assistant->store);
    return MILLET_OK;
}

millet_status mlt_alarm_set(millet_assistant *assistant, const char *kind, const char *name, int64_t due_wall,
                            const char *repeat, int64_t *id, millet_error *err)
{
    MLT_TRY(mlt_store_run(assistant->store, err,
                          "INSERT INTO timers(kind, name, due_wall, state, repeat, created)"
                          " VALUES (?1, ?2, ?3, 'running', ?4, ?5)",
                          "ssisi", kind, name, due_wall, repeat, wall(assistant)));
    *id = mlt_store_last_id(assistant->store);
    return MILLET_OK;
}

millet_status mlt_timer_run(millet_assistant *assistant, int64_t id, int64_t left_ms, millet_error *err)
{
    return mlt_store_run(assistant->store, err,
                         "UPDATE timers SET state = 'running', due_wall = ?2, due_uptime = ?3, boot = ?4,"
                         " left_ms = NULL WHERE id = ?1",
                         "iiis", id, wall(assistant) + left_ms, uptime(assistant) + left_ms, boot(assistant));
}

millet_status mlt_timer_pause(millet_assistant *assistant, const struct mlt_timer *timer, millet_error *err)
{
    return mlt_store_run(assistant->store, err,
                         "UPDATE timers SET state = 'paused', left_ms = ?2 WHERE id = ?1", "ii", timer->id,
                         timer->left_ms);
}

millet_status mlt_timer_end(millet_assistant *assistant, int64_t id, const char *state, millet_error *err)
{
    return mlt_store_run(assistant->store, err, "UPDATE timers SET state = ?2 WHERE id = ?1", "is", id,
                         state);
}

/* ---- Firing
 * -------------------------------------------------------------------------------------------------- */

static millet_status say_fired(millet_assistant *assistant, const struct mlt_timer *timer, millet_error *err)
{
    bool zh = assistant->dialogue.language == MLT_CHINESE;
    char text[512], length[96], when[96];
    bool named = timer->name[0] != 0;
    if (strcmp(timer->kind, "timer") == 0) {
        mlt_spoken_duration(length, sizeof length, timer->length_ms, assistant->dialogue.language);
        if (named)
            snprintf(text, sizeof text, zh ? "%s计时器到时间了。" : "The %s timer is done.", timer->name);
        else
            snprintf(text, sizeof text, zh ? "%s的计时器到时间了。" : "The timer for %s is done.", length);
    } else if (strcmp(timer->kind, "alarm") == 0) {
        mlt_spoken_time(assistant, when, sizeof when, timer->due_wall);
        if (named)
            snprintf(text, sizeof text, zh ? "%s了，%s。" : "It is %s: %s.", when, timer->name);
        else
            snprintf(text, sizeof text, zh ? "%s了，闹钟响了。" : "It is %s. This is your alarm.", when);
    } else {
        snprintf(text, sizeof text, zh ? "提醒：%s。" : "Reminder: %s.", timer->name);
    }
    if (timer->left_ms < -MISSED_AFTER_MS) {
        mlt_spoken_moment(assistant, when, sizeof when, timer->due_wall);
        MLT_TRY(mlt_answer_say_either(assistant, "You missed this:", "您错过了：", err));
        MLT_TRY(mlt_answer_say(assistant, text, err));
        snprintf(text, sizeof text, zh ? "（%s）" : "(%s)", when);
    }
    return mlt_answer_say(assistant, text, err);
}

/* Fired, or set to its next time. */
static millet_status end_or_repeat(millet_assistant *assistant, const struct mlt_timer *timer,
                                   millet_error *err)
{
    int64_t next = 0;
    if (timer->repeat[0] &&
        mlt_next_repeat(assistant, timer->repeat, timer->due_wall, wall(assistant), &next))
        return mlt_store_run(assistant->store, err, "UPDATE timers SET due_wall = ?2 WHERE id = ?1", "ii",
                             timer->id, next);
    return mlt_timer_end(assistant, timer->id, "fired", err);
}

static millet_status fire_all(millet_assistant *assistant, millet_error *err)
{
    static const char *const kinds[] = {"timer", "alarm", "reminder"};
    for (size_t k = 0; k < MLT_COUNT(kinds); k++) {
        struct mlt_timer timers[MLT_MAX_TIMERS];
        int count;
        MLT_TRY(mlt_timers_list(assistant, kinds[k], timers, &count, err));
        for (int i = 0; i < count; i++) {
            if (timers[i].paused || timers[i].left_ms > 0) continue;
            MLT_TRY(end_or_repeat(assistant, &timers[i], err));
            MLT_TRY(say_fired(assistant, &timers[i], err));
        }
    }
    return MILLET_OK;
}

millet_status millet_assistant_due(millet_assistant *assistant, millet_answer *answer, millet_error *err)
{
    mlt_answer_begin(assistant);
    if (millet_assistant_next_due(assistant) == 0) {
        if (assistant->language >= 0) assistant->dialogue.language = (enum mlt_language)assistant->language;
        MLT_TRY(mlt_store_begin(assistant->store, err));
        millet_status status = fire_all(assistant, err);
        if (status == MILLET_OK) status = mlt_store_commit(assistant->store, err);
        if (status != MILLET_OK) {
            mlt_store_rollback(assistant->store);
            return status;
        }
    }
    return mlt_answer_end(assistant, answer, err);
}

int64_t millet_assistant_next_due(millet_assistant *assistant)
{
    struct mlt_rows rows;
    int64_t left = -1;
    if (mlt_rows_open(assistant->store, &rows, NULL,
                      "SELECT min(" LEFT ") FROM timers WHERE state = 'running'", "iis", wall(assistant),
                      uptime(assistant), boot(assistant)) != MILLET_OK)
        return -1;
    if (mlt_rows_next(&rows) && !mlt_row_null(&rows, 0)) left = MLT_MAX(mlt_row_int(&rows, 0), 0);
    mlt_rows_close(&rows, NULL);
    return left;
}
