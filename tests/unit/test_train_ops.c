/*
 * Every operation of training: its gradient, computed in double precision by the very loops that training
 * runs in float, against central differences; and each instruction set's float results against those in
 * double.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#define MLT_REAL double
#define MLT_OPS_DOUBLE
#define MLT_LANES 2
#define MLT_MR 4
#define MLT_NV 2
#include "base/random.h"
#include "train/ops_loops.h"

int64_t mlt_product_scratch(void);

enum { MOST = 4096 };

/* What an operation makes; `weights` make one number of it, whose gradient is compared. */
static double outputs[MOST], weights[MOST];
static int64_t n_outputs;

static double scalar_of_outputs(void)
{
    double sum = 0;
    for (int64_t i = 0; i < n_outputs; i++)
        sum += outputs[i] * weights[i];
    return sum;
}

/* `forward` reads `input` and writes `outputs`; `gradient` is what the code under test says. */
static void compare(const char *what, void (*forward)(void), double *input, int64_t n, const double *gradient)
{
    double scale = 0;
    for (int64_t i = 0; i < n; i++)
        scale = fmax(scale, fabs(gradient[i]));
    assert_true(scale > 0); /* a gradient of nothing but zeros would agree with anything */
    for (int64_t i = 0; i < n; i++) {
        double kept = input[i], h = 1e-5;
        input[i] = kept + h;
        forward();
        double above = scalar_of_outputs();
        input[i] = kept - h;
        forward();
        double below = scalar_of_outputs();
        input[i] = kept;
        double expected = (above - below) / (2 * h);
        if (fabs(expected - gradient[i]) > 1e-7 * scale + 1e-7 * fabs(expected))
            fail_msg("%s: value %lld has the gradient %.12g, differences say %.12g", what, (long long)i,
                     gradient[i], expected);
    }
}

static struct mlt_random dice;

static void fill(double *x, int64_t n, double mean, double spread)
{
    for (int64_t i = 0; i < n; i++)
        x[i] = mean + spread * (double)mlt_random_normal(&dice);
}

static int start(void **state)
{
    (void)state;
    mlt_random_seed(&dice, 7);
    fill(weights, MOST, 0, 1);
    return 0;
}

/* ---- Norms ---- */

enum { N_ROWS = 6, N_WIDTH = 11 }; /* no multiple of the lanes */

static struct mlt_norm a_norm;
static double norm_x[N_ROWS * N_WIDTH], norm_w[2 * N_WIDTH], norm_b[N_WIDTH], norm_mean[N_ROWS],
    norm_rstd[N_ROWS];

static void run_norm(void)
{
    norm(&a_norm, 0, N_ROWS);
}

static void check_norm(enum mlt_norm_kind kind, int64_t weight_rows, bool bias)
{
    double dx[N_ROWS * N_WIDTH], dw[2 * N_WIDTH] = {0}, db[N_WIDTH] = {0}, before[N_ROWS * N_WIDTH];
    fill(norm_x, N_ROWS * N_WIDTH, 0.3, 1);
    fill(norm_w, 2 * N_WIDTH, 1, 0.3);
    fill(norm_b, N_WIDTH, 0, 0.3);
    n_outputs = N_ROWS * N_WIDTH;
    a_norm = (struct mlt_norm){.kind = kind,
                               .n = N_WIDTH,
                               .weight_rows = weight_rows,
                               .eps = 1e-3,
                               .x = norm_x,
                               .weight = norm_w,
                               .bias = bias ? norm_b : NULL,
                               .y = outputs,
                               .mean = norm_mean,
                               .rstd = norm_rstd,
                               .dy = weights,
                               .dx = dx,
                               .dweight = dw,
                               .dbias = bias ? db : NULL,
                               .rows = N_ROWS};
    run_norm();
    norm_dx(&a_norm, 0, N_ROWS);
    norm_dweight(&a_norm, 0, 8);
    norm_dweight(&a_norm, 8, N_WIDTH);
    compare("x of a norm", run_norm, norm_x, N_ROWS * N_WIDTH, dx);
    compare("weight of a norm", run_norm, norm_w, weight_rows * N_WIDTH, dw);
    if (bias) compare("bias of a norm", run_norm, norm_b, N_WIDTH, db);
    /* And added to what is there. */
    run_norm();
    memcpy(before, dx, sizeof dx);
    a_norm.add = true;
    norm_dx(&a_norm, 0, N_ROWS);
    for (int i = 0; i < N_ROWS * N_WIDTH; i++)
        assert_true(fabs(dx[i] - 2 * before[i]) < 1e-12);
}

