/*
 * Sixteen 32-bit lanes in pairs of AVX2 registers: the functions of lanes_avx512.h.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_LANES_AVX2_H
#define MLT_LANES_AVX2_H

#include "kernels/x86/x86.h"

#include <immintrin.h>
#include <stdint.h>

/* lo holds lanes 0 to 7 */
typedef struct {
    __m256i lo, hi;
} vi;
typedef struct {
    __m256 lo, hi;
} vf;
typedef vi vm; /* all bits of a chosen lane */

/* ---- Integers ---- */

static inline vi vi_load(const void *p)
{
    return (vi){_mm256_loadu_si256((const __m256i *)p), _mm256_loadu_si256((const __m256i *)p + 1)};
}

static inline void vi_store(void *p, vi a)
{
    _mm256_storeu_si256((__m256i *)p, a.lo);
    _mm256_storeu_si256((__m256i *)p + 1, a.hi);
}

static inline vi vi_set8(int value)
{
    __m256i v = _mm256_set1_epi8((char)value);
    return (vi){v, v};
}

static inline vi vi_set16(int value)
{
    __m256i v = _mm256_set1_epi16((short)value);
    return (vi){v, v};
}

static inline vi vi_set32(int value)
{
    __m256i v = _mm256_set1_epi32(value);
    return (vi){v, v};
}

static inline vi vi_and(vi a, vi b)
{
    return (vi){_mm256_and_si256(a.lo, b.lo), _mm256_and_si256(a.hi, b.hi)};
}

static inline vi vi_or(vi a, vi b)
{
    return (vi){_mm256_or_si256(a.lo, b.lo), _mm256_or_si256(a.hi, b.hi)};
}

static inline vi vi_add8(vi a, vi b)
{
    return (vi){_mm256_add_epi8(a.lo, b.lo), _mm256_add_epi8(a.hi, b.hi)};
}

static inline vi vi_sub8(vi a, vi b)
{
    return (vi){_mm256_sub_epi8(a.lo, b.lo), _mm256_sub_epi8(a.hi, b.hi)};
}

static inline vi vi_add16(vi a, vi b)
{
    return (vi){_mm256_add_epi16(a.lo, b.lo), _mm256_add_epi16(a.hi, b.hi)};
}

static inline vi vi_add32(vi a, vi b)
{
    return (vi){_mm256_add_epi32(a.lo, b.lo), _mm256_add_epi32(a.hi, b.hi)};
}

static inline vi vi_sub32(vi a, vi b)
{
    return (vi){_mm256_sub_epi32(a.lo, b.lo), _mm256_sub_epi32(a.hi, b.hi)};
}

static inline vi vi_mul32(vi a, vi b)
{
    return (vi){_mm256_mullo_epi32(a.lo, b.lo), _mm256_mullo_epi32(a.hi, b.hi)};
}

static inline vi vi_madd16(vi a, vi b)
{
    return (vi){_mm256_madd_epi16(a.lo, b.lo), _mm256_madd_epi16(a.hi, b.hi)};
}

static inline vi vi_maddubs(vi a, vi b)
{
    return (vi){_mm256_maddubs_epi16(a.lo, b.lo), _mm256_maddubs_epi16(a.hi, b.hi)};
}

static inline vi vi_maddsbs(vi a, vi b)
{
    return (vi){_mm256_maddubs_epi16(_mm256_abs_epi8(a.lo), _mm256_sign_epi8(b.lo, a.lo)),
                _mm256_maddubs_epi16(_mm256_abs_epi8(a.hi), _mm256_sign_epi8(b.hi, a.hi))};
}

static inline vi vi_max32(vi a, vi b)
{
    return (vi){_mm256_max_epi32(a.lo, b.lo), _mm256_max_epi32(a.hi, b.hi)};
}

static inline int32_t vi_max_lane(vi a)
{
    __m256i v = _mm256_max_epi32(a.lo, a.hi);
    __m128i m = _mm_max_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    m = _mm_max_epi32(m, _mm_shuffle_epi32(m, _MM_SHUFFLE(1, 0, 3, 2)));
    return _mm_cvtsi128_si32(_mm_max_epi32(m, _mm_shuffle_epi32(m, _MM_SHUFFLE(2, 3, 0, 1))));
}

static inline __m128i vi_narrow8(vi a)
{
    __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(a.lo, a.hi), _MM_SHUFFLE(3, 1, 2, 0));
    return _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
}

