/* millet eval nlu. SPDX-License-Identifier: Apache-2.0 */
#ifndef MILLET_CLI_EVAL_NLU_H
#define MILLET_CLI_EVAL_NLU_H

#include "cli.h"

extern const struct cli_option cli_eval_nlu_rows[];

/* operands: MODEL FILE... */
int cli_eval_nlu(int n_operands, char **operands, bool exact_activations);

#endif
