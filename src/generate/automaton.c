/* Pushdown automata over bytes: see automaton.h. SPDX-License-Identifier: Apache-2.0 */
#include "generate/automaton.h"

#include <stdlib.h>
#include <string.h>

/* A stack: where its innermost rule goes on, and the stack below. Node 0 is the empty stack. */
struct node {
    int32_t symbol, below;
    int32_t stamp; /* of the last closure that met it */
    int32_t next;  /* in its bucket, or -1 */
};

struct state {
    int32_t first, count; /* of `stacks`: nodes at a byte, ascending */
    bool accepts;
    int32_t next; /* in its bucket, or -1 */
};

enum { NODES_A_STATE = 16, STACKS_A_STATE = 32, LEAST_NODES = 4096, BUCKETS_A_STATE = 2 };

struct mlt_automaton {
    millet_allocator allocator;
    const struct mlt_grammar_rules *rules;
    int32_t max_nodes, max_stacks, max_states, n_node_buckets, n_state_buckets;
    int32_t n_nodes, n_stacks, n_states, stamp;
    struct node *nodes;
    int32_t *node_buckets, *state_buckets;
    struct state *states;
    int32_t *stacks;
    int32_t *next; /* [max_states][n_classes] of the states; UNKNOWN where no step was taken */
    int32_t *todo; /* [max_nodes] nodes of a closure that are not expanded yet */
    int32_t n_todo;
    bool accepts, full; /* of the closure at hand */
};

enum { UNKNOWN = -2 };

static uint32_t mix(uint32_t a, uint32_t b)
{
    uint64_t x = (((uint64_t)a << 32) | b) * UINT64_C(0x9E3779B97F4A7C15);
    return (uint32_t)(x >> 32) ^ (uint32_t)x >> 7;
}

static void forget(struct mlt_automaton *a)
{
    memset(a->node_buckets, 0xFF, (size_t)a->n_node_buckets * sizeof *a->node_buckets);
    memset(a->state_buckets, 0xFF, (size_t)a->n_state_buckets * sizeof *a->state_buckets);
    a->nodes[0] = (struct node){-1, 0, 0, -1};
    a->n_nodes = 1;
    a->stamp = 0;
    a->n_stacks = 0;
    a->states[MLT_STATE_DEAD] = (struct state){.next = -1};
    for (int32_t c = 0; c < a->rules->n_classes; c++)
        a->next[c] = MLT_STATE_DEAD;
    a->n_states = 1;
}

millet_status mlt_automaton_open(const struct mlt_grammar_rules *rules, int32_t max_states,
                                 struct mlt_automaton **automaton, millet_error *err)
{
    *automaton = NULL;
    const millet_allocator *allocator = &rules->allocator;
    struct mlt_automaton *a = mlt_alloc_zero(allocator, 1, sizeof *a, err);
    if (!a) return MILLET_NO_MEMORY;
    a->allocator = *allocator;
    a->rules = rules;
    a->max_states = max_states;
    /* A closure meets each symbol at most once above each stack of the state before it. */
    a->max_nodes = MLT_MAX(NODES_A_STATE * max_states, MLT_MAX(LEAST_NODES, 2 * rules->n_symbols));
    a->max_stacks = STACKS_A_STATE * max_states;
    a->n_node_buckets = a->max_nodes;
    a->n_state_buckets = BUCKETS_A_STATE * max_states;
    size_t n_nodes = (size_t)a->max_nodes, n_states = (size_t)max_states;
    a->nodes = mlt_alloc(allocator, n_nodes, sizeof *a->nodes, err);
    a->node_buckets = mlt_alloc(allocator, n_nodes, sizeof *a->node_buckets, err);
    a->todo = mlt_alloc(allocator, n_nodes, sizeof *a->todo, err);
    a->states = mlt_alloc(allocator, n_states, sizeof *a->states, err);
    a->state_buckets = mlt_alloc(allocator, (size_t)a->n_state_buckets, sizeof *a->state_buckets, err);
    a->stacks = mlt_alloc(allocator, (size_t)a->max_stacks, sizeof *a->stacks, err);
    a->next = mlt_alloc(allocator, n_states * (size_t)rules->n_classes, sizeof *a->next, err);
    if (!a->nodes || !a->node_buckets || !a->todo || !a->states || !a->state_buckets || !a->stacks ||
        !a->next) {
        mlt_automaton_close(&a);
        return MILLET_NO_MEMORY;
    }
    forget(a);
    *automaton = a;
    return MILLET_OK;
}

