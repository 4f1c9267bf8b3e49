/* Building the rules of a grammar: see grammar_rules.h. SPDX-License-Identifier: Apache-2.0 */
#include "generate/grammar_rules.h"

#include "tokenizer/utf8.h"

#include <stdlib.h>
#include <string.h>

void mlt_grammar_rules_release(struct mlt_grammar_rules *rules)
{
    if (!rules->allocator.allocate) return;
    mlt_free(&rules->allocator, rules->symbols);
    mlt_free(&rules->allocator, rules->alternatives);
    mlt_free(&rules->allocator, rules->rules);
    mlt_free(&rules->allocator, rules->sets);
    *rules = (struct mlt_grammar_rules){0};
}

void mlt_rules_begin(struct mlt_rule_builder *builder, struct mlt_grammar_rules *rules)
{
    *builder = (struct mlt_rule_builder){.rules = rules};
}

void mlt_rules_end(struct mlt_rule_builder *builder)
{
    const millet_allocator *allocator = &builder->rules->allocator;
    for (int32_t i = 0; builder->names && i < builder->rules->n_rules; i++)
        mlt_free(allocator, builder->names[i].text);
    mlt_free(allocator, builder->names);
    mlt_free(allocator, builder->scratch.items);
    mlt_free(allocator, builder->starts.items);
    mlt_free(allocator, builder->ranges.items);
}

/* Room for one more of *items. */
static millet_status grow(struct mlt_rule_builder *builder, void *items, size_t *capacity, size_t count,
                          size_t size, millet_error *err)
{
    void *array;
    memcpy(&array, items, sizeof array);
    millet_status status = mlt_grow(&builder->rules->allocator, &array, capacity, count, size, err);
    memcpy(items, &array, sizeof array);
    return status;
}

/* ---- Rules ---- */

millet_status mlt_rules_unnamed(struct mlt_rule_builder *builder, int32_t *rule, millet_error *err)
{
    struct mlt_grammar_rules *rules = builder->rules;
    size_t count = (size_t)rules->n_rules;
    MLT_TRY(grow(builder, &rules->rules, &builder->rule_capacity, count, sizeof *rules->rules, err));
    MLT_TRY(grow(builder, &builder->names, &builder->name_capacity, count, sizeof *builder->names, err));
    rules->rules[count] = (struct mlt_grammar_rule){0};
    builder->names[count] = (struct mlt_rule_name){0};
    *rule = rules->n_rules++;
    return MILLET_OK;
}

static int32_t find(const struct mlt_rule_builder *builder, const char *name, size_t length)
{
    for (int32_t i = 0; i < builder->rules->n_rules; i++) {
        const char *text = builder->names[i].text;
        if (text && strlen(text) == length && memcmp(text, name, length) == 0) return i;
    }
    return MLT_RULES_NONE;
}

int32_t mlt_rules_find(const struct mlt_rule_builder *builder, const char *name)
{
    return find(builder, name, strlen(name));
}

millet_status mlt_rules_named(struct mlt_rule_builder *builder, const char *name, size_t length, size_t where,
                              int32_t *rule, millet_error *err)
{
    *rule = find(builder, name, length);
    if (*rule >= 0) return MILLET_OK;
    char *copy = mlt_copy_text(&builder->rules->allocator, name, length, err);
    if (!copy) return MILLET_NO_MEMORY;
    millet_status status = mlt_rules_unnamed(builder, rule, err);
    if (status != MILLET_OK) {
        mlt_free(&builder->rules->allocator, copy);
        return status;
    }
    builder->names[*rule].text = copy;
    builder->names[*rule].where = where;
    return MILLET_OK;
}

bool mlt_rules_is_defined(const struct mlt_rule_builder *builder, int32_t rule)
{
    return builder->names[rule].defined;
}

int32_t mlt_rules_undefined(const struct mlt_rule_builder *builder, const char **name, size_t *where)
{
    for (int32_t i = 0; i < builder->rules->n_rules; i++) {
        if (builder->names[i].defined) continue;
        *name = builder->names[i].text;
        *where = builder->names[i].where;
        return i;
    }
    return MLT_RULES_NONE;
}

/* ---- Symbols ---- */

