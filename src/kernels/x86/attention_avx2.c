/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/x86/lanes_avx2.h"

#include "kernels/x86/tile_lanes.h"

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

#include "kernels/x86/attention_lanes.h"

void mlt_avx2_attention(struct mlt_kernels *table)
{
    set_attention(table);
}
