/* SPDX-License-Identifier: Apache-2.0 */
#include "generate/logprob.h"

#include "generate/sampler.h"
#include "kernels/math.h"

#include <string.h>

struct mlt_log_scale mlt_log_scale_of(const struct mlt_kernels *kernels, const float *logits, float *row,
                                      int32_t n)
{
    struct mlt_log_scale scale = {mlt_greatest(logits, n), 0};
    int32_t at = 0;
    while (logits[at] != scale.max)
        at++;
    memcpy(row, logits, sizeof *row * (size_t)n);
    kernels->softmax(row, n, NULL);
    if (row[at] != row[at]) { /* a NaN or an infinity among the logits */
        for (int32_t i = 0; i < n; i++)
            row[i] = logits[i] != logits[i] ? -INFINITY : mlt_log_probability(&scale, logits[i]);
        kernels->softmax(row, n, NULL);
    }
    scale.log_sum = -mlt_log(row[at]); /* the greatest probability is 1 / sum: nothing is lost to underflow */
    return scale;
}

int32_t mlt_find_best(const float *logits, int32_t n_vocab, const struct mlt_log_scale *scale,
                      millet_token_logprob *best, int32_t n_best)
{
    int32_t n = 0;
    if (n_best == 0) return 0;
    for (int32_t i = 0; i < n_vocab; i++) {
        float x = logits[i];
        if (x != x || (n == n_best && x <= best[n - 1].logprob)) continue;
        int32_t at = n < n_best ? n++ : n - 1;
        for (; at > 0 && best[at - 1].logprob < x; at--)
            best[at] = best[at - 1];
        best[at] = (millet_token_logprob){i, x}; /* the logit for now */
    }
    for (int32_t i = 0; i < n; i++)
        best[i].logprob = mlt_log_probability(scale, best[i].logprob);
    return n;
}
