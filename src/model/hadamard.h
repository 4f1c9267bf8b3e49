/*
 * The Hadamard transform, a rotation that spreads what is large in one element of a vector over all of them.
 * Before 4-bit rounding it keeps outliers from taking the precision of their neighbours (Ashkboos et al.,
 * QuaRot, 2024).
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_HADAMARD_H
#define MLT_HADAMARD_H

#include <stdint.h>

/*
 * x [vectors][size] in place, size a multiple of 8: each vector in pieces of n elements, n the largest power
 * of two that divides size, at most 512: x = H x / sqrt(n). Its own inverse, but for rounding. Sums and
 * differences of elements n / 2 apart, then n / 4, down to neighbours; then one product with 1 / sqrt(n).
 */
void mlt_hadamard(float *x, int32_t vectors, int32_t size);

#endif
