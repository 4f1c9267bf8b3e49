/* Plain and gzip files as streams of bytes. SPDX-License-Identifier: Apache-2.0 */
#include "corpus/byte_source.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

enum { INPUT_BYTES = 1 << 16 };

struct mlt_byte_source {
    millet_allocator allocator;
    int fd;
    char *path;
    struct mlt_source_identity identity;
    uint64_t position;
    bool at_end;          /* of the file */
    bool gzip, in_member; /* a member has begun and not ended */
    bool inflating;       /* `stream` is initialised */
    z_stream stream;
    size_t used, filled; /* of input */
    uint8_t input[INPUT_BYTES];
};

static millet_status fail_errno(millet_error *err, const char *path, const char *what)
{
    int code = errno;
    return mlt_fail_at(err, code == ENOENT ? MILLET_NOT_FOUND : MILLET_IO, path, NULL, MILLET_NO_OFFSET,
                       "%s: %s", what, strerror(code));
}

static millet_status identify(int fd, const char *path, struct mlt_source_identity *out, millet_error *err)
{
    struct stat info;
    if (fstat(fd, &info) != 0) return fail_errno(err, path, "cannot read its size");
    if (!S_ISREG(info.st_mode))
        return mlt_fail_at(err, MILLET_IO, path, NULL, MILLET_NO_OFFSET, "%s, not a regular file",
                           S_ISDIR(info.st_mode) ? "a directory" : "a device or pipe");
    *out = (struct mlt_source_identity){.size = (uint64_t)info.st_size,
                                        .mtime =
                                            (int64_t)info.st_mtim.tv_sec * 1000000000 + info.st_mtim.tv_nsec};
    return MILLET_OK;
}

millet_status mlt_source_identify(const char *path, struct mlt_source_identity *out, millet_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* NONBLOCK: a FIFO must not hang us */
    if (fd < 0) return fail_errno(err, path, "cannot open");
    millet_status status = identify(fd, path, out, err);
    close(fd);
    return status;
}

static void *take(void *context, unsigned items, unsigned size)
{
    return mlt_alloc(context, items, size, NULL);
}

static void give(void *context, void *block)
{
    mlt_free(context, block);
}

/* Fills the empty input buffer; at the end of the file it stays empty. */
static millet_status refill(struct mlt_byte_source *source, millet_error *err)
{
    source->used = source->filled = 0;
    while (!source->at_end) {
        ssize_t n = read(source->fd, source->input, INPUT_BYTES);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return fail_errno(err, source->path, "cannot read");
        source->at_end = n == 0;
        source->filled = (size_t)n;
        source->position += (uint64_t)n;
        if (n > 0)
            source->identity.checksum = (uint32_t)crc32(source->identity.checksum, source->input, (uInt)n);
        return MILLET_OK;
    }
    return MILLET_OK;
}

