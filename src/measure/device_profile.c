/*
 * What a generated token costs on this machine: products of a matrix with one token for every type, and what
 * a layer takes besides.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "millet/plan.h"

#include "base/clock.h"
#include "base/random.h"
#include "kernels/matmul.h"
#include "measure/measure.h"
#include "measure/plain_model.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { ROUNDS = 9, PATTERN = 1 << 15, SET_BYTES = 64 << 20 };
static const int64_t columns_of[] = {128, 512, 2048};
static const int64_t elements_of[] = {1 << 14, 1 << 17, 1 << 20};
static const uint64_t sets_of[] = {1 << 20, 8 << 20, SET_BYTES};
static const double ROUND_SECONDS = 4e-4;

struct run {
    millet_allocator allocator;
    struct mlt_thread_pool *pool;
    struct mlt_matmul matmul;
    uint8_t *set;   /* SET_BYTES of encoded weights, again and again the same */
    float *pattern; /* [PATTERN] weights */
    uint8_t *block; /* the same, encoded */
    float *x, *y;
    millet_progress_callback *progress;
    void *context;
    double done, total;
    millet_device_profile *profile;
};

static millet_status advance(struct run *r, millet_error *err)
{
    r->done++;
    if (!r->progress || r->progress(r->context, r->done / r->total)) return MILLET_OK;
    return mlt_fail(err, MILLET_CANCELLED, "the measurement was interrupted");
}

/*
 * Seconds of a product, going through `n` matrices in turn: the least of some rounds, since what else runs on
 * the machine is not the device's.
 */
static double time_product(struct run *r, const struct mlt_matrix *matrix, int64_t n)
{
    double least = INFINITY;
    int64_t at = 0, count = 1;
    uint64_t bytes = matrix->row_bytes * (uint64_t)matrix->rows;
    for (int i = -1; i < ROUNDS; i++) { /* the first brings caches and clock up */
        double began = mlt_clock_seconds(), now = began;
        int64_t done = 0;
        while (now - began < ROUND_SECONDS) {
            for (int64_t k = 0; k < count; k++) {
                struct mlt_matrix w = *matrix;
                w.data = r->set + (uint64_t)at * bytes;
                at = at + 1 < n ? at + 1 : 0;
                const struct mlt_product product = {.w = &w, .out = r->y, .ld = matrix->rows};
                mlt_matmul_run(&r->matmul, r->x, matrix->columns, 1, &product, 1);
            }
            done += count;
            now = mlt_clock_seconds();
            if (i < 0) count *= 2;
        }
        if (i < 0) {
            count = MLT_MAX(done / 8, 1);
            continue;
        }
        least = fmin(least, (now - began) / (double)done);
    }
    return least;
}

static millet_status measure_type(struct run *r, mlt_dtype dtype, millet_error *err)
{
    const struct mlt_dtype_info *info = mlt_dtype_info(dtype);
    millet_type_cost *cost = &r->profile->types[r->profile->n_types++];
    snprintf(cost->type, sizeof cost->type, "%s", info->name);
    size_t block = mlt_dtype_row_bytes(dtype, PATTERN);
    mlt_encode(dtype, r->pattern, NULL, r->block, PATTERN);
    for (size_t at = 0; at < SET_BYTES; at += block)
        memcpy(r->set + at, r->block, MLT_MIN(block, SET_BYTES - at));
    for (int c = 0; c < MILLET_PROFILE_COLUMNS; c++)
        for (int e = 0; e < MILLET_PROFILE_SIZES; e++)
            for (int s = 0; s < MILLET_PROFILE_SETS; s++) {
                int64_t columns = MLT_MAX(columns_of[c], info->block_length), rows = elements_of[e] / columns;
                const struct mlt_matrix matrix = {r->set, mlt_dtype_row_bytes(dtype, columns), rows, columns,
                                                  dtype};
                uint64_t bytes = matrix.row_bytes * (uint64_t)rows;
                int64_t n = (int64_t)MLT_MAX(sets_of[s] / bytes, 1);
                cost->seconds[c][e][s] = time_product(r, &matrix, n) / (double)elements_of[e];
                MLT_TRY(advance(r, err));
            }
    return MILLET_OK;
}

