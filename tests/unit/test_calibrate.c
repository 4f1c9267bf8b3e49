/*
 * Calibration and what compaction makes of it: sums against plain ones in double, both forms of the file,
 * damaged files, rounding with feedback against its definition, and what it gains.
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
#include "compact/feedback.h"
#include "format/imatrix.h"
#include "generate/session.h"
#include "millet/lab.h"
#include "support/counting_allocator.h"
#include "support/file_bytes.h"
#include "support/tiny_model.h"
#include "tensor/codes.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define REQUIRE(call)                                                                                        \
    do {                                                                                                     \
        millet_error require_err = {0};                                                                      \
        millet_error *err = &require_err;                                                                    \
        if ((call) != MILLET_OK) fail_msg("%s: %s: %s", #call, err->item, err->message);                     \
    } while (0)

static char text[6000];
static millet_model *model;

static int set_up(void **state)
{
    (void)state;
    struct mlt_random random;
    mlt_random_seed(&random, 8);
    for (size_t i = 0; i + 1 < sizeof text; i++)
        text[i] = "etaoin shrdlu."[(size_t)(mlt_random_double(&random) * 14)];
    struct tiny_shape shape = tiny_default();
    model = tiny_model(mlt_default_allocator(), &shape);
    folder_make();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    folder_remove();
    millet_model_close(&model);
    return 0;
}

/* ---- Sums ---- */

/* What an observer saw of one matrix, kept whole. */
struct kept {
    const uint8_t *data;
    int64_t columns, tokens;
    float *x;
};

static void keep(void *context, const float *x, int64_t ldx, int64_t tokens,
                 const struct mlt_product *products, int n)
{
    struct kept *k = context;
    for (int p = 0; p < n; p++) {
        if (products[p].w->data != k->data) continue;
        k->columns = products[p].w->columns;
        k->x = realloc(k->x, (size_t)((k->tokens + tokens) * k->columns) * sizeof *k->x);
        assert_non_null(k->x);
        for (int64_t t = 0; t < tokens; t++)
            memcpy(k->x + (k->tokens + t) * k->columns, x + t * ldx, (size_t)k->columns * sizeof *x);
        k->tokens += tokens;
    }
}

static void calibrate(const char *path, int32_t n_threads, bool grams, bool legacy)
{
    millet_calibrate_options options = millet_calibrate_options_default();
    options.reading.n_threads = n_threads;
    options.reading.n_ctx = 100;
    options.grams = grams;
    options.legacy = legacy;
    millet_calibration result;
    REQUIRE(millet_calibrate(model, text, sizeof text - 1, path, &options, &result, err));
    assert_int_equal(result.n_matrices, 15);
    assert_int_equal(result.n_grams, grams ? 9 : 0);
    assert_int_equal(result.n_unseen, 0);
}

static void test_sums(void **state)
{
    (void)state;
    char path[200], other[200];
    snprintf(path, sizeof path, "%s", folder_path("a.gguf"));
    snprintf(other, sizeof other, "%s", folder_path("b.gguf"));
    calibrate(path, 1, true, false);
    calibrate(other, 3, true, false);
    assert_true(files_are_same("a.gguf", "b.gguf"));
    struct mlt_imatrix *m = NULL;
    REQUIRE(mlt_imatrix_open(mlt_default_allocator(), path, &m, err));
    assert_int_equal(m->n_entries, 15);
    assert_int_equal(m->chunk_size, 100);

    /* The same windows, by hand. */
    const struct {
        const char *name;
        const struct mlt_matrix *matrix;
    } looked_at[] = {
        {"blk.0.attn_v.weight", &model->weights.layers[0].wv},
        {"blk.1.ffn_down.weight", &model->weights.layers[1].w_down},
        {"output.weight", &model->weights.output},
    };
    for (size_t l = 0; l < sizeof looked_at / sizeof looked_at[0]; l++) {
        struct kept kept = {.data = looked_at[l].matrix->data};
        millet_session_options options = millet_session_options_default();
        options.n_ctx = 100;
        options.n_logits = 100;
        millet_session *session = NULL;
        REQUIRE(millet_session_open(model, &options, &session, err));
        mlt_forward_observe(session->forward, keep, &kept);
        static int32_t ids[6000];
        static millet_item items[100];
        size_t count;
        REQUIRE(millet_tokenize(model, text, sizeof text - 1, 0, ids, 6000, &count, err));
        /* Windows of BOS and 99 tokens; a window's last token is not given to the model. */
        for (size_t at = 0; at < count; at += 99) {
            int32_t n = (int32_t)(count - at < 99 ? count - at : 99);
            items[0] = (millet_item){model->bos, 0, true};
            for (int32_t i = 1; i < n; i++)
                items[i] = (millet_item){ids[at + (size_t)i - 1], 0, true};
            REQUIRE(millet_sequence_truncate(session, 0, 0, err));
            REQUIRE(millet_eval(session, items, n, err));
        }
        const struct mlt_importance_entry *entry = mlt_imatrix_find(m, looked_at[l].name);
        assert_non_null(entry);
        int64_t n = kept.columns;
        assert_int_equal(entry->n, n);
        assert_non_null(entry->gram);
        assert_int_equal((int64_t)entry->gram_count, kept.tokens);
        for (int64_t i = 0; i < n; i++)
            for (int64_t j = 0; j < n; j++) {
                double sum = 0, size = 0;
                for (int64_t t = 0; t < kept.tokens; t++) {
                    double product = (double)kept.x[t * n + i] * (double)kept.x[t * n + j];
                    sum += product;
                    size += fabs(product);
                }
                assert_true(fabs(sum - (double)entry->gram[i * n + j]) <= 1e-5 * size);
                if (i == j)
                    assert_true(fabs(sum / (double)kept.tokens - (double)entry->mean[i]) <= 1e-6 * size);
            }
        free(kept.x);
        millet_session_close(&session);
    }
    mlt_imatrix_close(&m);
}