static inline vi vi_shr16(vi a, int bits)
{
    return (vi){_mm256_srli_epi16(a.lo, bits), _mm256_srli_epi16(a.hi, bits)};
}

static inline vi vi_shl16(vi a, int bits)
{
    return (vi){_mm256_slli_epi16(a.lo, bits), _mm256_slli_epi16(a.hi, bits)};
}

static inline vi vi_shr32(vi a, int bits)
{
    return (vi){_mm256_srli_epi32(a.lo, bits), _mm256_srli_epi32(a.hi, bits)};
}

static inline vi vi_shl32(vi a, int bits)
{
    return (vi){_mm256_slli_epi32(a.lo, bits), _mm256_slli_epi32(a.hi, bits)};
}

static inline vi vi_sar32(vi a, int bits)
{
    return (vi){_mm256_srai_epi32(a.lo, bits), _mm256_srai_epi32(a.hi, bits)};
}

static inline vi vi_twice16(vi a)
{
    __m256i twice =
        _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 1, 0, 1, 4, 5, 4, 5, 8, 9, 8, 9, 12, 13, 12, 13));
    return (vi){_mm256_shuffle_epi8(a.lo, twice), _mm256_shuffle_epi8(a.hi, twice)};
}

static inline vi vi_lookup(__m128i table, vi a)
{
    __m256i t = _mm256_broadcastsi128_si256(table);
    return (vi){_mm256_shuffle_epi8(t, a.lo), _mm256_shuffle_epi8(t, a.hi)};
}

static inline vi vi_spread_bits(vi a, int first)
{
    const int byte = first / 8, bits = first % 8 ? (int)0x80402010 : 0x08040201;
    __m256i place =
        _mm256_add_epi8(_mm256_set1_epi8((char)byte),
                        _mm256_broadcastsi128_si256(_mm_setr_epi32(0, 0x04040404, 0x08080808, 0x0c0c0c0c)));
    __m256i bit = _mm256_set1_epi32(bits), sixteen = _mm256_set1_epi8(16);
    __m256i lo = _mm256_and_si256(_mm256_shuffle_epi8(a.lo, place), bit);
    __m256i hi = _mm256_and_si256(_mm256_shuffle_epi8(a.hi, place), bit);
    return (vi){_mm256_and_si256(_mm256_cmpeq_epi8(lo, bit), sixteen),
                _mm256_and_si256(_mm256_cmpeq_epi8(hi, bit), sixteen)};
}

/* ---- Sixteen rows ---- */

struct vi4 {
    vi a, b, c, d;
};

static inline __m256i rows_pair(const uint8_t *low, const uint8_t *high)
{
    return _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)low)),
                                   _mm_loadu_si128((const __m128i *)high), 1);
}

static inline __attribute__((always_inline)) struct vi4 rows_load16(struct rows rows, int64_t offset)
{
    struct vi4 out;
    const struct four_rows row0 = every_fourth(rows, offset, 0), row1 = every_fourth(rows, offset, 1);
    const struct four_rows row2 = every_fourth(rows, offset, 2), row3 = every_fourth(rows, offset, 3);
    {
        __m256i r0 = rows_pair(row0.a, row0.b), r1 = rows_pair(row1.a, row1.b);
        __m256i r2 = rows_pair(row2.a, row2.b), r3 = rows_pair(row3.a, row3.b);
        __m256i ab01 = _mm256_unpacklo_epi32(r0, r1), cd01 = _mm256_unpackhi_epi32(r0, r1);
        __m256i ab23 = _mm256_unpacklo_epi32(r2, r3), cd23 = _mm256_unpackhi_epi32(r2, r3);
        out.a.lo = _mm256_unpacklo_epi64(ab01, ab23);
        out.b.lo = _mm256_unpackhi_epi64(ab01, ab23);
        out.c.lo = _mm256_unpacklo_epi64(cd01, cd23);
        out.d.lo = _mm256_unpackhi_epi64(cd01, cd23);
    }
    {
        __m256i r0 = rows_pair(row0.c, row0.d), r1 = rows_pair(row1.c, row1.d);
        __m256i r2 = rows_pair(row2.c, row2.d), r3 = rows_pair(row3.c, row3.d);
        __m256i ab01 = _mm256_unpacklo_epi32(r0, r1), cd01 = _mm256_unpackhi_epi32(r0, r1);
        __m256i ab23 = _mm256_unpacklo_epi32(r2, r3), cd23 = _mm256_unpackhi_epi32(r2, r3);
        out.a.hi = _mm256_unpacklo_epi64(ab01, ab23);
        out.b.hi = _mm256_unpackhi_epi64(ab01, ab23);
        out.c.hi = _mm256_unpacklo_epi64(cd01, cd23);
        out.d.hi = _mm256_unpackhi_epi64(cd01, cd23);
    }
    return out;
}

