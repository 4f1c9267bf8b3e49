/* millet_train: the loop from text to a file. SPDX-License-Identifier: Apache-2.0 */
#include "millet/train.h"

#include "base/clock.h"
#include "import/open_any.h"
#include "train/loss.h"
#include "train/shape.h"
#include "train/text_source.h"
#include "train/training_state.h"

#include <math.h>
#include <string.h>

millet_train_options millet_train_options_default(void)
{
    return (millet_train_options){.rows = 8,
                                  .length = 256,
                                  .accumulate = 1,
                                  .rate = 3e-4f,
                                  .final_rate = 0.1f,
                                  .beta1 = 0.9f,
                                  .beta2 = 0.95f,
                                  .epsilon = 1e-8f,
                                  .weight_decay = 0.1f,
                                  .momentum = 0.95f,
                                  .clip = 1,
                                  .seed = 1};
}

/* A run of millet_train. */
struct run {
    millet_allocator allocator;
    millet_train_options options; /* with nothing left automatic */
    struct mlt_text state_path, settings;
    struct mlt_trainable *model;
    struct mlt_pass *pass;
    struct mlt_loss_stage loss;
    struct mlt_optimizer optimizer;
    struct mlt_text_source *text, *evaluation;
    struct mlt_batch_source batches;
    struct mlt_batch batch;
    struct mlt_training_state state;
    uint64_t saved_step; /* of the newest state on disk; UINT64_MAX: none */
    double started;
    uint64_t first_step;
    millet_train_report report;
};

/* ---- Options ---- */

static millet_status wrong(millet_error *err, const char *option, const char *what)
{
    return mlt_fail_at(err, MILLET_BAD_ARGUMENT, NULL, option, MILLET_NO_OFFSET, "%s", what);
}

static bool between(float value, float low, float high)
{
    return value >= low && value <= high; /* false for NaN */
}

static millet_status check_numbers(const millet_train_options *o, millet_error *err)
{
    if (o->rows < 1 || o->rows > 1 << 16) return wrong(err, "rows", "1 to 65536 sequences make a batch");
    if (o->length < 1 || o->length > 1 << 24)
        return wrong(err, "length", "1 to 16777216 tokens make a sequence");
    if (o->accumulate < 1 || o->accumulate > 1 << 16)
        return wrong(err, "accumulate", "1 to 65536 batches make a step");
    if (!between(o->rate, 0, 1e3f)) return wrong(err, "rate", "a learning rate from 0 to 1000 is needed");
    if (!between(o->final_rate, 0, 1)) return wrong(err, "final_rate", "it is a part of the rate, 0 to 1");
    if (!between(o->beta1, 0, 0.999999f)) return wrong(err, "beta1", "0 to 0.999999 is possible");
    if (!between(o->beta2, 0, 0.999999f)) return wrong(err, "beta2", "0 to 0.999999 is possible");
    if (!between(o->momentum, 0, 0.999999f)) return wrong(err, "momentum", "0 to 0.999999 is possible");
    if (!between(o->epsilon, 1e-30f, 1)) return wrong(err, "epsilon", "1e-30 to 1 is possible");
    if (!between(o->weight_decay, 0, 1e3f)) return wrong(err, "weight_decay", "0 to 1000 is possible");
    if (!between(o->clip, 0, 1e30f)) return wrong(err, "clip", "a norm above 0, or 0 for none, is needed");
    if (!between(o->z_loss, 0, 1e3f)) return wrong(err, "z_loss", "0 to 1000 is possible");
    if (o->n_threads < 0 || o->n_threads > MLT_MAX_THREADS)
        return wrong(err, "n_threads", "0 (one for each CPU) to 256 are possible");
    return MILLET_OK;
}

static millet_status check_options(const millet_train_options *o, millet_error *err)
{
    if (!o->model == !o->shape)
        return wrong(err, "model", "either a model or the shape of a new one is needed");
    if (o->shape && !o->tokenizer_path)
        return wrong(err, "tokenizer_path",
                     "a new model needs a tokenizer: give any checkpoint that has one");
    if (!o->output) return wrong(err, "output", "the file to write is missing");
    if (!o->text) return wrong(err, "text", "the text to learn from is missing");
    if (o->steps < 1) return wrong(err, "steps", "at least one step is needed");
    return check_numbers(o, err);
}

static mlt_dtype storage_dtype(const millet_train_options *o)
{
    return o->storage == MILLET_STORE_BF16 ? MLT_BF16 : MLT_F32;
}

