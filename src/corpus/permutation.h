/*
 * A shuffle without a list: a keyed bijection of [0, count).
 *
 * A balanced Feistel network (Luby and Rackoff, 1988) over the smallest even number of bits that holds
 * `count`; results outside are sent through again until one lies inside (cycle walking; Black and Rogaway,
 * 2002), at most four times on average.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_PERMUTATION_H
#define MLT_PERMUTATION_H

#include <stdint.h>

enum { MLT_FEISTEL_ROUNDS = 6 };

/* The finaliser of splitmix64 (Steele, Lea, Flood, 2014). */
static inline uint64_t mlt_mix64(uint64_t x)
{
    x += UINT64_C(0x9E3779B97F4A7C15);
    x = (x ^ x >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ x >> 27) * UINT64_C(0x94D049BB133111EB);
    return x ^ x >> 31;
}

/* Where `index` (< count) goes under `key`. */
static inline uint64_t mlt_permute(uint64_t index, uint64_t count, uint64_t key)
{
    unsigned half = 1;
    while (half < 32 && (UINT64_C(1) << 2 * half) < count)
        half++;
    uint64_t mask = (UINT64_C(1) << half) - 1;
    do {
        uint64_t left = index >> half, right = index & mask;
        for (unsigned round = 0; round < MLT_FEISTEL_ROUNDS; round++) {
            uint64_t next = left ^ (mlt_mix64(key ^ mlt_mix64(right + ((uint64_t)round << 56))) & mask);
            left = right;
            right = next;
        }
        index = left << half | right;
    } while (index >= count);
    return index;
}

#endif
