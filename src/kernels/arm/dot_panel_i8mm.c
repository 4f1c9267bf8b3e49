/*
 * Panel products with smmla: two rows x two tokens x eight columns an instruction, twice the products of
 * sdot.
 *
 * smmla wants eight columns of a row side by side, a panel has four: panels and tokens are packed for it once
 * a call, in pairs of rows and pairs of tokens. All vectors then have the order of smmla's result: row 0
 * token 0, row 0 token 1, row 1 token 0, row 1 token 1; y is brought into it for the length of a panel. A
 * tile is eight rows x four tokens.
 *
 * Packing pays from some tokens on; fewer, and what is left over fours, are done with sdot.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "kernels/arm/arm.h"

#include <arm_neon.h>

enum { PAIRS = MLT_PANEL_ROWS / 2, TILE_TOKENS = 4, PACK_FROM_TOKENS = 8 };

/* A panel in pairs of rows; numbers of rows r, r, r + 1, r + 1 in a vector. */
struct packed_panel {
    int8_t w[MLT_PANEL_COLUMNS / 8][PAIRS][16];
    union {
        struct {
            float d[8][PAIRS][4], m[8][PAIRS][4]; /* BLOCK32 */
        };
        struct {
            int32_t scale[16][PAIRS][4], min[16][PAIRS][4]; /* SUPER */
        };
    };
};

/* Four tokens in pairs; numbers of tokens t, t + 1, t, t + 1 in a vector. */
struct packed_tokens {
    int8_t x[MLT_PANEL_COLUMNS / 8][2][16];
    float d[8][2][4];
    union {
        float xsum[8][2][4];    /* BLOCK32 */
        int32_t sums[16][2][4]; /* SUPER, per group */
    };
};

/* Rows r .. r + 3 to r, r, r + 1, r + 1 and r + 2, r + 2, r + 3, r + 3. */
MLT_INLINE void pack_floats(const float *in, float (*out)[4])
{
    for (int r = 0; r < MLT_PANEL_ROWS; r += 4) {
        float32x4_t v = vld1q_f32(in + r);
        vst1q_f32(out[r / 2], vzip1q_f32(v, v));
        vst1q_f32(out[r / 2 + 1], vzip2q_f32(v, v));
    }
}

MLT_INLINE void pack_integers(const int32_t *in, int32_t (*out)[4])
{
    for (int r = 0; r < MLT_PANEL_ROWS; r += 4) {
        int32x4_t v = vld1q_s32(in + r);
        vst1q_s32(out[r / 2], vzip1q_s32(v, v));
        vst1q_s32(out[r / 2 + 1], vzip2q_s32(v, v));
    }
}

/* groups: of a superblock, or 0 for blocks of 32. */
static void pack_panel(const struct mlt_panel *panel, int groups, struct packed_panel *packed)
{
    for (int k = 0; k < panel->columns / 8; k++) {
        for (int r = 0; r < MLT_PANEL_ROWS; r += 4) {
            int32x4_t first = vreinterpretq_s32_s8(vld1q_s8(panel->q[2 * k][r]));
            int32x4_t second = vreinterpretq_s32_s8(vld1q_s8(panel->q[2 * k + 1][r]));
            vst1q_s8(packed->w[k][r / 2], vreinterpretq_s8_s32(vzip1q_s32(first, second)));
            vst1q_s8(packed->w[k][r / 2 + 1], vreinterpretq_s8_s32(vzip2q_s32(first, second)));
        }
    }
    if (groups == 0) {
        for (int b = 0; b < panel->columns / 32; b++) {
            pack_floats(panel->d[b], packed->d[b]);
            if (panel->has_min) pack_floats(panel->m[b], packed->m[b]);
        }
    }
    for (int g = 0; g < groups; g++) {
        pack_integers(panel->scale[g], packed->scale[g]);
        if (panel->has_min) pack_integers(panel->min[g], packed->min[g]);
    }
}

