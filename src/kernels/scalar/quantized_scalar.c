/*
 * Quantised products in scalar C: the definition that every variant equals. Contracts: kernels.h.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "kernels/scalar/scalar.h"

#include "kernels/math.h"
#include "tensor/unpack.h"

#include <stdlib.h>

/* Below this a block counts as zero: 127 / a must stay finite. */
#define ACT_MIN 0x1p-100f

static void quantize_block(const float *x, int n, int8_t *q, float *d)
{
    /* The largest magnitude by its bits: for non-negative floats they order like integers, NaN above
     * infinity. */
    uint32_t largest = 0;
    for (int i = 0; i < n; i++) {
        uint32_t bits = mlt_float_bits(x[i]) & 0x7fffffff;
        if (bits > largest) largest = bits;
    }
    float a = mlt_bits_to_float(largest);
    if (!(a >= ACT_MIN) || !(a < INFINITY)) {
        *d = largest >= 0x7f800000 ? NAN : 0.0f;
        memset(q, 0, (size_t)n);
        return;
    }
    *d = a / 127.0f;
    float scale = 127.0f / a;
    for (int i = 0; i < n; i++) {
        float r =
            (x[i] * scale + MLT_ROUND_MAGIC) - MLT_ROUND_MAGIC; /* |x * scale| is 127 and a little at most */
        q[i] = (int8_t)(r > 127.0f ? 127.0f : r < -127.0f ? -127.0f : r);
    }
}

static void quantize(const float *x, int64_t columns, int block, int8_t *q, float *d, int16_t *sums,
                     int16_t *reach)
{
    memset(reach, 0, (size_t)(columns / block) * sizeof *reach);
    for (int64_t i = 0; i < columns; i += block)
        quantize_block(x + i, block, q + i, d + i / block);
    for (int64_t i = 0; i < columns; i += 16) {
        int sum = 0, magnitudes = 0;
        for (int j = 0; j < 16; j++) {
            sum += q[i + j];
            magnitudes += abs(q[i + j]);
        }
        sums[i / 16] = (int16_t)sum;
        if (magnitudes > reach[i / block]) reach[i / block] = (int16_t)magnitudes;
    }
}

/* Places a row's block of `length` elements at column `at` of the panel. */
static void place(const struct mlt_unpacked *block, const struct mlt_unpack_traits *traits, int length,
                  int at, int row, struct mlt_panel *panel)
{
    for (int i = 0; i < length; i++)
        panel->q[(at + i) / 4][row][(at + i) % 4] = block->q[i];
    panel->d[at / 32][row] = block->d;
    if (traits->has_min) panel->m[at / 32][row] = block->m;
    if (length == MLT_PANEL_COLUMNS) {
        for (int g = 0; g < traits->groups; g++) {
            panel->scale[g][row] = block->scale[g];
            if (traits->has_min) panel->min[g][row] = block->min[g];
        }
    }
}

static void unpack(mlt_dtype dtype, const uint8_t *const rows[MLT_PANEL_ROWS], int64_t column, int columns,
                   struct mlt_panel *panel)
{
    const struct mlt_unpack_traits *traits = mlt_unpack_traits(dtype);
    const struct mlt_dtype_info *info = mlt_dtype_info(dtype);
    panel->columns = columns;
    panel->has_min = traits->has_min;
    panel->bias = 0;
    panel->q_low = traits->q_low;
    panel->q_high = traits->q_high;
    panel->kind = traits->groups == 1   ? MLT_PANEL_BLOCK32
                  : traits->groups == 8 ? MLT_PANEL_SUPER32
                                        : MLT_PANEL_SUPER16;
    for (int row = 0; row < MLT_PANEL_ROWS; row++) {
        const uint8_t *bytes = rows[row] + column / info->block_length * info->block_bytes;
        for (int at = 0; at < columns; at += info->block_length, bytes += info->block_bytes) {
            struct mlt_unpacked block;
            traits->unpack(bytes, &block);
            place(&block, traits, info->block_length, at, row, panel);
        }
    }
}

/* The dtypes that are quantised, and the entry of each in the table. */
#define QUANTIZED_DTYPES(X)                                                                                  \
    X(Q4_0)                                                                                                  \
    X(Q4_1)                                                                                                  \
    X(Q5_0)                                                                                                  \
    X(Q5_1)                                                                                                  \
    X(Q8_0)                                                                                                  \
    X(Q2_K)                                                                                                  \
    X(Q3_K)                                                                                                  \
    X(Q4_K)                                                                                                  \
    X(Q5_K)                                                                                                  \
    X(Q6_K)                                                                                                  \
    X(IQ4_NL)                                                                                                \
    X(IQ4_XS)                                                                                                \
    X(TQ1_0)                                                                                                 \
    X(TQ2_0)                                                                                                 \
    X(MXFP4)

