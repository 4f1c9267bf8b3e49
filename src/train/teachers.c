/* Teachers and their probabilities. SPDX-License-Identifier: Apache-2.0 */
#include "train/teachers.h"

#include "corpus/checksum.h"
#include "corpus/corpus_tokenizer.h"
#include "import/open_any.h"
#include "train/pass_state.h"

#include <math.h>
#include <string.h>
#include <zlib.h>

/* Probabilities that exist at a time, in values (16 MB), but for this many rows at least. */
enum { CHUNK_VALUES = 1 << 22, CHUNK_LEAST_ROWS = 16 };

/* ---- What they are ---- */

static uint64_t sum_meta(uint64_t sum, const struct mlt_meta *meta)
{
    sum = mlt_checksum_text(sum, meta->key.data, meta->key.length);
    if (meta->type == MLT_META_STRING)
        return mlt_checksum_text(sum, meta->value.string.data, meta->value.string.length);
    return mlt_checksum(sum, &meta->value.u, sizeof meta->value.u);
}

static uint64_t sum_files(const struct mlt_checkpoint *checkpoint)
{
    uint64_t sum = MLT_CHECKSUM_START;
    for (size_t i = 0; i < checkpoint->n_maps; i++) {
        const struct mlt_file_map *map = &checkpoint->maps[i];
        uLong crc = 0;
        for (uint64_t done = 0; done < map->size;) {
            uint64_t part = MLT_MIN(map->size - done, (uint64_t)1 << 30);
            crc = crc32(crc, map->data + done, (uInt)part);
            done += part;
        }
        uint64_t numbers[] = {map->size, crc};
        sum = mlt_checksum(sum, numbers, sizeof numbers);
    }
    /* What a folder's configuration says is in no map. */
    for (size_t i = 0; i < checkpoint->n_metas; i++) {
        const struct mlt_meta *meta = &checkpoint->metas[i];
        if (strncmp(meta->key.data, "tokenizer.", 10) != 0 && strncmp(meta->key.data, "general.", 8) != 0 &&
            meta->type != MLT_META_ARRAY)
            sum = sum_meta(sum, meta);
    }
    return sum;
}

static millet_status check_teacher(const struct mlt_trainable *t, const struct mlt_teachers_options *o,
                                   millet_error *err)
{
    const char *path = t->checkpoint->path;
    if (o->tokenizer_checksum != mlt_tokenizer_checksum(t->checkpoint))
        return mlt_fail_at(err, MILLET_BAD_ARGUMENT, path, NULL, MILLET_NO_OFFSET,
                           "the teacher has another tokenizer than %.200s", o->data);
    if (t->config.n_vocab < o->n_vocab)
        return mlt_fail_at(err, MILLET_BAD_ARGUMENT, path, NULL, MILLET_NO_OFFSET,
                           "the teacher has %d tokens, %.200s has %d", t->config.n_vocab, o->data,
                           o->n_vocab);
    return MILLET_OK;
}

/* ---- Opening ---- */

static millet_status open_teacher(struct mlt_teachers *t, const struct mlt_teachers_options *o, size_t i,
                                  millet_error *err)
{
    struct mlt_checkpoint *checkpoint = NULL;
    if (!o->paths[i]) return mlt_fail(err, MILLET_BAD_ARGUMENT, "a teacher has no name");
    MLT_TRY(mlt_open_any(&t->allocator, o->paths[i], NULL, &checkpoint, err));
    uint64_t sum = sum_files(checkpoint);
    t->checksum = mlt_checksum(t->checksum, &sum, sizeof sum);
    MLT_TRY(o->estimate ? mlt_trainable_open(&t->allocator, checkpoint, MLT_DTYPE_LIMIT, &t->models[i], err)
                        : mlt_trainable_open_frozen(&t->allocator, checkpoint, &t->models[i], err));
    t->n++;
    MLT_TRY(check_teacher(t->models[i], o, err));
    t->wide = MLT_MAX(t->wide, (int64_t)t->models[i]->config.n_vocab);
    if (o->estimate) return MILLET_OK;
    millet_status status = mlt_pass_open(&t->allocator, t->models[i], &o->pass, &t->passes[i], err);
    if (status != MILLET_OK) mlt_error_in_file(err, t->models[i]->checkpoint->path);
    return status;
}

static int64_t widest(const struct mlt_teachers *t)
{
    int64_t width = 0;
    for (size_t i = 0; i < t->n; i++)
        width = MLT_MAX(width, (int64_t)t->models[i]->config.n_embd);
    return width;
}

