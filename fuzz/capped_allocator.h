/*
 * An allocator for fuzz targets: a loader that takes more than it may, or keeps a block, ends the program,
 * which is how libFuzzer learns of it.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_FUZZ_CAPPED_ALLOCATOR_H
#define MLT_FUZZ_CAPPED_ALLOCATOR_H

#include "millet/allocator.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct capped_allocator {
    millet_allocator allocator; /* to hand out */
    size_t live, limit;         /* bytes */
};

static inline void *capped_allocate(void *context, size_t size, size_t alignment)
{
    struct capped_allocator *capped = context;
    if (size > capped->limit - capped->live) {
        fprintf(stderr, "%zu bytes are wanted beside %zu; the input backs %zu\n", size, capped->live,
                capped->limit);
        abort();
    }
    /* The block's size and the way back to `start` lie in front of it. */
    if (alignment < sizeof(void *)) alignment = sizeof(void *);
    size_t header = (sizeof size + sizeof(char *) + alignment - 1) / alignment * alignment;
    void *aligned = NULL;
    if (posix_memalign(&aligned, alignment, header + size) != 0) return NULL;
    char *start = aligned;
    memcpy(start + header - sizeof size, &size, sizeof size);
    memcpy(start + header - sizeof size - sizeof start, &start, sizeof start);
    capped->live += size;
    return start + header;
}

static inline void capped_release(void *context, void *block)
{
    struct capped_allocator *capped = context;
    size_t size;
    char *start;
    memcpy(&size, (char *)block - sizeof size, sizeof size);
    memcpy(&start, (char *)block - sizeof size - sizeof start, sizeof start);
    capped->live -= size;
    free(start);
}

/* At most `fixed` bytes and `factor` for each byte of the input. */
static inline void capped_allocator_init(struct capped_allocator *capped, size_t fixed, size_t factor,
                                         size_t input)
{
    *capped = (struct capped_allocator){.allocator = {capped, capped_allocate, capped_release},
                                        .limit = fixed + factor * input};
}

static inline void capped_allocator_check(const struct capped_allocator *capped)
{
    if (capped->live == 0) return;
    fprintf(stderr, "%zu bytes were not released\n", capped->live);
    abort();
}

#endif
