/*
 * The tables behind unicode.c, sorted by code point; see tools/make_unicode_tables.py.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_UNICODE_TABLES_H
#define MLT_UNICODE_TABLES_H

#include <stddef.h>
#include <stdint.h>

/* The canonical decomposition of `code`, one step: `first` and `second`, or `first` alone (second 0). */
struct mlt_decomposition {
    uint32_t code, first, second;
};

struct mlt_code_range {
    uint32_t first, last;
    uint8_t value; /* a class of unicode.h, or a canonical combining class */
};

/* Every step-th code point from first to last has its lower case `delta` further on. */
struct mlt_lower_range {
    uint32_t first, last;
    uint8_t step;
    int32_t delta;
};

extern const struct mlt_decomposition mlt_unicode_decompositions[];
extern const size_t mlt_unicode_n_decompositions;
/* Decompositions that NFC undoes, as indices, sorted by (first, second). */
extern const uint16_t mlt_unicode_compositions[];
extern const size_t mlt_unicode_n_compositions;
extern const struct mlt_code_range mlt_unicode_classes[];
extern const size_t mlt_unicode_n_classes;
extern const struct mlt_code_range mlt_unicode_combining[];
extern const size_t mlt_unicode_n_combining;
extern const struct mlt_lower_range mlt_unicode_lower_ranges[];
extern const size_t mlt_unicode_n_lower;

#endif
