/*
 * The layouts with blocks of 32 (quant_blocks.h), and their kernels, over the lanes that the including file
 * has chosen: `columns` columns from `column` on, which are in the same panel.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "kernels/x86/sink_lanes.h"

enum { MAX_BLOCKS = MLT_PANEL_COLUMNS / 32 };

#define LAYOUT(name)                                                                                         \
    INLINE void layout_##name(struct rows rows, int64_t column, int columns, struct sink *sink)

/* Bytes from a row's start to `field` of block `index`. */
#define FIELD(type, index, field)                                                                            \
    ((index) * (int64_t)sizeof(struct type) + (int64_t)offsetof(struct type, field))

/* Scales are collected as bits while codes are unpacked, and converted together when all have reached memory.
 */
INLINE void store_halves(float out[][MLT_PANEL_ROWS], uint16_t halves[][16], int blocks)
{
    for (int b = 0; b < blocks; b++)
        vf_store(out[b], vf_load_half(halves[b]));
}

INLINE void store_half_pairs(struct mlt_panel *panel, uint32_t pairs[][16], int blocks)
{
    for (int b = 0; b < blocks; b++) {
        vi dm = vi_load(pairs[b]);
        vf_store(panel->d[b], vf_from_low_half(dm));
        vf_store(panel->m[b], vf_from_high_half(dm));
    }
}

LAYOUT(q4_0)
{
    uint16_t d[MAX_BLOCKS][16];
    int64_t first = column / 32;
    begin(sink, MLT_PANEL_BLOCK32, columns, false, -8, 7);
    prefetch_rows(rows, FIELD(mlt_block_q4_0, first, d), columns / 32 * (int)sizeof(struct mlt_block_q4_0));
    for (int b = 0; b < columns / 32; b++) {
        gather16(rows, FIELD(mlt_block_q4_0, first + b, d), d[b]);
        struct vi4 v = rows_load16(rows, FIELD(mlt_block_q4_0, first + b, qs));
        put_codes(sink, 8 * b, low_nibbles(v), -8, 15, NO_GROUP);
        put_codes(sink, 8 * b + 4, high_nibbles(v), -8, 15, NO_GROUP);
        end_block(sink, b);
    }
    store_halves(sink->panel->d, d, columns / 32);
}

LAYOUT(q4_1)
{
    uint32_t dm[MAX_BLOCKS][16];
    int64_t first = column / 32;
    begin(sink, MLT_PANEL_BLOCK32, columns, true, 0, 15);
    prefetch_rows(rows, FIELD(mlt_block_q4_1, first, d), columns / 32 * (int)sizeof(struct mlt_block_q4_1));
    for (int b = 0; b < columns / 32; b++) {
        gather32(rows, FIELD(mlt_block_q4_1, first + b, d), dm[b]);
        struct vi4 v = rows_load16(rows, FIELD(mlt_block_q4_1, first + b, qs));
        put_codes(sink, 8 * b, low_nibbles(v), 0, 15, NO_GROUP);
        put_codes(sink, 8 * b + 4, high_nibbles(v), 0, 15, NO_GROUP);
        end_block(sink, b);
    }
    store_half_pairs(sink->panel, dm, columns / 32);
}

/* The fifth bits of 16 elements from `first` on, as 0 or 16. */
#define FIFTH_BITS(bits, first)                                                                              \
    ((struct vi4){vi_spread_bits(bits, first), vi_spread_bits(bits, (first) + 4),                            \
                  vi_spread_bits(bits, (first) + 8), vi_spread_bits(bits, (first) + 12)})

LAYOUT(q5_0)
{
    uint16_t d[MAX_BLOCKS][16];
    uint32_t qh[MAX_BLOCKS][16];
    int64_t first = column / 32;
    begin(sink, MLT_PANEL_BLOCK32, columns, false, -16, 15);
    prefetch_rows(rows, FIELD(mlt_block_q5_0, first, d), columns / 32 * (int)sizeof(struct mlt_block_q5_0));
    for (int b = 0; b < columns / 32; b++) {
        gather16(rows, FIELD(mlt_block_q5_0, first + b, d), d[b]);
        gather32(rows, FIELD(mlt_block_q5_0, first + b, qh), qh[b]);
    }
    for (int b = 0; b < columns / 32; b++) {
        vi bits = vi_load(qh[b]);
        struct vi4 v = rows_load16(rows, FIELD(mlt_block_q5_0, first + b, qs));
        put_codes(sink, 8 * b, or_all(low_nibbles(v), FIFTH_BITS(bits, 0)), -16, 31, NO_GROUP);
        put_codes(sink, 8 * b + 4, or_all(high_nibbles(v), FIFTH_BITS(bits, 16)), -16, 31, NO_GROUP);
        end_block(sink, b);
    }
    store_halves(sink->panel->d, d, columns / 32);
}

