/*
 * The sampler chain against a plain one that sorts everything and calculates in double, and its draws against
 * the distribution that they should have.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/random.h"
#include "generate/sampler.h"
#include "kernels/math.h"
#include "support/counting_allocator.h"

#include <string.h>

enum { MAX_VOCAB = 300 };

static millet_sampler *make(int32_t n_vocab, const millet_sampler_options *options)
{
    millet_error err;
    millet_sampler *sampler = NULL;
    assert_int_equal(mlt_sampler_check(options, &err), MILLET_OK);
    assert_int_equal(
        mlt_sampler_create(mlt_default_allocator(), mlt_sampler_size_for(n_vocab, options), &sampler, &err),
        MILLET_OK);
    mlt_sampler_configure(sampler, options);
    return sampler;
}

static millet_sampler_options plain_options(void)
{
    return (millet_sampler_options){.temperature = 1, .top_p = 1, .typical_p = 1, .repeat_penalty = 1};
}

static int32_t random_below(struct mlt_random *random, int32_t n)
{
    return (int32_t)(mlt_random_double(random) * n);
}

/* ---- The oracle -----------------------------------------------------------------------------------------
 */

struct oracle {
    int n;             /* candidates */
    int id[MAX_VOCAB]; /* best first */
    double x[MAX_VOCAB], p[MAX_VOCAB];
    bool doubtful; /* a limit was met so closely that rounding decides */
};

static struct oracle *sorting;
static double sorting_key[MAX_VOCAB];

static int compare(const void *left, const void *right)
{
    int a = *(const int *)left, b = *(const int *)right;
    double x = sorting_key[a], y = sorting_key[b];
    return x > y ? -1 : x < y ? 1 : sorting->id[a] - sorting->id[b];
}

/* Sorts the candidates by `key`, greatest first, lower ids first among equals. */
static void sort_by(struct oracle *o, const double *key)
{
    int order[MAX_VOCAB];
    struct oracle old = *o;
    sorting = &old;
    memcpy(sorting_key, key, sizeof(double) * (size_t)o->n);
    for (int i = 0; i < o->n; i++)
        order[i] = i;
    qsort(order, (size_t)o->n, sizeof order[0], compare);
    for (int i = 0; i < o->n; i++) {
        o->id[i] = old.id[order[i]];
        o->x[i] = old.x[order[i]];
        o->p[i] = old.p[order[i]];
    }
}

static double max_x(const struct oracle *o)
{
    double max = -INFINITY;
    for (int i = 0; i < o->n; i++)
        max = fmax(max, o->x[i]);
    return max;
}

static void normalise(struct oracle *o, double temperature)
{
    double max = max_x(o), sum = 0;
    for (int i = 0; i < o->n; i++)
        sum += o->p[i] = o->x[i] == max ? 1 : exp((o->x[i] - max) / temperature);
    for (int i = 0; i < o->n; i++)
        o->p[i] /= sum;
}

/* Keeps the first candidates whose sum of probabilities reaches the share. */
static void cut_at(struct oracle *o, double share)
{
    double sum = 0;
    for (int i = 0; i < o->n; i++) {
        sum += o->p[i];
        if (fabs(sum - share) < 1e-5) o->doubtful = true;
        if (sum >= share) {
            o->n = i + 1;
            return;
        }
    }
}

