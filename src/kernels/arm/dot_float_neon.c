/*
 * Float products and attention scores: rows of weights (or keys) against tokens (or query heads), sixteen
 * partial sums each in four registers. Four rows of one token, or two rows of two tokens at a time.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "kernels/arm/lanes_neon.h"
#include "kernels/arm/pairs_neon.h"

/* A product's partial sums are named variables: compilers keep those in registers, arrays not always. */
#define SUMS(p)                                                                                              \
    float32x4_t p##0 = vdupq_n_f32(0.0f), p##1 = vdupq_n_f32(0.0f), p##2 = vdupq_n_f32(0.0f),                \
                p##3 = vdupq_n_f32(0.0f);
#define MULTIPLY(p, w, x)                                                                                    \
    p##0 = vfmaq_f32(p##0, (w).v[0], (x).v[0]);                                                              \
    p##1 = vfmaq_f32(p##1, (w).v[1], (x).v[1]);                                                              \
    p##2 = vfmaq_f32(p##2, (w).v[2], (x).v[2]);                                                              \
    p##3 = vfmaq_f32(p##3, (w).v[3], (x).v[3]);
/* The last n terms. */
#define MULTIPLY_SOME(p, w, x, n)                                                                            \
    {                                                                                                        \
        struct mlt_lanes before = {{p##0, p##1, p##2, p##3}};                                                \
        MULTIPLY(p, w, x)                                                                                    \
        struct mlt_lanes after = mlt_first_lanes(n, (struct mlt_lanes){{p##0, p##1, p##2, p##3}}, before);   \
        p##0 = after.v[0], p##1 = after.v[1], p##2 = after.v[2], p##3 = after.v[3];                          \
    }
#define TREE_TOP(p) mlt_tree_top(p##0, p##1, p##2, p##3)

/* How elements are read: sixteen of them, moving the pointer behind them; and from any place. */
typedef struct mlt_lanes take_lanes(const uint8_t **bytes);
struct elements {
    take_lanes *take;
    mlt_load_lanes *load;
    int bytes;
};

MLT_INLINE struct mlt_lanes take_f32(const uint8_t **bytes)
{
    struct mlt_pair low, high;
    MLT_TAKE_PAIR(low, *bytes, 32);
    MLT_TAKE_PAIR(high, *bytes, 32);
    return (struct mlt_lanes){{vreinterpretq_f32_s8(low.first), vreinterpretq_f32_s8(low.second),
                               vreinterpretq_f32_s8(high.first), vreinterpretq_f32_s8(high.second)}};
}

MLT_INLINE struct mlt_lanes take_f16(const uint8_t **bytes)
{
    struct mlt_pair halves;
    MLT_TAKE_PAIR(halves, *bytes, 32);
    return mlt_halves_to_lanes(vreinterpretq_u8_s8(halves.first), vreinterpretq_u8_s8(halves.second));
}

MLT_INLINE struct mlt_lanes take_bf16(const uint8_t **bytes)
{
    struct mlt_pair halves;
    MLT_TAKE_PAIR(halves, *bytes, 32);
    return mlt_bf16_to_lanes(vreinterpretq_u8_s8(halves.first), vreinterpretq_u8_s8(halves.second));
}

/* Sums of rows w[0 .. 3] with x. */
MLT_INLINE float32x4_t rows4(struct elements e, const uint8_t *const w[4], const float *x, int64_t columns)
{
    SUMS(a)
    SUMS(b)
    SUMS(c)
    SUMS(d)
    int64_t k = 0;
    const uint8_t *w0 = w[0], *w1 = w[1], *w2 = w[2], *w3 = w[3], *from = (const uint8_t *)x;
    for (; k + 16 <= columns; k += 16) {
        struct mlt_lanes xs = take_f32(&from), ws = e.take(&w0);
        MULTIPLY(a, ws, xs)
        ws = e.take(&w1);
        MULTIPLY(b, ws, xs)
        ws = e.take(&w2);
        MULTIPLY(c, ws, xs)
        ws = e.take(&w3);
        MULTIPLY(d, ws, xs)
        MLT_KEEP_ORDER();
    }
    if (k < columns) {
        int n = (int)(columns - k);
        struct mlt_lanes xs = mlt_load_some_floats(x + k, n);
        struct mlt_lanes ws = mlt_load_some(e.load, (size_t)e.bytes, w[0] + k * e.bytes, n);
        MULTIPLY_SOME(a, ws, xs, n)
        ws = mlt_load_some(e.load, (size_t)e.bytes, w[1] + k * e.bytes, n);
        MULTIPLY_SOME(b, ws, xs, n)
        ws = mlt_load_some(e.load, (size_t)e.bytes, w[2] + k * e.bytes, n);
        MULTIPLY_SOME(c, ws, xs, n)
        ws = mlt_load_some(e.load, (size_t)e.bytes, w[3] + k * e.bytes, n);
        MULTIPLY_SOME(d, ws, xs, n)
    }
    return vpaddq_f32(vpaddq_f32(TREE_TOP(a), TREE_TOP(b)), vpaddq_f32(TREE_TOP(c), TREE_TOP(d)));
}

/* Sums of w[0] and w[1] with x, then of both with z. */
MLT_INLINE float32x4_t rows2_tokens2(struct elements e, const uint8_t *const w[2], const float *x,
                                     const float *z, int64_t columns)
{
    SUMS(a)
    SUMS(b)
    SUMS(c)
    SUMS(d)
    int64_t k = 0;
    const uint8_t *w0 = w[0], *w1 = w[1], *from_x = (const uint8_t *)x, *from_z = (const uint8_t *)z;
    for (; k + 16 <= columns; k += 16) {
        struct mlt_lanes xs = take_f32(&from_x), zs = take_f32(&from_z), ws = e.take(&w0);
        MULTIPLY(a, ws, xs)
        MULTIPLY(c, ws, zs)
        ws = e.take(&w1);
        MULTIPLY(b, ws, xs)
        MULTIPLY(d, ws, zs)
        MLT_KEEP_ORDER();
    }
    if (k < columns) {
        int n = (int)(columns - k);
        struct mlt_lanes xs = mlt_load_some_floats(x + k, n), zs = mlt_load_some_floats(z + k, n);
        struct mlt_lanes ws = mlt_load_some(e.load, (size_t)e.bytes, w[0] + k * e.bytes, n);
        MULTIPLY_SOME(a, ws, xs, n)
        MULTIPLY_SOME(c, ws, zs, n)
        ws = mlt_load_some(e.load, (size_t)e.bytes, w[1] + k * e.bytes, n);
        MULTIPLY_SOME(b, ws, xs, n)
        MULTIPLY_SOME(d, ws, zs, n)
    }
    return vpaddq_f32(vpaddq_f32(TREE_TOP(a), TREE_TOP(b)), vpaddq_f32(TREE_TOP(c), TREE_TOP(d)));
}

/* A scale of 1 changes no bit but those of a NaN. */
MLT_INLINE void products(struct elements e, const uint8_t *w, int64_t row_bytes, int64_t rows, const float *x,
                         int64_t ldx, int64_t tokens, int64_t columns, float scale, float *y, int64_t ldy)
{
    int64_t t = 0;
    for (; t + 2 <= tokens; t += 2) {
        for (int64_t r = 0; r < rows; r += 2) {
            /* A last row alone is taken twice. */
            int64_t second = r + 1 < rows ? r + 1 : r;
            const uint8_t *pair[2] = {w + r * row_bytes, w + second * row_bytes};
            float32x4_t sums = rows2_tokens2(e, pair, x + t * ldx, x + (t + 1) * ldx, columns);
            sums = vmulq_n_f32(sums, scale);
            y[t * ldy + second] = vgetq_lane_f32(sums, 1);
            y[t * ldy + r] = vgetq_lane_f32(sums, 0);
            y[(t + 1) * ldy + second] = vgetq_lane_f32(sums, 3);
            y[(t + 1) * ldy + r] = vgetq_lane_f32(sums, 2);
        }
    }
    for (; t < tokens; t++) {
        for (int64_t r = 0; r < rows; r += 4) {
            const uint8_t *four[4];
            for (int i = 0; i < 4; i++)
                four[i] = w + MLT_MIN(r + i, rows - 1) * row_bytes;
            float32x4_t sums = vmulq_n_f32(rows4(e, four, x + t * ldx, columns), scale);
            if (r + 4 <= rows) {
                vst1q_f32(y + t * ldy + r, sums);
            } else {
                float some[4];
                vst1q_f32(some, sums);
                memcpy(y + t * ldy + r, some, (size_t)(rows - r) * sizeof *y);
            }
        }
    }
}

#define F32_ELEMENTS ((struct elements){take_f32, mlt_load_f32, 4})
#define F16_ELEMENTS ((struct elements){take_f16, mlt_load_f16, 2})
#define BF16_ELEMENTS ((struct elements){take_bf16, mlt_load_bf16, 2})

#define DOT_ENTRY(name, elements)                                                                            \
    static void name(const uint8_t *w, uint64_t row_bytes, int64_t rows, const float *x, int64_t ldx,        \
                     int64_t tokens, int64_t columns, float *y, int64_t ldy)                                 \
    {                                                                                                        \
        products(elements, w, (int64_t)row_bytes, rows, x, ldx, tokens, columns, 1.0f, y, ldy);              \
    }
DOT_ENTRY(dot_f32, F32_ELEMENTS)
DOT_ENTRY(dot_f16, F16_ELEMENTS)
DOT_ENTRY(dot_bf16, BF16_ELEMENTS)

#define SCORE_ENTRY(name, elements)                                                                          \
    static void name(const float *q, int heads, const void *k, int64_t stride, int64_t n, int size,          \
                     float scale, float *s, int64_t lds)                                                     \
    {                                                                                                        \
        products(elements, k, stride *(elements).bytes, n, q, size, heads, size, scale, s, lds);             \
    }
SCORE_ENTRY(score_f32, F32_ELEMENTS)
SCORE_ENTRY(score_f16, F16_ELEMENTS)

void mlt_kernels_neon_float(struct mlt_kernels *table)
{
    table->dot_f32 = dot_f32;
    table->dot_f16 = dot_f16;
    table->dot_bf16 = dot_bf16;
    table->score_f32 = score_f32;
    table->score_f16 = score_f16;
}
