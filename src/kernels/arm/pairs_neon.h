/*
 * Loads of two registers by one instruction, and order among loads, where compilers do not see to it.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_PAIRS_NEON_H
#define MLT_PAIRS_NEON_H

#include "kernels/arm/arm.h"

#include <arm_neon.h>

/* Memory that an instruction reads. */
struct mlt_bytes32 {
    uint8_t byte[32];
};

struct mlt_pair {
    int8x16_t first, second;
};

/* pair = the 32 bytes at p, a pointer to bytes, which is then moved by `step` bytes: a constant, a multiple
 * of 16 from -1024 to 1008. */
#define MLT_TAKE_PAIR(pair, p, step)                                                                         \
    __asm__("ldp %q0, %q1, [%2], %4"                                                                         \
            : "=w"((pair).first), "=w"((pair).second), "+r"(p)                                               \
            : "m"(*(const struct mlt_bytes32 *)(p)), "i"(step))

/* Loads from behind are not moved before it: with too many of them mixed, registers do not suffice. */
#define MLT_KEEP_ORDER() __asm__ volatile("" ::: "memory")

#endif
