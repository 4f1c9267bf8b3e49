/*
 * Unpacking blocks of 32 to panels. Byte layouts: tensor/quant_blocks.h.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "kernels/arm/unpack_neon.h"

#include "tensor/quant_blocks.h"

#include <stddef.h>

/* Places the codes of one block of four rows. */
typedef void place_codes(const uint8_t *const b[MLT_UNPACK_ROWS], int8_t *out);
typedef float32x4_t read_scales(const uint8_t *const b[MLT_UNPACK_ROWS]);

/* Inlined into each dtype's entry; read_m is NULL where the dtype has no m. */
MLT_INLINE void unpack_block32(const uint8_t *const rows[MLT_PANEL_ROWS], int64_t column, int columns,
                               struct mlt_panel *panel, size_t block_bytes, place_codes *place,
                               read_scales *read_d, read_scales *read_m, int q_low, int q_high)
{
    panel->columns = columns;
    panel->kind = MLT_PANEL_BLOCK32;
    panel->has_min = read_m != NULL;
    panel->bias = 0;
    panel->q_low = q_low;
    panel->q_high = q_high;
    size_t offset = (size_t)column / 32 * block_bytes;
    for (int row = 0; row < MLT_PANEL_ROWS; row += MLT_UNPACK_ROWS) {
        const uint8_t *b[MLT_UNPACK_ROWS] = {rows[row] + offset, rows[row + 1] + offset,
                                             rows[row + 2] + offset, rows[row + 3] + offset};
        for (int i = 0; i < columns / 32; i++) {
            place(b, panel->q[8 * i][row]);
            vst1q_f32(&panel->d[i][row], read_d(b));
            if (read_m) vst1q_f32(&panel->m[i][row], read_m(b));
            for (int r = 0; r < MLT_UNPACK_ROWS; r++)
                b[r] += block_bytes;
        }
    }
}

/* d is the first field of every block here but MXFP4's, m the second. */
MLT_INLINE float32x4_t read_first(const uint8_t *const b[MLT_UNPACK_ROWS])
{
    return mlt_halves4(b, 0);
}

MLT_INLINE float32x4_t read_second(const uint8_t *const b[MLT_UNPACK_ROWS])
{
    return mlt_halves4(b, 2);
}

/* 4-bit codes, the block's low half first, minus `offset`. */
MLT_INLINE void place_nibbles(const uint8_t *const b[MLT_UNPACK_ROWS], int qs, uint8_t offset, int8_t *out)
{
    struct mlt_words words = mlt_load_words(b, qs);
    uint8x16_t minus = vdupq_n_u8(offset);
    for (int i = 0; i < 4; i++) {
        mlt_place(out, 4 * i, vsubq_u8(mlt_low_nibbles(words.v[i]), minus));
        mlt_place(out, 16 + 4 * i, vsubq_u8(mlt_high_nibbles(words.v[i]), minus));
    }
}

/* The same as indices of sixteen values. */
MLT_INLINE void place_values(const uint8_t *const b[MLT_UNPACK_ROWS], int qs, const int8_t values[16],
                             int8_t *out)
{
    struct mlt_words words = mlt_load_words(b, qs);
    uint8x16_t table = vreinterpretq_u8_s8(vld1q_s8(values));
    for (int i = 0; i < 4; i++) {
        mlt_place(out, 4 * i, vqtbl1q_u8(table, mlt_low_nibbles(words.v[i])));
        mlt_place(out, 16 + 4 * i, vqtbl1q_u8(table, mlt_high_nibbles(words.v[i])));
    }
}

/*
 * 16 where an element's fifth bit is set, for elements 4 i .. 4 i + 3 of each row: lane r of `qh` has the 32
 * bits of row r.
 */
MLT_INLINE uint8x16_t fifth_bits(uint8x16_t qh, int i)
{
    /* Byte i / 2 of every lane four times; its low or high four bits. */
    static const uint8_t bytes[16] = {0, 0, 0, 0, 4, 4, 4, 4, 8, 8, 8, 8, 12, 12, 12, 12};
    const uint32_t masks = i % 2 ? 0x80402010 : 0x08040201;
    uint8x16_t index = vaddq_u8(vld1q_u8(bytes), vdupq_n_u8((uint8_t)(i / 2)));
    uint8x16_t set = vtstq_u8(vqtbl1q_u8(qh, index), vreinterpretq_u8_u32(vdupq_n_u32(masks)));
    return vandq_u8(set, vdupq_n_u8(16));
}

