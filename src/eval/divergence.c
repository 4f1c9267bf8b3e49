/* Divergence of two models on the same text. SPDX-License-Identifier: Apache-2.0 */
#include "eval/reading.h"
#include "eval/statistics.h"

#include <math.h>

/* What is gathered, token after token. */
struct totals {
    struct mlt_mean nll[2], difference, kl, agreement, change;
    float *kls; /* [n_scored] */
    size_t seen;
    double max_drop, squares;
};

static void add(void *context, const struct mlt_token_score *score)
{
    struct totals *t = context;
    double change = exp(-score->nll[1]) - exp(-score->nll[0]);
    mlt_mean_add(&t->nll[0], score->nll[0]);
    mlt_mean_add(&t->nll[1], score->nll[1]);
    mlt_mean_add(&t->difference, score->nll[1] - score->nll[0]);
    mlt_mean_add(&t->kl, score->kl);
    mlt_mean_add(&t->agreement, score->best[0] == score->best[1]);
    mlt_mean_add(&t->change, change);
    t->kls[t->seen++] = (float)score->kl;
    t->max_drop = fmax(t->max_drop, -change);
    t->squares += change * change;
}

static void summarise(const struct mlt_reading *reading, struct totals *t, millet_divergence *out)
{
    size_t n = t->seen;
    mlt_sort_floats(t->kls, n);
    *out = (millet_divergence){
        .base = mlt_reading_perplexity(reading, mlt_mean_interval(&t->nll[0])),
        .other = mlt_reading_perplexity(reading, mlt_mean_interval(&t->nll[1])),
        .perplexity_ratio = mlt_interval_exp(mlt_mean_interval(&t->difference)),
        .kl = mlt_mean_interval(&t->kl),
        .kl_median = mlt_quantile(t->kls, n, 0.5),
        .kl_90 = mlt_quantile(t->kls, n, 0.9),
        .kl_95 = mlt_quantile(t->kls, n, 0.95),
        .kl_99 = mlt_quantile(t->kls, n, 0.99),
        .kl_999 = mlt_quantile(t->kls, n, 0.999),
        .kl_max = (double)t->kls[n - 1],
        .agreement = mlt_share_interval(&t->agreement),
        .max_drop = t->max_drop,
        .mean_change = mlt_mean_interval(&t->change),
        .rms_change = sqrt(t->squares / (double)n),
    };
    out->kl.low = fmax(out->kl.low, 0); /* a divergence is never negative */
}

millet_status millet_divergence_measure(const millet_model *base, const millet_model *other, const char *text,
                                        size_t length, const millet_eval_options *options,
                                        millet_divergence *result, millet_error *err)
{
    struct mlt_reading reading;
    const millet_model *models[2] = {base, other};
    MLT_TRY(mlt_reading_open(&reading, models, 2, text, length, options, err));
    struct totals t = {.seen = 0};
    t.kls = mlt_alloc(&reading.allocator, (size_t)reading.n_scored, sizeof *t.kls, err);
    struct mlt_mean *means[] = {&t.nll[0], &t.nll[1], &t.difference, &t.kl, &t.agreement, &t.change};
    for (size_t i = 0; i < MLT_COUNT(means); i++)
        mlt_mean_start(means[i], reading.n_scored);
    millet_status status = t.kls ? mlt_reading_run(&reading, add, &t, err) : MILLET_NO_MEMORY;
    if (status == MILLET_OK) summarise(&reading, &t, result);
    mlt_free(&reading.allocator, t.kls);
    mlt_reading_close(&reading);
    return status;
}
