/* Teachers of a training: from files, or beside the student. SPDX-License-Identifier: Apache-2.0 */
#include "train/teaching.h"

#include "corpus/corpus_tokenizer.h"
#include "corpus/token_cache.h"
#include "train/trainer.h"

#include <math.h>
#include <string.h>

/* Probabilities that exist at a time, in values, as logits do in loss.c. */
enum { CHUNK_VALUES = 1 << 24, CHUNK_LEAST_ROWS = 128 };

static bool is_wanted(const millet_distillation *d)
{
    return d->outputs || d->n_teachers;
}

static millet_status wrong(millet_error *err, const char *option, const char *what)
{
    return mlt_fail_at(err, MILLET_BAD_ARGUMENT, NULL, option, MILLET_NO_OFFSET, "%s", what);
}

millet_status mlt_teaching_check(const millet_train_options *o, millet_error *err)
{
    enum { MOST_MATCHES = 64 };
    const millet_distillation *d = &o->distil;
    if (d->n_hidden && !d->n_teachers)
        return wrong(err, "hidden", "hidden states need a teacher that runs beside the student");
    if (d->n_attention && !d->n_teachers)
        return wrong(err, "attention", "attention is matched with a teacher that runs beside the student");
    if (!is_wanted(d)) return MILLET_OK;
    if (d->outputs && d->n_teachers)
        return wrong(err, "teachers", "teachers speak from files or run beside the student, not both");
    if (d->n_teachers > MLT_TEACHERS_MOST || (d->n_teachers && !d->teachers))
        return wrong(err, "teachers", "1 to 16 teachers are possible");
    if (!(d->alpha >= 0 && d->alpha <= 1)) return wrong(err, "alpha", "it is a part of the loss, 0 to 1");
    if (!(d->temperature >= 0.01f && d->temperature <= 100))
        return wrong(err, "temperature", "0.01 to 100 is possible");
    if (d->top_k < 0) return wrong(err, "top_k", "at least 1 token is kept, or 0 for all");
    if (d->n_hidden > MOST_MATCHES || (d->n_hidden && !d->hidden))
        return wrong(err, "hidden", "0 to 64 matches of layers are possible");
    if (!(d->hidden_weight >= 0 && d->hidden_weight <= 1e6f))
        return wrong(err, "hidden_weight", "0 to 1000000 is possible");
    if (d->n_attention > MOST_MATCHES || (d->n_attention && !d->attention))
        return wrong(err, "attention", "0 to 64 matches of layers are possible");
    if (!(d->attention_weight >= 0 && d->attention_weight <= 1e6f))
        return wrong(err, "attention_weight", "0 to 1000000 is possible");
    if (d->attention_heads < 0)
        return wrong(err, "attention_heads",
                     "at least 1 head is needed, or 0 for as many as key heads allow");
    return MILLET_OK;
}

/* ---- Beside the student ---- */

static struct mlt_pass_options pass_options(const millet_train_options *o)
{
    struct mlt_pass_options pass = mlt_trainer_pass_options(o);
    pass.recompute = pass.backward = false;
    pass.rank = 0;
    return pass;
}

millet_status mlt_teaching_start(const millet_allocator *allocator, const millet_train_options *o,
                                 const struct mlt_checkpoint *student, bool estimate, struct mlt_teaching *t,
                                 millet_error *err)
{
    *t = (struct mlt_teaching){.allocator = *allocator, .options = o};
    if (!o->distil.n_teachers) return MILLET_OK;
    const struct mlt_meta *tokens = mlt_checkpoint_meta(student, "tokenizer.ggml.tokens");
    struct mlt_teachers_options options = {
        .paths = o->distil.teachers,
        .n = o->distil.n_teachers,
        .temperature = o->distil.temperature,
        .pass = pass_options(o),
        .tokenizer_checksum = mlt_tokenizer_checksum(student),
        .n_vocab = tokens && tokens->count <= INT32_MAX ? (int32_t)tokens->count : 0,
        .data = student->path,
        .estimate = estimate};
    MLT_TRY(mlt_teachers_open(allocator, &options, &t->teachers, err));
    return mlt_match_make_maps(t, student, err);
}

millet_status mlt_teaching_begin(struct mlt_teaching *t, const struct mlt_batch *batch, millet_error *err)
{
    return t->teachers.n ? mlt_teachers_forward(&t->teachers, batch, err) : MILLET_OK;
}

/* Gives a row the student's width: what the teachers have beyond it has no place. */
static void fit_row(float *p, int64_t wide, int64_t n_vocab, double *entropy)
{
    double sum = 0, along = 0;
    for (int64_t i = 0; i < MLT_MIN(wide, n_vocab); i++)
        sum += (double)p[i];
    for (int64_t i = 0; i < n_vocab; i++) {
        p[i] = i < wide ? (float)((double)p[i] / sum) : 0;
        if (p[i] > 0) along += (double)p[i] * log((double)p[i]);
    }
    *entropy = along;
}

