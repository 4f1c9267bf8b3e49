/*
 * Matching attention: how the student's queries, keys and values of a layer relate among the positions of a
 * document, against the teacher's (MiniLMv2: Wang et al., 2021). Relations are of positions with positions,
 * so that widths and numbers of heads may differ: both sides' values are cut into the same number of heads.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "train/teaching.h"

#include "train/pass_state.h"
#include "train/trainer.h"

#include <string.h>

enum { KINDS = 3 }; /* queries, keys, values */

static const struct mlt_config *teacher_config(const struct mlt_teaching *t)
{
    return &t->teachers.models[0]->config;
}

static int64_t kind_width(const struct mlt_config *c, int kind)
{
    return kind == 0   ? (int64_t)c->n_heads * c->head_size
           : kind == 1 ? (int64_t)c->n_kv_heads * c->head_size
                       : (int64_t)c->n_kv_heads * c->value_size;
}

static int64_t all_widths(const struct mlt_config *c)
{
    return kind_width(c, 0) + kind_width(c, 1) + kind_width(c, 2);
}

static float *kind_values(const struct mlt_projections *p, int kind)
{
    return kind == 0 ? p->q : kind == 1 ? p->k : p->v;
}

/* ---- What is asked for ---- */

static int32_t common_divisor(int32_t a, int32_t b)
{
    return b ? common_divisor(b, a % b) : a;
}

static millet_status wrong(millet_error *err, const char *option, const char *what, int64_t value,
                           int64_t most)
{
    return mlt_fail_at(err, MILLET_BAD_ARGUMENT, NULL, option, MILLET_NO_OFFSET, what, (long long)value,
                       (long long)most);
}

static millet_status check_layers(const struct mlt_teaching *t, const struct mlt_config *student,
                                  millet_error *err)
{
    const millet_distillation *d = &t->options->distil;
    for (size_t i = 0; i < d->n_attention; i++) {
        const millet_layer_match *m = &d->attention[i];
        if (m->student < 1 || m->student > student->n_layers)
            return wrong(err, "attention", "layer %lld of the student: there are 1 to %lld", m->student,
                         student->n_layers);
        if (m->teacher < 1 || m->teacher > teacher_config(t)->n_layers)
            return wrong(err, "attention", "layer %lld of the teacher: there are 1 to %lld", m->teacher,
                         teacher_config(t)->n_layers);
    }
    return MILLET_OK;
}

static millet_status choose_heads(struct mlt_teaching *t, const struct mlt_config *student, millet_error *err)
{
    struct mlt_relations *r = &t->relations;
    const struct mlt_config *theirs = teacher_config(t);
    r->heads = t->options->distil.attention_heads;
    if (r->heads == 0) r->heads = common_divisor(student->n_kv_heads, theirs->n_kv_heads);
    for (int kind = 0; kind < KINDS; kind++)
        if (kind_width(student, kind) % r->heads || kind_width(theirs, kind) % r->heads)
            return wrong(err, "attention_heads", "%lld heads: there must be a divisor of %lld", r->heads,
                         kind_width(student, kind) % r->heads ? kind_width(student, kind)
                                                              : kind_width(theirs, kind));
    return MILLET_OK;
}

/* ---- Memory ---- */

static int64_t batch_tokens(const struct mlt_teaching *t)
{
    struct mlt_pass_options pass = mlt_trainer_pass_options(t->options);
    return (int64_t)pass.rows * pass.length;
}

static int64_t batch_items(const struct mlt_teaching *t)
{
    return (int64_t)mlt_trainer_pass_options(t->options).rows * KINDS * t->relations.heads;
}

/* A layer's three in one piece; layers that occur several times are held once. */
static millet_status hold(struct mlt_teaching *t, struct mlt_projections *p, const struct mlt_config *c,
                          millet_error *err)
{
    int64_t tokens = batch_tokens(t);
    if (p->q) return MILLET_OK;
    p->q = mlt_alloc_zero(&t->allocator, (size_t)(tokens * all_widths(c)), sizeof *p->q, err);
    if (!p->q) return MILLET_NO_MEMORY;
    p->k = p->q + tokens * kind_width(c, 0);
    p->v = p->k + tokens * kind_width(c, 1);
    return MILLET_OK;
}

millet_status mlt_relations_open(struct mlt_teaching *t, const struct mlt_trainable *student,
                                 millet_error *err)
{
    const millet_distillation *d = &t->options->distil;
    const struct mlt_config *c = &student->config, *theirs = teacher_config(t);
    struct mlt_relations *r = &t->relations;
    if (!d->n_attention) return MILLET_OK;
    MLT_TRY(check_layers(t, c, err));
    MLT_TRY(choose_heads(t, c, err));
    r->n_mine = c->n_layers;
    r->n_theirs = theirs->n_layers;
    r->mine = mlt_alloc_zero(&t->allocator, (size_t)r->n_mine, sizeof *r->mine, err);
    r->d_mine = mlt_alloc_zero(&t->allocator, (size_t)r->n_mine, sizeof *r->d_mine, err);
    r->theirs = mlt_alloc_zero(&t->allocator, (size_t)r->n_theirs, sizeof *r->theirs, err);
    r->weight = mlt_alloc(&t->allocator, (size_t)batch_tokens(t), sizeof *r->weight, err);
    r->sums = mlt_alloc(&t->allocator, (size_t)batch_items(t), sizeof *r->sums, err);
    if (!r->mine || !r->d_mine || !r->theirs || !r->weight || !r->sums) return MILLET_NO_MEMORY;
    for (size_t i = 0; i < d->n_attention; i++) {
        MLT_TRY(hold(t, &r->mine[d->attention[i].student - 1], c, err));
        MLT_TRY(hold(t, &r->d_mine[d->attention[i].student - 1], c, err));
        MLT_TRY(hold(t, &r->theirs[d->attention[i].teacher - 1], theirs, err));
    }
    t->teachers.passes[0]->projections = r->theirs;
    return MILLET_OK;
}

