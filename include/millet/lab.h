/*
 * Millet's lab: what a model maker does with models before they go to a device. Not part of libmillet; link
 * libmillet-lab as well. The conventions of millet.h hold here too.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MILLET_LAB_H
#define MILLET_LAB_H

#include "millet/millet.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Called now and then during long work with the part done, 0 to 1; return false to stop: the call ends
 * CANCELLED. */
typedef bool millet_progress_callback(void *context, double fraction);

/* ---- Models of other layouts ---- */

/*
 * Opens a model as Hugging Face's transformers saves it: a directory with config.json and safetensors (one
 * file, or shards with their index), or one .safetensors file with config.json beside it. Matrices are used
 * in place; those whose rows are stored in another order, and vectors, are copied. The tokenizer comes from
 * tokenizer.json; a directory without one gives a model without a tokenizer. docs/import.md lists the classes
 * of models. `options` may be NULL; its tokenizer_path is not used. Errors: those of millet_model_open; they
 * name the file and its key or tensor.
 */
MILLET_API
millet_status millet_import(const char *path, const millet_model_options *options, millet_model **model,
                            millet_error *err);

/* Opens a model of any layout: millet_import for directories and .safetensors files, else millet_model_open.
 */
MILLET_API
millet_status millet_lab_model_open(const char *path, const millet_model_options *options,
                                    millet_model **model, millet_error *err);

/* ---- Speed ---- */

/* What a machine can do at most, measured. */
typedef struct millet_machine {
    const char *cpu; /* the CPU tier in use */
    int32_t n_threads;
    double read_bytes_per_second;      /* memory that no cache holds, all threads together */
    double int8_operations_per_second; /* multiply-adds on registers count as two operations */
    double f32_operations_per_second;
} millet_machine;

/* Takes about a second and 256 MB. n_threads 0: one for each CPU. Errors: BAD_ARGUMENT, NO_MEMORY. */
MILLET_API millet_status millet_machine_measure(int32_t n_threads, millet_machine *machine,
                                                millet_error *err);

typedef struct millet_speed_options {
    millet_session_options session; /* n_ctx 0: what the measurement needs */
    int32_t prompt_tokens;          /* 0: 512; -1: leave this part out */
    int32_t generate_tokens;        /* 0: 128; -1: leave this part out */
    int32_t depth;                  /* tokens in the context before generation is timed */
    int32_t rounds;                 /* 0: 5 */
} millet_speed_options;

MILLET_API millet_speed_options millet_speed_options_default(void);

typedef struct millet_rate { /* tokens a second over all rounds */
    double median, min, max;
} millet_rate;

typedef struct millet_speed {
    int32_t prompt_tokens, generate_tokens, depth, rounds;
    millet_rate prompt, generate;
    double bytes_per_token;             /* weights and cache read for each generated token */
    double operations_per_prompt_token; /* of the matrix products */
    double prompt_limit,
        generate_limit; /* tokens a second that the machine's limits allow; 0 without a machine */
} millet_speed;

/*
 * Times a prompt computed together and generation token after token, on random tokens, after one round that
 * is not counted. `machine` (may be NULL) gives the limits. Errors: BAD_ARGUMENT, NO_MEMORY, CANCELLED.
 */
MILLET_API millet_status millet_speed_measure(const millet_model *model, const millet_speed_options *options,
                                              const millet_machine *machine,
                                              millet_progress_callback *progress, void *context,
                                              millet_speed *speed, millet_error *err);

/* ---- Compaction ---- */

struct millet_plan; /* millet/plan.h */

/*
 * The types that millet_quantize can make, best quality first, separated by ", ". A name is the reference
 * implementation's: "Q8_0", "Q4_K_M", "Q4_0", "F16", ... Names that end in _S, _M and _L, and "Q2_K", are
 * mixes: tensors that matter more get more bits. In every quantised type the output matrix gets at least 6
 * bits, unless `uniform`. docs/compact.md lists the rules.
 */
