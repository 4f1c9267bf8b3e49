/*
 * The layouts with superblocks of 256 (quant_blocks.h), and their kernels, over the lanes that the including
 * file has chosen: the superblock at `column`.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "kernels/x86/sink_lanes.h"

#define LAYOUT(name)                                                                                         \
    INLINE void layout_##name(struct rows rows, int64_t column, int columns, struct sink *sink)

/* Bytes from a row's start to `field` of block `index`. */
#define FIELD(type, index, field)                                                                            \
    ((index) * (int64_t)sizeof(struct type) + (int64_t)offsetof(struct type, field))

/* The four bytes of each lane, as four rows of unsigned (signed) integers. */
INLINE void store_bytes(int32_t (*out)[MLT_PANEL_ROWS], vi v)
{
    vi mask = vi_set32(0xff);
    vi_store(out[0], vi_and(v, mask));
    vi_store(out[1], vi_and(vi_shr32(v, 8), mask));
    vi_store(out[2], vi_and(vi_shr32(v, 16), mask));
    vi_store(out[3], vi_shr32(v, 24));
}

INLINE void store_signed_bytes(int32_t (*out)[MLT_PANEL_ROWS], vi v)
{
    vi_store(out[0], vi_sar32(vi_shl32(v, 24), 24));
    vi_store(out[1], vi_sar32(vi_shl32(v, 16), 24));
    vi_store(out[2], vi_sar32(vi_shl32(v, 8), 24));
    vi_store(out[3], vi_sar32(v, 24));
}

/* d of blocks that have it alone, at `offset`. */
INLINE void store_d(struct rows rows, int64_t offset, struct mlt_panel *panel)
{
    uint16_t d[16];
    gather16(rows, offset, d);
    vf_store(panel->d[0], vf_load_half(d));
}

/* The first sixteen bytes of Q4_K and Q5_K: d, dmin, and eight 6-bit scales and mins in twelve bytes. */
INLINE void unpack_head_k4(struct rows rows, int64_t offset, struct mlt_panel *panel)
{
    struct vi4 head = rows_load16(rows, offset);
    vi six = vi_set8(0x3f), low = vi_set8(0x0f), high = vi_set8(0x30);
    vf_store(panel->d[0], vf_from_low_half(head.a));
    vf_store(panel->m[0], vf_from_high_half(head.a));
    store_bytes(panel->scale, vi_and(head.b, six));
    store_bytes(panel->min, vi_and(head.c, six));
    store_bytes(panel->scale + 4, vi_or(vi_and(head.d, low), vi_and(vi_shr16(head.b, 2), high)));
    store_bytes(panel->min + 4, vi_or(vi_and(vi_shr16(head.d, 4), low), vi_and(vi_shr16(head.c, 2), high)));
}

LAYOUT(q4_K)
{
    struct mlt_panel *panel = sink->panel;
    int64_t block = column / MLT_PANEL_COLUMNS;
    begin(sink, MLT_PANEL_SUPER32, columns, true, 0, 15);
    prefetch_rows(rows, FIELD(mlt_block_q4_K, block, d), sizeof(struct mlt_block_q4_K));
    unpack_head_k4(rows, FIELD(mlt_block_q4_K, block, d), panel);
    for (int i = 0; i < 8; i++) { /* 16 bytes each: columns 64 * (i / 2) + 16 * (i % 2), and 32 later */
        struct vi4 v = rows_load16(rows, FIELD(mlt_block_q4_K, block, qs) + 16 * i);
        int quad = i / 2 * 16 + i % 2 * 4;
        put_codes(sink, quad, low_nibbles(v), 0, 15, quad / 8);
        put_codes(sink, quad + 8, high_nibbles(v), 0, 15, (quad + 8) / 8);
    }
}

