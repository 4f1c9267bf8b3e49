/*
 * The passes of training over every family of decoders: logits as the engine's, gradients as the differences
 * of a naive double-precision model say, nothing that depends on threads, on recomputing, or on how documents
 * are packed.
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
#include "model/forward.h"
#include "support/naive_forward.h"
#include "support/toy_model.h"
#include "train/loss.h"
#include "train/pass_state.h"

#include <math.h>
#include <string.h>

enum { ROWS = 2, LENGTH = 11, TOKENS = ROWS * LENGTH };

static int32_t tokens[TOKENS], targets[TOKENS], first[TOKENS], last[TOKENS];
static uint8_t marks[TOKENS];
static float dropout, row_weight[ROWS] = {1.25f, 0.5f};
static struct mlt_batch batch = {.rows = ROWS,
                                 .length = LENGTH,
                                 .tokens = tokens,
                                 .targets = targets,
                                 .begin = first,
                                 .end = last,
                                 .marks = marks,
                                 .tag_weight = 0.375f,
                                 .row_weight = row_weight};

/* Row 0 is one document, row 1 holds two; some positions have no target. */
static void make_batch(int32_t n_vocab)
{
    struct mlt_random random;
    mlt_random_seed(&random, 5);
    memset(marks, 0, sizeof marks);
    for (int32_t i = 0; i < TOKENS; i++) {
        int32_t at = i % LENGTH;
        tokens[i] = (int32_t)(mlt_random_u64(&random) % (uint64_t)n_vocab);
        first[i] = i >= LENGTH && at >= 4 ? 4 : 0;
        last[i] = at;
    }
    for (int32_t i = 0; i < TOKENS; i++) {
        int32_t at = i % LENGTH;
        bool end = at == LENGTH - 1 || (i >= LENGTH && at == 3);
        targets[i] = end || at == 6 ? MLT_NO_TARGET : tokens[i + 1];
    }
}

static void must(millet_status status, const millet_error *err)
{
    char text[800];
    if (status == MILLET_OK) return;
    millet_error_format(err, text, sizeof text);
    fail_msg("%s", text);
}

static struct mlt_trainable *open_trainable(const struct toy_model *toy, mlt_dtype stored)
{
    millet_error err;
    struct mlt_checkpoint *checkpoint;
    struct mlt_trainable *t = NULL;
    must(toy_checkpoint(mlt_default_allocator(), toy, &checkpoint, &err), &err);
    must(mlt_trainable_open(mlt_default_allocator(), checkpoint, stored, &t, &err), &err);
    return t;
}

static struct mlt_pass *open_pass(struct mlt_trainable *t, int threads, bool recompute)
{
    millet_error err;
    struct mlt_pass *pass = NULL;
    struct mlt_pass_options options = {
        .rows = ROWS, .length = LENGTH, .n_threads = threads, .recompute = recompute, .backward = true};
    must(mlt_pass_open(mlt_default_allocator(), t, &options, &pass, &err), &err);
    return pass;
}

static double run(struct mlt_trainable *t, struct mlt_pass *pass, float z_loss)
{
    millet_error err;
    struct mlt_loss_stage stage;
    struct mlt_loss_sums sums;
    must(mlt_cross_entropy_open(mlt_default_allocator(), &t->config, TOKENS, z_loss, &stage, &err), &err);
    memset(t->gradient, 0, (size_t)t->n_values * sizeof(float));
    pass->dropout = dropout;
    pass->dropout_key = 12345;
    must(mlt_pass_forward(pass, &batch, &err), &err);
    must(stage.run(stage.context, pass, &batch, true, 1, &sums, &err), &err);
    mlt_pass_backward(pass, &batch);
    stage.close(stage.context);
    return sums.nll + (double)z_loss * sums.z;
}

/* ---- The families ---- */

enum { FAMILIES = 14 };

