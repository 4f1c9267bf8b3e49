/*
 * The operations of ops.h as loops over the compiler's vectors, for whatever element and instruction set the
 * including file is compiled for. It defines MLT_LANES, MLT_MR and MLT_NV (product_loops.h) first; tests
 * define MLT_REAL double and MLT_OPS_DOUBLE as well.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_OPS_LOOPS_H
#define MLT_OPS_LOOPS_H

#include "train/product_loops.h"

#include <math.h>

#define REAL(x) ((mlt_real)(x))
#define ALL(x) ((vreal){0} + REAL(x))

/* ---- Vectors ---- */

/* The first `left` values at p, zeros after them. */
INLINE vreal load(const mlt_real *p, int64_t left)
{
    if (MLT_LIKELY(left >= LANES)) return load_all(p);
    vreal v = {0};
    memcpy(&v, p, (size_t)left * sizeof *p);
    return v;
}

INLINE void store(mlt_real *p, vreal v, int64_t left)
{
    if (MLT_LIKELY(left >= LANES))
        store_all(p, v);
    else
        memcpy(p, &v, (size_t)left * sizeof *p);
}

INLINE mlt_real total(vreal v)
{
    mlt_real sum = 0;
    for (int i = 0; i < LANES; i++)
        sum += v[i];
    return sum;
}

#ifdef MLT_OPS_DOUBLE
static vreal exponential(vreal x)
{
    vreal y;
    for (int i = 0; i < LANES; i++)
        y[i] = exp(x[i]);
    return y;
}
#else
typedef int32_t vint __attribute__((vector_size(MLT_LANES * sizeof(int32_t))));

INLINE vreal choose(vint mask, vreal yes, vreal no)
{
    return (vreal)(((vint)yes & mask) | ((vint)no & ~mask));
}

/* e^x by range reduction and Cephes' polynomial, as kernels/math.h; 0 below the normal range, about 2^127
 * above. */
INLINE vreal exponential(vreal x)
{
    vint tiny = x < ALL(-87.0f);
    x = choose(x > ALL(88.0f), ALL(88.0f), x);
    x = choose(tiny, ALL(-87.0f), x);
    vreal n = (x * ALL(1.44269504088896341f) + ALL(12582912.0f)) - ALL(12582912.0f);
    vreal r = x - n * ALL(0.693359375f);
    r = r + n * ALL(2.12194440e-4f);
    vreal p = ALL(1.9875691500e-4f);
    p = p * r + ALL(1.3981999507e-3f);
    p = p * r + ALL(8.3334519073e-3f);
    p = p * r + ALL(4.1665795894e-2f);
    p = p * r + ALL(1.6666665459e-1f);
    p = p * r + ALL(5.0000001201e-1f);
    p = p * (r * r) + (r + ALL(1.0f));
    vint power = (__builtin_convertvector(n, vint) + 127) << 23;
    return choose(tiny, (vreal){0}, p * (vreal)power);
}
#endif

INLINE vreal sigmoid(vreal x)
{
    return ALL(1) / (ALL(1) + exponential(-x));
}

INLINE vreal hyperbolic_tangent(vreal x)
{
    return ALL(2) * sigmoid(x + x) - ALL(1);
}

/* ---- Norms ---- */

static void norm(const struct mlt_norm *s, int64_t begin, int64_t end)
{
    int64_t n = s->n;
    for (int64_t row = begin; row < end; row++) {
        const mlt_real *x = s->x + row * n, *weight = s->weight + row % s->weight_rows * n;
        mlt_real *y = s->y + row * n, mean = 0;
        if (s->kind == MLT_NORM_LAYER) {
            vreal sum = {0};
            for (int64_t i = 0; i < n; i += LANES)
                sum += load(x + i, n - i);
            mean = total(sum) / REAL(n);
            s->mean[row] = mean;
        }
        vreal squares = {0};
        for (int64_t i = 0; i < n; i += LANES) {
            vreal c = load(x + i, n - i) - mean;
            if (n - i < LANES && mean != 0)
                for (int64_t j = n - i; j < LANES; j++)
                    c[j] = 0;
            squares += c * c;
        }
        mlt_real r = 1 / REAL(sqrt((double)(total(squares) / REAL(n) + s->eps)));
        s->rstd[row] = r;
        for (int64_t i = 0; i < n; i += LANES) {
            vreal v = (load(x + i, n - i) - mean) * r * load(weight + i, n - i);
            if (s->bias) v += load(s->bias + i, n - i);
            store(y + i, v, n - i);
        }
    }
}

