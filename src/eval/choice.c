/* Multiple choice by likelihood. SPDX-License-Identifier: Apache-2.0 */
#include "base/file.h"
#include "eval/answers.h"
#include "eval/choice_records.h"
#include "eval/choice_tables.h"
#include "eval/choice_template.h"
#include "eval/task_records.h"

#include <math.h>
#include <string.h>

/* Which choices two models made of a question. */
struct measurement {
    millet_allocator allocator;
    millet_choice_options options;
    const char *const *paths;
    size_t n_paths;
    struct mlt_choice_records records, shots;
    struct mlt_choice_template template;
    const millet_model *models[2];
    int n_models;
    struct mlt_choice_outcome *outcomes; /* [records.count] */
    struct mlt_answering answering;      /* of the model at hand */
    struct mlt_text prompt, answers;
    struct mlt_forked_text fork;
    struct mlt_writer *writer; /* NULL: none */
    int64_t n_shortened, n_cut, n_tokens, n_computed;
    size_t done; /* questions, of all models */
};

millet_choice_options millet_choice_options_default(void)
{
    return (millet_choice_options){0};
}

/* ---- A question as text ---- */

static millet_status write_solved(struct measurement *m, const struct mlt_choice_record *record,
                                  millet_error *err)
{
    const struct mlt_choice_template *t = &m->template;
    MLT_TRY(mlt_choice_template_write(t, MLT_PART_QUESTION, record, -1, &m->prompt, err));
    MLT_TRY(mlt_choice_template_write(t, MLT_PART_ANSWER, record, record->answer, &m->prompt, err));
    return mlt_choice_template_write(t, MLT_PART_BETWEEN, record, -1, &m->prompt, err);
}

/* At most n_shots solved questions; *written of them. */
static millet_status write_shots(struct measurement *m, const struct mlt_choice_record *question,
                                 int32_t n_shots, int32_t *written, millet_error *err)
{
    const struct mlt_choice_records *from = m->options.shots_path ? &m->shots : &m->records;
    size_t begin, end;
    mlt_choice_records_of(from, question->subject, &begin, &end);
    if (begin == end) end = from->count, begin = 0;
    *written = 0;
    for (size_t i = begin; i < end && *written < n_shots; i++) {
        if (&from->items[i] == question) continue;
        MLT_TRY(write_solved(m, &from->items[i], err));
        ++*written;
    }
    return MILLET_OK;
}

static millet_status write_prompt(struct measurement *m, const struct mlt_choice_record *question,
                                  int32_t n_shots, int32_t *written, millet_error *err)
{
    m->prompt.length = 0;
    MLT_TRY(mlt_choice_template_write(&m->template, MLT_PART_HEADER, question, -1, &m->prompt, err));
    MLT_TRY(write_shots(m, question, n_shots, written, err));
    return mlt_choice_template_write(&m->template, MLT_PART_QUESTION, question, -1, &m->prompt, err);
}

/* The answers one behind the other, each with its NUL; where they are, and their bytes but for blanks before.
 */
static millet_status write_answers(struct measurement *m, const struct mlt_choice_record *question,
                                   const char **answers, size_t *bytes, millet_error *err)
{
    size_t starts[MLT_MAX_CHOICES];
    m->answers.length = 0;
    for (int32_t i = 0; i < question->n_choices; i++) {
        starts[i] = m->answers.length;
        MLT_TRY(mlt_choice_template_write(&m->template, MLT_PART_ANSWER, question, i, &m->answers, err));
        MLT_TRY(mlt_text_append(&m->answers, "", 1, err));
    }
    for (int32_t i = 0; i < question->n_choices; i++) {
        answers[i] = m->answers.data + starts[i];
        bytes[i] = strlen(answers[i] + strspn(answers[i], " \t\n"));
    }
    return MILLET_OK;
}

/* ---- A question scored ---- */

static millet_status bad_record(const struct mlt_choice_record *r, millet_status status, const char *what,
                                millet_error *err)
{
    return mlt_bad_record(r->path, r->line, status, what, err);
}