static millet_status ask_teachers(void *context, const struct mlt_batch *batch, const int64_t *row, int64_t n,
                                  struct mlt_soft_target *out, millet_error *err)
{
    struct mlt_teaching *t = context;
    int64_t wide = t->teachers.wide;
    (void)batch;
    MLT_TRY(mlt_teachers_soften(&t->teachers, row, n, t->p, t->entropy, err));
    /* Rows of the teachers' width become rows of the student's, in place: from the last where they grow. */
    for (int64_t j = 0; wide != t->n_vocab && j < n; j++) {
        int64_t i = wide < t->n_vocab ? n - 1 - j : j;
        memmove(t->p + i * t->n_vocab, t->p + i * wide, (size_t)MLT_MIN(wide, t->n_vocab) * sizeof *t->p);
        fit_row(t->p + i * t->n_vocab, wide, t->n_vocab, &t->entropy[i]);
    }
    for (int64_t i = 0; i < n; i++)
        out[i] = (struct mlt_soft_target){
            .p = t->p + i * t->n_vocab, .k = t->n_vocab, .negative_entropy = t->entropy[i]};
    return MILLET_OK;
}

static millet_status open_online(struct mlt_teaching *t, millet_error *err)
{
    size_t rows = (size_t)t->teachers.chunk_rows;
    t->width = MLT_MAX(t->teachers.wide, t->n_vocab);
    t->p = mlt_alloc(&t->allocator, rows * (size_t)t->width, sizeof *t->p, err);
    t->entropy = mlt_alloc(&t->allocator, rows, sizeof *t->entropy, err);
    if (!t->p || !t->entropy) return MILLET_NO_MEMORY;
    t->labels = (struct mlt_soft_labels){t, t->teachers.chunk_rows, ask_teachers};
    return MILLET_OK;
}

/* ---- From files ---- */

static int64_t chunk_rows(int64_t width, int64_t tokens)
{
    return MLT_MIN(tokens, MLT_MAX((int64_t)CHUNK_LEAST_ROWS, CHUNK_VALUES / width));
}

static millet_status read_rows(void *context, const struct mlt_batch *batch, const int64_t *row, int64_t n,
                               struct mlt_soft_target *out, millet_error *err)
{
    struct mlt_teaching *t = context;
    for (int64_t i = 0; i < n; i++) {
        uint64_t source = batch->source[row[i]];
        out[i].p = NULL;
        if (source == MLT_NO_SOURCE) continue;
        const struct mlt_teacher_file *file = &t->files[mlt_source_part(source)];
        uint64_t number = mlt_teacher_index_find(&file->index, mlt_source_token(source));
        if (number == UINT64_MAX) continue;
        MLT_TRY(mlt_teacher_file_read(file, number, t->n_vocab, t->p + i * t->width,
                                      t->ids ? t->ids + i * t->width : NULL, &out[i], err));
        out[i].scratch = t->scratch ? t->scratch + i * t->width : NULL;
    }
    return MILLET_OK;
}

static millet_status open_file(struct mlt_teaching *t, const char *path, const millet_cache *cache,
                               millet_error *err)
{
    millet_cache_info of_cache;
    millet_teacher_info info;
    struct mlt_teacher_file *file = &t->files[t->n_files];
    float temperature = t->options->distil.temperature;
    if (!path) return mlt_fail(err, MILLET_BAD_ARGUMENT, "a file of teacher outputs has no name");
    MLT_TRY(mlt_teacher_file_open(path, true, file, err));
    t->n_files++;
    mlt_teacher_describe(&file->header, &info);
    millet_cache_get_info(cache, &of_cache);
    if (info.cache_checksum != of_cache.checksum || file->header.n_tokens != of_cache.n_tokens ||
        info.n_vocab != of_cache.n_vocab)
        return mlt_fail_at(err, MILLET_BAD_ARGUMENT, path, NULL, MILLET_NO_OFFSET,
                           "the teacher outputs were made for another token cache than %.200s", cache->path);
    if (info.temperature != temperature)
        return mlt_fail_at(err, MILLET_BAD_ARGUMENT, path, "temperature", MILLET_NO_OFFSET,
                           "the teacher outputs were made at a temperature of %g, not %g",
                           (double)info.temperature, (double)temperature);
    return MILLET_OK;
}

static millet_status open_files(struct mlt_teaching *t, const struct mlt_training_data *data,
                                millet_error *err)
{
    const millet_train_options *o = t->options;
    bool some = false;
    t->files = mlt_alloc_zero(&t->allocator, data->n_caches, sizeof *t->files, err);
    if (!t->files) return MILLET_NO_MEMORY;
    for (size_t i = 0; i < data->n_caches; i++) {
        MLT_TRY(open_file(t, o->distil.outputs[i], data->caches[i], err));
        const struct mlt_teacher_header *h = &t->files[i].header;
        bool all = h->top_k == h->n_vocab;
        some = some || !all;
        t->width = MLT_MAX(t->width, all ? t->n_vocab : (int64_t)h->top_k);
    }
    int64_t rows = chunk_rows(t->width, (int64_t)o->rows * o->length);
    size_t values = (size_t)(rows * t->width);
    t->p = mlt_alloc(&t->allocator, values, sizeof *t->p, err);
    if (some) t->ids = mlt_alloc(&t->allocator, values, sizeof *t->ids, err);
    if (some) t->scratch = mlt_alloc(&t->allocator, values, sizeof *t->scratch, err);
    if (!t->p || (some && (!t->ids || !t->scratch))) return MILLET_NO_MEMORY;
    t->labels = (struct mlt_soft_labels){t, rows, read_rows};
    return MILLET_OK;
}

