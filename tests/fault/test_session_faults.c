/*
 * Sessions, samplers and text while every allocation is refused in turn: NO_MEMORY each time, nothing left
 * over, sequences as they were, and the next attempt works.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "millet/millet.h"
#include "support/counting_allocator.h"
#include "support/tiny_model.h"

#include <string.h>

/* Calls `work` with no allocation refused, then with each; returns how many there are. */
static long long refuse_each(struct counting_allocator *counting,
                             millet_status (*work)(void *context, millet_error *err), void *context)
{
    millet_error err;
    long long live = counting->live, before = counting->calls, calls;
    counting->fail_at = -1;
    assert_int_equal(work(context, &err), MILLET_OK);
    calls = counting->calls - before;
    for (long long i = 0; i < calls; i++) {
        err = (millet_error){.status = MILLET_OK};
        counting->fail_at = counting->calls + i;
        assert_int_equal(work(context, &err), MILLET_NO_MEMORY);
        assert_int_equal(err.status, MILLET_NO_MEMORY);
        assert_true(err.message[0] != 0);
        assert_int_equal(counting->live, live);
    }
    counting->fail_at = -1;
    assert_int_equal(work(context, &err), MILLET_OK);
    assert_int_equal(counting->live, live);
    return calls;
}

struct setting {
    struct counting_allocator counting;
    millet_model *model;
    millet_session *session;
};

static int set_up(void **state)
{
    static struct setting setting;
    counting_allocator_init(&setting.counting);
    struct tiny_shape shape = tiny_default();
    setting.model = tiny_model(&setting.counting.allocator, &shape);
    setting.session = NULL;
    *state = &setting;
    return 0;
}

static int tear_down(void **state)
{
    struct setting *s = *state;
    millet_session_close(&s->session);
    millet_model_close(&s->model);
    assert_int_equal(s->counting.live, 0);
    return 0;
}

static millet_status open_session(void *context, millet_error *err)
{
    struct setting *s = context;
    millet_session_options options = {.n_ctx = 32, .n_sequences = 2, .n_threads = 2};
    millet_session *session = (millet_session *)(void *)s;
    millet_status status = millet_session_open(s->model, &options, &session, err);
    assert_true((status == MILLET_OK) == (session != NULL));
    millet_session_close(&session);
    return status;
}

static void test_session(void **state)
{
    struct setting *s = *state;
    assert_true(refuse_each(&s->counting, open_session, s) >= 3);
}

static millet_status open_speculation(void *context, millet_error *err)
{
    struct setting *s = context;
    millet_session_options options = {
        .n_ctx = 32, .n_sequences = 2, .n_threads = 2, .draft = s->model, .lookup = true};
    millet_session *session = (millet_session *)(void *)s;
    millet_status status = millet_session_open(s->model, &options, &session, err);
    assert_true((status == MILLET_OK) == (session != NULL));
    millet_session_close(&session);
    return status;
}

static void test_speculation(void **state)
{
    struct setting *s = *state;
    long long plain = refuse_each(&s->counting, open_session, s);
    assert_true(refuse_each(&s->counting, open_speculation, s) > plain + 3);
}

static millet_status open_sampler(void *context, millet_error *err)
{
    struct setting *s = context;
    millet_sampler *sampler = (millet_sampler *)(void *)s;
    millet_status status = millet_sampler_open(s->model, NULL, &sampler, err);
    assert_true((status == MILLET_OK) == (sampler != NULL));
    millet_sampler_close(&sampler);
    return status;
}

static void test_sampler(void **state)
{
    struct setting *s = *state;
    assert_int_equal(refuse_each(&s->counting, open_sampler, s), 1);
}

static millet_status generate(void *context, millet_error *err)
{
    struct setting *s = context;
    millet_generate_options options = millet_generate_options_default();
    options.max_tokens = 4;
    int32_t length = millet_sequence_length(s->session, 0);
    if (length > 80) {
        assert_int_equal(millet_sequence_truncate(s->session, 0, 0, NULL), MILLET_OK);
        length = 0;
    }
    millet_status status = millet_generate(s->session, "the cat", 7, &options, NULL, NULL, NULL, err);
    if (status != MILLET_OK) assert_int_equal(millet_sequence_length(s->session, 0), length);
    return status;
}

static void test_generate(void **state)
{
    struct setting *s = *state;
    millet_session_options options = {.n_threads = 1};
    assert_int_equal(millet_session_open(s->model, &options, &s->session, NULL), MILLET_OK);
    assert_true(refuse_each(&s->counting, generate, s) >= 1);
}

static millet_status use_text(void *context, millet_error *err)
{
    struct setting *s = context;
    int32_t ids[64];
    char text[256];
    size_t count, length;
    const millet_message message = {"user", "the cat"};
    MLT_TRY(millet_tokenize(s->model, "the cat and the hen", 19, MILLET_TOKENIZE_BOS, ids, 64, &count, err));
    MLT_TRY(millet_detokenize(s->model, ids, count, true, text, sizeof text, &length, err));
    return millet_chat_render(s->model, "chatml", &message, 1, true, text, sizeof text, &length, err);
}

static void test_text(void **state)
{
    struct setting *s = *state;
    assert_true(refuse_each(&s->counting, use_text, s) >= 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_session, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_speculation, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_sampler, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_generate, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_text, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
