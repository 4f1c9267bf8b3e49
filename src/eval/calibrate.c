/* millet_calibrate: a text in, an importance file out. SPDX-License-Identifier: Apache-2.0 */
#include "eval/input_sums.h"
#include "eval/reading.h"
#include "eval/statistics.h"
#include "generate/session.h"

static const uint64_t default_gram_bytes = UINT64_C(4) << 30;

millet_calibrate_options millet_calibrate_options_default(void)
{
    return (millet_calibrate_options){.reading = millet_eval_options_default()};
}

static void add_score(void *context, const struct mlt_token_score *score)
{
    mlt_mean_add(context, score->nll[0]);
}

static millet_status calibrate(struct mlt_reading *reading, struct mlt_input_sums *sums, const char *output,
                               const millet_calibrate_options *options, struct mlt_mean *nll,
                               millet_error *err)
{
    mlt_forward_observe(reading->sessions[0]->forward, mlt_input_sums_observe, sums);
    MLT_TRY(mlt_reading_run(reading, add_score, nll, err));
    struct mlt_imatrix_contents contents = {.chunk_count = (uint32_t)reading->n_windows,
                                            .chunk_size = (uint32_t)reading->options.n_ctx,
                                            .dataset = options->dataset ? options->dataset : ""};
    MLT_TRY(mlt_input_sums_finish(sums, &contents.entries, &contents.n_entries, err));
    return mlt_imatrix_write(&reading->allocator, output, &contents, options->legacy, err);
}

millet_status millet_calibrate(const millet_model *model, const char *text, size_t length, const char *output,
                               const millet_calibrate_options *options, millet_calibration *result,
                               millet_error *err)
{
    millet_calibrate_options defaults = millet_calibrate_options_default();
    if (!options) options = &defaults;
    uint64_t gram_bytes = options->gram_bytes ? options->gram_bytes : default_gram_bytes;
    struct mlt_reading reading;
    struct mlt_input_sums *sums = NULL;
    MLT_TRY(mlt_reading_open(&reading, &model, 1, text, length, &options->reading, err));
    struct mlt_mean nll;
    mlt_mean_start(&nll, reading.n_scored);
    millet_status status = mlt_input_sums_open(&reading.allocator, model, options->grams ? gram_bytes : 0,
                                               reading.pool, &sums, err);
    if (status == MILLET_OK) status = calibrate(&reading, sums, output, options, &nll, err);
    if (status == MILLET_OK && result) {
        *result =
            (millet_calibration){.perplexity = mlt_reading_perplexity(&reading, mlt_mean_interval(&nll))};
        mlt_input_sums_counts(sums, result);
    }
    mlt_input_sums_close(&sums);
    mlt_reading_close(&reading);
    return status;
}
