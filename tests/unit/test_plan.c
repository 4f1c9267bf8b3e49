/*
 * Plans: made from a type, written, read, edited, applied; and what is refused.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/memory.h"
#include "millet/plan.h"
#include "support/file_bytes.h"
#include "support/tiny_model.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static char model[512], output[512], file[512];

static int set_up(void **state)
{
    (void)state;
    folder_make();
    strcpy(model, folder_path("m.gguf"));
    strcpy(output, folder_path("o.gguf"));
    strcpy(file, folder_path("plan.json"));
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

static millet_plan *plan_of(const char *type, const millet_plan *plan)
{
    millet_quantize_options options = millet_quantize_options_default();
    millet_plan *made = NULL;
    millet_error err;
    options.type = type;
    options.plan = plan;
    if (millet_plan_of(model, &options, &made, &err) != MILLET_OK) fail_msg("%s: %s", err.item, err.message);
    return made;
}

static millet_status apply(const millet_plan *plan, millet_error *err)
{
    millet_quantize_options options = millet_quantize_options_default();
    options.plan = plan;
    options.n_threads = 1;
    return millet_quantize(model, output, &options, NULL, err);
}

static void put(const char *text)
{
    struct file_bytes bytes = {0};
    bytes_put(&bytes, text, strlen(text));
    file_write(file, &bytes);
    bytes_free(&bytes);
}

/* The size that is predicted is the file's, for every type, and the plan gives the same file as the type. */
static void test_every_type(void **state)
{
    (void)state;
    char names[512];
    snprintf(names, sizeof names, "%s", millet_quantize_type_names());
    for (char *rest = names, *type; (type = strtok_r(rest, ", ", &rest));) {
        millet_quantize_options options = millet_quantize_options_default();
        millet_error err;
        options.type = type;
        options.n_threads = 1;
        millet_plan *plan = plan_of(type, NULL);
        assert_int_equal(millet_quantize(model, folder_path("t.gguf"), &options, NULL, &err), MILLET_OK);
        struct file_bytes whole = file_read(folder_path("t.gguf"));
        assert_int_equal(whole.size, plan->file_bytes);
        if (apply(plan, &err) != MILLET_OK) fail_msg("%s: %s", err.item, err.message);
        struct file_bytes applied = file_read(output);
        assert_int_equal(applied.size, whole.size);
        bytes_free(&whole);
        bytes_free(&applied);
        millet_plan_free(&plan);
    }
}

static void test_round_trip(void **state)
{
    (void)state;
    millet_plan *plan = plan_of("Q4_K_M", NULL), *read = NULL;
    millet_error err;
    assert_int_equal(millet_plan_write(plan, file, &err), MILLET_OK);
    if (millet_plan_read(NULL, file, &read, &err) != MILLET_OK) fail_msg("%s", err.message);
    assert_string_equal(read->model, model);
    assert_int_equal(read->file_bytes, plan->file_bytes);
    assert_int_equal(read->n_tensors, plan->n_tensors);
    assert_true(isnan(read->kl));
    for (uint64_t i = 0; i < plan->n_tensors; i++) {
        assert_string_equal(read->tensors[i].name, plan->tensors[i].name);
        assert_string_equal(read->tensors[i].type, plan->tensors[i].type);
        assert_int_equal(read->tensors[i].bytes, plan->tensors[i].bytes);
        assert_memory_equal(read->tensors[i].shape, plan->tensors[i].shape, sizeof plan->tensors[i].shape);
    }
    assert_int_equal(apply(read, &err), MILLET_OK);
    millet_plan_free(&read);
    millet_plan_free(&plan);
}

/* Figures survive, in any order of tensors; what is known anew is worked out again. */
static void test_figures(void **state)
{
    (void)state;
    millet_plan *plan = plan_of("Q8_0", NULL);
    size_t n = (size_t)plan->n_tensors;
    millet_plan_tensor *turned = calloc(n, sizeof *turned);
    assert_non_null(turned);
    for (size_t i = 0; i < n; i++) {
        turned[i] = plan->tensors[n - 1 - i];
        turned[i].kl = 0.5 + (double)i;
        turned[i].bytes = 1;
    }
    millet_plan edited = {.model = model, .n_tensors = n, .tensors = turned, .file_bytes = 3, .kl = 7};
    millet_plan *made = plan_of("F16", &edited);
    assert_int_equal(made->file_bytes, plan->file_bytes);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(made->tensors[i].bytes, plan->tensors[i].bytes);
        assert_true(made->tensors[i].kl == 0.5 + (double)(n - 1 - i));
    }
    millet_plan_free(&made);
    millet_plan_free(&plan);
    free(turned);
}

/* ---- What is refused ---- */

static void refused_to_apply(const millet_plan *plan, millet_status status, const char *item,
                             const char *message)
{
    millet_error err;
    remove(output);
    assert_int_equal(apply(plan, &err), status);
    assert_string_equal(err.item, item);
    if (!strstr(err.message, message)) fail_msg("\"%s\" is not in: %s", message, err.message);
    assert_null(fopen(output, "rb"));
}

static size_t index_of(const millet_plan *plan, const char *name)
{
    for (size_t i = 0; i < plan->n_tensors; i++)
        if (strcmp(plan->tensors[i].name, name) == 0) return i;
    fail_msg("no %s", name);
    return 0;
}