static void norms(void **state)
{
    (void)state;
    check_norm(MLT_NORM_RMS, 1, false);
    check_norm(MLT_NORM_RMS, 2, false);
    check_norm(MLT_NORM_LAYER, 1, false);
    check_norm(MLT_NORM_LAYER, 1, true);
    check_norm(MLT_NORM_LAYER, 2, false);
}

/* ---- Rotary positions ---- */

enum { R_ROWS = 3, R_HEADS = 2, R_SIZE = 10, R_PAIRS = 4, R_ALL = R_ROWS * R_HEADS * R_SIZE };

static double rope_x[R_ALL], rope_cos[8 * R_PAIRS], rope_sin[8 * R_PAIRS];
static const int32_t rope_position[R_ROWS] = {0, 5, 7};
static struct mlt_rotation a_rotation;

static void run_rotation(void)
{
    memcpy(outputs, rope_x, sizeof rope_x);
    a_rotation.x = outputs;
    a_rotation.backward = false;
    rotate(&a_rotation, 0, R_ROWS);
}

static void rotations(void **state)
{
    (void)state;
    for (int i = 0; i < 8 * R_PAIRS; i++) {
        rope_cos[i] = 1.2 * cos(0.3 * i);
        rope_sin[i] = 1.2 * sin(0.3 * i);
    }
    for (int kind = MLT_ROPE_INTERLEAVED; kind <= MLT_ROPE_HALVES; kind++) {
        double dx[R_ALL];
        fill(rope_x, R_ALL, 0, 1);
        n_outputs = R_ALL;
        memcpy(dx, weights, sizeof dx);
        a_rotation = (struct mlt_rotation){.kind = (enum mlt_rope_kind)kind,
                                           .heads = R_HEADS,
                                           .head_size = R_SIZE,
                                           .pairs = R_PAIRS,
                                           .position = rope_position,
                                           .cosine = rope_cos,
                                           .sine = rope_sin,
                                           .x = dx,
                                           .backward = true};
        rotate(&a_rotation, 0, R_ROWS);
        compare("x of a rotation", run_rotation, rope_x, R_ALL, dx);
    }
}

/* ---- Attention ---- */

enum { A_LENGTH = 70, A_HEADS = 4, A_KV = 2, A_SIZE = 5, A_VALUE = 3 }; /* more than one block of queries */

static double att_q[A_LENGTH * A_HEADS * A_SIZE], att_k[A_LENGTH * A_KV * A_SIZE],
    att_v[A_LENGTH * A_KV * A_VALUE];
static double att_log_sum[A_LENGTH * A_HEADS];
static int32_t att_first[A_LENGTH], att_last[A_LENGTH];
static struct mlt_attention an_attention;

static void run_attention(void)
{
    for (int32_t head = 0; head < A_KV; head++)
        attention(&an_attention, head);
}

/* The definition, position by position. */
static void plain_attention(double *out)
{
    const struct mlt_attention *s = &an_attention;
    for (int i = 0; i < A_LENGTH; i++) {
        for (int h = 0; h < A_HEADS; h++) {
            int kv = h / (A_HEADS / A_KV);
            double sum = 0, *o = out + (i * A_HEADS + h) * A_VALUE;
            memset(o, 0, A_VALUE * sizeof *o);
            for (int t = 0; t < A_LENGTH; t++) {
                if (t < s->first[i] || t > s->last[i] || (s->window && t < i - s->window + 1)) continue;
                double score = 0;
                for (int c = 0; c < A_SIZE; c++)
                    score += att_q[(i * A_HEADS + h) * A_SIZE + c] * att_k[(t * A_KV + kv) * A_SIZE + c];
                score *= s->scale;
                if (s->softcap > 0) score = s->softcap * tanh(score / s->softcap);
                sum += exp(score);
                for (int c = 0; c < A_VALUE; c++)
                    o[c] += exp(score) * att_v[(t * A_KV + kv) * A_VALUE + c];
            }
            for (int c = 0; c < A_VALUE; c++)
                o[c] /= sum;
        }
    }
}