MILLET_API const char *millet_quantize_type_names(void);

/* An adapter file to make part of the weights, and how strongly: 1 as it was trained. */
typedef struct millet_merge {
    const char *adapter;
    float scale;
} millet_merge;

typedef struct millet_quantize_options {
    const millet_allocator *allocator; /* NULL: the C library's */
    const char *type;                  /* one of millet_quantize_type_names(); NULL: "Q8_0" */
    const char *output_type;           /* dtype of the output matrix ("Q6_K"); NULL: the type's own rule */
    const char *embedding_type;        /* dtype of the token embeddings; NULL: the type's own rule */
    const char *const *keep; /* tensors to copy as they are: names, in which * and ? stand for any text and
                                any character; NULL: none */
    size_t n_keep;
    const millet_merge
        *merge; /* adapters: a matrix becomes W + scale * alpha / rank * B A first; NULL: none */
    size_t n_merge;
    const char *tokenizer_path; /* as in millet_model_options */
    uint64_t split_bytes;       /* the output is cut into files of at most so many bytes; 0: one file */
    int32_t n_threads;          /* 0: the CPUs this process may use */
    bool uniform;               /* every matrix gets exactly `type`, where its rows allow it */
    bool allow_requantize;      /* quantise tensors that are quantised already: what was lost stays lost */
    /* The type of every tensor, instead of `type` and its rules, output_type, embedding_type, keep and
     * uniform; NULL: none. It names each matrix once; other tensors, where it names them, stay as they are.
     */
    const struct millet_plan *plan;
    const char *importance; /* an importance file (imatrix), as millet_calibrate makes it: scales are then
                               fitted and codes rounded for the inputs that it describes; NULL: none */
    bool no_feedback; /* do not make up for errors with the columns that follow, though the file would allow
                         it */
    bool dry_run; /* work out the result (but for errors of rounding) and write nothing; `output` may be NULL
                   */
    millet_progress_callback *progress; /* NULL: none */
    void *context;
} millet_quantize_options;

MILLET_API millet_quantize_options millet_quantize_options_default(void);

/* How a tensor was rounded: by itself; with weighted errors; with error feedback (docs/calibrate.md). */
typedef enum millet_rounding {
    MILLET_ROUNDING_PLAIN,
    MILLET_ROUNDING_IMPORTANCE,
    MILLET_ROUNDING_FEEDBACK,
} millet_rounding;

/* What became of a tensor. Strings belong to the result. */
typedef struct millet_quantized_tensor {
    const char *name;
    const char *from, *to; /* dtypes */
    bool fallback;         /* its rows are no multiple of the wanted type's blocks: `to` is the next best */
    uint64_t elements, bytes_before, bytes_after;
    double error; /* root of the mean squared error, in parts of the root of the mean square; 0 when copied */
    bool matrix;  /* a type may be chosen for it; else it is copied whatever is asked */
    millet_rounding rounding;
    int64_t shape[4]; /* as in GGUF, the row's length first; 0 after the last dimension */
} millet_quantized_tensor;

typedef struct millet_quantized {
    const char *type; /* canonical name */
    uint64_t n_tensors, n_fallbacks;
    const millet_quantized_tensor *tensors; /* in the order of the file */
    uint64_t bytes_before, bytes_after;     /* of all tensors */
    uint64_t file_bytes;                    /* of the output, all files together */
    uint64_t n_files;
    double error; /* as above, over all elements that were encoded */
} millet_quantized;

/*
 * Reads a checkpoint of any layout that Millet knows, encodes its matrices and writes a GGUF file that other
 * runtimes load too. Norms, biases and other vectors, expert routers and position embeddings stay as they
 * are. Streaming: memory is bounded by a few rows, not by tensors. Atomic: until the new file is complete and
 * on disk, what was at `output` stays; the input may be the output.
 *
 * *result (may be NULL) is to be released with millet_quantized_free. Errors: BAD_ARGUMENT (a type's name; a
 * value that is NaN or infinite, naming tensor and index; a quantised input without allow_requantize; a plan
 * that leaves out a matrix, or has a type that the rows do not fit), NOT_FOUND (a tensor of the plan), those
 * of opening (of adapters: as of millet_adapter_open) and writing, CANCELLED, NO_MEMORY.
 */
