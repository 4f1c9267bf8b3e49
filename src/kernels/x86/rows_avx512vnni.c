/*
 * Sixteen rows of quantised weights times one token, straight from the file's layout: what generating spends
 * its time on.
 *
 * Sixteen bytes of each of sixteen rows are transposed in registers, so that a register holds four columns of
 * all rows, as in a panel (kernels.h), and are multiplied at once. Codes stay unsigned: an offset c of the
 * codes is taken off the sum as c * (sum of xq), by which each accumulator starts.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "kernels/x86/x86.h"

#include "tensor/quant_blocks.h"

#include <string.h>

#define INLINE static inline __attribute__((always_inline))

/* Sixteen bytes at `offset` of rows i, i + 4, i + 8 and i + 12, one a 128-bit lane. */
INLINE __m512i four_rows(const uint8_t *const rows[16], int i, int64_t offset)
{
#define ROW(r) _mm_loadu_si128((const __m128i *)(const void *)(rows[r] + offset))
    __m512i v = _mm512_castsi128_si512(ROW(i));
    v = _mm512_mask_broadcast_i32x4(v, 0x00f0, ROW(i + 4));
    v = _mm512_mask_broadcast_i32x4(v, 0x0f00, ROW(i + 8));
    return _mm512_mask_broadcast_i32x4(v, 0xf000, ROW(i + 12));
#undef ROW
}

/* Sixteen bytes of all rows as four registers: register j holds bytes 4 j to 4 j + 3 of rows 0 to 15. */
struct quads {
    __m512i j0, j1, j2, j3;
};

INLINE struct quads load_quads(const uint8_t *const rows[16], int64_t offset)
{
    __m512i a = four_rows(rows, 0, offset), b = four_rows(rows, 1, offset);
    __m512i c = four_rows(rows, 2, offset), d = four_rows(rows, 3, offset);
    __m512i ab = _mm512_unpacklo_epi32(a, b), cd = _mm512_unpacklo_epi32(c, d);
    __m512i ab_high = _mm512_unpackhi_epi32(a, b), cd_high = _mm512_unpackhi_epi32(c, d);
    return (struct quads){_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd),
                          _mm512_unpacklo_epi64(ab_high, cd_high), _mm512_unpackhi_epi64(ab_high, cd_high)};
}

/* Four activations for all rows. */
INLINE __m512i four_x(const int8_t *x)
{
    int32_t bits;
    memcpy(&bits, x, sizeof bits);
    return _mm512_set1_epi32(bits);
}

/* sum += codes of sixteen columns * x[0..15] */
INLINE __m512i dot16(__m512i sum, struct quads codes, const int8_t *x)
{
    sum = _mm512_dpbusd_epi32(sum, codes.j0, four_x(x));
    sum = _mm512_dpbusd_epi32(sum, codes.j1, four_x(x + 4));
    sum = _mm512_dpbusd_epi32(sum, codes.j2, four_x(x + 8));
    return _mm512_dpbusd_epi32(sum, codes.j3, four_x(x + 12));
}

INLINE struct quads quads_and(struct quads v, __m512i mask)
{
    return (struct quads){_mm512_and_si512(v.j0, mask), _mm512_and_si512(v.j1, mask),
                          _mm512_and_si512(v.j2, mask), _mm512_and_si512(v.j3, mask)};
}

/* (v >> bits) & mask in each byte; mask must clear what comes from the neighbouring byte. */
INLINE struct quads quads_bits(struct quads v, int bits, __m512i mask)
{
    return (struct quads){_mm512_and_si512(_mm512_srli_epi32(v.j0, (unsigned)bits), mask),
                          _mm512_and_si512(_mm512_srli_epi32(v.j1, (unsigned)bits), mask),
                          _mm512_and_si512(_mm512_srli_epi32(v.j2, (unsigned)bits), mask),
                          _mm512_and_si512(_mm512_srli_epi32(v.j3, (unsigned)bits), mask)};
}

/* A binary16 number at `offset` of each row, as float. */
INLINE __m512 row_halves(const uint8_t *const rows[16], int64_t offset)
{
    uint16_t halves[16];
    for (int r = 0; r < 16; r++)
        memcpy(&halves[r], rows[r] + offset, sizeof halves[r]);
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)halves));
}

INLINE __m512 accumulate(__m512 sum, __m512 d, float dx, __m512i isum)
{
    return _mm512_fmadd_ps(_mm512_mul_ps(d, _mm512_set1_ps(dx)), _mm512_cvtepi32_ps(isum), sum);
}

