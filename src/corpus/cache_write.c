/* Writing a token cache in one go. SPDX-License-Identifier: Apache-2.0 */
#include "corpus/checksum.h"
#include "corpus/spool.h"
#include "corpus/token_cache.h"

#include <string.h>
#include <zlib.h>

struct mlt_cache_writer {
    millet_allocator allocator;
    struct mlt_writer *file;
    char *source;
    struct mlt_cache_trailer trailer;
    struct mlt_spool *mask, *prefixes, *documents;
    struct mlt_spool *labels; /* begins with the first label */
    uint8_t bits;             /* of the mask, not yet in its spool */
    bool any_prefix;
    uint64_t document_start;
};

static millet_status put(struct mlt_cache_writer *writer, const void *bytes, uint64_t size, millet_error *err)
{
    for (uint64_t done = 0; done < size;) { /* zlib counts in unsigned int */
        uint64_t part = MLT_MIN(size - done, (uint64_t)1 << 30);
        writer->trailer.body_checksum =
            crc32((uLong)writer->trailer.body_checksum, (const uint8_t *)bytes + done, (uInt)part);
        done += part;
    }
    return mlt_writer_write(writer->file, bytes, size, err);
}

static millet_status align(struct mlt_cache_writer *writer, uint64_t *at, millet_error *err)
{
    static const uint8_t zeros[MLT_CACHE_ALIGNMENT];
    uint64_t position = mlt_writer_position(writer->file);
    *at = mlt_round_up(position, MLT_CACHE_ALIGNMENT);
    return put(writer, zeros, *at - position, err);
}

static millet_status begin(struct mlt_cache_writer *writer, const char *path,
                           const struct mlt_cache_origin *origin, millet_error *err)
{
    const millet_allocator *allocator = &writer->allocator;
    writer->source = mlt_copy_text(allocator, origin->source, strlen(origin->source), err);
    if (!writer->source) return MILLET_NO_MEMORY;
    MLT_TRY(mlt_writer_open(allocator, path, &writer->file, err));
    MLT_TRY(mlt_spool_open(allocator, path, &writer->mask, err));
    MLT_TRY(mlt_spool_open(allocator, path, &writer->prefixes, err));
    MLT_TRY(mlt_spool_open(allocator, path, &writer->documents, err));
    MLT_TRY(mlt_spool_open(allocator, path, &writer->labels, err));
    writer->trailer.tokenizer_checksum = origin->tokenizer_checksum;
    writer->trailer.options_checksum = origin->options_checksum;
    writer->trailer.n_vocab = (uint64_t)origin->n_vocab;
    writer->trailer.token_bytes = origin->n_vocab < 65536 ? 2 : 4;
    struct mlt_cache_lead lead = {.version = MLT_CACHE_VERSION, .order = MLT_CACHE_ORDER};
    memcpy(lead.magic, MLT_CACHE_MAGIC, sizeof lead.magic);
    MLT_TRY(put(writer, &lead, sizeof lead, err));
    return align(writer, &writer->trailer.tokens_at, err);
}

millet_status mlt_cache_writer_open(const millet_allocator *allocator, const char *path,
                                    const struct mlt_cache_origin *origin, struct mlt_cache_writer **out,
                                    millet_error *err)
{
    *out = NULL;
    struct mlt_cache_writer *writer = mlt_alloc_zero(allocator, 1, sizeof *writer, err);
    if (!writer) return MILLET_NO_MEMORY;
    writer->allocator = *allocator;
    millet_status status = begin(writer, path, origin, err);
    if (status)
        mlt_cache_writer_abort(&writer);
    else
        *out = writer;
    return status;
}

void mlt_cache_writer_abort(struct mlt_cache_writer **handle)
{
    struct mlt_cache_writer *writer = *handle;
    if (!writer) return;
    millet_allocator allocator = writer->allocator;
    mlt_writer_abort(&writer->file);
    mlt_spool_close(&writer->mask);
    mlt_spool_close(&writer->prefixes);
    mlt_spool_close(&writer->documents);
    mlt_spool_close(&writer->labels);
    mlt_free(&allocator, writer->source);
    mlt_free(&allocator, writer);
    *handle = NULL;
}

uint64_t mlt_cache_writer_documents(const struct mlt_cache_writer *writer)
{
    return writer->trailer.n_documents;
}

/* At most CHUNK tokens: the width that the file has, then the mask. */
enum { CHUNK = 4096 };

union chunk {
    uint16_t narrow[CHUNK];
    uint32_t wide[CHUNK];
};

/* For tokens that have none, where others do. */
static millet_status put_no_labels(struct mlt_cache_writer *writer, uint64_t count, millet_error *err)
{
    union chunk chunk;
    memset(&chunk, 0xFF, sizeof chunk);
    while (count) {
        uint64_t part = MLT_MIN(count, (uint64_t)CHUNK);
        MLT_TRY(mlt_spool_write(writer->labels, &chunk, (size_t)(part * writer->trailer.token_bytes), err));
        count -= part;
    }
    return MILLET_OK;
}

/* Before the tokens are counted. */
static millet_status put_labels(struct mlt_cache_writer *writer, const int32_t *labels, size_t count,
                                millet_error *err)
{
    struct mlt_cache_trailer *trailer = &writer->trailer;
    union chunk chunk;
    uint64_t n_labels = 0;
    for (size_t i = 0; labels && i < count; i++) {
        if (trailer->token_bytes == 2)
            chunk.narrow[i] = labels[i] < 0 ? UINT16_MAX : (uint16_t)labels[i];
        else
            chunk.wide[i] = labels[i] < 0 ? UINT32_MAX : (uint32_t)labels[i];
        n_labels += labels[i] >= 0;
    }
    if (!n_labels) return trailer->n_labels ? put_no_labels(writer, count, err) : MILLET_OK;
    if (!trailer->n_labels) MLT_TRY(put_no_labels(writer, trailer->n_tokens, err));
    trailer->n_labels += n_labels;
    return mlt_spool_write(writer->labels, &chunk, count * trailer->token_bytes, err);
}

