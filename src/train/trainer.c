/* A step of training. SPDX-License-Identifier: Apache-2.0 */
#include "train/trainer.h"

#include "corpus/permutation.h"
#include "train/teaching.h"

#include <math.h>
#include <string.h>

int32_t mlt_trainer_ranks(const millet_train_options *o)
{
    return o->n_ranks ? o->n_ranks : millet_ranks_size(o->ranks);
}

struct mlt_pass_options mlt_trainer_pass_options(const millet_train_options *o)
{
    int32_t n_ranks = mlt_trainer_ranks(o);
    int threads = o->n_threads ? o->n_threads : mlt_cpu_count();
    return (struct mlt_pass_options){.rows = (o->rows + n_ranks - 1) / n_ranks,
                                     .length = o->length,
                                     .n_threads = threads,
                                     .recompute = o->recompute,
                                     .rank = o->lora_rank,
                                     .backward = true};
}

millet_status mlt_trainer_open(const millet_allocator *allocator, struct mlt_trainable *model,
                               const millet_train_options *o, struct mlt_batch_source source,
                               struct mlt_trainer *t, millet_error *err)
{
    *t = (struct mlt_trainer){.allocator = *allocator, .options = o, .model = model, .source = source};
    int32_t n_ranks = millet_ranks_size(o->ranks);
    int64_t first_row, rows = mlt_ranks_part(o->rows, millet_ranks_rank(o->ranks), n_ranks, &first_row);
    struct mlt_pass_options pass = mlt_trainer_pass_options(o);
    int64_t tokens = (int64_t)pass.rows * o->length;
    MLT_TRY(mlt_pass_open(allocator, model, &pass, &t->pass, err));
    MLT_TRY(mlt_cross_entropy_open(allocator, &model->config, tokens, o->z_loss, &t->loss, err));
    MLT_TRY(mlt_optimizer_open(allocator, model, o, &t->optimizer, err));
    int32_t *block = mlt_alloc(allocator, (size_t)tokens, 4 * sizeof *block + 1, err);
    float *row_weight = mlt_alloc(allocator, (size_t)pass.rows, sizeof *row_weight, err);
    t->batch = (struct mlt_batch){.rows = (int32_t)rows,
                                  .length = o->length,
                                  .first_row = (int32_t)first_row,
                                  .all_rows = o->rows,
                                  .tokens = block,
                                  .targets = block + tokens,
                                  .begin = block + 2 * tokens,
                                  .end = block + 3 * tokens,
                                  .marks = block ? (uint8_t *)(block + 4 * tokens) : NULL,
                                  .tag_weight = o->tag_weight,
                                  .row_weight = row_weight};
    if (!block || !row_weight) return MILLET_NO_MEMORY;
    memset(t->batch.marks, 0, (size_t)tokens); /* for sources that have none */
    for (int32_t row = 0; row < pass.rows; row++)
        row_weight[row] = 1;
    return MILLET_OK;
}

millet_status mlt_trainer_teach(struct mlt_trainer *t, struct mlt_teaching *teaching, millet_error *err)
{
    const millet_train_options *o = t->options;
    struct mlt_distillation mix = {o->distil.alpha, o->distil.temperature};
    MLT_TRY(mlt_cross_entropy_teach(&t->loss, &teaching->labels, &mix, err));
    t->teaching = teaching;
    t->pass->d_streams = teaching->d_streams;
    t->pass->projections = teaching->relations.mine;
    t->pass->d_projections = teaching->relations.d_mine;
    if (!teaching->files) return MILLET_OK; /* no need to know where positions come from */
    size_t tokens = (size_t)o->rows * (size_t)o->length;
    t->batch.source = mlt_alloc(&t->allocator, tokens, sizeof *t->batch.source, err);
    return t->batch.source ? MILLET_OK : MILLET_NO_MEMORY;
}

void mlt_trainer_close(struct mlt_trainer *t)
{
    if (t->loss.close) t->loss.close(t->loss.context);
    mlt_optimizer_close(&t->optimizer);
    mlt_pass_close(&t->pass);
    if (t->batch.tokens) mlt_free(&t->allocator, t->batch.tokens);
    if (t->batch.row_weight) mlt_free(&t->allocator, t->batch.row_weight);
    if (t->batch.source) mlt_free(&t->allocator, t->batch.source);
    memset(t, 0, sizeof *t);
}

static millet_status not_finite(const char *what, uint64_t step, double value, millet_error *err)
{
    return mlt_fail(err, MILLET_BAD_FORMAT,
                    "%s of step %llu is %g: a lower rate, a longer warm-up or better data is needed", what,
                    (unsigned long long)step + 1, value);
}

