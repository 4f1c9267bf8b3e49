/*
 * The rules of a context-free grammar over bytes, and how they are built.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_GRAMMAR_RULES_H
#define MLT_GRAMMAR_RULES_H

#include "base/memory.h"

/* What is expected at one place of an alternative. */
enum mlt_symbol_kind {
    MLT_SYMBOL_END,  /* of the alternative */
    MLT_SYMBOL_BYTE, /* one byte of a set */
    MLT_SYMBOL_RULE,
};

struct mlt_grammar_symbol {
    enum mlt_symbol_kind kind;
    int32_t index; /* of the set or the rule */
};

struct mlt_byte_set {
    uint64_t bits[4];
};

static inline bool mlt_byte_set_has(const struct mlt_byte_set *set, unsigned bit)
{
    return set->bits[bit / 64] >> (bit % 64) & 1;
}

struct mlt_grammar_rule {
    int32_t first, count; /* of `alternatives` */
};

struct mlt_grammar_rules {
    millet_allocator allocator;
    struct mlt_grammar_symbol *symbols; /* alternatives one behind the other, each with its END */
    int32_t *alternatives;              /* where each begins in `symbols` */
    struct mlt_grammar_rule *rules;
    /* Bytes that no set tells apart are one class: when the rules are finished, sets are of classes. */
    struct mlt_byte_set *sets;
    int32_t n_symbols, n_alternatives, n_rules, n_sets;
    int32_t root;
    uint8_t class_of[256];
    int32_t n_classes; /* 1 to 256 */
};

void mlt_grammar_rules_release(struct mlt_grammar_rules *rules);

/* ---- Building ---- */

enum { MLT_RULES_MAX_SYMBOLS = 1 << 18, MLT_RULES_NONE = -1, MLT_RULES_NO_MEMORY = -2 };

struct mlt_rule_name {
    char *text; /* NULL: a rule without a name */
    size_t where;
    bool defined;
};

struct mlt_code_range {
    uint32_t first, last; /* code points */
};

/* Growing arrays. */
struct mlt_symbol_list {
    struct mlt_grammar_symbol *items;
    size_t count, capacity;
};
struct mlt_start_list {
    int32_t *items;
    size_t count, capacity;
};
struct mlt_code_ranges {
    struct mlt_code_range *items;
    size_t count, capacity;
};

struct mlt_rule_builder {
    struct mlt_grammar_rules *rules;
    struct mlt_symbol_list
        scratch; /* symbols of the alternatives at hand: a nested group's above the outer one's */
    struct mlt_start_list starts; /* of alternatives of rules that are not complete */
    struct mlt_code_ranges ranges;
    struct mlt_rule_name *names; /* [rules->n_rules] */
    size_t symbol_capacity, alternative_capacity, rule_capacity, name_capacity, set_capacity;
};

/* `rules` is zero but for its allocator, and belongs to the caller. */
void mlt_rules_begin(struct mlt_rule_builder *builder, struct mlt_grammar_rules *rules);
void mlt_rules_end(struct mlt_rule_builder *builder);

/* A rule's number: by name, which may be defined later on; one without a name; by name or MLT_RULES_NONE. */
millet_status mlt_rules_named(struct mlt_rule_builder *builder, const char *name, size_t length, size_t where,
                              int32_t *rule, millet_error *err);
millet_status mlt_rules_unnamed(struct mlt_rule_builder *builder, int32_t *rule, millet_error *err);
int32_t mlt_rules_find(const struct mlt_rule_builder *builder, const char *name);
bool mlt_rules_is_defined(const struct mlt_rule_builder *builder, int32_t rule);

/* Appends to the alternative at hand: a byte of a range; a rule; one of the characters of builder->ranges (or
 * `others`: one of all that are not in them). */
millet_status mlt_rules_byte(struct mlt_rule_builder *builder, uint8_t first, uint8_t last,
                             millet_error *err);
millet_status mlt_rules_call(struct mlt_rule_builder *builder, int32_t rule, millet_error *err);
millet_status mlt_rules_range(struct mlt_rule_builder *builder, struct mlt_code_range range,
                              millet_error *err);
millet_status mlt_rules_characters(struct mlt_rule_builder *builder, bool others, millet_error *err);
/* What stands in scratch from `mark` on, `least` to `most` times (-1: without end). */
millet_status mlt_rules_repeat(struct mlt_rule_builder *builder, size_t mark, int32_t least, int32_t most,
                               millet_error *err);

/* Ends an alternative: scratch from `mark` on. Then: the starts from `first` on are those of the rule. */
millet_status mlt_rules_alternative(struct mlt_rule_builder *builder, size_t mark, millet_error *err);
millet_status mlt_rules_define(struct mlt_rule_builder *builder, int32_t rule, size_t first,
                               millet_error *err);

/* A rule that was named but not defined, or MLT_RULES_NONE. */
int32_t mlt_rules_undefined(const struct mlt_rule_builder *builder, const char **name, size_t *where);
/* Makes classes of the bytes. */
void mlt_rules_finish(struct mlt_rule_builder *builder);

/* ---- Checks (of complete rules) ---- */

/* A rule (with a name) that can call itself again and again before a byte is read, with more to do after each
 * call; else MLT_RULES_NONE; MLT_RULES_NO_MEMORY. */
int32_t mlt_rules_left_recursive(const struct mlt_grammar_rules *rules, millet_error *err);
/* Whether some text is a sentence of the root. */
millet_status mlt_rules_ends(const struct mlt_grammar_rules *rules, bool *ends, millet_error *err);

#endif