static millet_status put_chunk(struct mlt_cache_writer *writer, const int32_t *tokens, const uint8_t *trained,
                               size_t count, millet_error *err)
{
    struct mlt_cache_trailer *trailer = &writer->trailer;
    union chunk chunk;
    uint8_t mask[CHUNK / 8 + 1];
    size_t n_mask = 0;
    for (size_t i = 0; i < count; i++) {
        if (trailer->token_bytes == 2)
            chunk.narrow[i] = (uint16_t)tokens[i];
        else
            chunk.wide[i] = (uint32_t)tokens[i];
        writer->bits |= (uint8_t)(trained[i] << trailer->n_tokens % 8);
        trailer->n_trained += trained[i];
        if (++trailer->n_tokens % 8 == 0) {
            mask[n_mask++] = writer->bits;
            writer->bits = 0;
        }
    }
    MLT_TRY(put(writer, &chunk, count * trailer->token_bytes, err));
    return mlt_spool_write(writer->mask, mask, n_mask, err);
}

millet_status mlt_cache_writer_put(struct mlt_cache_writer *writer, const int32_t *tokens,
                                   const uint8_t *trained, const int32_t *labels, size_t count,
                                   millet_error *err)
{
    for (size_t done = 0; done < count; done += CHUNK) {
        size_t part = MLT_MIN(count - done, (size_t)CHUNK);
        MLT_TRY(put_labels(writer, labels ? labels + done : NULL, part, err));
        MLT_TRY(put_chunk(writer, tokens + done, trained + done, part, err));
    }
    return MILLET_OK;
}

millet_status mlt_cache_writer_end_document(struct mlt_cache_writer *writer, uint32_t prefix,
                                            millet_error *err)
{
    struct mlt_cache_trailer *trailer = &writer->trailer;
    if (trailer->n_tokens - writer->document_start < 2) return MILLET_OK;
    MLT_TRY(mlt_spool_write(writer->documents, &writer->document_start, sizeof writer->document_start, err));
    MLT_TRY(mlt_spool_write(writer->prefixes, &prefix, sizeof prefix, err));
    writer->any_prefix = writer->any_prefix || prefix;
    writer->document_start = trailer->n_tokens;
    trailer->n_documents++;
    return MILLET_OK;
}

static millet_status sink(void *context, const void *bytes, size_t size, millet_error *err)
{
    return put(context, bytes, size, err);
}

static millet_status finish(struct mlt_cache_writer *writer, millet_error *err)
{
    struct mlt_cache_trailer *trailer = &writer->trailer;
    if (trailer->n_tokens % 8) MLT_TRY(mlt_spool_write(writer->mask, &writer->bits, 1, err));
    if (trailer->n_trained != trailer->n_tokens) {
        MLT_TRY(align(writer, &trailer->mask_at, err));
        MLT_TRY(mlt_spool_read(writer->mask, sink, writer, err));
    }
    if (writer->any_prefix) {
        MLT_TRY(align(writer, &trailer->prefixes_at, err));
        MLT_TRY(mlt_spool_read(writer->prefixes, sink, writer, err));
    }
    if (trailer->n_labels) {
        MLT_TRY(align(writer, &trailer->labels_at, err));
        MLT_TRY(mlt_spool_read(writer->labels, sink, writer, err));
    }
    MLT_TRY(align(writer, &trailer->documents_at, err));
    MLT_TRY(mlt_spool_read(writer->documents, sink, writer, err));
    MLT_TRY(put(writer, &trailer->n_tokens, sizeof trailer->n_tokens, err));
    MLT_TRY(align(writer, &trailer->path_at, err));
    trailer->path_bytes = strlen(writer->source);
    MLT_TRY(put(writer, writer->source, trailer->path_bytes, err));
    uint64_t end;
    MLT_TRY(align(writer, &end, err));
    memcpy(trailer->magic, MLT_CACHE_END, sizeof trailer->magic);
    trailer->trailer_checksum =
        mlt_checksum(MLT_CHECKSUM_START, trailer, offsetof(struct mlt_cache_trailer, trailer_checksum));
    return mlt_writer_write(writer->file, trailer, sizeof *trailer, err);
}

millet_status mlt_cache_writer_commit(struct mlt_cache_writer **handle,
                                      const struct mlt_source_identity *identity, const uint64_t *skipped,
                                      uint64_t text_bytes, millet_cache_info *info, millet_error *err)
{
    struct mlt_cache_writer *writer = *handle;
    struct mlt_cache_trailer *trailer = &writer->trailer;
    trailer->source_size = identity->size;
    trailer->source_mtime = (uint64_t)identity->mtime;
    trailer->source_checksum = identity->checksum;
    trailer->text_bytes = text_bytes;
    memcpy(trailer->skipped, skipped, MILLET_SKIP_REASONS * sizeof *skipped);
    millet_status status = finish(writer, err);
    uint64_t file_bytes = mlt_writer_position(writer->file);
    if (!status) status = mlt_writer_commit(&writer->file, err);
    if (!status && info) mlt_cache_describe(trailer, file_bytes, info);
    mlt_cache_writer_abort(handle);
    return status;
}
