/*
 * Unpackers of the types with blocks of 32, over the lanes that the including file has chosen. Layouts:
 * quant_blocks.h.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "kernels/x86/unpack_lanes.h"

enum { MAX_BLOCKS = MLT_PANEL_COLUMNS / 32 };

/* Bytes from a row's start to `field` of block `index`. */
#define FIELD(type, index, field)                                                                            \
    ((index) * (int64_t)sizeof(struct type) + (int64_t)offsetof(struct type, field))

/* Scales are collected as bits while codes are unpacked, and converted together when all have reached memory.
 */
static inline void store_halves(float out[][MLT_PANEL_ROWS], uint16_t halves[][16], int blocks)
{
    for (int b = 0; b < blocks; b++)
        vf_store(out[b], vf_load_half(halves[b]));
}

static inline void store_half_pairs(struct mlt_panel *panel, uint32_t pairs[][16], int blocks)
{
    for (int b = 0; b < blocks; b++) {
        vi dm = vi_load(pairs[b]);
        vf_store(panel->d[b], vf_from_low_half(dm));
        vf_store(panel->m[b], vf_from_high_half(dm));
    }
}

static void unpack_q4_0(const uint8_t *const rows[MLT_PANEL_ROWS], int64_t column, int columns,
                        struct mlt_panel *panel)
{
    uint16_t d[MAX_BLOCKS][16];
    int64_t first = column / 32;
    panel_begin(panel, MLT_PANEL_BLOCK32, columns, false, -8, 7);
    prefetch_rows(rows, FIELD(mlt_block_q4_0, first, d), columns / 32 * (int)sizeof(struct mlt_block_q4_0));
    for (int b = 0; b < columns / 32; b++) {
        gather16(rows, FIELD(mlt_block_q4_0, first + b, d), d[b]);
        struct vi4 v = rows_load16(rows, FIELD(mlt_block_q4_0, first + b, qs));
        store_codes(panel, 8 * b, subtract_all(low_nibbles(v), 8));
        store_codes(panel, 8 * b + 4, subtract_all(high_nibbles(v), 8));
    }
    store_halves(panel->d, d, columns / 32);
}

static void unpack_q4_1(const uint8_t *const rows[MLT_PANEL_ROWS], int64_t column, int columns,
                        struct mlt_panel *panel)
{
    uint32_t dm[MAX_BLOCKS][16];
    int64_t first = column / 32;
    panel_begin(panel, MLT_PANEL_BLOCK32, columns, true, 0, 15);
    prefetch_rows(rows, FIELD(mlt_block_q4_1, first, d), columns / 32 * (int)sizeof(struct mlt_block_q4_1));
    for (int b = 0; b < columns / 32; b++) {
        gather32(rows, FIELD(mlt_block_q4_1, first + b, d), dm[b]);
        struct vi4 v = rows_load16(rows, FIELD(mlt_block_q4_1, first + b, qs));
        store_codes(panel, 8 * b, low_nibbles(v));
        store_codes(panel, 8 * b + 4, high_nibbles(v));
    }
    store_half_pairs(panel, dm, columns / 32);
}

/* The fifth bits of 16 elements from `first` on, as 0 or 16. */
#define FIFTH_BITS(bits, first)                                                                              \
    ((struct vi4){vi_spread_bits(bits, first), vi_spread_bits(bits, (first) + 4),                            \
                  vi_spread_bits(bits, (first) + 8), vi_spread_bits(bits, (first) + 12)})

static void unpack_q5_0(const uint8_t *const rows[MLT_PANEL_ROWS], int64_t column, int columns,
                        struct mlt_panel *panel)
{
    uint16_t d[MAX_BLOCKS][16];
    uint32_t qh[MAX_BLOCKS][16];
    int64_t first = column / 32;
    panel_begin(panel, MLT_PANEL_BLOCK32, columns, false, -16, 15);
    prefetch_rows(rows, FIELD(mlt_block_q5_0, first, d), columns / 32 * (int)sizeof(struct mlt_block_q5_0));
    for (int b = 0; b < columns / 32; b++) {
        gather16(rows, FIELD(mlt_block_q5_0, first + b, d), d[b]);
        gather32(rows, FIELD(mlt_block_q5_0, first + b, qh), qh[b]);
    }
    for (int b = 0; b < columns / 32; b++) {
        vi bits = vi_load(qh[b]);
        struct vi4 v = rows_load16(rows, FIELD(mlt_block_q5_0, first + b, qs));
        store_codes(panel, 8 * b, subtract_all(or_all(low_nibbles(v), FIFTH_BITS(bits, 0)), 16));
        store_codes(panel, 8 * b + 4, subtract_all(or_all(high_nibbles(v), FIFTH_BITS(bits, 16)), 16));
    }
    store_halves(panel->d, d, columns / 32);
}

