/*
 * Training adapters: gradients as the differences of a naive model with the adapter merged into it say, the
 * engine's logits, a model that begins as it was, and training from files to a file and back.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/random.h"
#include "compact/merge_adapter.h"
#include "millet/train.h"
#include "model/adapter.h"
#include "model/forward.h"
#include "support/file_bytes.h"
#include "support/naive_forward.h"
#include "support/tiny_model.h"
#include "support/toy_model.h"
#include "train/loss.h"
#include "train/pass_state.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { LENGTH = 9 };

static int32_t tokens[LENGTH], targets[LENGTH], first[LENGTH], last[LENGTH];
static const struct mlt_batch batch = {
    .rows = 1, .length = LENGTH, .tokens = tokens, .targets = targets, .begin = first, .end = last};

static void must(millet_status status, const millet_error *err)
{
    char text[800];
    if (status == MILLET_OK) return;
    millet_error_format(err, text, sizeof text);
    fail_msg("%s", text);
}

static void make_batch(int32_t n_vocab)
{
    for (int32_t i = 0; i < LENGTH; i++) {
        tokens[i] = i * 7 % n_vocab;
        targets[i] = i == LENGTH - 1 ? MLT_NO_TARGET : (i + 1) * 7 % n_vocab;
        first[i] = 0;
        last[i] = i;
    }
}

static int set_up(void **state)
{
    (void)state;
    return folder_make() ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    folder_remove();
    return 0;
}

/* ---- Models ---- */

/* With one matrix for q, k and v, with one for gate and up, with biases, windows and norms of branches. */
enum { FAMILIES = 5 };

static struct toy_model family(int index)
{
    static const char *const names[FAMILIES] = {"llama", "phi3", "gpt2", "gemma2", "stablelm"};
    struct toy_model toy = toy_model_default(names[index]);
    toy.n_embd = 32; /* the naive model is slow */
    toy.n_ff = 40;
    toy.n_vocab = 24;
    if (index == 4) toy.parallel_block = true;
    return toy;
}

static struct mlt_trainable *open_trainable(const struct toy_model *toy, const char *names)
{
    millet_error err;
    struct mlt_checkpoint *checkpoint;
    struct mlt_trainable *t = NULL;
    struct mlt_low_rank_options low = {.rank = 3, .alpha = 4.5f, .seed = 5};
    must(mlt_low_rank_targets(names, &low.targets, &err), &err);
    must(toy_checkpoint(mlt_default_allocator(), toy, &checkpoint, &err), &err);
    must(mlt_trainable_open_adapter(mlt_default_allocator(), checkpoint, &low, NULL, MLT_F32, &t, &err),
         &err);
    return t;
}

/* B of random values too: as after some steps. */
static void make_trained(struct mlt_trainable *t)
{
    struct mlt_random random;
    mlt_random_seed(&random, 3);
    for (size_t i = 0; i < t->n_parameters; i++)
        for (int64_t j = 0; j < t->parameters[i].rows * t->parameters[i].columns; j++)
            t->master[t->parameters[i].offset + j] = mlt_random_float(&random) * 0.4f - 0.2f;
}

static struct mlt_pass *open_pass(struct mlt_trainable *t, int threads, bool recompute)
{
    millet_error err;
    struct mlt_pass *pass = NULL;
    struct mlt_pass_options options = {.rows = 1,
                                       .length = LENGTH,
                                       .n_threads = threads,
                                       .recompute = recompute,
                                       .backward = true,
                                       .rank = t->low_rank ? t->low_rank->options.rank : 0};
    must(mlt_pass_open(mlt_default_allocator(), t, &options, &pass, &err), &err);
    return pass;
}