millet_status mlt_teachers_open(const millet_allocator *allocator, const struct mlt_teachers_options *o,
                                struct mlt_teachers *t, millet_error *err)
{
    *t = (struct mlt_teachers){
        .allocator = *allocator, .temperature = o->temperature, .checksum = MLT_CHECKSUM_START};
    if (o->n < 1 || o->n > MLT_TEACHERS_MOST || !o->paths)
        return mlt_fail_at(err, MILLET_BAD_ARGUMENT, NULL, "teachers", MILLET_NO_OFFSET,
                           "1 to %d teachers are possible", (int)MLT_TEACHERS_MOST);
    for (size_t i = 0; i < o->n; i++)
        MLT_TRY(open_teacher(t, o, i, err));
    int64_t tokens = (int64_t)o->pass.rows * o->pass.length;
    t->chunk_rows = MLT_MIN(tokens, MLT_MAX((int64_t)CHUNK_LEAST_ROWS, CHUNK_VALUES / t->wide));
    if (o->estimate) return MILLET_OK;
    size_t rows = (size_t)t->chunk_rows;
    t->input = mlt_alloc(allocator, rows * (size_t)widest(t), sizeof(float), err);
    t->logits = mlt_alloc(allocator, rows * (size_t)t->wide, sizeof(float), err);
    return t->input && t->logits ? MILLET_OK : MILLET_NO_MEMORY;
}

void mlt_teachers_close(struct mlt_teachers *t)
{
    for (size_t i = 0; i < t->n; i++) {
        mlt_pass_close(&t->passes[i]);
        mlt_trainable_close(&t->models[i]);
    }
    if (t->input) mlt_free(&t->allocator, t->input);
    if (t->logits) mlt_free(&t->allocator, t->logits);
    memset(t, 0, sizeof *t);
}

millet_status mlt_teachers_bytes(const struct mlt_teachers *t, const struct mlt_pass_options *pass,
                                 uint64_t *bytes, millet_error *err)
{
    *bytes = (uint64_t)(t->chunk_rows * (widest(t) + t->wide)) * sizeof(float);
    for (size_t i = 0; i < t->n; i++) {
        uint64_t activations;
        MLT_TRY(mlt_pass_estimate(&t->models[i]->config, pass, &activations, err));
        *bytes += activations + (uint64_t)t->models[i]->n_values * sizeof(float);
    }
    return MILLET_OK;
}

/* ---- Running ---- */

millet_status mlt_teachers_forward(struct mlt_teachers *t, const struct mlt_batch *batch, millet_error *err)
{
    for (size_t i = 0; i < t->n; i++)
        MLT_TRY(mlt_pass_forward(t->passes[i], batch, err));
    return MILLET_OK;
}

struct softening {
    const struct mlt_teachers *teachers;
    const struct mlt_ops *ops;
    struct mlt_cross_entropy how;
    float *p;
    double *entropy; /* or NULL */
};

static void soften_rows(const void *argument, int64_t begin, int64_t end)
{
    const struct softening *s = argument;
    const struct mlt_teachers *t = s->teachers;
    for (int64_t i = begin; i < end; i++) {
        double entropy = s->ops->soften(&s->how, t->temperature, 1 / (float)t->n,
                                        t->logits + i * s->how.n_vocab, s->p + i * t->wide);
        if (s->entropy) s->entropy[i] = entropy;
    }
}

/* Of the mean of several, which does not follow from theirs. */
static void measure_rows(const void *argument, int64_t begin, int64_t end)
{
    const struct softening *s = argument;
    int64_t wide = s->teachers->wide;
    for (int64_t i = begin; i < end; i++) {
        double sum = 0;
        for (int64_t j = 0; j < wide; j++) {
            double p = (double)s->p[i * wide + j];
            if (p > 0) sum += p * log(p);
        }
        s->entropy[i] = sum;
    }
}

static millet_status soften_one(struct mlt_teachers *t, size_t index, const int64_t *row, int64_t n, float *p,
                                double *entropy, millet_error *err)
{
    struct mlt_pass *pass = t->passes[index];
    const struct mlt_trainable *model = pass->model;
    const struct mlt_config *c = &model->config;
    struct softening s = {.teachers = t, .ops = pass->workers.ops, .p = p, .entropy = entropy};
    s.how = (struct mlt_cross_entropy){
        .n_vocab = c->n_vocab, .logit_scale = c->logit_scale, .softcap = c->logit_softcap};
    for (int64_t i = 0; i < n; i++)
        memcpy(t->input + i * c->n_embd, pass->hidden + row[i] * c->n_embd,
               (size_t)c->n_embd * sizeof(float));
    mlt_pass_linear(pass, t->input, n, model->output, model->output_bias, false, t->logits);
    mlt_for_range(&pass->workers, n, 1, soften_rows, &s);
    /* One number that is none makes all of its row none. */
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(p[i * t->wide]))
            return mlt_fail_at(err, MILLET_BAD_FORMAT, model->checkpoint->path, NULL, MILLET_NO_OFFSET,
                               "the teacher's logits are not finite numbers");
    return MILLET_OK;
}

millet_status mlt_teachers_soften(struct mlt_teachers *t, const int64_t *row, int64_t n, float *p,
                                  double *entropy, millet_error *err)
{
    memset(p, 0, (size_t)(n * t->wide) * sizeof *p);
    for (size_t i = 0; i < t->n; i++)
        MLT_TRY(soften_one(t, i, row, n, p, entropy, err));
    struct softening s = {.teachers = t, .p = p, .entropy = entropy};
    if (entropy && t->n > 1) mlt_for_range(&t->passes[0]->workers, n, 1, measure_rows, &s);
    return MILLET_OK;
}
