/*
 * Which tokens may follow: see millet/grammar.h. The vocabulary is sorted by the tokens' bytes; a walk over
 * it takes each prefix that tokens share once, and leaves all tokens behind a prefix that leads nowhere.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "generate/grammar_mask.h"

#include "generate/automaton.h"
#include "generate/gbnf.h"
#include "model/model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_STATES = 1 << 20, LEAST_STATES = 16, MASKS = 64, LONGEST_TOKEN = UINT16_MAX };

/* A token in the order of bytes, and how many of them it has in common with the one before. */
struct entry {
    const char *bytes;
    int32_t id;
    uint16_t length, shared;
};

struct millet_grammar {
    millet_allocator allocator;
    const millet_model *model;
    struct mlt_grammar_rules rules;
    struct mlt_automaton *automaton;
    int32_t state;
    /* The vocabulary. */
    char *bytes;
    struct entry *entries;
    int32_t n_entries;
    int32_t *ends; /* tokens that end a generation */
    int32_t n_ends;
    int32_t *states; /* [longest token + 1]: of a walk, behind each byte */
    char *piece;     /* a token's bytes */
    /* Masks of the states that were asked for last. */
    uint32_t *masks;  /* [MASKS][n_words] */
    int32_t *mask_of; /* [max_states], -1: none */
    int32_t state_of[MASKS];
    int32_t n_words, next_mask;
};

/* ---- Opening ---- */

static int compare_entries(const void *left, const void *right)
{
    const struct entry *a = left, *b = right;
    int order = memcmp(a->bytes, b->bytes, MLT_MIN(a->length, b->length));
    if (order == 0) order = (a->length > b->length) - (a->length < b->length);
    return order ? order : (a->id > b->id) - (a->id < b->id);
}

static uint16_t shared_bytes(const struct entry *a, const struct entry *b)
{
    uint16_t n = 0;
    while (n < a->length && n < b->length && a->bytes[n] == b->bytes[n])
        n++;
    return n;
}

static millet_status open_vocabulary(millet_grammar *g, millet_error *err)
{
    const struct mlt_tokenizer *tokenizer = g->model->tokenizer;
    int32_t n_tokens = mlt_tokenizer_size(tokenizer);
    g->piece = mlt_alloc(&g->allocator, mlt_tokenizer_max_piece(tokenizer), 1, err);
    if (!g->piece) return MILLET_NO_MEMORY;
    size_t total = 0, longest = 0;
    for (int32_t id = 0; id < n_tokens; id++) {
        size_t length = mlt_token_bytes(tokenizer, id, g->piece);
        g->n_ends += mlt_tokenizer_is_end(tokenizer, id);
        if (length == 0 || length > LONGEST_TOKEN) continue;
        total += length;
        longest = MLT_MAX(longest, length);
        g->n_entries++;
    }
    g->bytes = mlt_alloc(&g->allocator, total, 1, err);
    g->entries = mlt_alloc(&g->allocator, (size_t)g->n_entries, sizeof *g->entries, err);
    g->ends = mlt_alloc(&g->allocator, (size_t)g->n_ends, sizeof *g->ends, err);
    g->states = mlt_alloc(&g->allocator, longest + 1, sizeof *g->states, err);
    if (!g->bytes || !g->entries || !g->ends || !g->states) return MILLET_NO_MEMORY;
    char *at = g->bytes;
    struct entry *entry = g->entries;
    int32_t *end = g->ends;
    for (int32_t id = 0; id < n_tokens; id++) {
        size_t length = mlt_token_bytes(tokenizer, id, g->piece);
        if (mlt_tokenizer_is_end(tokenizer, id)) *end++ = id;
        if (length == 0 || length > LONGEST_TOKEN) continue;
        memcpy(at, g->piece, length);
        *entry++ = (struct entry){at, id, (uint16_t)length, 0};
        at += length;
    }
    if (g->n_entries) qsort(g->entries, (size_t)g->n_entries, sizeof *g->entries, compare_entries);
    for (int32_t i = 1; i < g->n_entries; i++)
        g->entries[i].shared = shared_bytes(&g->entries[i - 1], &g->entries[i]);
    return MILLET_OK;
}

