/*
 * Where the codes of a layout go: into a panel, or straight into the product of sixteen rows with a few
 * tokens. A layout (blocks32_lanes.h, blocks256_lanes.h) is written once and inlined into either; `direct` is
 * decided then.
 *
 * The including file has chosen lanes, and dot16_maddubs.h or dot16_vnni.h.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_SINK_LANES_H
#define MLT_SINK_LANES_H

#include "kernels/x86/codes_lanes.h"

struct sink {
    struct mlt_panel *panel; /* d, m, scale and min in any case, q only where not direct */
    bool direct;
    int tokens;                      /* direct: 1, 2 or MLT_FEW_TOKENS */
    const int8_t *x[MLT_FEW_TOKENS]; /* direct: the tokens' activations from the panel's first column on */
    vi sum[MLT_FEW_TOKENS];          /* direct: of the present block */
    /* Direct, blocks of 32: of each token and block. */
    int32_t (*sums)[MLT_PANEL_COLUMNS / 32][MLT_PANEL_ROWS];
    int low; /* direct: what was taken off the codes, to be given back times the sum of x */
};

INLINE void begin(struct sink *sink, enum mlt_panel_kind kind, int columns, bool has_min, int q_low,
                  int q_high)
{
    sink->low = q_low;
    if (sink->direct) return;
    sink->panel->kind = kind;
    sink->panel->columns = columns;
    sink->panel->has_min = has_min;
    sink->panel->bias = BIASED_PANELS ? -q_low : 0;
    sink->panel->q_low = q_low;
    sink->panel->q_high = q_high;
}

INLINE void store_codes(struct mlt_panel *panel, int quad, struct vi4 v)
{
    vi_store(panel->q[quad], v.a);
    vi_store(panel->q[quad + 1], v.b);
    vi_store(panel->q[quad + 2], v.c);
    vi_store(panel->q[quad + 3], v.d);
}

/*
 * Sixteen columns from 4 * quad on, with q_low taken off: codes up to `span`. In superblocks `group` is
 * theirs, else NO_GROUP.
 */
enum { NO_GROUP = -1 };

INLINE void put_codes(struct sink *sink, int quad, struct vi4 u, int q_low, int span, int group)
{
    if (!sink->direct) {
        store_codes(sink->panel, quad, q_low && !BIASED_PANELS ? subtract_all(u, -q_low) : u);
        return;
    }
    bool scaled = group != NO_GROUP;
    vi scale = scaled ? vi_load(sink->panel->scale[group]) : vi_set32(0);
#pragma GCC unroll 4
    for (int t = 0; t < sink->tokens; t++)
        sink->sum[t] = add_dot16(sink->sum[t], u, sink->x[t] + 4 * quad, span, scaled, scale);
}

/* The same for codes that are signed as they come. */
INLINE void put_signed_codes(struct sink *sink, int quad, struct vi4 q, int group)
{
    sink->low = SIGNED_LOW;
    if (!sink->direct) {
        if (BIASED_PANELS) sink->panel->bias = -SIGNED_LOW;
        store_codes(sink->panel, quad, BIASED_PANELS ? subtract_all(q, SIGNED_LOW) : q);
        return;
    }
    bool scaled = group != NO_GROUP;
    vi scale = scaled ? vi_load(sink->panel->scale[group]) : vi_set32(0);
#pragma GCC unroll 4
    for (int t = 0; t < sink->tokens; t++)
        sink->sum[t] = add_signed_dot16(sink->sum[t], q, sink->x[t] + 4 * quad, scaled, scale);
}

/* After the codes of block `b` of 32. */
INLINE void end_block(struct sink *sink, int b)
{
    if (!sink->direct) return;
#pragma GCC unroll 4
    for (int t = 0; t < sink->tokens; t++) {
        vi_store(sink->sums[t][b], sink->sum[t]);
        sink->sum[t] = vi_set32(0);
    }
}

/* ---- Products of whole rows ---- */

/*
 * What the blocks of 32 in the sink add to y of its token t; dx and xsums (of 16 columns) are that token's
 * from the first column on.
 */
INLINE vf add_blocks(vf y, const struct sink *sink, int t, int columns, bool has_min, const float *dx,
                     const int16_t *xsums)
{
    const struct mlt_panel *panel = sink->panel;
    for (int b = 0; b < columns / 32; b++) {
        int xsum = xsums[2 * b] + xsums[2 * b + 1];
        vi isum = vi_load(sink->sums[t][b]);
        if (sink->low) isum = vi_add32(isum, vi_set32(sink->low * xsum));
        y = vf_fma(vf_mul(vf_load(panel->d[b]), vf_set(dx[b])), vf_from_vi(isum), y);
        if (has_min) y = vf_fma(vf_load(panel->m[b]), vf_set(dx[b] * (float)xsum), y);
    }
    return y;
}