/* 5-bit codes, the block's low half first, minus `offset`. */
MLT_INLINE void place_five_bits(const uint8_t *const b[MLT_UNPACK_ROWS], int qs, int qh, uint8_t offset,
                                int8_t *out)
{
    struct mlt_words words = mlt_load_words(b, qs);
    uint8x16_t fifths = vreinterpretq_u8_u32(mlt_words4(b, qh)), minus = vdupq_n_u8(offset);
    for (int i = 0; i < 4; i++) {
        uint8x16_t low = vorrq_u8(mlt_low_nibbles(words.v[i]), fifth_bits(fifths, i));
        uint8x16_t high = vorrq_u8(mlt_high_nibbles(words.v[i]), fifth_bits(fifths, i + 4));
        mlt_place(out, 4 * i, vsubq_u8(low, minus));
        mlt_place(out, 16 + 4 * i, vsubq_u8(high, minus));
    }
}

#define PLACE(type) MLT_INLINE void place_##type(const uint8_t *const b[MLT_UNPACK_ROWS], int8_t *out)

PLACE(q4_0)
{
    place_nibbles(b, offsetof(struct mlt_block_q4_0, qs), 8, out);
}

PLACE(q4_1)
{
    place_nibbles(b, offsetof(struct mlt_block_q4_1, qs), 0, out);
}

PLACE(q5_0)
{
    place_five_bits(b, offsetof(struct mlt_block_q5_0, qs), offsetof(struct mlt_block_q5_0, qh), 16, out);
}

PLACE(q5_1)
{
    place_five_bits(b, offsetof(struct mlt_block_q5_1, qs), offsetof(struct mlt_block_q5_1, qh), 0, out);
}

PLACE(q8_0)
{
    for (int half = 0; half < 2; half++) {
        struct mlt_words words = mlt_load_words(b, (int)offsetof(struct mlt_block_q8_0, qs) + 16 * half);
        for (int i = 0; i < 4; i++)
            mlt_place(out, 16 * half + 4 * i, words.v[i]);
    }
}

PLACE(iq4_nl)
{
    place_values(b, offsetof(struct mlt_block_iq4_nl, qs), mlt_iq4_values, out);
}

PLACE(mxfp4)
{
    place_values(b, offsetof(struct mlt_block_mxfp4, qs), mlt_e2m1_doubled, out);
}

#define UNPACK_ENTRY(name, type, read_d, read_m, low, high)                                                  \
    static void unpack_##type(const uint8_t *const rows[MLT_PANEL_ROWS], int64_t column, int columns,        \
                              struct mlt_panel *panel)                                                       \
    {                                                                                                        \
        unpack_block32(rows, column, columns, panel, sizeof(struct mlt_block_##type), place_##type, read_d,  \
                       read_m, low, high);                                                                   \
    }

#define BLOCK32_DTYPES(X)                                                                                    \
    X(Q4_0, q4_0, read_first, NULL, -8, 7)                                                                   \
    X(Q4_1, q4_1, read_first, read_second, 0, 15)                                                            \
    X(Q5_0, q5_0, read_first, NULL, -16, 15)                                                                 \
    X(Q5_1, q5_1, read_first, read_second, 0, 31)                                                            \
    X(Q8_0, q8_0, read_first, NULL, -128, 127)                                                               \
    X(IQ4_NL, iq4_nl, read_first, NULL, -127, 113)                                                           \
    X(MXFP4, mxfp4, mlt_exponents4, NULL, -12, 12)

BLOCK32_DTYPES(UNPACK_ENTRY)

void mlt_kernels_neon_unpack(struct mlt_kernels *table)
{
#define SET_ENTRY(name, type, read_d, read_m, low, high) table->unpack[MLT_##name] = unpack_##type;
    BLOCK32_DTYPES(SET_ENTRY)
#undef SET_ENTRY
}