static struct toy_model family(int index)
{
    static const char *const names[] = {"llama", "qwen2",   "qwen3",   "gemma2",   "gemma3",  "phi3",
                                        "gpt2",  "smollm3", "minicpm", "stablelm", "stablelm"};
    struct toy_model toy = toy_model_default(index < 11 ? names[index] : "llama");
    if (index == 9) toy.qk_norm = true;
    if (index == 10) toy.parallel_block = true, toy.biases = true;
    if (index == 11) toy.untied = toy.biases = true, toy.rope_freqs = true;
    if (index == 12) toy.head_size = 24, toy.value_size = 20, toy.rope_size = 16, toy.n_kv_heads = 1;
    if (index == 13) toy.n_kv_heads = 4, toy.dtype = MLT_BF16;
    return toy;
}

/* Row 0 begins with a prefix of 5 that sees itself, the second document of row 1 with one of 3. Of a prefix,
 * only the last position predicts a next token, and some of the others of row 0 a label. */
static void add_prefixes(int32_t n_vocab)
{
    for (int32_t i = 0; i < 5; i++)
        last[i] = 4;
    for (int32_t i = 4; i < 7; i++)
        last[LENGTH + i] = 6;
    for (int32_t i = 0; i < TOKENS; i++)
        if (last[i] > i % LENGTH) targets[i] = MLT_NO_TARGET;
    for (int32_t i = 1; i < 4; i++) {
        targets[i] = (7 * i) % n_vocab;
        marks[i] = MILLET_MARK_LABEL;
    }
}

/* ---- Logits ---- */

static void logits_of_pass(struct mlt_trainable *t, struct mlt_pass *pass, float *logits)
{
    const struct mlt_config *c = &t->config;
    millet_error err;
    must(mlt_pass_forward(pass, &batch, &err), &err);
    mlt_pass_linear(pass, pass->hidden, TOKENS, t->output, t->output_bias, false, logits);
    for (int64_t i = 0; i < (int64_t)TOKENS * c->n_vocab; i++) {
        logits[i] *= c->logit_scale;
        if (c->logit_softcap > 0) logits[i] = c->logit_softcap * tanhf(logits[i] / c->logit_softcap);
    }
}

static void logits_of_engine(const millet_model *model, float *logits)
{
    millet_error err;
    struct mlt_forward *f;
    struct mlt_forward_options options = {.n_ctx = 64,
                                          .n_sequences = 1,
                                          .n_batch = 64,
                                          .n_logits = 64,
                                          .n_threads = 1,
                                          .cache = MLT_F32,
                                          .exact_activations = true};
    must(mlt_forward_open(mlt_default_allocator(), model, &options, &f, &err), &err);
    for (int32_t begin = 0; begin < TOKENS;) {
        millet_item items[LENGTH];
        int32_t n = 0;
        do
            items[n] = (millet_item){.token = tokens[begin + n], .logits = true};
        while (++n + begin < TOKENS && (begin + n) % LENGTH > first[begin + n]);
        mlt_forward_truncate(f, 0, 0);
        mlt_forward_run(f, items, n, logits + (int64_t)begin * model->config.n_vocab);
        begin += n;
    }
    mlt_forward_close(&f);
}

static void logits_are_the_engines(void **state)
{
    (void)state;
    for (int i = 0; i < FAMILIES; i++) {
        struct toy_model toy = family(i);
        make_batch(toy.n_vocab);
        struct mlt_trainable *t = open_trainable(&toy, MLT_F32);
        struct mlt_pass *pass = open_pass(t, 1, false);
        millet_model *model = toy_model_open(&toy);
        size_t n = (size_t)TOKENS * (size_t)toy.n_vocab;
        float *a = malloc(n * sizeof *a), *b = malloc(n * sizeof *b);
        logits_of_pass(t, pass, a);
        logits_of_engine(model, b);
        double scale = 0;
        for (size_t j = 0; j < n; j++)
            scale = fabs((double)b[j]) > scale ? fabs((double)b[j])
                                               : scale; /* gcc 12 for ARM breaks on fmax here */
        for (size_t j = 0; j < n; j++)
            if (fabs((double)a[j] - (double)b[j]) > 2e-5 * scale)
                fail_msg("%s (%d): logit %zu is %g, the engine's is %g", toy.architecture, i, j, (double)a[j],
                         (double)b[j]);
        free(a);
        free(b);
        mlt_pass_close(&pass);
        mlt_trainable_close(&t);
        millet_model_close(&model);
    }
}

