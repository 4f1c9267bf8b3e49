/* Skills of the calendar. SPDX-License-Identifier: Apache-2.0 */
#include "assistant/calendar.h"
#include "assistant/skills.h"
#include "assistant/spoken.h"
#include "assistant/when.h"

#include <math.h>
#include <string.h>

enum { SHOWN = 10, HOUR_MS = 3600000, DAY_S = 86400 };

static void spoken_start(const millet_call *call, const struct mlt_event *event, char *text, size_t size)
{
    if (event->whole_day)
        mlt_spoken_day(call->assistant, text, size, event->starts);
    else
        mlt_spoken_moment(call->assistant, text, size, event->starts);
}

/* The span that `when` means: its day, or from its time on to the day's end; without one the next four weeks.
 */
static void span_of(const millet_call *call, int64_t *from, int64_t *to)
{
    struct mlt_when when;
    const char *text = millet_call_text(call, "when");
    if (text && mlt_when_read(text, &when)) {
        int64_t day = when.local - when.local % DAY_S;
        *from = mlt_wall_ms(call->assistant, when.has_time ? when.local : day);
        *to = mlt_wall_ms(call->assistant, day + DAY_S);
    } else {
        *from = mlt_call_now(call);
        *to = *from + (int64_t)28 * 24 * HOUR_MS;
    }
}

millet_status mlt_skill_add_event(millet_call *call, void *context, millet_error *err)
{
    (void)context;
    struct mlt_when when = {0};
    struct mlt_event event = {0}, others[1];
    char text[128];
    int clashes = 0;
    const char *place = millet_call_text(call, "place");
    mlt_when_read(millet_call_text(call, "when"), &when);
    double length = mlt_call_number_or(call, "length", 0);
    event.whole_day = !when.has_time;
    event.starts = mlt_wall_ms(call->assistant, when.local);
    event.ends = event.whole_day ? mlt_wall_ms(call->assistant, when.local + DAY_S)
                                 : event.starts + (length > 0 ? llround(length * 1000) : HOUR_MS);
    snprintf(event.title, sizeof event.title, "%s", millet_call_text(call, "title"));
    snprintf(event.place, sizeof event.place, "%s", place ? place : "");
    if (!event.whole_day)
        MLT_TRY(mlt_events_find(call->assistant, event.starts, event.ends, NULL, others, 1, &clashes, err));
    MLT_TRY(mlt_event_keep(call->assistant, &event, err));
    spoken_start(call, &event, text, sizeof text);
    mlt_call_say(call, "\"%s\" is in your calendar, %s.", "已加入日历：%s，%s。", event.title, text);
    if (clashes && !others[0].whole_day)
        mlt_call_say(call, "It overlaps with \"%s\".", "它与“%s”时间冲突。", others[0].title);
    mlt_call_undo(call, "cancel_event", json_pack("{s:f}", "id", (double)event.id));
    return MILLET_OK;
}

millet_status mlt_skill_list_events(millet_call *call, void *context, millet_error *err)
{
    (void)context;
    struct mlt_event events[SHOWN];
    int64_t from, to;
    int count;
    char text[128];
    span_of(call, &from, &to);
    MLT_TRY(mlt_events_find(call->assistant, from, to, millet_call_text(call, "title"), events, SHOWN, &count,
                            err));
    if (count == 0) mlt_call_say(call, "There is nothing in your calendar.", "日历上没有安排。");
    for (int i = 0; i < count; i++) {
        spoken_start(call, &events[i], text, sizeof text);
        if (events[i].place[0])
            mlt_call_say(call, "\"%s\" %s, at %s.", "“%s”%s，地点%s。", events[i].title, text,
                         events[i].place);
        else
            mlt_call_say(call, "\"%s\" %s.", "“%s”%s。", events[i].title, text);
    }
    return MILLET_OK;
}

millet_status mlt_skill_cancel_event(millet_call *call, void *context, millet_error *err)
{
    (void)context;
    struct mlt_event events[SHOWN];
    int64_t from, to;
    int count = 0;
    double id = mlt_call_number_or(call, "id", 0);
    if (id > 0) {
        MLT_TRY(
            mlt_store_run(mlt_call_store(call), err, "DELETE FROM events WHERE id = ?1", "i", (int64_t)id));
        mlt_call_say(call, "It is out of your calendar again.", "已从日历中删除。");
        return MILLET_OK;
    }
    span_of(call, &from, &to);
    MLT_TRY(mlt_events_find(call->assistant, from, to, millet_call_text(call, "title"), events, SHOWN, &count,
                            err));
    if (count == 0) {
        mlt_call_refuse(call, "There is no such event.", "没有这样的安排。");
    } else if (count > 1) {
        mlt_call_ask(call, "Which one: \"%s\" or \"%s\"?", "哪一个：“%s”还是“%s”？", "title", events[0].title,
                     events[1].title);
    } else {
        MLT_TRY(
            mlt_store_run(mlt_call_store(call), err, "DELETE FROM events WHERE id = ?1", "i", events[0].id));
        mlt_call_say(call, "I removed \"%s\" from your calendar.", "已从日历中删除“%s”。", events[0].title);
    }
    return MILLET_OK;
}
