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

enum { TILE_ROWS = 8, TILE_PAIRS = TILE_ROWS / 2, TILE_TOKENS = 4, PACK_FROM_TOKENS = 8 };

/* Eight rows of a panel in pairs; numbers of rows r, r, r + 1, r + 1 in a vector. */
struct packed_rows {
    int8_t w[MLT_PANEL_COLUMNS / 8][TILE_PAIRS][16];
    union {
        struct {
            float d[8][TILE_PAIRS][4], m[8][TILE_PAIRS][4]; /* BLOCK32 */
        };
        struct {
            int32_t scale[16][TILE_PAIRS][4]; /* SUPER, per group */
            int8_t min[2][TILE_PAIRS][16];    /* SUPER, eight groups each */
        };
    };
};

/*
 * Four tokens in pairs; numbers of tokens t, t + 1, t, t + 1 in a vector. Sums of groups are multiplied with
 * mins by smmla too, as 64 * high + low: |sum| <= 32 * 127, so that high is in [-64, 63] and low in [0, 63].
 */
struct packed_tokens {
    int8_t x[MLT_PANEL_COLUMNS / 8][2][16];
    float d[8][2][4];
    union {
        float xsum[8][2][4]; /* BLOCK32: d * (sum of x) */
        struct {
            int8_t high[2][2][16], low[2][2][16]; /* SUPER, eight groups each */
        };
    };
};

/* Rows r .. r + 3 to r, r, r + 1, r + 1 and r + 2, r + 2, r + 3, r + 3. */
MLT_INLINE void pack_floats(const float *in, float (*out)[4])
{
    for (int r = 0; r < TILE_ROWS; r += 4) {
        float32x4_t v = vld1q_f32(in + r);
        vst1q_f32(out[r / 2], vzip1q_f32(v, v));
        vst1q_f32(out[r / 2 + 1], vzip2q_f32(v, v));
    }
}

MLT_INLINE void pack_integers(const int32_t *in, int32_t (*out)[4])
{
    for (int r = 0; r < TILE_ROWS; r += 4) {
        int32x4_t v = vld1q_s32(in + r);
        vst1q_s32(out[r / 2], vzip1q_s32(v, v));
        vst1q_s32(out[r / 2 + 1], vzip2q_s32(v, v));
    }
}

/* Words of four rows, first those of the lower columns (or groups), to pairs of rows with eight bytes each.
 */
MLT_INLINE void pack_words(int32x4_t lower, int32x4_t upper, int8_t (*out)[16])
{
    vst1q_s8(out[0], vreinterpretq_s8_s32(vzip1q_s32(lower, upper)));
    vst1q_s8(out[1], vreinterpretq_s8_s32(vzip2q_s32(lower, upper)));
}

/* The mins of groups group .. group + 3 of four rows, a byte each. */
MLT_INLINE int32x4_t four_mins(const struct mlt_panel *panel, int group, int row)
{
    int32x4_t mins = vld1q_s32(&panel->min[group][row]);
    mins = vsliq_n_s32(mins, vld1q_s32(&panel->min[group + 1][row]), 8);
    mins = vsliq_n_s32(mins, vld1q_s32(&panel->min[group + 2][row]), 16);
    return vsliq_n_s32(mins, vld1q_s32(&panel->min[group + 3][row]), 24);
}

/* Rows row .. row + 7. groups: of a superblock, or 0 for blocks of 32. */
static void pack_rows(const struct mlt_panel *panel, int row, int groups, struct packed_rows *packed)
{
    for (int k = 0; k < panel->columns / 8; k++)
        for (int r = 0; r < TILE_ROWS; r += 4)
            pack_words(vreinterpretq_s32_s8(vld1q_s8(panel->q[2 * k][row + r])),
                       vreinterpretq_s32_s8(vld1q_s8(panel->q[2 * k + 1][row + r])), &packed->w[k][r / 2]);
    if (groups == 0) {
        for (int b = 0; b < panel->columns / 32; b++) {
            pack_floats(&panel->d[b][row], packed->d[b]);
            if (panel->has_min) pack_floats(&panel->m[b][row], packed->m[b]);
        }
    }
    for (int g = 0; g < groups; g++)
        pack_integers(&panel->scale[g][row], packed->scale[g]);
    for (int g = 0; panel->has_min && g < groups; g += 8)
        for (int r = 0; r < TILE_ROWS; r += 4)
            pack_words(four_mins(panel, g, row + r), four_mins(panel, g + 4, row + r),
                       &packed->min[g / 8][r / 2]);
}

MLT_INLINE float32x4_t pair_of_floats(float first, float second)
{
    float32x2_t pair = vset_lane_f32(second, vdup_n_f32(first), 1);
    return vcombine_f32(pair, pair);
}

/* The sums of eight groups of 32 from those of sixteen columns each. */
MLT_INLINE int16x8_t sums_of_32(const int16_t *sums)
{
    return vpaddq_s16(vld1q_s16(sums), vld1q_s16(sums + 8));
}

