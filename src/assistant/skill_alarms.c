/* Skills of alarms and reminders. SPDX-License-Identifier: Apache-2.0 */
#include "assistant/skills.h"
#include "assistant/spoken.h"
#include "assistant/timers.h"
#include "assistant/when.h"

#include <string.h>
#include <strings.h>

/* The hour at which a day that is told without a time begins. */
enum { MORNING = 9 * 3600 };

/* The moment of `when`, or the next of `repeat`; false after a refusal. */
static bool moment(millet_call *call, int64_t *due)
{
    struct mlt_when when = {0};
    const char *text = millet_call_text(call, "when"), *repeat = millet_call_text(call, "repeat");
    int64_t now = mlt_call_now(call);
    bool read = text && mlt_when_read(text, &when);
    if (!read) when = (struct mlt_when){mlt_local_now(call->assistant) / 86400 * 86400, false};
    if (!when.has_time) when.local += MORNING;
    *due = mlt_wall_ms(call->assistant, when.local);
    if (repeat) {
        int weekday = mlt_date_of(when.local).weekday;
        if ((*due > now && mlt_repeat_has(repeat, weekday)) ||
            mlt_next_repeat(call->assistant, repeat, *due, now, due))
            return true;
    }
    if (*due > now) return true;
    mlt_call_refuse(call, "That is in the past.", "那个时间已经过去了。");
    return false;
}

/* "every day", 每天. */
static void spoken_repeat(const millet_call *call, const char *repeat, char *text, size_t size)
{
    static const struct {
        const char *code, *english, *chinese;
    } names[] = {{"daily", "every day", "每天"},
                 {"weekdays", "every weekday", "每个工作日"},
                 {"weekends", "every weekend", "每个周末"},
                 {"MO", "Monday", "周一"},
                 {"TU", "Tuesday", "周二"},
                 {"WE", "Wednesday", "周三"},
                 {"TH", "Thursday", "周四"},
                 {"FR", "Friday", "周五"},
                 {"SA", "Saturday", "周六"},
                 {"SU", "Sunday", "周日"}};
    bool zh = call->language == MLT_CHINESE;
    size_t used = 0;
    text[0] = 0;
    for (size_t i = 0; i < MLT_COUNT(names); i++) {
        bool whole = i < 3 && strcmp(repeat, names[i].code) == 0,
             day = i >= 3 && strstr(repeat, names[i].code);
        if ((!whole && !day) || used >= size) continue;
        const char *before = whole ? "" : zh ? (used ? "、" : "每") : used ? " and " : "every ";
        used += (size_t)snprintf(text + used, size - used, "%s%s", before,
                                 zh ? names[i].chinese : names[i].english);
        if (whole) return;
    }
}

static void spoken_due(const millet_call *call, const char *repeat, int64_t due, char *text, size_t size)
{
    char days[128], time[64];
    if (!repeat || !repeat[0]) {
        mlt_spoken_moment(call->assistant, text, size, due);
        return;
    }
    spoken_repeat(call, repeat, days, sizeof days);
    mlt_spoken_time(call->assistant, time, sizeof time, due);
    snprintf(text, size, call->language == MLT_CHINESE ? "%s%s" : "%s at %s", days, time);
}

millet_status mlt_skill_set_alarm(millet_call *call, void *context, millet_error *err)
{
    (void)context;
    int64_t due, id;
    char text[256];
    const char *repeat = millet_call_text(call, "repeat");
    if (!moment(call, &due)) return MILLET_OK;
    MLT_TRY(mlt_alarm_set(call->assistant, "alarm", millet_call_text(call, "name"), due, repeat, &id, err));
    spoken_due(call, repeat, due, text, sizeof text);
    mlt_call_say(call, "The alarm is set for %s.", "闹钟已设置：%s。", text);
    mlt_call_undo(call, "cancel_alarm", json_pack("{s:f}", "id", (double)id));
    return MILLET_OK;
}

millet_status mlt_skill_set_reminder(millet_call *call, void *context, millet_error *err)
{
    (void)context;
    int64_t due, id;
    char text[256];
    const char *repeat = millet_call_text(call, "repeat"), *what = millet_call_text(call, "text");
    if (!moment(call, &due)) return MILLET_OK;
    MLT_TRY(mlt_alarm_set(call->assistant, "reminder", what, due, repeat, &id, err));
    spoken_due(call, repeat, due, text, sizeof text);
    mlt_call_say(call, "I'll remind you %2$s: %1$s.", "好的，我会在%2$s提醒您：%1$s。", what, text);
    mlt_call_undo(call, "cancel_reminder", json_pack("{s:f}", "id", (double)id));
    return MILLET_OK;
}

static bool has_part(const char *text, const char *part)
{
    size_t n = strlen(part);
    for (; strlen(text) >= n; text++)
        if (strncasecmp(text, part, n) == 0) return true;
    return false;
}

