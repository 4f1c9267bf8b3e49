/*
 * Matrix products, as loops over the compiler's vectors: included by a file that has chosen MLT_LANES (values
 * of a vector), MLT_MR (rows of a tile, a power of two) and MLT_NV (vectors of a tile's row).
 *
 * The scheme is Goto and van de Geijn's ("Anatomy of high-performance matrix multiplication", 2008): the
 * right matrix is packed once into panels as wide as a tile, the left one in blocks that stay in the
 * second-level cache, and a tile of sums lives in registers.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_PRODUCT_LOOPS_H
#define MLT_PRODUCT_LOOPS_H

#include "base/base.h"
#include "train/ops.h"

#include <string.h>

enum { LANES = MLT_LANES, MR = MLT_MR, NV = MLT_NV, NR = MLT_LANES * MLT_NV };

typedef mlt_real vreal __attribute__((vector_size(MLT_LANES * sizeof(mlt_real))));
typedef mlt_real vreal_anywhere
    __attribute__((vector_size(MLT_LANES * sizeof(mlt_real)), aligned(sizeof(mlt_real)), may_alias));

#define INLINE static inline __attribute__((always_inline))

#if MLT_LANES == 16
#define INTERLEAVE_LOW(a, b)                                                                                 \
    __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)
#define INTERLEAVE_HIGH(a, b)                                                                                \
    __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)
#elif MLT_LANES == 8
#define INTERLEAVE_LOW(a, b) __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11)
#define INTERLEAVE_HIGH(a, b) __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15)
#elif MLT_LANES == 4
#define INTERLEAVE_LOW(a, b) __builtin_shufflevector(a, b, 0, 4, 1, 5)
#define INTERLEAVE_HIGH(a, b) __builtin_shufflevector(a, b, 2, 6, 3, 7)
#else
#define INTERLEAVE_LOW(a, b) __builtin_shufflevector(a, b, 0, 2)
#define INTERLEAVE_HIGH(a, b) __builtin_shufflevector(a, b, 1, 3)
#endif

INLINE vreal load_all(const mlt_real *p)
{
    return *(const vreal_anywhere *)p;
}

INLINE void store_all(mlt_real *p, vreal v)
{
    *(vreal_anywhere *)p = v;
}

/* `rows` vectors, one a row, become vectors in which the values of all rows follow each other, column by
 * column. */
INLINE void transpose(vreal *v, int rows)
{
    vreal w[MLT_LANES > MLT_MR ? MLT_LANES : MLT_MR];
    for (int round = 1; round < rows; round *= 2) {
        for (int i = 0; i < rows / 2; i++) {
            w[2 * i] = INTERLEAVE_LOW(v[i], v[i + rows / 2]);
            w[2 * i + 1] = INTERLEAVE_HIGH(v[i], v[i + rows / 2]);
        }
        for (int i = 0; i < rows; i++)
            v[i] = w[i];
    }
}

INLINE mlt_real element(const struct mlt_operand *m, int64_t row, int64_t column)
{
    return m->transposed ? m->data[column * m->ld + row] : m->data[row * m->ld + column];
}

/* ---- Packing ---- */

/* Columns [column, column + NR) of the right matrix, of which `columns` exist. */
static void pack_right_panel(const struct mlt_operand *b, int64_t depth, int64_t column, int64_t columns,
                             mlt_real *out)
{
    int64_t k = 0;
    if (columns >= NR && !b->transposed) {
        for (; k < depth; k++)
            for (int j = 0; j < NV; j++)
                store_all(out + k * NR + j * LANES, load_all(b->data + k * b->ld + column + j * LANES));
    } else if (columns >= NR) {
        for (; k + LANES <= depth; k += LANES) {
            for (int j = 0; j < NV; j++) {
                vreal v[MLT_LANES];
                for (int i = 0; i < LANES; i++)
                    v[i] = load_all(b->data + (column + j * LANES + i) * b->ld + k);
                transpose(v, LANES);
                for (int i = 0; i < LANES; i++)
                    store_all(out + (k + i) * NR + j * LANES, v[i]);
            }
        }
    }
    for (; k < depth; k++)
        for (int64_t j = 0; j < NR; j++)
            out[k * NR + j] = j < columns ? element(b, k, column + j) : 0;
}

static void pack_right(const struct mlt_operand *b, int64_t depth, int64_t columns, int64_t begin,
                       int64_t end, mlt_real *out)
{
    for (int64_t column = begin; column < end; column += NR, out += depth * NR)
        pack_right_panel(b, depth, column, columns - column, out);
}

/* Rows [row0, row1) and depth [k0, k0 + depth) of the left matrix to out[panel][depth][MR]; missing rows are
 * 0. */
