/*
 * Pruning when memory runs out, the disk is full or the process is killed: what was at the output's name
 * before is there still, or the new file is, whole.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "millet/prune.h"
#include "support/corpus_files.h"
#include "support/counting_allocator.h"
#include "support/failing_calls.h"
#include "support/file_bytes.h"
#include "support/tiny_model.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char model[1024], cache[1024], output[1024];
static struct counting_allocator counting;
static struct file_bytes old_bytes, new_bytes;
static millet_train_data data;
static uint64_t parameters; /* not 0: the numbers are searched for */

static millet_status prune(millet_error *err)
{
    millet_prune_options options = millet_prune_options_default();
    options.allocator = &counting.allocator;
    options.data = &data;
    options.n_data = 1;
    options.rows = 2;
    options.length = 16;
    options.max_positions = 32;
    options.parameters = parameters;
    options.layers = 1;
    options.heads = 2;
    options.feed_forward = parameters ? 0 : 50;
    options.width = 40;
    options.vocabulary_min_count = 1;
    options.storage = MILLET_PRUNE_BF16;
    options.n_threads = 1;
    millet_pruning *result = NULL;
    millet_status status = millet_prune(model, output, &options, &result, err);
    assert_true((status == MILLET_OK) == (result != NULL));
    millet_pruning_free(&result);
    return status;
}

static bool output_is(const struct file_bytes *expected)
{
    struct file_bytes now = file_read(output);
    bool same = now.size == expected->size && memcmp(now.data, expected->data, now.size) == 0;
    bytes_free(&now);
    return same;
}

static int set_up(void **state)
{
    (void)state;
    millet_error err;
    millet_tokenizer *tokenizer = NULL;
    if (!folder_make()) return -1;
    faults_reset();
    counting_allocator_init(&counting);
    struct tiny_shape shape = tiny_default();
    snprintf(model, sizeof model, "%s", folder_path("m.gguf"));
    snprintf(cache, sizeof cache, "%s", folder_path("t.tokens"));
    snprintf(output, sizeof output, "%s", folder_path("o.gguf"));
    tiny_write(model, &shape);
    const char *text =
        corpus_write("t.txt", "the cat and the hen in the inn\n<|endoftext|>\nan ant ran and the rest\n");
    assert_int_equal(millet_tokenizer_open(model, NULL, NULL, &tokenizer, &err), MILLET_OK);
    assert_int_equal(millet_cache_build(text, cache, tokenizer, NULL, NULL, &err), MILLET_OK);
    millet_tokenizer_close(&tokenizer);
    data.cache = cache;
    bytes_put(&old_bytes, "what was there before", 21);
    if (prune(&err) != MILLET_OK) fail_msg("%s: %s", err.item, err.message);
    new_bytes = file_read(output);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    bytes_free(&old_bytes);
    bytes_free(&new_bytes);
    folder_remove();
    return 0;
}

static void every_allocation(void **state)
{
    (void)state;
    counting_allocator_init(&counting);
    assert_int_equal(prune(NULL), MILLET_OK);
    assert_int_equal(counting.live, 0);
    long long calls = counting.calls;
    assert_true(calls > 100);
    file_write(output, &old_bytes);
    int files = folder_count();
    for (long long i = 0; i < calls; i++) {
        millet_error err = {.status = MILLET_OK};
        counting_allocator_init(&counting);
        counting.fail_at = i;
        if (prune(&err) != MILLET_NO_MEMORY || err.status != MILLET_NO_MEMORY)
            fail_msg("allocation %lld: %s", i, err.message);
        assert_int_equal(counting.live, 0);
        assert_true(output_is(&old_bytes));
        assert_int_equal(folder_count(), files);
    }
    counting_allocator_init(&counting);
}

/* Some of them, of a search with steps. */
static void allocations_of_a_search(void **state)
{
    (void)state;
    parameters = 36000; /* a few steps down from 39 thousand */
    counting_allocator_init(&counting);
    assert_int_equal(prune(NULL), MILLET_OK);
    long long calls = counting.calls;
    for (long long i = 0; i < calls; i += 11) {
        counting_allocator_init(&counting);
        counting.fail_at = i;
        assert_int_equal(prune(NULL), MILLET_NO_MEMORY);
        assert_int_equal(counting.live, 0);
    }
    counting_allocator_init(&counting);
    parameters = 0;
}

static millet_status run(deed *operation, const char *what)
{
    millet_error err = {.status = MILLET_OK};
    file_write(output, &old_bytes);
    int files = folder_count();
    faults_begin();
    millet_status status = operation(&err);
    faults_end();
    if (!output_is(status == MILLET_OK ? &new_bytes : &old_bytes))
        fail_msg("%s: the output is neither", what);
    if (folder_count() != files) fail_msg("%s left a file behind", what);
    assert_int_equal(err.status, status);
    return status;
}

static void every_write(void **state)
{
    (void)state;
    assert_true(refuse_calls(run, prune, WRITE, ENOSPC, true) > 0);
    faults.failing = FSYNC; /* the first is the file's, the second the folder's, which not every system has */
    faults.fail_at = 0;
    faults.code = EIO;
    assert_int_equal(run(prune, "fsync"), MILLET_IO);
    faults.fail_at = -1;
    assert_true(refuse_calls(run, prune, RENAME, EACCES, true) > 0);
    faults.trickle = true;
    assert_int_equal(run(prune, "in small pieces"), MILLET_OK);
    faults.trickle = false;
}

/* Killed before any of its calls: the old file or the new one, and the next run goes through. */
static void killed(void **state)
{
    (void)state;
    millet_error err;
    assert_int_equal(run(prune, "counting"), MILLET_OK);
    long total = faults.total;
    assert_true(total > 5);
    for (long at = 0; at < total; at++) {
        file_write(output, &old_bytes);
        fflush(NULL);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            faults_begin();
            faults.kill_at = at;
            prune(NULL);
            _exit(0);
        }
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status));
        assert_true(output_is(&old_bytes) || output_is(&new_bytes));
    }
    assert_int_equal(prune(&err), MILLET_OK);
    assert_true(output_is(&new_bytes));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_allocation),
        cmocka_unit_test(allocations_of_a_search),
        cmocka_unit_test(every_write),
        cmocka_unit_test(killed),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
