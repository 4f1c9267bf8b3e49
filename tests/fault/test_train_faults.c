/*
 * Training that is stopped, killed, refused memory or disk: it goes on with the same losses to the bit, and
 * nothing that was saved is lost.
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
WRAP(int, fsync, (int fd), (fd))
WRAP(int, rename, (const char *from, const char *to), (from, to))

/* ---- A small training ---- */

enum { STEPS = 12, SAVE_EVERY = 3 };

static char model[512], text[512], cache[512], pairs[512], output[512], state_file[512];

static const millet_train_data data[] = {{.cache = cache, .weight = 2}, {.cache = pairs, .weight = 1}};

static millet_train_options options;

/* What a training's callback does and has seen. */
static struct {
    double loss[STEPS + 1];    /* by steps done */
    uint64_t stop_at, kill_at; /* steps done; 0: never */
} seen;

static bool report(void *context, const millet_train_report *r)
{
    (void)context;
    seen.loss[r->step] = r->loss;
    if (seen.kill_at == r->step) raise(SIGKILL);
    return seen.stop_at != r->step;
}

static void write_text(void)
{
    FILE *file = fopen(text, "w");
    for (int i = 0; i < 400; i++)
        fprintf(file, "%s%c%c %s\n", i % 7 ? "" : "abc ", 'a' + i % 5, 'a' + i * i % 11,
                i % 20 == 19 ? "\n<|endoftext|>" : "de");
    fclose(file);
}

static void must(millet_status status, const millet_error *err)
{
    char line[800];
    if (status == MILLET_OK) return;
    millet_error_format(err, line, sizeof line);
    fail_msg("%s", line);
}

/* Caches of a text and of pairs with prefixes. */
static void build_caches(void)
{
    millet_error err;
    millet_tokenizer *tokenizer;
    char source[512];
    strcpy(source, folder_path("pairs.jsonl"));
    FILE *file = fopen(source, "w");
    for (int i = 0; i < 60; i++)
        fprintf(file, "{\"prompt\": \"abc %d\", \"completion\": \"%c de\", \"prefix\": true}\n", i,
                'a' + i % 7);
    fclose(file);
    must(millet_tokenizer_open(model, NULL, NULL, &tokenizer, &err), &err);
    must(millet_cache_build(text, cache, tokenizer, NULL, NULL, &err), &err);
    must(millet_cache_build(source, pairs, tokenizer, NULL, NULL, &err), &err);
    millet_tokenizer_close(&tokenizer);
}

static int set_up(void **state)
{
    (void)state;
    folder_make();
    strcpy(model, folder_path("in.gguf"));
    strcpy(text, folder_path("text.txt"));
    strcpy(cache, folder_path("text.tokens"));
    strcpy(pairs, folder_path("pairs.tokens"));
    strcpy(output, folder_path("out.gguf"));
    strcpy(state_file, folder_path("out.gguf.state"));
    struct tiny_shape shape = tiny_default();
    shape.n_layers = 1;
    tiny_write(model, &shape);
    write_text();
    build_caches();
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
    unlink(output);
    unlink(state_file);
    options = millet_train_options_default();
    options.model = model;
    options.data = data;
    options.n_data = 2;
    options.output = output;
    options.steps = STEPS;
    options.save_every = SAVE_EVERY;
    options.rows = 2;
    options.length = 32;
    options.rate = 1e-2f;
    options.warmup = 2;
    options.n_threads = 1;
    options.report = report;
    return 0;
}

static void train(void)
{
    millet_error err;
    must(millet_train(&options, NULL, &err), &err);
}

/* Trains in a process of its own, which is killed; false where it ended by itself. */
static bool train_and_die(void)
{
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) _exit(millet_train(&options, NULL, NULL) == MILLET_OK ? 0 : 1);
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

/* Killed after any step, training goes on from the last saved one, with any number of threads. */
static void killed_at_a_step(void **state)
{
    for (int form = 0; form < 5; form++) {
        each(state);
        options.optimizer = form == 1 ? MILLET_MUON : MILLET_ADAMW;
        options.accumulate = form == 2 ? 2 : 1;
        options.storage = form == 2 ? MILLET_STORE_BF16 : form == 4 ? MILLET_STORE_Q4_0 : MILLET_STORE_F32;
        options.quantize_after = form == 4 ? 5 : 0;
        options.recompute = form == 2;
        options.lora_rank = form == 3 ? 3 : 0;
        options.restart = true;
        train();
        double expected[STEPS + 1];
        memcpy(expected, seen.loss, sizeof expected);
        assert_true(expected[STEPS] < 0.9 * expected[1]);
        struct file_bytes whole = file_read(output);
        for (uint64_t step = SAVE_EVERY; step < STEPS; step += 2) {
            unlink(output);
            options.resume = false;
            options.n_threads = 1;
            seen.kill_at = step;
            assert_true(train_and_die());
            memset(&seen, 0, sizeof seen);
            options.resume = true;
            options.n_threads = 3;
            train();
            /* The report comes after saving. */
            for (uint64_t i = step / SAVE_EVERY * SAVE_EVERY + 1; i <= STEPS; i++)
                assert_true(seen.loss[i] == expected[i]);
            expect_same_file(output, &whole);
        }
        bytes_free(&whole);
    }
}

