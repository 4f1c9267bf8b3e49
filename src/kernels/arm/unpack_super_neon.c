/*
 * Unpacking superblocks of 256 to panels. Byte layouts: tensor/quant_blocks.h.
 *
 * Sub-scales are unpacked for four rows at a time with a row in each 32-bit lane: a byte or a few bits of all
 * lanes, widened, are already a vector of the panel.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "kernels/arm/unpack_neon.h"

#include "tensor/quant_blocks.h"

#include <stddef.h>

/* ---- Codes, four rows at a time ---- */

#define PLACE(type) MLT_INLINE void place_##type(const uint8_t *const b[MLT_UNPACK_ROWS], int8_t *out)

/* The four 2-bit fields of each byte, lowest first. */
struct bit_pairs {
    uint8x16_t v[4];
};

MLT_INLINE struct bit_pairs bit_pairs(uint8x16_t bytes)
{
    uint8x16_t three = vdupq_n_u8(3);
    return (struct bit_pairs){{vandq_u8(bytes, three), vandq_u8(vshrq_n_u8(bytes, 2), three),
                               vandq_u8(vshrq_n_u8(bytes, 4), three), vshrq_n_u8(bytes, 6)}};
}

/*
 * 64 bytes of four 2-bit codes, minus `offset`. In each half of 128 columns byte l holds columns l, l + 32, l
 * + 64 and l + 96.
 */
MLT_INLINE void place_bit_pairs(const uint8_t *const b[MLT_UNPACK_ROWS], int qs, uint8_t offset, int8_t *out)
{
    uint8x16_t minus = vdupq_n_u8(offset);
    for (int i = 0; i < 4; i++) {
        struct mlt_words words = mlt_load_words(b, qs + 16 * i);
        int8_t *to = mlt_columns(out, i / 2 * 128 + i % 2 * 16);
        for (int w = 0; w < 4; w++) {
            struct bit_pairs codes = bit_pairs(words.v[w]);
            for (int l = 0; l < 4; l++)
                mlt_place(to, 4 * w + 32 * l, vsubq_u8(codes.v[l], minus));
        }
    }
}

PLACE(q2_K)
{
    place_bit_pairs(b, offsetof(struct mlt_block_q2_K, qs), 0, out);
}

PLACE(tq2_0)
{
    place_bit_pairs(b, offsetof(struct mlt_block_tq2_0, qs), 1, out);
}

/* As Q2_K, and 4 less where the third bit is clear: bit column / 32 of byte column % 32 of hmask. */
PLACE(q3_K)
{
    for (int i = 0; i < 4; i++) {
        struct mlt_words words = mlt_load_words(b, (int)offsetof(struct mlt_block_q3_K, qs) + 16 * i);
        struct mlt_words thirds = mlt_load_words(b, (int)offsetof(struct mlt_block_q3_K, hmask) + i % 2 * 16);
        int8_t *to = mlt_columns(out, i / 2 * 128 + i % 2 * 16);
        for (int w = 0; w < 4; w++) {
            struct bit_pairs codes = bit_pairs(words.v[w]);
            for (int l = 0; l < 4; l++) {
                uint8x16_t set = vtstq_u8(thirds.v[w], vdupq_n_u8((uint8_t)(1 << (i / 2 * 4 + l))));
                uint8x16_t minus = vbicq_u8(vdupq_n_u8(4), set);
                mlt_place(to, 4 * w + 32 * l, vsubq_u8(codes.v[l], minus));
            }
        }
    }
}

/* In each 64 columns byte l holds columns l and l + 32. */
PLACE(q4_K)
{
    for (int i = 0; i < 8; i++) {
        struct mlt_words words = mlt_load_words(b, (int)offsetof(struct mlt_block_q4_K, qs) + 16 * i);
        int8_t *to = mlt_columns(out, i / 2 * 64 + i % 2 * 16);
        for (int w = 0; w < 4; w++) {
            mlt_place(to, 4 * w, mlt_low_nibbles(words.v[w]));
            mlt_place(to, 4 * w + 32, mlt_high_nibbles(words.v[w]));
        }
    }
}

