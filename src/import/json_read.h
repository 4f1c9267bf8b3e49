/*
 * Reading JSON files: parsing with limits, and typed access that names file and key when it fails.
 *
 * The parser is jansson. Keys that occur twice are refused, nesting deeper than jansson's 2048 levels too.
 * jansson takes its memory from the C library, not from a millet_allocator; what it takes is released before
 * an import returns, and is in proportion to the file's bytes.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_JSON_READ_H
#define MLT_JSON_READ_H

#include "base/memory.h"

#include <jansson.h>

/* A JSON object and where it came from. `file` and `prefix` ("", "rope_scaling.") are for messages only. */
struct mlt_json {
    const json_t *object;
    const char *file;
    const char *prefix;
};

/*
 * Parses text[0..size), whose top level must be an object. *out is released by the caller with json_decref.
 * Errors: BAD_FORMAT (with the byte offset, counted from `offset`, the text's place in its file), NO_MEMORY.
 */
millet_status mlt_json_parse(const char *file, uint64_t offset, const void *text, size_t size, json_t **out,
                             millet_error *err);

/*
 * Reads and parses a file of at most `limit` bytes. Errors: those of mlt_file_read and mlt_json_parse;
 * NOT_FOUND where there is no such file.
 */
millet_status mlt_json_read(const millet_allocator *allocator, const char *path, uint64_t limit, json_t **out,
                            millet_error *err);

/* As mlt_json_read, but a file that does not exist is no failure: then *out is NULL. */
millet_status mlt_json_read_optional(const millet_allocator *allocator, const char *path, uint64_t limit,
                                     json_t **out, millet_error *err);

/*
 * Typed members. JSON's null counts as absent, as in the files of Hugging Face. `fallback` NULL: the member
 * is required (BAD_FORMAT names it). A value of another type or outside the range is BAD_FORMAT.
 */
millet_status mlt_json_get_u32(const struct mlt_json *json, const char *key, const uint32_t *fallback,
                               uint32_t *out, millet_error *err);
millet_status mlt_json_get_f64(const struct mlt_json *json, const char *key, const double *fallback,
                               double *out, millet_error *err);
millet_status mlt_json_get_bool(const struct mlt_json *json, const char *key, const bool *fallback, bool *out,
                                millet_error *err);
/* Member `key` as an object in *out (with `prefix`, which the caller keeps), or out->object NULL when absent.
 */
millet_status mlt_json_get_object(const struct mlt_json *json, const char *key, const char *prefix,
                                  struct mlt_json *out, millet_error *err);

/* NULL where the member is absent, null, or of another type. */
const char *mlt_json_string(const json_t *object, const char *key);
const json_t *mlt_json_array(const json_t *object, const char *key);

/* BAD_FORMAT or UNSUPPORTED at a member: fills err with the file and "prefix key". Returns `status`. */
millet_status mlt_json_fail(const struct mlt_json *json, const char *key, millet_error *err,
                            millet_status status, const char *format, ...) MLT_PRINTF(5, 6);

#endif
