/*
 * Millet's corpus: from texts and records to batches of tokens, and training tokenizers. Part of
 * libmillet-lab. The conventions of millet.h hold here too.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MILLET_CORPUS_H
#define MILLET_CORPUS_H

#include "millet/lab.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Tokenizers without a model ---- */

typedef struct millet_tokenizer millet_tokenizer;

/*
 * Opens the tokenizer of a GGUF file (with or without tensors), of a llama2.c checkpoint, of a Hugging Face
 * directory (as its model has it, if there is one: embeddings may have more rows than there are tokens) or of
 * a tokenizer.json. Weights are not touched. Immutable: any number of threads may use it.
 * `allocator` NULL: the C library's; `tokenizer_path` is that of millet_model_options. Errors: NOT_FOUND, IO,
 * BAD_FORMAT, UNSUPPORTED (the file has no tokenizer, or one that is not known), NO_MEMORY.
 */
MILLET_API millet_status millet_tokenizer_open(const char *path, const char *tokenizer_path,
                                               const millet_allocator *allocator,
                                               millet_tokenizer **tokenizer, millet_error *err);
MILLET_API void millet_tokenizer_close(millet_tokenizer **tokenizer);

/* Strings belong to the tokenizer. */
typedef struct millet_tokenizer_info {
    const char *kind; /* "SPM", "BPE", "unigram", "WordPiece" */
    int32_t n_tokens;
    int32_t bos, eos; /* -1: none */
    bool add_bos, add_eos;
    const char *chat_template; /* the name of the recognised template, or NULL */
    uint64_t checksum;         /* of everything that decides which tokens a text gets */
} millet_tokenizer_info;

MILLET_API void millet_tokenizer_get_info(const millet_tokenizer *tokenizer, millet_tokenizer_info *info);

/* As millet_tokenize, millet_detokenize and millet_token_text of millet.h. */
MILLET_API millet_status millet_tokenizer_encode(const millet_tokenizer *tokenizer, const char *text,
                                                 size_t length, unsigned flags, int32_t *ids, size_t capacity,
                                                 size_t *count, millet_error *err);
MILLET_API millet_status millet_tokenizer_decode(const millet_tokenizer *tokenizer, const int32_t *ids,
                                                 size_t count, bool special, char *text, size_t capacity,
                                                 size_t *length, millet_error *err);
MILLET_API const char *millet_tokenizer_token(const millet_tokenizer *tokenizer, int32_t id, size_t *length);

/* ---- Reading sources ---- */

/*
 * A source is one file:
 *   .txt, .txt.gz      documents that end with a line holding the separator alone, or the whole file as one
 *   .jsonl, .jsonl.gz  a JSON object a line: {"text": ...}, {"prompt": ..., "completion": ...} or
 *                      {"messages": [{"role": ..., "content": ..., "loss": bool}, ...]}; with "prefix": true
 * the tokens before the first that is trained on see each other in both directions, and "tags" label those of
 * the prompt. docs/corpus.md says what is trained on in each. What cannot be used is left out and counted.
 */
typedef enum millet_skip {
    MILLET_SKIP_EMPTY,    /* nothing but white space, or fewer than two tokens */
    MILLET_SKIP_UTF8,     /* bytes that are not UTF-8 */
    MILLET_SKIP_LONG,     /* a line longer than max_line_bytes, or a dialogue of too many messages */
    MILLET_SKIP_JSON,     /* a line that is no JSON object */
    MILLET_SKIP_FIELDS,   /* none of the three forms, or a member of the wrong type */
    MILLET_SKIP_DIALOGUE, /* a dialogue that the chat template cannot write, or without anything to train on
                           */
    MILLET_SKIP_SPECIAL,  /* a message that contains a control token of the tokenizer */
    MILLET_SKIP_TAGS,     /* tags in a record without prefix, or spans that overlap, lie outside the prompt or
                             hold     no token's beginning, or tokens that are not the prompt's bytes (normalised)
                           */
    MILLET_SKIP_TAG_TOKENS, /* the vocabulary has no control token <|B:name|>, <|I:name|> or <|O|> */
    MILLET_SKIP_TAG_PROMPT, /* a tagged prompt whose last token is no control token: that position predicts
                               the completion */
    MILLET_SKIP_REASONS,
} millet_skip;

