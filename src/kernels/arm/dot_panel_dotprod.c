/*
 * Panel products with sdot: a register holds four columns of four rows, sdot by element multiplies it with
 * four columns of a token.
 *
 * One token: sixteen rows at a time. Four tokens: eight rows at a time, so that each register of weights
 * serves four instructions and y stays in registers over the panel.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "kernels/arm/arm.h"

#include <arm_neon.h>

/* Four tokens, or one, at the panel's first column. */
struct tokens {
    const int8_t *x; /* token t at x + t * columns */
    int64_t columns;
    const float *dx; /* d + t * blocks */
    int64_t blocks;
    const int16_t *sums; /* sums + t * (columns / 16) */
};

MLT_INLINE struct tokens tokens_at(const struct mlt_act *act, int64_t token, int64_t column)
{
    int64_t blocks = act->columns / act->block;
    return (struct tokens){.x = act->q + token * act->columns + column,
                           .columns = act->columns,
                           .dx = act->d + token * blocks + column / act->block,
                           .blocks = blocks,
                           .sums = act->sums + token * (act->columns / 16) + column / 16};
}

/* The sum of the int8 of group `g` of token `t`. */
MLT_INLINE int32_t group_sum(const struct tokens *tokens, int t, int g, int group)
{
    const int16_t *sums = tokens->sums + t * (tokens->columns / 16);
    return group == 16 ? sums[g] : sums[2 * g] + sums[2 * g + 1];
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
        int8x16_t x = vld1q_s8(tokens->x + (at) + 16 * half);                                                \
        FOUR(DOT_ROWS)                                                                                       \
    }

