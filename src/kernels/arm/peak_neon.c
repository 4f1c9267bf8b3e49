/* The arithmetic peak of NEON: multiply-adds on registers. SPDX-License-Identifier: Apache-2.0 */
#include "kernels/arm/arm.h"

#include <arm_neon.h>

enum { CHAINS = 16, STEPS = 64 };

/* Keeps a value in a register and unknown to the compiler. */
#define OPAQUE(v) __asm__ volatile("" : "+w"(v))

double mlt_peak_int8_neon(int64_t rounds)
{
    int32x4_t sum[CHAINS];
    int8x16_t a = vdupq_n_s8(3), b = vdupq_n_s8(-2);
    for (int c = 0; c < CHAINS; c++)
        sum[c] = vdupq_n_s32(0);
    for (int64_t r = 0; r < rounds * STEPS; r++)
        for (int c = 0; c < CHAINS; c++) {
            OPAQUE(a);
            int16x8_t product = vmlal_high_s8(vmull_s8(vget_low_s8(a), vget_low_s8(b)), a, b);
            sum[c] = vpadalq_s16(sum[c], product);
        }
    for (int c = 0; c < CHAINS; c++)
        OPAQUE(sum[c]);
    return 32.0 * CHAINS * STEPS * (double)rounds;
}

double mlt_peak_f32_neon(int64_t rounds)
{
    float32x4_t sum[CHAINS];
    float32x4_t a = vdupq_n_f32(0.999f);
    for (int c = 0; c < CHAINS; c++)
        sum[c] = vdupq_n_f32((float)c);
    for (int64_t r = 0; r < rounds * STEPS; r++)
        for (int c = 0; c < CHAINS; c++)
            sum[c] = vfmaq_f32(sum[c], a, a);
    for (int c = 0; c < CHAINS; c++)
        OPAQUE(sum[c]);
    return 8.0 * CHAINS * STEPS * (double)rounds;
}
