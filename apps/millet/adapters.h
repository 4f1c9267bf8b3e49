/* --lora FILE[=SCALE] of the verbs that use adapters, or merge them. SPDX-License-Identifier: Apache-2.0 */
#ifndef MILLET_CLI_ADAPTERS_H
#define MILLET_CLI_ADAPTERS_H

#include "cli.h"

extern const struct cli_option cli_adapter_rows[];

/* Opens what --lora names, for this model. CLI_OK, or another code after a message. Static storage; close in
 * any case, before the model and after all that uses them. */
int cli_open_adapters(const millet_model *model, const millet_adapter_use **uses, int32_t *count);
void cli_close_adapters(void);

/* The same as files to merge; nothing is opened. Close too. */
int cli_adapters_to_merge(const millet_merge **merge, size_t *count);

#endif
