/*
 * Panel products with sdot: a register holds four columns of four rows, sdot by element multiplies it with
 * four columns of a token.
 *
 * One token: sixteen rows at a time. Four tokens: eight rows at a time, so that each register of weights
 * serves four instructions and y stays in registers over the panel; the tokens are packed once for all
 * panels.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "kernels/arm/pairs_neon.h"

/* A token at the panel's first column. */
struct token {
    const int8_t *x;
    const float *dx;
    const int16_t *sums;
};

MLT_INLINE struct token token_at(const struct mlt_act *act, int64_t token, int64_t column)
{
    return (struct token){act->q + token * act->columns + column,
                          act->d + (token * act->columns + column) / act->block,
                          act->sums + (token * act->columns + column) / 16};
}

/* The sum of the int8 of group `g`. */
MLT_INLINE int32_t group_sum(const struct token *token, int g, int group)
{
    return group == 16 ? token->sums[g] : token->sums[2 * g] + token->sums[2 * g + 1];
}

#define FOUR(M) M(0) M(1) M(2) M(3)

/* From four columns of a row to the next four. */
enum { WORD = MLT_PANEL_ROWS * 4 };

/* ---- One token: sum i has rows 4 i .. 4 i + 3 ---- */

#define ZERO(i) int32x4_t sum##i = vdupq_n_s32(0);
/* Columns 4 lane .. 4 lane + 3 of sixteen, of all rows. */
#define DOT_ROWS(lane)                                                                                       \
    sum0 = vdotq_laneq_s32(sum0, vld1q_s8(q[lane][0]), x, lane);                                             \
    sum1 = vdotq_laneq_s32(sum1, vld1q_s8(q[lane][4]), x, lane);                                             \
    sum2 = vdotq_laneq_s32(sum2, vld1q_s8(q[lane][8]), x, lane);                                             \
    sum3 = vdotq_laneq_s32(sum3, vld1q_s8(q[lane][12]), x, lane);
/* `columns` columns from `at` on. */
#define DOT_GROUP(at, columns)                                                                               \
    FOUR(ZERO)                                                                                               \
    MLT_UNROLL(2)                                                                                            \
    for (int half = 0; half < (columns) / 16; half++) {                                                      \
        const int8_t(*q)[MLT_PANEL_ROWS][4] = &panel->q[(at) / 4 + 4 * half];                                \
        int8x16_t x = vld1q_s8(token->x + (at) + 16 * half);                                                 \
        FOUR(DOT_ROWS)                                                                                       \
    }

static void block32_16x1(const struct mlt_panel *panel, const struct token *token, float *y)
{
    float32x4_t y0 = vld1q_f32(y), y1 = vld1q_f32(y + 4), y2 = vld1q_f32(y + 8), y3 = vld1q_f32(y + 12);
    for (int b = 0; b < panel->columns / 32; b++) {
        DOT_GROUP(32 * b, 32)
        float dx = token->dx[b];
#define ADD(i) y##i = vfmaq_f32(y##i, vmulq_n_f32(vld1q_f32(&panel->d[b][4 * i]), dx), vcvtq_f32_s32(sum##i));
        FOUR(ADD)
        if (panel->has_min) {
            float xsum = dx * (float)group_sum(token, b, 32);
#define ADD_MIN(i) y##i = vfmaq_n_f32(y##i, vld1q_f32(&panel->m[b][4 * i]), xsum);
            FOUR(ADD_MIN)
        }
#undef ADD
#undef ADD_MIN
    }
    vst1q_f32(y, y0);
    vst1q_f32(y + 4, y1);
    vst1q_f32(y + 8, y2);
    vst1q_f32(y + 12, y3);
}

