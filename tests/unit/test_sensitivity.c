/*
 * What rounding one matrix does to predictions, against a file that is rounded so; and plans within budgets.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "compact/sensitivity.h"
#include "support/file_bytes.h"
#include "support/tiny_model.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { TOKENS = 40, WINDOW = 16 };
static char model[512];
static const char text[] = "abc de fgh abc de abc ijk lmn abc de fgh opq rst abc de uvw xyz abc de fgh ijk";

static int set_up(void **state)
{
    (void)state;
    folder_make();
    strcpy(model, folder_path("m.gguf"));
    struct tiny_shape shape = tiny_default();
    shape.n_embd = 256;
    shape.n_ff = 288; /* rows of ffn_down are multiples of 32 only */
    tiny_write(model, &shape);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    folder_remove();
    return 0;
}

static millet_sensitivity_options few_tokens(void)
{
    millet_sensitivity_options options = millet_sensitivity_options_default();
    options.text = text;
    options.text_length = strlen(text);
    options.n_ctx = WINDOW;
    options.max_tokens = TOKENS;
    options.n_threads = 1;
    return options;
}

static millet_sensitivity *measure(millet_sensitivity_options options)
{
    millet_sensitivity *s = NULL;
    millet_error err;
    if (millet_sensitivity_measure(model, &options, &s, &err) != MILLET_OK)
        fail_msg("%s: %s", err.item, err.message);
    return s;
}

/* ---- Against files ---- */

static void read_logits(const char *path, const int32_t *ids, float *out, int32_t n_vocab)
{
    millet_model *opened;
    millet_session *session;
    millet_session_options options = millet_session_options_default();
    options.n_ctx = WINDOW;
    options.n_logits = 1;
    options.n_threads = 1;
    options.cache_type = MILLET_CACHE_F32;
    options.exact_activations = true;
    assert_int_equal(millet_model_open(path, NULL, &opened, NULL), MILLET_OK);
    assert_int_equal(millet_session_open(opened, &options, &session, NULL), MILLET_OK);
    for (int i = 0; i < TOKENS; i++) {
        if (i % WINDOW == 0) assert_int_equal(millet_sequence_truncate(session, 0, 0, NULL), MILLET_OK);
        const millet_item item = {ids[i], 0, true};
        assert_int_equal(millet_eval(session, &item, 1, NULL), MILLET_OK);
        memcpy(out + (size_t)i * (size_t)n_vocab, millet_logits(session, 0), (size_t)n_vocab * sizeof *out);
    }
    millet_session_close(&session);
    millet_model_close(&opened);
}

static double log_sum(const float *x, int32_t n)
{
    double sum = 0;
    for (int32_t i = 0; i < n; i++)
        sum += exp((double)x[i]);
    return log(sum);
}

static double divergence(const float *p, const float *q, int32_t n)
{
    double kl = 0;
    for (int t = 0; t < TOKENS; t++, p += n, q += n) {
        double a = log_sum(p, n), b = log_sum(q, n);
        for (int32_t i = 0; i < n; i++)
            kl += exp((double)p[i] - a) * (((double)p[i] - a) - ((double)q[i] - b));
    }
    return kl / TOKENS;
}

/* The windows that are measured: BOS, then fifteen tokens of the text. */
static int32_t cut_text(int32_t *ids)
{
    millet_model *opened;
    int32_t all[256];
    size_t count, at = 0;
    assert_int_equal(millet_model_open(model, NULL, &opened, NULL), MILLET_OK);
    assert_int_equal(millet_tokenize(opened, text, strlen(text), 0, all, 256, &count, NULL), MILLET_OK);
    assert_true(count >= TOKENS && count <= 256);
    for (int i = 0; i < TOKENS; i++)
        ids[i] = i % WINDOW == 0 ? TINY_BOS : all[at++];
    int32_t n_vocab = opened->config.n_vocab;
    millet_model_close(&opened);
    return n_vocab;
}

