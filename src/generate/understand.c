/*
 * Understanding commands in one pass: see millet/understand.h.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "millet/understand.h"

#include "generate/session.h"
#include "generate/utterance.h"
#include "model/rope_math.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A name in an arena, and the token that says it. */
struct name {
    const char *text;
    int32_t token;
};

struct names {
    struct name *items;
    size_t count, capacity;
};

/* A slot's labels; tokens are -1 where the vocabulary has only one of them. */
struct slot_name {
    const char *text;
    int32_t begin, inside;
};

struct set {
    struct name name;
    struct names intents;
    struct slot_name *slots;
    size_t n_slots, slot_capacity;
};

struct millet_understander {
    millet_allocator allocator;
    const millet_model *model;
    millet_session *session;
    struct mlt_arena arena; /* names */
    struct set *sets;
    size_t n_sets, set_capacity;
    int32_t call, outside; /* <|call|>, and <|O|> or -1 */
    int32_t max_tokens;

    /* Of an utterance: L = 2 * slots + 1 labels: 0 is outside, 1 + 2 s begins slot s, 2 + 2 s is inside it.
     */
    millet_item *items;     /* [max_tokens + 2] */
    size_t *starts;         /* [max_tokens + 1] bytes of the text */
    float *scores;          /* [max_tokens][L] logarithms of probabilities */
    float *best, *previous; /* [L] of the best way to each label */
    int16_t *from;          /* [max_tokens][L] */
    int16_t *labels;        /* [max_tokens] */
    int32_t *tokens;        /* [L] that stand for the labels */
    millet_intent *intents;
    millet_slot *slots; /* [max_tokens] */
    char *piece;        /* of the tokenizer */
};

/* ---- The vocabulary ---- */

static bool begins(const char *text, size_t length, const char *with)
{
    size_t n = strlen(with);
    return length >= n && memcmp(text, with, n) == 0;
}

static millet_status add_name(struct millet_understander *u, struct names *names, const char *text,
                              size_t length, int32_t token, millet_error *err)
{
    void *items = names->items;
    millet_status status =
        mlt_grow(&u->allocator, &items, &names->capacity, names->count, sizeof *names->items, err);
    names->items = items;
    MLT_TRY(status);
    char *copy = mlt_arena_text(&u->arena, text, length, err);
    if (!copy) return MILLET_NO_MEMORY;
    names->items[names->count++] = (struct name){copy, token};
    return MILLET_OK;
}

/* The set of a name that begins with "SET/"; what follows is *rest. NULL: it has none, or an unknown one. */
static struct set *set_of(struct millet_understander *u, const char *text, size_t length, const char **rest,
                          size_t *rest_length)
{
    const char *slash = memchr(text, '/', length);
    if (!slash) return NULL;
    size_t n = (size_t)(slash - text);
    *rest = slash + 1;
    *rest_length = length - n - 1;
    for (size_t i = 0; i < u->n_sets; i++)
        if (strlen(u->sets[i].name.text) == n && memcmp(u->sets[i].name.text, text, n) == 0)
            return &u->sets[i];
    return NULL;
}

static millet_status add_set(struct millet_understander *u, const char *text, size_t length,
                             millet_error *err)
{
    char token_text[256];
    if (length > sizeof token_text - 5) return MILLET_OK;
    memcpy(token_text, "<|", 2);
    memcpy(token_text + 2, text, length);
    memcpy(token_text + 2 + length, "|>", 2);
    int32_t token = mlt_tokenizer_find(u->model->tokenizer, token_text, length + 4);
    if (token < 0) return MILLET_OK;
    void *sets = u->sets;
    millet_status status = mlt_grow(&u->allocator, &sets, &u->set_capacity, u->n_sets, sizeof *u->sets, err);
    u->sets = sets;
    MLT_TRY(status);
    char *copy = mlt_arena_text(&u->arena, text, length, err);
    if (!copy) return MILLET_NO_MEMORY;
    u->sets[u->n_sets++] = (struct set){.name = {copy, token}};
    return MILLET_OK;
}

static millet_status add_intent(struct millet_understander *u, const char *text, size_t length, int32_t token,
                                millet_error *err)
{
    const char *rest;
    size_t rest_length;
    if (!set_of(u, text, length, &rest, &rest_length)) {
        const char *slash = memchr(text, '/', length);
        if (slash) MLT_TRY(add_set(u, text, (size_t)(slash - text), err));
    }
    struct set *set = set_of(u, text, length, &rest, &rest_length);
    return set ? add_name(u, &set->intents, rest, rest_length, token, err) : MILLET_OK;
}