/* "not UTF-8", ...: static text. */
MILLET_API const char *millet_skip_text(millet_skip reason);

typedef struct millet_source_options {
    const char *separator;     /* of documents in texts; NULL: "<|endoftext|>"; "": a file is one document */
    const char *chat_template; /* for dialogues; NULL: the one recognised in the tokenizer's file */
    uint64_t max_line_bytes;   /* of JSONL, after decompression; 0: 16 MiB */
    bool special;              /* control tokens written in texts, prompts and completions are those tokens */
} millet_source_options;

/* ---- The token cache ---- */

typedef struct millet_cache_options {
    const millet_allocator *allocator; /* NULL: the C library's */
    millet_source_options source;
    int32_t n_threads; /* 0: the CPUs this process may use; the cache is the same for every number */
    bool rebuild;      /* also where the old cache is current */
    millet_progress_callback *progress; /* NULL: none */
    void *context;
} millet_cache_options;

MILLET_API millet_cache_options millet_cache_options_default(void);

/* What a cache holds. */
typedef struct millet_cache_info {
    uint64_t n_documents, n_tokens;
    uint64_t n_trained;                      /* tokens that are trained on */
    uint64_t n_labels;                       /* tokens that have a label */
    uint64_t n_skipped[MILLET_SKIP_REASONS]; /* records (in texts: parts of documents) that were left out */
    uint64_t text_bytes;                     /* of the records that were used */
    uint64_t file_bytes;
    uint64_t source_bytes;
    uint64_t tokenizer_checksum;
    uint64_t checksum; /* of the source's bytes, the tokenizer and the options, wherever the files lie: caches
                          that have the same hold the same */
    int32_t n_vocab;
    int32_t token_bytes; /* 2 or 4 */
    bool masked;         /* not all tokens are trained on */
    bool prefixes;       /* some documents have a prefix that sees itself */
    bool reused;         /* millet_cache_build found it current */
} millet_cache_info;

/*
 * Tokenises a source into the file `cache`, or leaves that as it is where it was made of the same source with
 * the same tokenizer and options, and its checksum is right. Atomic: until the new cache is complete and on
 * disk, the old one stays. Memory does not grow with the source. Errors: NOT_FOUND, IO (disk full: names the
 * cache), BAD_FORMAT (an empty source; a source none of whose records can be used, with counts; damaged
 * compression), BAD_ARGUMENT (dialogues without a chat template), CANCELLED, NO_MEMORY.
 */
MILLET_API millet_status millet_cache_build(const char *source, const char *cache,
                                            const millet_tokenizer *tokenizer,
                                            const millet_cache_options *options, millet_cache_info *info,
                                            millet_error *err);

typedef struct millet_cache millet_cache;

/* Maps a cache. `verify`: reads all of it and compares the checksum. Errors: NOT_FOUND, IO, BAD_FORMAT,
 * NO_MEMORY. */
MILLET_API millet_status millet_cache_open(const char *path, const millet_allocator *allocator, bool verify,
                                           millet_cache **cache, millet_error *err);
MILLET_API void millet_cache_close(millet_cache **cache);
MILLET_API void millet_cache_get_info(const millet_cache *cache, millet_cache_info *info);

/* A document: `count` tokens, of which the first `prefix` see each other in both directions. */
typedef struct millet_document {
    uint64_t first, count; /* the first token's number in the cache */
    uint32_t prefix;
} millet_document;

/* Errors: BAD_ARGUMENT (index out of range). */
MILLET_API millet_status millet_cache_document(const millet_cache *cache, uint64_t index,
                                               millet_document *document, millet_error *err);
