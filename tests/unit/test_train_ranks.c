/*
 * Several ranks train as one process does: sums and copies among them against plain loops; losses of 2, 3 and
 * 4 ranks against one's, and to the bit against the same number of ranks; an error or a loss of any of them
 * ends all.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "support/local_ranks.h"
#include "support/toy_model.h"
#include "train/trainer.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- Exchange ---- */

enum { MOST_SHARES = 40, BLOCK = 700000 };

static struct {
    struct mlt_share shares[MOST_SHARES];
    size_t n_shares;
    float *values[LOCAL_RANKS_MOST];
    millet_status status[LOCAL_RANKS_MOST];
    millet_error error[LOCAL_RANKS_MOST];
    double sums[LOCAL_RANKS_MOST][3];
    int failing; /* the first rank that has an error of its own; -1: none */
} exchange;

static float value_at(int32_t rank, int64_t i)
{
    uint64_t x =
        (uint64_t)(rank + 1) * UINT64_C(0x9E3779B97F4A7C15) + (uint64_t)i * UINT64_C(0xD6E8FEB86659FD93);
    x ^= x >> 29;
    return (float)((double)(x * UINT64_C(0xBF58476D1CE4E5B9) >> 11) * 0x1p-53 - 0.5);
}

/* Shares of all kinds: long ones of several pieces, single values, none, gaps between them. */
static void make_shares(int32_t n_ranks, uint64_t seed)
{
    int64_t at = 0;
    exchange.n_shares = 0;
    while (exchange.n_shares < MOST_SHARES) {
        uint64_t kind = seed % 5;
        int64_t count = kind == 0 ? 0 : kind == 1 ? 1 : kind == 2 ? 65536 : (int64_t)(seed >> 20 & 0xFFFF);
        if (kind == 4 && exchange.n_shares < 3) count = 150001;
        seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
        if (at + count > BLOCK) break;
        exchange.shares[exchange.n_shares++] = (struct mlt_share){at, count, (int32_t)(seed >> 33) % n_ranks};
        at += count + (int64_t)(seed >> 61);
    }
}

static void exchange_task(millet_ranks *ranks, void *argument)
{
    (void)argument;
    int32_t rank = millet_ranks_rank(ranks);
    float *values = exchange.values[rank];
    double *sums = exchange.sums[rank];
    uint64_t shared = rank ? 0 : UINT64_C(0x123456789ABCDEF);
    millet_error *err = &exchange.error[rank];
    for (int64_t i = 0; i < BLOCK; i++)
        values[i] = value_at(rank, i);
    mlt_ranks_start_reduce(ranks, values, exchange.shares, exchange.n_shares / 2);
    mlt_ranks_start_reduce(ranks, values, exchange.shares + exchange.n_shares / 2,
                           exchange.n_shares - exchange.n_shares / 2);
    exchange.status[rank] = mlt_ranks_wait(ranks, err);
    if (exchange.status[rank] != MILLET_OK) return;
    for (int i = 0; i < 2; i++)
        sums[i] = 1 / (rank + i + 3.0);
    exchange.status[rank] = mlt_ranks_sum(ranks, sums, 2, err);
    if (exchange.status[rank] != MILLET_OK) return;
    exchange.status[rank] = mlt_ranks_broadcast(ranks, &shared, sizeof shared, err);
    sums[2] = (double)(shared == UINT64_C(0x123456789ABCDEF));
    if (exchange.status[rank] != MILLET_OK) return;
    millet_status own = MILLET_OK;
    if (exchange.failing >= 0 && rank >= exchange.failing)
        own = mlt_fail_at(err, MILLET_BAD_FORMAT, "file", "item", 5, "error of rank %d", rank);
    exchange.status[rank] = millet_ranks_agree(ranks, own, err);
}

static void run_exchange(int32_t n_ranks, long lose_after)
{
    memset(exchange.status, 0, sizeof exchange.status);
    memset(exchange.error, 0, sizeof exchange.error);
    local_ranks_run(n_ranks, lose_after, exchange_task, NULL);
}

