/*
 * What encode.c dispatches to: one encoder a quantised type. An encoder writes one block.
 *
 * x: the block's elements, finite, at most MLT_ENCODE_LIMIT in magnitude but for MXFP4. importance: one
 * weight an element, or NULL. `block` may lie at any address.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_ENCODERS_H
#define MLT_ENCODERS_H

#include <stdint.h>

/* Far beyond what any type with a half as its scale can hold (the largest, Q6_K, ends at 2.8e8), and small
 * enough that sums of squares do not overflow. */
#define MLT_ENCODE_LIMIT 0x1p30f

typedef void mlt_block_encoder(const float *x, const float *importance, uint8_t *block);

/* encode_32.c */
mlt_block_encoder mlt_encode_q4_0, mlt_encode_q4_1, mlt_encode_q5_0, mlt_encode_q5_1, mlt_encode_q8_0;
/* encode_k.c */
mlt_block_encoder mlt_encode_q2_K, mlt_encode_q3_K, mlt_encode_q4_K, mlt_encode_q5_K, mlt_encode_q6_K;
/* encode_table.c */
mlt_block_encoder mlt_encode_iq4_nl, mlt_encode_iq4_xs, mlt_encode_mxfp4;
/* encode_ternary.c */
mlt_block_encoder mlt_encode_tq1_0, mlt_encode_tq2_0;

#endif
