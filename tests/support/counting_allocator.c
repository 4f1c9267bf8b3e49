/* SPDX-License-Identifier: Apache-2.0 */
#include "support/counting_allocator.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* Before each block: what malloc returned, and the size. */
struct header {
    void *start;
    size_t size;
};

enum { MOST_FILLED = 1 << 20 };

static void *allocate(void *context, size_t size, size_t alignment)
{
    struct counting_allocator *counting = context;
    long long call = atomic_fetch_add(&counting->calls, 1);
    if (call == counting->fail_at) return NULL;
    if (counting->limit && atomic_load(&counting->bytes) + size > counting->limit) return NULL;
    if (size > SIZE_MAX - alignment - sizeof(struct header)) return NULL;
    char *start = malloc(size + alignment + sizeof(struct header));
    if (!start) return NULL;
    uintptr_t block =
        ((uintptr_t)start + sizeof(struct header) + alignment - 1) & ~(uintptr_t)(alignment - 1);
    struct header header = {start, size};
    memcpy((void *)(block - sizeof header), &header, sizeof header);
    /* Who forgets to initialise gets something conspicuous; of large blocks the beginning, else refusing
     * every call of a long computation takes minutes. */
    memset((void *)block, 0xa5, size < MOST_FILLED ? size : MOST_FILLED);
    atomic_fetch_add(&counting->live, 1);
    unsigned long long bytes = atomic_fetch_add(&counting->bytes, size) + size;
    unsigned long long peak = atomic_load(&counting->peak);
    while (bytes > peak && !atomic_compare_exchange_weak(&counting->peak, &peak, bytes))
        ;
    return (void *)block;
}

static void release(void *context, void *block)
{
    struct counting_allocator *counting = context;
    struct header header;
    memcpy(&header, (char *)block - sizeof header, sizeof header);
    atomic_fetch_sub(&counting->live, 1);
    atomic_fetch_sub(&counting->bytes, header.size);
    free(header.start);
}

void counting_allocator_init(struct counting_allocator *counting)
{
    memset(counting, 0, sizeof *counting);
    counting->allocator = (millet_allocator){counting, allocate, release};
    counting->fail_at = -1;
}
