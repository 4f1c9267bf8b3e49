/*
 * Structured pruning: whole layers, attention heads, feed-forward channels, channels of the residual stream
 * and tokens of the vocabulary are cut out of a decoder by their measured importance; what is left is an
 * ordinary, smaller model. Part of libmillet-lab; the conventions of millet.h hold here too. docs/prune.md
 * has the whole.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MILLET_PRUNE_H
#define MILLET_PRUNE_H

#include "millet/train.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The type of matrices in the output. */
typedef enum millet_prune_storage {
    MILLET_PRUNE_AS_IT_IS, /* each matrix keeps its type; quantised ones become F16 */
    MILLET_PRUNE_F32,
    MILLET_PRUNE_F16,
    MILLET_PRUNE_BF16,
} millet_prune_storage;

typedef struct millet_prune_options {
    const millet_allocator *allocator; /* NULL: the C library's */
    const char *tokenizer_path;        /* as in millet_model_options */

    /* What importance is measured on: token caches made with the model's tokenizer, packed and shuffled into
     * rows of `length` positions as in training. Weights as in training. */
    const millet_train_data *data;
    size_t n_data;          /* 1 to 4096 */
    int32_t rows, length;   /* length 0: 256, or the trained context if that is less */
    uint64_t max_positions; /* so many are measured at most; 0: all rows once */
    uint64_t seed;          /* of the shuffling */
    /* The losses of the result are measured on these caches instead, on so many positions at most; NULL: on
     * the rows that importance was measured on. */
    const char *const *evaluation_data;
    size_t n_evaluation_data;

    /* How many stay; 0: all. Query heads are a multiple of the key heads that stay, and go with them. */
    int32_t layers, heads, kv_heads, feed_forward, width;
    /* Not 0: at most so many parameters stay. What of the numbers above is 0 is then chosen: step by step
     * what raises the loss on the data least for each parameter that goes. Takes some five measurements a
     * step. */
    uint64_t parameters;
    /* Tokens that occur in `data` less often are dropped, but for those that others need; 0: none. */
    uint64_t vocabulary_min_count;

    millet_prune_storage storage;
    uint64_t random;   /* not 0: what stays is chosen by chance, with this seed, to compare with */
    int32_t n_threads; /* 0: the CPUs this process may use; results do not depend on their number */
    millet_progress_callback *progress; /* NULL: none */
    void *context;
} millet_prune_options;

/* 8 rows, 65536 positions, seed 1; everything stays. */
MILLET_API millet_prune_options millet_prune_options_default(void);

typedef struct millet_prune_shape {
    int32_t layers, heads, kv_heads, head_size, feed_forward, width, vocabulary;
    uint64_t parameters;
    uint64_t bytes;       /* of all tensors */
    uint64_t cache_bytes; /* keys and values of one position, as F16 */
} millet_prune_shape;

/* How important a part of the old model is, and whether it stays. */
typedef struct millet_prune_part {
    double importance; /* see docs/prune.md; comparable within its row only */
    bool kept;
} millet_prune_part;

/* Numbers of parts are those of `before`. */
typedef struct millet_pruning {
    millet_prune_shape before, after;
    uint64_t n_positions; /* that importance was measured on */
    /* Mean of -ln p in nats, over the documents all of whose tokens stay; NAN where there is none. */
    double loss_before, loss_after;
    uint64_t file_bytes; /* of the output; 0 where none was written */
    int32_t tokens_used; /* tokens that occur often enough; 0 where the vocabulary was not pruned */
    const millet_prune_part *layers;       /* [layers] */
    const millet_prune_part *heads;        /* [layers][heads] */
    const millet_prune_part *groups;       /* [layers][kv_heads]: all query heads of a key head */
    const millet_prune_part *feed_forward; /* [layers][feed_forward] */
    const millet_prune_part *width;        /* [width] */
} millet_pruning;

/*
 * Measures importance by running a dense decoder over calibration data, chooses what stays, measures what
 * that does to the loss, and writes the smaller model as GGUF. Atomic: until the new file is complete and on
 * disk, what was at `output` stays; the input may be the output. `output` NULL: nothing is written.
 *
 * Memory: the weights in F32 twice, the activations of one layer for rows x length positions.
 *
 * *result (may be NULL) is to be released with millet_pruning_free. Errors: BAD_ARGUMENT (names the option:
 * more parts than there are, heads that key heads cannot share; a cache of another tokenizer), UNSUPPORTED
 * (experts; a tensor or a tokenizer key that is not known), those of opening and writing, CANCELLED,
 * NO_MEMORY.
 */
MILLET_API millet_status millet_prune(const char *input, const char *output,
                                      const millet_prune_options *options, millet_pruning **result,
                                      millet_error *err);
MILLET_API void millet_pruning_free(millet_pruning **result);

#ifdef __cplusplus
}
#endif
#endif