/* Fewer shots, then less of the beginning, until text and answers have room. */
static millet_status fit(struct measurement *m, const struct mlt_choice_record *question,
                         const char *const *answers, bool first, millet_error *err)
{
    int32_t room = m->answering.n_ctx, shots = m->options.n_shots, written;
    const millet_model *model = m->answering.model;
    struct mlt_forked_text *fork = &m->fork;
    bool shortened = false;
    for (;; shots = written - 1) {
        MLT_TRY(write_prompt(m, question, shots, &written, err));
        MLT_TRY(mlt_fork_text(fork, &m->allocator, model, m->prompt.data, m->prompt.length, answers,
                              question->n_choices, err));
        if (fork->n_text + fork->longest <= room || written == 0) break;
        shortened = true;
    }
    bool cut;
    if (!mlt_forked_text_cut(fork, model, room, &cut))
        return bad_record(question, MILLET_BAD_ARGUMENT, "an answer is too long for the context", err);
    if (first) m->n_shortened += shortened || cut;
    if (first) m->n_cut += cut;
    if (fork->n_text < 1)
        return bad_record(question, MILLET_BAD_ARGUMENT, "the template has no text before the answer", err);
    for (int32_t i = 0; i < question->n_choices; i++)
        if (fork->answers[i].count < 1)
            return bad_record(question, MILLET_BAD_FORMAT, "the tokenizer makes no token of an answer", err);
    return MILLET_OK;
}

static millet_status write_line(struct measurement *m, const struct mlt_choice_record *r,
                                const struct mlt_choice_outcome *o, const size_t *bytes, millet_error *err)
{
    if (!m->writer) return MILLET_OK;
    json_t *scores = json_array();
    for (int32_t i = 0; i < r->n_choices; i++) {
        double log_p = m->fork.answers[i].log_p; /* null where it is -infinity */
        json_array_append_new(scores,
                              json_pack("{s:o,s:I}", "log_p", isinf(log_p) ? json_null() : json_real(log_p),
                                        "bytes", (json_int_t)bytes[i]));
    }
    json_t *line = json_pack("{s:s,s:I,s:s,s:i,s:i,s:i,s:o}", "file", r->path, "line", (json_int_t)r->line,
                             "subject", r->subject, "answer", r->answer, "by_sum", o->sum[0], "by_length",
                             o->length[0], "choices", scores);
    return mlt_write_record(m->writer, line, err);
}

static millet_status ask(struct measurement *m, int model, size_t index, millet_error *err)
{
    const struct mlt_choice_record *question = &m->records.items[index];
    struct mlt_choice_outcome *o = &m->outcomes[index];
    const char *answers[MLT_MAX_CHOICES];
    size_t bytes[MLT_MAX_CHOICES];
    MLT_TRY(write_answers(m, question, answers, bytes, err));
    MLT_TRY(fit(m, question, answers, model == 0, err));
    struct mlt_answer *scored = m->fork.answers;
    MLT_TRY(mlt_answers_score(&m->answering, m->fork.text, m->fork.n_text, scored, question->n_choices, err));
    int8_t *sum = &o->sum[model], *length = &o->length[model];
    *sum = *length = 0;
    for (int32_t i = 1; i < question->n_choices; i++) {
        if (scored[i].log_p > scored[*sum].log_p) *sum = (int8_t)i;
        if (scored[i].log_p / (double)bytes[i] > scored[*length].log_p / (double)bytes[*length])
            *length = (int8_t)i;
    }
    return model == 0 ? write_line(m, question, o, bytes, err) : MILLET_OK;
}

/* ---- All questions ---- */

static int32_t most_choices(const struct mlt_choice_records *records)
{
    int32_t most = 0;
    for (size_t i = 0; i < records->count; i++)
        most = MLT_MAX(most, records->items[i].n_choices);
    return most;
}

static millet_status ask_all(struct measurement *m, int model, millet_error *err)
{
    MLT_TRY(mlt_answering_open(&m->answering, &m->allocator, m->models[model], &m->options.session,
                               model == 1, most_choices(&m->records), err));
    const double all = (double)m->records.count * m->n_models;
    millet_status status = MILLET_OK;
    for (size_t i = 0; i < m->records.count && !status; i++) {
        if (m->outcomes[i].asked) status = ask(m, model, i, err);
        m->done++;
        if (!status && m->options.progress && !m->options.progress(m->options.context, (double)m->done / all))
            status = mlt_fail(err, MILLET_CANCELLED, "cancelled");
    }
    m->n_tokens += m->answering.n_tokens;
    m->n_computed += m->answering.n_computed;
    mlt_answering_close(&m->answering);
    return status;
}

