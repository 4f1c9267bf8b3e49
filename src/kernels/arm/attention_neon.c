/*
 * Attention's weighted sum of values. A slice of sixteen or thirty-two columns of a chunk of positions serves
 * all heads while it is in the cache.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "kernels/arm/lanes_neon.h"

enum { CHUNK = 256 };

/* The sums of sixteen columns over one chunk, for heads that share values. */
#define SUMS(c)                                                                                              \
    float32x4_t c##0 = vdupq_n_f32(0.0f), c##1 = vdupq_n_f32(0.0f), c##2 = vdupq_n_f32(0.0f),                \
                c##3 = vdupq_n_f32(0.0f);
#define MULTIPLY(c, p, w)                                                                                    \
    c##0 = vfmaq_n_f32(c##0, (w).v[0], p);                                                                   \
    c##1 = vfmaq_n_f32(c##1, (w).v[1], p);                                                                   \
    c##2 = vfmaq_n_f32(c##2, (w).v[2], p);                                                                   \
    c##3 = vfmaq_n_f32(c##3, (w).v[3], p);
#define ADD_TO(out, c)                                                                                       \
    vst1q_f32((out), vaddq_f32(vld1q_f32(out), c##0));                                                       \
    vst1q_f32((out) + 4, vaddq_f32(vld1q_f32((out) + 4), c##1));                                             \
    vst1q_f32((out) + 8, vaddq_f32(vld1q_f32((out) + 8), c##2));                                             \
    vst1q_f32((out) + 12, vaddq_f32(vld1q_f32((out) + 12), c##3));

/* Two heads, thirty-two columns. */
MLT_INLINE void mix_2x32(mlt_load_lanes *load, const float *p, const float *p2, const uint8_t *v,
                         int64_t row_bytes, int element_bytes, int64_t n, float *out, float *out2)
{
    SUMS(a)
    SUMS(b)
    SUMS(c)
    SUMS(d)
    for (int64_t i = 0; i < n; i++) {
        struct mlt_lanes w = load(v + i * row_bytes);
        MULTIPLY(a, p[i], w)
        MULTIPLY(c, p2[i], w)
        struct mlt_lanes x = load(v + i * row_bytes + 16 * element_bytes);
        MULTIPLY(b, p[i], x)
        MULTIPLY(d, p2[i], x)
    }
    ADD_TO(out, a)
    ADD_TO(out + 16, b)
    ADD_TO(out2, c)
    ADD_TO(out2 + 16, d)
}

/* One head, thirty-two columns. */
MLT_INLINE void mix_1x32(mlt_load_lanes *load, const float *p, const uint8_t *v, int64_t row_bytes,
                         int element_bytes, int64_t n, float *out)
{
    SUMS(a)
    SUMS(b)
    for (int64_t i = 0; i < n; i++) {
        struct mlt_lanes w = load(v + i * row_bytes);
        MULTIPLY(a, p[i], w)
        struct mlt_lanes x = load(v + i * row_bytes + 16 * element_bytes);
        MULTIPLY(b, p[i], x)
    }
    ADD_TO(out, a)
    ADD_TO(out + 16, b)
}

/* One head, `columns` <= 16 columns: what is left of a row. */
MLT_INLINE void mix_rest(mlt_load_lanes *load, const float *p, const uint8_t *v, int64_t row_bytes,
                         int element_bytes, int64_t n, int columns, float *out)
{
    SUMS(a)
    for (int64_t i = 0; i < n; i++) {
        uint8_t padded[64] = {0};
        memcpy(padded, v + i * row_bytes, (size_t)columns * (size_t)element_bytes);
        struct mlt_lanes w = load(padded);
        MULTIPLY(a, p[i], w)
    }
    float sums[16] = {0};
    memcpy(sums, out, (size_t)columns * sizeof *out);
    ADD_TO(sums, a)
    memcpy(out, sums, (size_t)columns * sizeof *out);
}

MLT_INLINE void mix(mlt_load_lanes *load, int element_bytes, const float *p, int64_t ldp, int heads,
                    const uint8_t *v, int64_t row_bytes, int64_t n, int size, float *out)
{
    memset(out, 0, (size_t)heads * (size_t)size * sizeof *out);
    for (int64_t begin = 0; begin < n; begin += CHUNK) {
        int64_t positions = MLT_MIN(n - begin, CHUNK);
        const float *weights = p + begin;
        for (int j = 0; j < size; j += 32) {
            const uint8_t *slice = v + begin * row_bytes + (int64_t)j * element_bytes;
            int h = 0, columns = size - j;
            for (; columns >= 32 && h + 2 <= heads; h += 2)
                mix_2x32(load, weights + h * ldp, weights + (h + 1) * ldp, slice, row_bytes, element_bytes,
                         positions, out + h * size + j, out + (h + 1) * size + j);
            for (; columns >= 32 && h < heads; h++)
                mix_1x32(load, weights + h * ldp, slice, row_bytes, element_bytes, positions,
                         out + h * size + j);
            for (; columns < 32 && h < heads; h++) {
                mix_rest(load, weights + h * ldp, slice, row_bytes, element_bytes, positions,
                         MLT_MIN(columns, 16), out + h * size + j);
                if (columns > 16)
                    mix_rest(load, weights + h * ldp, slice + 16 * element_bytes, row_bytes, element_bytes,
                             positions, columns - 16, out + h * size + j + 16);
            }
        }
    }
}

static void mix_f32(const float *p, int64_t ldp, int heads, const void *v, int64_t stride, int64_t n,
                    int size, float *out)
{
    mix(mlt_load_f32, 4, p, ldp, heads, v, stride * 4, n, size, out);
}

static void mix_f16(const float *p, int64_t ldp, int heads, const void *v, int64_t stride, int64_t n,
                    int size, float *out)
{
    mix(mlt_load_f16, 2, p, ldp, heads, v, stride * 2, n, size, out);
}

void mlt_kernels_neon_attention(struct mlt_kernels *table)
{
    table->mix_f32 = mix_f32;
    table->mix_f16 = mix_f16;
}
