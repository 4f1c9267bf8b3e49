/*
 * Plans: which type each tensor of a compacted model gets. A plan is a readable JSON file that can be edited
 * and applied. Part of libmillet-lab; the conventions of millet.h hold here too. docs/plan.md has the whole.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MILLET_PLAN_H
#define MILLET_PLAN_H

#include "millet/lab.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { MILLET_PLAN_DIMS = 4 };

typedef struct millet_plan_tensor {
    const char *name;
    const char *type;                /* its dtype in the output: "Q4_K", "F32", ... */
    int64_t shape[MILLET_PLAN_DIMS]; /* as in GGUF, the row's length first; 0s at the end: fewer dimensions;
                                        all 0: not said */
    uint64_t bytes;                  /* in that type; 0: not said */
    /* Of that tensor alone, NAN where it was not measured: the mean divergence in nats that rounding it
     * causes, and the seconds that it takes for a generated token. */
    double kl, seconds;
} millet_plan_tensor;

typedef struct millet_plan {
    const char *model; /* the path that it was made for, or "" */
    uint64_t n_tensors;
    const millet_plan_tensor *tensors;
    uint64_t file_bytes;   /* of one GGUF file; 0: not said */
    uint64_t memory_bytes; /* when it runs with a context of memory_ctx tokens; 0: not said */
    int32_t memory_ctx;
    double kl;                /* sum over tensors: an estimate of the whole; NAN: not measured */
    double tokens_per_second; /* of generation, predicted; NAN: not said */
} millet_plan;

/*
 * Reads a plan. `allocator` NULL: the C library's. Members that are not known are left alone, "bytes", "kl"
 * and the like need not be there: name and type are enough. Errors: NOT_FOUND, IO, BAD_FORMAT (no JSON; a
 * tensor without name or type, or twice; names what), UNSUPPORTED (a version after this one), NO_MEMORY.
 */
MILLET_API millet_status millet_plan_read(const millet_allocator *allocator, const char *path,
                                          millet_plan **plan, millet_error *err);

/* Writes it, a tensor a line; atomic, as all files. Errors: IO, NO_MEMORY. */
MILLET_API millet_status millet_plan_write(const millet_plan *plan, const char *path, millet_error *err);

/*
 * The plan that millet_quantize follows with these options, to be looked at, edited, applied. Where they have
 * a plan, that one with shapes and bytes as they are; what it says of divergence and seconds is kept of
 * tensors, not of the whole. Errors: those of millet_quantize before it writes.
 */
MILLET_API millet_status millet_plan_of(const char *model, const millet_quantize_options *options,
                                        millet_plan **plan, millet_error *err);

/* Nulls the handle; nothing for NULL. */
MILLET_API void millet_plan_free(millet_plan **plan);

/* ---- Sensitivity ---- */

/* One type that a matrix could get. */
typedef struct millet_sensitivity_type {
    const char *type; /* its dtype */
    uint64_t bytes;
    double error;  /* sum of the squared errors that rounding makes, in parts of the sum of squares */
    double kl;     /* mean divergence of the model's predictions when this matrix alone is rounded, nats */
    bool measured; /* else `kl` is estimated from the error and what was measured for this matrix */
} millet_sensitivity_type;

typedef struct millet_sensitivity_tensor {
    const char *name, *type; /* its dtype in the model */
    int64_t shape[MILLET_PLAN_DIMS];
    uint64_t bytes;
    size_t n_types;
    const millet_sensitivity_type *types; /* by bytes ascending; the last is its own, with error and kl 0 */
} millet_sensitivity_tensor;

typedef struct millet_sensitivity {
    const char *model;
    int64_t n_tokens;     /* that divergence was measured on */
    uint64_t fingerprint; /* of the model's tensors and the tokens */
    size_t n_tensors;     /* matrices */
    const millet_sensitivity_tensor *tensors;
    size_t n_measured, n_estimated; /* of the types but their own */
} millet_sensitivity;

typedef struct millet_sensitivity_options {
    const millet_allocator *allocator; /* NULL: the C library's */
    const char *tokenizer_path;        /* as in millet_model_options */
    const char *text;                  /* what the model is to be good at */
    size_t text_length;
    int32_t n_ctx;      /* tokens of a window; 0: 256, or the trained context if that is less */
    int64_t max_tokens; /* at most so many are used, and as many as 256 MB of predictions are; 0: 1024 */
    const char *types;  /* candidates: dtypes, separated by commas or blanks; NULL: all that are of use */
    /* Types to measure for each matrix, the others being estimated; 0: all of them where that takes less than
     * two minutes or so, else 2. */
    int32_t n_measured;
    /* A file (JSON) to go on from, and to keep what was measured in; NULL: none. One that was made for
     * another model or text is BAD_ARGUMENT. */
    const char *cache;
    bool allow_requantize;              /* matrices that are quantised already are candidates too */
    int32_t n_threads;                  /* results do not depend on it */
    millet_progress_callback *progress; /* NULL: none */
    void *context;
} millet_sensitivity_options;

