/*
 * Profiles of devices: what is between the points, the file, and plans that are to be fast enough. No time of
 * this machine is asserted.
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

static char model[512], file[512];

static int set_up(void **state)
{
    (void)state;
    folder_make();
    strcpy(model, folder_path("m.gguf"));
    strcpy(file, folder_path("profile.json"));
    struct tiny_shape shape = tiny_default();
    shape.n_embd = 256;
    shape.n_ff = 512;
    tiny_write(model, &shape);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    folder_remove();
    return 0;
}

/* Types that cost as their bytes do, but for Q2_K, which is small and slow; weights far away cost double. */
static millet_device_profile made_up(void)
{
    static const struct {
        const char *type;
        double cost;
    } types[] = {{"F32", 32}, {"F16", 16}, {"Q8_0", 8.5}, {"Q4_K", 4.5}, {"Q2_K", 10}};
    millet_device_profile p = {
        .cpu = "made up", .n_threads = 2, .seconds_per_layer = 2e-6, .seconds_per_channel = 1e-9};
    for (size_t i = 0; i < MLT_COUNT(types); i++) {
        millet_type_cost *cost = &p.types[p.n_types++];
        snprintf(cost->type, sizeof cost->type, "%s", types[i].type);
        for (int c = 0; c < MILLET_PROFILE_COLUMNS; c++)
            for (int e = 0; e < MILLET_PROFILE_SIZES; e++)
                for (int s = 0; s < MILLET_PROFILE_SETS; s++)
                    cost->seconds[c][e][s] = types[i].cost * 1e-11 * (c ? 1 : 1.5) * (s == 2 ? 2 : 1);
    }
    return p;
}

static bool near(double a, double b)
{
    return fabs(a - b) <= 1e-6 * fabs(b);
}

static void test_between_points(void **state)
{
    (void)state;
    millet_device_profile p = made_up();
    double n = 512 * 256;
    assert_true(near(millet_device_seconds(&p, "Q8_0", 512, 256, 0), n * 8.5e-11));
    assert_true(near(millet_device_seconds(&p, "Q8_0", 512, 256, UINT64_MAX), n * 17e-11));
    assert_true(near(millet_device_seconds(&p, "Q8_0", 32, 4096, 1 << 20), n * 12.75e-11));
    assert_true(near(millet_device_seconds(&p, "Q8_0", 256, 512, 1 << 20), n * 8.5e-11 * sqrt(1.5)));
    double far = sqrt((double)(8 << 20) * (double)(64 << 20));
    assert_true(near(millet_device_seconds(&p, "F32", 1 << 20, 1 << 10, (uint64_t)far),
                     pow(2, 30) * 32e-11 * sqrt(2)));
    assert_true(isnan(millet_device_seconds(&p, "Q6_K", 512, 256, 0)));
}

static void test_file(void **state)
{
    (void)state;
    millet_device_profile p = made_up(), read;
    millet_error err;
    assert_int_equal(millet_device_profile_write(&p, file, &err), MILLET_OK);
    if (millet_device_profile_read(file, &read, &err) != MILLET_OK) fail_msg("%s: %s", err.item, err.message);
    assert_string_equal(read.cpu, p.cpu);
    assert_int_equal(read.n_threads, p.n_threads);
    assert_int_equal(read.n_types, p.n_types);
    assert_true(near(read.seconds_per_layer, p.seconds_per_layer));
    assert_true(near(millet_device_seconds(&read, "Q4_K", 300, 999, 5 << 20),
                     millet_device_seconds(&p, "Q4_K", 300, 999, 5 << 20)));
    assert_int_equal(millet_device_profile_read(folder_path("none"), &read, NULL), MILLET_NOT_FOUND);
}

static void refused(const char *text, millet_status status, const char *item)
{
    millet_device_profile p;
    millet_error err;
    struct file_bytes bytes = {0};
    bytes_put(&bytes, text, strlen(text));
    file_write(file, &bytes);
    bytes_free(&bytes);
    assert_int_equal(millet_device_profile_read(file, &p, &err), status);
    if (!strstr(err.item, item)) fail_msg("\"%s\" for %s", err.item, text);
}