static void block32_16x1(const struct mlt_panel *panel, const struct tokens *tokens, float *y)
{
    float32x4_t y0 = vld1q_f32(y), y1 = vld1q_f32(y + 4), y2 = vld1q_f32(y + 8), y3 = vld1q_f32(y + 12);
    for (int b = 0; b < panel->columns / 32; b++) {
        DOT_GROUP(32 * b, 32)
        float dx = tokens->dx[b];
#define ADD(i) y##i = vfmaq_f32(y##i, vmulq_n_f32(vld1q_f32(&panel->d[b][4 * i]), dx), vcvtq_f32_s32(sum##i));
        FOUR(ADD)
        if (panel->has_min) {
            float xsum = (float)group_sum(tokens, 0, b, 32);
#define ADD_MIN(i) y##i = vfmaq_n_f32(y##i, vmulq_n_f32(vld1q_f32(&panel->m[b][4 * i]), dx), xsum);
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

MLT_INLINE void super_16x1(const struct mlt_panel *panel, const struct tokens *tokens, int group, float *y)
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
            int32_t xsum = group_sum(tokens, 0, g, group);
#define SCALE_MIN(i) msum##i = vmlaq_n_s32(msum##i, vld1q_s32(&panel->min[g][4 * i]), xsum);
            FOUR(SCALE_MIN)
        }
    }
    float dx = tokens->dx[0];
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

/* ---- Four tokens, rows row .. row + 7: a and b of token t have four rows each ---- */

#define ZERO(t) int32x4_t a##t = vdupq_n_s32(0), b##t = vdupq_n_s32(0);
#define LOAD_X(t) int8x16_t x##t = vld1q_s8(x + t * tokens->columns);
#define DOT_TOKEN(t, lane)                                                                                   \
    a##t = vdotq_laneq_s32(a##t, wa, x##t, lane);                                                            \
    b##t = vdotq_laneq_s32(b##t, wb, x##t, lane);
#define DOT_TOKENS(lane)                                                                                     \
    {                                                                                                        \
        int8x16_t wa = vld1q_s8(w + lane * WORD), wb = vld1q_s8(w + lane * WORD + 16);                       \
        DOT_TOKEN(0, lane) DOT_TOKEN(1, lane) DOT_TOKEN(2, lane) DOT_TOKEN(3, lane)                          \
    }
#define DOT_GROUP(at, columns)                                                                               \
    FOUR(ZERO)                                                                                               \
    MLT_UNROLL(2)                                                                                            \
    for (int half = 0; half < (columns) / 16; half++) {                                                      \
        const int8_t *w = panel->q[(at) / 4 + 4 * half][row], *x = tokens->x + (at) + 16 * half;             \
        FOUR(LOAD_X)                                                                                         \
        FOUR(DOT_TOKENS)                                                                                     \
    }

static void block32_8x4(const struct mlt_panel *panel, int row, const struct tokens *tokens, float *y,
                        int64_t ld)
{
#define LOAD_Y(t) float32x4_t ya##t = vld1q_f32(y + t * ld), yb##t = vld1q_f32(y + t * ld + 4);
    FOUR(LOAD_Y)
    for (int i = 0; i < panel->columns / 32; i++) {
        DOT_GROUP(32 * i, 32)
        float32x4_t da = vld1q_f32(&panel->d[i][row]), db = vld1q_f32(&panel->d[i][row + 4]);
#define ADD(t)                                                                                               \
    {                                                                                                        \
        float dx = tokens->dx[t * tokens->blocks + i];                                                       \
        ya##t = vfmaq_f32(ya##t, vmulq_n_f32(da, dx), vcvtq_f32_s32(a##t));                                  \
        yb##t = vfmaq_f32(yb##t, vmulq_n_f32(db, dx), vcvtq_f32_s32(b##t));                                  \
    }
        FOUR(ADD)
        if (panel->has_min) {
            float32x4_t ma = vld1q_f32(&panel->m[i][row]), mb = vld1q_f32(&panel->m[i][row + 4]);
#define ADD_MIN(t)                                                                                           \
    {                                                                                                        \
        float dx = tokens->dx[t * tokens->blocks + i], xsum = (float)group_sum(tokens, t, i, 32);            \
        ya##t = vfmaq_n_f32(ya##t, vmulq_n_f32(ma, dx), xsum);                                               \
        yb##t = vfmaq_n_f32(yb##t, vmulq_n_f32(mb, dx), xsum);                                               \
    }
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
#undef STORE_Y
}

MLT_INLINE void super_8x4(const struct mlt_panel *panel, int row, const struct tokens *tokens, int group,
                          float *y, int64_t ld)
{
#define ZERO_SUPER(t) int32x4_t ia##t = vdupq_n_s32(0), ib##t = vdupq_n_s32(0);
    FOUR(ZERO_SUPER)
    for (int g = 0; g < MLT_PANEL_COLUMNS / group; g++) {
        DOT_GROUP(group * g, group)
        int32x4_t sa = vld1q_s32(&panel->scale[g][row]), sb = vld1q_s32(&panel->scale[g][row + 4]);
#define SCALE(t)                                                                                             \
    ia##t = vmlaq_s32(ia##t, a##t, sa);                                                                      \
    ib##t = vmlaq_s32(ib##t, b##t, sb);
        FOUR(SCALE)
    }
    float32x4_t da = vld1q_f32(&panel->d[0][row]), db = vld1q_f32(&panel->d[0][row + 4]);
#define ADD(t)                                                                                               \
    float32x4_t ya##t = vfmaq_f32(vld1q_f32(y + t * ld), vmulq_n_f32(da, tokens->dx[t * tokens->blocks]),    \
                                  vcvtq_f32_s32(ia##t));                                                     \
    float32x4_t yb##t = vfmaq_f32(vld1q_f32(y + t * ld + 4),                                                 \
                                  vmulq_n_f32(db, tokens->dx[t * tokens->blocks]), vcvtq_f32_s32(ib##t));
    FOUR(ADD)
    if (panel->has_min) {
        FOUR(ZERO)
        for (int g = 0; g < MLT_PANEL_COLUMNS / group; g++) {
            int32x4_t ma = vld1q_s32(&panel->min[g][row]), mb = vld1q_s32(&panel->min[g][row + 4]);
#define SCALE_MIN(t)                                                                                         \
    a##t = vmlaq_n_s32(a##t, ma, group_sum(tokens, t, g, group));                                            \
    b##t = vmlaq_n_s32(b##t, mb, group_sum(tokens, t, g, group));
            FOUR(SCALE_MIN)
        }
        da = vld1q_f32(&panel->m[0][row]);
        db = vld1q_f32(&panel->m[0][row + 4]);
#define ADD_MIN(t)                                                                                           \
    ya##t = vfmsq_f32(ya##t, vmulq_n_f32(da, tokens->dx[t * tokens->blocks]), vcvtq_f32_s32(a##t));          \
    yb##t = vfmsq_f32(yb##t, vmulq_n_f32(db, tokens->dx[t * tokens->blocks]), vcvtq_f32_s32(b##t));
        FOUR(ADD_MIN)
    }
#define STORE_Y(t)                                                                                           \
    vst1q_f32(y + t * ld, ya##t);                                                                            \
    vst1q_f32(y + t * ld + 4, yb##t);
    FOUR(STORE_Y)
}

/* ---- The entries ---- */

void mlt_dot_block32_dotprod(const struct mlt_panel *panels, int n_panels, int64_t column,
                             const struct mlt_act *act, int64_t token, int64_t tokens, float *y, int64_t ld)
{
    for (int p = 0; p < n_panels; p++) {
        float *out = y + p * MLT_PANEL_ROWS;
        int64_t t = 0;
        for (; t + 4 <= tokens; t += 4) {
            struct tokens four = tokens_at(act, token + t, column);
            for (int row = 0; row < MLT_PANEL_ROWS; row += 8)
                block32_8x4(&panels[p], row, &four, out + t * ld + row, ld);
        }
        for (; t < tokens; t++) {
            struct tokens one = tokens_at(act, token + t, column);
            block32_16x1(&panels[p], &one, out + t * ld);
        }
    }
}

MLT_INLINE void dot_super(const struct mlt_panel *panels, int n_panels, int64_t column,
                          const struct mlt_act *act, int64_t token, int64_t tokens, float *y, int64_t ld,
                          int group)
{
    for (int p = 0; p < n_panels; p++) {
        float *out = y + p * MLT_PANEL_ROWS;
        int64_t t = 0;
        for (; t + 4 <= tokens; t += 4) {
            struct tokens four = tokens_at(act, token + t, column);
            for (int row = 0; row < MLT_PANEL_ROWS; row += 8)
                super_8x4(&panels[p], row, &four, group, out + t * ld + row, ld);
        }
        for (; t < tokens; t++) {
            struct tokens one = tokens_at(act, token + t, column);
            super_16x1(&panels[p], &one, group, out + t * ld);
        }
    }
}

void mlt_dot_super32_dotprod(const struct mlt_panel *panels, int n_panels, int64_t column,
                             const struct mlt_act *act, int64_t token, int64_t tokens, float *y, int64_t ld)
{
    dot_super(panels, n_panels, column, act, token, tokens, y, ld, 32);
}

void mlt_dot_super16_dotprod(const struct mlt_panel *panels, int n_panels, int64_t column,
                             const struct mlt_act *act, int64_t token, int64_t tokens, float *y, int64_t ld)
{
    dot_super(panels, n_panels, column, act, token, tokens, y, ld, 16);
}
