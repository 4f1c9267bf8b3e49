/*
 * Times steps of training of a new model on random tokens, for comparison with other trainers on the same
 * shape: train_speed SHAPE.json ROWS LENGTH STEPS THREADS RECOMPUTE(0|1) Prints the median and the fastest
 * step in tokens a second, and the process's peak of resident memory. What the step does: forward, backward,
 * clipping, AdamW.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "base/clock.h"
#include "base/random.h"
#include "train/shape.h"
#include "train/trainer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

static int32_t n_vocab;

static millet_status fill_batch(void *context, uint64_t step, struct mlt_batch *batch, millet_error *err)
{
    struct mlt_random random;
    (void)context;
    (void)err;
    mlt_random_seed(&random, step);
    for (int64_t i = 0; i < (int64_t)batch->rows * batch->length; i++) {
        batch->tokens[i] = (int32_t)(mlt_random_u64(&random) % (uint64_t)n_vocab);
        batch->targets[i] = (int32_t)(mlt_random_u64(&random) % (uint64_t)n_vocab);
        batch->begin[i] = 0;
        batch->end[i] = (int32_t)(i % batch->length);
    }
    return MILLET_OK;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static millet_status run(const char *shape, const millet_train_options *options, millet_error *err)
{
    struct mlt_checkpoint *checkpoint;
    struct mlt_trainable *model;
    struct mlt_trainer trainer;
    struct mlt_batch_source source = {NULL, fill_batch};
    double seconds[1000];
    int n = (int)options->steps;
    MLT_TRY(mlt_shape_checkpoint(mlt_default_allocator(), shape, NULL, 1, &checkpoint, err));
    MLT_TRY(mlt_trainable_open(mlt_default_allocator(), checkpoint, MLT_F32, &model, err));
    n_vocab = model->config.n_vocab;
    millet_status status = mlt_trainer_open(mlt_default_allocator(), model, options, source, &trainer, err);
    struct mlt_step_result result = {0};
    for (int i = -1; status == MILLET_OK && i < n; i++) { /* the first is not counted: memory is new */
        double start = mlt_clock_seconds();
        status = mlt_trainer_step(&trainer, (uint64_t)(i + 1), &result, err);
        if (i >= 0) seconds[i] = mlt_clock_seconds() - start;
    }
    if (status == MILLET_OK) {
        struct rusage usage;
        getrusage(RUSAGE_SELF, &usage);
        qsort(seconds, (size_t)n, sizeof *seconds, by_size);
        double tokens = (double)options->rows * options->length;
        printf("%.2f million parameters, %s: median %.0f, best %.0f tokens/s, peak %.0f MB, loss after %d "
               "steps %.4f\n",
               (double)model->n_weights / 1e6, trainer.pass->workers.ops->name, tokens / seconds[n / 2],
               tokens / seconds[0], (double)usage.ru_maxrss / 1024, n + 1, result.loss);
    }
    mlt_trainer_close(&trainer);
    mlt_trainable_close(&model);
    return status;
}

int main(int argc, char **argv)
{
    millet_error err;
    char line[1024], *text;
    uint64_t size;
    if (argc != 7) {
        fprintf(stderr, "usage: train_speed SHAPE.json ROWS LENGTH STEPS THREADS RECOMPUTE(0|1)\n");
        return 2;
    }
    millet_train_options options = millet_train_options_default();
    options.rows = atoi(argv[2]);
    options.length = atoi(argv[3]);
    options.steps = (uint64_t)MLT_MIN(MLT_MAX(atoi(argv[4]), 1), 1000);
    options.n_threads = atoi(argv[5]);
    options.recompute = atoi(argv[6]) != 0;
    millet_status status = mlt_file_read(mlt_default_allocator(), argv[1], 1 << 20, &text, &size, &err);
    if (status == MILLET_OK) {
        status = run(text, &options, &err);
        mlt_free(mlt_default_allocator(), text);
    }
    if (status == MILLET_OK) return 0;
    millet_error_format(&err, line, sizeof line);
    fprintf(stderr, "train_speed: %s\n", line);
    return 1;
}