static millet_status open_all(millet_grammar *g, const char *text, size_t length, int32_t max_states,
                              millet_error *err)
{
    MLT_TRY(mlt_gbnf_read(&g->allocator, text, length, &g->rules, err));
    MLT_TRY(mlt_automaton_open(&g->rules, max_states, &g->automaton, err));
    MLT_TRY(open_vocabulary(g, err));
    g->n_words = (g->model->config.n_vocab + 31) / 32;
    g->masks = mlt_alloc(&g->allocator, MASKS * (size_t)g->n_words, sizeof *g->masks, err);
    g->mask_of = mlt_alloc(&g->allocator, (size_t)max_states, sizeof *g->mask_of, err);
    if (!g->masks || !g->mask_of) return MILLET_NO_MEMORY;
    millet_grammar_reset(g);
    if (g->state == MLT_STATE_FULL)
        return mlt_fail(err, MILLET_NO_MEMORY, "the beginning of the grammar alone has more than %d places",
                        max_states);
    return MILLET_OK;
}

millet_status millet_grammar_open(const millet_model *model, const char *text, size_t length,
                                  const millet_grammar_options *options, millet_grammar **grammar,
                                  millet_error *err)
{
    *grammar = NULL;
    millet_grammar_options defaults = {0};
    if (!options) options = &defaults;
    int32_t max_states = options->max_states ? options->max_states : MLT_AUTOMATON_STATES;
    if (max_states < LEAST_STATES || max_states > MAX_STATES)
        return mlt_fail_at(err, MILLET_BAD_ARGUMENT, NULL, "max_states", MILLET_NO_OFFSET,
                           "max_states is %d; it must be 0 (automatic) or %d to %d", max_states, LEAST_STATES,
                           MAX_STATES);
    if (!model->tokenizer)
        return mlt_fail(err, MILLET_UNSUPPORTED,
                        "the model has no tokenizer: a grammar has no tokens to choose from");
    const millet_allocator *allocator = options->allocator ? options->allocator : &model->allocator;
    millet_grammar *g = mlt_alloc_zero(allocator, 1, sizeof *g, err);
    if (!g) return MILLET_NO_MEMORY;
    g->allocator = *allocator;
    g->model = model;
    millet_status status = open_all(g, text, length, max_states, err);
    if (status != MILLET_OK) {
        millet_grammar_close(&g);
        return status;
    }
    *grammar = g;
    return MILLET_OK;
}

void millet_grammar_close(millet_grammar **grammar)
{
    millet_grammar *g = *grammar;
    *grammar = NULL;
    if (!g) return;
    millet_allocator allocator = g->allocator;
    mlt_automaton_close(&g->automaton);
    mlt_grammar_rules_release(&g->rules);
    mlt_free(&allocator, g->bytes);
    mlt_free(&allocator, g->entries);
    mlt_free(&allocator, g->ends);
    mlt_free(&allocator, g->states);
    mlt_free(&allocator, g->piece);
    mlt_free(&allocator, g->masks);
    mlt_free(&allocator, g->mask_of);
    mlt_free(&allocator, g);
}

bool mlt_grammar_is_for(const millet_grammar *grammar, const millet_model *model)
{
    return grammar->model == model;
}

/* ---- The text ---- */

static void forget_masks(millet_grammar *g)
{
    memset(g->mask_of, 0xFF, (size_t)mlt_automaton_max_states(g->automaton) * sizeof *g->mask_of);
    memset(g->state_of, 0xFF, sizeof g->state_of);
}

/* All states but that of the text are forgotten. */
static void make_room(millet_grammar *g)
{
    g->state = mlt_automaton_keep(g->automaton, g->state);
    forget_masks(g);
}

void millet_grammar_reset(millet_grammar *grammar)
{
    grammar->state = mlt_automaton_start(grammar->automaton);
    forget_masks(grammar);
}

bool millet_grammar_complete(const millet_grammar *grammar, bool *ends)
{
    bool complete = mlt_automaton_accepts(grammar->automaton, grammar->state);
    if (ends) *ends = complete && !mlt_automaton_goes_on(grammar->automaton, grammar->state);
    return complete;
}

/* The state behind a token's bytes, MLT_STATE_DEAD or MLT_STATE_FULL. */
static int32_t state_behind(millet_grammar *g, size_t length)
{
    int32_t state = g->state;
    for (size_t i = 0; i < length && state > MLT_STATE_DEAD; i++)
        state = mlt_automaton_step(g->automaton, state, (uint8_t)g->piece[i]);
    return state;
}

