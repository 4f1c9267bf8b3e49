/*
 * Batches from one text in memory: the simplest source. Documents end with a line <|endoftext|>; they are
 * packed one after the other, cut into windows, and the windows are shuffled anew for each round through the
 * text.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_TEXT_SOURCE_H
#define MLT_TEXT_SOURCE_H

#include "corpus/batch.h"
#include "tokenizer/tokenizer.h"

struct mlt_text_source;

/* Tokenises the file; each document gets `bos` before and `eos` after it (-1: none). BAD_ARGUMENT where the
 * text has fewer tokens than a window of `length` needs. */
millet_status mlt_text_source_open(const millet_allocator *allocator, const char *path,
                                   const struct mlt_tokenizer *tokenizer, int32_t bos, int32_t eos,
                                   int32_t length, uint64_t seed, struct mlt_text_source **out,
                                   millet_error *err);
void mlt_text_source_close(struct mlt_text_source **source);

/* Windows in the text, and a number that differs where the tokens do. */
uint64_t mlt_text_source_windows(const struct mlt_text_source *source);
uint64_t mlt_text_source_digest(const struct mlt_text_source *source);
/* Window `index` in the text's order, as row `row` of the batch, whose length is the source's. */
void mlt_text_source_window(const struct mlt_text_source *source, uint64_t index, struct mlt_batch *batch,
                            int32_t row);

/* As a source of shuffled batches. */
struct mlt_batch_source mlt_text_batches(struct mlt_text_source *source);

#endif
