/* Dot products of panels with vpdpbusd. SPDX-License-Identifier: Apache-2.0 */
#include <immintrin.h>

/* vpdpbusd multiplies unsigned with signed bytes: weights become w + 128, and sums start at -128 * (sum of
 * x). */
enum { OFFSET = -128 };

struct weights {
    __m512i plus_128;
};

static inline struct weights prepare(__m512i w)
{
    return (struct weights){_mm512_xor_si512(w, _mm512_set1_epi8(-128))};
}

static inline __m512i multiply_add(__m512i acc, struct weights w, __m512i x)
{
    return _mm512_dpbusd_epi32(acc, w.plus_128, x);
}

#define MULTIPLY_ADD16(acc, a, b) _mm512_dpwssd_epi32(acc, a, b)

#include "kernels/x86/dot_panel_zmm.h"

void mlt_avx512_vnni_dot_panel(struct mlt_kernels *table)
{
    set_dot_panels(table);
}
