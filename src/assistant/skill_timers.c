/* Skills of timers. SPDX-License-Identifier: Apache-2.0 */
#include "assistant/skills.h"
#include "assistant/spoken.h"
#include "assistant/timers.h"

#include <math.h>
#include <string.h>
#include <strings.h>

static const double longest = 366.0 * 86400;

/* "the eggs timer", "the timer for 10 minutes". */
static void describe(const millet_call *call, const struct mlt_timer *timer, char *text, size_t size)
{
    char length[96];
    mlt_spoken_duration(length, sizeof length, timer->length_ms, call->language);
    bool zh = call->language == MLT_CHINESE;
    if (timer->name[0])
        snprintf(text, size, zh ? "%s计时器" : "the %s timer", timer->name);
    else
        snprintf(text, size, zh ? "%s的计时器" : "the timer for %s", length);
}

/* The timers that the arguments `name` and `length` mean; all where neither was told. */
static millet_status meant(millet_call *call, struct mlt_timer *timers, int *count, millet_error *err)
{
    const char *name = millet_call_text(call, "name");
    double length = mlt_call_number_or(call, "length", 0), id = mlt_call_number_or(call, "id", 0);
    int all, n = 0;
    MLT_TRY(mlt_timers_list(call->assistant, "timer", timers, &all, err));
    for (int i = 0; i < all; i++) {
        bool fits = (!name || strcasecmp(timers[i].name, name) == 0) &&
                    (length <= 0 || llround(length * 1000) == timers[i].length_ms) &&
                    (id <= 0 || timers[i].id == (int64_t)id);
        if (fits) timers[n++] = timers[i];
    }
    *count = n;
    return MILLET_OK;
}

/* The one timer that is meant; refuses or asks otherwise, and *one is false. */
static millet_status meant_one(millet_call *call, struct mlt_timer *timer, bool *one, millet_error *err)
{
    struct mlt_timer timers[MLT_MAX_TIMERS];
    int count;
    *one = false;
    MLT_TRY(meant(call, timers, &count, err));
    if (count == 1) {
        *timer = timers[0];
        *one = true;
    } else if (count == 0) {
        mlt_call_refuse(call, "There is no such timer.", "没有这样的计时器。");
    } else {
        char first[300], second[300];
        describe(call, &timers[0], first, sizeof first);
        describe(call, &timers[1], second, sizeof second);
        bool named = timers[0].name[0] != 0;
        mlt_call_ask(call, "Which one: %s or %s?", "哪一个：%s还是%s？", named ? "name" : "length", first,
                     second);
    }
    return MILLET_OK;
}

millet_status mlt_skill_set_timer(millet_call *call, void *context, millet_error *err)
{
    (void)context;
    double seconds = mlt_call_number_or(call, "duration", 0);
    const char *name = millet_call_text(call, "name");
    char length[96];
    int64_t id;
    if (!(seconds >= 1) || seconds > longest) {
        mlt_call_refuse(call, "A timer runs for a second at least and for a year at most.",
                        "计时器最短一秒，最长一年。");
        return MILLET_OK;
    }
    int64_t ms = llround(seconds * 1000);
    MLT_TRY(mlt_timer_start(call->assistant, name, ms, &id, err));
    mlt_spoken_duration(length, sizeof length, ms, call->language);
    if (name)
        mlt_call_say(call, "The %s timer is set for %s.", "%s计时器已设置：%s。", name, length);
    else
        mlt_call_say(call, "The timer is set for %s.", "计时器已设置：%s。", length);
    mlt_call_undo(call, "cancel_timer", json_pack("{s:f}", "id", (double)id));
    return MILLET_OK;
}

millet_status mlt_skill_cancel_timer(millet_call *call, void *context, millet_error *err)
{
    (void)context;
    const char *all = millet_call_text(call, "which");
    struct mlt_timer timers[MLT_MAX_TIMERS];
    char what[300];
    int count = 0;
    if (all && strcmp(all, "all") == 0) {
        MLT_TRY(meant(call, timers, &count, err));
        if (count == 0) mlt_call_refuse(call, "No timer is running.", "没有计时器在运行。");
    } else {
        bool one;
        MLT_TRY(meant_one(call, timers, &one, err));
        count = one;
    }
    for (int i = 0; i < count; i++)
        MLT_TRY(mlt_timer_end(call->assistant, timers[i].id, "cancelled", err));
    if (count == 1) {
        describe(call, &timers[0], what, sizeof what);
        mlt_call_say(call, "I cancelled %s.", "已取消%s。", what);
        json_t *undo = json_pack("{s:f}", "duration", (double)timers[0].left_ms / 1000);
        if (undo && timers[0].name[0]) json_object_set_new(undo, "name", json_string(timers[0].name));
        mlt_call_undo(call, "set_timer", undo);
    } else if (count > 1) {
        mlt_call_say(call, "I cancelled %d timers.", "已取消%d个计时器。", count);
    }
    return MILLET_OK;
}

