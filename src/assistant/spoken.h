/*
 * Values as they are said, in English and Chinese.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_ASSISTANT_SPOKEN_H
#define MLT_ASSISTANT_SPOKEN_H

#include "assistant/assistant_state.h"

/* "1 hour and 5 minutes", "1小时5分钟". Rounded to seconds. */
void mlt_spoken_duration(char *text, size_t size, int64_t milliseconds, enum mlt_language language);
/* Local time of day in the dialogue's language: "7:30 AM", "上午7:30". */
void mlt_spoken_time(const millet_assistant *assistant, char *text, size_t size, int64_t wall_ms);
/* The same of a local time in seconds. */
void mlt_spoken_local_time(const millet_assistant *assistant, char *text, size_t size, int64_t local);
/* Day and time as near ones are called: "tomorrow at 7:30 AM", "明天上午7:30", "on Friday, December 4 at …".
 */
void mlt_spoken_moment(const millet_assistant *assistant, char *text, size_t size, int64_t wall_ms);
/* The day alone: "today", "tomorrow", "Friday, December 4", "12月4日星期五". */
void mlt_spoken_day(const millet_assistant *assistant, char *text, size_t size, int64_t wall_ms);
/* The full date: "Tuesday, December 1, 2026". */
void mlt_spoken_date(const millet_assistant *assistant, char *text, size_t size, int64_t wall_ms);
/* A number without needless digits: "3.5", "12", "1200000". */
void mlt_spoken_number(char *text, size_t size, double number);
/* "milk, eggs and bread", "牛奶、鸡蛋和面包" of an array of strings. */
millet_status mlt_spoken_list(struct mlt_text *out, const json_t *items, enum mlt_language language,
                              millet_error *err);

#endif
