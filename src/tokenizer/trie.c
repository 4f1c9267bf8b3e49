/* A trie over bytes. SPDX-License-Identifier: Apache-2.0 */
#include "tokenizer/trie.h"

#include <stdlib.h>
#include <string.h>

static int compare_entries(const void *left, const void *right)
{
    const struct mlt_trie_entry *a = left, *b = right;
    int order = memcmp(a->text, b->text, MLT_MIN(a->length, b->length));
    if (order) return order;
    if (a->length != b->length) return a->length < b->length ? -1 : 1;
    return (a->value > b->value) - (a->value < b->value);
}

/* Nodes of the trie of sorted entries: the root and, for each entry, the bytes that the one before does not
 * share. */
static uint64_t count_nodes(const struct mlt_trie_entry *entries, size_t count)
{
    uint64_t nodes = 1;
    for (size_t i = 0; i < count; i++) {
        uint32_t shared = 0;
        if (i) {
            uint32_t most = MLT_MIN(entries[i].length, entries[i - 1].length);
            while (shared < most && entries[i].text[shared] == entries[i - 1].text[shared])
                shared++;
        }
        nodes += entries[i].length - shared;
    }
    return nodes;
}

/* A node whose children are still to be made: all entries of the range share its `depth` first bytes. */
struct pending {
    uint32_t node;
    uint32_t begin, end; /* of the entries */
    uint32_t depth;
};

/*
 * Fills the nodes breadth first, so that the children of a node lie side by side. The queue of pending nodes
 * needs no more places than there are nodes.
 */
static void build(struct mlt_trie *trie, const struct mlt_trie_entry *entries, size_t count,
                  struct pending *queue)
{
    uint32_t n_nodes = 1, head = 0, tail = 0;
    trie->nodes[0] = (struct mlt_trie_node){.value = -1};
    queue[tail++] = (struct pending){0, 0, (uint32_t)count, 0};
    while (head < tail) {
        struct pending range = queue[head++];
        struct mlt_trie_node *node = &trie->nodes[range.node];
        uint32_t i = range.begin;
        for (; i < range.end && entries[i].length == range.depth; i++)
            if (node->value < 0) node->value = entries[i].value;
        node->first_child = n_nodes;
        while (i < range.end) {
            uint8_t byte = (uint8_t)entries[i].text[range.depth];
            uint32_t begin = i;
            while (i < range.end && (uint8_t)entries[i].text[range.depth] == byte)
                i++;
            trie->nodes[n_nodes] = (struct mlt_trie_node){.value = -1, .byte = byte};
            node->n_children++;
            queue[tail++] = (struct pending){n_nodes++, begin, i, range.depth + 1};
        }
    }
    trie->n_nodes = n_nodes;
    for (uint32_t i = 0; i < trie->nodes[0].n_children; i++)
        trie->root_children[trie->nodes[1 + i].byte] = 1 + i;
}

millet_status mlt_trie_open(struct mlt_trie *trie, const millet_allocator *allocator,
                            struct mlt_trie_entry *entries, size_t count, millet_error *err)
{
    memset(trie, 0, sizeof *trie);
    trie->allocator = *allocator;
    if (count == 0) return MILLET_OK;
    if (count > INT32_MAX)
        return mlt_fail(err, MILLET_UNSUPPORTED, "a vocabulary of %zu tokens is too large", count);
    qsort(entries, count, sizeof *entries, compare_entries);
    uint64_t n_nodes = count_nodes(entries, count);
    if (n_nodes > INT32_MAX)
        return mlt_fail(err, MILLET_UNSUPPORTED, "the texts of the vocabulary have more than 2 GiB");
    trie->nodes = mlt_alloc(allocator, (size_t)n_nodes, sizeof *trie->nodes, err);
    struct pending *queue = mlt_alloc(allocator, (size_t)n_nodes, sizeof *queue, err);
    if (!trie->nodes || !queue) {
        mlt_free(allocator, queue);
        mlt_trie_close(trie);
        return MILLET_NO_MEMORY;
    }
    build(trie, entries, count, queue);
    mlt_free(allocator, queue);
    return MILLET_OK;
}

void mlt_trie_close(struct mlt_trie *trie)
{
    mlt_free(&trie->allocator, trie->nodes);
    trie->nodes = NULL;
    trie->n_nodes = 0;
}

uint32_t mlt_trie_step(const struct mlt_trie *trie, uint32_t node, uint8_t byte)
{
    if (node == 0) return trie->root_children[byte];
    const struct mlt_trie_node *children = trie->nodes + trie->nodes[node].first_child;
    uint32_t low = 0, high = trie->nodes[node].n_children;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (children[middle].byte < byte)
            low = middle + 1;
        else
            high = middle;
    }
    if (low < trie->nodes[node].n_children && children[low].byte == byte)
        return trie->nodes[node].first_child + low;
    return 0;
}

size_t mlt_trie_longest(const struct mlt_trie *trie, const char *text, size_t length, int32_t *value)
{
    size_t longest = 0;
    uint32_t node = 0;
    for (size_t i = 0; i < length; i++) {
        node = mlt_trie_step(trie, node, (uint8_t)text[i]);
        if (!node) break;
        if (trie->nodes[node].value >= 0) {
            longest = i + 1;
            *value = trie->nodes[node].value;
        }
    }
    return longest;
}
