/*
 * What the x86 levels share: the parts of each level's table, one a file, and prefetching.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_KERNELS_X86_H
#define MLT_KERNELS_X86_H

#include "kernels/kernels.h"

#include <immintrin.h>

void mlt_avx2_blocks32(struct mlt_kernels *table);
void mlt_avx2_blocks256(struct mlt_kernels *table);
void mlt_avx2_peak(struct mlt_kernels *table);
void mlt_avx2_float(struct mlt_kernels *table);
void mlt_avx2_attention(struct mlt_kernels *table);
void mlt_avx2_quantize(struct mlt_kernels *table);
void mlt_avx2_elementwise(struct mlt_kernels *table);
void mlt_avx2_dot_panel(struct mlt_kernels *table);

void mlt_avx512_blocks32(struct mlt_kernels *table);
void mlt_avx512_blocks256(struct mlt_kernels *table);
void mlt_avx512_float(struct mlt_kernels *table);
void mlt_avx512_attention(struct mlt_kernels *table);
void mlt_avx512_quantize(struct mlt_kernels *table);
void mlt_avx512_elementwise(struct mlt_kernels *table);
void mlt_avx512_dot_panel(struct mlt_kernels *table);
void mlt_avx512_peak(struct mlt_kernels *table);

void mlt_avx512_vnni_dot_panel(struct mlt_kernels *table);
void mlt_avx512_vnni_blocks32(struct mlt_kernels *table);
void mlt_avx512_vnni_blocks256(struct mlt_kernels *table);
void mlt_avx512_vnni_rows_q8_0(struct mlt_kernels *table);
void mlt_avx512_vnni_peak(struct mlt_kernels *table);

/* A prefetch to the first-level cache; the address may be anything. gcc 12 deletes loops of _mm_prefetch. */
static inline void prefetch(uintptr_t address)
{
    __asm__ volatile("prefetcht0 %0" : : "m"(*(const char *)address));
}

/* The same to the second-level cache. */
static inline void prefetch_far(uintptr_t address)
{
    __asm__ volatile("prefetcht1 %0" : : "m"(*(const char *)address));
}

/*
 * Sixteen rows. Those of a matrix lie `stride` bytes apart, so that a few registers address them all; others,
 * such as a matrix's last rows with one of them repeated, have a pointer each.
 */
struct rows {
    const uint8_t *first;
    intptr_t stride;
    const uint8_t *const *each; /* NULL: by stride */
};

static inline struct rows rows_by_pointers(const uint8_t *const rows[MLT_PANEL_ROWS])
{
    return (struct rows){.first = rows[0], .stride = (intptr_t)rows[1] - (intptr_t)rows[0], .each = rows};
}

/* By stride where all rows have the same. */
static inline struct rows rows_by_stride(const uint8_t *const rows[MLT_PANEL_ROWS])
{
    struct rows out = rows_by_pointers(rows);
    for (int r = 2; r < MLT_PANEL_ROWS; r++)
        if ((intptr_t)rows[r] - (intptr_t)rows[r - 1] != out.stride) return out;
    out.each = NULL;
    return out;
}

/* `offset` bytes into rows first, first + 4, first + 8 and first + 12. */
struct four_rows {
    const uint8_t *a, *b, *c, *d;
};

static inline __attribute__((always_inline)) struct four_rows every_fourth(struct rows rows, int64_t offset,
                                                                           int first)
{
    if (rows.each)
        return (struct four_rows){rows.each[first] + offset, rows.each[first + 4] + offset,
                                  rows.each[first + 8] + offset, rows.each[first + 12] + offset};
    /* Kept from being known beforehand, or compilers keep sixteen addresses, which do not fit the registers.
     */
    const uint8_t *row = rows.first + offset;
    __asm__("" : "+r"(row));
    const uint8_t *a = row + first * rows.stride, *c = row + 8 * rows.stride + first * rows.stride;
    return (struct four_rows){a, a + 4 * rows.stride, c, c + 4 * rows.stride};
}

/*
 * Brings the bytes to the cache that unpackers want a few calls from now: a core keeps too few reads in
 * flight by itself to use the memory's bandwidth. Calls take `bytes` of each of sixteen rows after another
 * from `offset` on, and then, in a matrix whose rows lie one after the other, the next sixteen rows from
 * their start. Addresses past the matrix do no harm; a line may be asked for twice.
 */
static inline __attribute__((always_inline)) void prefetch_rows(struct rows rows, int64_t offset,
                                                                int64_t bytes)
{
    enum { LINE = 64, SMALL = 128 };
    const int64_t calls_ahead = bytes < SMALL ? 9 : 4; /* ten kilobytes or so, in steps of calls */
    if (rows.stride <= 0) return;
    uintptr_t row_bytes = (uintptr_t)rows.stride, ahead = (uintptr_t)(offset + calls_ahead * bytes),
              rows_ahead = 0;
    for (; ahead >= row_bytes; ahead -= row_bytes)
        rows_ahead += MLT_PANEL_ROWS;
    uintptr_t row = (uintptr_t)rows.first + rows_ahead * row_bytes + ahead;
    for (int r = 0; r < MLT_PANEL_ROWS; r++, row += row_bytes)
        for (int64_t at = 0; at < bytes; at += LINE)
            prefetch(row + (uintptr_t)at);
}

#endif
