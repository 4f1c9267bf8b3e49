/* A nameless temporary file. SPDX-License-Identifier: Apache-2.0 */
#include "corpus/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { BUFFER = 1 << 16 };

struct mlt_spool {
    millet_allocator allocator;
    int fd; /* -1: everything is still in the buffer */
    char *path;
    size_t used;
    char buffer[BUFFER];
};

static millet_status fail_errno(const struct mlt_spool *spool, const char *what, millet_error *err)
{
    int code = errno;
    return mlt_fail_at(err, MILLET_IO, spool->path, NULL, MILLET_NO_OFFSET, "%s: %s", what, strerror(code));
}

millet_status mlt_spool_open(const millet_allocator *allocator, const char *beside, struct mlt_spool **out,
                             millet_error *err)
{
    *out = NULL;
    struct mlt_spool *spool = mlt_alloc(allocator, 1, sizeof *spool, err);
    if (!spool) return MILLET_NO_MEMORY;
    *spool = (struct mlt_spool){.allocator = *allocator, .fd = -1};
    spool->path = mlt_copy_text(allocator, beside, strlen(beside), err);
    if (!spool->path) {
        mlt_free(allocator, spool);
        return MILLET_NO_MEMORY;
    }
    *out = spool;
    return MILLET_OK;
}

void mlt_spool_close(struct mlt_spool **handle)
{
    struct mlt_spool *spool = *handle;
    if (!spool) return;
    if (spool->fd >= 0) close(spool->fd);
    millet_allocator allocator = spool->allocator;
    mlt_free(&allocator, spool->path);
    mlt_free(&allocator, spool);
    *handle = NULL;
}

static millet_status create(struct mlt_spool *spool, millet_error *err)
{
    const char *slash = strrchr(spool->path, '/');
    size_t folder = slash ? (size_t)(slash - spool->path) + 1 : 0, size = folder + 64;
    char *name = mlt_alloc(&spool->allocator, size, 1, err);
    if (!name) return MILLET_NO_MEMORY;
    snprintf(name, size, "%.*s.spool.%ld.%p.tmp", (int)folder, spool->path, (long)getpid(), (void *)spool);
    spool->fd = open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    millet_status status =
        spool->fd < 0 ? fail_errno(spool, "cannot create a temporary file beside it", err) : MILLET_OK;
    if (!status) unlink(name);
    mlt_free(&spool->allocator, name);
    return status;
}

static millet_status flush(struct mlt_spool *spool, millet_error *err)
{
    if (spool->fd < 0) MLT_TRY(create(spool, err));
    for (size_t done = 0; done < spool->used;) {
        ssize_t n = write(spool->fd, spool->buffer + done, spool->used - done);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) {
            if (n == 0) errno = ENOSPC;
            return fail_errno(spool, "cannot write a temporary file beside it", err);
        }
        done += (size_t)n;
    }
    spool->used = 0;
    return MILLET_OK;
}

millet_status mlt_spool_write(struct mlt_spool *spool, const void *bytes, size_t size, millet_error *err)
{
    const char *from = bytes;
    while (size) {
        if (spool->used == BUFFER) MLT_TRY(flush(spool, err));
        size_t part = MLT_MIN(size, BUFFER - spool->used);
        memcpy(spool->buffer + spool->used, from, part);
        spool->used += part;
        from += part;
        size -= part;
    }
    return MILLET_OK;
}

millet_status mlt_spool_read(struct mlt_spool *spool, mlt_spool_sink *sink, void *context, millet_error *err)
{
    if (spool->fd < 0) return sink(context, spool->buffer, spool->used, err);
    MLT_TRY(flush(spool, err));
    if (lseek(spool->fd, 0, SEEK_SET) != 0)
        return fail_errno(spool, "cannot read a temporary file beside it", err);
    for (;;) {
        ssize_t n = read(spool->fd, spool->buffer, BUFFER);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return fail_errno(spool, "cannot read a temporary file beside it", err);
        if (n == 0) return MILLET_OK;
        MLT_TRY(sink(context, spool->buffer, (size_t)n, err));
    }
}
