/*
 * Whole rows with one token, straight from the blocks: what rows_neon.c and rows_dotprod.c compile for their
 * instruction sets. Before including it they define
 *
 *     static int32x4_t dot16(int32x4_t sum, int8x16_t w, int8x16_t x)
 *     static int32x4_t dot32(int32x4_t sum, int8x16_t w0, int8x16_t x0, int8x16_t w1, int8x16_t x1, bool
 * small)
 *
 * which add the sixteen products w * x, or those of two pairs, to the four lanes of `sum`, each product to
 * any lane. small: all w are in [-64, 64].
 *
 * Codes are multiplied as they are stored, without their offset (8 in Q4_0, 32 in Q6_K ...): the offset times
 * the token's sum over the block is taken from the integer sum. Rows are read four at a time, from end
 * to end.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_ROWS_TEMPLATE_H
#define MLT_ROWS_TEMPLATE_H

#include "kernels/arm/rows_block32.h"
#include "kernels/arm/rows_super.h"

MLT_INLINE void set_rows(struct mlt_kernels *table)
{
#define SET_ENTRY(name, type, ...) table->rows[MLT_##name] = rows_##type;
    BLOCK32_DTYPES(SET_ENTRY)
    SUPER_DTYPES(SET_ENTRY)
#undef SET_ENTRY
}

#endif
