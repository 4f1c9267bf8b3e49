/*
 * dtypes: what every dtype costs and loses, as the table of docs/dtypes.md.
 *
 *     dtypes [--speed]
 *
 * Bits a weight, and the root mean square error that encoding leaves on a million independent normal values,
 * as a percentage of their standard deviation: "error" as it is by default, "searched" with all importances
 * 1, which makes the encoders look for the smallest error, "steered" with importances of 10 for one value in
 * eight and 1 for the others, the error weighted in the same way. With --speed also how many million values
 * one thread encodes by default, encodes with importances, and decodes in a second: medians of five runs.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "base/clock.h"
#include "base/random.h"
#include "tensor/dtype.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { COUNT = 1 << 20, RUNS = 5 };

struct row {
    float *values, *ones, *importance, *decoded;
    uint8_t *bytes;
};

/* Encodes, decodes and compares, with importances or NULL. */
static double relative_error(const struct row *row, mlt_dtype dtype, const float *importance)
{
    double error = 0, norm = 0;
    mlt_encode(dtype, row->values, importance, row->bytes, COUNT);
    mlt_decode(dtype, row->bytes, row->decoded, COUNT);
    for (int64_t i = 0; i < COUNT; i++) {
        double w = importance ? importance[i] : 1, difference = (double)row->values[i] - row->decoded[i];
        error += w * difference * difference;
        norm += w * (double)row->values[i] * row->values[i];
    }
    return sqrt(error / norm);
}

static int compare_seconds(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Millions of values a second. */
static double speed(const struct row *row, mlt_dtype dtype, bool encode, const float *importance)
{
    double seconds[RUNS];
    for (int run = 0; run < RUNS; run++) {
        double start = mlt_clock_seconds();
        if (encode)
            mlt_encode(dtype, row->values, importance, row->bytes, COUNT);
        else
            mlt_decode(dtype, row->bytes, row->decoded, COUNT);
        seconds[run] = mlt_clock_seconds() - start;
    }
    qsort(seconds, RUNS, sizeof *seconds, compare_seconds);
    return COUNT / seconds[RUNS / 2] * 1e-6;
}

static void print_dtype(const struct row *row, mlt_dtype dtype, bool with_speed)
{
    const struct mlt_dtype_info *info = mlt_dtype_info(dtype);
    double plain = relative_error(row, dtype, NULL);
    double searched = relative_error(row, dtype, row->ones);
    double steered = relative_error(row, dtype, row->importance);
    printf("%-7s %9.4f %11.4g %11.4g %11.4g", info->name, 8.0 * info->block_bytes / info->block_length,
           100 * plain, 100 * searched, 100 * steered);
    if (with_speed)
        printf(" %9.0f %9.0f %9.0f", speed(row, dtype, true, NULL), speed(row, dtype, true, row->importance),
               speed(row, dtype, false, NULL));
    printf("\n");
}

int main(int argc, char **argv)
{
    bool with_speed = argc == 2 && strcmp(argv[1], "--speed") == 0;
    if (argc > 1 && !with_speed) {
        fprintf(stderr, "usage: dtypes [--speed]\n");
        return 2;
    }
    struct row row = {malloc(COUNT * sizeof(float)), malloc(COUNT * sizeof(float)),
                      malloc(COUNT * sizeof(float)), malloc(COUNT * sizeof(float)),
                      malloc(COUNT * sizeof(float))};
    int status = 1;
    if (row.values && row.ones && row.importance && row.decoded && row.bytes) {
        struct mlt_random random;
        mlt_random_seed(&random, 1);
        for (int64_t i = 0; i < COUNT; i++) {
            row.values[i] = mlt_random_normal(&random);
            row.ones[i] = 1;
            row.importance[i] = mlt_random_u64(&random) % 8 == 0 ? 10.0f : 1.0f;
        }
        printf("%-7s %9s %11s %11s %11s", "dtype", "bits", "error, %", "searched, %", "steered, %");
        if (with_speed) printf(" %9s %9s %9s", "encode", "steered", "decode");
        printf("\n");
        for (uint32_t number = 0; number < MLT_DTYPE_LIMIT; number++) {
            const struct mlt_dtype_info *info = mlt_dtype_find(number);
            if (info && info->is_float) print_dtype(&row, (mlt_dtype)number, with_speed);
        }
        status = 0;
    } else {
        fprintf(stderr, "dtypes: no memory\n");
    }
    free(row.values);
    free(row.ones);
    free(row.importance);
    free(row.decoded);
    free(row.bytes);
    return status;
}
