/*
 * Float dot products with AVX2.
 *
 * A product of many tokens is taken in blocks. Two rows by three tokens, each of two registers, are twelve
 * sums, as many as sixteen registers can keep busy, and want five loads for six pairs of fmas: too many for
 * the second-level cache. So of a block of tokens as many columns as fit the first-level cache stay there
 * while the rows pass by, converted once for all of them, and the sums wait in memory from one block of
 * columns to the next.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "kernels/x86/lanes_avx2.h"

/* 16 registers of half the width: 8 of them are sums. */
enum { DOT_ROWS = 2, DOT_TOKENS = 2 };

#include "kernels/x86/float_lanes.h"

enum {
    BLOCK_COLUMNS = 512,
    BLOCK_TOKENS = 12,
    BLOCK_ROWS = 64,
    TILE_ROWS = 2,
    TILE_TOKENS = 3,
    WORTH_BLOCKS = 6 /* tokens */
};

/* A row of a block of tokens; of the sums of a block of tokens, waiting for more columns. */
typedef float block_row[BLOCK_COLUMNS];
typedef float block_sums[BLOCK_TOKENS][16];

/* Keeps a value that is used twice in a register: gcc would load it twice. */
#if defined(__clang__)
#define KEEP(v) (void)(v)
#else
#define KEEP(v) __asm__("" : "+x"(v))
#endif

/* w0 and w1 times token t of a step, in lanes lo or hi. */
#define STEP(half, at, t)                                                                                    \
    do {                                                                                                     \
        __m256 v = _mm256_load_ps(x[t] + k + at);                                                            \
        KEEP(v);                                                                                             \
        s0##t.half = _mm256_fmadd_ps(w0, v, s0##t.half);                                                     \
        s1##t.half = _mm256_fmadd_ps(w1, v, s1##t.half);                                                     \
    } while (0)

#define STEP_HALF(half, at)                                                                                  \
    do {                                                                                                     \
        __m256 w0 = _mm256_loadu_ps(row0 + k + at), w1 = _mm256_loadu_ps(row1 + k + at);                     \
        STEP(half, at, 0);                                                                                   \
        if (tokens > 1) STEP(half, at, 1);                                                                   \
        if (tokens > 2) STEP(half, at, 2);                                                                   \
    } while (0)

/*
 * Two rows by one to three tokens, `columns` columns (a multiple of 16): from the sums in a0 and a1 (`first`:
 * from none) to there, or, if these are the last columns, to y[t * ldy] of one row or two.
 */
TILE_FUNCTION block_tile(int tokens, const float *row0, const float *row1, const block_row *x,
                         int64_t columns, bool first, bool last, float (*a0)[16], float (*a1)[16], int rows,
                         float *y, int64_t ldy)
{
    vf s00 = vf_set(0.0f), s01 = s00, s02 = s00, s10 = s00, s11 = s00, s12 = s00;
    if (!first) {
        s00 = vf_load(a0[0]), s10 = vf_load(a1[0]);
        if (tokens > 1) s01 = vf_load(a0[1]), s11 = vf_load(a1[1]);
        if (tokens > 2) s02 = vf_load(a0[2]), s12 = vf_load(a1[2]);
    }
    for (int64_t k = 0; k < columns; k += 16) {
        STEP_HALF(lo, 0);
        STEP_HALF(hi, 8);
    }
    if (last) {
        store_sums(rows, add_up(2, s00, s10, s00, s10), y);
        if (tokens > 1) store_sums(rows, add_up(2, s01, s11, s01, s11), y + ldy);
        if (tokens > 2) store_sums(rows, add_up(2, s02, s12, s02, s12), y + 2 * ldy);
        return;
    }
    vf_store(a0[0], s00), vf_store(a1[0], s10);
    if (tokens > 1) vf_store(a0[1], s01), vf_store(a1[1], s11);
    if (tokens > 2) vf_store(a0[2], s02), vf_store(a1[2], s12);
}
#undef STEP_HALF
#undef STEP
#undef KEEP

/* Columns [k, k + columns) of a row as floats: where they are, or converted to `room`. */
static inline __attribute__((always_inline)) const float *float_row(mlt_dtype dtype, const uint8_t *row,
                                                                    int64_t k, int64_t columns, float *room)
{
    if (dtype == MLT_F32) return (const float *)(const void *)row + k;
    for (int64_t i = 0; i < columns; i += 16)
        vf_store(room + i, load_elements(dtype, row, k + i, true, vm_first(0)));
    return room;
}

