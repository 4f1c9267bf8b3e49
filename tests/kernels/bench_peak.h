/* The machine's own limits, measured beside the kernels. SPDX-License-Identifier: Apache-2.0 */
#ifndef BENCH_PEAK_H
#define BENCH_PEAK_H

#include <stdint.h>

/*
 * Executes `n` rounds of the tier's integer product instruction on independent registers and returns how many
 * operations that was (a product and its addition are two); 0 where the tier has none measured.
 *   avx512vnni: vpdpbusd; avx2, avx512: vpmaddubsw with a 16-bit addition.
 */
int64_t bench_integer_peak(unsigned cpu, int64_t n);

#endif
