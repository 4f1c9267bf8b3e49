/* The table of built-in skills. SPDX-License-Identifier: Apache-2.0 */
#include "assistant/skills.h"

#include <string.h>

static const struct {
    const char *name;
    millet_skill_function run;
} functions[] = {
#define MLT_SKILL_ROW(name) {#name, mlt_skill_##name},
    MLT_SKILL_LIST(MLT_SKILL_ROW)
#undef MLT_SKILL_ROW
};

millet_skill_function mlt_skill_function(const char *name)
{
    for (size_t i = 0; i < MLT_COUNT(functions); i++)
        if (strcmp(functions[i].name, name) == 0) return functions[i].run;
    return NULL;
}
