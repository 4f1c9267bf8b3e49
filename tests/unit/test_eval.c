/*
 * Perplexity and divergence against plain calculations, token by token; the statistics against known values.
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
#include "eval/reading.h"
#include "eval/statistics.h"
#include "support/counting_allocator.h"
#include "support/tiny_model.h"

#include <math.h>
#include <string.h>

static const char text[] =
    "the cat and the hen ran then there, and another hath thought in the end of the "
    "thing that others think and hear: a tale, a name, an inn and the rain in \xc3\xa9t\xc3\xa9";

static void assert_near(double a, double b, double tolerance)
{
    if (!(fabs(a - b) <= tolerance)) fail_msg("%.12g is not %.12g within %g", a, b, tolerance);
}

/* ---- Statistics -----------------------------------------------------------------------------------------
 */

static void test_student(void **state)
{
    (void)state;
    const struct {
        int degrees;
        double t;
    } known[] = {{1, 12.7062}, {2, 4.3027},  {3, 3.1824},  {4, 2.7764},  {5, 2.5706},
                 {7, 2.3646},  {10, 2.2281}, {20, 2.0860}, {30, 2.0423}, {63, 1.9983}};
    for (size_t i = 0; i < MLT_COUNT(known); i++)
        assert_near(mlt_student_975(known[i].degrees), known[i].t, 1.5e-3 * known[i].t);
}

static void test_mean_against_batches(void **state)
{
    (void)state;
    struct mlt_random random;
    mlt_random_seed(&random, 1);
    for (int64_t n = 2; n < 6000; n += 1 + n / 7) {
        double *values = malloc(sizeof(double) * (size_t)n), sum = 0;
        struct mlt_mean mean;
        mlt_mean_start(&mean, n);
        for (int64_t i = 0; i < n; i++) {
            sum += values[i] = mlt_random_double(&random);
            mlt_mean_add(&mean, values[i]);
        }
        assert_near(mlt_mean_value(&mean), sum / (double)n, 1e-12);
        int64_t b = (int64_t)sqrt((double)n);
        b = b < 2 ? 2 : b > 64 ? 64 : b;
        assert_int_equal(mean.batches, b);
        /* Batches of equal size, up to one; where they are equal, the textbook formula. */
        if (n % b == 0) {
            double spread = 0;
            for (int64_t i = 0; i < b; i++) {
                double part = 0;
                for (int64_t j = 0; j < n / b; j++)
                    part += values[i * (n / b) + j];
                part = part / (double)(n / b) - sum / (double)n;
                spread += part * part;
            }
            assert_near(mlt_mean_error(&mean), sqrt(spread / (double)(b - 1) / (double)b), 1e-12);
        }
        free(values);
    }
}

/* The interval holds the true mean about 95 times in 100, for values that hang together too. */
static void test_coverage(void **state)
{
    (void)state;
    struct mlt_random random;
    mlt_random_seed(&random, 2);
    for (int kind = 0; kind < 2; kind++) {
        int inside = 0;
        enum { TRIALS = 1500, N = 2000 };
        for (int trial = 0; trial < TRIALS; trial++) {
            struct mlt_mean mean;
            mlt_mean_start(&mean, N);
            double value = 0;
            for (int i = 0; i < N; i++) {
                value = (kind ? 0.6 * value : 0) + (double)mlt_random_normal(&random);
                mlt_mean_add(&mean, 3 + value);
            }
            millet_interval interval = mlt_mean_interval(&mean);
            inside += interval.low <= 3 && interval.high >= 3;
        }
        assert_true(inside > 0.92 * TRIALS && inside < 0.97 * TRIALS);
    }
}

static void test_share(void **state)
{
    (void)state;
    struct mlt_mean mean;
    mlt_mean_start(&mean, 100);
    for (int i = 0; i < 100; i++)
        mlt_mean_add(&mean, i % 10 != 0); /* each batch alike: no more than independent */
    millet_interval interval = mlt_share_interval(&mean);
    assert_near(interval.value, 0.9, 1e-12);
    assert_near(interval.low, 0.825634, 1e-6); /* Wilson's interval for 90 of 100 */
    assert_near(interval.high, 0.944771, 1e-6);
    mlt_mean_start(&mean, 100);
    for (int i = 0; i < 100; i++)
        mlt_mean_add(&mean, i < 90); /* all failures together: much less certain */
    interval = mlt_share_interval(&mean);
    assert_true(interval.low < 0.7 && interval.high > 0.95 && interval.high <= 1);
    mlt_mean_start(&mean, 50);
    for (int i = 0; i < 50; i++)
        mlt_mean_add(&mean, 1);
    interval = mlt_share_interval(&mean);
    assert_near(interval.low, 0.928652, 1e-6);
    assert_near(interval.high, 1, 1e-12);
}

