/*
 * What utterances have around their matter: spelling, polite words, yes and no, beginnings of corrections and
 * follow-ups.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_ASSISTANT_POLITE_H
#define MLT_ASSISTANT_POLITE_H

#include "base/memory.h"

/*
 * The utterance as it is read: one space between words, plain apostrophes and commas, no marks at its end.
 * The copy lives in `arena`. Errors: BAD_ARGUMENT (not UTF-8, too long), NO_MEMORY.
 */
millet_status mlt_clean_utterance(struct mlt_arena *arena, const char *text, size_t length, char **clean,
                                  size_t *clean_length, millet_error *err);

/* Whether it has a letter of a Chinese script. */
bool mlt_has_chinese(const char *text, size_t length);

/* Takes one polite or idle word off either end; false where there is none, or nothing else would be left. */
bool mlt_strip_polite(const char **text, size_t *length);

/* Whether the whole is a yes or a no, polite words aside. */
bool mlt_is_yes(const char *text, size_t length);
bool mlt_is_no(const char *text, size_t length);

/* Takes off what begins a correction ("no, ", "I meant ") or a follow-up ("and ", "what about "). */
bool mlt_strip_correction(const char **text, size_t *length);
bool mlt_strip_follow_up(const char **text, size_t *length);
/* Takes off what stands before a value that was asked for ("for ", "it's called "). */
bool mlt_strip_lead(const char **text, size_t *length);

/* The next place where one command may end and another begin: *end of the first, *next of the second. */
bool mlt_next_joint(const char *text, size_t length, size_t from, size_t *end, size_t *next);

#endif
