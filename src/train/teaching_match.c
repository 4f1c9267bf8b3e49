/*
 * Matching hidden states: the student's residual stream behind a layer, through a linear map that is learnt,
 * against the teacher's (Romero et al., 2015; Jiao et al., 2020).
 *
 * The error of a position is |W s - t|^2 / |t|^2: in parts of the teacher's square, so that streams of any
 * size, which grow from layer to layer, weigh the same.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "train/teaching.h"

#include "train/pass_state.h"

#include <stdio.h>
#include <string.h>

enum { MATCH_ROWS = 512, MAP_NAME_BYTES = 32 };

static const struct mlt_trainable *first_teacher(const struct mlt_teaching *t)
{
    return t->teachers.models[0];
}

static millet_status check_layer(int32_t layer, int32_t n_layers, const char *whose, millet_error *err)
{
    if (layer >= 0 && layer <= n_layers) return MILLET_OK;
    return mlt_fail_at(err, MILLET_BAD_ARGUMENT, NULL, "hidden", MILLET_NO_OFFSET,
                       "layer %d of the %s: there are 0 (behind the embeddings) to %d", layer, whose,
                       n_layers);
}

millet_status mlt_match_make_maps(struct mlt_teaching *t, const struct mlt_checkpoint *student,
                                  millet_error *err)
{
    const millet_distillation *d = &t->options->distil;
    struct mlt_config config;
    struct mlt_arena arena;
    if (!d->n_hidden) return MILLET_OK;
    mlt_arena_init(&arena, &t->allocator);
    millet_status status = mlt_config_read(&config, student, &arena, err);
    mlt_arena_release(&arena);
    MLT_TRY(status);
    /* The matrices, and behind them their names. */
    t->maps = mlt_alloc_zero(&t->allocator, d->n_hidden, sizeof *t->maps + MAP_NAME_BYTES, err);
    if (!t->maps) return MILLET_NO_MEMORY;
    t->n_maps = d->n_hidden;
    for (size_t i = 0; i < t->n_maps; i++) {
        char *name = (char *)(t->maps + t->n_maps) + i * MAP_NAME_BYTES;
        MLT_TRY(check_layer(d->hidden[i].student, config.n_layers, "student", err));
        MLT_TRY(check_layer(d->hidden[i].teacher, first_teacher(t)->config.n_layers, "teacher", err));
        snprintf(name, MAP_NAME_BYTES, "hidden.%zu", i);
        t->maps[i] = (struct mlt_added_matrix){
            .name = name, .rows = first_teacher(t)->config.n_embd, .columns = config.n_embd};
    }
    return MILLET_OK;
}

/* ---- Memory ---- */

static int64_t batch_tokens(const struct mlt_teaching *t)
{
    return (int64_t)t->options->rows * t->options->length;
}

/* Layers that occur several times are held once. */
static millet_status hold_stream(struct mlt_teaching *t, float **streams, int32_t n, int64_t width,
                                 millet_error *err)
{
    if (streams[n]) return MILLET_OK;
    streams[n] = mlt_alloc_zero(&t->allocator, (size_t)(batch_tokens(t) * width), sizeof **streams, err);
    return streams[n] ? MILLET_OK : MILLET_NO_MEMORY;
}

millet_status mlt_match_open(struct mlt_teaching *t, const struct mlt_trainable *student, millet_error *err)
{
    const millet_distillation *d = &t->options->distil;
    const struct mlt_config *s = &student->config, *c = &first_teacher(t)->config;
    if (!t->n_maps) return MILLET_OK;
    t->match_rows = MLT_MIN(batch_tokens(t), (int64_t)MATCH_ROWS);
    size_t rows = (size_t)t->match_rows;
    t->streams = mlt_alloc_zero(&t->allocator, (size_t)c->n_layers + 1, sizeof *t->streams, err);
    t->d_streams = mlt_alloc_zero(&t->allocator, (size_t)s->n_layers + 1, sizeof *t->d_streams, err);
    t->d_writable = mlt_alloc_zero(&t->allocator, (size_t)s->n_layers + 1, sizeof *t->d_writable, err);
    t->input = mlt_alloc(&t->allocator, rows * (size_t)s->n_embd, sizeof *t->input, err);
    t->d_input = mlt_alloc(&t->allocator, rows * (size_t)s->n_embd, sizeof *t->d_input, err);
    t->mapped = mlt_alloc(&t->allocator, rows * (size_t)c->n_embd, sizeof *t->mapped, err);
    t->errors = mlt_alloc(&t->allocator, rows, sizeof *t->errors, err);
    t->positions = mlt_alloc(&t->allocator, rows, sizeof *t->positions, err);
    if (!t->streams || !t->d_streams || !t->d_writable || !t->input || !t->d_input || !t->mapped ||
        !t->errors || !t->positions)
        return MILLET_NO_MEMORY;
    for (size_t i = 0; i < d->n_hidden; i++) {
        int32_t n = d->hidden[i].student;
        MLT_TRY(hold_stream(t, t->streams, d->hidden[i].teacher, c->n_embd, err));
        MLT_TRY(hold_stream(t, t->d_writable, n, s->n_embd, err));
        t->d_streams[n] = t->d_writable[n];
    }
    t->teachers.passes[0]->streams = t->streams;
    return MILLET_OK;
}