/* The first max_records of each subject. */
static void choose_questions(struct measurement *m)
{
    int64_t of_subject = 0;
    for (size_t i = 0; i < m->records.count; i++) {
        const struct mlt_choice_record *r = &m->records.items[i];
        if (i == 0 || strcmp(r->subject, r[-1].subject) != 0) of_subject = 0;
        m->outcomes[i].asked = m->options.max_records == 0 || of_subject < m->options.max_records;
        of_subject++;
    }
}

static millet_status open_template(struct measurement *m, millet_error *err)
{
    const char *language = m->options.language;
    if (m->options.template_path)
        return mlt_choice_template_read(&m->template, &m->allocator, m->options.template_path, err);
    if (language && strcmp(language, "zh") != 0 && strcmp(language, "en") != 0)
        return mlt_fail_at(err, MILLET_BAD_ARGUMENT, NULL, "language", MILLET_NO_OFFSET,
                           "language: \"%s\" is neither zh nor en", language);
    bool chinese = language ? language[0] == 'z' : mlt_choice_records_chinese(&m->records);
    m->template = mlt_choice_template_of(chinese, m->options.texts);
    return MILLET_OK;
}

static millet_status measure(struct measurement *m, millet_choice_scores **scores, millet_error *err)
{
    const millet_choice_options *options = &m->options;
    if (options->n_shots < 0 || options->max_records < 0)
        return mlt_fail_at(err, MILLET_BAD_ARGUMENT, NULL, options->n_shots < 0 ? "n_shots" : "max_records",
                           MILLET_NO_OFFSET, "%s: must be 0 or more",
                           options->n_shots < 0 ? "n_shots" : "max_records");
    MLT_TRY(mlt_choice_records_read(&m->records, &m->allocator, m->paths, m->n_paths, err));
    if (options->shots_path)
        MLT_TRY(mlt_choice_records_read(&m->shots, &m->allocator, &options->shots_path, 1, err));
    MLT_TRY(open_template(m, err));
    if (m->records.count == 0) return mlt_fail(err, MILLET_BAD_ARGUMENT, "there are no files with questions");
    m->outcomes = mlt_alloc_zero(&m->allocator, m->records.count, sizeof *m->outcomes, err);
    if (!m->outcomes) return MILLET_NO_MEMORY;
    choose_questions(m);
    if (options->answers) MLT_TRY(mlt_writer_open(&m->allocator, options->answers, &m->writer, err));
    for (int model = 0; model < m->n_models; model++)
        MLT_TRY(ask_all(m, model, err));
    MLT_TRY(mlt_choice_tables(&m->records, m->outcomes, m->n_models == 2, &m->template, &m->allocator, scores,
                              err));
    (*scores)->n_shortened = m->n_shortened;
    (*scores)->n_cut = m->n_cut;
    (*scores)->n_tokens = m->n_tokens;
    (*scores)->n_computed = m->n_computed;
    return m->writer ? mlt_writer_commit(&m->writer, err) : MILLET_OK;
}

millet_status millet_choice_measure(const millet_model *model, const millet_model *base,
                                    const char *const *paths, size_t n_paths,
                                    const millet_choice_options *options, millet_choice_scores **scores,
                                    millet_error *err)
{
    *scores = NULL;
    struct measurement m = {.paths = paths, .n_paths = n_paths, .models = {model, base}};
    m.options = options ? *options : millet_choice_options_default();
    m.allocator = m.options.allocator ? *m.options.allocator : model->allocator;
    m.n_models = base ? 2 : 1;
    m.records.allocator = m.shots.allocator = m.allocator;
    mlt_arena_init(&m.records.arena, &m.allocator);
    mlt_arena_init(&m.shots.arena, &m.allocator);
    m.prompt.allocator = m.answers.allocator = &m.allocator;
    millet_status status = measure(&m, scores, err);
    if (status) millet_choice_scores_free(scores);
    mlt_writer_abort(&m.writer);
    mlt_forked_text_release(&m.fork, &m.allocator);
    mlt_text_release(&m.prompt);
    mlt_text_release(&m.answers);
    mlt_choice_template_release(&m.template);
    mlt_choice_records_release(&m.records);
    mlt_choice_records_release(&m.shots);
    mlt_free(&m.allocator, m.outcomes);
    return status;
}