static millet_status add_label(struct millet_understander *u, const char *text, size_t length, int32_t token,
                               bool inside, millet_error *err)
{
    const char *rest;
    size_t rest_length;
    struct set *set = set_of(u, text, length, &rest, &rest_length);
    if (!set) return MILLET_OK;
    for (size_t i = 0; i < set->n_slots; i++) {
        struct slot_name *slot = &set->slots[i];
        if (strlen(slot->text) != rest_length || memcmp(slot->text, rest, rest_length)) continue;
        *(inside ? &slot->inside : &slot->begin) = token;
        return MILLET_OK;
    }
    void *slots = set->slots;
    millet_status status =
        mlt_grow(&u->allocator, &slots, &set->slot_capacity, set->n_slots, sizeof *set->slots, err);
    set->slots = slots;
    MLT_TRY(status);
    char *copy = mlt_arena_text(&u->arena, rest, rest_length, err);
    if (!copy) return MILLET_NO_MEMORY;
    set->slots[set->n_slots++] = (struct slot_name){copy, inside ? -1 : token, inside ? token : -1};
    return MILLET_OK;
}

/* Goes through the vocabulary: first for intents, which make sets known, then for labels. */
static millet_status read_vocabulary(struct millet_understander *u, millet_error *err)
{
    const struct mlt_tokenizer *tokenizer = u->model->tokenizer;
    for (int pass = 0; pass < 2; pass++)
        for (int32_t id = 0; id < mlt_tokenizer_size(tokenizer); id++) {
            struct mlt_token_text t = mlt_tokenizer_token(tokenizer, id);
            if (t.length < 8 || mlt_tokenizer_type(tokenizer, id) != MLT_TOKEN_CONTROL ||
                memcmp(t.data + t.length - 2, "|>", 2) != 0)
                continue;
            if (pass == 0 && begins(t.data, t.length, "<|call:"))
                MLT_TRY(add_intent(u, t.data + 7, t.length - 9, id, err));
            if (pass == 1 && begins(t.data, t.length, "<|B:"))
                MLT_TRY(add_label(u, t.data + 4, t.length - 6, id, false, err));
            if (pass == 1 && begins(t.data, t.length, "<|I:"))
                MLT_TRY(add_label(u, t.data + 4, t.length - 6, id, true, err));
        }
    u->call = mlt_tokenizer_find(tokenizer, "<|call|>", 8);
    u->outside = mlt_tokenizer_find(tokenizer, "<|O|>", 5);
    if (u->n_sets == 0 || u->call < 0)
        return mlt_fail_at(err, MILLET_UNSUPPORTED, u->model->checkpoint->path, NULL, MILLET_NO_OFFSET,
                           "the vocabulary has no intents (<|call|>, <|call:SET/INTENT|>): the model was not "
                           "trained to understand commands");
    return MILLET_OK;
}

/* ---- Opening ---- */

static millet_status open_buffers(struct millet_understander *u, millet_error *err)
{
    size_t labels = 1, intents = 1, tokens = (size_t)u->max_tokens;
    for (size_t i = 0; i < u->n_sets; i++) {
        labels = MLT_MAX(labels, 2 * u->sets[i].n_slots + 1);
        intents = MLT_MAX(intents, u->sets[i].intents.count);
    }
    if (labels > INT16_MAX)
        return mlt_fail_at(err, MILLET_UNSUPPORTED, u->model->checkpoint->path, NULL, MILLET_NO_OFFSET,
                           "a set has %zu slots; %d are possible", labels / 2, INT16_MAX / 2);
    const millet_allocator *a = &u->allocator;
    u->items = mlt_alloc(a, tokens + 2, sizeof *u->items, err);
    u->starts = mlt_alloc(a, tokens + 1, sizeof *u->starts, err);
    u->scores = mlt_alloc(a, tokens * labels, sizeof *u->scores, err);
    u->from = mlt_alloc(a, tokens * labels, sizeof *u->from, err);
    u->best = mlt_alloc(a, labels, sizeof *u->best, err);
    u->previous = mlt_alloc(a, labels, sizeof *u->previous, err);
    u->labels = mlt_alloc(a, tokens, sizeof *u->labels, err);
    u->tokens = mlt_alloc(a, labels, sizeof *u->tokens, err);
    u->intents = mlt_alloc(a, intents, sizeof *u->intents, err);
    u->slots = mlt_alloc(a, tokens, sizeof *u->slots, err);
    u->piece = mlt_alloc(a, mlt_tokenizer_max_piece(u->model->tokenizer), 1, err);
    return u->items && u->starts && u->scores && u->from && u->best && u->previous && u->labels &&
                   u->tokens && u->intents && u->slots && u->piece
               ? MILLET_OK
               : MILLET_NO_MEMORY;
}

