/*
 * Numbers, lengths of time and points in time in words, English and Chinese, digits and letters.
 *
 * Every reader takes the whole text, in small letters or capitals, or says that it is none.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_ASSISTANT_WORDS_H
#define MLT_ASSISTANT_WORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* "12", "1,200.5", "minus three", "twenty-five", "two and a half", "一百二十三点五", "两万". */
bool mlt_words_number(const char *text, size_t length, double *number);

/* "ten minutes", "an hour and a half", "1h30m", "90 s", "一个半小时", "三十分钟". In seconds. */
bool mlt_words_duration(const char *text, size_t length, double *seconds);

/* A number at the text's beginning; returns how many bytes it has, 0 where there is none. */
size_t mlt_words_number_prefix(const char *text, size_t length, double *number);

/* A point in time relative to a local moment. */
struct mlt_when {
    int64_t local; /* seconds of local time since 1970; of a day its beginning */
    bool has_time; /* else the whole day is meant */
};
/* With `morning` an hour that could be of either half of the day is one of the morning; else the next. */
/* "tomorrow at 7", "in ten minutes", "friday evening", "december 5th", "half past six", "明天下午三点半". */
bool mlt_words_when(const char *text, size_t length, int64_t local_now, bool morning, struct mlt_when *when);

/* "every day", "on weekdays", "every monday and friday", "每天", "每周一": daily, weekdays, weekends or days
 * as MO,TU. `size` of at least 32. */
bool mlt_words_repeat(const char *text, size_t length, char *repeat, size_t size);

#endif