/* As Q4_K; the fifth bit is bit column / 32 of byte column % 32 of qh. */
PLACE(q5_K)
{
    uint8x16_t sixteen = vdupq_n_u8(16), five = vdupq_n_u8(0x1f);
    for (int half = 0; half < 2; half++) {
        struct mlt_words fifths = mlt_load_words(b, (int)offsetof(struct mlt_block_q5_K, qh) + 16 * half);
        for (int j = 0; j < 4; j++) {
            struct mlt_words words =
                mlt_load_words(b, (int)offsetof(struct mlt_block_q5_K, qs) + 32 * j + 16 * half);
            int8_t *to = mlt_columns(out, 64 * j + 16 * half);
            for (int w = 0; w < 4; w++) {
                uint8x16_t high = vandq_u8(vshlq_n_u8(fifths.v[w], 3), sixteen);
                mlt_place(to, 4 * w, vandq_u8(vsliq_n_u8(words.v[w], fifths.v[w], 4), five));
                mlt_place(to, 4 * w + 32, vsriq_n_u8(high, words.v[w], 4));
                fifths.v[w] = vshrq_n_u8(fifths.v[w], 2);
            }
        }
    }
}

/*
 * In each half of 128 columns: 64 bytes of low nibbles (columns 0..63 low, 64..127 high), 32 bytes of high
 * bit pairs (byte l: columns l, l + 32, l + 64, l + 96).
 */
PLACE(q6_K)
{
    uint8x16_t six = vdupq_n_u8(0x3f), top = vdupq_n_u8(0x30), offset = vdupq_n_u8(32);
    for (int i = 0; i < 4; i++) {
        int ql = (int)offsetof(struct mlt_block_q6_K, ql) + i / 2 * 64 + i % 2 * 16;
        struct mlt_words first = mlt_load_words(b, ql), second = mlt_load_words(b, ql + 32);
        struct mlt_words pairs = mlt_load_words(b, (int)offsetof(struct mlt_block_q6_K, qh) + 16 * i);
        int8_t *to = mlt_columns(out, i / 2 * 128 + i % 2 * 16);
        for (int w = 0; w < 4; w++) {
            /* Inserting shifts join the low four bits and the pair: sli keeps the low bits of its first
             * operand, sri the high ones. */
            uint8x16_t low = first.v[w], high = second.v[w], pair = pairs.v[w];
            uint8x16_t codes[4] = {
                vandq_u8(vsliq_n_u8(low, pair, 4), six),
                vandq_u8(vsliq_n_u8(high, vshrq_n_u8(pair, 2), 4), six),
                vsriq_n_u8(vandq_u8(pair, top), low, 4),
                vsriq_n_u8(vandq_u8(vshrq_n_u8(pair, 2), top), high, 4),
            };
            for (int l = 0; l < 4; l++)
                mlt_place(to, 4 * w + 32 * l, vsubq_u8(codes[l], offset));
        }
    }
}

/* Groups of 32 in sixteen bytes: the low half first. */
PLACE(iq4_xs)
{
    uint8x16_t values = vreinterpretq_u8_s8(vld1q_s8(mlt_iq4_values));
    for (int g = 0; g < 8; g++) {
        struct mlt_words words = mlt_load_words(b, (int)offsetof(struct mlt_block_iq4_xs, qs) + 16 * g);
        int8_t *to = mlt_columns(out, 32 * g);
        for (int w = 0; w < 4; w++) {
            mlt_place(to, 4 * w, vqtbl1q_u8(values, mlt_low_nibbles(words.v[w])));
            mlt_place(to, 16 + 4 * w, vqtbl1q_u8(values, mlt_high_nibbles(words.v[w])));
        }
    }
}

/* The first digit of base-3 fractions of 256, minus 1: times 3 / 256 without leaving 8 bits. */
MLT_INLINE uint8x16_t ternary_digit(uint8x16_t fractions)
{
    uint8x16_t three_quarters = vhaddq_u8(fractions, vshrq_n_u8(fractions, 1));
    return vsubq_u8(vshrq_n_u8(three_quarters, 6), vdupq_n_u8(1));
}

/* 32 bytes of five digits, 16 bytes of five, 4 bytes of four; digit n is the first after multiplying by 3^n.
 */
PLACE(tq1_0)
{
    uint8x16_t three = vdupq_n_u8(3);
    for (int i = 0; i < 3; i++) {
        struct mlt_words words = mlt_load_words(b, (int)offsetof(struct mlt_block_tq1_0, qs) + 16 * i);
        int column = i < 2 ? 16 * i : 160, stride = i < 2 ? 32 : 16;
        for (int w = 0; w < 4; w++) {
            for (int n = 0; n < 5; n++) {
                mlt_place(out, column + 4 * w + stride * n, ternary_digit(words.v[w]));
                words.v[w] = vmulq_u8(words.v[w], three);
            }
        }
    }
    uint8x16_t tail = vreinterpretq_u8_u32(mlt_words4(b, offsetof(struct mlt_block_tq1_0, qh)));
    for (int n = 0; n < 4; n++) {
        mlt_place(out, 240 + 4 * n, ternary_digit(tail));
        tail = vmulq_u8(tail, three);
    }
}