MILLET_API millet_status millet_quantize(const char *input, const char *output,
                                         const millet_quantize_options *options, millet_quantized **result,
                                         millet_error *err);
MILLET_API void millet_quantized_free(millet_quantized **result);

/* ---- Evaluation ---- */

/* An estimate with its 95% confidence interval. docs/eval.md says how the intervals are made. */
typedef struct millet_interval {
    double value, low, high;
} millet_interval;

/*
 * How a text is put before a model: cut into windows of n_ctx tokens (the model's BOS first, where it asks
 * for it), of which all but the first are scored, each token given all before it in its window.
 */
typedef struct millet_eval_options {
    const millet_allocator *allocator; /* NULL: the model's */
    int32_t n_ctx; /* tokens of a window; 0: 512, or the trained context if that is less */
    /* Tokens of a window, after its BOS, that repeat the end of the window before and are not scored again.
     */
    int32_t overlap;
    bool second_half; /* llama.cpp's way: windows follow each other without overlap, BOS replaces their first
                         token, only the second half is scored, an incomplete last window is left out */
    int64_t max_tokens; /* use only so many tokens of the text; 0: all */
    int32_t n_batch, n_threads;
    millet_cache_type cache_type, base_cache_type; /* of the model, and of what it is compared with */
    const millet_adapter_use *adapters;            /* of the model alone, as in millet_session_options */
    int32_t n_adapters;
    bool exact_activations;
    bool special;        /* recognise special tokens in the text */
    float *nll;          /* where not NULL: takes the negative log-likelihood of scored tokens */
    size_t nll_capacity; /* at most so many, in the order of the text */
    millet_progress_callback *progress; /* NULL: none */
    void *context;
} millet_eval_options;

MILLET_API millet_eval_options millet_eval_options_default(void);

typedef struct millet_perplexity {
    int64_t n_tokens; /* of the text */
    int64_t n_scored; /* of them */
    int64_t n_windows;
    int32_t n_ctx, overlap;     /* what automatic options came to */
    bool bos, second_half;      /* windows begin with BOS; only their second half is scored */
    millet_interval nll;        /* mean of -ln p of the scored tokens */
    millet_interval perplexity; /* e^nll */
} millet_perplexity;

/*
 * Perplexity of a text. Errors: BAD_ARGUMENT (an option; a text with fewer than two tokens to score),
 * UNSUPPORTED (no tokenizer), BAD_FORMAT (the model gives NaN), CANCELLED, NO_MEMORY.
 */
MILLET_API millet_status millet_perplexity_measure(const millet_model *model, const char *text, size_t length,
                                                   const millet_eval_options *options,
                                                   millet_perplexity *result, millet_error *err);

/*
 * Calibration: what the inputs of a model's matrices look like on a text, for compaction to round what
 * matters more carefully. docs/calibrate.md has the whole.
 */
typedef struct millet_calibrate_options {
    millet_eval_options reading; /* how the text is read; overlap, second_half and adapters mean the same */
    bool grams;                  /* also sums of products of all pairs of channels, for error feedback */
    uint64_t gram_bytes;         /* memory for them at most: the smallest come first; 0: 4 GiB */
    bool legacy;                 /* write the old form of the file, which has no grams */
    const char *dataset;         /* the text's name, for the file; NULL: none */
} millet_calibrate_options;

MILLET_API millet_calibrate_options millet_calibrate_options_default(void);

typedef struct millet_calibration {
    millet_perplexity perplexity; /* of the text, by the way */
    uint64_t n_matrices;
    uint64_t n_unseen; /* experts that no token of the text went to */
    int64_t widest;    /* channels of the widest input: fewer tokens than some times that say little of it */
    uint64_t n_grams, n_grams_left_out; /* inputs whose grams there was memory for, and others */
    uint64_t gram_bytes;
} millet_calibration;

