/*
 * Merges by counts of pairs that are kept up to date: for each pair the words that have it, and all pairs in
 * a heap.
 *
 * A merge can only lower the count of pairs that were there before it; so an entry of the heap is never too
 * low, and one that is too high is put back with its right count when it comes to the top.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "corpus/bpe_train.h"

#include "corpus/permutation.h"

#include <string.h>

#define NONE UINT32_MAX

struct pair {
    int32_t left, right;
    uint64_t count;
    uint32_t places;    /* the first of the words that have it, or had it: in `places` */
    uint32_t last_word; /* the one added last, so that it is added once */
};

struct place {
    uint32_t word, next;
};

struct entry {
    uint64_t count;
    uint32_t pair;
};

struct trainer {
    const millet_allocator *allocator;
    const struct mlt_word_counts *words;
    const struct mlt_bpe_options *options;
    int32_t *symbols;  /* of all words; those of word w begin at starts[w] */
    uint64_t *starts;  /* [n_words] */
    uint32_t *lengths; /* [n_words] */
    struct pair *pairs;
    size_t n_pairs, pair_capacity;
    uint32_t *slots; /* pair + 1 by hash; 0: empty */
    size_t n_slots;
    struct place *places;
    size_t n_places, place_capacity;
    struct entry *heap;
    size_t n_heap, heap_capacity;
    int32_t *bytes; /* [256 + n_merges]: of each symbol */
};

static size_t hash_pair(int32_t left, int32_t right)
{
    return (size_t)mlt_mix64((uint64_t)(uint32_t)left << 32 | (uint32_t)right);
}

static millet_status grow_slots(struct trainer *t, millet_error *err)
{
    size_t n_slots = t->n_slots ? 2 * t->n_slots : 1 << 16;
    uint32_t *slots = mlt_alloc_zero(t->allocator, n_slots, sizeof *slots, err);
    if (!slots) return MILLET_NO_MEMORY;
    for (size_t i = 0; i < t->n_pairs; i++) {
        size_t at = hash_pair(t->pairs[i].left, t->pairs[i].right) & (n_slots - 1);
        while (slots[at])
            at = (at + 1) & (n_slots - 1);
        slots[at] = (uint32_t)i + 1;
    }
    mlt_free(t->allocator, t->slots);
    t->slots = slots;
    t->n_slots = n_slots;
    return MILLET_OK;
}

/* The pair's slot: it holds 0 where the pair is new. */
static uint32_t *find_slot(const struct trainer *t, int32_t left, int32_t right)
{
    size_t at = hash_pair(left, right) & (t->n_slots - 1);
    for (; t->slots[at]; at = (at + 1) & (t->n_slots - 1)) {
        const struct pair *pair = &t->pairs[t->slots[at] - 1];
        if (pair->left == left && pair->right == right) break;
    }
    return &t->slots[at];
}

/* Counts a pair of a word, which is remembered as one that has it. */
static millet_status add_pair(struct trainer *t, int32_t left, int32_t right, uint32_t word,
                              millet_error *err)
{
    if (2 * t->n_pairs >= t->n_slots) MLT_TRY(grow_slots(t, err));
    uint32_t *slot = find_slot(t, left, right);
    if (!*slot) {
        void *pairs = t->pairs;
        millet_status status =
            mlt_grow(t->allocator, &pairs, &t->pair_capacity, t->n_pairs, sizeof *t->pairs, err);
        t->pairs = pairs;
        if (status) return status;
        t->pairs[t->n_pairs] = (struct pair){.left = left, .right = right, .places = NONE, .last_word = NONE};
        *slot = (uint32_t)++t->n_pairs;
    }
    struct pair *pair = &t->pairs[*slot - 1];
    pair->count += t->words->words[word].count;
    if (pair->last_word == word) return MILLET_OK;
    if (t->n_places == NONE - 1)
        return mlt_fail(err, MILLET_UNSUPPORTED, "too many words; limit them with max_bytes");
    void *places = t->places;
    millet_status status =
        mlt_grow(t->allocator, &places, &t->place_capacity, t->n_places, sizeof *t->places, err);
    t->places = places;
    if (status) return status;
    t->places[t->n_places] = (struct place){word, pair->places};
    pair->places = (uint32_t)t->n_places++;
    pair->last_word = word;
    return MILLET_OK;
}

