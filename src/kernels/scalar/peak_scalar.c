/*
 * The arithmetic peak of plain C: eight independent chains, so that latency does not show.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "kernels/scalar/scalar.h"

enum { CHAINS = 8, STEPS = 256 };

static double peak_int8(int64_t rounds)
{
    int32_t sum[CHAINS] = {0};
    volatile int8_t source = 3; /* so that the products are not known to the compiler */
    int8_t factor = source;
    for (int64_t r = 0; r < rounds; r++) {
        for (int i = 0; i < STEPS; i++)
            for (int c = 0; c < CHAINS; c++)
                sum[c] = (sum[c] & 0xffff) + factor * (int8_t)(i + c);
        factor = (int8_t)(factor ^ source);
    }
    volatile int32_t sink = 0;
    for (int c = 0; c < CHAINS; c++)
        sink = sink + (sum[c] & 1);
    return 2.0 * CHAINS * STEPS * (double)rounds;
}

static double peak_f32(int64_t rounds)
{
    float sum[CHAINS] = {0};
    volatile float source = 0.999f;
    float factor = source;
    for (int64_t r = 0; r < rounds; r++)
        for (int i = 0; i < STEPS; i++)
            for (int c = 0; c < CHAINS; c++)
                sum[c] = sum[c] * factor + factor;
    volatile float sink = 0;
    for (int c = 0; c < CHAINS; c++)
        sink = sink + sum[c];
    return 2.0 * CHAINS * STEPS * (double)rounds;
}

void mlt_kernels_scalar_peak(struct mlt_kernels *table)
{
    table->peak_int8 = peak_int8;
    table->peak_f32 = peak_f32;
}
