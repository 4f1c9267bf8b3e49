/*
 * The checker's own test: every kernel is broken in several ways, one at a time, and each time the checks
 * must fail; and they must pass on a copy that is not broken.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "kernels/check_support.h"

#include <stdio.h>
#include <string.h>

enum fault {
    FAULT_NONE,
    FAULT_LAST_BIT,     /* the lowest bit of the last output */
    FAULT_WRITE_AFTER,  /* a byte after the last output */
    FAULT_READ_AFTER,   /* a byte after the first input's end */
    FAULT_READ_BEFORE,  /* a byte before the first input */
    FAULT_CHANGE_INPUT, /* the first input's first byte */
    FAULTS
};

typedef void any_kernel(void);

static enum fault fault;
static any_kernel *true_kernel;

static void break_output(void *output, size_t size, size_t element)
{
    uint8_t *bytes = output;
    if (fault == FAULT_LAST_BIT) bytes[size - element] ^= 1;
    if (fault == FAULT_WRITE_AFTER) bytes[size] ^= 1;
}

static void break_input(const void *input, size_t size)
{
    static volatile uint8_t sink;
    union {
        const void *constant;
        volatile uint8_t *plain;
    } bytes = {input};
    if (fault == FAULT_READ_AFTER) sink = bytes.plain[size];
    if (fault == FAULT_READ_BEFORE) sink = bytes.plain[-1];
    if (fault == FAULT_CHANGE_INPUT) bytes.plain[0] ^= 1;
    (void)sink;
}

static void broken_quantize(const float *x, int64_t columns, int block, int8_t *q, float *d, int16_t *sums,
                            int16_t *reach)
{
    ((mlt_quantize_kernel *)true_kernel)(x, columns, block, q, d, sums, reach);
    break_input(x, (size_t)columns * sizeof *x);
    break_output(sums, (size_t)columns / 16 * sizeof *sums, sizeof *sums);
}

static mlt_dtype unpack_dtype;

static void broken_unpack(const uint8_t *const rows[MLT_PANEL_ROWS], int64_t column, int columns,
                          struct mlt_panel *panel)
{
    ((mlt_unpack_kernel *)true_kernel)(rows, column, columns, panel);
    if (fault == FAULT_LAST_BIT) panel->q[columns / 4 - 1][MLT_PANEL_ROWS - 1][3] ^= 1;
    if (fault == FAULT_WRITE_AFTER) break_output(panel, sizeof *panel, 1);
    /* Rows may be longer than what is unpacked, and only the first begins and the last ends at a guard. */
    const uint8_t *first = rows[0] + mlt_dtype_row_bytes(unpack_dtype, column);
    const uint8_t *last = rows[MLT_PANEL_ROWS - 1] + mlt_dtype_row_bytes(unpack_dtype, column);
    if (fault == FAULT_READ_BEFORE)
        break_input(first, 1);
    else
        break_input(last, mlt_dtype_row_bytes(unpack_dtype, columns));
}

/* Scalar C has no such kernel: the panels' way is what is broken. */
static void broken_rows(const uint8_t *const rows[MLT_PANEL_ROWS], const struct mlt_act *act, int64_t token,
                        float y[MLT_PANEL_ROWS])
{
    static struct mlt_kernels scalar;
    if (!scalar.quantize) mlt_kernels_init(&scalar, 0);
    rows_by_panels(&scalar, unpack_dtype, rows, act, token, y);
    void *volatile output = y; /* the compiler knows how long y is, and warns */
    break_output(output, MLT_PANEL_ROWS * sizeof *y, sizeof *y);
    size_t row_bytes = mlt_dtype_row_bytes(unpack_dtype, act->columns);
    break_input(fault == FAULT_READ_BEFORE ? rows[0] : rows[MLT_PANEL_ROWS - 1], row_bytes);
}

static void broken_few_rows(const uint8_t *const rows[MLT_PANEL_ROWS], const struct mlt_act *act,
                            int64_t token, int tokens, float *y, int64_t ld)
{
    static struct mlt_kernels scalar;
    if (!scalar.quantize) mlt_kernels_init(&scalar, 0);
    for (int t = 0; t < tokens; t++)
        rows_by_panels(&scalar, unpack_dtype, rows, act, token + t, y + t * ld);
    break_output(y, (size_t)((tokens - 1) * ld + MLT_PANEL_ROWS) * sizeof *y, sizeof *y);
    size_t row_bytes = mlt_dtype_row_bytes(unpack_dtype, act->columns);
    break_input(fault == FAULT_READ_BEFORE ? rows[0] : rows[MLT_PANEL_ROWS - 1], row_bytes);
}

