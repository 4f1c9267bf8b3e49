/*
 * The byte layout of every quantised block, as the GGUF reference implementation stores it. All fields are
 * bytes or little-endian 16-bit numbers without padding, so that a block can be read in place on any
 * little-endian machine.
 *
 * d, dmin, m are IEEE binary16. Within a block, "low half first" means: byte i of qs holds element i in its
 * low nibble and element i + 16 in its high nibble.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_QUANT_BLOCKS_H
#define MLT_QUANT_BLOCKS_H

#include <stdint.h>

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "Millet reads weights in place and needs a little-endian machine"
#endif

enum { MLT_QK = 32, MLT_QK_K = 256 };

/* w = d * (q - 8); q: 4 bits, low half first */
struct mlt_block_q4_0 {
    uint16_t d;
    uint8_t qs[16];
};

/* w = d * q + m; q: 4 bits, low half first */
struct mlt_block_q4_1 {
    uint16_t d, m;
    uint8_t qs[16];
};

/* w = d * (q - 16); q: low 4 bits in qs, fifth bit of element i is bit i of qh */
struct mlt_block_q5_0 {
    uint16_t d;
    uint8_t qh[4];
    uint8_t qs[16];
};

/* w = d * q + m */
struct mlt_block_q5_1 {
    uint16_t d, m;
    uint8_t qh[4];
    uint8_t qs[16];
};

/* w = d * q */
struct mlt_block_q8_0 {
    uint16_t d;
    int8_t qs[32];
};

/* w = d * (scale & 15) * q - dmin * (scale >> 4); 16 groups of 16; q: 2 bits */
struct mlt_block_q2_K {
    uint8_t scales[16];
    uint8_t qs[64];
    uint16_t d, dmin;
};

/* w = d * (scale - 32) * (q - 4); 16 groups of 16; q: low 2 bits in qs, third in hmask; 6-bit scales packed
 * in 12 bytes */
struct mlt_block_q3_K {
    uint8_t hmask[32];
    uint8_t qs[64];
    uint8_t scales[12];
    uint16_t d;
};

/* w = d * scale * q - dmin * min; 8 groups of 32; 6-bit scales and mins packed in 12 bytes */
struct mlt_block_q4_K {
    uint16_t d, dmin;
    uint8_t scales[12];
    uint8_t qs[128];
};

struct mlt_block_q5_K {
    uint16_t d, dmin;
    uint8_t scales[12];
    uint8_t qh[32];
    uint8_t qs[128];
};

/* w = d * scale * (q - 32); 16 groups of 16; low 4 bits in ql, high 2 in qh */
struct mlt_block_q6_K {
    uint8_t ql[128];
    uint8_t qh[64];
    int8_t scales[16];
    uint16_t d;
};

/* w = d * table[q]; 4-bit codes into 16 fixed values */
struct mlt_block_iq4_nl {
    uint16_t d;
    uint8_t qs[16];
};

/* w = d * (scale - 32) * table[q]; 8 groups of 32; low 4 bits of scales in scales_l, high 2 in scales_h */
struct mlt_block_iq4_xs {
    uint16_t d;
    uint16_t scales_h;
    uint8_t scales_l[4];
    uint8_t qs[128];
};

/* w = d * (q - 1); ternary, five digits of base 3 a byte (qs), four in qh */
struct mlt_block_tq1_0 {
    uint8_t qs[48];
    uint8_t qh[4];
    uint16_t d;
};

/* w = d * (q - 1); ternary, 2 bits */
struct mlt_block_tq2_0 {
    uint8_t qs[64];
    uint16_t d;
};

/* OCP Microscaling MXFP4: e is a power-of-two exponent (E8M0), qs are E2M1 codes, low half first */
struct mlt_block_mxfp4 {
    uint8_t e;
    uint8_t qs[16];
};

/* The sixteen values of IQ4_NL and IQ4_XS. */
extern const int8_t mlt_iq4_values[16];
/* Twice the sixteen values of E2M1: 0, 1, 2, 3, 4, 6, 8, 12 and their negatives. */
extern const int8_t mlt_e2m1_doubled[16];

#endif
