/* Mapping a token cache; everything in it is checked first. SPDX-License-Identifier: Apache-2.0 */
#include "corpus/checksum.h"
#include "corpus/token_cache.h"

#include <string.h>
#include <zlib.h>

static millet_status damaged(const struct millet_cache *cache, uint64_t offset, const char *what,
                             millet_error *err)
{
    return mlt_fail_at(err, MILLET_BAD_FORMAT, cache->path, NULL, offset, "%s", what);
}

/* Whether count * size bytes at `at` lie between the lead and the trailer, aligned. */
static bool inside(uint64_t at, uint64_t count, uint64_t size, uint64_t end)
{
    uint64_t bytes;
    if (at % MLT_CACHE_ALIGNMENT || at < sizeof(struct mlt_cache_lead) || at > end) return false;
    return mlt_mul_u64(count, size, &bytes) && bytes <= end - at;
}

static millet_status check_lead(const struct millet_cache *cache, const uint8_t *bytes, uint64_t size,
                                millet_error *err)
{
    struct mlt_cache_lead lead;
    if (size < sizeof lead || memcmp(bytes, MLT_CACHE_MAGIC, sizeof lead.magic) != 0)
        return damaged(cache, 0, "this is no token cache", err);
    memcpy(&lead, bytes, sizeof lead);
    if (lead.order != MLT_CACHE_ORDER)
        return mlt_fail_at(err, MILLET_UNSUPPORTED, cache->path, NULL, 12,
                           "the cache was made on a machine of another byte order");
    if (lead.version != MLT_CACHE_VERSION)
        return mlt_fail_at(
            err, MILLET_UNSUPPORTED, cache->path, NULL, 8,
            "version %u of the token cache is not known, %d is: build it from its source again", lead.version,
            (int)MLT_CACHE_VERSION);
    if (size < sizeof lead + sizeof(struct mlt_cache_trailer))
        return damaged(cache, size, "the cache is cut short", err);
    return MILLET_OK;
}

static millet_status check_documents(const struct millet_cache *cache, millet_error *err)
{
    const struct mlt_cache_trailer *t = &cache->trailer;
    if (cache->documents[0] != 0 || cache->documents[t->n_documents] != t->n_tokens)
        return damaged(cache, t->documents_at, "the documents do not cover the tokens", err);
    for (uint64_t i = 0; i < t->n_documents; i++) {
        uint64_t begin = cache->documents[i], end = cache->documents[i + 1];
        if (end < begin || end > t->n_tokens || end - begin < 2)
            return damaged(cache, t->documents_at + 8 * i, "a document has fewer than two tokens", err);
        if (cache->prefixes && cache->prefixes[i] > end - begin)
            return damaged(cache, t->prefixes_at + 4 * i, "a prefix is longer than its document", err);
    }
    return MILLET_OK;
}

millet_status mlt_cache_parse(struct millet_cache *cache, const uint8_t *bytes, uint64_t size,
                              millet_error *err)
{
    struct mlt_cache_trailer *t = &cache->trailer;
    MLT_TRY(check_lead(cache, bytes, size, err));
    uint64_t end = size - sizeof *t;
    memcpy(t, bytes + end, sizeof *t);
    if (memcmp(t->magic, MLT_CACHE_END, sizeof t->magic) != 0)
        return damaged(cache, end, "the cache is cut short", err);
    if (t->trailer_checksum !=
        mlt_checksum(MLT_CHECKSUM_START, t, offsetof(struct mlt_cache_trailer, trailer_checksum)))
        return damaged(cache, end, "the checksum of the trailer is wrong", err);
    bool good = (t->token_bytes == 2 || t->token_bytes == 4) && t->n_vocab > 0 && t->n_vocab <= INT32_MAX &&
                (t->token_bytes == 4 || t->n_vocab < 65536) && t->n_documents > 0 &&
                t->n_documents < UINT32_MAX && t->n_tokens < UINT64_MAX / 8 && t->n_trained <= t->n_tokens &&
                t->n_labels <= t->n_tokens && !t->n_labels == !t->labels_at;
    good = good && inside(t->tokens_at, t->n_tokens, t->token_bytes, end) &&
           inside(t->documents_at, t->n_documents + 1, 8, end) && inside(t->path_at, t->path_bytes, 1, end);
    if (good && t->mask_at) good = inside(t->mask_at, (t->n_tokens + 7) / 8, 1, end);
    if (good && t->prefixes_at) good = inside(t->prefixes_at, t->n_documents, 4, end);
    if (good && t->labels_at) good = inside(t->labels_at, t->n_tokens, t->token_bytes, end);
    if (!good) return damaged(cache, end, "the trailer contradicts the size of the file", err);
    cache->tokens16 = t->token_bytes == 2 ? (const uint16_t *)(const void *)(bytes + t->tokens_at) : NULL;
    cache->tokens32 = t->token_bytes == 4 ? (const uint32_t *)(const void *)(bytes + t->tokens_at) : NULL;
    cache->mask = t->mask_at ? bytes + t->mask_at : NULL;
    cache->prefixes = t->prefixes_at ? (const uint32_t *)(const void *)(bytes + t->prefixes_at) : NULL;
    cache->documents = (const uint64_t *)(const void *)(bytes + t->documents_at);
    const void *labels = t->labels_at ? bytes + t->labels_at : NULL;
    cache->labels16 = t->token_bytes == 2 ? labels : NULL;
    cache->labels32 = t->token_bytes == 4 ? labels : NULL;
    return check_documents(cache, err);
}

