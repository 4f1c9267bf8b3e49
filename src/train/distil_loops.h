/*
 * Losses with a teacher, a part of ops_loops.h.
 *
 * With p the teacher's probabilities, q the student's and c = alpha T^2, the gradient of c KL(p || q) in a
 * logit is c / T (q - p). Where only some tokens are named and the others are one event of probability r
 * (the teacher's) and s (the student's), it is c / T q (1 - r / s) for one of the others; with q = s e / sum
 * of the others' e that is c / T (s - r) e / sum, which never divides by a small s.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_DISTIL_LOOPS_H
#define MLT_DISTIL_LOOPS_H

/* A logit that exponential() makes 0 at every temperature. */
#define NEVER REAL(-1e30)

/* The student's side at the temperature: the gradient of the divergence in a logit x is
 * c / T (coefficient * exp(x / T - shift) - p). */
struct softened {
    double log_sum; /* ln of the sum of exp(x / T) over all tokens */
    double shift, coefficient, divergence;
};

static mlt_real largest_of(const mlt_real *x, int64_t n)
{
    mlt_real largest = x[0];
    for (int64_t i = 1; i < n; i++)
        largest = MLT_MAX(largest, x[i]);
    return largest;
}

static struct softened against_all(const struct mlt_soft_target *soft, const mlt_real *x, int64_t n,
                                   mlt_real largest, mlt_real factor)
{
    double along = 0, log_sum = log_of_sum(x, n, largest, factor);
    enum { PART = 4096 };
    for (int64_t first = 0; first < n; first += PART) {
        int64_t last = MLT_MIN(first + PART, n);
        vreal part = {0};
        for (int64_t i = first; i < last; i += LANES)
            part += load(soft->p + i, last - i) * ((load(x + i, last - i) - largest) * factor);
        along += (double)total(part);
    }
    return (struct softened){log_sum, log_sum, 1,
                             soft->negative_entropy - along + (log_sum - (double)(largest * factor))};
}

/* Moves the logits of the named tokens to the scratch. */
static struct softened against_some(const struct mlt_soft_target *soft, mlt_real *x, int64_t n,
                                    mlt_real factor)
{
    for (int64_t j = 0; j < soft->k; j++) {
        soft->scratch[j] = x[soft->ids[j]];
        x[soft->ids[j]] = NEVER;
    }
    double others = log_of_sum(x, n, largest_of(x, n), factor);
    double most = MLT_MAX(others, (double)(largest_of(soft->scratch, soft->k) * factor));
    double sum = exp(others - most), along = (double)soft->rest * others;
    for (int64_t j = 0; j < soft->k; j++) {
        double y = (double)(soft->scratch[j] * factor);
        sum += exp(y - most);
        along += (double)soft->p[j] * y;
    }
    double log_sum = most + log(sum);
    return (struct softened){log_sum, others, exp(others - log_sum) - (double)soft->rest,
                             soft->negative_entropy - along + log_sum};
}

static mlt_real slope_of_cap(const struct mlt_cross_entropy *s, mlt_real x)
{
    return s->softcap > 0 ? 1 - x / s->softcap * (x / s->softcap) : 1;
}

