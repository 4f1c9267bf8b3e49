/* Scores of understanding commands. SPDX-License-Identifier: Apache-2.0 */
#include "base/file.h"
#include "corpus/record_reader.h"
#include "eval/statistics.h"
#include "millet/understand.h"
#include "model/model.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* What was made of an utterance. */
struct outcome {
    float probability; /* of the most probable intent but for the outside one */
    bool outside;      /* the record is outside of all skills */
    bool right, whole; /* the intent, and all slots with it */
};

struct measurement {
    millet_allocator allocator;
    millet_nlu_options options;
    const char *path;
    millet_understander *understander;
    struct outcome *outcomes;
    size_t n, capacity;
    millet_nlu_scores *scores;
    struct mlt_writer *predictions; /* NULL: none */
    uint64_t line;
};

/* ---- A record ---- */

static millet_status bad_record(const struct measurement *m, const char *what, millet_error *err)
{
    return mlt_fail_at(err, MILLET_BAD_FORMAT, m->path, NULL, MILLET_NO_OFFSET, "line %llu: %s",
                       (unsigned long long)m->line, what);
}

static millet_status check_set(struct measurement *m, const json_t *record, millet_error *err)
{
    const char *set = m->options.set ? m->options.set : json_string_value(json_object_get(record, "set"));
    millet_nlu_scores *scores = m->scores;
    if (!set) return bad_record(m, "has no \"set\", and none was given", err);
    if (strlen(set) >= sizeof scores->set) return bad_record(m, "the name of its set is too long", err);
    if (!scores->set[0])
        strcpy(scores->set, set);
    else if (strcmp(scores->set, set) != 0)
        return mlt_fail_at(err, MILLET_BAD_ARGUMENT, m->path, NULL, MILLET_NO_OFFSET,
                           "line %llu is of the set %s, those before it of %s; one set a file",
                           (unsigned long long)m->line, set, scores->set);
    return MILLET_OK;
}

static bool same_slot(const millet_slot *slot, const json_t *expected)
{
    const char *name = json_string_value(json_object_get(expected, "name"));
    return name && strcmp(slot->name, name) == 0 &&
           json_integer_value(json_object_get(expected, "start")) == (json_int_t)slot->start &&
           json_integer_value(json_object_get(expected, "end")) == (json_int_t)slot->end;
}

/* How many of the expected slots were found. */
static int64_t count_right(const millet_understanding *u, const json_t *expected)
{
    int64_t right = 0;
    size_t i;
    json_t *slot;
    json_array_foreach (expected, i, slot) {
        bool found = false;
        for (int32_t j = 0; j < u->n_slots && !found; j++)
            found = same_slot(&u->slots[j], slot);
        right += found;
    }
    return right;
}

static millet_status write_prediction(struct measurement *m, json_t *record, const millet_understanding *u,
                                      const millet_intent *intent, millet_error *err)
{
    if (!m->predictions) return MILLET_OK;
    json_t *slots = json_array(), *understood;
    for (int32_t i = 0; i < u->n_slots; i++)
        json_array_append_new(slots,
                              json_pack("{s:s,s:I,s:I,s:f}", "name", u->slots[i].name, "start",
                                        (json_int_t)u->slots[i].start, "end", (json_int_t)u->slots[i].end,
                                        "probability", (double)u->slots[i].probability));
    understood = json_pack("{s:s,s:f,s:o}", "intent", intent->name, "probability",
                           (double)intent->probability, "slots", slots);
    if (!understood || json_object_set_new(record, "understood", understood)) {
        return mlt_fail(err, MILLET_NO_MEMORY, "no memory for a prediction");
    }
    char *text = json_dumps(record, JSON_COMPACT | JSON_SORT_KEYS);
    if (!text) return mlt_fail(err, MILLET_NO_MEMORY, "no memory for a prediction");
    millet_status status = mlt_writer_write(m->predictions, text, strlen(text), err);
    if (!status) status = mlt_writer_write(m->predictions, "\n", 1, err);
    free(text);
    return status;
}

static millet_status measure_record(struct measurement *m, json_t *record, millet_error *err)
{
    const json_t *text = json_object_get(record, "text"), *intent = json_object_get(record, "intent");
    const json_t *slots = json_object_get(record, "slots");
    if (!json_is_string(text) || !json_is_string(intent) || (slots && !json_is_array(slots)))
        return bad_record(m, "needs \"text\", \"intent\" and, where there are any, \"slots\"", err);
    MLT_TRY(check_set(m, record, err));
    millet_understanding u;
    millet_status status = millet_understand(m->understander, m->scores->set, json_string_value(text),
                                             json_string_length(text), &u, err);
    if (status == MILLET_BAD_ARGUMENT) return bad_record(m, "has an empty text", err);
    MLT_TRY(status);
    const char *outside = m->options.outside;
    const millet_intent *best = &u.intents[0];
    if (strcmp(best->name, outside) == 0 && u.n_intents > 1) best++;
    void *outcomes = m->outcomes;
    status = mlt_grow(&m->allocator, &outcomes, &m->capacity, m->n, sizeof *m->outcomes, err);
    m->outcomes = outcomes;
    MLT_TRY(status);
    struct outcome *o = &m->outcomes[m->n++];
    int64_t expected = (int64_t)json_array_size(slots), right = count_right(&u, slots);
    o->probability = best->probability;
    o->outside = strcmp(json_string_value(intent), outside) == 0;
    o->right = strcmp(json_string_value(intent), best->name) == 0;
    o->whole = o->right && right == expected && u.n_slots == expected;
    m->scores->n_slots += expected;
    m->scores->n_found += u.n_slots;
    m->scores->n_right += right;
    return write_prediction(m, record, &u, best, err);
}

