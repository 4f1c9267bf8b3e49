/*
 * A file of known size that takes long to make: written at any place, kept as PATH.part when the process
 * ends, and gone on with by the next one.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_PART_FILE_H
#define MLT_PART_FILE_H

#include "base/file.h"

struct mlt_part_file;

/*
 * Opens PATH.part. Where there is one of this size, *found is true and its bytes are as they were left; else
 * it is made new, of zeros, with all its room on disk: a full disk is found out now. BAD_ARGUMENT where
 * another process writes it. Errors: IO, NO_MEMORY.
 */
millet_status mlt_part_file_open(const millet_allocator *allocator, const char *path, uint64_t size,
                                 struct mlt_part_file **out, bool *found, millet_error *err);
/* The bytes must lie within the file's size. */
millet_status mlt_part_file_write(struct mlt_part_file *file, uint64_t offset, const void *bytes,
                                  uint64_t size, millet_error *err);
millet_status mlt_part_file_read(struct mlt_part_file *file, uint64_t offset, void *bytes, uint64_t size,
                                 millet_error *err);
/* Returns when everything that was written is on disk. */
millet_status mlt_part_file_sync(struct mlt_part_file *file, millet_error *err);
/* Syncs, and gives the file its name; releases it in any case and nulls the handle. */
millet_status mlt_part_file_commit(struct mlt_part_file **file, millet_error *err);
/* Leaves PATH.part as it is; releases and nulls the handle. */
void mlt_part_file_close(struct mlt_part_file **file);

#endif
