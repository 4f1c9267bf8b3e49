/*
 * Panel products without dot-product instructions: widening multiplications to int16, added in pairs to int32
 * before they could overflow. Two products always fit (|q * xq| <= 128 * 127); eight do where |q| <= 32.
 *
 * A register holds four columns of four rows. Sixteen rows x one token: the eight accumulators have two
 * partial sums a row.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "kernels/arm/arm.h"

#include <arm_neon.h>
#include <string.h>

/* Integer sums of sixteen rows, rows 4 i .. 4 i + 3 in v[i]. */
struct sums16 {
    int32x4_t v[4];
};

MLT_INLINE int8x16_t four_columns(const int8_t *x)
{
    int32_t bytes;
    memcpy(&bytes, x, sizeof bytes);
    return vreinterpretq_s8_s32(vdupq_n_s32(bytes));
}

/* Whether eight products fit int16. */
static bool is_small(const struct mlt_panel *panel)
{
    return panel->q_low >= -32 && panel->q_high <= 32;
}

#define ROWS4(M) M(0) M(1) M(2) M(3)

/* Sum of q * xq over `columns` (16 or 32) from q and x on. */
MLT_INLINE struct sums16 integer_dots(const int8_t (*q)[MLT_PANEL_ROWS][4], const int8_t *x, int columns,
                                      bool small)
{
#define ZERO(i) int32x4_t low##i = vdupq_n_s32(0), high##i = vdupq_n_s32(0);
    ROWS4(ZERO)
    const int step = small ? columns / 4 : 2; /* groups of four columns whose products are added in 16 bits */
    for (int k = 0; k < columns / 4; k += step) {
#define FIRST_PRODUCTS(i)                                                                                    \
    int8x16_t w##i = vld1q_s8(q[k][4 * i]);                                                                  \
    int16x8_t l##i = vmull_s8(vget_low_s8(w##i), vget_low_s8(x0)), h##i = vmull_high_s8(w##i, x0);
        int8x16_t x0 = four_columns(x + 4 * k);
        ROWS4(FIRST_PRODUCTS)
        MLT_UNROLL(8)
        for (int j = 1; j < step; j++) {
            x0 = four_columns(x + 4 * (k + j));
#define MORE_PRODUCTS(i)                                                                                     \
    w##i = vld1q_s8(q[k + j][4 * i]);                                                                        \
    l##i = vmlal_s8(l##i, vget_low_s8(w##i), vget_low_s8(x0));                                               \
    h##i = vmlal_high_s8(h##i, w##i, x0);
            ROWS4(MORE_PRODUCTS)
        }
#define ADD_PRODUCTS(i)                                                                                      \
    low##i = vpadalq_s16(low##i, l##i);                                                                      \
    high##i = vpadalq_s16(high##i, h##i);
        ROWS4(ADD_PRODUCTS)
    }
    return (struct sums16){
        {vpaddq_s32(low0, high0), vpaddq_s32(low1, high1), vpaddq_s32(low2, high2), vpaddq_s32(low3, high3)}};
#undef ZERO
#undef FIRST_PRODUCTS
#undef MORE_PRODUCTS
#undef ADD_PRODUCTS
}

MLT_INLINE void block32_token(const struct mlt_panel *panel, bool small, const int8_t *x, const float *dx,
                              const int16_t *sums, float *y)
{
    float32x4_t y0 = vld1q_f32(y), y1 = vld1q_f32(y + 4), y2 = vld1q_f32(y + 8), y3 = vld1q_f32(y + 12);
    for (int b = 0; b < panel->columns / 32; b++) {
        struct sums16 dots = integer_dots(&panel->q[8 * b], x + 32 * b, 32, small);
        float xsum = dx[b] * (float)(sums[2 * b] + sums[2 * b + 1]);
#define ADD(i)                                                                                               \
    y##i = vfmaq_f32(y##i, vmulq_n_f32(vld1q_f32(&panel->d[b][4 * i]), dx[b]), vcvtq_f32_s32(dots.v[i]));
#define ADD_MIN(i) y##i = vfmaq_n_f32(y##i, vld1q_f32(&panel->m[b][4 * i]), xsum);
        ROWS4(ADD)
        if (panel->has_min) {
            ROWS4(ADD_MIN)
        }
#undef ADD
#undef ADD_MIN
    }
    vst1q_f32(y, y0);
    vst1q_f32(y + 4, y1);
    vst1q_f32(y + 8, y2);
    vst1q_f32(y + 12, y3);
}