millet_status mlt_skill_pause_timer(millet_call *call, void *context, millet_error *err)
{
    (void)context;
    struct mlt_timer timer;
    bool one;
    char what[300], left[96];
    MLT_TRY(meant_one(call, &timer, &one, err));
    if (!one) return MILLET_OK;
    describe(call, &timer, what, sizeof what);
    mlt_spoken_duration(left, sizeof left, timer.left_ms, call->language);
    if (timer.paused) {
        mlt_call_refuse(call, "It is paused already: %s, %s left.", "%s已经暂停了，还剩%s。", what, left);
        return MILLET_OK;
    }
    MLT_TRY(mlt_timer_pause(call->assistant, &timer, err));
    mlt_call_say(call, "I paused %s with %s left.", "已暂停%s，还剩%s。", what, left);
    mlt_call_undo(call, "resume_timer", json_pack("{s:f}", "id", (double)timer.id));
    return MILLET_OK;
}

millet_status mlt_skill_resume_timer(millet_call *call, void *context, millet_error *err)
{
    (void)context;
    struct mlt_timer timer;
    bool one;
    char what[300], left[96];
    MLT_TRY(meant_one(call, &timer, &one, err));
    if (!one) return MILLET_OK;
    describe(call, &timer, what, sizeof what);
    mlt_spoken_duration(left, sizeof left, timer.left_ms, call->language);
    if (!timer.paused) {
        mlt_call_refuse(call, "It is running: %s, %s left.", "%s正在运行，还剩%s。", what, left);
        return MILLET_OK;
    }
    MLT_TRY(mlt_timer_run(call->assistant, timer.id, timer.left_ms, err));
    mlt_call_say(call, "It goes on: %s, %s left.", "%s继续，还剩%s。", what, left);
    mlt_call_undo(call, "pause_timer", json_pack("{s:f}", "id", (double)timer.id));
    return MILLET_OK;
}

millet_status mlt_skill_change_timer(millet_call *call, void *context, millet_error *err)
{
    (void)context;
    struct mlt_timer timer;
    bool one;
    char what[300], left[96];
    const char *direction = millet_call_text(call, "direction");
    bool less = direction && strcmp(direction, "less") == 0;
    int64_t by = llround(mlt_call_number_or(call, "by", 0) * 1000);
    MLT_TRY(meant_one(call, &timer, &one, err));
    if (!one) return MILLET_OK;
    int64_t now_left = timer.left_ms + (less ? -by : by);
    if (now_left <= 0 || (double)now_left > longest * 1000) {
        mlt_spoken_duration(left, sizeof left, timer.left_ms, call->language);
        mlt_call_refuse(call, "It has only %s left.", "只剩%s了。", left);
        return MILLET_OK;
    }
    if (timer.paused) {
        timer.left_ms = now_left;
        MLT_TRY(mlt_timer_pause(call->assistant, &timer, err));
    } else {
        MLT_TRY(mlt_timer_run(call->assistant, timer.id, now_left, err));
    }
    describe(call, &timer, what, sizeof what);
    mlt_spoken_duration(left, sizeof left, now_left, call->language);
    mlt_call_say(call, "Now %s has %s left.", "%s现在还剩%s。", what, left);
    mlt_call_undo(call, "change_timer",
                  json_pack("{s:f,s:s,s:f}", "by", (double)by / 1000, "direction", less ? "more" : "less",
                            "id", (double)timer.id));
    return MILLET_OK;
}

millet_status mlt_skill_timer_status(millet_call *call, void *context, millet_error *err)
{
    (void)context;
    struct mlt_timer timers[MLT_MAX_TIMERS];
    int count;
    MLT_TRY(meant(call, timers, &count, err));
    if (count == 0) mlt_call_refuse(call, "No timer is running.", "没有计时器在运行。");
    for (int i = 0; i < count; i++) {
        char what[300], left[96];
        describe(call, &timers[i], what, sizeof what);
        mlt_spoken_duration(left, sizeof left, timers[i].left_ms, call->language);
        const char *paused = timers[i].paused ? mlt_call_word(call, ", paused", "，已暂停") : "";
        mlt_call_say(call, "%2$s left on %1$s%3$s.", "%1$s还剩%2$s%3$s。", what, left, paused);
    }
    return MILLET_OK;
}