static void run_oracle(struct oracle *o, const float *logits, int n_vocab, const int32_t *recent,
                       int n_recent, const millet_sampler_options *options)
{
    double key[MAX_VOCAB];
    o->n = 0;
    o->doubtful = false;
    int last = options->penalty_last ? options->penalty_last : 64;
    for (int i = 0; i < n_vocab; i++) {
        double x = logits[i];
        int count = 0;
        for (int j = n_recent > last ? n_recent - last : 0; j < n_recent; j++)
            count += recent[j] == i;
        if (count) {
            x = x > 0 ? x / (double)options->repeat_penalty : x * (double)options->repeat_penalty;
            x -= count * (double)options->frequency_penalty + (double)options->presence_penalty;
        }
        if (isnan(x)) continue;
        o->id[o->n] = i;
        o->x[o->n++] = x;
    }
    if (o->n == 0) return;
    memcpy(key, o->x, sizeof key);
    sort_by(o, key);
    if (options->temperature == 0) {
        o->n = 1;
        o->p[0] = 1;
        return;
    }
    if (options->top_k && options->top_k < o->n) {
        if (o->x[options->top_k] != o->x[options->top_k - 1] &&
            fabs(o->x[options->top_k] - o->x[options->top_k - 1]) < 1e-5)
            o->doubtful = true;
        o->n = options->top_k;
    }
    if (options->typical_p < 1) {
        normalise(o, 1);
        double entropy = 0;
        for (int i = 0; i < o->n; i++)
            if (o->p[i] > 0) entropy -= o->p[i] * log(o->p[i]);
        for (int i = 0; i < o->n; i++)
            key[i] = -fabs(-log(o->p[i]) - entropy);
        sort_by(o, key);
        int before = o->n;
        cut_at(o, options->typical_p);
        /* Two tokens, one on each side of the entropy, may be as typical as each other but for rounding. */
        double limit = -fabs(-log(o->p[o->n - 1]) - entropy), max = max_x(o);
        for (int i = 0; i < before; i++) {
            bool same = o->x[i] == o->x[o->n - 1];
            double k = -fabs(-log(o->p[i]) - entropy);
            if (!same && fabs(k - limit) < 1e-4 * (1 + fabs(max))) o->doubtful = true;
        }
        memcpy(key, o->x, sizeof key);
        sort_by(o, key);
    }
    if (options->top_p < 1) {
        normalise(o, 1);
        cut_at(o, options->top_p);
    }
    if (options->min_p > 0) {
        normalise(o, 1);
        int n = 0;
        for (int i = 0; i < o->n; i++) {
            if (fabs(o->p[i] - (double)options->min_p * o->p[0]) < 1e-6) o->doubtful = true;
            if (o->p[i] >= (double)options->min_p * o->p[0]) n = i + 1;
        }
        o->n = n;
    }
    normalise(o, options->temperature);
    for (int i = 0; i < o->n; i++)
        key[i] = -o->id[i];
    sort_by(o, key);
}

/* Logits of several kinds: smooth, with many ties, with infinities and NaN. */
static void random_logits(struct mlt_random *random, float *logits, int n)
{
    int kind = random_below(random, 5);
    float scale = mlt_random_float(random) * 8;
    for (int i = 0; i < n; i++) {
        logits[i] = mlt_random_normal(random) * scale;
        if (kind == 1) logits[i] = (float)random_below(random, 6);
        if (kind == 2) logits[i] = (float)random_below(random, 3) - 1;
        if (kind >= 3 && random_below(random, 4) == 0) logits[i] = random_below(random, 2) ? -INFINITY : NAN;
        if (kind == 4 && random_below(random, 10) == 0) logits[i] = INFINITY;
    }
}

