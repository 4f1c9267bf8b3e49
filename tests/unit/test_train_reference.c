/*
 * A whole small model's losses over fifty steps against an independent implementation of model, loss,
 * optimiser and schedule (PyTorch 1.13 in double precision), from initial weights and tokens that both sides
 * make by the same rule.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "support/toy_model.h"
#include "train/trainer.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { STEPS = 50, LAYERS = 6, LENGTH = 24, ROWS = 4, VOCABULARY = 64 };

static const double llama_losses[STEPS] = {
    4.330087779, 4.323051712, 4.268175437, 4.314141849, 4.194834470, 4.236358142, 4.172861264, 4.267083868,
    4.144128087, 4.077423224, 4.224180723, 4.258085147, 4.020701645, 4.181670357, 4.127994305, 4.081107332,
    4.068048633, 4.071847198, 4.198559407, 4.172333729, 4.097668604, 4.064277599, 4.031979940, 3.888103001,
    4.036941976, 3.853228213, 3.953592251, 3.955496974, 3.856079248, 3.853470248, 3.800443638, 3.607361678,
    3.597174387, 3.640205278, 3.532789754, 3.568117107, 3.476295127, 3.497818028, 3.356810250, 3.437095465,
    3.304033507, 3.330425293, 3.432004327, 3.326315067, 3.409004912, 3.128130246, 3.010835306, 3.238740733,
    3.240603280, 3.150405523};

static const double gemma3_losses[STEPS] = {
    4.304253548, 4.214032288, 4.196998175, 4.076025914, 4.211162272, 4.220770788, 3.981468836, 4.062839399,
    3.851693675, 3.888343321, 3.773466970, 3.763733513, 3.678491626, 3.801206384, 3.519504289, 3.594100087,
    3.446256279, 3.464757900, 3.536061875, 3.328618292, 3.291082155, 3.269955621, 3.088046265, 3.002123508,
    2.875529443, 2.834754348, 2.880282664, 2.678626595, 2.536683805, 2.607921690, 2.419319377, 2.471209281,
    2.379733901, 2.347746392, 2.364124971, 2.303576023, 2.108940930, 2.181411489, 2.147138932, 2.109553588,
    2.113856107, 2.160780969, 2.140014779, 2.068354049, 2.076584357, 1.975920054, 1.895894070, 2.038592284,
    2.098835551, 1.999682042};

/* ---- The rule ---- */

/* Value `index` of what `name` stands for: 32 mixed bits. */
static uint32_t rule(const char *name, uint32_t index)
{
    uint32_t hash = 0x811c9dc5u;
    for (; *name; name++)
        hash = (hash ^ (uint8_t)*name) * 0x01000193u;
    uint32_t x = (index + 1) * 0x9E3779B1u + hash;
    x ^= x >> 16;
    x *= 0x85EBCA6Bu;
    x ^= x >> 13;
    x *= 0xC2B2AE35u;
    return x ^ x >> 16;
}

/* Norms near 1, everything else near 0: uniform with a width of 0.2. */
static void set_weights(struct mlt_trainable *t)
{
    for (size_t i = 0; i < t->n_parameters; i++) {
        const struct mlt_parameter *p = &t->parameters[i];
        const char *name = p->tensor->name.data;
        float mean = strstr(name, "norm.weight") ? 1.0f : 0.0f;
        for (int64_t j = 0; j < p->rows * p->columns; j++) {
            float x = (float)((double)rule(name, (uint32_t)j) * 0x1p-32);
            t->master[p->offset + j] = mean + 0.2f * (x - 0.5f);
        }
    }
}

/* Each token follows from the one before, but for one bit. */
static millet_status fill_batch(void *context, uint64_t step, struct mlt_batch *batch, millet_error *err)
{
    (void)context;
    (void)err;
    for (int32_t row = 0; row < batch->rows; row++) {
        char name[48];
        snprintf(name, sizeof name, "tokens %d %d", (int)step, row);
        int32_t token = (int32_t)(rule(name, 0) % VOCABULARY);
        for (int32_t i = 0; i < batch->length; i++) {
            int32_t at = row * batch->length + i;
            batch->tokens[at] = token;
            token = (3 * token + 7 + (int32_t)(rule(name, (uint32_t)i) >> 31)) % VOCABULARY;
            batch->targets[at] = token;
            batch->begin[at] = 0;
            batch->end[at] = i;
        }
    }
    return MILLET_OK;
}

/* ---- The comparison ---- */

static void compare(const struct toy_model *toy, const double *expected, int threads, bool recompute)
{
    millet_error err;
    struct mlt_checkpoint *checkpoint;
    struct mlt_trainable *model;
    struct mlt_trainer trainer;
    millet_train_options options = millet_train_options_default();
    options.steps = STEPS;
    options.rows = ROWS;
    options.length = LENGTH;
    options.rate = 0.003f;
    options.warmup = 5;
    options.z_loss = 1e-3f;
    options.n_threads = threads;
    options.recompute = recompute;
    const millet_allocator *allocator = mlt_default_allocator();
    assert_int_equal(toy_checkpoint(allocator, toy, &checkpoint, &err), MILLET_OK);
    assert_int_equal(mlt_trainable_open(allocator, checkpoint, MLT_F32, &model, &err), MILLET_OK);
    set_weights(model);
    struct mlt_batch_source source = {NULL, fill_batch};
    assert_int_equal(mlt_trainer_open(allocator, model, &options, source, &trainer, &err), MILLET_OK);
    for (uint64_t step = 0; step < STEPS; step++) {
        struct mlt_step_result result;
        assert_int_equal(mlt_trainer_step(&trainer, step, &result, &err), MILLET_OK);
        if (fabs(result.loss - expected[step]) > 1e-4 * expected[step])
            fail_msg("%s: the loss of step %d is %.9f, the reference's %.9f", toy->architecture, (int)step,
                     result.loss, expected[step]);
    }
    mlt_trainer_close(&trainer);
    mlt_trainable_close(&model);
}

static struct toy_model shape(const char *architecture)
{
    struct toy_model toy = toy_model_default(architecture);
    toy.n_layers = LAYERS;
    toy.n_vocab = VOCABULARY;
    return toy;
}

static void llama(void **state)
{
    (void)state;
    struct toy_model toy = shape("llama");
    toy.untied = true;
    compare(&toy, llama_losses, 1, false);
    compare(&toy, llama_losses, 3, true);
}

/* Norms of heads and of branches, tied embeddings, GELU, windows, two ropes. */
static void gemma3(void **state)
{
    (void)state;
    const struct toy_key keys[] = {{"rope.freq_base", false, toy_f32(1e6f)}};
    struct toy_model toy = shape("gemma3");
    toy.keys = keys;
    toy.n_keys = 1;
    compare(&toy, gemma3_losses, 2, false);
    compare(&toy, gemma3_losses, 1, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(llama), cmocka_unit_test(gemma3)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