/* Killed before any system call of writing: the state is the old one or the new one, whole. */
static void killed_while_saving(void **state)
{
    (void)state;
    train();
    struct file_bytes whole = file_read(output);
    long calls = fault.seen;
    assert_true(calls > 20);
    fault.kill = true;
    for (long at = calls / (STEPS / SAVE_EVERY + 1); at < calls; at += 5) {
        options.resume = false;
        options.restart = true;
        fault.at = at;
        fault.seen = 0;
        assert_true(train_and_die());
        fault.at = -1;
        options.resume = true;
        train();
        expect_same_file(output, &whole);
    }
    fault.kill = false;
    bytes_free(&whole);
}

static void full_disk(void **state)
{
    (void)state;
    millet_error err;
    seen.stop_at = 2 * SAVE_EVERY;
    assert_int_equal(millet_train(&options, NULL, &err), MILLET_CANCELLED);
    assert_non_null(strstr(err.message, "after step 6 of 12"));
    assert_string_equal(err.file, state_file);
    struct file_bytes saved = file_read(state_file);
    seen.stop_at = 0;
    options.resume = true;
    for (long at = 0; at < 3; at++) { /* of the next save */
        fault.at = at;
        fault.seen = 0;
        assert_int_equal(millet_train(&options, NULL, &err), MILLET_IO);
        fault.at = -1;
        assert_non_null(strstr(err.message, strerror(ENOSPC)));
        assert_non_null(strstr(err.message, "the state of step 6"));
        expect_same_file(state_file, &saved);
        assert_int_equal(access(output, F_OK), -1);
    }
    bytes_free(&saved);
    train();
}

static void fail_each_allocation(struct counting_allocator *counting)
{
    long long calls = counting->calls;
    assert_int_equal(counting->live, 0);
    assert_true(calls > 50);
    for (long long i = 0; i < calls; i++) {
        counting_allocator_init(counting);
        counting->fail_at = i;
        assert_int_equal(millet_train(&options, NULL, NULL), MILLET_NO_MEMORY);
        assert_int_equal(counting->live, 0);
    }
}

static void every_allocation(void **state)
{
    (void)state;
    struct counting_allocator counting;
    for (int form = 0; form < 3; form++) {
        counting_allocator_init(&counting);
        options.allocator = &counting.allocator;
        options.steps = 1;
        options.restart = true;
        options.holdout = 5;
        options.n_threads = 2;
        options.storage = form == 1 ? MILLET_STORE_Q8_0 : MILLET_STORE_F32;
        options.lora_rank = form == 2 ? 2 : 0;
        train();
        fail_each_allocation(&counting);
    }
    /* Going on with an adapter, which reads a second file. */
    options.lora_rank = 2;
    options.steps = 4;
    options.restart = true;
    seen.stop_at = 3;
    assert_int_equal(millet_train(&options, NULL, NULL), MILLET_CANCELLED);
    options.save_every = 0;
    options.restart = false;
    options.resume = true;
    train(); /* from here on each run finds the same */
    counting_allocator_init(&counting);
    train();
    fail_each_allocation(&counting);
}

/* The memory that was promised is what is taken, but for the packing and what opening a file takes. */
static void memory_is_known(void **state)
{
    (void)state;
    struct counting_allocator counting;
    millet_error err;
    for (int form = 0; form < 5; form++) {
        millet_train_memory memory;
        counting_allocator_init(&counting);
        options.allocator = &counting.allocator;
        options.restart = true;
        options.steps = 1;
        options.recompute = form == 1;
        options.optimizer = form == 2 ? MILLET_MUON : MILLET_ADAMW;
        options.lora_rank = form == 3 ? 40 : 0;
        options.storage = form == 4 ? MILLET_STORE_Q4_0 : MILLET_STORE_F32;
        must(millet_train_estimate(&options, &memory, &err), &err);
        counting_allocator_init(&counting);
        train();
        assert_in_range(counting.peak, memory.total, memory.total + (1 << 20));
    }
}

static void settings_are_compared(void **state)
{
    (void)state;
    millet_error err;
    seen.stop_at = 4;
    assert_int_equal(millet_train(&options, NULL, &err), MILLET_CANCELLED);
    assert_int_equal(millet_train(&options, NULL, &err),
                     MILLET_BAD_ARGUMENT); /* neither resume nor restart */
    assert_string_equal(err.item, "state");
    options.resume = true;
    options.beta2 = 0.99f;
    assert_int_equal(millet_train(&options, NULL, &err), MILLET_BAD_ARGUMENT);
    assert_non_null(strstr(err.message, "beta2="));
    options.allow_changes = true;
    seen.stop_at = 0;
    train();
    /* Done is done: nothing more is learnt, the output is written again. */
    unlink(output);
    memset(&seen, 0, sizeof seen);
    train();
    assert_true(seen.loss[STEPS] == 0);
    assert_int_equal(access(output, F_OK), 0);
}