MLT_INLINE float32x4_t pair_of_floats(const float *first, const float *second)
{
    float32x2_t pair = vset_lane_f32(*second, vdup_n_f32(*first), 1);
    return vcombine_f32(pair, pair);
}

MLT_INLINE int32x4_t pair_of_integers(int32_t first, int32_t second)
{
    int32x2_t pair = vset_lane_s32(second, vdup_n_s32(first), 1);
    return vcombine_s32(pair, pair);
}

/* Tokens token .. token + 3 at `columns` columns from `column` on. */
static void pack_tokens(const struct mlt_act *act, int64_t token, int64_t column, int columns, int groups,
                        struct packed_tokens *packed)
{
    for (int pair = 0; pair < 2; pair++) {
        const int8_t *x = act->q + (token + 2 * pair) * act->columns + column;
        for (int k = 0; k < columns / 8; k += 2) {
            int64x2_t first = vreinterpretq_s64_s8(vld1q_s8(x + 8 * k));
            int64x2_t second = vreinterpretq_s64_s8(vld1q_s8(x + act->columns + 8 * k));
            vst1q_s8(packed->x[k][pair], vreinterpretq_s8_s64(vzip1q_s64(first, second)));
            vst1q_s8(packed->x[k + 1][pair], vreinterpretq_s8_s64(vzip2q_s64(first, second)));
        }
        int64_t blocks = act->columns / act->block;
        const float *d = act->d + (token + 2 * pair) * blocks + column / act->block;
        for (int b = 0; b < columns / act->block; b++)
            vst1q_f32(packed->d[b][pair], pair_of_floats(d + b, d + blocks + b));
        const int16_t *first = act->sums + (token + 2 * pair) * (act->columns / 16) + column / 16;
        const int16_t *second = first + act->columns / 16;
        for (int i = 0; i < columns / 16; i++) {
            if (groups == 16) {
                vst1q_s32(packed->sums[i][pair], pair_of_integers(first[i], second[i]));
            } else if (i % 2 == 0) {
                int32x4_t both = pair_of_integers(first[i] + first[i + 1], second[i] + second[i + 1]);
                if (groups == 8)
                    vst1q_s32(packed->sums[i / 2][pair], both);
                else
                    vst1q_f32(packed->xsum[i / 2][pair], vcvtq_f32_s32(both));
            }
        }
    }
}

/* A tile's eight vectors: pair of rows 0..3, pair of tokens 0..1. */
#define TILE(M) M(0, 0) M(1, 0) M(2, 0) M(3, 0) M(0, 1) M(1, 1) M(2, 1) M(3, 1)

/* Two rows of y, four rows at a time, for pair of tokens t. */
#define LOAD_Y(t)                                                                                            \
    float32x4_t y0##t, y1##t, y2##t, y3##t;                                                                  \
    {                                                                                                        \
        float32x4_t u = vld1q_f32(y + (2 * t) * ld), v = vld1q_f32(y + (2 * t + 1) * ld);                    \
        y0##t = vzip1q_f32(u, v);                                                                            \
        y1##t = vzip2q_f32(u, v);                                                                            \
        u = vld1q_f32(y + (2 * t) * ld + 4), v = vld1q_f32(y + (2 * t + 1) * ld + 4);                        \
        y2##t = vzip1q_f32(u, v);                                                                            \
        y3##t = vzip2q_f32(u, v);                                                                            \
    }
