/* Cutting a source into records. SPDX-License-Identifier: Apache-2.0 */
#include "corpus/record_reader.h"

#include "tokenizer/utf8.h"

#include <string.h>

enum { CHUNK = 1 << 16, DEFAULT_LINE = 1 << 24 };

struct mlt_record_reader {
    millet_allocator allocator;
    struct mlt_byte_source *source;
    char *separator;
    bool json;
    uint64_t max_line, skipped;
    char chunk[CHUNK];
    size_t used, filled;
    bool at_end, any;
    uint64_t line, first_line; /* being read; on which `part` begins */
    struct mlt_text part;      /* what has been collected */
    size_t line_start;         /* of the current line in `part` */
    bool too_long;             /* JSONL: the rest of the line is thrown away */
    bool continues;            /* the next record belongs to the document of the last */
    bool given;                /* part[0 .. given_length) was handed out and is to go */
    size_t given_length;
};

static bool ends_with(const char *text, size_t length, const char *tail)
{
    size_t n = strlen(tail);
    return length >= n && memcmp(text + length - n, tail, n) == 0;
}

static millet_status find_kind(const char *path, bool *json, millet_error *err)
{
    size_t length = strlen(path);
    if (ends_with(path, length, ".gz")) length -= 3;
    *json = ends_with(path, length, ".jsonl");
    if (*json || ends_with(path, length, ".txt") || ends_with(path, length, ".md") ||
        ends_with(path, length, ".text"))
        return MILLET_OK;
    return mlt_fail_at(err, MILLET_UNSUPPORTED, path, NULL, MILLET_NO_OFFSET,
                       "a source's name ends in .txt, .text, .md or .jsonl, or one of these and .gz");
}

millet_status mlt_record_reader_open(const millet_allocator *allocator, const char *path,
                                     const millet_source_options *options, struct mlt_record_reader **out,
                                     millet_error *err)
{
    *out = NULL;
    bool json;
    MLT_TRY(find_kind(path, &json, err));
    struct mlt_record_reader *reader = mlt_alloc_zero(allocator, 1, sizeof *reader, err);
    if (!reader) return MILLET_NO_MEMORY;
    reader->allocator = *allocator;
    reader->json = json;
    reader->max_line = options->max_line_bytes ? options->max_line_bytes : DEFAULT_LINE;
    reader->line = reader->first_line = 1;
    reader->part.allocator = &reader->allocator;
    const char *separator = options->separator ? options->separator : "<|endoftext|>";
    reader->separator = mlt_copy_text(allocator, separator, strlen(separator), err);
    millet_status status =
        reader->separator ? mlt_byte_source_open(allocator, path, &reader->source, err) : MILLET_NO_MEMORY;
    if (!status && mlt_byte_source_identity(reader->source).size == 0)
        status = mlt_fail_at(err, MILLET_BAD_FORMAT, path, NULL, MILLET_NO_OFFSET, "the file is empty");
    if (status)
        mlt_record_reader_close(&reader);
    else
        *out = reader;
    return status;
}

void mlt_record_reader_close(struct mlt_record_reader **handle)
{
    struct mlt_record_reader *reader = *handle;
    if (!reader) return;
    millet_allocator allocator = reader->allocator;
    mlt_byte_source_close(&reader->source);
    mlt_text_release(&reader->part);
    mlt_free(&allocator, reader->separator);
    mlt_free(&allocator, reader);
    *handle = NULL;
}

static millet_status refill(struct mlt_record_reader *reader, millet_error *err)
{
    reader->used = 0;
    MLT_TRY(mlt_byte_source_read(reader->source, reader->chunk, CHUNK, &reader->filled, err));
    if (reader->filled == 0) reader->at_end = true;
    if (!reader->any && reader->filled >= 3 && memcmp(reader->chunk, "\xEF\xBB\xBF", 3) == 0)
        reader->used = 3;
    reader->any = true;
    return MILLET_OK;
}

/* Takes what was handed out from the front of `part`. */
static void drop_given(struct mlt_record_reader *reader)
{
    if (!reader->given) return;
    size_t rest = reader->part.length - reader->given_length;
    if (rest) memmove(reader->part.data, reader->part.data + reader->given_length, rest);
    reader->part.length = rest;
    reader->line_start -= MLT_MIN(reader->line_start, reader->given_length);
    reader->given = false;
}

/* Hands out part[0 .. length); `gone` bytes go with it. */
static void hand_out(struct mlt_record_reader *reader, size_t length, size_t gone,
                     struct mlt_raw_record *record)
{
    *record = (struct mlt_raw_record){.text = reader->part.data,
                                      .length = length,
                                      .json = reader->json,
                                      .continues = reader->continues,
                                      .line = reader->first_line};
    reader->given = true;
    reader->given_length = gone;
}

/* The current line (with its end, unless the file ends in it) stands at the end of `part`. True where a
 * record is complete. */