static void check_attention(double softcap, int32_t window)
{
    static double dq[A_LENGTH * A_HEADS * A_SIZE], dk[A_LENGTH * A_KV * A_SIZE],
        dv[A_LENGTH * A_KV * A_VALUE];
    static double plain[A_LENGTH * A_HEADS * A_VALUE];
    double *scratch = calloc((size_t)mlt_attention_scratch(A_LENGTH, A_SIZE, A_VALUE), sizeof *scratch);
    fill(att_q, A_LENGTH * A_HEADS * A_SIZE, 0, 1);
    fill(att_k, A_LENGTH * A_KV * A_SIZE, 0, 1);
    fill(att_v, A_LENGTH * A_KV * A_VALUE, 0, 1);
    /* Three documents, of which the second begins with a prefix that sees itself in both directions. */
    for (int32_t i = 0; i < A_LENGTH; i++) {
        att_first[i] = i < 20 ? 0 : i < 67 ? 20 : 67;
        att_last[i] = i >= 20 && i < 30 ? 29 : i;
    }
    n_outputs = A_LENGTH * A_HEADS * A_VALUE;
    an_attention = (struct mlt_attention){.length = A_LENGTH,
                                          .n_heads = A_HEADS,
                                          .n_kv_heads = A_KV,
                                          .head_size = A_SIZE,
                                          .value_size = A_VALUE,
                                          .window = window,
                                          .scale = 0.7,
                                          .softcap = softcap,
                                          .first = att_first,
                                          .last = att_last,
                                          .q = att_q,
                                          .k = att_k,
                                          .v = att_v,
                                          .out = outputs,
                                          .log_sum = att_log_sum,
                                          .dout = weights,
                                          .dq = dq,
                                          .dk = dk,
                                          .dv = dv,
                                          .scratch = scratch};
    run_attention();
    plain_attention(plain);
    for (int64_t i = 0; i < n_outputs; i++)
        assert_true(fabs(outputs[i] - plain[i]) < 1e-12);
    for (int32_t head = 0; head < A_KV; head++)
        attention_backward(&an_attention, head);
    compare("q of attention", run_attention, att_q, A_LENGTH * A_HEADS * A_SIZE, dq);
    compare("k of attention", run_attention, att_k, A_LENGTH * A_KV * A_SIZE, dk);
    compare("v of attention", run_attention, att_v, A_LENGTH * A_KV * A_VALUE, dv);
    free(scratch);
}

static void attentions(void **state)
{
    (void)state;
    check_attention(0, 0);
    check_attention(2.5, 0);
    check_attention(0, 7);
    check_attention(1.5, 13);
}

/* ---- Feed-forward ---- */

enum { G_COUNT = 23 };

static double gate_in[G_COUNT], up_in[G_COUNT];
static struct mlt_gate a_gate;

static void run_gate(void)
{
    gate(&a_gate, 0, G_COUNT);
}

static void gates(void **state)
{
    (void)state;
    for (int form = 0; form < 4; form++) {
        double dgate[G_COUNT], dup[G_COUNT];
        bool gated = form & 1;
        fill(gate_in, G_COUNT, 0, 1.5);
        fill(up_in, G_COUNT, 0, 1);
        n_outputs = G_COUNT;
        a_gate = (struct mlt_gate){.activation = form & 2 ? MLT_ACT_GELU : MLT_ACT_SILU,
                                   .gate = gate_in,
                                   .up = gated ? up_in : NULL,
                                   .h = outputs,
                                   .dh = weights};
        struct mlt_gate back = a_gate;
        memcpy(dgate, gate_in, sizeof dgate);
        memcpy(dup, up_in, sizeof dup);
        back.gate = dgate;
        if (gated) back.up = dup;
        gate_backward(&back, 0, G_COUNT);
        compare("gate", run_gate, gate_in, G_COUNT, dgate);
        if (gated) compare("up", run_gate, up_in, G_COUNT, dup);
    }
}

