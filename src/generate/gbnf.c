/* Reading grammars: see gbnf.h. SPDX-License-Identifier: Apache-2.0 */
#include "generate/gbnf.h"

#include "tokenizer/utf8.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { MAX_DEPTH = 200, MAX_REPEAT = 4096, LAST_CODE_POINT = 0x10FFFF };

struct reader {
    struct mlt_rule_builder *builder;
    const char *text;
    size_t length, at;
    int depth;
    millet_error *err;
};

static MLT_PRINTF(3, 4) millet_status fail_here(const struct reader *r, size_t at, const char *format, ...)
{
    char message[160];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    int line = 1, column = 1;
    for (size_t i = 0; i < at; i++) {
        column++;
        if (r->text[i] == '\n') {
            line++;
            column = 1;
        }
    }
    return mlt_fail_at(r->err, MILLET_BAD_FORMAT, NULL, "grammar", MILLET_NO_OFFSET, "line %d, column %d: %s",
                       line, column, message);
}

static int peek(const struct reader *r)
{
    return r->at < r->length ? (unsigned char)r->text[r->at] : -1;
}

/* White space and comments; line ends only where `lines`. */
static void skip_space(struct reader *r, bool lines)
{
    for (;; r->at++) {
        int c = peek(r);
        if (c == '#') {
            while (peek(r) >= 0 && peek(r) != '\n')
                r->at++;
            c = peek(r);
        }
        if (c == ' ' || c == '\t') continue;
        if (!lines || (c != '\n' && c != '\r')) return;
    }
}