static bool finish_json_line(struct mlt_record_reader *reader, struct mlt_raw_record *record)
{
    if (reader->too_long) {
        reader->skipped++;
        reader->too_long = false;
        reader->part.length = 0;
        return false;
    }
    size_t length = reader->part.length;
    bool blank = true;
    for (size_t i = 0; i < length && blank; i++)
        blank = strchr(" \t\r\n", reader->part.data[i]) && reader->part.data[i];
    if (blank) {
        reader->part.length = 0;
        return false;
    }
    hand_out(reader, length, length, record);
    return true;
}

static bool is_separator(const struct mlt_record_reader *reader)
{
    size_t length = reader->part.length - reader->line_start;
    const char *line = reader->part.data + reader->line_start;
    if (length && line[length - 1] == '\n') length--;
    if (length && line[length - 1] == '\r') length--;
    return length && strlen(reader->separator) == length && memcmp(line, reader->separator, length) == 0;
}

static bool finish_text_line(struct mlt_record_reader *reader, struct mlt_raw_record *record)
{
    if (!is_separator(reader)) {
        reader->line_start = reader->part.length;
        return false;
    }
    /* The end of line before the separator belongs to it. */
    size_t length = reader->line_start;
    if (length && reader->part.data[length - 1] == '\n') length--;
    if (length && reader->part.data[length - 1] == '\r') length--;
    if (length == 0) {
        reader->part.length = reader->line_start = 0;
        reader->continues = false;
        return false;
    }
    hand_out(reader, length, reader->part.length, record);
    return true;
}

/* A document that has become too long is handed out up to its last end of line, or in the middle of a line of
 * more than a part. */
static bool cut_long_text(struct mlt_record_reader *reader, struct mlt_raw_record *record)
{
    if (reader->part.length < MLT_RECORD_PART) return false;
    size_t cut = reader->line_start;
    if (cut == 0) {
        cut = reader->part.length;
        for (size_t back = 1; back < 4; back++) {
            uint8_t byte = (uint8_t)reader->part.data[cut - back];
            if (byte < 0x80) break;
            if (byte < 0xC0) continue;
            if (mlt_utf8_lead_length(byte) > back) cut -= back;
            break;
        }
    }
    hand_out(reader, cut, cut, record);
    return true;
}

static millet_status append(struct mlt_record_reader *reader, size_t size, millet_error *err)
{
    const char *bytes = reader->chunk + reader->used;
    reader->used += size;
    if (reader->json && !reader->too_long && reader->part.length + size > reader->max_line) {
        reader->too_long = true;
        reader->part.length = 0;
    }
    return reader->too_long ? MILLET_OK : mlt_text_append(&reader->part, bytes, size, err);
}

/* The end of the file: what has been collected is the last record. */
static void finish_file(struct mlt_record_reader *reader, struct mlt_raw_record *record, bool *found)
{
    if (reader->json) {
        *found = (reader->part.length || reader->too_long) && finish_json_line(reader, record);
        return;
    }
    if (reader->part.length == 0) return;
    *found = finish_text_line(reader, record);
    if (*found || reader->part.length == 0) return;
    hand_out(reader, reader->part.length, reader->part.length, record);
    *found = true;
}

millet_status mlt_record_reader_next(struct mlt_record_reader *reader, struct mlt_raw_record *record,
                                     bool *found, millet_error *err)
{
    *found = false;
    drop_given(reader);
    if (reader->part.length == 0) reader->first_line = reader->line;
    for (;;) {
        if (!reader->json && cut_long_text(reader, record)) {
            *found = true;
            reader->continues = true;
            return MILLET_OK;
        }
        if (reader->used == reader->filled) {
            if (!reader->at_end) MLT_TRY(refill(reader, err));
            if (reader->at_end) {
                finish_file(reader, record, found);
                reader->continues = false;
                return MILLET_OK;
            }
            continue; /* past a byte order mark */
        }
        size_t left = reader->filled - reader->used;
        if (!reader->json) left = MLT_MIN(left, MLT_RECORD_PART - reader->part.length);
        const char *end = memchr(reader->chunk + reader->used, '\n', left);
        size_t size = end ? (size_t)(end - (reader->chunk + reader->used)) + 1 : left;
        if (reader->part.length == 0 && !reader->too_long) reader->first_line = reader->line;
        MLT_TRY(append(reader, size, err));
        if (!end) continue;
        reader->line++;
        if (reader->json ? finish_json_line(reader, record) : finish_text_line(reader, record)) {
            *found = true;
            reader->continues = false;
            return MILLET_OK;
        }
    }
}

uint64_t mlt_record_reader_skipped(const struct mlt_record_reader *reader)
{
    return reader->skipped;
}

double mlt_record_reader_fraction(const struct mlt_record_reader *reader)
{
    struct mlt_source_identity identity = mlt_byte_source_identity(reader->source);
    return identity.size ? (double)mlt_byte_source_position(reader->source) / (double)identity.size : 1;
}

struct mlt_source_identity mlt_record_reader_identity(const struct mlt_record_reader *reader)
{
    return mlt_byte_source_identity(reader->source);
}
