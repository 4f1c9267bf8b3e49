/*
 * Sessions: what they cost, how items are cut into batches, sequences, and that failures change nothing.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "generate/session.h"
#include "support/counting_allocator.h"
#include "support/tiny_model.h"

#include <string.h>

static millet_model *model;
static int32_t n_vocab;

static int set_up(void **state)
{
    (void)state;
    struct tiny_shape shape = tiny_default();
    shape.no_tokenizer = true;
    model = tiny_model(mlt_default_allocator(), &shape);
    n_vocab = model->config.n_vocab;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    millet_model_close(&model);
    return 0;
}

static millet_session *open_session(millet_session_options options)
{
    millet_session *session = NULL;
    millet_error err;
    if (options.n_threads == 0) options.n_threads = 1;
    if (millet_session_open(model, &options, &session, &err) != MILLET_OK) fail_msg("%s", err.message);
    return session;
}

/* Token i of a fixed text for sequence s. */
static int32_t text(int32_t s, int32_t i)
{
    return (i * 37 + s * 101 + i * i % 11) % n_vocab;
}

static void eval_one(millet_session *session, int32_t sequence, int32_t token, bool logits)
{
    millet_item item = {token, sequence, logits};
    assert_int_equal(millet_eval(session, &item, 1, NULL), MILLET_OK);
}

/* Logits after each of the first `n` tokens of a sequence's text, computed one by one. */
static float *reference(int32_t sequence, int32_t n)
{
    millet_session *session = open_session((millet_session_options){0});
    size_t row = (size_t)n_vocab;
    float *rows = malloc(sizeof(float) * row * (size_t)n);
    for (int32_t i = 0; i < n; i++) {
        eval_one(session, 0, text(sequence, i), true);
        memcpy(rows + row * (size_t)i, millet_logits(session, 0), sizeof(float) * row);
    }
    millet_session_close(&session);
    return rows;
}

static void assert_row(const millet_session *session, int32_t index, const float *rows, int32_t position)
{
    assert_non_null(millet_logits(session, index));
    assert_memory_equal(millet_logits(session, index), rows + (size_t)position * (size_t)n_vocab,
                        sizeof(float) * (size_t)n_vocab);
}

static void test_estimate_is_exact(void **state)
{
    (void)state;
    const millet_session_options variants[] = {
        {0},
        {.n_ctx = 40, .n_batch = 7, .n_threads = 1},
        {.n_ctx = 33, .n_sequences = 3, .n_logits = 9, .n_threads = 3, .cache_type = MILLET_CACHE_F32},
        {.n_ctx = 100, .n_sequences = 2, .n_batch = 64, .n_threads = 2, .exact_activations = true},
        {.n_ctx = 1, .n_threads = 1},
    };
    for (size_t i = 0; i < MLT_COUNT(variants); i++) {
        struct counting_allocator counting;
        counting_allocator_init(&counting);
        millet_session_options options = variants[i];
        options.allocator = &counting.allocator;
        millet_memory memory;
        assert_int_equal(millet_estimate(model, &options, &memory, NULL), MILLET_OK);
        assert_int_equal(counting.calls, 0);
        millet_session *session;
        assert_int_equal(millet_session_open(model, &options, &session, NULL), MILLET_OK);
        assert_int_equal(counting.bytes, memory.total);
        assert_int_equal(counting.peak, memory.total);
        assert_int_equal(memory.total, memory.cache + memory.workspace);
        int64_t bytes = options.cache_type == MILLET_CACHE_F32 ? 4 : 2;
        int64_t positions = (int64_t)memory.n_ctx * (options.n_sequences ? options.n_sequences : 1);
        assert_true(memory.cache >=
                    (uint64_t)(2 * 2 * 2 * 16 * positions * bytes)); /* K, V; layers; heads; size */
        assert_true(memory.weights > 0);
        millet_session_close(&session);
        assert_null(session);
        assert_int_equal(counting.live, 0);
    }
}

static void test_automatic_options(void **state)
{
    (void)state;
    millet_memory memory;
    assert_int_equal(millet_estimate(model, NULL, &memory, NULL), MILLET_OK);
    assert_int_equal(memory.n_ctx, 128);
    assert_int_equal(memory.n_batch, 128);
    assert_int_equal(memory.n_threads, mlt_cpu_count());
    millet_session_options options = {.n_ctx = 10, .n_sequences = 2, .n_batch = 1000, .n_threads = 2};
    assert_int_equal(millet_estimate(model, &options, &memory, NULL), MILLET_OK);
    assert_int_equal(memory.n_batch, 20); /* more never fit */
    assert_int_equal(memory.n_threads, 2);
}

