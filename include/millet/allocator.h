/*
 * The allocator interface: every object of Millet takes its memory through one of these.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MILLET_ALLOCATOR_H
#define MILLET_ALLOCATOR_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * A pair of functions and the context they are called with. Objects copy the struct; `context` must outlive
 * them. Both functions must be callable from any thread that uses an object made with the allocator.
 */
typedef struct millet_allocator {
    void *context;
    /* Returns `size` bytes (>= 1) aligned to `alignment` (a power of two, <= 4096), or NULL. Need not be
     * zeroed. */
    void *(*allocate)(void *context, size_t size, size_t alignment);
    /* Releases what `allocate` returned. Never called with NULL. */
    void (*release)(void *context, void *block);
} millet_allocator;

#ifdef __cplusplus
}
#endif
#endif
