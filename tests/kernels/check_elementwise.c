/* Checks of softmax, norms, gates, softcap and to_half. SPDX-License-Identifier: Apache-2.0 */
#include "kernels/check_support.h"

#include "kernels/math.h"

#include <stdlib.h>

enum { LONGEST = 5000 };

struct row_case {
    const float *x, *w, *b; /* w, b: may be NULL */
    int64_t n;
    float parameter; /* eps or cap */
    bool in_place;
};

static const float *row_input(const float *x, int64_t n)
{
    return x ? guard_input(x, (size_t)n * sizeof(float)) : NULL;
}

static void run_softmax(const struct mlt_kernels *table, const void *context)
{
    const struct row_case *c = context;
    float *x = guard_output(c->x, (size_t)c->n * sizeof(float), COMPARE_FLOATS);
    table->softmax(x, c->n, row_input(c->w, 1));
}

static void run_rms_norm(const struct mlt_kernels *table, const void *context)
{
    const struct row_case *c = context;
    float *y = guard_output(c->in_place ? c->x : NULL, (size_t)c->n * sizeof(float), COMPARE_FLOATS);
    const float *x = c->in_place ? y : row_input(c->x, c->n);
    table->rms_norm(x, row_input(c->w, c->n), c->n, c->parameter, y);
}

static void run_layer_norm(const struct mlt_kernels *table, const void *context)
{
    const struct row_case *c = context;
    float *y = guard_output(c->in_place ? c->x : NULL, (size_t)c->n * sizeof(float), COMPARE_FLOATS);
    const float *x = c->in_place ? y : row_input(c->x, c->n);
    table->layer_norm(x, row_input(c->w, c->n), row_input(c->b, c->n), c->n, c->parameter, y);
}

static void run_gate(mlt_gate_kernel *gate, const struct row_case *c)
{
    float *y = guard_output(c->in_place ? c->x : NULL, (size_t)c->n * sizeof(float), COMPARE_FLOATS);
    const float *g = c->in_place ? y : row_input(c->x, c->n);
    gate(g, row_input(c->w, c->n), c->n, y);
}

static void run_silu(const struct mlt_kernels *table, const void *context)
{
    run_gate(table->silu, context);
}

static void run_gelu(const struct mlt_kernels *table, const void *context)
{
    run_gate(table->gelu, context);
}

static void run_softcap(const struct mlt_kernels *table, const void *context)
{
    const struct row_case *c = context;
    float *x = guard_output(c->x, (size_t)c->n * sizeof(float), COMPARE_FLOATS);
    table->softcap(x, c->n, c->parameter);
}

static void run_to_half(const struct mlt_kernels *table, const void *context)
{
    const struct row_case *c = context;
    const float *x = row_input(c->x, c->n);
    uint16_t *y = guard_output(NULL, (size_t)c->n * sizeof(uint16_t), COMPARE_HALVES);
    table->to_half(x, y, c->n);
}

/* n values; normal ones also spread over the range where exp and tanh are neither 0, 1 nor infinite. */
static void random_row(struct mlt_random *random, int mode, float *values, int64_t n)
{
    random_floats(random, (enum value_mode)mode, values, n);
    if (mode != VALUES_NORMAL) return;
    static const float spreads[] = {0.01f, 1.0f, 10.0f, 40.0f};
    float spread = spreads[random_below(random, (int)MLT_COUNT(spreads))];
    for (int64_t i = 0; i < n; i++)
        values[i] = values[i] * spread;
}

