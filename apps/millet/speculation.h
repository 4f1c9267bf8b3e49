/* What run, chat and bench share: options of speculation. SPDX-License-Identifier: Apache-2.0 */
#ifndef MILLET_CLI_SPECULATION_H
#define MILLET_CLI_SPECULATION_H

#include "cli.h"

extern const struct cli_option cli_speculation_rows[];

/*
 * Adds what the command line says of speculation to the session's options. The draft model is opened, *draft
 * is to be closed after the session (NULL: there is none). CLI_FAILED or CLI_USAGE after a message.
 */
int cli_open_speculation(millet_session_options *options, millet_model **draft);

/* Whether the command line asks for it. */
bool cli_has_speculation(void);

#endif
