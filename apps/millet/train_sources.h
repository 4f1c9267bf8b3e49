/* The files that millet train learns from. SPDX-License-Identifier: Apache-2.0 */
#ifndef MILLET_CLI_TRAIN_SOURCES_H
#define MILLET_CLI_TRAIN_SOURCES_H

#include "cli.h"
#include "millet/train.h"

/*
 * Takes --data FILE[=WEIGHT] and --eval-data FILE, makes the caches that are missing or not current in
 * `folder` with the tokenizer, and fills the options' data. A name that ends in .tokens is a cache already.
 * Returns CLI_OK, or another code after a message; what the options point to is released by the second
 * function in any case.
 */
int cli_prepare_sources(const struct cli_list *data, const struct cli_list *evaluation, const char *folder,
                        const millet_tokenizer *tokenizer, millet_train_options *options);
void cli_release_sources(void);

#endif