static void test_chain_against_oracle(void **state)
{
    (void)state;
    struct mlt_random random;
    mlt_random_seed(&random, 1);
    int compared = 0, doubtful = 0;
    for (int trial = 0; trial < 6000; trial++) {
        int n_vocab = 1 + random_below(&random, trial % 3 ? 40 : MAX_VOCAB);
        float logits[MAX_VOCAB], copy[MAX_VOCAB];
        random_logits(&random, logits, n_vocab);
        millet_sampler_options options = plain_options();
        options.temperature = random_below(&random, 8) ? 0.1f + mlt_random_float(&random) * 2 : 0;
        if (random_below(&random, 2)) options.top_k = random_below(&random, n_vocab + 4);
        if (random_below(&random, 2)) options.top_p = 1 - mlt_random_float(&random);
        if (random_below(&random, 2)) options.min_p = mlt_random_float(&random);
        if (random_below(&random, 2)) options.typical_p = 1 - mlt_random_float(&random);
        if (random_below(&random, 2)) options.repeat_penalty = 0.5f + mlt_random_float(&random);
        if (random_below(&random, 3) == 0) options.frequency_penalty = mlt_random_float(&random) - 0.3f;
        if (random_below(&random, 3) == 0) options.presence_penalty = mlt_random_float(&random) - 0.3f;
        if (random_below(&random, 2)) options.penalty_last = 1 + random_below(&random, 10);
        millet_sampler *sampler = make(n_vocab, &options);
        int32_t recent[200];
        int n_recent = random_below(&random, 200);
        for (int i = 0; i < n_recent; i++) {
            recent[i] = random_below(&random, n_vocab);
            millet_sampler_accept(sampler, recent[i]);
        }
        memcpy(copy, logits, sizeof logits);
        struct mlt_distribution d;
        millet_error err;
        millet_status status = mlt_sampler_distribution(sampler, logits, &d, &err);
        assert_memory_equal(copy, logits, sizeof(float) * (size_t)n_vocab);
        static struct oracle oracle;
        run_oracle(&oracle, logits, n_vocab, recent, n_recent, &options);
        if (oracle.n == 0) {
            assert_int_equal(status, MILLET_BAD_ARGUMENT);
        } else if (oracle.doubtful) {
            doubtful++;
        } else {
            assert_int_equal(status, MILLET_OK);
            assert_int_equal(d.count, oracle.n);
            for (int i = 0; i < oracle.n; i++) {
                assert_int_equal(d.ids[i], oracle.id[i]);
                double p = d.weights[i] / d.total;
                assert_true(fabs(p - oracle.p[i]) <= 2e-6 + 2e-5 * oracle.p[i]);
            }
            compared++;
        }
        millet_sampler_close(&sampler);
        assert_null(sampler);
    }
    assert_true(compared > 5000);
    assert_true(doubtful < 500);
}

static void test_infinities(void **state)
{
    (void)state;
    millet_sampler_options options = plain_options();
    options.top_p = 0.9f;
    options.typical_p = 0.9f;
    options.min_p = 0.1f;
    struct mlt_distribution d;
    millet_sampler *sampler = make(5, &options);
    float high[5] = {1, INFINITY, -INFINITY, INFINITY, NAN}; /* share all of it */
    assert_int_equal(mlt_sampler_distribution(sampler, high, &d, NULL), MILLET_OK);
    assert_int_equal(d.count, 2);
    assert_int_equal(d.ids[0], 1);
    assert_int_equal(d.ids[1], 3);
    assert_true(d.weights[0] == d.weights[1]);
    float low[5] = {-INFINITY, NAN, -INFINITY, NAN, NAN}; /* nothing to tell them apart */
    assert_int_equal(mlt_sampler_distribution(sampler, low, &d, NULL), MILLET_OK);
    assert_int_equal(d.count, 2);
    assert_true(d.weights[0] == d.weights[1] && d.total > 0);
    float none[5] = {NAN, NAN, NAN, NAN, NAN};
    millet_error err;
    int32_t token;
    assert_int_equal(millet_sampler_sample(sampler, none, &token, &err), MILLET_BAD_ARGUMENT);
    assert_non_null(strstr(err.message, "NaN"));
    millet_sampler_close(&sampler);
}

static void test_greedy(void **state)
{
    (void)state;
    millet_sampler_options options = plain_options();
    options.temperature = 0;
    options.repeat_penalty = 2;
    options.penalty_last = 2;
    millet_sampler *sampler = make(4, &options);
    float logits[4] = {1, 3, 3, 2.5f};
    int32_t token, expected[] = {1, 2, 3, 1, 2, 3}; /* a token comes back when it is no longer recent */
    for (int i = 0; i < 6; i++) {
        assert_int_equal(millet_sampler_sample(sampler, logits, &token, NULL), MILLET_OK);
        assert_int_equal(token, expected[i]);
    }
    millet_sampler_close(&sampler);
}

/* Probability that a chi-square variable with `k` degrees exceeds x, by Wilson and Hilferty's approximation.
 */
static double chi_square_tail(double x, int k)
{
    double z = (cbrt(x / k) - (1 - 2.0 / (9 * k))) / sqrt(2.0 / (9 * k));
    return 0.5 * erfc(z / sqrt(2));
}