static void no_number(void **state)
{
    (void)state;
    millet_error err;
    options.clip = 0;
    options.warmup = 0;
    seen.stop_at = 3;
    assert_int_equal(millet_train(&options, NULL, &err), MILLET_CANCELLED);
    struct file_bytes saved = file_read(state_file);
    seen.stop_at = 0;
    options.resume = options.allow_changes = true;
    options.rate = 1000;
    options.weight_decay = 1000; /* weights grow by a million each step */
    assert_int_equal(millet_train(&options, NULL, &err), MILLET_BAD_FORMAT);
    assert_non_null(strstr(err.message, "the state of step"));
    bytes_free(&saved);
    /* What was saved last still opens and runs. */
    millet_model *opened = NULL;
    must(millet_model_open(state_file, NULL, &opened, &err), &err);
    millet_model_close(&opened);
}

static void new_models(void **state)
{
    (void)state;
    static const char *const names[] = {"llama", "qwen2", "qwen3", "gemma2", "gemma3", "gpt2"};
    millet_error err;
    char shape[300];
    options.model = NULL;
    options.shape = shape;
    options.restart = true;
    assert_int_equal(millet_train(&options, NULL, &err), MILLET_BAD_ARGUMENT);
    assert_string_equal(err.item, "tokenizer_path");
    options.tokenizer_path = model;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(shape, sizeof shape,
                 "{\"architecture\":\"%s\",\"layers\":2,\"width\":48,\"heads\":4,\"kv_heads\":2,\"feed_"
                 "forward\":80,"
                 "\"context\":64,\"head_size\":16,\"window\":9,\"tied\":%s}",
                 names[i], i % 2 ? "true" : "false");
        train();
        assert_true(seen.loss[STEPS] < seen.loss[1]);
        millet_model *opened = NULL;
        must(millet_model_open(output, NULL, &opened, &err), &err);
        millet_model_close(&opened);
    }
    strcpy(shape, "{\"architecture\":\"llama\",\"layer\":2}");
    assert_int_equal(millet_train(&options, NULL, &err), MILLET_BAD_FORMAT);
    assert_non_null(strstr(err.item, "layer"));
    strcpy(shape, "{\"architecture\":\"mamba\"}");
    assert_int_equal(millet_train(&options, NULL, &err), MILLET_UNSUPPORTED);
}

static void options_are_checked(void **state)
{
    millet_error err;
#define REFUSED(change, name)                                                                                \
    do {                                                                                                     \
        each(state);                                                                                         \
        options.change;                                                                                      \
        assert_int_equal(millet_train(&options, NULL, &err), MILLET_BAD_ARGUMENT);                           \
        assert_string_equal(err.item, name);                                                                 \
    } while (0)
    REFUSED(rows = 0, "rows");
    REFUSED(length = -1, "length");
    REFUSED(accumulate = 0, "accumulate");
    REFUSED(rate = NAN, "rate");
    REFUSED(beta2 = 1, "beta2");
    REFUSED(epsilon = 0, "epsilon");
    REFUSED(steps = 0, "steps");
    REFUSED(data = NULL, "data");
    REFUSED(n_data = 0, "data");
    REFUSED(holdout = 1, "holdout");
    REFUSED(epochs = 1, "steps");
    REFUSED(epochs = NAN, "epochs");
    REFUSED(packing = MILLET_PACK_SEQUENTIAL; options.skip_long = true, "skip_long");
    REFUSED(output = NULL, "output");
    REFUSED(shape = "{}", "model");
    REFUSED(n_threads = 100000, "n_threads");
    REFUSED(storage = (millet_train_storage)9, "storage");
    REFUSED(lora_rank = -1, "lora_rank");
    REFUSED(lora_rank = 5000, "lora_rank");
    REFUSED(lora_rank = 4; options.lora_alpha = NAN, "lora_alpha");
    REFUSED(lora_rank = 4; options.lora_targets = "q,k,x", "lora_targets");
    REFUSED(lora_rank = 4; options.lora_targets = "", "lora_targets");
    REFUSED(lora_rank = 4; options.storage = MILLET_STORE_Q4_0, "storage");
    REFUSED(lora_rank = 4; options.model = NULL; options.shape = "{}";
            options.tokenizer_path = model, "lora_rank");
    each(state);
    options.length = 4096; /* beyond the context, and the text */
    assert_int_equal(millet_train(&options, NULL, &err), MILLET_BAD_ARGUMENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(killed_at_a_step, each),
        cmocka_unit_test_setup(killed_while_saving, each),
        cmocka_unit_test_setup(full_disk, each),
        cmocka_unit_test_setup(every_allocation, each),
        cmocka_unit_test_setup(memory_is_known, each),
        cmocka_unit_test_setup(settings_are_compared, each),
        cmocka_unit_test_setup(no_number, each),
        cmocka_unit_test_setup(new_models, each),
        cmocka_unit_test_setup(options_are_checked, each),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
