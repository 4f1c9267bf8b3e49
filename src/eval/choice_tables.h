/*
 * From the choices that models made to shares for each subject.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_CHOICE_TABLES_H
#define MLT_CHOICE_TABLES_H

#include "eval/choice_records.h"
#include "eval/choice_template.h"
#include "millet/tasks.h"

/* What was chosen of a question; [0] by the model, [1] by what it is compared with. */
struct mlt_choice_outcome {
    bool asked;
    int8_t sum[2], length[2];
};

/* Errors: NO_MEMORY. *scores is released with millet_choice_scores_free. */
millet_status mlt_choice_tables(const struct mlt_choice_records *records,
                                const struct mlt_choice_outcome *outcomes, bool with_base,
                                const struct mlt_choice_template *template, const millet_allocator *allocator,
                                millet_choice_scores **scores, millet_error *err);

#endif
