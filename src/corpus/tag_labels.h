/*
 * Spans of a prompt as a label for each of its tokens: BIO tags (Ramshaw and Marcus, 1995, "Text chunking
 * using transformation-based learning"), which are control tokens of the vocabulary: <|B:name|> for the first
 * token of a span, <|I:name|> for the others, <|O|> outside.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_TAG_LABELS_H
#define MLT_TAG_LABELS_H

#include "corpus/corpus_tokenizer.h"

#include <jansson.h>

/* A prompt and what the tokenizer has made of it, without BOS. */
struct mlt_tagged_text {
    const char *text;
    size_t length;
    const int32_t *tokens; /* [count] */
    size_t count;
    int32_t *labels; /* [count], written: -1 for control tokens */
};

/*
 * Labels the tokens by `tags`, the record's array of {"start", "end", "name"}: bytes [start, end) of the
 * text. A token lies where its first byte that is not white space does, one of white space alone where it
 * begins, one that stands for no byte of the text (SentencePiece's first space) outside all spans. *n_labels
 * counts the tokens that got one. What cannot be used is told in *skip and is no failure. Errors: NO_MEMORY.
 */
millet_status mlt_label_tokens(const millet_tokenizer *tokenizer, const millet_allocator *allocator,
                               const json_t *tags, const struct mlt_tagged_text *text, size_t *n_labels,
                               millet_skip *skip, millet_error *err);

#endif
