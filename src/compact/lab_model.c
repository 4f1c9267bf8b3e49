/* Models of any layout. SPDX-License-Identifier: Apache-2.0 */
#include "import/import.h"
#include "import/open_any.h"
#include "millet/lab.h"
#include "model/model.h"

static const millet_allocator *allocator_of(const millet_model_options *options)
{
    return options && options->allocator ? options->allocator : mlt_default_allocator();
}

millet_status millet_import(const char *path, const millet_model_options *options, millet_model **model,
                            millet_error *err)
{
    const millet_allocator *allocator = allocator_of(options);
    struct mlt_checkpoint *checkpoint = NULL;
    *model = NULL;
    MLT_TRY(mlt_import_checkpoint(allocator, path, &checkpoint, err));
    return mlt_model_from_checkpoint(allocator, checkpoint, model, err);
}

millet_status millet_lab_model_open(const char *path, const millet_model_options *options,
                                    millet_model **model, millet_error *err)
{
    const millet_allocator *allocator = allocator_of(options);
    struct mlt_checkpoint *checkpoint = NULL;
    *model = NULL;
    MLT_TRY(mlt_open_any(allocator, path, options ? options->tokenizer_path : NULL, &checkpoint, err));
    return mlt_model_from_checkpoint(allocator, checkpoint, model, err);
}