static struct mlt_row_loss distil(const struct mlt_cross_entropy *s, const struct mlt_distillation *mix,
                                  const struct mlt_soft_target *soft, mlt_real *x, int32_t target)
{
    int64_t n = s->n_vocab;
    mlt_real factor = 1 / mix->temperature, largest = finish_logits(s, x), at_target = x[target];
    double log_sum = log_of_sum(x, n, largest, 1);
    struct softened t =
        soft->ids ? against_some(soft, x, n, factor) : against_all(soft, x, n, largest, factor);
    struct mlt_row_loss loss = {
        .nll = log_sum - (double)at_target, .z = log_sum * log_sum, .divergence = t.divergence};
    if (!s->backward) return loss;
    mlt_real scale = s->grad_scale * s->logit_scale, shift = REAL(log_sum), soft_shift = REAL(t.shift);
    mlt_real hard = 1 - mix->alpha, weight = hard + 2 * s->z_loss * shift;
    mlt_real c = mix->alpha * mix->temperature, coefficient = c * REAL(t.coefficient);
    for (int64_t i = 0; i < n; i += LANES) {
        vreal v = load(x + i, n - i), d = exponential(v * factor - soft_shift) * coefficient;
        if (!soft->ids) d -= load(soft->p + i, n - i) * c;
        if (weight != 0) d += exponential(v - shift) * weight;
        if (s->softcap > 0) {
            vreal part = v / s->softcap;
            d *= ALL(1) - part * part;
        }
        store(x + i, d * scale, n - i);
    }
    for (int64_t j = 0; soft->ids && j < soft->k; j++) {
        double y = (double)soft->scratch[j];
        mlt_real d =
            c * (REAL(exp(y * (double)factor - t.log_sum)) - soft->p[j]) + weight * REAL(exp(y - log_sum));
        x[soft->ids[j]] = d * slope_of_cap(s, soft->scratch[j]) * scale;
    }
    x[target] -= hard * slope_of_cap(s, at_target) * scale;
    return loss;
}

static double soften(const struct mlt_cross_entropy *s, mlt_real temperature, mlt_real weight, mlt_real *x,
                     mlt_real *out)
{
    int64_t n = s->n_vocab;
    mlt_real factor = 1 / temperature, largest = finish_logits(s, x);
    double log_sum = log_of_sum(x, n, largest, factor) - (double)(largest * factor), along = 0;
    enum { PART = 4096 };
    for (int64_t first = 0; first < n; first += PART) {
        int64_t last = MLT_MIN(first + PART, n);
        vreal part = {0};
        for (int64_t i = first; i < last; i += LANES) {
            vreal y = (load(x + i, last - i) - largest) * factor, p = exponential(y - REAL(log_sum));
            for (int64_t j = last - i; j < LANES; j++)
                p[j] = 0;
            part += p * y;
            store(out + i, load(out + i, last - i) + p * weight, last - i);
        }
        along += (double)total(part);
    }
    return along - log_sum;
}

/* ---- Relations ---- */

/* scores[j - from] = a_i . a_j, from <= j < to. */
static void relation_scores(const mlt_real *a, int64_t ld, int64_t size, int64_t i, int64_t from, int64_t to,
                            mlt_real *scores)
{
    for (int64_t j = from; j < to; j++)
        scores[j - from] = dot(a + i * ld, a + j * ld, size);
}

static double relate(const struct mlt_relation *s)
{
    const struct mlt_attention mine = {.scale = 1 / REAL(sqrt((double)s->size))};
    const struct mlt_attention theirs = {.scale = 1 / REAL(sqrt((double)s->their_size))};
    mlt_real *x = s->scratch, *y = x + s->length, *p = y + s->length;
    double sum = 0;
    for (int64_t i = 0; i < s->length; i++) {
        int64_t from = s->first[i], n = s->last[i] + 1 - from;
        if (s->weight[i] == 0) continue;
        relation_scores(s->a, s->ld, s->size, i, from, from + n, x);
        relation_scores(s->theirs, s->their_ld, s->their_size, i, from, from + n, y);
        memcpy(p, y, (size_t)n * sizeof *p);
        double log_sums = -(double)softmax_row(&theirs, p, n), along = 0;
        for (int64_t j = 0; j < n; j++)
            along += (double)p[j] * ((double)(y[j] * theirs.scale) - (double)(x[j] * mine.scale));
        log_sums += (double)softmax_row(&mine, x, n);
        sum += (double)s->weight[i] * (along + log_sums);
        if (!s->da) continue;
        mlt_real scale = s->grad_scale * s->weight[i] * mine.scale;
        for (int64_t j = 0; j < n; j++) { /* of i itself twice: it stands on both sides */
            mlt_real d = (x[j] - p[j]) * scale;
            add_scaled(s->da + i * s->ld, s->a + (from + j) * s->ld, d, 0, s->size);
            add_scaled(s->da + (from + j) * s->ld, s->a + i * s->ld, d, 0, s->size);
        }
    }
    return sum;
}

#endif
