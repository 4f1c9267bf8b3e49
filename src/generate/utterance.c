/* See utterance.h. SPDX-License-Identifier: Apache-2.0 */
#include "generate/utterance.h"

#include <string.h>

/* Characters that count as white space, and that go at the end: UTF-8, separated by NUL. */
static const char *const spaces[] = {" ", "\t", "\r", "\n", "\f", "\v", "\xC2\xA0", "\xE3\x80\x80"};
static const char *const closing[] = {
    ".",
    "?",
    "!",
    ",",
    ";",
    ":",
    "\xE3\x80\x82", /* ideographic full stop */
    "\xEF\xBC\x9F", /* full-width question mark, exclamation mark, comma, semicolon, colon */
    "\xEF\xBC\x81",
    "\xEF\xBC\x8C",
    "\xEF\xBC\x9B",
    "\xEF\xBC\x9A",
    "\xE2\x80\xA6", /* ellipsis */
};
static const char *const apostrophes[] = {"\xE2\x80\x98", "\xE2\x80\x99"};

/* The length of the character of the list that text[0 .. length) begins with, or 0. */
static size_t first_of(const char *const *list, size_t n, const char *text, size_t length)
{
    for (size_t i = 0; i < n; i++) {
        size_t size = strlen(list[i]);
        if (size <= length && memcmp(text, list[i], size) == 0) return size;
    }
    return 0;
}

/* The length of the character of the list that text[0 .. length) ends with, or 0. */
static size_t last_of(const char *const *list, size_t n, const char *text, size_t length)
{
    for (size_t i = 0; i < n; i++) {
        size_t size = strlen(list[i]);
        if (size <= length && memcmp(text + length - size, list[i], size) == 0) return size;
    }
    return 0;
}

static bool is_letter(char c)
{
    return c >= 'a' && c <= 'z';
}

/* Whether the full stop after `length` bytes belongs to their last word. */
static bool keeps_stop(const char *spelled, size_t length)
{
    size_t begin = length;
    while (begin > 0 && spelled[begin - 1] != ' ')
        begin--;
    size_t size = length - begin;
    return (size == 1 && is_letter(spelled[begin])) || memchr(spelled + begin, '.', size) != NULL;
}

size_t mlt_utterance_spell(const char *text, size_t length, char *spelled, size_t *where)
{
    size_t n = 0, at = 0;
    while (at < length) {
        size_t space = first_of(spaces, MLT_COUNT(spaces), text + at, length - at);
        size_t quote = space ? 0 : first_of(apostrophes, MLT_COUNT(apostrophes), text + at, length - at);
        char c = space ? ' ' : quote ? '\'' : text[at];
        if (c >= 'A' && c <= 'Z') c += 'a' - 'A';
        if (!space || (n > 0 && spelled[n - 1] != ' ')) {
            spelled[n] = c;
            where[n++] = at;
        }
        at += space ? space : quote ? quote : 1;
    }
    size_t all = n, size;
    do {
        size = n > 0 && spelled[n - 1] == ' ' ? 1 : last_of(closing, MLT_COUNT(closing), spelled, n);
        n -= size;
    } while (size > 0);
    if (n < all && spelled[n] == '.' && keeps_stop(spelled, n)) n++;
    /* The end lies behind the last byte's own place, which may be an apostrophe of three bytes. */
    where[n] = 0;
    if (n == 0) return 0;
    const char *last = text + where[n - 1];
    size_t quote = first_of(apostrophes, MLT_COUNT(apostrophes), last, length - where[n - 1]);
    where[n] = where[n - 1] + (quote ? quote : 1);
    return n;
}

void mlt_utterance_trim(const char *text, size_t *start, size_t *end)
{
    size_t size;
    while ((size = first_of(spaces, MLT_COUNT(spaces), text + *start, *end - *start)) > 0)
        *start += size;
    while ((size = last_of(spaces, MLT_COUNT(spaces), text + *start, *end - *start)) > 0)
        *end -= size;
}
