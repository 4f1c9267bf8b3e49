/*
 * The matrix product: against plain sums in double precision, and bit for bit the same however the work is
 * cut.
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
#include "kernels/matmul.h"

#include <math.h>
#include <string.h>

static const mlt_dtype dtypes[] = {
    MLT_F32,  MLT_F16,  MLT_BF16, MLT_Q4_0, MLT_Q4_1,   MLT_Q5_0,   MLT_Q5_1,  MLT_Q8_0,  MLT_Q2_K,
    MLT_Q3_K, MLT_Q4_K, MLT_Q5_K, MLT_Q6_K, MLT_IQ4_NL, MLT_IQ4_XS, MLT_TQ1_0, MLT_TQ2_0, MLT_MXFP4,
};

struct matrix {
    struct mlt_matrix w;
    uint8_t *bytes;
    float *decoded; /* [rows][columns] */
};

static struct matrix make_matrix(mlt_dtype dtype, int64_t rows, int64_t columns, struct mlt_random *random)
{
    struct matrix m;
    size_t row_bytes = mlt_dtype_row_bytes(dtype, columns);
    float *values = malloc((size_t)columns * sizeof *values);
    m.bytes = malloc((size_t)rows * row_bytes);
    m.decoded = malloc((size_t)(rows * columns) * sizeof *m.decoded);
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t c = 0; c < columns; c++)
            values[c] = mlt_random_normal(random);
        mlt_encode(dtype, values, NULL, m.bytes + (size_t)r * row_bytes, columns);
        mlt_decode(dtype, m.bytes + (size_t)r * row_bytes, m.decoded + r * columns, columns);
    }
    free(values);
    m.w = (struct mlt_matrix){m.bytes, row_bytes, rows, columns, dtype};
    return m;
}

static void free_matrix(struct matrix *m)
{
    free(m->bytes);
    free(m->decoded);
}

static float *random_floats(int64_t n, struct mlt_random *random)
{
    float *x = malloc((size_t)n * sizeof *x);
    for (int64_t i = 0; i < n; i++)
        x[i] = mlt_random_normal(random);
    return x;
}

static void multiply(const struct mlt_product *products, int n, const float *x, int64_t ldx, int64_t tokens,
                     int threads, bool exact)
{
    struct mlt_thread_pool *pool = NULL;
    struct mlt_matmul matmul;
    assert_int_equal(mlt_thread_pool_open(mlt_default_allocator(), threads, &pool, NULL), MILLET_OK);
    assert_int_equal(mlt_matmul_open(&matmul, mlt_default_allocator(), mlt_kernels_default(), pool, tokens,
                                     products[0].w->columns, NULL),
                     MILLET_OK);
    matmul.exact_activations = exact;
    mlt_matmul_run(&matmul, x, ldx, tokens, products, n);
    mlt_matmul_close(&matmul);
    mlt_thread_pool_close(&pool);
}

/* Largest difference from the plain product, as a part of the largest possible sum of its row. */
static double error_of(const struct matrix *m, const float *bias, const float *x, int64_t ldx, int64_t tokens,
                       const float *y, int64_t ldy)
{
    double worst = 0;
    for (int64_t t = 0; t < tokens; t++) {
        for (int64_t r = 0; r < m->w.rows; r++) {
            double sum = bias ? bias[r] : 0, norm_w = 0, norm_x = 0;
            for (int64_t c = 0; c < m->w.columns; c++) {
                double w = m->decoded[r * m->w.columns + c], v = x[t * ldx + c];
                sum += w * v;
                norm_w += w * w;
                norm_x += v * v;
            }
            double error = fabs(sum - y[t * ldy + r]) / sqrt(norm_w * norm_x);
            worst = error > worst ? error : worst;
        }
    }
    return worst;
}

static void test_against_plain_sums(void **state)
{
    (void)state;
    struct mlt_random random;
    mlt_random_seed(&random, 1);
    for (size_t i = 0; i < MLT_COUNT(dtypes); i++) {
        int64_t columns = mlt_dtype_info(dtypes[i])->block_length == 256 ? 512 : 288;
        struct matrix m = make_matrix(dtypes[i], 75, columns, &random);
        float *x = random_floats(7 * (columns + 5), &random), *bias = random_floats(75, &random);
        float *y = malloc(7 * 80 * sizeof *y);
        struct mlt_product product = {&m.w, bias, y, 80};
        bool quantised = mlt_dtype_info(dtypes[i])->quantised;
        multiply(&product, 1, x, columns + 5, 7, 2, false);
        /* Rounding to 8 bits costs about 1/127 of each value, which averages out over a row. */
        assert_true(error_of(&m, bias, x, columns + 5, 7, y, 80) < (quantised ? 4e-3 : 1e-6));
        multiply(&product, 1, x, columns + 5, 7, 2, true);
        assert_true(error_of(&m, bias, x, columns + 5, 7, y, 80) < 1e-6);
        free(y);
        free(bias);
        free(x);
        free_matrix(&m);
    }
}

