/* Status names and the filling of millet_error. SPDX-License-Identifier: Apache-2.0 */
#include "base/base.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *millet_status_name(millet_status status)
{
    switch (status) {
#define STATUS_NAME(name, value, text)                                                                       \
    case MILLET_##name: return #name;
        MILLET_STATUS_LIST(STATUS_NAME)
#undef STATUS_NAME
    }
    return "UNKNOWN";
}

const char *millet_status_text(millet_status status)
{
    switch (status) {
#define STATUS_TEXT(name, value, text)                                                                       \
    case MILLET_##name: return text;
        MILLET_STATUS_LIST(STATUS_TEXT)
#undef STATUS_TEXT
    }
    return "unknown status";
}

int millet_error_format(const millet_error *err, char *text, uint64_t size)
{
    char place[32] = "";
    if (err->offset != MILLET_NO_OFFSET)
        snprintf(place, sizeof place, "at byte %llu: ", (unsigned long long)err->offset);
    return snprintf(text, (size_t)size, "%s%s%s%s%s%s", err->file, err->file[0] ? ": " : "", err->item,
                    err->item[0] ? ": " : "", place, err->message);
}

static void copy_text(char *to, size_t size, const char *from)
{
    size_t n = strlen(from);
    if (n >= size) n = size - 1;
    memcpy(to, from, n);
    to[n] = 0;
}

static void fill(millet_error *err, millet_status status, const char *file, const char *item, uint64_t offset,
                 const char *format, va_list args)
{
    if (!err) return;
    err->status = status;
    err->offset = offset;
    copy_text(err->file, sizeof err->file, file ? file : "");
    copy_text(err->item, sizeof err->item, item ? item : "");
    vsnprintf(err->message, sizeof err->message, format, args);
}

millet_status mlt_fail(millet_error *err, millet_status status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fill(err, status, NULL, NULL, MILLET_NO_OFFSET, format, args);
    va_end(args);
    return status;
}

millet_status mlt_fail_at(millet_error *err, millet_status status, const char *file, const char *item,
                          uint64_t offset, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fill(err, status, file, item, offset, format, args);
    va_end(args);
    return status;
}

void mlt_error_in_file(millet_error *err, const char *file)
{
    if (err && !err->file[0]) copy_text(err->file, sizeof err->file, file);
}

void mlt_error_in_item(millet_error *err, const char *item)
{
    if (err && !err->item[0]) copy_text(err->item, sizeof err->item, item);
}
