/*
 * Distillation that is killed, refused memory or disk: teacher outputs are gone on with and become the same
 * file, a student goes on with the same losses to the bit.
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

#include "millet/train.h"
#include "support/counting_allocator.h"
#include "support/file_bytes.h"
#include "support/tiny_model.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* What happens at system call number `at` of those wrapped; -1: nothing. */
static struct {
    long at, seen;
    bool kill; /* the process; else the call is refused as a full disk would */
} fault = {.at = -1};

static bool is_refused(void)
{
    if (fault.seen++ != fault.at) return false;
    if (fault.kill) raise(SIGKILL);
    errno = ENOSPC;
    return true;
}

#define WRAP(result, name, parameters, arguments)                                                            \
    result __real_##name parameters;                                                                         \
    result __wrap_##name parameters;                                                                         \
    result __wrap_##name parameters                                                                          \
    {                                                                                                        \
        return is_refused() ? -1 : __real_##name arguments;                                                  \
    }

WRAP(ssize_t, write, (int fd, const void *bytes, size_t size), (fd, bytes, size))
WRAP(ssize_t, pwrite, (int fd, const void *bytes, size_t size, off_t at), (fd, bytes, size, at))
WRAP(ssize_t, pread, (int fd, void *bytes, size_t size, off_t at), (fd, bytes, size, at))
WRAP(int, fsync, (int fd), (fd))
WRAP(int, rename, (const char *from, const char *to), (from, to))

enum { STEPS = 8, SAVE_EVERY = 2 };

static char model[512], teacher[512], cache[512], said[512], part[600], output[512], state_file[512];

static const char *const teachers[] = {teacher}, *const outputs[] = {said};
static const millet_train_data data[] = {{.cache = cache, .weight = 0}};
static millet_teacher_options teaching;
static millet_train_options options;

/* What a callback does and has seen. */
static struct {
    double loss[STEPS + 1], divergence[STEPS + 1]; /* by steps done */
    uint64_t kill_at;                              /* steps done; 0: never */
    int batches, kill_at_batch;
} seen;

static bool report(void *context, const millet_train_report *r)
{
    (void)context;
    seen.loss[r->step] = r->loss;
    seen.divergence[r->step] = r->divergence;
    if (seen.kill_at == r->step) raise(SIGKILL);
    return true;
}

static bool progress(void *context, double fraction)
{
    (void)context;
    (void)fraction;
    if (++seen.batches == seen.kill_at_batch) raise(SIGKILL);
    return true;
}

static void must(millet_status status, const millet_error *err)
{
    char line[800];
    if (status == MILLET_OK) return;
    millet_error_format(err, line, sizeof line);
    fail_msg("%s", line);
}

static void write_model(char *path, const char *name, uint64_t seed)
{
    struct tiny_shape shape = tiny_default();
    shape.n_layers = 1;
    shape.seed = seed;
    strcpy(path, folder_path(name));
    tiny_write(path, &shape);
}

static int set_up(void **state)
{
    (void)state;
    millet_error err;
    millet_tokenizer *tokenizer;
    char source[512];
    folder_make();
    write_model(model, "in.gguf", 1);
    write_model(teacher, "teacher.gguf", 2);
    strcpy(source, folder_path("pairs.jsonl"));
    strcpy(cache, folder_path("pairs.tokens"));
    strcpy(said, folder_path("pairs.teacher"));
    snprintf(part, sizeof part, "%s.part", said);
    strcpy(output, folder_path("out.gguf"));
    strcpy(state_file, folder_path("out.gguf.state"));
    FILE *file = fopen(source, "w");
    for (int i = 0; i < 60; i++)
        fprintf(file, "{\"prompt\": \"abc %d\", \"completion\": \"%c de\", \"prefix\": true}\n", i,
                'a' + i % 7);
    fclose(file);
    must(millet_tokenizer_open(model, NULL, NULL, &tokenizer, &err), &err);
    must(millet_cache_build(source, cache, tokenizer, NULL, NULL, &err), &err);
    millet_tokenizer_close(&tokenizer);
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
    (void)state;
    memset(&fault, 0, sizeof fault);
    fault.at = -1;
    memset(&seen, 0, sizeof seen);
    unlink(said);
    unlink(part);
    unlink(output);
    unlink(state_file);
    teaching = millet_teacher_options_default();
    teaching.teachers = teachers;
    teaching.n_teachers = 1;
    teaching.length = 32;
    teaching.rows = 2;
    teaching.top_k = 5;
    teaching.n_threads = 1;
    teaching.progress = progress;
    options = millet_train_options_default();
    options.model = model;
    options.data = data;
    options.n_data = 1;
    options.output = output;
    options.steps = STEPS;
    options.save_every = SAVE_EVERY;
    options.rows = 2;
    options.length = 32;
    options.rate = 1e-2f;
    options.n_threads = 1;
    options.distil.outputs = outputs;
    options.distil.top_k = 5;
    options.report = report;
    return 0;
}