/* Any cut of the work gives the same bits: threads, tokens together or apart, rows together or apart,
 * products shared. */
static void test_invariance(void **state)
{
    (void)state;
    struct mlt_random random;
    mlt_random_seed(&random, 2);
    enum { TOKENS = 9, COLUMNS = 256, ROWS = 133 };
    float *x = random_floats(TOKENS * COLUMNS, &random);
    for (size_t i = 0; i < MLT_COUNT(dtypes); i++) {
        struct matrix m = make_matrix(dtypes[i], ROWS, COLUMNS, &random);
        struct matrix other = make_matrix(dtypes[(i + 5) % MLT_COUNT(dtypes)], 50, COLUMNS, &random);
        float *whole = malloc(TOKENS * ROWS * sizeof *whole), *parts = malloc(TOKENS * ROWS * sizeof *parts);
        float *aside = malloc(TOKENS * 50 * sizeof *aside);
        multiply(&(struct mlt_product){&m.w, NULL, whole, ROWS}, 1, x, COLUMNS, TOKENS, 1, false);

        struct mlt_product both[] = {{&other.w, NULL, aside, 50}, {&m.w, NULL, parts, ROWS}};
        multiply(both, 2, x, COLUMNS, TOKENS, 3, false);
        assert_memory_equal(whole, parts, TOKENS * ROWS * sizeof *whole);

        memset(parts, 0, TOKENS * ROWS * sizeof *parts);
        for (int64_t t = 0; t < TOKENS; t++)
            multiply(&(struct mlt_product){&m.w, NULL, parts + t * ROWS, ROWS}, 1, x + t * COLUMNS, COLUMNS,
                     1, 2, false);
        assert_memory_equal(whole, parts, TOKENS * ROWS * sizeof *whole);

        memset(parts, 0, TOKENS * ROWS * sizeof *parts);
        for (int64_t r = 0; r < ROWS; r += 19) {
            struct mlt_matrix rows = m.w;
            rows.data += (uint64_t)r * rows.row_bytes;
            rows.rows = MLT_MIN(ROWS - r, 19);
            multiply(&(struct mlt_product){&rows, NULL, parts + r, ROWS}, 1, x, COLUMNS, TOKENS, 2, false);
        }
        assert_memory_equal(whole, parts, TOKENS * ROWS * sizeof *whole);
        free(whole);
        free(parts);
        free(aside);
        free_matrix(&m);
        free_matrix(&other);
    }
    free(x);
}

/* A value that is no number makes its token's results NaN, and no other's. */
static void test_not_a_number(void **state)
{
    (void)state;
    struct mlt_random random;
    mlt_random_seed(&random, 3);
    const float bad[] = {NAN, INFINITY, -INFINITY};
    for (size_t b = 0; b < MLT_COUNT(bad); b++) {
        struct matrix m = make_matrix(MLT_Q8_0, 20, 64, &random);
        float *x = random_floats(3 * 64, &random), y[3 * 20];
        x[64 + 40] = bad[b];
        multiply(&(struct mlt_product){&m.w, NULL, y, 20}, 1, x, 64, 3, 1, false);
        for (int r = 0; r < 20; r++) {
            assert_false(isnan(y[r]));
            assert_true(isnan(y[20 + r]));
            assert_false(isnan(y[40 + r]));
        }
        free(x);
        free_matrix(&m);
    }
}

static void test_open(void **state)
{
    (void)state;
    struct mlt_matmul matmul;
    millet_error err;
    assert_int_equal(
        mlt_matmul_open(&matmul, mlt_default_allocator(), mlt_kernels_default(), NULL, 0, 64, &err),
        MILLET_BAD_ARGUMENT);
    mlt_matmul_close(&matmul);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_plain_sums),
        cmocka_unit_test(test_invariance),
        cmocka_unit_test(test_not_a_number),
        cmocka_unit_test(test_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