static double run(struct mlt_trainable *t, struct mlt_pass *pass)
{
    millet_error err;
    struct mlt_loss_stage stage;
    struct mlt_loss_sums sums;
    must(mlt_cross_entropy_open(mlt_default_allocator(), &t->config, LENGTH, 0, &stage, &err), &err);
    memset(t->gradient, 0, (size_t)t->n_values * sizeof(float));
    must(mlt_pass_forward(pass, &batch, &err), &err);
    must(stage.run(stage.context, pass, &batch, true, 1, &sums, &err), &err);
    mlt_pass_backward(pass, &batch);
    stage.close(stage.context);
    return sums.nll;
}

/* ---- The oracle: written, read, merged, and computed in double ---- */

static double naive_loss(const struct mlt_trainable *t, const struct toy_model *toy)
{
    millet_error err;
    struct mlt_checkpoint *base, *adapter;
    struct mlt_adapter_file file;
    struct mlt_arena arena;
    millet_model *model;
    static double logits[LENGTH * 24];
    double loss = 0;
    must(mlt_trainable_write(t, folder_path("adapter.gguf"), MLT_F32, NULL, &err), &err);
    must(mlt_checkpoint_open(mlt_default_allocator(), folder_path("adapter.gguf"), NULL, &adapter, &err),
         &err);
    must(toy_checkpoint(mlt_default_allocator(), toy, &base, &err), &err);
    mlt_arena_init(&arena, mlt_default_allocator());
    must(mlt_adapter_file_read(adapter, base, &arena, &file, &err), &err);
    must(mlt_merge_adapter(base, &file, 1, &err), &err);
    must(mlt_model_from_checkpoint(mlt_default_allocator(), base, &model, &err), &err);
    naive_forward(model, tokens, LENGTH, 64, logits);
    for (int32_t i = 0; i < LENGTH - 1; i++) {
        const double *row = logits + i * model->config.n_vocab;
        double sum = 0;
        for (int32_t v = 0; v < model->config.n_vocab; v++)
            sum += exp(row[v]);
        loss += log(sum) - row[targets[i]];
    }
    millet_model_close(&model);
    mlt_checkpoint_close(&adapter);
    mlt_arena_release(&arena);
    return loss;
}

static void check_parameter(struct mlt_trainable *t, const struct toy_model *toy,
                            const struct mlt_parameter *p, struct mlt_random *random)
{
    const float *gradient = t->gradient + p->offset;
    float *weight = t->master + p->offset;
    int64_t n = p->rows * p->columns, most = 0;
    for (int64_t i = 0; i < n; i++)
        if (fabsf(gradient[i]) > fabsf(gradient[most])) most = i;
    assert_true(gradient[most] != 0);
    int64_t indices[] = {most, (int64_t)(mlt_random_u64(random) % (uint64_t)n)};
    for (int j = 0; j < 2; j++) {
        int64_t i = indices[j];
        float kept = weight[i], above = kept + 4e-3f, below = kept - 4e-3f;
        weight[i] = above;
        double up = naive_loss(t, toy);
        weight[i] = below;
        double down = naive_loss(t, toy);
        weight[i] = kept;
        double expected = (up - down) / ((double)above - (double)below), got = (double)gradient[i];
        if (fabs(got - expected) > 2e-3 * fabs(expected) + 2e-3 * fabs((double)gradient[most]))
            fail_msg("%s: %s: the gradient of value %lld is %.7g, differences say %.7g", toy->architecture,
                     p->tensor->name.data, (long long)i, got, expected);
    }
}

static void gradients_are_differences(void **state)
{
    (void)state;
    struct mlt_random random;
    mlt_random_seed(&random, 11);
    for (int i = 0; i < FAMILIES; i++) {
        struct toy_model toy = family(i);
        make_batch(toy.n_vocab);
        struct mlt_trainable *t = open_trainable(&toy, NULL);
        struct mlt_pass *pass = open_pass(t, 1, false);
        make_trained(t);
        double loss = run(t, pass), naive = naive_loss(t, &toy);
        if (fabs(loss - naive) > 1e-5 * naive)
            fail_msg("%s: the loss is %.9g, naively %.9g", toy.architecture, loss, naive);
        for (size_t p = 0; p < t->n_parameters; p++)
            check_parameter(t, &toy, &t->parameters[p], &random);
        mlt_pass_close(&pass);
        mlt_trainable_close(&t);
    }
}

