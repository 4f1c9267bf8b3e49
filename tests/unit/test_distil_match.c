/*
 * Teachers that run beside the student: the same divergence as from a file of all tokens; matched hidden
 * states and attention, by definition; and the gradient of all losses together, each parameter along its own
 * direction, against differences.
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
#include "import/open_any.h"
#include "support/file_bytes.h"
#include "support/tiny_model.h"
#include "train/pass_state.h"
#include "train/teaching.h"
#include "train/trainer.h"

#include <math.h>
#include <string.h>

enum { ROWS = 3, LENGTH = 24, TOKENS = ROWS * LENGTH, STUDENT_WIDTH = 48, STUDENT_LAYERS = 2, LAYERS = 3 };

static char student[512], teacher[512], second[512];
static millet_train_options options;
static const millet_layer_match matches[] = {{0, 1}, {1, 1}, {2, 3}, {1, 2}};
enum { MATCHES = 4 };
/* Two of them share a layer of the student, two one of the teacher. */
static const millet_layer_match relations[] = {{1, 1}, {2, 3}, {2, 1}};
enum { RELATIONS = 3 };

static void must(millet_status status, const millet_error *err)
{
    char line[800];
    if (status == MILLET_OK) return;
    millet_error_format(err, line, sizeof line);
    fail_msg("%s", line);
}

static void write_model(char *path, const char *name, uint64_t seed, uint32_t layers, uint32_t width)
{
    struct tiny_shape shape = tiny_default();
    shape.seed = seed;
    shape.n_layers = layers;
    shape.n_embd = width;
    strcpy(path, folder_path(name));
    tiny_write(path, &shape);
}

static int set_up(void **state)
{
    (void)state;
    if (!folder_make()) return -1;
    write_model(student, "student.gguf", 1, STUDENT_LAYERS, STUDENT_WIDTH);
    write_model(teacher, "teacher.gguf", 2, LAYERS, 64);
    write_model(second, "second.gguf", 3, 1, 64);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    folder_remove();
    return 0;
}

static int each(void **state)
{
    static const char *paths[] = {teacher, second};
    (void)state;
    options = millet_train_options_default();
    options.rows = ROWS;
    options.length = LENGTH;
    options.rate = 0;
    options.weight_decay = 0;
    options.n_threads = 2;
    options.distil.teachers = paths;
    options.distil.n_teachers = 1;
    options.distil.alpha = 0.6f;
    options.distil.temperature = 1.5f;
    return 0;
}

/* Two documents a row, of which the first begins with a prefix; some positions have no target, row 2 has few.
 */
static millet_status fill(void *context, uint64_t step, struct mlt_batch *batch, millet_error *err)
{
    struct mlt_random random;
    (void)context;
    (void)step;
    (void)err;
    mlt_random_seed(&random, 9);
    for (int32_t i = 0; i < TOKENS; i++) {
        int32_t at = i % LENGTH;
        batch->tokens[i] = (int32_t)(mlt_random_u64(&random) % 290);
        batch->targets[i] = at % 5 == 4 || (i / LENGTH == 2 && at > 3) || at < 3
                                ? MLT_NO_TARGET
                                : (int32_t)(mlt_random_u64(&random) % 290);
        batch->begin[i] = at < 10 ? 0 : 10;
        batch->end[i] = at < 3 ? 3 : at;
    }
    return MILLET_OK;
}

struct run {
    struct mlt_teaching teaching;
    struct mlt_trainable *model;
    struct mlt_trainer trainer;
};

static struct mlt_checkpoint *open_checkpoint(const char *path)
{
    millet_error err;
    struct mlt_checkpoint *checkpoint = NULL;
    must(mlt_open_any(mlt_default_allocator(), path, NULL, &checkpoint, &err), &err);
    return checkpoint;
}