static void test_forms(void **state)
{
    (void)state;
    char path[200], old[200];
    snprintf(path, sizeof path, "%s", folder_path("new.gguf"));
    snprintf(old, sizeof old, "%s", folder_path("old.dat"));
    calibrate(path, 2, false, false);
    calibrate(old, 2, false, true);
    struct mlt_imatrix *a = NULL, *b = NULL;
    REQUIRE(mlt_imatrix_open(mlt_default_allocator(), path, &a, err));
    REQUIRE(mlt_imatrix_open(mlt_default_allocator(), old, &b, err));
    assert_int_equal(a->n_entries, b->n_entries);
    assert_int_equal(a->chunk_count, b->chunk_count);
    for (size_t i = 0; i < a->n_entries; i++) {
        assert_string_equal(a->entries[i].name, b->entries[i].name);
        assert_int_equal(a->entries[i].n, b->entries[i].n);
        assert_null(a->entries[i].gram);
        assert_memory_equal(a->entries[i].mean, b->entries[i].mean, (size_t)a->entries[i].n * sizeof(float));
    }
    mlt_imatrix_close(&a);
    mlt_imatrix_close(&b);
    assert_null(b);

    /* Cut anywhere, the old form is an error or fewer entries, never more; and every allocation may fail. */
    struct file_bytes bytes = file_read(old);
    struct counting_allocator counting;
    counting_allocator_init(&counting);
    for (size_t size = 0; size < bytes.size - 20; size += 97) {
        struct file_bytes cut = {.data = bytes.data, .size = size};
        file_write(folder_path("cut.dat"), &cut);
        millet_error err;
        millet_status status = mlt_imatrix_open(&counting.allocator, folder_path("cut.dat"), &a, &err);
        assert_int_equal(status, MILLET_BAD_FORMAT);
        assert_int_equal(counting.live, 0);
    }
    for (int form = 0; form < 2; form++)
        for (long long n = 0;; n++) {
            millet_error err;
            counting.calls = 0;
            counting.fail_at = n;
            millet_status status = mlt_imatrix_open(&counting.allocator, form ? path : old, &a, &err);
            mlt_imatrix_close(&a);
            assert_int_equal(counting.live, 0);
            if (status == MILLET_OK) break;
            assert_int_equal(status, MILLET_NO_MEMORY);
        }
    bytes_free(&bytes);
}

/* ---- Feedback ---- */

enum { N = 64, TOKENS = 300 };

/* Inputs whose channels go together, as those of real models do. */
static void make_gram(float *gram, int n, uint64_t seed)
{
    struct mlt_random random;
    mlt_random_seed(&random, seed);
    double *x = calloc((size_t)n, sizeof *x);
    memset(gram, 0, (size_t)(n * n) * sizeof *gram);
    for (int t = 0; t < TOKENS; t++) {
        double common = mlt_random_normal(&random), half = mlt_random_normal(&random);
        for (int i = 0; i < n; i++)
            x[i] = (double)mlt_random_normal(&random) * (1 + 3 * (i % 7 == 0)) + 2 * common +
                   (i > n / 2 ? half : 0);
        for (int i = 0; i < n; i++)
            for (int j = 0; j < n; j++)
                gram[i * n + j] += (float)(x[i] * x[j]);
    }
    free(x);
}

static double quadratic(const struct mlt_feedback *f, const float *w, const float *q)
{
    double sum = 0;
    for (int64_t i = 0; i < f->n; i++)
        for (int64_t j = 0; j < f->n; j++)
            sum += ((double)q[i] - (double)w[i]) * (double)f->h[i * f->n + j] * ((double)q[j] - (double)w[j]);
    return sum;
}

