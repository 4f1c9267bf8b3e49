/*
 * Measuring, choosing and writing plans when memory or the disk runs out: an error, nothing lost, no half
 * file.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "millet/plan.h"
#include "support/counting_allocator.h"
#include "support/failing_calls.h"
#include "support/file_bytes.h"
#include "support/tiny_model.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static char model[512], plan_file[512], cache[512];
static const millet_allocator *allocator;

static int set_up(void **state)
{
    (void)state;
    folder_make();
    strcpy(model, folder_path("m.gguf"));
    strcpy(plan_file, folder_path("plan.json"));
    strcpy(cache, folder_path("s.json"));
    struct tiny_shape shape = tiny_default();
    shape.n_layers = 1;
    tiny_write(model, &shape);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    folder_remove();
    return 0;
}

/* All of it: sensitivities, a plan, its file, and that read again. */
static millet_status make_plan(millet_error *err)
{
    static const char text[] = "abc de fgh abc de abc ijk lmn abc de fgh opq";
    millet_sensitivity_options options = millet_sensitivity_options_default();
    millet_quantize_options quantize = millet_quantize_options_default();
    millet_sensitivity *s = NULL;
    millet_plan *plan = NULL, *read = NULL;
    const millet_budget budget = {.file_bytes = 90000, .memory_bytes = 1 << 30, .memory_ctx = 64};
    options.allocator = quantize.allocator = allocator;
    options.text = text;
    options.text_length = strlen(text);
    options.max_tokens = 20;
    options.types = "Q4_0";
    options.n_threads = quantize.n_threads = 1;
    options.cache = cache;
    millet_status status = millet_sensitivity_measure(model, &options, &s, err);
    if (status == MILLET_OK) status = millet_plan_choose(model, s, &budget, &quantize, &plan, err);
    if (status == MILLET_OK) status = millet_plan_write(plan, plan_file, err);
    if (status == MILLET_OK) status = millet_plan_read(allocator, plan_file, &read, err);
    millet_sensitivity_free(&s);
    millet_plan_free(&plan);
    millet_plan_free(&read);
    return status;
}

static void forget_files(void)
{
    remove(cache);
    remove(plan_file);
}

static void test_every_allocation(void **state)
{
    (void)state;
    struct counting_allocator counting;
    counting_allocator_init(&counting);
    allocator = &counting.allocator;
    forget_files();
    millet_error err;
    millet_status status = make_plan(&err);
    if (status != MILLET_OK) fail_msg("%s: %s", err.item, err.message);
    assert_int_equal(counting.live, 0);
    long long calls = counting.calls;
    assert_true(calls > 100);
    for (long long i = 0; i < calls; i += 1 + i / 300) {
        forget_files();
        counting.calls = 0;
        counting.fail_at = i;
        err.status = MILLET_OK;
        assert_int_equal(make_plan(&err), MILLET_NO_MEMORY);
        assert_int_equal(err.status, MILLET_NO_MEMORY);
        assert_int_equal(counting.live, 0);
    }
    allocator = NULL;
}

static void put_old_files(void)
{
    struct file_bytes old = {0};
    bytes_put(&old, "old", 3);
    file_write(plan_file, &old);
    bytes_free(&old);
    remove(cache);
}

/* Whatever happens to a call: the plan is the old one or a whole one, and no temporary file is left. */
static millet_status run_once(deed *operation, const char *what)
{
    put_old_files();
    millet_error err = {.status = MILLET_OK};
    faults_begin();
    millet_status status = operation(&err);
    faults_end();
    struct file_bytes now = file_read(plan_file);
    bool is_old = now.size == 3 && memcmp(now.data, "old", 3) == 0;
    if (!is_old && (now.size < 100 || memcmp(now.data + now.size - 4, "]\n}\n", 4) != 0))
        fail_msg("%s: half a plan", what);
    if (status == MILLET_OK && is_old) fail_msg("%s: a plan that was not written", what);
    bytes_free(&now);
    assert_true(folder_count() <= 3);
    return status;
}

static void test_full_disk(void **state)
{
    (void)state;
    faults_reset();
    assert_true(refuse_calls(run_once, make_plan, WRITE, ENOSPC, true) >= 2);
    assert_true(refuse_calls(run_once, make_plan, RENAME, EIO, true) >= 2);
    faults_reset();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_allocation),
        cmocka_unit_test(test_full_disk),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