void mlt_automaton_close(struct mlt_automaton **automaton)
{
    struct mlt_automaton *a = *automaton;
    *automaton = NULL;
    if (!a) return;
    millet_allocator allocator = a->allocator;
    mlt_free(&allocator, a->nodes);
    mlt_free(&allocator, a->node_buckets);
    mlt_free(&allocator, a->todo);
    mlt_free(&allocator, a->states);
    mlt_free(&allocator, a->state_buckets);
    mlt_free(&allocator, a->stacks);
    mlt_free(&allocator, a->next);
    mlt_free(&allocator, a);
}

/* ---- Closures ---- */

/* The node of a symbol above a stack; -1: no room. */
static int32_t node_of(struct mlt_automaton *a, int32_t symbol, int32_t below)
{
    int32_t *bucket = &a->node_buckets[mix((uint32_t)symbol, (uint32_t)below) % (uint32_t)a->n_node_buckets];
    for (int32_t i = *bucket; i >= 0; i = a->nodes[i].next)
        if (a->nodes[i].symbol == symbol && a->nodes[i].below == below) return i;
    if (a->n_nodes == a->max_nodes) {
        a->full = true;
        return -1;
    }
    int32_t node = a->n_nodes++;
    a->nodes[node] = (struct node){symbol, below, 0, *bucket};
    *bucket = node;
    return node;
}

/* Adds the stack with this symbol on top of `below` to the closure, once. */
static void meet(struct mlt_automaton *a, int32_t symbol, int32_t below)
{
    while (a->rules->symbols[symbol].kind == MLT_SYMBOL_END) {
        if (below == 0) {
            a->accepts = true;
            return;
        }
        symbol = a->nodes[below].symbol;
        below = a->nodes[below].below;
    }
    int32_t node = node_of(a, symbol, below);
    if (node < 0 || a->nodes[node].stamp == a->stamp) return;
    a->nodes[node].stamp = a->stamp;
    a->todo[a->n_todo++] = node;
}

static int compare_nodes(const void *left, const void *right)
{
    int32_t x = *(const int32_t *)left, y = *(const int32_t *)right;
    return (x > y) - (x < y);
}

/*
 * Begins a set of stacks; meet adds to it; the state that they make. What follows a rule that is called at
 * the end of an alternative is what follows the alternative: nothing is put on the stack for it, so that
 * repetitions do not make stacks grow.
 */
static void begin_closure(struct mlt_automaton *a)
{
    a->stamp++;
    a->n_todo = 0;
    a->accepts = a->full = false;
}

/* The state of the `count` stacks that lie behind those of the states, and of a->accepts. */
static int32_t state_of(struct mlt_automaton *a, int32_t count)
{
    if (count == 0 && !a->accepts) return MLT_STATE_DEAD;
    int32_t first = a->n_stacks, n_classes = a->rules->n_classes;
    int32_t *stacks = a->stacks + first;
    qsort(stacks, (size_t)count, sizeof *stacks, compare_nodes);
    uint32_t hash = a->accepts;
    for (int32_t i = 0; i < count; i++)
        hash = mix(hash, (uint32_t)stacks[i]);
    int32_t *bucket = &a->state_buckets[hash % (uint32_t)a->n_state_buckets];
    for (int32_t i = *bucket; i >= 0; i = a->states[i].next) {
        const struct state *s = &a->states[i];
        if (s->accepts == a->accepts && s->count == count &&
            memcmp(a->stacks + s->first, stacks, (size_t)count * sizeof *stacks) == 0)
            return i;
    }
    if (a->n_states == a->max_states) return MLT_STATE_FULL;
    int32_t state = a->n_states++;
    a->n_stacks += count;
    a->states[state] = (struct state){first, count, a->accepts, *bucket};
    *bucket = state;
    int32_t *next = a->next + (size_t)state * (size_t)n_classes;
    for (int32_t c = 0; c < n_classes; c++)
        next[c] = UNKNOWN;
    return state;
}

