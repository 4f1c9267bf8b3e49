/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/bench_peak.h"

#include "kernels/kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>

/* Twelve independent chains: more than the latency of the instructions needs. */
#define TWELVE_TIMES(STEP)                                                                                   \
    STEP(a) STEP(b) STEP(c) STEP(d) STEP(e) STEP(f) STEP(g) STEP(h) STEP(i) STEP(j) STEP(k) STEP(l)

static volatile int32_t sink;

__attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni"))) static void spin_vnni(int64_t n)
{
    __m512i x = _mm512_set1_epi32(sink), y = _mm512_set1_epi32(sink + 1);
#define STEP(v) __m512i v = _mm512_set1_epi32(sink);
    TWELVE_TIMES(STEP)
#undef STEP
    for (int64_t round = 0; round < n; round++) {
#define STEP(v) v = _mm512_dpbusd_epi32(v, x, y);
        TWELVE_TIMES(STEP)
#undef STEP
    }
#define STEP(v) x = _mm512_add_epi32(x, v);
    TWELVE_TIMES(STEP)
#undef STEP
    sink = _mm512_reduce_add_epi32(x);
}

__attribute__((target("avx512f,avx512bw,avx512vl"))) static void spin_avx512(int64_t n)
{
    __m512i x = _mm512_set1_epi32(sink), y = _mm512_set1_epi32(sink + 1);
#define STEP(v) __m512i v = _mm512_set1_epi32(sink);
    TWELVE_TIMES(STEP)
#undef STEP
    for (int64_t round = 0; round < n; round++) {
#define STEP(v) v = _mm512_add_epi16(v, _mm512_maddubs_epi16(v, y));
        TWELVE_TIMES(STEP)
#undef STEP
    }
#define STEP(v) x = _mm512_add_epi32(x, v);
    TWELVE_TIMES(STEP)
#undef STEP
    sink = _mm512_reduce_add_epi32(x);
}

__attribute__((target("avx2"))) static void spin_avx2(int64_t n)
{
    __m256i x = _mm256_set1_epi32(sink), y = _mm256_set1_epi32(sink + 1);
#define STEP(v) __m256i v = _mm256_set1_epi32(sink);
    TWELVE_TIMES(STEP)
#undef STEP
    for (int64_t round = 0; round < n; round++) {
#define STEP(v) v = _mm256_add_epi16(v, _mm256_maddubs_epi16(v, y));
        TWELVE_TIMES(STEP)
#undef STEP
    }
#define STEP(v) x = _mm256_add_epi32(x, v);
    TWELVE_TIMES(STEP)
#undef STEP
    sink = _mm256_extract_epi32(x, 0);
}

int64_t bench_integer_peak(unsigned cpu, int64_t n)
{
    if (cpu & MLT_CPU_AVX512_VNNI) {
        spin_vnni(n);
        return n * 12 * 128;
    }
    if (cpu & MLT_CPU_AVX512) {
        spin_avx512(n);
        return n * 12 * 128;
    }
    if (cpu & MLT_CPU_AVX2) {
        spin_avx2(n);
        return n * 12 * 64;
    }
    return 0;
}
#else
int64_t bench_integer_peak(unsigned cpu, int64_t n)
{
    (void)cpu;
    (void)n;
    return 0;
}
#endif