static void open_run(struct run *r)
{
    const millet_allocator *allocator = mlt_default_allocator();
    millet_error err;
    struct mlt_checkpoint *checkpoint = open_checkpoint(student);
    must(mlt_teaching_check(&options, &err), &err);
    must(mlt_teaching_start(allocator, &options, checkpoint, false, &r->teaching, &err), &err);
    must(mlt_trainable_open_with(allocator, checkpoint, MLT_F32, r->teaching.maps, r->teaching.n_maps,
                                 &r->model, &err),
         &err);
    must(mlt_teaching_open(&r->teaching, NULL, r->model, &err), &err);
    struct mlt_batch_source source = {NULL, fill};
    must(mlt_trainer_open(allocator, r->model, &options, source, &r->trainer, &err), &err);
    must(mlt_trainer_teach(&r->trainer, &r->teaching, &err), &err);
}

static void close_run(struct run *r)
{
    mlt_trainer_close(&r->trainer);
    mlt_teaching_close(&r->teaching);
    mlt_trainable_close(&r->model);
}

static struct mlt_loss_sums measure(struct run *r)
{
    millet_error err;
    struct mlt_loss_sums sums = {0};
    must(fill(NULL, 0, &r->trainer.batch, &err), &err);
    must(mlt_trainer_measure(&r->trainer, &r->trainer.batch, &sums, &err), &err);
    return sums;
}

static double loss(struct run *r)
{
    const millet_distillation *d = &options.distil;
    struct mlt_loss_sums s = measure(r);
    double mix = (double)d->alpha, t = (double)d->temperature;
    return (1 - mix) * s.nll + mix * t * t * s.divergence + (double)d->hidden_weight * s.hidden +
           (double)d->attention_weight * s.relations + (double)options.z_loss * s.z;
}

/* ---- Gradients ---- */

/* Along the gradient of one parameter, the loss must change by the gradient's norm. */
static void check_parameter(struct run *r, const struct mlt_parameter *p, const float *gradient)
{
    int64_t n = p->rows * p->columns;
    float *weight = r->model->master + p->offset, *kept = malloc((size_t)n * sizeof *kept);
    double square = 0, values[2];
    memcpy(kept, weight, (size_t)n * sizeof *kept);
    for (int64_t i = 0; i < n; i++)
        square += (double)gradient[i] * (double)gradient[i];
    double norm = sqrt(square),
           size = 0.02; /* the loss is some hundred: its rounding is 1e-5 of this change */
    assert_true(norm > 0);
    for (int side = 0; side < 2; side++) {
        for (int64_t i = 0; i < n; i++)
            weight[i] = (float)((double)kept[i] + (side ? -size : size) * (double)gradient[i] / norm);
        values[side] = loss(r);
    }
    memcpy(weight, kept, (size_t)n * sizeof *kept);
    free(kept);
    double expected = (values[0] - values[1]) / (2 * size);
    if (fabs(expected - norm) > 0.01 * norm + 1e-3)
        fail_msg("%s: along its gradient the loss changes by %.9g, the norm is %.9g", p->tensor->name.data,
                 expected, norm);
}

static void gradients_are_differences(void **state)
{
    for (int form = 0; form < 7; form++) {
        struct run r = {0};
        struct mlt_step_result result;
        millet_error err;
        each(state);
        if (form >= 5) { /* weighty, or its gradient is lost beside the others' */
            options.distil.attention = relations;
            options.distil.n_attention = RELATIONS;
            options.distil.attention_weight = 20;
            options.recompute = form == 6;
        } else if (form != 1) {
            options.distil.hidden = matches;
            options.distil.n_hidden = form == 2 ? 1 : MATCHES;
            options.distil.hidden_weight = 3;
        }
        if (form == 3) options.distil.n_teachers = 2, options.distil.alpha = 1;
        if (form == 4) options.distil.alpha = 0, options.recompute = true;
        open_run(&r);
        assert_int_equal(r.model->n_parameters, 9 * STUDENT_LAYERS + 3 + options.distil.n_hidden);
        must(mlt_trainer_step(&r.trainer, 0, &result, &err), &err);
        assert_true(isfinite(result.divergence) && isnan(result.hidden) == (form == 1 || form >= 5));
        assert_true(isnan(result.attention) == (form < 5));
        size_t bytes = (size_t)r.model->n_values * sizeof(float);
        float *gradient = malloc(bytes);
        for (int64_t i = 0; i < r.model->n_values; i++) /* of sums, not of means over the batch's positions */
            gradient[i] = r.model->gradient[i] * TOKENS;
        for (size_t i = 0; i < r.model->n_parameters; i++)
            check_parameter(&r, &r.model->parameters[i], gradient + r.model->parameters[i].offset);
        free(gradient);
        close_run(&r);
    }
}

