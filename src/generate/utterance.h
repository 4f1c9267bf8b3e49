/*
 * An utterance as a model that understands commands was trained to see it (models/recipe/records.py has the
 * same rules):
 *   1. A to Z become a to z, typographic apostrophes become '.
 *   2. White space at the ends goes, and a run of it inside is one space.
 *   3. Punctuation at the end goes, but a full stop stays after a single letter and after a word with another
 *      full stop in it ("p.m.").
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_UTTERANCE_H
#define MLT_UTTERANCE_H

#include "base/memory.h"

/*
 * Writes the utterance to spelled[.. length] (it is never longer than the text) and returns its length.
 * where[i], for each of its bytes, is the byte of the text that it comes from; where[length of the result] is
 * the place in the text where it ends.
 */
size_t mlt_utterance_spell(const char *text, size_t length, char *spelled, size_t *where);

/* Takes white space from both ends of text[*start .. *end). */
void mlt_utterance_trim(const char *text, size_t *start, size_t *end);

#endif
