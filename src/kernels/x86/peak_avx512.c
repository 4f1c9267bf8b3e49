/* The arithmetic peak of AVX-512: multiply-adds on registers. SPDX-License-Identifier: Apache-2.0 */
#include "kernels/x86/x86.h"

enum { CHAINS = 16, STEPS = 64 };

/* Keeps a value in a register and unknown to the compiler. */
#define OPAQUE(v) __asm__ volatile("" : "+v"(v))

static double peak_int8(int64_t rounds)
{
    __m512i sum[CHAINS], a = _mm512_set1_epi8(3), b = _mm512_set1_epi8(-2), ones = _mm512_set1_epi16(1);
    for (int c = 0; c < CHAINS; c++)
        sum[c] = _mm512_setzero_si512();
    for (int64_t r = 0; r < rounds * STEPS; r++) {
        for (int c = 0; c < CHAINS; c++) {
            OPAQUE(a);
            sum[c] = _mm512_add_epi32(sum[c], _mm512_madd_epi16(_mm512_maddubs_epi16(a, b), ones));
        }
    }
    for (int c = 0; c < CHAINS; c++)
        OPAQUE(sum[c]);
    return 128.0 * CHAINS * STEPS * (double)rounds;
}

static double peak_f32(int64_t rounds)
{
    __m512 sum[CHAINS], a = _mm512_set1_ps(0.999f);
    for (int c = 0; c < CHAINS; c++)
        sum[c] = _mm512_set1_ps((float)c);
    for (int64_t r = 0; r < rounds * STEPS; r++)
        for (int c = 0; c < CHAINS; c++)
            sum[c] = _mm512_fmadd_ps(sum[c], a, a);
    for (int c = 0; c < CHAINS; c++)
        OPAQUE(sum[c]);
    return 32.0 * CHAINS * STEPS * (double)rounds;
}

void mlt_avx512_peak(struct mlt_kernels *table)
{
    table->peak_int8 = peak_int8;
    table->peak_f32 = peak_f32;
}
