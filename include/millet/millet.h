/*
 * Millet: compact language models on the device. This header is the engine's API and its documentation.
 *
 *     millet_model *model = NULL;
 *     millet_session *session = NULL;
 *     millet_error err;
 *     if (millet_model_open("model.gguf", NULL, &model, &err)) ...
 *     millet_session_options options = millet_session_options_default();
 *     if (millet_session_open(model, &options, &session, &err)) ...
 *     millet_generate_options how = millet_generate_options_default();
 *     how.max_tokens = 128;
 *     millet_generate(session, "Once upon a time", 16, &how, print_piece, NULL, NULL, &err);
 *     millet_session_close(&session);
 *     millet_model_close(&model);
 *
 * Conventions
 *   - Functions that can fail return millet_status and fill the last parameter, `millet_error *err` (may be
 * NULL).
 *   - open calls take a pointer to a handle, set to NULL on failure; close calls take the same pointer,
 * accept a handle that is NULL, and null it.
 *   - Options structs come from their _default() function; in each, zero means automatic unless the
 * field says otherwise. NULL options mean defaults.
 *   - Strings are UTF-8. Text that goes in is given with its length and may hold NUL bytes.
 *   - A millet_model is immutable: any number of threads and sessions may use it at once. A session belongs
 * to one thread at a time. Close sessions before their model.
 *   - The same model file gives the same logits, bit for bit, on every CPU, for every number of threads, and
 * however a text is cut into calls (docs/arithmetic.md).
 *   - The library never prints, exits or aborts.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MILLET_MILLET_H
#define MILLET_MILLET_H

#include "millet/allocator.h"
#include "millet/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Version of the library, "0.1.0". */
MILLET_API const char *millet_version(void);

/*
 * The CPU tier in use ("avx512vnni", "avx2", "dotprod", "scalar" ...), the best that the CPU has and that the
 * environment variable MILLET_CPU allows; and the names MILLET_CPU may have, separated by ", ".
 */
MILLET_API const char *millet_cpu_tier(void);
MILLET_API const char *millet_cpu_tier_names(void);

/* ---- Models ---- */

typedef struct millet_model millet_model;

typedef struct millet_model_options {
    const millet_allocator *allocator; /* NULL: the C library's */
    const char *tokenizer_path; /* llama2.c only: its tokenizer.bin; NULL: looked for beside the model */
} millet_model_options;

MILLET_API millet_model_options millet_model_options_default(void);

/*
 * Opens a GGUF file (v2, v3; also the first file of a split) or a llama2.c checkpoint. Weights are
 * memory-mapped and used in place. Checkpoints of other layouts (safetensors) are opened by millet_import of
 * lab.h. Errors: NOT_FOUND, IO, BAD_FORMAT, UNSUPPORTED (names the architecture, dtype or tokenizer),
 * NO_MEMORY.
 */
MILLET_API millet_status millet_model_open(const char *path, const millet_model_options *options,
                                           millet_model **model, millet_error *err);
MILLET_API void millet_model_close(millet_model **model);

/* What a model is. Strings belong to the model. */
typedef struct millet_model_info {
    const char *path;
    const char *format;        /* "GGUF v3", "llama2.c v0", "safetensors" */
    const char *architecture;  /* "llama", "qwen3", ... */
    const char *name;          /* general.name, or "" */
    const char *tokenizer;     /* "SPM", "BPE", "unigram", "WordPiece", or "" where the file has none */
    const char *chat_template; /* the template's source as the file has it, or "" */
    uint64_t parameters;       /* elements of all tensors */
    uint64_t weight_bytes;     /* bytes of all tensors */
    uint64_t file_bytes;       /* bytes of all files */
    int32_t n_layers, n_embd, n_heads, n_kv_heads, head_size, n_ff, n_vocab, n_experts, n_experts_used;
    int32_t n_ctx_train; /* the longest context it was trained for */
} millet_model_info;

MILLET_API void millet_model_get_info(const millet_model *model, millet_model_info *info);

/* Metadata as the file has it. `index` < count; arrays are cut to their first elements in `value`. */
typedef struct millet_metadata {
    const char *key;
    char type[32]; /* "u32", "string", "f32[512]" */
} millet_metadata;