static void threads_and_recomputing_change_no_bit(void **state)
{
    (void)state;
    for (int i = 0; i < FAMILIES; i++) {
        struct toy_model toy = family(i);
        make_batch(toy.n_vocab);
        struct mlt_trainable *t = open_trainable(&toy, NULL);
        make_trained(t);
        size_t bytes = (size_t)t->n_values * sizeof(float);
        float *expected = malloc(bytes);
        double loss = 0;
        for (int form = 0; form < 4; form++) {
            struct mlt_pass *pass = open_pass(t, form == 0 ? 1 : form + 1, form == 2);
            double now = run(t, pass);
            if (form == 0) {
                loss = now;
                memcpy(expected, t->gradient, bytes);
            }
            assert_true(now == loss);
            assert_memory_equal(t->gradient, expected, bytes);
            mlt_pass_close(&pass);
        }
        free(expected);
        mlt_trainable_close(&t);
    }
}

/* A new adapter changes nothing; what is chosen gets one, and nothing else. */
static void a_new_adapter_changes_nothing(void **state)
{
    (void)state;
    static const struct {
        const char *names;
        size_t pairs[FAMILIES]; /* in two layers */
    } cases[] = {{NULL, {14, 8, 8, 14, 14}},
                 {"q,v", {4, 2, 2, 4, 4}},
                 {"down", {2, 2, 2, 2, 2}},
                 {"gate", {2, 0, 0, 2, 2}},
                 {"o,up", {4, 4, 4, 4, 4}}};
    for (size_t i = 0; i < FAMILIES * MLT_COUNT(cases); i++) {
        millet_error err;
        struct toy_model toy = family((int)(i % FAMILIES));
        size_t pairs = cases[i / FAMILIES].pairs[i % FAMILIES];
        if (!pairs) continue;
        make_batch(toy.n_vocab);
        struct mlt_trainable *t = open_trainable(&toy, cases[i / FAMILIES].names), *plain;
        struct mlt_checkpoint *checkpoint;
        must(toy_checkpoint(mlt_default_allocator(), &toy, &checkpoint, &err), &err);
        must(mlt_trainable_open(mlt_default_allocator(), checkpoint, MLT_F32, &plain, &err), &err);
        struct mlt_pass *pass = open_pass(t, 1, false), *of_plain = open_pass(plain, 1, false);
        assert_int_equal(t->low_rank->n_pairs, pairs);
        assert_int_equal(t->n_parameters, 2 * pairs);
        assert_true(run(t, pass) == run(plain, of_plain));
        mlt_pass_close(&pass);
        mlt_pass_close(&of_plain);
        mlt_trainable_close(&t);
        mlt_trainable_close(&plain);
    }
}

static void absent_matrices_are_refused(void **state)
{
    (void)state;
    struct toy_model toy = family(2); /* no gate */
    struct mlt_low_rank_options low = {.rank = 3, .alpha = 3};
    struct mlt_checkpoint *checkpoint;
    struct mlt_trainable *t;
    millet_error err;
    must(mlt_low_rank_targets("gate", &low.targets, &err), &err);
    must(toy_checkpoint(mlt_default_allocator(), &toy, &checkpoint, &err), &err);
    assert_int_equal(
        mlt_trainable_open_adapter(mlt_default_allocator(), checkpoint, &low, NULL, MLT_F32, &t, &err),
        MILLET_BAD_ARGUMENT);
    assert_string_equal(err.item, "lora_targets");
    assert_null(t);
}

