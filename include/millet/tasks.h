/*
 * Scores of language models on tasks: multiple choice by likelihood. Part of libmillet-lab. docs/eval.md has
 * the forms of records and templates.
 *
 *     const char *paths[] = {"cmmlu.jsonl"};
 *     millet_choice_options how = millet_choice_options_default();
 *     how.n_shots = 5;
 *     millet_choice_scores *scores = NULL;
 *     if (millet_choice_measure(model, NULL, paths, 1, &how, &scores, &err)) ...
 *     millet_choice_scores_free(&scores);
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MILLET_TASKS_H
#define MILLET_TASKS_H

#include "millet/lab.h"

#ifdef __cplusplus
extern "C" {
#endif

/* How a model is run for a task; what comes after `model` and after `base` where two are compared. */
typedef struct millet_task_session {
    int32_t n_ctx; /* positions of a prompt with its answer; 0: the trained context, at most 2048 */
    int32_t n_batch, n_threads;
    millet_cache_type cache_type, base_cache_type; /* of the model, and of what it is compared with */
    const millet_adapter_use *adapters;            /* of the model alone, as in millet_session_options */
    int32_t n_adapters;
    bool exact_activations;
} millet_task_session;

/* Questions that are answered rightly. Intervals: docs/eval.md. */
typedef struct millet_task_share {
    millet_interval right; /* share, Wilson's interval */
    /* Where there is a base; else NAN. Questions are paired. */
    millet_interval base;
    millet_interval difference; /* right - base */
    millet_interval kept;       /* right / base; NAN where base is 0 */
    millet_interval agreement;  /* how often both say the same */
} millet_task_share;

/* ---- Multiple choice ---- */

typedef struct millet_choice_options {
    const millet_allocator *allocator; /* NULL: the model's */
    millet_task_session session;
    /*
     * Solved questions before each question, of its subject: the first ones of `shots_path` (a file of the
     * same form; where it has none of the subject, its first ones), or, where that is NULL, the first of the
     * files themselves but for the question that is asked.
     */
    int32_t n_shots;
    const char *shots_path;
    /*
     * How a question is written: a file of a template; NULL: the built-in one, in Chinese or English, in
     * which the letter of a choice is the answer (choices listed), or, with `texts`, what the choice says
     * (choices not listed). `language`: "zh", "en", or NULL: Chinese where half of the questions have a
     * Chinese character.
     */
    const char *template_path, *language;
    bool texts;
    int64_t max_records; /* only so many questions of each subject; 0: all */
    const char
        *answers; /* a JSONL file to write: a line a question, with each choice's log-likelihood; NULL */
    millet_progress_callback *progress; /* NULL: none */
    void *context;
} millet_choice_options;

MILLET_API millet_choice_options millet_choice_options_default(void);

typedef struct millet_choice_score {
    const char *subject; /* "" of all together */
    int64_t n_questions;
    double chance;            /* share that guessing gets right */
    millet_task_share sum;    /* by log p(answer | question), the first among equals */
    millet_task_share length; /* by log p(answer | question) / bytes of the answer */
} millet_choice_score;

typedef struct millet_choice_scores {
    millet_choice_score all;
    /* Means over subjects, each counted once. */
    double subject_mean_sum, subject_mean_length, base_subject_mean_sum, base_subject_mean_length;
    int64_t n_subjects;
    const millet_choice_score *subjects; /* sorted by name */
    const char *template_name;           /* "zh letters", "en texts" ..., or the template's path */
    bool listed;                         /* answers are letters of listed choices */
    int64_t n_shortened; /* questions that got fewer shots than asked, since the context has no room */
    int64_t n_cut;       /* of them, those whose beginning was cut off too */
    int64_t n_tokens;    /* that prompts and answers have together ... */
    int64_t n_computed;  /* ... and of which so many were computed: the rest was shared */
} millet_choice_scores;

/*
 * Measures a model, and for comparison `base` (NULL: none; it may have another tokenizer), on the questions
 * of all files together. *scores is to be released with millet_choice_scores_free; NULL on failure.
 *
 * Errors: those of reading a source; BAD_FORMAT (a record or a template, naming file and line; no record at
 * all; a model that gives NaN), BAD_ARGUMENT (an option; an answer too long for the context), UNSUPPORTED (no
 * tokenizer), CANCELLED, NO_MEMORY.
 */
MILLET_API millet_status millet_choice_measure(const millet_model *model, const millet_model *base,
                                               const char *const *paths, size_t n_paths,
                                               const millet_choice_options *options,
                                               millet_choice_scores **scores, millet_error *err);
MILLET_API void millet_choice_scores_free(millet_choice_scores **scores);

/* ---- Last words, and sums in words ---- */

typedef struct millet_task_options {
    const millet_allocator *allocator; /* NULL: the model's */
    millet_task_session session;
    int32_t n_shots; /* sums: solved ones before each, as in millet_choice_options */
    const char *shots_path;
    int32_t max_tokens;  /* sums: of an answer; 0: 256 */
    int64_t max_records; /* only the first so many; 0: all */
    const char *answers; /* a JSONL file to write: a line a record, with what the model says; NULL: none */
    millet_progress_callback *progress; /* NULL: none */
    void *context;
} millet_task_options;

MILLET_API millet_task_options millet_task_options_default(void);

typedef struct millet_lambada_scores {
    int64_t n_records, n_cut;   /* passages; whose beginning was cut off, since the context has no room */
    millet_task_share word;     /* each token of the last word is the most probable one */
    millet_interval nll;        /* mean of -ln p(last word | passage) */
    millet_interval perplexity; /* e^nll, per word */
    /* Where there is a base; else NAN. */
    millet_interval base_perplexity, perplexity_ratio; /* paired: perplexity / base_perplexity */
} millet_lambada_scores;

/*
 * The last word of each passage of a file, {"text"}: what stands behind the last white space, with it.
 * Errors: as of millet_choice_measure.
 */
MILLET_API millet_status millet_lambada_measure(const millet_model *model, const millet_model *base,
                                                const char *path, const millet_task_options *options,
                                                millet_lambada_scores *scores, millet_error *err);

typedef struct millet_gsm8k_scores {
    int64_t n_records;
    millet_task_share right; /* the number is the right one; agreement: the same number, or none of both */
    /* Of the model: answers with a number; that came to their end within max_tokens; tokens generated. */
    int64_t n_numbers, n_ended, n_tokens;
    int64_t n_shortened; /* questions that got fewer shots than asked, since the context has no room */
    int32_t max_tokens;
} millet_gsm8k_scores;

/*
 * Sums in words, {"question", "answer"} with the number after the last "####" of the answer (or in "final"):
 * the model writes an answer, always its most probable token, and the number after "####" in it, or else its
 * last number, must be the right one. Errors: as of millet_choice_measure; BAD_ARGUMENT where a question has
 * no room in the context.
 */
MILLET_API millet_status millet_gsm8k_measure(const millet_model *model, const millet_model *base,
                                              const char *path, const millet_task_options *options,
                                              millet_gsm8k_scores *scores, millet_error *err);

#ifdef __cplusplus
}
#endif
#endif