MILLET_API uint64_t millet_model_metadata_count(const millet_model *model);
/*
 * Writes the value as text to value[0..size), NUL-terminated and cut when longer; returns its full length.
 * `entry` and `value` may be NULL.
 */
MILLET_API uint64_t millet_model_metadata(const millet_model *model, uint64_t index, millet_metadata *entry,
                                          char *value, uint64_t size);

typedef struct millet_tensor_info {
    const char *name;
    const char *dtype;
    int32_t n_dims;
    int64_t dims[4]; /* dims[0] runs fastest */
    uint64_t bytes;
    uint64_t offset; /* in its file */
} millet_tensor_info;

MILLET_API uint64_t millet_model_tensor_count(const millet_model *model);
MILLET_API void millet_model_tensor(const millet_model *model, uint64_t index, millet_tensor_info *info);

/* ---- Text and tokens ---- */

enum millet_tokenize_flags {
    MILLET_TOKENIZE_SPECIAL = 1, /* recognise special tokens written in the text, such as <|im_end|> */
    MILLET_TOKENIZE_BOS = 2,     /* add BOS (and EOS) where the model asks for it */
};

/*
 * Tokenises text[0..length). Writes at most `capacity` ids to `ids` (may be NULL when capacity is 0) and the
 * full number to *count; a count above capacity means that ids is incomplete: call again. Errors: NO_MEMORY,
 * UNSUPPORTED (the file has no tokenizer).
 */
MILLET_API millet_status millet_tokenize(const millet_model *model, const char *text, size_t length,
                                         unsigned flags, int32_t *ids, size_t capacity, size_t *count,
                                         millet_error *err);

/*
 * The text of a sequence of tokens: at most `capacity` bytes to `text`, the full length to *length. Invalid
 * UTF-8 comes out as U+FFFD. Control tokens give nothing unless `special`. Errors: BAD_ARGUMENT (an id
 * outside the vocabulary).
 */
MILLET_API millet_status millet_detokenize(const millet_model *model, const int32_t *ids, size_t count,
                                           bool special, char *text, size_t capacity, size_t *length,
                                           millet_error *err);

/* The vocabulary entry of one token as it is stored; *length without NUL. NULL when id is out of range. */
MILLET_API const char *millet_token_text(const millet_model *model, int32_t id, size_t *length);
/* Ids of special tokens, -1 where there is none. */
MILLET_API int32_t millet_token_bos(const millet_model *model);
MILLET_API int32_t millet_token_eos(const millet_model *model);
/* Whether a token ends a generation (EOS, end of turn). */
MILLET_API bool millet_token_is_end(const millet_model *model, int32_t id);

typedef struct millet_message {
    const char *role; /* "system", "user", "assistant" */
    const char *content;
} millet_message;

/*
 * Renders a dialogue with a chat template: `name` is one of millet_chat_template_names(), or NULL for the one
 * recognised in the model's metadata. With `assistant` the opening of the assistant's turn is added. Writes
 * at most `capacity` bytes, the full length to *length. Tokenise the result with MILLET_TOKENIZE_SPECIAL and
 * MILLET_TOKENIZE_BOS, or give it to millet_generate with `special`. What messages say is taken as it is,
 * special tokens included. Errors: NOT_FOUND (unknown name), BAD_ARGUMENT (a role that the template has no
 * turn for), UNSUPPORTED (no template in the model is recognised: names those to choose from), NO_MEMORY.
 */
MILLET_API millet_status millet_chat_render(const millet_model *model, const char *name,
                                            const millet_message *messages, size_t n_messages, bool assistant,
                                            char *text, size_t capacity, size_t *length, millet_error *err);
MILLET_API const char *millet_chat_template_names(void);
/* The name of the template recognised in the model's metadata, or NULL. */
MILLET_API const char *millet_chat_template_detect(const millet_model *model);

/* ---- Adapters ---- */

/*
 * A low-rank adapter (LoRA: Hu et al., 2021): what fine-tuning has added to some of a model's matrices, in a
 * file of its own. Sessions use it beside the model's weights, which stay as they are. docs/adapters.md has
 * the whole.
 */