/*
 * With g = weight * dy and xhat = (x - mean) * rstd: dx = rstd * (g - xhat * mean(g * xhat) - mean(g)), the
 * last term for LayerNorm only.
 */
static void norm_dx(const struct mlt_norm *s, int64_t begin, int64_t end)
{
    int64_t n = s->n;
    for (int64_t row = begin; row < end; row++) {
        const mlt_real *x = s->x + row * n, *dy = s->dy + row * n,
                       *weight = s->weight + row % s->weight_rows * n;
        mlt_real *dx = s->dx + row * n, r = s->rstd[row];
        mlt_real mean = s->kind == MLT_NORM_LAYER ? s->mean[row] : 0;
        vreal along = {0}, sum = {0};
        for (int64_t i = 0; i < n; i += LANES) {
            vreal g = load(dy + i, n - i) * load(weight + i, n - i);
            along += g * ((load(x + i, n - i) - mean) * r);
            sum += g;
        }
        mlt_real a = total(along) / REAL(n), b = s->kind == MLT_NORM_LAYER ? total(sum) / REAL(n) : 0;
        for (int64_t i = 0; i < n; i += LANES) {
            vreal g = load(dy + i, n - i) * load(weight + i, n - i);
            vreal v = (g - (load(x + i, n - i) - mean) * r * a - b) * r;
            if (s->add) v += load(dx + i, n - i);
            store(dx + i, v, n - i);
        }
    }
}

/* Columns are shared among threads, rows are summed in order. */
static void norm_dweight(const struct mlt_norm *s, int64_t begin, int64_t end)
{
    int64_t n = s->n;
    for (int64_t row = 0; row < s->rows; row++) {
        const mlt_real *x = s->x + row * n, *dy = s->dy + row * n;
        mlt_real r = s->rstd[row], mean = s->kind == MLT_NORM_LAYER ? s->mean[row] : 0;
        mlt_real *dweight = s->dweight ? s->dweight + row % s->weight_rows * n : NULL;
        for (int64_t i = begin; i < end; i += LANES) {
            vreal d = load(dy + i, end - i);
            if (dweight)
                store(dweight + i, load(dweight + i, end - i) + d * ((load(x + i, end - i) - mean) * r),
                      end - i);
            if (s->dbias) store(s->dbias + i, load(s->dbias + i, end - i) + d, end - i);
        }
    }
}

/* ---- Rotary positions ---- */

static void rotate(const struct mlt_rotation *s, int64_t begin, int64_t end)
{
    mlt_real sign = s->backward ? -1 : 1;
    int64_t pairs = s->pairs;
    for (int64_t row = begin; row < end; row++) {
        const mlt_real *restrict cosine = s->cosine + s->position[row] * pairs;
        const mlt_real *restrict sine = s->sine + s->position[row] * pairs;
        mlt_real *x = s->x + row * s->heads * s->head_size;
        for (int32_t h = 0; h < s->heads; h++, x += s->head_size) {
            if (s->kind == MLT_ROPE_HALVES) {
                mlt_real *restrict low = x, *restrict high = x + pairs;
                for (int64_t i = 0; i < pairs; i++) {
                    mlt_real a = low[i], b = high[i], t = sign * sine[i];
                    low[i] = a * cosine[i] - b * t;
                    high[i] = a * t + b * cosine[i];
                }
            } else {
                for (int64_t i = 0; i < pairs; i++) {
                    mlt_real a = x[2 * i], b = x[2 * i + 1], t = sign * sine[i];
                    x[2 * i] = a * cosine[i] - b * t;
                    x[2 * i + 1] = a * t + b * cosine[i];
                }
            }
        }
    }
}

/* ---- Attention ---- */

/* c = or += a . b of one thread; `pack` takes depth x (columns rounded up to NR), scratch is multiply's. */
static void product(const struct mlt_operand *a, const struct mlt_operand *b, int64_t rows, int64_t columns,
                    int64_t depth, bool add, mlt_real *c, int64_t ldc, mlt_real *pack, mlt_real *scratch)
{
    pack_right(b, depth, columns, 0, columns, pack);
    multiply(a, 0, rows, pack, 0, columns, depth, add, c, ldc, scratch);
}