static void pack_left(const struct mlt_operand *a, int64_t row0, int64_t row1, int64_t k0, int64_t depth,
                      mlt_real *out)
{
    for (int64_t row = row0; row < row1; row += MR, out += depth * MR) {
        int64_t k = 0;
        if (row1 - row >= MR && a->transposed) {
            for (; k < depth; k++)
                memcpy(out + k * MR, a->data + (k0 + k) * a->ld + row, MR * sizeof *out);
        } else if (row1 - row >= MR) {
            for (; k + LANES <= depth; k += LANES) {
                vreal v[MLT_MR];
                for (int i = 0; i < MR; i++)
                    v[i] = load_all(a->data + (row + i) * a->ld + k0 + k);
                transpose(v, MR);
                for (int i = 0; i < MR; i++)
                    store_all(out + k * MR + i * LANES, v[i]);
            }
        }
        for (; k < depth; k++)
            for (int64_t i = 0; i < MR; i++)
                out[k * MR + i] = row + i < row1 ? element(a, row + i, k0 + k) : 0;
    }
}

/* ---- The tile ---- */

static void tile(int64_t depth, const mlt_real *restrict a, const mlt_real *restrict b, bool add,
                 mlt_real *restrict c, int64_t ldc)
{
    vreal sum[MLT_MR][MLT_NV] = {0};
    /* What the sums are added to comes from afar: it is asked for now and needed in some thousand cycles. */
    for (int i = 0; i < MR; i++)
        for (int j = 0; j < NV; j++)
            __builtin_prefetch(c + i * ldc + j * LANES, 1, 3);
#pragma GCC unroll 4
    for (int64_t k = 0; k < depth; k++, a += MR, b += NR) {
        vreal w[MLT_NV];
#pragma GCC unroll 8
        for (int j = 0; j < NV; j++)
            w[j] = load_all(b + j * LANES);
#pragma GCC unroll 16
        for (int i = 0; i < MR; i++)
#pragma GCC unroll 8
            for (int j = 0; j < NV; j++)
                sum[i][j] += a[i] * w[j];
    }
#pragma GCC unroll 16
    for (int i = 0; i < MR; i++) {
#pragma GCC unroll 8
        for (int j = 0; j < NV; j++) {
            mlt_real *to = c + i * ldc + j * LANES;
            store_all(to, add ? load_all(to) + sum[i][j] : sum[i][j]);
        }
    }
}

/* A tile of which only rows x columns exist. */
static void edge_tile(int64_t depth, const mlt_real *a, const mlt_real *b, bool add, int64_t rows,
                      int64_t columns, mlt_real *c, int64_t ldc)
{
    mlt_real whole[MLT_MR * NR];
    tile(depth, a, b, false, whole, NR);
    for (int64_t i = 0; i < MLT_MIN(rows, (int64_t)MR); i++)
        for (int64_t j = 0; j < MLT_MIN(columns, (int64_t)NR); j++)
            c[i * ldc + j] = add ? c[i * ldc + j] + whole[i * NR + j] : whole[i * NR + j];
}

static void multiply(const struct mlt_operand *a, int64_t row0, int64_t row1, const mlt_real *packed,
                     int64_t column0, int64_t column1, int64_t depth, bool add, mlt_real *c, int64_t ldc,
                     mlt_real *scratch)
{
    for (int64_t first = row0; first < row1; first += MLT_PRODUCT_ROWS) {
        int64_t last = MLT_MIN(first + MLT_PRODUCT_ROWS, row1);
        for (int64_t k = 0; k < depth; k += MLT_PRODUCT_DEPTH) {
            int64_t part = MLT_MIN(depth - k, (int64_t)MLT_PRODUCT_DEPTH);
            bool sum = add || k > 0;
            pack_left(a, first, last, k, part, scratch);
            for (int64_t column = column0; column < column1; column += NR) {
                const mlt_real *b = packed + (column - column0) * depth + k * NR;
                /* The next panel is fetched while this one is multiplied, some lines with each tile. */
                const char *next = (const char *)(b + depth * NR);
                int64_t lines = column + NR < column1 ? part * NR * (int64_t)sizeof(mlt_real) / 64 : 0;
                int64_t each = (lines * MR + last - first - 1) / (last - first);
                for (int64_t row = first; row < last; row += MR) {
                    for (int64_t i = 0; i < MLT_MIN(each, lines); i++, next += 64)
                        __builtin_prefetch(next, 0, 2);
                    lines -= each;
                    const mlt_real *left = scratch + (row - first) * part;
                    mlt_real *to = c + row * ldc + column;
                    if (last - row >= MR && column1 - column >= NR)
                        tile(part, left, b, sum, to, ldc);
                    else
                        edge_tile(part, left, b, sum, last - row, column1 - column, to, ldc);
                }
            }
        }
    }
}

#endif