static millet_status add_scratch(struct mlt_rule_builder *builder, enum mlt_symbol_kind kind, int32_t index,
                                 millet_error *err)
{
    struct mlt_symbol_list *list = &builder->scratch;
    if (list->count + (size_t)builder->rules->n_symbols >= MLT_RULES_MAX_SYMBOLS)
        return mlt_fail_at(err, MILLET_UNSUPPORTED, NULL, "grammar", MILLET_NO_OFFSET,
                           "the grammar has more than %d symbols; fewer or smaller repetitions would do",
                           MLT_RULES_MAX_SYMBOLS);
    MLT_TRY(grow(builder, &list->items, &list->capacity, list->count, sizeof *list->items, err));
    list->items[list->count++] = (struct mlt_grammar_symbol){kind, index};
    return MILLET_OK;
}

millet_status mlt_rules_call(struct mlt_rule_builder *builder, int32_t rule, millet_error *err)
{
    return add_scratch(builder, MLT_SYMBOL_RULE, rule, err);
}

static millet_status add_set(struct mlt_rule_builder *builder, const struct mlt_byte_set *set,
                             millet_error *err)
{
    struct mlt_grammar_rules *rules = builder->rules;
    int32_t i = 0;
    while (i < rules->n_sets && memcmp(&rules->sets[i], set, sizeof *set) != 0)
        i++;
    if (i == rules->n_sets) {
        MLT_TRY(grow(builder, &rules->sets, &builder->set_capacity, (size_t)i, sizeof *rules->sets, err));
        rules->sets[rules->n_sets++] = *set;
    }
    return add_scratch(builder, MLT_SYMBOL_BYTE, i, err);
}

static void set_bytes(struct mlt_byte_set *set, unsigned first, unsigned last)
{
    for (unsigned byte = first; byte <= last; byte++)
        set->bits[byte / 64] |= UINT64_C(1) << (byte % 64);
}

millet_status mlt_rules_byte(struct mlt_rule_builder *builder, uint8_t first, uint8_t last, millet_error *err)
{
    struct mlt_byte_set set = {{0}};
    set_bytes(&set, first, last);
    return add_set(builder, &set, err);
}

millet_status mlt_rules_alternative(struct mlt_rule_builder *builder, size_t mark, millet_error *err)
{
    struct mlt_grammar_rules *rules = builder->rules;
    int32_t start = rules->n_symbols;
    MLT_TRY(add_scratch(builder, MLT_SYMBOL_END, 0, err));
    for (size_t i = mark; i < builder->scratch.count; i++) {
        MLT_TRY(grow(builder, &rules->symbols, &builder->symbol_capacity, (size_t)rules->n_symbols,
                     sizeof *rules->symbols, err));
        rules->symbols[rules->n_symbols++] = builder->scratch.items[i];
    }
    builder->scratch.count = mark;
    struct mlt_start_list *starts = &builder->starts;
    MLT_TRY(grow(builder, &starts->items, &starts->capacity, starts->count, sizeof *starts->items, err));
    starts->items[starts->count++] = start;
    return MILLET_OK;
}

millet_status mlt_rules_define(struct mlt_rule_builder *builder, int32_t rule, size_t first,
                               millet_error *err)
{
    struct mlt_grammar_rules *rules = builder->rules;
    rules->rules[rule].first = rules->n_alternatives;
    for (size_t i = first; i < builder->starts.count; i++) {
        MLT_TRY(grow(builder, &rules->alternatives, &builder->alternative_capacity,
                     (size_t)rules->n_alternatives, sizeof *rules->alternatives, err));
        rules->alternatives[rules->n_alternatives++] = builder->starts.items[i];
    }
    builder->starts.count = first;
    rules->rules[rule].count = rules->n_alternatives - rules->rules[rule].first;
    builder->names[rule].defined = true;
    return MILLET_OK;
}

/* ---- Repetitions ---- */

/* rule ::= item next | (nothing); `next` may be MLT_RULES_NONE. */
static millet_status define_optional(struct mlt_rule_builder *builder, int32_t rule,
                                     struct mlt_grammar_symbol item, int32_t next, millet_error *err)
{
    size_t first = builder->starts.count, mark = builder->scratch.count;
    MLT_TRY(add_scratch(builder, item.kind, item.index, err));
    if (next >= 0) MLT_TRY(mlt_rules_call(builder, next, err));
    MLT_TRY(mlt_rules_alternative(builder, mark, err));
    MLT_TRY(mlt_rules_alternative(builder, mark, err));
    return mlt_rules_define(builder, rule, first, err);
}

