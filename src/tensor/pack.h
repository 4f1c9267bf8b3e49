/*
 * Codes of elements to the fields of blocks; unpack.c says where these lie. Internal to src/tensor.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_PACK_H
#define MLT_PACK_H

#include "tensor/quant_blocks.h"

#include <string.h>

/* The low four bits of 32 codes, the first 16 in the low nibbles. */
static inline void mlt_pack_nibbles(const uint8_t q[32], uint8_t qs[16])
{
    for (int i = 0; i < 16; i++)
        qs[i] = (uint8_t)((q[i] & 15) | q[i + 16] << 4);
}

static inline void mlt_pack_fifth_bits(const uint8_t q[MLT_QK], uint8_t qh[4])
{
    memset(qh, 0, 4);
    for (int i = 0; i < MLT_QK; i++)
        qh[i / 8] |= (uint8_t)(q[i] >> 4 << (i % 8));
}

/* Four 2-bit fields a byte; see unpack.c for the places of all fields. */
static inline void mlt_pack_2bit(const uint8_t q[MLT_QK_K], uint8_t qs[64])
{
    for (int i = 0; i < 64; i++) {
        const uint8_t *column = q + i / 32 * 128 + i % 32;
        qs[i] = (uint8_t)((column[0] & 3) | (column[32] & 3) << 2 | (column[64] & 3) << 4 |
                          (column[96] & 3) << 6);
    }
}

static inline void mlt_pack_4bit(const uint8_t q[MLT_QK_K], uint8_t qs[128])
{
    for (int i = 0; i < 128; i++) {
        const uint8_t *column = q + i / 32 * 64 + i % 32;
        qs[i] = (uint8_t)((column[0] & 15) | (column[32] & 15) << 4);
    }
}

/* One bit an element: bit k of byte i is bit `bit` of element 32 * k + i. */
static inline void mlt_pack_bit(const uint8_t q[MLT_QK_K], int bit, uint8_t out[32])
{
    memset(out, 0, 32);
    for (int k = 0; k < 8; k++)
        for (int i = 0; i < 32; i++)
            out[i] |= (uint8_t)((q[32 * k + i] >> bit & 1) << k);
}

/* Low four bits and high two of the codes of Q6_K. */
static inline void mlt_pack_6bit(const uint8_t q[MLT_QK_K], uint8_t ql[128], uint8_t qh[64])
{
    for (int i = 0; i < 128; i++) {
        const uint8_t *column = q + i / 64 * 128 + i % 64;
        ql[i] = (uint8_t)((column[0] & 15) | (column[64] & 15) << 4);
    }
    for (int i = 0; i < 64; i++) {
        const uint8_t *column = q + i / 32 * 128 + i % 32;
        qh[i] =
            (uint8_t)(column[0] >> 4 | column[32] >> 4 << 2 | column[64] >> 4 << 4 | column[96] >> 4 << 6);
    }
}

/* Five digits of base 3, the first the most significant, as ceil(number * 256 / 243): unpack.c says why. */
static inline uint8_t mlt_pack_five(const uint8_t *q, int stride, int digits)
{
    int number = 0;
    for (int n = 0; n < 5; n++)
        number = number * 3 + (n < digits ? q[n * stride] : 0);
    return (uint8_t)((number * 256 + 242) / 243);
}

static inline void mlt_pack_digits(const uint8_t q[MLT_QK_K], uint8_t qs[48], uint8_t qh[4])
{
    for (int i = 0; i < 32; i++)
        qs[i] = mlt_pack_five(q + i, 32, 5);
    for (int i = 0; i < 16; i++)
        qs[32 + i] = mlt_pack_five(q + 160 + i, 16, 5);
    for (int i = 0; i < 4; i++)
        qh[i] = mlt_pack_five(q + 240 + i, 4, 4);
}

#endif
