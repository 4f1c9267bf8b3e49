/*
 * Tasks while every allocation is refused in turn, and while their output cannot be written: NO_MEMORY or IO,
 * nothing left over, and the next attempt works.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "millet/tasks.h"
#include "support/corpus_files.h"
#include "support/counting_allocator.h"
#include "support/failing_calls.h"
#include "support/file_bytes.h"
#include "support/tiny_model.h"

#include <errno.h>
#include <string.h>

static struct counting_allocator counting;
static millet_model *model;
static char choices[1024], passages[1024], sums[1024], template[1024], answers[1024];

static int set_up(void **state)
{
    (void)state;
    if (!folder_make()) return -1;
    counting_allocator_init(&counting);
    struct tiny_shape shape = tiny_default();
    model = tiny_model(&counting.allocator, &shape);
    strcpy(choices, corpus_write("c.jsonl",
                                 "{\"question\":\"the\",\"choices\":[\"cat\",\"the hen\"],\"answer\":0}\n"
                                 "{\"question\":\"a\",\"choices\":[\"hen\",\"an\",\"cat\"],\"answer\":2}\n"));
    strcpy(passages, corpus_write("p.jsonl", "{\"text\":\"the cat and the hen\"}\n{\"text\":\"a name\"}\n"));
    strcpy(sums, corpus_write("s.jsonl", "{\"question\":\"one\",\"answer\":\"#### 1\"}\n"
                                         "{\"question\":\"two\",\"answer\":\"#### 2\"}\n"));
    strcpy(template, corpus_write("t.txt", "[question]\n{question}\n[answer]\n {choice}\n"));
    strcpy(answers, folder_path("answers.jsonl"));
    faults_reset();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    millet_model_close(&model);
    assert_int_equal(counting.live, 0);
    folder_remove();
    return 0;
}

static millet_status choose(millet_error *err)
{
    const char *path = choices;
    millet_choice_options options = {.n_shots = 1,
                                     .shots_path = choices,
                                     .template_path = template,
                                     .answers = answers,
                                     .session = {.n_threads = 1}};
    millet_choice_scores *scores;
    millet_status status = millet_choice_measure(model, model, &path, 1, &options, &scores, err);
    assert_true((status == MILLET_OK) == (scores != NULL));
    millet_choice_scores_free(&scores);
    return status;
}

static millet_status read_passages(millet_error *err)
{
    millet_task_options options = {.answers = answers, .session = {.n_threads = 1}};
    millet_lambada_scores scores;
    return millet_lambada_measure(model, model, passages, &options, &scores, err);
}

static millet_status reckon(millet_error *err)
{
    millet_task_options options = {
        .answers = answers, .shots_path = sums, .n_shots = 1, .max_tokens = 3, .session = {.n_threads = 1}};
    millet_gsm8k_scores scores;
    return millet_gsm8k_measure(model, model, sums, &options, &scores, err);
}

static void refuse_each(millet_status (*work)(millet_error *err))
{
    millet_error err;
    long long live = counting.live, before = counting.calls;
    counting.fail_at = -1;
    assert_int_equal(work(&err), MILLET_OK);
    long long calls = counting.calls - before;
    assert_true(calls > 10);
    for (long long i = 0; i < calls; i++) {
        counting.fail_at = counting.calls + i;
        assert_int_equal(work(&err), MILLET_NO_MEMORY);
        assert_true(err.message[0] != 0);
        assert_int_equal(counting.live, live);
    }
    counting.fail_at = -1;
    assert_int_equal(work(&err), MILLET_OK);
    assert_int_equal(counting.live, live);
}

static void test_memory(void **state)
{
    (void)state;
    refuse_each(choose);
    refuse_each(read_passages);
    refuse_each(reckon);
}

/* A full disk: an error that says so, and nothing half-written in place of what was there. */
static deed *const deeds[] = {choose, read_passages, reckon};

static millet_status check_output(deed *operation, const char *what)
{
    (void)what;
    corpus_write("answers.jsonl", "before");
    millet_error err;
    faults_begin();
    millet_status status = operation(&err);
    faults_end();
    struct file_bytes now = file_read(answers);
    bool before = now.size == 6 && memcmp(now.data, "before", 6) == 0;
    assert_true(before == (status != MILLET_OK));
    bytes_free(&now);
    return status;
}

static void test_full_disk(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof deeds / sizeof deeds[0]; i++)
        assert_true(refuse_calls(check_output, deeds[i], WRITE, ENOSPC, true) > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_memory), cmocka_unit_test(test_full_disk)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