/* Token `number` (< n_tokens) and whether it is trained on; `trained` may be NULL. */
MILLET_API int32_t millet_cache_token(const millet_cache *cache, uint64_t number, bool *trained);
/* The label of token `number`: the token that is to be predicted at its own position. -1: none. */
MILLET_API int32_t millet_cache_label(const millet_cache *cache, uint64_t number);

/* ---- Batches ---- */

typedef enum millet_packing {
    MILLET_PACK_BEST_FIT, /* a document is cut only where it is longer than a row; rows end with padding where
                             nothing fits */
    MILLET_PACK_SEQUENTIAL, /* one document after the other, cut where a row ends: no padding */
} millet_packing;

typedef struct millet_batch_options {
    const millet_allocator *allocator; /* NULL: the C library's */
    int32_t length;                    /* positions of a row; 2 .. 2^24 */
    millet_packing packing;
    bool skip_long;        /* documents longer than a row are left out instead of cut (best fit only) */
    bool in_order;         /* no shuffling: each epoch has the rows in the order of the documents */
    uint64_t seed;         /* of the shuffling */
    int32_t rank, n_ranks; /* this process takes rows rank, rank + n_ranks, ...; n_ranks 0: 1 */
    int32_t holdout;       /* every holdout-th document is kept apart; 0: none */
    bool held_out;         /* the documents kept apart instead of the others */
} millet_batch_options;

MILLET_API millet_batch_options millet_batch_options_default(void);

typedef struct millet_mixture_part {
    const millet_cache *cache;
    double weight;     /* share of the tokens, in parts of the sum; all 0: in proportion to their tokens */
    float loss_weight; /* what its targets count in a loss; 0: 1 */
} millet_mixture_part;

typedef struct millet_batches millet_batches;

/*
 * Rows of several caches, which must outlive the result. Best fit keeps 8 bytes for each document. Errors:
 * BAD_ARGUMENT (names the option; caches of different vocabularies; a part without rows), NO_MEMORY.
 */
MILLET_API millet_status millet_batches_open(const millet_mixture_part *parts, size_t n_parts,
                                             const millet_batch_options *options, millet_batches **batches,
                                             millet_error *err);
MILLET_API void millet_batches_close(millet_batches **batches);

typedef struct millet_batches_info {
    uint64_t n_rows;                  /* of all parts: what is seen in one epoch of each */
    uint64_t n_positions;             /* of these rows that hold a token; the rest is padding */
    uint64_t n_targets;               /* tokens and labels to predict in them */
    uint64_t n_documents, n_left_out; /* left out: too long, with skip_long */
} millet_batches_info;

MILLET_API void millet_batches_get_info(const millet_batches *batches, millet_batches_info *info);

/* What a position of a batch is, added up. */
enum millet_mark {
    MILLET_MARK_LABEL = 1,  /* its target is its own label, not the next token */
    MILLET_MARK_PREFIX = 2, /* its token is of a prefix that sees itself */
};

/*
 * The rows of step `step`: rows x length of tokens, targets (-1: none), the first and last position of its
 * row that each position may attend to, and of millet_mark (`marks` may be NULL). The same for the same step
 * and options, whatever was asked for before. Errors: BAD_FORMAT (a token or label outside the vocabulary).
 */
MILLET_API millet_status millet_batches_fill(const millet_batches *batches, uint64_t step, int32_t rows,
                                             int32_t *tokens, int32_t *targets, int32_t *begin, int32_t *end,
                                             uint8_t *marks, millet_error *err);

/* ---- Training tokenizers ---- */

typedef enum millet_tokenizer_kind {
    MILLET_TOKENIZER_BPE,     /* byte-level BPE: every text can be said */
    MILLET_TOKENIZER_UNIGRAM, /* SentencePiece's unigram model, with bytes for rare characters */
} millet_tokenizer_kind;