typedef struct millet_adapter millet_adapter;

/*
 * Opens an adapter file (GGUF with general.type "adapter", as training writes it and other runtimes too) for
 * this model, which must outlive it; its tensors are mapped and used in place. Immutable, may be shared by
 * sessions and threads. Errors name the file and its key or tensor: those of opening a file; BAD_FORMAT (no
 * adapter, half of a pair, shapes that do not fit), BAD_ARGUMENT (made for another architecture), NOT_FOUND
 * (the model has no such matrix), UNSUPPORTED (another kind of adapter; token embeddings, experts, vectors).
 */
MILLET_API millet_status millet_adapter_open(const millet_model *model, const char *path,
                                             millet_adapter **adapter, millet_error *err);
MILLET_API void millet_adapter_close(millet_adapter **adapter);

typedef struct millet_adapter_info {
    const char *path;
    float alpha;         /* 0: the file has none, and the product is not divided by the rank */
    int32_t rank;        /* the largest of its matrices' */
    uint64_t n_matrices; /* that it changes */
    uint64_t parameters, bytes;
} millet_adapter_info;

MILLET_API void millet_adapter_get_info(const millet_adapter *adapter, millet_adapter_info *info);

/* An adapter and how strongly it acts: 1 as it was trained, 0 not at all. */
typedef struct millet_adapter_use {
    const millet_adapter *adapter;
    float scale;
} millet_adapter_use;

enum { MILLET_MAX_ADAPTERS = 8 };

/* ---- Sessions ---- */

typedef struct millet_session millet_session;

/*
 * How keys and values are stored. The last two need heads whose sizes are multiples of 32, and round:
 * docs/cache.md says what they cost in quality and give in memory and speed.
 */
typedef enum millet_cache_type {
    MILLET_CACHE_F16 = 0,
    MILLET_CACHE_F32 = 1,
    MILLET_CACHE_Q8_0 = 2, /* 8.5 bits an element */
    MILLET_CACHE_Q4 = 3,   /* 4.5 bits an element: IQ4_NL of rotated vectors */
} millet_cache_type;

typedef struct millet_session_options {
    const millet_allocator *allocator; /* NULL: the model's */
    int32_t n_ctx;       /* positions a sequence can hold; 0: the trained context, at most 4096 */
    int32_t n_sequences; /* independent sequences (prompts) in one cache; 0: 1 */
    int32_t n_batch;     /* tokens computed together; 0: 512 or n_ctx if smaller */
    int32_t n_logits;    /* rows of logits one millet_eval may ask for; 0: n_sequences. With speculation there
                            are at least n_draft + 1 */
    int32_t n_threads;   /* 0: the CPUs this process may use */
    millet_cache_type cache_type;
    bool exact_activations; /* multiply quantised weights with float activations: slow, for comparisons */
    /*
     * Speculation: millet_generate has cheap guesses at the next tokens verified in one step. What it
     * generates is the same bit for bit, whatever the guesses; how they are used adapts to what they gain.
     */
    const millet_model *draft; /* a smaller model with the same vocabulary that guesses; NULL: none. The
                                  session keeps a cache for it and uses it until it is closed */
    bool lookup;       /* guess what followed where the last tokens have stood before in the sequence */
    int32_t n_draft;   /* guesses in a step at most, to 32; 0: 8 where there is speculation */
    bool draft_always; /* verify n_draft guesses whether that pays or not: to measure how often they are right
                        */
    /* Adapters to use, in this order, up to MILLET_MAX_ADAPTERS; the list is copied, what it points to must
     * outlive the session. */
    const millet_adapter_use *adapters;
    int32_t n_adapters;
} millet_session_options;

MILLET_API millet_session_options millet_session_options_default(void);

/* Bytes that a session will take, all of it before the first token. The model's mapped weights are counted
 * apart. */
