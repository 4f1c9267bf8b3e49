/* Perplexity of a text. SPDX-License-Identifier: Apache-2.0 */
#include "eval/reading.h"
#include "eval/statistics.h"

static void add(void *context, const struct mlt_token_score *score)
{
    mlt_mean_add(context, score->nll[0]);
}

millet_status millet_perplexity_measure(const millet_model *model, const char *text, size_t length,
                                        const millet_eval_options *options, millet_perplexity *result,
                                        millet_error *err)
{
    struct mlt_reading reading;
    struct mlt_mean nll;
    MLT_TRY(mlt_reading_open(&reading, &model, 1, text, length, options, err));
    mlt_mean_start(&nll, reading.n_scored);
    millet_status status = mlt_reading_run(&reading, add, &nll, err);
    if (status == MILLET_OK) *result = mlt_reading_perplexity(&reading, mlt_mean_interval(&nll));
    mlt_reading_close(&reading);
    return status;
}
