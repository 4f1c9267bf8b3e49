/*
 * What the unpackers share: four rows at a time. Sixteen bytes of each are transposed as 32-bit words, so
 * that a register has a word of each row, as the panel wants it; only then are the bytes split into codes: a
 * transpose moves as many codes as a byte holds.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_UNPACK_NEON_H
#define MLT_UNPACK_NEON_H

#include "kernels/arm/arm.h"

#include <arm_neon.h>
#include <string.h>

/* Rows that are unpacked together: as many as a register has 32-bit lanes. */
enum { MLT_UNPACK_ROWS = 4 };

/* Sixteen bytes of four rows: v[i] has bytes 4 i .. 4 i + 3 of row r in its 32-bit lane r. */
struct mlt_words {
    uint8x16_t v[4];
};

/* The transpose: lane r of v[i] is lane i of row r. */
MLT_INLINE struct mlt_words mlt_transpose_words(uint32x4_t r0, uint32x4_t r1, uint32x4_t r2, uint32x4_t r3)
{
    uint64x2_t a = vreinterpretq_u64_u32(vtrn1q_u32(r0, r1)), b = vreinterpretq_u64_u32(vtrn2q_u32(r0, r1));
    uint64x2_t c = vreinterpretq_u64_u32(vtrn1q_u32(r2, r3)), d = vreinterpretq_u64_u32(vtrn2q_u32(r2, r3));
    return (struct mlt_words){{vreinterpretq_u8_u64(vtrn1q_u64(a, c)), vreinterpretq_u8_u64(vtrn1q_u64(b, d)),
                               vreinterpretq_u8_u64(vtrn2q_u64(a, c)),
                               vreinterpretq_u8_u64(vtrn2q_u64(b, d))}};
}

/* The sixteen bytes that lie `offset` bytes into the four blocks. */
MLT_INLINE struct mlt_words mlt_load_words(const uint8_t *const blocks[MLT_UNPACK_ROWS], int offset)
{
    return mlt_transpose_words(vreinterpretq_u32_u8(vld1q_u8(blocks[0] + offset)),
                               vreinterpretq_u32_u8(vld1q_u8(blocks[1] + offset)),
                               vreinterpretq_u32_u8(vld1q_u8(blocks[2] + offset)),
                               vreinterpretq_u32_u8(vld1q_u8(blocks[3] + offset)));
}

/*
 * Where four rows' codes of a block go in a panel: those of columns 4 i .. 4 i + 3, counted from the block's
 * start, at out + i * MLT_PANEL_WORD.
 */
enum { MLT_PANEL_WORD = MLT_PANEL_ROWS * 4 };

/* Where the codes from `column` on go. */
MLT_INLINE int8_t *mlt_columns(int8_t *out, int column)
{
    return out + column / 4 * MLT_PANEL_WORD;
}

MLT_INLINE void mlt_place(int8_t *out, int column, uint8x16_t codes)
{
    vst1q_s8(mlt_columns(out, column), vreinterpretq_s8_u8(codes));
}

/* The two 4-bit codes of each byte. */
MLT_INLINE uint8x16_t mlt_low_nibbles(uint8x16_t bytes)
{
    return vandq_u8(bytes, vdupq_n_u8(15));
}

MLT_INLINE uint8x16_t mlt_high_nibbles(uint8x16_t bytes)
{
    return vshrq_n_u8(bytes, 4);
}

MLT_INLINE uint16_t mlt_load_u16(const uint8_t *bytes)
{
    uint16_t value;
    memcpy(&value, bytes, sizeof value);
    return value;
}

MLT_INLINE uint32_t mlt_load_u32(const uint8_t *bytes)
{
    uint32_t value;
    memcpy(&value, bytes, sizeof value);
    return value;
}

/* The binary16 numbers `offset` bytes into the four blocks. */
MLT_INLINE float32x4_t mlt_halves4(const uint8_t *const blocks[MLT_UNPACK_ROWS], int offset)
{
    uint16x4_t bits = vdup_n_u16(mlt_load_u16(blocks[0] + offset));
    bits = vset_lane_u16(mlt_load_u16(blocks[1] + offset), bits, 1);
    bits = vset_lane_u16(mlt_load_u16(blocks[2] + offset), bits, 2);
    bits = vset_lane_u16(mlt_load_u16(blocks[3] + offset), bits, 3);
    return vcvt_f32_f16(vreinterpret_f16_u16(bits));
}

/* The 32-bit words `offset` bytes into the four blocks. */
MLT_INLINE uint32x4_t mlt_words4(const uint8_t *const blocks[MLT_UNPACK_ROWS], int offset)
{
    uint32x4_t words = vdupq_n_u32(mlt_load_u32(blocks[0] + offset));
    words = vsetq_lane_u32(mlt_load_u32(blocks[1] + offset), words, 1);
    words = vsetq_lane_u32(mlt_load_u32(blocks[2] + offset), words, 2);
    return vsetq_lane_u32(mlt_load_u32(blocks[3] + offset), words, 3);
}

/* The scales of MXFP4 from their exponents: 2^(e - 128), half of the scale since the codes are doubled;
 * subnormal for e < 2. */
MLT_INLINE float32x4_t mlt_scales_of_exponents(uint32x4_t e)
{
    uint32x4_t normal = vshlq_n_u32(vsubq_u32(e, vdupq_n_u32(1)), 23);
    uint32x4_t subnormal = vshlq_u32(vdupq_n_u32(0x00200000), vreinterpretq_s32_u32(e));
    return vreinterpretq_f32_u32(vbslq_u32(vcltq_u32(e, vdupq_n_u32(2)), subnormal, normal));
}

/* Those of four blocks, which begin with their exponent. */
MLT_INLINE float32x4_t mlt_exponents4(const uint8_t *const b[MLT_UNPACK_ROWS])
{
    uint32x4_t e = vdupq_n_u32(b[0][0]);
    e = vsetq_lane_u32(b[1][0], e, 1);
    e = vsetq_lane_u32(b[2][0], e, 2);
    return mlt_scales_of_exponents(vsetq_lane_u32(b[3][0], e, 3));
}

#endif