static void sums_in_order(void **state)
{
    (void)state;
    exchange.failing = -1;
    for (int32_t n = 1; n <= 5; n++) {
        make_shares(n, (uint64_t)n);
        run_exchange(n, -1);
        for (int32_t rank = 0; rank < n; rank++)
            assert_int_equal(exchange.status[rank], MILLET_OK);
        for (size_t s = 0; s < exchange.n_shares; s++) {
            const struct mlt_share *share = &exchange.shares[s];
            for (int64_t i = share->begin; i < share->begin + share->count; i++) {
                float sum = value_at(0, i);
                for (int32_t rank = 1; rank < n; rank++)
                    sum += value_at(rank, i);
                for (int32_t rank = 0; rank < n; rank++) {
                    float expected = rank == share->owner ? sum : value_at(rank, i);
                    if (exchange.values[rank][i] != expected)
                        fail_msg("value %lld of rank %d of %d", (long long)i, rank, n);
                }
            }
        }
        for (int i = 0; i < 2; i++) {
            double sum = 0;
            for (int32_t rank = 0; rank < n; rank++)
                sum += 1 / (rank + i + 3.0);
            for (int32_t rank = 0; rank < n; rank++) {
                if (exchange.sums[rank][i] != sum || exchange.sums[rank][2] != 1)
                    fail_msg("sum %d of rank %d of %d: %.17g, not %.17g; %g", i, rank, n,
                             exchange.sums[rank][i], sum, exchange.sums[rank][2]);
            }
        }
    }
}

static void gather_task(millet_ranks *ranks, void *argument)
{
    (void)argument;
    int32_t rank = millet_ranks_rank(ranks);
    float *values = exchange.values[rank];
    for (int64_t i = 0; i < BLOCK; i++)
        values[i] = value_at(rank, i);
    mlt_ranks_start_gather(ranks, values, exchange.shares, exchange.n_shares);
    exchange.status[rank] = mlt_ranks_wait(ranks, NULL);
}

static void copies(void **state)
{
    (void)state;
    for (int32_t n = 1; n <= 5; n++) {
        make_shares(n, 77 + (uint64_t)n);
        local_ranks_run(n, -1, gather_task, NULL);
        for (int32_t rank = 0; rank < n; rank++) {
            int64_t at = 0; /* what lies between shares stays as it was */
            assert_int_equal(exchange.status[rank], MILLET_OK);
            for (size_t s = 0; s <= exchange.n_shares; s++) {
                struct mlt_share end = {BLOCK, 0, 0};
                const struct mlt_share *share = s < exchange.n_shares ? &exchange.shares[s] : &end;
                for (; at < share->begin; at++)
                    assert_true(exchange.values[rank][at] == value_at(rank, at));
                for (; at < share->begin + share->count; at++)
                    assert_true(exchange.values[rank][at] == value_at(share->owner, at));
            }
        }
    }
}

static void first_error_is_everybodys(void **state)
{
    (void)state;
    for (int failing = 0; failing < 4; failing++) {
        exchange.failing = failing;
        make_shares(4, 3);
        run_exchange(4, -1);
        for (int32_t rank = 0; rank < 4; rank++) {
            char expected[80];
            snprintf(expected, sizeof expected,
                     failing ? "error of rank %d (rank %d of 4)" : "error of rank %d", failing, failing);
            assert_int_equal(exchange.status[rank], MILLET_BAD_FORMAT);
            assert_string_equal(exchange.error[rank].message, expected);
            assert_string_equal(exchange.error[rank].file, "file");
            assert_int_equal(exchange.error[rank].offset, 5);
        }
    }
    exchange.failing = -1;
}

/* ---- Who has what ---- */

static void shares_cover_the_block(void **state)
{
    (void)state;
    millet_error err;
    for (int form = 0; form < 4; form++) {
        struct toy_model toy = toy_model_default(form & 1 ? "gpt2" : "gemma3");
        millet_optimizer kind = form & 2 ? MILLET_MUON : MILLET_ADAMW;
        struct mlt_checkpoint *checkpoint;
        struct mlt_trainable *model;
        assert_int_equal(toy_checkpoint(mlt_default_allocator(), &toy, &checkpoint, &err), MILLET_OK);
        assert_int_equal(mlt_trainable_open(mlt_default_allocator(), checkpoint, MLT_F32, &model, &err),
                         MILLET_OK);
        for (int32_t n = 1; n <= 7; n++) {
            struct mlt_sharding sharding;
            int64_t load[7] = {0}, at = 0, largest = 0;
            assert_int_equal(mlt_sharding_open(mlt_default_allocator(), model, kind, n, &sharding, &err),
                             MILLET_OK);
            assert_int_equal(sharding.n_buckets, model->config.n_layers + 2);
            for (size_t i = 0; i < sharding.n_shares; i++) {
                assert_int_equal(sharding.shares[i].begin, at);
                assert_in_range(sharding.shares[i].owner, 0, n - 1);
                at += sharding.shares[i].count;
                load[sharding.shares[i].owner] += sharding.shares[i].count;
            }
            assert_int_equal(at, model->n_values);
            for (size_t i = 0; i < model->n_parameters; i++) {
                const struct mlt_parameter *p = &model->parameters[i];
                struct mlt_share parts[7];
                size_t n_parts = mlt_sharding_parts(&sharding, p, parts);
                int64_t next = 0;
                for (size_t j = 0; j < n_parts; j++) {
                    struct mlt_share part = mlt_sharding_part(&sharding, p, parts[j].owner);
                    assert_true(part.begin == parts[j].begin && part.count == parts[j].count);
                    assert_int_equal(part.begin, next);
                    next += part.count;
                }
                assert_int_equal(next, p->rows * p->columns);
                if (mlt_is_muon(kind, p)) {
                    assert_int_equal(n_parts, 1);
                    largest = MLT_MAX(largest, next);
                }
            }
            /* Even, but for the largest matrix. */
            for (int32_t rank = 0; rank < n; rank++)
                assert_true(load[rank] <= at / n + largest + 64 * (int64_t)sharding.n_buckets);
            mlt_sharding_close(&sharding);
        }
        mlt_trainable_close(&model);
    }
}

