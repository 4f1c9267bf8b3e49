/*
 * millet_quantize when memory or the disk runs out, and when the process is killed: the output is the old
 * file or the new one, whole.
 *
 * The linker puts the __wrap_ functions in front of the C library's (see tests/CMakeLists.txt).
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/random.h"
#include "millet/lab.h"
#include "support/counting_allocator.h"
#include "support/file_bytes.h"
#include "support/tiny_model.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* What happens at system call number `at` of those wrapped; -1: nothing. */
static struct {
    long at, seen;
    enum { REFUSE, KILL_BEFORE, KILL_AFTER } action;
} fault = {.at = -1};

static bool is_struck(void)
{
    bool now = fault.seen++ == fault.at;
    if (now && fault.action == KILL_BEFORE) raise(SIGKILL);
    return now;
}

#define WRAP(result, name, parameters, arguments)                                                            \
    result __real_##name parameters;                                                                         \
    result __wrap_##name parameters;                                                                         \
    result __wrap_##name parameters                                                                          \
    {                                                                                                        \
        bool now = is_struck();                                                                              \
        if (now && fault.action == REFUSE) {                                                                 \
            errno = ENOSPC;                                                                                  \
            return -1;                                                                                       \
        }                                                                                                    \
        result value = __real_##name arguments;                                                              \
        if (now) raise(SIGKILL);                                                                             \
        return value;                                                                                        \
    }

WRAP(ssize_t, write, (int fd, const void *bytes, size_t size), (fd, bytes, size))
WRAP(int, fsync, (int fd), (fd))
WRAP(int, rename, (const char *from, const char *to), (from, to))

/* ---- Files ----------------------------------------------------------------------------------------------
 */

static const char *input, *output;
static struct file_bytes new_bytes; /* what a whole output is */

static millet_status quantize(const millet_allocator *allocator, millet_error *err)
{
    millet_quantize_options options = millet_quantize_options_default();
    options.type = "Q8_0";
    options.n_threads = 2;
    options.allocator = allocator;
    return millet_quantize(input, output, &options, NULL, err);
}

static int set_up(void **state)
{
    (void)state;
    folder_make();
    static char paths[2][512];
    input = strcpy(paths[0], folder_path("in.gguf"));
    output = strcpy(paths[1], folder_path("out.gguf"));
    struct tiny_shape shape = tiny_default();
    shape.n_embd = 256;
    shape.n_layers = 1;
    shape.n_ff = 1024; /* 5 MB */
    tiny_write(input, &shape);
    assert_int_equal(quantize(NULL, NULL), MILLET_OK);
    new_bytes = file_read(output);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    bytes_free(&new_bytes);
    folder_remove();
    return 0;
}

static void put_old_file(void)
{
    struct file_bytes old = {0};
    bytes_put(&old, "old", 3);
    file_write(output, &old);
    bytes_free(&old);
}

/* Whether the output is the new file; else it must be the old one. */
static bool output_is_new(void)
{
    struct file_bytes now = file_read(output);
    bool is_new = now.size == new_bytes.size;
    if (is_new)
        assert_memory_equal(now.data, new_bytes.data, now.size);
    else {
        assert_int_equal(now.size, 3);
        assert_memory_equal(now.data, "old", 3);
    }
    bytes_free(&now);
    return is_new;
}

/* ---- Tests ----------------------------------------------------------------------------------------------
 */

static void test_every_allocation(void **state)
{
    (void)state;
    struct counting_allocator counting;
    counting_allocator_init(&counting);
    assert_int_equal(quantize(&counting.allocator, NULL), MILLET_OK);
    assert_int_equal(counting.live, 0);
    long long calls = counting.calls;
    assert_true(calls > 10);
    for (long long i = 0; i < calls; i++) {
        put_old_file();
        counting.calls = 0;
        counting.fail_at = i;
        millet_error err = {.status = MILLET_OK};
        assert_int_equal(quantize(&counting.allocator, &err), MILLET_NO_MEMORY);
        assert_int_equal(err.status, MILLET_NO_MEMORY);
        assert_int_equal(counting.live, 0);
        assert_false(output_is_new());
        assert_int_equal(folder_count(), 2);
    }
}

static long count_system_calls(void)
{
    fault.at = -1;
    fault.seen = 0;
    assert_int_equal(quantize(NULL, NULL), MILLET_OK);
    return fault.seen;
}

static void test_full_disk_at_every_call(void **state)
{
    (void)state;
    long calls = count_system_calls();
    assert_true(calls > 5);
    for (long i = 0; i < calls; i++) {
        put_old_file();
        fault.action = REFUSE;
        fault.at = i;
        fault.seen = 0;
        millet_error err = {.status = MILLET_OK};
        millet_status status = quantize(NULL, &err);
        fault.at = -1;
        /* The last call makes the new name itself durable; the file is there by then. */
        if (output_is_new()) {
            assert_int_equal(i, calls - 1);
        } else {
            assert_int_equal(status, MILLET_IO);
            assert_true(strstr(err.file, "out.gguf") != NULL);
        }
        assert_int_equal(folder_count(), 2);
    }
}

/* A limit of the system's own in place of a wrapped call. */
static void test_file_size_limit(void **state)
{
    (void)state;
    put_old_file();
    struct rlimit before, limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    limit = (struct rlimit){.rlim_cur = 500000, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    millet_error err = {.status = MILLET_OK};
    millet_status status = quantize(NULL, &err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    signal(SIGXFSZ, handler);
    assert_int_equal(status, MILLET_IO);
    assert_int_equal(err.status, MILLET_IO);
    assert_false(output_is_new());
    assert_int_equal(folder_count(), 2);
}

/* Runs millet_quantize in a child that ends by SIGKILL after `seconds`, or at the fault, or by itself. */
static void quantize_and_die(double seconds)
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) _exit(quantize(NULL, NULL) == MILLET_OK ? 0 : 1);
    if (seconds >= 0) {
        struct timespec pause = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
        nanosleep(&pause, NULL);
        kill(child, SIGKILL);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    if (WIFEXITED(status)) {
        assert_int_equal(WEXITSTATUS(status), 0);
        assert_true(output_is_new());
    } else {
        assert_int_equal(WTERMSIG(status), SIGKILL);
    }
}

static void test_killed_at_every_call(void **state)
{
    (void)state;
    long calls = count_system_calls();
    int n_old = 0, n_new = 0;
    for (long i = 0; i < 2 * calls; i++) {
        put_old_file();
        fault.action = i % 2 ? KILL_AFTER : KILL_BEFORE;
        fault.at = i / 2;
        fault.seen = 0;
        quantize_and_die(-1);
        fault.at = -1;
        if (output_is_new())
            n_new++;
        else
            n_old++;
    }
    assert_true(n_old >= 2 && n_new >= 1); /* before and after the rename */
}

static void test_killed_at_random(void **state)
{
    (void)state;
    double start = mlt_clock_seconds();
    quantize_and_die(-1);
    double whole = mlt_clock_seconds() - start;
    struct mlt_random random;
    mlt_random_seed(&random, 1);
    for (int i = 0; i < 50; i++) {
        bool old = i % 2;
        if (old)
            put_old_file();
        else
            unlink(output);
        quantize_and_die(1.2 * whole * mlt_random_double(&random));
        if (access(output, F_OK) == 0)
            assert_true(output_is_new() || old);
        else
            assert_false(old);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_every_allocation, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_full_disk_at_every_call, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_file_size_limit, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_killed_at_every_call, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_killed_at_random, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
