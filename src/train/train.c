/* millet_train: the loop from text to a file. SPDX-License-Identifier: Apache-2.0 */
#include "millet/train.h"

#include "base/clock.h"
#include "corpus/permutation.h"
#include "import/open_any.h"
#include "train/shape.h"
#include "train/storage.h"
#include "train/teaching.h"
#include "train/token_mask.h"
#include "train/trainer.h"
#include "train/training_data.h"
#include "train/training_state.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

millet_train_options millet_train_options_default(void)
{
    return (millet_train_options){
        .rows = 8,
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
        .tag_weight = 1,
        .distil = {.alpha = 0.9f, .temperature = 2, .top_k = 32, .hidden_weight = 1, .attention_weight = 1},
        .seed = 1};
}

/* A run of millet_train. */
struct run {
    millet_allocator allocator;
    millet_train_options options; /* with nothing left automatic */
    struct mlt_text state_path, settings;
    struct mlt_trainable *model;
    struct mlt_trainer trainer;
    struct mlt_training_data data;
    struct mlt_token_mask mask; /* of tokens to learn from, where there is any */
    struct mlt_teaching teaching;
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

static millet_status check_adapter(const millet_train_options *o, millet_error *err)
{
    if (o->lora_rank < 0 || o->lora_rank > 4096)
        return wrong(err, "lora_rank", "0 (no adapter) to 4096 is possible");
    if (o->lora_rank == 0) return MILLET_OK;
    if (!o->model) return wrong(err, "lora_rank", "an adapter needs a model to be trained for");
    if (!between(o->lora_alpha, 0, 1e6f))
        return wrong(err, "lora_alpha", "0 (twice the rank) to 1000000 is possible");
    if (o->storage > MILLET_STORE_BF16) return wrong(err, "storage", "adapters are stored as F32 or BF16");
    if (o->distil.n_hidden)
        return wrong(err, "distil.hidden",
                     "hidden states are matched by training the whole model, not an adapter");
    return MILLET_OK;
}

static millet_status check_numbers(const millet_train_options *o, millet_error *err)
{
    if (o->rows < 1 || o->rows > 1 << 16) return wrong(err, "rows", "1 to 65536 sequences make a batch");
    if (o->length < 2 || o->length > 1 << 24)
        return wrong(err, "length", "2 to 16777216 positions make a sequence");
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
    if (!between(o->tag_weight, 0, 1e3f)) return wrong(err, "tag_weight", "0 to 1000 is possible");
    if (!between(o->mask, 0, 1)) return wrong(err, "mask", "it is a probability, 0 to 1");
    if (!between(o->dropout, 0, 0.99f)) return wrong(err, "dropout", "0 to 0.99 is possible");
    if (o->n_ranks < 0 || o->n_ranks > 1 << 16) return wrong(err, "n_ranks", "0 to 65536 are possible");
    if (o->rows < mlt_trainer_ranks(o))
        return mlt_fail_at(err, MILLET_BAD_ARGUMENT, NULL, "rows", MILLET_NO_OFFSET,
                           "a batch of %d sequences cannot be shared by %d ranks", o->rows,
                           mlt_trainer_ranks(o));
    if (o->storage < MILLET_STORE_F32 || o->storage > MILLET_STORE_TQ2_0)
        return wrong(err, "storage", "it is none of the types that training can write");
    MLT_TRY(check_adapter(o, err));
    if (o->n_threads < 0 || o->n_threads > MLT_MAX_THREADS)
        return wrong(err, "n_threads", "0 (one for each CPU) to 256 are possible");
    return mlt_teaching_check(o, err);
}

static millet_status check_data(const millet_train_options *o, millet_error *err)
{
    if (!o->data || o->n_data == 0) return wrong(err, "data", "the token caches to learn from are missing");
    if (o->n_data > 4096 || o->n_evaluation_data > 4096)
        return wrong(err, "data", "1 to 4096 caches are possible");
    if (o->holdout && o->n_evaluation_data)
        return wrong(err, "holdout", "documents are held out, or evaluation has data of its own: not both");
    if (o->holdout < 0 || o->holdout == 1)
        return wrong(err, "holdout", "0, or at least 2: every so manieth document");
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
    if (!between(o->epochs, 0, 1e6f)) return wrong(err, "epochs", "0 to 1000000 is possible");
    if (!o->steps == !(o->epochs > 0)) return wrong(err, "steps", "either steps or epochs are needed");
    MLT_TRY(check_data(o, err));
    return check_numbers(o, err);
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

/* Before the student: a teacher that runs beside it decides on matrices that are learnt with it. */
static millet_status start_teaching(struct run *r, const struct mlt_checkpoint *student, mlt_dtype stored,
                                    millet_error *err)
{
    return mlt_teaching_start(&r->allocator, &r->options, student, stored == MLT_DTYPE_LIMIT, &r->teaching,
                              err);
}

/* The model and, where training goes on, what the adapter is by now. */
static millet_status open_adapter(struct run *r, mlt_dtype stored, millet_error *err)
{
    const millet_train_options *o = &r->options;
    struct mlt_low_rank_options low = {.rank = o->lora_rank, .alpha = o->lora_alpha, .seed = o->seed};
    struct mlt_checkpoint *checkpoint = NULL, *saved = NULL;
    MLT_TRY(mlt_low_rank_targets(o->lora_targets, &low.targets, err));
    if (o->resume && stored != MLT_DTYPE_LIMIT)
        MLT_TRY(mlt_checkpoint_open(&r->allocator, r->state_path.data, NULL, &saved, err));
    millet_status status = mlt_open_any(&r->allocator, o->model, o->tokenizer_path, &checkpoint, err);
    if (status == MILLET_OK) status = start_teaching(r, checkpoint, stored, err);
    if (status == MILLET_OK)
        return mlt_trainable_open_adapter(&r->allocator, checkpoint, &low, saved, stored, &r->model, err);
    mlt_checkpoint_close(&checkpoint);
    mlt_checkpoint_close(&saved);
    return status;
}

static millet_status open_model(struct run *r, mlt_dtype stored, millet_error *err)
{
    struct mlt_checkpoint *checkpoint = NULL;
    if (r->options.lora_rank) return open_adapter(r, stored, err);
    MLT_TRY(open_checkpoint(r, r->options.resume && stored != MLT_DTYPE_LIMIT, &checkpoint, err));
    millet_status status = start_teaching(r, checkpoint, stored, err);
    if (status != MILLET_OK) {
        mlt_checkpoint_close(&checkpoint);
        return status;
    }
    return mlt_trainable_open_with(&r->allocator, checkpoint, stored, r->teaching.maps, r->teaching.n_maps,
                                   &r->model, err);
}

static void close_run(struct run *r)
{
    mlt_trainer_close(&r->trainer);
    mlt_token_mask_close(&r->mask);
    mlt_teaching_close(&r->teaching);
    mlt_training_data_close(&r->data);
    mlt_trainable_close(&r->model);
    mlt_text_release(&r->settings);
    mlt_text_release(&r->state_path);
}

static millet_status start_run(struct run *r, const millet_train_options *options, millet_error *err)
{
    r->options = options ? *options : millet_train_options_default();
    r->allocator = r->options.allocator ? *r->options.allocator : *mlt_default_allocator();
    r->state_path.allocator = r->settings.allocator = &r->allocator;
    r->saved_step = UINT64_MAX;
    if (!r->options.n_threads) r->options.n_threads = mlt_ranks_threads(r->options.ranks);
    if (r->options.lora_rank && r->options.lora_alpha == 0)
        r->options.lora_alpha = 2 * (float)r->options.lora_rank;
    if (r->options.state) return mlt_text_printf(&r->state_path, err, "%s", r->options.state);
    return mlt_text_printf(&r->state_path, err, "%s.state", r->options.output ? r->options.output : "");
}

/* ---- Memory ---- */

/* Buffers of the exchange, and the tensor that the first rank writes for others. */
static uint64_t exchange_bytes(const struct mlt_trainable *t, int32_t n_ranks)
{
    int64_t largest = 0;
    for (size_t i = 0; i < t->n_parameters; i++)
        largest = MLT_MAX(largest, t->parameters[i].rows * t->parameters[i].columns);
    return n_ranks > 1 ? mlt_ranks_bytes(n_ranks) + (uint64_t)largest * sizeof(float) : 0;
}

static millet_status estimate(struct run *r, millet_train_memory *memory, millet_error *err)
{
    const millet_train_options *o = &r->options;
    if (!o->model == !o->shape)
        return wrong(err, "model", "either a model or the shape of a new one is needed");
    MLT_TRY(check_numbers(o, err));
    MLT_TRY(open_model(r, MLT_DTYPE_LIMIT, err));
    const struct mlt_trainable *t = r->model;
    struct mlt_pass_options pass = mlt_trainer_pass_options(o);
    uint64_t block = (uint64_t)t->n_values * sizeof(float);
    *memory = (millet_train_memory){.n_weights = t->n_weights,
                                    .weights = o->storage == MILLET_STORE_F32 ? block : 2 * block,
                                    .gradients = block,
                                    .exchange = exchange_bytes(t, mlt_trainer_ranks(o))};
    MLT_TRY(mlt_optimizer_estimate(&r->allocator, t, o->optimizer, mlt_trainer_ranks(o), &memory->optimizer,
                                   err));
    MLT_TRY(mlt_pass_estimate(&t->config, &pass, &memory->activations, err));
    memory->activations += mlt_cross_entropy_bytes(&t->config, (int64_t)pass.rows * o->length);
    MLT_TRY(mlt_teaching_bytes(&r->teaching, t, &memory->distillation, err));
    if (t->low_rank)
        memory->weights += (uint64_t)(t->low_rank->n_values + t->low_rank->n_decoded) * sizeof(float);
    memory->total = memory->weights + memory->gradients + memory->optimizer + memory->activations +
                    memory->distillation + memory->exchange;
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

/* All ranks must have begun with the same, or they would drift apart without a word. */
static millet_status compare_ranks(const struct run *r, millet_error *err)
{
    millet_ranks *ranks = r->options.ranks;
    if (!ranks) return MILLET_OK;
    uint64_t own = mlt_mix64(r->state.step), first;
    for (const char *c = r->settings.data; *c; c++)
        own = mlt_mix64(own ^ (uint8_t)*c);
    for (int64_t i = 0; i < r->model->n_values; i++) {
        uint32_t bits;
        memcpy(&bits, r->model->master + i, sizeof bits);
        own = own * UINT64_C(0x9E3779B97F4A7C15) + bits;
    }
    first = own;
    MLT_TRY(mlt_ranks_broadcast(ranks, &first, sizeof first, err));
    millet_status status = MILLET_OK;
    if (first != own)
        status = mlt_fail(err, MILLET_BAD_ARGUMENT,
                          "has another model, other data or other options than the first rank");
    return millet_ranks_agree(ranks, status, err);
}

static millet_status open_run(struct run *r, millet_error *err)
{
    const millet_train_options *o = &r->options;
    MLT_TRY(check_options(o, err));
    if (!o->resume && !o->restart && file_exists(r->state_path.data))
        return mlt_fail_at(
            err, MILLET_BAD_ARGUMENT, r->state_path.data, "state", MILLET_NO_OFFSET,
            "a state of an earlier training is there: resume it, or allow to restart and overwrite it");
    MLT_TRY(open_model(r, mlt_storage_dtype(o->storage), err));
    MLT_TRY(mlt_training_data_open(&r->allocator, o, r->model, &r->data, err));
    if (!o->steps) r->options.steps = mlt_training_data_steps(&r->data, o);
    struct mlt_batch_source source = mlt_batches_source(r->data.batches);
    if (o->mask > 0) {
        MLT_TRY(mlt_token_mask_open(&r->allocator, r->model->checkpoint, source, (double)o->mask,
                                    o->mask_predict, o->seed, &r->mask, err));
        source = mlt_token_mask_source(&r->mask);
    }
    MLT_TRY(mlt_teaching_open(&r->teaching, &r->data, r->model, err));
    MLT_TRY(mlt_trainer_open(&r->allocator, r->model, o, source, &r->trainer, err));
    if (r->teaching.labels.context) MLT_TRY(mlt_trainer_teach(&r->trainer, &r->teaching, err));
    MLT_TRY(mlt_training_settings(o, &r->settings, err));
    if (r->model->low_rank)
        MLT_TRY(mlt_text_printf(&r->settings, err, "base=%016llx\n",
                                (unsigned long long)r->model->low_rank->checksum));
    MLT_TRY(mlt_training_data_describe(&r->data, o, &r->settings, err));
    MLT_TRY(mlt_teaching_describe(&r->teaching, &r->settings, err));
    if (!o->resume) {
        mlt_trainable_set_exact(r->model, o->quantize_after > 0);
        return MILLET_OK;
    }
    MLT_TRY(mlt_training_state_read(&r->trainer.optimizer, o->allow_changes ? NULL : r->settings.data,
                                    &r->state, err));
    r->saved_step = r->state.step;
    mlt_trainable_set_exact(r->model, r->state.step < o->quantize_after);
    return MILLET_OK;
}

/* ---- Steps ---- */

/* Adds to an error what is safe. */
static void say_what_is_saved(const struct run *r, millet_error *err)
{
    if (!err) return;
    size_t length = strlen(err->message), room = sizeof err->message - length;
    if (r->saved_step == UINT64_MAX)
        snprintf(err->message + length, room, "; nothing was saved before it");
    else
        snprintf(err->message + length, room,
                 "; the state of step %llu, %.120s, is untouched: resume goes on from it",
                 (unsigned long long)r->saved_step, r->state_path.data);
}

static millet_status train_step(struct run *r, millet_error *err)
{
    const millet_train_options *o = &r->options;
    struct mlt_step_result result;
    MLT_TRY(mlt_trainer_step(&r->trainer, r->state.step, &result, err));
    r->state.step++;
    r->state.tokens += (uint64_t)o->rows * (uint64_t)o->length * (uint64_t)o->accumulate;
    r->report.loss = result.loss;
    r->report.tag_loss = result.label_loss;
    r->report.divergence = result.divergence;
    r->report.hidden = result.hidden;
    r->report.attention = result.attention;
    r->report.z = result.z;
    r->report.gradient_norm = result.gradient_norm;
    r->report.rate = result.rate;
    return MILLET_OK;
}

/* Over this rank's part of the rows kept for it, or of as many as are wanted of them. */
static millet_status measure(struct run *r, struct mlt_loss_sums *sums, millet_error *err)
{
    const millet_train_options *o = &r->options;
    uint64_t all = r->data.n_held_out_rows;
    uint64_t n = o->evaluate_rows ? MLT_MIN(o->evaluate_rows, all) : all;
    int64_t begin,
        count = mlt_ranks_part((int64_t)n, millet_ranks_rank(o->ranks), millet_ranks_size(o->ranks), &begin);
    int64_t most = r->trainer.batch.rows;
    for (int64_t done = 0; done < count; done += most) {
        struct mlt_batch batch = r->trainer.batch;
        batch.rows = (int32_t)MLT_MIN(count - done, most);
        batch.first_row = batch.all_rows = 0; /* a batch of its own */
        for (int32_t row = 0; row < batch.rows; row++) {
            /* Evenly: i * all / n without overflow. */
            uint64_t i = (uint64_t)(begin + done) + (uint64_t)row, index = i * (all / n) + i * (all % n) / n;
            MLT_TRY(mlt_training_data_held_out(&r->data, index, &batch, row, err));
        }
        MLT_TRY(mlt_trainer_measure(&r->trainer, &batch, sums, err));
    }
    return MILLET_OK;
}

/* The mean loss over all that. */
static millet_status evaluate(struct run *r, millet_error *err)
{
    const millet_train_options *o = &r->options;
    struct mlt_loss_sums sums = {0};
    millet_status status = measure(r, &sums, err);
    MLT_TRY(mlt_loss_sums_of_ranks(o->ranks, status, &sums, err));
    uint64_t n_next = sums.n_targets - sums.n_labels;
    double next_nll = sums.nll - (double)o->tag_weight * sums.label_nll;
    millet_train_report *report = &r->report;
    report->evaluation_loss = sums.weight > 0 ? sums.nll / sums.weight : (double)NAN;
    report->evaluation_tag_loss = sums.n_labels ? sums.label_nll / (double)sums.n_labels : (double)NAN;
    report->evaluation_token_loss = n_next ? next_nll / (double)n_next : (double)NAN;
    report->evaluation_divergence = sums.soft_weight > 0 ? sums.divergence / sums.soft_weight : (double)NAN;
    report->evaluation_hidden = sums.hidden_weight > 0 ? sums.hidden / sums.hidden_weight : (double)NAN;
    report->evaluation_attention =
        sums.relation_weight > 0 ? sums.relations / sums.relation_weight : (double)NAN;
    return MILLET_OK;
}

static millet_status save(struct run *r, millet_error *err)
{
    if (r->saved_step == r->state.step) return MILLET_OK;
    MLT_TRY(mlt_training_state_write(&r->trainer.optimizer, &r->state, r->settings.data, r->state_path.data,
                                     err));
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
    report->epochs =
        (double)r->state.step * (double)o->rows * (double)o->accumulate / (double)r->data.info.n_rows;
    report->seconds = mlt_clock_seconds() - r->started;
    double tokens = (double)done * (double)o->rows * (double)o->length * (double)o->accumulate;
    report->tokens_per_second = report->seconds > 0 ? tokens / report->seconds : 0;
    report->seconds_left = done ? report->seconds / (double)done * (double)(o->steps - r->state.step) : 0;
    report->saved = r->saved_step == r->state.step;
}

static void forget_evaluation(struct run *r)
{
    millet_train_report *report = &r->report;
    report->evaluation_loss = report->evaluation_divergence = report->evaluation_hidden =
        report->evaluation_attention = (double)NAN;
    report->evaluation_tag_loss = report->evaluation_token_loss = (double)NAN;
}

/* Whether training goes on: every rank's callback is asked. */
static millet_status report(struct run *r, bool *goes_on, millet_error *err)
{
    const millet_train_options *o = &r->options;
    fill_report(r);
    double stops = o->report && !o->report(o->context, &r->report);
    MLT_TRY(mlt_ranks_sum(o->ranks, &stops, 1, err));
    *goes_on = !(stops > 0);
    return MILLET_OK;
}

static millet_status write_output(struct run *r, millet_error *err)
{
    const millet_train_options *o = &r->options;
    millet_status status = MILLET_OK;
    if (millet_ranks_rank(o->ranks) == 0)
        status = mlt_trainable_write(r->model, o->output, mlt_storage_dtype(o->storage), NULL, err);
    return millet_ranks_agree(o->ranks, status, err);
}

static millet_status train(struct run *r, millet_error *err)
{
    const millet_train_options *o = &r->options;
    r->started = mlt_clock_seconds();
    r->first_step = r->state.step;
    r->report.loss = r->report.tag_loss = r->report.divergence = r->report.hidden = r->report.attention =
        r->report.z = (double)NAN; /* where all is done already */
    forget_evaluation(r);
    fill_report(r);
    while (r->state.step < o->steps) {
        MLT_TRY(train_step(r, err));
        forget_evaluation(r);
        if (r->data.n_held_out && is_due(o->evaluate_every, r->state.step, o->steps))
            MLT_TRY(evaluate(r, err));
        if (is_due(o->save_every, r->state.step, o->steps)) MLT_TRY(save(r, err));
        bool goes_on;
        MLT_TRY(report(r, &goes_on, err));
        if (goes_on) continue;
        MLT_TRY(save(r, err));
        return mlt_fail_at(err, MILLET_CANCELLED, r->state_path.data, NULL, MILLET_NO_OFFSET,
                           "stopped after step %llu of %llu; the state is saved: resume it to go on",
                           (unsigned long long)r->state.step, (unsigned long long)o->steps);
    }
    return write_output(r, err);
}

millet_status millet_train(const millet_train_options *options, millet_train_report *last, millet_error *err)
{
    struct run r = {0};
    millet_status status = start_run(&r, options, err);
    r.options.n_ranks = 0; /* of estimates */
    if (status == MILLET_OK) status = open_run(&r, err);
    status = millet_ranks_agree(r.options.ranks, status, err);
    if (status == MILLET_OK) status = compare_ranks(&r, err);
    if (status == MILLET_OK) {
        status = train(&r, err);
        if (status != MILLET_OK && status != MILLET_CANCELLED) say_what_is_saved(&r, err);
    }
    if (last) *last = r.report;
    close_run(&r);
    return status;
}