MLT_INLINE void super_16x1(const struct mlt_panel *panel, const struct token *token, int group, float *y)
{
#define ZERO_SUPER(i) int32x4_t isum##i = vdupq_n_s32(0), msum##i = vdupq_n_s32(0);
    FOUR(ZERO_SUPER)
    for (int g = 0; g < MLT_PANEL_COLUMNS / group; g++) {
        DOT_GROUP(group * g, group)
#define SCALE(i) isum##i = vmlaq_s32(isum##i, sum##i, vld1q_s32(&panel->scale[g][4 * i]));
        FOUR(SCALE)
    }
    if (panel->has_min) {
        for (int g = 0; g < MLT_PANEL_COLUMNS / group; g++) {
            int32_t xsum = group_sum(token, g, group);
#define SCALE_MIN(i) msum##i = vmlaq_n_s32(msum##i, vld1q_s32(&panel->min[g][4 * i]), xsum);
            FOUR(SCALE_MIN)
        }
    }
    float dx = token->dx[0];
#define ADD(i)                                                                                               \
    {                                                                                                        \
        float32x4_t sum = vld1q_f32(y + 4 * i);                                                              \
        sum = vfmaq_f32(sum, vmulq_n_f32(vld1q_f32(&panel->d[0][4 * i]), dx), vcvtq_f32_s32(isum##i));       \
        if (panel->has_min)                                                                                  \
            sum = vfmsq_f32(sum, vmulq_n_f32(vld1q_f32(&panel->m[0][4 * i]), dx), vcvtq_f32_s32(msum##i));   \
        vst1q_f32(y + 4 * i, sum);                                                                           \
    }
    FOUR(ADD)
#undef ZERO_SUPER
#undef SCALE
#undef SCALE_MIN
#undef ADD
}

#undef ZERO
#undef DOT_ROWS
#undef DOT_GROUP

/* ---- Four tokens ---- */

/* Four tokens at a panel's columns, in the order in which they are read. */
struct packed_tokens {
    int8_t x[MLT_PANEL_COLUMNS / 16][4][16];
    float d[8][4];
    union {
        float xsum[8][4];   /* BLOCK32: d * (sum of x) */
        int32_t sum[16][4]; /* SUPER: of each group */
    };
};

/* Tokens token .. token + 3. group: columns of a superblock's group, or 0 for blocks of 32. Sums are not
 * needed where panels have no minimums. */
static void pack_tokens(const struct mlt_act *act, int64_t token, int64_t column, int columns, int group,
                        bool has_min, struct packed_tokens *packed)
{
    for (int t = 0; t < 4; t++) {
        struct token one = token_at(act, token + t, column);
        const int8_t *x = one.x;
        int8_t *to = packed->x[0][t];
        MLT_UNROLL(4)
        for (int k = 0; k < columns; k += 32, to += 128) {
            struct mlt_pair pair;
            MLT_TAKE_PAIR(pair, x, 32);
            vst1q_s8(to, pair.first);
            vst1q_s8(to + 64, pair.second);
        }
        for (int b = 0; b < columns / act->block; b++)
            packed->d[b][t] = one.dx[b];
        if (!has_min) continue;
        for (int g = 0; g < (group ? columns / group : 0); g++)
            packed->sum[g][t] = group_sum(&one, g, group);
        for (int b = 0; b < (group ? 0 : columns / 32); b++)
            packed->xsum[b][t] = one.dx[b] * (float)group_sum(&one, b, 32);
    }
}

/* Rows row .. row + 7 of a panel: a and b of token t have four rows each. w and x move on with what is read.
 */
#define ZERO(t) int32x4_t a##t = vdupq_n_s32(0), b##t = vdupq_n_s32(0);
#define DOT_TOKEN(t, lane)                                                                                   \
    a##t = vdotq_laneq_s32(a##t, rows.first, x##t, lane);                                                    \
    b##t = vdotq_laneq_s32(b##t, rows.second, x##t, lane);
#define DOT_TOKENS(lane)                                                                                     \
    {                                                                                                        \
        struct mlt_pair rows;                                                                                \
        MLT_TAKE_PAIR(rows, w, WORD);                                                                        \
        DOT_TOKEN(0, lane) DOT_TOKEN(1, lane) DOT_TOKEN(2, lane) DOT_TOKEN(3, lane)                          \
    }
/* Sixteen columns. */
#define DOT_16                                                                                               \
    {                                                                                                        \
        MLT_KEEP_ORDER();                                                                                    \
        struct mlt_pair x01, x23;                                                                            \
        MLT_TAKE_PAIR(x01, x, 32);                                                                           \
        MLT_TAKE_PAIR(x23, x, 32);                                                                           \
        int8x16_t x0 = x01.first, x1 = x01.second, x2 = x23.first, x3 = x23.second;                          \
        FOUR(DOT_TOKENS)                                                                                     \
    }

MLT_INLINE void block32_8x4(const struct mlt_panel *panel, int row, const struct packed_tokens *tokens,
                            bool has_min, float *y, int64_t ld)
{
    const int8_t *w = panel->q[0][row], *x = tokens->x[0][0];
    const float *d = panel->d[0] + row, *m = panel->m[0] + row;
#define LOAD_Y(t) float32x4_t ya##t = vld1q_f32(y + t * ld), yb##t = vld1q_f32(y + t * ld + 4);
    FOUR(LOAD_Y)
    for (int i = 0, blocks = panel->columns / 32; i < blocks; i++) {
        FOUR(ZERO)
        DOT_16
        DOT_16
        float32x4_t dx = vld1q_f32(tokens->d[i]), da = vld1q_f32(d), db = vld1q_f32(d + 4);
        d += MLT_PANEL_ROWS;
#define ADD(t)                                                                                               \
    ya##t = vfmaq_f32(ya##t, vmulq_laneq_f32(da, dx, t), vcvtq_f32_s32(a##t));                               \
    yb##t = vfmaq_f32(yb##t, vmulq_laneq_f32(db, dx, t), vcvtq_f32_s32(b##t));
        FOUR(ADD)
        if (has_min) {
            float32x4_t xsum = vld1q_f32(tokens->xsum[i]), ma = vld1q_f32(m), mb = vld1q_f32(m + 4);
            m += MLT_PANEL_ROWS;
#define ADD_MIN(t)                                                                                           \
    ya##t = vfmaq_laneq_f32(ya##t, ma, xsum, t);                                                             \
    yb##t = vfmaq_laneq_f32(yb##t, mb, xsum, t);
            FOUR(ADD_MIN)
        }
    }
#define STORE_Y(t)                                                                                           \
    vst1q_f32(y + t * ld, ya##t);                                                                            \
    vst1q_f32(y + t * ld + 4, yb##t);
    FOUR(STORE_Y)
#undef LOAD_Y
#undef ADD
#undef ADD_MIN
}

MLT_INLINE void super_8x4(const struct mlt_panel *panel, int row, const struct packed_tokens *tokens,
                          int group, float *y, int64_t ld)
{
    const int8_t *w = panel->q[0][row], *x = tokens->x[0][0];
#define ZERO_SUPER(t) int32x4_t ia##t = vdupq_n_s32(0), ib##t = vdupq_n_s32(0);
    FOUR(ZERO_SUPER)
    for (int g = 0; g < MLT_PANEL_COLUMNS / group; g++) {
        FOUR(ZERO)
        DOT_16
        if (group == 32) DOT_16
        int32x4_t sa = vld1q_s32(&panel->scale[g][row]), sb = vld1q_s32(&panel->scale[g][row + 4]);
#define SCALE(t)                                                                                             \
    ia##t = vmlaq_s32(ia##t, a##t, sa);                                                                      \
    ib##t = vmlaq_s32(ib##t, b##t, sb);
        FOUR(SCALE)
    }
    float32x4_t da = vld1q_f32(&panel->d[0][row]), db = vld1q_f32(&panel->d[0][row + 4]),
                dx = vld1q_f32(tokens->d[0]);
#define ADD(t)                                                                                               \
    float32x4_t ya##t = vfmaq_f32(vld1q_f32(y + t * ld), vmulq_laneq_f32(da, dx, t), vcvtq_f32_s32(ia##t));  \
    float32x4_t yb##t =                                                                                      \
        vfmaq_f32(vld1q_f32(y + t * ld + 4), vmulq_laneq_f32(db, dx, t), vcvtq_f32_s32(ib##t));
    FOUR(ADD)
    if (panel->has_min) {
        FOUR(ZERO)
        for (int g = 0; g < MLT_PANEL_COLUMNS / group; g++) {
            int32x4_t ma = vld1q_s32(&panel->min[g][row]), mb = vld1q_s32(&panel->min[g][row + 4]),
                      sum = vld1q_s32(tokens->sum[g]);
#define SCALE_MIN(t)                                                                                         \
    a##t = vmlaq_laneq_s32(a##t, ma, sum, t);                                                                \
    b##t = vmlaq_laneq_s32(b##t, mb, sum, t);
            FOUR(SCALE_MIN)
        }
        da = vld1q_f32(&panel->m[0][row]);
        db = vld1q_f32(&panel->m[0][row + 4]);
#define ADD_MIN(t)                                                                                           \
    ya##t = vfmsq_f32(ya##t, vmulq_laneq_f32(da, dx, t), vcvtq_f32_s32(a##t));                               \
    yb##t = vfmsq_f32(yb##t, vmulq_laneq_f32(db, dx, t), vcvtq_f32_s32(b##t));
        FOUR(ADD_MIN)
    }
    FOUR(STORE_Y)
}

/* ---- The entries ---- */

/* group: columns of a superblock's group, or 0 for blocks of 32. */
MLT_INLINE void dot(const struct mlt_panel *panels, int n_panels, int64_t column, const struct mlt_act *act,
                    int64_t token, int64_t tokens, float *y, int64_t ld, int group)
{
    int64_t t = 0;
    for (; t + 4 <= tokens; t += 4) {
        struct packed_tokens four;
        pack_tokens(act, token + t, column, panels->columns, group, panels->has_min, &four);
        for (int i = 0; i < 2 * n_panels; i++) {
            const struct mlt_panel *panel = &panels[i / 2];
            int row = i % 2 * 8;
            if (group)
                super_8x4(panel, row, &four, group, y + t * ld + 8 * i, ld);
            else if (panel->has_min)
                block32_8x4(panel, row, &four, true, y + t * ld + 8 * i, ld);
            else
                block32_8x4(panel, row, &four, false, y + t * ld + 8 * i, ld);
        }
    }
    for (; t < tokens; t++) {
        struct token one = token_at(act, token + t, column);
        for (int p = 0; p < n_panels; p++) {
            float *out = y + t * ld + p * MLT_PANEL_ROWS;
            if (group)
                super_16x1(&panels[p], &one, group, out);
            else
                block32_16x1(&panels[p], &one, out);
        }
    }
}

#define DOT_ENTRY(name, group)                                                                               \
    void name(const struct mlt_panel *panels, int n_panels, int64_t column, const struct mlt_act *act,       \
              int64_t token, int64_t tokens, float *y, int64_t ld)                                           \
    {                                                                                                        \
        dot(panels, n_panels, column, act, token, tokens, y, ld, group);                                     \
    }
DOT_ENTRY(mlt_dot_block32_dotprod, 0)
DOT_ENTRY(mlt_dot_super32_dotprod, 32)
DOT_ENTRY(mlt_dot_super16_dotprod, 16)
