/* JSON Schema to a grammar: see millet/schema.h. SPDX-License-Identifier: Apache-2.0 */
#include "millet/schema.h"

#include "assistant/integer_range.h"
#include "base/memory.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_DEPTH = 200, MAX_COUNT = 4096, MAX_REFERENCES = 4096 };

/* Where a value stands, for messages: a chain of names from the inside out. */
struct place {
    const struct place *outer;
    const char *name;
    int index; /* where name is NULL */
};

struct converter {
    const json_t *document;
    const millet_allocator *allocator;
    struct mlt_text out;
    /* Schemas that are referred to have a rule each, ref0, ref1 ...; those of them that are written already.
     */
    const json_t **references;
    size_t n_references, reference_capacity, n_written;
    int depth;
    int n_rules; /* of objects and arrays: r0, r1 ... */
    millet_error *err;
};

/* ---- Saying what is wrong ---- */

static size_t write_place(const struct place *place, char *out, size_t size)
{
    if (!place) return (size_t)snprintf(out, size, "#");
    size_t n = write_place(place->outer, out, size);
    if (n >= size) return n;
    return n + (size_t)(place->name ? snprintf(out + n, size - n, "/%s", place->name)
                                    : snprintf(out + n, size - n, "/%d", place->index));
}

static MLT_PRINTF(5, 6) millet_status
    fail_at(const struct converter *c, const struct place *place, const char *keyword, millet_status status,
            const char *format, ...)
{
    char item[200], message[200];
    struct place inner = {.outer = place, .name = keyword};
    write_place(keyword ? &inner : place, item, sizeof item);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    return mlt_fail_at(c->err, status, NULL, item, MILLET_NO_OFFSET, "%s", message);
}

#define WRITE(...) MLT_TRY(mlt_text_printf(out, c->err, __VA_ARGS__))

/* ---- Literals ---- */

/* A JSON value as a literal of the grammar: its text, escaped once more. */
static millet_status write_literal(struct converter *c, struct mlt_text *out, const json_t *value)
{
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    if (!text) return mlt_fail(c->err, MILLET_NO_MEMORY, "no memory for a value of the schema");
    millet_status status = mlt_text_append(out, "\"", 1, c->err);
    for (const char *at = text; *at && status == MILLET_OK; at++) {
        if (*at == '"' || *at == '\\') status = mlt_text_append(out, "\\", 1, c->err);
        if (status == MILLET_OK) status = mlt_text_append(out, at, 1, c->err);
    }
    free(text);
    MLT_TRY(status);
    return mlt_text_append(out, "\"", 1, c->err);
}

static millet_status write_name(struct converter *c, struct mlt_text *out, const char *name)
{
    json_t *value = json_string(name);
    if (!value) return mlt_fail(c->err, MILLET_NO_MEMORY, "no memory for a name of the schema");
    millet_status status = write_literal(c, out, value);
    json_decref(value);
    MLT_TRY(status);
    WRITE(" \":\" ws ");
    return MILLET_OK;
}

/* ---- Keywords ---- */

/* A keyword's count, or `otherwise` where it is not there. */
static millet_status read_count(struct converter *c, const json_t *schema, const struct place *place,
                                const char *keyword, int otherwise, int *count)
{
    const json_t *value = json_object_get(schema, keyword);
    *count = otherwise;
    if (!value) return MILLET_OK;
    double number = json_number_value(value);
    if (!json_is_number(value) || number < 0 || number != (double)(int64_t)number)
        return fail_at(c, place, keyword, MILLET_BAD_FORMAT, "a count is expected");
    if (number > MAX_COUNT)
        return fail_at(c, place, keyword, MILLET_UNSUPPORTED, "at most %d can be asked for", MAX_COUNT);
    *count = (int)number;
    return MILLET_OK;
}

