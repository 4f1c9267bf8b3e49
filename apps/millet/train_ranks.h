/*
 * millet train as one of several processes that mpirun has started: the first speaks and writes, all fail
 * together.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MILLET_CLI_TRAIN_RANKS_H
#define MILLET_CLI_TRAIN_RANKS_H

#include "cli.h"
#include "millet/train.h"

/* Before anything is said: all processes but the first become quiet. */
void cli_ranks_prepare(void);
/* Joins the others, where there are any. */
int cli_ranks_join(millet_train_options *options);
/* CLI_OK where all are fine so far; else what failed on some process has been said by the first. */
int cli_ranks_agree(millet_train_options *options, int code);
/* After training has failed: the first process that is alive says why. */
void cli_ranks_speak(const millet_train_options *options);
void cli_ranks_leave(millet_train_options *options);

#endif
