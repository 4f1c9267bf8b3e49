/* What the tasks of millet eval share. SPDX-License-Identifier: Apache-2.0 */
#include "eval_tasks.h"

#include "adapters.h"

#include <math.h>

struct cli_task_options cli_task;

const struct cli_option cli_task_rows[] = {
    {.name = "shots",
     .argument = "N",
     .kind = CLI_INT,
     .target = &cli_task.shots,
     .max = 1000,
     .help = "choice, gsm8k: N solved questions (of the subject) before each question"},
    {.name = "shots-file",
     .argument = "FILE",
     .kind = CLI_STRING,
     .target = &cli_task.shots_file,
     .help = "choice, gsm8k: where those come from; without, the other questions of the files themselves"},
    {.name = "limit",
     .argument = "N",
     .kind = CLI_INT,
     .target = &cli_task.limit,
     .max = 2147483647,
     .help = "tasks: only the first N records (choice: of each subject)"},
    {.name = "answers",
     .argument = "FILE",
     .kind = CLI_STRING,
     .target = &cli_task.answers,
     .help = "tasks: write what the model says to each record, as JSONL"},
    {0},
};

int cli_open_task(const char *path, struct cli_task_settings *settings, struct cli_task_models *models)
{
    *models = (struct cli_task_models){NULL, NULL};
    models->model = cli_open_model(path);
    if (!models->model) return CLI_FAILED;
    if (settings->base && !(models->base = cli_open_model(settings->base))) return CLI_FAILED;
    return cli_open_adapters(models->model, &settings->session.adapters, &settings->session.n_adapters);
}

void cli_close_task(struct cli_task_models *models)
{
    cli_close_adapters();
    millet_model_close(&models->base);
    millet_model_close(&models->model);
}

json_t *cli_task_number(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

json_t *cli_task_interval(const millet_interval *x)
{
    if (isnan(x->value)) return json_null();
    return json_pack("{s:o,s:o,s:o}", "value", cli_task_number(x->value), "low", cli_task_number(x->low),
                     "high", cli_task_number(x->high));
}

void cli_print_percent(const millet_interval *x)
{
    if (isnan(x->value))
        printf(" %6s %17s", "-", "");
    else
        printf(" %6.2f [%6.2f, %6.2f]", 100 * x->value, 100 * x->low, 100 * x->high);
}

json_t *cli_task_share(const millet_task_share *s, bool with_base)
{
    if (!with_base) return json_pack("{s:o}", "right", cli_task_interval(&s->right));
    return json_pack("{s:o,s:o,s:o,s:o,s:o}", "right", cli_task_interval(&s->right), "base",
                     cli_task_interval(&s->base), "difference", cli_task_interval(&s->difference), "kept",
                     cli_task_interval(&s->kept), "agreement", cli_task_interval(&s->agreement));
}