#define STORE_Y(t)                                                                                           \
    vst1q_f32(y + (2 * t) * ld, vuzp1q_f32(y0##t, y1##t));                                                   \
    vst1q_f32(y + (2 * t) * ld + 4, vuzp1q_f32(y2##t, y3##t));                                               \
    vst1q_f32(y + (2 * t + 1) * ld, vuzp2q_f32(y0##t, y1##t));                                               \
    vst1q_f32(y + (2 * t + 1) * ld + 4, vuzp2q_f32(y2##t, y3##t));

#define ZERO(p, t) int32x4_t s##p##t = vdupq_n_s32(0);
#define MULTIPLY(p, t) s##p##t = vmmlaq_s32(s##p##t, w##p, x##t);
/* `columns` columns from `at` on, of rows 2 * pair .. 2 * pair + 7. */
#define DOT_GROUP(at, columns)                                                                               \
    TILE(ZERO)                                                                                               \
    for (int k = (at) / 8; k < ((at) + (columns)) / 8; k++) {                                                \
        int8x16_t w0 = vld1q_s8(panel->w[k][pair]), w1 = vld1q_s8(panel->w[k][pair + 1]);                    \
        int8x16_t w2 = vld1q_s8(panel->w[k][pair + 2]), w3 = vld1q_s8(panel->w[k][pair + 3]);                \
        int8x16_t x0 = vld1q_s8(tokens->x[k][0]), x1 = vld1q_s8(tokens->x[k][1]);                            \
        TILE(MULTIPLY)                                                                                       \
    }

/* y: row 2 * pair of the first token. */
static void block32_8x4(const struct packed_panel *panel, int columns, bool has_min, int pair,
                        const struct packed_tokens *tokens, float *y, int64_t ld)
{
    LOAD_Y(0)
    LOAD_Y(1)
    for (int b = 0; b < columns / 32; b++) {
        DOT_GROUP(32 * b, 32)
        float32x4_t dx0 = vld1q_f32(tokens->d[b][0]), dx1 = vld1q_f32(tokens->d[b][1]);
#define ADD(p, t)                                                                                            \
    y##p##t = vfmaq_f32(y##p##t, vmulq_f32(vld1q_f32(panel->d[b][pair + p]), dx##t), vcvtq_f32_s32(s##p##t));
        TILE(ADD)
        if (has_min) {
            float32x4_t xsum0 = vld1q_f32(tokens->xsum[b][0]), xsum1 = vld1q_f32(tokens->xsum[b][1]);
#define ADD_MIN(p, t)                                                                                        \
    y##p##t = vfmaq_f32(y##p##t, vmulq_f32(vld1q_f32(panel->m[b][pair + p]), dx##t), xsum##t);
            TILE(ADD_MIN)
        }
#undef ADD
#undef ADD_MIN
    }
    STORE_Y(0)
    STORE_Y(1)
}

/* d and m: of rows 2 * pair .. 2 * pair + 7; m is NULL where the panel has no mins. */
MLT_INLINE void super_8x4(const struct packed_panel *panel, const float *d, const float *m, int pair,
                          int group, const struct packed_tokens *tokens, float *y, int64_t ld)
{
#define ZERO_SUPER(p, t) int32x4_t isum##p##t = vdupq_n_s32(0);
    TILE(ZERO_SUPER)
    for (int g = 0; g < MLT_PANEL_COLUMNS / group; g++) {
        DOT_GROUP(group * g, group)
#define SCALE(p, t) isum##p##t = vmlaq_s32(isum##p##t, s##p##t, vld1q_s32(panel->scale[g][pair + p]));
        TILE(SCALE)
    }
    LOAD_Y(0)
    LOAD_Y(1)
    float32x4_t dx0 = vld1q_f32(tokens->d[0][0]), dx1 = vld1q_f32(tokens->d[0][1]);
    float32x4_t low = vld1q_f32(d), high = vld1q_f32(d + 4);
    float32x4_t d0 = vzip1q_f32(low, low), d1 = vzip2q_f32(low, low), d2 = vzip1q_f32(high, high),
                d3 = vzip2q_f32(high, high);
#define ADD(p, t) y##p##t = vfmaq_f32(y##p##t, vmulq_f32(d##p, dx##t), vcvtq_f32_s32(isum##p##t));
    TILE(ADD)
    if (m) {
        TILE(ZERO)
        for (int g = 0; g < MLT_PANEL_COLUMNS / group; g++) {
            int32x4_t xsum0 = vld1q_s32(tokens->sums[g][0]), xsum1 = vld1q_s32(tokens->sums[g][1]);
#define SCALE_MIN(p, t) s##p##t = vmlaq_s32(s##p##t, xsum##t, vld1q_s32(panel->min[g][pair + p]));
            TILE(SCALE_MIN)
        }
        low = vld1q_f32(m), high = vld1q_f32(m + 4);
        d0 = vzip1q_f32(low, low), d1 = vzip2q_f32(low, low), d2 = vzip1q_f32(high, high),
        d3 = vzip2q_f32(high, high);
#define ADD_MIN(p, t) y##p##t = vfmsq_f32(y##p##t, vmulq_f32(d##p, dx##t), vcvtq_f32_s32(s##p##t));
        TILE(ADD_MIN)
    }
    STORE_Y(0)
    STORE_Y(1)
#undef ZERO_SUPER
#undef SCALE
#undef SCALE_MIN
#undef ADD
#undef ADD_MIN
}

void mlt_dot_block32_i8mm(const struct mlt_panel *panels, int n_panels, int64_t column,
                          const struct mlt_act *act, int64_t token, int64_t tokens, float *y, int64_t ld)
{
    int64_t t = 0;
    if (tokens >= PACK_FROM_TOKENS) {
        struct packed_panel packed[MLT_MAX_PANELS];
        for (int p = 0; p < n_panels; p++)
            pack_panel(&panels[p], 0, &packed[p]);
        for (; t + TILE_TOKENS <= tokens; t += TILE_TOKENS) {
            struct packed_tokens tile;
            pack_tokens(act, token + t, column, panels->columns, 0, &tile);
            for (int p = 0; p < n_panels; p++)
                for (int pair = 0; pair < PAIRS; pair += 4)
                    block32_8x4(&packed[p], panels->columns, panels->has_min, pair, &tile,
                                y + t * ld + p * MLT_PANEL_ROWS + 2 * pair, ld);
        }
    }
    if (t < tokens)
        mlt_dot_block32_dotprod(panels, n_panels, column, act, token + t, tokens - t, y + t * ld, ld);
}

/* Returns how many tokens it has done. */
MLT_INLINE int64_t dot_super(const struct mlt_panel *panels, int n_panels, int64_t column,
                             const struct mlt_act *act, int64_t token, int64_t tokens, float *y, int64_t ld,
                             int group)
{
    if (tokens < PACK_FROM_TOKENS) return 0;
    struct packed_panel packed[MLT_MAX_PANELS];
    for (int p = 0; p < n_panels; p++)
        pack_panel(&panels[p], MLT_PANEL_COLUMNS / group, &packed[p]);
    int64_t t = 0;
    for (; t + TILE_TOKENS <= tokens; t += TILE_TOKENS) {
        struct packed_tokens tile;
        pack_tokens(act, token + t, column, MLT_PANEL_COLUMNS, MLT_PANEL_COLUMNS / group, &tile);
        for (int p = 0; p < n_panels; p++)
            for (int pair = 0; pair < PAIRS; pair += 4)
                super_8x4(&packed[p], &panels[p].d[0][2 * pair],
                          panels[p].has_min ? &panels[p].m[0][2 * pair] : NULL, pair, group, &tile,
                          y + t * ld + p * MLT_PANEL_ROWS + 2 * pair, ld);
    }
    return t;
}

void mlt_dot_super32_i8mm(const struct mlt_panel *panels, int n_panels, int64_t column,
                          const struct mlt_act *act, int64_t token, int64_t tokens, float *y, int64_t ld)
{
    int64_t t = dot_super(panels, n_panels, column, act, token, tokens, y, ld, 32);
    if (t < tokens)
        mlt_dot_super32_dotprod(panels, n_panels, column, act, token + t, tokens - t, y + t * ld, ld);
}

void mlt_dot_super16_i8mm(const struct mlt_panel *panels, int n_panels, int64_t column,
                          const struct mlt_act *act, int64_t token, int64_t tokens, float *y, int64_t ld)
{
    int64_t t = dot_super(panels, n_panels, column, act, token, tokens, y, ld, 16);
    if (t < tokens)
        mlt_dot_super16_dotprod(panels, n_panels, column, act, token + t, tokens - t, y + t * ld, ld);
}
