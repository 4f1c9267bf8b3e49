/* Allocation over a millet_allocator. SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static void *libc_allocate(void *context, size_t size, size_t alignment)
{
    (void)context;
    void *block = NULL;
    if (alignment < sizeof(void *)) alignment = sizeof(void *);
    return posix_memalign(&block, alignment, size) == 0 ? block : NULL;
}

static void libc_release(void *context, void *block)
{
    (void)context;
    free(block);
}

const millet_allocator *mlt_default_allocator(void)
{
    static const millet_allocator allocator = {NULL, libc_allocate, libc_release};
    return &allocator;
}

void *mlt_alloc(const millet_allocator *allocator, size_t count, size_t size, millet_error *err)
{
    size_t bytes;
    if (!mlt_mul_size(count, size, &bytes)) {
        mlt_fail(err, MILLET_NO_MEMORY, "an allocation of %zu x %zu bytes is larger than the address space",
                 count, size);
        return NULL;
    }
    void *block = allocator->allocate(allocator->context, bytes ? bytes : 1, MLT_ALIGNMENT);
    if (!block) mlt_fail(err, MILLET_NO_MEMORY, "an allocation of %zu bytes failed", bytes);
    return block;
}

void *mlt_alloc_zero(const millet_allocator *allocator, size_t count, size_t size, millet_error *err)
{
    void *block = mlt_alloc(allocator, count, size, err);
    if (block) memset(block, 0, count * size);
    return block;
}

void mlt_free(const millet_allocator *allocator, void *block)
{
    if (block) allocator->release(allocator->context, block);
}

void mlt_use_large_pages(void *block, size_t size)
{
#ifdef MADV_HUGEPAGE
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t begin = (uintptr_t)mlt_round_up((uintptr_t)block, page),
              end = ((uintptr_t)block + size) / page * page;
    if (begin < end) (void)madvise((void *)begin, end - begin, MADV_HUGEPAGE);
#else
    (void)block, (void)size;
#endif
}

char *mlt_copy_text(const millet_allocator *allocator, const char *text, size_t length, millet_error *err)
{
    if (length == SIZE_MAX) {
        mlt_fail(err, MILLET_NO_MEMORY, "a string is larger than the address space");
        return NULL;
    }
    char *copy = mlt_alloc(allocator, length + 1, 1, err);
    if (!copy) return NULL;
    if (length) memcpy(copy, text, length);
    copy[length] = 0;
    return copy;
}

millet_status mlt_grow(const millet_allocator *allocator, void **array, size_t *capacity, size_t count,
                       size_t size, millet_error *err)
{
    if (count < *capacity) return MILLET_OK;
    if (count > SIZE_MAX / 2 - 8)
        return mlt_fail(err, MILLET_NO_MEMORY, "an array grew past the address space");
    size_t wanted = count ? count * 2 : 8;
    void *larger = mlt_alloc(allocator, wanted, size, err);
    if (!larger) return MILLET_NO_MEMORY;
    if (*array) memcpy(larger, *array, count * size);
    mlt_free(allocator, *array);
    *array = larger;
    *capacity = wanted;
    return MILLET_OK;
}

/* The chunk's bytes follow its header; the header is padded so that they are aligned. */
struct mlt_arena_chunk {
    struct mlt_arena_chunk *next;
};

enum { ARENA_ALIGNMENT = 16, ARENA_HEADER = MLT_ALIGNMENT, ARENA_CHUNK = 64 * 1024 };

void mlt_arena_init(struct mlt_arena *arena, const millet_allocator *allocator)
{
    *arena = (struct mlt_arena){.allocator = *allocator};
}

void *mlt_arena_alloc(struct mlt_arena *arena, size_t count, size_t size, millet_error *err)
{
    size_t bytes;
    if (!mlt_mul_size(count, size, &bytes) || bytes > SIZE_MAX / 2) {
        mlt_fail(err, MILLET_NO_MEMORY, "an allocation of %zu x %zu bytes is larger than the address space",
                 count, size);
        return NULL;
    }
    bytes = (size_t)mlt_round_up(bytes ? bytes : 1, ARENA_ALIGNMENT);
    if (!arena->chunks || bytes > arena->capacity - arena->used) {
        /* A large block gets a chunk of its own size; the rest of the previous chunk is given up. */
        size_t capacity = MLT_MAX(bytes, (size_t)ARENA_CHUNK);
        struct mlt_arena_chunk *chunk = mlt_alloc(&arena->allocator, 1, ARENA_HEADER + capacity, err);
        if (!chunk) return NULL;
        chunk->next = arena->chunks;
        arena->chunks = chunk;
        arena->used = 0;
        arena->capacity = capacity;
    }
    void *block = (char *)arena->chunks + ARENA_HEADER + arena->used;
    arena->used += bytes;
    return block;
}

char *mlt_arena_text(struct mlt_arena *arena, const char *text, size_t length, millet_error *err)
{
    if (length == SIZE_MAX) {
        mlt_fail(err, MILLET_NO_MEMORY, "a string is larger than the address space");
        return NULL;
    }
    char *copy = mlt_arena_alloc(arena, length + 1, 1, err);
    if (!copy) return NULL;
    if (length) memcpy(copy, text, length);
    copy[length] = 0;
    return copy;
}

void mlt_arena_release(struct mlt_arena *arena)
{
    struct mlt_arena_chunk *chunk = arena->chunks;
    while (chunk) {
        struct mlt_arena_chunk *next = chunk->next;
        mlt_free(&arena->allocator, chunk);
        chunk = next;
    }
    arena->chunks = NULL;
    arena->used = arena->capacity = 0;
}

/* Room for `extra` more bytes and the NUL. */
static millet_status text_reserve(struct mlt_text *text, size_t extra, millet_error *err)
{
    if (extra < text->capacity - text->length) return MILLET_OK;
    if (extra > SIZE_MAX / 4 || text->length > SIZE_MAX / 4)
        return mlt_fail(err, MILLET_NO_MEMORY, "a string grew past the address space");
    size_t wanted = MLT_MAX(2 * text->capacity, text->length + extra + 64);
    char *larger = mlt_alloc(text->allocator, wanted, 1, err);
    if (!larger) return MILLET_NO_MEMORY;
    if (text->data) memcpy(larger, text->data, text->length);
    mlt_free(text->allocator, text->data);
    text->data = larger;
    text->capacity = wanted;
    text->data[text->length] = 0;
    return MILLET_OK;
}

millet_status mlt_text_append(struct mlt_text *text, const char *bytes, size_t length, millet_error *err)
{
    MLT_TRY(text_reserve(text, length, err));
    if (length) memcpy(text->data + text->length, bytes, length);
    text->length += length;
    text->data[text->length] = 0;
    return MILLET_OK;
}

millet_status mlt_text_printf(struct mlt_text *text, millet_error *err, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (length < 0) return mlt_fail(err, MILLET_INTERNAL, "a message could not be formatted");
    MLT_TRY(text_reserve(text, (size_t)length, err));
    va_start(args, format);
    vsnprintf(text->data + text->length, (size_t)length + 1, format, args);
    va_end(args);
    text->length += (size_t)length;
    return MILLET_OK;
}

void mlt_text_release(struct mlt_text *text)
{
    mlt_free(text->allocator, text->data);
    text->data = NULL;
    text->length = text->capacity = 0;
}
