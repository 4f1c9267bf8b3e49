/*
 * Logits of every reference model, against values that independent engines computed: see the README beside
 * the reference data. Each model is computed token by token, at once, in uneven chunks, among other sequences
 * and on several threads, which must all give the same bits.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "model/forward.h"
#include "support/test_data.h"

#include <math.h>
#include <stdio.h>

/*
 * An F16 cache keeps 11 bits of keys and values: errors of up to 2^-12 in each of them, which come to 8e-4 of
 * the logits at most in these models. A wrong position or head would be off by 0.05 at least. Where two
 * sources of error meet (activations in int8 as well), tokens that are nearly equal change places more often.
 */
#define F16_CACHE_REL_L2 2e-3
#define F16_CACHE_GAP(gap) (2 * (gap) + 0.05)

enum { FIRST_CHUNK = 7 };

static void check(millet_status status, const millet_error *err)
{
    if (status == MILLET_OK) return;
    char text[800];
    millet_error_format(err, text, sizeof text);
    fail_msg("%s", text);
}

/* ---- One reference model ---- */

struct reference {
    const json_t *record;
    int32_t n, n_vocab;
    int32_t *tokens; /* [n] */
    float *logits;   /* [n][n_vocab] */
    millet_model *model;
};

static double number(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_number(value)) fail_msg("%s is no number in the index", key);
    return json_number_value(value);
}

static void open_reference(struct reference *r, const json_t *record)
{
    *r = (struct reference){.record = record};
    char path[256];
    millet_error err;
    snprintf(path, sizeof path, "reference/%s", json_string_value(json_object_get(record, "file")));
    check(millet_model_open(test_data_path(path), NULL, &r->model, &err), &err);
    const json_t *tokens = json_object_get(record, "tokens");
    r->n = (int32_t)json_array_size(tokens);
    r->n_vocab = r->model->config.n_vocab;
    r->tokens = malloc((size_t)r->n * sizeof *r->tokens);
    for (int32_t i = 0; i < r->n; i++)
        r->tokens[i] = (int32_t)json_integer_value(json_array_get(tokens, (size_t)i));
    size_t size;
    snprintf(path, sizeof path, "reference/%s", json_string_value(json_object_get(record, "logits")));
    r->logits = test_data_read(path, &size);
    assert_int_equal(size, (size_t)r->n * (size_t)r->n_vocab * sizeof(float));
}

static void close_reference(struct reference *r)
{
    free(r->tokens);
    free(r->logits);
    millet_model_close(&r->model);
}

/* ---- Ways to compute the same rows ---- */

struct way {
    int32_t n_threads;
    mlt_dtype cache;
    bool exact_activations;
    int32_t first, rest; /* tokens of the first batch, and of each of the others */
    bool company;        /* the tokens come twice in each batch, in two sequences */
};

/* All rows of logits, [n][n_vocab]; the caller frees them. */
static float *compute(const struct reference *r, const struct way *way)
{
    struct mlt_forward_options options = {.n_ctx = (int32_t)number(r->record, "n_ctx"),
                                          .n_sequences = way->company ? 2 : 1,
                                          .n_batch = 2 * r->n,
                                          .n_logits = r->n,
                                          .n_threads = way->n_threads,
                                          .cache = way->cache,
                                          .exact_activations = way->exact_activations};
    struct mlt_forward *forward;
    millet_error err;
    check(mlt_forward_open(mlt_default_allocator(), r->model, &options, &forward, &err), &err);
    float *logits = malloc((size_t)r->n * (size_t)r->n_vocab * sizeof *logits);
    millet_item *items = malloc(2 * (size_t)r->n * sizeof *items);
    for (int32_t done = 0; done < r->n;) {
        int32_t size = done ? way->rest : way->first, count = 0;
        if (size > r->n - done) size = r->n - done;
        for (int32_t i = done; i < done + size; i++) {
            if (way->company) items[count++] = (millet_item){r->tokens[i], 1, false};
            items[count++] = (millet_item){r->tokens[i], 0, true};
        }
        mlt_forward_run(forward, items, count, logits + (size_t)done * (size_t)r->n_vocab);
        done += size;
    }
    assert_int_equal(mlt_forward_length(forward, 0), r->n);
    free(items);
    mlt_forward_close(&forward);
    return logits;
}

static double rel_l2(const struct reference *r, const float *logits)
{
    double difference = 0, size = 0;
    for (size_t i = 0; i < (size_t)r->n * (size_t)r->n_vocab; i++) {
        if (!isfinite(logits[i])) fail_msg("logit %zu is %g", i, (double)logits[i]);
        double a = (double)r->logits[i], b = (double)logits[i];
        difference += (a - b) * (a - b);
        size += a * a;
    }
    return sqrt(difference / size);
}

static int32_t argmax(const float *x, int32_t n)
{
    int32_t best = 0;
    for (int32_t i = 1; i < n; i++)
        if (x[i] > x[best]) best = i;
    return best;
}

