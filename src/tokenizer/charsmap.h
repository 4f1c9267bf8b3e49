/*
 * SentencePiece's precompiled character map: replaces character sequences of the text (NFKC and the like).
 *
 * The form is that of normalizer_spec.precompiled_charsmap: a little-endian u32 with the bytes of a double
 * array, the double array (u32 units in the layout of Darts-clone, whose keys are character sequences and
 * whose values are offsets into the rest), and NUL-terminated replacements.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_CHARSMAP_H
#define MLT_CHARSMAP_H

#include "base/memory.h"

struct mlt_charsmap {
    millet_allocator allocator;
    uint32_t *units;
    uint32_t n_units;
    char *replacements; /* [replacement_bytes], the last one NUL */
    uint32_t replacement_bytes;
};

/* *out is NULL for 0 bytes. Errors: BAD_FORMAT, NO_MEMORY. */
millet_status mlt_charsmap_open(const millet_allocator *allocator, const void *bytes, size_t count,
                                struct mlt_charsmap **out, millet_error *err);
void mlt_charsmap_close(struct mlt_charsmap **map);

/* Length of the longest key that text[0..length) begins with, or 0; *replacement is its NUL-terminated
 * replacement. Units and offsets outside the map, and replacements of 256 bytes and more, count as no match.
 */
size_t mlt_charsmap_longest(const struct mlt_charsmap *map, const char *text, size_t length,
                            const char **replacement);

#endif