/* ---- Scales ---- */

/* Stores byte 0..3 of each row's word as scale (or min) of groups group .. group + 3. */
MLT_INLINE void place_unsigned(uint32x4_t words, int32_t (*out)[MLT_PANEL_ROWS], int group, int row)
{
    uint32x4_t byte = vdupq_n_u32(255);
    vst1q_s32(&out[group][row], vreinterpretq_s32_u32(vandq_u32(words, byte)));
    vst1q_s32(&out[group + 1][row], vreinterpretq_s32_u32(vandq_u32(vshrq_n_u32(words, 8), byte)));
    vst1q_s32(&out[group + 2][row], vreinterpretq_s32_u32(vandq_u32(vshrq_n_u32(words, 16), byte)));
    vst1q_s32(&out[group + 3][row], vreinterpretq_s32_u32(vshrq_n_u32(words, 24)));
}

MLT_INLINE void place_signed(int32x4_t words, int32_t (*out)[MLT_PANEL_ROWS], int group, int row)
{
    vst1q_s32(&out[group][row], vshrq_n_s32(vshlq_n_s32(words, 24), 24));
    vst1q_s32(&out[group + 1][row], vshrq_n_s32(vshlq_n_s32(words, 16), 24));
    vst1q_s32(&out[group + 2][row], vshrq_n_s32(vshlq_n_s32(words, 8), 24));
    vst1q_s32(&out[group + 3][row], vshrq_n_s32(words, 24));
}

MLT_INLINE uint32x4_t masked(uint32x4_t words, uint32_t mask)
{
    return vandq_u32(words, vdupq_n_u32(mask));
}

/* Four bits of one byte and two of another make a 6-bit number; `high` has its two bits at 4 and 5 already.
 */
MLT_INLINE uint32x4_t six_bits(uint32x4_t low, uint32x4_t high)
{
    return vorrq_u32(masked(low, 0x0f0f0f0f), masked(high, 0x30303030));
}

/* Q4_K and Q5_K: eight scales and eight mins of 6 bits; the first four of each whole, the rest in halves. */
MLT_INLINE void place_scales_k4(const uint8_t *const b[MLT_UNPACK_ROWS], int offset, struct mlt_panel *panel,
                                int row)
{
    uint32x4_t s = mlt_words4(b, offset), m = mlt_words4(b, offset + 4), rest = mlt_words4(b, offset + 8);
    place_unsigned(masked(s, 0x3f3f3f3f), panel->scale, 0, row);
    place_unsigned(six_bits(rest, vshrq_n_u32(s, 2)), panel->scale, 4, row);
    place_unsigned(masked(m, 0x3f3f3f3f), panel->min, 0, row);
    place_unsigned(six_bits(vshrq_n_u32(rest, 4), vshrq_n_u32(m, 2)), panel->min, 4, row);
}

MLT_INLINE void place_scales_q2_K(const uint8_t *const b[MLT_UNPACK_ROWS], struct mlt_panel *panel, int row)
{
    struct mlt_words words = mlt_load_words(b, offsetof(struct mlt_block_q2_K, scales));
    for (int w = 0; w < 4; w++) {
        place_unsigned(vreinterpretq_u32_u8(mlt_low_nibbles(words.v[w])), panel->scale, 4 * w, row);
        place_unsigned(vreinterpretq_u32_u8(mlt_high_nibbles(words.v[w])), panel->min, 4 * w, row);
    }
}

MLT_INLINE void place_scales_q3_K(const uint8_t *const b[MLT_UNPACK_ROWS], struct mlt_panel *panel, int row)
{
    enum { SCALES = offsetof(struct mlt_block_q3_K, scales) };
    uint32x4_t first = mlt_words4(b, SCALES), second = mlt_words4(b, SCALES + 4),
               top = mlt_words4(b, SCALES + 8);
    uint32x4_t words[4] = {six_bits(first, vshlq_n_u32(top, 4)), six_bits(second, vshlq_n_u32(top, 2)),
                           six_bits(vshrq_n_u32(first, 4), top),
                           six_bits(vshrq_n_u32(second, 4), vshrq_n_u32(top, 2))};
    for (int w = 0; w < 4; w++) {
        int8x16_t centred = vsubq_s8(vreinterpretq_s8_u32(words[w]), vdupq_n_s8(32));
        place_signed(vreinterpretq_s32_s8(centred), panel->scale, 4 * w, row);
    }
}

