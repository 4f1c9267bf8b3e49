/*
 * Text to tokens and back.
 *
 * One interface over the families: SentencePiece (BPE by scores with byte fallback, and unigram), byte-level
 * BPE with a pre-tokenising regular expression, and WordPiece. A tokenizer is made from a specification in
 * memory; who reads that from a file is model/vocabulary.c. Immutable after open; every call may be made from
 * many threads, each with its own scratch allocation.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_TOKENIZER_H
#define MLT_TOKENIZER_H

#include "base/memory.h"

enum mlt_tokenizer_kind {
    MLT_TOKENIZER_SPM,       /* GGUF "llama": SentencePiece BPE, merges by score, byte fallback */
    MLT_TOKENIZER_UNIGRAM,   /* GGUF "t5": SentencePiece unigram, Viterbi by score */
    MLT_TOKENIZER_BPE,       /* GGUF "gpt2": byte-level BPE with ranked merges */
    MLT_TOKENIZER_WORDPIECE, /* GGUF "bert" */
};

/* Token types with GGUF's numbers. */
enum mlt_token_type {
    MLT_TOKEN_NORMAL = 1,
    MLT_TOKEN_UNKNOWN = 2,
    MLT_TOKEN_CONTROL = 3,
    MLT_TOKEN_USER_DEFINED = 4,
    MLT_TOKEN_UNUSED = 5,
    MLT_TOKEN_BYTE = 6,
};

struct mlt_token_text {
    const char *data;
    size_t length;
};

/* What a special token does to the white space beside it, added up. */
enum mlt_strip {
    MLT_STRIP_LEFT = 1,
    MLT_STRIP_RIGHT = 2,
};

/* Everything a tokenizer is made from. All pointers are only read during mlt_tokenizer_open. -1: there is no
 * such token. */
struct mlt_tokenizer_spec {
    enum mlt_tokenizer_kind kind;
    int32_t n_tokens;
    const struct mlt_token_text
        *tokens;         /* [n_tokens], as stored: U+2581 for space in SPM, byte-mapped in BPE */
    const float *scores; /* [n_tokens] or NULL */
    /* [n_tokens] of enum mlt_token_type; NULL: guessed from the special ids and the form <0xNN>. */
    const int32_t *types;
    /* [n_tokens] of enum mlt_strip, or NULL: white space that a special token swallows. */
    const uint8_t *strip;
    const struct mlt_token_text *merges; /* [n_merges] "left right", best first; BPE only */
    int64_t n_merges;
    /*
     * BPE by ranks (tiktoken) instead of merges: [n_tokens] or NULL. Neighbours may merge whenever their
     * concatenation is a token of rank >= 0, the lowest rank first.
     */
    const int32_t *ranks;
    const char *pre; /* name of the pre-tokeniser (GGUF tokenizer.ggml.pre), or NULL */
    /*
     * BPE from files that carry their own regular expression (tokenizer.json, tiktoken): overrides `pre`
     * where not NULL.
     */
    const char *pre_pattern;
    int32_t bos, eos, eot, unknown, separator, padding, mask, cls;
    bool add_bos, add_eos;        /* what the model asks for */
    bool add_space_prefix;        /* SPM: a space before the text */
    bool remove_extra_whitespace; /* SPM / unigram normalisation */
    bool ignore_merges;           /* BPE: a word that is a token is taken as it is (llama-3) */
    bool nfc;                     /* BPE: normalise to NFC first (qwen's tokenizer.json) */
    bool lowercase;               /* WordPiece: lower-case and strip accents */
    /* SentencePiece precompiled character map for unigram (tokenizer.ggml.precompiled_charsmap), or NULL. */
    const void *charsmap;
    size_t charsmap_bytes;
};

struct mlt_tokenizer;

#define MLT_SPACE_MARK "\xE2\x96\x81" /* U+2581, SentencePiece's visible space */

/* The character that stands for a byte in byte-level BPE. */
uint32_t mlt_codepoint_of_byte(uint8_t byte);

/* A specification of this kind without tokens: all ids -1, all flags as the kind has them by default. */
struct mlt_tokenizer_spec mlt_tokenizer_spec_default(enum mlt_tokenizer_kind kind);

/*
 * Copies what it needs. Errors: BAD_FORMAT (says which token or merge, under the GGUF key that holds it),
 * UNSUPPORTED (unknown `pre`, a pattern that does not compile), NO_MEMORY.
 */