static void test_against_files(void **state)
{
    (void)state;
    millet_sensitivity *s = measure(few_tokens());
    int32_t ids[TOKENS], n = cut_text(ids);
    float *base = calloc((size_t)n * TOKENS, sizeof *base), *now = calloc((size_t)n * TOKENS, sizeof *now);
    assert_true(base && now);
    read_logits(model, ids, base, n);
    assert_int_equal(s->n_tokens, TOKENS);
    assert_int_equal(s->n_estimated, 0);
    int checked = 0;
    for (size_t i = 0; i < s->n_tensors; i += 3) {
        const millet_sensitivity_tensor *tensor = &s->tensors[i];
        for (size_t k = 0; k < tensor->n_types; k += 2) {
            millet_quantize_options options = millet_quantize_options_default();
            static const char *const all[] = {"*"};
            options.keep = all;
            options.n_keep = 1;
            millet_plan *plan;
            millet_quantized *result;
            assert_int_equal(millet_plan_of(model, &options, &plan, NULL), MILLET_OK);
            millet_plan_tensor *tensors = (millet_plan_tensor *)(uintptr_t)plan->tensors;
            for (size_t t = 0; t < plan->n_tensors; t++)
                if (strcmp(tensors[t].name, tensor->name) == 0) tensors[t].type = tensor->types[k].type;
            options = millet_quantize_options_default();
            options.plan = plan;
            assert_int_equal(millet_quantize(model, folder_path("o.gguf"), &options, &result, NULL),
                             MILLET_OK);
            read_logits(folder_path("o.gguf"), ids, now, n);
            double kl = divergence(base, now, n), error = result->error * result->error;
            assert_true(fabs(kl - tensor->types[k].kl) <= 1e-3 * kl + 1e-9);
            assert_true(fabs(error - tensor->types[k].error) <= 1e-6 * error);
            checked++;
            millet_quantized_free(&result);
            millet_plan_free(&plan);
        }
    }
    assert_true(checked > 15);
    free(base);
    free(now);
    millet_sensitivity_free(&s);
}

/* ---- The table ---- */

static void assert_same(const millet_sensitivity *a, const millet_sensitivity *b)
{
    assert_int_equal(a->n_tensors, b->n_tensors);
    assert_int_equal(a->fingerprint, b->fingerprint);
    assert_int_equal(a->n_measured, b->n_measured);
    for (size_t i = 0; i < a->n_tensors; i++) {
        assert_int_equal(a->tensors[i].n_types, b->tensors[i].n_types);
        for (size_t k = 0; k < a->tensors[i].n_types; k++) {
            const millet_sensitivity_type *x = &a->tensors[i].types[k], *y = &b->tensors[i].types[k];
            assert_string_equal(x->type, y->type);
            assert_true(x->kl == y->kl && x->error == y->error && x->bytes == y->bytes);
        }
    }
}

static void test_table(void **state)
{
    (void)state;
    millet_sensitivity_options options = few_tokens();
    millet_sensitivity *one = measure(options);
    assert_int_equal(one->n_tensors, 2 * 7 + 2);
    for (size_t i = 0; i < one->n_tensors; i++) {
        const millet_sensitivity_tensor *tensor = &one->tensors[i];
        for (size_t k = 0; k + 1 < tensor->n_types; k++) {
            assert_true(tensor->types[k].bytes <= tensor->types[k + 1].bytes);
            assert_true(tensor->types[k].kl > 0 && tensor->types[k].error > 0);
        }
        assert_string_equal(tensor->types[tensor->n_types - 1].type, "F32");
        assert_true(tensor->types[tensor->n_types - 1].kl == 0);
        if (strstr(tensor->name, "ffn_down"))
            for (size_t k = 0; k < tensor->n_types; k++)
                assert_null(strstr(tensor->types[k].type, "_K"));
    }
    options.n_threads = 3;
    millet_sensitivity *three = measure(options);
    assert_same(one, three);
    millet_sensitivity_free(&three);

    /* Two of them measured: those are the same, the others near. */
    options.n_measured = 2;
    millet_sensitivity *two = measure(options);
    assert_int_equal(two->n_measured, 2 * two->n_tensors);
    for (size_t i = 0; i < two->n_tensors; i++)
        for (size_t k = 0; k < two->tensors[i].n_types; k++) {
            const millet_sensitivity_type *x = &two->tensors[i].types[k], *y = &one->tensors[i].types[k];
            if (x->measured) assert_true(x->kl == y->kl);
            assert_true(x->kl <= y->kl * 10 && x->kl >= y->kl / 10);
        }
    millet_sensitivity_free(&two);

    options.types = "q4_0, Q8_0 Q2_K";
    options.n_measured = 0;
    two = measure(options);
    assert_string_equal(two->tensors[1].types[0].type, "Q2_K");
    assert_int_equal(two->tensors[1].n_types, 4);
    millet_sensitivity_free(&two);
    millet_sensitivity_free(&one);
}

