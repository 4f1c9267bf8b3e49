/* UTF-8. SPDX-License-Identifier: Apache-2.0 */
#include "tokenizer/utf8.h"

bool mlt_utf8_continues(const uint8_t *begun, int count, uint8_t next)
{
    /* Table 3-7 of the Unicode standard: the second byte is restricted after E0, ED, F0 and F4. */
    uint8_t low = 0x80, high = 0xBF;
    if (count == 1) {
        if (begun[0] == 0xE0) low = 0xA0;
        if (begun[0] == 0xED) high = 0x9F;
        if (begun[0] == 0xF0) low = 0x90;
        if (begun[0] == 0xF4) high = 0x8F;
    }
    return next >= low && next <= high;
}

size_t mlt_utf8_lead_length(uint8_t lead)
{
    if (lead < 0xC2 || lead > 0xF4) return 1;
    return lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
}

size_t mlt_utf8_decode(const char *text, size_t length, uint32_t *codepoint)
{
    const uint8_t *bytes = (const uint8_t *)text;
    if (bytes[0] < 0x80) {
        *codepoint = bytes[0];
        return 1;
    }
    size_t size = mlt_utf8_lead_length(bytes[0]);
    if (size == 1 || size > length) return 0;
    uint32_t value = bytes[0] & (0x7Fu >> size);
    for (size_t i = 1; i < size; i++) {
        if (!mlt_utf8_continues(bytes, (int)i, bytes[i])) return 0;
        value = value << 6 | (bytes[i] & 0x3Fu);
    }
    *codepoint = value;
    return size;
}

size_t mlt_utf8_encode(uint32_t codepoint, char *out)
{
    uint8_t *bytes = (uint8_t *)out;
    if (codepoint < 0x80) {
        bytes[0] = (uint8_t)codepoint;
        return 1;
    }
    size_t size = codepoint < 0x800 ? 2 : codepoint < 0x10000 ? 3 : 4;
    for (size_t i = size - 1; i > 0; i--) {
        bytes[i] = (uint8_t)(0x80 | (codepoint & 0x3F));
        codepoint >>= 6;
    }
    bytes[0] = (uint8_t)(codepoint | (0xF00u >> size & 0xFFu));
    return size;
}

bool mlt_utf8_valid(const char *text, size_t length)
{
    uint32_t codepoint;
    for (size_t i = 0; i < length;) {
        size_t size = mlt_utf8_decode(text + i, length - i, &codepoint);
        if (!size) return false;
        i += size;
    }
    return true;
}