struct query_block {
    int64_t begin, end;      /* queries */
    int64_t first_key, keys; /* that any of them sees */
};

static int64_t first_seen(const struct mlt_attention *s, int64_t i)
{
    int64_t from = s->first[i];
    return s->window > 0 ? MLT_MAX(from, i - s->window + 1) : from;
}

static struct query_block block_at(const struct mlt_attention *s, int64_t begin)
{
    struct query_block b = {.begin = begin, .end = MLT_MIN(begin + MLT_QUERY_BLOCK, (int64_t)s->length)};
    b.first_key = s->length;
    for (int64_t i = b.begin; i < b.end; i++) {
        b.first_key = MLT_MIN(b.first_key, first_seen(s, i));
        b.keys = MLT_MAX(b.keys, s->last[i] + 1);
    }
    b.keys -= b.first_key;
    return b;
}

/* Scores as they enter the softmax. */
INLINE vreal finished_score(const struct mlt_attention *s, vreal x)
{
    x *= s->scale;
    return s->softcap > 0 ? s->softcap * hyperbolic_tangent(x / s->softcap) : x;
}

INLINE vreal larger(vreal a, vreal b)
{
    vreal m = a;
    for (int i = 0; i < LANES; i++)
        m[i] = a[i] > b[i] ? a[i] : b[i];
    return m;
}

/* Softmax of x[0, n) in place; returns the logarithm of the sum. */
static mlt_real softmax_row(const struct mlt_attention *s, mlt_real *x, int64_t n)
{
    vreal most = ALL(-INFINITY);
    for (int64_t i = 0; i < n; i += LANES) {
        vreal v = finished_score(s, load(x + i, n - i));
        store(x + i, v, n - i);
        for (int64_t j = n - i; j < LANES; j++)
            v[j] = -INFINITY;
        most = larger(most, v);
    }
    mlt_real largest = most[0];
    for (int i = 1; i < LANES; i++)
        largest = MLT_MAX(largest, most[i]);
    vreal sum = {0};
    for (int64_t i = 0; i < n; i += LANES) {
        vreal e = exponential(load(x + i, n - i) - largest);
        for (int64_t j = n - i; j < LANES; j++)
            e[j] = 0;
        store(x + i, e, n - i);
        sum += e;
    }
    mlt_real all = total(sum), inverse = 1 / all;
    for (int64_t i = 0; i < n; i += LANES)
        store(x + i, load(x + i, n - i) * inverse, n - i);
    return largest + REAL(log((double)all));
}

/* Rows of the score block: what each query does not see becomes 0. */
static void clear_unseen(mlt_real *row, int64_t from, int64_t to, int64_t keys)
{
    memset(row, 0, (size_t)from * sizeof *row);
    memset(row + to, 0, (size_t)(keys - to) * sizeof *row);
}

struct attention_scratch {
    mlt_real *scores, *gradient, *pack, *product;
};

static struct attention_scratch split_scratch(const struct mlt_attention *s)
{
    struct attention_scratch t = {.product = s->scratch};
    t.scores = t.product + mlt_product_scratch();
    t.gradient = t.scores + (int64_t)MLT_QUERY_BLOCK * s->length;
    t.pack = t.gradient + (int64_t)MLT_QUERY_BLOCK * s->length;
    return t;
}

static void attention(const struct mlt_attention *s, int32_t kv_head)
{
    struct attention_scratch t = split_scratch(s);
    int64_t ldq = (int64_t)s->n_heads * s->head_size, ldk = (int64_t)s->n_kv_heads * s->head_size;
    int64_t ldv = (int64_t)s->n_kv_heads * s->value_size, ldo = (int64_t)s->n_heads * s->value_size;
    int32_t group = s->n_heads / s->n_kv_heads;
    for (int64_t begin = 0; begin < s->length; begin += MLT_QUERY_BLOCK) {
        struct query_block b = block_at(s, begin);
        struct mlt_operand k = {s->k + b.first_key * ldk + (int64_t)kv_head * s->head_size, ldk, true};
        struct mlt_operand v = {s->v + b.first_key * ldv + (int64_t)kv_head * s->value_size, ldv, false};
        for (int32_t head = kv_head * group; head < (kv_head + 1) * group; head++) {
            struct mlt_operand q = {s->q + b.begin * ldq + (int64_t)head * s->head_size, ldq, false};
            product(&q, &k, b.end - b.begin, b.keys, s->head_size, false, t.scores, b.keys, t.pack,
                    t.product);
            for (int64_t i = b.begin; i < b.end; i++) {
                mlt_real *row = t.scores + (i - b.begin) * b.keys;
                int64_t from = first_seen(s, i) - b.first_key, to = s->last[i] + 1 - b.first_key;
                s->log_sum[i * s->n_heads + head] = softmax_row(s, row + from, to - from);
                clear_unseen(row, from, to, b.keys);
            }
            struct mlt_operand p = {t.scores, b.keys, false};
            product(&p, &v, b.end - b.begin, s->value_size, b.keys, false,
                    s->out + b.begin * ldo + (int64_t)head * s->value_size, ldo, t.pack, t.product);
        }
    }
}