/* ---- The model ---- */

static millet_status open_checkpoint(const struct run *r, bool resume, struct mlt_checkpoint **out,
                                     millet_error *err)
{
    const millet_train_options *o = &r->options;
    if (resume) return mlt_checkpoint_open(&r->allocator, r->state_path.data, NULL, out, err);
    if (o->model) return mlt_open_any(&r->allocator, o->model, o->tokenizer_path, out, err);
    struct mlt_checkpoint *tokenizer = NULL;
    if (o->tokenizer_path) MLT_TRY(mlt_open_any(&r->allocator, o->tokenizer_path, NULL, &tokenizer, err));
    millet_status status = mlt_shape_checkpoint(&r->allocator, o->shape, tokenizer, o->seed, out, err);
    mlt_checkpoint_close(&tokenizer);
    return status;
}

static millet_status open_model(struct run *r, mlt_dtype stored, millet_error *err)
{
    struct mlt_checkpoint *checkpoint = NULL;
    MLT_TRY(open_checkpoint(r, r->options.resume && stored != MLT_DTYPE_LIMIT, &checkpoint, err));
    return mlt_trainable_open(&r->allocator, checkpoint, stored, &r->model, err);
}

static struct mlt_pass_options pass_options(const millet_train_options *o)
{
    int threads = o->n_threads ? o->n_threads : mlt_cpu_count();
    return (struct mlt_pass_options){.rows = o->rows,
                                     .length = o->length,
                                     .n_threads = threads,
                                     .recompute = o->recompute,
                                     .backward = true};
}

static void close_run(struct run *r)
{
    if (r->loss.close) r->loss.close(r->loss.context);
    mlt_optimizer_close(&r->optimizer);
    mlt_pass_close(&r->pass);
    mlt_text_source_close(&r->text);
    mlt_text_source_close(&r->evaluation);
    mlt_trainable_close(&r->model);
    mlt_text_release(&r->settings);
    mlt_text_release(&r->state_path);
    mlt_free(&r->allocator, r->batch.tokens);
}

static millet_status start_run(struct run *r, const millet_train_options *options, millet_error *err)
{
    r->options = options ? *options : millet_train_options_default();
    r->allocator = r->options.allocator ? *r->options.allocator : *mlt_default_allocator();
    r->state_path.allocator = r->settings.allocator = &r->allocator;
    r->saved_step = UINT64_MAX;
    if (r->options.state) return mlt_text_printf(&r->state_path, err, "%s", r->options.state);
    return mlt_text_printf(&r->state_path, err, "%s.state", r->options.output ? r->options.output : "");
}

/* ---- Memory ---- */

static millet_status estimate(struct run *r, millet_train_memory *memory, millet_error *err)
{
    const millet_train_options *o = &r->options;
    if (!o->model == !o->shape)
        return wrong(err, "model", "either a model or the shape of a new one is needed");
    MLT_TRY(check_numbers(o, err));
    MLT_TRY(open_model(r, MLT_DTYPE_LIMIT, err));
    const struct mlt_trainable *t = r->model;
    struct mlt_pass_options pass = pass_options(o);
    uint64_t block = (uint64_t)t->n_values * sizeof(float);
    *memory = (millet_train_memory){.n_weights = t->n_weights,
                                    .weights = o->storage == MILLET_STORE_F32 ? block : 2 * block,
                                    .gradients = block,
                                    .optimizer = mlt_optimizer_bytes(t, o->optimizer)};
    MLT_TRY(mlt_pass_estimate(&t->config, &pass, &memory->activations, err));
    memory->activations += mlt_cross_entropy_bytes(&t->config, (int64_t)o->rows * o->length);
    memory->total = memory->weights + memory->gradients + memory->optimizer + memory->activations;
    return MILLET_OK;
}

millet_status millet_train_estimate(const millet_train_options *options, millet_train_memory *memory,
                                    millet_error *err)
{
    struct run r = {0};
    millet_status status = start_run(&r, options, err);
    if (status == MILLET_OK) status = estimate(&r, memory, err);
    close_run(&r);
    return status;
}

/* ---- Opening ---- */

static bool file_exists(const char *path)
{
    struct mlt_file_map map;
    if (mlt_file_map_open(path, &map, NULL) != MILLET_OK) return false;
    mlt_file_map_close(&map);
    return true;
}