/* ---- By definition ---- */

/* The stream behind a layer of a model, from a pass of its own. */
static float *stream_of(const char *path, int32_t layer, int64_t *width, const struct mlt_batch *batch)
{
    millet_error err;
    struct mlt_trainable *model = NULL;
    struct mlt_pass *pass = NULL;
    struct mlt_pass_options how = {.rows = ROWS, .length = LENGTH, .n_threads = 1, .backward = true};
    must(mlt_trainable_open(mlt_default_allocator(), open_checkpoint(path), MLT_F32, &model, &err), &err);
    must(mlt_pass_open(mlt_default_allocator(), model, &how, &pass, &err), &err);
    must(mlt_pass_forward(pass, batch, &err), &err);
    *width = model->config.n_embd;
    size_t bytes = (size_t)(TOKENS * *width) * sizeof(float);
    float *copy = malloc(bytes);
    memcpy(copy, mlt_pass_stream(pass, layer), bytes);
    mlt_pass_close(&pass);
    mlt_trainable_close(&model);
    return copy;
}

static void hidden_states_by_definition(void **state)
{
    (void)state;
    struct run r = {0};
    double expected = 0;
    options.distil.hidden = matches;
    options.distil.n_hidden = MATCHES;
    open_run(&r);
    struct mlt_loss_sums sums = measure(&r);
    const struct mlt_batch *batch = &r.trainer.batch;
    for (int m = 0; m < MATCHES; m++) {
        int64_t mine, theirs;
        float *s = stream_of(student, matches[m].student, &mine, batch);
        float *t = stream_of(teacher, matches[m].teacher, &theirs, batch);
        const float *map = r.model->master + r.teaching.maps[m].slice.offset;
        for (int64_t i = 0; i < TOKENS; i++) {
            double error = 0, square = 0;
            if (batch->targets[i] < 0) continue;
            for (int64_t row = 0; row < theirs; row++) {
                double mapped = 0, b = (double)t[i * theirs + row];
                for (int64_t j = 0; j < mine; j++)
                    mapped += (double)map[row * mine + j] * (double)s[i * mine + j];
                error += (mapped - b) * (mapped - b);
                square += b * b;
            }
            expected += error / square / MATCHES;
        }
        free(s);
        free(t);
    }
    assert_true(sums.hidden_weight == (double)sums.n_targets);
    assert_true(sums.n_targets > 20);
    if (fabs(sums.hidden - expected) > 1e-5 * expected)
        fail_msg("the error is %.9g, by definition %.9g", sums.hidden, expected);
    close_run(&r);
}

/* Queries, keys or values of a layer (from 1 on), from a pass of its own. */
static float *projections_of(const char *path, int32_t layer, int kind, int64_t *width,
                             const struct mlt_batch *batch)
{
    millet_error err;
    struct mlt_trainable *model = NULL;
    struct mlt_pass *pass = NULL;
    struct mlt_pass_options how = {.rows = ROWS, .length = LENGTH, .n_threads = 1, .backward = true};
    must(mlt_trainable_open(mlt_default_allocator(), open_checkpoint(path), MLT_F32, &model, &err), &err);
    must(mlt_pass_open(mlt_default_allocator(), model, &how, &pass, &err), &err);
    must(mlt_pass_forward(pass, batch, &err), &err);
    const struct mlt_config *c = &model->config;
    const struct mlt_kept *k = &pass->state->kept[layer - 1];
    *width = kind == 0   ? (int64_t)c->n_heads * c->head_size
             : kind == 1 ? (int64_t)c->n_kv_heads * c->head_size
                         : (int64_t)c->n_kv_heads * c->value_size;
    size_t bytes = (size_t)(TOKENS * *width) * sizeof(float);
    float *copy = malloc(bytes);
    memcpy(copy, kind == 0 ? k->q : kind == 1 ? k->k : k->v, bytes);
    mlt_pass_close(&pass);
    mlt_trainable_close(&model);
    return copy;
}