typedef struct millet_memory {
    uint64_t weights;   /* the tensors of the model, its draft model and adapters, mapped from their files */
    uint64_t cache;     /* keys and values of both */
    uint64_t workspace; /* activations, logits, threads, speculation */
    uint64_t total;     /* cache + workspace */
    int32_t n_ctx;      /* what automatic options came to */
    int32_t n_batch;
    int32_t n_threads;
} millet_memory;

/* Computes what millet_session_open would allocate, without allocating. Errors: BAD_ARGUMENT (names the
 * option). */
MILLET_API millet_status millet_estimate(const millet_model *model, const millet_session_options *options,
                                         millet_memory *memory, millet_error *err);

/* Errors: BAD_ARGUMENT, NO_MEMORY. After it succeeds, no call on the session allocates but millet_generate's
 * prompt. */
MILLET_API millet_status millet_session_open(const millet_model *model, const millet_session_options *options,
                                             millet_session **session, millet_error *err);
MILLET_API void millet_session_close(millet_session **session);

/* One token to compute: it is appended to its sequence. */
typedef struct millet_item {
    int32_t token;    /* in [0, n_vocab) */
    int32_t sequence; /* in [0, n_sequences) */
    bool logits;      /* whether its row of logits is wanted */
} millet_item;

/*
 * Computes `count` tokens (any number; cut into batches inside) and appends them to their sequences. On
 * failure no sequence has changed. Errors: BAD_ARGUMENT (a token, sequence or the number of logits rows out
 * of range), CONTEXT_FULL.
 */
MILLET_API millet_status millet_eval(millet_session *session, const millet_item *items, int32_t count,
                                     millet_error *err);

/*
 * As millet_eval, but the tokens see each other in both directions (those of the same sequence), as a model
 * that was trained with prefixes wants it: for labels at every token of a text, and for what follows it. They
 * are computed together: at most n_batch. What is computed later sees them as any others.
 */
MILLET_API millet_status millet_eval_prefix(millet_session *session, const millet_item *items, int32_t count,
                                            millet_error *err);

/*
 * Row `index` of the logits that the last millet_eval (or millet_eval_prefix) was asked for, in the order of
 * its items: n_vocab floats, owned by the session, valid until its next call. NULL when index is out of
 * range.
 */
MILLET_API const float *millet_logits(const millet_session *session, int32_t index);

/* Tokens in a sequence. */
MILLET_API int32_t millet_sequence_length(const millet_session *session, int32_t sequence);
/* Forgets the tokens from `length` on (0: all). Errors: BAD_ARGUMENT when length is above the sequence's. */
MILLET_API millet_status millet_sequence_truncate(millet_session *session, int32_t sequence, int32_t length,
                                                  millet_error *err);
/* Makes sequence `to` a copy of sequence `from`: a prompt computed once serves many continuations. */
MILLET_API millet_status millet_sequence_copy(millet_session *session, int32_t from, int32_t to,
                                              millet_error *err);

/* ---- Sampling ---- */

/*
 * The sampler chain, in this order: repetition, frequency and presence penalties, top-k, typical-p, top-p,
 * min-p, temperature, draw. Each filter sees the probabilities of what the one before it has left.
 * Temperature 0 takes the token with the greatest logit after the penalties (the lowest id among equals). NaN
 * logits are never drawn; +infinity takes all of the probability.
 */
typedef struct millet_sampler_options {
    float temperature; /* >= 0; default 0.8 */
    int32_t top_k;     /* keep the k most probable; 0: off; default 40 */
    float top_p;       /* (0, 1]; smallest set whose probability reaches p; 1: off; default 0.95 */
    float min_p;       /* [0, 1]; at least this fraction of the largest probability; 0: off; default 0.05 */
    float typical_p;   /* (0, 1]; locally typical sampling (Meister et al., 2022); 1: off (default) */
    float repeat_penalty;    /* > 0; divides positive and multiplies negative logits of recent tokens; 1: off
                                (default) */
    float frequency_penalty; /* subtracted for each time a token occurs among the recent ones; 0: off */
    float presence_penalty;  /* subtracted once for a token that occurs among the recent ones; 0: off */
    int32_t penalty_last;    /* how many recent tokens count; 0: 64 */
    uint64_t seed; /* the same seed gives the same tokens on every machine; 0 is a seed like others */
} millet_sampler_options;

