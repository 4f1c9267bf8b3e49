/*
 * Float dot products over the lanes that the including file has chosen. Contracts: kernels.h.
 *
 * The including file defines the size of the tile that its registers hold (each 1, 2 or 4): DOT_ROWS by
 * DOT_TOKENS sums of a product of many tokens.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "kernels/x86/tile_lanes.h"

/* ---- Products of rows and tokens ---- */

/* y[t * ldy + r] = W[r] . x[t] */
struct product {
    const uint8_t *w;
    uint64_t row_bytes;
    const float *x;
    int64_t ldx, columns;
    float *y;
    int64_t ldy;
};

/* tree16 of one token's sums, one a row. */
TILE_FUNCTION store_token(vf s0, vf s1, vf s2, vf s3, int rows, float *y)
{
    store_sums(rows, add_up(rows, s0, s1, s2, s3), y);
}

/*
 * One tile of rows from `row` and tokens from `token` on. `ahead`: prefetch what comes AHEAD_BYTES later in
 * each row, or past its end in the row that will take its place.
 */
TILE_FUNCTION product_tile(mlt_dtype dtype, int rows, int tokens, const struct product *p, int64_t row,
                           int64_t token, int64_t last_token, bool ahead)
{
    enum { AHEAD_BYTES = 1024, LINE = 64 };
    const uint8_t *w[4];
    const float *x[4];
    struct tile s = empty_tile();
    int64_t whole = p->columns / 16 * 16, k = 0;
    vm part = vm_first(p->columns % 16);
    for (int i = 0; i < 4; i++) {
        w[i] = p->w + (uint64_t)(row + MLT_MIN(i, rows - 1)) * p->row_bytes;
        x[i] = p->x + MLT_MIN(token + MLT_MIN(i, tokens - 1), last_token) * p->ldx;
    }
    uintptr_t length = (uintptr_t)(p->columns * element_size(dtype)),
              next_row = (uintptr_t)rows * p->row_bytes;
    uintptr_t at = AHEAD_BYTES % length, shift = AHEAD_BYTES / length * next_row;
    for (; k < whole; k += 16) {
        if (ahead && k * element_size(dtype) % LINE == 0) {
            for (int i = 0; i < rows; i++)
                prefetch((uintptr_t)w[i] + shift + at);
            at += LINE;
            if (at >= length) {
                at -= length;
                shift += next_row;
            }
        }
        step_tile(&s, dtype, rows, tokens, w, x, k, true, part);
    }
    if (k < p->columns) step_tile(&s, dtype, rows, tokens, w, x, k, false, part);
    float *y = p->y + row;
    store_token(s.s00, s.s10, s.s20, s.s30, rows, y + token * p->ldy);
    if (tokens > 1)
        store_token(s.s01, s.s11, s.s21, s.s31, rows, y + MLT_MIN(token + 1, last_token) * p->ldy);
    if (tokens > 2)
        store_token(s.s02, s.s12, s.s22, s.s32, rows, y + MLT_MIN(token + 2, last_token) * p->ldy);
    if (tokens > 2)
        store_token(s.s03, s.s13, s.s23, s.s33, rows, y + MLT_MIN(token + 3, last_token) * p->ldy);
}

/* Tokens of the last tile that are past the end repeat the last one: the same result is stored again. */
TILE_FUNCTION product_rows(mlt_dtype dtype, const struct product *p, int64_t rows, int64_t tokens)
{
    int64_t r = 0;
    if (tokens == 1) {
        for (; r + 4 <= rows; r += 4)
            product_tile(dtype, 4, 1, p, r, 0, 0, true);
        for (; r < rows; r++)
            product_tile(dtype, 1, 1, p, r, 0, 0, false);
        return;
    }
    for (; r + DOT_ROWS <= rows; r += DOT_ROWS)
        for (int64_t t = 0; t < tokens; t += DOT_TOKENS)
            product_tile(dtype, DOT_ROWS, DOT_TOKENS, p, r, t, tokens - 1, t == 0);
    for (; r < rows; r++)
        for (int64_t t = 0; t < tokens; t += DOT_TOKENS)
            product_tile(dtype, 1, DOT_TOKENS, p, r, t, tokens - 1, false);
}

#define DOT_KERNEL(name, dtype)                                                                              \
    static void name(const uint8_t *w, uint64_t row_bytes, int64_t rows, const float *x, int64_t ldx,        \
                     int64_t tokens, int64_t columns, float *y, int64_t ldy)                                 \
    {                                                                                                        \
        struct product p = {w, row_bytes, x, ldx, columns, y, ldy};                                          \
        product_rows(dtype, &p, rows, tokens);                                                               \
    }
DOT_KERNEL(dot_f32, MLT_F32)
DOT_KERNEL(dot_f16, MLT_F16)
DOT_KERNEL(dot_bf16, MLT_BF16)
#undef DOT_KERNEL

static inline void set_float(struct mlt_kernels *table)
{
    table->dot_f32 = dot_f32;
    table->dot_f16 = dot_f16;
    table->dot_bf16 = dot_bf16;
}
