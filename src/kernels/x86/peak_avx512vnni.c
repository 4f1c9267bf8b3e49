/* The arithmetic peak of AVX-512 VNNI: int8 dot products on registers. SPDX-License-Identifier: Apache-2.0 */
#include "kernels/x86/x86.h"

enum { CHAINS = 16, STEPS = 64 };

static double peak_int8(int64_t rounds)
{
    __m512i sum[CHAINS], a = _mm512_set1_epi8(3), b = _mm512_set1_epi8(-2);
    for (int c = 0; c < CHAINS; c++)
        sum[c] = _mm512_setzero_si512();
    for (int64_t r = 0; r < rounds * STEPS; r++)
        for (int c = 0; c < CHAINS; c++)
            sum[c] = _mm512_dpbusd_epi32(sum[c], a, b);
    for (int c = 0; c < CHAINS; c++)
        __asm__ volatile("" : "+v"(sum[c]));
    return 128.0 * CHAINS * STEPS * (double)rounds;
}

void mlt_avx512_vnni_peak(struct mlt_kernels *table)
{
    table->peak_int8 = peak_int8;
}