/* ---- Floats ---- */

static inline vf vf_load(const float *p)
{
    return (vf){_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)};
}

static inline void vf_store(float *p, vf a)
{
    _mm256_storeu_ps(p, a.lo);
    _mm256_storeu_ps(p + 8, a.hi);
}

static inline vf vf_set(float value)
{
    __m256 v = _mm256_set1_ps(value);
    return (vf){v, v};
}

static inline vm vm_first(int64_t n)
{
    __m256i count = _mm256_set1_epi32((int)n);
    return (vm){_mm256_cmpgt_epi32(count, _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)),
                _mm256_cmpgt_epi32(count, _mm256_setr_epi32(8, 9, 10, 11, 12, 13, 14, 15))};
}

static inline vf vf_load_part(const float *p, vm part)
{
    return (vf){_mm256_maskload_ps(p, part.lo), _mm256_maskload_ps(p + 8, part.hi)};
}

static inline void vf_store_part(float *p, vm part, vf a)
{
    _mm256_maskstore_ps(p, part.lo, a.lo);
    _mm256_maskstore_ps(p + 8, part.hi, a.hi);
}

static inline vf vf_from_halves(__m256i halves)
{
    return (vf){_mm256_cvtph_ps(_mm256_castsi256_si128(halves)),
                _mm256_cvtph_ps(_mm256_extracti128_si256(halves, 1))};
}

static inline vf vf_from_bfloats(__m256i bfloats)
{
    __m256i lo = _mm256_cvtepu16_epi32(_mm256_castsi256_si128(bfloats));
    __m256i hi = _mm256_cvtepu16_epi32(_mm256_extracti128_si256(bfloats, 1));
    return (vf){_mm256_castsi256_ps(_mm256_slli_epi32(lo, 16)),
                _mm256_castsi256_ps(_mm256_slli_epi32(hi, 16))};
}

/* AVX2 has no masked access to 16-bit elements: they go through a buffer, one by one. */
static inline int vm_count(vm part)
{
    unsigned lo = (unsigned)_mm256_movemask_ps(_mm256_castsi256_ps(part.lo));
    unsigned hi = (unsigned)_mm256_movemask_ps(_mm256_castsi256_ps(part.hi));
    return __builtin_popcount(lo | hi << 8);
}

static inline __m256i load_part16(const uint16_t *p, vm part)
{
    uint16_t buffer[16] = {0};
    int n = vm_count(part);
    for (int i = 0; i < n; i++)
        buffer[i] = p[i];
    return _mm256_loadu_si256((const __m256i *)buffer);
}

static inline vf vf_load_half(const uint16_t *p)
{
    return vf_from_halves(_mm256_loadu_si256((const __m256i *)p));
}

static inline vf vf_load_half_part(const uint16_t *p, vm part)
{
    return vf_from_halves(load_part16(p, part));
}

static inline vf vf_load_bfloat(const uint16_t *p)
{
    return vf_from_bfloats(_mm256_loadu_si256((const __m256i *)p));
}

static inline vf vf_load_bfloat_part(const uint16_t *p, vm part)
{
    return vf_from_bfloats(load_part16(p, part));
}

static inline void vf_store_half(uint16_t *p, vf a)
{
    _mm_storeu_si128((__m128i *)p, _mm256_cvtps_ph(a.lo, _MM_FROUND_TO_NEAREST_INT));
    _mm_storeu_si128((__m128i *)p + 1, _mm256_cvtps_ph(a.hi, _MM_FROUND_TO_NEAREST_INT));
}

static inline void vf_store_half_part(uint16_t *p, vm part, vf a)
{
    uint16_t buffer[16];
    int n = vm_count(part);
    vf_store_half(buffer, a);
    for (int i = 0; i < n; i++)
        p[i] = buffer[i];
}