static millet_status open_products(struct run *r, int32_t n_threads, millet_error *err)
{
    enum { MOST_COLUMNS = 4096, MOST_ROWS = 8192 };
    MLT_TRY(mlt_thread_pool_open(&r->allocator, n_threads, &r->pool, err));
    MLT_TRY(mlt_matmul_open(&r->matmul, &r->allocator, mlt_kernels_default(), r->pool, 1, MOST_COLUMNS, err));
    r->set = mlt_alloc(&r->allocator, SET_BYTES, 1, err);
    r->pattern = mlt_alloc(&r->allocator, PATTERN, sizeof *r->pattern, err);
    r->block = mlt_alloc(&r->allocator, PATTERN, 8, err);
    r->x = mlt_alloc(&r->allocator, MOST_COLUMNS, sizeof *r->x, err);
    r->y = mlt_alloc(&r->allocator, MOST_ROWS, sizeof *r->y, err);
    if (!r->set || !r->pattern || !r->block || !r->x || !r->y) return MILLET_NO_MEMORY;
    struct mlt_random random;
    mlt_random_seed(&random, 1);
    for (int i = 0; i < PATTERN; i++)
        r->pattern[i] = (float)(mlt_random_double(&random) - 0.5);
    for (int i = 0; i < MOST_COLUMNS; i++)
        r->x[i] = (float)(mlt_random_double(&random) - 0.5);
    return MILLET_OK;
}

static void close_products(struct run *r)
{
    mlt_matmul_close(&r->matmul);
    mlt_thread_pool_close(&r->pool);
    mlt_free(&r->allocator, r->set);
    mlt_free(&r->allocator, r->pattern);
    mlt_free(&r->allocator, r->block);
    mlt_free(&r->allocator, r->x);
    mlt_free(&r->allocator, r->y);
    r->set = r->block = NULL;
    r->pattern = r->x = r->y = NULL;
}

/* The products of a token, as the forward pass asks for them. */
static void run_products(struct run *r, const millet_model *model)
{
    for (int32_t i = 0; i < model->config.n_layers; i++) {
        const struct mlt_layer *l = &model->weights.layers[i];
        const struct mlt_matrix *groups[][3] = {
            {&l->wq, &l->wk, &l->wv}, {&l->wo}, {&l->w_gate, &l->w_up}, {&l->w_down}};
        for (size_t g = 0; g < MLT_COUNT(groups); g++) {
            struct mlt_product products[3];
            int n = 0;
            for (; n < 3 && groups[g][n]; n++)
                products[n] = (struct mlt_product){
                    .w = groups[g][n], .out = r->y + n * groups[g][0]->rows, .ld = groups[g][n]->rows};
            mlt_matmul_run(&r->matmul, r->x, groups[g][0]->columns, 1, products, n);
        }
    }
    const struct mlt_product output = {
        .w = &model->weights.output, .out = r->y, .ld = model->weights.output.rows};
    mlt_matmul_run(&r->matmul, r->x, model->weights.output.columns, 1, &output, 1);
}

/* What a token takes at the beginning of a context besides its products: both in turn, the least of each. */
static millet_status time_token(struct run *r, millet_session *session, const millet_model *model,
                                double *seconds, millet_error *err)
{
    enum { TOKENS = 400, DEPTH = 16 };
    double token = INFINITY, products = INFINITY;
    for (int i = 0; i < TOKENS; i++) {
        const millet_item item = {.token = i % 256, .logits = true};
        if (i % DEPTH == 0) MLT_TRY(millet_sequence_truncate(session, 0, 0, err));
        double began = mlt_clock_seconds();
        MLT_TRY(millet_eval(session, &item, 1, err));
        double middle = mlt_clock_seconds();
        run_products(r, model);
        token = fmin(token, middle - began);
        products = fmin(products, mlt_clock_seconds() - middle);
    }
    *seconds = fmax(token - products, 0);
    return MILLET_OK;
}

static millet_status time_layer(struct run *r, int32_t width, double *seconds, millet_error *err)
{
    struct mlt_plain_shape shape = {.n_layers = 4, .n_embd = width, .n_vocab = 256, .n_ctx = 64};
    millet_model *model = NULL;
    millet_session *session = NULL;
    millet_session_options options = millet_session_options_default();
    options.n_threads = r->profile->n_threads;
    MLT_TRY(mlt_plain_model(&r->allocator, &shape, &model, err));
    millet_status status = millet_session_open(model, &options, &session, err);
    if (status == MILLET_OK) status = time_token(r, session, model, seconds, err);
    *seconds /= shape.n_layers;
    millet_session_close(&session);
    millet_model_close(&model);
    return status == MILLET_OK ? advance(r, err) : status;
}

