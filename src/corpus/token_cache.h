/*
 * The token cache: the tokens of one source in one file, mapped.
 *
 *     lead       64 bytes: magic, version, byte order
 *     tokens     n_tokens numbers of 2 bytes (vocabularies below 65536) or 4
 *     mask       a bit for each token, lowest first: it is trained on (left out where all are)
 *     prefixes   u32 for each document (left out where all are 0)
 *     labels     a number for each token, as wide as those: the token to predict at its position instead of
 * the next, or all bits set (left out where all are) documents  u64 [n_documents + 1]: where each begins in
 * the tokens, and n_tokens path       of the source trailer    struct mlt_cache_trailer: places, counts,
 * checksums
 *
 * Each part begins at a multiple of 64. What is known only at the end stands at the end, so that the file is
 * written in one go. Numbers are in the machine's byte order; a file of another order is refused.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_TOKEN_CACHE_H
#define MLT_TOKEN_CACHE_H

#include "base/file.h"
#include "corpus/byte_source.h"
#include "millet/corpus.h"

#define MLT_CACHE_MAGIC "MLTTOKEN"
#define MLT_CACHE_END "MLTTKEND"

enum { MLT_CACHE_VERSION = 2, MLT_CACHE_ALIGNMENT = 64 };

struct mlt_cache_lead {
    char magic[8];
    uint32_t version, order; /* order: 0x01020304 */
    uint8_t zeros[48];
};

#define MLT_CACHE_ORDER UINT32_C(0x01020304)

/* All numbers u64, so that there is no padding. */
struct mlt_cache_trailer {
    uint64_t tokens_at, mask_at, prefixes_at, labels_at, documents_at,
        path_at; /* byte offsets; mask, prefixes and labels: 0 where left out */
    uint64_t n_tokens, n_documents, path_bytes, token_bytes, n_vocab;
    uint64_t n_trained, n_labels, text_bytes;
    uint64_t skipped[16]; /* by millet_skip */
    uint64_t source_size, source_mtime, source_checksum;
    uint64_t tokenizer_checksum, options_checksum;
    uint64_t body_checksum;    /* CRC-32 of everything before the trailer */
    uint64_t trailer_checksum; /* FNV-1a of the trailer up to here */
    char magic[8];
};

struct millet_cache {
    millet_allocator allocator;
    struct mlt_file_map map;
    char *path;
    struct mlt_cache_trailer trailer;
    const uint16_t *tokens16; /* one of the two */
    const uint32_t *tokens32;
    const uint8_t *mask;      /* or NULL */
    const uint32_t *prefixes; /* or NULL */
    const uint16_t *labels16; /* or NULL, as labels32 */
    const uint32_t *labels32;
    const uint64_t *documents; /* [n_documents + 1], rising, at least 2 tokens each */
};

/* Finds the parts in bytes[0 .. size) (aligned to 8) and checks them; does not look at the checksum of the
 * body nor at the tokens' values. */
millet_status mlt_cache_parse(struct millet_cache *cache, const uint8_t *bytes, uint64_t size,
                              millet_error *err);
/* Reads everything. BAD_FORMAT where the checksum is wrong. */
millet_status mlt_cache_verify(const struct millet_cache *cache, millet_error *err);

void mlt_cache_describe(const struct mlt_cache_trailer *trailer, uint64_t file_bytes,
                        millet_cache_info *info);

static inline uint32_t mlt_cache_token(const struct millet_cache *cache, uint64_t number)
{
    return cache->tokens16 ? cache->tokens16[number] : cache->tokens32[number];
}

static inline bool mlt_cache_trained(const struct millet_cache *cache, uint64_t number)
{
    return !cache->mask || (cache->mask[number / 8] >> number % 8 & 1);
}

/* The token to predict at a token's own position, not checked against the vocabulary; -1: the next one. */
static inline int64_t mlt_cache_label(const struct millet_cache *cache, uint64_t number)
{
    if (cache->labels16) return cache->labels16[number] == UINT16_MAX ? -1 : (int64_t)cache->labels16[number];
    if (cache->labels32) return cache->labels32[number] == UINT32_MAX ? -1 : (int64_t)cache->labels32[number];
    return -1;
}

/* cache_write.c: a cache in the making. */
struct mlt_cache_writer;

struct mlt_cache_origin {
    const char *source;
    uint64_t tokenizer_checksum, options_checksum;
    int32_t n_vocab;
};

millet_status mlt_cache_writer_open(const millet_allocator *allocator, const char *path,
                                    const struct mlt_cache_origin *origin, struct mlt_cache_writer **out,
                                    millet_error *err);
/* Appends tokens to the open document; tokens and labels (-1: none; NULL: none at all) must lie in the
 * vocabulary. */
millet_status mlt_cache_writer_put(struct mlt_cache_writer *writer, const int32_t *tokens,
                                   const uint8_t *trained, const int32_t *labels, size_t count,
                                   millet_error *err);
/* Ends the open document; one of fewer than 2 tokens counts as none (its tokens stay, before the next
 * document). */
millet_status mlt_cache_writer_end_document(struct mlt_cache_writer *writer, uint32_t prefix,
                                            millet_error *err);
/* Writes the rest, makes the file visible and describes it, releases the writer in any case and nulls the
 * handle. `info` may be NULL. */
millet_status mlt_cache_writer_commit(struct mlt_cache_writer **writer,
                                      const struct mlt_source_identity *identity, const uint64_t *skipped,
                                      uint64_t text_bytes, millet_cache_info *info, millet_error *err);
void mlt_cache_writer_abort(struct mlt_cache_writer **writer);
uint64_t mlt_cache_writer_documents(const struct mlt_cache_writer *writer);

#endif