/* ---- Loss ---- */

enum { V_SIZE = 37, V_TARGET = 36 };

static double logits_in[V_SIZE];
static struct mlt_cross_entropy a_loss;

static void run_loss(void)
{
    double row[V_SIZE];
    memcpy(row, logits_in, sizeof row);
    struct mlt_cross_entropy s = a_loss;
    s.backward = false;
    struct mlt_row_loss loss = cross_entropy(&s, row, V_TARGET);
    outputs[0] = (loss.nll + s.z_loss * loss.z) * s.grad_scale / weights[0];
}

static void losses(void **state)
{
    (void)state;
    for (int form = 0; form < 4; form++) {
        double d[V_SIZE], sum = 0;
        fill(logits_in, V_SIZE, 0, 2);
        n_outputs = 1;
        a_loss = (struct mlt_cross_entropy){.n_vocab = V_SIZE,
                                            .logit_scale = form & 1 ? 0.6 : 1,
                                            .softcap = form & 1 ? 3 : 0,
                                            .z_loss = form & 2 ? 0.01 : 0,
                                            .grad_scale = 0.25,
                                            .backward = true};
        memcpy(d, logits_in, sizeof d);
        struct mlt_row_loss loss = cross_entropy(&a_loss, d, V_TARGET);
        for (int i = 0; i < V_SIZE; i++) {
            double x = logits_in[i] * a_loss.logit_scale;
            if (a_loss.softcap > 0) x = a_loss.softcap * tanh(x / a_loss.softcap);
            sum += exp(x);
            if (i == V_TARGET) loss.nll += x;
        }
        assert_true(fabs(loss.nll - log(sum)) < 1e-12);
        compare("logits", run_loss, logits_in, V_SIZE, d);
    }
}

/* ---- Distillation ---- */

enum { V_NAMED = 4 };
static double teacher[V_SIZE];
static int32_t named[V_NAMED] = {0, 3, 17, V_TARGET};
static struct mlt_distillation a_mix;
static struct mlt_soft_target a_soft;

static struct mlt_row_loss run_distil(bool backward, double *row)
{
    struct mlt_cross_entropy s = a_loss;
    double scratch[V_NAMED];
    struct mlt_soft_target soft = a_soft;
    soft.scratch = scratch;
    s.backward = backward;
    return distil(&s, &a_mix, &soft, row, V_TARGET);
}

static void run_distil_forward(void)
{
    double row[V_SIZE];
    memcpy(row, logits_in, sizeof row);
    struct mlt_row_loss l = run_distil(false, row);
    outputs[0] = ((1 - a_mix.alpha) * l.nll +
                  a_mix.alpha * a_mix.temperature * a_mix.temperature * l.divergence + a_loss.z_loss * l.z) *
                 a_loss.grad_scale / weights[0];
}

/* The divergence as it is defined, from softmaxes of all tokens; those not named are one event. */
static double plain_divergence(bool some)
{
    double student[V_SIZE], sum = 0, result = 0, r = 1, s = 1;
    for (int i = 0; i < V_SIZE; i++) {
        double x = logits_in[i] * a_loss.logit_scale;
        if (a_loss.softcap > 0) x = a_loss.softcap * tanh(x / a_loss.softcap);
        sum += student[i] = exp(x / a_mix.temperature);
    }
    for (int i = 0; i < (some ? V_NAMED : V_SIZE); i++) {
        int id = some ? named[i] : i;
        result += teacher[id] * log(teacher[id] / (student[id] / sum));
        r -= teacher[id];
        s -= student[id] / sum;
    }
    return some ? result + r * log(r / s) : result;
}