LAYOUT(q5_1)
{
    uint32_t dm[MAX_BLOCKS][16], qh[MAX_BLOCKS][16];
    int64_t first = column / 32;
    begin(sink, MLT_PANEL_BLOCK32, columns, true, 0, 31);
    prefetch_rows(rows, FIELD(mlt_block_q5_1, first, d), columns / 32 * (int)sizeof(struct mlt_block_q5_1));
    for (int b = 0; b < columns / 32; b++) {
        gather32(rows, FIELD(mlt_block_q5_1, first + b, d), dm[b]);
        gather32(rows, FIELD(mlt_block_q5_1, first + b, qh), qh[b]);
    }
    for (int b = 0; b < columns / 32; b++) {
        vi bits = vi_load(qh[b]);
        struct vi4 v = rows_load16(rows, FIELD(mlt_block_q5_1, first + b, qs));
        put_codes(sink, 8 * b, or_all(low_nibbles(v), FIFTH_BITS(bits, 0)), 0, 31, NO_GROUP);
        put_codes(sink, 8 * b + 4, or_all(high_nibbles(v), FIFTH_BITS(bits, 16)), 0, 31, NO_GROUP);
        end_block(sink, b);
    }
    store_half_pairs(sink->panel, dm, columns / 32);
}

LAYOUT(q8_0)
{
    uint16_t d[MAX_BLOCKS][16];
    int64_t first = column / 32;
    begin(sink, MLT_PANEL_BLOCK32, columns, false, -128, 127);
    prefetch_rows(rows, FIELD(mlt_block_q8_0, first, d), columns / 32 * (int)sizeof(struct mlt_block_q8_0));
    for (int b = 0; b < columns / 32; b++) {
        gather16(rows, FIELD(mlt_block_q8_0, first + b, d), d[b]);
        put_signed_codes(sink, 8 * b, rows_load16(rows, FIELD(mlt_block_q8_0, first + b, qs)), NO_GROUP);
        put_signed_codes(sink, 8 * b + 4, rows_load16(rows, FIELD(mlt_block_q8_0, first + b, qs[16])),
                         NO_GROUP);
        end_block(sink, b);
    }
    store_halves(sink->panel->d, d, columns / 32);
}

LAYOUT(iq4_nl)
{
    __m128i values = load_table(mlt_iq4_values);
    uint16_t d[MAX_BLOCKS][16];
    int64_t first = column / 32;
    begin(sink, MLT_PANEL_BLOCK32, columns, false, -127, 113);
    prefetch_rows(rows, FIELD(mlt_block_iq4_nl, first, d),
                  columns / 32 * (int)sizeof(struct mlt_block_iq4_nl));
    for (int b = 0; b < columns / 32; b++) {
        gather16(rows, FIELD(mlt_block_iq4_nl, first + b, d), d[b]);
        struct vi4 v = rows_load16(rows, FIELD(mlt_block_iq4_nl, first + b, qs));
        put_signed_codes(sink, 8 * b, lookup_all(values, low_nibbles(v)), NO_GROUP);
        put_signed_codes(sink, 8 * b + 4, lookup_all(values, high_nibbles(v)), NO_GROUP);
        end_block(sink, b);
    }
    store_halves(sink->panel->d, d, columns / 32);
}