static void test_bad_options(void **state)
{
    (void)state;
    const struct {
        const char *name;
        millet_session_options options;
    } bad[] = {
        {"n_ctx", {.n_ctx = -1}},
        {"n_sequences", {.n_sequences = -1}},
        {"n_batch", {.n_batch = -1}},
        {"n_logits", {.n_logits = -7}},
        {"n_threads", {.n_threads = MLT_MAX_THREADS + 1}},
        {"n_threads", {.n_threads = -1}},
        {"cache_type", {.cache_type = (millet_cache_type)4}},
    };
    for (size_t i = 0; i < MLT_COUNT(bad); i++) {
        millet_error err;
        millet_memory memory;
        millet_session *session = (millet_session *)(void *)&err;
        assert_int_equal(millet_estimate(model, &bad[i].options, &memory, &err), MILLET_BAD_ARGUMENT);
        assert_string_equal(err.item, bad[i].name);
        assert_int_equal(millet_session_open(model, &bad[i].options, &session, &err), MILLET_BAD_ARGUMENT);
        assert_null(session);
    }
    /* More than the address space, without a wrap-around on the way. */
    const millet_session_options huge[] = {
        {.n_ctx = INT32_MAX, .n_sequences = INT32_MAX},
        {.n_logits = INT32_MAX, .n_ctx = INT32_MAX, .n_sequences = INT32_MAX},
    };
    for (size_t i = 0; i < MLT_COUNT(huge); i++) {
        millet_memory memory;
        millet_session *session;
        millet_status status = millet_estimate(model, &huge[i], &memory, NULL);
        if (status == MILLET_OK) assert_true(memory.total > UINT64_C(1) << 60);
        assert_int_not_equal(millet_session_open(model, &huge[i], &session, NULL), MILLET_OK);
        assert_null(session);
    }
}

static void test_batches(void **state)
{
    (void)state;
    enum { N = 30 };
    float *rows = reference(0, N);
    for (int32_t n_batch = 1; n_batch <= N + 1; n_batch += 3) {
        millet_session *session = open_session((millet_session_options){.n_batch = n_batch, .n_logits = N});
        millet_item items[N];
        for (int32_t i = 0; i < N; i++)
            items[i] = (millet_item){text(0, i), 0, true};
        assert_int_equal(millet_eval(session, items, N, NULL), MILLET_OK);
        for (int32_t i = 0; i < N; i++)
            assert_row(session, i, rows, i);
        assert_null(millet_logits(session, N));
        assert_null(millet_logits(session, -1));
        /* Cut into calls, with logits here and there. */
        assert_int_equal(millet_sequence_truncate(session, 0, 0, NULL), MILLET_OK);
        for (int32_t at = 0, n; at < N; at += n) {
            n = MLT_MIN(1 + at % 8, N - at);
            int32_t wanted[N], n_wanted = 0;
            for (int32_t i = 0; i < n; i++) {
                items[i] = (millet_item){text(0, at + i), 0, (at + i) % 3 != 0};
                if (items[i].logits) wanted[n_wanted++] = at + i;
            }
            assert_int_equal(millet_eval(session, items, n, NULL), MILLET_OK);
            for (int32_t i = 0; i < n_wanted; i++)
                assert_row(session, i, rows, wanted[i]);
            assert_null(millet_logits(session, n_wanted));
            assert_int_equal(millet_sequence_length(session, 0), at + n);
        }
        millet_session_close(&session);
    }
    free(rows);
}

static void test_sequences_are_independent(void **state)
{
    (void)state;
    enum { N = 12 };
    float *rows[3];
    for (int32_t s = 0; s < 3; s++)
        rows[s] = reference(s, N);
    millet_session *session =
        open_session((millet_session_options){.n_sequences = 3, .n_batch = 5, .n_logits = 3, .n_threads = 2});
    for (int32_t i = 0; i < N; i++) {
        millet_item items[3];
        for (int32_t s = 0; s < 3; s++)
            items[s] = (millet_item){text((s + i) % 3, i), (s + i) % 3, true};
        assert_int_equal(millet_eval(session, items, 3, NULL), MILLET_OK);
        for (int32_t s = 0; s < 3; s++)
            assert_row(session, s, rows[(s + i) % 3], i);
    }
    /* Sequence 2 becomes sequence 0, and goes its own way again. */
    assert_int_equal(millet_sequence_copy(session, 0, 2, NULL), MILLET_OK);
    assert_int_equal(millet_sequence_truncate(session, 2, 5, NULL), MILLET_OK);
    eval_one(session, 2, text(0, 5), true);
    assert_row(session, 0, rows[0], 5);
    assert_int_equal(millet_sequence_length(session, 0), N);
    assert_int_equal(millet_sequence_length(session, 2), 6);
    assert_int_equal(millet_sequence_length(session, 3), 0);
    millet_session_close(&session);
    for (int32_t s = 0; s < 3; s++)
        free(rows[s]);
}