static void test_factor(void **state)
{
    (void)state;
    static float gram[N * N];
    make_gram(gram, N, 3);
    struct mlt_feedback f;
    REQUIRE(mlt_feedback_open(&f, mlt_default_allocator(), gram, TOKENS, N, NULL, err));
    /* M^T D M is H. */
    for (int i = 0; i < N; i++)
        for (int k = 0; k < N; k++) {
            double sum = 0;
            for (int j = i > k ? i : k; j < N; j++) {
                double mi = i == j ? 1 : (double)f.m[j * N + i], mk = k == j ? 1 : (double)f.m[j * N + k];
                sum += mi * (double)f.m[j * N + j] * mk;
            }
            assert_true(fabs(sum - (double)f.h[i * N + k]) < 1e-4 * (double)f.h[0]);
        }
    mlt_feedback_close(&f);
    memset(gram, 0, sizeof gram);
    millet_error err;
    assert_int_equal(mlt_feedback_open(&f, mlt_default_allocator(), gram, TOKENS, N, NULL, &err),
                     MILLET_BAD_FORMAT);
}

static void test_rounding(void **state)
{
    (void)state;
    static const mlt_dtype dtypes[] = {MLT_Q4_0,  MLT_Q4_1,   MLT_Q5_0,  MLT_Q5_1, MLT_IQ4_NL,
                                       MLT_MXFP4, MLT_Q2_K,   MLT_Q3_K,  MLT_Q4_K, MLT_Q5_K,
                                       MLT_Q6_K,  MLT_IQ4_XS, MLT_TQ1_0, MLT_TQ2_0};
    enum { WIDE = 256 };
    static float gram[WIDE * WIDE], w[WIDE], q[WIDE], scratch[WIDE * 6];
    static uint8_t bytes[2048], plain[2048], mean_bytes[2048];
    make_gram(gram, WIDE, 4);
    struct mlt_feedback f;
    REQUIRE(mlt_feedback_open(&f, mlt_default_allocator(), gram, TOKENS, WIDE, NULL, err));
    assert_true(mlt_feedback_scratch(WIDE) <= WIDE * 6);
    struct mlt_random random;
    mlt_random_seed(&random, 5);
    for (size_t d = 0; d < sizeof dtypes / sizeof dtypes[0]; d++) {
        double fed = 0, weighted = 0, alone = 0;
        for (int row = 0; row < 6; row++) {
            for (int i = 0; i < WIDE; i++)
                w[i] = row == 5 ? 0 : mlt_random_normal(&random) * 0.05f;
            double loss = mlt_feedback_round(&f, dtypes[d], w, bytes, scratch);
            mlt_decode(dtypes[d], bytes, q, WIDE);
            double is = quadratic(&f, w, q);
            assert_true(fabs(is - loss) <= 1e-3 * (is + 1e-9)); /* what it says is what the bytes give */
            fed += is;
            mlt_encode(dtypes[d], w, f.importance, mean_bytes, WIDE);
            mlt_decode(dtypes[d], mean_bytes, q, WIDE);
            double of_weighted = quadratic(&f, w, q);
            assert_true(is <= of_weighted * (1 + 1e-5)); /* row by row, never worse */
            weighted += of_weighted;
            mlt_encode(dtypes[d], w, NULL, plain, WIDE);
            mlt_decode(dtypes[d], plain, q, WIDE);
            alone += quadratic(&f, w, q);
        }
        /* Much of the inputs is common to all channels: errors that cancel are cheap. */
        if (!(fed < 0.6 * weighted && fed < 0.6 * alone))
            fail_msg("%s: %g with feedback, %g weighted, %g alone", mlt_dtype_info(dtypes[d])->name, fed,
                     weighted, alone);
    }
    mlt_feedback_close(&f);
}

