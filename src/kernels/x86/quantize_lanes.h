/*
 * Quantising activations, over the lanes that the including file has chosen. Contract: mlt_quantize_kernel.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "kernels/math.h"
#include "kernels/x86/x86.h"

/* The largest magnitude of `vectors` times 16 values, as bits: they order like the magnitudes, NaN above all.
 */
static inline int32_t largest_bits(const float *x, int vectors)
{
    vi magnitude = vi_set32(0x7fffffff), largest = vi_set32(0);
    for (int i = 0; i < vectors; i++)
        largest = vi_max32(largest, vi_and(vi_as_bits(vf_load(x + 16 * i)), magnitude));
    return vi_max_lane(largest);
}

/* The sum of sixteen signed bytes: vpsadbw adds unsigned ones. */
static inline int sum16(__m128i q)
{
    __m128i halves = _mm_sad_epu8(_mm_xor_si128(q, _mm_set1_epi8(-128)), _mm_setzero_si128());
    return _mm_cvtsi128_si32(halves) + _mm_extract_epi16(halves, 4) - 16 * 128;
}

/* The sum of the magnitudes of sixteen signed bytes. */
static inline int magnitudes16(__m128i q)
{
    __m128i halves = _mm_sad_epu8(_mm_abs_epi8(q), _mm_setzero_si128());
    return _mm_cvtsi128_si32(halves) + _mm_extract_epi16(halves, 4);
}

static inline void quantize_block(const float *x, int vectors, int8_t *q, float *d, int16_t *sums,
                                  int16_t *reach)
{
    int32_t largest = largest_bits(x, vectors);
    float a = mlt_bits_to_float((uint32_t)largest);
    bool finite = largest < 0x7f800000, zero = finite && a < 0x1p-100f;
    /* |x * s| stays below 127.5, so that rounding needs no clamp. A factor of 0 gives 0 for finite values. */
    float s = finite && !zero ? 127.0f / a : 0.0f;
    *d = zero ? 0.0f : finite ? a / 127.0f : NAN;
    int most = 0;
    for (int i = 0; i < vectors; i++) {
        vf scaled = vf_mul(vf_load(x + 16 * i), vf_set(s));
        __m128i bytes = finite ? vi_narrow8(vi_from_vf(scaled)) : _mm_setzero_si128();
        _mm_storeu_si128((__m128i *)(q + 16 * i), bytes);
        sums[i] = (int16_t)sum16(bytes);
        most = MLT_MAX(most, magnitudes16(bytes));
    }
    *reach = (int16_t)most;
}

static void quantize(const float *x, int64_t columns, int block, int8_t *q, float *d, int16_t *sums,
                     int16_t *reach)
{
    if (block == 32)
        for (int64_t i = 0; i < columns; i += 32)
            quantize_block(x + i, 2, q + i, d + i / 32, sums + i / 16, reach + i / 32);
    else
        for (int64_t i = 0; i < columns; i += 256)
            quantize_block(x + i, 16, q + i, d + i / 256, sums + i / 16, reach + i / 256);
}
