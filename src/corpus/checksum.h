/*
 * FNV-1a with 64 bits (Fowler, Noll, Vo; draft-eastlake-fnv): tells what has changed, no protection against
 * intent.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_CHECKSUM_H
#define MLT_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

#define MLT_CHECKSUM_START UINT64_C(0xCBF29CE484222325)

static inline uint64_t mlt_checksum(uint64_t sum, const void *bytes, size_t size)
{
    const uint8_t *p = bytes;
    for (size_t i = 0; i < size; i++)
        sum = (sum ^ p[i]) * UINT64_C(0x100000001B3);
    return sum;
}

/* A text with its length, so that texts one after the other do not run together. */
static inline uint64_t mlt_checksum_text(uint64_t sum, const char *text, size_t length)
{
    uint64_t size = length;
    return mlt_checksum(mlt_checksum(sum, &size, sizeof size), text, length);
}

#endif