MLT_INLINE void place_scales_q6_K(const uint8_t *const b[MLT_UNPACK_ROWS], struct mlt_panel *panel, int row)
{
    struct mlt_words words = mlt_load_words(b, offsetof(struct mlt_block_q6_K, scales));
    for (int w = 0; w < 4; w++)
        place_signed(vreinterpretq_s32_u8(words.v[w]), panel->scale, 4 * w, row);
}

MLT_INLINE void place_scales_iq4_xs(const uint8_t *const b[MLT_UNPACK_ROWS], struct mlt_panel *panel, int row)
{
    uint32x4_t low = mlt_words4(b, offsetof(struct mlt_block_iq4_xs, scales_l));
    uint32x4_t high = vdupq_n_u32(0);
    high = vsetq_lane_u32(mlt_load_u16(b[0] + offsetof(struct mlt_block_iq4_xs, scales_h)), high, 0);
    high = vsetq_lane_u32(mlt_load_u16(b[1] + offsetof(struct mlt_block_iq4_xs, scales_h)), high, 1);
    high = vsetq_lane_u32(mlt_load_u16(b[2] + offsetof(struct mlt_block_iq4_xs, scales_h)), high, 2);
    high = vsetq_lane_u32(mlt_load_u16(b[3] + offsetof(struct mlt_block_iq4_xs, scales_h)), high, 3);
    for (int g = 0; g < 8; g++) {
        uint32x4_t scale = vorrq_u32(masked(vshlq_u32(low, vdupq_n_s32(-4 * g)), 15),
                                     masked(vshlq_u32(high, vdupq_n_s32(4 - 2 * g)), 0x30));
        vst1q_s32(&panel->scale[g][row], vsubq_s32(vreinterpretq_s32_u32(scale), vdupq_n_s32(32)));
    }
}

/* The ternary types have no sub-scales. */
MLT_INLINE void place_unit_scales(struct mlt_panel *panel, int row)
{
    for (int g = 0; g < 8; g++)
        vst1q_s32(&panel->scale[g][row], vdupq_n_s32(1));
}

/* ---- The entries ---- */

MLT_INLINE void place_d(const uint8_t *const b[MLT_UNPACK_ROWS], int offset, struct mlt_panel *panel, int row)
{
    vst1q_f32(&panel->d[0][row], mlt_halves4(b, offset));
}

MLT_INLINE void place_dmin(const uint8_t *const b[MLT_UNPACK_ROWS], int offset, struct mlt_panel *panel,
                           int row)
{
    vst1q_f32(&panel->m[0][row], mlt_halves4(b, offset));
}

/* Four rows of one superblock. */
typedef void unpack_rows(const uint8_t *const b[MLT_UNPACK_ROWS], struct mlt_panel *panel, int row);

MLT_INLINE void rows_q2_K(const uint8_t *const b[MLT_UNPACK_ROWS], struct mlt_panel *panel, int row)
{
    place_q2_K(b, panel->q[0][row]);
    place_scales_q2_K(b, panel, row);
    place_d(b, offsetof(struct mlt_block_q2_K, d), panel, row);
    place_dmin(b, offsetof(struct mlt_block_q2_K, dmin), panel, row);
}

MLT_INLINE void rows_q3_K(const uint8_t *const b[MLT_UNPACK_ROWS], struct mlt_panel *panel, int row)
{
    place_q3_K(b, panel->q[0][row]);
    place_scales_q3_K(b, panel, row);
    place_d(b, offsetof(struct mlt_block_q3_K, d), panel, row);
}

MLT_INLINE void rows_q4_K(const uint8_t *const b[MLT_UNPACK_ROWS], struct mlt_panel *panel, int row)
{
    place_q4_K(b, panel->q[0][row]);
    place_scales_k4(b, offsetof(struct mlt_block_q4_K, scales), panel, row);
    place_d(b, offsetof(struct mlt_block_q4_K, d), panel, row);
    place_dmin(b, offsetof(struct mlt_block_q4_K, dmin), panel, row);
}

