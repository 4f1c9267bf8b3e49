/*
 * Small vocabularies for tests of tokenizers, made of string literals.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_TEST_TINY_VOCABULARY_H
#define MLT_TEST_TINY_VOCABULARY_H

#include "tokenizer/tokenizer.h"

enum { TINY_TOKENS = 512, TINY_MERGES = 64 };

/* A specification with room for its arrays. */
struct tiny_vocabulary {
    struct mlt_tokenizer_spec spec;
    struct mlt_token_text tokens[TINY_TOKENS], merges[TINY_MERGES];
    float scores[TINY_TOKENS];
    int32_t types[TINY_TOKENS];
    uint8_t strip[TINY_TOKENS];
    int32_t ranks[TINY_TOKENS];
    char bytes[256][8]; /* texts of byte tokens and of mapped bytes */
};

/* An empty one whose spec points at the arrays (merges, strip and ranks are not set). */
void tiny_init(struct tiny_vocabulary *tiny, enum mlt_tokenizer_kind kind);
/* Appends a token and returns its id. */
int32_t tiny_add(struct tiny_vocabulary *tiny, const char *text, enum mlt_token_type type, float score);
/* Appends the 256 tokens <0x00> to <0xFF>, or the 256 characters that stand for bytes in byte-level BPE. */
void tiny_add_byte_tokens(struct tiny_vocabulary *tiny);
void tiny_add_mapped_bytes(struct tiny_vocabulary *tiny);
void tiny_add_merge(struct tiny_vocabulary *tiny, const char *left_right);

/*
 * One vocabulary of each family with a few words:
 *   SPM, unigram: <unk> <s> </s>, the byte tokens (SPM only), letters and words, the special tokens
 * <|im_end|> and <user> (user-defined); BPE: the bytes, "he" "ll" "hell" "o" " w" and so on by merges,
 * <|endoftext|>; WordPiece: [PAD] [UNK] [CLS] [SEP], words and pieces.
 */
void tiny_fill(struct tiny_vocabulary *tiny, enum mlt_tokenizer_kind kind);

#endif
