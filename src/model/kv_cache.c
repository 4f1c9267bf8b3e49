/* The key-value cache. SPDX-License-Identifier: Apache-2.0 */
#include "model/kv_cache.h"

#include "tensor/quant_blocks.h"

#include <math.h>
#include <string.h>

static uint64_t bytes_of(mlt_dtype dtype, int64_t elements)
{
    return mlt_dtype_row_bytes(dtype, elements);
}

bool mlt_kv_cache_bytes(const struct mlt_config *config, int32_t n_ctx, int32_t n_sequences, mlt_dtype dtype,
                        uint64_t *bytes)
{
    /* Both factors are below 2^43 and 2^62: config.c bounds layers, heads and sizes. */
    uint64_t heads = (uint64_t)config->n_layers * (uint64_t)config->n_kv_heads;
    uint64_t position = bytes_of(dtype, config->head_size) + bytes_of(dtype, config->value_size);
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
    uint64_t key = bytes_of(dtype, config->head_size), value = bytes_of(dtype, config->value_size);
    cache->values = cache->keys + bytes / (key + value) * key;
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
    return cache->keys + head_index(cache, layer, sequence, head) * bytes_of(cache->dtype, cache->head_size);
}

uint8_t *mlt_kv_cache_values(const struct mlt_kv_cache *cache, int32_t layer, int32_t sequence, int32_t head)
{
    return cache->values +
           head_index(cache, layer, sequence, head) * bytes_of(cache->dtype, cache->value_size);
}

bool mlt_kv_cache_rotates(mlt_dtype dtype)
{
    return dtype == MLT_IQ4_NL;
}

float mlt_kv_cache_limit(mlt_dtype dtype)
{
    switch (dtype) {
    case MLT_F16: return 65520.0f; /* from here on floats round to an infinite half */
    case MLT_F32: return INFINITY;
    default:
        return 65504.0f * 127 /
               2; /* the scale is a 127th of the largest value, or twice that with a fitted one */
    }
}

static void store_q8_0(const int8_t *q, float d, uint8_t *out)
{
    struct mlt_block_q8_0 block = {.d = mlt_float_to_half(d)};
    memcpy(block.qs, q, sizeof block.qs);
    memcpy(out, &block, sizeof block);
}

/* The header says what is stored. Loops over elements that compilers turn into operations on whole vectors.
 */
static void store_iq4_nl(const int8_t *q, float d, uint8_t *out)
{
    int8_t x[MLT_QK], code[MLT_QK] = {0}, value[MLT_QK];
    int lowest = 0;
    for (int i = 0; i < MLT_QK; i++)
        lowest = MLT_MIN(lowest, q[i]);
    const int sign = lowest > -127 ? -1 : 1;
    for (int i = 0; i < MLT_QK; i++) {
        x[i] = (int8_t)(sign * q[i]);
        value[i] = mlt_iq4_values[0];
    }
    for (int c = 0; c < 15; c++) {
        /* 2 x > a + b of two neighbouring values is x > floor((a + b) / 2). */
        const int sum = mlt_iq4_values[c] + mlt_iq4_values[c + 1];
        const int8_t middle = (int8_t)((sum - (sum & 1)) / 2);
        const int8_t gap = (int8_t)(mlt_iq4_values[c + 1] - mlt_iq4_values[c]);
        for (int i = 0; i < MLT_QK; i++) {
            const int8_t above = (int8_t) - (x[i] > middle);
            code[i] = (int8_t)(code[i] - above);
            value[i] = (int8_t)(value[i] + (above & gap));
        }
    }
    int32_t product = 0, square = 0;
    for (int i = 0; i < MLT_QK; i++) {
        product += x[i] * value[i];
        square += value[i] * value[i];
    }
    const float scale = (float)sign * d * ((float)product / (float)square);
    struct mlt_block_iq4_nl block = {.d = mlt_float_to_half(scale)};
    for (int i = 0; i < 16; i++)
        block.qs[i] = (uint8_t)(code[i] | code[i + 16] << 4);
    memcpy(out, &block, sizeof block);
}

static void store_blocks(mlt_dtype dtype, const struct mlt_kernels *kernels, const float *x, int32_t size,
                         uint8_t *out)
{
    enum { PIECE = 256 };
    const uint64_t block_bytes = bytes_of(dtype, MLT_QK);
    for (int32_t begin = 0; begin < size; begin += PIECE) {
        const int32_t n = MLT_MIN(size - begin, PIECE);
        int8_t q[PIECE];
        float d[PIECE / MLT_QK];
        int16_t sums[PIECE / 16], reach[PIECE / MLT_QK];
        kernels->quantize(x + begin, n, MLT_QK, q, d, sums, reach);
        for (int32_t b = 0; b < n / MLT_QK; b++, out += block_bytes)
            (dtype == MLT_Q8_0 ? store_q8_0 : store_iq4_nl)(q + b * MLT_QK, d[b], out);
    }
}

static void store(const struct mlt_kv_cache *cache, const struct mlt_kernels *kernels, const float *x,
                  int32_t size, uint8_t *out)
{
    switch (cache->dtype) {
    case MLT_F16: kernels->to_half(x, (uint16_t *)(void *)out, size); return;
    case MLT_F32: memcpy(out, x, (size_t)size * sizeof *x); return;
    default: store_blocks(cache->dtype, kernels, x, size, out); return;
    }
}

void mlt_kv_cache_store(const struct mlt_kv_cache *cache, const struct mlt_kernels *kernels, int32_t layer,
                        int32_t sequence, int32_t position, const float *k, const float *v)
{
    for (int32_t h = 0; h < cache->n_kv_heads; h++) {
        uint8_t *keys = mlt_kv_cache_keys(cache, layer, sequence, h);
        uint8_t *values = mlt_kv_cache_values(cache, layer, sequence, h);
        store(cache, kernels, k + (int64_t)h * cache->head_size, cache->head_size,
              keys + (uint64_t)position * bytes_of(cache->dtype, cache->head_size));
        store(cache, kernels, v + (int64_t)h * cache->value_size, cache->value_size,
              values + (uint64_t)position * bytes_of(cache->dtype, cache->value_size));
    }
}

void mlt_kv_cache_copy(const struct mlt_kv_cache *cache, int32_t from, int32_t to, int32_t length)
{
    size_t key_bytes = (size_t)length * bytes_of(cache->dtype, cache->head_size);
    size_t value_bytes = (size_t)length * bytes_of(cache->dtype, cache->value_size);
    for (int32_t layer = 0; layer < cache->n_layers; layer++) {
        for (int32_t h = 0; h < cache->n_kv_heads; h++) {
            memcpy(mlt_kv_cache_keys(cache, layer, to, h), mlt_kv_cache_keys(cache, layer, from, h),
                   key_bytes);
            memcpy(mlt_kv_cache_values(cache, layer, to, h), mlt_kv_cache_values(cache, layer, from, h),
                   value_bytes);
        }
    }
}