MLT_INLINE void rows_q5_K(const uint8_t *const b[MLT_UNPACK_ROWS], struct mlt_panel *panel, int row)
{
    place_q5_K(b, panel->q[0][row]);
    place_scales_k4(b, offsetof(struct mlt_block_q5_K, scales), panel, row);
    place_d(b, offsetof(struct mlt_block_q5_K, d), panel, row);
    place_dmin(b, offsetof(struct mlt_block_q5_K, dmin), panel, row);
}

MLT_INLINE void rows_q6_K(const uint8_t *const b[MLT_UNPACK_ROWS], struct mlt_panel *panel, int row)
{
    place_q6_K(b, panel->q[0][row]);
    place_scales_q6_K(b, panel, row);
    place_d(b, offsetof(struct mlt_block_q6_K, d), panel, row);
}

MLT_INLINE void rows_iq4_xs(const uint8_t *const b[MLT_UNPACK_ROWS], struct mlt_panel *panel, int row)
{
    place_iq4_xs(b, panel->q[0][row]);
    place_scales_iq4_xs(b, panel, row);
    place_d(b, offsetof(struct mlt_block_iq4_xs, d), panel, row);
}

MLT_INLINE void rows_tq1_0(const uint8_t *const b[MLT_UNPACK_ROWS], struct mlt_panel *panel, int row)
{
    place_tq1_0(b, panel->q[0][row]);
    place_unit_scales(panel, row);
    place_d(b, offsetof(struct mlt_block_tq1_0, d), panel, row);
}

MLT_INLINE void rows_tq2_0(const uint8_t *const b[MLT_UNPACK_ROWS], struct mlt_panel *panel, int row)
{
    place_tq2_0(b, panel->q[0][row]);
    place_unit_scales(panel, row);
    place_d(b, offsetof(struct mlt_block_tq2_0, d), panel, row);
}

MLT_INLINE void unpack_super(const uint8_t *const rows[MLT_PANEL_ROWS], int64_t column,
                             struct mlt_panel *panel, size_t block_bytes, enum mlt_panel_kind kind,
                             bool has_min, int q_low, int q_high, unpack_rows *unpack)
{
    panel->columns = MLT_QK_K;
    panel->kind = kind;
    panel->has_min = has_min;
    panel->bias = 0;
    panel->q_low = q_low;
    panel->q_high = q_high;
    size_t offset = (size_t)column / MLT_QK_K * block_bytes;
    for (int row = 0; row < MLT_PANEL_ROWS; row += MLT_UNPACK_ROWS) {
        const uint8_t *b[MLT_UNPACK_ROWS] = {rows[row] + offset, rows[row + 1] + offset,
                                             rows[row + 2] + offset, rows[row + 3] + offset};
        unpack(b, panel, row);
    }
}

#define SUPER_DTYPES(X)                                                                                      \
    X(Q2_K, q2_K, MLT_PANEL_SUPER16, true, 0, 3)                                                             \
    X(Q3_K, q3_K, MLT_PANEL_SUPER16, false, -4, 3)                                                           \
    X(Q4_K, q4_K, MLT_PANEL_SUPER32, true, 0, 15)                                                            \
    X(Q5_K, q5_K, MLT_PANEL_SUPER32, true, 0, 31)                                                            \
    X(Q6_K, q6_K, MLT_PANEL_SUPER16, false, -32, 31)                                                         \
    X(IQ4_XS, iq4_xs, MLT_PANEL_SUPER32, false, -127, 113)                                                   \
    X(TQ1_0, tq1_0, MLT_PANEL_SUPER32, false, -1, 1)                                                         \
    X(TQ2_0, tq2_0, MLT_PANEL_SUPER32, false, -1, 2)

/* A panel holds one superblock, so `columns` is always 256. */
#define UNPACK_ENTRY(name, type, kind, has_min, low, high)                                                   \
    static void unpack_##type(const uint8_t *const rows[MLT_PANEL_ROWS], int64_t column, int columns,        \
                              struct mlt_panel *panel)                                                       \
    {                                                                                                        \
        (void)columns;                                                                                       \
        unpack_super(rows, column, panel, sizeof(struct mlt_block_##type), kind, has_min, low, high,         \
                     rows_##type);                                                                           \
    }
SUPER_DTYPES(UNPACK_ENTRY)

void mlt_kernels_neon_unpack_super(struct mlt_kernels *table)
{
#define SET_ENTRY(name, type, kind, has_min, low, high) table->unpack[MLT_##name] = unpack_##type;
    SUPER_DTYPES(SET_ENTRY)
#undef SET_ENTRY
}