static mlt_real dot(const mlt_real *a, const mlt_real *b, int64_t n)
{
    vreal sum = {0};
    for (int64_t i = 0; i < n; i += LANES)
        sum += load(a + i, n - i) * load(b + i, n - i);
    return total(sum);
}

/* From raw scores x and gradients dp of probabilities: x becomes the probabilities, dp the gradient of the
 * raw scores. `mean` is the sum of p * dp, which is out . dout. */
static void softmax_row_backward(const struct mlt_attention *s, mlt_real *x, mlt_real *dp, int64_t n,
                                 mlt_real log_sum, mlt_real mean)
{
    for (int64_t i = 0; i < n; i += LANES) {
        vreal score = finished_score(s, load(x + i, n - i));
        vreal p = exponential(score - log_sum), d = p * (load(dp + i, n - i) - mean) * s->scale;
        if (s->softcap > 0) {
            vreal part = score / s->softcap;
            d *= ALL(1) - part * part;
        }
        store(x + i, p, n - i);
        store(dp + i, d, n - i);
    }
}

static void clear_columns(mlt_real *x, int64_t rows, int64_t ld, int64_t n)
{
    for (int64_t row = 0; row < rows; row++)
        memset(x + row * ld, 0, (size_t)n * sizeof *x);
}

static void attention_backward(const struct mlt_attention *s, int32_t kv_head)
{
    struct attention_scratch t = split_scratch(s);
    int64_t ldq = (int64_t)s->n_heads * s->head_size, ldk = (int64_t)s->n_kv_heads * s->head_size;
    int64_t ldv = (int64_t)s->n_kv_heads * s->value_size, ldo = (int64_t)s->n_heads * s->value_size;
    int32_t group = s->n_heads / s->n_kv_heads;
    clear_columns(s->dk + (int64_t)kv_head * s->head_size, s->length, ldk, s->head_size);
    clear_columns(s->dv + (int64_t)kv_head * s->value_size, s->length, ldv, s->value_size);
    for (int64_t begin = 0; begin < s->length; begin += MLT_QUERY_BLOCK) {
        struct query_block b = block_at(s, begin);
        int64_t rows = b.end - b.begin;
        int64_t at_k = b.first_key * ldk + (int64_t)kv_head * s->head_size;
        int64_t at_v = b.first_key * ldv + (int64_t)kv_head * s->value_size;
        struct mlt_operand k = {s->k + at_k, ldk, false}, k_turned = {s->k + at_k, ldk, true};
        struct mlt_operand v_turned = {s->v + at_v, ldv, true};
        for (int32_t head = kv_head * group; head < (kv_head + 1) * group; head++) {
            int64_t at_q = b.begin * ldq + (int64_t)head * s->head_size;
            int64_t at_o = b.begin * ldo + (int64_t)head * s->value_size;
            struct mlt_operand q = {s->q + at_q, ldq, false}, dout = {s->dout + at_o, ldo, false};
            product(&q, &k_turned, rows, b.keys, s->head_size, false, t.scores, b.keys, t.pack, t.product);
            product(&dout, &v_turned, rows, b.keys, s->value_size, false, t.gradient, b.keys, t.pack,
                    t.product);
            for (int64_t i = 0; i < rows; i++) {
                int64_t from = first_seen(s, b.begin + i) - b.first_key;
                int64_t to = s->last[b.begin + i] + 1 - b.first_key;
                mlt_real *x = t.scores + i * b.keys, *dp = t.gradient + i * b.keys;
                mlt_real mean = dot(s->out + at_o + i * ldo, s->dout + at_o + i * ldo, s->value_size);
                softmax_row_backward(s, x + from, dp + from, to - from,
                                     s->log_sum[(b.begin + i) * s->n_heads + head], mean);
                clear_unseen(x, from, to, b.keys);
                clear_unseen(dp, from, to, b.keys);
            }
            struct mlt_operand p_turned = {t.scores, b.keys, true}, d = {t.gradient, b.keys, false};
            struct mlt_operand d_turned = {t.gradient, b.keys, true};
            product(&p_turned, &dout, b.keys, s->value_size, rows, true, s->dv + at_v, ldv, t.pack,
                    t.product);
            product(&d, &k, rows, s->head_size, b.keys, false, s->dq + at_q, ldq, t.pack, t.product);
            product(&d_turned, &q, b.keys, s->head_size, rows, true, s->dk + at_k, ldk, t.pack, t.product);
        }
    }
}