enum { DEFAULT_TOKENS = 128, MOST_TOKENS = 4096 };

static millet_status open_parts(struct millet_understander *u, const millet_understander_options *o,
                                millet_error *err)
{
    if (o->max_tokens < 0 || o->max_tokens > MOST_TOKENS)
        return mlt_fail_at(err, MILLET_BAD_ARGUMENT, NULL, "max_tokens", MILLET_NO_OFFSET,
                           "is %d; 1 to %d tokens can be read, 0: %d", o->max_tokens, MOST_TOKENS,
                           DEFAULT_TOKENS);
    if (!u->model->tokenizer)
        return mlt_fail_at(err, MILLET_UNSUPPORTED, u->model->checkpoint->path, NULL, MILLET_NO_OFFSET,
                           "the model has no tokenizer");
    u->max_tokens = o->max_tokens ? o->max_tokens : DEFAULT_TOKENS;
    MLT_TRY(read_vocabulary(u, err));
    MLT_TRY(open_buffers(u, err));
    millet_session_options session = millet_session_options_default();
    session.allocator = &u->allocator;
    session.n_ctx = session.n_batch = session.n_logits = u->max_tokens + 2;
    session.n_threads = o->n_threads;
    session.cache_type = MILLET_CACHE_F32;
    session.exact_activations = o->exact_activations;
    return millet_session_open(u->model, &session, &u->session, err);
}

millet_status millet_understander_open(const millet_model *model, const millet_understander_options *options,
                                       millet_understander **out, millet_error *err)
{
    *out = NULL;
    const millet_understander_options defaults = {0};
    if (!options) options = &defaults;
    const millet_allocator *allocator = options->allocator ? options->allocator : &model->allocator;
    struct millet_understander *u = mlt_alloc_zero(allocator, 1, sizeof *u, err);
    if (!u) return MILLET_NO_MEMORY;
    u->allocator = *allocator;
    u->model = model;
    mlt_arena_init(&u->arena, allocator);
    millet_status status = open_parts(u, options, err);
    if (status)
        millet_understander_close(&u);
    else
        *out = u;
    return status;
}

void millet_understander_close(millet_understander **handle)
{
    struct millet_understander *u = *handle;
    if (!u) return;
    millet_allocator allocator = u->allocator;
    for (size_t i = 0; i < u->n_sets; i++) {
        mlt_free(&allocator, u->sets[i].intents.items);
        mlt_free(&allocator, u->sets[i].slots);
    }
    void *blocks[] = {u->sets,     u->items,  u->starts, u->scores,  u->from,  u->best,
                      u->previous, u->labels, u->tokens, u->intents, u->slots, u->piece};
    for (size_t i = 0; i < MLT_COUNT(blocks); i++)
        mlt_free(&allocator, blocks[i]);
    millet_session_close(&u->session);
    mlt_arena_release(&u->arena);
    mlt_free(&allocator, u);
    *handle = NULL;
}

const char *millet_understander_set(const millet_understander *u, int32_t set)
{
    return set >= 0 && (size_t)set < u->n_sets ? u->sets[set].name.text : NULL;
}

const char *millet_understander_intent(const millet_understander *u, int32_t set, int32_t intent)
{
    if (!millet_understander_set(u, set) || intent < 0) return NULL;
    const struct names *intents = &u->sets[set].intents;
    return (size_t)intent < intents->count ? intents->items[intent].text : NULL;
}

/* ---- An utterance ---- */

static const struct set *find_set(const struct millet_understander *u, const char *name)
{
    for (size_t i = 0; i < u->n_sets; i++)
        if (strcmp(u->sets[i].name.text, name) == 0) return &u->sets[i];
    return NULL;
}