static void test_draws(void **state)
{
    (void)state;
    enum { VOCAB = 60, DRAWS = 200000 };
    struct mlt_random random;
    mlt_random_seed(&random, 2);
    for (int variant = 0; variant < 6; variant++) {
        millet_sampler_options options = plain_options();
        options.seed = (uint64_t)variant;
        if (variant == 1) options = millet_sampler_options_default();
        if (variant == 2) options.temperature = 2;
        if (variant == 3) options.typical_p = 0.7f;
        if (variant == 4) options.top_k = 7;
        if (variant == 5) options.top_p = 0.8f;
        float logits[VOCAB];
        for (int i = 0; i < VOCAB; i++)
            logits[i] = mlt_random_normal(&random);
        static struct oracle oracle;
        run_oracle(&oracle, logits, VOCAB, NULL, 0, &options);
        assert_false(oracle.doubtful);
        millet_sampler *sampler = make(VOCAB, &options);
        int count[VOCAB] = {0}, repeats = 0;
        int32_t token = -1, previous;
        for (int i = 0; i < DRAWS; i++) {
            previous = token;
            assert_int_equal(millet_sampler_sample(sampler, logits, &token, NULL), MILLET_OK);
            count[token]++;
            repeats += token == previous;
        }
        double chi = 0, repeat = 0;
        for (int i = 0; i < oracle.n; i++) {
            double expected = oracle.p[i] * DRAWS, difference = count[oracle.id[i]] - expected;
            chi += difference * difference / expected;
            repeat += oracle.p[i] * oracle.p[i];
            count[oracle.id[i]] = 0;
        }
        for (int i = 0; i < VOCAB; i++)
            assert_int_equal(count[i], 0); /* nothing that was filtered out is drawn */
        double tail = chi_square_tail(chi, oracle.n - 1);
        assert_true(tail > 1e-4 && tail < 1 - 1e-4);
        /* Draws are independent: a token follows itself as often as chance has it, within 4.5 sigma. */
        double sigma = sqrt(DRAWS * repeat * (1 - repeat));
        assert_true(fabs(repeats - DRAWS * repeat) < 4.5 * sigma);
        millet_sampler_close(&sampler);
    }
}

/* The same on every machine: these tokens were drawn by an x86-64 build. */
static void test_seeds(void **state)
{
    (void)state;
    float logits[40];
    for (int i = 0; i < 40; i++)
        logits[i] = 2 * mlt_tanh((float)((i * 7) % 40) / 9.0f - 2);
    millet_sampler_options options = plain_options();
    options.seed = 42;
    static const int32_t expected[16] = {5, 16, 28, 38, 39, 33, 28, 34, 32, 24, 28, 14, 33, 15, 28, 34};
    millet_sampler *sampler = make(40, &options);
    int32_t first[16], again[16], other[16];
    for (int i = 0; i < 16; i++)
        millet_sampler_sample(sampler, logits, &first[i], NULL);
    millet_sampler_reset(sampler);
    for (int i = 0; i < 16; i++)
        millet_sampler_sample(sampler, logits, &again[i], NULL);
    options.seed = 0;
    mlt_sampler_configure(sampler, &options);
    for (int i = 0; i < 16; i++)
        millet_sampler_sample(sampler, logits, &other[i], NULL);
    assert_memory_equal(first, again, sizeof first);
    assert_memory_not_equal(first, other, sizeof first);
    assert_memory_equal(first, expected, sizeof first);
    millet_sampler_close(&sampler);
}