MILLET_API millet_sensitivity_options millet_sensitivity_options_default(void);

/*
 * Rounds one matrix after the other to each candidate type, in memory, and measures how far the model's
 * predictions on the text move. Takes memory for the largest matrix in F32 and for the predictions. Errors:
 * those of opening, BAD_ARGUMENT (a type; a text with fewer than 16 tokens; an option; the cache file),
 * UNSUPPORTED (no tokenizer), BAD_FORMAT (the model gives NaN), CANCELLED (what was measured is in the cache
 * file), NO_MEMORY.
 */
MILLET_API millet_status millet_sensitivity_measure(const char *model,
                                                    const millet_sensitivity_options *options,
                                                    millet_sensitivity **sensitivity, millet_error *err);
/* Nulls the handle; nothing for NULL. */
MILLET_API void millet_sensitivity_free(millet_sensitivity **sensitivity);

/* ---- The device ---- */

enum {
    MILLET_PROFILE_TYPES = 40,
    MILLET_PROFILE_COLUMNS = 3, /* lengths of rows: 128 (or a block), 512, 2048 */
    MILLET_PROFILE_SIZES = 3,   /* elements of a matrix: 2^14, 2^17, 2^20 */
    MILLET_PROFILE_SETS = 3,    /* bytes that are read in turn: 1, 8 and 64 MiB */
};

typedef struct millet_type_cost {
    char type[16]; /* a dtype */
    /* Of a weight, in the product of a matrix with one token. */
    double seconds[MILLET_PROFILE_COLUMNS][MILLET_PROFILE_SIZES][MILLET_PROFILE_SETS];
} millet_type_cost;

/* What a generated token costs on a device. Owns nothing. */
typedef struct millet_device_profile {
    char cpu[32]; /* the CPU tier */
    int32_t n_threads;
    /* What is not in products with matrices: a layer, and a channel of a layer, at the beginning of a
     * context. */
    double seconds_per_layer, seconds_per_channel;
    int32_t n_types;
    millet_type_cost types[MILLET_PROFILE_TYPES];
} millet_device_profile;

/*
 * Measures this machine; some seconds and 80 MB. n_threads 0: one for each CPU. Errors: BAD_ARGUMENT,
 * CANCELLED, NO_MEMORY.
 */
MILLET_API millet_status millet_device_profile_measure(int32_t n_threads, millet_progress_callback *progress,
                                                       void *context, millet_device_profile *profile,
                                                       millet_error *err);
/*
 * Seconds of the product of a matrix of this type and shape with one token, where `set_bytes` of weights are
 * read for each token: between the points that were measured, by logarithms. NAN: the type was not measured.
 */
MILLET_API double millet_device_seconds(const millet_device_profile *profile, const char *type,
                                        int64_t columns, int64_t rows, uint64_t set_bytes);
/* As JSON. Errors: NOT_FOUND, IO, BAD_FORMAT (names the key), UNSUPPORTED (a version after this), NO_MEMORY.
 */
MILLET_API millet_status millet_device_profile_read(const char *path, millet_device_profile *profile,
                                                    millet_error *err);
MILLET_API millet_status millet_device_profile_write(const millet_device_profile *profile, const char *path,
                                                     millet_error *err);

/* ---- The choice ---- */

typedef struct millet_budget {
    uint64_t file_bytes;      /* 0: any */
    uint64_t memory_bytes;    /* weights, keys and values, and what the engine takes; 0: any */
    int32_t memory_ctx;       /* tokens of the context; 0: 4096, or the trained context if that is less */
    double tokens_per_second; /* of generation, at least, as the profile predicts it; 0: any */
    const millet_device_profile *profile; /* NULL: none; speed is not predicted */
} millet_budget;

/*
 * The types that lose least, by the sum of what each loses alone, in the budget. `options` are those of
 * millet_quantize (allocator, tokenizer_path, n_threads count). Errors: those of opening, BAD_ARGUMENT (a
 * budget that cannot be met: the message has the smallest one; a sensitivity of another model), NO_MEMORY.
 */
MILLET_API millet_status millet_plan_choose(const char *model, const millet_sensitivity *sensitivity,
                                            const millet_budget *budget,
                                            const millet_quantize_options *options, millet_plan **plan,
                                            millet_error *err);

#ifdef __cplusplus
}
#endif
#endif