static millet_status open_texts(struct run *r, millet_error *err)
{
    const millet_train_options *o = &r->options;
    const struct mlt_trainable *t = r->model;
    if (!t->tokenizer)
        return mlt_fail_at(err, MILLET_UNSUPPORTED, t->checkpoint->path, NULL, MILLET_NO_OFFSET,
                           "the model has no tokenizer to read a text with");
    int32_t bos = t->add_bos ? t->bos : -1;
    MLT_TRY(mlt_text_source_open(&r->allocator, o->text, t->tokenizer, bos, t->eos, o->length, o->seed,
                                 &r->text, err));
    r->batches = mlt_text_batches(r->text);
    if (!o->evaluation_text) return MILLET_OK;
    return mlt_text_source_open(&r->allocator, o->evaluation_text, t->tokenizer, bos, t->eos, o->length,
                                o->seed, &r->evaluation, err);
}

static millet_status open_run(struct run *r, millet_error *err)
{
    const millet_train_options *o = &r->options;
    MLT_TRY(check_options(o, err));
    if (!o->resume && !o->restart && file_exists(r->state_path.data))
        return mlt_fail_at(
            err, MILLET_BAD_ARGUMENT, r->state_path.data, "state", MILLET_NO_OFFSET,
            "a state of an earlier training is there: resume it, or allow to restart and overwrite it");
    MLT_TRY(open_model(r, storage_dtype(o), err));
    MLT_TRY(open_texts(r, err));
    struct mlt_pass_options pass = pass_options(o);
    MLT_TRY(mlt_pass_open(&r->allocator, r->model, &pass, &r->pass, err));
    int64_t tokens = (int64_t)o->rows * o->length;
    MLT_TRY(mlt_cross_entropy_open(&r->allocator, &r->model->config, tokens, o->z_loss, &r->loss, err));
    MLT_TRY(mlt_optimizer_open(&r->allocator, r->model, o, &r->optimizer, err));
    int32_t *block = mlt_alloc(&r->allocator, (size_t)tokens, 4 * sizeof *block, err);
    if (!block) return MILLET_NO_MEMORY;
    r->batch =
        (struct mlt_batch){o->rows, o->length, block, block + tokens, block + 2 * tokens, block + 3 * tokens};
    MLT_TRY(mlt_training_settings(o, mlt_text_source_digest(r->text), &r->settings, err));
    if (!o->resume) return MILLET_OK;
    MLT_TRY(
        mlt_training_state_read(&r->optimizer, o->allow_changes ? NULL : r->settings.data, &r->state, err));
    r->saved_step = r->state.step;
    return MILLET_OK;
}

/* ---- Steps ---- */

/* What an error says of what is safe. */
static millet_status not_finite(const struct run *r, const char *what, double value, millet_error *err)
{
    if (r->saved_step == UINT64_MAX)
        return mlt_fail(err, MILLET_BAD_FORMAT,
                        "%s of step %llu is %g; nothing was saved before it: lower the rate", what,
                        (unsigned long long)r->state.step + 1, value);
    return mlt_fail_at(
        err, MILLET_BAD_FORMAT, r->state_path.data, NULL, MILLET_NO_OFFSET,
        "%s of step %llu is %g; the state of step %llu is untouched: resume it with a lower rate", what,
        (unsigned long long)r->state.step + 1, value, (unsigned long long)r->saved_step);
}

static millet_status train_step(struct run *r, millet_error *err)
{
    const millet_train_options *o = &r->options;
    uint64_t tokens = (uint64_t)o->rows * (uint64_t)o->length;
    struct mlt_loss_sums all = {0};
    memset(r->model->gradient, 0, (size_t)r->model->n_values * sizeof(float));
    for (int32_t i = 0; i < o->accumulate; i++) {
        struct mlt_loss_sums sums;
        uint64_t index = r->state.step * (uint64_t)o->accumulate + (uint64_t)i;
        MLT_TRY(r->batches.fill(r->batches.context, index, &r->batch, err));
        MLT_TRY(mlt_pass_forward(r->pass, &r->batch, err));
        MLT_TRY(r->loss.run(r->loss.context, r->pass, &r->batch, true, 1 / (float)tokens, &sums, err));
        mlt_pass_backward(r->pass, &r->batch);
        all.nll += sums.nll;
        all.z += sums.z;
        all.n_targets += sums.n_targets;
    }
    if (all.n_targets == 0)
        return mlt_fail(err, MILLET_BAD_ARGUMENT, "step %llu has no token to learn from",
                        (unsigned long long)r->state.step + 1);
    double loss = all.nll / (double)all.n_targets, scale = (double)tokens / (double)all.n_targets;
    if (!isfinite(loss)) return not_finite(r, "the loss", loss, err);
    double norm = mlt_optimizer_gradient_norm(&r->optimizer, &r->pass->workers) * scale;
    if (!isfinite(norm)) return not_finite(r, "the gradient's norm", norm, err);
    if (o->clip > 0 && norm > (double)o->clip) scale *= (double)o->clip / norm;
    r->report.rate = mlt_learning_rate(o, r->state.step);
    mlt_optimizer_step(&r->optimizer, &r->pass->workers, r->state.step, r->report.rate, scale);
    r->state.step++;
    r->state.tokens += tokens * (uint64_t)o->accumulate;
    r->report.loss = loss;
    r->report.z = all.z / (double)all.n_targets;
    r->report.gradient_norm = norm;
    return MILLET_OK;
}