static void distillation(void **state)
{
    (void)state;
    for (int form = 0; form < 16; form++) {
        bool some = form & 8;
        double d[V_SIZE], few[V_NAMED], scores[V_SIZE];
        fill(logits_in, V_SIZE, 0, 2);
        fill(scores, V_SIZE, 0, 2);
        memset(teacher, 0, sizeof teacher);
        n_outputs = 1;
        a_loss = (struct mlt_cross_entropy){.n_vocab = V_SIZE,
                                            .logit_scale = form & 1 ? 0.6 : 1,
                                            .softcap = form & 1 ? 3 : 0,
                                            .z_loss = form & 2 ? 0.01 : 0,
                                            .grad_scale = 0.25};
        a_mix = (struct mlt_distillation){form & 4 ? 1 : 0.7, form & 2 ? 2 : 1};
        named[V_NAMED - 1] =
            form & 1 ? V_TARGET : V_TARGET - 1; /* the target among them, or among the others */
        struct mlt_cross_entropy plain = {.n_vocab = V_SIZE, .logit_scale = 1};
        memcpy(d, scores, sizeof d);
        double entropy = soften(&plain, a_mix.temperature, 1, d, teacher);
        a_soft = (struct mlt_soft_target){.p = teacher, .k = V_SIZE};
        if (some) a_soft = (struct mlt_soft_target){.p = few, .ids = named, .k = V_NAMED, .rest = 1};
        for (int i = 0; i < a_soft.k; i++) {
            double p = teacher[some ? named[i] : i];
            if (some) few[i] = p, a_soft.rest -= p;
            a_soft.negative_entropy += p * log(p);
        }
        if (some) a_soft.negative_entropy += a_soft.rest * log(a_soft.rest);
        assert_true(some || fabs(a_soft.negative_entropy - entropy) < 1e-12);
        memcpy(d, logits_in, sizeof d);
        struct mlt_row_loss loss = run_distil(true, d), hard;
        double expected = plain_divergence(some), row[V_SIZE];
        if (fabs(loss.divergence - expected) > 1e-12)
            fail_msg("form %d: the divergence is %.12g, by definition %.12g", form, loss.divergence,
                     expected);
        memcpy(row, logits_in, sizeof row);
        hard = cross_entropy(&a_loss, row, V_TARGET);
        assert_true(loss.nll == hard.nll && loss.z == hard.z);
        compare("logits", run_distil_forward, logits_in, V_SIZE, d);
    }
}

/* A student that gives next to nothing to the tokens that are not named: nothing overflows or divides by 0.
 */
static void distillation_of_rare_events(void **state)
{
    (void)state;
    double few[V_NAMED] = {0.25, 0.25, 0.25, 0.25}, d[V_SIZE];
    for (int i = 0; i < V_SIZE; i++)
        logits_in[i] = -2000;
    for (int i = 0; i < V_NAMED; i++)
        logits_in[named[i]] = 3;
    a_loss = (struct mlt_cross_entropy){.n_vocab = V_SIZE, .logit_scale = 1, .grad_scale = 1};
    a_mix = (struct mlt_distillation){1, 1};
    a_soft = (struct mlt_soft_target){.p = few, .ids = named, .k = V_NAMED, .negative_entropy = log(0.25)};
    memcpy(d, logits_in, sizeof d);
    assert_true(fabs(run_distil(true, d).divergence) < 1e-12);
    for (int i = 0; i < V_SIZE; i++)
        assert_true(fabs(d[i]) < 1e-12);
    /* The teacher gives them a half: all of them are pushed up together. */
    for (int i = 0; i < V_NAMED; i++)
        few[i] = 0.125;
    a_soft.rest = 0.5;
    a_soft.negative_entropy = 0.5 * log(0.125) + 0.5 * log(0.5);
    memcpy(d, logits_in, sizeof d);
    struct mlt_row_loss loss = run_distil(true, d);
    assert_true(loss.divergence > 900 && loss.divergence < 1100);
    double others = 0;
    for (int i = 0; i < V_SIZE; i++)
        others += d[i];
    for (int i = 0; i < V_NAMED; i++) {
        assert_true(fabs(d[named[i]] - 0.125) < 1e-12);
        others -= d[named[i]];
    }
    assert_true(fabs(others + 0.5) < 1e-12);
}