static millet_teacher_info teach(void)
{
    millet_error err;
    millet_teacher_info info;
    must(millet_teacher_build(cache, said, &teaching, &info, &err), &err);
    return info;
}

static void train(void)
{
    millet_error err;
    must(millet_train(&options, NULL, &err), &err);
}

static int teach_only(void)
{
    return millet_teacher_build(cache, said, &teaching, NULL, NULL);
}

static int train_only(void)
{
    return millet_train(&options, NULL, NULL);
}

/* Runs in a process of its own, which is killed; false where it ended by itself. */
static bool run_and_die(int (*work)(void))
{
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) _exit(work() == MILLET_OK ? 0 : 1);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    if (WIFSIGNALED(status)) return true;
    assert_int_equal(WEXITSTATUS(status), 0);
    return false;
}

static void expect_same_file(const char *path, const struct file_bytes *expected)
{
    struct file_bytes now = file_read(path);
    assert_int_equal(now.size, expected->size);
    assert_memory_equal(now.data, expected->data, now.size);
    bytes_free(&now);
}

/* ---- Tests ---- */

/* Killed between batches, and before any system call: what is there under the name is whole, and the next run
 * ends with the same bytes. */
static void teaching_is_killed(void **state)
{
    (void)state;
    teach();
    struct file_bytes whole = file_read(said);
    long calls = fault.seen;
    int batches = seen.batches;
    assert_true(calls > 10 && batches > 5);
    for (long at = 0; at < calls + batches; at++) {
        unlink(said);
        fault.kill = at < calls;
        fault.at = at < calls ? at : -1;
        fault.seen = 0;
        seen.batches = 0;
        seen.kill_at_batch = at < calls ? 0 : (int)(at - calls) + 1;
        assert_true(run_and_die(teach_only));
        fault.at = -1;
        seen.kill_at_batch = 0;
        millet_teacher_info info;
        if (access(said, F_OK) == 0) must(millet_teacher_inspect(said, true, &info, NULL), NULL);
        teaching.n_threads = (int32_t)(at % 3) + 1;
        teach();
        expect_same_file(said, &whole);
        assert_int_equal(access(part, F_OK), -1);
    }
    bytes_free(&whole);
}

static void the_disk_is_full(void **state)
{
    (void)state;
    millet_error err;
    teach();
    struct file_bytes whole = file_read(said);
    long calls = fault.seen;
    for (long at = 0; at + 1 < calls; at++) { /* the last is the folder's fsync */
        unlink(said);
        fault.at = at;
        fault.seen = 0;
        assert_int_equal(millet_teacher_build(cache, said, &teaching, NULL, &err), MILLET_IO);
        fault.at = -1;
        assert_non_null(strstr(err.message, strerror(ENOSPC)));
        assert_int_equal(access(said, F_OK), -1);
        teach();
        expect_same_file(said, &whole);
    }
    bytes_free(&whole);
}

static bool try_another(void *context, double fraction)
{
    millet_teacher_options others = teaching;
    millet_error err;
    (void)context;
    (void)fraction;
    others.progress = NULL;
    assert_int_equal(millet_teacher_build(cache, said, &others, NULL, &err), MILLET_BAD_ARGUMENT);
    assert_non_null(strstr(err.message, "another process"));
    return true;
}

