/* What the tasks of millet eval share. SPDX-License-Identifier: Apache-2.0 */
#ifndef MILLET_CLI_EVAL_TASKS_H
#define MILLET_CLI_EVAL_TASKS_H

#include "cli.h"
#include "millet/tasks.h"

/* What the common options of eval say. */
struct cli_task_settings {
    const char *base; /* NULL: none */
    millet_task_session session;
};

struct cli_task_models {
    millet_model *model, *base;
};

/* Opens model and base, and the adapters of --lora into the settings. CLI_OK, or another code after a
 * message; close in any case. */
int cli_open_task(const char *path, struct cli_task_settings *settings, struct cli_task_models *models);
void cli_close_task(struct cli_task_models *models);

/* As JSON: {"value", "low", "high"}; null for NAN, members too where they are not finite. */
json_t *cli_task_interval(const millet_interval *x);
json_t *cli_task_number(double x);
/* " 31.25 [ 28.10,  34.60]" in percent, or blanks with a dash. */
void cli_print_percent(const millet_interval *x);

#endif
