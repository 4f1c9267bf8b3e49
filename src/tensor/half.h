/*
 * binary16, bfloat16 and E8M0 to float and back, inline: the loops of the codecs vectorise over them. dtype.h
 * has the first two out of line.
 *
 * Pure integer arithmetic but for the scaling of subnormal halves, which is exact, so that neither the
 * rounding mode nor a CPU's flush-to-zero flag changes a bit. NaN keeps its sign and the top of its payload
 * and becomes quiet, as the conversion instructions of x86 (F16C) and ARM do it.
 *
 * Source: IEEE 754-2019, sections 3.4 and 6.2.3.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_HALF_H
#define MLT_HALF_H

#include <stdint.h>
#include <string.h>

static inline float mlt_float_from_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline uint32_t mlt_bits_of_float(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline float mlt_half_to_float_inline(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000u) << 16;
    uint32_t magnitude = half & 0x7fffu;
    /* The exponent's bias is 15 in a half and 127 in a float: 112 more; infinity and NaN have exponent 255.
     */
    uint32_t normal = (magnitude << 13) + (magnitude < 0x7c00u ? 112u << 23 : 224u << 23);
    uint32_t quiet = magnitude > 0x7c00u ? 0x00400000u : 0;
    /* A subnormal counts units of 2^-24. Computed for every half: compilers then need no branch. */
    uint32_t subnormal = mlt_bits_of_float((float)(int32_t)magnitude * 0x1p-24f);
    return mlt_float_from_bits((magnitude < 0x0400u ? subnormal : normal) | quiet | sign);
}

static inline uint16_t mlt_float_to_half_inline(float value)
{
    uint32_t bits = mlt_bits_of_float(value);
    uint32_t sign = bits >> 16 & 0x8000u;
    uint32_t magnitude = bits & 0x7fffffffu;
    uint32_t half;
    if (magnitude > 0x7f800000u) {
        half = 0x7e00u | (magnitude >> 13 & 0x03ffu);
    } else if (magnitude >= 0x47800000u) { /* 2^16 and more; 65520 to 2^16 carry into infinity below */
        half = 0x7c00u;
    } else if (magnitude >= 0x38800000u) { /* 2^-14: the smallest normal half */
        /* Half of the last kept bit, less one, and the last bit itself: a tie goes to the even neighbour. */
        half = (magnitude - (112u << 23) + 0x0fffu + (magnitude >> 13 & 1u)) >> 13;
    } else if (magnitude >= 0x33000000u) { /* 2^-25: half of the smallest subnormal, a tie with zero */
        uint32_t significand = (magnitude & 0x007fffffu) | 0x00800000u;
        uint32_t shift = 126u - (magnitude >> 23); /* in units of 2^-24: 14 to 24 */
        uint32_t rest = significand & ((1u << shift) - 1u), tie = 1u << (shift - 1u);
        half = significand >> shift;
        half += rest > tie || (rest == tie && (half & 1u));
    } else {
        half = 0;
    }
    return (uint16_t)(sign | half);
}

static inline float mlt_bfloat_to_float_inline(uint16_t bfloat)
{
    return mlt_float_from_bits((uint32_t)bfloat << 16);
}

static inline uint16_t mlt_float_to_bfloat_inline(float value)
{
    uint32_t bits = mlt_bits_of_float(value);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return (uint16_t)(bits >> 16 | 0x0040u);
    return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

/*
 * Half of the power of two that an E8M0 exponent stands for, 2^(e - 128): the factor of the doubled E2M1
 * values. 2^-128 and 2^-127 are subnormal floats. e = 255, NaN in the OCP Microscaling specification, is
 * 2^127 here, as in GGUF's reference implementation.
 */
static inline float mlt_e8m0_half(uint8_t e)
{
    return mlt_float_from_bits(e < 2 ? 0x00200000u << e : (uint32_t)(e - 1) << 23);
}

#endif
