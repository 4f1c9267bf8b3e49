/*
 * What the x86 levels share: the parts of each level's table, one a file, and prefetching.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_KERNELS_X86_H
#define MLT_KERNELS_X86_H

#include "kernels/kernels.h"

#include <immintrin.h>

void mlt_avx2_unpack32(struct mlt_kernels *table);
void mlt_avx2_unpack256(struct mlt_kernels *table);
void mlt_avx2_peak(struct mlt_kernels *table);
void mlt_avx2_float(struct mlt_kernels *table);
void mlt_avx2_quantize(struct mlt_kernels *table);
void mlt_avx2_elementwise(struct mlt_kernels *table);
void mlt_avx2_dot_panel(struct mlt_kernels *table);

void mlt_avx512_unpack32(struct mlt_kernels *table);
void mlt_avx512_unpack256(struct mlt_kernels *table);
void mlt_avx512_float(struct mlt_kernels *table);
void mlt_avx512_quantize(struct mlt_kernels *table);
void mlt_avx512_elementwise(struct mlt_kernels *table);
void mlt_avx512_dot_panel(struct mlt_kernels *table);
void mlt_avx512_peak(struct mlt_kernels *table);

void mlt_avx512_vnni_dot_panel(struct mlt_kernels *table);
void mlt_avx512_vnni_rows(struct mlt_kernels *table);
void mlt_avx512_vnni_peak(struct mlt_kernels *table);

/*
 * Rows that lie one after the other are read by the next calls in the order of memory. While `bytes` of each
 * of sixteen rows are unpacked, as many of the next sixteen rows are brought to the first-level cache, and of
 * those after them to the second: a single core keeps too few reads in flight by itself to use the memory's
 * bandwidth. `offset`: of the bytes within the rows. Addresses past the matrix do no harm: a prefetch never
 * faults.
 */
static inline void prefetch_rows(const uint8_t *const rows[MLT_PANEL_ROWS], int64_t offset, int64_t bytes)
{
    intptr_t stride = (intptr_t)rows[1] - (intptr_t)rows[0];
    if (stride <= 0 || (intptr_t)rows[15] - (intptr_t)rows[0] != 15 * stride) return;
    uintptr_t next = (uintptr_t)rows[0] + (uintptr_t)(16 * stride + 16 * offset);
    /*
     * Written as assembler because gcc takes a function that only prefetches for one without effects, and
     * drops the call.
     */
    for (int64_t i = 0; i < 16 * bytes; i += 64) {
        __asm__ volatile("prefetcht0 %0" : : "m"(*((const char *)next + i)));
        __asm__ volatile("prefetcht1 %0" : : "m"(*((const char *)next + 16 * stride + i)));
    }
}

#endif