static bool stop_after(void *context, double fraction)
{
    int *left = context;
    (void)fraction;
    return --*left > 0;
}

static void test_going_on(void **state)
{
    (void)state;
    millet_sensitivity_options options = few_tokens();
    millet_sensitivity *whole = measure(options), *s = NULL;
    char cache[512];
    strcpy(cache, folder_path("s.json"));
    options.cache = cache;
    options.progress = stop_after;
    int rounds = 0;
    for (millet_status status = MILLET_CANCELLED; status != MILLET_OK; rounds++) {
        int left = 40 * (rounds + 1);
        options.context = &left;
        millet_error err;
        status = millet_sensitivity_measure(model, &options, &s, &err);
        if (status != MILLET_OK) assert_int_equal(status, MILLET_CANCELLED);
        assert_true(rounds < 20);
    }
    assert_true(rounds > 2);
    assert_same(whole, s);
    millet_sensitivity_free(&s);

    /* Of another text. */
    millet_error err;
    options.progress = NULL;
    options.text =
        "Another text of the same length, but for its words and what there may be of others in it.";
    assert_int_equal(millet_sensitivity_measure(model, &options, &s, &err), MILLET_BAD_ARGUMENT);
    assert_string_equal(err.item, "fingerprint");
    assert_null(s);
    millet_sensitivity_free(&whole);
}

static void test_estimates(void **state)
{
    (void)state;
    millet_sensitivity_type types[] = {
        {.error = 0.08, .kl = 0.5, .measured = true},
        {.error = 0.02},
        {.error = 0.005, .kl = 0.02, .measured = true},
        {.error = 0.00125},
        {.error = 0},
    };
    mlt_sensitivity_estimate(types, 5);
    double slope = log(0.5 / 0.02) / log(16);
    assert_true(fabs(types[1].kl / (0.02 * pow(4, slope)) - 1) < 1e-9);
    assert_true(fabs(types[3].kl / (0.02 * pow(0.25, slope)) - 1) < 1e-9);
    assert_true(types[4].kl == 0);
    types[0].measured = types[1].measured = false;
    mlt_sensitivity_estimate(types, 3);
    assert_true(fabs(types[0].kl / (0.02 * 16) - 1) < 1e-9); /* in proportion */
}

static void refused(millet_sensitivity_options options, millet_status status, const char *item)
{
    millet_sensitivity *s = NULL;
    millet_error err;
    assert_int_equal(millet_sensitivity_measure(model, &options, &s, &err), status);
    assert_null(s);
    assert_string_equal(err.item, item);
}

static void test_what_is_refused(void **state)
{
    (void)state;
    millet_sensitivity_options options = few_tokens();
    options.text_length = 7;
    refused(options, MILLET_BAD_ARGUMENT, "");
    options = few_tokens();
    options.text = NULL;
    refused(options, MILLET_BAD_ARGUMENT, "text");
    options = few_tokens();
    options.types = "Q4_K_M";
    refused(options, MILLET_BAD_ARGUMENT, "types");
    options.types = " , ";
    refused(options, MILLET_BAD_ARGUMENT, "types");
    options = few_tokens();
    options.n_ctx = 3;
    refused(options, MILLET_BAD_ARGUMENT, "n_ctx");
    options = few_tokens();
    options.n_measured = -1;
    refused(options, MILLET_BAD_ARGUMENT, "n_measured");
}

/* ---- Budgets ---- */

static uint64_t size_of_file(const char *path)
{
    struct file_bytes bytes = file_read(path);
    uint64_t size = bytes.size;
    bytes_free(&bytes);
    return size;
}