static void broken_dot(const struct mlt_panel *panels, int n_panels, int64_t column,
                       const struct mlt_act *act, int64_t token, int64_t tokens, float *y, int64_t ld)
{
    ((mlt_dot_kernel *)true_kernel)(panels, n_panels, column, act, token, tokens, y, ld);
    break_input(panels, (size_t)n_panels * sizeof *panels);
    break_output(y, (size_t)((tokens - 1) * ld + n_panels * MLT_PANEL_ROWS) * sizeof *y, sizeof *y);
}

static size_t float_weight_bytes = 4;

static void broken_dot_float(const uint8_t *w, uint64_t row_bytes, int64_t rows, const float *x, int64_t ldx,
                             int64_t tokens, int64_t columns, float *y, int64_t ldy)
{
    ((mlt_dot_float_kernel *)true_kernel)(w, row_bytes, rows, x, ldx, tokens, columns, y, ldy);
    break_input(w, (size_t)(rows - 1) * row_bytes + (size_t)columns * float_weight_bytes);
    break_output(y, (size_t)((tokens - 1) * ldy + rows) * sizeof *y, sizeof *y);
}

static void broken_score(const float *q, int heads, const void *k, int64_t stride, int64_t n, int size,
                         float scale, float *s, int64_t lds)
{
    ((mlt_score_kernel *)true_kernel)(q, heads, k, stride, n, size, scale, s, lds);
    break_input(q, (size_t)(heads * size) * sizeof *q);
    break_output(s, (size_t)((heads - 1) * lds + n) * sizeof *s, sizeof *s);
}

static void broken_mix(const float *p, int64_t ldp, int heads, const void *v, int64_t stride, int64_t n,
                       int size, float *out)
{
    ((mlt_mix_kernel *)true_kernel)(p, ldp, heads, v, stride, n, size, out);
    break_input(p, (size_t)((heads - 1) * ldp + n) * sizeof *p);
    break_output(out, (size_t)(heads * size) * sizeof *out, sizeof *out);
}

static void broken_softmax(float *x, int64_t n, const float *extra)
{
    ((mlt_softmax_kernel *)true_kernel)(x, n, extra);
    if (extra) break_input(extra, sizeof *extra);
    break_output(x, (size_t)n * sizeof *x, sizeof *x);
}

static void broken_rms_norm(const float *x, const float *w, int64_t n, float eps, float *y)
{
    ((mlt_rms_norm_kernel *)true_kernel)(x, w, n, eps, y);
    break_input(x, (size_t)n * sizeof *x);
    break_output(y, (size_t)n * sizeof *y, sizeof *y);
}

static void broken_layer_norm(const float *x, const float *w, const float *b, int64_t n, float eps, float *y)
{
    ((mlt_layer_norm_kernel *)true_kernel)(x, w, b, n, eps, y);
    break_input(x, (size_t)n * sizeof *x);
    break_output(y, (size_t)n * sizeof *y, sizeof *y);
}

static void broken_gate(const float *g, const float *u, int64_t n, float *y)
{
    ((mlt_gate_kernel *)true_kernel)(g, u, n, y);
    break_input(g, (size_t)n * sizeof *g);
    break_output(y, (size_t)n * sizeof *y, sizeof *y);
}

static void broken_softcap(float *x, int64_t n, float cap)
{
    ((mlt_softcap_kernel *)true_kernel)(x, n, cap);
    break_input(x, (size_t)n * sizeof *x);
    break_output(x, (size_t)n * sizeof *x, sizeof *x);
}

static void broken_to_half(const float *x, uint16_t *y, int64_t n)
{
    ((mlt_to_half_kernel *)true_kernel)(x, y, n);
    break_input(x, (size_t)n * sizeof *x);
    break_output(y, (size_t)n * sizeof *y, sizeof *y);
}

