/* The processes of one training. SPDX-License-Identifier: Apache-2.0 */
#include "train_ranks.h"

void cli_ranks_prepare(void)
{
    int32_t rank;
    cli_quiet = millet_ranks_launched(&rank, NULL) && rank > 0;
}

int cli_ranks_join(millet_train_options *options)
{
    millet_error err;
    if (millet_ranks_open(NULL, &options->ranks, &err)) return cli_fail(&err);
    if (options->ranks) cli_catch_termination();
    if (options->ranks && !cli_quiet)
        fprintf(stderr, "%d processes train together\n", millet_ranks_size(options->ranks));
    return CLI_OK;
}

int cli_ranks_agree(millet_train_options *options, int code)
{
    millet_error err = {.status = MILLET_CANCELLED};
    if (!options->ranks) return code;
    snprintf(err.message, sizeof err.message, "%.*s", (int)sizeof err.message - 1, cli_unsaid);
    if (!millet_ranks_agree(options->ranks, code == CLI_OK ? MILLET_OK : MILLET_CANCELLED, &err))
        return CLI_OK;
    cli_ranks_speak(options);
    return code == CLI_OK ? cli_fail(&err) : code; /* else it has been said */
}

void cli_ranks_speak(const millet_train_options *options)
{
    cli_quiet = !millet_ranks_speaks(options->ranks);
}

void cli_ranks_leave(millet_train_options *options)
{
    fflush(stderr);
    millet_ranks_close(&options->ranks);
}
