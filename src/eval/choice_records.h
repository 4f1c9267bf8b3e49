/*
 * Questions with choices, read from JSONL. docs/eval.md lists the forms.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_CHOICE_RECORDS_H
#define MLT_CHOICE_RECORDS_H

#include "base/memory.h"

enum { MLT_MAX_CHOICES = 26 };

/* Strings belong to the records. */
struct mlt_choice_record {
    const char *subject;  /* what the record says, or the name of its file without folder and extension */
    const char *passage;  /* "" where there is none */
    const char *question; /* not empty */
    const char *choices[MLT_MAX_CHOICES]; /* not empty */
    int32_t n_choices;                    /* >= 2 */
    int32_t answer;                       /* < n_choices */
    const char *path;                     /* the caller's */
    uint64_t line;
    size_t place; /* in the order of reading */
};

struct mlt_choice_records {
    millet_allocator allocator;
    struct mlt_arena arena;
    struct mlt_choice_record *items; /* sorted by subject, then by place */
    size_t count, capacity;
};

/* Reads all files. On failure too, the caller releases them. Errors: those of reading a source; BAD_FORMAT
 * with file and line; a file without a record. */
millet_status mlt_choice_records_read(struct mlt_choice_records *records, const millet_allocator *allocator,
                                      const char *const *paths, size_t n_paths, millet_error *err);
void mlt_choice_records_release(struct mlt_choice_records *records);

/* The records [*begin, *end) of a subject; an empty range where there are none. */
void mlt_choice_records_of(const struct mlt_choice_records *records, const char *subject, size_t *begin,
                           size_t *end);

/* Whether at least half of the questions have a Chinese character. */
bool mlt_choice_records_chinese(const struct mlt_choice_records *records);

#endif
