/* AdamW, Muon and the schedules. SPDX-License-Identifier: Apache-2.0 */
#include "train/optimizer.h"

#include <math.h>
#include <string.h>

/* Values of a gradient that one share sums or changes; part of the definition of the norm, whatever the
 * threads. */
enum { PIECE = 1 << 16 };

static int64_t aligned(int64_t count)
{
    return (int64_t)mlt_round_up((uint64_t)count, MLT_ALIGNMENT / sizeof(float));
}

/* What a rank keeps, in floats. */
struct amounts {
    int64_t mean, square;
    int64_t work; /* Muon's scratch: a matrix twice, and two squares of its shorter side */
};

/* `own`, `mean_at` and `square_at` may be NULL. */
static struct amounts lay_out(const struct mlt_trainable *t, millet_optimizer kind,
                              const struct mlt_sharding *sharding, int32_t rank, struct mlt_share *own,
                              int64_t *mean_at, int64_t *square_at)
{
    struct amounts sum = {0};
    for (size_t i = 0; i < t->n_parameters; i++) {
        const struct mlt_parameter *p = &t->parameters[i];
        struct mlt_share part = mlt_sharding_part(sharding, p, rank);
        int64_t side = MLT_MIN(p->rows, p->columns);
        bool muon = mlt_is_muon(kind, p);
        if (own) own[i] = part;
        if (mean_at) mean_at[i] = sum.mean;
        if (square_at) square_at[i] = muon ? -1 : sum.square;
        sum.mean += aligned(part.count);
        if (!muon) sum.square += aligned(part.count);
        if (muon && part.count) sum.work = MLT_MAX(sum.work, 2 * part.count + 2 * side * side);
    }
    return sum;
}

millet_status mlt_optimizer_estimate(const millet_allocator *allocator, const struct mlt_trainable *t,
                                     millet_optimizer kind, int32_t n_ranks, uint64_t *bytes,
                                     millet_error *err)
{
    struct mlt_sharding sharding;
    *bytes = 0;
    MLT_TRY(mlt_sharding_open(allocator, t, kind, n_ranks, &sharding, err));
    for (int32_t rank = 0; rank < n_ranks; rank++) {
        struct amounts n = lay_out(t, kind, &sharding, rank, NULL, NULL, NULL);
        *bytes = MLT_MAX(*bytes, (uint64_t)(n.mean + n.square + n.work) * sizeof(float));
    }
    mlt_sharding_close(&sharding);
    return MILLET_OK;
}

static millet_status fill(struct mlt_optimizer *o, millet_error *err)
{
    const struct mlt_trainable *t = o->model;
    const millet_train_options *options = o->options;
    size_t n = t->n_parameters;
    MLT_TRY(mlt_sharding_open(&o->allocator, t, options->optimizer, millet_ranks_size(options->ranks),
                              &o->sharding, err));
    o->own = mlt_alloc(&o->allocator, n, sizeof *o->own, err);
    o->mean_at = mlt_alloc(&o->allocator, n, sizeof *o->mean_at, err);
    o->square_at = mlt_alloc(&o->allocator, n, sizeof *o->square_at, err);
    if (!o->own || !o->mean_at || !o->square_at) return MILLET_NO_MEMORY;
    struct amounts need = lay_out(t, options->optimizer, &o->sharding, millet_ranks_rank(options->ranks),
                                  o->own, o->mean_at, o->square_at);
    o->mean = mlt_alloc_zero(&o->allocator, (size_t)need.mean, sizeof(float), err);
    o->square = mlt_alloc_zero(&o->allocator, (size_t)need.square, sizeof(float), err);
    o->partial = mlt_alloc(&o->allocator, (size_t)(t->n_values / PIECE + 1), sizeof *o->partial, err);
    o->work = mlt_alloc(&o->allocator, (size_t)need.work, sizeof(float), err);
    return o->mean && o->square && o->partial && o->work ? MILLET_OK : MILLET_NO_MEMORY;
}

millet_status mlt_optimizer_open(const millet_allocator *allocator, struct mlt_trainable *model,
                                 const millet_train_options *options, struct mlt_optimizer *o,
                                 millet_error *err)
{
    *o = (struct mlt_optimizer){.allocator = *allocator, .model = model, .options = options};
    millet_status status = fill(o, err);
    if (status != MILLET_OK) mlt_optimizer_close(o);
    return status;
}

void mlt_optimizer_close(struct mlt_optimizer *o)
{
    if (!o->model) return;
    mlt_sharding_close(&o->sharding);
    mlt_free(&o->allocator, o->own);
    mlt_free(&o->allocator, o->mean);
    mlt_free(&o->allocator, o->square);
    mlt_free(&o->allocator, o->mean_at);
    mlt_free(&o->allocator, o->square_at);
    mlt_free(&o->allocator, o->partial);
    mlt_free(&o->allocator, o->work);
    memset(o, 0, sizeof *o);
}

/* ---- Among ranks ---- */

