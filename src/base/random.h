/*
 * Random numbers that are the same on every machine: xoshiro256** (Blackman and Vigna, 2018), seeded with
 * splitmix64.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_RANDOM_H
#define MLT_RANDOM_H

#include <stdint.h>

struct mlt_random {
    uint64_t state[4];
};

void mlt_random_seed(struct mlt_random *random, uint64_t seed);
uint64_t mlt_random_u64(struct mlt_random *random);
/* Uniform in [0, 1): 24 and 53 random bits. */
float mlt_random_float(struct mlt_random *random);
double mlt_random_double(struct mlt_random *random);
/* Standard normal by Box and Muller, with the library's own arithmetic where bits matter: tests and synthetic
 * weights. */
float mlt_random_normal(struct mlt_random *random);

#endif
