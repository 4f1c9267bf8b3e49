/* What built-in skills keep between calls. SPDX-License-Identifier: Apache-2.0 */
#include "assistant/skills.h"

millet_status mlt_parts_open(millet_assistant *assistant, const millet_assistant_options *options,
                             millet_error *err)
{
    (void)assistant;
    (void)options;
    (void)err;
    return MILLET_OK;
}

void mlt_parts_close(millet_assistant *assistant)
{
    (void)assistant;
}
