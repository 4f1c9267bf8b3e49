/*
 * Strings numbered in the order they were added, found again by content: the vocabulary of a tokenizer.
 *
 * The hash is seeded with the table's address, so that no file can be prepared to make all its strings
 * collide; what is found does not depend on it.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_STRING_TABLE_H
#define MLT_STRING_TABLE_H

#include "base/memory.h"

/* The hash stands beside the number, so that strings are looked at only where they are most likely equal. */
struct mlt_string_slot {
    uint32_t hash;
    uint32_t entry; /* number + 1; 0: empty */
};

struct mlt_string_table {
    millet_allocator allocator;
    char *bytes;                   /* the strings one after the other, each with a NUL */
    uint32_t *starts;              /* [count + 1]: string i is bytes[starts[i] .. starts[i + 1] - 1) */
    struct mlt_string_slot *slots; /* [slot_mask + 1] */
    uint32_t slot_mask;
    int32_t count;
    size_t byte_count, byte_capacity, count_capacity;
    uint64_t seed;
};

/*
 * Makes room for `strings` strings of `bytes` bytes in all (without NULs); it grows when more are added.
 * Errors: NO_MEMORY, UNSUPPORTED (more than 2^30 strings or 2^31 bytes).
 */
millet_status mlt_string_table_open(struct mlt_string_table *table, const millet_allocator *allocator,
                                    size_t strings, size_t bytes, millet_error *err);
void mlt_string_table_close(struct mlt_string_table *table);

/*
 * Appends a string under the next number. Where an equal one is there already it is appended all the same,
 * *first is the number under which the content is found (that of the first), else the new number.
 */
millet_status mlt_string_table_add(struct mlt_string_table *table, const char *text, size_t length,
                                   int32_t *first, millet_error *err);

/* The number of the first string with this content, or -1. */
int32_t mlt_string_table_find(const struct mlt_string_table *table, const char *text, size_t length);

static inline const char *mlt_string_table_get(const struct mlt_string_table *table, int32_t number,
                                               size_t *length)
{
    *length = table->starts[number + 1] - table->starts[number] - 1;
    return table->bytes + table->starts[number];
}

#endif
