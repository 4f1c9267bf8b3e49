/*
 * Unpackers of the types with superblocks of 256, over the lanes that the including file has chosen. Layouts:
 * quant_blocks.h.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "kernels/x86/unpack_lanes.h"

/* Bytes from a row's start to `field` of block `index`. */
#define FIELD(type, index, field)                                                                            \
    ((index) * (int64_t)sizeof(struct type) + (int64_t)offsetof(struct type, field))

/* The four bytes of each lane, as four rows of unsigned (signed) integers. */
static inline void store_bytes(int32_t (*out)[MLT_PANEL_ROWS], vi v)
{
    vi mask = vi_set32(0xff);
    vi_store(out[0], vi_and(v, mask));
    vi_store(out[1], vi_and(vi_shr32(v, 8), mask));
    vi_store(out[2], vi_and(vi_shr32(v, 16), mask));
    vi_store(out[3], vi_shr32(v, 24));
}

static inline void store_signed_bytes(int32_t (*out)[MLT_PANEL_ROWS], vi v)
{
    vi_store(out[0], vi_sar32(vi_shl32(v, 24), 24));
    vi_store(out[1], vi_sar32(vi_shl32(v, 16), 24));
    vi_store(out[2], vi_sar32(vi_shl32(v, 8), 24));
    vi_store(out[3], vi_sar32(v, 24));
}

/* d of blocks that have it alone, at `offset`. */
static inline void store_d(const uint8_t *const rows[MLT_PANEL_ROWS], int64_t offset, struct mlt_panel *panel)
{
    uint16_t d[16];
    gather16(rows, offset, d);
    vf_store(panel->d[0], vf_load_half(d));
}

/* The first sixteen bytes of Q4_K and Q5_K: d, dmin, and eight 6-bit scales and mins in twelve bytes. */
static inline void unpack_head_k4(const uint8_t *const rows[MLT_PANEL_ROWS], int64_t offset,
                                  struct mlt_panel *panel)
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

static void unpack_q4_K(const uint8_t *const rows[MLT_PANEL_ROWS], int64_t column, int columns,
                        struct mlt_panel *panel)
{
    int64_t block = column / MLT_PANEL_COLUMNS;
    panel_begin(panel, MLT_PANEL_SUPER32, columns, true, 0, 15);
    prefetch_rows(rows, FIELD(mlt_block_q4_K, block, d), sizeof(struct mlt_block_q4_K));
    unpack_head_k4(rows, FIELD(mlt_block_q4_K, block, d), panel);
    for (int i = 0; i < 8; i++) { /* 16 bytes each: columns 64 * (i / 2) + 16 * (i % 2), and 32 later */
        struct vi4 v = rows_load16(rows, FIELD(mlt_block_q4_K, block, qs) + 16 * i);
        int quad = i / 2 * 16 + i % 2 * 4;
        store_codes(panel, quad, low_nibbles(v));
        store_codes(panel, quad + 8, high_nibbles(v));
    }
}

static void unpack_q5_K(const uint8_t *const rows[MLT_PANEL_ROWS], int64_t column, int columns,
                        struct mlt_panel *panel)
{
    int64_t block = column / MLT_PANEL_COLUMNS;
    panel_begin(panel, MLT_PANEL_SUPER32, columns, true, 0, 31);
    prefetch_rows(rows, FIELD(mlt_block_q5_K, block, d), sizeof(struct mlt_block_q5_K));
    unpack_head_k4(rows, FIELD(mlt_block_q5_K, block, d), panel);
    for (int half = 0; half < 2; half++) {
        struct vi4 bits = rows_load16(rows, FIELD(mlt_block_q5_K, block, qh) + 16 * half);
        for (int i = 0; i < 4; i++) {
            struct vi4 v = rows_load16(rows, FIELD(mlt_block_q5_K, block, qs) + 32 * i + 16 * half);
            int quad = i * 16 + half * 4;
            store_codes(panel, quad, or_all(low_nibbles(v), and_all(SHIFT_LEFT_ALL(bits, 4), 16)));
            store_codes(panel, quad + 8, or_all(high_nibbles(v), and_all(SHIFT_LEFT_ALL(bits, 3), 16)));
            bits = SHIFT_RIGHT_ALL(bits, 2);
        }
    }
}

