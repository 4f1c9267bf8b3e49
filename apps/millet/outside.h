/*
 * What the assistant may reach outside: HTTP where libcurl is there, a program that sends messages.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MILLET_CLI_OUTSIDE_H
#define MILLET_CLI_OUTSIDE_H

#include "millet/assistant.h"

/* NULL where this program was built without libcurl. */
const millet_http *cli_http(void);
void cli_http_end(void);

/* Messages by a program: `program send PERSON TEXT`, `program call PERSON`; no shell is in between. */
millet_messenger cli_messenger(const char *program);

#endif