#define UNPACK_ENTRY(name)                                                                                   \
    static void unpack_##name(const uint8_t *const rows[MLT_PANEL_ROWS], int64_t column, int columns,        \
                              struct mlt_panel *panel)                                                       \
    {                                                                                                        \
        unpack(MLT_##name, rows, column, columns, panel);                                                    \
    }
QUANTIZED_DTYPES(UNPACK_ENTRY)
#undef UNPACK_ENTRY

/* Sum of q * xq over columns [at, at + n) of one row; x points to the panel's first column. */
static int32_t integer_dot(const struct mlt_panel *panel, int row, const int8_t *x, int at, int n)
{
    int32_t sum = 0;
    for (int k = at; k < at + n; k++)
        sum += panel->q[k / 4][row][k % 4] * x[k];
    return sum;
}

static void dot_block32(const struct mlt_panel *panels, int n_panels, int64_t column,
                        const struct mlt_act *act, int64_t token, int64_t tokens, float *y, int64_t ld)
{
    for (int64_t t = token; t < token + tokens; t++) {
        const int8_t *x = act->q + t * act->columns + column;
        const float *dx = act->d + t * (act->columns / 32) + column / 32;
        const int16_t *sums = act->sums + t * (act->columns / 16) + column / 16;
        for (int i = 0; i < n_panels * MLT_PANEL_ROWS; i++) {
            const struct mlt_panel *panel = &panels[i / MLT_PANEL_ROWS];
            int row = i % MLT_PANEL_ROWS;
            float sum = y[(t - token) * ld + i];
            for (int b = 0; b < panel->columns / 32; b++) {
                int32_t isum = integer_dot(panel, row, x, 32 * b, 32);
                sum = fmaf(panel->d[b][row] * dx[b], (float)isum, sum);
                if (panel->has_min)
                    sum = fmaf(panel->m[b][row], dx[b] * (float)(sums[2 * b] + sums[2 * b + 1]), sum);
            }
            y[(t - token) * ld + i] = sum;
        }
    }
}

static void dot_super(const struct mlt_panel *panels, int n_panels, int64_t column, const struct mlt_act *act,
                      int64_t token, int64_t tokens, float *y, int64_t ld, int group)
{
    for (int64_t t = token; t < token + tokens; t++) {
        const int8_t *x = act->q + t * act->columns + column;
        float dx = act->d[t * (act->columns / 256) + column / 256];
        const int16_t *sums = act->sums + t * (act->columns / 16) + column / 16;
        for (int i = 0; i < n_panels * MLT_PANEL_ROWS; i++) {
            const struct mlt_panel *panel = &panels[i / MLT_PANEL_ROWS];
            int row = i % MLT_PANEL_ROWS;
            int32_t isum = 0, msum = 0;
            for (int g = 0; g < MLT_PANEL_COLUMNS / group; g++) {
                isum += panel->scale[g][row] * integer_dot(panel, row, x, group * g, group);
                if (panel->has_min) {
                    int xsum = group == 16 ? sums[g] : sums[2 * g] + sums[2 * g + 1];
                    msum += panel->min[g][row] * xsum;
                }
            }
            float sum = y[(t - token) * ld + i];
            sum = fmaf(panel->d[0][row] * dx, (float)isum, sum);
            if (panel->has_min) sum = fmaf(-(panel->m[0][row] * dx), (float)msum, sum);
            y[(t - token) * ld + i] = sum;
        }
    }
}

static void dot_super32(const struct mlt_panel *panels, int n_panels, int64_t column,
                        const struct mlt_act *act, int64_t token, int64_t tokens, float *y, int64_t ld)
{
    dot_super(panels, n_panels, column, act, token, tokens, y, ld, 32);
}

static void dot_super16(const struct mlt_panel *panels, int n_panels, int64_t column,
                        const struct mlt_act *act, int64_t token, int64_t tokens, float *y, int64_t ld)
{
    dot_super(panels, n_panels, column, act, token, tokens, y, ld, 16);
}

void mlt_kernels_scalar_quantized(struct mlt_kernels *table)
{
    table->quantize = quantize;
#define SET_ENTRY(name) table->unpack[MLT_##name] = unpack_##name;
    QUANTIZED_DTYPES(SET_ENTRY)
#undef SET_ENTRY
    table->dot_block32 = dot_block32;
    table->dot_super32 = dot_super32;
    table->dot_super16 = dot_super16;
}
