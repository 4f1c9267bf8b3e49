/*
 * The number that a worked answer comes to.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_FINAL_NUMBER_H
#define MLT_FINAL_NUMBER_H

#include <stdbool.h>

enum { MLT_NUMBER_SIZE = 48 };

/*
 * The number behind the last "####" of a text, or where none is there, the last number of the text; written
 * plainly: without commas between thousands, zeros before it or behind its point. False where there is none,
 * or one of more digits than have room.
 */
bool mlt_final_number(const char *text, char number[MLT_NUMBER_SIZE]);

#endif
