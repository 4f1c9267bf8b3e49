/* Elementary functions in double by range reduction and Taylor series. SPDX-License-Identifier: Apache-2.0 */
#include "model/rope_math.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

/* Adding and subtracting 1.5 * 2^52 rounds to the nearest even integer for |x| < 2^51. */
#define ROUND_MAGIC 6755399441055744.0

/* pi / 2 and ln 2 as sums of two doubles. */
#define HALF_PI_HIGH 1.57079632679489655800
#define HALF_PI_LOW 6.12323399573676603587e-17
#define LN2_HIGH 6.93147180559945286227e-01
#define LN2_LOW 2.31904681384629955842e-17
#define LOG2_E 1.44269504088896338700

/*
 * x = n pi/2 + r. With n = round(x / (pi/2)) the first fused step is exact: both its terms are multiples of
 * 2^-52 (of x's last bit where that is smaller, and then n is 0 or 1) and the difference is below 1.
 */
void mlt_sin_cos(double x, double *sine, double *cosine)
{
    if (!(fabs(x) <= 35184372088832.0)) x = 0;
    double n = (x * (1 / HALF_PI_HIGH) + ROUND_MAGIC) - ROUND_MAGIC;
    double r = fma(n, -HALF_PI_HIGH, x);
    r = fma(n, -HALF_PI_LOW, r);
    double z = r * r;
    /* sin r = r - r^3/3! + ..., cos r = 1 - r^2/2! + ...: the first term left out is below 2^-58. */
    double s = 1.0 / 355687428096000.0;
    s = s * z - 1.0 / 1307674368000.0;
    s = s * z + 1.0 / 6227020800.0;
    s = s * z - 1.0 / 39916800.0;
    s = s * z + 1.0 / 362880.0;
    s = s * z - 1.0 / 5040.0;
    s = s * z + 1.0 / 120.0;
    s = s * z - 1.0 / 6.0;
    s = r + r * (z * s);
    double c = 1.0 / 20922789888000.0;
    c = c * z - 1.0 / 87178291200.0;
    c = c * z + 1.0 / 479001600.0;
    c = c * z - 1.0 / 3628800.0;
    c = c * z + 1.0 / 40320.0;
    c = c * z - 1.0 / 720.0;
    c = c * z + 1.0 / 24.0;
    c = c * z - 0.5;
    c = 1.0 + z * c;
    switch ((int64_t)n & 3) {
    case 0: *sine = s, *cosine = c; break;
    case 1: *sine = c, *cosine = -s; break;
    case 2: *sine = -s, *cosine = -c; break;
    default: *sine = -c, *cosine = s; break;
    }
}

double mlt_exp_double(double x)
{
    double n = (x * LOG2_E + ROUND_MAGIC) - ROUND_MAGIC;
    double r = fma(n, -LN2_HIGH, x);
    r = fma(n, -LN2_LOW, r);
    /* |r| <= ln 2 / 2: fifteen terms of r^k / k! reach 2^-60. */
    double sum = 1.0;
    for (int k = 15; k >= 1; k--)
        sum = 1.0 + sum * r / k;
    uint64_t bits = (uint64_t)((int64_t)n + 1023) << 52;
    double power;
    memcpy(&power, &bits, sizeof power);
    return sum * power;
}

double mlt_log(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    int exponent = (int)(bits >> 52) - 1023;
    bits = (bits & 0x000FFFFFFFFFFFFFu) | 0x3FF0000000000000u;
    double m;
    memcpy(&m, &bits, sizeof m);
    if (m > 1.41421356237309504880) {
        m *= 0.5;
        exponent++;
    }
    /* ln m = 2 artanh(s), s = (m - 1) / (m + 1), |s| <= 0.172: s^27 / 27 is below 2^-70. */
    double s = (m - 1) / (m + 1), z = s * s, sum = 0;
    for (int k = 27; k >= 3; k -= 2)
        sum = (sum + 1.0 / k) * z;
    double log_m = 2 * (s + s * sum);
    return exponent * LN2_HIGH + (exponent * LN2_LOW + log_m);
}
