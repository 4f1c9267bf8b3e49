/*
 * Opening and writing checkpoints while every allocation and every system call fails in turn. Whatever fails,
 * memory and file descriptors come back, the status says so, and what lies under the output's name is the old
 * file or the new one, whole.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "format/gguf_write.h"
#include "support/counting_allocator.h"
#include "support/failing_calls.h"
#include "support/file_bytes.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static struct counting_allocator counting;

static millet_status open_named(const char *name, millet_error *err)
{
    struct mlt_checkpoint *checkpoint;
    millet_status status =
        mlt_checkpoint_open(&counting.allocator, folder_path(name), NULL, &checkpoint, err);
    if (status != MILLET_OK) assert_null(checkpoint);
    mlt_checkpoint_close(&checkpoint);
    return status;
}

static millet_status open_gguf(millet_error *err)
{
    return open_named("sample.gguf", err);
}

static millet_status open_split(millet_error *err)
{
    return open_named("old-00001-of-00003.gguf", err);
}

static millet_status open_llama2c(millet_error *err)
{
    return open_named("sample.bin", err);
}

/* Two tensors of 40000 bytes `value`, so that buffers are flushed in between, to one file or three pieces. */
static millet_status write_model(const char *name, uint8_t value, uint64_t piece_bytes, millet_error *err)
{
    static uint8_t data[200000];
    memset(data, value, sizeof data);
    const struct mlt_meta meta = {.key = {"key", 3}, .type = MLT_META_U8, .element = MLT_META_U8, .count = 1};
    const struct mlt_tensor tensors[2] = {
        {.name = {"a", 1}, .dtype = MLT_I8, .n_dims = 1, .ne = {sizeof data}},
        {.name = {"b", 1}, .dtype = MLT_I8, .n_dims = 1, .ne = {sizeof data}},
    };
    const struct mlt_gguf_contents contents = {
        .metas = &meta, .n_metas = 1, .tensors = tensors, .n_tensors = 2, .piece_bytes = piece_bytes};
    struct mlt_gguf_writer *writer;
    MLT_TRY(mlt_gguf_writer_open(&counting.allocator, folder_path(name), &contents, &writer, err));
    for (size_t i = 0; i < 2; i++) {
        for (size_t at = 0; at < sizeof data; at += 50000) {
            millet_status status = mlt_gguf_writer_write(writer, i, data + at, 50000, err);
            if (status == MILLET_OK) continue;
            mlt_gguf_writer_abort(&writer);
            return status;
        }
    }
    return mlt_gguf_writer_commit(&writer, err);
}

enum { OLD = 1, NEW = 2 };

static millet_status write_one(millet_error *err)
{
    return write_model("out.gguf", NEW, 0, err);
}

static millet_status write_pieces(millet_error *err)
{
    return write_model("out.gguf", NEW, 1000, err);
}

/* OLD, NEW, or 0 where nothing can be opened; all bytes must be of one kind. */
static int which_model(const char *name)
{
    struct mlt_checkpoint *checkpoint;
    millet_error err;
    millet_status status =
        mlt_checkpoint_open(mlt_default_allocator(), folder_path(name), NULL, &checkpoint, &err);
    if (status != MILLET_OK) {
        assert_int_equal(status, MILLET_NOT_FOUND);
        return 0;
    }
    assert_int_equal(checkpoint->n_tensors, 2);
    int value = checkpoint->tensors[0].data[0];
    for (size_t i = 0; i < 2; i++)
        for (uint64_t k = 0; k < checkpoint->tensors[i].bytes; k++)
            assert_int_equal(checkpoint->tensors[i].data[k], value);
    mlt_checkpoint_close(&checkpoint);
    return value;
}

