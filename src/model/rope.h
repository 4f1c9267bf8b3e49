/*
 * Rotary positions: frequencies, angles and the rotation of a head.
 *
 * Angles are formed in double and with our own elementary functions (rope_math.h), so that they are the same
 * floats on every machine whatever its C library does.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_ROPE_H
#define MLT_ROPE_H

#include "model/config.h"

/*
 * Frequencies of the size / 2 pairs, in radians a position, with scaling and divisors (NULL: none) applied;
 * returns the factor by which rotated vectors are multiplied.
 */
float mlt_rope_frequencies(const struct mlt_rope *rope, int32_t size, const float *divisors,
                           double *frequency);

/* cosine[i] and sine[i] of position * frequency[i], times magnitude, for i < pairs. */
void mlt_rope_angles(const double *frequency, int32_t pairs, float magnitude, int32_t position, float *cosine,
                     float *sine);

/* Rotates the first 2 * pairs elements of each of `heads` heads of `head_size` elements, in place. */
void mlt_rope_rotate(enum mlt_rope_kind kind, const float *cosine, const float *sine, int32_t pairs, float *x,
                     int32_t heads, int32_t head_size);

#endif
