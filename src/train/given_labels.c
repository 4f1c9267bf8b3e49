/* See given_labels.h. SPDX-License-Identifier: Apache-2.0 */
#include "train/given_labels.h"

#include "corpus/permutation.h"
#include "corpus/record_reader.h"
#include "model/vocabulary.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct reading {
    struct mlt_given_labels *labels;
    struct mlt_tokenizer *tokenizer;
    int32_t bos; /* that begins every prompt, or -1 */
    const char *path;
    uint64_t line;
};

/* Different prompts have different keys but for one chance in 2^64. */
static uint64_t add_to_key(uint64_t key, int32_t token)
{
    return mlt_mix64(key ^ ((uint64_t)(uint32_t)token + UINT64_C(0x9E3779B97F4A7C15)));
}

static millet_status bad_line(const struct reading *r, const char *what, millet_error *err)
{
    return mlt_fail_at(err, MILLET_BAD_FORMAT, r->path, NULL, MILLET_NO_OFFSET, "line %llu: %s",
                       (unsigned long long)r->line, what);
}

static millet_status key_of(struct reading *r, const json_t *prompt, uint64_t *key, millet_error *err)
{
    int32_t *ids;
    size_t count;
    MLT_TRY(mlt_tokenize(r->tokenizer, &r->labels->allocator, json_string_value(prompt),
                         json_string_length(prompt), MLT_TOKENIZE_SPECIAL, &ids, &count, err));
    *key = r->bos >= 0 ? add_to_key(0, r->bos) : 0;
    for (size_t i = 0; i < count; i++)
        *key = add_to_key(*key, ids[i]);
    mlt_free(&r->labels->allocator, ids);
    return MILLET_OK;
}

static millet_status add_value(struct mlt_given_labels *l, int32_t id, float p, millet_error *err)
{
    void *ids = l->ids, *values = l->p;
    millet_status status = mlt_grow(&l->allocator, &ids, &l->id_capacity, l->n_values, sizeof *l->ids, err);
    l->ids = ids;
    if (!status) status = mlt_grow(&l->allocator, &values, &l->p_capacity, l->n_values, sizeof *l->p, err);
    l->p = values;
    MLT_TRY(status);
    l->ids[l->n_values] = id;
    l->p[l->n_values++] = p;
    return MILLET_OK;
}

static millet_status read_values(struct reading *r, json_t *values, struct mlt_given_label *label,
                                 millet_error *err)
{
    struct mlt_given_labels *l = r->labels;
    const char *text;
    json_t *value;
    double sum = 0;
    json_object_foreach (values, text, value) {
        double p = json_is_number(value) ? json_number_value(value) : -1;
        int32_t id = mlt_tokenizer_find(r->tokenizer, text, strlen(text));
        if (id < 0) return bad_line(r, "a name in \"probabilities\" is no token of the vocabulary", err);
        if (!(p >= 0 && p <= 1)) return bad_line(r, "a probability is not between 0 and 1", err);
        MLT_TRY(add_value(l, id, (float)p, err));
        label->count++;
        sum += p;
    }
    if (!(sum > 0)) return bad_line(r, "the probabilities are all 0", err);
    for (uint32_t i = 0; i < label->count; i++)
        l->p[label->first + i] = (float)((double)l->p[label->first + i] / sum);
    return MILLET_OK;
}

static millet_status read_line(struct reading *r, const json_t *line, millet_error *err)
{
    struct mlt_given_labels *l = r->labels;
    const json_t *prompt = json_object_get(line, "prompt");
    json_t *values = json_object_get(line, "probabilities");
    if (!json_is_string(prompt) || !json_is_object(values))
        return bad_line(r, "needs \"prompt\", a text, and \"probabilities\", an object", err);
    struct mlt_given_label label = {.first = l->n_values};
    MLT_TRY(key_of(r, prompt, &label.key, err));
    MLT_TRY(read_values(r, values, &label, err));
    void *labels = l->labels;
    millet_status status =
        mlt_grow(&l->allocator, &labels, &l->label_capacity, l->n_labels, sizeof *l->labels, err);
    l->labels = labels;
    MLT_TRY(status);
    l->labels[l->n_labels++] = label;
    return MILLET_OK;
}

