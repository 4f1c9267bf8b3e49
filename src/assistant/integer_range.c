/* Limits of integers as alternatives of digits: see integer_range.h. SPDX-License-Identifier: Apache-2.0 */
#include "assistant/integer_range.h"

enum { MOST_DIGITS = 16 };

struct writer {
    struct mlt_text *out;
    const char *sign; /* in front of every alternative */
    bool begun;
    millet_error *err;
};

static millet_status begin_alternative(struct writer *w)
{
    const char *between = w->begun ? "| " : "";
    w->begun = true;
    return mlt_text_printf(w->out, w->err, "%s%s", between, w->sign);
}

/*
 * first..last, both of n digits. Cut until every digit has a range of its own: where digits behind the first
 * one that differs do not run from 0 to 9.
 */
static millet_status write_digits(struct writer *w, int64_t first, int64_t last, int n)
{
    int64_t power = 10;
    for (int i = 1; i < n; i++, power *= 10) {
        int64_t split;
        if (first / power == last / power) continue;
        if (first % power)
            split = first / power * power + power - 1;
        else if (last % power != power - 1)
            split = last / power * power - 1;
        else
            continue;
        MLT_TRY(write_digits(w, first, split, n));
        return write_digits(w, split + 1, last, n);
    }
    MLT_TRY(begin_alternative(w));
    power = 1;
    for (int i = 1; i < n; i++)
        power *= 10;
    for (; power; power /= 10) {
        int low = (int)(first / power % 10), high = (int)(last / power % 10);
        if (low == high)
            MLT_TRY(mlt_text_printf(w->out, w->err, "\"%d\" ", low));
        else
            MLT_TRY(mlt_text_printf(w->out, w->err, "[%d-%d] ", low, high));
    }
    return MILLET_OK;
}

/* first..last, not negative; last < 0: no limit. */
static millet_status write_magnitudes(struct writer *w, int64_t first, int64_t last)
{
    int n = 1;
    int64_t end = 9; /* the last integer of n digits */
    for (; n <= MOST_DIGITS && (last < 0 || first <= last); n++, end = end * 10 + 9) {
        if (first > end) continue;
        if (last < 0 && first == (end + 1) / 10) break; /* these and all that have more digits */
        MLT_TRY(write_digits(w, first, last < 0 ? end : MLT_MIN(end, last), n));
        first = end + 1;
    }
    if (last >= 0 || n > MOST_DIGITS) return MILLET_OK;
    MLT_TRY(begin_alternative(w));
    return mlt_text_printf(w->out, w->err, "[1-9] [0-9]{%d,%d} ", n - 1, MOST_DIGITS - 1);
}

millet_status mlt_write_integer_range(struct mlt_text *out, const int64_t *least, const int64_t *most,
                                      millet_error *err)
{
    struct writer w = {.out = out, .sign = "\"-\" ", .err = err};
    MLT_TRY(mlt_text_append(out, "(", 1, err));
    if (!least || *least < 0)
        MLT_TRY(write_magnitudes(&w, most && *most < 0 ? -*most : 1, least ? -*least : -1));
    w.sign = "";
    if (!most || *most >= 0)
        MLT_TRY(write_magnitudes(&w, least && *least > 0 ? *least : 0, most ? *most : -1));
    return mlt_text_append(out, ") ", 2, err);
}
