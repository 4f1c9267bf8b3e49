/*
 * Sine, cosine, exponential and logarithm in double, for the angles of rotary positions.
 *
 * C libraries differ in the last bit of these functions; here they are sequences of IEEE operations, so the
 * same everywhere. Errors are a few units in the last place of double: after rounding to float the result is
 * within one unit of the true value's rounding (a test compares with the C library).
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_ROPE_MATH_H
#define MLT_ROPE_MATH_H

/*
 * For |x| up to 2^45 (a position of 2^30 at a frequency of thousands). Beyond that, where a double no longer
 * tells angles apart usefully, and for what is not finite, the result is that of angle 0.
 */
void mlt_sin_cos(double x, double *sine, double *cosine);
/* e^x for |x| <= 700. */
double mlt_exp_double(double x);
/* Natural logarithm of a normal x > 0. */
double mlt_log(double x);

#endif