static const struct mlt_share *bucket(const struct mlt_optimizer *o, size_t index, size_t *n)
{
    *n = o->sharding.first[index + 1] - o->sharding.first[index];
    return o->sharding.shares + o->sharding.first[index];
}

void mlt_optimizer_reduce(struct mlt_optimizer *o, int32_t layer)
{
    size_t n;
    const struct mlt_share *shares = bucket(o, mlt_bucket_of_layer(layer), &n);
    mlt_ranks_start_reduce(o->options->ranks, o->model->gradient, shares, n);
}

/* Begins to send the new weights of buckets [*next, end): those that end before value `limit`. */
static void gather_until(struct mlt_optimizer *o, size_t *next, int64_t limit)
{
    for (; *next < o->sharding.n_buckets; ++*next) {
        size_t n;
        const struct mlt_share *shares = bucket(o, *next, &n);
        if (n && shares[n - 1].begin + shares[n - 1].count > limit) return;
        mlt_ranks_start_gather(o->options->ranks, o->model->master, shares, n);
    }
}

/* ---- The norm ---- */

struct norm_sum {
    const struct mlt_ops *ops;
    const float *x;
    double *partial;
};

static void sum_piece(const void *argument, int64_t begin, int64_t end)
{
    const struct norm_sum *s = argument;
    s->partial[begin / PIECE] = s->ops->square_sum(s->x + begin, end - begin);
}

static double square_sum(struct mlt_optimizer *o, struct mlt_workers *workers, const float *x, int64_t n)
{
    struct norm_sum s = {workers->ops, x, o->partial};
    double sum = 0;
    mlt_for_range(workers, n, PIECE, sum_piece, &s);
    for (int64_t i = 0; i * PIECE < n; i++)
        sum += o->partial[i];
    return sum;
}

millet_status mlt_optimizer_gradient_norm(struct mlt_optimizer *o, struct mlt_workers *workers, double *norm,
                                          millet_error *err)
{
    millet_ranks *ranks = o->options->ranks;
    const struct mlt_sharding *sharding = &o->sharding;
    double sum = 0;
    MLT_TRY(mlt_ranks_wait(ranks, err));
    for (size_t i = 0; i < sharding->n_shares;) {
        struct mlt_share run = sharding->shares[i++];
        while (i < sharding->n_shares && sharding->shares[i].owner == run.owner)
            run.count += sharding->shares[i++].count;
        if (run.owner == millet_ranks_rank(ranks))
            sum += square_sum(o, workers, o->model->gradient + run.begin, run.count);
    }
    MLT_TRY(mlt_ranks_sum(ranks, &sum, 1, err));
    *norm = sqrt(sum);
    return MILLET_OK;
}

/* ---- AdamW ---- */

struct adamw_stage {
    const struct mlt_ops *ops;
    struct mlt_adamw how;
    float *weight, *mean, *square;
    const float *gradient;
};

static void adamw_piece(const void *argument, int64_t begin, int64_t end)
{
    const struct adamw_stage *s = argument;
    s->ops->adamw(&s->how, s->weight + begin, s->gradient + begin, s->mean + begin, s->square + begin,
                  end - begin);
}

static void adamw_parameter(struct mlt_optimizer *o, struct mlt_workers *workers, size_t index, uint64_t step,
                            double rate, double scale)
{
    const millet_train_options *options = o->options;
    const struct mlt_parameter *p = &o->model->parameters[index];
    int64_t at = p->offset + o->own[index].begin;
    double t = (double)step + 1;
    struct adamw_stage s = {
        .ops = workers->ops,
        .how = {.rate = (float)rate,
                .beta1 = options->beta1,
                .beta2 = options->beta2,
                .eps = options->epsilon,
                .decay = p->kind == MLT_PARAMETER_VECTOR ? 0 : options->weight_decay,
                .grad_scale = (float)scale,
                .correction1 = (float)(1 / (1 - pow((double)options->beta1, t))),
                .correction2 = (float)(1 / (1 - pow((double)options->beta2, t)))},
        .weight = o->model->master + at,
        .mean = o->mean + o->mean_at[index],
        .square = o->square + o->square_at[index],
        .gradient = o->model->gradient + at,
    };
    mlt_for_range(workers, o->own[index].count, PIECE, adamw_piece, &s);
}

/* ---- Muon ---- */

struct combination {
    float *out;
    const float *x, *y;
    float a, b;
};

static void combine_piece(const void *argument, int64_t begin, int64_t end)
{
    const struct combination *s = argument;
    for (int64_t i = begin; i < end; i++)
        s->out[i] = s->a * s->x[i] + s->b * s->y[i];
}

/* out = a x + b y */
static void combine(struct mlt_workers *workers, float *out, float a, const float *x, float b, const float *y,
                    int64_t n)
{
    struct combination s = {out, x, y, a, b};
    mlt_for_range(workers, n, PIECE, combine_piece, &s);
}

