/*
 * Reading words from left to right, for the files words_*.c.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_ASSISTANT_WORDS_SCAN_H
#define MLT_ASSISTANT_WORDS_SCAN_H

#include <stdbool.h>
#include <stddef.h>

#define MLT_WORDS_MAX(a, b) ((a) > (b) ? (a) : (b))

struct mlt_scan {
    const char *text;
    size_t length, at;
    bool no_article; /* "a" alone is no number */
};

/* Over spaces, commas and hyphens. */
void mlt_scan_space(struct mlt_scan *s);
bool mlt_scan_at_end(struct mlt_scan *s);
/* How many bytes of the word stand here, capitals aside; 0: it does not. The second: as a whole word. */
size_t mlt_scan_sees(const struct mlt_scan *s, const char *word);
size_t mlt_scan_sees_word(const struct mlt_scan *s, const char *word);
/* The same and goes over it and the space in front. */
bool mlt_scan_take(struct mlt_scan *s, const char *word);
bool mlt_scan_take_word(struct mlt_scan *s, const char *word);

bool mlt_scan_number(struct mlt_scan *s, double *number);
bool mlt_scan_duration(struct mlt_scan *s, double *seconds);

#endif
