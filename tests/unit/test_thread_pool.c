/*
 * The thread pool: every thread runs every task once, work is seen by all, pools come and go.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/thread_pool.h"

#include <string.h>
#include <time.h>

struct job {
    int count[8];
    int input, sum[8];
};

static void count_task(void *argument, int thread, int threads)
{
    struct job *job = argument;
    (void)threads;
    job->count[thread]++;
    job->sum[thread] += job->input; /* written by the caller before the run */
}

static void run_many(int threads, int runs, bool pauses)
{
    struct mlt_thread_pool *pool = NULL;
    millet_error err;
    assert_int_equal(mlt_thread_pool_open(mlt_default_allocator(), threads, &pool, &err), MILLET_OK);
    assert_int_equal(mlt_thread_pool_size(pool), threads);
    struct job job = {0};
    int expected = 0;
    for (int i = 0; i < runs; i++) {
        job.input = i;
        expected += i;
        mlt_thread_pool_run(pool, count_task, &job);
        for (int t = 0; t < threads; t++) {
            assert_int_equal(job.count[t], i + 1);
            assert_int_equal(job.sum[t], expected);
        }
        if (pauses) { /* long enough for the workers to fall asleep */
            struct timespec rest = {0, 2000000};
            nanosleep(&rest, NULL);
        }
    }
    mlt_thread_pool_close(&pool);
    assert_null(pool);
}

static void test_runs(void **state)
{
    (void)state;
    run_many(1, 100, false);
    run_many(2, 3000, false);
    run_many(5, 300, false);
    run_many(3, 30, true);
}

static void test_without_pool(void **state)
{
    (void)state;
    struct job job = {.input = 3};
    mlt_thread_pool_run(NULL, count_task, &job);
    assert_int_equal(job.count[0], 1);
    assert_int_equal(job.sum[0], 3);
    assert_int_equal(mlt_thread_pool_size(NULL), 1);
}

static void test_limits(void **state)
{
    (void)state;
    struct mlt_thread_pool *pool = NULL;
    millet_error err;
    assert_int_equal(mlt_thread_pool_open(mlt_default_allocator(), -1, &pool, &err), MILLET_BAD_ARGUMENT);
    assert_int_equal(mlt_thread_pool_open(mlt_default_allocator(), 100000, &pool, &err), MILLET_BAD_ARGUMENT);
    assert_null(pool);
    mlt_thread_pool_close(&pool);
}

static void test_share(void **state)
{
    (void)state;
    for (int64_t count = 0; count < 50; count++) {
        for (int threads = 1; threads < 6; threads++) {
            int64_t at = 0;
            for (int t = 0; t < threads; t++) {
                int64_t begin, end;
                mlt_thread_share(count, 4, t, threads, &begin, &end);
                assert_int_equal(begin, at);
                assert_true(end >= begin && (end % 4 == 0 || end == count));
                at = end;
            }
            assert_int_equal(at, count);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_runs),
        cmocka_unit_test(test_without_pool),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_share),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
