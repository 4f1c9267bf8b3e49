/* The last word of passages. SPDX-License-Identifier: Apache-2.0 */
#include "base/file.h"
#include "eval/answers.h"
#include "eval/paired.h"
#include "eval/statistics.h"
#include "eval/task_records.h"

#include <math.h>
#include <string.h>

/* What two models made of a passage. */
struct passage {
    char *text; /* [length] without the word, then NUL and the word with the white space before it */
    size_t length;
    uint64_t line;
    double nll[2];
    bool right[2];
};

struct measurement {
    millet_allocator allocator;
    millet_task_options options;
    const char *path;
    struct mlt_arena arena;
    struct passage *passages;
    size_t count, capacity;
    struct mlt_answering answering;
    struct mlt_forked_text fork;
    struct mlt_writer *writer; /* NULL: none */
    int64_t n_cut;
};

millet_task_options millet_task_options_default(void)
{
    return (millet_task_options){0};
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

static millet_status add_passage(void *context, const json_t *record, uint64_t line, millet_error *err)
{
    struct measurement *m = context;
    const char *text = json_string_value(json_object_get(record, "text"));
    if (m->options.max_records && m->count >= (uint64_t)m->options.max_records) return MILLET_OK;
    if (!text) return mlt_bad_record(m->path, line, MILLET_BAD_FORMAT, "has no \"text\"", err);
    size_t end = strlen(text), word;
    while (end && is_blank(text[end - 1]))
        end--;
    for (word = end; word && !is_blank(text[word - 1]);)
        word--;
    if (word < 2) return mlt_bad_record(m->path, line, MILLET_BAD_FORMAT, "has no word before its last", err);
    word--;
    void *passages = m->passages;
    MLT_TRY(mlt_grow(&m->allocator, &passages, &m->capacity, m->count, sizeof *m->passages, err));
    m->passages = passages;
    struct passage p = {.length = word, .line = line};
    p.text = mlt_arena_alloc(&m->arena, end + 2, 1, err);
    if (!p.text) return MILLET_NO_MEMORY;
    memcpy(p.text, text, word);
    p.text[word] = 0;
    memcpy(p.text + word + 1, text + word, end - word);
    p.text[end + 1] = 0;
    m->passages[m->count++] = p;
    return MILLET_OK;
}

static millet_status read_passage(struct measurement *m, int model, struct passage *p, millet_error *err)
{
    const char *word = p->text + p->length + 1;
    struct mlt_forked_text *fork = &m->fork;
    const millet_model *asked = m->answering.model;
    MLT_TRY(mlt_fork_text(fork, &m->allocator, asked, p->text, p->length, &word, 1, err));
    bool cut;
    if (!mlt_forked_text_cut(fork, asked, m->answering.n_ctx, &cut))
        return mlt_bad_record(m->path, p->line, MILLET_BAD_ARGUMENT,
                              "its last word is too long for the context", err);
    if (fork->n_text < 1 || fork->longest < 1)
        return mlt_bad_record(m->path, p->line, MILLET_BAD_FORMAT, "has too few tokens", err);
    MLT_TRY(mlt_answers_score(&m->answering, fork->text, fork->n_text, fork->answers, 1, err));
    p->nll[model] = -fork->answers[0].log_p;
    p->right[model] = fork->answers[0].greedy;
    if (model == 1) return MILLET_OK;
    m->n_cut += cut;
    if (!m->writer) return MILLET_OK;
    json_t *nll = isfinite(p->nll[0]) ? json_real(p->nll[0]) : json_null();
    return mlt_write_record(m->writer,
                            json_pack("{s:I,s:s,s:o,s:b}", "line", (json_int_t)p->line, "word",
                                      word + strspn(word, " \n\t\r"), "nll", nll, "right", p->right[0]),
                            err);
}

static millet_status read_all(struct measurement *m, const millet_model *model, int index, int n_models,
                              millet_error *err)
{
    MLT_TRY(mlt_answering_open(&m->answering, &m->allocator, model, &m->options.session, index == 1, 1, err));
    const double all = (double)m->count * n_models;
    millet_status status = MILLET_OK;
    for (size_t i = 0; i < m->count && !status; i++) {
        status = read_passage(m, index, &m->passages[i], err);
        double done = (double)(m->count * (size_t)index + i + 1);
        if (!status && m->options.progress && !m->options.progress(m->options.context, done / all))
            status = mlt_fail(err, MILLET_CANCELLED, "cancelled");
    }
    mlt_answering_close(&m->answering);
    return status;
}

/* The mean of nll[0] - weight * nll[1]; without an interval where there is one passage only. */
static millet_interval mean(const struct measurement *m, double weight[2])
{
    struct mlt_mean sum;
    mlt_mean_start(&sum, (int64_t)MLT_MAX(m->count, (size_t)2));
    for (size_t i = 0; i < m->count; i++)
        mlt_mean_add(&sum, weight[0] * m->passages[i].nll[0] + weight[1] * m->passages[i].nll[1]);
    if (m->count > 1) return mlt_mean_interval(&sum);
    double value = 2 * mlt_mean_value(&sum);
    return (millet_interval){value, (double)NAN, (double)NAN};
}

static void score(const struct measurement *m, bool with_base, millet_lambada_scores *s)
{
    const millet_interval none = {(double)NAN, (double)NAN, (double)NAN};
    struct mlt_pairs pairs = {0};
    for (size_t i = 0; i < m->count; i++) {
        const bool *right = m->passages[i].right;
        mlt_pairs_add(&pairs, right[0], right[1], right[0] == right[1]);
    }
    *s = (millet_lambada_scores){.n_records = (int64_t)m->count, .n_cut = m->n_cut};
    s->word = mlt_pairs_share(&pairs, with_base);
    s->nll = mean(m, (double[2]){1, 0});
    s->perplexity = mlt_interval_exp(s->nll);
    s->base_perplexity = with_base ? mlt_interval_exp(mean(m, (double[2]){0, 1})) : none;
    s->perplexity_ratio = with_base ? mlt_interval_exp(mean(m, (double[2]){1, -1})) : none;
}

static millet_status measure(struct measurement *m, const millet_model *model, const millet_model *base,
                             millet_lambada_scores *scores, millet_error *err)
{
    if (m->options.max_records < 0)
        return mlt_fail_at(err, MILLET_BAD_ARGUMENT, NULL, "max_records", MILLET_NO_OFFSET,
                           "max_records: must be 0 (all) or more");
    MLT_TRY(mlt_each_record(&m->allocator, m->path, add_passage, m, err));
    if (m->options.answers) MLT_TRY(mlt_writer_open(&m->allocator, m->options.answers, &m->writer, err));
    int n_models = base ? 2 : 1;
    MLT_TRY(read_all(m, model, 0, n_models, err));
    if (base) MLT_TRY(read_all(m, base, 1, n_models, err));
    score(m, base, scores);
    return m->writer ? mlt_writer_commit(&m->writer, err) : MILLET_OK;
}

millet_status millet_lambada_measure(const millet_model *model, const millet_model *base, const char *path,
                                     const millet_task_options *options, millet_lambada_scores *scores,
                                     millet_error *err)
{
    *scores = (millet_lambada_scores){0};
    struct measurement m = {.path = path};
    m.options = options ? *options : millet_task_options_default();
    m.allocator = m.options.allocator ? *m.options.allocator : model->allocator;
    mlt_arena_init(&m.arena, &m.allocator);
    millet_status status = measure(&m, model, base, scores, err);
    mlt_writer_abort(&m.writer);
    mlt_forked_text_release(&m.fork, &m.allocator);
    mlt_free(&m.allocator, m.passages);
    mlt_arena_release(&m.arena);
    return status;
}
