/* Opening a model of any layout. SPDX-License-Identifier: Apache-2.0 */
#include "cli.h"

millet_model *cli_open_model(const char *path)
{
    millet_model_options options = millet_model_options_default();
    options.tokenizer_path = cli_model.tokenizer;
    millet_model *model = NULL;
    millet_error err;
    if (millet_lab_model_open(path, &options, &model, &err) != MILLET_OK) cli_fail(&err);
    return model;
}