static millet_status unknown_set(const struct millet_understander *u, const char *name, millet_error *err)
{
    millet_status status = mlt_fail(err, MILLET_NOT_FOUND, "the model has no set \"%.100s\"; it has", name);
    for (size_t i = 0; err && i < u->n_sets; i++) {
        size_t used = strlen(err->message), length = strlen(u->sets[i].name.text);
        if (used + length + 3 > sizeof err->message) break;
        memcpy(err->message + used, i ? ", " : " ", i ? 2 : 1);
        memcpy(err->message + used + (i ? 2 : 1), u->sets[i].name.text, length + 1);
    }
    return status;
}

/*
 * The tokens of text[0..length) as the model was trained on them: spelled as utterance.h says, after a space.
 * Sets items[1 ..], and for each token where it starts in the text; *n of them, at most max_tokens, 0 where
 * there is no word.
 */
static millet_status read_tokens(struct millet_understander *u, const char *text, size_t length, int32_t *n,
                                 bool *cut, millet_error *err)
{
    const struct mlt_tokenizer *tokenizer = u->model->tokenizer;
    int32_t *ids = NULL;
    size_t count = 0, at = 0, bytes = 0;
    *n = 0;
    char *spelled = mlt_alloc(&u->allocator, length + 1, 1, err);
    size_t *where = mlt_alloc(&u->allocator, length + 1, sizeof *where, err);
    millet_status status = spelled && where ? MILLET_OK : MILLET_NO_MEMORY;
    if (!status) {
        spelled[0] = ' ';
        bytes = mlt_utterance_spell(text, length, spelled + 1, where);
    }
    if (bytes) status = mlt_tokenize(tokenizer, &u->allocator, spelled, bytes + 1, 0, &ids, &count, err);
    if (count) {
        *cut = count > (size_t)u->max_tokens;
        *n = (int32_t)MLT_MIN(count, (size_t)u->max_tokens);
        struct mlt_decode_state state = {0};
        for (int32_t i = 0; i <= *n; i++) {
            size_t start = at + (size_t)state.n_pending; /* in " utterance" */
            u->starts[i] = where[MLT_MIN(start > 0 ? start - 1 : 0, bytes)];
            if (i == *n) break;
            u->items[i + 1] = (millet_item){ids[i], 0, true};
            at += mlt_decode_token(tokenizer, &state, ids[i], true, u->piece);
        }
        if (!*cut) u->starts[*n] = where[bytes];
    }
    mlt_free(&u->allocator, ids);
    mlt_free(&u->allocator, where);
    mlt_free(&u->allocator, spelled);
    return status;
}

/* Logarithms of the probabilities of `n` tokens among themselves; a token of -1 has none. */
static void score(const float *logits, const int32_t *tokens, size_t n, float *out)
{
    double max = -INFINITY, sum = 0;
    for (size_t i = 0; i < n; i++)
        if (tokens[i] >= 0 && (double)logits[tokens[i]] > max) max = (double)logits[tokens[i]];
    for (size_t i = 0; i < n; i++)
        if (tokens[i] >= 0) sum += mlt_exp_double(MLT_MAX((double)logits[tokens[i]] - max, -700.0));
    for (size_t i = 0; i < n; i++)
        out[i] = tokens[i] >= 0 ? (float)((double)logits[tokens[i]] - max - mlt_log(sum)) : -INFINITY;
}

static int more_probable(const void *a, const void *b)
{
    const millet_intent *x = a, *y = b;
    if (x->probability != y->probability) return x->probability < y->probability ? 1 : -1;
    return strcmp(x->name, y->name);
}

static void rank_intents(struct millet_understander *u, const struct set *set, const float *logits,
                         millet_understanding *result)
{
    const struct names *intents = &set->intents;
    double max = -INFINITY, sum = 0;
    for (size_t i = 0; i < intents->count; i++)
        max = MLT_MAX(max, (double)logits[intents->items[i].token]);
    for (size_t i = 0; i < intents->count; i++) {
        double p = mlt_exp_double(MLT_MAX((double)logits[intents->items[i].token] - max, -700.0));
        u->intents[i] = (millet_intent){intents->items[i].text, (float)p};
        sum += p;
    }
    for (size_t i = 0; i < intents->count; i++)
        u->intents[i].probability = (float)((double)u->intents[i].probability / sum);
    qsort(u->intents, intents->count, sizeof *u->intents, more_probable);
    result->intents = u->intents;
    result->n_intents = (int32_t)intents->count;
}

