/* Dot products of panels with AVX-512, without VNNI. SPDX-License-Identifier: Apache-2.0 */
#include <immintrin.h>

enum { LANES = 16 };
typedef __m512i reg;
typedef __m512 reg_float;

static inline reg reg_load(const void *p)
{
    return _mm512_loadu_si512(p);
}

static inline reg reg_set8(int value)
{
    return _mm512_set1_epi8((char)value);
}

static inline reg reg_set16(int value)
{
    return _mm512_set1_epi16((short)value);
}

static inline reg reg_set32(int value)
{
    return _mm512_set1_epi32(value);
}

static inline reg reg_and(reg a, reg b)
{
    return _mm512_and_si512(a, b);
}

static inline reg reg_or(reg a, reg b)
{
    return _mm512_or_si512(a, b);
}

static inline reg reg_sub8(reg a, reg b)
{
    return _mm512_sub_epi8(a, b);
}

static inline reg reg_add16(reg a, reg b)
{
    return _mm512_add_epi16(a, b);
}

static inline reg reg_add32(reg a, reg b)
{
    return _mm512_add_epi32(a, b);
}

static inline reg reg_mul32(reg a, reg b)
{
    return _mm512_mullo_epi32(a, b);
}

static inline reg reg_maddubs(reg a, reg b)
{
    return _mm512_maddubs_epi16(a, b);
}

static inline reg reg_madd(reg a, reg b)
{
    return _mm512_madd_epi16(a, b);
}

static inline reg_float reg_load_float(const float *p)
{
    return _mm512_loadu_ps(p);
}

static inline void reg_store_float(float *p, reg_float a)
{
    _mm512_storeu_ps(p, a);
}

static inline reg_float reg_to_float(reg a)
{
    return _mm512_cvtepi32_ps(a);
}

static inline reg_float reg_set_float(float value)
{
    return _mm512_set1_ps(value);
}

static inline reg_float reg_mul_float(reg_float a, float b)
{
    return _mm512_mul_ps(a, _mm512_set1_ps(b));
}

static inline reg_float reg_fma(reg_float a, reg_float b, reg_float c)
{
    return _mm512_fmadd_ps(a, b, c);
}

static inline reg_float reg_fnma(reg_float a, reg_float b, reg_float c)
{
    return _mm512_fnmadd_ps(a, b, c);
}

#define reg_shl32(a, bits) _mm512_slli_epi32(a, bits)

/* Signed codes as magnitudes and what gives x their signs. */
struct reg_signed {
    reg magnitude;
    __mmask64 negative;
};

static inline struct reg_signed reg_split_sign(reg q)
{
    return (struct reg_signed){_mm512_abs_epi8(q), _mm512_movepi8_mask(q)};
}

static inline reg reg_maddubs_signed(struct reg_signed q, reg x)
{
    return _mm512_maddubs_epi16(q.magnitude, _mm512_mask_sub_epi8(x, q.negative, _mm512_setzero_si512(), x));
}

#include "kernels/x86/dot_panel_maddubs.h"

void mlt_avx512_dot_panel(struct mlt_kernels *table)
{
    set_dot_panels(table);
}