/* ---- Training ---- */

enum { STEPS = 12, LENGTH = 24, MOST_RANKS = 4 };

static struct {
    struct toy_model toy;
    millet_train_options options;
    mlt_dtype stored;
    double loss[MOST_RANKS][STEPS], norm[MOST_RANKS][STEPS];
    float *weights[MOST_RANKS]; /* at the end */
    size_t n_weights;
    int failing_rank; /* cannot fill the batch of step 5 */
    millet_status status[MOST_RANKS];
    millet_error error[MOST_RANKS];
} training;

static millet_status fill_batch(void *context, uint64_t step, struct mlt_batch *batch, millet_error *err)
{
    int32_t rank = *(const int32_t *)context;
    if (rank == training.failing_rank && step == 5)
        return mlt_fail_at(err, MILLET_BAD_FORMAT, "cache", NULL, 7, "damaged");
    int32_t vocabulary = training.toy.n_vocab;
    for (int32_t row = 0; row < batch->rows; row++) {
        uint32_t x = (uint32_t)step * 1000003u + (uint32_t)(batch->first_row + row) * 7919u + 1;
        int32_t token = (int32_t)(x % (uint32_t)vocabulary);
        for (int32_t i = 0; i < batch->length; i++) {
            int32_t at = row * batch->length + i;
            x = x * 1664525u + 1013904223u;
            batch->tokens[at] = token;
            token = (3 * token + 7 + (int32_t)(x >> 31)) % vocabulary;
            batch->targets[at] = x >> 28 == 0 ? MLT_NO_TARGET : token; /* so that ranks have unlike numbers */
            batch->begin[at] = 0;
            batch->end[at] = i;
        }
    }
    return MILLET_OK;
}

static millet_status steps(struct mlt_trainer *trainer, int32_t rank, millet_error *err)
{
    for (uint64_t step = 0; step < STEPS; step++) {
        struct mlt_step_result result;
        MLT_TRY(mlt_trainer_step(trainer, step, &result, err));
        training.loss[rank][step] = result.loss;
        training.norm[rank][step] = result.gradient_norm;
    }
    return MILLET_OK;
}

static void training_task(millet_ranks *ranks, void *argument)
{
    (void)argument;
    int32_t rank = millet_ranks_rank(ranks);
    millet_error *err = &training.error[rank];
    const millet_allocator *allocator = mlt_default_allocator();
    struct mlt_checkpoint *checkpoint;
    struct mlt_trainable *model;
    struct mlt_trainer trainer;
    millet_train_options options = training.options;
    options.ranks = ranks;
    struct mlt_batch_source source = {&rank, fill_batch};
    if (toy_checkpoint(allocator, &training.toy, &checkpoint, err) != MILLET_OK ||
        mlt_trainable_open(allocator, checkpoint, training.stored, &model, err) != MILLET_OK)
        abort();
    millet_status status = mlt_trainer_open(allocator, model, &options, source, &trainer, err);
    if (status == MILLET_OK) status = steps(&trainer, rank, err);
    training.status[rank] = status;
    size_t n_weights = (size_t)model->n_values;
    if (rank == 0) training.n_weights = n_weights;
    training.weights[rank] = malloc(n_weights * sizeof(float));
    if (training.weights[rank]) memcpy(training.weights[rank], model->weights, n_weights * sizeof(float));
    mlt_trainer_close(&trainer);
    mlt_trainable_close(&model);
}

static long run_training(int32_t n_ranks, long lose_after)
{
    for (int32_t rank = 0; rank < MOST_RANKS; rank++) {
        free(training.weights[rank]);
        training.weights[rank] = NULL;
    }
    memset(training.error, 0, sizeof training.error);
    memset(training.loss, 0, sizeof training.loss);
    return local_ranks_run(n_ranks, lose_after, training_task, NULL);
}

static void prepare(const char *architecture)
{
    training.toy = toy_model_default(architecture);
    training.toy.n_vocab = 96;
    training.stored = MLT_F32;
    training.failing_rank = -1;
    training.options = millet_train_options_default();
    training.options.steps = STEPS;
    training.options.rows = 5;
    training.options.length = LENGTH;
    training.options.rate = 0.003f;
    training.options.warmup = 3;
    training.options.z_loss = 1e-3f;
    training.options.n_threads = 1;
}

