/* What the verbs share that train: options, following the steps, the result. SPDX-License-Identifier:
 * Apache-2.0 */
#ifndef MILLET_CLI_TRAINING_H
#define MILLET_CLI_TRAINING_H

#include "cli.h"
#include "millet/train.h"

extern const struct cli_option cli_train_rows[];

/* Sets the defaults of what the rows fill, and returns it. */
millet_train_options *cli_train_defaults(void);

/* What `prepare` below answers where nothing else is to be done, and all is well. */
enum { CLI_PREPARED = -1 };

/*
 * The whole of millet train after its options have been parsed. `prepare` (NULL: none) is called when the
 * options' data are caches that are there; it may change the options, and its code other than CLI_OK ends the
 * work.
 */
int cli_train(int n_operands, char **operands, int (*prepare)(void));

#endif