/* ---- Gradients ---- */

/* The loss in double precision, document by document, with the prefix that each begins with. */
static double naive_loss(const millet_model *model, float z_loss)
{
    int32_t n_vocab = model->config.n_vocab;
    double *logits = malloc((size_t)LENGTH * (size_t)n_vocab * sizeof *logits), loss = 0;
    for (int32_t begin = 0; begin < TOKENS;) {
        int32_t n = 1;
        while (begin + n < TOKENS && (begin + n) % LENGTH > first[begin + n])
            n++;
        naive_forward_prefix(model, tokens + begin, n, last[begin] - first[begin] + 1, 64, logits);
        for (int32_t i = 0; i < n; i++) {
            double most = -INFINITY, sum = 0, *row = logits + (int64_t)i * n_vocab;
            if (targets[begin + i] < 0) continue;
            for (int32_t v = 0; v < n_vocab; v++)
                most = fmax(most, row[v]);
            for (int32_t v = 0; v < n_vocab; v++)
                sum += exp(row[v] - most);
            double log_sum = most + log(sum);
            loss += (double)row_weight[begin / LENGTH] *
                    (marks[begin + i] & MILLET_MARK_LABEL ? (double)batch.tag_weight : 1) *
                    (log_sum - row[targets[begin + i]] + (double)z_loss * log_sum * log_sum);
        }
        begin += n;
    }
    free(logits);
    return loss;
}

/* The loss with one weight changed, where it lies in the model's checkpoint. */
static double loss_with(millet_model *model, const char *name, int64_t index, float value, float z_loss)
{
    millet_error err;
    const struct mlt_tensor *tensor = mlt_checkpoint_tensor(model->checkpoint, name);
    union {
        const uint8_t *constant;
        uint8_t *plain;
    } data = {tensor->data};
    float kept;
    memcpy(&kept, data.plain + index * 4, 4);
    memcpy(data.plain + index * 4, &value, 4);
    mlt_arena_release(&model->weights.arena);
    must(mlt_weights_load(&model->weights, mlt_default_allocator(), model->checkpoint, &model->config, &err),
         &err);
    double loss = naive_loss(model, z_loss);
    memcpy(data.plain + index * 4, &kept, 4);
    return loss;
}

static void check_parameter(millet_model *model, const struct mlt_trainable *t, const struct mlt_parameter *p,
                            float z_loss, struct mlt_random *random)
{
    const float *gradient = t->gradient + p->offset, *weight = t->master + p->offset;
    int64_t n = p->rows * p->columns, most = 0;
    double squares = 0;
    for (int64_t i = 0; i < n; i++) {
        if (fabsf(gradient[i]) > fabsf(gradient[most])) most = i;
        squares += (double)gradient[i] * (double)gradient[i];
    }
    assert_true(squares > 0);
    /* The value with the largest gradient, and one by chance. */
    int64_t indices[] = {most, (int64_t)(mlt_random_u64(random) % (uint64_t)n)};
    for (int j = 0; j < 2; j++) {
        int64_t i = indices[j];
        float above = weight[i] + 2e-3f, below = weight[i] - 2e-3f;
        double up = loss_with(model, p->tensor->name.data, i, above, z_loss);
        double down = loss_with(model, p->tensor->name.data, i, below, z_loss);
        double expected = (up - down) / ((double)above - (double)below), got = (double)gradient[i];
        if (fabs(got - expected) > 1e-3 * fabs(expected) + 1e-4 * fabs((double)gradient[most]))
            fail_msg("%s: %s: the gradient of value %lld is %.7g, differences say %.7g",
                     t->config.architecture, p->tensor->name.data, (long long)i, got, expected);
    }
}

