/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/x86/lanes_avx512.h"

#include "kernels/x86/tile_lanes.h"
#include "tensor/quant_blocks.h"

#include <string.h>

/* 16 of 32 registers are sums. */
enum { SCORE_KEYS = 4, SCORE_HEADS = 4, MIX_HEADS = 4, MIX_VECTORS = 4, MIX_ALONE = 8 };

/* The four t of tree16 of each of four vectors, a's in the lowest quarter. */
static inline vf tree_tops(vf a, vf b, vf c, vf d)
{
    vf ab = vf_add(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xee));
    vf cd = vf_add(_mm512_shuffle_f32x4(c, d, 0x44), _mm512_shuffle_f32x4(c, d, 0xee));
    return vf_add(_mm512_shuffle_f32x4(ab, cd, 0x88), _mm512_shuffle_f32x4(ab, cd, 0xdd));
}

/* In each quarter: a[0] + a[1], a[2] + a[3], b[0] + b[1], b[2] + b[3]. */
static inline vf add_neighbours(vf a, vf b)
{
    return vf_add(_mm512_shuffle_ps(a, b, 0x88), _mm512_shuffle_ps(a, b, 0xdd));
}

/* scale * tree16 of four keys' sums with four heads: all sixteen trees grow together. */
static inline void store_scores(const struct tile *s, float scale, float *const out[4], int64_t i)
{
    vf k0 = tree_tops(s->s00, s->s01, s->s02, s->s03), k1 = tree_tops(s->s10, s->s11, s->s12, s->s13);
    vf k2 = tree_tops(s->s20, s->s21, s->s22, s->s23), k3 = tree_tops(s->s30, s->s31, s->s32, s->s33);
    vf sums = vf_mul(add_neighbours(add_neighbours(k0, k1), add_neighbours(k2, k3)), vf_set(scale));
    _mm_storeu_ps(out[0] + i, _mm512_castps512_ps128(sums));
    _mm_storeu_ps(out[1] + i, _mm512_extractf32x4_ps(sums, 1));
    _mm_storeu_ps(out[2] + i, _mm512_extractf32x4_ps(sums, 2));
    _mm_storeu_ps(out[3] + i, _mm512_extractf32x4_ps(sums, 3));
}

static inline vf vf_set_half(uint16_t half)
{
    return _mm512_cvtph_ps(_mm256_set1_epi16((short)half));
}

static inline vf vf_load_int8(const uint8_t *p)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)p)));
}

/* The values of sixteen codes, in the low (0) or high (1) halves of as many bytes; only a lane's low four
 * bits choose. */
static inline vf vf_load_iq4(const uint8_t *p, int64_t half)
{
    vf table = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)mlt_iq4_values)));
    vi codes = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)p));
    return _mm512_permutexvar_ps(half ? _mm512_srli_epi32(codes, 4) : codes, table);
}

#include "kernels/x86/attention_lanes.h"

void mlt_avx512_attention(struct mlt_kernels *table)
{
    set_attention(table);
}
