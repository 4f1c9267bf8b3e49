/*
 * Seeds by a suffix array of the different words, whose suffixes count as often as their words.
 *
 * Suffixes are sorted by their first max_characters characters only, and by bucket of their first character,
 * which threads share.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "corpus/piece_set.h"
#include "tokenizer/utf8.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* A suffix of a stretch of a word that holds required characters only: its text, cut at the longest piece. */
struct suffix {
    const char *text;
    uint64_t weight;
    uint16_t length, characters;
};

struct character {
    uint32_t codepoint;
    uint64_t count;
    const char *text;
    uint32_t length;
};

struct seeding {
    const struct mlt_word_counts *words;
    const struct mlt_seed_options *options;
    const millet_allocator *allocator;
    uint64_t *counts;  /* [CODEPOINTS]: of each character */
    uint8_t *required; /* [CODEPOINTS] */
    struct suffix *suffixes;
    size_t n_suffixes;
    size_t *buckets; /* [n_buckets + 1] */
    size_t n_buckets;
    atomic_size_t next;
    struct mlt_piece *pieces;
    size_t n_pieces, piece_capacity;
};

enum { CODEPOINTS = 0x110000 };

/* Characters that a piece may hold. Control characters are left to bytes: they would stand raw in files of
 * the vocabulary. */
static bool is_fit(uint32_t codepoint)
{
    return codepoint >= 0x20 ? codepoint != 0x7F && codepoint != 0xFFFD
                             : codepoint == '\n' || codepoint == '\t';
}

static int compare_characters(const void *a, const void *b)
{
    const struct character *x = a, *y = b;
    if (x->count != y->count) return x->count > y->count ? -1 : 1;
    return (x->codepoint > y->codepoint) - (x->codepoint < y->codepoint);
}

static millet_status add_piece(struct seeding *s, const char *text, size_t length, bool required,
                               double score, millet_error *err)
{
    void *pieces = s->pieces;
    millet_status status =
        mlt_grow(s->allocator, &pieces, &s->piece_capacity, s->n_pieces, sizeof *s->pieces, err);
    s->pieces = pieces;
    if (status) return status;
    s->pieces[s->n_pieces++] = (struct mlt_piece){text, (uint32_t)length, required, score};
    return MILLET_OK;
}

/* Counts characters and decides which are required. */
static millet_status find_characters(struct seeding *s, millet_error *err)
{
    const struct mlt_word_counts *words = s->words;
    uint64_t total = 0, covered = 0;
    size_t n = 0;
    for (size_t w = 0; w < words->n_words; w++) {
        const char *text = mlt_word_text(words, &words->words[w]);
        uint32_t codepoint;
        for (size_t i = 0; i < words->words[w].length;
             i += mlt_utf8_step(text + i, words->words[w].length - i, &codepoint)) {
            mlt_utf8_step(text + i, words->words[w].length - i, &codepoint);
            n += s->counts[codepoint] == 0;
            s->counts[codepoint] += words->words[w].count;
            total += words->words[w].count;
        }
    }
    struct character *found = mlt_alloc(s->allocator, n, sizeof *found, err);
    if (!found) return MILLET_NO_MEMORY;
    n = 0;
    for (uint32_t c = 0; c < CODEPOINTS; c++)
        if (s->counts[c] && is_fit(c)) found[n++] = (struct character){.codepoint = c, .count = s->counts[c]};
    qsort(found, n, sizeof *found, compare_characters);
    for (size_t i = 0; i < n && i < s->options->max_required; i++) {
        if ((double)covered >= s->options->coverage * (double)total) break;
        covered += found[i].count;
        s->required[found[i].codepoint] = 1;
    }
    mlt_free(s->allocator, found);
    return MILLET_OK;
}

/* Appends a piece for each required character, whose text is taken from where it first occurs. */
static millet_status add_characters(struct seeding *s, millet_error *err)
{
    const struct mlt_word_counts *words = s->words;
    for (size_t w = 0; w < words->n_words; w++) {
        const char *text = mlt_word_text(words, &words->words[w]);
        size_t size;
        for (size_t i = 0; i < words->words[w].length; i += size) {
            uint32_t codepoint;
            size = mlt_utf8_step(text + i, words->words[w].length - i, &codepoint);
            if (s->required[codepoint] != 1) continue;
            s->required[codepoint] = 2;
            MLT_TRY(add_piece(s, text + i, size, true, (double)s->counts[codepoint], err));
        }
    }
    return MILLET_OK;
}

