/*
 * How fast a model is: a prompt, then token after token, several rounds; and what of it the machine's limits
 * allow.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "base/clock.h"
#include "base/memory.h"
#include "base/random.h"
#include "measure/measure.h"
#include "model/model.h"

#include <stdlib.h>

millet_speed_options millet_speed_options_default(void)
{
    return (millet_speed_options){.session = millet_session_options_default()};
}

/* Weights that one token passes through, by what they are multiplied with. */
struct work {
    double quantised, floating; /* elements multiplied */
    double bytes;               /* read */
};

static void add_matrix(struct work *work, const struct mlt_matrix *w, double times)
{
    if (!w->data) return;
    double elements = (double)w->rows * (double)w->columns * times;
    *(mlt_dtype_info(w->dtype)->quantised ? &work->quantised : &work->floating) += elements;
    work->bytes += (double)w->rows * (double)w->row_bytes * times;
}

/* Everything but the output matrix. */
static struct work work_of_layers(const millet_model *model)
{
    struct work work = {0};
    const struct mlt_config *config = &model->config;
    for (int32_t i = 0; i < config->n_layers; i++) {
        const struct mlt_layer *layer = &model->weights.layers[i];
        const struct mlt_matrix *all[] = {&layer->wq,     &layer->wk,   &layer->wv,     &layer->wo,
                                          &layer->w_gate, &layer->w_up, &layer->w_down, &layer->router};
        for (size_t j = 0; j < MLT_COUNT(all); j++)
            add_matrix(&work, all[j], 1);
        for (int32_t e = 0; e < config->n_experts; e++) {
            double share = (double)config->n_experts_used / config->n_experts;
            if (layer->e_gate) add_matrix(&work, &layer->e_gate[e], share);
            if (layer->e_up) add_matrix(&work, &layer->e_up[e], share);
            if (layer->e_down) add_matrix(&work, &layer->e_down[e], share);
        }
    }
    return work;
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Rates from times, sorted: the median and the extremes. */
static millet_rate rate_of(double *seconds, int32_t rounds, double tokens)
{
    qsort(seconds, (size_t)rounds, sizeof *seconds, compare_doubles);
    double middle = rounds % 2 ? seconds[rounds / 2] : (seconds[rounds / 2 - 1] + seconds[rounds / 2]) / 2;
    return (millet_rate){
        .median = tokens / middle, .min = tokens / seconds[rounds - 1], .max = tokens / seconds[0]};
}

struct bench {
    millet_session *session;
    millet_item *items;
    int32_t n_vocab;
    struct mlt_random random;
};

/* Appends `count` random tokens in one call; logits for the last. */
static millet_status feed(struct bench *bench, int32_t count, millet_error *err)
{
    for (int32_t i = 0; i < count; i++)
        bench->items[i] =
            (millet_item){.token = (int32_t)(mlt_random_u64(&bench->random) % (uint64_t)bench->n_vocab),
                          .logits = i == count - 1};
    return millet_eval(bench->session, bench->items, count, err);
}

static millet_status time_prompt(struct bench *bench, int32_t tokens, double *seconds, millet_error *err)
{
    MLT_TRY(millet_sequence_truncate(bench->session, 0, 0, err));
    double began = mlt_clock_seconds();
    MLT_TRY(feed(bench, tokens, err));
    *seconds = mlt_clock_seconds() - began;
    return MILLET_OK;
}

/* What generation begins with is computed once for all rounds: later ones find it in the sequence. */
static millet_status time_generation(struct bench *bench, int32_t depth, int32_t tokens, double *seconds,
                                     millet_error *err)
{
    int32_t begin = MLT_MAX(depth, 1);
    if (millet_sequence_length(bench->session, 0) < begin) {
        MLT_TRY(millet_sequence_truncate(bench->session, 0, 0, err));
        MLT_TRY(feed(bench, begin, err)); /* also brings the weights near */
    }
    MLT_TRY(millet_sequence_truncate(bench->session, 0, begin, err));
    double began = mlt_clock_seconds();
    for (int32_t i = 0; i < tokens; i++)
        MLT_TRY(feed(bench, 1, err));
    *seconds = mlt_clock_seconds() - began;
    return MILLET_OK;
}

static millet_status run_rounds(struct bench *bench, const millet_speed_options *options, int32_t rounds,
                                double *prompt, double *generation, millet_progress_callback *progress,
                                void *context, millet_error *err)
{
    double ignored;
    if (options->prompt_tokens > 0)
        MLT_TRY(time_prompt(bench, options->prompt_tokens, &ignored, err)); /* warm-up */
    for (int32_t i = 0; i < 2 * rounds; i++) {
        if (i < rounds && options->prompt_tokens > 0)
            MLT_TRY(time_prompt(bench, options->prompt_tokens, &prompt[i], err));
        if (i >= rounds && options->generate_tokens > 0)
            MLT_TRY(time_generation(bench, options->depth, options->generate_tokens, &generation[i - rounds],
                                    err));
        if (progress && !progress(context, (double)(i + 1) / (2 * rounds)))
            return mlt_fail(err, MILLET_CANCELLED, "the measurement was interrupted");
    }
    return MILLET_OK;
}

/* What the limits would allow, in tokens a second, where everything else took no time. */
static void limits(const millet_model *model, const millet_speed_options *options,
                   const millet_machine *machine, millet_speed *speed)
{
    struct work layers = work_of_layers(model), token = layers, output = {0};
    add_matrix(&output, &model->weights.output, 1);
    add_matrix(&token, &model->weights.output, 1);
    const struct mlt_config *config = &model->config;
    static const double element_bytes[] = {[MILLET_CACHE_F16] = 2,
                                           [MILLET_CACHE_F32] = 4,
                                           [MILLET_CACHE_Q8_0] = 34.0 / 32,
                                           [MILLET_CACHE_Q4] = 18.0 / 32};
    double element = element_bytes[options->session.cache_type];
    double positions = options->depth + options->generate_tokens / 2.0;
    double cache = positions * config->n_layers * config->n_kv_heads *
                   (config->head_size + config->value_size) * element;
    speed->bytes_per_token = token.bytes + cache;
    speed->operations_per_prompt_token = 2 * (layers.quantised + layers.floating);
    if (!machine) return;
    double n = options->prompt_tokens;
    double seconds = 2 * (n * layers.quantised + output.quantised) / machine->int8_operations_per_second +
                     2 * (n * layers.floating + output.floating) / machine->f32_operations_per_second;
    if (n > 0) speed->prompt_limit = n / seconds;
    speed->generate_limit = machine->read_bytes_per_second / speed->bytes_per_token;
}

millet_status millet_speed_measure(const millet_model *model, const millet_speed_options *options,
                                   const millet_machine *machine, millet_progress_callback *progress,
                                   void *context, millet_speed *speed, millet_error *err)
{
    millet_speed_options o = options ? *options : millet_speed_options_default();
    if (o.prompt_tokens == 0) o.prompt_tokens = 512;
    if (o.generate_tokens == 0) o.generate_tokens = 128;
    int32_t rounds = o.rounds ? o.rounds : 5;
    if (o.prompt_tokens < -1 || o.generate_tokens < -1 || o.depth < 0 || rounds < 1 || rounds > 10000)
        return mlt_fail(err, MILLET_BAD_ARGUMENT,
                        "token counts of -1 (leave out) or more and 1 to 10000 rounds are needed");
    if (o.session.n_ctx == 0) {
        int64_t wanted = MLT_MAX((int64_t)o.prompt_tokens, (int64_t)MLT_MAX(o.depth, 1) + o.generate_tokens);
        if (wanted > model->config.n_ctx_train)
            return mlt_fail(
                err, MILLET_BAD_ARGUMENT,
                "%lld positions are needed and the model was trained for %d; ask for fewer tokens",
                (long long)wanted, model->config.n_ctx_train);
        o.session.n_ctx = (int32_t)wanted;
    }
    const millet_allocator *allocator = &model->allocator;
    struct bench bench = {.n_vocab = model->config.n_vocab};
    mlt_random_seed(&bench.random, 1);
    int32_t longest = MLT_MAX(MLT_MAX(o.prompt_tokens, o.depth), 1);
    double *seconds = mlt_alloc_zero(allocator, 2 * (size_t)rounds, sizeof *seconds, err);
    bench.items = mlt_alloc(allocator, (size_t)longest, sizeof *bench.items, err);
    millet_status status = seconds && bench.items
                               ? millet_session_open(model, &o.session, &bench.session, err)
                               : MILLET_NO_MEMORY;
    if (status == MILLET_OK)
        status = run_rounds(&bench, &o, rounds, seconds, seconds + rounds, progress, context, err);
    if (status == MILLET_OK) {
        *speed = (millet_speed){.prompt_tokens = MLT_MAX(o.prompt_tokens, 0),
                                .generate_tokens = MLT_MAX(o.generate_tokens, 0),
                                .depth = o.depth,
                                .rounds = rounds};
        if (o.prompt_tokens > 0) speed->prompt = rate_of(seconds, rounds, o.prompt_tokens);
        if (o.generate_tokens > 0) speed->generate = rate_of(seconds + rounds, rounds, o.generate_tokens);
        limits(model, &o, machine, speed);
    }
    millet_session_close(&bench.session);
    mlt_free(allocator, bench.items);
    mlt_free(allocator, seconds);
    return status;
}