MLT_INLINE void dot_block32(const struct mlt_panel *panels, int n_panels, bool small, int64_t column,
                            const struct mlt_act *act, int64_t token, int64_t tokens, float *y, int64_t ld)
{
    for (int p = 0; p < n_panels; p++)
        for (int64_t t = token; t < token + tokens; t++)
            block32_token(&panels[p], small, act->q + t * act->columns + column,
                          act->d + t * (act->columns / 32) + column / 32,
                          act->sums + t * (act->columns / 16) + column / 16,
                          y + (t - token) * ld + p * MLT_PANEL_ROWS);
}

void mlt_dot_block32_neon(const struct mlt_panel *panels, int n_panels, int64_t column,
                          const struct mlt_act *act, int64_t token, int64_t tokens, float *y, int64_t ld)
{
    if (is_small(panels))
        dot_block32(panels, n_panels, true, column, act, token, tokens, y, ld);
    else
        dot_block32(panels, n_panels, false, column, act, token, tokens, y, ld);
}

MLT_INLINE void super_token(const struct mlt_panel *panel, bool small, const int8_t *x, float dx,
                            const int16_t *sums, int group, float *y)
{
#define ZERO(i) int32x4_t isum##i = vdupq_n_s32(0), msum##i = vdupq_n_s32(0);
    ROWS4(ZERO)
    for (int g = 0; g < MLT_PANEL_COLUMNS / group; g++) {
        struct sums16 dots = integer_dots(&panel->q[g * group / 4], x + g * group, group, small);
#define SCALE(i) isum##i = vmlaq_s32(isum##i, dots.v[i], vld1q_s32(&panel->scale[g][4 * i]));
        ROWS4(SCALE)
    }
    if (panel->has_min) {
        for (int g = 0; g < MLT_PANEL_COLUMNS / group; g++) {
            int32_t xsum = group == 16 ? sums[g] : sums[2 * g] + sums[2 * g + 1];
#define SCALE_MIN(i) msum##i = vmlaq_n_s32(msum##i, vld1q_s32(&panel->min[g][4 * i]), xsum);
            ROWS4(SCALE_MIN)
        }
    }
#define ADD(i)                                                                                               \
    {                                                                                                        \
        float32x4_t sum = vld1q_f32(y + 4 * i);                                                              \
        sum = vfmaq_f32(sum, vmulq_n_f32(vld1q_f32(&panel->d[0][4 * i]), dx), vcvtq_f32_s32(isum##i));       \
        if (panel->has_min)                                                                                  \
            sum = vfmsq_f32(sum, vmulq_n_f32(vld1q_f32(&panel->m[0][4 * i]), dx), vcvtq_f32_s32(msum##i));   \
        vst1q_f32(y + 4 * i, sum);                                                                           \
    }
    ROWS4(ADD)
#undef ZERO
#undef SCALE
#undef SCALE_MIN
#undef ADD
}

MLT_INLINE void dot_super(const struct mlt_panel *panels, int n_panels, bool small, int64_t column,
                          const struct mlt_act *act, int64_t token, int64_t tokens, float *y, int64_t ld,
                          int group)
{
    for (int p = 0; p < n_panels; p++)
        for (int64_t t = token; t < token + tokens; t++)
            super_token(&panels[p], small, act->q + t * act->columns + column,
                        act->d[t * (act->columns / MLT_PANEL_COLUMNS) + column / MLT_PANEL_COLUMNS],
                        act->sums + t * (act->columns / 16) + column / 16, group,
                        y + (t - token) * ld + p * MLT_PANEL_ROWS);
}

void mlt_dot_super32_neon(const struct mlt_panel *panels, int n_panels, int64_t column,
                          const struct mlt_act *act, int64_t token, int64_t tokens, float *y, int64_t ld)
{
    if (is_small(panels))
        dot_super(panels, n_panels, true, column, act, token, tokens, y, ld, 32);
    else
        dot_super(panels, n_panels, false, column, act, token, tokens, y, ld, 32);
}

void mlt_dot_super16_neon(const struct mlt_panel *panels, int n_panels, int64_t column,
                          const struct mlt_act *act, int64_t token, int64_t tokens, float *y, int64_t ld)
{
    if (is_small(panels))
        dot_super(panels, n_panels, true, column, act, token, tokens, y, ld, 16);
    else
        dot_super(panels, n_panels, false, column, act, token, tokens, y, ld, 16);
}
