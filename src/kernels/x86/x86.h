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
 * Brings the bytes to the cache that unpackers want a few calls from now: a core keeps too few reads in
 * flight by itself to use the memory's bandwidth. Calls take `bytes` of each of sixteen rows after another
 * from `offset` on, and then, in a matrix whose rows lie one after the other, the next sixteen rows from
 * their start. Each line is prefetched once; addresses past the matrix do no harm.
 */
static inline void prefetch_rows(const uint8_t *const rows[MLT_PANEL_ROWS], int64_t offset, int64_t bytes)
{
    enum { LINE = 64, SMALL = 128 };
    const int64_t calls_ahead = bytes < SMALL ? 9 : 4; /* ten kilobytes or so, in steps of calls */
    intptr_t stride = (intptr_t)rows[1] - (intptr_t)rows[0];
    if (stride <= 0 || (intptr_t)rows[15] - (intptr_t)rows[0] != 15 * stride) return;
    uintptr_t row_bytes = (uintptr_t)stride, ahead = (uintptr_t)(offset + calls_ahead * bytes),
              rows_ahead = 0;
    for (; ahead >= row_bytes; ahead -= row_bytes)
        rows_ahead += MLT_PANEL_ROWS;
    for (int r = 0; r < MLT_PANEL_ROWS; r++) {
        uintptr_t begin = (uintptr_t)rows[r] + rows_ahead * row_bytes + ahead, end = begin + (uintptr_t)bytes;
        for (uintptr_t line = (begin + LINE - 1) / LINE * LINE; line < end; line += LINE)
            prefetch(line);
    }
}

#endif