static millet_status read_lines(struct reading *r, millet_error *err)
{
    struct mlt_record_reader *reader;
    const millet_source_options options = {0};
    MLT_TRY(mlt_record_reader_open(&r->labels->allocator, r->path, &options, &reader, err));
    millet_status status;
    bool found;
    do {
        struct mlt_raw_record raw;
        status = mlt_record_reader_next(reader, &raw, &found, err);
        if (status || !found) break;
        r->line = raw.line;
        json_t *line = raw.json ? json_loadb(raw.text, raw.length, JSON_ALLOW_NUL, NULL) : NULL;
        status = json_is_object(line) ? read_line(r, line, err) : bad_line(r, "is no JSON object", err);
        json_decref(line);
    } while (!status);
    mlt_record_reader_close(&reader);
    return status;
}

/* Whether label `index` says the same as the one before it. */
static bool same_values(const struct mlt_given_labels *l, size_t index)
{
    const struct mlt_given_label *a = &l->labels[index - 1], *b = &l->labels[index];
    return a->count == b->count &&
           memcmp(l->ids + a->first, l->ids + b->first, a->count * sizeof *l->ids) == 0 &&
           memcmp(l->p + a->first, l->p + b->first, a->count * sizeof *l->p) == 0;
}

static int by_key(const void *a, const void *b)
{
    const struct mlt_given_label *x = a, *y = b;
    return (x->key > y->key) - (x->key < y->key);
}

millet_status mlt_given_labels_open(const millet_allocator *allocator, const char *path,
                                    const struct mlt_checkpoint *checkpoint, struct mlt_given_labels *out,
                                    millet_error *err)
{
    *out = (struct mlt_given_labels){.allocator = *allocator};
    struct reading r = {.labels = out, .path = path, .bos = -1};
    int32_t bos, eos;
    bool add_bos, add_eos;
    MLT_TRY(mlt_vocabulary_open(allocator, checkpoint, &r.tokenizer, &bos, &eos, &add_bos, &add_eos, err));
    if (!r.tokenizer)
        return mlt_fail_at(err, MILLET_BAD_ARGUMENT, checkpoint->path, NULL, MILLET_NO_OFFSET,
                           "has no tokenizer, with which labels could be read");
    if (add_bos) r.bos = bos;
    millet_status status = read_lines(&r, err);
    mlt_tokenizer_close(&r.tokenizer);
    MLT_TRY(status);
    if (out->n_labels) qsort(out->labels, out->n_labels, sizeof *out->labels, by_key);
    for (size_t i = 1; i < out->n_labels; i++)
        if (out->labels[i].key == out->labels[i - 1].key && !same_values(out, i))
            return mlt_fail_at(err, MILLET_BAD_FORMAT, path, NULL, MILLET_NO_OFFSET,
                               "a prompt has two lines that differ: which is right?");
    return MILLET_OK;
}

void mlt_given_labels_close(struct mlt_given_labels *l)
{
    if (!l->allocator.allocate) return;
    mlt_free(&l->allocator, l->labels);
    mlt_free(&l->allocator, l->ids);
    mlt_free(&l->allocator, l->p);
    memset(l, 0, sizeof *l);
}

/* The document that holds token `number`. */
static uint64_t document_of(const millet_cache *cache, uint64_t number)
{
    uint64_t low = 0, high = cache->trailer.n_documents;
    while (high - low > 1) {
        uint64_t middle = low + (high - low) / 2;
        if (cache->documents[middle] <= number)
            low = middle;
        else
            high = middle;
    }
    return low;
}

const struct mlt_given_label *mlt_given_labels_find(const struct mlt_given_labels *l,
                                                    const millet_cache *cache, uint64_t number)
{
    if (l->n_labels == 0 || !cache->prefixes) return NULL;
    uint64_t document = document_of(cache, number), first = cache->documents[document];
    if (cache->prefixes[document] == 0 || number != first + cache->prefixes[document] - 1) return NULL;
    struct mlt_given_label wanted = {0};
    for (uint64_t i = first; i <= number; i++)
        wanted.key = add_to_key(wanted.key, (int32_t)mlt_cache_token(cache, i));
    return bsearch(&wanted, l->labels, l->n_labels, sizeof *l->labels, by_key);
}

void mlt_given_labels_mix(const struct mlt_given_labels *l, const struct mlt_given_label *label, float weight,
                          float temperature, float *p, int64_t width)
{
    const float *given = l->p + label->first;
    const int32_t *ids = l->ids + label->first;
    double sum = 0, power = 1 / (double)temperature;
    for (int64_t i = 0; i < width; i++)
        p[i] *= 1 - weight;
    for (uint32_t i = 0; i < label->count; i++)
        sum += pow((double)given[i], power);
    for (uint32_t i = 0; i < label->count; i++)
        p[ids[i]] += (float)((double)weight * pow((double)given[i], power) / sum);
}