static const struct target {
    const char *entry;
    size_t offset; /* of the kernel's pointer in the table */
    any_kernel *broken;
    size_t weight_bytes;
} targets[] = {
    {"quantize", offsetof(struct mlt_kernels, quantize), (any_kernel *)broken_quantize, 0},
    {"dot_block32", offsetof(struct mlt_kernels, dot_block32), (any_kernel *)broken_dot, 0},
    {"dot_super32", offsetof(struct mlt_kernels, dot_super32), (any_kernel *)broken_dot, 0},
    {"dot_super16", offsetof(struct mlt_kernels, dot_super16), (any_kernel *)broken_dot, 0},
    {"dot_f32", offsetof(struct mlt_kernels, dot_f32), (any_kernel *)broken_dot_float, 4},
    {"dot_f16", offsetof(struct mlt_kernels, dot_f16), (any_kernel *)broken_dot_float, 2},
    {"dot_bf16", offsetof(struct mlt_kernels, dot_bf16), (any_kernel *)broken_dot_float, 2},
    {"score_f32", offsetof(struct mlt_kernels, score_f32), (any_kernel *)broken_score, 0},
    {"score_f16", offsetof(struct mlt_kernels, score_f16), (any_kernel *)broken_score, 0},
    {"mix_f32", offsetof(struct mlt_kernels, mix_f32), (any_kernel *)broken_mix, 0},
    {"mix_f16", offsetof(struct mlt_kernels, mix_f16), (any_kernel *)broken_mix, 0},
    {"mix_q8_0", offsetof(struct mlt_kernels, mix_q8_0), (any_kernel *)broken_mix, 0},
    {"mix_iq4_nl", offsetof(struct mlt_kernels, mix_iq4_nl), (any_kernel *)broken_mix, 0},
    {"softmax", offsetof(struct mlt_kernels, softmax), (any_kernel *)broken_softmax, 0},
    {"rms_norm", offsetof(struct mlt_kernels, rms_norm), (any_kernel *)broken_rms_norm, 0},
    {"layer_norm", offsetof(struct mlt_kernels, layer_norm), (any_kernel *)broken_layer_norm, 0},
    {"silu", offsetof(struct mlt_kernels, silu), (any_kernel *)broken_gate, 0},
    {"gelu", offsetof(struct mlt_kernels, gelu), (any_kernel *)broken_gate, 0},
    {"softcap", offsetof(struct mlt_kernels, softcap), (any_kernel *)broken_softcap, 0},
    {"to_half", offsetof(struct mlt_kernels, to_half), (any_kernel *)broken_to_half, 0},
};

/* Runs all checks with `broken` in place of one kernel; 1 where the verdict is wrong. */
static int try_fault(const struct mlt_kernels *scalar, const char *entry, size_t offset, any_kernel *broken,
                     uint64_t seed)
{
    struct mlt_kernels table = *scalar;
    memcpy(&true_kernel, (const char *)scalar + offset, sizeof true_kernel);
    memcpy((char *)&table + offset, &broken, sizeof broken);
    struct check check = {
        .scalar = scalar, .variant = &table, .tier = "broken", .rounds = 1, .quiet = fault != FAULT_NONE};
    mlt_random_seed(&check.random, seed);
    check_quantized(&check, NULL);
    check_float(&check, NULL);
    check_elementwise(&check, NULL);
    if (check.cases > 0 && (check.failures > 0) == (fault != FAULT_NONE)) return 0;
    printf("FAIL self-test %s: fault %d, %ld of %ld cases failed\n", entry, (int)fault, check.failures,
           check.cases);
    return 1;
}

int check_broken(uint64_t seed)
{
    struct mlt_kernels scalar;
    mlt_kernels_init(&scalar, 0);
    int missed = 0, tried = 0;
    for (int f = FAULT_NONE; f < FAULTS; f++) {
        fault = (enum fault)f;
        for (size_t i = 0; i < MLT_COUNT(targets); i++) {
            float_weight_bytes = targets[i].weight_bytes;
            /* softcap has no input but what it overwrites */
            if (f == FAULT_CHANGE_INPUT && strcmp(targets[i].entry, "softcap") == 0) continue;
            missed += try_fault(&scalar, targets[i].entry, targets[i].offset, targets[i].broken, seed);
            tried++;
        }
        for (int dtype = 0; dtype < MLT_DTYPE_LIMIT; dtype++) {
            if (!scalar.unpack[dtype]) continue;
            unpack_dtype = (mlt_dtype)dtype;
            size_t offset = offsetof(struct mlt_kernels, unpack) + (size_t)dtype * sizeof scalar.unpack[0];
            missed += try_fault(&scalar, mlt_dtype_info(unpack_dtype)->name, offset,
                                (any_kernel *)broken_unpack, seed);
            offset = offsetof(struct mlt_kernels, rows) + (size_t)dtype * sizeof scalar.rows[0];
            missed += try_fault(&scalar, mlt_dtype_info(unpack_dtype)->name, offset,
                                (any_kernel *)broken_rows, seed);
            offset = offsetof(struct mlt_kernels, few_rows) + (size_t)dtype * sizeof scalar.few_rows[0];
            missed += try_fault(&scalar, mlt_dtype_info(unpack_dtype)->name, offset,
                                (any_kernel *)broken_few_rows, seed);
            tried += 3;
        }
    }
    printf("self-test: %d faults tried, %d wrong verdicts\n", tried, missed);
    return missed;
}