millet_status mlt_cache_verify(const struct millet_cache *cache, millet_error *err)
{
    uint64_t end = cache->map.size - sizeof cache->trailer;
    uLong sum = 0;
    for (uint64_t done = 0; done < end;) {
        uint64_t part = MLT_MIN(end - done, (uint64_t)1 << 30);
        sum = crc32(sum, cache->map.data + done, (uInt)part);
        done += part;
    }
    if (sum != cache->trailer.body_checksum)
        return damaged(cache, MILLET_NO_OFFSET, "the checksum is wrong: the cache is damaged", err);
    return MILLET_OK;
}

static millet_status open_cache(struct millet_cache *cache, const char *path, bool verify, millet_error *err)
{
    cache->path = mlt_copy_text(&cache->allocator, path, strlen(path), err);
    if (!cache->path) return MILLET_NO_MEMORY;
    MLT_TRY(mlt_file_map_open(path, &cache->map, err));
    MLT_TRY(mlt_cache_parse(cache, cache->map.data, cache->map.size, err));
    return verify ? mlt_cache_verify(cache, err) : MILLET_OK;
}

millet_status millet_cache_open(const char *path, const millet_allocator *allocator, bool verify,
                                millet_cache **out, millet_error *err)
{
    *out = NULL;
    if (!allocator) allocator = mlt_default_allocator();
    millet_cache *cache = mlt_alloc_zero(allocator, 1, sizeof *cache, err);
    if (!cache) return MILLET_NO_MEMORY;
    cache->allocator = *allocator;
    millet_status status = open_cache(cache, path, verify, err);
    if (status) millet_cache_close(&cache);
    *out = cache;
    return status;
}

void millet_cache_close(millet_cache **handle)
{
    millet_cache *cache = *handle;
    if (!cache) return;
    millet_allocator allocator = cache->allocator;
    mlt_file_map_close(&cache->map);
    mlt_free(&allocator, cache->path);
    mlt_free(&allocator, cache);
    *handle = NULL;
}

static uint64_t sum_origin(const struct mlt_cache_trailer *t)
{
    const uint64_t numbers[] = {t->source_size,      t->source_checksum, t->tokenizer_checksum,
                                t->options_checksum, t->n_documents,     t->n_tokens,
                                t->n_trained,        t->n_vocab};
    uint64_t sum = mlt_checksum(MLT_CHECKSUM_START, numbers, sizeof numbers);
    return t->n_labels ? mlt_checksum(sum, &t->n_labels, sizeof t->n_labels) : sum;
}

void mlt_cache_describe(const struct mlt_cache_trailer *t, uint64_t file_bytes, millet_cache_info *info)
{
    *info = (millet_cache_info){
        .n_documents = t->n_documents,
        .n_tokens = t->n_tokens,
        .n_trained = t->n_trained,
        .n_labels = t->n_labels,
        .text_bytes = t->text_bytes,
        .file_bytes = file_bytes,
        .source_bytes = t->source_size,
        .tokenizer_checksum = t->tokenizer_checksum,
        .checksum = sum_origin(t),
        .n_vocab = (int32_t)t->n_vocab,
        .token_bytes = (int32_t)t->token_bytes,
        .masked = t->mask_at != 0,
        .prefixes = t->prefixes_at != 0,
    };
    memcpy(info->n_skipped, t->skipped, sizeof info->n_skipped);
}

void millet_cache_get_info(const millet_cache *cache, millet_cache_info *info)
{
    mlt_cache_describe(&cache->trailer, cache->map.size, info);
}

millet_status millet_cache_document(const millet_cache *cache, uint64_t index, millet_document *document,
                                    millet_error *err)
{
    *document = (millet_document){0};
    if (index >= cache->trailer.n_documents)
        return mlt_fail_at(err, MILLET_BAD_ARGUMENT, cache->path, NULL, MILLET_NO_OFFSET,
                           "there is no document %llu; the cache has %llu", (unsigned long long)index,
                           (unsigned long long)cache->trailer.n_documents);
    document->first = cache->documents[index];
    document->count = cache->documents[index + 1] - document->first;
    document->prefix = cache->prefixes ? cache->prefixes[index] : 0;
    return MILLET_OK;
}

int32_t millet_cache_label(const millet_cache *cache, uint64_t number)
{
    if (number >= cache->trailer.n_tokens) return -1;
    int64_t label = mlt_cache_label(cache, number);
    return label < (int64_t)cache->trailer.n_vocab ? (int32_t)label : -1;
}

int32_t millet_cache_token(const millet_cache *cache, uint64_t number, bool *trained)
{
    if (number >= cache->trailer.n_tokens) return -1;
    if (trained) *trained = mlt_cache_trained(cache, number);
    return (int32_t)mlt_cache_token(cache, number);
}