static millet_status run(struct run *r, int32_t n_threads, millet_error *err)
{
    static const mlt_dtype dtypes[] = {
#define TYPE(name, number, text, length, bytes) MLT_##name,
        MLT_DTYPE_LIST(TYPE)
#undef TYPE
    };
    enum { WIDTHS = 2, NARROW = 128, WIDE = 1024 };
    MLT_TRY(open_products(r, n_threads, err));
    r->profile->n_threads = mlt_thread_pool_size(r->pool);
    snprintf(r->profile->cpu, sizeof r->profile->cpu, "%s", mlt_cpu_tier_name(mlt_kernels_default()->cpu));
    r->total = WIDTHS;
    for (size_t i = 0; i < MLT_COUNT(dtypes); i++)
        if (mlt_dtype_info(dtypes[i])->is_float)
            r->total += MILLET_PROFILE_COLUMNS * MILLET_PROFILE_SIZES * MILLET_PROFILE_SETS;
    for (size_t i = 0; i < MLT_COUNT(dtypes); i++)
        if (mlt_dtype_info(dtypes[i])->is_float && r->profile->n_types < MILLET_PROFILE_TYPES)
            MLT_TRY(measure_type(r, dtypes[i], err));
    double narrow = 0, wide = 0;
    MLT_TRY(time_layer(r, NARROW, &narrow, err));
    MLT_TRY(time_layer(r, WIDE, &wide, err));
    r->profile->seconds_per_channel = fmax((wide - narrow) / (WIDE - NARROW), 0);
    r->profile->seconds_per_layer = fmax(narrow - NARROW * r->profile->seconds_per_channel, 0);
    return MILLET_OK;
}

millet_status millet_device_profile_measure(int32_t n_threads, millet_progress_callback *progress,
                                            void *context, millet_device_profile *profile, millet_error *err)
{
    if (n_threads < 0 || n_threads > MLT_MAX_THREADS)
        return mlt_fail_at(err, MILLET_BAD_ARGUMENT, NULL, "n_threads", MILLET_NO_OFFSET,
                           "0 (one for each CPU) to %d are possible", MLT_MAX_THREADS);
    *profile = (millet_device_profile){.n_threads = n_threads};
    struct run r = {
        .allocator = *mlt_default_allocator(), .progress = progress, .context = context, .profile = profile};
    millet_status status = run(&r, n_threads, err);
    close_products(&r);
    return status;
}

/* ---- What is between the points of the grid ---- */

/* The place of `value` among ascending ones, by logarithms: points `low` and `low + 1` and the part between.
 */
static double between(double value, const double *points, int n, int *low)
{
    *low = 0;
    while (*low + 2 < n && value > points[*low + 1])
        (*low)++;
    double part = log(fmax(value, 1) / points[*low]) / log(points[*low + 1] / points[*low]);
    return fmin(fmax(part, 0), 1);
}

double millet_device_seconds(const millet_device_profile *profile, const char *type, int64_t columns,
                             int64_t rows, uint64_t set_bytes)
{
    static const double lengths[] = {128, 512, 2048}, elements[] = {1 << 14, 1 << 17, 1 << 20},
                        sets[] = {1 << 20, 8 << 20, SET_BYTES};
    const millet_type_cost *cost = NULL;
    for (int32_t i = 0; i < profile->n_types; i++)
        if (strcmp(profile->types[i].type, type) == 0) cost = &profile->types[i];
    if (!cost) return NAN;
    int at[3];
    double n = (double)columns * (double)rows, sum = 0;
    const double part[] = {between((double)columns, lengths, MILLET_PROFILE_COLUMNS, &at[0]),
                           between(n, elements, MILLET_PROFILE_SIZES, &at[1]),
                           between((double)set_bytes, sets, MILLET_PROFILE_SETS, &at[2])};
    for (int corner = 0; corner < 8; corner++) {
        double weight = 1;
        int k[3];
        for (int axis = 0; axis < 3; axis++) {
            bool upper = corner >> axis & 1;
            k[axis] = at[axis] + upper;
            weight *= upper ? part[axis] : 1 - part[axis];
        }
        sum += weight * log(cost->seconds[k[0]][k[1]][k[2]]);
    }
    return n * exp(sum);
}