static void test_quantiles(void **state)
{
    (void)state;
    float values[] = {5, 1, 4, 2, 3};
    mlt_sort_floats(values, 5);
    for (int i = 0; i < 5; i++)
        assert_true(values[i] == (float)(i + 1));
    assert_near(mlt_quantile(values, 5, 0), 1, 0);
    assert_near(mlt_quantile(values, 5, 1), 5, 0);
    assert_near(mlt_quantile(values, 5, 0.5), 3, 0);
    assert_near(mlt_quantile(values, 5, 0.9), 4.6, 1e-12);
    assert_near(mlt_quantile(values, 1, 0.3), 1, 0);
}

/* ---- Windows --------------------------------------------------------------------------------------------
 */

enum { MAX_TEXT = 200 };

/* Every token of the text is scored at most once, in order, with the context that the convention says. */
static void test_windows(void **state)
{
    (void)state;
    int32_t ids[MAX_TEXT], tokens[64];
    for (int32_t i = 0; i < MAX_TEXT; i++)
        ids[i] = 1000 + i;
    struct mlt_random random;
    mlt_random_seed(&random, 3);
    for (int trial = 0; trial < 5000; trial++) {
        int32_t bos = trial % 2 ? 7 : -1, has_bos = bos >= 0;
        int32_t n_ctx = 2 + has_bos + (int32_t)(mlt_random_double(&random) * 40);
        int32_t overlap = (int32_t)(mlt_random_double(&random) * (n_ctx - has_bos));
        if (trial % 3 == 0) overlap = 0;
        int32_t n = (int32_t)(mlt_random_double(&random) * MAX_TEXT);
        struct mlt_windows windows = {.ids = ids, .n_ids = n, .n_ctx = n_ctx, .overlap = overlap, .bos = bos};
        int64_t n_windows, n_scored, windows_seen = 0, scored_seen = 0;
        mlt_windows_count(windows, &n_windows, &n_scored);
        struct mlt_window window;
        int32_t next = 0; /* the first token of the text that was in no window */
        while (mlt_windows_next(&windows, tokens, &window)) {
            windows_seen++;
            scored_seen += window.count - window.first;
            assert_true(window.count >= 1 && window.count <= n_ctx && window.first >= 1);
            if (has_bos) assert_int_equal(tokens[0], bos);
            int32_t begin = tokens[has_bos] - 1000;
            assert_int_equal(begin, MLT_MAX(0, next - overlap));
            for (int32_t i = has_bos; i < window.count; i++)
                assert_int_equal(tokens[i], 1000 + begin + i - has_bos);
            /* Scored is what is new; without BOS or overlap the first token has nothing before it. */
            int32_t new_tokens = begin + window.count - has_bos - next;
            int32_t blind = !has_bos && begin == next;
            assert_int_equal(window.count - window.first, new_tokens - blind);
            next += new_tokens;
            assert_true(window.count == n_ctx || next == n);
        }
        assert_int_equal(next, n);
        assert_int_equal(windows_seen, n_windows);
        assert_int_equal(scored_seen, n_scored);
    }
}

/* llama.cpp: the list of tokens, BOS in front, in pieces of n_ctx; BOS in place of the first of each. */
static void test_windows_second_half(void **state)
{
    (void)state;
    int32_t ids[MAX_TEXT], list[MAX_TEXT + 1], tokens[64];
    for (int32_t i = 0; i < MAX_TEXT; i++)
        ids[i] = 1000 + i;
    for (int trial = 0; trial < 2000; trial++) {
        int32_t bos = trial % 2 ? 7 : -1, has_bos = bos >= 0, n_ctx = 3 + trial % 30, n = trial % MAX_TEXT;
        int32_t n_list = 0;
        if (has_bos) list[n_list++] = bos;
        for (int32_t i = 0; i < n; i++)
            list[n_list++] = ids[i];
        struct mlt_windows windows = {
            .ids = ids, .n_ids = n, .n_ctx = n_ctx, .bos = bos, .second_half = true};
        struct mlt_window window;
        for (int32_t chunk = 0; chunk < n_list / n_ctx; chunk++) {
            assert_true(mlt_windows_next(&windows, tokens, &window));
            assert_int_equal(window.count, n_ctx);
            assert_int_equal(window.first, n_ctx / 2 + 1);
            for (int32_t i = 0; i < n_ctx; i++)
                assert_int_equal(tokens[i], i == 0 && has_bos ? bos : list[chunk * n_ctx + i]);
        }
        assert_false(mlt_windows_next(&windows, tokens, &window));
    }
}