/* Probabilities of position i over what it sees. */
static void relation_row(const float *x, int64_t width, int64_t size, int64_t head, int64_t first, int64_t i,
                         int64_t last, double *p)
{
    double sum = 0;
    for (int64_t j = first; j <= last; j++) {
        double score = 0;
        for (int64_t c = head * size; c < (head + 1) * size; c++)
            score += (double)x[i * width + c] * (double)x[j * width + c];
        sum += p[j - first] = exp(score / sqrt((double)size));
    }
    for (int64_t j = first; j <= last; j++)
        p[j - first] /= sum;
}

static double relation_of(const struct mlt_batch *batch, const millet_layer_match *m, int kind, int heads)
{
    int64_t widths[2];
    float *values[2] = {projections_of(student, m->student, kind, &widths[0], batch),
                        projections_of(teacher, m->teacher, kind, &widths[1], batch)};
    double sum = 0, p[2][LENGTH];
    for (int64_t i = 0; i < TOKENS; i++) {
        int64_t row = i / LENGTH * LENGTH, first = row + batch->begin[i], last = row + batch->end[i];
        if (batch->targets[i] < 0) continue;
        for (int head = 0; head < heads; head++) {
            for (int side = 0; side < 2; side++)
                relation_row(values[side], widths[side], widths[side] / heads, head, first, i, last, p[side]);
            for (int64_t j = 0; j <= last - first; j++)
                sum += p[1][j] * log(p[1][j] / p[0][j]) / heads;
        }
    }
    free(values[0]);
    free(values[1]);
    return sum;
}

static void attention_by_definition(void **state)
{
    for (int form = 0; form < 2; form++) {
        struct run r = {0};
        double expected = 0;
        each(state);
        options.distil.attention = relations;
        options.distil.n_attention = RELATIONS;
        options.distil.attention_heads = form ? 4 : 0;
        open_run(&r);
        int heads = r.teaching.relations.heads;
        assert_true(form ? heads == 4 : heads > 1);
        struct mlt_loss_sums sums = measure(&r);
        for (int m = 0; m < RELATIONS; m++)
            for (int kind = 0; kind < 3; kind++)
                expected += relation_of(&r.trainer.batch, &relations[m], kind, heads) / (3 * RELATIONS);
        assert_true(sums.relation_weight == (double)sums.n_targets && expected > 0);
        if (fabs(sums.relations - expected) > 1e-4 * expected)
            fail_msg("the divergence is %.9g, by definition %.9g", sums.relations, expected);
        close_run(&r);
    }
}

/* Where widths agree the map begins as the unit matrix: a student that is its own teacher has no error. */
static void ones_own_teacher(void **state)
{
    (void)state;
    static const char *paths[] = {student};
    static const millet_layer_match same[] = {{0, 0}, {1, 1}, {2, 2}};
    struct run r = {0};
    options.distil.teachers = paths;
    options.distil.hidden = same;
    options.distil.n_hidden = 3;
    options.distil.attention = same + 1;
    options.distil.n_attention = 2;
    open_run(&r);
    struct mlt_loss_sums sums = measure(&r);
    assert_true(sums.hidden < 1e-10 * (double)sums.n_targets);
    assert_true(fabs(sums.divergence) < 1e-5 * (double)sums.n_targets);
    assert_true(fabs(sums.relations) < 1e-5 * (double)sums.n_targets);
    close_run(&r);
}

/* ---- What must not matter, and what is refused ---- */

