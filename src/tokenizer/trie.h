/*
 * A trie over bytes: finds the strings that begin at a position of a text.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_TRIE_H
#define MLT_TRIE_H

#include "base/memory.h"

struct mlt_trie_node {
    uint32_t first_child; /* children are nodes[first_child .. first_child + n_children), by byte */
    int32_t value;        /* of the string that ends here, or -1 */
    uint16_t n_children;
    uint8_t byte; /* that leads here */
};

struct mlt_trie {
    millet_allocator allocator;
    struct mlt_trie_node *nodes; /* nodes[0] is the root; NULL for an empty trie */
    uint32_t n_nodes;
    uint32_t root_children[256]; /* node for the first byte, 0: none */
};

struct mlt_trie_entry {
    const char *text;
    uint32_t length; /* >= 1 */
    int32_t value;   /* >= 0 */
};

/*
 * Builds the trie of `count` entries, which are sorted in place. Of entries with equal text the smallest
 * value stays. The entries are not needed afterwards. Errors: NO_MEMORY, UNSUPPORTED.
 */
millet_status mlt_trie_open(struct mlt_trie *trie, const millet_allocator *allocator,
                            struct mlt_trie_entry *entries, size_t count, millet_error *err);
void mlt_trie_close(struct mlt_trie *trie);

/* The node reached from `node` (0: the root) by `byte`, or 0 where there is none. */
uint32_t mlt_trie_step(const struct mlt_trie *trie, uint32_t node, uint8_t byte);

/* Length of the longest entry that text[0..length) begins with, its value in *value; 0 where there is none.
 */
size_t mlt_trie_longest(const struct mlt_trie *trie, const char *text, size_t length, int32_t *value);

#endif
