/* Skills of the dialogue itself: repeating, taking back, help. SPDX-License-Identifier: Apache-2.0 */
#include "assistant/dialogue.h"
#include "assistant/skills.h"

#include <string.h>

millet_status mlt_skill_never_mind(millet_call *call, void *context, millet_error *err)
{
    (void)context;
    (void)err;
    mlt_call_say(call, "Okay.", "好的。");
    return MILLET_OK;
}

millet_status mlt_skill_repeat_that(millet_call *call, void *context, millet_error *err)
{
    (void)context;
    (void)err;
    const char *last = call->assistant->dialogue.last_text;
    if (last)
        millet_call_say(call, last);
    else
        mlt_call_refuse(call, "I haven't said anything yet.", "我还没说过什么。");
    return MILLET_OK;
}

millet_status mlt_skill_undo_that(millet_call *call, void *context, millet_error *err)
{
    (void)context;
    struct mlt_request undo = {0};
    struct mlt_dialogue *d = &call->assistant->dialogue;
    if (!d->undo.skill) {
        mlt_call_refuse(call, "There is nothing to take back.", "没有可以撤销的操作。");
        return MILLET_OK;
    }
    mlt_request_move(&undo, &d->undo);
    MLT_TRY(mlt_perform(call->assistant, &undo, true, err));
    return MILLET_OK;
}

/* Each skill with an example is one line: what it does, and how it is asked for. */
millet_status mlt_skill_help(millet_call *call, void *context, millet_error *err)
{
    (void)context;
    struct mlt_text all = {.allocator = &call->assistant->allocator};
    const millet_assistant *assistant = call->assistant;
    millet_status status =
        mlt_text_printf(&all, err, "%s", mlt_call_word(call, "You can say:", "您可以说："));
    for (size_t i = 0; i < assistant->n_skills && status == MILLET_OK; i++) {
        const char *example = mlt_manifest_text(assistant->skills[i].manifest, "example", call->language);
        const char *does = mlt_manifest_text(assistant->skills[i].manifest, "description", call->language);
        if (example)
            status =
                mlt_text_printf(&all, err, call->language == MLT_CHINESE ? "\n“%s”——%s" : "\n\"%s\" to %s",
                                example, does ? does : "");
    }
    if (status == MILLET_OK) millet_call_say(call, all.data);
    mlt_text_release(&all);
    return status;
}
