/* Checkpoints of any layout. SPDX-License-Identifier: Apache-2.0 */
#include "import/open_any.h"

#include "import/import.h"

millet_status mlt_open_any(const millet_allocator *allocator, const char *path, const char *tokenizer_path,
                           struct mlt_checkpoint **out, millet_error *err)
{
    if (mlt_import_recognise(path)) return mlt_import_checkpoint(allocator, path, out, err);
    return mlt_checkpoint_open(allocator, path, tokenizer_path, out, err);
}
