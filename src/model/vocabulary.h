/*
 * The tokenizer that a checkpoint's metadata describes.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_VOCABULARY_H
#define MLT_VOCABULARY_H

#include "format/checkpoint.h"
#include "tokenizer/tokenizer.h"

/*
 * *out is NULL (and OK) where the checkpoint has no tokenizer. bos and eos are -1 where there is none.
 * Errors: BAD_FORMAT and UNSUPPORTED (name the key), NO_MEMORY.
 */
millet_status mlt_vocabulary_open(const millet_allocator *allocator, const struct mlt_checkpoint *checkpoint,
                                  struct mlt_tokenizer **out, int32_t *bos, int32_t *eos, bool *add_bos,
                                  bool *add_eos, millet_error *err);

#endif
