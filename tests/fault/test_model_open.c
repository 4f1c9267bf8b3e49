/*
 * Opening a model and a forward pass with every allocation refused in turn: each time NO_MEMORY, nothing
 * leaked, and the next attempt works.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "model/forward.h"
#include "support/counting_allocator.h"
#include "support/tiny_model.h"
#include "support/toy_model.h"

/* All that is opened between a file's bytes and the first token. `toy` NULL: a model with a tokenizer. */
static millet_status open_and_close(const struct toy_model *toy, const millet_allocator *allocator,
                                    millet_error *err)
{
    struct mlt_checkpoint *checkpoint;
    millet_model *model = NULL;
    if (toy) {
        MLT_TRY(toy_checkpoint(allocator, toy, &checkpoint, err));
    } else {
        struct tiny_shape shape = tiny_default();
        checkpoint = tiny_checkpoint(mlt_default_allocator(), &shape);
    }
    MLT_TRY(mlt_model_from_checkpoint(allocator, checkpoint, &model, err));
    struct mlt_forward_options options = {
        .n_ctx = 32, .n_sequences = 2, .n_batch = 8, .n_logits = 1, .n_threads = 2, .cache = MLT_F16};
    struct mlt_forward *forward = NULL;
    millet_status status = mlt_forward_open(allocator, model, &options, &forward, err);
    assert_true((status == MILLET_OK) == (forward != NULL));
    mlt_forward_close(&forward);
    millet_model_close(&model);
    return status;
}

static void test_every_allocation(void **state)
{
    const struct toy_model *toy = *state;
    struct counting_allocator counting;
    counting_allocator_init(&counting);
    millet_error err;
    assert_int_equal(open_and_close(toy, &counting.allocator, &err), MILLET_OK);
    assert_int_equal(atomic_load(&counting.live), 0);
    long long calls = atomic_load(&counting.calls);
    assert_true(calls > 8);
    for (long long i = 0; i < calls; i++) {
        counting_allocator_init(&counting);
        counting.fail_at = i;
        err = (millet_error){0};
        assert_int_equal(open_and_close(toy, &counting.allocator, &err), MILLET_NO_MEMORY);
        assert_int_equal(err.status, MILLET_NO_MEMORY);
        assert_true(err.message[0] != 0);
        assert_int_equal(atomic_load(&counting.live), 0);
    }
}

int main(void)
{
    struct toy_model plain = toy_model_default("gemma3"), experts = toy_model_default("llama");
    experts.n_experts = 4;
    experts.n_experts_used = 2;
    experts.n_embd = 256; /* vectors that need arena chunks of their own */
    struct CMUnitTest tests[] = {cmocka_unit_test_prestate(test_every_allocation, NULL),
                                 cmocka_unit_test_prestate(test_every_allocation, &plain),
                                 cmocka_unit_test_prestate(test_every_allocation, &experts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