static void test_files_that_are_no_profiles(void **state)
{
    (void)state;
#define BEGIN "{\"version\": 1, \"threads\": 1, \"seconds_per_layer\": 0, \"seconds_per_channel\": 0"
    refused("{}", MILLET_BAD_FORMAT, "version");
    refused("{\"version\": 9}", MILLET_UNSUPPORTED, "version");
    refused(BEGIN "}", MILLET_BAD_FORMAT, "types");
    refused(BEGIN ", \"types\": {\"F16\": [1, 2]}}", MILLET_BAD_FORMAT, "F16");
    refused(BEGIN ", \"types\": {\"F16\": [0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0]}}",
            MILLET_BAD_FORMAT, "F16");
    refused("{\"version\": 1, \"threads\": 0, \"seconds_per_layer\": 0, \"seconds_per_channel\": 0}",
            MILLET_BAD_FORMAT, "threads");
    refused("{\"version\": 1, \"threads\": 1, \"seconds_per_layer\": -1, \"seconds_per_channel\": 0}",
            MILLET_BAD_FORMAT, "");
}

static millet_sensitivity *measure(void)
{
    static const char text[] =
        "abc de fgh abc de abc ijk lmn abc de fgh opq rst abc de uvw xyz abc de fgh ijk";
    millet_sensitivity_options options = millet_sensitivity_options_default();
    millet_sensitivity *s = NULL;
    millet_error err;
    options.text = text;
    options.text_length = strlen(text);
    options.max_tokens = 32;
    options.types = "Q2_K,Q4_K,Q8_0,F16";
    options.n_threads = 1;
    if (millet_sensitivity_measure(model, &options, &s, &err) != MILLET_OK) fail_msg("%s", err.message);
    return s;
}

static void test_speed_budgets(void **state)
{
    (void)state;
    millet_sensitivity *s = measure();
    millet_device_profile p = made_up();
    millet_budget budget = {.tokens_per_second = 1e8, .profile = &p};
    millet_plan *plan = NULL;
    millet_error err;
    assert_int_equal(millet_plan_choose(model, s, &budget, NULL, &plan, &err), MILLET_BAD_ARGUMENT);
    const char *fastest = strstr(err.message, "speed=");
    assert_non_null(fastest);
    double most = atof(fastest + 6), before = 0;
    /* Q2_K is slow here. */
    for (int i = 0; i < 8; i++) {
        budget.tokens_per_second = most * pow(0.8, i);
        if (millet_plan_choose(model, s, &budget, NULL, &plan, &err) != MILLET_OK)
            fail_msg("%s", err.message);
        assert_true(plan->tokens_per_second >= budget.tokens_per_second * (1 - 1e-9));
        for (uint64_t k = 0; k < plan->n_tensors; k++)
            assert_string_not_equal(plan->tensors[k].type, "Q2_K");
        double seconds = 2 * (2e-6 + 256 * 1e-9);
        for (uint64_t k = 0; k < plan->n_tensors; k++) {
            if (isfinite(plan->tensors[k].seconds)) seconds += plan->tensors[k].seconds;
            /* Looked up, not multiplied: it costs nothing to leave it as it is. */
            if (strcmp(plan->tensors[k].name, "token_embd.weight") == 0)
                assert_string_equal(plan->tensors[k].type, "F32");
        }
        assert_true(near(seconds, 1 / plan->tokens_per_second));
        assert_true(i == 0 || plan->kl <= before);
        before = plan->kl;
        millet_plan_free(&plan);
    }

    /* Small and fast at once: with Q2_K alone it is too slow. */
    budget = (millet_budget){.file_bytes = 300000};
    assert_int_equal(millet_plan_choose(model, s, &budget, NULL, &plan, &err), MILLET_BAD_ARGUMENT);
    budget.file_bytes = strtoull(strstr(err.message, "file=") + 5, NULL, 10);
    budget.profile = &p;
    assert_int_equal(millet_plan_choose(model, s, &budget, NULL, &plan, &err), MILLET_OK);
    double slow = plan->tokens_per_second;
    millet_plan_free(&plan);
    budget.tokens_per_second = sqrt(slow * most);
    assert_int_equal(millet_plan_choose(model, s, &budget, NULL, &plan, &err), MILLET_BAD_ARGUMENT);
    assert_non_null(strstr(err.message, "each alone"));
    budget.file_bytes *= 2;
    assert_int_equal(millet_plan_choose(model, s, &budget, NULL, &plan, &err), MILLET_OK);
    assert_true(plan->file_bytes <= budget.file_bytes);
    assert_true(plan->tokens_per_second >= budget.tokens_per_second * (1 - 1e-9));
    millet_plan_free(&plan);

    /* A profile without a type that is wanted. */
    p.n_types = 2;
    assert_int_equal(millet_plan_choose(model, s, &budget, NULL, &plan, &err), MILLET_BAD_ARGUMENT);
    assert_string_equal(err.item, "Q2_K");
    millet_sensitivity_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_between_points),
        cmocka_unit_test(test_file),
        cmocka_unit_test(test_files_that_are_no_profiles),
        cmocka_unit_test(test_speed_budgets),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