/*
 * Reads a text with the model and writes what the inputs of its matrices were to `output`, in the form that
 * the field calls imatrix. Atomic. The result is the same for every number of threads. `result` may be NULL.
 * Errors: those of millet_perplexity_measure; BAD_FORMAT (an input is not finite, naming the matrix), those
 * of writing.
 */
MILLET_API millet_status millet_calibrate(const millet_model *model, const char *text, size_t length,
                                          const char *output, const millet_calibrate_options *options,
                                          millet_calibration *result, millet_error *err);

/* How far the predictions of `other` are from those of `base` on the same text. */
typedef struct millet_divergence {
    millet_perplexity base, other;
    millet_interval perplexity_ratio; /* other / base; tokens are paired: much narrower than each alone */
    /* Kullback-Leibler divergence D(base || other) in nats over the scored tokens. */
    millet_interval kl;
    double kl_median, kl_90, kl_95, kl_99, kl_999, kl_max; /* quantiles */
    millet_interval agreement; /* how often both think the same token the most probable */
    /* Change of the probability of the text's own token, other - base. */
    double max_drop; /* the largest fall, >= 0 */
    millet_interval mean_change;
    double rms_change;
} millet_divergence;

/*
 * Both models go through the text together, window by window; what is kept is one number a token. Errors: as
 * above; BAD_ARGUMENT when the tokenizers differ (names the first difference).
 */
MILLET_API millet_status millet_divergence_measure(const millet_model *base, const millet_model *other,
                                                   const char *text, size_t length,
                                                   const millet_eval_options *options,
                                                   millet_divergence *result, millet_error *err);

/*
 * Understanding commands (millet/understand.h), measured on records of JSONL: {"text", "intent", "slots":
 * [{"name", "start", "end"}], "set"} with byte offsets into the text. Other members do not count.
 */
typedef struct millet_nlu_options {
    const millet_allocator *allocator; /* NULL: the model's */
    const char *set;                   /* a set of the model; NULL: what the records say */
    const char *outside;               /* the intent of what is outside of all skills; NULL: "oos" */
    double outside_cost;               /* of the accuracy within, to reject what is outside; 0: 0.02 */
    const char *predictions; /* a JSONL file to write: each record with what was understood; NULL: none */
    int32_t n_threads;
    bool exact_activations;
    millet_progress_callback *progress; /* NULL: none */
    void *context;
} millet_nlu_options;

typedef struct millet_nlu_scores {
    char set[64];
    int64_t n_records;
    int64_t n_inside, n_outside; /* utterances of an intent, and of none */
    millet_interval intent;      /* share of the former whose most probable intent (but for the outside one)
                                    is right */
    /*
     * What is outside is rejected where the most probable intent's probability is below a threshold: the
     * greatest that costs `outside_cost` of the accuracy on these records. NAN where there is none outside.
     */
    double threshold, intent_at_threshold;
    millet_interval outside_recall;
    /* Slots: name and both ends must be right (Tjong Kim Sang and De Meulder, 2003). */
    int64_t n_slots, n_found, n_right;
    double slot_precision, slot_recall, slot_f1; /* NAN where the records have no slots */
    millet_interval whole; /* share of all utterances inside whose intent and slots are all right */
} millet_nlu_scores;

/*
 * Measures on a file. Errors: those of reading a source (BAD_FORMAT names the line), BAD_ARGUMENT (records of
 * two sets; an option), NOT_FOUND (the model has no such set), UNSUPPORTED, CANCELLED, NO_MEMORY.
 */
MILLET_API millet_status millet_nlu_measure(const millet_model *model, const char *path,
                                            const millet_nlu_options *options, millet_nlu_scores *scores,
                                            millet_error *err);

#ifdef __cplusplus
}
#endif
#endif
