/*
 * The bytes of a source file, decompressed where it is gzip, with the checksum of the file as it lies on
 * disk.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_BYTE_SOURCE_H
#define MLT_BYTE_SOURCE_H

#include "base/memory.h"

/* What tells one state of a file from another. The checksum (CRC-32 of the bytes on disk) is known when all
 * has been read. */
struct mlt_source_identity {
    uint64_t size;
    int64_t mtime; /* nanoseconds */
    uint32_t checksum;
};

struct mlt_byte_source;

/* A file that begins with gzip's magic number is decompressed (RFC 1952, several members too). Errors:
 * NOT_FOUND, IO, NO_MEMORY. */
millet_status mlt_byte_source_open(const millet_allocator *allocator, const char *path,
                                   struct mlt_byte_source **out, millet_error *err);
void mlt_byte_source_close(struct mlt_byte_source **source);

/*
 * Reads up to `capacity` (>= 1) bytes; *count 0 means the end. Errors: IO, BAD_FORMAT (compression that is
 * damaged or cut short, at its offset), NO_MEMORY.
 */
millet_status mlt_byte_source_read(struct mlt_byte_source *source, void *bytes, size_t capacity,
                                   size_t *count, millet_error *err);

/* Bytes of the file read so far, and what is known of the file. */
uint64_t mlt_byte_source_position(const struct mlt_byte_source *source);
struct mlt_source_identity mlt_byte_source_identity(const struct mlt_byte_source *source);

/* Size and time of a file, without reading it; the checksum is 0. */
millet_status mlt_source_identify(const char *path, struct mlt_source_identity *out, millet_error *err);
/* Fills the checksum too. */
millet_status mlt_source_checksum(const millet_allocator *allocator, const char *path,
                                  struct mlt_source_identity *out, millet_error *err);

#endif