/*
 * Five steps of the Newton-Schulz iteration bring all singular values of x [rows][columns] near 1: with A = x
 * x^T, x = a x + (b A + c A^2) x (Jordan et al., 2024). Where there are more rows than columns, the same is
 * done from the other side with A = x^T x. x lies in work; the result is a pointer into it.
 */
static const float *orthogonalise(struct mlt_workers *workers, float *work, int64_t rows, int64_t columns)
{
    static const float a = 3.4445f, b = -4.7750f, c = 2.0315f;
    bool tall = rows > columns;
    int64_t side = MLT_MIN(rows, columns), n = rows * columns;
    float *x = work, *next = work + n, *gram = work + 2 * n, *both = gram + side * side;
    for (int round = 0; round < 5; round++) {
        struct mlt_operand turned = {x, columns, true}, plain = {x, columns, false};
        struct mlt_operand g = {gram, side, false}, p = {both, side, false};
        mlt_product(workers, tall ? turned : plain, tall ? plain : turned, side, side, tall ? rows : columns,
                    false, gram, side);
        mlt_product(workers, g, g, side, side, side, false, both, side);
        combine(workers, both, b, gram, c, both, side * side);
        if (tall)
            mlt_product(workers, plain, p, rows, columns, side, false, next, columns);
        else
            mlt_product(workers, p, plain, rows, columns, side, false, next, columns);
        combine(workers, next, a, x, 1, next, n);
        float *swap = x;
        x = next;
        next = swap;
    }
    return x;
}

static void muon_parameter(struct mlt_optimizer *o, struct mlt_workers *workers, size_t index, double rate,
                           double scale)
{
    const struct mlt_parameter *p = &o->model->parameters[index];
    const float *gradient = o->model->gradient + p->offset;
    float *weight = o->model->master + p->offset, *momentum = o->mean + o->mean_at[index],
          m = o->options->momentum;
    int64_t n = p->rows * p->columns;
    combine(workers, momentum, m, momentum, (float)scale, gradient, n);
    combine(workers, o->work, m, momentum, (float)scale, gradient, n); /* Nesterov's */
    double norm = sqrt(square_sum(o, workers, o->work, n));
    combine(workers, o->work, (float)(1 / (norm + 1e-7)), o->work, 0, o->work, n);
    const float *update = orthogonalise(workers, o->work, p->rows, p->columns);
    /* Updates as large as AdamW's, so that one rate serves both (Liu et al., 2025). */
    double size = 0.2 * sqrt((double)MLT_MAX(p->rows, p->columns));
    combine(workers, weight, (float)(1 - rate * (double)o->options->weight_decay), weight,
            (float)(-rate * size), update, n);
}

/* ---- A step ---- */

struct refresh {
    struct mlt_trainable *model;
    size_t parameter;
};

static void refresh_piece(const void *argument, int64_t begin, int64_t end)
{
    const struct refresh *s = argument;
    mlt_trainable_refresh(s->model, s->parameter, begin, end);
}

millet_status mlt_optimizer_step(struct mlt_optimizer *o, struct mlt_workers *workers, uint64_t step,
                                 double rate, double scale, millet_error *err)
{
    struct mlt_trainable *t = o->model;
    size_t next = 0;
    for (size_t i = 0; i < t->n_parameters; i++) {
        gather_until(o, &next, t->parameters[i].offset);
        if (o->own[i].count == 0) continue;
        if (o->square_at[i] < 0)
            muon_parameter(o, workers, i, rate, scale);
        else
            adamw_parameter(o, workers, i, step, rate, scale);
    }
    gather_until(o, &next, t->n_values);
    MLT_TRY(mlt_ranks_wait(o->options->ranks, err));
    if (t->weights == t->master) return MILLET_OK;
    t->exact = step + 1 < o->options->quantize_after;
    for (struct refresh s = {.model = t}; s.parameter < t->n_parameters; s.parameter++)
        mlt_for_range(workers, t->parameters[s.parameter].rows * t->parameters[s.parameter].columns, PIECE,
                      refresh_piece, &s);
    return MILLET_OK;
}

/* ---- Schedules ---- */

double mlt_learning_rate(const millet_train_options *o, uint64_t step)
{
    double most = (double)o->rate, least = most * (double)o->final_rate;
    if (step < o->warmup) return most * (double)(step + 1) / (double)o->warmup;
    if (o->schedule == MILLET_COSINE) {
        double span = (double)(o->steps > o->warmup ? o->steps - o->warmup : 1);
        double part = fmin((double)(step - o->warmup) / span, 1);
        return least + (most - least) * 0.5 * (1 + cos(3.14159265358979323846 * part));
    }
    if (o->schedule == MILLET_WSD) {
        uint64_t decay = o->decay_steps ? o->decay_steps : (o->steps + 9) / 10;
        uint64_t begin = o->steps > decay ? o->steps - decay : 0;
        if (step < begin) return most;
        return most - (most - least) * fmin((double)(step - begin + 1) / (double)decay, 1);
    }
    return most;
}