static void release(struct mlt_teaching *t, struct mlt_projections *all, int32_t n)
{
    for (int32_t i = 0; all && i < n; i++)
        mlt_free(&t->allocator, all[i].q);
    mlt_free(&t->allocator, all);
}

void mlt_relations_close(struct mlt_teaching *t)
{
    struct mlt_relations *r = &t->relations;
    release(t, r->mine, r->n_mine);
    release(t, r->d_mine, r->n_mine);
    release(t, r->theirs, r->n_theirs);
    mlt_free(&t->allocator, r->weight);
    mlt_free(&t->allocator, r->sums);
}

uint64_t mlt_relations_bytes(const struct mlt_teaching *t, const struct mlt_trainable *student)
{
    const millet_distillation *d = &t->options->distil;
    const struct mlt_config *c = &student->config, *theirs = teacher_config(t);
    if (!d->n_attention) return 0;
    uint64_t tokens = (uint64_t)batch_tokens(t), values = 0;
    for (size_t i = 0; i < d->n_attention; i++) {
        bool held[2] = {false, false};
        for (size_t j = 0; j < i; j++) {
            held[0] = held[0] || d->attention[j].student == d->attention[i].student;
            held[1] = held[1] || d->attention[j].teacher == d->attention[i].teacher;
        }
        values += (held[0] ? 0 : 2 * (uint64_t)all_widths(c)) + (held[1] ? 0 : (uint64_t)all_widths(theirs));
    }
    return tokens * (values + 1) * sizeof(float);
}

/* ---- The loss ---- */

/* One match over a batch; an item is a row of it, a kind and a head. */
struct matched {
    struct mlt_teaching *teaching;
    const struct mlt_ops *ops;
    const struct mlt_batch *batch;
    const struct mlt_config *mine, *theirs;
    const millet_layer_match *layers;
    bool backward;
    float scale;
};

static void relate_item(const void *argument, int64_t index, float *scratch)
{
    const struct matched *m = argument;
    struct mlt_relations *r = &m->teaching->relations;
    int64_t head = index % r->heads, row = index / r->heads / KINDS * m->batch->length;
    int kind = (int)(index / r->heads % KINDS);
    struct mlt_relation relation = {.length = m->batch->length,
                                    .ld = kind_width(m->mine, kind),
                                    .their_ld = kind_width(m->theirs, kind),
                                    .first = m->batch->begin + row,
                                    .last = m->batch->end + row,
                                    .weight = r->weight + row,
                                    .grad_scale = m->scale,
                                    .scratch = scratch};
    relation.size = relation.ld / r->heads;
    relation.their_size = relation.their_ld / r->heads;
    int64_t at = row * relation.ld + head * relation.size;
    relation.a = kind_values(&r->mine[m->layers->student - 1], kind) + at;
    relation.theirs = kind_values(&r->theirs[m->layers->teacher - 1], kind) + row * relation.their_ld +
                      head * relation.their_size;
    if (m->backward) relation.da = kind_values(&r->d_mine[m->layers->student - 1], kind) + at;
    r->sums[index] = m->ops->relate(&relation);
}

void mlt_teaching_relate(struct mlt_teaching *t, struct mlt_pass *pass, const struct mlt_batch *batch,
                         bool backward, float scale, struct mlt_loss_sums *sums)
{
    const millet_distillation *d = &t->options->distil;
    struct mlt_relations *r = &t->relations;
    const struct mlt_config *c = &pass->model->config;
    if (!d->n_attention) return;
    int64_t items = (int64_t)batch->rows * KINDS * r->heads;
    double parts = (double)d->n_attention * KINDS * r->heads; /* the mean over all of them */
    for (int64_t i = 0; i < pass->tokens; i++) {
        r->weight[i] = batch->targets[i] >= 0 ? mlt_loss_weight(batch, i) : 0;
        sums->relation_weight += (double)r->weight[i];
    }
    for (int32_t i = 0; i < r->n_mine; i++)
        if (r->d_mine[i].q)
            memset(r->d_mine[i].q, 0, (size_t)(batch_tokens(t) * all_widths(c)) * sizeof(float));
    for (size_t i = 0; i < d->n_attention; i++) {
        struct matched m = {.teaching = t,
                            .ops = pass->workers.ops,
                            .batch = batch,
                            .mine = c,
                            .theirs = teacher_config(t),
                            .layers = &d->attention[i],
                            .backward = backward,
                            .scale = scale * d->attention_weight / (float)parts};
        mlt_for_items(&pass->workers, items, relate_item, &m);
        for (int64_t j = 0; j < items; j++)
            sums->relations += r->sums[j] / parts;
    }
}
