/* Skills of time and date. SPDX-License-Identifier: Apache-2.0 */
#include "assistant/places.h"
#include "assistant/skills.h"
#include "assistant/spoken.h"
#include "assistant/when.h"

#include <string.h>

millet_status mlt_skill_get_time(millet_call *call, void *context, millet_error *err)
{
    (void)context;
    const char *where = millet_call_text(call, "place");
    char time[64];
    if (!where) {
        mlt_spoken_time(call->assistant, time, sizeof time, mlt_call_now(call));
        mlt_call_say(call, "It's %s.", "现在是%s。", time);
        return MILLET_OK;
    }
    const struct mlt_place *place = mlt_place_find(where, strlen(where));
    if (!place) {
        mlt_call_refuse(call, "I don't know where %s is.", "我不知道%s在哪里。", where);
        return MILLET_OK;
    }
    struct mlt_zone *zone;
    MLT_TRY(mlt_zone_open(&call->assistant->allocator, place->zone, &zone, err));
    int64_t utc = mlt_call_now(call) / 1000, there = utc + mlt_zone_offset(zone, utc);
    mlt_zone_close(&zone);
    int64_t days = there / 86400 - mlt_local_now(call->assistant) / 86400;
    mlt_spoken_local_time(call->assistant, time, sizeof time, there);
    const char *day = days == 0  ? ""
                      : days > 0 ? mlt_call_word(call, " tomorrow", "明天")
                                 : mlt_call_word(call, " yesterday", "昨天");
    mlt_call_say(call, "In %1$s it's %2$s%3$s.", "%1$s现在是%3$s%2$s。",
                 mlt_call_word(call, place->english, place->chinese), time, day);
    return MILLET_OK;
}

millet_status mlt_skill_get_date(millet_call *call, void *context, millet_error *err)
{
    (void)context;
    (void)err;
    const char *day = millet_call_text(call, "day");
    char date[96], name[96];
    struct mlt_when when;
    int64_t now = mlt_call_now(call);
    if (!day || !mlt_when_read(day, &when)) {
        mlt_spoken_date(call->assistant, date, sizeof date, now);
        mlt_call_say(call, "It's %s.", "今天是%s。", date);
        return MILLET_OK;
    }
    int64_t then = mlt_wall_ms(call->assistant, when.local + 12 * 3600);
    mlt_spoken_date(call->assistant, date, sizeof date, then);
    mlt_spoken_day(call->assistant, name, sizeof name, then);
    int64_t ahead = when.local / 86400 - mlt_local_now(call->assistant) / 86400;
    if (ahead == 0)
        mlt_call_say(call, "Today is %s.", "今天是%s。", date);
    else if (ahead == 1)
        mlt_call_say(call, "Tomorrow is %s.", "明天是%s。", date);
    else if (ahead == -1)
        mlt_call_say(call, "Yesterday was %s.", "昨天是%s。", date);
    else
        mlt_call_say(call, "That is %s.", "那天是%s。", date);
    return MILLET_OK;
}