/* ---- Relations ---- */

enum { L_LENGTH = 13, L_HEADS = 2, L_SIZE = 5, L_THEIRS = 3 };
static double rel_a[L_LENGTH * L_HEADS * L_SIZE], rel_b[L_LENGTH * L_HEADS * L_THEIRS], rel_weight[L_LENGTH];
static int32_t rel_first[L_LENGTH], rel_last[L_LENGTH];

static double run_relation(int head, double *da)
{
    double scratch[3 * L_LENGTH];
    struct mlt_relation s = {.length = L_LENGTH,
                             .size = L_SIZE,
                             .ld = L_HEADS * L_SIZE,
                             .their_size = L_THEIRS,
                             .their_ld = L_HEADS * L_THEIRS,
                             .first = rel_first,
                             .last = rel_last,
                             .weight = rel_weight,
                             .a = rel_a + head * L_SIZE,
                             .theirs = rel_b + head * L_THEIRS,
                             .grad_scale = 0.25,
                             .da = da ? da + head * L_SIZE : NULL,
                             .scratch = scratch};
    return relate(&s);
}

static void run_relations(void)
{
    outputs[0] = 0.25 * (run_relation(0, NULL) + run_relation(1, NULL)) / weights[0];
}

/* The softmax over what i sees, as it is defined. */
static void plain_relation(const double *a, int size, int head, int i, double *p)
{
    double sum = 0;
    for (int j = rel_first[i]; j <= rel_last[i]; j++) {
        double score = 0;
        for (int c = 0; c < size; c++)
            score += a[(i * L_HEADS + head) * size + c] * a[(j * L_HEADS + head) * size + c];
        sum += p[j] = exp(score / sqrt(size));
    }
    for (int j = rel_first[i]; j <= rel_last[i]; j++)
        p[j] /= sum;
}

static void relations(void **state)
{
    (void)state;
    double da[L_LENGTH * L_HEADS * L_SIZE] = {0};
    fill(rel_a, L_LENGTH * L_HEADS * L_SIZE, 0, 1);
    fill(rel_b, L_LENGTH * L_HEADS * L_THEIRS, 0, 1);
    /* Two documents, of which the second begins with a prefix; one position is not compared. */
    for (int32_t i = 0; i < L_LENGTH; i++) {
        rel_first[i] = i < 5 ? 0 : 5;
        rel_last[i] = i >= 5 && i < 10 ? 9 : i;
        rel_weight[i] = i == 3 ? 0 : i % 2 ? 0.5 : 1;
    }
    n_outputs = 1;
    for (int head = 0; head < L_HEADS; head++) {
        double expected = 0, mine[L_LENGTH], theirs[L_LENGTH];
        for (int i = 0; i < L_LENGTH; i++) {
            plain_relation(rel_a, L_SIZE, head, i, mine);
            plain_relation(rel_b, L_THEIRS, head, i, theirs);
            for (int j = rel_first[i]; j <= rel_last[i]; j++)
                expected += rel_weight[i] * theirs[j] * log(theirs[j] / mine[j]);
        }
        assert_true(expected > 1);
        if (fabs(run_relation(head, da) - expected) > 1e-10)
            fail_msg("head %d: the divergence is %.12g, by definition %.12g", head, run_relation(head, NULL),
                     expected);
    }
    compare("a of a relation", run_relations, rel_a, L_LENGTH * L_HEADS * L_SIZE, da);
}

/* ---- Products and sums ---- */

static double product_a[19 * 300], product_b[300 * 21];
static bool turn_a, turn_b;

static struct mlt_operand operand(const double *data, int64_t rows, int64_t columns, bool turned)
{
    return (struct mlt_operand){data, turned ? rows : columns, turned};
}