/* llama, gemma2 (a window, capped scores), gpt2 (learnt positions), values of another size than keys. */
enum { PREFIX_FAMILIES = 4 };
static const int with_prefixes[PREFIX_FAMILIES] = {0, 3, 6, 12};

static void gradients_are_differences(void **state)
{
    (void)state;
    struct mlt_random random;
    mlt_random_seed(&random, 11);
    for (int i = 0; i < FAMILIES + PREFIX_FAMILIES; i++) {
        bool prefixes = i >= FAMILIES;
        struct toy_model toy = family(prefixes ? with_prefixes[i - FAMILIES] : i);
        float z_loss = i % 2 ? 1e-2f : 0;
        toy.dtype = MLT_F32;
        toy.n_embd = 32; /* the naive model is slow */
        toy.n_ff = 40;
        toy.n_vocab = 24;
        make_batch(toy.n_vocab);
        if (prefixes) add_prefixes(toy.n_vocab);
        struct mlt_trainable *t = open_trainable(&toy, MLT_F32);
        struct mlt_pass *pass = open_pass(t, 1, false);
        millet_model *model = toy_model_open(&toy);
        double loss = run(t, pass, z_loss), naive = naive_loss(model, z_loss);
        if (fabs(loss - naive) > 1e-5 * naive)
            fail_msg("%s (%d): the loss is %.9g, naively %.9g", toy.architecture, i, loss, naive);
        for (size_t p = 0; p < t->n_parameters; p++)
            check_parameter(model, t, &t->parameters[p], z_loss, &random);
        mlt_pass_close(&pass);
        mlt_trainable_close(&t);
        millet_model_close(&model);
    }
}

/* ---- Dropout ---- */

/* llama, gemma2 (post norms), gpt2 (biases, learnt positions), minicpm (scaled residuals), a parallel block.
 */
enum { DROPOUT_FAMILIES = 5 };
static const int with_dropout[DROPOUT_FAMILIES] = {0, 3, 6, 8, 10};

/* The loss of the passes themselves, with `distance` gone along a direction in a tensor. */
static double loss_along(struct mlt_trainable *t, struct mlt_pass *pass, const struct mlt_parameter *p,
                         const float *direction, double distance)
{
    int64_t n = p->rows * p->columns;
    float *weights = t->weights + p->offset, *kept = malloc((size_t)n * sizeof *kept);
    assert_non_null(kept);
    memcpy(kept, weights, (size_t)n * sizeof *kept);
    for (int64_t i = 0; i < n; i++)
        weights[i] += (float)(distance * (double)direction[i]);
    double loss = run(t, pass, 0);
    memcpy(weights, kept, (size_t)n * sizeof *kept);
    free(kept);
    return loss;
}

/* Along a tensor's gradient the loss rises by the gradient's norm, if the gradient is right. */
static void check_rise(struct mlt_trainable *t, struct mlt_pass *pass, const struct mlt_parameter *p,
                       const float *gradient)
{
    int64_t n = p->rows * p->columns;
    float *direction = malloc((size_t)n * sizeof *direction);
    double squares = 0, step = 4e-3;
    assert_non_null(direction);
    for (int64_t i = 0; i < n; i++)
        squares += (double)gradient[i] * (double)gradient[i];
    double norm = sqrt(squares);
    assert_true(norm > 0);
    for (int64_t i = 0; i < n; i++)
        direction[i] = (float)((double)gradient[i] / norm);
    double up = loss_along(t, pass, p, direction, step), down = loss_along(t, pass, p, direction, -step);
    double rise = (up - down) / (2 * step);
    if (fabs(rise - norm) > 5e-3 * norm + 2e-3)
        fail_msg("%s: %s: the gradient's norm is %.6g, the loss rises by %.6g", t->config.architecture,
                 p->tensor->name.data, norm, rise);
    free(direction);
}

