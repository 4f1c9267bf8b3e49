/* Memory maps and atomic writing over POSIX. SPDX-License-Identifier: Apache-2.0 */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

millet_status mlt_fail_errno(millet_error *err, const char *path, const char *what)
{
    int code = errno;
    millet_status status = code == ENOENT ? MILLET_NOT_FOUND : code == ENOMEM ? MILLET_NO_MEMORY : MILLET_IO;
    return mlt_fail_at(err, status, path, NULL, MILLET_NO_OFFSET, "%s: %s", what, strerror(code));
}

/* open(2) and what every caller checks: a regular file, and its size. */
static millet_status open_regular(const char *path, int *fd, uint64_t *size, millet_error *err)
{
    struct stat info;
    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* NONBLOCK: a FIFO must not hang us */
    if (*fd < 0) return mlt_fail_errno(err, path, "cannot open");
    if (fstat(*fd, &info) != 0) {
        millet_status status = mlt_fail_errno(err, path, "cannot read its size");
        close(*fd);
        return status;
    }
    if (!S_ISREG(info.st_mode)) {
        close(*fd);
        return mlt_fail_at(err, MILLET_IO, path, NULL, MILLET_NO_OFFSET, "%s, not a regular file",
                           S_ISDIR(info.st_mode) ? "a directory" : "a device or pipe");
    }
    *size = (uint64_t)info.st_size;
    return MILLET_OK;
}

static millet_status read_exactly(int fd, const char *path, char *data, uint64_t size, millet_error *err)
{
    uint64_t done = 0;
    while (done < size) {
        ssize_t n = read(fd, data + done, (size_t)MLT_MIN(size - done, (uint64_t)1 << 30));
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return mlt_fail_errno(err, path, "cannot read");
        if (n == 0)
            return mlt_fail_at(err, MILLET_IO, path, NULL, done, "the file became shorter while it was read");
        done += (uint64_t)n;
    }
    return MILLET_OK;
}

millet_status mlt_file_map_open(const char *path, struct mlt_file_map *map, millet_error *err)
{
    int fd;
    *map = (struct mlt_file_map){0};
    MLT_TRY(open_regular(path, &fd, &map->size, err));
    if (map->size > SIZE_MAX / 2) {
        close(fd);
        return mlt_fail_at(err, MILLET_NO_MEMORY, path, NULL, MILLET_NO_OFFSET,
                           "the file is larger than this machine's address space");
    }
    millet_status status = MILLET_OK;
    if (map->size > 0) {
        void *data = mmap(NULL, (size_t)map->size, PROT_READ, MAP_SHARED, fd, 0);
        if (data != MAP_FAILED) {
            map->data = data;
        } else if (errno == ENODEV) { /* a file system that cannot map */
            char *copy = malloc((size_t)map->size);
            if (!copy) {
                status = mlt_fail_errno(err, path, "cannot hold the file in memory");
            } else {
                map->data = (uint8_t *)copy;
                map->in_memory = true;
                status = read_exactly(fd, path, copy, map->size, err);
            }
        } else {
            status = mlt_fail_errno(err, path, "cannot map");
        }
    }
    close(fd);
    if (status != MILLET_OK) mlt_file_map_close(map);
    return status;
}

void mlt_file_map_close(struct mlt_file_map *map)
{
    union {
        const uint8_t *constant;
        void *plain;
    } data = {map->data};
    if (map->in_memory)
        free(data.plain);
    else if (map->data)
        munmap(data.plain, (size_t)map->size);
    *map = (struct mlt_file_map){0};
}

void mlt_file_map_advise(const struct mlt_file_map *map, uint64_t offset, uint64_t size,
                         enum mlt_file_advice advice)
{
    if (!map->data || map->in_memory || offset >= map->size) return;
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), begin = offset / page * page;
    uint64_t end = MLT_MIN(size, map->size - offset) + offset;
    static const int advices[] = {MADV_WILLNEED, MADV_DONTNEED, MADV_SEQUENTIAL};
    union {
        const uint8_t *constant;
        void *plain;
    } data = {map->data + begin};
    (void)madvise(data.plain, (size_t)(end - begin), advices[advice]);
}

millet_status mlt_file_read(const millet_allocator *allocator, const char *path, uint64_t limit, char **data,
                            uint64_t *size, millet_error *err)
{
    int fd;
    *data = NULL;
    MLT_TRY(open_regular(path, &fd, size, err));
    if (*size > limit || *size > SIZE_MAX / 2) {
        close(fd);
        return mlt_fail_at(err, MILLET_BAD_FORMAT, path, NULL, MILLET_NO_OFFSET,
                           "%llu bytes; at most %llu are expected in such a file", (unsigned long long)*size,
                           (unsigned long long)limit);
    }
    char *bytes = mlt_alloc(allocator, (size_t)*size + 1, 1, err);
    millet_status status = bytes ? read_exactly(fd, path, bytes, *size, err) : MILLET_NO_MEMORY;
    close(fd);
    if (status != MILLET_OK) {
        mlt_error_in_file(err, path);
        mlt_free(allocator, bytes);
        return status;
    }
    bytes[*size] = 0;
    *data = bytes;
    return MILLET_OK;
}