/* Whether the arguments mean this one. A day means all of that day. */
static bool fits(const millet_call *call, const struct mlt_timer *timer)
{
    struct mlt_when when;
    const char *text = millet_call_text(call, "when"), *name = millet_call_text(call, "text");
    double id = mlt_call_number_or(call, "id", 0);
    int64_t local = mlt_local_seconds(call->assistant, timer->due_wall);
    if (id > 0 && timer->id != (int64_t)id) return false;
    if (name && !has_part(timer->name, name)) return false;
    if (!text || !mlt_when_read(text, &when)) return true;
    if (!when.has_time) return local / 86400 == when.local / 86400;
    /* "the seven o'clock alarm" may be in the morning or in the evening */
    return local / 60 == when.local / 60 || (local / 60 - when.local / 60) % 720 == 0;
}

static millet_status meant(millet_call *call, const char *kind, struct mlt_timer *timers, int *count,
                           millet_error *err)
{
    int all;
    *count = 0;
    MLT_TRY(mlt_timers_list(call->assistant, kind, timers, &all, err));
    for (int i = 0; i < all; i++)
        if (fits(call, &timers[i])) timers[(*count)++] = timers[i];
    return MILLET_OK;
}

static void describe(const millet_call *call, const struct mlt_timer *timer, char *text, size_t size)
{
    char due[256];
    spoken_due(call, timer->repeat, timer->due_wall, due, sizeof due);
    if (timer->name[0])
        snprintf(text, size, call->language == MLT_CHINESE ? "%2$s的“%1$s”" : "\"%1$s\" %2$s", timer->name,
                 due);
    else
        snprintf(text, size, "%s", due);
}

static millet_status cancel(millet_call *call, const char *kind, millet_error *err)
{
    struct mlt_timer timers[MLT_MAX_TIMERS];
    char first[512], second[512];
    int count;
    bool alarm = strcmp(kind, "alarm") == 0;
    const char *which = millet_call_text(call, "which");
    MLT_TRY(meant(call, kind, timers, &count, err));
    if (count == 0) {
        if (alarm)
            mlt_call_refuse(call, "There is no such alarm.", "没有这样的闹钟。");
        else
            mlt_call_refuse(call, "There is no such reminder.", "没有这样的提醒。");
        return MILLET_OK;
    }
    describe(call, &timers[0], first, sizeof first);
    if (count > 1 && !(which && strcmp(which, "all") == 0)) {
        describe(call, &timers[1], second, sizeof second);
        mlt_call_ask(call, "Which one: %s or %s?", "哪一个：%s还是%s？", alarm ? "when" : "text", first,
                     second);
        return MILLET_OK;
    }
    for (int i = 0; i < count; i++)
        MLT_TRY(mlt_timer_end(call->assistant, timers[i].id, "cancelled", err));
    if (count > 1) {
        if (alarm)
            mlt_call_say(call, "I cancelled %d alarms.", "已取消%d个闹钟。", count);
        else
            mlt_call_say(call, "I cancelled %d reminders.", "已取消%d个提醒。", count);
        return MILLET_OK;
    }
    if (alarm)
        mlt_call_say(call, "I cancelled the alarm: %s.", "已取消闹钟：%s。", first);
    else
        mlt_call_say(call, "I cancelled the reminder: %s.", "已取消提醒：%s。", first);
    char when[32];
    struct mlt_when due = {mlt_local_seconds(call->assistant, timers[0].due_wall), true};
    mlt_when_text(&due, when, sizeof when);
    json_t *undo = json_pack("{s:s}", "when", when);
    if (undo && timers[0].name[0])
        json_object_set_new(undo, alarm ? "name" : "text", json_string(timers[0].name));
    if (undo && timers[0].repeat[0]) json_object_set_new(undo, "repeat", json_string(timers[0].repeat));
    mlt_call_undo(call, alarm ? "set_alarm" : "set_reminder", undo);
    return MILLET_OK;
}

millet_status mlt_skill_cancel_alarm(millet_call *call, void *context, millet_error *err)
{
    (void)context;
    return cancel(call, "alarm", err);
}

millet_status mlt_skill_cancel_reminder(millet_call *call, void *context, millet_error *err)
{
    (void)context;
    return cancel(call, "reminder", err);
}

millet_status mlt_skill_list_alarms(millet_call *call, void *context, millet_error *err)
{
    (void)context;
    struct mlt_timer timers[MLT_MAX_TIMERS];
    char text[512];
    int count;
    MLT_TRY(meant(call, "alarm", timers, &count, err));
    if (count == 0) mlt_call_refuse(call, "No alarm is set.", "没有设置闹钟。");
    for (int i = 0; i < count; i++) {
        describe(call, &timers[i], text, sizeof text);
        mlt_call_say(call, "Alarm: %s.", "闹钟：%s。", text);
    }
    return MILLET_OK;
}

millet_status mlt_skill_list_reminders(millet_call *call, void *context, millet_error *err)
{
    (void)context;
    struct mlt_timer timers[MLT_MAX_TIMERS];
    char text[512];
    int count;
    MLT_TRY(meant(call, "reminder", timers, &count, err));
    if (count == 0) mlt_call_refuse(call, "There are no reminders.", "没有提醒。");
    for (int i = 0; i < count; i++) {
        describe(call, &timers[i], text, sizeof text);
        mlt_call_say(call, "Reminder: %s.", "提醒：%s。", text);
    }
    return MILLET_OK;
}