static void gradients_are_differences_with_dropout(void **state)
{
    (void)state;
    for (int i = 0; i < DROPOUT_FAMILIES; i++) {
        struct toy_model toy = family(with_dropout[i]);
        toy.dtype = MLT_F32;
        make_batch(toy.n_vocab);
        add_prefixes(toy.n_vocab);
        struct mlt_trainable *t = open_trainable(&toy, MLT_F32);
        struct mlt_pass *pass = open_pass(t, 2, i % 2);
        size_t bytes = (size_t)t->n_values * sizeof(float);
        float *gradient = malloc(bytes);
        assert_non_null(gradient);
        double plain = run(t, pass, 0);
        dropout = 0.3f;
        double dropped = run(t, pass, 0);
        assert_true(fabs(dropped - plain) > 1e-3 * plain); /* something is left out */
        memcpy(gradient, t->gradient, bytes);
        for (size_t k = 0; k < t->n_parameters; k++)
            check_rise(t, pass, &t->parameters[k], gradient + t->parameters[k].offset);
        dropout = 0;
        assert_true(run(t, pass, 0) == plain);
        free(gradient);
        mlt_pass_close(&pass);
        mlt_trainable_close(&t);
    }
}

/* How much is left out, that what stays makes up for it, that layers and branches leave out other values. */
static void dropout_leaves_out_its_part(void **state)
{
    (void)state;
    struct toy_model toy = toy_model_default("llama");
    make_batch(toy.n_vocab);
    struct mlt_trainable *t = open_trainable(&toy, MLT_F32);
    struct mlt_pass *pass = open_pass(t, 3, false);
    millet_error err;
    must(mlt_pass_forward(pass, &batch, &err), &err);
    int64_t n = pass->tokens * t->config.n_embd, left_out = 0, same = 0, all = 0;
    float *block = malloc(3 * (size_t)n * sizeof *block), *x = block, *y = block + n, *z = block + 2 * n;
    assert_non_null(block);
    for (int64_t i = 0; i < n; i++)
        x[i] = 1;
    pass->dropout = 0.25f;
    double sum = 0;
    for (uint64_t key = 0; key < 100; key++) {
        pass->dropout_key = key;
        memset(y, 0, 2 * (size_t)n * sizeof *y);
        mlt_pass_add_dropped(pass, y, x, 3, 0, MLT_BRANCH_ATTENTION);
        mlt_pass_add_dropped(pass, z, x, 3, key % 2,
                             key % 2 ? MLT_BRANCH_ATTENTION : MLT_BRANCH_FEED_FORWARD);
        for (int64_t i = 0; i < n; i++) {
            assert_true(y[i] == 0 || fabsf(y[i] - 4) < 1e-5f);
            left_out += y[i] == 0;
            same += y[i] == z[i];
            sum += (double)y[i];
        }
        all += n;
    }
    double deviation = sqrt(0.25 * 0.75 / (double)all);
    assert_true(fabs((double)left_out / (double)all - 0.25) < 5 * deviation);
    assert_true(fabs(sum / (double)all - 3) < 5 * 4 * deviation);
    /* By chance 0.25^2 + 0.75^2 = 0.625 of the values agree. */
    assert_true(fabs((double)same / (double)all - 0.625) < 5 * sqrt(0.625 * 0.375 / (double)all));
    free(block);
    mlt_pass_close(&pass);
    mlt_trainable_close(&t);
}

/* ---- What must not matter ---- */