LAYOUT(q5_K)
{
    struct mlt_panel *panel = sink->panel;
    int64_t block = column / MLT_PANEL_COLUMNS;
    begin(sink, MLT_PANEL_SUPER32, columns, true, 0, 31);
    prefetch_rows(rows, FIELD(mlt_block_q5_K, block, d), sizeof(struct mlt_block_q5_K));
    unpack_head_k4(rows, FIELD(mlt_block_q5_K, block, d), panel);
    for (int half = 0; half < 2; half++) {
        struct vi4 bits = rows_load16(rows, FIELD(mlt_block_q5_K, block, qh) + 16 * half);
        for (int i = 0; i < 4; i++) {
            struct vi4 v = rows_load16(rows, FIELD(mlt_block_q5_K, block, qs) + 32 * i + 16 * half);
            int quad = i * 16 + half * 4;
            put_codes(sink, quad, or_all(low_nibbles(v), and_all(SHIFT_LEFT_ALL(bits, 4), 16)), 0, 31,
                      quad / 8);
            put_codes(sink, quad + 8, or_all(high_nibbles(v), and_all(SHIFT_LEFT_ALL(bits, 3), 16)), 0, 31,
                      (quad + 8) / 8);
            bits = SHIFT_RIGHT_ALL(bits, 2);
        }
    }
}

LAYOUT(q6_K)
{
    struct mlt_panel *panel = sink->panel;
    int64_t block = column / MLT_PANEL_COLUMNS;
    begin(sink, MLT_PANEL_SUPER16, columns, false, -32, 31);
    prefetch_rows(rows, FIELD(mlt_block_q6_K, block, ql), sizeof(struct mlt_block_q6_K));
    store_d(rows, FIELD(mlt_block_q6_K, block, d), panel);
    struct vi4 scales = rows_load16(rows, FIELD(mlt_block_q6_K, block, scales));
    store_signed_bytes(panel->scale, scales.a);
    store_signed_bytes(panel->scale + 4, scales.b);
    store_signed_bytes(panel->scale + 8, scales.c);
    store_signed_bytes(panel->scale + 12, scales.d);
    for (int i = 0; i < 4; i++) { /* columns 128 * (i / 2) + 16 * (i % 2), and 32, 64 and 96 later */
        int64_t ql = FIELD(mlt_block_q6_K, block, ql) + 64 * (i / 2) + 16 * (i % 2);
        int quad = i / 2 * 32 + i % 2 * 4;
        struct vi4 bits = rows_load16(rows, FIELD(mlt_block_q6_K, block, qh) + 16 * i);
        struct vi4 v = rows_load16(rows, ql);
        put_codes(sink, quad, or_all(low_nibbles(v), and_all(SHIFT_LEFT_ALL(bits, 4), 0x30)), -32, 63,
                  quad / 4);
        put_codes(sink, quad + 16, or_all(high_nibbles(v), and_all(bits, 0x30)), -32, 63, (quad + 16) / 4);
        v = rows_load16(rows, ql + 32);
        put_codes(sink, quad + 8, or_all(low_nibbles(v), and_all(SHIFT_LEFT_ALL(bits, 2), 0x30)), -32, 63,
                  (quad + 8) / 4);
        put_codes(sink, quad + 24, or_all(high_nibbles(v), and_all(SHIFT_RIGHT_ALL(bits, 2), 0x30)), -32, 63,
                  (quad + 24) / 4);
    }
}

