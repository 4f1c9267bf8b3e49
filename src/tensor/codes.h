/*
 * The codes of a block's elements, apart from its scales: for rounding that knows more than one element.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_CODES_H
#define MLT_CODES_H

#include "tensor/dtype.h"

/* Values that an element of a block can have under the block's scales, 2 to 64: its codes are 0 to this - 1.
 * 0: floats, and Q8_0, whose steps are too small to matter. */
int mlt_code_count(mlt_dtype dtype);
/* Whether an element's value is a linear function of its code. */
bool mlt_codes_are_linear(mlt_dtype dtype);
/* Gives the block's elements these codes; its scales stay. */
void mlt_set_codes(mlt_dtype dtype, const uint8_t *codes, uint8_t *block);

#endif