/* The engine with base and adapter, over weights in blocks. */
static void logits_are_the_engines(void **state)
{
    (void)state;
    for (int i = 0; i < FAMILIES; i++) {
        millet_error err;
        struct toy_model toy = toy_model_default(family(i).architecture);
        toy.dtype = MLT_Q8_0;
        make_batch(toy.n_vocab);
        struct mlt_trainable *t = open_trainable(&toy, NULL);
        struct mlt_pass *pass = open_pass(t, 1, false);
        make_trained(t);
        int64_t n = (int64_t)LENGTH * toy.n_vocab;
        float *ours = malloc((size_t)n * sizeof *ours), *engine = malloc((size_t)n * sizeof *engine);
        must(mlt_pass_forward(pass, &batch, &err), &err);
        mlt_pass_linear(pass, pass->hidden, LENGTH, t->output, t->output_bias, false, ours);
        for (int64_t j = 0; j < n; j++) {
            ours[j] *= t->config.logit_scale;
            float cap = t->config.logit_softcap;
            if (cap > 0) ours[j] = cap * tanhf(ours[j] / cap);
        }
        must(mlt_trainable_write(t, folder_path("adapter.gguf"), MLT_F32, NULL, &err), &err);
        millet_model *model = toy_model_open(&toy);
        millet_adapter *adapter;
        must(millet_adapter_open(model, folder_path("adapter.gguf"), &adapter, &err), &err);
        millet_adapter_use use = {adapter, 1};
        struct mlt_forward_options options = {.n_ctx = 64,
                                              .n_sequences = 1,
                                              .n_batch = 64,
                                              .n_logits = 64,
                                              .n_threads = 1,
                                              .cache = MLT_F32,
                                              .exact_activations = true,
                                              .adapters = &use,
                                              .n_adapters = 1};
        struct mlt_forward *forward;
        must(mlt_forward_open(mlt_default_allocator(), model, &options, &forward, &err), &err);
        millet_item items[LENGTH];
        for (int32_t j = 0; j < LENGTH; j++)
            items[j] = (millet_item){.token = tokens[j], .logits = true};
        mlt_forward_run(forward, items, LENGTH, engine);
        double scale = 0;
        for (int64_t j = 0; j < n; j++)
            scale = fabs((double)engine[j]) > scale ? fabs((double)engine[j]) : scale;
        for (int64_t j = 0; j < n; j++)
            if (fabs((double)ours[j] - (double)engine[j]) > 3e-5 * scale)
                fail_msg("%s: logit %lld is %g, the engine's is %g", toy.architecture, (long long)j,
                         (double)ours[j], (double)engine[j]);
        mlt_forward_close(&forward);
        millet_adapter_close(&adapter);
        millet_model_close(&model);
        mlt_pass_close(&pass);
        mlt_trainable_close(&t);
        free(ours);
        free(engine);
    }
}

/* ---- From files to a file ---- */

static uint64_t stop_at;

static bool stop(void *context, const millet_train_report *report)
{
    (void)context;
    return report->step != stop_at;
}

