/* What was left out of a source, in words and as JSON. SPDX-License-Identifier: Apache-2.0 */
#include "skips.h"

void cli_print_skips(const uint64_t *n_skipped)
{
    for (int i = 0; i < MILLET_SKIP_REASONS; i++)
        if (n_skipped[i])
            fprintf(stderr, "  left out: %llu (%s)\n", (unsigned long long)n_skipped[i],
                    millet_skip_text((millet_skip)i));
}

json_t *cli_skips_json(const uint64_t *n_skipped)
{
    json_t *object = json_object();
    for (int i = 0; i < MILLET_SKIP_REASONS; i++)
        if (n_skipped[i])
            json_object_set_new(object, millet_skip_text((millet_skip)i),
                                json_integer((json_int_t)n_skipped[i]));
    return object;
}