/* ---- Both ---- */

millet_status mlt_teaching_open(struct mlt_teaching *t, const struct mlt_training_data *data,
                                const struct mlt_trainable *student, millet_error *err)
{
    if (!t->options) return MILLET_OK; /* nothing was started */
    t->n_vocab = student->config.n_vocab;
    if (t->options->distil.outputs) return open_files(t, data, err);
    if (!t->teachers.n) return MILLET_OK;
    MLT_TRY(open_online(t, err));
    MLT_TRY(mlt_match_open(t, student, err));
    return mlt_relations_open(t, student, err);
}

void mlt_teaching_close(struct mlt_teaching *t)
{
    if (!t->options) return;
    for (size_t i = 0; i < t->n_files; i++)
        mlt_teacher_file_close(&t->files[i]);
    mlt_match_close(t);
    mlt_relations_close(t);
    mlt_teachers_close(&t->teachers);
    mlt_free(&t->allocator, t->files);
    mlt_free(&t->allocator, t->entropy);
    mlt_free(&t->allocator, t->p);
    mlt_free(&t->allocator, t->ids);
    mlt_free(&t->allocator, t->scratch);
    memset(t, 0, sizeof *t);
}

millet_status mlt_teaching_bytes(const struct mlt_teaching *t, const struct mlt_trainable *student,
                                 uint64_t *bytes, millet_error *err)
{
    const millet_train_options *o = t->options;
    *bytes = 0;
    if (!o) return MILLET_OK;
    int64_t tokens = (int64_t)o->rows * o->length, n_vocab = student->config.n_vocab, k = o->distil.top_k;
    if (t->teachers.n) {
        struct mlt_pass_options pass = pass_options(o);
        MLT_TRY(mlt_teachers_bytes(&t->teachers, &pass, bytes, err));
        uint64_t width = (uint64_t)MLT_MAX(t->teachers.wide, n_vocab);
        *bytes += (uint64_t)t->teachers.chunk_rows *
                  (width * sizeof(float) + sizeof(double) + sizeof(struct mlt_soft_target));
        *bytes += mlt_match_bytes(t, student) + mlt_relations_bytes(t, student);
    } else if (o->distil.outputs) {
        bool all = k == 0 || k >= n_vocab;
        int64_t width = all ? n_vocab : k, rows = chunk_rows(width, tokens);
        *bytes = (uint64_t)(rows * width) * (all ? 1 : 3) * sizeof(float) +
                 (uint64_t)rows * sizeof(struct mlt_soft_target) + (uint64_t)tokens * sizeof(uint64_t);
    }
    return MILLET_OK;
}

millet_status mlt_teaching_describe(const struct mlt_teaching *t, struct mlt_text *out, millet_error *err)
{
    const millet_train_options *o = t->options;
    if (!o || !is_wanted(&o->distil)) return MILLET_OK;
    const millet_distillation *d = &o->distil;
    MLT_TRY(
        mlt_text_printf(out, err, "alpha=%a\ntemperature=%a\n", (double)d->alpha, (double)d->temperature));
    for (size_t i = 0; d->outputs && i < o->n_data; i++)
        MLT_TRY(mlt_text_printf(out, err, "teacher outputs %zu=%016llx\n", i + 1,
                                (unsigned long long)t->files[i].header.header_checksum));
    if (d->n_teachers)
        MLT_TRY(mlt_text_printf(out, err, "teachers=%016llx\n", (unsigned long long)t->teachers.checksum));
    for (size_t i = 0; i < d->n_hidden; i++)
        MLT_TRY(mlt_text_printf(out, err, "hidden %zu=%d:%d\n", i + 1, d->hidden[i].student,
                                d->hidden[i].teacher));
    if (d->n_hidden) MLT_TRY(mlt_text_printf(out, err, "hidden_weight=%a\n", (double)d->hidden_weight));
    for (size_t i = 0; i < d->n_attention; i++)
        MLT_TRY(mlt_text_printf(out, err, "attention %zu=%d:%d\n", i + 1, d->attention[i].student,
                                d->attention[i].teacher));
    if (d->n_attention)
        MLT_TRY(mlt_text_printf(out, err, "attention_weight=%a\nattention_heads=%d\n",
                                (double)d->attention_weight, t->relations.heads));
    return MILLET_OK;
}