static bool is_name(int c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

static size_t read_name(struct reader *r)
{
    size_t start = r->at;
    while (is_name(peek(r)))
        r->at++;
    return r->at - start;
}

/* Whether a rule's head `name ::=` stands here; does not move. */
static bool at_head(const struct reader *r)
{
    struct reader look = *r;
    if (read_name(&look) == 0) return false;
    skip_space(&look, false);
    return look.length - look.at >= 3 && memcmp(look.text + look.at, "::=", 3) == 0;
}

static int hex_digit(int c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

static millet_status read_hex(struct reader *r, int digits, uint32_t *code)
{
    size_t start = r->at;
    *code = 0;
    for (int i = 0; i < digits; i++, r->at++) {
        int digit = hex_digit(peek(r));
        if (digit < 0) return fail_here(r, start, "an escape needs %d hexadecimal digits", digits);
        *code = *code * 16 + (uint32_t)digit;
    }
    return MILLET_OK;
}

/* One character of a literal or a set. */
static millet_status read_character(struct reader *r, uint32_t *code)
{
    size_t start = r->at;
    int c = peek(r);
    if (c < 0 || c == '\n') return fail_here(r, start, "the literal or set is not closed in its line");
    if (c != '\\') {
        size_t n = mlt_utf8_decode(r->text + r->at, r->length - r->at, code);
        if (n == 0) return fail_here(r, start, "the text is no valid UTF-8");
        r->at += n;
        return MILLET_OK;
    }
    r->at++;
    c = peek(r);
    r->at++;
    switch (c) {
    case 'n': *code = '\n'; return MILLET_OK;
    case 'r': *code = '\r'; return MILLET_OK;
    case 't': *code = '\t'; return MILLET_OK;
    case 'x': MLT_TRY(read_hex(r, 2, code)); break;
    case 'u': MLT_TRY(read_hex(r, 4, code)); break;
    case 'U': MLT_TRY(read_hex(r, 8, code)); break;
    case '\\':
    case '"':
    case '\'':
    case '/':
    case '[':
    case ']':
    case '^':
    case '-': *code = (uint32_t)c; return MILLET_OK;
    default:
        return fail_here(
            r, start, "an escape is one of \\n \\r \\t \\\" \\\\ \\[ \\] \\^ \\- \\xHH \\uHHHH \\UHHHHHHHH");
    }
    if (*code > LAST_CODE_POINT || (*code >= 0xD800 && *code <= 0xDFFF))
        return fail_here(r, start, "U+%04X is no character", (unsigned)*code);
    return MILLET_OK;
}

static millet_status read_literal(struct reader *r)
{
    r->at++;
    while (peek(r) != '"') {
        uint32_t code;
        char bytes[4];
        MLT_TRY(read_character(r, &code));
        size_t n = mlt_utf8_encode(code, bytes);
        for (size_t i = 0; i < n; i++)
            MLT_TRY(mlt_rules_byte(r->builder, (uint8_t)bytes[i], (uint8_t)bytes[i], r->err));
    }
    r->at++;
    return MILLET_OK;
}

static millet_status read_set(struct reader *r)
{
    struct mlt_code_ranges *ranges = &r->builder->ranges;
    ranges->count = 0;
    r->at++;
    bool others = peek(r) == '^';
    if (others) r->at++;
    while (peek(r) != ']') {
        size_t start = r->at;
        struct mlt_code_range range;
        MLT_TRY(read_character(r, &range.first));
        range.last = range.first;
        if (peek(r) == '-' && r->at + 1 < r->length && r->text[r->at + 1] != ']') {
            r->at++;
            MLT_TRY(read_character(r, &range.last));
        }
        if (range.last < range.first) return fail_here(r, start, "a range ends before it begins");
        MLT_TRY(mlt_rules_range(r->builder, range, r->err));
    }
    if (ranges->count == 0 && !others) return fail_here(r, r->at, "a set without characters matches nothing");
    r->at++;
    return mlt_rules_characters(r->builder, others, r->err);
}

static millet_status read_number(struct reader *r, int32_t *number)
{
    size_t start = r->at;
    *number = 0;
    while (peek(r) >= '0' && peek(r) <= '9') {
        *number = *number * 10 + (peek(r) - '0');
        r->at++;
        if (*number > MAX_REPEAT)
            return fail_here(r, start, "at most %d repetitions can be asked for", MAX_REPEAT);
    }
    return r->at > start ? MILLET_OK : fail_here(r, start, "a number of repetitions is expected");
}

/* What follows an item: * + ? {n} {n,} {n,m}; several apply one after the other. */
static millet_status read_repetition(struct reader *r, size_t mark)
{
    for (;;) {
        int32_t least = 0, most = -1;
        switch (peek(r)) {
        case '*': break;
        case '+': least = 1; break;
        case '?': most = 1; break;
        case '{': {
            size_t start = r->at++;
            skip_space(r, false);
            if (peek(r) == ',')
                least = 0;
            else
                MLT_TRY(read_number(r, &least));
            most = least;
            skip_space(r, false);
            if (peek(r) == ',') {
                r->at++;
                skip_space(r, false);
                most = -1;
                if (peek(r) != '}') MLT_TRY(read_number(r, &most));
                skip_space(r, false);
            }
            if (peek(r) != '}') return fail_here(r, r->at, "a repetition is closed by }");
            if (most >= 0 && most < least)
                return fail_here(r, start, "at most %d after at least %d", most, least);
            break;
        }
        default: return MILLET_OK;
        }
        r->at++;
        MLT_TRY(mlt_rules_repeat(r->builder, mark, least, most, r->err));
    }
}

static millet_status read_alternatives(struct reader *r, int32_t rule, bool nested);

static millet_status read_item(struct reader *r)
{
    size_t start = r->at;
    int c = peek(r);
    if (c == '"') return read_literal(r);
    if (c == '[') return read_set(r);
    if (c == '.') {
        r->at++;
        r->builder->ranges.count = 0;
        return mlt_rules_characters(r->builder, true, r->err);
    }
    if (c == '(') {
        if (++r->depth > MAX_DEPTH) return fail_here(r, start, "more than %d groups are open", MAX_DEPTH);
        r->at++;
        int32_t group;
        MLT_TRY(mlt_rules_unnamed(r->builder, &group, r->err));
        MLT_TRY(read_alternatives(r, group, true));
        if (peek(r) != ')') return fail_here(r, start, "the group is not closed");
        r->at++;
        r->depth--;
        return mlt_rules_call(r->builder, group, r->err);
    }
    if (c == '<')
        return mlt_fail_at(r->err, MILLET_UNSUPPORTED, NULL, "grammar", MILLET_NO_OFFSET,
                           "tokens by name (<...>) are not supported: write the text that they stand for");
    size_t length = read_name(r);
    if (length == 0) {
        if (c < 0) return fail_here(r, start, "the grammar ends within a rule");
        return fail_here(r, start,
                         "'%c' begins no item: a literal, a set, a group or a rule's name is expected",
                         c < 0x80 ? c : '?');
    }
    int32_t rule;
    MLT_TRY(mlt_rules_named(r->builder, r->text + start, length, start, &rule, r->err));
    return mlt_rules_call(r->builder, rule, r->err);
}

static millet_status read_alternatives(struct reader *r, int32_t rule, bool nested)
{
    struct mlt_rule_builder *builder = r->builder;
    size_t first = builder->starts.count;
    for (;;) {
        size_t mark = builder->scratch.count;
        for (;;) {
            skip_space(r, nested);
            int c = peek(r);
            if (c < 0 || c == '|' || c == ')' || c == '\n' || c == '\r') break;
            size_t item = builder->scratch.count;
            MLT_TRY(read_item(r));
            MLT_TRY(read_repetition(r, item));
        }
        MLT_TRY(mlt_rules_alternative(builder, mark, r->err));
        /* A line that begins with | goes on with the rule. */
        struct reader look = *r;
        skip_space(&look, true);
        if (peek(&look) != '|') break;
        r->at = look.at + 1;
        skip_space(r, true);
    }
    return mlt_rules_define(builder, rule, first, r->err);
}

static millet_status read_rules(struct reader *r)
{
    for (;;) {
        skip_space(r, true);
        if (peek(r) < 0) return MILLET_OK;
        size_t start = r->at;
        if (!at_head(r)) return fail_here(r, start, "a rule is expected: name ::= ...");
        size_t length = read_name(r);
        int32_t rule;
        MLT_TRY(mlt_rules_named(r->builder, r->text + start, length, start, &rule, r->err));
        if (mlt_rules_is_defined(r->builder, rule))
            return fail_here(r, start, "the rule %.*s stands twice", (int)MLT_MIN(length, 60),
                             r->text + start);
        r->builder->names[rule].where = start;
        skip_space(r, false);
        r->at += 3;
        skip_space(r, true);
        MLT_TRY(read_alternatives(r, rule, false));
        skip_space(r, false);
        int c = peek(r);
        if (c == ')') return fail_here(r, r->at, "a group is closed that is not open");
    }
}

static millet_status read_grammar(struct reader *r)
{
    MLT_TRY(read_rules(r));
    size_t where;
    const char *name;
    int32_t root = mlt_rules_find(r->builder, "root");
    if (root < 0) return fail_here(r, 0, "there is no rule named root, where every text begins");
    r->builder->rules->root = root;
    int32_t missing = mlt_rules_undefined(r->builder, &name, &where);
    if (missing >= 0) return fail_here(r, where, "the rule %.60s is missing", name);
    mlt_rules_finish(r->builder);
    int32_t looping = mlt_rules_left_recursive(r->builder->rules, r->err);
    if (looping == MLT_RULES_NO_MEMORY) return MILLET_NO_MEMORY;
    if (looping >= 0) {
        const struct mlt_rule_name *rule = &r->builder->names[looping];
        return fail_here(r, rule->where, "the rule %.60s calls itself before it has read anything",
                         rule->text);
    }
    bool ends;
    MLT_TRY(mlt_rules_ends(r->builder->rules, &ends, r->err));
    if (!ends) return fail_here(r, 0, "no text can ever end the rule root");
    return MILLET_OK;
}

millet_status mlt_gbnf_read(const millet_allocator *allocator, const char *text, size_t length,
                            struct mlt_grammar_rules *rules, millet_error *err)
{
    *rules = (struct mlt_grammar_rules){.allocator = *allocator};
    struct mlt_rule_builder builder;
    mlt_rules_begin(&builder, rules);
    struct reader reader = {.builder = &builder, .text = text, .length = length, .err = err};
    millet_status status = read_grammar(&reader);
    mlt_rules_end(&builder);
    return status;
}
