/*
 * Sixteen rows of Q8_0 times one token, row after row.
 *
 * The other layouts read a piece of sixteen rows at a time and keep a row in a lane. Q8_0 has twice their
 * bytes and hardly anything to take apart, so it is memory that counts, and memory is read fastest as one
 * stream. Here the blocks of a row lie in the lanes instead: sums of integers may be formed in any order.
 * Only then sixteen blocks of sixteen rows are transposed, and every row adds its blocks in the order that
 * the contract asks for.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "kernels/x86/lanes_avx512.h"
#include "kernels/x86/x86.h"
#include "tensor/half.h"
#include "tensor/quant_blocks.h"

#include <string.h>

enum {
    LANES = 16,
    PIECE = 128, /* blocks of a row before the next row's: what is kept of them stays in the cache */
    LINE = 64,
    BYTES = sizeof(struct mlt_block_q8_0), /* blocks are at any address */
    BYTES_AHEAD = 192 * LINE,
};

/* Of each block and row: sum of q * x, and d * dx. */
struct piece {
    _Alignas(64) float sums[MLT_PANEL_ROWS][PIECE], scales[MLT_PANEL_ROWS][PIECE];
};

static inline __m256i block_product(const uint8_t *block, const int8_t *x)
{
    /* vpdpbusd wants unsigned codes: q + 128. */
    __m256i q =
        _mm256_xor_si256(_mm256_loadu_si256((const __m256i *)(block + offsetof(struct mlt_block_q8_0, qs))),
                         _mm256_set1_epi8(-128));
    return _mm256_dpbusd_epi32(_mm256_setzero_si256(), q, _mm256_loadu_si256((const __m256i *)x));
}

/* Products of blocks `low` and `low` + 4. */
static inline __m512i two_products(const uint8_t *blocks, const int8_t *x, int low)
{
    return _mm512_inserti64x4(_mm512_castsi256_si512(block_product(blocks + BYTES * low, x + 32 * low)),
                              block_product(blocks + BYTES * (low + 4), x + 32 * (low + 4)), 1);
}

/* Sums of pairs of lanes, those of a and of b in turn. */
static inline __m512i add_lanes32(__m512i a, __m512i b)
{
    return _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
}

static inline __m512i add_lanes64(__m512i a, __m512i b)
{
    return _mm512_add_epi32(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b));
}

/* Quarters: blocks first .. first + 3 in two parts, then first + 4 .. first + 7 in two parts. */
static inline __m512i eight_products(const uint8_t *blocks, const int8_t *x, int first)
{
    return add_lanes64(add_lanes32(two_products(blocks, x, first), two_products(blocks, x, first + 1)),
                       add_lanes32(two_products(blocks, x, first + 2), two_products(blocks, x, first + 3)));
}

/* Sums of q * x of sixteen blocks with 128 too much in each q. */
static inline __m512i sixteen_products(const uint8_t *blocks, const int8_t *x)
{
    __m512i low = eight_products(blocks, x, 0), high = eight_products(blocks, x, 8);
    return _mm512_add_epi32(_mm512_shuffle_i32x4(low, high, 0x88), _mm512_shuffle_i32x4(low, high, 0xdd));
}

static inline uint16_t scale_of(const uint8_t *block)
{
    uint16_t d;
    memcpy(&d, block + offsetof(struct mlt_block_q8_0, d), sizeof d);
    return d;
}

static inline __m512 sixteen_scales(const uint8_t *blocks)
{
    _Alignas(32) uint16_t d[LANES];
    for (int b = 0; b < LANES; b++)
        d[b] = scale_of(blocks + BYTES * b);
    return _mm512_cvtph_ps(_mm256_load_si256((const __m256i *)d));
}

static inline int32_t one_product(const uint8_t *block, const int8_t *x)
{
    __m256i sum = block_product(block, x);
    __m128i half = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
    half = _mm_add_epi32(half, _mm_shuffle_epi32(half, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(half, _mm_shuffle_epi32(half, 0xb1)));
}

/* What sums and scales have for `n` blocks of a row. excess: 128 * (sum of x) of each. */
static inline void read_row(const uint8_t *blocks, const int8_t *x, const float *dx, const int32_t *excess,
                            int n, float *sums, float *scales)
{
    int b = 0;
    for (; b + LANES <= n; b += LANES) {
        for (int at = 0; at < LANES * BYTES; at += LINE)
            prefetch((uintptr_t)(blocks + BYTES * b) + BYTES_AHEAD + (uintptr_t)at);
        __m512i sum = _mm512_sub_epi32(sixteen_products(blocks + BYTES * b, x + 32 * b), vi_load(excess + b));
        vf_store(sums + b, vf_from_vi(sum));
        vf_store(scales + b, vf_mul(sixteen_scales(blocks + BYTES * b), vf_load(dx + b)));
    }
    for (; b < n; b++) {
        sums[b] = (float)(one_product(blocks + BYTES * b, x + 32 * b) - excess[b]);
        scales[b] = mlt_half_to_float(scale_of(blocks + BYTES * b)) * dx[b];
    }
}

/* y = fma(scale, sum, y), `n` blocks in ascending order. */
static inline vf add_blocks(vf y, const struct piece *piece, int n)
{
    const struct rows sums = {(const uint8_t *)piece->sums, sizeof *piece->sums, NULL};
    const struct rows scales = {(const uint8_t *)piece->scales, sizeof *piece->scales, NULL};
    for (int b = 0; b < n; b += 4) {
        struct vi4 s = rows_load16(sums, 4 * b), d = rows_load16(scales, 4 * b);
        y = vf_fma(vf_as_bits(d.a), vf_as_bits(s.a), y);
        if (b + 1 < n) y = vf_fma(vf_as_bits(d.b), vf_as_bits(s.b), y);
        if (b + 2 < n) y = vf_fma(vf_as_bits(d.c), vf_as_bits(s.c), y);
        if (b + 3 < n) y = vf_fma(vf_as_bits(d.d), vf_as_bits(s.d), y);
    }
    return y;
}

static void rows_q8_0(const uint8_t *const rows[MLT_PANEL_ROWS], const struct mlt_act *act, int64_t token,
                      float y[MLT_PANEL_ROWS])
{
    const int8_t *x = act->q + token * act->columns;
    const float *dx = act->d + token * (act->columns / 32);
    const int16_t *xsums = act->sums + token * (act->columns / 16);
    struct piece piece;
    vf sum = vf_set(0.0f);
    for (int64_t block = 0; block < act->columns / 32; block += PIECE) {
        int n = (int)MLT_MIN(act->columns / 32 - block, PIECE);
        int32_t excess[PIECE];
        for (int b = 0; b < n; b++)
            excess[b] = 128 * (xsums[2 * (block + b)] + xsums[2 * (block + b) + 1]);
        for (int r = 0; r < MLT_PANEL_ROWS; r++)
            read_row(rows[r] + BYTES * block, x + 32 * block, dx + block, excess, n, piece.sums[r],
                     piece.scales[r]);
        sum = add_blocks(sum, &piece, n);
    }
    vf_store(y, sum);
}

void mlt_avx512_vnni_rows_q8_0(struct mlt_kernels *table)
{
    table->rows[MLT_Q8_0] = rows_q8_0;
}