/* Whether label `next` may follow `label`: a slot's inside follows its begin or inside only. */
static bool may_follow(size_t label, size_t next)
{
    return next == 0 || next % 2 == 1 || label == next || label == next - 1;
}

/* The most probable sequence of labels (Viterbi, 1967) for n tokens, to u->labels. */
static void choose_labels(struct millet_understander *u, size_t n_labels, int32_t n)
{
    for (size_t l = 0; l < n_labels; l++)
        u->previous[l] = may_follow(0, l) ? u->scores[l] : -INFINITY;
    for (int32_t i = 1; i < n; i++) {
        size_t top = 0;
        for (size_t l = 1; l < n_labels; l++)
            if (u->previous[l] > u->previous[top]) top = l;
        for (size_t l = 0; l < n_labels; l++) {
            size_t from = top;
            if (!may_follow(top, l)) from = u->previous[l] > u->previous[l - 1] ? l : l - 1;
            u->from[(size_t)i * n_labels + l] = (int16_t)from;
            u->best[l] = u->previous[from] + u->scores[(size_t)i * n_labels + l];
        }
        memcpy(u->previous, u->best, n_labels * sizeof *u->best);
    }
    size_t label = 0;
    for (size_t l = 1; l < n_labels; l++)
        if (u->previous[l] > u->previous[label]) label = l;
    for (int32_t i = n - 1; i >= 0; i--) {
        u->labels[i] = (int16_t)label;
        if (i > 0) label = (size_t)u->from[(size_t)i * n_labels + label];
    }
}

static void find_slots(struct millet_understander *u, const struct set *set, const char *text, int32_t n,
                       millet_understanding *result)
{
    size_t n_labels = 2 * set->n_slots + 1;
    result->slots = u->slots;
    result->n_slots = 0;
    if (set->n_slots == 0 || u->outside < 0) return;
    u->tokens[0] = u->outside;
    for (size_t s = 0; s < set->n_slots; s++) {
        u->tokens[1 + 2 * s] = set->slots[s].begin;
        u->tokens[2 + 2 * s] = set->slots[s].inside;
    }
    for (int32_t i = 0; i < n; i++)
        score(millet_logits(u->session, i), u->tokens, n_labels, u->scores + (size_t)i * n_labels);
    choose_labels(u, n_labels, n);
    for (int32_t i = 0; i < n; i++) {
        int16_t label = u->labels[i];
        if (label % 2 == 0) continue; /* outside; insides are taken with their begin */
        millet_slot *slot = &u->slots[result->n_slots++];
        *slot = (millet_slot){.name = set->slots[label / 2].text, .start = u->starts[i], .probability = 1};
        int32_t end = i;
        do {
            float p = (float)mlt_exp_double(
                (double)MLT_MAX(u->scores[(size_t)end * n_labels + (size_t)u->labels[end]], -700.0f));
            slot->probability = MLT_MIN(slot->probability, p);
        } while (++end < n && u->labels[end] == label + 1);
        slot->end = u->starts[end];
        mlt_utterance_trim(text, &slot->start, &slot->end);
        if (slot->start == slot->end) result->n_slots--;
    }
}

millet_status millet_understand(millet_understander *u, const char *set_name, const char *text, size_t length,
                                millet_understanding *result, millet_error *err)
{
    *result = (millet_understanding){0};
    const struct set *set = find_set(u, set_name);
    if (!set) return unknown_set(u, set_name, err);
    int32_t n;
    MLT_TRY(read_tokens(u, text, length, &n, &result->cut, err));
    if (n == 0) return mlt_fail(err, MILLET_BAD_ARGUMENT, "the utterance has no word");
    u->items[0] = (millet_item){set->name.token, 0, false};
    u->items[n + 1] = (millet_item){u->call, 0, true};
    MLT_TRY(millet_sequence_truncate(u->session, 0, 0, err));
    MLT_TRY(millet_eval_prefix(u->session, u->items, n + 2, err));
    rank_intents(u, set, millet_logits(u->session, n), result);
    find_slots(u, set, text, n, result);
    return MILLET_OK;
}