static void test_failures_change_nothing(void **state)
{
    (void)state;
    enum { N = 10 };
    float *rows = reference(0, N);
    millet_session *session =
        open_session((millet_session_options){.n_ctx = N, .n_sequences = 2, .n_batch = 2, .n_logits = 2});
    millet_item items[2 * N];
    for (int32_t i = 0; i < 2 * N; i++)
        items[i] = (millet_item){text(0, i), 0, false};
    items[5].logits = true;
    assert_int_equal(millet_eval(session, items, 6, NULL), MILLET_OK);
    const struct {
        millet_item last;
        int32_t count;
        millet_status status;
        const char *says;
    } bad[] = {
        {{n_vocab, 0, false}, 4, MILLET_BAD_ARGUMENT, "vocabulary"},
        {{-1, 0, false}, 4, MILLET_BAD_ARGUMENT, "vocabulary"},
        {{0, 2, false}, 4, MILLET_BAD_ARGUMENT, "n_sequences"},
        {{0, -1, false}, 4, MILLET_BAD_ARGUMENT, "n_sequences"},
        {{0, 0, false}, 5, MILLET_CONTEXT_FULL, "5 more"},
        {{0, 1, false}, -1, MILLET_BAD_ARGUMENT, "items"},
    };
    for (size_t i = 0; i < MLT_COUNT(bad); i++) {
        millet_item more[8];
        memcpy(more, items + 6, sizeof more);
        if (bad[i].count > 0) more[bad[i].count - 1] = bad[i].last;
        millet_error err;
        assert_int_equal(millet_eval(session, more, bad[i].count, &err), bad[i].status);
        assert_non_null(strstr(err.message, bad[i].says));
        assert_int_equal(millet_sequence_length(session, 0), 6);
        assert_int_equal(millet_sequence_length(session, 1), 0);
        assert_row(session, 0, rows, 5); /* even the logits are still there */
    }
    millet_item three[3] = {{1, 1, true}, {2, 1, true}, {3, 1, true}};
    millet_error err;
    assert_int_equal(millet_eval(session, three, 3, &err), MILLET_BAD_ARGUMENT);
    assert_non_null(strstr(err.message, "n_logits"));
    items[9].logits = true;
    assert_int_equal(millet_eval(session, items + 6, 4, NULL), MILLET_OK);
    assert_row(session, 0, rows, 9);
    assert_int_equal(millet_eval(session, items, 0, NULL), MILLET_OK);
    assert_null(millet_logits(session, 0));

    assert_int_equal(millet_sequence_truncate(session, 0, 11, &err), MILLET_BAD_ARGUMENT);
    assert_int_equal(millet_sequence_truncate(session, 0, -1, &err), MILLET_BAD_ARGUMENT);
    assert_int_equal(millet_sequence_truncate(session, 2, 0, &err), MILLET_BAD_ARGUMENT);
    assert_int_equal(millet_sequence_copy(session, 0, 2, &err), MILLET_BAD_ARGUMENT);
    assert_int_equal(millet_sequence_copy(session, -1, 0, &err), MILLET_BAD_ARGUMENT);
    assert_int_equal(millet_sequence_length(session, 0), N);
    millet_session_close(&session);
    free(rows);
}

/* Tokens that are in a sequence but not computed yet are made up for, wherever the next call comes from. */
static void test_tokens_computed_late(void **state)
{
    (void)state;
    enum { N = 20 };
    float *rows = reference(0, N);
    int32_t tokens[N];
    for (int32_t i = 0; i < N; i++)
        tokens[i] = text(0, i);
    millet_session *session = open_session((millet_session_options){.n_sequences = 2, .n_batch = 3});
    mlt_session_append(session, 0, tokens, 7);
    assert_int_equal(millet_sequence_length(session, 0), 7);
    assert_memory_equal(mlt_session_compute(session, 0, NULL, 0), rows + 6 * n_vocab,
                        sizeof(float) * (size_t)n_vocab);
    /* Nothing is missing but the logits: the last token is computed again. */
    assert_memory_equal(mlt_session_compute(session, 0, NULL, 0), rows + 6 * n_vocab,
                        sizeof(float) * (size_t)n_vocab);
    mlt_session_append(session, 0, tokens + 7, 4);
    eval_one(session, 0, tokens[11], true);
    assert_row(session, 0, rows, 11);
    mlt_session_append(session, 0, tokens + 12, 2);
    assert_int_equal(millet_sequence_copy(session, 0, 1, NULL), MILLET_OK);
    eval_one(session, 1, tokens[14], true);
    assert_row(session, 0, rows, 14);
    assert_int_equal(millet_sequence_truncate(session, 0, 13, NULL), MILLET_OK); /* one is still missing */
    eval_one(session, 0, tokens[13], true);
    assert_row(session, 0, rows, 13);
    millet_session_close(&session);
    free(rows);
}

