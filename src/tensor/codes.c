/* Codes of quantised blocks: see codes.h. SPDX-License-Identifier: Apache-2.0 */
#include "tensor/codes.h"

#include "tensor/pack.h"

#include <stddef.h>

int mlt_code_count(mlt_dtype dtype)
{
    switch (dtype) {
    case MLT_TQ1_0:
    case MLT_TQ2_0: return 3;
    case MLT_Q2_K: return 4;
    case MLT_Q3_K: return 8;
    case MLT_Q4_0:
    case MLT_Q4_1:
    case MLT_Q4_K:
    case MLT_IQ4_NL:
    case MLT_IQ4_XS:
    case MLT_MXFP4: return 16;
    case MLT_Q5_0:
    case MLT_Q5_1:
    case MLT_Q5_K: return 32;
    case MLT_Q6_K: return 64;
    default: return 0;
    }
}

bool mlt_codes_are_linear(mlt_dtype dtype)
{
    return dtype != MLT_IQ4_NL && dtype != MLT_IQ4_XS && dtype != MLT_MXFP4;
}

/* Nibbles of n blocks of 32 that lie one behind the other. */
static void set_nibbles(const uint8_t *codes, int n, uint8_t *qs)
{
    for (int i = 0; i < n; i++)
        mlt_pack_nibbles(codes + MLT_QK * i, qs + MLT_QK / 2 * i);
}

/* Blocks may lie at any address: fields are reached by their offsets. */
#define FIELD(type, field) (block + offsetof(struct mlt_block_##type, field))

void mlt_set_codes(mlt_dtype dtype, const uint8_t *codes, uint8_t *block)
{
    switch (dtype) {
    case MLT_Q4_0: set_nibbles(codes, 1, FIELD(q4_0, qs)); break;
    case MLT_Q4_1: set_nibbles(codes, 1, FIELD(q4_1, qs)); break;
    case MLT_Q5_0:
        set_nibbles(codes, 1, FIELD(q5_0, qs));
        mlt_pack_fifth_bits(codes, FIELD(q5_0, qh));
        break;
    case MLT_Q5_1:
        set_nibbles(codes, 1, FIELD(q5_1, qs));
        mlt_pack_fifth_bits(codes, FIELD(q5_1, qh));
        break;
    case MLT_IQ4_NL: set_nibbles(codes, 1, FIELD(iq4_nl, qs)); break;
    case MLT_MXFP4: set_nibbles(codes, 1, FIELD(mxfp4, qs)); break;
    case MLT_IQ4_XS: set_nibbles(codes, 8, FIELD(iq4_xs, qs)); break;
    case MLT_Q2_K: mlt_pack_2bit(codes, FIELD(q2_K, qs)); break;
    case MLT_Q3_K:
        mlt_pack_2bit(codes, FIELD(q3_K, qs));
        mlt_pack_bit(codes, 2, FIELD(q3_K, hmask));
        break;
    case MLT_Q4_K: mlt_pack_4bit(codes, FIELD(q4_K, qs)); break;
    case MLT_Q5_K:
        mlt_pack_4bit(codes, FIELD(q5_K, qs));
        mlt_pack_bit(codes, 4, FIELD(q5_K, qh));
        break;
    case MLT_Q6_K: mlt_pack_6bit(codes, FIELD(q6_K, ql), FIELD(q6_K, qh)); break;
    case MLT_TQ1_0: mlt_pack_digits(codes, FIELD(tq1_0, qs), FIELD(tq1_0, qh)); break;
    case MLT_TQ2_0: mlt_pack_2bit(codes, FIELD(tq2_0, qs)); break;
    default: break;
    }
}