static void test_plans_that_do_not_fit(void **state)
{
    (void)state;
    millet_plan *plan = plan_of("Q8_0", NULL);
    size_t n = (size_t)plan->n_tensors, size = n * sizeof(millet_plan_tensor);
    millet_plan_tensor *t = malloc(size);
    assert_non_null(t);
    millet_plan edited = *plan;
    edited.tensors = t;
    size_t down = index_of(plan, "blk.1.ffn_down.weight"), norm = index_of(plan, "output_norm.weight");

    memcpy(t, plan->tensors, size);
    t[down].name = "blk.7.ffn_down.weight";
    refused_to_apply(&edited, MILLET_NOT_FOUND, "blk.7.ffn_down.weight", "no such tensor");
    memcpy(t, plan->tensors, size);
    t[down] = t[n - 1];
    refused_to_apply(&edited, MILLET_BAD_ARGUMENT, t[n - 1].name, "twice");
    memcpy(t, plan->tensors, size);
    t[down] = t[--edited.n_tensors];
    t[down].type = t[down].type;
    if (down != n - 1)
        refused_to_apply(&edited, MILLET_BAD_ARGUMENT, "blk.1.ffn_down.weight", "leaves it out");
    edited.n_tensors = n;
    memcpy(t, plan->tensors, size);
    t[down].type = "Q4_K";
    refused_to_apply(&edited, MILLET_BAD_ARGUMENT, "blk.1.ffn_down.weight", "Q5_0 fits");
    t[down].type = "Q4_K_M";
    refused_to_apply(&edited, MILLET_BAD_ARGUMENT, "blk.1.ffn_down.weight", "no type");
    t[down].type = "I32";
    refused_to_apply(&edited, MILLET_BAD_ARGUMENT, "blk.1.ffn_down.weight", "no type of weights");
    t[down].type = "Q4_0";
    t[down].shape[0] = 512;
    refused_to_apply(&edited, MILLET_BAD_ARGUMENT, "blk.1.ffn_down.weight", "another model");
    memcpy(t, plan->tensors, size);
    t[norm].type = "F16";
    refused_to_apply(&edited, MILLET_BAD_ARGUMENT, "output_norm.weight", "no matrix");

    /* Vectors may be left out, and the whole may be of many types. */
    memcpy(t, plan->tensors, size);
    t[norm] = t[--edited.n_tensors];
    t[index_of(plan, "blk.0.attn_q.weight")].type = "q2_k";
    millet_error err;
    millet_status status = apply(&edited, &err);
    if (norm != n - 1 && status != MILLET_OK) fail_msg("%s: %s", err.item, err.message);
    free(t);
    millet_plan_free(&plan);
}

static void refused_to_read(const char *text, millet_status status, const char *item)
{
    millet_plan *plan = NULL;
    millet_error err;
    put(text);
    if (millet_plan_read(NULL, file, &plan, &err) != status) fail_msg("%s", text);
    assert_null(plan);
    assert_non_null(strstr(err.item, item));
}

static void test_files_that_are_no_plans(void **state)
{
    (void)state;
    millet_plan *plan = NULL;
    refused_to_read("", MILLET_BAD_FORMAT, "");
    refused_to_read("[]", MILLET_BAD_FORMAT, "");
    refused_to_read("{\"tensors\": []}", MILLET_BAD_FORMAT, "version");
    refused_to_read("{\"version\": 2, \"tensors\": []}", MILLET_UNSUPPORTED, "version");
    refused_to_read("{\"version\": 1}", MILLET_BAD_FORMAT, "tensors");
    refused_to_read("{\"version\": 1, \"tensors\": [3]}", MILLET_BAD_FORMAT, "tensors");
    refused_to_read("{\"version\": 1, \"tensors\": [{\"name\": \"a\"}]}", MILLET_BAD_FORMAT, "a");
    refused_to_read("{\"version\": 1, \"tensors\": [{\"name\": \"a\", \"type\": 4}]}", MILLET_BAD_FORMAT,
                    "a");
    refused_to_read("{\"version\": 1, \"tensors\": [{\"name\": \"a\", \"type\": \"F16\", \"shape\": [0]}]}",
                    MILLET_BAD_FORMAT, "shape");
    refused_to_read("{\"version\": 1, \"tensors\": [{\"name\": \"a\", \"type\": \"F16\"}, {\"name\": \"a\", "
                    "\"type\": \"F16\"}]}",
                    MILLET_BAD_FORMAT, "a");
    assert_int_equal(millet_plan_read(NULL, folder_path("none"), &plan, NULL), MILLET_NOT_FOUND);
    /* A name and a type are enough. */
    put("{\"version\": 1, \"tensors\": [{\"name\": \"a\\u0022\", \"type\": \"F16\", \"note\": 1}]}");
    assert_int_equal(millet_plan_read(NULL, file, &plan, NULL), MILLET_OK);
    assert_string_equal(plan->tensors[0].name, "a\"");
    assert_int_equal(plan->tensors[0].bytes, 0);
    assert_int_equal(millet_plan_write(plan, file, NULL), MILLET_OK);
    millet_plan_free(&plan);
    assert_int_equal(millet_plan_read(NULL, file, &plan, NULL), MILLET_OK);
    assert_string_equal(plan->tensors[0].name, "a\"");
    millet_plan_free(&plan);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_type),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_figures),
        cmocka_unit_test(test_plans_that_do_not_fit),
        cmocka_unit_test(test_files_that_are_no_plans),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
