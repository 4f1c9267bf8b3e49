/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/x86/lanes_avx2.h"

#include "kernels/x86/tile_lanes.h"
#include "tensor/quant_blocks.h"

#include <string.h>

/* 16 registers of half the width: 8 of them are sums. */
enum { SCORE_KEYS = 2, SCORE_HEADS = 2, MIX_HEADS = 2, MIX_VECTORS = 2, MIX_ALONE = 4 };

/* scale * tree16 of two keys' sums with two heads. */
static inline void store_scores(const struct tile *s, float scale, float *const out[4], int64_t i)
{
    __m128 first = _mm_hadd_ps(vf_tree4(s->s00), vf_tree4(s->s10));
    __m128 second = _mm_hadd_ps(vf_tree4(s->s01), vf_tree4(s->s11));
    __m128 sums = _mm_mul_ps(_mm_hadd_ps(first, second), _mm_set1_ps(scale));
    _mm_storel_pi((__m64 *)(out[0] + i), sums);
    _mm_storeh_pi((__m64 *)(out[1] + i), sums);
}

static inline vf vf_set_half(uint16_t half)
{
    __m256 value = _mm256_cvtph_ps(_mm_set1_epi16((short)half));
    return (vf){value, value};
}

static inline vf from_int8(__m128i bytes)
{
    return (vf){_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes)),
                _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(bytes, 8)))};
}

static inline vf vf_load_int8(const uint8_t *p)
{
    return from_int8(_mm_loadu_si128((const __m128i *)p));
}

/* The values of sixteen codes, in the low (0) or high (1) halves of as many bytes. */
static inline vf vf_load_iq4(const uint8_t *p, int64_t half)
{
    __m128i codes = _mm_loadu_si128((const __m128i *)p),
            table = _mm_loadu_si128((const __m128i *)mlt_iq4_values);
    codes = _mm_and_si128(half ? _mm_srli_epi16(codes, 4) : codes, _mm_set1_epi8(15));
    return from_int8(_mm_shuffle_epi8(table, codes));
}

#include "kernels/x86/attention_lanes.h"

void mlt_avx2_attention(struct mlt_kernels *table)
{
    set_attention(table);
}
