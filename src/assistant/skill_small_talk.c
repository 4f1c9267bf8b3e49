/* Small talk: replies stand in the manifest. SPDX-License-Identifier: Apache-2.0 */
#include "assistant/skills.h"

#include <string.h>

millet_status mlt_skill_small_talk(millet_call *call, void *context, millet_error *err)
{
    (void)context;
    (void)err;
    const json_t *replies =
        json_object_get(json_object_get(call->skill->manifest, "replies"), millet_call_text(call, "about"));
    const json_t *some = json_object_get(replies, millet_call_language(call));
    size_t n = json_array_size(some);
    if (n == 0) return mlt_fail(err, MILLET_INTERNAL, "small talk has no reply");
    size_t which = (size_t)(mlt_random_double(&call->assistant->random) * (double)n);
    millet_call_say(call, json_string_value(json_array_get(some, which)));
    return MILLET_OK;
}
