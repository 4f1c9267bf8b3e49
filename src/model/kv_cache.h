/*
 * The key-value cache: keys and values of all positions of all sequences, in F16 or F32.
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
    mlt_dtype dtype; /* MLT_F16 or MLT_F32 */
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

/* Position 0 of a head's keys and values; positions are head_size and value_size elements apart. */
uint8_t *mlt_kv_cache_keys(const struct mlt_kv_cache *cache, int32_t layer, int32_t sequence, int32_t head);
uint8_t *mlt_kv_cache_values(const struct mlt_kv_cache *cache, int32_t layer, int32_t sequence, int32_t head);

/* Stores one position: k [n_kv_heads][head_size] and v [n_kv_heads][value_size], converted to the dtype. */
void mlt_kv_cache_store(const struct mlt_kv_cache *cache, const struct mlt_kernels *kernels, int32_t layer,
                        int32_t sequence, int32_t position, const float *k, const float *v);
/* Copies the first `length` positions of a sequence over those of another. */
void mlt_kv_cache_copy(const struct mlt_kv_cache *cache, int32_t from, int32_t to, int32_t length);

#endif