static void unpack_q6_K(const uint8_t *const rows[MLT_PANEL_ROWS], int64_t column, int columns,
                        struct mlt_panel *panel)
{
    int64_t block = column / MLT_PANEL_COLUMNS;
    panel_begin(panel, MLT_PANEL_SUPER16, columns, false, -32, 31);
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
        struct vi4 v = rows_load16(rows, ql), w = rows_load16(rows, ql + 32);
        struct vi4 q0 = or_all(low_nibbles(v), and_all(SHIFT_LEFT_ALL(bits, 4), 0x30));
        struct vi4 q1 = or_all(low_nibbles(w), and_all(SHIFT_LEFT_ALL(bits, 2), 0x30));
        struct vi4 q2 = or_all(high_nibbles(v), and_all(bits, 0x30));
        struct vi4 q3 = or_all(high_nibbles(w), and_all(SHIFT_RIGHT_ALL(bits, 2), 0x30));
        store_codes(panel, quad, subtract_all(q0, 32));
        store_codes(panel, quad + 8, subtract_all(q1, 32));
        store_codes(panel, quad + 16, subtract_all(q2, 32));
        store_codes(panel, quad + 24, subtract_all(q3, 32));
    }
}

static void unpack_q2_K(const uint8_t *const rows[MLT_PANEL_ROWS], int64_t column, int columns,
                        struct mlt_panel *panel)
{
    int64_t block = column / MLT_PANEL_COLUMNS;
    uint32_t dm[16];
    panel_begin(panel, MLT_PANEL_SUPER16, columns, true, 0, 3);
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
            store_codes(panel, i / 2 * 32 + part * 8 + i % 2 * 4, and_all(v, 3));
    }
    vi pairs = vi_load(dm);
    vf_store(panel->d[0], vf_from_low_half(pairs));
    vf_store(panel->m[0], vf_from_high_half(pairs));
}

/* 6-bit scales of Q3_K: their low nibbles and, in the lowest two bits of each byte of `high`, their high
 * bits. */
static inline void store_scales_q3(int32_t (*out)[MLT_PANEL_ROWS], vi low, vi high)
{
    vi codes = vi_or(vi_and(low, vi_set8(15)), vi_and(vi_shl16(high, 4), vi_set8(0x30)));
    store_signed_bytes(out, vi_sub8(codes, vi_set8(32)));
}

static void unpack_q3_K(const uint8_t *const rows[MLT_PANEL_ROWS], int64_t column, int columns,
                        struct mlt_panel *panel)
{
    int64_t block = column / MLT_PANEL_COLUMNS;
    panel_begin(panel, MLT_PANEL_SUPER16, columns, false, -4, 3);
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
                store_codes(panel, half * 32 + part * 8 + i * 4,
                            subtract_all(or_all(and_all(v, 3), third), 4));
                v = SHIFT_RIGHT_ALL(v, 2);
                bits = SHIFT_RIGHT_ALL(bits, 1);
            }
        }
    }
}

static void unpack_iq4_xs(const uint8_t *const rows[MLT_PANEL_ROWS], int64_t column, int columns,
                          struct mlt_panel *panel)
{
    __m128i values = load_table(mlt_iq4_values);
    int64_t block = column / MLT_PANEL_COLUMNS;
    panel_begin(panel, MLT_PANEL_SUPER32, columns, false, -127, 113);
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
        store_codes(panel, 8 * g, lookup_all(values, low_nibbles(v)));
        store_codes(panel, 8 * g + 4, lookup_all(values, high_nibbles(v)));
    }
}

static inline void store_unit_scales(struct mlt_panel *panel)
{
    for (int g = 0; g < 8; g++)
        vi_store(panel->scale[g], vi_set32(1));
}

