/* Merging with a heap over a linked list. SPDX-License-Identifier: Apache-2.0 */
#include "tokenizer/merge.h"

#include <string.h>

enum { MAX_SYMBOLS = 1 << 30 };

static bool comes_before(const struct mlt_merge_candidate *a, const struct mlt_merge_candidate *b)
{
    return a->priority < b->priority || (a->priority == b->priority && a->left < b->left);
}

static void push(struct mlt_merge_candidate *heap, size_t *count, struct mlt_merge_candidate candidate)
{
    size_t i = (*count)++;
    while (i && comes_before(&candidate, &heap[(i - 1) / 2])) {
        heap[i] = heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    heap[i] = candidate;
}

static struct mlt_merge_candidate pop(struct mlt_merge_candidate *heap, size_t *count)
{
    struct mlt_merge_candidate top = heap[0], last = heap[--*count];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= *count) break;
        if (child + 1 < *count && comes_before(&heap[child + 1], &heap[child])) child++;
        if (!comes_before(&heap[child], &last)) break;
        heap[i] = heap[child];
        i = child;
    }
    heap[i] = last;
    return top;
}

static millet_status reserve(const millet_allocator *allocator, void **array, size_t *capacity, size_t count,
                             size_t size, millet_error *err)
{
    if (count <= *capacity) return MILLET_OK;
    size_t wanted = MLT_MAX(count, 2 * *capacity);
    mlt_free(allocator, *array);
    *capacity = 0;
    *array = mlt_alloc(allocator, wanted, size, err);
    if (!*array) return MILLET_NO_MEMORY;
    *capacity = wanted;
    return MILLET_OK;
}

millet_status mlt_merge_reserve(struct mlt_tokenize_run *run, size_t count, millet_error *err)
{
    if (count >= MAX_SYMBOLS)
        return mlt_fail(err, MILLET_UNSUPPORTED,
                        "a text of %zu bytes without a break is too long to tokenise", count);
    void *symbols = run->symbols, *heap = run->heap;
    millet_status status =
        reserve(run->allocator, &symbols, &run->symbol_capacity, count, sizeof *run->symbols, err);
    run->symbols = symbols;
    if (status) return status;
    /* count - 1 neighbours at first, and at most two new ones for each of count - 1 merges. */
    status = reserve(run->allocator, &heap, &run->heap_capacity, 3 * count, sizeof *run->heap, err);
    run->heap = heap;
    return status;
}

void mlt_merge_symbols(struct mlt_tokenize_run *run, const char *text, size_t count, mlt_merge_rule *rule)
{
    const struct mlt_tokenizer *tokenizer = run->tokenizer;
    struct mlt_merge_symbol *symbols = run->symbols;
    struct mlt_merge_candidate candidate;
    size_t waiting = 0;
    for (size_t i = 0; i < count; i++) {
        symbols[i].previous = (int32_t)i - 1;
        symbols[i].next = i + 1 < count ? (int32_t)i + 1 : -1;
    }
    for (size_t i = 0; i + 1 < count; i++) {
        candidate.left = (int32_t)i;
        candidate.length = symbols[i].length + symbols[i + 1].length;
        if (rule(tokenizer, text, &symbols[i], &symbols[i + 1], &candidate))
            push(run->heap, &waiting, candidate);
    }
    while (waiting) {
        struct mlt_merge_candidate best = pop(run->heap, &waiting);
        struct mlt_merge_symbol *left = &symbols[best.left];
        if (left->length == 0 || left->next < 0) continue;
        struct mlt_merge_symbol *right = &symbols[left->next];
        /* Symbols only grow, so an unchanged sum means that neither has. */
        if (left->length + right->length != best.length) continue;

        left->length = best.length;
        left->number = best.number;
        left->next = right->next;
        right->length = 0;
        if (left->next >= 0) symbols[left->next].previous = best.left;

        int32_t first[2] = {left->previous, best.left};
        for (int side = 0; side < 2; side++) {
            if (first[side] < 0 || symbols[first[side]].next < 0) continue;
            const struct mlt_merge_symbol *a = &symbols[first[side]], *b = &symbols[a->next];
            candidate.left = first[side];
            candidate.length = a->length + b->length;
            if (rule(tokenizer, text, a, b, &candidate)) push(run->heap, &waiting, candidate);
        }
    }
}
