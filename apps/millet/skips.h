/* What the verbs that read sources share. SPDX-License-Identifier: Apache-2.0 */
#ifndef MILLET_CLI_SKIPS_H
#define MILLET_CLI_SKIPS_H

#include "cli.h"
#include "millet/corpus.h"

/* A line on stderr for each reason for which records were left out; the same as a JSON object.
 * [MILLET_SKIP_REASONS] */
void cli_print_skips(const uint64_t *n_skipped);
json_t *cli_skips_json(const uint64_t *n_skipped);

#endif
