/* A step of training. SPDX-License-Identifier: Apache-2.0 */
#include "train/trainer.h"

#include <math.h>
#include <string.h>

struct mlt_pass_options mlt_trainer_pass_options(const millet_train_options *o)
{
    int threads = o->n_threads ? o->n_threads : mlt_cpu_count();
    return (struct mlt_pass_options){.rows = o->rows,
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
    struct mlt_pass_options pass = mlt_trainer_pass_options(o);
    int64_t tokens = (int64_t)o->rows * o->length;
    MLT_TRY(mlt_pass_open(allocator, model, &pass, &t->pass, err));
    MLT_TRY(mlt_cross_entropy_open(allocator, &model->config, tokens, o->z_loss, &t->loss, err));
    MLT_TRY(mlt_optimizer_open(allocator, model, o, &t->optimizer, err));
    int32_t *block = mlt_alloc(allocator, (size_t)tokens, 4 * sizeof *block, err);
    if (!block) return MILLET_NO_MEMORY;
    t->batch =
        (struct mlt_batch){o->rows, o->length, block, block + tokens, block + 2 * tokens, block + 3 * tokens};
    return MILLET_OK;
}

void mlt_trainer_close(struct mlt_trainer *t)
{
    if (t->loss.close) t->loss.close(t->loss.context);
    mlt_optimizer_close(&t->optimizer);
    mlt_pass_close(&t->pass);
    if (t->batch.tokens) mlt_free(&t->allocator, t->batch.tokens);
    memset(t, 0, sizeof *t);
}

static void add_sums(struct mlt_loss_sums *all, const struct mlt_loss_sums *sums)
{
    all->nll += sums->nll;
    all->z += sums->z;
    all->n_targets += sums->n_targets;
}

static millet_status not_finite(const char *what, uint64_t step, double value, millet_error *err)
{
    return mlt_fail(err, MILLET_BAD_FORMAT,
                    "%s of step %llu is %g: a lower rate, a longer warm-up or better data is needed", what,
                    (unsigned long long)step + 1, value);
}

millet_status mlt_trainer_step(struct mlt_trainer *t, uint64_t step, struct mlt_step_result *result,
                               millet_error *err)
{
    const millet_train_options *o = t->options;
    double tokens = (double)o->rows * (double)o->length;
    struct mlt_loss_sums all = {0};
    memset(t->model->gradient, 0, (size_t)t->model->n_values * sizeof(float));
    for (int32_t i = 0; i < o->accumulate; i++) {
        struct mlt_loss_sums sums;
        MLT_TRY(
            t->source.fill(t->source.context, step * (uint64_t)o->accumulate + (uint64_t)i, &t->batch, err));
        MLT_TRY(mlt_pass_forward(t->pass, &t->batch, err));
        MLT_TRY(t->loss.run(t->loss.context, t->pass, &t->batch, true, (float)(1 / tokens), &sums, err));
        mlt_pass_backward(t->pass, &t->batch);
        add_sums(&all, &sums);
    }
    result->rate = mlt_learning_rate(o, step);
    if (all.n_targets == 0) { /* rows of nothing but a long prompt, say */
        result->loss = result->z = (double)NAN;
        result->gradient_norm = 0;
        return MILLET_OK;
    }
    /* Gradients were summed; now that the targets of all batches are counted, they become means. */
    double scale = tokens / (double)all.n_targets;
    result->loss = all.nll / (double)all.n_targets;
    result->z = all.z / (double)all.n_targets;
    if (!isfinite(result->loss)) return not_finite("the loss", step, result->loss, err);
    result->gradient_norm = mlt_optimizer_gradient_norm(&t->optimizer, &t->pass->workers) * scale;
    if (!isfinite(result->gradient_norm))
        return not_finite("the gradient's norm", step, result->gradient_norm, err);
    if (o->clip > 0 && result->gradient_norm > (double)o->clip)
        scale *= (double)o->clip / result->gradient_norm;
    mlt_optimizer_step(&t->optimizer, &t->pass->workers, step, result->rate, scale);
    return MILLET_OK;
}

millet_status mlt_trainer_measure(struct mlt_trainer *t, const struct mlt_batch *batch,
                                  struct mlt_loss_sums *sums, millet_error *err)
{
    struct mlt_loss_sums now;
    MLT_TRY(mlt_pass_forward(t->pass, batch, err));
    MLT_TRY(t->loss.run(t->loss.context, t->pass, batch, false, 1, &now, err));
    add_sums(sums, &now);
    return MILLET_OK;
}
