/* Integers between two limits, as an expression of a grammar. SPDX-License-Identifier: Apache-2.0 */
#ifndef MLT_INTEGER_RANGE_H
#define MLT_INTEGER_RANGE_H

#include "base/memory.h"

/*
 * Appends a group that the decimal integers from *least to *most match (NULL: without limit, to 16 digits;
 * not both NULL), without leading zeros or a plus; limits lie within +-9e15, least <= most. Errors:
 * NO_MEMORY.
 */
millet_status mlt_write_integer_range(struct mlt_text *out, const int64_t *least, const int64_t *most,
                                      millet_error *err);

#endif