LAYOUT(q2_K)
{
    struct mlt_panel *panel = sink->panel;
    int64_t block = column / MLT_PANEL_COLUMNS;
    uint32_t dm[16];
    begin(sink, MLT_PANEL_SUPER16, columns, true, 0, 3);
    prefetch_rows(rows, FIELD(mlt_block_q2_K, block, scales), sizeof(struct mlt_block_q2_K));
    gather32(rows, FIELD(mlt_block_q2_K, block, d), dm);
    struct vi4 packed = rows_load16(rows, FIELD(mlt_block_q2_K, block, scales));
    struct vi4 scales = low_nibbles(packed), mins = high_nibbles(packed);
    store_bytes(panel->scale, scales.a);
    store_bytes(panel->scale + 4, scales.b);
    store_bytes(panel->scale + 8, scales.c);
    store_bytes(panel->scale + 12, scales.d);
    store_bytes(panel->min, mins.a);
    store_bytes(panel->min + 4, mins.b);
    store_bytes(panel->min + 8, mins.c);
    store_bytes(panel->min + 12, mins.d);
    for (int i = 0; i < 4; i++) {
        struct vi4 v = rows_load16(rows, FIELD(mlt_block_q2_K, block, qs) + 16 * i);
        for (int part = 0; part < 4; part++, v = SHIFT_RIGHT_ALL(v, 2))
            put_codes(sink, i / 2 * 32 + part * 8 + i % 2 * 4, and_all(v, 3), 0, 3,
                      (i / 2 * 32 + part * 8 + i % 2 * 4) / 4);
    }
    vi pairs = vi_load(dm);
    vf_store(panel->d[0], vf_from_low_half(pairs));
    vf_store(panel->m[0], vf_from_high_half(pairs));
}

/* 6-bit scales of Q3_K: their low nibbles and, in the lowest two bits of each byte of `high`, their high
 * bits. */
INLINE void store_scales_q3(int32_t (*out)[MLT_PANEL_ROWS], vi low, vi high)
{
    vi codes = vi_or(vi_and(low, vi_set8(15)), vi_and(vi_shl16(high, 4), vi_set8(0x30)));
    store_signed_bytes(out, vi_sub8(codes, vi_set8(32)));
}

LAYOUT(q3_K)
{
    struct mlt_panel *panel = sink->panel;
    int64_t block = column / MLT_PANEL_COLUMNS;
    begin(sink, MLT_PANEL_SUPER16, columns, false, -4, 3);
    prefetch_rows(rows, FIELD(mlt_block_q3_K, block, hmask), sizeof(struct mlt_block_q3_K));
    /* The block's last 16 bytes: two of codes, twelve of scales, d. */
    struct vi4 tail = rows_load16(rows, FIELD(mlt_block_q3_K, block, scales) - 2);
    vi s0 = vi_or(vi_shr32(tail.a, 16), vi_shl32(tail.b, 16));
    vi s1 = vi_or(vi_shr32(tail.b, 16), vi_shl32(tail.c, 16));
    vi s2 = vi_or(vi_shr32(tail.c, 16), vi_shl32(tail.d, 16));
    vf_store(panel->d[0], vf_from_high_half(tail.d));
    store_scales_q3(panel->scale, s0, s2);
    store_scales_q3(panel->scale + 4, s1, vi_shr16(s2, 2));
    store_scales_q3(panel->scale + 8, vi_shr16(s0, 4), vi_shr16(s2, 4));
    store_scales_q3(panel->scale + 12, vi_shr16(s1, 4), vi_shr16(s2, 6));
    for (int i = 0; i < 2; i++) {
        struct vi4 bits = rows_load16(rows, FIELD(mlt_block_q3_K, block, hmask) + 16 * i);
        for (int half = 0; half < 2; half++) {
            struct vi4 v = rows_load16(rows, FIELD(mlt_block_q3_K, block, qs) + 32 * half + 16 * i);
            for (int part = 0; part < 4; part++) {
                struct vi4 third = and_all(SHIFT_LEFT_ALL(bits, 2), 4);
                put_codes(sink, half * 32 + part * 8 + i * 4, or_all(and_all(v, 3), third), -4, 7,
                          (half * 32 + part * 8 + i * 4) / 4);
                v = SHIFT_RIGHT_ALL(v, 2);
                bits = SHIFT_RIGHT_ALL(bits, 1);
            }
        }
    }
}

