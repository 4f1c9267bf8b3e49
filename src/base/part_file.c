/* Files that take long to make, over POSIX. SPDX-License-Identifier: Apache-2.0 */
#include "base/part_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

struct mlt_part_file {
    millet_allocator allocator;
    int fd;
    char *path, *part;
};

static millet_status make_room(struct mlt_part_file *file, uint64_t size, millet_error *err)
{
    if (size > INT64_MAX) return mlt_fail_at(err, MILLET_IO, file->part, NULL, MILLET_NO_OFFSET, "too large");
    if (ftruncate(file->fd, 0) != 0) return mlt_fail_errno(err, file->part, "cannot write");
    int code = posix_fallocate(file->fd, 0, (off_t)size);
    if (code == EINVAL || code == EOPNOTSUPP) /* not every file system can promise room */
        code = ftruncate(file->fd, (off_t)size) == 0 ? 0 : errno;
    if (code == 0) return MILLET_OK;
    (void)unlink(file->part);
    return mlt_fail_at(err, MILLET_IO, file->part, NULL, MILLET_NO_OFFSET, "no room for %llu bytes: %s",
                       (unsigned long long)size, strerror(code));
}

static millet_status open_part(struct mlt_part_file *file, const char *path, uint64_t size, bool *found,
                               millet_error *err)
{
    size_t length = strlen(path);
    struct stat info;
    file->path = mlt_copy_text(&file->allocator, path, length, err);
    file->part = mlt_alloc(&file->allocator, length + sizeof ".part", 1, err);
    if (!file->path || !file->part) return MILLET_NO_MEMORY;
    snprintf(file->part, length + sizeof ".part", "%s.part", path);
    file->fd = open(file->part, O_RDWR | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0666);
    if (file->fd < 0) return mlt_fail_errno(err, file->part, "cannot open");
    if (flock(file->fd, LOCK_EX | LOCK_NB) != 0)
        return mlt_fail_at(err, MILLET_BAD_ARGUMENT, file->part, NULL, MILLET_NO_OFFSET,
                           "another process is writing it");
    if (fstat(file->fd, &info) != 0) return mlt_fail_errno(err, file->part, "cannot read its size");
    if (!S_ISREG(info.st_mode))
        return mlt_fail_at(err, MILLET_IO, file->part, NULL, MILLET_NO_OFFSET, "not a regular file");
    *found = size > 0 && (uint64_t)info.st_size == size;
    return *found ? MILLET_OK : make_room(file, size, err);
}

millet_status mlt_part_file_open(const millet_allocator *allocator, const char *path, uint64_t size,
                                 struct mlt_part_file **out, bool *found, millet_error *err)
{
    *out = NULL;
    *found = false;
    struct mlt_part_file *file = mlt_alloc_zero(allocator, 1, sizeof *file, err);
    if (!file) return MILLET_NO_MEMORY;
    file->allocator = *allocator;
    file->fd = -1;
    millet_status status = open_part(file, path, size, found, err);
    if (status != MILLET_OK)
        mlt_part_file_close(&file);
    else
        *out = file;
    return status;
}

millet_status mlt_part_file_write(struct mlt_part_file *file, uint64_t offset, const void *bytes,
                                  uint64_t size, millet_error *err)
{
    const char *from = bytes;
    while (size > 0) {
        ssize_t n = pwrite(file->fd, from, (size_t)MLT_MIN(size, (uint64_t)1 << 30), (off_t)offset);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return mlt_fail_errno(err, file->part, "cannot write");
        from += n;
        offset += (uint64_t)n;
        size -= (uint64_t)n;
    }
    return MILLET_OK;
}

millet_status mlt_part_file_read(struct mlt_part_file *file, uint64_t offset, void *bytes, uint64_t size,
                                 millet_error *err)
{
    char *to = bytes;
    while (size > 0) {
        ssize_t n = pread(file->fd, to, (size_t)MLT_MIN(size, (uint64_t)1 << 30), (off_t)offset);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return mlt_fail_errno(err, file->part, "cannot read");
        if (n == 0)
            return mlt_fail_at(err, MILLET_IO, file->part, NULL, offset,
                               "the file became shorter while it was read");
        to += n;
        offset += (uint64_t)n;
        size -= (uint64_t)n;
    }
    return MILLET_OK;
}

millet_status mlt_part_file_sync(struct mlt_part_file *file, millet_error *err)
{
    return fsync(file->fd) == 0 ? MILLET_OK : mlt_fail_errno(err, file->part, "cannot write");
}

millet_status mlt_part_file_commit(struct mlt_part_file **handle, millet_error *err)
{
    struct mlt_part_file *file = *handle;
    millet_status status = mlt_part_file_sync(file, err);
    if (status == MILLET_OK && rename(file->part, file->path) != 0)
        status = mlt_fail_errno(err, file->path, "cannot rename the finished file");
    if (status == MILLET_OK) mlt_sync_directory(file->path);
    mlt_part_file_close(handle);
    return status;
}

void mlt_part_file_close(struct mlt_part_file **handle)
{
    struct mlt_part_file *file = *handle;
    if (!file) return;
    millet_allocator allocator = file->allocator;
    if (file->fd >= 0) close(file->fd);
    mlt_free(&allocator, file->path);
    mlt_free(&allocator, file->part);
    mlt_free(&allocator, file);
    *handle = NULL;
}