millet_status mlt_rules_repeat(struct mlt_rule_builder *builder, size_t mark, int32_t least, int32_t most,
                               millet_error *err)
{
    size_t length = builder->scratch.count - mark;
    if (length == 0) return MILLET_OK; /* "" as often as you like */
    struct mlt_grammar_symbol item = builder->scratch.items[mark];
    int32_t rule = MLT_RULES_NONE;
    if (length > 1) {
        size_t first = builder->starts.count;
        MLT_TRY(mlt_rules_unnamed(builder, &rule, err));
        MLT_TRY(mlt_rules_alternative(builder, mark, err));
        MLT_TRY(mlt_rules_define(builder, rule, first, err));
        item = (struct mlt_grammar_symbol){MLT_SYMBOL_RULE, rule};
    }
    builder->scratch.count = mark;
    for (int32_t i = 0; i < least; i++)
        MLT_TRY(add_scratch(builder, item.kind, item.index, err));
    int32_t rest = MLT_RULES_NONE;
    if (most < 0) {
        MLT_TRY(mlt_rules_unnamed(builder, &rest, err));
        MLT_TRY(define_optional(builder, rest, item, rest, err));
    }
    for (int32_t i = least; i < most; i++) {
        int32_t next = rest;
        MLT_TRY(mlt_rules_unnamed(builder, &rest, err));
        MLT_TRY(define_optional(builder, rest, item, next, err));
    }
    return rest >= 0 ? mlt_rules_call(builder, rest, err) : MILLET_OK;
}

/* ---- Characters ---- */

millet_status mlt_rules_range(struct mlt_rule_builder *builder, struct mlt_code_range range,
                              millet_error *err)
{
    struct mlt_code_ranges *ranges = &builder->ranges;
    MLT_TRY(grow(builder, &ranges->items, &ranges->capacity, ranges->count, sizeof *ranges->items, err));
    ranges->items[ranges->count++] = range;
    return MILLET_OK;
}

static int compare_ranges(const void *a, const void *b)
{
    const struct mlt_code_range *left = a, *right = b;
    return (left->first > right->first) - (left->first < right->first);
}

/* Ascending, none touching another. */
static void unite_ranges(struct mlt_code_ranges *ranges)
{
    if (ranges->count == 0) return;
    qsort(ranges->items, ranges->count, sizeof *ranges->items, compare_ranges);
    size_t n = 1;
    for (size_t i = 1; i < ranges->count; i++) {
        struct mlt_code_range *last = &ranges->items[n - 1], range = ranges->items[i];
        if (range.first <= last->last + 1)
            last->last = MLT_MAX(last->last, range.last);
        else
            ranges->items[n++] = range;
    }
    ranges->count = n;
}

/* All characters that are not in the united ranges. */
static millet_status complement_ranges(struct mlt_rule_builder *builder, millet_error *err)
{
    struct mlt_code_ranges *ranges = &builder->ranges;
    size_t n = ranges->count;
    uint32_t next = 0;
    for (size_t i = 0; i <= n; i++) {
        struct mlt_code_range range = i < n ? ranges->items[i] : (struct mlt_code_range){0x110000, 0x110000};
        if (range.first > next)
            MLT_TRY(mlt_rules_range(builder, (struct mlt_code_range){next, range.first - 1}, err));
        next = range.last + 1;
    }
    memmove(ranges->items, ranges->items + n, (ranges->count - n) * sizeof *ranges->items);
    ranges->count -= n;
    return MILLET_OK;
}

/*
 * Alternatives for the code points first..last as bytes. A range becomes several, in each of which every byte
 * has a range of its own: it is cut where the number of bytes changes, then where bytes behind the first
 * one that differs do not run through all of their values.
 */
