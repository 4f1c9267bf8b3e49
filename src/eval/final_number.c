/* SPDX-License-Identifier: Apache-2.0 */
#include "eval/final_number.h"

#include <stddef.h>
#include <string.h>

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* A comma with three digits behind it, and no fourth. */
static bool is_thousands(const char *comma)
{
    return comma[0] == ',' && is_digit(comma[1]) && is_digit(comma[2]) && is_digit(comma[3]) &&
           !is_digit(comma[4]);
}

/* Reads the number whose first digit this is; returns where it ends. */
static const char *read_number(const char *text, char number[MLT_NUMBER_SIZE], bool *fits)
{
    char digits[MLT_NUMBER_SIZE];
    size_t n = 0, point = 0; /* digits before the point + 1; 0: none */
    *fits = true;
    for (;; text++) {
        if (*text == '.' && !point && is_digit(text[1]))
            point = n + 1;
        else if (!is_digit(*text)) {
            if (point || !is_thousands(text)) break;
            continue;
        } else if (n == 0 && *text == '0' && is_digit(text[1]))
            continue;
        if (n + 3 > sizeof digits) {
            *fits = false;
            n = 0;
        }
        digits[n++] = *text;
    }
    while (point && n >= point && (digits[n - 1] == '0' || digits[n - 1] == '.'))
        n--;
    memcpy(number, digits, n);
    number[n] = 0;
    return text;
}

bool mlt_final_number(const char *text, char number[MLT_NUMBER_SIZE])
{
    bool marked = false, found = false;
    for (const char *mark; (mark = strstr(text, "####")); marked = true)
        text = mark + 4;
    for (const char *c = text; *c; c++) {
        if (!is_digit(*c)) continue;
        bool minus = c > text && c[-1] == '-' && !(c - 1 > text && (is_digit(c[-2]) || c[-2] == ')'));
        if (c - 1 > text && c[-1] == '$' && c[-2] == '-') minus = true;
        char plain[MLT_NUMBER_SIZE];
        bool fits;
        c = read_number(c, plain, &fits) - 1;
        found = fits;
        number[0] = '-';
        strcpy(number + (minus && strcmp(plain, "0") != 0), plain);
        if (marked) break;
    }
    return found;
}