/* ---- Scores ---------------------------------------------------------------------------------------------
 */

static void plain_softmax(const float *logits, int n, long double *p)
{
    long double sum = 0, max = -INFINITY;
    for (int i = 0; i < n; i++)
        max = fmaxl(max, (long double)logits[i]);
    for (int i = 0; i < n; i++)
        sum += p[i] = expl((long double)logits[i] - max);
    for (int i = 0; i < n; i++)
        p[i] /= sum;
}

static void test_scores(void **state)
{
    (void)state;
    enum { MAX = 80 };
    struct mlt_random random;
    mlt_random_seed(&random, 4);
    for (int trial = 0; trial < 3000; trial++) {
        int n = 1 + (int)(mlt_random_double(&random) * (MAX - 1)),
            target = (int)(mlt_random_double(&random) * n);
        float a[MAX], b[MAX];
        const float *rows[2] = {a, b};
        float scale = 1 + mlt_random_float(&random) * 20, shift = mlt_random_normal(&random) * 100;
        for (int i = 0; i < n; i++) {
            a[i] = mlt_random_normal(&random) * scale + shift;
            b[i] = trial % 5 == 0 ? a[i] - 3 : a[i] + mlt_random_normal(&random);
        }
        struct mlt_token_score score;
        mlt_score_rows(rows, 2, n, target, &score);
        long double p[MAX], q[MAX], kl = 0;
        plain_softmax(a, n, p);
        plain_softmax(b, n, q);
        int best[2] = {0, 0};
        for (int i = 0; i < n; i++) {
            if (p[i] > 0) kl += p[i] * logl(p[i] / q[i]);
            if (a[i] > a[best[0]]) best[0] = i;
            if (b[i] > b[best[1]]) best[1] = i;
        }
        assert_true(score.valid && score.kl >= 0);
        assert_near(score.nll[0], (double)-logl(p[target]), 1e-9 * (1 + score.nll[0]));
        assert_near(score.nll[1], (double)-logl(q[target]), 1e-9 * (1 + score.nll[1]));
        assert_near(score.kl, (double)kl, 1e-9);
        assert_int_equal(score.best[0], best[0]);
        assert_int_equal(score.best[1], best[1]);
        mlt_score_rows(rows, 1, n, target, &score);
        assert_near(score.nll[0], (double)-logl(p[target]), 1e-9 * (1 + score.nll[0]));
        a[target] = trial % 3 == 0 ? NAN : trial % 3 == 1 ? INFINITY : -INFINITY;
        mlt_score_rows(rows, 2, n, target, &score);
        assert_int_equal(score.valid, trial % 3 == 2 && n > 1);
    }
}

/* ---- Measuring ------------------------------------------------------------------------------------------
 */

static struct tiny_shape shape_of(float noise)
{
    struct tiny_shape shape = tiny_default();
    shape.noise = noise;
    return shape;
}

/* Negative log-likelihoods of the text's tokens in windows as the default convention has them; the logits
 * too. */
struct plain {
    int n;
    double nll[400];
    float *logits; /* [n][n_vocab] */
};

static struct plain read_plainly(const millet_model *model, int32_t n_ctx)
{
    int32_t ids[400], n_vocab = model->config.n_vocab;
    size_t count;
    struct plain plain = {.n = 0};
    assert_int_equal(millet_tokenize(model, text, sizeof text - 1, 0, ids, 400, &count, NULL), MILLET_OK);
    plain.logits = malloc(sizeof(float) * (size_t)n_vocab * count);
    millet_session *session;
    millet_session_options options = {.n_threads = 1};
    assert_int_equal(millet_session_open(model, &options, &session, NULL), MILLET_OK);
    long double p[1000];
    for (size_t i = 0; i < count; i++) {
        bool begins = i % (size_t)(n_ctx - 1) == 0;
        if (begins) millet_sequence_truncate(session, 0, 0, NULL);
        millet_item item = {begins ? TINY_BOS : ids[i - 1], 0, true};
        assert_int_equal(millet_eval(session, &item, 1, NULL), MILLET_OK);
        memcpy(plain.logits + (size_t)plain.n * (size_t)n_vocab, millet_logits(session, 0),
               sizeof(float) * (size_t)n_vocab);
        plain_softmax(millet_logits(session, 0), n_vocab, p);
        plain.nll[plain.n++] = (double)-logl(p[ids[i]]);
    }
    millet_session_close(&session);
    return plain;
}