/* Forward, and every loss of a batch. */
static millet_status run_losses(struct mlt_trainer *t, const struct mlt_batch *batch, bool backward,
                                float scale, struct mlt_loss_sums *sums, millet_error *err)
{
    if (t->teaching) MLT_TRY(mlt_teaching_begin(t->teaching, batch, err));
    MLT_TRY(mlt_pass_forward(t->pass, batch, err));
    MLT_TRY(t->loss.run(t->loss.context, t->pass, batch, backward, scale, sums, err));
    if (!t->teaching) return MILLET_OK;
    mlt_teaching_match(t->teaching, t->pass, batch, backward, scale, sums);
    mlt_teaching_relate(t->teaching, t->pass, batch, backward, scale, sums);
    return MILLET_OK;
}

/* Batch `number` of all, as far as its loss. */
static millet_status forward(struct mlt_trainer *t, uint64_t number, struct mlt_loss_sums *all,
                             millet_error *err)
{
    const millet_train_options *o = t->options;
    double tokens = (double)o->rows * (double)o->length;
    struct mlt_loss_sums sums;
    MLT_TRY(t->source.fill(t->source.context, number, &t->batch, err));
    t->pass->dropout = o->dropout;
    t->pass->dropout_key = mlt_mix64(mlt_mix64(o->seed ^ UINT64_C(0x64726F70)) + number); /* "drop" */
    MLT_TRY(run_losses(t, &t->batch, true, (float)(1 / tokens), &sums, err));
    mlt_loss_sums_add(all, &sums);
    return MILLET_OK;
}

/* Batches on their way there and back, but for the last one's way back, which waits until all ranks have come
 * so far: what fails, fails before the first gradient is sent. */
static millet_status run_batches(struct mlt_trainer *t, uint64_t step, struct mlt_loss_sums *all,
                                 millet_error *err)
{
    uint64_t n = (uint64_t)t->options->accumulate;
    for (uint64_t i = 0; i < n; i++) {
        MLT_TRY(forward(t, step * n + i, all, err));
        if (i + 1 < n) mlt_pass_backward(t->pass, &t->batch);
    }
    return MILLET_OK;
}

static void layer_done(void *context, int32_t layer)
{
    mlt_optimizer_reduce(context, layer);
}

static void last_way_back(struct mlt_trainer *t)
{
    t->pass->layer_done = layer_done;
    t->pass->layer_done_context = &t->optimizer;
    mlt_pass_backward(t->pass, &t->batch);
    t->pass->layer_done = NULL;
}

millet_status mlt_trainer_step(struct mlt_trainer *t, uint64_t step, struct mlt_step_result *result,
                               millet_error *err)
{
    const millet_train_options *o = t->options;
    double tokens = (double)o->rows * (double)o->length;
    struct mlt_loss_sums all = {0};
    memset(t->model->gradient, 0, (size_t)t->model->n_values * sizeof(float));
    millet_status status = run_batches(t, step, &all, err);
    MLT_TRY(mlt_loss_sums_of_ranks(o->ranks, status, &all, err));
    result->rate = mlt_learning_rate(o, step);
    result->label_loss = all.n_labels ? all.label_nll / (double)all.n_labels : (double)NAN;
    if (!(all.weight > 0)) { /* rows of nothing but a long prompt, say */
        result->loss = result->z = result->divergence = result->hidden = result->attention = (double)NAN;
        result->gradient_norm = 0;
        return MILLET_OK;
    }
    result->loss = all.nll / all.weight;
    result->z = all.z / all.weight;
    result->divergence = all.soft_weight > 0 ? all.divergence / all.soft_weight : (double)NAN;
    if (all.soft_weight > 0 && !isfinite(result->divergence))
        return not_finite("the divergence", step, result->divergence, err);
    result->hidden = all.hidden_weight > 0 ? all.hidden / all.hidden_weight : (double)NAN;
    result->attention = all.relation_weight > 0 ? all.relations / all.relation_weight : (double)NAN;
    if (!isfinite(result->loss)) return not_finite("the loss", step, result->loss, err);
    last_way_back(t);
    /* Gradients were summed; now that the targets of all batches are counted, they become means. */
    double scale = tokens / all.weight;
    MLT_TRY(mlt_optimizer_gradient_norm(&t->optimizer, &t->pass->workers, &result->gradient_norm, err));
    result->gradient_norm *= scale;
    if (!isfinite(result->gradient_norm))
        return not_finite("the gradient's norm", step, result->gradient_norm, err);
    if (o->clip > 0 && result->gradient_norm > (double)o->clip)
        scale *= (double)o->clip / result->gradient_norm;
    return mlt_optimizer_step(&t->optimizer, &t->pass->workers, step, result->rate, scale, err);
}

millet_status mlt_trainer_measure(struct mlt_trainer *t, const struct mlt_batch *batch,
                                  struct mlt_loss_sums *sums, millet_error *err)
{
    struct mlt_loss_sums now;
    t->pass->dropout = 0;
    MLT_TRY(run_losses(t, batch, false, 1, &now, err));
    mlt_loss_sums_add(sums, &now);
    return MILLET_OK;
}
