/*
 * Sixteen columns of sixteen rows times one token's activations with vpmaddubsw, over the lanes that the
 * including file has chosen. dot16_vnni.h has the same functions.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_DOT16_MADDUBS_H
#define MLT_DOT16_MADDUBS_H

#include "kernels/x86/codes_lanes.h"

/* Signed codes are multiplied as they are: 0 is taken off them. */
enum { SIGNED_LOW = 0 };

/* Panels keep their codes as they are. */
enum { BIASED_PANELS = 0 };

/* sum + u . x for unsigned codes up to `span`; with `scaled`, sum + scale * (u . x). */
INLINE vi add_dot16(vi sum, struct vi4 u, const int8_t *x, int span, bool scaled, vi scale)
{
    /* Four products of at most 32 * 127, or two of at most 64 * 127, fit a half of a lane twice over. */
    vi factor = scaled ? vi_twice16(scale) : vi_set16(1);
    vi ab = vi_add16(vi_maddubs(u.a, activations4(x)), vi_maddubs(u.b, activations4(x + 4)));
    vi cd = vi_add16(vi_maddubs(u.c, activations4(x + 8)), vi_maddubs(u.d, activations4(x + 12)));
    if (span <= 32) return vi_add32(sum, vi_madd16(vi_add16(ab, cd), factor));
    return vi_add32(sum, vi_add32(vi_madd16(ab, factor), vi_madd16(cd, factor)));
}

/* The same for signed codes. */
INLINE vi add_signed_dot16(vi sum, struct vi4 q, const int8_t *x, bool scaled, vi scale)
{
    vi ones = vi_set16(1);
    vi ab = vi_add32(vi_madd16(vi_maddsbs(q.a, activations4(x)), ones),
                     vi_madd16(vi_maddsbs(q.b, activations4(x + 4)), ones));
    vi cd = vi_add32(vi_madd16(vi_maddsbs(q.c, activations4(x + 8)), ones),
                     vi_madd16(vi_maddsbs(q.d, activations4(x + 12)), ones));
    vi products = vi_add32(ab, cd);
    return vi_add32(sum, scaled ? vi_mul32(products, scale) : products);
}

#endif
