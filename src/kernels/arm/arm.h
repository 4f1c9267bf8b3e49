/*
 * The parts of the ARM levels, one a file; init_neon.c, init_dotprod.c and init_i8mm.c put them into the
 * table.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_KERNELS_ARM_H
#define MLT_KERNELS_ARM_H

#include "kernels/kernels.h"

/* Helpers that take a function or a loop bound as parameter must dissolve in each caller. */
#define MLT_INLINE static inline __attribute__((always_inline))

/* Before a loop whose body should be repeated `times` times. */
#define MLT_PRAGMA(text) _Pragma(#text)
#if defined(__clang__)
#define MLT_UNROLL(times) MLT_PRAGMA(unroll times)
#else
#define MLT_UNROLL(times) MLT_PRAGMA(GCC unroll times)
#endif

void mlt_kernels_neon_unpack(struct mlt_kernels *table);
void mlt_kernels_neon_unpack_super(struct mlt_kernels *table);
void mlt_kernels_neon_rows(struct mlt_kernels *table);
void mlt_kernels_dotprod_rows(struct mlt_kernels *table);
void mlt_kernels_neon_float(struct mlt_kernels *table);
void mlt_kernels_neon_attention(struct mlt_kernels *table);
void mlt_kernels_neon_elementwise(struct mlt_kernels *table);

mlt_quantize_kernel mlt_quantize_neon;
mlt_dot_kernel mlt_dot_block32_neon, mlt_dot_super32_neon, mlt_dot_super16_neon;
mlt_dot_kernel mlt_dot_block32_dotprod, mlt_dot_super32_dotprod, mlt_dot_super16_dotprod;
mlt_dot_kernel mlt_dot_block32_i8mm, mlt_dot_super32_i8mm, mlt_dot_super16_i8mm;
mlt_peak_kernel mlt_peak_int8_neon, mlt_peak_int8_dotprod, mlt_peak_int8_i8mm, mlt_peak_f32_neon;

#endif