MILLET_API millet_sampler_options millet_sampler_options_default(void);

typedef struct millet_sampler millet_sampler;

/* Errors: BAD_ARGUMENT (names the option and its range), NO_MEMORY. Nothing is allocated later. */
MILLET_API millet_status millet_sampler_open(const millet_model *model, const millet_sampler_options *options,
                                             millet_sampler **sampler, millet_error *err);
MILLET_API void millet_sampler_close(millet_sampler **sampler);
/* Chooses a token from n_vocab logits (unchanged) and remembers it for the penalties. Errors: BAD_ARGUMENT
 * when all are NaN. */
MILLET_API millet_status millet_sampler_sample(millet_sampler *sampler, const float *logits, int32_t *token,
                                               millet_error *err);
/* Makes a token of the prompt known to the penalties. */
MILLET_API void millet_sampler_accept(millet_sampler *sampler, int32_t token);
/* Forgets all tokens and starts the random numbers again from the seed. */
MILLET_API void millet_sampler_reset(millet_sampler *sampler);

/* ---- Generation ---- */

typedef struct millet_token_logprob {
    int32_t token;
    float logprob; /* natural logarithm of the probability before the sampler chain */
} millet_token_logprob;

/* One generated token. Pointers are valid during the callback. */
typedef struct millet_piece {
    const char *text; /* what became ready: whole UTF-8 characters, not NUL-terminated; may be empty */
    size_t length;
    int32_t token;                    /* -1 for the rest of the text after the last token */
    float logprob;                    /* of the token */
    const millet_token_logprob *best; /* the n_best most probable tokens, best first */
    int32_t n_best;
} millet_piece;

/* Return false to stop. */
typedef bool millet_piece_callback(void *context, const millet_piece *piece);

/* What may be generated: grammar.h. */
typedef struct millet_grammar millet_grammar;

typedef struct millet_generate_options {
    millet_sampler_options sampler;
    int32_t max_tokens;      /* 0: until the end token or the end of the context */
    int32_t sequence;        /* which sequence to continue */
    const char *const *stop; /* stop strings: generation ends before the first of them; NULL: none */
    size_t n_stop;           /* at most 16, each at most 256 bytes */
    int32_t n_best;          /* alternatives to report with each token, 0 to 64 */
    bool special;            /* recognise special tokens in the prompt */
    bool no_bos;             /* do not add BOS before the prompt */
    bool ignore_end;         /* go on after end tokens; does nothing with a grammar */
    millet_grammar
        *grammar; /* of the same model: what is generated is a sentence of it; begun anew. NULL: anything.
                     Generation ends as with an end token where nothing else can follow */
} millet_generate_options;

MILLET_API millet_generate_options millet_generate_options_default(void);

typedef enum millet_finish {
    MILLET_FINISH_END,     /* an end token */
    MILLET_FINISH_LENGTH,  /* max_tokens or the context */
    MILLET_FINISH_STOP,    /* a stop string */
    MILLET_FINISH_CALLBACK /* the callback returned false */
} millet_finish;

typedef struct millet_generation {
    millet_finish finish;
    int32_t prompt_tokens;
    int32_t generated_tokens; /* an end token is counted too, though it is not added to the sequence */
    int32_t drafted_tokens;   /* guesses of speculation that were verified */
    int32_t accepted_tokens;  /* of these, those that were generated */
    double prompt_seconds, generate_seconds;
} millet_generation;

/*
 * Tokenises the prompt, computes it and generates, calling `callback` (may be NULL) for each token. What is
 * given out never contains part of a stop string. `result` may be NULL. BOS is added where the model asks for
 * it and the sequence is empty. Errors: those of tokenising, evaluating and sampling; CONTEXT_FULL when the
 * prompt does not fit.
 */
MILLET_API millet_status millet_generate(millet_session *session, const char *prompt, size_t length,
                                         const millet_generate_options *options,
                                         millet_piece_callback *callback, void *context,
                                         millet_generation *result, millet_error *err);

#ifdef __cplusplus
}
#endif
#endif
