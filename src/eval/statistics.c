/* SPDX-License-Identifier: Apache-2.0 */
#include "eval/statistics.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Values before batch i. */
static int64_t batch_start(const struct mlt_mean *mean, int64_t i)
{
    return mean->n / mean->batches * i + mean->n % mean->batches * i / mean->batches;
}

void mlt_mean_start(struct mlt_mean *mean, int64_t n)
{
    *mean = (struct mlt_mean){.n = n, .batches = 2};
    while (mean->batches < MLT_MAX_BATCHES && (int64_t)(mean->batches + 1) * (mean->batches + 1) <= n)
        mean->batches++;
}

void mlt_mean_add(struct mlt_mean *mean, double value)
{
    int batch = (int)((double)mean->seen / (double)mean->n * mean->batches);
    while (batch + 1 < mean->batches && batch_start(mean, batch + 1) <= mean->seen)
        batch++;
    while (batch > 0 && batch_start(mean, batch) > mean->seen)
        batch--;
    mean->sums[batch] += value;
    mean->seen++;
}

double mlt_mean_value(const struct mlt_mean *mean)
{
    double sum = 0;
    for (int i = 0; i < mean->batches; i++)
        sum += mean->sums[i];
    return sum / (double)mean->n;
}

double mlt_mean_error(const struct mlt_mean *mean)
{
    double value = mlt_mean_value(mean), sum = 0;
    for (int i = 0; i < mean->batches; i++) {
        double size = (double)(batch_start(mean, i + 1) - batch_start(mean, i));
        double part = (mean->sums[i] - size * value) / (double)mean->n;
        sum += part * part;
    }
    return sqrt(sum * mean->batches / (mean->batches - 1));
}

/* Exact for one and two degrees; else the expansion of Fisher and Cornish (1960), within 0.1% from three on.
 */
double mlt_student_975(int degrees)
{
    static const double exact[] = {12.706204736, 4.302652730};
    if (degrees <= 2) return exact[degrees - 1];
    const double z = 1.959963984540054;
    double z3 = z * z * z, z5 = z3 * z * z, z7 = z5 * z * z, z9 = z7 * z * z, n = degrees;
    return z + (z3 + z) / 4 / n + (5 * z5 + 16 * z3 + 3 * z) / 96 / (n * n) +
           (3 * z7 + 19 * z5 + 17 * z3 - 15 * z) / 384 / (n * n * n) +
           (79 * z9 + 776 * z7 + 1482 * z5 - 1920 * z3 - 945 * z) / 92160 / (n * n * n * n);
}

millet_interval mlt_mean_interval(const struct mlt_mean *mean)
{
    double value = mlt_mean_value(mean);
    double half = mlt_student_975(mean->batches - 1) * mlt_mean_error(mean);
    return (millet_interval){value, value - half, value + half};
}

millet_interval mlt_share_interval(const struct mlt_mean *mean)
{
    double p = mlt_mean_value(mean), error = mlt_mean_error(mean), n = (double)mean->n;
    /* Independent tokens would have the error sqrt(p (1 - p) / n). */
    if (error * error * n > p * (1 - p)) n = p * (1 - p) / (error * error);
    return mlt_wilson_interval(p, n);
}

millet_interval mlt_wilson_interval(double p, double n)
{
    const double z = 1.959963984540054;
    double centre = (p + z * z / (2 * n)) / (1 + z * z / n);
    double half = z * sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n);
    return (millet_interval){p, fmax(0, centre - half), fmin(1, centre + half)};
}

millet_interval mlt_interval_exp(millet_interval interval)
{
    return (millet_interval){exp(interval.value), exp(interval.low), exp(interval.high)};
}

static int compare_floats(const void *left, const void *right)
{
    float a = *(const float *)left, b = *(const float *)right;
    return (a > b) - (a < b);
}

void mlt_sort_floats(float *values, size_t n)
{
    qsort(values, n, sizeof *values, compare_floats);
}

double mlt_quantile(const float *sorted, size_t n, double q)
{
    double place = q * (double)(n - 1);
    size_t below = (size_t)place;
    if (below + 1 >= n) return (double)sorted[n - 1];
    double part = place - (double)below;
    if (part == 0) return (double)sorted[below]; /* not 0 * infinity */
    return (1 - part) * (double)sorted[below] + part * (double)sorted[below + 1];
}