static void test_file_budgets(void **state)
{
    (void)state;
    millet_sensitivity *s = measure(few_tokens());
    millet_error err;
    millet_budget budget = {.file_bytes = 1000};
    millet_plan *plan = NULL;
    assert_int_equal(millet_plan_choose(model, s, &budget, NULL, &plan, &err), MILLET_BAD_ARGUMENT);
    assert_null(plan);
    assert_string_equal(err.item, "budget");
    const char *smallest = strstr(err.message, "file=");
    assert_non_null(smallest);
    uint64_t least = strtoull(smallest + 5, NULL, 10);
    budget.file_bytes = least - 1;
    assert_int_equal(millet_plan_choose(model, s, &budget, NULL, &plan, NULL), MILLET_BAD_ARGUMENT);

    /* From the smallest on: never more than the budget, filled to half a percent, and better the larger. */
    double before = INFINITY;
    uint64_t whole = size_of_file(model);
    for (int i = 0; i <= 12; i++) {
        budget.file_bytes = least + (uint64_t)i * (whole / 4 - least) / 12;
        if (millet_plan_choose(model, s, &budget, NULL, &plan, &err) != MILLET_OK)
            fail_msg("%s", err.message);
        assert_true(plan->kl <= before);
        before = plan->kl;
        millet_quantize_options options = millet_quantize_options_default();
        options.plan = plan;
        options.n_threads = 1;
        assert_int_equal(millet_quantize(model, folder_path("o.gguf"), &options, NULL, NULL), MILLET_OK);
        uint64_t size = size_of_file(folder_path("o.gguf"));
        assert_int_equal(size, plan->file_bytes);
        assert_true(size <= budget.file_bytes);
        assert_true((double)size >= 0.995 * (double)budget.file_bytes);
        millet_plan_free(&plan);
    }
    budget.file_bytes = whole + 64;
    assert_int_equal(millet_plan_choose(model, s, &budget, NULL, &plan, NULL), MILLET_OK);
    assert_true(plan->kl == 0);
    millet_plan_free(&plan);
    millet_sensitivity_free(&s);
}

static void test_memory_budgets(void **state)
{
    (void)state;
    millet_sensitivity *s = measure(few_tokens());
    millet_error err;
    millet_quantize_options options = millet_quantize_options_default();
    options.n_threads = 1;
    millet_budget budget = {.memory_bytes = 1, .memory_ctx = 64};
    millet_plan *plan = NULL;
    assert_int_equal(millet_plan_choose(model, s, &budget, &options, &plan, &err), MILLET_BAD_ARGUMENT);
    const char *smallest = strstr(err.message, "ram=");
    assert_non_null(smallest);
    budget.memory_bytes = strtoull(smallest + 4, NULL, 10) + 100000;
    assert_int_equal(millet_plan_choose(model, s, &budget, &options, &plan, NULL), MILLET_OK);
    assert_int_equal(plan->memory_ctx, 64);
    assert_true(plan->memory_bytes <= budget.memory_bytes);
    assert_true((double)plan->memory_bytes >= 0.995 * (double)budget.memory_bytes);
    uint64_t other = plan->memory_bytes - plan->file_bytes;
    millet_plan_free(&plan);
    /* A longer context takes more of it. */
    budget.memory_ctx = 128;
    budget.memory_bytes += 1 << 20;
    assert_int_equal(millet_plan_choose(model, s, &budget, &options, &plan, NULL), MILLET_OK);
    assert_true(plan->memory_bytes - plan->file_bytes > other);
    millet_plan_free(&plan);
    /* The smaller of two counts. */
    budget.file_bytes = 400000;
    assert_int_equal(millet_plan_choose(model, s, &budget, &options, &plan, NULL), MILLET_OK);
    assert_true(plan->file_bytes <= 400000 && plan->memory_bytes <= budget.memory_bytes);
    millet_plan_free(&plan);

    char other_model[512];
    strcpy(other_model, folder_path("other.gguf"));
    struct tiny_shape shape = tiny_default();
    tiny_write(other_model, &shape);
    assert_int_equal(millet_plan_choose(other_model, s, &budget, &options, &plan, &err), MILLET_BAD_ARGUMENT);
    assert_non_null(strstr(err.message, "another model"));
    millet_sensitivity_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_files),   cmocka_unit_test(test_table),
        cmocka_unit_test(test_going_on),        cmocka_unit_test(test_estimates),
        cmocka_unit_test(test_what_is_refused), cmocka_unit_test(test_file_budgets),
        cmocka_unit_test(test_memory_budgets),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
