/*
 * Attention's weighted sum of values. A slice of sixteen or thirty-two columns of a chunk of positions serves
 * all heads while it is in the cache.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "kernels/arm/lanes_neon.h"
#include "tensor/quant_blocks.h"

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

/* Thirty-two columns of a row, converted exactly. */
struct columns {
    struct mlt_lanes low, high;
};
typedef struct columns load_columns(const uint8_t *bytes);

MLT_INLINE struct columns load_32_f32(const uint8_t *bytes)
{
    return (struct columns){mlt_load_f32(bytes), mlt_load_f32(bytes + 64)};
}

MLT_INLINE struct columns load_32_f16(const uint8_t *bytes)
{
    return (struct columns){mlt_load_f16(bytes), mlt_load_f16(bytes + 32)};
}

MLT_INLINE struct mlt_lanes scaled(int8x16_t q, float d)
{
    int16x8_t low = vmovl_s8(vget_low_s8(q)), high = vmovl_high_s8(q);
    return (struct mlt_lanes){{vmulq_n_f32(vcvtq_f32_s32(vmovl_s16(vget_low_s16(low))), d),
                               vmulq_n_f32(vcvtq_f32_s32(vmovl_high_s16(low)), d),
                               vmulq_n_f32(vcvtq_f32_s32(vmovl_s16(vget_low_s16(high))), d),
                               vmulq_n_f32(vcvtq_f32_s32(vmovl_high_s16(high)), d)}};
}

/* A block's scale: its first two bytes. */
MLT_INLINE float block_scale(const uint8_t *block)
{
    uint16_t half;
    memcpy(&half, block, sizeof half);
    float16x4_t d = vreinterpret_f16_u16(vdup_n_u16(half));
    return vgetq_lane_f32(vcvt_f32_f16(d), 0);
}

MLT_INLINE struct columns load_q8_0(const uint8_t *block)
{
    float d = block_scale(block);
    return (struct columns){scaled(vreinterpretq_s8_u8(vld1q_u8(block + 2)), d),
                            scaled(vreinterpretq_s8_u8(vld1q_u8(block + 18)), d)};
}

MLT_INLINE struct columns load_iq4_nl(const uint8_t *block)
{
    float d = block_scale(block);
    uint8x16_t codes = vld1q_u8(block + 2);
    int8x16_t table = vld1q_s8(mlt_iq4_values);
    return (struct columns){scaled(vqtbl1q_s8(table, vandq_u8(codes, vdupq_n_u8(15))), d),
                            scaled(vqtbl1q_s8(table, vshrq_n_u8(codes, 4)), d)};
}

/* Two heads, thirty-two columns. */
MLT_INLINE void mix_2x32(load_columns *load, const float *p, const float *p2, const uint8_t *v,
                         int64_t row_bytes, int64_t n, float *out, float *out2)
{
    SUMS(a)
    SUMS(b)
    SUMS(c)
    SUMS(d)
    for (int64_t i = 0; i < n; i++) {
        struct columns w = load(v + i * row_bytes);
        MULTIPLY(a, p[i], w.low)
        MULTIPLY(c, p2[i], w.low)
        MULTIPLY(b, p[i], w.high)
        MULTIPLY(d, p2[i], w.high)
    }
    ADD_TO(out, a)
    ADD_TO(out + 16, b)
    ADD_TO(out2, c)
    ADD_TO(out2 + 16, d)
}

/* One head, thirty-two columns. */
MLT_INLINE void mix_1x32(load_columns *load, const float *p, const uint8_t *v, int64_t row_bytes, int64_t n,
                         float *out)
{
    SUMS(a)
    SUMS(b)
    for (int64_t i = 0; i < n; i++) {
        struct columns w = load(v + i * row_bytes);
        MULTIPLY(a, p[i], w.low)
        MULTIPLY(b, p[i], w.high)
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

/* `load`: thirty-two columns, which take slice_bytes; `rest`: sixteen elements, NULL for blocks. */
MLT_INLINE void mix(load_columns *load, int slice_bytes, mlt_load_lanes *rest, const float *p, int64_t ldp,
                    int heads, const uint8_t *v, int64_t stride, int64_t n, int size, float *out)
{
    const int element_bytes = slice_bytes / 32;
    const int64_t row_bytes = rest ? stride * element_bytes : stride / 32 * slice_bytes;
    memset(out, 0, (size_t)heads * (size_t)size * sizeof *out);
    for (int64_t begin = 0; begin < n; begin += CHUNK) {
        int64_t positions = MLT_MIN(n - begin, CHUNK);
        const float *weights = p + begin;
        for (int j = 0; j < size; j += 32) {
            const uint8_t *slice = v + begin * row_bytes + (int64_t)(j / 32) * slice_bytes;
            int h = 0, columns = size - j;
            for (; columns >= 32 && h + 2 <= heads; h += 2)
                mix_2x32(load, weights + h * ldp, weights + (h + 1) * ldp, slice, row_bytes, positions,
                         out + h * size + j, out + (h + 1) * size + j);
            for (; columns >= 32 && h < heads; h++)
                mix_1x32(load, weights + h * ldp, slice, row_bytes, positions, out + h * size + j);
            for (; rest && columns < 32 && h < heads; h++) {
                mix_rest(rest, weights + h * ldp, slice, row_bytes, element_bytes, positions,
                         MLT_MIN(columns, 16), out + h * size + j);
                if (columns > 16)
                    mix_rest(rest, weights + h * ldp, slice + 16 * element_bytes, row_bytes, element_bytes,
                             positions, columns - 16, out + h * size + j + 16);
            }
        }
    }
}

#define MIX_ENTRY(name, load, slice_bytes, rest)                                                             \
    static void name(const float *p, int64_t ldp, int heads, const void *v, int64_t stride, int64_t n,       \
                     int size, float *out)                                                                   \
    {                                                                                                        \
        mix(load, slice_bytes, rest, p, ldp, heads, v, stride, n, size, out);                                \
    }
MIX_ENTRY(mix_f32, load_32_f32, 128, mlt_load_f32)
MIX_ENTRY(mix_f16, load_32_f16, 64, mlt_load_f16)
MIX_ENTRY(mix_q8_0, load_q8_0, 34, NULL)
MIX_ENTRY(mix_iq4_nl, load_iq4_nl, 18, NULL)

void mlt_kernels_neon_attention(struct mlt_kernels *table)
{
    table->mix_f32 = mix_f32;
    table->mix_f16 = mix_f16;
    table->mix_q8_0 = mix_q8_0;
    table->mix_iq4_nl = mix_iq4_nl;
}