/* ---- The heap ---- */

static bool comes_before(const struct trainer *t, const struct entry *a, const struct entry *b)
{
    if (a->count != b->count) return a->count > b->count;
    const struct pair *x = &t->pairs[a->pair], *y = &t->pairs[b->pair];
    return x->left != y->left ? x->left < y->left : x->right < y->right;
}

static void sift_down(struct trainer *t, size_t at)
{
    struct entry entry = t->heap[at];
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= t->n_heap) break;
        if (child + 1 < t->n_heap && comes_before(t, &t->heap[child + 1], &t->heap[child])) child++;
        if (!comes_before(t, &t->heap[child], &entry)) break;
        t->heap[at] = t->heap[child];
        at = child;
    }
    t->heap[at] = entry;
}

/* Whether a pair may ever be merged. */
static bool is_candidate(const struct trainer *t, const struct pair *pair)
{
    return pair->count >= t->options->min_frequency &&
           t->bytes[pair->left] + t->bytes[pair->right] <= t->options->max_bytes;
}

static millet_status push(struct trainer *t, size_t pair, millet_error *err)
{
    if (!is_candidate(t, &t->pairs[pair])) return MILLET_OK;
    void *heap = t->heap;
    millet_status status = mlt_grow(t->allocator, &heap, &t->heap_capacity, t->n_heap, sizeof *t->heap, err);
    t->heap = heap;
    if (status) return status;
    struct entry entry = {t->pairs[pair].count, (uint32_t)pair};
    size_t at = t->n_heap++;
    while (at > 0 && comes_before(t, &entry, &t->heap[(at - 1) / 2])) {
        t->heap[at] = t->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    t->heap[at] = entry;
    return MILLET_OK;
}

/* Takes the best pair; false where there is none. */
static bool pop(struct trainer *t, uint32_t *pair)
{
    while (t->n_heap) {
        struct entry *top = &t->heap[0];
        const struct pair *best = &t->pairs[top->pair];
        if (top->count == best->count) {
            *pair = top->pair;
            t->heap[0] = t->heap[--t->n_heap];
            if (t->n_heap) sift_down(t, 0);
            return true;
        }
        top->count = best->count;
        if (!is_candidate(t, best)) t->heap[0] = t->heap[--t->n_heap];
        if (t->n_heap) sift_down(t, 0);
    }
    return false;
}

/* ---- Merging ---- */

/* Takes the pairs of a word from the counts. */
static void subtract_word(struct trainer *t, uint32_t word)
{
    const int32_t *symbols = t->symbols + t->starts[word];
    for (uint32_t i = 0; i + 1 < t->lengths[word]; i++) {
        struct pair *pair = &t->pairs[*find_slot(t, symbols[i], symbols[i + 1]) - 1];
        pair->count -= t->words->words[word].count;
    }
}

static void merge_in_word(struct trainer *t, uint32_t word, int32_t left, int32_t right, int32_t made)
{
    int32_t *symbols = t->symbols + t->starts[word];
    uint32_t n = t->lengths[word], to = 0;
    for (uint32_t from = 0; from < n;) {
        bool here = from + 1 < n && symbols[from] == left && symbols[from + 1] == right;
        symbols[to++] = here ? made : symbols[from];
        from += here ? 2 : 1;
    }
    t->lengths[word] = to;
}

static bool has_pair(const struct trainer *t, uint32_t word, int32_t left, int32_t right)
{
    const int32_t *symbols = t->symbols + t->starts[word];
    for (uint32_t i = 0; i + 1 < t->lengths[word]; i++)
        if (symbols[i] == left && symbols[i + 1] == right) return true;
    return false;
}

static millet_status merge_pair(struct trainer *t, uint32_t index, int32_t made, millet_error *err)
{
    int32_t left = t->pairs[index].left, right = t->pairs[index].right;
    size_t new_pairs = t->n_pairs;
    for (uint32_t place = t->pairs[index].places; place != NONE; place = t->places[place].next) {
        uint32_t word = t->places[place].word;
        if (!has_pair(t, word, left, right)) continue; /* another merge has taken it */
        subtract_word(t, word);
        merge_in_word(t, word, left, right, made);
        const int32_t *symbols = t->symbols + t->starts[word];
        for (uint32_t i = 0; i + 1 < t->lengths[word]; i++) {
            if (symbols[i] == made || symbols[i + 1] == made)
                MLT_TRY(add_pair(t, symbols[i], symbols[i + 1], word, err));
            else
                t->pairs[*find_slot(t, symbols[i], symbols[i + 1]) - 1].count += t->words->words[word].count;
        }
    }
    for (size_t i = new_pairs; i < t->n_pairs; i++)
        MLT_TRY(push(t, i, err));
    return MILLET_OK;
}

static millet_status begin(struct trainer *t, millet_error *err)
{
    size_t n = t->words->n_words;
    uint64_t total = 0;
    for (size_t w = 0; w < n; w++)
        total += t->words->words[w].length;
    t->symbols = mlt_alloc(t->allocator, (size_t)total, sizeof *t->symbols, err);
    t->starts = mlt_alloc(t->allocator, n, sizeof *t->starts, err);
    t->lengths = mlt_alloc(t->allocator, n, sizeof *t->lengths, err);
    t->bytes = mlt_alloc(t->allocator, 256 + (size_t)t->options->n_merges, sizeof *t->bytes, err);
    if (!t->symbols || !t->starts || !t->lengths || !t->bytes) return MILLET_NO_MEMORY;
    for (int i = 0; i < 256; i++)
        t->bytes[i] = 1;
    total = 0;
    for (uint32_t w = 0; w < n; w++) {
        const uint8_t *text = (const uint8_t *)mlt_word_text(t->words, &t->words->words[w]);
        t->starts[w] = total;
        t->lengths[w] = t->words->words[w].length;
        for (uint32_t i = 0; i < t->lengths[w]; i++)
            t->symbols[total + i] = text[i];
        for (uint32_t i = 0; i + 1 < t->lengths[w]; i++)
            MLT_TRY(add_pair(t, text[i], text[i + 1], w, err));
        total += t->lengths[w];
    }
    for (size_t i = 0; i < t->n_pairs; i++)
        MLT_TRY(push(t, i, err));
    return MILLET_OK;
}

static millet_status train(struct trainer *t, struct mlt_bpe_merge *merges, int32_t *n_merges,
                           uint64_t *n_tokens, millet_error *err)
{
    const struct mlt_bpe_options *o = t->options;
    uint32_t best;
    MLT_TRY(begin(t, err));
    while (*n_merges < o->n_merges && pop(t, &best)) {
        const struct pair *pair = &t->pairs[best];
        int32_t made = 256 + *n_merges;
        merges[*n_merges] = (struct mlt_bpe_merge){pair->left, pair->right, pair->count};
        t->bytes[made] = t->bytes[pair->left] + t->bytes[pair->right];
        ++*n_merges;
        MLT_TRY(merge_pair(t, best, made, err));
        if (*n_merges % 64 == 0 && o->progress && !o->progress(o->context, (double)*n_merges / o->n_merges))
            return mlt_fail(err, MILLET_CANCELLED, "stopped");
    }
    for (size_t w = 0; w < t->words->n_words; w++)
        *n_tokens += t->lengths[w] * t->words->words[w].count;
    return MILLET_OK;
}

millet_status mlt_bpe_train(const millet_allocator *allocator, const struct mlt_word_counts *words,
                            const struct mlt_bpe_options *options, struct mlt_bpe_merge *merges,
                            int32_t *n_merges, uint64_t *n_tokens, millet_error *err)
{
    struct trainer t = {.allocator = allocator, .words = words, .options = options};
    *n_merges = 0;
    *n_tokens = 0;
    millet_status status = train(&t, merges, n_merges, n_tokens, err);
    mlt_free(allocator, t.symbols);
    mlt_free(allocator, t.starts);
    mlt_free(allocator, t.lengths);
    mlt_free(allocator, t.bytes);
    mlt_free(allocator, t.pairs);
    mlt_free(allocator, t.slots);
    mlt_free(allocator, t.places);
    mlt_free(allocator, t.heap);
    return status;
}
