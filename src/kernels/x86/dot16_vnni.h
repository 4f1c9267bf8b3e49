/*
 * Sixteen columns of sixteen rows times one token's activations with AVX-512 VNNI.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_DOT16_VNNI_H
#define MLT_DOT16_VNNI_H

#include "kernels/x86/codes_lanes.h"

/* vpdpbusd wants unsigned codes: signed ones are multiplied as q - SIGNED_LOW. */
enum { SIGNED_LOW = -128 };

/* So do panels. */
enum { BIASED_PANELS = 1 };

/* sum + u . x for unsigned codes up to `span`; with `scaled`, sum + scale * (u . x). */
INLINE vi add_dot16(vi sum, struct vi4 u, const int8_t *x, int span, bool scaled, vi scale)
{
    (void)span;
    vi ab = _mm512_dpbusd_epi32(vi_set32(0), u.a, activations4(x));
    vi cd = _mm512_dpbusd_epi32(vi_set32(0), u.c, activations4(x + 8));
    ab = _mm512_dpbusd_epi32(ab, u.b, activations4(x + 4));
    cd = _mm512_dpbusd_epi32(cd, u.d, activations4(x + 12));
    vi products = vi_add32(ab, cd);
    /* Only the last addition waits for the sum before. */
    return vi_add32(sum, scaled ? vi_mul32(products, scale) : products);
}

/* The same for signed codes, with 128 too much in each. */
INLINE vi add_signed_dot16(vi sum, struct vi4 q, const int8_t *x, bool scaled, vi scale)
{
    return add_dot16(sum, subtract_all(q, -128), x, 255, scaled, scale);
}

#endif