void mlt_match_close(struct mlt_teaching *t)
{
    const millet_distillation *d = &t->options->distil;
    for (size_t i = 0; i < t->n_maps; i++) {
        float **held[2] = {t->streams ? &t->streams[d->hidden[i].teacher] : NULL,
                           t->d_writable ? &t->d_writable[d->hidden[i].student] : NULL};
        for (int j = 0; j < 2; j++) {
            if (!held[j]) continue;
            mlt_free(&t->allocator, *held[j]);
            *held[j] = NULL;
        }
    }
    mlt_free(&t->allocator, t->maps);
    mlt_free(&t->allocator, t->streams);
    mlt_free(&t->allocator, t->d_streams);
    mlt_free(&t->allocator, t->d_writable);
    mlt_free(&t->allocator, t->input);
    mlt_free(&t->allocator, t->d_input);
    mlt_free(&t->allocator, t->mapped);
    mlt_free(&t->allocator, t->errors);
    mlt_free(&t->allocator, t->positions);
}

uint64_t mlt_match_bytes(const struct mlt_teaching *t, const struct mlt_trainable *student)
{
    const millet_distillation *d = &t->options->distil;
    if (!t->n_maps) return 0;
    uint64_t mine = (uint64_t)student->config.n_embd, theirs = (uint64_t)first_teacher(t)->config.n_embd;
    uint64_t rows = (uint64_t)MLT_MIN(batch_tokens(t), (int64_t)MATCH_ROWS), values = 0;
    for (size_t i = 0; i < d->n_hidden; i++) {
        bool held[2] = {false, false};
        for (size_t j = 0; j < i; j++) {
            held[0] = held[0] || d->hidden[j].student == d->hidden[i].student;
            held[1] = held[1] || d->hidden[j].teacher == d->hidden[i].teacher;
        }
        values += (uint64_t)batch_tokens(t) * ((held[0] ? 0 : mine) + (held[1] ? 0 : theirs));
    }
    return (values + rows * (2 * mine + theirs)) * sizeof(float) + rows * (sizeof(double) + sizeof(int64_t)) +
           t->n_maps * (sizeof *t->maps + MAP_NAME_BYTES);
}

/* ---- The loss ---- */

/* A part of a batch's positions, for one match. */
struct part {
    struct mlt_teaching *teaching;
    const float *theirs; /* the teacher's stream */
    int64_t width;       /* of the teacher */
    float scale;         /* of the gradient */
};

/* Errors of rows, and their gradients in place of the mapped states. */
static void compare_rows(const void *argument, int64_t begin, int64_t end)
{
    const struct part *p = argument;
    struct mlt_teaching *t = p->teaching;
    for (int64_t i = begin; i < end; i++) {
        const float *theirs = p->theirs + t->positions[i] * p->width;
        float *mapped = t->mapped + i * p->width;
        double error = 0, square = 0;
        for (int64_t j = 0; j < p->width; j++) {
            double off = (double)mapped[j] - (double)theirs[j];
            error += off * off;
            square += (double)theirs[j] * (double)theirs[j];
        }
        double inverse = square > 0 ? 1 / square : 0; /* nothing to match */
        float slope = (float)(2 * inverse) * p->scale;
        for (int64_t j = 0; j < p->width; j++)
            mapped[j] = (mapped[j] - theirs[j]) * slope;
        t->errors[i] = error * inverse;
    }
}

static double match_part(struct mlt_teaching *t, struct mlt_pass *pass, size_t match, int64_t n,
                         bool backward, float scale)
{
    static const struct mlt_slice none = {.offset = -1};
    const millet_layer_match *m = &t->options->distil.hidden[match];
    int64_t mine = pass->model->config.n_embd;
    size_t bytes = (size_t)mine * sizeof(float);
    struct mlt_slice map = t->maps[match].slice;
    struct part part = {t, t->streams[m->teacher], map.rows, scale};
    const float *stream = mlt_pass_stream(pass, m->student);
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        memcpy(t->input + i * mine, stream + t->positions[i] * mine, bytes);
    mlt_pass_linear(pass, t->input, n, map, none, false, t->mapped);
    mlt_for_range(&pass->workers, n, 4, compare_rows, &part);
    for (int64_t i = 0; i < n; i++)
        sum += t->errors[i];
    if (!backward) return sum;
    mlt_pass_linear_backward(pass, t->input, t->mapped, n, map, none, false, t->d_input);
    float *d = t->d_writable[m->student];
    for (int64_t i = 0; i < n; i++) /* several matches may share a layer */
        pass->workers.ops->add_scaled(d + t->positions[i] * mine, t->d_input + i * mine, 1, 0, mine);
    return sum;
}

void mlt_teaching_match(struct mlt_teaching *t, struct mlt_pass *pass, const struct mlt_batch *batch,
                        bool backward, float scale, struct mlt_loss_sums *sums)
{
    const millet_distillation *d = &t->options->distil;
    if (!t->n_maps) return;
    int64_t n = 0, bytes = pass->tokens * pass->model->config.n_embd * (int64_t)sizeof(float);
    for (size_t i = 0; i < t->n_maps; i++)
        memset(t->d_writable[d->hidden[i].student], 0, (size_t)bytes);
    scale *= d->hidden_weight / (float)t->n_maps;
    for (int64_t i = 0; i <= pass->tokens; i++) {
        if (i < pass->tokens && batch->targets[i] >= 0) t->positions[n++] = i;
        if (n == 0 || (n < t->match_rows && i < pass->tokens)) continue;
        for (size_t match = 0; match < t->n_maps; match++)
            sums->hidden += match_part(t, pass, match, n, backward, scale) / (double)t->n_maps;
        sums->n_hidden += (uint64_t)n;
        n = 0;
    }
}
