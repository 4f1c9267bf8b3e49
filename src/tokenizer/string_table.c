/* A string table with open addressing. SPDX-License-Identifier: Apache-2.0 */
#include "tokenizer/string_table.h"

#include <string.h>

enum { MAX_STRINGS = 1 << 30 };

static uint64_t mix(uint64_t value)
{
    value ^= value >> 32;
    value *= UINT64_C(0xD6E8FEB86659FD93);
    value ^= value >> 32;
    return value;
}

static uint32_t hash_text(uint64_t seed, const char *text, size_t length)
{
    uint64_t hash = seed ^ (length * UINT64_C(0x9E3779B97F4A7C15));
    while (length >= 8) {
        uint64_t word;
        memcpy(&word, text, 8);
        hash = mix(hash ^ word) * UINT64_C(0x9E3779B97F4A7C15);
        text += 8;
        length -= 8;
    }
    uint64_t tail = 0;
    for (size_t i = 0; i < length; i++)
        tail |= (uint64_t)(uint8_t)text[i] << (8 * i);
    return (uint32_t)(mix(mix(hash ^ tail)) >> 16);
}

/* Slots for at least `strings` strings at a load of at most one half. */
static millet_status open_slots(struct mlt_string_table *table, size_t strings, millet_error *err)
{
    if (strings > MAX_STRINGS)
        return mlt_fail(err, MILLET_UNSUPPORTED,
                        "a vocabulary of %zu strings is too large; at most %d are supported", strings,
                        MAX_STRINGS);
    uint32_t size = 16;
    while (size < 2 * strings)
        size *= 2;
    struct mlt_string_slot *slots = mlt_alloc_zero(&table->allocator, size, sizeof *slots, err);
    if (!slots) return MILLET_NO_MEMORY;
    mlt_free(&table->allocator, table->slots);
    table->slots = slots;
    table->slot_mask = size - 1;
    return MILLET_OK;
}

/* The slot where the content of this hash is, or the empty one where it belongs. */
static struct mlt_string_slot *find_slot(const struct mlt_string_table *table, uint32_t hash,
                                         const char *text, size_t length)
{
    for (uint32_t i = hash;; i++) {
        struct mlt_string_slot *slot = &table->slots[i & table->slot_mask];
        if (!slot->entry) return slot;
        if (slot->hash != hash) continue;
        size_t there_length;
        const char *there = mlt_string_table_get(table, (int32_t)(slot->entry - 1), &there_length);
        if (there_length == length && (length == 0 || memcmp(there, text, length) == 0)) return slot;
    }
}

millet_status mlt_string_table_open(struct mlt_string_table *table, const millet_allocator *allocator,
                                    size_t strings, size_t bytes, millet_error *err)
{
    *table = (struct mlt_string_table){.allocator = *allocator};
    if (strings > MAX_STRINGS || bytes > INT32_MAX - strings)
        return mlt_fail(err, MILLET_UNSUPPORTED, "a vocabulary of %zu strings and %zu bytes is too large",
                        strings, bytes);
    table->count_capacity = strings + 1;
    table->byte_capacity = bytes + strings + 1;
    millet_status status = MILLET_NO_MEMORY;
    if ((table->bytes = mlt_alloc(allocator, table->byte_capacity, 1, err)) &&
        (table->starts = mlt_alloc(allocator, table->count_capacity, sizeof *table->starts, err)))
        status = open_slots(table, strings, err);
    if (status) {
        mlt_string_table_close(table);
        return status;
    }
    table->starts[0] = 0;
    table->seed = mix((uint64_t)(uintptr_t)table->slots);
    return MILLET_OK;
}

void mlt_string_table_close(struct mlt_string_table *table)
{
    mlt_free(&table->allocator, table->bytes);
    mlt_free(&table->allocator, table->starts);
    mlt_free(&table->allocator, table->slots);
    table->bytes = NULL;
    table->starts = NULL;
    table->slots = NULL;
    table->count = 0;
}

static millet_status reserve_bytes(struct mlt_string_table *table, size_t extra, millet_error *err)
{
    if (extra <= table->byte_capacity - table->byte_count) return MILLET_OK;
    if (extra > INT32_MAX || table->byte_count + extra > INT32_MAX)
        return mlt_fail(err, MILLET_UNSUPPORTED, "the texts of the vocabulary have more than 2 GiB");
    size_t capacity = MLT_MIN((size_t)INT32_MAX, 2 * (table->byte_count + extra));
    char *larger = mlt_alloc(&table->allocator, capacity, 1, err);
    if (!larger) return MILLET_NO_MEMORY;
    memcpy(larger, table->bytes, table->byte_count);
    mlt_free(&table->allocator, table->bytes);
    table->bytes = larger;
    table->byte_capacity = capacity;
    return MILLET_OK;
}

static millet_status reserve_slot(struct mlt_string_table *table, millet_error *err)
{
    if ((size_t)table->count < ((size_t)table->slot_mask + 1) / 2) return MILLET_OK;
    MLT_TRY(open_slots(table, 2 * ((size_t)table->count + 1), err));
    for (int32_t i = 0; i < table->count; i++) {
        size_t length;
        const char *text = mlt_string_table_get(table, i, &length);
        uint32_t hash = hash_text(table->seed, text, length);
        struct mlt_string_slot *slot = find_slot(table, hash, text, length);
        if (!slot->entry) *slot = (struct mlt_string_slot){hash, (uint32_t)i + 1};
    }
    return MILLET_OK;
}

millet_status mlt_string_table_add(struct mlt_string_table *table, const char *text, size_t length,
                                   int32_t *first, millet_error *err)
{
    if (length >= INT32_MAX)
        return mlt_fail(err, MILLET_UNSUPPORTED, "a text of the vocabulary has more than 2 GiB");
    MLT_TRY(reserve_bytes(table, length + 1, err));
    void *starts = table->starts;
    millet_status status = mlt_grow(&table->allocator, &starts, &table->count_capacity,
                                    (size_t)table->count + 1, sizeof *table->starts, err);
    table->starts = starts;
    if (status) return status;
    MLT_TRY(reserve_slot(table, err));

    uint32_t hash = hash_text(table->seed, text, length);
    struct mlt_string_slot *slot = find_slot(table, hash, text, length);
    char *end = table->bytes + table->byte_count;
    if (length) memcpy(end, text, length);
    end[length] = 0;
    table->byte_count += length + 1;
    int32_t number = table->count++;
    table->starts[number + 1] = (uint32_t)table->byte_count;
    if (!slot->entry) *slot = (struct mlt_string_slot){hash, (uint32_t)number + 1};
    *first = (int32_t)(slot->entry - 1);
    return MILLET_OK;
}

int32_t mlt_string_table_find(const struct mlt_string_table *table, const char *text, size_t length)
{
    return (int32_t)find_slot(table, hash_text(table->seed, text, length), text, length)->entry - 1;
}
