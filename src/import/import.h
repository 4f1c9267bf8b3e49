/*
 * Import: checkpoints made for other runtimes as ours. Today: safetensors in the layout of Hugging Face.
 *
 * What comes out is an ordinary checkpoint with GGUF's keys, names and shapes. Matrices stay where they are
 * in the mapped files; what GGUF stores in another order is assembled when it is read. docs/import.md.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_IMPORT_H
#define MLT_IMPORT_H

#include "format/checkpoint.h"

/* Whether `path` is for mlt_import_checkpoint: a directory, or a name that ends in ".safetensors". */
bool mlt_import_recognise(const char *path);

/*
 * Opens a directory with config.json and weights (model.safetensors, or shards with their index), or one
 * .safetensors file with config.json beside it. The tokenizer comes from tokenizer.json and the files beside
 * it; without that file the checkpoint has none. Errors: NOT_FOUND, IO, BAD_FORMAT, UNSUPPORTED, NO_MEMORY;
 * they name the file and the key or tensor.
 */
millet_status mlt_import_checkpoint(const millet_allocator *allocator, const char *path,
                                    struct mlt_checkpoint **out, millet_error *err);

/*
 * The tokenizer alone, of such a directory or of the directory that the file `path` (a tokenizer.json) lies
 * in: a checkpoint without tensors. Weights and config.json are not needed. Errors: as above.
 */
millet_status mlt_import_tokenizer(const millet_allocator *allocator, const char *path,
                                   struct mlt_checkpoint **out, millet_error *err);

#endif