static void threads_change_no_bit(void **state)
{
    (void)state;
    struct mlt_loss_sums sums[2];
    float *gradient = NULL;
    for (int form = 0; form < 2; form++) {
        struct run r = {0};
        struct mlt_step_result result;
        millet_error err;
        options.n_threads = form ? 3 : 1;
        options.distil.hidden = matches;
        options.distil.n_hidden = MATCHES;
        options.distil.attention = relations;
        options.distil.n_attention = RELATIONS;
        open_run(&r);
        sums[form] = measure(&r);
        must(mlt_trainer_step(&r.trainer, 0, &result, &err), &err);
        size_t bytes = (size_t)r.model->n_values * sizeof(float);
        if (form == 0) {
            gradient = malloc(bytes);
            memcpy(gradient, r.model->gradient, bytes);
        } else {
            assert_memory_equal(gradient, r.model->gradient, bytes);
        }
        close_run(&r);
    }
    assert_memory_equal(&sums[0], &sums[1], sizeof sums[0]);
    free(gradient);
}

static void options_are_checked(void **state)
{
    millet_error err;
    static const millet_layer_match beyond[] = {{STUDENT_LAYERS + 1, 0}, {0, LAYERS + 1}, {-1, 0}};
    static const char *files[] = {"x"};
#define REFUSED(change, name)                                                                                \
    do {                                                                                                     \
        each(state);                                                                                         \
        options.distil.change;                                                                               \
        assert_int_equal(mlt_teaching_check(&options, &err), MILLET_BAD_ARGUMENT);                           \
        assert_string_equal(err.item, name);                                                                 \
    } while (0)
    REFUSED(alpha = NAN, "alpha");
    REFUSED(temperature = 0, "temperature");
    REFUSED(n_teachers = 17, "teachers");
    REFUSED(outputs = files, "teachers");
    REFUSED(n_hidden = 1, "hidden");
    REFUSED(n_hidden = 1; options.distil.hidden = matches; options.distil.n_teachers = 0, "hidden");
    REFUSED(hidden_weight = -1, "hidden_weight");
    REFUSED(n_attention = 1, "attention");
    REFUSED(n_attention = 1; options.distil.attention = relations;
            options.distil.n_teachers = 0, "attention");
    REFUSED(attention_weight = NAN, "attention_weight");
    REFUSED(attention_heads = -1, "attention_heads");
    for (int i = 0; i < 3; i++) {
        struct run r = {0};
        each(state);
        options.distil.hidden = &beyond[i];
        options.distil.n_hidden = 1;
        struct mlt_checkpoint *checkpoint = open_checkpoint(student);
        assert_int_equal(
            mlt_teaching_start(mlt_default_allocator(), &options, checkpoint, false, &r.teaching, &err),
            MILLET_BAD_ARGUMENT);
        assert_string_equal(err.item, "hidden");
        mlt_teaching_close(&r.teaching);
        mlt_checkpoint_close(&checkpoint);
    }
}

/* Layers and heads of attention are known when the student is. */
static void attention_is_checked(void **state)
{
    static const millet_layer_match wrong[] = {
        {0, 1}, {STUDENT_LAYERS + 1, 1}, {1, 0}, {1, LAYERS + 1}, {1, 1}};
    millet_error err;
    for (int i = 0; i < 5; i++) {
        struct run r = {0};
        each(state);
        options.distil.attention = &wrong[i];
        options.distil.n_attention = 1;
        options.distil.attention_heads = i == 4 ? 7 : 0;
        struct mlt_checkpoint *checkpoint = open_checkpoint(student);
        const millet_allocator *allocator = mlt_default_allocator();
        must(mlt_teaching_start(allocator, &options, checkpoint, false, &r.teaching, &err), &err);
        must(mlt_trainable_open_with(allocator, checkpoint, MLT_F32, NULL, 0, &r.model, &err), &err);
        assert_int_equal(mlt_teaching_open(&r.teaching, NULL, r.model, &err), MILLET_BAD_ARGUMENT);
        assert_string_equal(err.item, i == 4 ? "attention_heads" : "attention");
        mlt_teaching_close(&r.teaching);
        mlt_trainable_close(&r.model);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(gradients_are_differences, each),
        cmocka_unit_test_setup(hidden_states_by_definition, each),
        cmocka_unit_test_setup(attention_by_definition, each),
        cmocka_unit_test_setup(ones_own_teacher, each),
        cmocka_unit_test_setup(threads_change_no_bit, each),
        cmocka_unit_test_setup(options_are_checked, each),
        cmocka_unit_test_setup(attention_is_checked, each),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
