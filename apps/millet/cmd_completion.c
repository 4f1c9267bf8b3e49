/* millet completion: shell completion scripts. SPDX-License-Identifier: Apache-2.0 */
#include "verbs.h"

#include <string.h>

static int run(int n_operands, char **operands)
{
    (void)n_operands;
    const char *shell = operands[0];
    if (strcmp(shell, "bash") != 0 && strcmp(shell, "zsh") != 0 && strcmp(shell, "fish") != 0)
        return cli_usage("\"%s\": one of bash, zsh, fish is needed", shell);
    cli_print_completion(shell, stdout);
    return CLI_OK;
}

static const struct cli_option *const groups[] = {NULL};

const struct cli_verb cli_verb_completion = {
    .name = "completion",
    .summary = "print a completion script for bash, zsh or fish",
    .operands = "SHELL",
    .min_operands = 1,
    .max_operands = 1,
    .description = "Prints a script that completes verbs, options and their values in the shell.",
    .examples = "millet completion bash > /etc/bash_completion.d/millet\tfor everybody on this machine\n"
                "eval \"$(millet completion zsh)\"\tfor this shell",
    .options = groups,
    .run = run,
};