/* At most BLOCK_ROWS rows and BLOCK_TOKENS tokens. */
TILE_FUNCTION product_block(mlt_dtype dtype, const struct product *p, int64_t rows, int64_t tokens)
{
    _Alignas(64) block_row room[TILE_ROWS];
    _Alignas(64) block_row x[BLOCK_TOKENS];
    _Alignas(64) block_sums sums[BLOCK_ROWS];
    for (int64_t k = 0; k < p->columns; k += BLOCK_COLUMNS) {
        const int64_t columns = MLT_MIN(p->columns - k, BLOCK_COLUMNS);
        const bool first = k == 0, last = k + columns == p->columns;
        for (int64_t t = 0; t < tokens; t++)
            for (int64_t i = 0; i < columns; i += 16)
                vf_store(x[t] + i, vf_load(p->x + t * p->ldx + k + i));
        for (int64_t r = 0; r < rows; r += TILE_ROWS) {
            const int n = (int)MLT_MIN(rows - r, TILE_ROWS);
            const uint8_t *w = p->w + (uint64_t)r * p->row_bytes;
            const float *row0 = float_row(dtype, w, k, columns, room[0]);
            const float *row1 = n > 1 ? float_row(dtype, w + p->row_bytes, k, columns, room[1]) : row0;
            for (int64_t t = 0, left = tokens, taken; left > 0; t += taken, left -= taken) {
                float(*a0)[16] = &sums[r][t], (*a1)[16] = &sums[r + 1][t], *y = p->y + t * p->ldy + r;
                taken =
                    left == 4 ? 2 : MLT_MIN(left, TILE_TOKENS); /* a tile of one token waits for its sums */
                if (taken == 3)
                    block_tile(3, row0, row1, x + t, columns, first, last, a0, a1, n, y, p->ldy);
                else if (taken == 2)
                    block_tile(2, row0, row1, x + t, columns, first, last, a0, a1, n, y, p->ldy);
                else
                    block_tile(1, row0, row1, x + t, columns, first, last, a0, a1, n, y, p->ldy);
            }
        }
    }
}

TILE_FUNCTION product_blocks(mlt_dtype dtype, const struct product *p, int64_t rows, int64_t tokens)
{
    const int64_t blocks = (tokens + BLOCK_TOKENS - 1) / BLOCK_TOKENS,
                  together = (tokens + blocks - 1) / blocks;
    for (int64_t r = 0; r < rows; r += BLOCK_ROWS) {
        for (int64_t t = 0; t < tokens; t += together) {
            struct product part = *p;
            part.w += (uint64_t)r * p->row_bytes;
            part.x += t * p->ldx;
            part.y += t * p->ldy + r;
            product_block(dtype, &part, MLT_MIN(rows - r, BLOCK_ROWS), MLT_MIN(tokens - t, together));
        }
    }
}

#define BLOCKS_KERNEL(name, few, dtype)                                                                      \
    static void name(const uint8_t *w, uint64_t row_bytes, int64_t rows, const float *x, int64_t ldx,        \
                     int64_t tokens, int64_t columns, float *y, int64_t ldy)                                 \
    {                                                                                                        \
        const struct product p = {w, row_bytes, x, ldx, columns, y, ldy};                                    \
        if (tokens < WORTH_BLOCKS || columns % 16 != 0)                                                      \
            few(w, row_bytes, rows, x, ldx, tokens, columns, y, ldy);                                        \
        else                                                                                                 \
            product_blocks(dtype, &p, rows, tokens);                                                         \
    }
BLOCKS_KERNEL(dot_blocks_f32, dot_f32, MLT_F32)
BLOCKS_KERNEL(dot_blocks_f16, dot_f16, MLT_F16)
BLOCKS_KERNEL(dot_blocks_bf16, dot_bf16, MLT_BF16)
#undef BLOCKS_KERNEL

void mlt_avx2_float(struct mlt_kernels *table)
{
    table->dot_f32 = dot_blocks_f32;
    table->dot_f16 = dot_blocks_f16;
    table->dot_bf16 = dot_blocks_bf16;
}