/* {least,most} of a repetition; most < 0: no limit. */
static millet_status write_counts(struct converter *c, struct mlt_text *out, int least, int most)
{
    if (most < 0)
        WRITE("{%d,} ", least);
    else
        WRITE("{%d,%d} ", least, most);
    return MILLET_OK;
}

/* What is allowed beside the keywords of a type. */
static bool is_annotation(const char *keyword)
{
    static const char *const names[] = {
        "title",    "description", "default",   "examples",        "deprecated",
        "readOnly", "$comment",    "writeOnly", "$schema",         "$id",
        "$defs",    "definitions", "$anchor",   "contentEncoding", "contentMediaType"};
    for (size_t i = 0; i < MLT_COUNT(names); i++)
        if (strcmp(names[i], keyword) == 0) return true;
    return false;
}

/* The keywords of each type: those of other types do not restrict it. */
struct type {
    const char *name, *keywords[8];
};

static const struct type types[] = {
    {"object", {"properties", "required", "additionalProperties", NULL}},
    {"array", {"items", "prefixItems", "minItems", "maxItems", NULL}},
    {"string", {"minLength", "maxLength", "format", NULL}},
    {"integer", {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", NULL}},
    {"number", {"minimum", NULL}},
    {"boolean", {NULL}},
    {"null", {NULL}},
};

static bool is_keyword_of(const struct type *type, const char *keyword)
{
    for (int i = 0; type->keywords[i]; i++)
        if (strcmp(type->keywords[i], keyword) == 0) return true;
    return false;
}

/* Keywords that are neither annotations, nor `handled`, nor of a type that this grammar knows them of. */
static millet_status check_keywords(struct converter *c, const json_t *schema, const struct place *place,
                                    const char *handled, const struct type *type)
{
    const char *keyword;
    json_t *value;
    json_object_foreach ((json_t *)(uintptr_t)schema, keyword, value) {
        if (is_annotation(keyword) || strcmp(keyword, handled) == 0 || (type && strcmp(keyword, "type") == 0))
            continue;
        if (type && is_keyword_of(type, keyword)) continue;
        bool other = false; /* of another type: "minLength" says nothing about numbers */
        for (size_t i = 0; i < MLT_COUNT(types); i++)
            other |= is_keyword_of(&types[i], keyword) && type && !is_keyword_of(type, keyword) &&
                     !(strcmp(type->name, "number") == 0 && strcmp(types[i].name, "integer") == 0);
        if (!other)
            return fail_at(c, place, keyword, MILLET_UNSUPPORTED, "this keyword is not supported %s%s",
                           type ? "for the type " : "beside ", type ? type->name : handled);
    }
    return MILLET_OK;
}

/* ---- Types ---- */

static millet_status write_schema(struct converter *c, struct mlt_text *out, const json_t *schema,
                                  const struct place *outer, const char *name, int index);

/*
 * Rules of an object. With i properties looked at, f_i is what follows where none was written yet, g_i where
 * one was: f_i ::= member g_(i+1) | f_(i+1)        g_i ::= "," ws member g_(i+1) | g_(i+1) without the second
 * alternative where the property is required.
 */
static millet_status write_object(struct converter *c, struct mlt_text *out, const json_t *schema,
                                  const struct place *place)
{
    json_t *properties = json_object_get(schema, "properties"),
           *required = json_object_get(schema, "required");
    json_t *additional = json_object_get(schema, "additionalProperties"), *value;
    if (properties && !json_is_object(properties))
        return fail_at(c, place, "properties", MILLET_BAD_FORMAT, "an object is expected");
    if (required && !json_is_array(required))
        return fail_at(c, place, "required", MILLET_BAD_FORMAT, "an array of names is expected");
    size_t i, n = json_object_size(properties);
    json_array_foreach (required, i, value)
        if (!json_object_get(properties, json_is_string(value) ? json_string_value(value) : ""))
            return fail_at(c, place, "required", MILLET_UNSUPPORTED, "%s stands not in properties",
                           json_is_string(value) ? json_string_value(value) : "what is no name");
    bool others = additional ? !json_is_false(additional) : n == 0;
    int rule = c->n_rules++;
    WRITE("\"{\" ws r%d-f0 ws \"}\" ", rule);

    struct mlt_text rules = {.allocator = c->allocator};
    millet_status status = MILLET_OK;
    out = &rules;
    struct place inner = {.outer = place, .name = "properties"};
    const char *name;
    int k = 0;
#define RULE(...)                                                                                            \
    if (status == MILLET_OK) status = mlt_text_printf(out, c->err, __VA_ARGS__)
    json_object_foreach (properties, name, value) {
        bool needed = false;
        json_t *item;
        size_t j;
        json_array_foreach (required, j, item)
            needed |= strcmp(json_string_value(item), name) == 0;
        RULE("r%d-m%d ::= ", rule, k);
        if (status == MILLET_OK) status = write_name(c, out, name);
        if (status == MILLET_OK) status = write_schema(c, out, value, &inner, name, 0);
        RULE("\nr%d-f%d ::= r%d-m%d r%d-g%d", rule, k, rule, k, rule, k + 1);
        if (!needed) RULE(" | r%d-f%d", rule, k + 1);
        RULE("\nr%d-g%d ::= \",\" ws r%d-m%d r%d-g%d", rule, k, rule, k, rule, k + 1);
        if (!needed) RULE(" | r%d-g%d", rule, k + 1);
        RULE("\n");
        k++;
    }
    if (others) {
        RULE("r%d-m%d ::= string \":\" ws ", rule, k);
        if (status == MILLET_OK && json_is_object(additional))
            status = write_schema(c, out, additional, place, "additionalProperties", 0);
        else
            RULE("value");
        RULE("\nr%d-f%d ::= (r%d-m%d r%d-g%d)?\nr%d-g%d ::= (\",\" ws r%d-m%d)*\n", rule, k, rule, k, rule, k,
             rule, k, rule, k);
    } else {
        RULE("r%d-f%d ::= \"\"\nr%d-g%d ::= \"\"\n", rule, k, rule, k);
    }
#undef RULE
    if (status == MILLET_OK) status = mlt_text_append(&c->out, rules.data, rules.length, c->err);
    mlt_text_release(&rules);
    return status;
}

static millet_status write_array(struct converter *c, struct mlt_text *out, const json_t *schema,
                                 const struct place *place)
{
    json_t *items = json_object_get(schema, "items"), *prefix = json_object_get(schema, "prefixItems"),
           *value;
    int least, most;
    MLT_TRY(read_count(c, schema, place, "minItems", 0, &least));
    MLT_TRY(read_count(c, schema, place, "maxItems", -1, &most));
    if (prefix && !json_is_array(prefix))
        return fail_at(c, place, "prefixItems", MILLET_BAD_FORMAT, "an array of schemas is expected");
    int n_prefix = (int)json_array_size(prefix);
    if (most >= 0 && most < least)
        return fail_at(c, place, "maxItems", MILLET_BAD_FORMAT, "less than minItems");
    if (n_prefix && ((most >= 0 && most < n_prefix) || (least && least < n_prefix)))
        return fail_at(c, place, "prefixItems", MILLET_UNSUPPORTED,
                       "arrays shorter than it are not supported");
    WRITE("\"[\" ws ");
    size_t i;
    struct place inner = {.outer = place, .name = "prefixItems"};
    json_array_foreach (prefix, i, value) {
        if (i) WRITE("\",\" ws ");
        MLT_TRY(write_schema(c, out, value, &inner, NULL, (int)i));
    }
    bool rest = !json_is_false(items) && most != n_prefix;
    if (rest) {
        int rule = c->n_rules++, fewer = least > n_prefix ? least - n_prefix : 0;
        struct mlt_text text = {.allocator = c->allocator};
        millet_status status = mlt_text_printf(&text, c->err, "r%d-item ::= ", rule);
        if (status == MILLET_OK)
            status = items ? write_schema(c, &text, items, place, "items", 0)
                           : mlt_text_append(&text, "value", 5, c->err);
        if (status == MILLET_OK) status = mlt_text_append(&text, "\n", 1, c->err);
        if (status == MILLET_OK) status = mlt_text_append(&c->out, text.data, text.length, c->err);
        mlt_text_release(&text);
        MLT_TRY(status);
        if (n_prefix) {
            WRITE("(\",\" ws r%d-item)", rule);
            MLT_TRY(write_counts(c, out, fewer, most < 0 ? -1 : most - n_prefix));
        } else {
            WRITE("(r%d-item (\",\" ws r%d-item)", rule, rule);
            MLT_TRY(write_counts(c, out, least ? least - 1 : 0, most < 0 ? -1 : most - 1));
            WRITE(least ? ") " : ")? ");
        }
    } else if (least > n_prefix) {
        return fail_at(c, place, "minItems", MILLET_BAD_FORMAT, "more than items allow");
    }
    WRITE("ws \"]\" ");
    return MILLET_OK;
}

static millet_status write_string(struct converter *c, struct mlt_text *out, const json_t *schema,
                                  const struct place *place)
{
    static const char *const formats[] = {"date", "time", "date-time", "uuid"};
    json_t *format = json_object_get(schema, "format");
    int least, most;
    MLT_TRY(read_count(c, schema, place, "minLength", 0, &least));
    MLT_TRY(read_count(c, schema, place, "maxLength", -1, &most));
    if (most >= 0 && most < least)
        return fail_at(c, place, "maxLength", MILLET_BAD_FORMAT, "less than minLength");
    if (format) {
        const char *name = json_is_string(format) ? json_string_value(format) : "";
        for (size_t i = 0; i < MLT_COUNT(formats); i++)
            if (strcmp(formats[i], name) == 0) {
                WRITE("\"\\\"\" %s \"\\\"\" ", name);
                return MILLET_OK;
            }
        return fail_at(c, place, "format", MILLET_UNSUPPORTED, "the formats are date, time, date-time, uuid");
    }
    if (least == 0 && most < 0) {
        WRITE("string ");
        return MILLET_OK;
    }
    WRITE("\"\\\"\" char");
    MLT_TRY(write_counts(c, out, least, most));
    WRITE("\"\\\"\" ");
    return MILLET_OK;
}

/* A limit of integers: the least one above a minimum, the greatest one below a maximum. */
static millet_status read_limit(struct converter *c, const json_t *schema, const struct place *place,
                                bool lower, bool *there, int64_t *limit)
{
    static const char *const keywords[2][2] = {{"maximum", "exclusiveMaximum"},
                                               {"minimum", "exclusiveMinimum"}};
    *there = false;
    for (int exclusive = 0; exclusive < 2; exclusive++) {
        const char *keyword = keywords[lower][exclusive];
        const json_t *value = json_object_get(schema, keyword);
        if (!value) continue;
        double number = json_number_value(value), whole = (double)(int64_t)number;
        if (!json_is_number(value))
            return fail_at(c, place, keyword, MILLET_BAD_FORMAT, "a number is expected");
        if (!(number > -9e15 && number < 9e15))
            return fail_at(c, place, keyword, MILLET_UNSUPPORTED, "limits go to 9e15");
        int64_t bound = (int64_t)number;
        if (whole < number && (lower || number < 0)) bound += lower;
        if (whole > number && !lower) bound--;
        if (whole == number && exclusive) bound += lower ? 1 : -1;
        if (!*there || (lower ? bound > *limit : bound < *limit)) *limit = bound;
        *there = true;
    }
    return MILLET_OK;
}

static millet_status write_integer(struct converter *c, struct mlt_text *out, const json_t *schema,
                                   const struct place *place)
{
    bool has_least, has_most;
    int64_t least = 0, most = 0;
    MLT_TRY(read_limit(c, schema, place, true, &has_least, &least));
    MLT_TRY(read_limit(c, schema, place, false, &has_most, &most));
    if (has_least && has_most && least > most)
        return fail_at(c, place, "minimum", MILLET_BAD_FORMAT, "no integer lies between minimum and maximum");
    if (!has_least && !has_most) {
        WRITE("integer ");
        return MILLET_OK;
    }
    return mlt_write_integer_range(out, has_least ? &least : NULL, has_most ? &most : NULL, c->err);
}

static millet_status write_number(struct converter *c, struct mlt_text *out, const json_t *schema,
                                  const struct place *place)
{
    const json_t *minimum = json_object_get(schema, "minimum");
    if (minimum && json_number_value(minimum) != 0)
        return fail_at(c, place, "minimum", MILLET_UNSUPPORTED,
                       "of numbers with a fraction only the minimum 0");
    WRITE(minimum ? "unsigned " : "number ");
    return MILLET_OK;
}

static millet_status write_type(struct converter *c, struct mlt_text *out, const json_t *schema,
                                const struct place *place, const char *name)
{
    for (size_t i = 0; i < MLT_COUNT(types); i++) {
        if (strcmp(types[i].name, name) != 0) continue;
        MLT_TRY(check_keywords(c, schema, place, "type", &types[i]));
        switch (name[0]) {
        case 'o': return write_object(c, out, schema, place);
        case 'a': return write_array(c, out, schema, place);
        case 's': return write_string(c, out, schema, place);
        case 'i': return write_integer(c, out, schema, place);
        case 'b': WRITE("boolean "); return MILLET_OK;
        default: break;
        }
        if (strcmp(name, "number") == 0) return write_number(c, out, schema, place);
        WRITE("\"null\" ");
        return MILLET_OK;
    }
    return fail_at(c, place, "type", MILLET_BAD_FORMAT, "%.40s is no type", name);
}

/* ---- Schemas ---- */

static millet_status write_choice(struct converter *c, struct mlt_text *out, const json_t *schema,
                                  const struct place *place, const char *keyword)
{
    const json_t *list = json_object_get(schema, keyword);
    struct place inner = {.outer = place, .name = keyword};
    if (!json_is_array(list) || json_array_size(list) == 0)
        return fail_at(c, place, keyword, MILLET_BAD_FORMAT, "an array with something in it is expected");
    MLT_TRY(check_keywords(c, schema, place, keyword, NULL));
    bool values = strcmp(keyword, "enum") == 0;
    WRITE("(");
    for (size_t i = 0; i < json_array_size(list); i++) {
        if (i) WRITE("| ");
        if (values)
            MLT_TRY(write_literal(c, out, json_array_get(list, i)));
        else
            MLT_TRY(write_schema(c, out, json_array_get(list, i), &inner, NULL, (int)i));
    }
    WRITE(") ");
    return MILLET_OK;
}

/* What a reference leads to: "#" or "#/a/b", with ~0 for ~, ~1 for /, and %XX left as it is. */
static const json_t *look_up(const struct converter *c, const char *reference)
{
    if (*reference++ != '#') return NULL;
    const json_t *at = c->document;
    while (at && *reference == '/') {
        char name[256];
        size_t n = 0;
        for (reference++; *reference && *reference != '/' && n < sizeof name - 1; reference++) {
            bool escaped = *reference == '~' && (reference[1] == '0' || reference[1] == '1');
            if (escaped) reference++;
            name[n++] = !escaped ? *reference : *reference == '0' ? '~' : '/';
        }
        name[n] = 0;
        at = json_is_array(at) ? json_array_get(at, (size_t)strtoul(name, NULL, 10))
                               : json_object_get(at, name);
    }
    return *reference ? NULL : at;
}

static millet_status write_reference(struct converter *c, struct mlt_text *out, const json_t *schema,
                                     const struct place *place)
{
    const json_t *reference = json_object_get(schema, "$ref");
    MLT_TRY(check_keywords(c, schema, place, "$ref", NULL));
    const json_t *target = json_is_string(reference) ? look_up(c, json_string_value(reference)) : NULL;
    if (!target)
        return fail_at(c, place, "$ref", MILLET_BAD_FORMAT, "it leads to nothing in this document%s",
                       json_is_string(reference) && json_string_value(reference)[0] != '#'
                           ? " (other documents are not read)"
                           : "");
    size_t i = 0;
    while (i < c->n_references && c->references[i] != target)
        i++;
    if (i == c->n_references) {
        void *array = c->references;
        millet_status status =
            mlt_grow(c->allocator, &array, &c->reference_capacity, i, sizeof *c->references, c->err);
        c->references = array;
        MLT_TRY(status);
        c->references[c->n_references++] = target;
    }
    WRITE("ref%zu ", i);
    return MILLET_OK;
}

/* What the schema is, whatever its form. */
static millet_status write_form(struct converter *c, struct mlt_text *out, const json_t *schema,
                                const struct place *place)
{
    static const char *const choices[] = {"enum", "anyOf", "oneOf"};
    if (json_is_true(schema)) {
        WRITE("value ");
        return MILLET_OK;
    }
    if (!json_is_object(schema))
        return fail_at(c, place, NULL, MILLET_BAD_FORMAT, "a schema is expected: an object or true");
    if (json_object_get(schema, "$ref")) return write_reference(c, out, schema, place);
    json_t *type = json_object_get(schema, "type");
    const json_t *constant = json_object_get(schema, "const");
    if (constant) {
        if (!type) MLT_TRY(check_keywords(c, schema, place, "const", NULL));
        return write_literal(c, out, constant);
    }
    for (size_t i = 0; i < MLT_COUNT(choices); i++)
        if (json_object_get(schema, choices[i])) {
            json_t *bare =
                json_copy((json_t *)(uintptr_t)schema); /* a type beside it says what its parts say */
            if (!bare) return mlt_fail(c->err, MILLET_NO_MEMORY, "no memory for the schema");
            json_object_del(bare, "type");
            millet_status status = write_choice(c, out, bare, place, choices[i]);
            json_decref(bare);
            return status;
        }
    if (json_is_string(type)) return write_type(c, out, schema, place, json_string_value(type));
    if (json_is_array(type) && json_array_size(type)) {
        WRITE("(");
        for (size_t i = 0; i < json_array_size(type); i++) {
            const char *name = json_string_value(json_array_get(type, i));
            if (i) WRITE("| ");
            MLT_TRY(write_type(c, out, schema, place, name ? name : ""));
        }
        WRITE(") ");
        return MILLET_OK;
    }
    if (type) return fail_at(c, place, "type", MILLET_BAD_FORMAT, "a type or several are expected");
    /* Keywords say of which type the value is: what they say of it alone would be true of all others. */
    for (size_t i = 0; i < 3; i++)
        for (int k = 0; types[i].keywords[k]; k++)
            if (json_object_get(schema, types[i].keywords[k]))
                return write_type(c, out, schema, place, types[i].name);
    MLT_TRY(check_keywords(c, schema, place, "", NULL));
    WRITE("value ");
    return MILLET_OK;
}

static millet_status write_schema(struct converter *c, struct mlt_text *out, const json_t *schema,
                                  const struct place *outer, const char *name, int index)
{
    struct place place = {.outer = outer, .name = name, .index = index};
    if (c->depth == MAX_DEPTH)
        return fail_at(c, &place, NULL, MILLET_UNSUPPORTED, "more than %d schemas within each other",
                       MAX_DEPTH);
    c->depth++;
    millet_status status = write_form(c, out, schema, &place);
    c->depth--;
    return status;
}

/* ---- The whole ---- */

static const char common_rules[] =
    "value ::= object | array | string | number | boolean | \"null\"\n"
    "object ::= \"{\" ws (string \":\" ws value (\",\" ws string \":\" ws value)*)? ws \"}\"\n"
    "array ::= \"[\" ws (value (\",\" ws value)*)? ws \"]\"\n"
    "string ::= \"\\\"\" char* \"\\\"\"\n"
    "char ::= [^\"\\\\\\x00-\\x1F] | \"\\\\\" ([\"\\\\/bfnrt] | \"u\" ([0-9a-cefA-CEF] hex | [dD] [0-7]) hex "
    "hex)\n"
    "hex ::= [0-9a-fA-F]\n"
    "number ::= \"-\"? unsigned\n"
    "unsigned ::= (\"0\" | [1-9] [0-9]{0,15}) (\".\" [0-9]{1,16})? ([eE] [-+]? [0-9]{1,3})?\n"
    "integer ::= \"-\"? (\"0\" | [1-9] [0-9]{0,15})\n"
    "boolean ::= \"true\" | \"false\"\n"
    "date ::= [0-9]{4} \"-\" (\"0\" [1-9] | \"1\" [0-2]) \"-\" (\"0\" [1-9] | [12] [0-9] | \"3\" [01])\n"
    "time ::= ([01] [0-9] | \"2\" [0-3]) \":\" [0-5] [0-9] \":\" [0-5] [0-9] (\".\" [0-9]{1,9})? zone\n"
    "zone ::= \"Z\" | [-+] ([01] [0-9] | \"2\" [0-3]) \":\" [0-5] [0-9]\n"
    "date-time ::= date \"T\" time\n"
    "uuid ::= hex{8} \"-\" hex{4} \"-\" hex{4} \"-\" hex{4} \"-\" hex{12}\n"
    "ws ::= (\" \" | \"\\n\" \" \"{0,20})?\n";

/* A rule for a schema: name ::= ..., behind the rules of its parts. */
static millet_status add_rule(struct converter *c, const char *name, const json_t *schema)
{
    struct mlt_text text = {.allocator = c->allocator};
    struct place place = {.name = name};
    millet_status status = mlt_text_printf(&text, c->err, "%s ::= ", name);
    if (status == MILLET_OK) status = write_form(c, &text, schema, strcmp(name, "root") == 0 ? NULL : &place);
    if (status == MILLET_OK) status = mlt_text_append(&text, "\n", 1, c->err);
    if (status == MILLET_OK) status = mlt_text_append(&c->out, text.data, text.length, c->err);
    mlt_text_release(&text);
    return status;
}

static millet_status convert(struct converter *c)
{
    MLT_TRY(add_rule(c, "root", c->document));
    while (c->n_written < c->n_references) {
        char name[32];
        snprintf(name, sizeof name, "ref%zu", c->n_written);
        MLT_TRY(add_rule(c, name, c->references[c->n_written++]));
        if (c->n_written > MAX_REFERENCES)
            return mlt_fail(c->err, MILLET_UNSUPPORTED, "more than %d references", MAX_REFERENCES);
    }
    return mlt_text_append(&c->out, common_rules, strlen(common_rules), c->err);
}

millet_status millet_schema_to_grammar(const char *schema, size_t schema_length, char *text, size_t capacity,
                                       size_t *length, millet_error *err)
{
    *length = 0;
    json_error_t error;
    json_t *document = json_loadb(schema, schema_length, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &error);
    if (!document)
        return mlt_fail_at(err, MILLET_BAD_FORMAT, NULL, "schema", MILLET_NO_OFFSET, "line %d, column %d: %s",
                           error.line, error.column, error.text);
    struct converter c = {.document = document, .allocator = mlt_default_allocator(), .err = err};
    c.out.allocator = c.allocator;
    millet_status status = convert(&c);
    if (status == MILLET_OK) {
        *length = c.out.length;
        if (capacity) memcpy(text, c.out.data, MLT_MIN(capacity, c.out.length));
    }
    mlt_text_release(&c.out);
    mlt_free(c.allocator, c.references);
    json_decref(document);
    return status;
}
