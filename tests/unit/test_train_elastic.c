/*
 * A whole training by several ranks: stopped by any of them and gone on with by other numbers of ranks, with
 * the memory that was promised, and with an allocation refused on one of them at every place.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "support/corpus_files.h"
#include "support/counting_allocator.h"
#include "support/file_bytes.h"
#include "support/local_ranks.h"
#include "support/tiny_model.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { STEPS = 9, MOST_RANKS = 4 };

static char model[512], cache[512], output[512], state_file[512];
static const millet_train_data data[] = {{.cache = cache}};
static millet_train_options options;

/* What each rank has seen and what it does. */
static struct rank {
    struct counting_allocator counting;
    double loss[STEPS + 1], evaluation;
    millet_status status;
    millet_error error;
} ranks[MOST_RANKS];
static uint64_t stop_at; /* steps done; 0: never */
static int32_t stopping_rank;

struct place {
    int32_t rank;
};

static bool report(void *context, const millet_train_report *r)
{
    int32_t rank = ((const struct place *)context)->rank;
    ranks[rank].loss[r->step] = r->loss;
    if (!isnan(r->evaluation_loss)) ranks[rank].evaluation = r->evaluation_loss;
    return stop_at != r->step || rank != stopping_rank;
}

static void task(millet_ranks *handle, void *argument)
{
    (void)argument;
    struct place place = {millet_ranks_rank(handle)};
    struct rank *rank = &ranks[place.rank];
    millet_train_options own = options;
    own.ranks = handle;
    own.allocator = &rank->counting.allocator;
    own.report = report;
    own.context = &place;
    rank->status = millet_train(&own, NULL, &rank->error);
}

static void run(int32_t n)
{
    for (int32_t i = 0; i < MOST_RANKS; i++) {
        long long fail_at = ranks[i].counting.fail_at;
        counting_allocator_init(&ranks[i].counting);
        ranks[i].counting.fail_at = fail_at;
        memset(ranks[i].loss, 0, sizeof ranks[i].loss);
    }
    local_ranks_run(n, -1, task, NULL);
}

static void expect(int32_t n, millet_status status)
{
    for (int32_t i = 0; i < n; i++) {
        if (ranks[i].status != status)
            fail_msg("rank %d of %d: %s, not %s: %s", i, n, millet_status_name(ranks[i].status),
                     millet_status_name(status), ranks[i].error.message);
        assert_int_equal(ranks[i].counting.live, 0);
    }
}

static int set_up(void **state)
{
    (void)state;
    millet_error err;
    millet_tokenizer *tokenizer;
    if (!folder_make()) return -1;
    strcpy(model, folder_path("in.gguf"));
    strcpy(cache, folder_path("text.tokens"));
    strcpy(output, folder_path("out.gguf"));
    strcpy(state_file, folder_path("out.gguf.state"));
    struct tiny_shape shape = tiny_default();
    tiny_write(model, &shape);
    corpus_write_documents("text.txt", 20000, 5);
    if (millet_tokenizer_open(model, NULL, NULL, &tokenizer, &err)) return -1;
    if (millet_cache_build(folder_path("text.txt"), cache, tokenizer, NULL, NULL, &err)) return -1;
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
    unlink(output);
    unlink(state_file);
    for (int i = 0; i < MOST_RANKS; i++)
        ranks[i].counting.fail_at = -1;
    stop_at = 0;
    stopping_rank = 0;
    options = millet_train_options_default();
    options.model = model;
    options.data = data;
    options.n_data = 1;
    options.output = output;
    options.steps = STEPS;
    options.rows = 5;
    options.length = 24;
    options.rate = 0.003f;
    options.warmup = 2;
    options.holdout = 7;
    options.n_threads = 1;
    return 0;
}

/* Three steps each by 2, 4 and 3 ranks, and the whole by one. */
static void other_numbers_go_on(void **state)
{
    for (int form = 0; form < 4; form++) { /* Muon, an adapter, both */
        double loss[STEPS + 1], evaluation;
        each(state);
        options.optimizer = form & 1 ? MILLET_MUON : MILLET_ADAMW;
        options.lora_rank = form & 2 ? 4 : 0;
        run(1);
        expect(1, MILLET_OK);
        memcpy(loss, ranks[0].loss, sizeof loss);
        evaluation = ranks[0].evaluation;
        struct file_bytes whole = file_read(state_file);
        unlink(state_file);
        static const int32_t sizes[] = {2, 4, 3};
        for (int part = 0; part < 3; part++) {
            int32_t n = sizes[part];
            uint64_t first = 3 * (uint64_t)part;
            stop_at = part < 2 ? first + 3 : 0;
            stopping_rank = n - 1; /* any may */
            options.resume = part > 0;
            run(n);
            expect(n, part < 2 ? MILLET_CANCELLED : MILLET_OK);
            for (int32_t rank = 0; rank < n; rank++) {
                assert_memory_equal(ranks[rank].loss, ranks[0].loss, sizeof ranks[0].loss);
                for (uint64_t step = first + 1; step <= first + 3; step++)
                    if (!(fabs(ranks[rank].loss[step] - loss[step]) < 1e-5 * loss[step]))
                        fail_msg("step %d with %d ranks: the loss is %.9f, one process's %.9f", (int)step, n,
                                 ranks[rank].loss[step], loss[step]);
            }
        }
        if (!(fabs(ranks[0].evaluation - evaluation) < 1e-5 * evaluation))
            fail_msg("form %d: the evaluation is %.9f, one process's %.9f", form, ranks[0].evaluation,
                     evaluation);
        struct file_bytes parts = file_read(state_file);
        assert_int_equal(parts.size, whole.size);
        bytes_free(&parts);
        bytes_free(&whole);
    }
}

