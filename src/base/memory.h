/*
 * Allocation: the default allocator, checked allocation, arenas and growing arrays.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_MEMORY_H
#define MLT_MEMORY_H

#include "base/base.h"
#include "millet/allocator.h"

/* Vectors of any ISA and cache lines need 64 bytes. */
#define MLT_ALIGNMENT 64

/* The allocator over the C library. A static object; thread-safe. */
const millet_allocator *mlt_default_allocator(void);

/*
 * `count * size` bytes aligned to MLT_ALIGNMENT, or NULL with `err` filled (NO_MEMORY) on overflow or
 * refusal. A product of zero gives one byte. The caller releases it with mlt_free and the same allocator.
 * mlt_alloc_zero clears it.
 */
void *mlt_alloc(const millet_allocator *allocator, size_t count, size_t size, millet_error *err);
void *mlt_alloc_zero(const millet_allocator *allocator, size_t count, size_t size, millet_error *err);
/* Releases `block`; NULL is allowed. */
void mlt_free(const millet_allocator *allocator, void *block);

/*
 * Asks the system to use large pages for what of a block has not been touched yet: rows that are pages apart
 * then cost fewer look-ups of addresses. Worth it for blocks that will be used as a whole, since memory comes
 * in pieces of megabytes. Does nothing where the system has no such pages.
 */
void mlt_use_large_pages(void *block, size_t size);

/* A copy of `length` bytes with a NUL added. */
char *mlt_copy_text(const millet_allocator *allocator, const char *text, size_t length, millet_error *err);

/*
 * Makes room for one more element: grows *array (of elements of `size` bytes, *capacity of them, `count`
 * used) by doubling. On failure the array is untouched.
 */
millet_status mlt_grow(const millet_allocator *allocator, void **array, size_t *capacity, size_t count,
                       size_t size, millet_error *err);

/*
 * An arena: many small blocks with one lifetime. Blocks are aligned to 16 bytes and released together.
 * Initialise with mlt_arena_init (allocates nothing); not thread-safe.
 */
struct mlt_arena {
    millet_allocator allocator;
    struct mlt_arena_chunk *chunks;
    size_t used, capacity; /* of the newest chunk */
};

void mlt_arena_init(struct mlt_arena *arena, const millet_allocator *allocator);
void *mlt_arena_alloc(struct mlt_arena *arena, size_t count, size_t size, millet_error *err);
char *mlt_arena_text(struct mlt_arena *arena, const char *text, size_t length, millet_error *err);
void mlt_arena_release(struct mlt_arena *arena);

/* A growing byte string, NUL-terminated at all times once it is not empty. Zero-initialise apart from
 * `allocator`. */
struct mlt_text {
    const millet_allocator *allocator;
    char *data;
    size_t length, capacity;
};

millet_status mlt_text_append(struct mlt_text *text, const char *bytes, size_t length, millet_error *err);
millet_status mlt_text_printf(struct mlt_text *text, millet_error *err, const char *format, ...)
    MLT_PRINTF(3, 4);
void mlt_text_release(struct mlt_text *text);

#endif
