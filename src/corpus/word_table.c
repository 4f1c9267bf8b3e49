/* Words found by content. SPDX-License-Identifier: Apache-2.0 */
#include "corpus/permutation.h"
#include "corpus/word_counts.h"
#include "tokenizer/utf8.h"

#include <stdlib.h>
#include <string.h>

/* Eight bytes at a time. The seed is the place of the table in memory: no text can be made so that all its
 * words collide. */
static uint32_t hash_of(const struct mlt_word_counts *counts, const char *word, size_t length)
{
    uint64_t sum = (uint64_t)(uintptr_t)counts ^ length, part;
    for (; length >= 8; word += 8, length -= 8) {
        memcpy(&part, word, 8);
        sum = mlt_mix64(sum ^ part);
    }
    part = 0;
    if (length) memcpy(&part, word, length);
    return (uint32_t)(mlt_mix64(sum ^ part) >> 32);
}

static millet_status grow_slots(struct mlt_word_counts *counts, millet_error *err)
{
    size_t n_slots = counts->n_slots ? 2 * counts->n_slots : 1024;
    uint32_t *slots = mlt_alloc_zero(counts->allocator, n_slots, sizeof *slots, err);
    if (!slots) return MILLET_NO_MEMORY;
    for (size_t i = 0; i < counts->n_words; i++) {
        size_t at = counts->words[i].hash & (n_slots - 1);
        while (slots[at])
            at = (at + 1) & (n_slots - 1);
        slots[at] = (uint32_t)i + 1;
    }
    mlt_free(counts->allocator, counts->slots);
    counts->slots = slots;
    counts->n_slots = n_slots;
    return MILLET_OK;
}

static millet_status append_bytes(struct mlt_word_counts *counts, const char *word, size_t length,
                                  millet_error *err)
{
    if (counts->byte_capacity - counts->n_bytes < length) {
        size_t capacity = MLT_MAX(2 * counts->byte_capacity, (size_t)1 << 16);
        char *bytes = mlt_alloc(counts->allocator, capacity, 1, err);
        if (!bytes) return MILLET_NO_MEMORY;
        if (counts->n_bytes) memcpy(bytes, counts->bytes, counts->n_bytes);
        mlt_free(counts->allocator, counts->bytes);
        counts->bytes = bytes;
        counts->byte_capacity = capacity;
    }
    memcpy(counts->bytes + counts->n_bytes, word, length);
    counts->n_bytes += length;
    return MILLET_OK;
}

static millet_status add_part(struct mlt_word_counts *counts, const char *word, size_t length, uint64_t times,
                              millet_error *err)
{
    if (counts->n_words * 2 >= counts->n_slots) MLT_TRY(grow_slots(counts, err));
    uint32_t hash = hash_of(counts, word, length);
    size_t at = hash & (counts->n_slots - 1);
    for (; counts->slots[at]; at = (at + 1) & (counts->n_slots - 1)) {
        struct mlt_word *there = &counts->words[counts->slots[at] - 1];
        if (there->hash != hash || there->length != length ||
            memcmp(counts->bytes + there->at, word, length) != 0)
            continue;
        there->count += times;
        return MILLET_OK;
    }
    if (counts->n_words >= UINT32_MAX / 4)
        return mlt_fail(err, MILLET_UNSUPPORTED,
                        "the texts have more than 2^30 different words; limit them with max_bytes");
    void *words = counts->words;
    millet_status status = mlt_grow(counts->allocator, &words, &counts->word_capacity, counts->n_words,
                                    sizeof *counts->words, err);
    counts->words = words;
    if (status) return status;
    size_t place = counts->n_bytes;
    MLT_TRY(append_bytes(counts, word, length, err));
    counts->words[counts->n_words++] =
        (struct mlt_word){.at = place, .count = times, .length = (uint32_t)length, .hash = hash};
    counts->slots[at] = (uint32_t)counts->n_words;
    return MILLET_OK;
}

millet_status mlt_word_counts_add(struct mlt_word_counts *counts, const char *word, size_t length,
                                  uint64_t times, millet_error *err)
{
    while (length > MLT_MAX_WORD) {
        size_t part = MLT_MAX_WORD;
        while (part > MLT_MAX_WORD - 4 && ((uint8_t)word[part] & 0xC0) == 0x80)
            part--;
        MLT_TRY(add_part(counts, word, part, times, err));
        word += part;
        length -= part;
    }
    return length ? add_part(counts, word, length, times, err) : MILLET_OK;
}

/* qsort has no context: the bytes of the table being sorted, one for each thread. */
static _Thread_local const char *sorted_bytes;

static int compare_words(const void *a, const void *b)
{
    const struct mlt_word *x = a, *y = b;
    if (x->count != y->count) return x->count > y->count ? -1 : 1;
    int order = memcmp(sorted_bytes + x->at, sorted_bytes + y->at, MLT_MIN(x->length, y->length));
    return order ? order : (x->length > y->length) - (x->length < y->length);
}

void mlt_word_counts_sort(struct mlt_word_counts *counts)
{
    sorted_bytes = counts->bytes;
    if (counts->n_words) qsort(counts->words, counts->n_words, sizeof *counts->words, compare_words);
}

void mlt_word_counts_release(struct mlt_word_counts *counts)
{
    mlt_free(counts->allocator, counts->bytes);
    mlt_free(counts->allocator, counts->words);
    mlt_free(counts->allocator, counts->slots);
    *counts = (struct mlt_word_counts){.allocator = counts->allocator};
}