static inline vf vf_from_low_half(vi a)
{
    __m256i mask = _mm256_set1_epi32(0xffff);
    __m256i packed = _mm256_packus_epi32(_mm256_and_si256(a.lo, mask), _mm256_and_si256(a.hi, mask));
    return vf_from_halves(_mm256_permute4x64_epi64(packed, _MM_SHUFFLE(3, 1, 2, 0)));
}

static inline vf vf_from_high_half(vi a)
{
    __m256i packed = _mm256_packus_epi32(_mm256_srli_epi32(a.lo, 16), _mm256_srli_epi32(a.hi, 16));
    return vf_from_halves(_mm256_permute4x64_epi64(packed, _MM_SHUFFLE(3, 1, 2, 0)));
}

static inline vf vf_add(vf a, vf b)
{
    return (vf){_mm256_add_ps(a.lo, b.lo), _mm256_add_ps(a.hi, b.hi)};
}

static inline vf vf_sub(vf a, vf b)
{
    return (vf){_mm256_sub_ps(a.lo, b.lo), _mm256_sub_ps(a.hi, b.hi)};
}

static inline vf vf_mul(vf a, vf b)
{
    return (vf){_mm256_mul_ps(a.lo, b.lo), _mm256_mul_ps(a.hi, b.hi)};
}

static inline vf vf_div(vf a, vf b)
{
    return (vf){_mm256_div_ps(a.lo, b.lo), _mm256_div_ps(a.hi, b.hi)};
}

static inline vf vf_fma(vf a, vf b, vf c)
{
    return (vf){_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi)};
}

static inline vf vf_max(vf a, vf b)
{
    return (vf){_mm256_max_ps(a.lo, b.lo), _mm256_max_ps(a.hi, b.hi)};
}

static inline vf vf_abs(vf a)
{
    __m256 sign = _mm256_set1_ps(-0.0f);
    return (vf){_mm256_andnot_ps(sign, a.lo), _mm256_andnot_ps(sign, a.hi)};
}

static inline vf vf_flip_sign(vf a, vf b)
{
    __m256 sign = _mm256_set1_ps(-0.0f);
    return (vf){_mm256_xor_ps(a.lo, _mm256_and_ps(b.lo, sign)),
                _mm256_xor_ps(a.hi, _mm256_and_ps(b.hi, sign))};
}

static inline vi vi_from_vf(vf a)
{
    return (vi){_mm256_cvtps_epi32(a.lo), _mm256_cvtps_epi32(a.hi)};
}

static inline vf vf_from_vi(vi a)
{
    return (vf){_mm256_cvtepi32_ps(a.lo), _mm256_cvtepi32_ps(a.hi)};
}

static inline vi vi_as_bits(vf a)
{
    return (vi){_mm256_castps_si256(a.lo), _mm256_castps_si256(a.hi)};
}

static inline vf vf_as_bits(vi a)
{
    return (vf){_mm256_castsi256_ps(a.lo), _mm256_castsi256_ps(a.hi)};
}

#define COMPARE(a, b, how)                                                                                   \
    (vm)                                                                                                     \
    {                                                                                                        \
        _mm256_castps_si256(_mm256_cmp_ps(a.lo, b.lo, how)),                                                 \
            _mm256_castps_si256(_mm256_cmp_ps(a.hi, b.hi, how))                                              \
    }

static inline vm vm_less(vf a, vf b)
{
    return COMPARE(a, b, _CMP_LT_OQ);
}

static inline vm vm_not_less(vf a, vf b)
{
    return COMPARE(a, b, _CMP_GE_OQ);
}

#undef COMPARE

static inline vf vf_choose(vm choice, vf a, vf b)
{
    return (vf){_mm256_blendv_ps(b.lo, a.lo, _mm256_castsi256_ps(choice.lo)),
                _mm256_blendv_ps(b.hi, a.hi, _mm256_castsi256_ps(choice.hi))};
}

static inline float vf_max_lane(vf a)
{
    __m256 v = _mm256_max_ps(a.lo, a.hi);
    __m128 m = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    m = _mm_max_ps(m, _mm_movehl_ps(m, m));
    return _mm_cvtss_f32(_mm_max_ss(m, _mm_movehdup_ps(m)));
}

static inline __m128 vf_tree4(vf p)
{
    __m256 s = _mm256_add_ps(p.lo, p.hi);
    return _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
}

#endif
