/*
 * Attention's kernels in scalar C: the definition that every variant equals. Contracts: kernels.h.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "kernels/scalar/scalar.h"

#include "tensor/quant_blocks.h"

/* Element `i` of a row of F32, F16, Q8_0 or IQ4_NL at any address. */
static float cached_element(mlt_dtype dtype, const uint8_t *row, int64_t i)
{
    struct mlt_block_q8_0 q8;
    struct mlt_block_iq4_nl q4;
    switch (dtype) {
    case MLT_Q8_0:
        memcpy(&q8, row + i / 32 * (int64_t)sizeof q8, sizeof q8);
        return mlt_half_to_float(q8.d) * (float)q8.qs[i % 32];
    case MLT_IQ4_NL:
        memcpy(&q4, row + i / 32 * (int64_t)sizeof q4, sizeof q4);
        return mlt_half_to_float(q4.d) * (float)mlt_iq4_values[q4.qs[i % 16] >> (i % 32 / 16 * 4) & 15];
    default: return scalar_element(dtype, row, i);
    }
}

static void score(mlt_dtype dtype, const float *q, int heads, const uint8_t *k, int64_t stride_bytes,
                  int64_t n, int size, float scale, float *s, int64_t lds)
{
    for (int h = 0; h < heads; h++)
        for (int64_t i = 0; i < n; i++)
            s[h * lds + i] = scale * scalar_dot(dtype, k + i * stride_bytes, q + (int64_t)h * size, size);
}

static void score_f32(const float *q, int heads, const void *k, int64_t stride, int64_t n, int size,
                      float scale, float *s, int64_t lds)
{
    score(MLT_F32, q, heads, k, stride * 4, n, size, scale, s, lds);
}

static void score_f16(const float *q, int heads, const void *k, int64_t stride, int64_t n, int size,
                      float scale, float *s, int64_t lds)
{
    score(MLT_F16, q, heads, k, stride * 2, n, size, scale, s, lds);
}

enum { MIX_CHUNK = 256 };

static void mix(mlt_dtype dtype, const float *p, int64_t ldp, int heads, const uint8_t *v,
                int64_t stride_bytes, int64_t n, int size, float *out)
{
    for (int h = 0; h < heads; h++) {
        for (int j = 0; j < size; j++) {
            float sum = 0.0f;
            for (int64_t begin = 0; begin < n; begin += MIX_CHUNK) {
                float c = 0.0f;
                for (int64_t i = begin; i < n && i < begin + MIX_CHUNK; i++)
                    c = fmaf(p[h * ldp + i], cached_element(dtype, v + i * stride_bytes, j), c);
                sum = sum + c;
            }
            out[(int64_t)h * size + j] = sum;
        }
    }
}

#define MIX_ENTRY(name, dtype)                                                                               \
    static void name(const float *p, int64_t ldp, int heads, const void *v, int64_t stride, int64_t n,       \
                     int size, float *out)                                                                   \
    {                                                                                                        \
        mix(dtype, p, ldp, heads, v, (int64_t)mlt_dtype_row_bytes(dtype, stride), n, size, out);             \
    }
MIX_ENTRY(mix_f32, MLT_F32)
MIX_ENTRY(mix_f16, MLT_F16)
MIX_ENTRY(mix_q8_0, MLT_Q8_0)
MIX_ENTRY(mix_iq4_nl, MLT_IQ4_NL)
#undef MIX_ENTRY

void mlt_kernels_scalar_attention(struct mlt_kernels *table)
{
    table->score_f32 = score_f32;
    table->score_f16 = score_f16;
    table->mix_f32 = mix_f32;
    table->mix_f16 = mix_f16;
    table->mix_q8_0 = mix_q8_0;
    table->mix_iq4_nl = mix_iq4_nl;
}
