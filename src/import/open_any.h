/*
 * Opening a checkpoint of any layout that the lab reads: GGUF and llama2.c, and what src/import reads.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_OPEN_ANY_H
#define MLT_OPEN_ANY_H

#include "format/checkpoint.h"

/*
 * A directory or a .safetensors file is imported (import/import.h), anything else is opened by its content
 * (format/checkpoint.h); `tokenizer_path` is for llama2.c only and may be NULL. Errors: those of both.
 */
millet_status mlt_open_any(const millet_allocator *allocator, const char *path, const char *tokenizer_path,
                           struct mlt_checkpoint **out, millet_error *err);

#endif