/* Losses and norms near one process's; all ranks with the same weights; the same bits on the next run. */
static void compare_ranks(double tolerance)
{
    double loss[STEPS], norm[STEPS];
    run_training(1, -1);
    assert_int_equal(training.status[0], MILLET_OK);
    memcpy(loss, training.loss[0], sizeof loss);
    memcpy(norm, training.norm[0], sizeof norm);
    assert_true(loss[STEPS - 1] < loss[0]);
    for (int32_t n = 2; n <= MOST_RANKS; n++) {
        double first[STEPS];
        run_training(n, -1);
        size_t bytes = training.n_weights * sizeof(float);
        float *weights = malloc(bytes);
        assert_non_null(weights);
        memcpy(first, training.loss[0], sizeof first);
        memcpy(weights, training.weights[0], bytes);
        for (int32_t rank = 0; rank < n; rank++) {
            assert_int_equal(training.status[rank], MILLET_OK);
            assert_memory_equal(training.loss[rank], first, sizeof first);
            assert_memory_equal(training.weights[rank], weights, bytes);
        }
        for (int step = 0; step < STEPS; step++) {
            if (fabs(first[step] - loss[step]) > tolerance * loss[step])
                fail_msg("%d ranks, step %d: the loss is %.9f, one process's %.9f", n, step, first[step],
                         loss[step]);
            assert_true(fabs(training.norm[0][step] - norm[step]) < 1e-3 * norm[step]);
        }
        run_training(n, -1);
        assert_memory_equal(training.loss[0], first, sizeof first);
        assert_memory_equal(training.weights[0], weights, bytes);
        free(weights);
    }
}

static void adamw(void **state)
{
    (void)state;
    prepare("llama");
    training.toy.untied = true;
    compare_ranks(1e-5);
}

static void muon(void **state)
{
    (void)state;
    prepare("gemma3");
    training.options.optimizer = MILLET_MUON;
    compare_ranks(1e-5);
}

/* Several batches a step, dropout that is the same whoever has a row, weights rounded to BF16. */
static void everything_else(void **state)
{
    (void)state;
    prepare("gpt2");
    training.options.accumulate = 3;
    training.options.dropout = 0.2f;
    compare_ranks(1e-5);
    training.stored = MLT_BF16;
    training.options.n_threads = 2;
    training.options.recompute = true;
    compare_ranks(1e-3); /* a rounding to BF16 that falls otherwise */
}

static void error_of_a_rank(void **state)
{
    (void)state;
    for (int32_t failing = 0; failing < 3; failing++) {
        prepare("llama");
        training.failing_rank = failing;
        training.options.accumulate = failing == 1 ? 2 : 1; /* then in the middle of step 2 */
        run_training(3, -1);
        for (int32_t rank = 0; rank < 3; rank++) {
            char expected[80];
            snprintf(expected, sizeof expected, failing ? "damaged (rank %d of 3)" : "damaged", failing);
            assert_int_equal(training.status[rank], MILLET_BAD_FORMAT);
            assert_string_equal(training.error[rank].message, expected);
            assert_string_equal(training.error[rank].file, "cache");
        }
    }
}

/* Whenever a rank is lost, the others end with an error that names it, and none waits for ever. */
static void loss_of_a_rank(void **state)
{
    (void)state;
    prepare("llama");
    training.options.steps = STEPS;
    long all = run_training(3, -1);
    assert_true(all > 100);
    for (long at = 0; at < all; at += all / 60 + 1) {
        run_training(3, at);
        for (int32_t rank = 0; rank < 3; rank++) {
            if (training.status[rank] == MILLET_OK && at > all - 10) continue; /* it had all it needed */
            assert_int_equal(training.status[rank], MILLET_IO);
            assert_string_equal(training.error[rank].message, "rank 2 of 3 has died");
        }
    }
}

static int set_up(void **state)
{
    (void)state;
    for (int i = 0; i < LOCAL_RANKS_MOST; i++)
        exchange.values[i] = malloc(BLOCK * sizeof(float));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    for (int i = 0; i < LOCAL_RANKS_MOST; i++)
        free(exchange.values[i]);
    for (int i = 0; i < MOST_RANKS; i++)
        free(training.weights[i]);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_in_order),
        cmocka_unit_test(copies),
        cmocka_unit_test(first_error_is_everybodys),
        cmocka_unit_test(shares_cover_the_block),
        cmocka_unit_test(adamw),
        cmocka_unit_test(muon),
        cmocka_unit_test(everything_else),
        cmocka_unit_test(error_of_a_rank),
        cmocka_unit_test(loss_of_a_rank),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
