/*
 * Vocabularies in the files of other projects: tiktoken's rank files and SentencePiece's .model.
 *
 * Each reader makes a tokenizer's specification of a whole file in memory. The bytes are not needed
 * afterwards.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_VOCABULARY_FILE_H
#define MLT_VOCABULARY_FILE_H

#include "tokenizer/tokenizer.h"

struct mlt_vocabulary_file {
    struct mlt_tokenizer_spec spec; /* its pointers lead into the arena; callers may change and add to it */
    struct mlt_arena arena;
};

/* A token that a tiktoken file does not hold: they stand in the code that loads it. */
struct mlt_special_token {
    const char *text;
    int32_t id;
};

/*
 * tiktoken: a line for each token, "BASE64 RANK"; the rank is the id. The specification is byte-level BPE by
 * ranks; `pre` or `pre_pattern`, which the file does not hold either, are left to the caller, as are bos and
 * eos. Ids between those given are unused tokens without text. Errors: BAD_FORMAT (with the line), NO_MEMORY;
 * *out is empty then.
 */
millet_status mlt_tiktoken_read(const millet_allocator *allocator, const char *text, size_t length,
                                const struct mlt_special_token *special, size_t n_special,
                                struct mlt_vocabulary_file *out, millet_error *err);

/*
 * SentencePiece: the protobuf sentencepiece.ModelProto (sentencepiece_model.proto), of type BPE or unigram.
 * Errors: BAD_FORMAT (with the offset), UNSUPPORTED (word and character models), NO_MEMORY; *out is empty
 * then.
 */
millet_status mlt_sentencepiece_read(const millet_allocator *allocator, const void *bytes, size_t length,
                                     struct mlt_vocabulary_file *out, millet_error *err);

void mlt_vocabulary_file_release(struct mlt_vocabulary_file *file);

#endif