static millet_status read_records(struct measurement *m, millet_error *err)
{
    struct mlt_record_reader *reader;
    MLT_TRY(mlt_record_reader_open(&m->allocator, m->path, &(millet_source_options){0}, &reader, err));
    millet_status status = MILLET_OK;
    for (;;) {
        struct mlt_raw_record raw;
        bool found;
        status = mlt_record_reader_next(reader, &raw, &found, err);
        if (status || !found) break;
        m->line = raw.line;
        json_t *record = raw.json ? json_loadb(raw.text, raw.length, JSON_ALLOW_NUL, NULL) : NULL;
        status =
            json_is_object(record) ? measure_record(m, record, err) : bad_record(m, "is no JSON object", err);
        json_decref(record);
        if (!status && m->options.progress &&
            !m->options.progress(m->options.context, mlt_record_reader_fraction(reader)))
            status = mlt_fail(err, MILLET_CANCELLED, "cancelled");
        if (status) break;
    }
    if (!status && mlt_record_reader_skipped(reader))
        status = bad_record(m, "there are lines of more than 16 MiB in the file", err);
    mlt_record_reader_close(&reader);
    return status;
}

/* ---- Scores ---- */

static int more_probable(const void *a, const void *b)
{
    const struct outcome *x = a, *y = b;
    return (x->probability < y->probability) - (x->probability > y->probability);
}

/* A share of independent records. */
static millet_interval share(int64_t part, int64_t all)
{
    if (all == 0) return (millet_interval){(double)NAN, (double)NAN, (double)NAN};
    return mlt_wilson_interval((double)part / (double)all, (double)all);
}

/* The threshold, from outcomes sorted by falling probability. */
static void set_threshold(const struct measurement *m, int64_t right)
{
    millet_nlu_scores *s = m->scores;
    double wanted = (double)right - m->options.outside_cost * (double)s->n_inside;
    int64_t kept = 0, accepted = 0;
    size_t i = 0;
    /* All of the same probability are accepted together. */
    while (i < m->n && (double)kept < wanted) {
        float p = m->outcomes[i].probability;
        for (; i < m->n && m->outcomes[i].probability == p; i++) {
            kept += !m->outcomes[i].outside && m->outcomes[i].right;
            accepted += m->outcomes[i].outside;
        }
        s->threshold = (double)p;
    }
    s->intent_at_threshold = (double)kept / (double)s->n_inside;
    s->outside_recall = share(s->n_outside - accepted, s->n_outside);
}

static void score(struct measurement *m)
{
    millet_nlu_scores *s = m->scores;
    int64_t right = 0, whole = 0;
    s->n_records = (int64_t)m->n;
    for (size_t i = 0; i < m->n; i++) {
        const struct outcome *o = &m->outcomes[i];
        s->n_inside += !o->outside;
        s->n_outside += o->outside;
        right += !o->outside && o->right;
        whole += !o->outside && o->whole;
    }
    s->intent = share(right, s->n_inside);
    s->whole = share(whole, s->n_inside);
    s->threshold = s->intent_at_threshold = (double)NAN;
    s->outside_recall = share(0, 0);
    s->slot_precision = s->slot_recall = s->slot_f1 = (double)NAN;
    if (s->n_slots) {
        s->slot_precision = s->n_found ? (double)s->n_right / (double)s->n_found : 0;
        s->slot_recall = (double)s->n_right / (double)s->n_slots;
        s->slot_f1 = 2 * (double)s->n_right / (double)(s->n_found + s->n_slots);
    }
    if (s->n_outside == 0 || s->n_inside == 0) return;
    qsort(m->outcomes, m->n, sizeof *m->outcomes, more_probable);
    set_threshold(m, right);
}

static millet_status measure(struct measurement *m, const millet_model *model, millet_error *err)
{
    const millet_understander_options options = {.allocator = &m->allocator,
                                                 .n_threads = m->options.n_threads,
                                                 .exact_activations = m->options.exact_activations};
    MLT_TRY(millet_understander_open(model, &options, &m->understander, err));
    if (m->options.predictions)
        MLT_TRY(mlt_writer_open(&m->allocator, m->options.predictions, &m->predictions, err));
    MLT_TRY(read_records(m, err));
    if (m->n == 0)
        return mlt_fail_at(err, MILLET_BAD_FORMAT, m->path, NULL, MILLET_NO_OFFSET, "has no record");
    if (m->predictions) MLT_TRY(mlt_writer_commit(&m->predictions, err));
    score(m);
    return MILLET_OK;
}

millet_status millet_nlu_measure(const millet_model *model, const char *path,
                                 const millet_nlu_options *options, millet_nlu_scores *scores,
                                 millet_error *err)
{
    *scores = (millet_nlu_scores){0};
    struct measurement m = {.path = path, .scores = scores};
    if (options) m.options = *options;
    m.allocator = m.options.allocator ? *m.options.allocator : model->allocator;
    if (!m.options.outside) m.options.outside = "oos";
    if (m.options.outside_cost == 0) m.options.outside_cost = 0.02;
    if (!(m.options.outside_cost > 0 && m.options.outside_cost < 1))
        return mlt_fail_at(err, MILLET_BAD_ARGUMENT, NULL, "outside_cost", MILLET_NO_OFFSET,
                           "a share between 0 and 1 is needed");
    millet_status status = measure(&m, model, err);
    mlt_writer_abort(&m.predictions);
    millet_understander_close(&m.understander);
    mlt_free(&m.allocator, m.outcomes);
    return status;
}
