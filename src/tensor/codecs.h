/*
 * What dtype.c dispatches to: one decoder and one encoder a type. `blocks` counts blocks of the type
 * (elements for F32, F16 and BF16). The contracts are those of mlt_decode and mlt_encode in dtype.h.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_CODECS_H
#define MLT_CODECS_H

#include <stdint.h>

typedef void mlt_decoder(const void *bytes, float *values, int64_t blocks);

/* decode_float.c */
mlt_decoder mlt_decode_f32, mlt_decode_f16, mlt_decode_bf16;
/* decode_32.c: blocks of 32 */
mlt_decoder mlt_decode_q4_0, mlt_decode_q4_1, mlt_decode_q5_0, mlt_decode_q5_1, mlt_decode_q8_0;
mlt_decoder mlt_decode_iq4_nl, mlt_decode_mxfp4;
/* decode_256.c: superblocks of 256 */
mlt_decoder mlt_decode_q2_K, mlt_decode_q3_K, mlt_decode_q4_K, mlt_decode_q5_K, mlt_decode_q6_K;
mlt_decoder mlt_decode_iq4_xs;
/* ternary.c */
mlt_decoder mlt_decode_tq1_0, mlt_decode_tq2_0;

#endif