/* ---- Feed-forward ---- */

#define GELU_A REAL(0.797884560802865355879892)
#define GELU_B REAL(0.044715)

/*
 * Both activations are x * sigmoid(z): z = x for SiLU, and for the tanh form of GELU z = 2 A (x + B x^3),
 * since (1 + tanh t) / 2 = sigmoid(2 t). *slope is the derivative: s + x s (1 - s) dz/dx.
 */
INLINE vreal activate(enum mlt_activation kind, vreal x, vreal *slope)
{
    vreal z = x, dz = ALL(1);
    if (kind == MLT_ACT_GELU) {
        z = 2 * GELU_A * (x + GELU_B * x * x * x);
        dz = 2 * GELU_A * (ALL(1) + 3 * GELU_B * x * x);
    }
    vreal s = sigmoid(z);
    *slope = s + x * s * (ALL(1) - s) * dz;
    return x * s;
}

INLINE void gate_values(const struct mlt_gate *s, enum mlt_activation kind, int64_t begin, int64_t end)
{
    for (int64_t i = begin; i < end; i += LANES) {
        vreal slope, h = activate(kind, load(s->gate + i, end - i), &slope);
        if (s->up) h *= load(s->up + i, end - i);
        store(s->h + i, h, end - i);
    }
}

static void gate(const struct mlt_gate *s, int64_t begin, int64_t end)
{
    if (s->activation == MLT_ACT_SILU)
        gate_values(s, MLT_ACT_SILU, begin, end);
    else
        gate_values(s, MLT_ACT_GELU, begin, end);
}

INLINE void gate_gradients(const struct mlt_gate *s, enum mlt_activation kind, int64_t begin, int64_t end)
{
    for (int64_t i = begin; i < end; i += LANES) {
        vreal slope, h = activate(kind, load(s->gate + i, end - i), &slope), d = load(s->dh + i, end - i);
        if (s->up) {
            vreal up = load(s->up + i, end - i);
            store(s->up + i, d * h, end - i);
            d *= up;
        }
        store(s->gate + i, d * slope, end - i);
    }
}

static void gate_backward(const struct mlt_gate *s, int64_t begin, int64_t end)
{
    if (s->activation == MLT_ACT_SILU)
        gate_gradients(s, MLT_ACT_SILU, begin, end);
    else
        gate_gradients(s, MLT_ACT_GELU, begin, end);
}

/* ---- Loss ---- */

/* Logit scale and softcap, in place. Returns the largest. */
static mlt_real finish_logits(const struct mlt_cross_entropy *s, mlt_real *x)
{
    int64_t n = s->n_vocab;
    vreal most = ALL(-INFINITY);
    for (int64_t i = 0; i < n; i += LANES) {
        vreal v = load(x + i, n - i);
        if (s->logit_scale != 1 || s->softcap > 0) {
            v *= s->logit_scale;
            if (s->softcap > 0) v = s->softcap * hyperbolic_tangent(v / s->softcap);
            store(x + i, v, n - i);
        }
        for (int64_t j = n - i; j < LANES; j++)
            v[j] = -INFINITY;
        most = larger(most, v);
    }
    mlt_real largest = most[0];
    for (int i = 1; i < LANES; i++)
        largest = MLT_MAX(largest, most[i]);
    return largest;
}

