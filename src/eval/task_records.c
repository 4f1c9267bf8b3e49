/* SPDX-License-Identifier: Apache-2.0 */
#include "eval/task_records.h"

#include "base/file.h"
#include "corpus/record_reader.h"

#include <stdlib.h>
#include <string.h>

millet_status mlt_bad_record(const char *path, uint64_t line, millet_status status, const char *what,
                             millet_error *err)
{
    return mlt_fail_at(err, status, path, NULL, MILLET_NO_OFFSET, "line %llu: %s", (unsigned long long)line,
                       what);
}

millet_status mlt_each_record(const millet_allocator *allocator, const char *path, mlt_use_record *use,
                              void *context, millet_error *err)
{
    struct mlt_record_reader *reader;
    const millet_source_options plain = {0};
    MLT_TRY(mlt_record_reader_open(allocator, path, &plain, &reader, err));
    struct mlt_raw_record raw = {.line = 0};
    uint64_t count = 0;
    millet_status status;
    for (bool found;; count++) {
        status = mlt_record_reader_next(reader, &raw, &found, err);
        if (status || !found) break;
        json_t *record = raw.json ? json_loadb(raw.text, raw.length, 0, NULL) : NULL;
        status = json_is_object(record)
                     ? use(context, record, raw.line, err)
                     : mlt_bad_record(path, raw.line, MILLET_BAD_FORMAT, "is no JSON object", err);
        json_decref(record);
        if (status) break;
    }
    if (!status && mlt_record_reader_skipped(reader))
        status = mlt_fail_at(err, MILLET_BAD_FORMAT, path, NULL, MILLET_NO_OFFSET,
                             "there are lines of more than 16 MiB in the file");
    mlt_record_reader_close(&reader);
    if (!status && count == 0)
        status = mlt_fail_at(err, MILLET_BAD_FORMAT, path, NULL, MILLET_NO_OFFSET, "has no record");
    return status;
}

millet_status mlt_write_record(struct mlt_writer *writer, json_t *value, millet_error *err)
{
    char *text = json_dumps(value, JSON_COMPACT);
    json_decref(value);
    if (!text) return mlt_fail(err, MILLET_NO_MEMORY, "no memory for a line of answers");
    millet_status status = mlt_writer_write(writer, text, strlen(text), err);
    if (!status) status = mlt_writer_write(writer, "\n", 1, err);
    free(text);
    return status;
}
