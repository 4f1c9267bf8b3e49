/*
 * Quantised blocks as integers: what integer dot products multiply.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_UNPACK_H
#define MLT_UNPACK_H

#include "tensor/dtype.h"

/*
 * One block: element i of group g = i / (length / groups) is
 *     w[i] = d * scale[g] * q[i] - m * min[g]      (superblocks of 256)
 *     w[i] = d * q[i] + m                          (blocks of 32: one group, scale and min are not set)
 * in real numbers; mlt_decode says in which order it is rounded.
 */
struct mlt_unpacked {
    int8_t q[256];
    int16_t scale[16]; /* -128..127 */
    int16_t min[16];   /* 0..63; only where the dtype has mins */
    float d, m;        /* m: only where the dtype has mins */
};

/* How a quantised dtype is unpacked. */
struct mlt_unpack_traits {
    void (*unpack)(const uint8_t *block, struct mlt_unpacked *out); /* NULL: not a quantised dtype */
    int groups;                                                     /* per block: 1, 8 or 16 */
    bool has_min;
    int8_t q_low, q_high; /* every q is in [q_low, q_high] */
};

/* `dtype` may be any value of the enum. The result is static. */
const struct mlt_unpack_traits *mlt_unpack_traits(mlt_dtype dtype);

#endif