static void test_perplexity(void **state)
{
    (void)state;
    struct tiny_shape shape = shape_of(0);
    millet_model *model = tiny_model(mlt_default_allocator(), &shape);
    const int32_t contexts[] = {128, 20, 3};
    for (size_t i = 0; i < MLT_COUNT(contexts); i++) {
        struct plain plain = read_plainly(model, contexts[i]);
        float nll[400];
        millet_eval_options options = {.n_ctx = contexts[i],
                                       .nll = nll,
                                       .nll_capacity = 400,
                                       .n_threads = 1 + (int)(i % 2),
                                       .n_batch = 7};
        millet_perplexity result;
        assert_int_equal(millet_perplexity_measure(model, text, sizeof text - 1, &options, &result, NULL),
                         MILLET_OK);
        assert_int_equal(result.n_tokens, plain.n);
        assert_int_equal(result.n_scored, plain.n); /* BOS: every token has something before it */
        assert_int_equal(result.n_windows, (plain.n + contexts[i] - 2) / (contexts[i] - 1));
        assert_int_equal(result.n_ctx, contexts[i]);
        assert_true(result.bos && !result.second_half);
        double sum = 0;
        for (int j = 0; j < plain.n; j++) {
            assert_near((double)nll[j], plain.nll[j], 1e-6);
            sum += plain.nll[j];
        }
        assert_near(result.nll.value, sum / plain.n, 1e-9);
        assert_near(result.perplexity.value, exp(sum / plain.n), 1e-6);
        assert_near(result.perplexity.low, exp(result.nll.low), 1e-6);
        assert_true(result.nll.low < result.nll.value && result.nll.value < result.nll.high);
        free(plain.logits);
    }
    millet_model_close(&model);
}

static void test_overlap_and_second_half(void **state)
{
    (void)state;
    struct tiny_shape shape = shape_of(0);
    millet_model *model = tiny_model(mlt_default_allocator(), &shape);
    struct plain whole = read_plainly(model, 128), cut = read_plainly(model, 20);
    float nll[400];
    millet_eval_options options = {
        .n_ctx = 20, .overlap = 12, .nll = nll, .nll_capacity = 400, .n_threads = 1};
    millet_perplexity result;
    assert_int_equal(millet_perplexity_measure(model, text, sizeof text - 1, &options, &result, NULL),
                     MILLET_OK);
    assert_int_equal(result.n_scored, whole.n);
    for (int i = 0; i < 19; i++)
        assert_near((double)nll[i], whole.nll[i], 1e-6);     /* the first window is like any other */
    assert_true(fabs((double)nll[19] - cut.nll[19]) > 1e-3); /* the second has seen more */
    options.overlap = 0;
    options.second_half = true;
    assert_int_equal(millet_perplexity_measure(model, text, sizeof text - 1, &options, &result, NULL),
                     MILLET_OK);
    assert_int_equal(result.n_windows, (whole.n + 1) / 20);
    assert_int_equal(result.n_scored, result.n_windows * 9);
    for (int i = 0; i < 9; i++)
        assert_near((double)nll[i], whole.nll[10 + i], 1e-6);
    options.max_tokens = 30;
    assert_int_equal(millet_perplexity_measure(model, text, sizeof text - 1, &options, &result, NULL),
                     MILLET_OK);
    assert_int_equal(result.n_tokens, 30);
    assert_int_equal(result.n_windows, 1);
    free(whole.logits);
    free(cut.logits);
    millet_model_close(&model);
}