/* Sum over groups of factor * (sum of x): products of 16-bit numbers, two groups at a time. */
INLINE vi weigh_sums(const int32_t (*factors)[MLT_PANEL_ROWS], const int16_t *xsums, int groups)
{
    vi sum = vi_set32(0), low_half = vi_set32(0xffff);
    for (int g = 0; g < groups; g += 2) {
        int first = xsums[g], second = xsums[g + 1];
        if (groups == 8) {
            first = xsums[2 * g] + xsums[2 * g + 1];
            second = xsums[2 * g + 2] + xsums[2 * g + 3];
        }
        vi pair = vi_or(vi_and(vi_load(factors[g]), low_half), vi_shl32(vi_load(factors[g + 1]), 16));
        uint32_t xpair = (uint32_t)(uint16_t)first | (uint32_t)(uint16_t)second << 16;
        sum = vi_add32(sum, vi_madd16(pair, vi_set32((int)xpair)));
    }
    return sum;
}

enum { UNSCALED = 1 }; /* groups, where all scales are 1 */

/* What the superblock in the sink adds to y of its token t; groups: 8, 16 or UNSCALED. */
INLINE vf add_super(vf y, const struct sink *sink, int t, int groups, bool has_min, float dx,
                    const int16_t *xsums)
{
    const struct mlt_panel *panel = sink->panel;
    vi isum = sink->sum[t];
    if (sink->low && groups == UNSCALED) {
        int xsum = 0;
        for (int i = 0; i < MLT_PANEL_COLUMNS / 16; i++)
            xsum += xsums[i];
        isum = vi_add32(isum, vi_set32(sink->low * xsum));
    } else if (sink->low)
        isum = vi_add32(isum, vi_mul32(weigh_sums(panel->scale, xsums, groups), vi_set32(sink->low)));
    y = vf_fma(vf_mul(vf_load(panel->d[0]), vf_set(dx)), vf_from_vi(isum), y);
    if (!has_min) return y;
    vf m = vf_mul(vf_load(panel->m[0]), vf_set(-dx));
    return vf_fma(m, vf_from_vi(weigh_sums(panel->min, xsums, groups)), y);
}

/*
 * The two kernels of a layout, over product_NAME(tile, rows, act, token, tokens, y, ld), which does `tokens`
 * tokens, of which there are at most `tile`: a number that is known when it is compiled. FEW_TILE is the
 * largest for which the including file wants code; 1: none for several tokens. Rows that do not have the same
 * distance are the exception and get none either.
 */
#define ROWS_KERNELS(name)                                                                                   \
    static inline void rows_##name(const uint8_t *const rows[MLT_PANEL_ROWS], const struct mlt_act *act,     \
                                   int64_t token, float y[MLT_PANEL_ROWS])                                   \
    {                                                                                                        \
        const struct rows all = rows_by_stride(rows);                                                        \
        if (all.each)                                                                                        \
            product_##name(1, all, act, token, 1, y, 0);                                                     \
        else                                                                                                 \
            product_##name(1, (struct rows){all.first, all.stride, NULL}, act, token, 1, y, 0);              \
    }                                                                                                        \
    static inline void few_rows_##name(const uint8_t *const rows[MLT_PANEL_ROWS], const struct mlt_act *act, \
                                       int64_t token, int tokens, float *y, int64_t ld)                      \
    {                                                                                                        \
        struct rows all = rows_by_stride(rows);                                                              \
        const struct rows strided = {all.first, all.stride, NULL};                                           \
        int t = 0;                                                                                           \
        if (!all.each && FEW_TILE > 2 && tokens > 2) {                                                       \
            product_##name(FEW_TILE, strided, act, token, tokens, y, ld);                                    \
            return;                                                                                          \
        }                                                                                                    \
        for (; !all.each && t + 2 <= tokens; t += 2)                                                         \
            product_##name(2, strided, act, token + t, 2, y + t * ld, ld);                                   \
        for (; t < tokens; t++)                                                                              \
            rows_##name(rows, act, token + t, y + t * ld);                                                   \
    }

#if FEW_TILE > 1
#define SET_ROWS(dtype, name)                                                                                \
    table->rows[MLT_##dtype] = rows_##name;                                                                  \
    table->few_rows[MLT_##dtype] = few_rows_##name;
#else
#define SET_ROWS(dtype, name) table->rows[MLT_##dtype] = rows_##name;
#endif

#endif
