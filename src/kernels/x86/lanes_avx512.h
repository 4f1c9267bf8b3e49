/*
 * Sixteen 32-bit lanes in AVX-512: what kernels that are written once for both x86 levels are made of
 * (lanes_avx2.h has the same functions over pairs of AVX2 registers).
 *
 * vi is 16 int32, 32 int16 or 64 bytes; vf is 16 floats; vm a choice of lanes. Lane i is lane i of
 * kernels.h's lanes16, and row i of a panel.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_LANES_AVX512_H
#define MLT_LANES_AVX512_H

#include "kernels/x86/x86.h"

#include <immintrin.h>
#include <stdint.h>

typedef __m512i vi;
typedef __m512 vf;
typedef __mmask16 vm;

/* ---- Integers ---- */

static inline vi vi_load(const void *p)
{
    return _mm512_loadu_si512(p);
}

static inline void vi_store(void *p, vi a)
{
    _mm512_storeu_si512(p, a);
}

static inline vi vi_set8(int value)
{
    return _mm512_set1_epi8((char)value);
}

static inline vi vi_set16(int value)
{
    return _mm512_set1_epi16((short)value);
}

static inline vi vi_set32(int value)
{
    return _mm512_set1_epi32(value);
}

static inline vi vi_and(vi a, vi b)
{
    return _mm512_and_si512(a, b);
}

static inline vi vi_or(vi a, vi b)
{
    return _mm512_or_si512(a, b);
}

static inline vi vi_add8(vi a, vi b)
{
    return _mm512_add_epi8(a, b);
}

static inline vi vi_sub8(vi a, vi b)
{
    return _mm512_sub_epi8(a, b);
}

static inline vi vi_add16(vi a, vi b)
{
    return _mm512_add_epi16(a, b);
}

static inline vi vi_add32(vi a, vi b)
{
    return _mm512_add_epi32(a, b);
}

static inline vi vi_sub32(vi a, vi b)
{
    return _mm512_sub_epi32(a, b);
}

static inline vi vi_mul32(vi a, vi b)
{
    return _mm512_mullo_epi32(a, b);
}

/* Sums of two products of 16-bit numbers, a lane each. */
static inline vi vi_madd16(vi a, vi b)
{
    return _mm512_madd_epi16(a, b);
}

/* Sums of two products of an unsigned byte of a and a signed one of b, 16 bits each, saturated. */
static inline vi vi_maddubs(vi a, vi b)
{
    return _mm512_maddubs_epi16(a, b);
}

/* The same with signed bytes a; b must not be -128. */
static inline vi vi_maddsbs(vi a, vi b)
{
    vi signed_b = _mm512_mask_sub_epi8(b, _mm512_movepi8_mask(a), _mm512_setzero_si512(), b);
    return _mm512_maddubs_epi16(_mm512_abs_epi8(a), signed_b);
}

static inline vi vi_max32(vi a, vi b)
{
    return _mm512_max_epi32(a, b);
}

static inline int32_t vi_max_lane(vi a)
{
    return _mm512_reduce_max_epi32(a);
}

/* The lanes as bytes; they fit. */
static inline __m128i vi_narrow8(vi a)
{
    return _mm512_cvtepi32_epi8(a);
}

/* Logical shifts right and left within 16 or 32 bits, arithmetic right within 32. */
#define vi_shr16(a, bits) _mm512_srli_epi16(a, bits)
#define vi_shl16(a, bits) _mm512_slli_epi16(a, bits)
#define vi_shr32(a, bits) _mm512_srli_epi32(a, bits)
#define vi_shl32(a, bits) _mm512_slli_epi32(a, bits)
#define vi_sar32(a, bits) _mm512_srai_epi32(a, bits)

/* The low 16 bits of each lane, twice. */
static inline vi vi_twice16(vi a)
{
    return _mm512_shuffle_epi8(
        a, _mm512_broadcast_i32x4(_mm_setr_epi8(0, 1, 0, 1, 4, 5, 4, 5, 8, 9, 8, 9, 12, 13, 12, 13)));
}

/* Bytes table[a & 15] for bytes a in 0..15. */
static inline vi vi_lookup(__m128i table, vi a)
{
    return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(table), a);
}

/* In each lane, byte j is 16 where bit `first + j` of the lane is set, else 0; first is a multiple of 4. */
static inline vi vi_spread_bits(vi a, int first)
{
    const int byte = first / 8, bits = first % 8 ? (int)0x80402010 : 0x08040201;
    vi copies = _mm512_shuffle_epi8(
        a, _mm512_add_epi8(_mm512_set1_epi8((char)byte),
                           _mm512_broadcast_i32x4(_mm_setr_epi32(0, 0x04040404, 0x08080808, 0x0c0c0c0c))));
    __mmask64 set = _mm512_test_epi8_mask(copies, _mm512_set1_epi32(bits));
    return _mm512_maskz_set1_epi8(set, 16);
}

/* ---- Sixteen rows ---- */

struct vi4 {
    vi a, b, c, d;
};

static inline __attribute__((always_inline)) vi rows_quarter(struct rows rows, int64_t offset, int first)
{
    const struct four_rows row = every_fourth(rows, offset, first);
    __m512i v = _mm512_castsi128_si512(_mm_loadu_si128((const __m128i *)row.a));
    v = _mm512_inserti32x4(v, _mm_loadu_si128((const __m128i *)row.b), 1);
    v = _mm512_inserti32x4(v, _mm_loadu_si128((const __m128i *)row.c), 2);
    return _mm512_inserti32x4(v, _mm_loadu_si128((const __m128i *)row.d), 3);
}

