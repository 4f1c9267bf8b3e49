/*
 * SentencePiece's nmt_nfkc as a precompiled character map: Unicode's normal form KC, and white space and
 * control characters tidied.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_NFKC_MAP_H
#define MLT_NFKC_MAP_H

#include "base/memory.h"

struct mlt_nfkc_map {
    millet_allocator allocator;
    uint8_t *bytes; /* in the form that tokenizer/charsmap.h reads; NULL: none */
    size_t size;
};

/* Errors: NO_MEMORY. */
millet_status mlt_nfkc_map_build(const millet_allocator *allocator, struct mlt_nfkc_map *out,
                                 millet_error *err);
void mlt_nfkc_map_release(struct mlt_nfkc_map *map);

/* nfkc_table.c: code points that NFKC changes, rising, the number of code points that each becomes, and these
 * one after the other. */
extern const size_t mlt_nfkc_n_codes;
extern const uint32_t mlt_nfkc_codes[];
extern const uint8_t mlt_nfkc_lengths[];
extern const uint32_t mlt_nfkc_points[];

#endif