LAYOUT(iq4_xs)
{
    struct mlt_panel *panel = sink->panel;
    __m128i values = load_table(mlt_iq4_values);
    int64_t block = column / MLT_PANEL_COLUMNS;
    begin(sink, MLT_PANEL_SUPER32, columns, false, -127, 113);
    prefetch_rows(rows, FIELD(mlt_block_iq4_xs, block, d), sizeof(struct mlt_block_iq4_xs));
    struct vi4 head = rows_load16(rows, FIELD(mlt_block_iq4_xs, block, d));
    vi low = head.b, high = vi_shr32(head.a, 16); /* four bits and two bits a group */
    vf_store(panel->d[0], vf_from_low_half(head.a));
    for (int g = 0; g < 8; g++) {
        vi code = vi_or(vi_and(low, vi_set32(15)), vi_shl32(vi_and(high, vi_set32(3)), 4));
        vi_store(panel->scale[g], vi_sub32(code, vi_set32(32)));
        low = vi_shr32(low, 4);
        high = vi_shr32(high, 2);
        struct vi4 v = rows_load16(rows, FIELD(mlt_block_iq4_xs, block, qs) + 16 * g);
        put_signed_codes(sink, 8 * g, lookup_all(values, low_nibbles(v)), (8 * g) / 8);
        put_signed_codes(sink, 8 * g + 4, lookup_all(values, high_nibbles(v)), (8 * g + 4) / 8);
    }
}

INLINE void store_unit_scales(struct sink *sink)
{
    struct mlt_panel *panel = sink->panel;
    if (sink->direct) return;
    for (int g = 0; g < 8; g++)
        vi_store(panel->scale[g], vi_set32(1));
}

LAYOUT(tq2_0)
{
    struct mlt_panel *panel = sink->panel;
    int64_t block = column / MLT_PANEL_COLUMNS;
    begin(sink, MLT_PANEL_SUPER32, columns, false, -1, 2);
    prefetch_rows(rows, FIELD(mlt_block_tq2_0, block, qs), sizeof(struct mlt_block_tq2_0));
    store_d(rows, FIELD(mlt_block_tq2_0, block, d), panel);
    store_unit_scales(sink);
    for (int i = 0; i < 4; i++) {
        struct vi4 v = rows_load16(rows, FIELD(mlt_block_tq2_0, block, qs) + 16 * i);
        for (int part = 0; part < 4; part++, v = SHIFT_RIGHT_ALL(v, 2))
            put_codes(sink, i / 2 * 32 + part * 8 + i % 2 * 4, and_all(v, 3), -1, 3, NO_GROUP);
    }
}

/* Bytes that hold base-3 digits, as 16-bit numbers: the even bytes and the odd ones. */
struct digits {
    vi even, odd;
};

INLINE struct digits digits_of(vi packed)
{
    return (struct digits){vi_and(packed, vi_set16(0xff)), vi_shr16(packed, 8)};
}

/* Three times a byte: the digit comes out on top, the rest stays below. */
INLINE vi next_digits(struct digits *digits)
{
    vi low = vi_set16(0xff);
    vi even = vi_add16(vi_add16(digits->even, digits->even), digits->even);
    vi odd = vi_add16(vi_add16(digits->odd, digits->odd), digits->odd);
    digits->even = vi_and(even, low);
    digits->odd = vi_and(odd, low);
    return vi_or(vi_shr16(even, 8), vi_and(odd, vi_set16(0xff00)));
}

LAYOUT(tq1_0)
{
    struct mlt_panel *panel = sink->panel;
    int64_t block = column / MLT_PANEL_COLUMNS;
    uint32_t qh[16];
    begin(sink, MLT_PANEL_SUPER32, columns, false, -1, 1);
    prefetch_rows(rows, FIELD(mlt_block_tq1_0, block, qs), sizeof(struct mlt_block_tq1_0));
    gather32(rows, FIELD(mlt_block_tq1_0, block, qh), qh);
    store_d(rows, FIELD(mlt_block_tq1_0, block, d), panel);
    store_unit_scales(sink);
    for (int i = 0; i < 3; i++) { /* bytes 0 to 31 hold columns from 0 on, 32 to 47 those from 160 on */
        struct vi4 v = rows_load16(rows, FIELD(mlt_block_tq1_0, block, qs) + 16 * i);
        struct digits a = digits_of(v.a), b = digits_of(v.b), c = digits_of(v.c), d = digits_of(v.d);
        int quad = i < 2 ? 4 * i : 40, step = i < 2 ? 8 : 4;
        for (int digit = 0; digit < 5; digit++, quad += step) {
            struct vi4 digits = {next_digits(&a), next_digits(&b), next_digits(&c), next_digits(&d)};
            put_codes(sink, quad, digits, -1, 2, NO_GROUP);
        }
    }
    struct digits last = digits_of(vi_load(qh));
    vi q60 = next_digits(&last), q61 = next_digits(&last), q62 = next_digits(&last);
    put_codes(sink, 60, (struct vi4){q60, q61, q62, next_digits(&last)}, -1, 2, NO_GROUP);
}

