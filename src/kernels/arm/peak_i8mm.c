/* The arithmetic peak of the matrix-multiply instructions: multiply-adds on registers.
 * SPDX-License-Identifier: Apache-2.0 */
#include "kernels/arm/arm.h"

#include <arm_neon.h>

enum { CHAINS = 16, STEPS = 64 };

/* Keeps a value in a register and unknown to the compiler. */
#define OPAQUE(v) __asm__ volatile("" : "+w"(v))

double mlt_peak_int8_i8mm(int64_t rounds)
{
    int32x4_t sum[CHAINS];
    int8x16_t a = vdupq_n_s8(3), b = vdupq_n_s8(-2);
    for (int c = 0; c < CHAINS; c++)
        sum[c] = vdupq_n_s32(0);
    for (int64_t r = 0; r < rounds * STEPS; r++)
        for (int c = 0; c < CHAINS; c++)
            sum[c] = vmmlaq_s32(sum[c], a, b);
    for (int c = 0; c < CHAINS; c++)
        OPAQUE(sum[c]);
    return 64.0 * CHAINS * STEPS * (double)rounds;
}