static void check_rows(const struct reference *r, const float *logits, double bound, double gap_bound,
                       const char *what)
{
    double distance = rel_l2(r, logits);
    if (!(distance <= bound))
        fail_msg("%s: rel_l2 is %.3g, at most %.3g was asked for", what, distance, bound);
    print_message("    %-22s rel_l2 %.2e of %.0e\n", what, distance, bound);
    const json_t *gaps = json_object_get(r->record, "top1_gap");
    for (int32_t row = 0; row < r->n; row++) {
        double gap = json_number_value(json_array_get(gaps, (size_t)row));
        size_t start = (size_t)row * (size_t)r->n_vocab;
        int32_t ours = argmax(logits + start, r->n_vocab), theirs = argmax(r->logits + start, r->n_vocab);
        if (gap > gap_bound && ours != theirs)
            fail_msg("%s: row %d: best token %d, the reference has %d (gap %g)", what, row, ours, theirs,
                     gap);
    }
}

/* Other cuts, threads and company give the same bits as `way`, which goes token by token on one thread. */
static void check_ways(const struct reference *r, const struct way *base, const float *expected)
{
    const struct {
        const char *what;
        int32_t n_threads, first, rest;
        bool company;
    } ways[] = {{"at once on one thread", 1, r->n, r->n, false},
                {"in two chunks on one thread", 1, FIRST_CHUNK, r->n, false},
                {"at once on two threads", 2, r->n, r->n, false},
                {"token by token on two threads", 2, 1, 1, false},
                {"beside another sequence, in two chunks, on three threads", 3, FIRST_CHUNK, r->n, true}};
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        struct way way = *base;
        way.n_threads = ways[i].n_threads;
        way.first = ways[i].first;
        way.rest = ways[i].rest;
        way.company = ways[i].company;
        float *logits = compute(r, &way);
        for (int32_t row = 0; row < r->n; row++) {
            size_t start = (size_t)row * (size_t)r->n_vocab;
            if (memcmp(logits + start, expected + start, (size_t)r->n_vocab * sizeof *logits))
                fail_msg("%s: row %d differs", ways[i].what, row);
        }
        free(logits);
    }
}

/* Continues the tokens by argmax as far as the reference's choices are clear. */
static void check_greedy(const struct reference *r, const struct way *way, double gap_bound)
{
    const json_t *greedy = json_object_get(r->record, "greedy");
    const json_t *gaps = json_object_get(r->record, "greedy_gap");
    int32_t steps = (int32_t)json_array_size(greedy);
    struct mlt_forward_options options = {.n_ctx = (int32_t)number(r->record, "n_ctx"),
                                          .n_sequences = 1,
                                          .n_batch = r->n,
                                          .n_logits = 1,
                                          .n_threads = way->n_threads,
                                          .cache = way->cache,
                                          .exact_activations = way->exact_activations};
    struct mlt_forward *forward;
    millet_error err;
    check(mlt_forward_open(mlt_default_allocator(), r->model, &options, &forward, &err), &err);
    float *logits = malloc((size_t)r->n_vocab * sizeof *logits);
    millet_item *items = malloc((size_t)r->n * sizeof *items);
    for (int32_t i = 0; i < r->n; i++)
        items[i] = (millet_item){r->tokens[i], 0, i == r->n - 1};
    int32_t count = r->n;
    for (int32_t step = 0; step < steps; step++) {
        if (json_number_value(json_array_get(gaps, (size_t)step)) <= gap_bound) break;
        mlt_forward_run(forward, items, count, logits);
        int32_t token = argmax(logits, r->n_vocab);
        assert_int_equal(token, json_integer_value(json_array_get(greedy, (size_t)step)));
        items[0] = (millet_item){token, 0, true};
        count = 1;
    }
    free(items);
    free(logits);
    mlt_forward_close(&forward);
}

static void check_model(const struct reference *r, bool exact, double bound, double gap_bound)
{
    struct way way = {1, MLT_F32, exact, 1, 1, false};
    float *logits = compute(r, &way);
    check_rows(r, logits, bound, gap_bound, exact ? "exact activations" : "F32 cache");
    check_ways(r, &way, logits);
    check_greedy(r, &way, gap_bound);
    free(logits);
    if (exact) return; /* what the cache does to it has been seen without */

    way.cache = MLT_F16;
    logits = compute(r, &way);
    double half_bound = bound > F16_CACHE_REL_L2 ? bound : F16_CACHE_REL_L2;
    check_rows(r, logits, half_bound, F16_CACHE_GAP(gap_bound), "F16 cache");
    check_ways(r, &way, logits);
    free(logits);
}