typedef struct millet_tokenizer_train_options {
    const millet_allocator *allocator; /* NULL: the C library's */
    millet_tokenizer_kind kind;
    int32_t vocabulary;         /* tokens in all, special ones and bytes included; 0: 8192 */
    const char *const *special; /* control tokens; they get the first ids. NULL: BPE "<|endoftext|>", unigram
                                   "<s>", "</s>" */
    size_t n_special;
    const char *bos, *eos, *pad; /* which of them have these parts; NULL: BPE the first special token is bos
                                    and eos; unigram the first and second */
    bool add_bos;                /* a model is to see bos before every text */
    const char *pre_tokenizer;   /* BPE: one of millet_pretokenizer_names(); NULL: "qwen2" */
    const char *pattern;         /* a regular expression (PCRE2) whose matches are the words instead */
    bool split_digits;           /* every digit is a token of its own */
    bool add_prefix_space;       /* unigram: a space before every text */
    bool nfkc;              /* unigram: SentencePiece's nmt_nfkc before everything; what it changes is lost */
    uint64_t min_frequency; /* merges and pieces that occur more seldom are not made; 0: 2 */
    int32_t max_token_bytes;   /* 0: 48 in BPE; in unigram 16 characters */
    double character_coverage; /* unigram: characters beyond this part of the text are left to bytes; 0:
                                  0.9995 */
    uint64_t max_bytes;        /* only so much text is read; 0: all */
    const char *chat_template; /* a Jinja template to be stored in the files, or NULL */
    const char *name;          /* general.name in the GGUF file; NULL: none */
    millet_source_options source;
    int32_t n_threads; /* 0: the CPUs this process may use; the result is the same for every number */
    millet_progress_callback *progress; /* NULL: none */
    void *context;
} millet_tokenizer_train_options;

MILLET_API millet_tokenizer_train_options millet_tokenizer_train_options_default(void);

/* The pre-tokenisers that a new tokenizer can have, separated by ", ". */
MILLET_API const char *millet_pretokenizer_names(void);

typedef struct millet_tokenizer_training {
    uint64_t text_bytes, n_words, n_distinct; /* what was read, and the words it was cut into */
    uint64_t n_skipped[MILLET_SKIP_REASONS];
    int32_t n_tokens; /* fewer than asked for where the text has no more merges or pieces */
    int32_t n_special, n_bytes, n_learned;
    uint64_t n_text_tokens; /* tokens of the whole text by the new tokenizer, without special ones */
} millet_tokenizer_training;

/*
 * Learns a tokenizer from sources and writes it as a GGUF file without tensors (`gguf`) and as Hugging Face's
 * tokenizer.json (`json`); either may be NULL. In dialogues and pairs all texts count. Atomic, file by file.
 * Errors: those of reading, BAD_ARGUMENT (names the option), CANCELLED, NO_MEMORY.
 */
MILLET_API millet_status millet_tokenizer_train(const char *const *sources, size_t n_sources,
                                                const char *gguf, const char *json,
                                                const millet_tokenizer_train_options *options,
                                                millet_tokenizer_training *result, millet_error *err);

/* How compact a tokenizer is on texts. */
typedef struct millet_tokenizer_measure_result {
    uint64_t text_bytes, n_tokens;
    uint64_t n_unknown; /* of these, unknown tokens */
    uint64_t n_bytes; /* of these, tokens that stand for one byte: ASCII characters of byte-level BPE are not
                         counted */
    uint64_t n_lost;  /* texts (lines) that come back otherwise from their tokens */
    uint64_t n_texts, n_skipped[MILLET_SKIP_REASONS];
} millet_tokenizer_measure_result;

/* Tokenises all texts of the sources, without special tokens. `lines`: each line is a text, and ends of lines
 * are not counted. Errors: those of reading. */
MILLET_API millet_status millet_tokenizer_measure(const millet_tokenizer *tokenizer,
                                                  const char *const *sources, size_t n_sources, bool lines,
                                                  const millet_source_options *options,
                                                  millet_tokenizer_measure_result *result, millet_error *err);

#ifdef __cplusplus
}
#endif
#endif