/* Splits the sums of eight groups of two tokens. */
MLT_INLINE void pack_sums(int16x8_t first, int16x8_t second, int8_t high[16], int8_t low[16])
{
    int16x8_t mask = vdupq_n_s16(63);
    vst1q_s8(high, vcombine_s8(vshrn_n_s16(first, 6), vshrn_n_s16(second, 6)));
    vst1q_s8(low, vcombine_s8(vmovn_s16(vandq_s16(first, mask)), vmovn_s16(vandq_s16(second, mask))));
}

/* Tokens token .. token + 3 at `columns` columns from `column` on. Sums are not needed where panels have no
 * minimums. */
static void pack_tokens(const struct mlt_act *act, int64_t token, int64_t column, int columns, int groups,
                        bool has_min, struct packed_tokens *packed)
{
    int64_t blocks = act->columns / act->block;
    for (int pair = 0; pair < 2; pair++) {
        const int8_t *x = act->q + (token + 2 * pair) * act->columns + column;
        MLT_UNROLL(4)
        for (int k = 0; k < columns / 8; k += 2) {
            int64x2_t first = vreinterpretq_s64_s8(vld1q_s8(x + 8 * k));
            int64x2_t second = vreinterpretq_s64_s8(vld1q_s8(x + act->columns + 8 * k));
            vst1q_s8(packed->x[k][pair], vreinterpretq_s8_s64(vzip1q_s64(first, second)));
            vst1q_s8(packed->x[k + 1][pair], vreinterpretq_s8_s64(vzip2q_s64(first, second)));
        }
        const float *d = act->d + (token + 2 * pair) * blocks + column / act->block;
        for (int b = 0; b < columns / act->block; b++)
            vst1q_f32(packed->d[b][pair], pair_of_floats(d[b], d[blocks + b]));
        if (!has_min) continue;
        const int16_t *first = act->sums + (token + 2 * pair) * (act->columns / 16) + column / 16;
        const int16_t *second = first + act->columns / 16;
        if (groups == 0) {
            for (int b = 0; b < columns / 32; b++)
                vst1q_f32(packed->xsum[b][pair],
                          pair_of_floats(d[b] * (float)(first[2 * b] + first[2 * b + 1]),
                                         d[blocks + b] * (float)(second[2 * b] + second[2 * b + 1])));
        } else if (groups == 8) {
            pack_sums(sums_of_32(first), sums_of_32(second), packed->high[0][pair], packed->low[0][pair]);
        } else {
            for (int i = 0; i < 2; i++)
                pack_sums(vld1q_s16(first + 8 * i), vld1q_s16(second + 8 * i), packed->high[i][pair],
                          packed->low[i][pair]);
        }
    }
}

/* A tile's eight vectors: pair of rows 0..3, pair of tokens 0..1. */
#define TILE(M) M(0, 0) M(1, 0) M(2, 0) M(3, 0) M(0, 1) M(1, 1) M(2, 1) M(3, 1)

/* Two tokens of y, four rows at a time, for pair of tokens t. */
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
/* Adds the products of `steps` times eight columns to the tile; w[step][pair][16], x[step][pair][16]. */
#define DOT(w, x, steps)                                                                                     \
    MLT_UNROLL(4)                                                                                            \
    for (int k = 0; k < (steps); k++) {                                                                      \
        int8x16_t w0 = vld1q_s8((w)[k][0]), w1 = vld1q_s8((w)[k][1]);                                        \
        int8x16_t w2 = vld1q_s8((w)[k][2]), w3 = vld1q_s8((w)[k][3]);                                        \
        int8x16_t x0 = vld1q_s8((x)[k][0]), x1 = vld1q_s8((x)[k][1]);                                        \
        TILE(MULTIPLY)                                                                                       \
    }

/* y: the first row of the first token. */
static void block32_8x4(const struct packed_rows *rows, int columns, bool has_min,
                        const struct packed_tokens *tokens, float *y, int64_t ld)
{
    LOAD_Y(0)
    LOAD_Y(1)
    for (int b = 0; b < columns / 32; b++) {
        TILE(ZERO)
        DOT(rows->w + 4 * b, tokens->x + 4 * b, 4)
        float32x4_t dx0 = vld1q_f32(tokens->d[b][0]), dx1 = vld1q_f32(tokens->d[b][1]);
#define ADD(p, t)                                                                                            \
    y##p##t = vfmaq_f32(y##p##t, vmulq_f32(vld1q_f32(rows->d[b][p]), dx##t), vcvtq_f32_s32(s##p##t));
        TILE(ADD)
        if (has_min) {
            float32x4_t xsum0 = vld1q_f32(tokens->xsum[b][0]), xsum1 = vld1q_f32(tokens->xsum[b][1]);
#define ADD_MIN(p, t) y##p##t = vfmaq_f32(y##p##t, vld1q_f32(rows->m[b][p]), xsum##t);
            TILE(ADD_MIN)
        }
#undef ADD
#undef ADD_MIN
    }
    STORE_Y(0)
    STORE_Y(1)
}