static void test_model(void **state)
{
    struct reference r;
    open_reference(&r, *state);
    const json_t *demand = json_object_get(r.record, "demand");
    double gap_bound = number(demand, "top1_where_gap_above");
    if (json_object_get(demand, "rel_l2")) {
        check_model(&r, false, number(demand, "rel_l2"), gap_bound);
    } else {
        check_model(&r, false, number(demand, "rel_l2_if_int8_activations"), gap_bound);
        check_model(&r, true, number(demand, "rel_l2_if_f32_activations"),
                    number(demand, "top1_where_gap_above_if_f32_activations"));
    }
    close_reference(&r);
}

/* ---- stories260K, a model that has been trained ---- */

static void feed(struct mlt_forward *forward, const json_t *ids, int32_t count, millet_item *items,
                 float *logits)
{
    for (int32_t i = 0; i < count; i++)
        items[i] =
            (millet_item){(int32_t)json_integer_value(json_array_get(ids, (size_t)i)), 0, i == count - 1};
    mlt_forward_run(forward, items, count, logits);
}

static void test_stories_greedy(void **state)
{
    (void)state;
    json_t *stories = test_data_json("reference/stories260K.json");
    millet_error err;
    millet_model *model;
    check(millet_model_open(test_data_path("reference/stories260K.gguf"), NULL, &model, &err), &err);
    struct mlt_forward_options options = {
        .n_ctx = 256, .n_sequences = 1, .n_batch = 16, .n_logits = 1, .n_threads = 2, .cache = MLT_F32};
    float *logits = malloc((size_t)model->config.n_vocab * sizeof *logits);
    size_t i;
    json_t *story;
    json_array_foreach (json_object_get(stories, "greedy"), i, story) {
        struct mlt_forward *forward;
        check(mlt_forward_open(mlt_default_allocator(), model, &options, &forward, &err), &err);
        const json_t *ids = json_object_get(story, "ids");
        int32_t n_prompt = (int32_t)number(story, "n_prompt");
        millet_item items[16];
        assert_true(n_prompt <= 16);
        feed(forward, ids, n_prompt, items, logits);
        for (size_t step = (size_t)n_prompt; step < json_array_size(ids); step++) {
            int32_t token = argmax(logits, model->config.n_vocab);
            assert_int_equal(token, json_integer_value(json_array_get(ids, step)));
            items[0] = (millet_item){token, 0, true};
            mlt_forward_run(forward, items, 1, logits);
        }
        mlt_forward_close(&forward);
    }
    free(logits);
    millet_model_close(&model);
    json_decref(stories);
}

static void test_stories_text(void **state)
{
    (void)state;
    json_t *stories = test_data_json("reference/stories260K.json");
    json_t *text = json_object_get(stories, "perplexity");
    /* The record of this model, in the form of those of the index. */
    json_t *record =
        json_pack("{s:s, s:s, s:i, s:O}", "file", "stories260K.gguf", "logits", "stories260K.logits.f32",
                  "n_ctx", 128, "tokens", json_object_get(text, "ids"));
    struct reference r;
    open_reference(&r, record);
    struct way way = {1, MLT_F32, false, r.n, r.n, false};
    float *logits = compute(&r, &way);
    double distance = rel_l2(&r, logits);
    print_message("    stories260K: rel_l2 %.2e\n", distance);
    assert_true(distance <= 2e-5);
    check_ways(&r, &(struct way){1, MLT_F32, false, 1, 1, false}, logits);

    const json_t *expected = json_object_get(text, "nll");
    double sum = 0;
    for (int32_t row = 0; row + 1 < r.n; row++) {
        const float *x = logits + (size_t)row * (size_t)r.n_vocab;
        double greatest = (double)x[argmax(x, r.n_vocab)], total = 0;
        for (int32_t i = 0; i < r.n_vocab; i++)
            total += exp((double)x[i] - greatest);
        double nll = log(total) + greatest - (double)x[r.tokens[row + 1]];
        assert_true(fabs(nll - json_number_value(json_array_get(expected, (size_t)row))) < 1e-4);
        sum += nll;
    }
    assert_true(fabs(exp(sum / (r.n - 1)) - number(text, "perplexity")) < 1e-5);
    free(logits);
    close_reference(&r);
    json_decref(record);
    json_decref(stories);
}

int main(void)
{
    if (!test_data_root()) return TEST_SKIPPED;
    json_t *index = test_data_json("reference/index.json");
    json_t *models = json_object_get(index, "models");
    size_t count = json_array_size(models), n = 0;
    struct CMUnitTest *tests = calloc(count + 2, sizeof *tests);
    for (; n < count; n++) {
        json_t *record = json_array_get(models, n);
        tests[n].name = json_string_value(json_object_get(record, "name"));
        tests[n].test_func = test_model;
        tests[n].initial_state = record;
    }
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_stories_greedy);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_stories_text);
    int failed = _cmocka_run_group_tests("reference logits", tests, n, NULL, NULL);
    free(tests);
    json_decref(index);
    return failed;
}
