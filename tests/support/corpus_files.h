/*
 * Sources and tokenizers for tests of the corpus, in the test's folder.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_TEST_CORPUS_FILES_H
#define MLT_TEST_CORPUS_FILES_H

#include "millet/corpus.h"

/* Writes a text to the folder; returns its path (static storage, see folder_path). */
const char *corpus_write(const char *name, const char *text);
/* A text of documents ended by <|endoftext|>, about `bytes` long, of made-up words. */
void corpus_write_documents(const char *name, size_t bytes, uint64_t seed);
/*
 * Trains a small tokenizer on made-up words, writes it to the folder and opens it. Control tokens of both:
 * <|endoftext|> (eos of BPE), <|im_start|>, <|im_end|>, <|call|>, <|mask|> and of the labels <|O|>,
 * <|B:place|>,
 * <|I:place|>, <|B:a/time|>, <|I:a/time|>, and <|B:half|> without its other half. Unigram: with a prefix
 * space, and <s> (added) and </s> (eos).
 */
millet_tokenizer *corpus_tokenizer(const char *name, millet_tokenizer_kind kind, int32_t vocabulary);

#endif