static millet_status add_code_range(struct mlt_rule_builder *builder, uint32_t first, uint32_t last,
                                    millet_error *err)
{
    static const uint32_t limits[] = {0x7F, 0x7FF, 0xFFFF};
    for (size_t i = 0; i < MLT_COUNT(limits); i++)
        if (first <= limits[i] && last > limits[i]) {
            MLT_TRY(add_code_range(builder, first, limits[i], err));
            return add_code_range(builder, limits[i] + 1, last, err);
        }
    char low[4], high[4];
    size_t n = mlt_utf8_encode(first, low);
    for (size_t i = 1; i < n; i++) {
        uint32_t mask = (UINT32_C(1) << (6 * i)) - 1, split;
        if ((first & ~mask) == (last & ~mask)) continue;
        if (first & mask)
            split = first | mask;
        else if ((last & mask) != mask)
            split = (last & ~mask) - 1;
        else
            continue;
        MLT_TRY(add_code_range(builder, first, split, err));
        return add_code_range(builder, split + 1, last, err);
    }
    mlt_utf8_encode(last, high);
    size_t mark = builder->scratch.count;
    for (size_t i = 0; i < n; i++)
        MLT_TRY(mlt_rules_byte(builder, (uint8_t)low[i], (uint8_t)high[i], err));
    return mlt_rules_alternative(builder, mark, err);
}

millet_status mlt_rules_characters(struct mlt_rule_builder *builder, bool others, millet_error *err)
{
    struct mlt_code_ranges *ranges = &builder->ranges;
    unite_ranges(ranges);
    if (others) MLT_TRY(complement_ranges(builder, err));
    struct mlt_byte_set ascii = {{0}};
    size_t n_ascii = 0;
    for (; n_ascii < ranges->count && ranges->items[n_ascii].last < 0x80; n_ascii++)
        set_bytes(&ascii, ranges->items[n_ascii].first, ranges->items[n_ascii].last);
    if (n_ascii == ranges->count) return add_set(builder, &ascii, err);
    int32_t rule;
    size_t first = builder->starts.count, mark = builder->scratch.count;
    MLT_TRY(mlt_rules_unnamed(builder, &rule, err));
    struct mlt_code_range *across = &ranges->items[n_ascii]; /* may begin with ASCII */
    if (across->first < 0x80) {
        set_bytes(&ascii, across->first, 0x7F);
        across->first = 0x80;
        n_ascii++;
    }
    if (n_ascii) {
        MLT_TRY(add_set(builder, &ascii, err));
        MLT_TRY(mlt_rules_alternative(builder, mark, err));
    }
    for (struct mlt_code_range *range = across; range < ranges->items + ranges->count; range++) {
        /* Surrogates are no characters. */
        if (range->first < 0xD800)
            MLT_TRY(add_code_range(builder, range->first, MLT_MIN(range->last, 0xD7FF), err));
        if (range->last > 0xDFFF)
            MLT_TRY(add_code_range(builder, MLT_MAX(range->first, 0xE000), range->last, err));
    }
    MLT_TRY(mlt_rules_define(builder, rule, first, err));
    return mlt_rules_call(builder, rule, err);
}

/* ---- Classes ---- */

void mlt_rules_finish(struct mlt_rule_builder *builder)
{
    struct mlt_grammar_rules *rules = builder->rules;
    int n = 1; /* classes; each set cuts those that it holds a part of */
    memset(rules->class_of, 0, sizeof rules->class_of);
    for (int32_t i = 0; i < rules->n_sets; i++) {
        int inside[256], outside[256], part[256];
        memset(inside, 0, sizeof inside);
        memset(outside, 0, sizeof outside);
        for (unsigned byte = 0; byte < 256; byte++)
            ++(mlt_byte_set_has(&rules->sets[i], byte) ? inside : outside)[rules->class_of[byte]];
        for (int c = 0, before = n; c < before; c++)
            part[c] = inside[c] && outside[c] ? n++ : c;
        for (unsigned byte = 0; byte < 256; byte++)
            if (mlt_byte_set_has(&rules->sets[i], byte))
                rules->class_of[byte] = (uint8_t)part[rules->class_of[byte]];
    }
    rules->n_classes = n;
    for (int32_t i = 0; i < rules->n_sets; i++) {
        struct mlt_byte_set classes = {{0}};
        for (unsigned byte = 0; byte < 256; byte++)
            if (mlt_byte_set_has(&rules->sets[i], byte))
                set_bytes(&classes, rules->class_of[byte], rules->class_of[byte]);
        rules->sets[i] = classes;
    }
}