static void unpack_q5_1(const uint8_t *const rows[MLT_PANEL_ROWS], int64_t column, int columns,
                        struct mlt_panel *panel)
{
    uint32_t dm[MAX_BLOCKS][16], qh[MAX_BLOCKS][16];
    int64_t first = column / 32;
    panel_begin(panel, MLT_PANEL_BLOCK32, columns, true, 0, 31);
    prefetch_rows(rows, FIELD(mlt_block_q5_1, first, d), columns / 32 * (int)sizeof(struct mlt_block_q5_1));
    for (int b = 0; b < columns / 32; b++) {
        gather32(rows, FIELD(mlt_block_q5_1, first + b, d), dm[b]);
        gather32(rows, FIELD(mlt_block_q5_1, first + b, qh), qh[b]);
    }
    for (int b = 0; b < columns / 32; b++) {
        vi bits = vi_load(qh[b]);
        struct vi4 v = rows_load16(rows, FIELD(mlt_block_q5_1, first + b, qs));
        store_codes(panel, 8 * b, or_all(low_nibbles(v), FIFTH_BITS(bits, 0)));
        store_codes(panel, 8 * b + 4, or_all(high_nibbles(v), FIFTH_BITS(bits, 16)));
    }
    store_half_pairs(panel, dm, columns / 32);
}

static void unpack_q8_0(const uint8_t *const rows[MLT_PANEL_ROWS], int64_t column, int columns,
                        struct mlt_panel *panel)
{
    uint16_t d[MAX_BLOCKS][16];
    int64_t first = column / 32;
    panel_begin(panel, MLT_PANEL_BLOCK32, columns, false, -128, 127);
    prefetch_rows(rows, FIELD(mlt_block_q8_0, first, d), columns / 32 * (int)sizeof(struct mlt_block_q8_0));
    for (int b = 0; b < columns / 32; b++) {
        gather16(rows, FIELD(mlt_block_q8_0, first + b, d), d[b]);
        store_codes(panel, 8 * b, rows_load16(rows, FIELD(mlt_block_q8_0, first + b, qs)));
        store_codes(panel, 8 * b + 4, rows_load16(rows, FIELD(mlt_block_q8_0, first + b, qs[16])));
    }
    store_halves(panel->d, d, columns / 32);
}

static void unpack_iq4_nl(const uint8_t *const rows[MLT_PANEL_ROWS], int64_t column, int columns,
                          struct mlt_panel *panel)
{
    __m128i values = load_table(mlt_iq4_values);
    uint16_t d[MAX_BLOCKS][16];
    int64_t first = column / 32;
    panel_begin(panel, MLT_PANEL_BLOCK32, columns, false, -127, 113);
    prefetch_rows(rows, FIELD(mlt_block_iq4_nl, first, d),
                  columns / 32 * (int)sizeof(struct mlt_block_iq4_nl));
    for (int b = 0; b < columns / 32; b++) {
        gather16(rows, FIELD(mlt_block_iq4_nl, first + b, d), d[b]);
        struct vi4 v = rows_load16(rows, FIELD(mlt_block_iq4_nl, first + b, qs));
        store_codes(panel, 8 * b, lookup_all(values, low_nibbles(v)));
        store_codes(panel, 8 * b + 4, lookup_all(values, high_nibbles(v)));
    }
    store_halves(panel->d, d, columns / 32);
}

static void unpack_mxfp4(const uint8_t *const rows[MLT_PANEL_ROWS], int64_t column, int columns,
                         struct mlt_panel *panel)
{
    __m128i values = load_table(mlt_e2m1_doubled);
    uint32_t e[MAX_BLOCKS][16];
    int64_t first = column / 32;
    panel_begin(panel, MLT_PANEL_BLOCK32, columns, false, -12, 12);
    prefetch_rows(rows, FIELD(mlt_block_mxfp4, first, e), columns / 32 * (int)sizeof(struct mlt_block_mxfp4));
    for (int b = 0; b < columns / 32; b++) {
        for (int r = 0; r < MLT_PANEL_ROWS; r++)
            e[b][r] = rows[r][FIELD(mlt_block_mxfp4, first + b, e)];
        struct vi4 v = rows_load16(rows, FIELD(mlt_block_mxfp4, first + b, qs));
        store_codes(panel, 8 * b, lookup_all(values, low_nibbles(v)));
        store_codes(panel, 8 * b + 4, lookup_all(values, high_nibbles(v)));
    }
    /* d = 2^(e - 128) as the product of two normal powers of two, since it may be subnormal. */
    for (int b = 0; b < columns / 32; b++) {
        vi exponent = vi_load(e[b]), bias = vi_set32(127 - 64);
        vi half = vi_shr32(exponent, 1), rest = vi_sub32(exponent, half);
        vf_store(panel->d[b], vf_mul(vf_as_bits(vi_shl32(vi_add32(half, bias), 23)),
                                     vf_as_bits(vi_shl32(vi_add32(rest, bias), 23))));
    }
}

static inline void set_unpack32(struct mlt_kernels *table)
{
    table->unpack[MLT_Q4_0] = unpack_q4_0;
    table->unpack[MLT_Q4_1] = unpack_q4_1;
    table->unpack[MLT_Q5_0] = unpack_q5_0;
    table->unpack[MLT_Q5_1] = unpack_q5_1;
    table->unpack[MLT_Q8_0] = unpack_q8_0;
    table->unpack[MLT_IQ4_NL] = unpack_iq4_nl;
    table->unpack[MLT_MXFP4] = unpack_mxfp4;
}

#undef FIFTH_BITS
#undef FIELD
