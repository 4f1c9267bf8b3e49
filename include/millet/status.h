/*
 * Status codes and error details: what every Millet function that can fail returns.
 *
 * A function that can fail returns a `millet_status` and takes a `millet_error *err` as its last parameter.
 * `err` may be NULL. Where it is not NULL and the function fails, it is filled completely; on success it is
 * left untouched. A `millet_error` owns nothing and may live on the stack, be copied and be forgotten.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MILLET_STATUS_H
#define MILLET_STATUS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(_WIN32)
#define MILLET_API __declspec(dllexport)
#elif defined(__GNUC__)
#define MILLET_API __attribute__((visibility("default")))
#else
#define MILLET_API
#endif

/* The one list of status codes: X(NAME, value, description). Values are stable: they are never reused. */
#define MILLET_STATUS_LIST(X)                                                                                \
    X(OK, 0, "success")                                                                                      \
    X(BAD_ARGUMENT, 1, "an argument is outside its documented range")                                        \
    X(NO_MEMORY, 2, "an allocation failed or a memory limit was reached")                                    \
    X(IO, 3, "the operating system refused to read, write, map or rename a file")                            \
    X(NOT_FOUND, 4, "a file, tensor, metadata key or token does not exist")                                  \
    X(BAD_FORMAT, 5, "a file is damaged: truncated, contradictory or outside its specification")             \
    X(UNSUPPORTED, 6, "a file or request is valid but this version cannot serve it")                         \
    X(CONTEXT_FULL, 7, "the session's context has no room for the tokens")                                   \
    X(CANCELLED, 8, "a callback asked to stop")                                                              \
    X(INTERNAL, 9, "an invariant of the library was broken; please report it")

typedef enum millet_status {
#define MILLET_STATUS_ENUM(name, value, text) MILLET_##name = (value),
    MILLET_STATUS_LIST(MILLET_STATUS_ENUM)
#undef MILLET_STATUS_ENUM
} millet_status;

/* `millet_error.offset` where no byte offset applies. */
#define MILLET_NO_OFFSET UINT64_MAX

/* Where and why a call failed. All strings are NUL-terminated UTF-8, cut at their array's end when too long.
 */
typedef struct millet_error {
    millet_status status;
    char message[384]; /* what is wrong and, where it can be said, what to do */
    char file[256];    /* the file concerned, or "" */
    char item[128];    /* the tensor, metadata key or option concerned, or "" */
    uint64_t offset;   /* byte offset in `file`, or MILLET_NO_OFFSET */
} millet_error;

/* The name of a status ("BAD_FORMAT") and its one-line description. Static strings, never NULL. Thread-safe.
 */
MILLET_API const char *millet_status_name(millet_status status);
MILLET_API const char *millet_status_text(millet_status status);

/*
 * Writes the whole error as one line, "file: item: at byte N: message", into `text` (capacity `size` bytes
 * including the NUL; cut when longer). Returns the length of the full line without NUL, as snprintf does.
 * Thread-safe.
 */
MILLET_API int millet_error_format(const millet_error *err, char *text, uint64_t size);

#ifdef __cplusplus
}
#endif
#endif