#define KERNELS256(X)                                                                                        \
    X(Q2_K, q2_K, 16, true)                                                                                  \
    X(Q3_K, q3_K, 16, false)                                                                                 \
    X(Q4_K, q4_K, 8, true)                                                                                   \
    X(Q5_K, q5_K, 8, true)                                                                                   \
    X(Q6_K, q6_K, 16, false)                                                                                 \
    X(IQ4_XS, iq4_xs, 8, false)                                                                              \
    X(TQ1_0, tq1_0, UNSCALED, false)                                                                         \
    X(TQ2_0, tq2_0, UNSCALED, false)

#define UNPACK_KERNEL(dtype, name, groups, has_min)                                                          \
    static inline void unpack_##name(const uint8_t *const rows[MLT_PANEL_ROWS], int64_t column, int columns, \
                                     struct mlt_panel *panel)                                                \
    {                                                                                                        \
        struct sink sink = {.panel = panel, .direct = false, .tokens = 0};                                   \
        layout_##name(rows_by_pointers(rows), column, columns, &sink);                                       \
    }
KERNELS256(UNPACK_KERNEL)
#undef UNPACK_KERNEL

#define ROWS_KERNEL(dtype, name, groups, has_min)                                                            \
    INLINE void product_##name(const int tile, struct rows rows, const struct mlt_act *act, int64_t token,   \
                               int tokens, float *y, int64_t ld)                                             \
    {                                                                                                        \
        struct mlt_panel panel;                                                                              \
        vf sum[MLT_FEW_TOKENS];                                                                              \
        for (int t = 0; t < tile; t++)                                                                       \
            sum[t] = vf_set(0.0f);                                                                           \
        for (int64_t column = 0; column < act->columns; column += MLT_PANEL_COLUMNS) {                       \
            struct sink sink = {.panel = &panel, .direct = true, .tokens = tile};                            \
            for (int t = 0; t < tile; t++)                                                                   \
                sink.x[t] = act->q + (token + MLT_MIN(t, tokens - 1)) * act->columns + column;               \
            layout_##name(rows, column, MLT_PANEL_COLUMNS, &sink);                                           \
            for (int t = 0; t < tile; t++)                                                                   \
                sum[t] = add_super(                                                                          \
                    sum[t], &sink, t, groups, has_min,                                                       \
                    act->d[((token + MLT_MIN(t, tokens - 1)) * act->columns + column) / MLT_PANEL_COLUMNS],  \
                    act->sums + ((token + MLT_MIN(t, tokens - 1)) * act->columns + column) / 16);            \
        }                                                                                                    \
        for (int t = 0; t < tile && t < tokens; t++)                                                         \
            vf_store(y + t * ld, sum[t]);                                                                    \
    }                                                                                                        \
    ROWS_KERNELS(name)
KERNELS256(ROWS_KERNEL)
#undef ROWS_KERNEL

static inline void set_unpack256(struct mlt_kernels *table)
{
#define SET(dtype, name, groups, has_min) table->unpack[MLT_##dtype] = unpack_##name;
    KERNELS256(SET)
#undef SET
}

static inline void set_rows256(struct mlt_kernels *table)
{
#define SET(dtype, name, groups, has_min) SET_ROWS(dtype, name)
    KERNELS256(SET)
#undef SET
}

#undef KERNELS256
#undef LAYOUT
#undef FIELD