/* ln of the sum of exp(factor * x); `largest` of x, factor > 0. */
static double log_of_sum(const mlt_real *x, int64_t n, mlt_real largest, mlt_real factor)
{
    double sum = 0;
    enum { PART = 4096 }; /* parts are added in double: vocabularies are large */
    for (int64_t first = 0; first < n; first += PART) {
        int64_t last = MLT_MIN(first + PART, n);
        vreal part = {0};
        for (int64_t i = first; i < last; i += LANES) {
            vreal e = exponential((load(x + i, last - i) - largest) * factor);
            for (int64_t j = last - i; j < LANES; j++)
                e[j] = 0;
            part += e;
        }
        sum += (double)total(part);
    }
    return (double)(largest * factor) + log(sum);
}

static struct mlt_row_loss cross_entropy(const struct mlt_cross_entropy *s, mlt_real *x, int32_t target)
{
    int64_t n = s->n_vocab;
    mlt_real largest = finish_logits(s, x);
    double log_sum = log_of_sum(x, n, largest, 1);
    struct mlt_row_loss loss = {.nll = log_sum - (double)x[target], .z = log_sum * log_sum};
    if (!s->backward) return loss;
    mlt_real shift = REAL(log_sum), scale = s->grad_scale * s->logit_scale;
    mlt_real weight = 1 + 2 * s->z_loss * REAL(log_sum);
    for (int64_t i = 0; i < n; i += LANES) {
        vreal v = load(x + i, n - i), d = exponential(v - shift) * weight;
        if (target >= i && target < i + LANES) d[target - i] -= 1;
        if (s->softcap > 0) {
            vreal part = v / s->softcap;
            d *= ALL(1) - part * part;
        }
        store(x + i, d * scale, n - i);
    }
    return loss;
}

/* ---- Sums ---- */

static void add_scaled(mlt_real *y, const mlt_real *x, mlt_real scale, int64_t begin, int64_t end)
{
    for (int64_t i = begin; i < end; i += LANES)
        store(y + i, load(y + i, end - i) + scale * load(x + i, end - i), end - i);
}

static void add_rows(const mlt_real *dy, int64_t rows, int64_t n, mlt_real *dbias, int64_t begin, int64_t end)
{
    for (int64_t row = 0; row < rows; row++)
        add_scaled(dbias, dy + row * n, 1, begin, end);
}

static double square_sum(const mlt_real *x, int64_t n)
{
    double sum = 0;
    enum { PART = 4096 };
    for (int64_t first = 0; first < n; first += PART) {
        int64_t last = MLT_MIN(first + PART, n);
        vreal part = {0};
        for (int64_t i = first; i < last; i += LANES) {
            vreal v = load(x + i, last - i);
            part += v * v;
        }
        sum += (double)total(part);
    }
    return sum;
}

#include "train/distil_loops.h"

/* ---- Optimiser ---- */

INLINE vreal square_root(vreal x)
{
    vreal y;
    for (int i = 0; i < LANES; i++)
        y[i] = REAL(sqrt((double)x[i]));
    return y;
}

static void adamw(const struct mlt_adamw *s, mlt_real *weight, const mlt_real *gradient, mlt_real *mean,
                  mlt_real *square, int64_t n)
{
    mlt_real keep = 1 - s->rate * s->decay;
    for (int64_t i = 0; i < n; i += LANES) {
        vreal g = load(gradient + i, n - i) * s->grad_scale;
        vreal m = s->beta1 * load(mean + i, n - i) + (1 - s->beta1) * g;
        vreal v = s->beta2 * load(square + i, n - i) + (1 - s->beta2) * g * g;
        store(mean + i, m, n - i);
        store(square + i, v, n - i);
        vreal step = m * s->correction1 / (square_root(v * s->correction2) + s->eps);
        store(weight + i, keep * load(weight + i, n - i) - s->rate * step, n - i);
    }
}

/* Everything above as a table's fields. */
#define MLT_OPS_FIELDS                                                                                       \
    .mr = MR, .nr = NR, .pack_right = pack_right, .multiply = multiply, .norm = norm, .norm_dx = norm_dx,    \
    .norm_dweight = norm_dweight, .rotate = rotate, .attention = attention,                                  \
    .attention_backward = attention_backward, .gate = gate, .gate_backward = gate_backward,                  \
    .cross_entropy = cross_entropy, .distil = distil, .soften = soften, .relate = relate,                    \
    .add_scaled = add_scaled, .add_rows = add_rows, .square_sum = square_sum, .adamw = adamw

#endif