/* The files that operations find. */
static void make_files(void)
{
    struct file_bytes bytes;
    bytes_sample_gguf(&bytes, 3, NULL);
    file_write(folder_path("sample.gguf"), &bytes);
    bytes_free(&bytes);
    bytes_sample_llama2c(&bytes, 2, 300, 1, 64, 0);
    file_write(folder_path("sample.bin"), &bytes);
    bytes_free(&bytes);
    bytes_sample_tokenizer(&bytes, 300);
    file_write(folder_path("tokenizer.bin"), &bytes);
    bytes_free(&bytes);
    assert_int_equal(write_model("old.gguf", OLD, 1000, NULL), MILLET_OK);
    assert_int_equal(write_model("out.gguf", OLD, 0, NULL), MILLET_OK);
    assert_int_equal(write_model("out.gguf", OLD, 1000, NULL), MILLET_OK);
}

static int set_up(void **state)
{
    (void)state;
    faults_reset();
    counting_allocator_init(&counting);
    folder_make();
    make_files();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    folder_remove();
    return 0;
}

/* Runs an operation with faults on, and checks what must hold whatever happened. */
static millet_status run(deed *operation, const char *what)
{
    millet_error err = {0};
    faults_begin();
    millet_status status = operation(&err);
    faults_end();
    if (counting.live != 0) fail_msg("%s: %lld blocks are left", what, (long long)counting.live);
    if (faults.descriptors != 0) fail_msg("%s: %ld descriptors are left", what, faults.descriptors);
    if (status != MILLET_OK) {
        assert_int_equal(err.status, status);
        assert_string_not_equal(err.message, "");
    }
    return status;
}

static deed *const readers[] = {open_gguf, open_split, open_llama2c};
static deed *const writers[] = {write_one, write_pieces};

static void refuse_allocations(deed *operation)
{
    for (long long n = 0;; n++) {
        char what[64];
        snprintf(what, sizeof what, "allocation %lld", n);
        counting.calls = 0;
        counting.fail_at = n;
        millet_status status = run(operation, what);
        bool reached = counting.calls > n;
        counting.fail_at = -1;
        if (!reached) {
            assert_int_equal(status, MILLET_OK);
            assert_true(n > 3);
            return;
        }
        assert_int_equal(status, MILLET_NO_MEMORY);
    }
}

static void test_allocations(void **state)
{
    (void)state;
    for (size_t i = 0; i < MLT_COUNT(readers); i++)
        refuse_allocations(readers[i]);
    int files = folder_count();
    for (size_t i = 0; i < MLT_COUNT(writers); i++)
        refuse_allocations(writers[i]);
    assert_int_equal(folder_count(), files); /* no temporary file */
    assert_int_equal(which_model("out.gguf"), NEW);
    assert_int_equal(which_model("out-00001-of-00003.gguf"), NEW);
}

static void test_reading(void **state)
{
    (void)state;
    for (size_t i = 0; i < MLT_COUNT(readers); i++) {
        static const long files[] = {1, 3, 2};
        assert_true(refuse_calls(run, readers[i], OPEN, EACCES, true) >= files[i]);
        assert_int_equal(refuse_calls(run, readers[i], FSTAT, EIO, true), files[i]);
        assert_int_equal(refuse_calls(run, readers[i], MMAP, EAGAIN, true), files[i]);
        assert_int_equal(refuse_calls(run, readers[i], MMAP, ENOMEM, true), files[i]);
        assert_int_equal(refuse_calls(run, readers[i], CLOSE, EIO, false),
                         files[i]); /* nothing was written */
        faults.no_mmap = true;
        assert_true(refuse_calls(run, readers[i], READ, EIO, true) >= files[i]);
        faults.trickle = true;
        assert_int_equal(run(readers[i], "interrupted reads"), MILLET_OK);
        faults.no_mmap = faults.trickle = false;
    }
}

