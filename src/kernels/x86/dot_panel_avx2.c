/* Dot products of panels with AVX2. SPDX-License-Identifier: Apache-2.0 */
#include <immintrin.h>

enum { LANES = 8 };
typedef __m256i reg;
typedef __m256 reg_float;

static inline reg reg_load(const void *p)
{
    return _mm256_loadu_si256((const __m256i *)p);
}

static inline reg reg_set8(int value)
{
    return _mm256_set1_epi8((char)value);
}

static inline reg reg_set16(int value)
{
    return _mm256_set1_epi16((short)value);
}

static inline reg reg_set32(int value)
{
    return _mm256_set1_epi32(value);
}

static inline reg reg_and(reg a, reg b)
{
    return _mm256_and_si256(a, b);
}

static inline reg reg_or(reg a, reg b)
{
    return _mm256_or_si256(a, b);
}

static inline reg reg_sub8(reg a, reg b)
{
    return _mm256_sub_epi8(a, b);
}

static inline reg reg_add16(reg a, reg b)
{
    return _mm256_add_epi16(a, b);
}

static inline reg reg_add32(reg a, reg b)
{
    return _mm256_add_epi32(a, b);
}

static inline reg reg_mul32(reg a, reg b)
{
    return _mm256_mullo_epi32(a, b);
}

static inline reg reg_maddubs(reg a, reg b)
{
    return _mm256_maddubs_epi16(a, b);
}

static inline reg reg_madd(reg a, reg b)
{
    return _mm256_madd_epi16(a, b);
}

static inline reg_float reg_load_float(const float *p)
{
    return _mm256_loadu_ps(p);
}

static inline void reg_store_float(float *p, reg_float a)
{
    _mm256_storeu_ps(p, a);
}

static inline reg_float reg_to_float(reg a)
{
    return _mm256_cvtepi32_ps(a);
}

static inline reg_float reg_mul_float(reg_float a, float b)
{
    return _mm256_mul_ps(a, _mm256_set1_ps(b));
}

static inline reg_float reg_fma(reg_float a, reg_float b, reg_float c)
{
    return _mm256_fmadd_ps(a, b, c);
}

static inline reg_float reg_fnma(reg_float a, reg_float b, reg_float c)
{
    return _mm256_fnmadd_ps(a, b, c);
}

#define reg_shl32(a, bits) _mm256_slli_epi32(a, bits)

/* Signed codes as magnitudes and what gives x their signs. */
struct reg_signed {
    reg magnitude, sign;
};

static inline struct reg_signed reg_split_sign(reg q)
{
    return (struct reg_signed){_mm256_abs_epi8(q), q};
}

static inline reg reg_maddubs_signed(struct reg_signed q, reg x)
{
    return _mm256_maddubs_epi16(q.magnitude, _mm256_sign_epi8(x, q.sign));
}

#include "kernels/x86/dot_panel_maddubs.h"

void mlt_avx2_dot_panel(struct mlt_kernels *table)
{
    set_dot_panels(table);
}