/* c = a . b whichever way they lie, with more depth than is packed at once and no size a multiple of a tile.
 */
static void products(void **state)
{
    (void)state;
    enum { M = 19, N = 21, K = 300 };
    static double c[M * N], pack[K * (N + 32)];
    double *scratch = malloc((size_t)mlt_product_scratch() * sizeof *scratch);
    fill(product_a, M * K, 0, 1);
    fill(product_b, K * N, 0, 1);
    for (int form = 0; form < 8; form++) {
        turn_a = form & 1, turn_b = form & 2;
        struct mlt_operand a = operand(product_a, M, K, turn_a), b = operand(product_b, K, N, turn_b);
        for (int i = 0; i < M * N; i++)
            c[i] = 1;
        product(&a, &b, M, N, K, form & 4, c, N, pack, scratch);
        for (int i = 0; i < M; i++) {
            for (int j = 0; j < N; j++) {
                double sum = form & 4 ? 1 : 0;
                for (int k = 0; k < K; k++)
                    sum += element(&a, i, k) * element(&b, k, j);
                assert_true(fabs(sum - c[i * N + j]) < 1e-10);
            }
        }
    }
    free(scratch);
}

static void sums(void **state)
{
    (void)state;
    enum { ROWS = 5, N = 13 };
    double x[ROWS * N], y[N], expected[N], squares = 0;
    fill(x, ROWS * N, 0, 1);
    fill(y, N, 0, 1);
    for (int j = 0; j < N; j++) {
        expected[j] = y[j];
        for (int i = 0; i < ROWS; i++)
            expected[j] += x[i * N + j];
    }
    add_rows(x, ROWS, N, y, 0, 4);
    add_rows(x, ROWS, N, y, 4, N);
    for (int j = 0; j < N; j++)
        assert_true(fabs(y[j] - expected[j]) < 1e-12);
    for (int i = 0; i < ROWS * N; i++)
        squares += x[i] * x[i];
    assert_true(fabs(square_sum(x, ROWS * N) - squares) < 1e-10);
}

/* ---- The optimiser ---- */

/* Three steps of AdamW against its formulas, value by value. */
static void adamw_formula(void **state)
{
    (void)state;
    enum { N = 9 };
    double w[N], m[N] = {0}, v[N] = {0}, w2[N], m2[N] = {0}, v2[N] = {0}, g[N];
    fill(w, N, 0, 1);
    memcpy(w2, w, sizeof w);
    for (int step = 1; step <= 3; step++) {
        fill(g, N, 0, 1);
        struct mlt_adamw how = {.rate = 0.01,
                                .beta1 = 0.9,
                                .beta2 = 0.95,
                                .eps = 1e-8,
                                .decay = 0.1,
                                .grad_scale = 0.5,
                                .correction1 = 1 / (1 - pow(0.9, step)),
                                .correction2 = 1 / (1 - pow(0.95, step))};
        adamw(&how, w, g, m, v, N);
        for (int i = 0; i < N; i++) {
            double gradient = 0.5 * g[i];
            m2[i] = 0.9 * m2[i] + 0.1 * gradient;
            v2[i] = 0.95 * v2[i] + 0.05 * gradient * gradient;
            double mean = m2[i] / (1 - pow(0.9, step)), square = v2[i] / (1 - pow(0.95, step));
            w2[i] = w2[i] - 0.01 * 0.1 * w2[i] - 0.01 * mean / (sqrt(square) + 1e-8);
            assert_true(fabs(w[i] - w2[i]) < 1e-14);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(norms, start),
        cmocka_unit_test_setup(rotations, start),
        cmocka_unit_test_setup(attentions, start),
        cmocka_unit_test_setup(gates, start),
        cmocka_unit_test_setup(losses, start),
        cmocka_unit_test_setup(distillation, start),
        cmocka_unit_test_setup(distillation_of_rare_events, start),
        cmocka_unit_test_setup(relations, start),
        cmocka_unit_test_setup(products, start),
        cmocka_unit_test_setup(sums, start),
        cmocka_unit_test_setup(adamw_formula, start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