static void unpack_tq2_0(const uint8_t *const rows[MLT_PANEL_ROWS], int64_t column, int columns,
                         struct mlt_panel *panel)
{
    int64_t block = column / MLT_PANEL_COLUMNS;
    panel_begin(panel, MLT_PANEL_SUPER32, columns, false, -1, 2);
    prefetch_rows(rows, FIELD(mlt_block_tq2_0, block, qs), sizeof(struct mlt_block_tq2_0));
    store_d(rows, FIELD(mlt_block_tq2_0, block, d), panel);
    store_unit_scales(panel);
    for (int i = 0; i < 4; i++) {
        struct vi4 v = rows_load16(rows, FIELD(mlt_block_tq2_0, block, qs) + 16 * i);
        for (int part = 0; part < 4; part++, v = SHIFT_RIGHT_ALL(v, 2))
            store_codes(panel, i / 2 * 32 + part * 8 + i % 2 * 4, subtract_all(and_all(v, 3), 1));
    }
}

/* Bytes that hold base-3 digits, as 16-bit numbers: the even bytes and the odd ones. */
struct digits {
    vi even, odd;
};

static inline struct digits digits_of(vi packed)
{
    return (struct digits){vi_and(packed, vi_set16(0xff)), vi_shr16(packed, 8)};
}

/* Three times a byte: the digit comes out on top, the rest stays below. */
static inline vi next_digits(struct digits *digits)
{
    vi low = vi_set16(0xff);
    vi even = vi_add16(vi_add16(digits->even, digits->even), digits->even);
    vi odd = vi_add16(vi_add16(digits->odd, digits->odd), digits->odd);
    digits->even = vi_and(even, low);
    digits->odd = vi_and(odd, low);
    return vi_sub8(vi_or(vi_shr16(even, 8), vi_and(odd, vi_set16(0xff00))), vi_set8(1));
}

static void unpack_tq1_0(const uint8_t *const rows[MLT_PANEL_ROWS], int64_t column, int columns,
                         struct mlt_panel *panel)
{
    int64_t block = column / MLT_PANEL_COLUMNS;
    uint32_t qh[16];
    panel_begin(panel, MLT_PANEL_SUPER32, columns, false, -1, 1);
    prefetch_rows(rows, FIELD(mlt_block_tq1_0, block, qs), sizeof(struct mlt_block_tq1_0));
    gather32(rows, FIELD(mlt_block_tq1_0, block, qh), qh);
    store_d(rows, FIELD(mlt_block_tq1_0, block, d), panel);
    store_unit_scales(panel);
    for (int i = 0; i < 3; i++) { /* bytes 0 to 31 hold columns from 0 on, 32 to 47 those from 160 on */
        struct vi4 v = rows_load16(rows, FIELD(mlt_block_tq1_0, block, qs) + 16 * i);
        struct digits a = digits_of(v.a), b = digits_of(v.b), c = digits_of(v.c), d = digits_of(v.d);
        int quad = i < 2 ? 4 * i : 40, step = i < 2 ? 8 : 4;
        for (int digit = 0; digit < 5; digit++, quad += step) {
            vi_store(panel->q[quad], next_digits(&a));
            vi_store(panel->q[quad + 1], next_digits(&b));
            vi_store(panel->q[quad + 2], next_digits(&c));
            vi_store(panel->q[quad + 3], next_digits(&d));
        }
    }
    struct digits last = digits_of(vi_load(qh));
    for (int quad = 60; quad < 64; quad++)
        vi_store(panel->q[quad], next_digits(&last));
}

static inline void set_unpack256(struct mlt_kernels *table)
{
    table->unpack[MLT_Q2_K] = unpack_q2_K;
    table->unpack[MLT_Q3_K] = unpack_q3_K;
    table->unpack[MLT_Q4_K] = unpack_q4_K;
    table->unpack[MLT_Q5_K] = unpack_q5_K;
    table->unpack[MLT_Q6_K] = unpack_q6_K;
    table->unpack[MLT_IQ4_XS] = unpack_iq4_xs;
    table->unpack[MLT_TQ1_0] = unpack_tq1_0;
    table->unpack[MLT_TQ2_0] = unpack_tq2_0;
}

#undef FIELD