/* A prefix is computed in one piece, after whatever was still to be computed before it. */
static void test_prefix(void **state)
{
    (void)state;
    enum { BEFORE = 3, PREFIX = 6 };
    millet_error err;
    millet_session *session = open_session((millet_session_options){.n_batch = PREFIX, .n_logits = PREFIX});
    millet_session *plain = open_session((millet_session_options){.n_batch = PREFIX, .n_logits = PREFIX});
    millet_item items[PREFIX + 1];
    int32_t before[BEFORE];
    for (int32_t i = 0; i < BEFORE; i++)
        eval_one(plain, 0, before[i] = text(0, i), false);
    mlt_session_append(session, 0, before, BEFORE); /* not computed */
    for (int32_t i = 0; i <= PREFIX; i++)
        items[i] = (millet_item){text(0, BEFORE + i), 0, true};
    assert_int_equal(millet_eval_prefix(session, items, PREFIX + 1, &err), MILLET_BAD_ARGUMENT);
    items[1].token = n_vocab;
    assert_int_equal(millet_eval_prefix(session, items, PREFIX, &err), MILLET_BAD_ARGUMENT);
    items[1].token = text(0, BEFORE + 1);
    assert_int_equal(millet_sequence_length(session, 0), BEFORE);
    assert_int_equal(millet_eval_prefix(session, items, 0, &err), MILLET_OK);
    assert_int_equal(millet_eval_prefix(session, items, PREFIX, &err), MILLET_OK);
    assert_int_equal(millet_eval_prefix(plain, items, PREFIX, &err), MILLET_OK);
    size_t row = sizeof(float) * (size_t)n_vocab;
    for (int32_t i = 0; i < PREFIX; i++)
        assert_memory_equal(millet_logits(session, i), millet_logits(plain, i), row);
    assert_int_equal(millet_sequence_length(session, 0), BEFORE + PREFIX);

    /* Both directions: the first of them has seen what it does not see in a text. */
    float first[1];
    first[0] = millet_logits(session, 0)[0];
    assert_int_equal(millet_sequence_truncate(plain, 0, BEFORE, &err), MILLET_OK);
    assert_int_equal(millet_eval(plain, items, PREFIX, &err), MILLET_OK);
    assert_true(millet_logits(plain, 0)[0] != first[0]);
    millet_session_close(&session);
    millet_session_close(&plain);
}

static void test_no_allocation_after_opening(void **state)
{
    (void)state;
    struct counting_allocator counting;
    counting_allocator_init(&counting);
    millet_session *session = open_session((millet_session_options){
        .allocator = &counting.allocator, .n_sequences = 2, .n_batch = 8, .n_threads = 2});
    long long calls = counting.calls;
    millet_item items[40];
    for (int32_t i = 0; i < 40; i++)
        items[i] = (millet_item){text(0, i), i % 2, i == 39};
    assert_int_equal(millet_eval(session, items, 40, NULL), MILLET_OK);
    assert_int_equal(millet_sequence_copy(session, 0, 1, NULL), MILLET_OK);
    assert_int_equal(millet_sequence_truncate(session, 1, 4, NULL), MILLET_OK);
    eval_one(session, 1, 5, true);
    assert_int_equal(counting.calls, calls);
    millet_session_close(&session);
    assert_int_equal(counting.live, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_estimate_is_exact),
        cmocka_unit_test(test_automatic_options),
        cmocka_unit_test(test_bad_options),
        cmocka_unit_test(test_batches),
        cmocka_unit_test(test_sequences_are_independent),
        cmocka_unit_test(test_failures_change_nothing),
        cmocka_unit_test(test_tokens_computed_late),
        cmocka_unit_test(test_prefix),
        cmocka_unit_test(test_no_allocation_after_opening),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