/* After each failure of `call` one kind of model must be there, whole. */
static void refuse_while_writing(deed *operation, const char *name, enum call call, int code)
{
    for (long n = 0;; n++) {
        assert_int_equal(write_model("out.gguf", OLD, operation == write_pieces ? 1000 : 0, NULL), MILLET_OK);
        assert_int_equal(which_model(name), OLD);
        int files = folder_count();
        char what[64];
        snprintf(what, sizeof what, "%s %ld", call_name(call), n);
        faults.failing = call;
        faults.fail_at = n;
        faults.code = code;
        millet_status status = run(operation, what);
        faults.fail_at = -1;
        int model = which_model(name);
        if (status == MILLET_OK) assert_int_equal(model, NEW);
        /* Pieces of an old split go when the first new one is in place; a single file is replaced at once. */
        if (status != MILLET_OK && operation == write_one) assert_int_equal(model, OLD);
        if (status != MILLET_OK) assert_true(model != NEW);
        if (call != UNLINK) assert_true(folder_count() <= files); /* no temporary file */
        if (faults.seen[call] <= n) {
            assert_int_equal(status, MILLET_OK);
            assert_true(n > 0 || call == UNLINK);
            return;
        }
    }
}

static void test_writing(void **state)
{
    (void)state;
    static const struct {
        enum call call;
        int code;
    } cases[] = {{OPEN, EACCES},  {WRITE, ENOSPC}, {WRITE, EIO},   {FSYNC, EIO},
                 {CLOSE, EDQUOT}, {RENAME, EPERM}, {UNLINK, EPERM}};
    for (size_t i = 0; i < MLT_COUNT(cases); i++) {
        refuse_while_writing(write_one, "out.gguf", cases[i].call, cases[i].code);
        refuse_while_writing(write_pieces, "out-00001-of-00003.gguf", cases[i].call, cases[i].code);
    }
    faults.trickle = true;
    assert_int_equal(run(write_one, "interrupted writes"), MILLET_OK);
    faults.trickle = false;
    assert_int_equal(which_model("out.gguf"), NEW);
}

/* Writes in a process that dies before system call `n`; false once it lives to the end. */
static bool write_and_die(deed *operation, long n)
{
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        faults.kill_at = n;
        faults_begin();
        _exit(operation(NULL) == MILLET_OK ? 0 : 1);
    }
    int result;
    assert_int_equal(waitpid(child, &result, 0), child);
    if (WIFSIGNALED(result)) return true;
    assert_true(WIFEXITED(result) && WEXITSTATUS(result) == 0);
    return false;
}

/* Killed between any two system calls: what can be opened is the old model or the new one. */
static void test_killed(void **state)
{
    (void)state;
    static const struct {
        deed *write;
        const char *name;
        uint64_t piece_bytes;
    } cases[] = {{write_one, "out.gguf", 0}, {write_pieces, "out-00001-of-00003.gguf", 1000}};
    for (size_t i = 0; i < MLT_COUNT(cases); i++) {
        int seen[3] = {0, 0, 0};
        bool died = true;
        for (long n = 0; died; n++) {
            assert_int_equal(write_model("out.gguf", OLD, cases[i].piece_bytes, NULL), MILLET_OK);
            died = write_and_die(cases[i].write, n);
            int model = which_model(cases[i].name);
            assert_in_range(model, 0, NEW);
            seen[model]++;
            if (!died) assert_int_equal(model, NEW);
        }
        assert_true(seen[OLD] >= 4 && seen[NEW] >= 1);
        assert_int_equal(seen[0] > 0, cases[i].write == write_pieces); /* a file is replaced at once */
    }
}

/* A full disk is an error that says so. */
static void test_disk_full(void **state)
{
    (void)state;
    millet_error err;
    faults.failing = WRITE;
    faults.fail_at = 1;
    faults.code = ENOSPC;
    faults_begin();
    millet_status status = write_one(&err);
    faults_end();
    assert_int_equal(status, MILLET_IO);
    assert_non_null(strstr(err.file, "out.gguf"));
    assert_non_null(strstr(err.message, strerror(ENOSPC)));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_allocations), TEST(test_reading), TEST(test_writing),
        TEST(test_disk_full),   TEST(test_killed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
