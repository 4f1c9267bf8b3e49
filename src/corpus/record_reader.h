/*
 * A source cut into raw records: lines of JSONL, documents of a text. Memory is bounded whatever the file
 * holds.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_RECORD_READER_H
#define MLT_RECORD_READER_H

#include "corpus/byte_source.h"
#include "millet/corpus.h"

/* Longest part of a text that is handled at once; longer documents come in parts, cut at ends of lines where
 * there are any. */
enum { MLT_RECORD_PART = 1 << 20 };

struct mlt_raw_record {
    const char *text; /* valid until the next call; not NUL-terminated */
    size_t length;
    bool json;      /* a line of JSONL; else (a part of) a document */
    bool continues; /* this part belongs to the document of the record before */
    uint64_t line;  /* of the source, from 1, on which the record begins */
};

struct mlt_record_reader;

/* The kind is told by the name. Errors: those of mlt_byte_source_open, BAD_FORMAT (an empty file),
 * UNSUPPORTED (an unknown name). */
millet_status mlt_record_reader_open(const millet_allocator *allocator, const char *path,
                                     const millet_source_options *options, struct mlt_record_reader **out,
                                     millet_error *err);
void mlt_record_reader_close(struct mlt_record_reader **reader);

/* *found is false at the end. Lines that are too long are left out and counted. */
millet_status mlt_record_reader_next(struct mlt_record_reader *reader, struct mlt_raw_record *record,
                                     bool *found, millet_error *err);

/* Lines left out because they are too long. */
uint64_t mlt_record_reader_skipped(const struct mlt_record_reader *reader);
/* The part of the file that has been read, 0 to 1. */
double mlt_record_reader_fraction(const struct mlt_record_reader *reader);
/* Of the file; the checksum is complete once the end has been found. */
struct mlt_source_identity mlt_record_reader_identity(const struct mlt_record_reader *reader);

#endif
