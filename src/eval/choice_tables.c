/* SPDX-License-Identifier: Apache-2.0 */
#include "eval/choice_tables.h"

#include "eval/paired.h"

#include <string.h>

struct tables {
    millet_choice_scores scores; /* first: what is handed out */
    millet_allocator allocator;
    struct mlt_arena arena;
    millet_choice_score *subjects;
};

/* Questions that are counted together. */
struct count {
    int64_t n;
    double chance;
    struct mlt_pairs sum, length;
};

static void add_pair(struct mlt_pairs *pairs, const int8_t chosen[2], int32_t answer)
{
    mlt_pairs_add(pairs, chosen[0] == answer, chosen[1] == answer, chosen[0] == chosen[1]);
}

static void add(struct count *count, const struct mlt_choice_record *record,
                const struct mlt_choice_outcome *outcome)
{
    count->n++;
    count->chance += 1.0 / record->n_choices;
    add_pair(&count->sum, outcome->sum, record->answer);
    add_pair(&count->length, outcome->length, record->answer);
}

static millet_choice_score score_of(const char *subject, const struct count *count, bool with_base)
{
    return (millet_choice_score){
        .subject = subject,
        .n_questions = count->n,
        .chance = count->chance / (double)count->n,
        .sum = mlt_pairs_share(&count->sum, with_base),
        .length = mlt_pairs_share(&count->length, with_base),
    };
}

static size_t count_subjects(const struct mlt_choice_records *records)
{
    size_t n = 0;
    for (size_t i = 0; i < records->count; i++)
        n += i == 0 || strcmp(records->items[i].subject, records->items[i - 1].subject) != 0;
    return n;
}

static void add_means(millet_choice_scores *s)
{
    double n = (double)s->n_subjects;
    for (int64_t i = 0; i < s->n_subjects; i++) {
        const millet_choice_score *subject = &s->subjects[i];
        s->subject_mean_sum += subject->sum.right.value / n;
        s->subject_mean_length += subject->length.right.value / n;
        s->base_subject_mean_sum += subject->sum.base.value / n; /* NAN without a base */
        s->base_subject_mean_length += subject->length.base.value / n;
    }
}

static millet_status fill(struct tables *t, const struct mlt_choice_records *records,
                          const struct mlt_choice_outcome *outcomes, bool with_base, millet_error *err)
{
    t->subjects = mlt_arena_alloc(&t->arena, count_subjects(records), sizeof *t->subjects, err);
    if (!t->subjects) return MILLET_NO_MEMORY;
    struct count all = {.n = 0};
    for (size_t i = 0, next; i < records->count; i = next) {
        const char *subject = records->items[i].subject;
        struct count count = {.n = 0};
        for (next = i; next < records->count && strcmp(records->items[next].subject, subject) == 0; next++) {
            if (!outcomes[next].asked) continue;
            add(&count, &records->items[next], &outcomes[next]);
            add(&all, &records->items[next], &outcomes[next]);
        }
        char *name = mlt_arena_text(&t->arena, subject, strlen(subject), err);
        if (!name) return MILLET_NO_MEMORY;
        t->subjects[t->scores.n_subjects++] = score_of(name, &count, with_base);
    }
    t->scores.subjects = t->subjects;
    t->scores.all = score_of("", &all, with_base);
    add_means(&t->scores);
    return MILLET_OK;
}

millet_status mlt_choice_tables(const struct mlt_choice_records *records,
                                const struct mlt_choice_outcome *outcomes, bool with_base,
                                const struct mlt_choice_template *template, const millet_allocator *allocator,
                                millet_choice_scores **scores, millet_error *err)
{
    struct tables *t = mlt_alloc_zero(allocator, 1, sizeof *t, err);
    if (!t) return MILLET_NO_MEMORY;
    t->allocator = *allocator;
    mlt_arena_init(&t->arena, &t->allocator);
    *scores = &t->scores;
    t->scores.template_name = mlt_arena_text(&t->arena, template->name, strlen(template->name), err);
    t->scores.listed = mlt_choice_template_letters(template);
    millet_status status =
        t->scores.template_name ? fill(t, records, outcomes, with_base, err) : MILLET_NO_MEMORY;
    if (status) millet_choice_scores_free(scores);
    return status;
}

void millet_choice_scores_free(millet_choice_scores **scores)
{
    struct tables *t = (struct tables *)*scores;
    *scores = NULL;
    if (!t) return;
    millet_allocator allocator = t->allocator;
    mlt_arena_release(&t->arena);
    mlt_free(&allocator, t);
}
