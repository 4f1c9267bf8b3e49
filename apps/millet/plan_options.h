/*
 * The plan of `millet compact`: read, made for a budget, shown and written.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MILLET_PLAN_OPTIONS_H
#define MILLET_PLAN_OPTIONS_H

#include "cli.h"
#include "millet/plan.h"

extern const struct cli_option cli_plan_rows[];

/* Whether a plan is given or to be made; then --type and what goes with it have no say. */
bool cli_plan_asked(void);
/* Whether nothing is to be written but the plan. */
bool cli_plan_is_dry(void);

/*
 * Gets the plan that the options ask for, which options->plan points to from then on, and writes it where
 * that is asked for. With a dry run it is shown, too, and *done is set. Returns CLI_OK or, after a message,
 * another exit code.
 */
int cli_plan_prepare(const char *model, const char *output, millet_quantize_options *options, bool *done);
void cli_plan_close(void);

/*
 * After the output has been written: measures it and writes the report that --report asks for; nothing where
 * it does not.
 */
int cli_plan_report(const char *model, const char *output, const millet_quantize_options *options,
                    const millet_quantized *result);

#endif