/* ---- Suffixes ---- */

/*
 * Calls for every suffix of the words: writes it to `out` where that is not NULL, and returns their number.
 * Characters that are not required end a stretch.
 */
static size_t list_suffixes(const struct seeding *s, struct suffix *out)
{
    const struct mlt_word_counts *words = s->words;
    size_t n = 0, most = (size_t)s->options->max_characters;
    for (size_t w = 0; w < words->n_words; w++) {
        const char *text = mlt_word_text(words, &words->words[w]);
        size_t length = words->words[w].length, at[MLT_MAX_WORD + 1], count = 0, end = 0;
        while (end <= length) {
            uint32_t codepoint = 0;
            size_t size = end < length ? mlt_utf8_step(text + end, length - end, &codepoint) : 1;
            bool good = end < length && s->required[codepoint];
            if (good) at[count++] = end;
            if (!good) {
                at[count] = end;
                for (size_t i = 0; i < count; i++) {
                    size_t last = MLT_MIN(i + most, count);
                    if (out)
                        out[n] = (struct suffix){text + at[i], words->words[w].count,
                                                 (uint16_t)(at[last] - at[i]), (uint16_t)(last - i)};
                    n++;
                }
                count = 0;
            }
            end += size;
        }
    }
    return n;
}

static int compare_suffixes(const void *a, const void *b)
{
    const struct suffix *x = a, *y = b;
    int order = memcmp(x->text, y->text, MLT_MIN(x->length, y->length));
    if (order) return order;
    if (x->length != y->length) return x->length < y->length ? -1 : 1;
    return x->text < y->text ? -1
                             : x->text > y->text; /* the words' place in memory: one order for all threads */
}

/* Distributes the suffixes by their first two bytes. */
static millet_status sort_into_buckets(struct seeding *s, millet_error *err)
{
    enum { BUCKETS = 1 << 16 };
    size_t n = list_suffixes(s, NULL);
    s->n_suffixes = n;
    s->n_buckets = BUCKETS;
    struct suffix *unsorted = mlt_alloc(s->allocator, n, sizeof *unsorted, err);
    s->suffixes = mlt_alloc(s->allocator, n, sizeof *s->suffixes, err);
    s->buckets = mlt_alloc_zero(s->allocator, BUCKETS + 1, sizeof *s->buckets, err);
    if (!unsorted || !s->suffixes || !s->buckets) {
        mlt_free(s->allocator, unsorted);
        return MILLET_NO_MEMORY;
    }
    list_suffixes(s, unsorted);
#define BUCKET(x) ((size_t)(uint8_t)(x).text[0] << 8 | ((x).length > 1 ? (uint8_t)(x).text[1] : 0))
    for (size_t i = 0; i < n; i++)
        s->buckets[BUCKET(unsorted[i]) + 1]++;
    for (size_t b = 0; b < BUCKETS; b++)
        s->buckets[b + 1] += s->buckets[b];
    for (size_t i = 0; i < n; i++)
        s->suffixes[s->buckets[BUCKET(unsorted[i])]++] = unsorted[i];
    memmove(s->buckets + 1, s->buckets, BUCKETS * sizeof *s->buckets);
    s->buckets[0] = 0;
#undef BUCKET
    mlt_free(s->allocator, unsorted);
    return MILLET_OK;
}

static void sort_share(void *argument, int share, int threads)
{
    struct seeding *s = argument;
    (void)share;
    (void)threads;
    for (;;) {
        size_t b = atomic_fetch_add(&s->next, 1);
        if (b >= s->n_buckets) return;
        size_t n = s->buckets[b + 1] - s->buckets[b];
        if (n > 1) qsort(s->suffixes + s->buckets[b], n, sizeof *s->suffixes, compare_suffixes);
    }
}

/* Whole characters that both begin with. */
static size_t common_characters(const struct suffix *a, const struct suffix *b)
{
    size_t n = MLT_MIN(a->length, b->length), i = 0, characters = 0;
    while (i < n && a->text[i] == b->text[i])
        i++;
    /* A character that differs in its last byte only is no common one. */
    while (i > 0 && i < a->length && ((uint8_t)a->text[i] & 0xC0) == 0x80)
        i--;
    for (size_t k = 0; k < i; k++)
        characters += ((uint8_t)a->text[k] & 0xC0) != 0x80;
    return characters;
}