/* Stopped and gone on with by as many: the same bits as without a stop. */
static void as_many_go_on_exactly(void **state)
{
    (void)state;
    double loss[STEPS + 1];
    run(3);
    expect(3, MILLET_OK);
    memcpy(loss, ranks[1].loss, sizeof loss);
    struct file_bytes whole = file_read(output);
    unlink(output);
    unlink(state_file);
    stop_at = 4;
    run(3);
    expect(3, MILLET_CANCELLED);
    stop_at = 0;
    options.resume = true;
    run(3);
    expect(3, MILLET_OK);
    assert_memory_equal(ranks[1].loss + 5, loss + 5, (STEPS - 4) * sizeof *loss);
    struct file_bytes again = file_read(output);
    assert_int_equal(again.size, whole.size);
    assert_memory_equal(again.data, whole.data, whole.size);
    bytes_free(&again);
    bytes_free(&whole);
}

static void memory_is_known(void **state)
{
    (void)state;
    uint64_t alone = 0;
    for (int32_t n = 1; n <= MOST_RANKS; n++) {
        millet_train_memory memory;
        millet_train_options planned = options;
        planned.n_ranks = n;
        assert_int_equal(millet_train_estimate(&planned, &memory, NULL), MILLET_OK);
        if (n == 1) alone = memory.optimizer;
        assert_true(memory.optimizer < alone / (uint64_t)n + (1 << 14));
        unlink(state_file);
        run(n);
        expect(n, MILLET_OK);
        /* The buffers of the ranks themselves come from another allocator here. */
        uint64_t total = memory.total - mlt_ranks_bytes(n);
        assert_in_range(ranks[0].counting.peak, total - (1 << 16), total + (1 << 20));
    }
    options.n_ranks = 6; /* more than rows */
    millet_error err;
    assert_int_equal(millet_train_estimate(&options, NULL, &err), MILLET_BAD_ARGUMENT);
    assert_string_equal(err.item, "rows");
}

/* A rank that gets no memory ends all of them, wherever that is. */
static void every_allocation_of_one(void **state)
{
    (void)state;
    options.steps = 1;
    options.restart = true;
    run(2);
    expect(2, MILLET_OK);
    for (int32_t rank = 0; rank < 2; rank++) {
        long long calls = ranks[rank].counting.calls;
        assert_true(calls > 50);
        for (long long i = 0; i < calls; i++) {
            ranks[rank].counting.fail_at = i;
            run(2);
            expect(2, MILLET_NO_MEMORY);
        }
        ranks[rank].counting.fail_at = -1;
        run(2);
        expect(2, MILLET_OK);
    }
}

/* One of them reads another model. */
static void unlike_task(millet_ranks *handle, void *argument)
{
    struct place place = {millet_ranks_rank(handle)};
    millet_train_options own = options;
    own.ranks = handle;
    if (place.rank == 1) own.seed = *(const uint64_t *)argument;
    ranks[place.rank].status = millet_train(&own, NULL, &ranks[place.rank].error);
}

static void ranks_must_begin_alike(void **state)
{
    (void)state;
    uint64_t seed = 99;
    local_ranks_run(2, -1, unlike_task, &seed);
    for (int32_t rank = 0; rank < 2; rank++) {
        assert_int_equal(ranks[rank].status, MILLET_BAD_ARGUMENT);
        assert_non_null(strstr(ranks[rank].error.message, "(rank 1 of 2)"));
    }
    assert_int_equal(access(output, F_OK), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(other_numbers_go_on, each),
        cmocka_unit_test_setup(as_many_go_on_exactly, each),
        cmocka_unit_test_setup(memory_is_known, each),
        cmocka_unit_test_setup(every_allocation_of_one, each),
        cmocka_unit_test_setup(ranks_must_begin_alike, each),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
