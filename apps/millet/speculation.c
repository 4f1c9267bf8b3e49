/* SPDX-License-Identifier: Apache-2.0 */
#include "speculation.h"

static struct {
    const char *draft;
    int32_t tokens;
    bool lookup, always;
} arguments;

const struct cli_option cli_speculation_rows[] = {
    {.name = "draft",
     .argument = "FILE",
     .kind = CLI_STRING,
     .target = &arguments.draft,
     .help =
         "a smaller model with the same vocabulary that guesses the next tokens; the text stays the same, it "
         "only comes sooner where guesses are good"},
    {.name = "lookup",
     .kind = CLI_FLAG,
     .target = &arguments.lookup,
     .help = "guess the next tokens from earlier text, where it repeats; the text stays the same"},
    {.name = "draft-tokens",
     .argument = "N",
     .kind = CLI_INT,
     .target = &arguments.tokens,
     .max = 32,
     .help = "tokens to guess at a time at most; 0: 8"},
    {.name = "draft-always",
     .kind = CLI_FLAG,
     .target = &arguments.always,
     .help = "verify that many guesses whether it pays or not: to measure how often they are right"},
    {0},
};

bool cli_has_speculation(void)
{
    return arguments.draft || arguments.lookup;
}

int cli_open_speculation(millet_session_options *options, millet_model **draft)
{
    *draft = NULL;
    if (arguments.tokens && !cli_has_speculation())
        return cli_usage("--draft-tokens needs --draft FILE or --lookup");
    options->lookup = arguments.lookup;
    options->n_draft = arguments.tokens;
    options->draft_always = arguments.always;
    if (!arguments.draft) return CLI_OK;
    *draft = cli_open_model(arguments.draft);
    options->draft = *draft;
    return *draft ? CLI_OK : CLI_FAILED;
}