static void rows_q4_0(const uint8_t *const rows[MLT_PANEL_ROWS], const struct mlt_act *act, int64_t token,
                      float y[MLT_PANEL_ROWS])
{
    const int8_t *x = act->q + token * act->columns;
    const float *dx = act->d + token * (act->columns / 32);
    const int16_t *sums = act->sums + token * (act->columns / 16);
    const __m512i low = _mm512_set1_epi8(15);
    __m512 sum = _mm512_setzero_ps();
    for (int64_t b = 0; b < act->columns / 32; b++) {
        int64_t offset = b * (int64_t)sizeof(struct mlt_block_q4_0);
        prefetch_rows(rows, offset, sizeof(struct mlt_block_q4_0));
        struct quads codes = load_quads(rows, offset + 2);
        __m512i isum = _mm512_set1_epi32(-8 * (sums[2 * b] + sums[2 * b + 1]));
        isum = dot16(isum, quads_and(codes, low), x + 32 * b);
        __m512i high = dot16(_mm512_setzero_si512(), quads_bits(codes, 4, low), x + 32 * b + 16);
        sum = accumulate(sum, row_halves(rows, offset), dx[b], _mm512_add_epi32(isum, high));
    }
    _mm512_storeu_ps(y, sum);
}

static void rows_q8_0(const uint8_t *const rows[MLT_PANEL_ROWS], const struct mlt_act *act, int64_t token,
                      float y[MLT_PANEL_ROWS])
{
    const int8_t *x = act->q + token * act->columns;
    const float *dx = act->d + token * (act->columns / 32);
    const int16_t *sums = act->sums + token * (act->columns / 16);
    const __m512i sign = _mm512_set1_epi8((char)0x80);
    __m512 sum = _mm512_setzero_ps();
    for (int64_t b = 0; b < act->columns / 32; b++) {
        int64_t offset = b * (int64_t)sizeof(struct mlt_block_q8_0);
        prefetch_rows(rows, offset, sizeof(struct mlt_block_q8_0));
        struct quads half[2] = {load_quads(rows, offset + 2), load_quads(rows, offset + 18)};
        __m512i isum[2] = {_mm512_set1_epi32(-128 * (sums[2 * b] + sums[2 * b + 1])), _mm512_setzero_si512()};
        for (int h = 0; h < 2; h++) { /* w + 128 is w with its sign turned over */
            struct quads *v = &half[h];
            *v = (struct quads){_mm512_xor_si512(v->j0, sign), _mm512_xor_si512(v->j1, sign),
                                _mm512_xor_si512(v->j2, sign), _mm512_xor_si512(v->j3, sign)};
            isum[h] = dot16(isum[h], *v, x + 32 * b + 16 * h);
        }
        sum = accumulate(sum, row_halves(rows, offset), dx[b], _mm512_add_epi32(isum[0], isum[1]));
    }
    _mm512_storeu_ps(y, sum);
}

/* Byte `g` of each lane, unsigned or signed. */
INLINE __m512i byte_of(__m512i v, int g)
{
    return _mm512_and_si512(_mm512_srli_epi32(v, 8 * (unsigned)g), _mm512_set1_epi32(255));
}

INLINE __m512i signed_byte_of(__m512i v, int g)
{
    return _mm512_srai_epi32(_mm512_slli_epi32(v, 24 - 8 * (unsigned)g), 24);
}

/* Two 16-bit numbers for all rows. */
INLINE __m512i pair(int low, int high)
{
    return _mm512_set1_epi32((int32_t)((uint32_t)(uint16_t)low | (uint32_t)(uint16_t)high << 16));
}

static void rows_q4_K(const uint8_t *const rows[MLT_PANEL_ROWS], const struct mlt_act *act, int64_t token,
                      float y[MLT_PANEL_ROWS])
{
    const float *dx = act->d + token * (act->columns / 256);
    const __m512i low4 = _mm512_set1_epi8(15), low6 = _mm512_set1_epi8(63), bits45 = _mm512_set1_epi8(0x30);
    const __m512i even = _mm512_set1_epi32(0x00ff00ff);
    __m512 sum = _mm512_setzero_ps();
    for (int64_t b = 0; b < act->columns / 256; b++) {
        int64_t offset = b * (int64_t)sizeof(struct mlt_block_q4_K);
        const int8_t *x = act->q + token * act->columns + 256 * b;
        const int16_t *sums = act->sums + (token * act->columns + 256 * b) / 16;
        int xsum[8];
        for (int g = 0; g < 8; g++)
            xsum[g] = sums[2 * g] + sums[2 * g + 1];
        /* The first 16 bytes: d and dmin, then three dwords of packed scales and mins (quant_blocks.h). */
        struct quads head = load_quads(rows, offset);
        __m512 d = _mm512_cvtph_ps(_mm512_cvtepi32_epi16(head.j0));
        __m512 dmin = _mm512_cvtph_ps(_mm512_cvtepi32_epi16(_mm512_srli_epi32(head.j0, 16)));
        __m512i scales[2] = {_mm512_and_si512(head.j1, low6),
                             _mm512_or_si512(_mm512_and_si512(head.j3, low4),
                                             _mm512_and_si512(_mm512_srli_epi32(head.j1, 2), bits45))};
        __m512i mins[2] = {_mm512_and_si512(head.j2, low6),
                           _mm512_or_si512(_mm512_and_si512(_mm512_srli_epi32(head.j3, 4), low4),
                                           _mm512_and_si512(_mm512_srli_epi32(head.j2, 2), bits45))};
        __m512i isum = _mm512_setzero_si512(), msum = _mm512_setzero_si512();
        for (int i = 0; i < 2; i++) {
            const int *s = xsum + 4 * i;
            msum = _mm512_dpwssd_epi32(msum, _mm512_and_si512(mins[i], even), pair(s[0], s[2]));
            msum = _mm512_dpwssd_epi32(msum, _mm512_and_si512(_mm512_srli_epi32(mins[i], 8), even),
                                       pair(s[1], s[3]));
        }
#pragma GCC unroll 4
        for (int c = 0; c < 4; c++) { /* 64 columns: low nibbles are a group, high nibbles the next */
            prefetch_rows(rows, offset + 36 * c, 36);
            struct quads first = load_quads(rows, offset + 16 + 32 * c),
                         second = load_quads(rows, offset + 32 + 32 * c);
            __m512i zero = _mm512_setzero_si512();
            __m512i a = dot16(dot16(zero, quads_and(first, low4), x + 64 * c), quads_and(second, low4),
                              x + 64 * c + 16);
            __m512i z = dot16(dot16(zero, quads_bits(first, 4, low4), x + 64 * c + 32),
                              quads_bits(second, 4, low4), x + 64 * c + 48);
            a = _mm512_mullo_epi32(a, byte_of(scales[c / 2], 2 * c % 4));
            z = _mm512_mullo_epi32(z, byte_of(scales[c / 2], 2 * c % 4 + 1));
            isum = _mm512_add_epi32(isum, _mm512_add_epi32(a, z));
        }
        sum = accumulate(sum, d, dx[b], isum);
        __m512 m = _mm512_mul_ps(dmin, _mm512_set1_ps(dx[b]));
        sum = _mm512_fnmadd_ps(m, _mm512_cvtepi32_ps(msum), sum);
    }
    _mm512_storeu_ps(y, sum);
}