static void check_threads_and_recomputing(struct toy_model toy)
{
    make_batch(toy.n_vocab);
    struct mlt_trainable *t = open_trainable(&toy, MLT_F32);
    size_t bytes = (size_t)t->n_values * sizeof(float);
    float *expected = malloc(bytes);
    double loss = 0;
    for (int form = 0; form < 4; form++) {
        struct mlt_pass *pass = open_pass(t, form == 0 ? 1 : form + 1, form == 2);
        double now = run(t, pass, 1e-3f);
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

static void threads_and_recomputing_change_no_bit(void **state)
{
    (void)state;
    for (int i = 0; i < 2 * FAMILIES; i++) {
        dropout = i < FAMILIES ? 0 : 0.1f;
        check_threads_and_recomputing(family(i % FAMILIES));
    }
    dropout = 0;
}

/* A prefix that sees itself in both directions: what stands later in it changes what comes before. */
static void prefixes_see_ahead(void **state)
{
    (void)state;
    struct toy_model toy = toy_model_default("llama");
    make_batch(toy.n_vocab);
    struct mlt_trainable *t = open_trainable(&toy, MLT_F32);
    struct mlt_pass *pass = open_pass(t, 1, false);
    size_t n = (size_t)t->config.n_embd;
    float *before = malloc(n * sizeof *before);
    millet_error err;
    for (int prefix = 0; prefix < 2; prefix++) {
        for (int32_t i = 0; i < 5 && prefix; i++)
            last[i] = 4;
        must(mlt_pass_forward(pass, &batch, &err), &err);
        memcpy(before, pass->hidden, n * sizeof *before);
        tokens[4] ^= 1;
        must(mlt_pass_forward(pass, &batch, &err), &err);
        assert_true((memcmp(before, pass->hidden, n * sizeof *before) != 0) == prefix);
    }
    free(before);
    mlt_pass_close(&pass);
    mlt_trainable_close(&t);
}

static void bad_batches_are_refused(void **state)
{
    (void)state;
    struct toy_model toy = toy_model_default("llama");
    struct mlt_trainable *t = open_trainable(&toy, MLT_F32);
    struct mlt_pass *pass = open_pass(t, 1, false);
    millet_error err;
    int32_t *fields[] = {tokens, tokens, targets, first, last, last};
    const int32_t bad[] = {-1, toy.n_vocab, toy.n_vocab, 9, 1, LENGTH};
    for (size_t i = 0; i < MLT_COUNT(fields); i++) {
        make_batch(toy.n_vocab);
        fields[i][5] = bad[i];
        assert_int_equal(mlt_pass_forward(pass, &batch, &err), MILLET_BAD_ARGUMENT);
        assert_non_null(strstr(err.message, "position 5 of row 0"));
    }
    make_batch(toy.n_vocab);
    must(mlt_pass_forward(pass, &batch, &err), &err);
    mlt_pass_close(&pass);
    mlt_trainable_close(&t);
}

static void experts_are_refused(void **state)
{
    (void)state;
    struct toy_model toy = toy_model_default("llama");
    struct mlt_checkpoint *checkpoint;
    struct mlt_trainable *t;
    millet_error err;
    toy.n_experts = 4;
    toy.n_experts_used = 2;
    must(toy_checkpoint(mlt_default_allocator(), &toy, &checkpoint, &err), &err);
    assert_int_equal(mlt_trainable_open(mlt_default_allocator(), checkpoint, MLT_F32, &t, &err),
                     MILLET_UNSUPPORTED);
    assert_null(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logits_are_the_engines),
        cmocka_unit_test(gradients_are_differences),
        cmocka_unit_test(gradients_are_differences_with_dropout),
        cmocka_unit_test(dropout_leaves_out_its_part),
        cmocka_unit_test(threads_and_recomputing_change_no_bit),
        cmocka_unit_test(prefixes_see_ahead),
        cmocka_unit_test(bad_batches_are_refused),
        cmocka_unit_test(experts_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
