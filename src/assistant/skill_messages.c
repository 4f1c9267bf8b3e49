/* Messages and calls, through whoever the program named for them. SPDX-License-Identifier: Apache-2.0 */
#include "assistant/parts.h"
#include "assistant/skills.h"

static bool no_messenger(millet_call *call)
{
    if (mlt_parts(call->assistant)->messenger) return false;
    mlt_call_refuse(call, "Messages and calls are not set up.", "没有设置消息和电话。");
    return true;
}

millet_status mlt_skill_send_message(millet_call *call, void *context, millet_error *err)
{
    (void)context;
    if (no_messenger(call)) return MILLET_OK;
    const millet_messenger *messenger = mlt_parts(call->assistant)->messenger;
    const char *person = millet_call_text(call, "person");
    MLT_TRY(messenger->send(messenger->context, person, millet_call_text(call, "text"), err));
    mlt_call_say(call, "Sent to %s.", "已发给%s。", person);
    return MILLET_OK;
}

millet_status mlt_skill_make_call(millet_call *call, void *context, millet_error *err)
{
    (void)context;
    if (no_messenger(call)) return MILLET_OK;
    const millet_messenger *messenger = mlt_parts(call->assistant)->messenger;
    const char *person = millet_call_text(call, "person");
    MLT_TRY(messenger->send(messenger->context, person, NULL, err));
    mlt_call_say(call, "Calling %s.", "正在呼叫%s。", person);
    return MILLET_OK;
}
