/*
 * What the files of the tokenizer share. Nobody outside src/tokenizer includes this.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_TOKENIZER_INTERNAL_H
#define MLT_TOKENIZER_INTERNAL_H

#include "tokenizer/pretokenizer.h"
#include "tokenizer/string_table.h"
#include "tokenizer/tokenizer.h"
#include "tokenizer/trie.h"

/*
 * Longest text, in bytes, that is looked up in the vocabulary from every position of a text: it bounds the
 * time that a hostile vocabulary can cost. No real vocabulary has a longer token (SentencePiece and the
 * byte-level vocabularies stay below 256). Longer tokens exist, with their id and text, but are not found in
 * text.
 */
enum { MLT_MAX_MATCH = 512 };

enum mlt_token_flag {
    MLT_FLAG_END = 1,         /* ends a generation */
    MLT_FLAG_STRIP_LEFT = 2,  /* as a special token it swallows white space before it */
    MLT_FLAG_STRIP_RIGHT = 4, /* ... and after it */
};

/* One ranked merge of byte-level BPE. The numbers are of strings of the table, not all of them tokens. */
struct mlt_merge {
    int32_t left, right, result;
};

struct mlt_charsmap; /* charsmap.h */

struct mlt_tokenizer {
    millet_allocator allocator;
    enum mlt_tokenizer_kind kind;
    int32_t n_tokens;
    /* The tokens under their ids, then (byte-level BPE) strings that only merges mention. */
    struct mlt_string_table strings;
    uint8_t *types; /* [n_tokens] of enum mlt_token_type */
    uint8_t *flags; /* [n_tokens] of enum mlt_token_flag */
    float *scores;  /* [n_tokens]; NULL for kinds without scores */
    size_t max_token_bytes;
    int32_t bos, eos, eot, unknown, separator, cls;
    bool add_bos, add_eos, add_space_prefix, remove_extra_whitespace, ignore_merges, nfc, lowercase;
    bool byte_level; /* BPE: the strings are byte-mapped (see byte_bpe.c); else plain with U+2581 for the
                        space */

    struct mlt_trie special;      /* control, unknown and user-defined tokens */
    struct mlt_trie user_defined; /* user-defined tokens alone */

    int32_t byte_numbers[256]; /* the token that stands for a byte, or -1; byte-level BPE: the number of its
                                  string */
    bool byte_fallback;        /* every byte has a token */

    bool separate_words; /* SPM: no piece has U+2581 behind anything else: none reaches from one word into the
                            next */

    /* Byte-level BPE. */
    struct mlt_pretokenizer *pretokenizer;
    struct mlt_merge *merges; /* [n_merges], best first */
    uint32_t *merge_slots;    /* hash of (left, right) to index + 1; 0: empty */
    uint32_t merge_mask;
    int64_t n_merges;
    int32_t *ranks; /* [n_tokens]: where there are no merges, see mlt_tokenizer_spec.ranks */

    /* Unigram and WordPiece. */
    struct mlt_trie words;
    float unknown_score;           /* unigram: the score of a character that no token covers */
    struct mlt_charsmap *charsmap; /* SentencePiece kinds; may be NULL */
};

/* The ids that a call to mlt_tokenize has found so far, and its scratch memory. */
struct mlt_tokenize_run {
    const struct mlt_tokenizer *tokenizer;
    const millet_allocator *allocator;
    int32_t *ids;
    size_t count, capacity;
    /* Merging: see merge.h. */
    struct mlt_merge_symbol *symbols;
    struct mlt_merge_candidate *heap;
    size_t symbol_capacity, heap_capacity;
    struct mlt_text text;       /* the fragment as its family wants it */
    struct mlt_text normalized; /* byte-level BPE: the fragment in NFC */
    struct mlt_text mapped;     /* byte-level BPE: a word in byte-mapped form */
    struct mlt_pretokenizer_scratch *pretokenizer;
    bool continues; /* the next fragment goes on with a text: no dummy prefix */
};

millet_status mlt_emit(struct mlt_tokenize_run *run, int32_t id, millet_error *err);

/*
 * The families. open reads its part of the specification when strings, types and flags are there; encode
 * appends the ids of a piece of text that holds no special tokens: the whole text, or what stands between two
 * of them.
 */
void mlt_sentencepiece_open(struct mlt_tokenizer *tokenizer);
millet_status mlt_sentencepiece_encode(struct mlt_tokenize_run *run, const char *text, size_t length,
                                       millet_error *err);
/* SentencePiece's normalisation of the text to run->text: character map, dummy prefix, extra spaces, U+2581.
 */
millet_status mlt_sentencepiece_normalize(struct mlt_tokenize_run *run, const char *text, size_t length,
                                          millet_error *err);
millet_status mlt_unigram_open(struct mlt_tokenizer *tokenizer, millet_error *err);
millet_status mlt_unigram_encode(struct mlt_tokenize_run *run, const char *text, size_t length,
                                 millet_error *err);
millet_status mlt_byte_bpe_open(struct mlt_tokenizer *tokenizer, const struct mlt_tokenizer_spec *spec,
                                millet_error *err);
millet_status mlt_byte_bpe_encode(struct mlt_tokenize_run *run, const char *text, size_t length,
                                  millet_error *err);
void mlt_byte_bpe_close(struct mlt_tokenizer *tokenizer);
millet_status mlt_wordpiece_open(struct mlt_tokenizer *tokenizer, millet_error *err);
millet_status mlt_wordpiece_encode(struct mlt_tokenize_run *run, const char *text, size_t length,
                                   millet_error *err);

/* special_tokens.c: which tokens are cut out of the text and which end a generation. */
millet_status mlt_special_tokens_open(struct mlt_tokenizer *tokenizer, const struct mlt_tokenizer_spec *spec,
                                      millet_error *err);

/* byte_bpe.c: the byte that a character stands for in byte-level BPE (-1: none). */
int mlt_byte_of_codepoint(uint32_t codepoint);

/* byte_bpe.c: the rank of a merge of two strings, 1 for the best, and its result; 0: there is none. */
uint32_t mlt_byte_bpe_merge_rank(const struct mlt_tokenizer *tokenizer, int32_t left, int32_t right,
                                 int32_t *result);

/* sentencepiece.c: whether a token can come of text; control, unknown and byte tokens cannot. */
bool mlt_sentencepiece_is_piece(const struct mlt_tokenizer *tokenizer, int32_t id);

/* The value of a byte token's text "<0xNN>", or -1. */
int mlt_byte_token_value(const char *text, size_t length);

#endif