static void test_divergence(void **state)
{
    (void)state;
    struct tiny_shape shapes[2] = {shape_of(0), shape_of(0.2f)};
    millet_model *base = tiny_model(mlt_default_allocator(), &shapes[0]);
    millet_model *other = tiny_model(mlt_default_allocator(), &shapes[1]);
    millet_eval_options options = {.n_ctx = 30, .n_threads = 2};
    millet_divergence result;
    assert_int_equal(millet_divergence_measure(base, base, text, sizeof text - 1, &options, &result, NULL),
                     MILLET_OK);
    assert_true(result.kl.value == 0 && result.kl_max == 0 && result.max_drop == 0 && result.rms_change == 0);
    assert_true(result.agreement.value == 1 && result.agreement.low < 1 &&
                result.perplexity_ratio.value == 1);

    assert_int_equal(millet_divergence_measure(base, other, text, sizeof text - 1, &options, &result, NULL),
                     MILLET_OK);
    struct plain a = read_plainly(base, 30), b = read_plainly(other, 30);
    int n = a.n, n_vocab = base->config.n_vocab, agree = 0;
    float kls[400];
    double sum = 0, nll[2] = {0, 0}, drop = 0, change = 0, squares = 0;
    for (int i = 0; i < n; i++) {
        const float *rows[2] = {a.logits + (size_t)i * (size_t)n_vocab,
                                b.logits + (size_t)i * (size_t)n_vocab};
        struct mlt_token_score score;
        mlt_score_rows(rows, 2, n_vocab, 0, &score);
        sum += score.kl;
        kls[i] = (float)score.kl;
        agree += score.best[0] == score.best[1];
        nll[0] += a.nll[i] / n;
        nll[1] += b.nll[i] / n;
        double difference = exp(-b.nll[i]) - exp(-a.nll[i]);
        drop = fmax(drop, -difference);
        change += difference / n;
        squares += difference * difference / n;
    }
    mlt_sort_floats(kls, (size_t)n);
    assert_int_equal(result.base.n_scored, n);
    assert_near(result.kl.value, sum / n, 1e-9);
    assert_true(result.kl.value > 1e-4 && result.kl.low < result.kl.value &&
                result.kl.high > result.kl.value);
    assert_near(result.kl_median, mlt_quantile(kls, (size_t)n, 0.5), 1e-6);
    assert_near(result.kl_90, mlt_quantile(kls, (size_t)n, 0.9), 1e-6);
    assert_near(result.kl_95, mlt_quantile(kls, (size_t)n, 0.95), 1e-6);
    assert_near(result.kl_99, mlt_quantile(kls, (size_t)n, 0.99), 1e-6);
    assert_near(result.kl_999, mlt_quantile(kls, (size_t)n, 0.999), 1e-6);
    assert_near(result.kl_max, (double)kls[n - 1], 1e-6);
    assert_near(result.agreement.value, (double)agree / n, 1e-12);
    assert_near(result.base.nll.value, nll[0], 1e-9);
    assert_near(result.other.perplexity.value, exp(nll[1]), 1e-6);
    assert_near(result.perplexity_ratio.value, exp(nll[1] - nll[0]), 1e-9);
    assert_near(result.max_drop, drop, 1e-9);
    assert_near(result.mean_change.value, change, 1e-9);
    assert_near(result.rms_change, sqrt(squares), 1e-9);
    free(a.logits);
    free(b.logits);
    millet_model_close(&base);
    millet_model_close(&other);
}

static bool count_progress(void *context, double fraction)
{
    double *last = context;
    assert_true(fraction > *last && fraction <= 1);
    *last = fraction;
    return fraction < 0.5;
}

