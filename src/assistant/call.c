/* What skills are written with. SPDX-License-Identifier: Apache-2.0 */
#include "assistant/call.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *mlt_call_word(const millet_call *call, const char *english, const char *chinese)
{
    return call->language == MLT_CHINESE ? chinese : english;
}

static void add(millet_call *call, const char *text, size_t length)
{
    struct mlt_text *reply = &call->reply;
    /* sentences of English are parted by a space */
    bool part = reply->length && call->language == MLT_ENGLISH && length;
    if ((part && mlt_text_append(reply, " ", 1, NULL) != MILLET_OK) ||
        mlt_text_append(reply, text, length, NULL) != MILLET_OK)
        call->no_memory = true;
}

static void add_formatted(millet_call *call, const char *format, va_list values)
{
    char small[512], *text = small;
    va_list again;
    va_copy(again, values);
    int length = vsnprintf(small, sizeof small, format, values);
    if (length >= (int)sizeof small) {
        text = mlt_alloc(&call->assistant->allocator, (size_t)length + 1, 1, NULL);
        if (text) vsnprintf(text, (size_t)length + 1, format, again);
    }
    va_end(again);
    if (length < 0 || !text)
        call->no_memory = true;
    else
        add(call, text, (size_t)length);
    if (text != small) mlt_free(&call->assistant->allocator, text);
}

void mlt_call_say(millet_call *call, const char *english, const char *chinese, ...)
{
    va_list values;
    va_start(values, chinese);
    add_formatted(call, mlt_call_word(call, english, chinese), values);
    va_end(values);
}

void mlt_call_refuse(millet_call *call, const char *english, const char *chinese, ...)
{
    va_list values;
    va_start(values, chinese);
    add_formatted(call, mlt_call_word(call, english, chinese), values);
    va_end(values);
    call->refused = true;
}

void mlt_call_ask(millet_call *call, const char *english, const char *chinese, const char *name, ...)
{
    va_list values;
    va_start(values, name);
    add_formatted(call, mlt_call_word(call, english, chinese), values);
    va_end(values);
    call->asks = mlt_skill_parameter(call->skill, name);
}

void mlt_call_undo(millet_call *call, const char *skill, json_t *arguments)
{
    mlt_request_clear(&call->undo);
    if (!arguments) call->no_memory = true;
    call->undo = (struct mlt_request){mlt_find_skill(call->assistant, skill), arguments, 1.0f};
}

int64_t mlt_call_now(const millet_call *call)
{
    const millet_assistant_clock *clock = &call->assistant->clock;
    return clock->wall(clock->context);
}

struct mlt_store *mlt_call_store(const millet_call *call)
{
    return call->assistant->store;
}

json_t *mlt_call_argument(const millet_call *call, const char *name)
{
    return json_object_get(call->arguments, name);
}

double mlt_call_number_or(const millet_call *call, const char *name, double fallback)
{
    double number;
    return millet_call_number(call, name, &number) ? number : fallback;
}

const char *millet_call_text(const millet_call *call, const char *name)
{
    return json_string_value(json_object_get(call->arguments, name));
}

bool millet_call_number(const millet_call *call, const char *name, double *number)
{
    const json_t *value = json_object_get(call->arguments, name);
    if (!json_is_number(value)) return false;
    *number = json_number_value(value);
    return true;
}

const char *millet_call_language(const millet_call *call)
{
    return mlt_language_names[call->language];
}

void millet_call_say(millet_call *call, const char *text)
{
    add(call, text, strlen(text));
}

void millet_call_refuse(millet_call *call, const char *text)
{
    add(call, text, strlen(text));
    call->refused = true;
}
