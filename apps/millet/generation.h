/* What run and chat share: options of the sampler and of generating. SPDX-License-Identifier: Apache-2.0 */
#ifndef MILLET_CLI_GENERATION_H
#define MILLET_CLI_GENERATION_H

#include "cli.h"

extern const struct cli_option cli_generation_rows[];

/* Fills the targets with the library's defaults; to be called when the program starts a verb that has these
 * rows. */
millet_generate_options cli_generate_options(void);

/* Reads the grammar that --grammar names for the model; options have it from then on. An exit code. To be
 * closed before the model. */
int cli_open_grammar(const millet_model *model);
void cli_close_grammar(void);

/* Prints the text of a piece to stdout at once; stops on Ctrl-C. */
bool cli_print_piece(void *context, const millet_piece *piece);

/* "12 tokens, 3.4 tokens/s; ..." to stderr. */
void cli_print_speed(const millet_generation *result);

#endif