static size_t bytes_of(const char *text, size_t characters)
{
    size_t i = 0;
    while (characters--)
        i += mlt_utf8_lead_length((uint8_t)text[i]);
    return i;
}

static millet_status add_node(struct seeding *s, const struct suffix *suffix, size_t characters,
                              uint64_t weight, millet_error *err)
{
    if (characters < 2 || weight < s->options->min_frequency) return MILLET_OK;
    return add_piece(s, suffix->text, bytes_of(suffix->text, characters), false,
                     (double)weight * (double)characters, err);
}

/*
 * The inner nodes of the suffix tree, from the suffix array with the lengths of common beginnings by a stack
 * of open nodes (Abouelhoda, Kurtz and Ohlebusch, 2004), and the leaves, which several words may share by
 * being frequent.
 */
static millet_status add_nodes(struct seeding *s, millet_error *err)
{
    struct {
        size_t depth;
        uint64_t weight;
    } open[MLT_MAX_PIECE_CHARACTERS + 2];
    size_t top = 0;
    open[0].depth = 0;
    open[0].weight = 0;
    for (size_t i = 0; i < s->n_suffixes; i++) {
        const struct suffix *suffix = &s->suffixes[i];
        size_t common = i + 1 < s->n_suffixes ? common_characters(suffix, suffix + 1) : 0;
        /* This suffix is a node of its own depth; what is deeper than the next one's common part ends here.
         */
        if (open[top].depth < suffix->characters) {
            top++;
            open[top].depth = suffix->characters;
            open[top].weight = 0;
        }
        open[top].weight += suffix->weight;
        while (open[top].depth > common) {
            uint64_t weight = open[top].weight;
            MLT_TRY(add_node(s, suffix, open[top].depth, weight, err));
            if (open[top - 1].depth < common) {
                open[top].depth = common; /* the same suffixes, as the beginning of a node not yet open */
                break;
            }
            top--;
            open[top].weight += weight;
        }
    }
    return MILLET_OK;
}

static int compare_pieces(const void *a, const void *b)
{
    const struct mlt_piece *x = a, *y = b;
    if (x->required != y->required) return x->required ? -1 : 1;
    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    int order = memcmp(x->text, y->text, MLT_MIN(x->length, y->length));
    return order ? order : (x->length > y->length) - (x->length < y->length);
}

static millet_status seed(struct seeding *s, millet_error *err)
{
    s->counts = mlt_alloc_zero(s->allocator, CODEPOINTS, sizeof *s->counts, err);
    s->required = mlt_alloc_zero(s->allocator, CODEPOINTS, 1, err);
    if (!s->counts || !s->required) return MILLET_NO_MEMORY;
    MLT_TRY(find_characters(s, err));
    MLT_TRY(add_characters(s, err));
    size_t n_required = s->n_pieces;
    MLT_TRY(sort_into_buckets(s, err));
    atomic_store(&s->next, 0);
    mlt_thread_pool_run(s->options->pool, sort_share, s);
    MLT_TRY(add_nodes(s, err));
    if (s->n_pieces) qsort(s->pieces, s->n_pieces, sizeof *s->pieces, compare_pieces);
    s->n_pieces = MLT_MIN(s->n_pieces, n_required + s->options->max_seeds);
    return MILLET_OK;
}

millet_status mlt_seed_pieces(const struct mlt_word_counts *words, const struct mlt_seed_options *options,
                              struct mlt_piece_set *out, millet_error *err)
{
    struct seeding s = {.words = words, .options = options, .allocator = words->allocator};
    *out = (struct mlt_piece_set){.allocator = words->allocator};
    millet_status status = seed(&s, err);
    mlt_free(s.allocator, s.counts);
    mlt_free(s.allocator, s.required);
    mlt_free(s.allocator, s.suffixes);
    mlt_free(s.allocator, s.buckets);
    if (status) {
        mlt_free(s.allocator, s.pieces);
        return status;
    }
    out->pieces = s.pieces;
    out->count = s.n_pieces;
    return MILLET_OK;
}

void mlt_piece_set_release(struct mlt_piece_set *set)
{
    mlt_free(set->allocator, set->pieces);
    set->pieces = NULL;
    set->count = 0;
}