static void training_lowers_the_loss_and_leaves_the_model_alone(void **state)
{
    (void)state;
    char model[512], other[512], cache[512], whole[512], parts[512], source[512];
    millet_error err;
    struct file_bytes text = {0};
    struct tiny_shape shape = tiny_default();
    strcpy(model, folder_path("in.gguf"));
    strcpy(other, folder_path("other.gguf"));
    strcpy(cache, folder_path("text.tokens"));
    strcpy(whole, folder_path("whole.gguf"));
    strcpy(parts, folder_path("parts.gguf"));
    strcpy(source, folder_path("text.txt"));
    tiny_write(model, &shape);
    shape.noise = 0.1f;
    tiny_write(other, &shape);
    for (int i = 0; i < 60; i++) {
        char line[64];
        int n = snprintf(line, sizeof line, "abc de %d fgh abc de\n<|endoftext|>\n", i);
        bytes_put(&text, line, (size_t)n);
    }
    file_write(source, &text);
    bytes_free(&text);
    millet_tokenizer *tokenizer;
    must(millet_tokenizer_open(model, NULL, NULL, &tokenizer, &err), &err);
    must(millet_cache_build(source, cache, tokenizer, NULL, NULL, &err), &err);
    millet_tokenizer_close(&tokenizer);

    const millet_train_data data = {.cache = cache};
    millet_train_options options = millet_train_options_default();
    options.model = model;
    options.data = &data;
    options.n_data = 1;
    options.rows = 2;
    options.length = 32;
    options.n_threads = 2;
    options.holdout = 5;
    options.evaluate_every = 1;
    options.report = stop;
    options.output = whole;
    options.lora_rank = 4;
    options.lora_targets = "q,v,up,down";
    struct file_bytes before = file_read(model);
    millet_train_memory full, low;
    must(millet_train_estimate(&options, &low, &err), &err);
    options.lora_rank = 0;
    must(millet_train_estimate(&options, &full, &err), &err);
    options.lora_rank = 4;
    assert_true(low.gradients < full.gradients / 4 && low.optimizer < full.optimizer / 4);
    assert_true(low.weights < full.weights + full.weights / 4);
    assert_true(low.n_weights < full.n_weights / 4);

    millet_train_report report;
    options.steps = 1;
    options.rate = 0;
    must(millet_train(&options, &report, &err), &err);
    double at_first = report.evaluation_loss;
    options.restart = true;
    options.rate = 0.01f;
    options.steps = 30;
    must(millet_train(&options, &report, &err), &err);
    if (!(report.evaluation_loss < 0.8 * at_first))
        fail_msg("the loss was %g, now it is %g", at_first, report.evaluation_loss);

    /* The same with stops. */
    options.output = parts;
    static const uint64_t stops[] = {7, 20, UINT64_MAX};
    for (size_t i = 0; i < MLT_COUNT(stops); i++) {
        stop_at = stops[i];
        options.resume = i > 0;
        options.restart = i == 0;
        options.n_threads = (int32_t)i + 1;
        assert_int_equal(millet_train(&options, &report, &err),
                         i + 1 == MLT_COUNT(stops) ? MILLET_OK : MILLET_CANCELLED);
        if (i == 0) { /* the state is an adapter file itself */
            millet_model *opened;
            millet_adapter *adapter;
            must(millet_model_open(model, NULL, &opened, &err), &err);
            must(millet_adapter_open(opened, folder_path("parts.gguf.state"), &adapter, &err), &err);
            millet_adapter_close(&adapter);
            millet_model_close(&opened);
        }
    }
    assert_true(files_are_same("whole.gguf", "parts.gguf"));

    /* Another model, another choice, and a state that is none of an adapter. */
    options.model = other;
    assert_int_equal(millet_train(&options, NULL, &err), MILLET_BAD_ARGUMENT);
    assert_non_null(strstr(err.message, "base="));
    options.model = model;
    options.lora_alpha = 3;
    assert_int_equal(millet_train(&options, NULL, &err), MILLET_BAD_ARGUMENT);
    assert_non_null(strstr(err.message, "lora_alpha="));
    options.lora_alpha = 0;
    options.lora_targets = "k";
    assert_int_equal(millet_train(&options, NULL, &err), MILLET_NOT_FOUND);
    options.lora_targets = "q,v,up,down";
    options.lora_rank = 5;
    assert_int_equal(millet_train(&options, NULL, &err), MILLET_BAD_FORMAT);
    struct file_bytes after = file_read(model);
    assert_int_equal(before.size, after.size);
    assert_memory_equal(before.data, after.data, after.size);
    bytes_free(&before);
    bytes_free(&after);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_are_differences),
        cmocka_unit_test(threads_and_recomputing_change_no_bit),
        cmocka_unit_test(a_new_adapter_changes_nothing),
        cmocka_unit_test(absent_matrices_are_refused),
        cmocka_unit_test(logits_are_the_engines),
        cmocka_unit_test(training_lowers_the_loss_and_leaves_the_model_alone),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
