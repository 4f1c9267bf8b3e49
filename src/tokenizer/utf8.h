/*
 * UTF-8 by the Unicode standard: no overlong forms, no surrogates, nothing above U+10FFFF.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_UTF8_H
#define MLT_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MLT_REPLACEMENT "\xEF\xBF\xBD" /* U+FFFD as UTF-8 */

/*
 * The character at text[0..length), length >= 1: writes it to *codepoint and returns its bytes (1 to 4), or
 * returns 0 where no valid character begins there.
 */
size_t mlt_utf8_decode(const char *text, size_t length, uint32_t *codepoint);

/* The same where what is no character counts as one of one byte, whose code point is U+FFFD: at least 1. */
static inline size_t mlt_utf8_step(const char *text, size_t length, uint32_t *codepoint)
{
    size_t size = mlt_utf8_decode(text, length, codepoint);
    if (!size) *codepoint = 0xFFFD;
    return size ? size : 1;
}

/* Writes a code point <= U+10FFFF to out[4] and returns the number of bytes. */
size_t mlt_utf8_encode(uint32_t codepoint, char *out);

/* Bytes of the character that begins with `lead`, by the lead alone (1 for what is no lead): 1 to 4. */
size_t mlt_utf8_lead_length(uint8_t lead);

/* Whether `next` may follow the `count` (1 to 3) bytes that begin a valid character. */
bool mlt_utf8_continues(const uint8_t *begun, int count, uint8_t next);

bool mlt_utf8_valid(const char *text, size_t length);

/* Whether a byte is white space of ASCII: the space, and tab to carriage return. */
static inline bool mlt_ascii_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

#endif
