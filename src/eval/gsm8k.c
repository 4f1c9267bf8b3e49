/* Sums in words. SPDX-License-Identifier: Apache-2.0 */
#include "base/file.h"
#include "eval/final_number.h"
#include "eval/greedy.h"
#include "eval/paired.h"
#include "eval/task_records.h"

#include <string.h>

enum { DEFAULT_TOKENS = 256, WIDTH = 8 };

/* A question, its worked answer, and the numbers that two models came to ("": none). */
struct problem {
    const char *question, *answer;
    uint64_t line;
    char number[MLT_NUMBER_SIZE], got[2][MLT_NUMBER_SIZE];
};

struct problems {
    const char *path;
    const millet_allocator *allocator;
    struct mlt_arena arena;
    struct problem *items;
    size_t count, capacity, most; /* most: take no more; 0: all */
};

struct measurement {
    millet_allocator allocator;
    millet_task_options options;
    struct problems problems, shots;
    struct mlt_answering answering;
    struct mlt_text prompt;
    int32_t *ids[WIDTH], counts[WIDTH];
    struct mlt_written written[WIDTH];
    size_t n_asked;            /* of the problems; the others are there to be shown */
    struct mlt_writer *writer; /* NULL: none */
    millet_gsm8k_scores *scores;
};

/* ---- Records ---- */

static millet_status keep(struct problems *p, const char *text, const char **out, millet_error *err)
{
    *out = mlt_arena_text(&p->arena, text, strlen(text), err);
    return *out ? MILLET_OK : MILLET_NO_MEMORY;
}

static millet_status add_problem(void *context, const json_t *record, uint64_t line, millet_error *err)
{
    struct problems *p = context;
    if (p->most && p->count >= p->most) return MILLET_OK;
    const char *question = json_string_value(json_object_get(record, "question"));
    const char *answer = json_string_value(json_object_get(record, "answer"));
    const char *final = json_string_value(json_object_get(record, "final"));
    struct problem problem = {.line = line};
    if (!question || !question[0] || !answer)
        return mlt_bad_record(p->path, line, MILLET_BAD_FORMAT, "needs \"question\" and \"answer\"", err);
    if (!mlt_final_number(final ? final : answer, problem.number))
        return mlt_bad_record(p->path, line, MILLET_BAD_FORMAT, "its answer has no number", err);
    MLT_TRY(keep(p, question, &problem.question, err));
    MLT_TRY(keep(p, answer, &problem.answer, err));
    void *items = p->items;
    MLT_TRY(mlt_grow(p->allocator, &items, &p->capacity, p->count, sizeof *p->items, err));
    p->items = items;
    p->items[p->count++] = problem;
    return MILLET_OK;
}

/* ---- Asking ---- */

static millet_status write_prompt(struct measurement *m, const struct problem *asked, int32_t n_shots,
                                  int32_t *written, millet_error *err)
{
    const struct problems *from = m->options.shots_path ? &m->shots : &m->problems;
    m->prompt.length = 0;
    *written = 0;
    for (size_t i = 0; i < from->count && *written < n_shots; i++) {
        const struct problem *shot = &from->items[i];
        if (shot == asked) continue;
        MLT_TRY(
            mlt_text_printf(&m->prompt, err, "Question: %s\nAnswer: %s\n\n", shot->question, shot->answer));
        ++*written;
    }
    return mlt_text_printf(&m->prompt, err, "Question: %s\nAnswer:", asked->question);
}

/* Fewer shots until a token at least has room behind the prompt. */
static millet_status tokenize(struct measurement *m, const struct problem *asked, int32_t slot, bool first,
                              millet_error *err)
{
    int32_t written = m->options.n_shots, room = m->answering.n_ctx - m->scores->max_tokens;
    for (bool shortened = false;; written--, shortened = true) {
        mlt_free(&m->allocator, m->ids[slot]);
        m->ids[slot] = NULL;
        MLT_TRY(write_prompt(m, asked, written, &written, err));
        MLT_TRY(mlt_task_tokens(&m->allocator, m->answering.model, m->prompt.data, m->prompt.length,
                                &m->ids[slot], &m->counts[slot], err));
        if (m->counts[slot] <= room || written == 0) {
            if (first) m->scores->n_shortened += shortened;
            break;
        }
    }
    if (m->counts[slot] < 1 || m->counts[slot] >= m->answering.n_ctx)
        return mlt_bad_record(m->problems.path, asked->line, MILLET_BAD_ARGUMENT,
                              "the question has no room in the context", err);
    return MILLET_OK;
}

/* Until the next question, or the end of the line with the result; what comes behind is cut off. */
static bool enough(struct mlt_text *text)
{
    char *end = strstr(text->data, "Question:");
    if (!end) {
        char *mark = strstr(text->data, "####");
        end = mark ? strchr(mark, '\n') : NULL;
    }
    if (!end) return false;
    *end = 0;
    text->length = (size_t)(end - text->data);
    return true;
}

static millet_status take_answer(struct measurement *m, int model, struct problem *p,
                                 const struct mlt_written *written, millet_error *err)
{
    bool number = mlt_final_number(written->text.data, p->got[model]);
    if (!number) p->got[model][0] = 0;
    if (model == 1) return MILLET_OK;
    m->scores->n_numbers += number;
    m->scores->n_ended += written->ended;
    m->scores->n_tokens += written->n_tokens;
    if (!m->writer) return MILLET_OK;
    return mlt_write_record(m->writer,
                            json_pack("{s:I,s:s,s:s,s:s,s:b}", "line", (json_int_t)p->line, "final",
                                      p->number, "number", p->got[0], "text", written->text.data, "right",
                                      strcmp(p->got[0], p->number) == 0),
                            err);
}

