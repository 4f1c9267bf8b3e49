/* Smaller vocabularies. SPDX-License-Identifier: Apache-2.0 */
#include "tokenizer/vocabulary_subset.h"

#include "tokenizer/tokenizer_internal.h"
#include "tokenizer/utf8.h"

#include <stdio.h>
#include <string.h>

/* Merging is done here one pair at a time, in the square of a token's length. */
enum { MAX_SYMBOLS = 4096, MARK_BYTES = 3 };

millet_status mlt_vocabulary_subset_open(const millet_allocator *allocator,
                                         const struct mlt_tokenizer *tokenizer,
                                         struct mlt_vocabulary_subset *out, millet_error *err)
{
    *out = (struct mlt_vocabulary_subset){.allocator = *allocator, .n_strings = tokenizer->strings.count};
    out->keep = mlt_alloc_zero(allocator, (size_t)out->n_strings, sizeof *out->keep, err);
    if (!out->keep) return MILLET_NO_MEMORY;
    /* What merges to a string without a token becomes bytes; without the merge its parts would stand there.
     */
    for (int32_t i = tokenizer->n_tokens; i < out->n_strings; i++)
        out->keep[i] = true;
    return MILLET_OK;
}

void mlt_vocabulary_subset_close(struct mlt_vocabulary_subset *subset)
{
    if (subset->keep) mlt_free(&subset->allocator, subset->keep);
    subset->keep = NULL;
}

/* ---- Merging ---- */

struct symbol {
    size_t start, length;
    int32_t number; /* of its string, or -1 */
};

/* The strings that a token is merged from, as the family merges it alone. */
struct merging {
    const struct mlt_tokenizer *tokenizer;
    const char *text;
    struct symbol symbols[MAX_SYMBOLS];
    int32_t made[2 * MAX_SYMBOLS]; /* numbers of the characters and of the results */
    size_t n_symbols, n_made;
};

/* A pair that may merge, as a number that is smaller for better ones. */
static bool find_pair(const struct merging *m, const struct symbol *left, const struct symbol *right,
                      int32_t *number, double *priority)
{
    const struct mlt_tokenizer *tokenizer = m->tokenizer;
    if (tokenizer->kind == MLT_TOKENIZER_BPE && !tokenizer->ranks) {
        uint32_t rank = mlt_byte_bpe_merge_rank(tokenizer, left->number, right->number, number);
        *priority = rank;
        return rank != 0;
    }
    size_t length = left->length + right->length;
    if (length > MLT_MAX_MATCH) return false;
    *number = mlt_string_table_find(&tokenizer->strings, m->text + left->start, length);
    if (*number < 0) return false;
    if (tokenizer->ranks) {
        *priority = tokenizer->ranks[*number];
        return tokenizer->ranks[*number] >= 0;
    }
    *priority = -(double)tokenizer->scores[*number];
    return mlt_sentencepiece_is_piece(tokenizer, *number);
}

static bool merge_best(struct merging *m)
{
    size_t best = m->n_symbols;
    int32_t best_number = -1, number;
    double best_priority = 0, priority;
    for (size_t i = 0; i + 1 < m->n_symbols; i++) {
        if (!find_pair(m, &m->symbols[i], &m->symbols[i + 1], &number, &priority)) continue;
        if (best < m->n_symbols && priority >= best_priority) continue;
        best = i;
        best_number = number;
        best_priority = priority;
    }
    if (best == m->n_symbols) return false;
    m->symbols[best].length += m->symbols[best + 1].length;
    m->symbols[best].number = best_number;
    memmove(m->symbols + best + 1, m->symbols + best + 2, (m->n_symbols - best - 2) * sizeof *m->symbols);
    m->n_symbols--;
    m->made[m->n_made++] = best_number;
    return true;
}

static millet_status merge_token(struct merging *m, int32_t id, millet_error *err)
{
    const struct mlt_string_table *strings = &m->tokenizer->strings;
    size_t length;
    m->text = mlt_string_table_get(strings, id, &length);
    m->n_symbols = m->n_made = 0;
    for (size_t at = 0; at < length; m->n_symbols++) {
        uint32_t codepoint;
        if (m->n_symbols == MAX_SYMBOLS)
            return mlt_fail(err, MILLET_UNSUPPORTED, "token %d has more than %d characters", id,
                            (int)MAX_SYMBOLS);
        struct symbol *s = &m->symbols[m->n_symbols];
        *s = (struct symbol){at, mlt_utf8_step(m->text + at, length - at, &codepoint), 0};
        s->number = mlt_string_table_find(strings, m->text + at, s->length);
        if (s->number >= 0) m->made[m->n_made++] = s->number;
        at += s->length;
    }
    while (merge_best(m)) {
    }
    return MILLET_OK;
}

static bool is_text(const struct mlt_tokenizer *tokenizer, int32_t id)
{
    return tokenizer->types[id] == MLT_TOKEN_NORMAL || tokenizer->types[id] == MLT_TOKEN_UNUSED;
}