/* The mean loss over all windows of the evaluation text. */
static millet_status evaluate(struct run *r, millet_error *err)
{
    uint64_t n = mlt_text_source_windows(r->evaluation);
    struct mlt_loss_sums all = {0};
    for (uint64_t first = 0; first < n; first += (uint64_t)r->options.rows) {
        struct mlt_loss_sums sums;
        struct mlt_batch batch = r->batch;
        batch.rows = (int32_t)MLT_MIN(n - first, (uint64_t)r->options.rows);
        for (int32_t row = 0; row < batch.rows; row++)
            mlt_text_source_window(r->evaluation, first + (uint64_t)row, &batch, row);
        MLT_TRY(mlt_pass_forward(r->pass, &batch, err));
        MLT_TRY(r->loss.run(r->loss.context, r->pass, &batch, false, 1, &sums, err));
        all.nll += sums.nll;
        all.n_targets += sums.n_targets;
    }
    r->report.evaluation_loss = all.n_targets ? all.nll / (double)all.n_targets : NAN;
    return MILLET_OK;
}

static millet_status save(struct run *r, millet_error *err)
{
    if (r->saved_step == r->state.step) return MILLET_OK;
    MLT_TRY(mlt_training_state_write(&r->optimizer, &r->state, r->settings.data, r->state_path.data, err));
    r->saved_step = r->state.step;
    return MILLET_OK;
}

static bool is_due(uint64_t every, uint64_t step, uint64_t steps)
{
    return step == steps || (every && step % every == 0);
}

static void fill_report(struct run *r)
{
    const millet_train_options *o = &r->options;
    millet_train_report *report = &r->report;
    uint64_t done = r->state.step - r->first_step;
    report->step = r->state.step;
    report->steps = o->steps;
    report->tokens = r->state.tokens;
    report->seconds = mlt_clock_seconds() - r->started;
    double tokens = (double)done * (double)o->rows * (double)o->length * (double)o->accumulate;
    report->tokens_per_second = report->seconds > 0 ? tokens / report->seconds : 0;
    report->seconds_left = done ? report->seconds / (double)done * (double)(o->steps - r->state.step) : 0;
    report->saved = r->saved_step == r->state.step;
}

static millet_status train(struct run *r, millet_error *err)
{
    const millet_train_options *o = &r->options;
    r->started = mlt_clock_seconds();
    r->first_step = r->state.step;
    while (r->state.step < o->steps) {
        MLT_TRY(train_step(r, err));
        r->report.evaluation_loss = NAN;
        if (r->evaluation && is_due(o->evaluate_every, r->state.step, o->steps)) MLT_TRY(evaluate(r, err));
        if (is_due(o->save_every, r->state.step, o->steps)) MLT_TRY(save(r, err));
        fill_report(r);
        if (!o->report || o->report(o->context, &r->report)) continue;
        MLT_TRY(save(r, err));
        return mlt_fail_at(err, MILLET_CANCELLED, r->state_path.data, NULL, MILLET_NO_OFFSET,
                           "stopped after step %llu of %llu; the state is saved: resume it to go on",
                           (unsigned long long)r->state.step, (unsigned long long)o->steps);
    }
    return mlt_trainable_write(r->model, o->output, storage_dtype(o), NULL, err);
}

millet_status millet_train(const millet_train_options *options, millet_train_report *last, millet_error *err)
{
    struct run r = {0};
    millet_status status = start_run(&r, options, err);
    if (status == MILLET_OK) status = open_run(&r, err);
    if (status == MILLET_OK) status = train(&r, err);
    if (last) *last = r.report;
    close_run(&r);
    return status;
}
