/*
 * Files: reading by memory map, and writing that never leaves half a file behind.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_FILE_H
#define MLT_FILE_H

#include "base/memory.h"

/* A whole file, read-only, mapped where the system can and read into memory where it cannot. */
struct mlt_file_map {
    const uint8_t *data; /* NULL for an empty file */
    uint64_t size;
    bool in_memory; /* data came from malloc, not from mmap */
};

/*
 * Opens and maps `path`. Only regular files are taken. A file that is truncated by another program while it
 * is mapped makes reads of the lost pages fault, as with every mmap. Errors: NOT_FOUND, IO, NO_MEMORY;
 * `err->file` is set.
 */
millet_status mlt_file_map_open(const char *path, struct mlt_file_map *map, millet_error *err);
void mlt_file_map_close(struct mlt_file_map *map);

/* Tells the system that the bytes will be read soon, or not again; hints only. */
enum mlt_file_advice { MLT_FILE_WILL_NEED, MLT_FILE_DONT_NEED, MLT_FILE_SEQUENTIAL };
void mlt_file_map_advise(const struct mlt_file_map *map, uint64_t offset, uint64_t size,
                         enum mlt_file_advice advice);

/* Bytes of physical memory the file's map occupies right now are the kernel's, not ours; see millet_estimate.
 */

/*
 * Reads a whole small file (a configuration) into memory, NUL-terminated; `limit` bytes at most, else
 * BAD_FORMAT. The caller releases *data with mlt_free.
 */
millet_status mlt_file_read(const millet_allocator *allocator, const char *path, uint64_t limit, char **data,
                            uint64_t *size, millet_error *err);

bool mlt_path_is_directory(const char *path);

/*
 * An atomic writer: bytes go to a temporary file beside `path` (same directory, ".NAME.PID.tmp"), which
 * replaces `path` on commit (flush, fsync, rename, fsync of the directory). Until then an old file at `path`
 * is untouched; a process that is killed leaves at most the temporary file. Every failed write is remembered,
 * so that the status of mlt_writer_commit alone would do, but each call reports it too.
 */
struct mlt_writer;

millet_status mlt_writer_open(const millet_allocator *allocator, const char *path, struct mlt_writer **out,
                              millet_error *err);
millet_status mlt_writer_write(struct mlt_writer *writer, const void *bytes, uint64_t size,
                               millet_error *err);
/* Writes zero bytes until the position is a multiple of `alignment`. */
millet_status mlt_writer_align(struct mlt_writer *writer, uint64_t alignment, millet_error *err);
/* Bytes written so far. */
uint64_t mlt_writer_position(const struct mlt_writer *writer);
/* Makes the file visible under its name, releases the writer in any case, and nulls the handle. */
millet_status mlt_writer_commit(struct mlt_writer **writer, millet_error *err);
/* Removes the temporary file, releases the writer and nulls the handle; nothing for NULL. */
void mlt_writer_abort(struct mlt_writer **writer);

/* What errno says, about a file: NOT_FOUND, NO_MEMORY or IO. */
millet_status mlt_fail_errno(millet_error *err, const char *path, const char *what);
/* Makes a rename in the folder of `path` durable. */
void mlt_sync_directory(const char *path);

#endif
