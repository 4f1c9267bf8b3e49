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

/* Options that several tasks have. */
struct cli_task_options {
    const char *shots_file, *answers;
    int32_t shots, limit;
};
extern struct cli_task_options cli_task;
extern const struct cli_option cli_task_rows[];

struct cli_task_models {
    millet_model *model, *base;
};

/* Opens model and base, and the adapters of --lora into the settings. CLI_OK, or another code after a
 * message; close in any case. */
int cli_open_task(const char *path, struct cli_task_settings *settings, struct cli_task_models *models);
void cli_close_task(struct cli_task_models *models);

/* eval lambada and eval gsm8k; operands: MODEL FILE. max_tokens: of an answer; 0: automatic. */
int cli_eval_lambada(int n_operands, char **operands, struct cli_task_settings *settings);
int cli_eval_gsm8k(int n_operands, char **operands, struct cli_task_settings *settings, int32_t max_tokens);

/* As JSON: {"value", "low", "high"}; null for NAN, members too where they are not finite. */
json_t *cli_task_interval(const millet_interval *x);
json_t *cli_task_number(double x);
/* Members right, and base, difference, kept and agreement where there is a base. */
json_t *cli_task_share(const millet_task_share *s, bool with_base);
/* " 31.25 [ 28.10,  34.60]" in percent, or blanks with a dash. */
void cli_print_percent(const millet_interval *x);

#endif
