/* Teacher outputs for a training. SPDX-License-Identifier: Apache-2.0 */
#include "train/distil.h"

#include "corpus/token_cache.h"

#include <math.h>
#include <string.h>

/* Probabilities that exist at a time, in values, as logits do in loss.c. */
enum { CHUNK_VALUES = 1 << 24, CHUNK_LEAST_ROWS = 128 };

static millet_status wrong(millet_error *err, const char *option, const char *what)
{
    return mlt_fail_at(err, MILLET_BAD_ARGUMENT, NULL, option, MILLET_NO_OFFSET, "%s", what);
}

millet_status mlt_distil_check(const millet_train_options *o, millet_error *err)
{
    const millet_distillation *d = &o->distil;
    if (!d->outputs) return MILLET_OK;
    if (!(d->alpha >= 0 && d->alpha <= 1)) return wrong(err, "alpha", "it is a part of the loss, 0 to 1");
    if (!(d->temperature >= 0.01f && d->temperature <= 100))
        return wrong(err, "temperature", "0.01 to 100 is possible");
    return d->top_k >= 0 ? MILLET_OK : wrong(err, "top_k", "at least 1 token is kept, or 0 for all");
}

/* ---- Sizes ---- */

static int64_t chunk_rows(int64_t width, int64_t tokens)
{
    return MLT_MIN(tokens, MLT_MAX((int64_t)CHUNK_LEAST_ROWS, CHUNK_VALUES / width));
}

/* Values of p for a position, where the files keep so many tokens. */
static int64_t width_of(int64_t top_k, bool all, const struct mlt_config *student)
{
    return all ? student->n_vocab : top_k;
}

millet_status mlt_distil_bytes(const millet_train_options *o, const struct mlt_config *student,
                               uint64_t *bytes, millet_error *err)
{
    *bytes = 0;
    if (!o->distil.outputs) return MILLET_OK;
    (void)err;
    bool all = o->distil.top_k == 0 || o->distil.top_k >= student->n_vocab;
    int64_t width = width_of(o->distil.top_k, all, student), tokens = (int64_t)o->rows * o->length;
    int64_t rows = chunk_rows(width, tokens);
    *bytes = (uint64_t)(rows * width) * (all ? sizeof(float) : 3 * sizeof(float)) +
             (uint64_t)rows * sizeof(struct mlt_soft_target) + (uint64_t)tokens * sizeof(uint64_t);
    return MILLET_OK;
}

/* ---- Files ---- */

static millet_status read_rows(void *context, const struct mlt_batch *batch, const int64_t *row, int64_t n,
                               struct mlt_soft_target *out, millet_error *err)
{
    struct mlt_distil *d = context;
    for (int64_t i = 0; i < n; i++) {
        uint64_t source = batch->source[row[i]], number = UINT64_MAX;
        out[i].p = NULL;
        if (source == MLT_NO_SOURCE) continue;
        const struct mlt_teacher_file *file = &d->files[mlt_source_part(source)];
        number = mlt_teacher_index_find(&file->index, mlt_source_token(source));
        if (number == UINT64_MAX) continue;
        MLT_TRY(mlt_teacher_file_read(file, number, d->n_vocab, d->p + i * d->width,
                                      d->ids ? d->ids + i * d->width : NULL, &out[i], err));
        out[i].scratch = d->scratch ? d->scratch + i * d->width : NULL;
    }
    return MILLET_OK;
}

static millet_status open_file(struct mlt_distil *d, const char *path, const millet_cache *cache,
                               float temperature, millet_error *err)
{
    millet_cache_info of_cache;
    millet_teacher_info info;
    struct mlt_teacher_file *file = &d->files[d->n_files];
    if (!path) return mlt_fail(err, MILLET_BAD_ARGUMENT, "a file of teacher outputs has no name");
    MLT_TRY(mlt_teacher_file_open(path, true, file, err));
    d->n_files++;
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

millet_status mlt_distil_open(const millet_allocator *allocator, const millet_train_options *o,
                              const struct mlt_training_data *data, const struct mlt_config *student,
                              struct mlt_distil *d, millet_error *err)
{
    *d = (struct mlt_distil){.allocator = *allocator, .n_vocab = student->n_vocab};
    if (!o->distil.outputs) return MILLET_OK;
    bool some = false;
    d->files = mlt_alloc_zero(allocator, data->n_caches, sizeof *d->files, err);
    if (!d->files) return MILLET_NO_MEMORY;
    for (size_t i = 0; i < data->n_caches; i++) {
        MLT_TRY(open_file(d, o->distil.outputs[i], data->caches[i], o->distil.temperature, err));
        const struct mlt_teacher_header *h = &d->files[i].header;
        bool all = h->top_k == h->n_vocab;
        some = some || !all;
        d->width = MLT_MAX(d->width, width_of((int64_t)h->top_k, all, student));
    }
    int64_t rows = chunk_rows(d->width, (int64_t)o->rows * o->length);
    size_t values = (size_t)(rows * d->width);
    d->p = mlt_alloc(allocator, values, sizeof *d->p, err);
    if (some) d->ids = mlt_alloc(allocator, values, sizeof *d->ids, err);
    if (some) d->scratch = mlt_alloc(allocator, values, sizeof *d->scratch, err);
    if (!d->p || (some && (!d->ids || !d->scratch))) return MILLET_NO_MEMORY;
    d->labels = (struct mlt_soft_labels){d, rows, read_rows};
    return MILLET_OK;
}

void mlt_distil_close(struct mlt_distil *d)
{
    if (!d->files) return;
    for (size_t i = 0; i < d->n_files; i++)
        mlt_teacher_file_close(&d->files[i]);
    mlt_free(&d->allocator, d->files);
    mlt_free(&d->allocator, d->p);
    mlt_free(&d->allocator, d->ids);
    mlt_free(&d->allocator, d->scratch);
    memset(d, 0, sizeof *d);
}

millet_status mlt_distil_describe(const struct mlt_distil *d, const millet_train_options *o,
                                  struct mlt_text *out, millet_error *err)
{
    if (!d->labels.context) return MILLET_OK;
    MLT_TRY(mlt_text_printf(out, err, "alpha=%a\ntemperature=%a\n", (double)o->distil.alpha,
                            (double)o->distil.temperature));
    for (size_t i = 0; i < o->n_data; i++)
        MLT_TRY(mlt_text_printf(out, err, "teacher outputs %zu=%016llx\n", i + 1,
                                (unsigned long long)d->files[i].header.header_checksum));
    return MILLET_OK;
}