millet_status mlt_tokenizer_open(const millet_allocator *allocator, const struct mlt_tokenizer_spec *spec,
                                 struct mlt_tokenizer **out, millet_error *err);
void mlt_tokenizer_close(struct mlt_tokenizer **tokenizer);

int32_t mlt_tokenizer_size(const struct mlt_tokenizer *tokenizer);

enum mlt_tokenize_flags {
    MLT_TOKENIZE_SPECIAL = 1,  /* recognise control and special tokens written in the text */
    MLT_TOKENIZE_BOS_EOS = 2,  /* add BOS / EOS as the model asks */
    MLT_TOKENIZE_CONTINUE = 4, /* the text goes on with one that came before: SentencePiece's dummy prefix is
                                  left out at its beginning */
};

/*
 * Tokenises text[0..length) (UTF-8; invalid bytes are kept as bytes or become the unknown token, as the
 * family's reference does; NUL bytes are text). *ids is allocated with `allocator` and released by the caller
 * with mlt_free; *count may be 0. Time is O(n log n) in the length.
 */
millet_status mlt_tokenize(const struct mlt_tokenizer *tokenizer, const millet_allocator *allocator,
                           const char *text, size_t length, unsigned flags, int32_t **ids, size_t *count,
                           millet_error *err);

/*
 * Appends to `out` (which has the same allocator) what a SentencePiece tokenizer makes of text without
 * special tokens before it looks for pieces: character map, dummy prefix, extra spaces, U+2581. Other
 * families: the text as it is.
 */
millet_status mlt_tokenizer_normalize(const struct mlt_tokenizer *tokenizer,
                                      const millet_allocator *allocator, const char *text, size_t length,
                                      struct mlt_text *out, millet_error *err);

/* Id of the token whose stored text is exactly `text`, or -1. */
int32_t mlt_tokenizer_find(const struct mlt_tokenizer *tokenizer, const char *text, size_t length);
/* The stored text and type of a token; `id` must be in range. */
struct mlt_token_text mlt_tokenizer_token(const struct mlt_tokenizer *tokenizer, int32_t id);
enum mlt_token_type mlt_tokenizer_type(const struct mlt_tokenizer *tokenizer, int32_t id);
/* True for tokens that end a generation: EOS, EOT and their kin (<|im_end|>, <|eot_id|>, <end_of_turn> ...).
 */
bool mlt_tokenizer_is_end(const struct mlt_tokenizer *tokenizer, int32_t id);

/*
 * Streaming decode: turns tokens into bytes one at a time without ever giving out part of a UTF-8 character.
 * Bytes that can never become valid UTF-8 are given out as U+FFFD. Zero-initialise; plain data, owns nothing.
 */
struct mlt_decode_state {
    uint8_t pending[4]; /* the begun character */
    int n_pending;
    bool started; /* the first piece has been seen (leading-space rule of SPM) */
};

/* Longest output of one call to mlt_decode_token, in bytes: the longest token plus what was pending, as
 * U+FFFD. */
size_t mlt_tokenizer_max_piece(const struct mlt_tokenizer *tokenizer);

/*
 * Writes the text of `id` that is ready to `out` (capacity >= mlt_tokenizer_max_piece) and returns its
 * length. Control tokens give nothing unless `special`. `id` must be in range.
 */
size_t mlt_decode_token(const struct mlt_tokenizer *tokenizer, struct mlt_decode_state *state, int32_t id,
                        bool special, char *out);
/* The bytes that `id` (in range) adds to a text that has begun, characters complete or not; none for control
 * tokens. Capacity as above. */
size_t mlt_token_bytes(const struct mlt_tokenizer *tokenizer, int32_t id, char *out);
/* What is still pending at the end, as U+FFFD; capacity >= 12. */
size_t mlt_decode_finish(struct mlt_decode_state *state, char *out);

/*
 * The text of a sequence: at most `capacity` bytes to `text`, the full length to *length. Errors:
 * BAD_ARGUMENT (an id outside the vocabulary), NO_MEMORY.
 */
millet_status mlt_detokenize(const struct mlt_tokenizer *tokenizer, const millet_allocator *allocator,
                             const int32_t *ids, size_t count, bool special, char *text, size_t capacity,
                             size_t *length, millet_error *err);

#endif
