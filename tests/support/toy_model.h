/*
 * Small random models of every architecture, for tests of what differs between them: a checkpoint in memory
 * with the metadata and tensors that a file of it would have, and with faults where a test wants them. They
 * have no tokenizer; tiny_model.h has a model that speaks.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_TOY_MODEL_H
#define MLT_TOY_MODEL_H

#include "model/model.h"

/* A metadata key that differs from what the builder writes: another value, or none. */
struct toy_key {
    const char *key; /* without the architecture: "rope.freq_base" */
    bool omit;
    struct mlt_meta value; /* its key is not used */
};

/* A tensor that is left out, or gets other dimensions (zeros: as they were) or another dtype. */
struct toy_tensor {
    const char *name;
    bool omit;
    int64_t ne[MLT_MAX_DIMS];
    bool retyped;
    mlt_dtype dtype;
};

struct toy_model {
    const char *architecture;
    int32_t n_layers, n_embd, n_heads, n_kv_heads, n_ff, n_vocab, n_ctx;
    int32_t head_size, value_size;     /* 0: n_embd / n_heads, and then no key */
    int32_t rope_size;                 /* 0: the whole head, and then no key */
    int32_t n_experts, n_experts_used; /* llama only */
    int32_t window;                    /* of families that have one */
    bool untied;                       /* output.weight of its own */
    bool parallel_block, qk_norm;      /* stablelm only */
    bool rope_freqs, long_factors;     /* tensors of divisors */
    bool biases;                       /* where the family may have them */
    mlt_dtype dtype;                   /* of matrices */
    uint64_t seed;
    const struct toy_key *keys; /* overriding */
    size_t n_keys;
    const struct toy_tensor *tensors;
    size_t n_tensors;
};

/* Two layers, 64 wide, two query heads a key head, 320 tokens, 64 positions, F32. */
struct toy_model toy_model_default(const char *architecture);

/* Values for toy_key. */
struct mlt_meta toy_u32(uint32_t value);
struct mlt_meta toy_i32(int32_t value);
struct mlt_meta toy_f32(float value);
struct mlt_meta toy_string(const char *value);

millet_status toy_checkpoint(const millet_allocator *allocator, const struct toy_model *toy,
                             struct mlt_checkpoint **out, millet_error *err);

/* The checkpoint and its model in one; failure fails the cmocka test. */
millet_model *toy_model_open(const struct toy_model *toy);

#endif