static void check_rows(struct check *check, check_run *run, const float *parameters, int n_parameters)
{
    struct mlt_random *random = &check->random;
    float *values[3];
    for (int i = 0; i < 3; i++)
        values[i] = test_alloc(LONGEST * sizeof(float));
    for (int round = 0; round < 20 * check->rounds; round++) {
        for (int mode = 0; mode < VALUE_MODES; mode++) {
            struct row_case c = {.x = values[0]};
            c.n = round < 70 ? round + 1 : 1 + random_below(random, LONGEST);
            c.parameter = n_parameters ? parameters[random_below(random, n_parameters)] : 0.0f;
            c.in_place = random_below(random, 2) == 0;
            if (random_below(random, 3)) c.w = values[1];
            if (random_below(random, 2)) c.b = values[2];
            random_row(random, mode, values[0], c.n);
            for (int i = 1; i < 3; i++)
                random_floats(random, random_below(random, 4) ? VALUES_NORMAL : VALUES_SPECIAL, values[i],
                              c.n);
            check_case(check, run, &c, "n %d parameter %g w %d b %d in place %d mode %d", (int)c.n,
                       (double)c.parameter, c.w != NULL, c.b != NULL, c.in_place, mode);
        }
    }
    for (int i = 0; i < 3; i++)
        free(values[i]);
}

/* Float patterns spread evenly over all 2^32, each one through the function alone. */
static void check_sweep(struct check *check, check_run *run)
{
    enum { AT_A_TIME = 4096 };
    static float x[AT_A_TIME];
    uint32_t bits = (uint32_t)mlt_random_u64(&check->random);
    for (int round = 0; round < 8 * check->rounds; round++) {
        for (int i = 0; i < AT_A_TIME; i++, bits += UINT32_C(0x9e3779b1))
            x[i] = mlt_bits_to_float(bits);
        struct row_case c = {.x = x, .n = AT_A_TIME, .parameter = 30.0f};
        check_case(check, run, &c, "sweep of all floats, part %d", round);
    }
}

/* All softmax inputs equal to -infinity, and others where the largest decides. */
static void check_softmax_edges(struct check *check)
{
    static float x[40], sink;
    static const float largest[] = {-INFINITY, INFINITY, 0.0f, -0.0f, 3e38f, -3e38f, 1e-40f, NAN};
    for (int i = 0; i < 64; i++) {
        struct row_case c = {.x = x, .n = 1 + random_below(&check->random, 40)};
        for (int j = 0; j < c.n; j++)
            x[j] = i % 2 ? -INFINITY : largest[i / 8];
        x[random_below(&check->random, (int)c.n)] = largest[i / 8];
        sink = largest[i % 8];
        if (random_below(&check->random, 2)) c.w = &sink;
        check_case(check, run_softmax, &c, "edge %d n %d sink %d", i, (int)c.n, c.w != NULL);
    }
}

void check_elementwise(struct check *check, const char *filter)
{
    static const float epsilons[] = {1e-5f, 1e-6f, 0.0f, 1e-12f};
    static const float caps[] = {30.0f, 50.0f, 1.0f, 1e-3f};
    const struct mlt_kernels *a = check->scalar, *b = check->variant;
    if (a->softmax != b->softmax && check_begin(check, "softmax", filter)) {
        check_rows(check, run_softmax, NULL, 0);
        check_softmax_edges(check);
    }
    if (a->rms_norm != b->rms_norm && check_begin(check, "rms_norm", filter))
        check_rows(check, run_rms_norm, epsilons, (int)MLT_COUNT(epsilons));
    if (a->layer_norm != b->layer_norm && check_begin(check, "layer_norm", filter))
        check_rows(check, run_layer_norm, epsilons, (int)MLT_COUNT(epsilons));
    if (a->silu != b->silu && check_begin(check, "silu", filter)) {
        check_rows(check, run_silu, NULL, 0);
        check_sweep(check, run_silu);
    }
    if (a->gelu != b->gelu && check_begin(check, "gelu", filter)) {
        check_rows(check, run_gelu, NULL, 0);
        check_sweep(check, run_gelu);
    }
    if (a->softcap != b->softcap && check_begin(check, "softcap", filter)) {
        check_rows(check, run_softcap, caps, (int)MLT_COUNT(caps));
        check_sweep(check, run_softcap);
    }
    if (a->to_half != b->to_half && check_begin(check, "to_half", filter)) {
        check_rows(check, run_to_half, NULL, 0);
        check_sweep(check, run_to_half);
    }
}
