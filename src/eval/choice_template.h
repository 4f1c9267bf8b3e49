/*
 * How a question with choices is written before a model. docs/eval.md has the form of a template's file.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_CHOICE_TEMPLATE_H
#define MLT_CHOICE_TEMPLATE_H

#include "eval/choice_records.h"

enum mlt_template_part {
    MLT_PART_HEADER,   /* once, at the beginning */
    MLT_PART_QUESTION, /* up to where the answer begins */
    MLT_PART_OPTION,   /* a choice in the list {options} */
    MLT_PART_ANSWER,   /* the answer: of it the likelihood is taken */
    MLT_PART_BETWEEN,  /* between an answer and the next question */
    MLT_TEMPLATE_PARTS
};

struct mlt_choice_template {
    const char *name;
    const char *parts[MLT_TEMPLATE_PARTS];
    char *file; /* owned: the text of a file, which the parts point into; NULL */
    millet_allocator allocator;
};

/* The built-in template. */
struct mlt_choice_template mlt_choice_template_of(bool chinese, bool texts);
/* Reads a file; `name` is the path. Errors: of reading; BAD_FORMAT with the line. Release it. */
millet_status mlt_choice_template_read(struct mlt_choice_template *template,
                                       const millet_allocator *allocator, const char *path,
                                       millet_error *err);
void mlt_choice_template_release(struct mlt_choice_template *template);
/* Whether the answer is a letter. */
bool mlt_choice_template_letters(const struct mlt_choice_template *template);

/* Appends a part; {letter}, {choice} and {answer} are those of `choice` (>= 0). */
millet_status mlt_choice_template_write(const struct mlt_choice_template *template,
                                        enum mlt_template_part part, const struct mlt_choice_record *record,
                                        int32_t choice, struct mlt_text *out, millet_error *err);

#endif
