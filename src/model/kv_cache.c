/* The key-value cache. SPDX-License-Identifier: Apache-2.0 */
#include "model/kv_cache.h"

#include <string.h>

static uint64_t element_bytes(mlt_dtype dtype)
{
    return dtype == MLT_F16 ? sizeof(uint16_t) : sizeof(float);
}

bool mlt_kv_cache_bytes(const struct mlt_config *config, int32_t n_ctx, int32_t n_sequences, mlt_dtype dtype,
                        uint64_t *bytes)
{
    /* Both factors are below 2^43 and 2^62: config.c bounds layers, heads and sizes. */
    uint64_t heads = (uint64_t)config->n_layers * (uint64_t)config->n_kv_heads;
    uint64_t position = (uint64_t)(config->head_size + config->value_size) * element_bytes(dtype);
    uint64_t positions = (uint64_t)n_ctx * (uint64_t)n_sequences;
    return mlt_mul_u64(heads * position, positions, bytes) && *bytes <= SIZE_MAX / 2;
}

millet_status mlt_kv_cache_open(struct mlt_kv_cache *cache, const millet_allocator *allocator,
                                const struct mlt_config *config, int32_t n_ctx, int32_t n_sequences,
                                mlt_dtype dtype, millet_error *err)
{
    *cache = (struct mlt_kv_cache){*allocator,
                                   dtype,
                                   config->n_layers,
                                   n_sequences,
                                   config->n_kv_heads,
                                   n_ctx,
                                   config->head_size,
                                   config->value_size,
                                   NULL,
                                   NULL};
    uint64_t bytes;
    if (!mlt_kv_cache_bytes(config, n_ctx, n_sequences, dtype, &bytes))
        return mlt_fail(err, MILLET_BAD_ARGUMENT,
                        "a cache of %d sequences of %d positions is larger than the address space",
                        n_sequences, n_ctx);
    cache->keys = mlt_alloc(allocator, (size_t)bytes, 1, err);
    if (!cache->keys) return MILLET_NO_MEMORY;
    uint64_t width = (uint64_t)(config->head_size + config->value_size);
    cache->values = cache->keys + bytes / width * (uint64_t)config->head_size;
    return MILLET_OK;
}

void mlt_kv_cache_close(struct mlt_kv_cache *cache)
{
    mlt_free(&cache->allocator, cache->keys);
    cache->keys = cache->values = NULL;
}

/* Index of a head's first position, in positions. */
static uint64_t head_index(const struct mlt_kv_cache *cache, int32_t layer, int32_t sequence, int32_t head)
{
    uint64_t row = (uint64_t)layer * (uint64_t)cache->n_sequences + (uint64_t)sequence;
    return (row * (uint64_t)cache->n_kv_heads + (uint64_t)head) * (uint64_t)cache->n_ctx;
}

uint8_t *mlt_kv_cache_keys(const struct mlt_kv_cache *cache, int32_t layer, int32_t sequence, int32_t head)
{
    return cache->keys + head_index(cache, layer, sequence, head) * (uint64_t)cache->head_size *
                             element_bytes(cache->dtype);
}

uint8_t *mlt_kv_cache_values(const struct mlt_kv_cache *cache, int32_t layer, int32_t sequence, int32_t head)
{
    return cache->values + head_index(cache, layer, sequence, head) * (uint64_t)cache->value_size *
                               element_bytes(cache->dtype);
}

static void store(const struct mlt_kv_cache *cache, const struct mlt_kernels *kernels, const float *x,
                  int32_t size, uint8_t *out)
{
    if (cache->dtype == MLT_F16)
        kernels->to_half(x, (uint16_t *)(void *)out, size);
    else
        memcpy(out, x, (size_t)size * sizeof *x);
}

void mlt_kv_cache_store(const struct mlt_kv_cache *cache, const struct mlt_kernels *kernels, int32_t layer,
                        int32_t sequence, int32_t position, const float *k, const float *v)
{
    uint64_t element = element_bytes(cache->dtype);
    for (int32_t h = 0; h < cache->n_kv_heads; h++) {
        uint8_t *keys = mlt_kv_cache_keys(cache, layer, sequence, h);
        uint8_t *values = mlt_kv_cache_values(cache, layer, sequence, h);
        store(cache, kernels, k + (int64_t)h * cache->head_size, cache->head_size,
              keys + (uint64_t)position * (uint64_t)cache->head_size * element);
        store(cache, kernels, v + (int64_t)h * cache->value_size, cache->value_size,
              values + (uint64_t)position * (uint64_t)cache->value_size * element);
    }
}

void mlt_kv_cache_copy(const struct mlt_kv_cache *cache, int32_t from, int32_t to, int32_t length)
{
    size_t key_bytes = (size_t)length * (size_t)cache->head_size * element_bytes(cache->dtype);
    size_t value_bytes = (size_t)length * (size_t)cache->value_size * element_bytes(cache->dtype);
    for (int32_t layer = 0; layer < cache->n_layers; layer++) {
        for (int32_t h = 0; h < cache->n_kv_heads; h++) {
            memcpy(mlt_kv_cache_keys(cache, layer, to, h), mlt_kv_cache_keys(cache, layer, from, h),
                   key_bytes);
            memcpy(mlt_kv_cache_values(cache, layer, to, h), mlt_kv_cache_values(cache, layer, from, h),
                   value_bytes);
        }
    }
}
