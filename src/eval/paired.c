/* SPDX-License-Identifier: Apache-2.0 */
#include "eval/paired.h"

#include "eval/statistics.h"

#include <math.h>

static const double z = 1.959963984540054;

int64_t mlt_pairs_count(const struct mlt_pairs *p)
{
    return p->both + p->first + p->second + p->neither;
}

millet_interval mlt_pairs_difference(const struct mlt_pairs *p)
{
    double n = (double)mlt_pairs_count(p), value = (double)(p->first - p->second) / n;
    /* Half a pair more of each of the four. */
    double first = (double)p->first + 0.5, second = (double)p->second + 0.5, all = n + 2;
    double centre = (first - second) / all;
    double half = z * sqrt(first + second - (first - second) * (first - second) / all) / all;
    return (millet_interval){value, fmax(-1, centre - half), fmin(1, centre + half)};
}

/* Wilson's interval of a share x / n, with as many standard errors as `c`. */
static void wilson(double x, double n, double c, double *low, double *high)
{
    double centre = 2 * x + c * c, half = c * sqrt(c * c + 4 * x * (1 - x / n)), all = 2 * (n + c * c);
    *low = (centre - half) / all;
    *high = (centre + half) / all;
}

millet_interval mlt_pairs_ratio(const struct mlt_pairs *p)
{
    double first = (double)(p->both + p->first), second = (double)(p->both + p->second);
    if (second == 0) return (millet_interval){(double)NAN, (double)NAN, (double)NAN};
    /* Hybrid of two Wilson intervals, of pairs in which either was right, narrowed for what they share. */
    double n = (double)(p->both + p->first + p->second);
    double a = sqrt(((double)(p->first + p->second) + 2) / ((first + 1) * (second + 1)));
    double b = sqrt((1 - (first + 1) / (n + 2)) / (first + 1));
    double c = sqrt((1 - (second + 1) / (n + 2)) / (second + 1));
    double critical = b + c > 0 ? z * a / (b + c) : 0, low1, high1, low2, high2;
    wilson(first, n, critical, &low1, &high1);
    wilson(second, n, critical, &low2, &high2);
    return (millet_interval){first / second, low1 / high2, low2 > 0 ? high1 / low2 : (double)INFINITY};
}

void mlt_pairs_add(struct mlt_pairs *p, bool first, bool second, bool same)
{
    p->both += first && second;
    p->first += first && !second;
    p->second += second && !first;
    p->neither += !first && !second;
    p->same += same;
}

millet_task_share mlt_pairs_share(const struct mlt_pairs *p, bool with_base)
{
    double n = (double)mlt_pairs_count(p);
    const millet_interval none = {(double)NAN, (double)NAN, (double)NAN};
    millet_task_share share = {
        .right = mlt_wilson_interval((double)(p->both + p->first) / n, n),
        .base = none,
        .difference = none,
        .kept = none,
        .agreement = none,
    };
    if (!with_base) return share;
    share.base = mlt_wilson_interval((double)(p->both + p->second) / n, n);
    share.difference = mlt_pairs_difference(p);
    share.kept = mlt_pairs_ratio(p);
    share.agreement = mlt_wilson_interval((double)p->same / n, n);
    return share;
}