/* All codes of a block, set and decoded again. */
static void test_codes(void **state)
{
    (void)state;
    struct mlt_random random;
    mlt_random_seed(&random, 6);
    for (int number = 0; number < MLT_DTYPE_LIMIT; number++) {
        const struct mlt_dtype_info *info = mlt_dtype_find((uint32_t)number);
        if (!info || !info->is_float || mlt_code_count((mlt_dtype)number) == 0) continue;
        mlt_dtype dtype = (mlt_dtype)number;
        int count = mlt_code_count(dtype);
        float x[256], y[256], low[256], high[256];
        uint8_t block[512], again[512], codes[256];
        for (int i = 0; i < 256; i++)
            x[i] = mlt_random_normal(&random);
        mlt_encode(dtype, x, NULL, block, info->block_length);
        memcpy(again, block, sizeof again);
        /* Each element alone moves with its own code, and with nobody else's. */
        memset(codes, 0, sizeof codes);
        mlt_set_codes(dtype, codes, again);
        mlt_decode(dtype, again, low, info->block_length);
        memset(codes, count - 1, sizeof codes);
        mlt_set_codes(dtype, codes, again);
        mlt_decode(dtype, again, high, info->block_length);
        for (int i = 0; i < info->block_length; i++) {
            assert_true(low[i] != high[i]);
            memset(codes, 0, sizeof codes);
            codes[i] = (uint8_t)(count - 1);
            mlt_set_codes(dtype, codes, again);
            mlt_decode(dtype, again, y, info->block_length);
            for (int k = 0; k < info->block_length; k++)
                assert_true(y[k] == (k == i ? high[k] : low[k]));
        }
        /* The nearest codes, found by trying all, are those of the encoder or better. */
        mlt_decode(dtype, block, y, info->block_length);
        float best[256];
        for (int i = 0; i < info->block_length; i++)
            best[i] = INFINITY;
        for (int c = 0; c < count; c++) {
            float z[256];
            memset(codes, c, sizeof codes);
            mlt_set_codes(dtype, codes, again);
            mlt_decode(dtype, again, z, info->block_length);
            for (int i = 0; i < info->block_length; i++)
                best[i] = fminf(best[i], fabsf(z[i] - x[i]));
        }
        for (int i = 0; i < info->block_length; i++)
            assert_true(best[i] <= fabsf(y[i] - x[i]) + 1e-6f);
    }
}

/* ---- The whole ---- */

static double divergence(const char *input, const char *type, const char *importance, bool no_feedback,
                         int32_t n_threads)
{
    char out[200];
    snprintf(out, sizeof out, "%s", folder_path("out.gguf"));
    millet_quantize_options options = millet_quantize_options_default();
    options.type = type;
    options.uniform = true;
    options.importance = importance;
    options.no_feedback = no_feedback;
    options.n_threads = n_threads;
    millet_quantized *result = NULL;
    REQUIRE(millet_quantize(input, out, &options, &result, err));
    millet_rounding expected = !importance   ? MILLET_ROUNDING_PLAIN
                               : no_feedback ? MILLET_ROUNDING_IMPORTANCE
                                             : MILLET_ROUNDING_FEEDBACK;
    for (uint64_t i = 0; i < result->n_tensors; i++)
        if (strcmp(result->tensors[i].name, "blk.0.ffn_up.weight") == 0)
            assert_int_equal(result->tensors[i].rounding, expected);
    millet_quantized_free(&result);
    millet_model *other = NULL;
    REQUIRE(millet_model_open(out, NULL, &other, err));
    millet_divergence d;
    millet_eval_options how = millet_eval_options_default();
    how.n_ctx = 100;
    REQUIRE(millet_divergence_measure(model, other, text, sizeof text - 1, &how, &d, err));
    millet_model_close(&other);
    return d.kl.value;
}

static void test_what_it_gains(void **state)
{
    (void)state;
    char input[200], importance[200], first[200];
    snprintf(input, sizeof input, "%s", folder_path("model.gguf"));
    snprintf(importance, sizeof importance, "%s", folder_path("model.imatrix"));
    snprintf(first, sizeof first, "%s", folder_path("first.gguf"));
    struct tiny_shape shape = tiny_default();
    tiny_write(input, &shape);
    calibrate(importance, 1, true, false);
    static const char *const types[] = {"Q4_0", "IQ4_NL", "Q5_1"};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        double plain = divergence(input, types[i], NULL, false, 1);
        double fed = divergence(input, types[i], importance, false, 1);
        assert_int_equal(rename(folder_path("out.gguf"), first), 0);
        assert_true(divergence(input, types[i], importance, false, 3) == fed);
        assert_true(files_are_same("first.gguf", "out.gguf"));
        if (!(fed < 0.8 * plain)) fail_msg("%s: %g with feedback, %g without", types[i], fed, plain);
        assert_true(divergence(input, types[i], importance, true, 1) < 1.1 * plain);
    }
    /* Of another model. */
    shape.n_ff = 128;
    tiny_write(input, &shape);
    millet_quantize_options options = millet_quantize_options_default();
    options.importance = importance;
    millet_error err;
    assert_int_equal(millet_quantize(input, first, &options, NULL, &err), MILLET_BAD_ARGUMENT);
    assert_non_null(strstr(err.message, "measured on another model"));
    assert_non_null(strstr(err.item, "ffn_down"));
    options.importance = input;
    assert_int_equal(millet_quantize(input, first, &options, NULL, &err), MILLET_BAD_FORMAT);
    assert_non_null(strstr(err.message, "millet calibrate"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sums),     cmocka_unit_test(test_forms), cmocka_unit_test(test_factor),
        cmocka_unit_test(test_rounding), cmocka_unit_test(test_codes), cmocka_unit_test(test_what_it_gains),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