/* While one writes the file, others are kept away from it. */
static void two_at_a_time(void **state)
{
    (void)state;
    teaching.progress = try_another;
    teach();
}

/* No files, and hidden states and attention. */
static void beside_the_student(void)
{
    static const millet_layer_match matches[] = {{0, 1}, {1, 1}};
    options.distil.outputs = NULL;
    options.distil.teachers = teachers;
    options.distil.n_teachers = 1;
    options.distil.hidden = matches;
    options.distil.n_hidden = 2;
    options.distil.attention = matches + 1;
    options.distil.n_attention = 1;
}

static void a_student_is_killed(void **state)
{
    (void)state;
    teach();
    for (int form = 0; form < 3; form++) {
        options.resume = false;
        options.restart = true;
        options.distil.alpha = form == 1 ? 1 : 0.5f;
        options.accumulate = form == 1 ? 2 : 1;
        if (form == 2) beside_the_student();
        seen.kill_at = 0;
        train();
        struct file_bytes whole = file_read(output);
        double loss[STEPS + 1], divergence[STEPS + 1];
        memcpy(loss, seen.loss, sizeof loss);
        memcpy(divergence, seen.divergence, sizeof divergence);
        assert_true(divergence[STEPS] < divergence[1]);
        for (uint64_t step = SAVE_EVERY; step < STEPS; step++) {
            unlink(output);
            options.resume = false;
            options.n_threads = 1;
            seen.kill_at = step;
            assert_true(run_and_die(train_only));
            memset(&seen, 0, sizeof seen);
            options.resume = true;
            options.n_threads = 3;
            train();
            for (uint64_t i = step / SAVE_EVERY * SAVE_EVERY + 1; i <= STEPS; i++)
                assert_true(seen.loss[i] == loss[i] && seen.divergence[i] == divergence[i]);
            expect_same_file(output, &whole);
        }
        bytes_free(&whole);
    }
}

static void every_allocation(void **state)
{
    (void)state;
    struct counting_allocator counting;
    counting_allocator_init(&counting);
    teaching.allocator = options.allocator = &counting.allocator;
    teaching.rebuild = options.restart = true;
    options.steps = 1;
    options.holdout = 5;
    teach();
    assert_int_equal(counting.live, 0);
    long long calls = counting.calls;
    assert_true(calls > 50);
    for (long long i = 0; i < calls; i++) {
        counting_allocator_init(&counting);
        counting.fail_at = i;
        assert_int_equal(millet_teacher_build(cache, said, &teaching, NULL, NULL), MILLET_NO_MEMORY);
        assert_int_equal(counting.live, 0);
    }
    counting_allocator_init(&counting);
    teach();
    for (int form = 0; form < 2; form++) {
        if (form) beside_the_student();
        counting_allocator_init(&counting);
        train();
        assert_int_equal(counting.live, 0);
        calls = counting.calls;
        for (long long i = 0; i < calls; i++) {
            counting_allocator_init(&counting);
            counting.fail_at = i;
            assert_int_equal(millet_train(&options, NULL, NULL), MILLET_NO_MEMORY);
            assert_int_equal(counting.live, 0);
        }
    }
}

/* The memory that was promised is what is taken, but for the packing and what opening a file takes. */
static void memory_is_known(void **state)
{
    (void)state;
    struct counting_allocator counting;
    millet_error err;
    for (int form = 0; form < 3; form++) {
        millet_train_memory memory;
        teaching.top_k = options.distil.top_k = form ? 0 : 5;
        teach();
        if (form == 2) beside_the_student();
        counting_allocator_init(&counting);
        options.allocator = &counting.allocator;
        options.restart = true;
        options.steps = 1;
        must(millet_train_estimate(&options, &memory, &err), &err);
        assert_true(memory.distillation > 0);
        counting_allocator_init(&counting);
        train();
        assert_in_range(counting.peak, memory.total, memory.total + (1 << 20));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(teaching_is_killed, each), cmocka_unit_test_setup(the_disk_is_full, each),
        cmocka_unit_test_setup(two_at_a_time, each),      cmocka_unit_test_setup(a_student_is_killed, each),
        cmocka_unit_test_setup(every_allocation, each),   cmocka_unit_test_setup(memory_is_known, each),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
