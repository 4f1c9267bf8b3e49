/* SPDX-License-Identifier: Apache-2.0 */
#include "eval_tasks.h"

#include "adapters.h"

#include <math.h>

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