/* Low nibbles and two high bits of sixteen columns, joined to codes of six bits. */
INLINE struct quads join6(struct quads nibble, struct quads high, int bits)
{
    const __m512i mask = _mm512_set1_epi8(0x30);
#define HIGH(j)                                                                                              \
    _mm512_or_si512(nibble.j, _mm512_and_si512(bits >= 4 ? _mm512_srli_epi32(high.j, (unsigned)(bits - 4))   \
                                                         : _mm512_slli_epi32(high.j, (unsigned)(4 - bits)),  \
                                               mask))
    return (struct quads){HIGH(j0), HIGH(j1), HIGH(j2), HIGH(j3)};
#undef HIGH
}

static void rows_q6_K(const uint8_t *const rows[MLT_PANEL_ROWS], const struct mlt_act *act, int64_t token,
                      float y[MLT_PANEL_ROWS])
{
    const float *dx = act->d + token * (act->columns / 256);
    const __m512i low = _mm512_set1_epi8(15);
    __m512 sum = _mm512_setzero_ps();
    for (int64_t b = 0; b < act->columns / 256; b++) {
        int64_t offset = b * (int64_t)sizeof(struct mlt_block_q6_K);
        const int8_t *x = act->q + token * act->columns + 256 * b;
        const int16_t *sums = act->sums + (token * act->columns + 256 * b) / 16;
        struct quads scales = load_quads(rows, offset + 192);
        __m512i isum = _mm512_setzero_si512();
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) { /* columns 16 (i % 2) + 0, 32, 64, 96 of half i / 2, sixteen each */
            int half = i / 2, part = i % 2, column = 128 * half + 16 * part, group = 8 * half + part;
            prefetch_rows(rows, offset + 52 * i, 52);
            struct quads a = load_quads(rows, offset + 64 * half + 16 * part);
            struct quads c = load_quads(rows, offset + 64 * half + 32 + 16 * part);
            struct quads high = load_quads(rows, offset + 128 + 32 * half + 16 * part);
            struct quads codes[4] = {join6(quads_and(a, low), high, 0), join6(quads_and(c, low), high, 2),
                                     join6(quads_bits(a, 4, low), high, 4),
                                     join6(quads_bits(c, 4, low), high, 6)};
#pragma GCC unroll 4
            for (int k = 0; k < 4; k++) {
                int g = group + 2 * k;
                __m512i s = dot16(_mm512_set1_epi32(-32 * sums[g]), codes[k], x + column + 32 * k);
                __m512i four = g / 4 == 0   ? scales.j0
                               : g / 4 == 1 ? scales.j1
                               : g / 4 == 2 ? scales.j2
                                            : scales.j3;
                isum = _mm512_add_epi32(isum, _mm512_mullo_epi32(s, signed_byte_of(four, g % 4)));
            }
        }
        sum = accumulate(sum, row_halves(rows, offset + 208), dx[b], isum);
    }
    _mm512_storeu_ps(y, sum);
}

void mlt_avx512_vnni_rows(struct mlt_kernels *table)
{
    table->rows[MLT_Q4_0] = rows_q4_0;
    table->rows[MLT_Q8_0] = rows_q8_0;
    table->rows[MLT_Q4_K] = rows_q4_K;
    table->rows[MLT_Q6_K] = rows_q6_K;
}