static int32_t end_closure(struct mlt_automaton *a)
{
    const struct mlt_grammar_rules *rules = a->rules;
    int32_t first = a->n_stacks, count = 0;
    while (a->n_todo && !a->full) {
        int32_t node = a->todo[--a->n_todo], symbol = a->nodes[node].symbol, below = a->nodes[node].below;
        struct mlt_grammar_symbol s = rules->symbols[symbol];
        if (s.kind == MLT_SYMBOL_BYTE) {
            if (first + count == a->max_stacks) return MLT_STATE_FULL;
            a->stacks[first + count++] = node;
            continue;
        }
        if (rules->symbols[symbol + 1].kind != MLT_SYMBOL_END) below = node_of(a, symbol + 1, below);
        struct mlt_grammar_rule rule = rules->rules[s.index];
        for (int32_t i = 0; i < rule.count && below >= 0; i++)
            meet(a, rules->alternatives[rule.first + i], below);
    }
    return a->full ? MLT_STATE_FULL : state_of(a, count);
}

/* ---- Steps ---- */

int32_t mlt_automaton_start(struct mlt_automaton *a)
{
    forget(a);
    begin_closure(a);
    struct mlt_grammar_rule root = a->rules->rules[a->rules->root];
    for (int32_t i = 0; i < root.count; i++)
        meet(a, a->rules->alternatives[root.first + i], 0);
    return end_closure(a);
}

int32_t mlt_automaton_step(struct mlt_automaton *a, int32_t state, uint8_t byte)
{
    const struct mlt_grammar_rules *rules = a->rules;
    unsigned c = rules->class_of[byte];
    int32_t *next = &a->next[(size_t)state * (size_t)rules->n_classes + c];
    if (*next != UNKNOWN) return *next;
    begin_closure(a);
    struct state from = a->states[state];
    for (int32_t i = 0; i < from.count && !a->full; i++) {
        struct node node = a->nodes[a->stacks[from.first + i]];
        if (mlt_byte_set_has(&rules->sets[rules->symbols[node.symbol].index], c))
            meet(a, node.symbol + 1, node.below);
    }
    int32_t to = end_closure(a);
    if (to != MLT_STATE_FULL) *next = to;
    return to;
}

int32_t mlt_automaton_keep(struct mlt_automaton *a, int32_t state)
{
    struct state kept = a->states[state];
    /*
     * A stack's nodes are older than those above it. What the kept stacks need moves to the front in the
     * order of age, `todo` says where to.
     */
    int32_t *place = a->todo;
    memset(place, 0, (size_t)a->n_nodes * sizeof *place);
    for (int32_t i = 0; i < kept.count; i++)
        for (int32_t node = a->stacks[kept.first + i]; node && !place[node]; node = a->nodes[node].below)
            place[node] = 1;
    int32_t n_nodes = a->n_nodes;
    memmove(a->stacks, a->stacks + kept.first, (size_t)kept.count * sizeof *a->stacks);
    forget(a);
    for (int32_t node = 1; node < n_nodes; node++) {
        if (!place[node]) continue;
        place[node] = a->n_nodes;
        node_of(a, a->nodes[node].symbol, place[a->nodes[node].below]);
    }
    for (int32_t i = 0; i < kept.count; i++)
        a->stacks[i] = place[a->stacks[i]];
    a->accepts = kept.accepts;
    return state_of(a, kept.count);
}

bool mlt_automaton_accepts(const struct mlt_automaton *a, int32_t state)
{
    return a->states[state].accepts;
}

bool mlt_automaton_goes_on(const struct mlt_automaton *a, int32_t state)
{
    return a->states[state].count > 0;
}

int32_t mlt_automaton_max_states(const struct mlt_automaton *a)
{
    return a->max_states;
}
