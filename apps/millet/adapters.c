/* SPDX-License-Identifier: Apache-2.0 */
#include "adapters.h"

#include <math.h>
#include <stdlib.h>

enum { MOST = sizeof((struct cli_list *)NULL)->items / sizeof(char *) };

static struct cli_list arguments;

static struct {
    char *names[MOST]; /* owned */
    millet_merge files[MOST];
    millet_adapter *adapters[MOST];
    millet_adapter_use uses[MOST];
} opened;

const struct cli_option cli_adapter_rows[] = {
    {.name = "lora",
     .argument = "FILE[=SCALE]",
     .kind = CLI_LIST,
     .target = &arguments,
     .help = "add this low-rank adapter of millet train --lora (or of others, as GGUF) to the weights, SCALE "
             "times as strongly as it was trained (default 1); several times for several"},
    {0},
};

static int take_files(void)
{
    for (size_t i = 0; i < arguments.count; i++) {
        const char *text;
        char *end;
        double scale = 1;
        opened.names[i] = cli_split_value(arguments.items[i], &text);
        if (!opened.names[i]) return cli_fail_text("out of memory");
        if (text) {
            scale = strtod(text, &end);
            if (end == text || *end || !isfinite(scale))
                return cli_usage("--lora %s: behind = stands a scale, a number", arguments.items[i]);
        }
        opened.files[i] = (millet_merge){opened.names[i], (float)scale};
    }
    return CLI_OK;
}

int cli_open_adapters(const millet_model *model, const millet_adapter_use **uses, int32_t *count)
{
    int code = take_files();
    if (code != CLI_OK) return code;
    for (size_t i = 0; i < arguments.count; i++) {
        millet_error err;
        if (millet_adapter_open(model, opened.files[i].adapter, &opened.adapters[i], &err) != MILLET_OK)
            return cli_fail(&err);
        opened.uses[i] = (millet_adapter_use){opened.adapters[i], opened.files[i].scale};
    }
    *uses = opened.uses;
    *count = (int32_t)arguments.count;
    return CLI_OK;
}

int cli_adapters_to_merge(const millet_merge **merge, size_t *count)
{
    *merge = opened.files;
    *count = arguments.count;
    return take_files();
}

void cli_close_adapters(void)
{
    for (size_t i = 0; i < MOST; i++) {
        millet_adapter_close(&opened.adapters[i]);
        free(opened.names[i]);
        opened.names[i] = NULL;
    }
}
