/*
 * What a grammar must be for an automaton to run it: see grammar_rules.h.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "generate/grammar_rules.h"

#include <string.h>

/*
 * Fills holds[rule] with whether some alternative consists of rules that hold alone, and (`bytes`) bytes:
 * with bytes, whether a text ends the rule at all; without, whether no text does. Sweeps in both directions
 * follow chains of either order.
 */
static void fill_holds(const struct mlt_grammar_rules *rules, bool bytes, bool *holds)
{
    memset(holds, 0, (size_t)rules->n_rules * sizeof *holds);
    bool changed = true;
    for (bool forward = false; changed; forward = !forward) {
        changed = false;
        for (int32_t k = 0; k < rules->n_rules; k++) {
            int32_t r = forward ? k : rules->n_rules - 1 - k;
            for (int32_t i = 0; !holds[r] && i < rules->rules[r].count; i++) {
                const struct mlt_grammar_symbol *s =
                    rules->symbols + rules->alternatives[rules->rules[r].first + i];
                while (s->kind == MLT_SYMBOL_BYTE ? bytes : s->kind == MLT_SYMBOL_RULE && holds[s->index])
                    s++;
                if (s->kind == MLT_SYMBOL_END) changed = holds[r] = true;
            }
        }
    }
}

millet_status mlt_rules_ends(const struct mlt_grammar_rules *rules, bool *ends, millet_error *err)
{
    bool *holds = mlt_alloc(&rules->allocator, (size_t)rules->n_rules, sizeof *holds, err);
    if (!holds) return MILLET_NO_MEMORY;
    fill_holds(rules, true, holds);
    *ends = holds[rules->root];
    mlt_free(&rules->allocator, holds);
    return MILLET_OK;
}

/* A place in a rule's alternatives while its calls are followed. */
struct visit {
    int32_t rule, alternative;
    const struct mlt_grammar_symbol *symbol; /* NULL: the alternative is not begun */
};

/*
 * Tarjan (1972): strongly connected components of the graph of calls that can be made before a byte is read.
 * A component with a call inside it after which something is left to do makes a stack grow without end.
 */
struct search {
    const struct mlt_grammar_rules *rules;
    const bool *empty; /* rules that can read nothing */
    int32_t *order;    /* [n_rules] 0: not seen yet */
    int32_t *low;
    int32_t *component; /* [n_rules] -1: not known yet */
    int32_t *open;      /* rules whose component is not known */
    struct visit *path;
    int32_t n_open, n_path, n_seen, n_components;
};

/* The next call of the rule on top of the path that can come before a byte, or NULL. */
static const struct mlt_grammar_symbol *next_call(const struct search *s, struct visit *v)
{
    const struct mlt_grammar_rule *rule = &s->rules->rules[v->rule];
    for (; v->alternative < rule->count; v->alternative++, v->symbol = NULL) {
        if (!v->symbol)
            v->symbol = s->rules->symbols + s->rules->alternatives[rule->first + v->alternative];
        else if (s->empty[v->symbol->index])
            v->symbol++;
        else
            continue;
        if (v->symbol->kind == MLT_SYMBOL_RULE) return v->symbol;
    }
    return NULL;
}

static void enter(struct search *s, int32_t rule)
{
    s->order[rule] = s->low[rule] = ++s->n_seen;
    s->open[s->n_open++] = rule;
    s->path[s->n_path++] = (struct visit){.rule = rule};
}

static void find_components(struct search *s, int32_t from)
{
    enter(s, from);
    while (s->n_path) {
        struct visit *v = &s->path[s->n_path - 1];
        int32_t rule = v->rule;
        const struct mlt_grammar_symbol *call = next_call(s, v);
        if (call && !s->order[call->index]) {
            enter(s, call->index);
        } else if (call) {
            if (s->component[call->index] < 0) s->low[rule] = MLT_MIN(s->low[rule], s->order[call->index]);
        } else {
            if (s->low[rule] == s->order[rule]) {
                int32_t member;
                do
                    s->component[member = s->open[--s->n_open]] = s->n_components;
                while (member != rule);
                s->n_components++;
            }
            if (--s->n_path) {
                int32_t caller = s->path[s->n_path - 1].rule;
                s->low[caller] = MLT_MIN(s->low[caller], s->low[rule]);
            }
        }
    }
}

static int32_t find_growing_call(const struct search *s)
{
    for (int32_t rule = 0; rule < s->rules->n_rules; rule++) {
        struct visit v = {.rule = rule};
        for (const struct mlt_grammar_symbol *call; (call = next_call(s, &v));)
            if (call[1].kind != MLT_SYMBOL_END && s->component[call->index] == s->component[rule]) {
                /* The first of the component: a rule without a name is called by one with a smaller number.
                 */
                int32_t first = 0;
                while (s->component[first] != s->component[rule])
                    first++;
                return first;
            }
    }
    return MLT_RULES_NONE;
}

int32_t mlt_rules_left_recursive(const struct mlt_grammar_rules *rules, millet_error *err)
{
    const millet_allocator *allocator = &rules->allocator;
    size_t n = (size_t)rules->n_rules;
    struct search s = {.rules = rules};
    bool *empty = mlt_alloc(allocator, n, sizeof *empty, err);
    int32_t *numbers = mlt_alloc_zero(allocator, n, 4 * sizeof *numbers, err);
    s.path = mlt_alloc(allocator, n, sizeof *s.path, err);
    int32_t found = MLT_RULES_NO_MEMORY;
    if (empty && numbers && s.path) {
        fill_holds(rules, false, empty);
        s.empty = empty;
        s.order = numbers;
        s.low = numbers + n;
        s.component = numbers + 2 * n;
        s.open = numbers + 3 * n;
        memset(s.component, 0xFF, n * sizeof *s.component);
        for (int32_t rule = 0; rule < rules->n_rules; rule++)
            if (!s.order[rule]) find_components(&s, rule);
        found = find_growing_call(&s);
    }
    mlt_free(allocator, s.path);
    mlt_free(allocator, numbers);
    mlt_free(allocator, empty);
    return found;
}
