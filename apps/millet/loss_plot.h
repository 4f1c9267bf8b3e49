/* A picture of a training's losses. SPDX-License-Identifier: Apache-2.0 */
#ifndef MILLET_CLI_LOSS_PLOT_H
#define MILLET_CLI_LOSS_PLOT_H

#include <stdbool.h>

/*
 * Reads the log of millet train (JSON lines; where a step occurs twice the later line counts) and writes a
 * page of HTML with the losses as SVG: nothing in it asks a network. False where the log cannot be read or
 * the page not written (errno).
 */
bool cli_loss_plot(const char *log, const char *page);

#endif
