/*
 * The assistant when memory runs out: every allocation is refused in turn; what was said before is kept,
 * nothing leaks, and the next utterance is done.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "millet/assistant.h"
#include "support/counting_allocator.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const char *const utterances[] = {
    "set a timer for 10 minutes called tea",
    "add milk and eggs to my shopping list and then what's on my shopping list",
    "no, the hardware list",
    "clear my hardware list",
    "yes",
    "remind me to call mom tomorrow at 5",
    "schedule lunch on friday at noon",
    "what's in my calendar",
    "what is 12 times 7",
    "帮我设一个三分钟的计时器",
    "undo that",
    "help",
};

static struct counting_allocator counting;

static millet_assistant *open_with(long long fail_at, millet_error *err)
{
    const millet_assistant_options options = {
        .allocator = &counting.allocator, .zone = "Europe/Berlin", .seed = 3};
    millet_assistant *assistant = NULL;
    counting.fail_at = fail_at;
    millet_status status = millet_assistant_open(&options, &assistant, err);
    counting.fail_at = -1;
    assert_true(status == MILLET_OK || status == MILLET_NO_MEMORY);
    assert_true((status == MILLET_OK) == (assistant != NULL));
    return assistant;
}

static void opening_fails_cleanly(void **state)
{
    (void)state;
    millet_error err;
    counting_allocator_init(&counting);
    bool opened = false;
    for (long long i = 0; !opened; i++) {
        long long before = counting.calls;
        millet_assistant *assistant = open_with(before + i, &err);
        opened = assistant != NULL;
        millet_assistant_close(&assistant);
        assert_int_equal(counting.live, 0);
        assert_true(i < 10000);
    }
}

/* Whatever is refused, the assistant stays of use. */
static void turns_fail_cleanly(void **state)
{
    (void)state;
    millet_error err;
    millet_answer answer;
    counting_allocator_init(&counting);
    millet_assistant *assistant = open_with(-1, &err);
    for (size_t u = 0; u < sizeof utterances / sizeof utterances[0]; u++) {
        millet_status status = MILLET_NO_MEMORY;
        int refused = 0;
        for (long long i = 0; status != MILLET_OK; i++) {
            long long live = counting.live;
            counting.fail_at = counting.calls + i;
            status = millet_assistant_say(assistant, utterances[u], strlen(utterances[u]), &answer, &err);
            counting.fail_at = -1;
            if (status != MILLET_OK) {
                assert_int_equal(status, MILLET_NO_MEMORY);
                /* buffers of the assistant may have grown, and what it waits for may be kept */
                assert_true(counting.live <= live + 8);
                refused++;
            }
            assert_true(i < 10000);
        }
        assert_true(refused > 0);
        assert_true(answer.text && answer.calls);
    }
    /* the utterances were said again and again: the assistant has not lost its head */
    const char *text = "what time is it";
    assert_int_equal(millet_assistant_say(assistant, text, strlen(text), &answer, &err), MILLET_OK);
    assert_int_equal(answer.outcome, MILLET_DONE);
    millet_assistant_close(&assistant);
    assert_int_equal(counting.live, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(opening_fails_cleanly),
                                       cmocka_unit_test(turns_fail_cleanly)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
