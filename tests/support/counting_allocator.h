/*
 * An allocator for tests: counts what is taken, refuses when told to, and knows what was not given back.
 * Safe to use from several threads.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_COUNTING_ALLOCATOR_H
#define MLT_COUNTING_ALLOCATOR_H

#include "millet/allocator.h"

#include <stdatomic.h>
#include <stdint.h>

struct counting_allocator {
    millet_allocator allocator; /* to hand out */
    atomic_llong calls;         /* allocations asked for */
    atomic_llong live;          /* blocks not yet released */
    atomic_ullong bytes;        /* of the live blocks, as asked for */
    atomic_ullong peak;         /* the largest value of bytes */
    long long fail_at;          /* this call (0: the first) is refused; -1: none */
    unsigned long long limit;   /* what would take bytes above it is refused; 0: no limit */
};

/* Nothing is refused until fail_at or limit is set. */
void counting_allocator_init(struct counting_allocator *counting);

#endif