static void test_refusals(void **state)
{
    (void)state;
    struct tiny_shape shape = tiny_default(), other_shape = tiny_default(), mute_shape = tiny_default();
    other_shape.word = "word";
    mute_shape.no_tokenizer = true;
    millet_model *model = tiny_model(mlt_default_allocator(), &shape);
    millet_model *mute = tiny_model(mlt_default_allocator(), &mute_shape);
    shape.word = "other";
    millet_model *longer = tiny_model(mlt_default_allocator(), &shape);
    millet_model *word = tiny_model(mlt_default_allocator(), &other_shape);
    const struct {
        const char *item;
        millet_eval_options options;
    } bad[] = {
        {"n_ctx", {.n_ctx = -1}},
        {"n_ctx", {.n_ctx = 2}},
        {"overlap", {.overlap = -1}},
        {"overlap", {.n_ctx = 10, .overlap = 9}},
        {"overlap", {.second_half = true, .overlap = 1}},
        {"max_tokens", {.max_tokens = -1}},
        {"n_threads", {.n_threads = -1}},
        {"n_batch", {.n_batch = -1}},
    };
    millet_error err;
    millet_perplexity result;
    millet_divergence divergence;
    for (size_t i = 0; i < MLT_COUNT(bad); i++) {
        assert_int_equal(
            millet_perplexity_measure(model, text, sizeof text - 1, &bad[i].options, &result, &err),
            MILLET_BAD_ARGUMENT);
        assert_string_equal(err.item, bad[i].item);
    }
    assert_int_equal(millet_perplexity_measure(model, "", 0, NULL, &result, &err), MILLET_BAD_ARGUMENT);
    assert_non_null(strstr(err.message, "at least 2"));
    assert_int_equal(millet_perplexity_measure(mute, "a", 1, NULL, &result, &err), MILLET_UNSUPPORTED);
    assert_int_equal(millet_divergence_measure(model, mute, "a", 1, NULL, &divergence, &err),
                     MILLET_UNSUPPORTED);
    assert_int_equal(millet_divergence_measure(model, word, text, 20, NULL, &divergence, &err),
                     MILLET_BAD_ARGUMENT);
    assert_non_null(strstr(err.message, "tokens"));
    assert_int_equal(millet_divergence_measure(longer, word, text, 20, NULL, &divergence, &err),
                     MILLET_BAD_ARGUMENT);
    assert_non_null(strstr(err.message, "\"other\""));
    assert_non_null(strstr(err.message, "\"word\""));
    double fraction = 0;
    millet_eval_options options = {
        .n_ctx = 5, .progress = count_progress, .context = &fraction, .n_threads = 1};
    assert_int_equal(millet_perplexity_measure(model, text, sizeof text - 1, &options, &result, &err),
                     MILLET_CANCELLED);
    assert_true(fraction >= 0.5 && fraction < 0.7);
    millet_model_close(&model);
    millet_model_close(&mute);
    millet_model_close(&longer);
    millet_model_close(&word);
}

static void test_damaged_model(void **state)
{
    (void)state;
    struct tiny_shape shape = tiny_default();
    struct mlt_checkpoint *checkpoint = tiny_checkpoint(mlt_default_allocator(), &shape);
    const struct mlt_tensor *tensor = mlt_checkpoint_tensor(checkpoint, "blk.1.ffn_down.weight");
    ((float *)(uintptr_t)tensor->data)[77] = NAN;
    millet_model *model = NULL;
    assert_int_equal(mlt_model_from_checkpoint(mlt_default_allocator(), checkpoint, &model, NULL), MILLET_OK);
    millet_error err;
    millet_perplexity result;
    assert_int_equal(millet_perplexity_measure(model, text, sizeof text - 1, NULL, &result, &err),
                     MILLET_BAD_FORMAT);
    assert_non_null(strstr(err.message, "finite"));
    millet_model_close(&model);
}

/* Whatever allocation is refused, the call fails cleanly and nothing is left. */
static void test_refused_allocations(void **state)
{
    (void)state;
    struct tiny_shape shape = tiny_default();
    millet_model *model = tiny_model(mlt_default_allocator(), &shape);
    struct counting_allocator counting;
    counting_allocator_init(&counting);
    millet_eval_options options = {.allocator = &counting.allocator, .n_ctx = 16, .n_threads = 2};
    millet_status status = MILLET_NO_MEMORY;
    int refused = 0;
    for (long long call = 0; status != MILLET_OK; call++) {
        counting.calls = 0;
        counting.fail_at = call;
        millet_divergence result;
        millet_error err = {.status = MILLET_OK};
        status = millet_divergence_measure(model, model, text, 60, &options, &result, &err);
        assert_int_equal(err.status, status);
        assert_int_equal(counting.live, 0);
        if (status != MILLET_OK) {
            assert_int_equal(status, MILLET_NO_MEMORY);
            refused++;
        }
    }
    assert_true(refused > 10);
    millet_model_close(&model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_student),
        cmocka_unit_test(test_mean_against_batches),
        cmocka_unit_test(test_coverage),
        cmocka_unit_test(test_share),
        cmocka_unit_test(test_quantiles),
        cmocka_unit_test(test_windows),
        cmocka_unit_test(test_windows_second_half),
        cmocka_unit_test(test_scores),
        cmocka_unit_test(test_perplexity),
        cmocka_unit_test(test_overlap_and_second_half),
        cmocka_unit_test(test_divergence),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_damaged_model),
        cmocka_unit_test(test_refused_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
