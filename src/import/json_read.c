/* Parsing JSON with jansson, and typed access to members. SPDX-License-Identifier: Apache-2.0 */
#include "import/json_read.h"

#include "base/file.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { MAX_STRING = 4 * 1024 * 1024 };

/*
 * Bytes of the longest string, roughly. jansson does not survive that its buffer for the string at hand
 * cannot grow (2.14 goes on with what it has), so that must not depend on the file: longer strings are
 * refused here.
 */
static size_t longest_string(const char *text, size_t size)
{
    size_t longest = 0, begin = 0;
    bool inside = false;
    for (size_t i = 0; i < size; i++) {
        if (inside && text[i] == '\\') {
            i++;
        } else if (text[i] == '"') {
            if (inside) longest = MLT_MAX(longest, i - begin);
            inside = !inside;
            begin = i;
        }
    }
    return inside ? MLT_MAX(longest, size - begin) : longest;
}

millet_status mlt_json_parse(const char *file, uint64_t offset, const void *text, size_t size, json_t **out,
                             millet_error *err)
{
    json_error_t error = {0};
    *out = NULL;
    size_t longest = longest_string(text, size);
    if (longest > MAX_STRING)
        return mlt_fail_at(err, MILLET_BAD_FORMAT, file, NULL, offset,
                           "the JSON text has a string of some %zu bytes; at most %d are expected", longest,
                           (int)MAX_STRING);
    /* Where memory ends, jansson reports anything from nothing to bad syntax: errno tells (POSIX malloc). */
    int before = errno;
    errno = 0;
    json_t *root = json_loadb(text, size, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    bool no_memory = !root && (errno == ENOMEM || json_error_code(&error) == json_error_out_of_memory);
    errno = before;
    if (no_memory)
        return mlt_fail_at(err, MILLET_NO_MEMORY, file, NULL, MILLET_NO_OFFSET,
                           "not enough memory to read the JSON text of %zu bytes", size);
    if (!root) {
        uint64_t at = error.position > 0 ? (uint64_t)error.position : 0;
        return mlt_fail_at(err, MILLET_BAD_FORMAT, file, NULL, offset + at,
                           "no valid JSON (line %d, column %d): %s", error.line, error.column, error.text);
    }
    if (!json_is_object(root)) {
        json_decref(root);
        return mlt_fail_at(err, MILLET_BAD_FORMAT, file, NULL, offset, "the JSON text is no object");
    }
    *out = root;
    return MILLET_OK;
}

millet_status mlt_json_read(const millet_allocator *allocator, const char *path, uint64_t limit, json_t **out,
                            millet_error *err)
{
    char *text;
    uint64_t size;
    *out = NULL;
    MLT_TRY(mlt_file_read(allocator, path, limit, &text, &size, err));
    millet_status status = mlt_json_parse(path, 0, text, (size_t)size, out, err);
    mlt_free(allocator, text);
    return status;
}

millet_status mlt_json_read_optional(const millet_allocator *allocator, const char *path, uint64_t limit,
                                     json_t **out, millet_error *err)
{
    millet_error probe; /* err stays as it is when the file is only missing */
    millet_status status = mlt_json_read(allocator, path, limit, out, &probe);
    if (status == MILLET_NOT_FOUND) return MILLET_OK;
    if (status != MILLET_OK && err) *err = probe;
    return status;
}

millet_status mlt_json_fail(const struct mlt_json *json, const char *key, millet_error *err,
                            millet_status status, const char *format, ...)
{
    char message[sizeof((millet_error *)0)->message], item[sizeof((millet_error *)0)->item];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    snprintf(item, sizeof item, "%s%s", json->prefix, key);
    return mlt_fail_at(err, status, json->file, item, MILLET_NO_OFFSET, "%s", message);
}

static const char *type_name(const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT: return "an object";
    case JSON_ARRAY: return "an array";
    case JSON_STRING: return "a string";
    case JSON_INTEGER: return "an integer";
    case JSON_REAL: return "a real number";
    case JSON_TRUE:
    case JSON_FALSE: return "a boolean";
    case JSON_NULL: return "null";
    }
    return "of no known type";
}

/* The member, or NULL when it is absent or null; then `required` is a failure. */
static millet_status find(const struct mlt_json *json, const char *key, bool required, const json_t **out,
                          millet_error *err)
{
    const json_t *value = json_object_get(json->object, key);
    *out = value && !json_is_null(value) ? value : NULL;
    if (*out || !required) return MILLET_OK;
    return mlt_json_fail(json, key, err, MILLET_BAD_FORMAT, "this key is missing");
}

millet_status mlt_json_get_u32(const struct mlt_json *json, const char *key, const uint32_t *fallback,
                               uint32_t *out, millet_error *err)
{
    const json_t *value;
    MLT_TRY(find(json, key, !fallback, &value, err));
    if (!value) {
        *out = *fallback;
        return MILLET_OK;
    }
    if (!json_is_integer(value))
        return mlt_json_fail(json, key, err, MILLET_BAD_FORMAT, "the value is %s; an integer is needed",
                             type_name(value));
    json_int_t number = json_integer_value(value);
    if (number < 0 || number > UINT32_MAX)
        return mlt_json_fail(json, key, err, MILLET_BAD_FORMAT,
                             "the value is %lld; 0 to 4294967295 is possible", (long long)number);
    *out = (uint32_t)number;
    return MILLET_OK;
}

millet_status mlt_json_get_f64(const struct mlt_json *json, const char *key, const double *fallback,
                               double *out, millet_error *err)
{
    const json_t *value;
    MLT_TRY(find(json, key, !fallback, &value, err));
    if (!value) {
        *out = *fallback;
        return MILLET_OK;
    }
    if (!json_is_number(value))
        return mlt_json_fail(json, key, err, MILLET_BAD_FORMAT, "the value is %s; a number is needed",
                             type_name(value));
    *out = json_number_value(value);
    if (!isfinite(*out)) return mlt_json_fail(json, key, err, MILLET_BAD_FORMAT, "the value is not finite");
    return MILLET_OK;
}

millet_status mlt_json_get_bool(const struct mlt_json *json, const char *key, const bool *fallback, bool *out,
                                millet_error *err)
{
    const json_t *value;
    MLT_TRY(find(json, key, !fallback, &value, err));
    if (!value) {
        *out = *fallback;
        return MILLET_OK;
    }
    if (!json_is_boolean(value))
        return mlt_json_fail(json, key, err, MILLET_BAD_FORMAT, "the value is %s; true or false is needed",
                             type_name(value));
    *out = json_is_true(value);
    return MILLET_OK;
}

millet_status mlt_json_get_object(const struct mlt_json *json, const char *key, const char *prefix,
                                  struct mlt_json *out, millet_error *err)
{
    const json_t *value;
    MLT_TRY(find(json, key, false, &value, err));
    if (value && !json_is_object(value))
        return mlt_json_fail(json, key, err, MILLET_BAD_FORMAT, "the value is %s; an object is needed",
                             type_name(value));
    *out = (struct mlt_json){.object = value, .file = json->file, .prefix = prefix};
    return MILLET_OK;
}

const char *mlt_json_string(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

const json_t *mlt_json_array(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return json_is_array(value) ? value : NULL;
}
