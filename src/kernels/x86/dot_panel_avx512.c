/* Dot products of panels without VNNI. SPDX-License-Identifier: Apache-2.0 */
#include <immintrin.h>

/*
 * vpmaddubsw multiplies unsigned with signed bytes and adds pairs in 16 bits: |w| times x with the sign of w.
 * Two products of at most 128 * 127 fit.
 */
enum { OFFSET = 0 };

struct weights {
    __m512i magnitude;
    __mmask64 negative;
};

static inline struct weights prepare(__m512i w)
{
    return (struct weights){_mm512_abs_epi8(w), _mm512_movepi8_mask(w)};
}

static inline __m512i multiply_add(__m512i acc, struct weights w, __m512i x)
{
    __m512i signed_x = _mm512_mask_sub_epi8(x, w.negative, _mm512_setzero_si512(), x);
    __m512i pairs = _mm512_maddubs_epi16(w.magnitude, signed_x);
    return _mm512_add_epi32(acc, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)));
}

#define MULTIPLY_ADD16(acc, a, b) _mm512_add_epi32(acc, _mm512_madd_epi16(a, b))

#include "kernels/x86/dot_panel_zmm.h"

void mlt_avx512_dot_panel(struct mlt_kernels *table)
{
    set_dot_panels(table);
}