static void test_options(void **state)
{
    (void)state;
    millet_sampler_options good = millet_sampler_options_default();
    assert_int_equal(mlt_sampler_check(&good, NULL), MILLET_OK);
    struct {
        const char *name;
        size_t offset;
        float values[4];
    } bad[] = {
        {"temperature", offsetof(millet_sampler_options, temperature), {-1, NAN, INFINITY, -0.1f}},
        {"top_p", offsetof(millet_sampler_options, top_p), {0, NAN, 1.1f, -1}},
        {"min_p", offsetof(millet_sampler_options, min_p), {-0.1f, NAN, 1.1f, INFINITY}},
        {"typical_p", offsetof(millet_sampler_options, typical_p), {0, NAN, 1.1f, -1}},
        {"repeat_penalty", offsetof(millet_sampler_options, repeat_penalty), {0, NAN, INFINITY, -1}},
        {"frequency_penalty",
         offsetof(millet_sampler_options, frequency_penalty),
         {NAN, INFINITY, -INFINITY, NAN}},
        {"presence_penalty",
         offsetof(millet_sampler_options, presence_penalty),
         {NAN, INFINITY, -INFINITY, NAN}},
    };
    for (size_t i = 0; i < MLT_COUNT(bad); i++)
        for (int j = 0; j < 4; j++) {
            millet_sampler_options options = good;
            memcpy((char *)&options + bad[i].offset, &bad[i].values[j], sizeof(float));
            millet_error err;
            assert_int_equal(mlt_sampler_check(&options, &err), MILLET_BAD_ARGUMENT);
            assert_string_equal(err.item, bad[i].name);
        }
    millet_error err;
    millet_sampler_options options = good;
    options.top_k = -1;
    assert_int_equal(mlt_sampler_check(&options, &err), MILLET_BAD_ARGUMENT);
    assert_string_equal(err.item, "top_k");
    options = good;
    options.penalty_last = MLT_SAMPLER_MAX_LAST + 1;
    assert_int_equal(mlt_sampler_check(&options, &err), MILLET_BAD_ARGUMENT);
    assert_string_equal(err.item, "penalty_last");
}

static void test_memory(void **state)
{
    (void)state;
    struct counting_allocator counting;
    counting_allocator_init(&counting);
    enum { VOCAB = 1000 };
    float logits[VOCAB];
    struct mlt_random random;
    mlt_random_seed(&random, 3);
    for (int i = 0; i < VOCAB; i++)
        logits[i] = mlt_random_normal(&random);
    millet_sampler_options options = millet_sampler_options_default();
    for (int variant = 0; variant < 4; variant++) {
        if (variant == 1) options.repeat_penalty = 1.1f;
        if (variant == 2) options.top_k = 0;
        if (variant == 3) options.temperature = 0;
        struct mlt_sampler_size size = mlt_sampler_size_for(VOCAB, &options);
        millet_sampler *sampler;
        assert_int_equal(mlt_sampler_create(&counting.allocator, size, &sampler, NULL), MILLET_OK);
        mlt_sampler_configure(sampler, &options);
        assert_int_equal(counting.bytes, mlt_sampler_bytes(size));
        long long calls = counting.calls;
        for (int i = 0; i < 200; i++) {
            int32_t token;
            assert_int_equal(millet_sampler_sample(sampler, logits, &token, NULL), MILLET_OK);
        }
        assert_int_equal(counting.calls, calls);
        millet_sampler_close(&sampler);
        assert_int_equal(counting.live, 0);
    }
    counting.fail_at = counting.calls;
    millet_sampler *sampler = (millet_sampler *)(void *)&counting;
    millet_error err;
    assert_int_equal(mlt_sampler_create(&counting.allocator, mlt_sampler_size_any(VOCAB, 64), &sampler, &err),
                     MILLET_NO_MEMORY);
    assert_null(sampler);
    millet_sampler_close(&sampler);
}

/* mlt_log, which the log-probabilities are made with. */
static void test_log(void **state)
{
    (void)state;
    double worst = 0;
    for (uint32_t bits = 1; bits < 0x7f800000u; bits += 4099) {
        float x = mlt_bits_to_float(bits);
        double truth = log((double)x), nearest = fabs((double)(float)truth);
        double ulp = (double)nextafterf((float)nearest, INFINITY) - nearest;
        worst = fmax(worst, fabs((double)mlt_log(x) - truth) / ulp);
    }
    assert_true(worst <= 2);
    assert_true(mlt_log(1) == 0 && mlt_log(0) == -INFINITY && mlt_log(-0.0f) == -INFINITY);
    assert_true(mlt_log(INFINITY) == INFINITY && isnan(mlt_log(-1)) && isnan(mlt_log(NAN)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chain_against_oracle),
        cmocka_unit_test(test_infinities),
        cmocka_unit_test(test_greedy),
        cmocka_unit_test(test_draws),
        cmocka_unit_test(test_seeds),
        cmocka_unit_test(test_options),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_log),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
