/* The arithmetic peak of AVX2: multiply-adds on registers. SPDX-License-Identifier: Apache-2.0 */
#include "kernels/x86/x86.h"

enum { CHAINS = 12, STEPS = 64 };

/* Keeps a value in a register and unknown to the compiler. */
#define OPAQUE(v) __asm__ volatile("" : "+x"(v))

static double peak_int8(int64_t rounds)
{
    __m256i sum[CHAINS], a = _mm256_set1_epi8(3), b = _mm256_set1_epi8(-2), ones = _mm256_set1_epi16(1);
    for (int c = 0; c < CHAINS; c++)
        sum[c] = _mm256_setzero_si256();
    for (int64_t r = 0; r < rounds * STEPS; r++) {
        for (int c = 0; c < CHAINS; c++) {
            OPAQUE(a);
            sum[c] = _mm256_add_epi32(sum[c], _mm256_madd_epi16(_mm256_maddubs_epi16(a, b), ones));
        }
    }
    for (int c = 0; c < CHAINS; c++)
        OPAQUE(sum[c]);
    return 64.0 * CHAINS * STEPS * (double)rounds;
}

static double peak_f32(int64_t rounds)
{
    __m256 sum[CHAINS], a = _mm256_set1_ps(0.999f);
    for (int c = 0; c < CHAINS; c++)
        sum[c] = _mm256_set1_ps((float)c);
    for (int64_t r = 0; r < rounds * STEPS; r++)
        for (int c = 0; c < CHAINS; c++)
            sum[c] = _mm256_fmadd_ps(sum[c], a, a);
    for (int c = 0; c < CHAINS; c++)
        OPAQUE(sum[c]);
    return 16.0 * CHAINS * STEPS * (double)rounds;
}

void mlt_avx2_peak(struct mlt_kernels *table)
{
    table->peak_int8 = peak_int8;
    table->peak_f32 = peak_f32;
}
