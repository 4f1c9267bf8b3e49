/*
 * What tokenizers need to know of characters: class, lower case, canonical decomposition and composition
 * (Unicode Standard Annex 15).
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_UNICODE_H
#define MLT_UNICODE_H

#include "base/memory.h"

/* Classes with the numbers that the tables use. */
enum mlt_char_class {
    MLT_CHAR_OTHER = 0,
    MLT_CHAR_SPACE = 1,       /* tab, line feed, carriage return, separators (Z) */
    MLT_CHAR_CONTROL = 2,     /* the other control characters, format characters, private use (C, assigned) */
    MLT_CHAR_PUNCTUATION = 3, /* P */
    MLT_CHAR_MARK = 4,        /* non-spacing marks (Mn) */
};

enum mlt_char_class mlt_char_class(uint32_t codepoint);

/* The lower case of a code point that has one of a single code point; else itself. */
uint32_t mlt_char_lower(uint32_t codepoint);

/* Longest canonical decomposition, in code points. */
enum { MLT_MAX_DECOMPOSITION = 4 };

/* Writes the full canonical decomposition and returns its length; a character without one is its own. */
int mlt_char_decompose(uint32_t codepoint, uint32_t out[MLT_MAX_DECOMPOSITION]);

/* Appends the composed normal form (NFC) of text[0..length), which is valid UTF-8, to `out`. */
millet_status mlt_text_to_nfc(const char *text, size_t length, struct mlt_text *out, millet_error *err);

#endif
