/*
 * The key-value cache: keys and values of all positions of all sequences, in F16, F32 or blocks of 32
 * elements: Q8_0 or IQ4_NL. Sizes of heads are multiples of the block length then.
 *
 * Blocks are made of activations in int8 (mlt_quantize_kernel, blocks of 32, d and q): Q8_0 is q with d as a
 * half. IQ4_NL is the nearest of its sixteen values v to each q (the lower of two as near), with the scale d
 * * sum(q * v) / sum(v * v), as a half, that then fits best; where only the positive end of the range, 127,
 * is reached by a q, q and d change their signs first, for the values reach -127 but only 113.
 *
 * Memory: for each layer, sequence and key head its positions one behind the other, so that the attention
 * kernels read a head's history as one stream:
 *     keys   [n_layers][n_sequences][n_kv_heads][n_ctx][head_size]
 *     values [n_layers][n_sequences][n_kv_heads][n_ctx][value_size]
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_KV_CACHE_H
#define MLT_KV_CACHE_H

#include "kernels/kernels.h"
#include "model/config.h"

struct mlt_kv_cache {
    millet_allocator allocator;
    mlt_dtype dtype; /* MLT_F16, MLT_F32, MLT_Q8_0 or MLT_IQ4_NL */
    int32_t n_layers, n_sequences, n_kv_heads, n_ctx, head_size, value_size;
    uint8_t *keys, *values; /* one block; values behind keys */
};

/* Bytes of the cache; false where that overflows. */
bool mlt_kv_cache_bytes(const struct mlt_config *config, int32_t n_ctx, int32_t n_sequences, mlt_dtype dtype,
                        uint64_t *bytes);
millet_status mlt_kv_cache_open(struct mlt_kv_cache *cache, const millet_allocator *allocator,
                                const struct mlt_config *config, int32_t n_ctx, int32_t n_sequences,
                                mlt_dtype dtype, millet_error *err);
void mlt_kv_cache_close(struct mlt_kv_cache *cache);

/* Whether keys, values and queries are rotated (hadamard.h) before they are stored and compared. */
bool mlt_kv_cache_rotates(mlt_dtype dtype);

/*
 * Largest magnitude below which a value is stored as a finite one, as far as that can be said of one value:
 * one that is not below it may come to be infinite.
 */
float mlt_kv_cache_limit(mlt_dtype dtype);

/* Position 0 of a head's keys and values; positions are head_size and value_size elements apart. */
uint8_t *mlt_kv_cache_keys(const struct mlt_kv_cache *cache, int32_t layer, int32_t sequence, int32_t head);
uint8_t *mlt_kv_cache_values(const struct mlt_kv_cache *cache, int32_t layer, int32_t sequence, int32_t head);

/* Stores one position: k [n_kv_heads][head_size] and v [n_kv_heads][value_size], converted to the dtype. */
void mlt_kv_cache_store(const struct mlt_kv_cache *cache, const struct mlt_kernels *kernels, int32_t layer,
                        int32_t sequence, int32_t position, const float *k, const float *v);
/* Copies the first `length` positions of a sequence over those of another. */
void mlt_kv_cache_copy(const struct mlt_kv_cache *cache, int32_t from, int32_t to, int32_t length);

#endif
