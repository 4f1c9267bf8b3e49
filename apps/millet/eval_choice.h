/* millet eval choice. SPDX-License-Identifier: Apache-2.0 */
#ifndef MILLET_CLI_EVAL_CHOICE_H
#define MILLET_CLI_EVAL_CHOICE_H

#include "eval_tasks.h"

extern const struct cli_option cli_eval_choice_rows[];

/* operands: MODEL FILE... */
int cli_eval_choice(int n_operands, char **operands, struct cli_task_settings *settings);

#endif