static millet_status keep_merged(struct mlt_vocabulary_subset *subset, const struct mlt_tokenizer *tokenizer,
                                 millet_error *err)
{
    struct merging *m = mlt_alloc(&subset->allocator, 1, sizeof *m, err);
    if (!m) return MILLET_NO_MEMORY;
    m->tokenizer = tokenizer;
    millet_status status = MILLET_OK;
    for (int32_t id = 0; status == MILLET_OK && id < tokenizer->n_tokens; id++) {
        if (!subset->keep[id] || !is_text(tokenizer, id)) continue;
        status = merge_token(m, id, err);
        /* A token that merging does not end with is found by its whole text; it needs no other. */
        if (status != MILLET_OK || m->n_symbols != 1 || m->symbols[0].number != id) continue;
        for (size_t i = 0; i < m->n_made; i++) /* none of these needs more than the token itself */
            subset->keep[m->made[i]] = true;
    }
    mlt_free(&subset->allocator, m);
    return status;
}

/* ---- Single tokens ---- */

struct mlt_special_ids mlt_tokenizer_special_ids(const struct mlt_tokenizer *t)
{
    return (struct mlt_special_ids){t->bos, t->eos, t->eot, t->unknown, t->separator, t->cls};
}

static void keep_id(struct mlt_vocabulary_subset *subset, int32_t id)
{
    if (id >= 0) subset->keep[id] = true;
}

static void keep_special(struct mlt_vocabulary_subset *subset, const struct mlt_tokenizer *tokenizer)
{
    for (int32_t id = 0; id < tokenizer->n_tokens; id++)
        if (!is_text(tokenizer, id)) subset->keep[id] = true;
    struct mlt_special_ids ids = mlt_tokenizer_special_ids(tokenizer);
    keep_id(subset, ids.bos);
    keep_id(subset, ids.eos);
    keep_id(subset, ids.eot);
    keep_id(subset, ids.unknown);
    keep_id(subset, ids.separator);
    keep_id(subset, ids.cls);
    /* The bytes of the visible space would come back as such. */
    int32_t mark = mlt_tokenizer_find(tokenizer, MLT_SPACE_MARK, MARK_BYTES);
    if (tokenizer->kind != MLT_TOKENIZER_WORDPIECE) keep_id(subset, mark);
    for (int byte = 0; byte < 256 && tokenizer->kind == MLT_TOKENIZER_BPE; byte++)
        keep_id(subset, tokenizer->byte_numbers[byte]);
}

/* Tokens of one character, behind WordPiece's mark or without it. */
static void keep_characters(struct mlt_vocabulary_subset *subset, const struct mlt_tokenizer *tokenizer)
{
    for (int32_t id = 0; id < tokenizer->n_tokens; id++) {
        size_t length;
        uint32_t codepoint;
        const char *text = mlt_string_table_get(&tokenizer->strings, id, &length);
        if (length > MARK_BYTES && memcmp(text, MLT_SPACE_MARK, MARK_BYTES) == 0 &&
            tokenizer->kind == MLT_TOKENIZER_WORDPIECE)
            text += MARK_BYTES, length -= MARK_BYTES;
        if (length && mlt_utf8_step(text, length, &codepoint) == length) subset->keep[id] = true;
    }
}

static void keep_lowest(struct mlt_vocabulary_subset *subset, const struct mlt_tokenizer *tokenizer)
{
    int32_t lowest = -1;
    for (int32_t id = 0; id < tokenizer->n_tokens; id++)
        if (tokenizer->types[id] == MLT_TOKEN_NORMAL &&
            (lowest < 0 || tokenizer->scores[id] < tokenizer->scores[lowest]))
            lowest = id;
    keep_id(subset, lowest);
}

millet_status mlt_vocabulary_subset_complete(struct mlt_vocabulary_subset *subset,
                                             const struct mlt_tokenizer *tokenizer, millet_error *err)
{
    keep_special(subset, tokenizer);
    switch (tokenizer->kind) {
    case MLT_TOKENIZER_BPE: return keep_merged(subset, tokenizer, err);
    case MLT_TOKENIZER_SPM:
        if (!tokenizer->byte_fallback) keep_characters(subset, tokenizer);
        return keep_merged(subset, tokenizer, err);
    case MLT_TOKENIZER_UNIGRAM:
        if (!tokenizer->byte_fallback) keep_characters(subset, tokenizer);
        keep_lowest(subset, tokenizer);
        break;
    case MLT_TOKENIZER_WORDPIECE: keep_characters(subset, tokenizer); break;
    }
    return MILLET_OK;
}

bool mlt_vocabulary_subset_has_merge(const struct mlt_vocabulary_subset *subset,
                                     const struct mlt_tokenizer *tokenizer, const char *text, size_t length)
{
    const struct mlt_string_table *strings = &tokenizer->strings;
    const char *space = length > 1 ? memchr(text + 1, ' ', length - 1) : NULL;
    if (!space) return false;
    size_t left = (size_t)(space - text);
    int32_t number, a = mlt_string_table_find(strings, text, left);
    int32_t b = mlt_string_table_find(strings, space + 1, length - left - 1);
    if (a < 0 || b < 0 || !mlt_byte_bpe_merge_rank(tokenizer, a, b, &number)) return false;
    return subset->keep[a] && subset->keep[b] && subset->keep[number];
}