/* d and m: of the eight rows; m is NULL where the panel has no mins. */
MLT_INLINE void super_8x4(const struct packed_rows *rows, const float *d, const float *m, int group,
                          const struct packed_tokens *tokens, float *y, int64_t ld)
{
#define ZERO_SUPER(p, t) int32x4_t isum##p##t = vdupq_n_s32(0);
    TILE(ZERO_SUPER)
    for (int g = 0; g < MLT_PANEL_COLUMNS / group; g++) {
        TILE(ZERO)
        DOT(rows->w + g * group / 8, tokens->x + g * group / 8, group / 8)
#define SCALE(p, t) isum##p##t = vmlaq_s32(isum##p##t, s##p##t, vld1q_s32(rows->scale[g][p]));
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
        DOT(rows->min, tokens->high, 32 / group)
#define TIMES_64(p, t) s##p##t = vshlq_n_s32(s##p##t, 6);
        TILE(TIMES_64)
        DOT(rows->min, tokens->low, 32 / group)
        low = vld1q_f32(m), high = vld1q_f32(m + 4);
        d0 = vzip1q_f32(low, low), d1 = vzip2q_f32(low, low), d2 = vzip1q_f32(high, high),
        d3 = vzip2q_f32(high, high);
#define SUBTRACT_MIN(p, t) y##p##t = vfmsq_f32(y##p##t, vmulq_f32(d##p, dx##t), vcvtq_f32_s32(s##p##t));
        TILE(SUBTRACT_MIN)
    }
    STORE_Y(0)
    STORE_Y(1)
#undef ZERO_SUPER
#undef SCALE
#undef ADD
#undef TIMES_64
#undef SUBTRACT_MIN
}

/*
 * Does as many tokens as fill tiles, if they are worth the packing, and returns their number. group: 32 or 16
 * columns of a superblock, or 0 for blocks of 32.
 */
MLT_INLINE int64_t dot_tiles(const struct mlt_panel *panels, int n_panels, int64_t column,
                             const struct mlt_act *act, int64_t token, int64_t tokens, float *y, int64_t ld,
                             int group)
{
    if (tokens < PACK_FROM_TOKENS) return 0;
    enum { HALVES = MLT_PANEL_ROWS / TILE_ROWS };
    struct packed_rows packed[MLT_MAX_PANELS * HALVES];
    const int groups = group ? MLT_PANEL_COLUMNS / group : 0, columns = panels->columns;
    for (int i = 0; i < n_panels * HALVES; i++)
        pack_rows(&panels[i / HALVES], i % HALVES * TILE_ROWS, groups, &packed[i]);
    int64_t t = 0;
    for (; t + TILE_TOKENS <= tokens; t += TILE_TOKENS) {
        struct packed_tokens tile;
        pack_tokens(act, token + t, column, columns, groups, panels->has_min, &tile);
        for (int i = 0; i < n_panels * HALVES; i++) {
            const struct mlt_panel *panel = &panels[i / HALVES];
            int row = i % HALVES * TILE_ROWS;
            float *out = y + t * ld + i * TILE_ROWS;
            if (group)
                super_8x4(&packed[i], &panel->d[0][row], panel->has_min ? &panel->m[0][row] : NULL, group,
                          &tile, out, ld);
            else
                block32_8x4(&packed[i], columns, panel->has_min, &tile, out, ld);
        }
    }
    return t;
}

void mlt_dot_block32_i8mm(const struct mlt_panel *panels, int n_panels, int64_t column,
                          const struct mlt_act *act, int64_t token, int64_t tokens, float *y, int64_t ld)
{
    int64_t t = dot_tiles(panels, n_panels, column, act, token, tokens, y, ld, 0);
    if (t < tokens)
        mlt_dot_block32_dotprod(panels, n_panels, column, act, token + t, tokens - t, y + t * ld, ld);
}

void mlt_dot_super32_i8mm(const struct mlt_panel *panels, int n_panels, int64_t column,
                          const struct mlt_act *act, int64_t token, int64_t tokens, float *y, int64_t ld)
{
    int64_t t = dot_tiles(panels, n_panels, column, act, token, tokens, y, ld, 32);
    if (t < tokens)
        mlt_dot_super32_dotprod(panels, n_panels, column, act, token + t, tokens - t, y + t * ld, ld);
}

void mlt_dot_super16_i8mm(const struct mlt_panel *panels, int n_panels, int64_t column,
                          const struct mlt_act *act, int64_t token, int64_t tokens, float *y, int64_t ld)
{
    int64_t t = dot_tiles(panels, n_panels, column, act, token, tokens, y, ld, 16);
    if (t < tokens)
        mlt_dot_super16_dotprod(panels, n_panels, column, act, token + t, tokens - t, y + t * ld, ld);
}
