/*
 * Records of tasks, read from JSONL one by one.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_TASK_RECORDS_H
#define MLT_TASK_RECORDS_H

#include "base/memory.h"

#include <jansson.h>

/* Takes a record, an object, of this line of the file. */
typedef millet_status mlt_use_record(void *context, const json_t *record, uint64_t line, millet_error *err);

/* Errors: those of reading a source; BAD_FORMAT (a line that is no JSON object or too long; no record). */
millet_status mlt_each_record(const millet_allocator *allocator, const char *path, mlt_use_record *use,
                              void *context, millet_error *err);

/* Fails with "line N: what" in the file. */
millet_status mlt_bad_record(const char *path, uint64_t line, millet_status status, const char *what,
                             millet_error *err);

/* Writes a value as a line of JSONL and releases it; NULL: there was no memory for it. */
struct mlt_writer;
millet_status mlt_write_record(struct mlt_writer *writer, json_t *value, millet_error *err);

#endif