/* Reads 16 bytes at `offset` of each row; a, b, c, d have in lane r the first to fourth dword of row r. */
static inline __attribute__((always_inline)) struct vi4 rows_load16(struct rows rows, int64_t offset)
{
    vi r0 = rows_quarter(rows, offset, 0), r1 = rows_quarter(rows, offset, 1);
    vi r2 = rows_quarter(rows, offset, 2), r3 = rows_quarter(rows, offset, 3);
    vi ab01 = _mm512_unpacklo_epi32(r0, r1), cd01 = _mm512_unpackhi_epi32(r0, r1);
    vi ab23 = _mm512_unpacklo_epi32(r2, r3), cd23 = _mm512_unpackhi_epi32(r2, r3);
    return (struct vi4){_mm512_unpacklo_epi64(ab01, ab23), _mm512_unpackhi_epi64(ab01, ab23),
                        _mm512_unpacklo_epi64(cd01, cd23), _mm512_unpackhi_epi64(cd01, cd23)};
}

/* ---- Floats ---- */

static inline vf vf_load(const float *p)
{
    return _mm512_loadu_ps(p);
}

static inline void vf_store(float *p, vf a)
{
    _mm512_storeu_ps(p, a);
}

static inline vf vf_set(float value)
{
    return _mm512_set1_ps(value);
}

/* The first n lanes, 0 < n < 16; the others are 0, and their memory is not touched. */
static inline vm vm_first(int64_t n)
{
    return (vm)((1u << n) - 1);
}

static inline vf vf_load_part(const float *p, vm part)
{
    return _mm512_maskz_loadu_ps(part, p);
}

static inline void vf_store_part(float *p, vm part, vf a)
{
    _mm512_mask_storeu_ps(p, part, a);
}

/* Sixteen binary16 or bfloat16 as floats; _part: n of them, the others are 0. */
static inline vf vf_load_half(const uint16_t *p)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p));
}

static inline vf vf_load_half_part(const uint16_t *p, vm part)
{
    return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(part, p));
}

static inline vf vf_load_bfloat(const uint16_t *p)
{
    return _mm512_castsi512_ps(
        _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)p)), 16));
}

static inline vf vf_load_bfloat_part(const uint16_t *p, vm part)
{
    return _mm512_castsi512_ps(
        _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(part, p)), 16));
}

static inline void vf_store_half(uint16_t *p, vf a)
{
    _mm256_storeu_si256((__m256i *)p, _mm512_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT));
}

static inline void vf_store_half_part(uint16_t *p, vm part, vf a)
{
    _mm256_mask_storeu_epi16(p, part, _mm512_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT));
}

/* The low (high) 16 bits of each lane as binary16. */
static inline vf vf_from_low_half(vi a)
{
    return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(a));
}

static inline vf vf_from_high_half(vi a)
{
    return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(_mm512_srli_epi32(a, 16)));
}

static inline vf vf_add(vf a, vf b)
{
    return _mm512_add_ps(a, b);
}

static inline vf vf_sub(vf a, vf b)
{
    return _mm512_sub_ps(a, b);
}

static inline vf vf_mul(vf a, vf b)
{
    return _mm512_mul_ps(a, b);
}

static inline vf vf_div(vf a, vf b)
{
    return _mm512_div_ps(a, b);
}

static inline vf vf_fma(vf a, vf b, vf c)
{
    return _mm512_fmadd_ps(a, b, c);
}

/* a > b ? a : b, so b where one is NaN. */
static inline vf vf_max(vf a, vf b)
{
    return _mm512_max_ps(a, b);
}

static inline vf vf_abs(vf a)
{
    return _mm512_abs_ps(a);
}

/* a with its sign flipped where b is negative or -0. */
static inline vf vf_flip_sign(vf a, vf b)
{
    return _mm512_xor_ps(a, _mm512_and_ps(b, _mm512_set1_ps(-0.0f)));
}

/* To the nearest integer, even where two are as near. */
static inline vi vi_from_vf(vf a)
{
    return _mm512_cvtps_epi32(a);
}

static inline vf vf_from_vi(vi a)
{
    return _mm512_cvtepi32_ps(a);
}

static inline vi vi_as_bits(vf a)
{
    return _mm512_castps_si512(a);
}

static inline vf vf_as_bits(vi a)
{
    return _mm512_castsi512_ps(a);
}

/* Comparisons with NaN are false. */
static inline vm vm_less(vf a, vf b)
{
    return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ);
}

static inline vm vm_not_less(vf a, vf b)
{
    return _mm512_cmp_ps_mask(a, b, _CMP_GE_OQ);
}

/* choice ? a : b */
static inline vf vf_choose(vm choice, vf a, vf b)
{
    return _mm512_mask_blend_ps(choice, b, a);
}

/* The largest lane; all lanes must be numbers, or all NaN. */
static inline float vf_max_lane(vf a)
{
    return _mm512_reduce_max_ps(a);
}

/* s[i] = p[i] + p[i + 8], then t[i] = s[i] + s[i + 4]: what is left of tree16 is (t0 + t1) + (t2 + t3). */
static inline __m128 vf_tree4(vf p)
{
    __m256 s = _mm256_add_ps(_mm512_castps512_ps256(p), _mm512_extractf32x8_ps(p, 1));
    return _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
}

#endif