static millet_status begin(struct mlt_byte_source *source, millet_error *err)
{
    source->fd = open(source->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (source->fd < 0) return fail_errno(err, source->path, "cannot open");
    MLT_TRY(identify(source->fd, source->path, &source->identity, err));
    MLT_TRY(refill(source, err));
    source->gzip = source->filled >= 2 && source->input[0] == 0x1F && source->input[1] == 0x8B;
    if (!source->gzip) return MILLET_OK;
    source->stream.zalloc = take;
    source->stream.zfree = give;
    source->stream.opaque = &source->allocator;
    if (inflateInit2(&source->stream, 15 + 16) != Z_OK) /* the largest window, gzip's frame */
        return mlt_fail_at(err, MILLET_NO_MEMORY, source->path, NULL, MILLET_NO_OFFSET,
                           "no memory to decompress it");
    source->inflating = true;
    return MILLET_OK;
}

millet_status mlt_byte_source_open(const millet_allocator *allocator, const char *path,
                                   struct mlt_byte_source **out, millet_error *err)
{
    *out = NULL;
    struct mlt_byte_source *source = mlt_alloc(allocator, 1, sizeof *source, err);
    if (!source) return MILLET_NO_MEMORY;
    memset(source, 0, offsetof(struct mlt_byte_source, input));
    source->allocator = *allocator;
    source->fd = -1;
    source->path = mlt_copy_text(allocator, path, strlen(path), err);
    millet_status status = source->path ? begin(source, err) : MILLET_NO_MEMORY;
    if (status)
        mlt_byte_source_close(&source);
    else
        *out = source;
    return status;
}

void mlt_byte_source_close(struct mlt_byte_source **handle)
{
    struct mlt_byte_source *source = *handle;
    if (!source) return;
    if (source->inflating) inflateEnd(&source->stream);
    if (source->fd >= 0) close(source->fd);
    millet_allocator allocator = source->allocator;
    mlt_free(&allocator, source->path);
    mlt_free(&allocator, source);
    *handle = NULL;
}

static millet_status damaged(const struct mlt_byte_source *source, const char *what, millet_error *err)
{
    return mlt_fail_at(err, MILLET_BAD_FORMAT, source->path, NULL,
                       source->position - (source->filled - source->used), "the compressed data %s", what);
}

/* What follows the last member: gzip's own tool ignores zeros there, which tapes and block devices leave. */
static bool only_zeros(const struct mlt_byte_source *source)
{
    for (size_t i = source->used; i < source->filled; i++)
        if (source->input[i]) return false;
    return true;
}

static millet_status inflate_some(struct mlt_byte_source *source, void *bytes, size_t capacity, size_t *count,
                                  millet_error *err)
{
    z_stream *stream = &source->stream;
    stream->next_out = bytes;
    stream->avail_out = (uInt)MLT_MIN(capacity, (size_t)1 << 30);
    uInt room = stream->avail_out;
    while (stream->avail_out == room) {
        if (source->used == source->filled) {
            MLT_TRY(refill(source, err));
            if (source->filled == 0) {
                if (source->in_member) return damaged(source, "is cut short", err);
                break;
            }
        }
        if (!source->in_member && only_zeros(source)) {
            source->used = source->filled;
            continue;
        }
        source->in_member = true;
        stream->next_in = source->input + source->used;
        stream->avail_in = (uInt)(source->filled - source->used);
        int code = inflate(stream, Z_NO_FLUSH);
        source->used = source->filled - stream->avail_in;
        if (code == Z_STREAM_END) {
            source->in_member = false;
            if (inflateReset(stream) != Z_OK) return damaged(source, "cannot be read", err);
        } else if (code == Z_MEM_ERROR) {
            return mlt_fail_at(err, MILLET_NO_MEMORY, source->path, NULL, MILLET_NO_OFFSET,
                               "no memory to decompress it");
        } else if (code != Z_OK && code != Z_BUF_ERROR) {
            return damaged(source, "is damaged", err);
        }
    }
    *count = room - stream->avail_out;
    return MILLET_OK;
}

millet_status mlt_byte_source_read(struct mlt_byte_source *source, void *bytes, size_t capacity,
                                   size_t *count, millet_error *err)
{
    *count = 0;
    if (source->gzip) return inflate_some(source, bytes, capacity, count, err);
    if (source->used == source->filled) MLT_TRY(refill(source, err));
    *count = MLT_MIN(capacity, source->filled - source->used);
    if (*count) memcpy(bytes, source->input + source->used, *count);
    source->used += *count;
    return MILLET_OK;
}

uint64_t mlt_byte_source_position(const struct mlt_byte_source *source)
{
    return source->position;
}

struct mlt_source_identity mlt_byte_source_identity(const struct mlt_byte_source *source)
{
    return source->identity;
}

millet_status mlt_source_checksum(const millet_allocator *allocator, const char *path,
                                  struct mlt_source_identity *out, millet_error *err)
{
    struct mlt_byte_source *source;
    MLT_TRY(mlt_byte_source_open(allocator, path, &source, err));
    millet_status status = MILLET_OK;
    while (!status && source->filled > 0)
        status = refill(source, err);
    if (!status) *out = source->identity;
    mlt_byte_source_close(&source);
    return status;
}