static millet_status fail_full(const millet_grammar *g, millet_error *err)
{
    return mlt_fail_at(
        err, MILLET_NO_MEMORY, NULL, "max_states", MILLET_NO_OFFSET,
        "one step of the grammar has more than %d places; open it with a larger max_states, or "
        "write it with fewer ways to read the same text",
        mlt_automaton_max_states(g->automaton));
}

millet_status millet_grammar_accept(millet_grammar *g, int32_t token, millet_error *err)
{
    const struct mlt_tokenizer *tokenizer = g->model->tokenizer;
    if (token < 0 || token >= mlt_tokenizer_size(tokenizer))
        return mlt_fail(err, MILLET_BAD_ARGUMENT, "there is no token %d", token);
    if (mlt_tokenizer_is_end(tokenizer, token) && millet_grammar_complete(g, NULL)) return MILLET_OK;
    size_t length = mlt_token_bytes(tokenizer, token, g->piece);
    int32_t state = length ? state_behind(g, length) : MLT_STATE_DEAD;
    if (state == MLT_STATE_FULL) {
        make_room(g);
        state = state_behind(g, length);
    }
    if (state == MLT_STATE_FULL) return fail_full(g, err);
    if (state == MLT_STATE_DEAD)
        return mlt_fail(err, MILLET_BAD_ARGUMENT, "token %d cannot follow in this grammar", token);
    g->state = state;
    return MILLET_OK;
}

/* ---- Masks ---- */

static bool fill_mask(millet_grammar *g, uint32_t *mask)
{
    memset(mask, 0, (size_t)g->n_words * sizeof *mask);
    int32_t *states = g->states;
    states[0] = g->state;
    size_t good = 0; /* bytes of the tokens before that led somewhere */
    for (int32_t i = 0; i < g->n_entries; i++) {
        struct entry entry = g->entries[i];
        if (entry.shared > good) continue;
        good = entry.shared;
        while (good < entry.length) {
            int32_t state = mlt_automaton_step(g->automaton, states[good], (uint8_t)entry.bytes[good]);
            if (state == MLT_STATE_FULL) return false;
            if (state == MLT_STATE_DEAD) break;
            states[++good] = state;
        }
        if (good == entry.length && entry.id < g->model->config.n_vocab)
            mask[entry.id / 32] |= UINT32_C(1) << (entry.id % 32);
    }
    bool complete = millet_grammar_complete(g, NULL);
    for (int32_t i = 0; i < g->n_ends; i++) {
        uint32_t bit = UINT32_C(1) << (g->ends[i] % 32), *word = &mask[g->ends[i] / 32];
        *word = complete ? *word | bit : *word & ~bit;
    }
    return true;
}

millet_status millet_grammar_allowed(millet_grammar *g, const uint32_t **allowed, millet_error *err)
{
    int32_t place = g->mask_of[g->state];
    if (place < 0) {
        place = g->next_mask;
        g->next_mask = (g->next_mask + 1) % MASKS;
        if (g->state_of[place] >= 0) g->mask_of[g->state_of[place]] = -1;
        g->state_of[place] = -1;
        uint32_t *mask = g->masks + (size_t)place * (size_t)g->n_words;
        if (!fill_mask(g, mask)) {
            make_room(g);
            if (!fill_mask(g, mask)) return fail_full(g, err);
        }
        g->mask_of[g->state] = place;
        g->state_of[place] = g->state;
    }
    *allowed = g->masks + (size_t)place * (size_t)g->n_words;
    return MILLET_OK;
}

millet_status mlt_grammar_mask(millet_grammar *g, const float *logits, float *out, millet_error *err)
{
    const uint32_t *allowed;
    MLT_TRY(millet_grammar_allowed(g, &allowed, err));
    int32_t n_vocab = g->model->config.n_vocab;
    uint32_t any = 0;
    for (int32_t i = 0; i < n_vocab; i++) {
        uint32_t bit = allowed[i / 32] >> (i % 32) & 1;
        any |= bit;
        out[i] = bit ? logits[i] : NAN;
    }
    if (!any)
        return mlt_fail(err, MILLET_UNSUPPORTED,
                        "no token of the vocabulary can go on with the text as the grammar wants it");
    return MILLET_OK;
}