static millet_status ask_together(struct measurement *m, int model, size_t begin, int32_t n,
                                  millet_error *err)
{
    for (int32_t i = 0; i < n; i++)
        MLT_TRY(tokenize(m, &m->problems.items[begin + (size_t)i], i, model == 0, err));
    MLT_TRY(mlt_greedy_write(&m->answering, m->ids, m->counts, n, m->scores->max_tokens, enough, m->written,
                             err));
    for (int32_t i = 0; i < n; i++)
        MLT_TRY(take_answer(m, model, &m->problems.items[begin + (size_t)i], &m->written[i], err));
    return MILLET_OK;
}

static millet_status ask_all(struct measurement *m, const millet_model *model, int index, int n_models,
                             millet_error *err)
{
    size_t count = m->n_asked;
    MLT_TRY(mlt_answering_open(&m->answering, &m->allocator, model, &m->options.session, index == 1,
                               (int32_t)MLT_MIN(count, (size_t)WIDTH), err));
    int32_t width = mlt_greedy_width(&m->answering);
    millet_status status = MILLET_OK;
    for (size_t i = 0; i < count && !status; i += (size_t)width) {
        int32_t n = (int32_t)MLT_MIN(count - i, (size_t)width);
        status = ask_together(m, index, i, n, err);
        double done = (double)(count * (size_t)index + i + (size_t)n) / (double)count / n_models;
        if (!status && m->options.progress && !m->options.progress(m->options.context, done))
            status = mlt_fail(err, MILLET_CANCELLED, "cancelled");
    }
    mlt_answering_close(&m->answering);
    return status;
}

/* ---- Scores ---- */

static millet_status check_options(const millet_task_options *o, millet_error *err)
{
    const char *bad = o->n_shots < 0       ? "n_shots"
                      : o->max_tokens < 0  ? "max_tokens"
                      : o->max_records < 0 ? "max_records"
                                           : NULL;
    if (!bad) return MILLET_OK;
    return mlt_fail_at(err, MILLET_BAD_ARGUMENT, NULL, bad, MILLET_NO_OFFSET, "%s: must be 0 or more", bad);
}

static void score(struct measurement *m, bool with_base)
{
    struct mlt_pairs pairs = {0};
    for (size_t i = 0; i < m->n_asked; i++) {
        const struct problem *p = &m->problems.items[i];
        mlt_pairs_add(&pairs, strcmp(p->got[0], p->number) == 0, strcmp(p->got[1], p->number) == 0,
                      strcmp(p->got[0], p->got[1]) == 0);
    }
    m->scores->n_records = (int64_t)m->n_asked;
    m->scores->right = mlt_pairs_share(&pairs, with_base);
}

static millet_status measure(struct measurement *m, const millet_model *model, const millet_model *base,
                             millet_error *err)
{
    const millet_task_options *options = &m->options;
    MLT_TRY(check_options(options, err));
    m->scores->max_tokens = options->max_tokens ? options->max_tokens : DEFAULT_TOKENS;
    size_t limit = (size_t)options->max_records;
    m->problems.most = limit ? MLT_MAX(limit, (size_t)options->n_shots + 1) : 0;
    if (options->shots_path) m->shots.most = (size_t)MLT_MAX(options->n_shots, 1);
    MLT_TRY(mlt_each_record(&m->allocator, m->problems.path, add_problem, &m->problems, err));
    m->n_asked = limit ? MLT_MIN(limit, m->problems.count) : m->problems.count;
    if (m->shots.path) MLT_TRY(mlt_each_record(&m->allocator, m->shots.path, add_problem, &m->shots, err));
    if (options->answers) MLT_TRY(mlt_writer_open(&m->allocator, options->answers, &m->writer, err));
    int n_models = base ? 2 : 1;
    MLT_TRY(ask_all(m, model, 0, n_models, err));
    if (base) MLT_TRY(ask_all(m, base, 1, n_models, err));
    score(m, base);
    return m->writer ? mlt_writer_commit(&m->writer, err) : MILLET_OK;
}

static void open_problems(struct measurement *m, struct problems *p, const char *path)
{
    p->path = path;
    p->allocator = &m->allocator;
    mlt_arena_init(&p->arena, &m->allocator);
}

static void close_problems(struct problems *p)
{
    mlt_free(p->allocator, p->items);
    mlt_arena_release(&p->arena);
}

millet_status millet_gsm8k_measure(const millet_model *model, const millet_model *base, const char *path,
                                   const millet_task_options *options, millet_gsm8k_scores *scores,
                                   millet_error *err)
{
    *scores = (millet_gsm8k_scores){0};
    struct measurement m = {.scores = scores};
    m.options = options ? *options : millet_task_options_default();
    m.allocator = m.options.allocator ? *m.options.allocator : model->allocator;
    m.prompt.allocator = &m.allocator;
    open_problems(&m, &m.problems, path);
    open_problems(&m, &m.shots, m.options.shots_path);
    for (int i = 0; i < WIDTH; i++)
        m.written[i].text.allocator = &m.allocator;
    millet_status status = measure(&m, model, base, err);
    mlt_writer_abort(&m.writer);
    for (int i = 0; i < WIDTH; i++) {
        mlt_free(&m.allocator, m.ids[i]);
        mlt_text_release(&m.written[i].text);
    }
    mlt_text_release(&m.prompt);
    close_problems(&m.problems);
    close_problems(&m.shots);
    return status;
}