LAYOUT(mxfp4)
{
    __m128i values = _mm_add_epi8(load_table(mlt_e2m1_doubled), _mm_set1_epi8(12)); /* 0..24 */
    uint32_t e[MAX_BLOCKS][16];
    int64_t first = column / 32;
    begin(sink, MLT_PANEL_BLOCK32, columns, false, -12, 12);
    prefetch_rows(rows, FIELD(mlt_block_mxfp4, first, e), columns / 32 * (int)sizeof(struct mlt_block_mxfp4));
    for (int b = 0; b < columns / 32; b++) {
        gather8(rows, FIELD(mlt_block_mxfp4, first + b, e), e[b]);
        struct vi4 v = rows_load16(rows, FIELD(mlt_block_mxfp4, first + b, qs));
        put_codes(sink, 8 * b, lookup_all(values, low_nibbles(v)), -12, 24, NO_GROUP);
        put_codes(sink, 8 * b + 4, lookup_all(values, high_nibbles(v)), -12, 24, NO_GROUP);
        end_block(sink, b);
    }
    /* d = 2^(e - 128) as the product of two normal powers of two, since it may be subnormal. */
    for (int b = 0; b < columns / 32; b++) {
        vi exponent = vi_load(e[b]), bias = vi_set32(127 - 64);
        vi half = vi_shr32(exponent, 1), rest = vi_sub32(exponent, half);
        vf_store(sink->panel->d[b], vf_mul(vf_as_bits(vi_shl32(vi_add32(half, bias), 23)),
                                           vf_as_bits(vi_shl32(vi_add32(rest, bias), 23))));
    }
}

#define KERNELS32(X)                                                                                         \
    X(Q4_0, q4_0, false)                                                                                     \
    X(Q4_1, q4_1, true)                                                                                      \
    X(Q5_0, q5_0, false)                                                                                     \
    X(Q5_1, q5_1, true)                                                                                      \
    X(Q8_0, q8_0, false)                                                                                     \
    X(IQ4_NL, iq4_nl, false)                                                                                 \
    X(MXFP4, mxfp4, false)

#define UNPACK_KERNEL(dtype, name, has_min)                                                                  \
    static inline void unpack_##name(const uint8_t *const rows[MLT_PANEL_ROWS], int64_t column, int columns, \
                                     struct mlt_panel *panel)                                                \
    {                                                                                                        \
        struct sink sink = {.panel = panel, .direct = false, .tokens = 0};                                   \
        layout_##name(rows_by_pointers(rows), column, columns, &sink);                                       \
    }
KERNELS32(UNPACK_KERNEL)
#undef UNPACK_KERNEL

#define ROWS_KERNEL(dtype, name, has_min)                                                                    \
    INLINE void product_##name(const int tile, struct rows rows, const struct mlt_act *act, int64_t token,   \
                               int tokens, float *y, int64_t ld)                                             \
    {                                                                                                        \
        struct mlt_panel panel;                                                                              \
        int32_t sums[MLT_FEW_TOKENS][MAX_BLOCKS][MLT_PANEL_ROWS];                                            \
        vf sum[MLT_FEW_TOKENS];                                                                              \
        for (int t = 0; t < tile; t++)                                                                       \
            sum[t] = vf_set(0.0f);                                                                           \
        for (int64_t column = 0; column < act->columns; column += MLT_PANEL_COLUMNS) {                       \
            int columns = (int)MLT_MIN(act->columns - column, MLT_PANEL_COLUMNS);                            \
            struct sink sink = {.panel = &panel, .direct = true, .tokens = tile, .sums = sums};              \
            for (int t = 0; t < tile; t++)                                                                   \
                sink.x[t] = act->q + (token + MLT_MIN(t, tokens - 1)) * act->columns + column;               \
            layout_##name(rows, column, columns, &sink);                                                     \
            for (int t = 0; t < tile; t++)                                                                   \
                sum[t] =                                                                                     \
                    add_blocks(sum[t], &sink, t, columns, has_min,                                           \
                               act->d + ((token + MLT_MIN(t, tokens - 1)) * act->columns + column) / 32,     \
                               act->sums + ((token + MLT_MIN(t, tokens - 1)) * act->columns + column) / 16); \
        }                                                                                                    \
        for (int t = 0; t < tile && t < tokens; t++)                                                         \
            vf_store(y + t * ld, sum[t]);                                                                    \
    }                                                                                                        \
    ROWS_KERNELS(name)
KERNELS32(ROWS_KERNEL)
#undef ROWS_KERNEL

static inline void set_unpack32(struct mlt_kernels *table)
{
#define SET(dtype, name, has_min) table->unpack[MLT_##dtype] = unpack_##name;
    KERNELS32(SET)
#undef SET
}

static inline void set_rows32(struct mlt_kernels *table)
{
#define SET(dtype, name, has_min) SET_ROWS(dtype, name)
    KERNELS32(SET)
#undef SET
}

#undef KERNELS32
#undef LAYOUT
#undef FIFTH_BITS
#undef FIELD
