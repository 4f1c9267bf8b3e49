/* Rotary positions. SPDX-License-Identifier: Apache-2.0 */
#include "model/rope.h"

#include "model/rope_math.h"

#include <math.h>

#define TWO_PI 6.28318530717958647693

/*
 * YaRN's ramp (Peng et al., 2023, section 3.2): a pair that turns more than beta_fast times in the original
 * context keeps its frequency, one that turns less than beta_slow times is slowed by the factor. `turns` is
 * beta; the result is the pair's index at which that many turns are made.
 */
static double pair_of_turns(const struct mlt_rope *rope, int32_t size, double turns)
{
    return size * mlt_log(rope->n_ctx_original / (turns * TWO_PI)) / (2 * mlt_log(rope->base));
}

float mlt_rope_frequencies(const struct mlt_rope *rope, int32_t size, const float *divisors,
                           double *frequency)
{
    double log_base = mlt_log(rope->base), factor = rope->factor;
    double low = 0, high = 0;
    if (rope->yarn) {
        low = floor(pair_of_turns(rope, size, rope->yarn_beta_fast));
        high = ceil(pair_of_turns(rope, size, rope->yarn_beta_slow));
        if (low < 0) low = 0;
        if (high > size - 1) high = size - 1;
    }
    for (int32_t i = 0; i < size / 2; i++) {
        double f = mlt_exp_double(-2.0 * i / size * log_base);
        if (divisors) f /= divisors[i];
        double slowed = f / factor;
        if (rope->yarn) {
            double ramp = (i - low) / (high - low > 0.001 ? high - low : 0.001);
            ramp = ramp < 0 ? 0 : ramp > 1 ? 1 : ramp;
            double keep = (1 - ramp) * rope->yarn_ext_factor;
            slowed = slowed * (1 - keep) + f * keep;
        }
        frequency[i] = slowed;
    }
    double magnitude = rope->magnitude;
    if (rope->yarn && rope->yarn_ext_factor != 0 && factor > 1) magnitude *= 1 + 0.1 * mlt_log(factor);
    return (float)magnitude;
}

void mlt_rope_angles(const double *frequency, int32_t pairs, float magnitude, int32_t position, float *cosine,
                     float *sine)
{
    for (int32_t i = 0; i < pairs; i++) {
        double s, c;
        mlt_sin_cos(position * frequency[i], &s, &c);
        cosine[i] = (float)(c * magnitude);
        sine[i] = (float)(s * magnitude);
    }
}

void mlt_rope_rotate(enum mlt_rope_kind kind, const float *cosine, const float *sine, int32_t pairs, float *x,
                     int32_t heads, int32_t head_size)
{
    for (int32_t h = 0; h < heads; h++, x += head_size) {
        if (kind == MLT_ROPE_HALVES) {
            for (int32_t i = 0; i < pairs; i++) {
                float a = x[i], b = x[i + pairs];
                x[i] = a * cosine[i] - b * sine[i];
                x[i + pairs] = a * sine[i] + b * cosine[i];
            }
        } else {
            for (int32_t i = 0; i < pairs; i++) {
                float a = x[2 * i], b = x[2 * i + 1];
                x[2 * i] = a * cosine[i] - b * sine[i];
                x[2 * i + 1] = a * sine[i] + b * cosine[i];
            }
        }
    }
}