bool mlt_path_is_directory(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

enum { WRITER_BUFFER = 1 << 18 };

struct mlt_writer {
    millet_allocator allocator;
    int fd;
    uint64_t position;
    millet_status status; /* of the first failure */
    size_t buffered;
    char *path, *temporary;
    char buffer[WRITER_BUFFER];
};

millet_status mlt_writer_open(const millet_allocator *allocator, const char *path, struct mlt_writer **out,
                              millet_error *err)
{
    *out = NULL;
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    if (!*name || mlt_path_is_directory(path))
        return mlt_fail_at(err, MILLET_BAD_ARGUMENT, path, NULL, MILLET_NO_OFFSET,
                           "a file name is needed, not a directory");

    struct mlt_writer *writer = mlt_alloc(allocator, 1, sizeof *writer, err);
    if (!writer) return MILLET_NO_MEMORY;
    struct mlt_writer initial = {.allocator = *allocator, .fd = -1, .status = MILLET_OK};
    memcpy(writer, &initial, offsetof(struct mlt_writer, buffer));

    size_t length = strlen(path);
    writer->path = mlt_copy_text(allocator, path, length, err);
    writer->temporary = mlt_alloc(allocator, length + 32, 1, err);
    if (!writer->path || !writer->temporary) {
        mlt_writer_abort(&writer);
        return MILLET_NO_MEMORY;
    }
    snprintf(writer->temporary, length + 32, "%.*s.%s.%ld.tmp", (int)(name - path), path, name,
             (long)getpid());
    writer->fd = open(writer->temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (writer->fd < 0) {
        millet_status status = mlt_fail_errno(err, path, "cannot create a temporary file beside it");
        mlt_writer_abort(&writer);
        return status;
    }
    *out = writer;
    return MILLET_OK;
}

/* All bytes or an error, which is remembered. */
static millet_status write_all(struct mlt_writer *writer, const char *bytes, uint64_t size, millet_error *err)
{
    while (size > 0) {
        ssize_t n = write(writer->fd, bytes, (size_t)MLT_MIN(size, (uint64_t)1 << 30));
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) {
            if (n == 0) errno = ENOSPC;
            return writer->status = mlt_fail_errno(err, writer->path, "cannot write");
        }
        bytes += n;
        size -= (uint64_t)n;
    }
    return MILLET_OK;
}

static millet_status flush(struct mlt_writer *writer, millet_error *err)
{
    size_t size = writer->buffered;
    writer->buffered = 0;
    return write_all(writer, writer->buffer, size, err);
}

millet_status mlt_writer_write(struct mlt_writer *writer, const void *bytes, uint64_t size, millet_error *err)
{
    if (writer->status != MILLET_OK)
        return mlt_fail_at(err, writer->status, writer->path, NULL, MILLET_NO_OFFSET,
                           "an earlier write failed");
    writer->position += size;
    if (size > WRITER_BUFFER - writer->buffered) {
        MLT_TRY(flush(writer, err));
        if (size >= WRITER_BUFFER) return write_all(writer, bytes, size, err);
    }
    if (size) memcpy(writer->buffer + writer->buffered, bytes, (size_t)size);
    writer->buffered += (size_t)size;
    return MILLET_OK;
}

millet_status mlt_writer_align(struct mlt_writer *writer, uint64_t alignment, millet_error *err)
{
    static const char zeros[64];
    uint64_t missing = (alignment - writer->position % alignment) % alignment;
    while (missing > 0) {
        uint64_t part = MLT_MIN(missing, sizeof zeros);
        MLT_TRY(mlt_writer_write(writer, zeros, part, err));
        missing -= part;
    }
    return MILLET_OK;
}

uint64_t mlt_writer_position(const struct mlt_writer *writer)
{
    return writer->position;
}

void mlt_sync_directory(const char *path)
{
    /* A rename is durable once its directory is; a system that refuses to sync directories loses nothing by
     * it. */
    char folder[4096];
    const char *slash = strrchr(path, '/');
    int length = slash ? (int)(slash - path) + 1 : 0;
    if (length >= (int)sizeof folder) return;
    snprintf(folder, sizeof folder, "%.*s", length ? length : 1, length ? path : ".");
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return;
    (void)fsync(fd);
    close(fd);
}

millet_status mlt_writer_commit(struct mlt_writer **handle, millet_error *err)
{
    struct mlt_writer *writer = *handle;
    millet_status status = writer->status;
    if (status != MILLET_OK)
        mlt_fail_at(err, status, writer->path, NULL, MILLET_NO_OFFSET, "an earlier write failed");
    else
        status = flush(writer, err);
    if (status == MILLET_OK && fsync(writer->fd) != 0)
        status = mlt_fail_errno(err, writer->path, "cannot write");
    if (status == MILLET_OK) {
        int fd = writer->fd;
        writer->fd = -1;
        if (close(fd) != 0) status = mlt_fail_errno(err, writer->path, "cannot write");
    }
    if (status == MILLET_OK && rename(writer->temporary, writer->path) != 0)
        status = mlt_fail_errno(err, writer->path, "cannot rename the finished file");
    if (status == MILLET_OK) {
        mlt_sync_directory(writer->path);
        mlt_free(&writer->allocator, writer->temporary);
        writer->temporary = NULL; /* nothing is left to remove */
    }
    mlt_writer_abort(handle);
    return status;
}

void mlt_writer_abort(struct mlt_writer **handle)
{
    struct mlt_writer *writer = *handle;
    if (!writer) return;
    if (writer->fd >= 0) close(writer->fd);
    if (writer->temporary) unlink(writer->temporary);
    millet_allocator allocator = writer->allocator;
    mlt_free(&allocator, writer->path);
    mlt_free(&allocator, writer->temporary);
    mlt_free(&allocator, writer);
    *handle = NULL;
}
