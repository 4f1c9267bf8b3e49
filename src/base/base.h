/*
 * Small things that every module uses: failing with a message, overflow-safe arithmetic, assertions.
 *
 * Source: the conventions of docs/architecture.md. Nothing here allocates.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_BASE_H
#define MLT_BASE_H

#include "millet/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define MLT_PRINTF(format_index, first_arg) __attribute__((format(printf, format_index, first_arg)))
#define MLT_UNUSED __attribute__((unused))
#define MLT_LIKELY(x) __builtin_expect(!!(x), 1)
#define MLT_UNLIKELY(x) __builtin_expect(!!(x), 0)
#else
#define MLT_PRINTF(format_index, first_arg)
#define MLT_UNUSED
#define MLT_LIKELY(x) (x)
#define MLT_UNLIKELY(x) (x)
#endif

#define MLT_COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define MLT_MIN(a, b) ((a) < (b) ? (a) : (b))
#define MLT_MAX(a, b) ((a) > (b) ? (a) : (b))

/* Returns early from a function that returns millet_status when `call` fails; `err` has been filled by the
 * callee. */
#define MLT_TRY(call)                                                                                        \
    do {                                                                                                     \
        millet_status mlt_try_status = (call);                                                               \
        if (mlt_try_status != MILLET_OK) return mlt_try_status;                                              \
    } while (0)

/*
 * Fills `err` (may be NULL) with the status and the printf-style message, with no place, and returns
 * `status`: return mlt_fail(err, MILLET_BAD_ARGUMENT, "n_ctx is %d; at least 1 is needed", n_ctx);
 */
millet_status mlt_fail(millet_error *err, millet_status status, const char *format, ...) MLT_PRINTF(3, 4);

/* As mlt_fail, with a place: `file` and `item` may be NULL (then ""), `offset` may be MILLET_NO_OFFSET. */
millet_status mlt_fail_at(millet_error *err, millet_status status, const char *file, const char *item,
                          uint64_t offset, const char *format, ...) MLT_PRINTF(6, 7);

/* Adds a place to an error that has none yet: callers further out know the file that callees do not. `err`
 * may be NULL. */
void mlt_error_in_file(millet_error *err, const char *file);
void mlt_error_in_item(millet_error *err, const char *item);

/* Overflow-safe arithmetic: *out = a op b and true, or false (and *out unspecified) when it does not fit. */
static inline bool mlt_add_u64(uint64_t a, uint64_t b, uint64_t *out)
{
    *out = a + b;
    return *out >= a;
}

static inline bool mlt_mul_u64(uint64_t a, uint64_t b, uint64_t *out)
{
    *out = a * b;
    return a == 0 || *out / a == b;
}

static inline bool mlt_mul_size(size_t a, size_t b, size_t *out)
{
    *out = a * b;
    return a == 0 || *out / a == b;
}

static inline uint64_t mlt_round_up(uint64_t value, uint64_t power_of_two)
{
    return (value + power_of_two - 1) & ~(power_of_two - 1);
}

#endif
