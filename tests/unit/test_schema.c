/*
 * JSON Schema as a grammar: texts that a schema allows and others, integers one by one, what is refused; and
 * generation by a schema against a parser.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <jansson.h>

#include "generate/automaton.h"
#include "generate/gbnf.h"
#include "millet/grammar.h"
#include "millet/schema.h"
#include "support/tiny_model.h"

#include <stdio.h>
#include <string.h>

static char *grammar_of(const char *schema)
{
    size_t length = 0, again = 0;
    millet_error err;
    if (millet_schema_to_grammar(schema, strlen(schema), NULL, 0, &length, &err) != MILLET_OK)
        fail_msg("%s: %s: %s", schema, err.item, err.message);
    char *text = malloc(length + 1);
    assert_non_null(text);
    assert_int_equal(millet_schema_to_grammar(schema, strlen(schema), text, length, &again, &err), MILLET_OK);
    assert_int_equal(length, again);
    text[length] = 0;
    return text;
}

struct judge {
    struct mlt_grammar_rules rules;
    struct mlt_automaton *automaton;
};

static void judge_open(struct judge *judge, const char *schema)
{
    char *text = grammar_of(schema);
    millet_error err;
    if (mlt_gbnf_read(mlt_default_allocator(), text, strlen(text), &judge->rules, &err) != MILLET_OK ||
        mlt_automaton_open(&judge->rules, 4096, &judge->automaton, &err) != MILLET_OK)
        fail_msg("%s: %s\n%s", schema, err.message, text);
    free(text);
}

static void judge_close(struct judge *judge)
{
    mlt_automaton_close(&judge->automaton);
    mlt_grammar_rules_release(&judge->rules);
}

static bool judge_takes(struct judge *judge, const char *text)
{
    int32_t state = mlt_automaton_start(judge->automaton);
    for (; *text && state > MLT_STATE_DEAD; text++)
        state = mlt_automaton_step(judge->automaton, state, (uint8_t)*text);
    assert_int_not_equal(state, MLT_STATE_FULL);
    return mlt_automaton_accepts(judge->automaton, state);
}

static void test_texts(void **state)
{
    (void)state;
    static const struct {
        const char *schema, *texts[6], *others[8];
    } cases[] = {
        {"{\"type\": \"object\", \"properties\": {\"city\": {\"type\": \"string\"}, \"days\": {\"type\": "
         "\"integer\", \"minimum\": 1, \"maximum\": 14},"
         " \"unit\": {\"enum\": [\"C\", \"F\"]}}, \"required\": [\"city\"]}",
         {"{\"city\":\"Oslo\"}", "{\"city\": \"\xe5\x8c\x97\xe4\xba\xac\", \"days\": 14}",
          "{\"city\":\"a\",\"unit\":\"F\"}", "{ \"city\":\"a\",\n  \"days\":1, \"unit\":\"C\" }"},
         {"{}", "{\"days\":3}", "{\"city\":\"a\",\"days\":15}", "{\"city\":\"a\",\"days\":0}",
          "{\"city\":\"a\",\"unit\":\"K\"}", "{\"city\":\"a\",\"x\":1}", "{\"days\":3,\"city\":\"a\"}",
          "{\"city\":\"a\",}"}},
        {"{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"boolean\"},\"b\":{\"type\":\"null\"},\"c\":{"
         "\"const\":[1,\"x\\\"\"]}}}",
         {"{}", "{\"a\":true}", "{\"b\":null}", "{\"a\":false,\"c\":[1,\"x\\\"\"]}",
          "{\"a\":true, \"b\":null, \"c\":[1,\"x\\\"\"]}"},
         {"{\"a\":1}", "{\"a\":true\"b\":null}", "{,\"a\":true}", "{\"b\":null,\"a\":true}",
          "{\"a\":true,\"a\":true}"}},
        {"{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\"}},\"additionalProperties\":{"
         "\"type\":\"integer\"}}",
         {"{}", "{\"a\":\"\"}", "{\"a\":\"\",\"x\":1,\"y\":-2}", "{\"x\":0}"},
         {"{\"x\":\"s\"}", "{\"a\":\"\",}", "{\"x\":1.5}", "{\"x\":01}"}},
        {"{\"type\":\"array\",\"items\":{\"type\":\"string\",\"minLength\":1,\"maxLength\":2},\"minItems\":1,"
         "\"maxItems\":3}",
         {"[\"a\"]", "[\"ab\", \"\xc3\xa9\"]", "[\"\\n\",\"\\u00e9x\",\"c\"]"},
         {"[]", "[\"\"]", "[\"abc\"]", "[\"a\",\"b\",\"c\",\"d\"]", "[1]", "[\"a\" \"b\"]", "[\"\\ud800\"]",
          "[\"\n\"]"}},
        {"{\"type\":\"array\",\"prefixItems\":[{\"type\":\"integer\"},true],\"items\":{\"type\":\"null\"},"
         "\"maxItems\":4}",
         {"[1, {\"a\": [2]}]", "[-5,\"x\",null]", "[0,[],null,null]"},
         {"[]", "[1]", "[1,2,3]", "[1,2,null,null,null]", "[\"a\",1]"}},
        {"{\"type\":\"array\",\"prefixItems\":[{\"type\":\"integer\"}],\"items\":false}",
         {"[7]"},
         {"[]", "[7,8]"}},
        {"{\"type\":\"array\"}", {"[]", "[1]", "[[],{},\"a\", 1e5]"}, {"[1,]", "{}"}},
        {"{\"anyOf\":[{\"type\":\"string\",\"format\":\"date\"},{\"type\":\"null\"}]}",
         {"null", "\"2026-12-01\"", "\"1999-02-31\""},
         {"\"2026-13-01\"", "\"2026-1-1\"", "2026-12-01"}},
        {"{\"type\":\"string\",\"format\":\"date-time\"}",
         {"\"2026-12-01T23:59:59Z\"", "\"2026-12-01T00:00:00.25+05:30\""},
         {"\"2026-12-01\"", "\"2026-12-01T24:00:00Z\"", "\"2026-12-01T10:00:00\""}},
        {"{\"type\":\"string\",\"format\":\"uuid\"}",
         {"\"123e4567-e89b-12d3-a456-426614174000\""},
         {"\"123e4567\""}},
        {"{\"type\":[\"integer\",\"string\"],\"minimum\":5,\"maxLength\":1}",
         {"5", "77", "\"a\""},
         {"4", "\"ab\"", "5.5"}},
        {"{\"type\":\"number\",\"minimum\":0}", {"0", "1.5", "2e-7"}, {"-1", "1.", ".5", "+1"}},
        {"{\"$defs\":{\"tree\":{\"type\":\"object\",\"properties\":{\"v\":{\"type\":\"integer\"},\"kids\":{"
         "\"type\":\"array\",\"items\":{\"$ref\":\"#/$defs/tree\"}}},"
         "\"required\":[\"v\"]}},\"$ref\":\"#/$defs/tree\"}",
         {"{\"v\":1}", "{\"v\":1,\"kids\":[{\"v\":2,\"kids\":[]},{\"v\":3}]}"},
         {"{\"kids\":[]}", "{\"v\":1,\"kids\":[4]}"}},
        {"{\"type\":\"object\",\"properties\":{\"a/b~\":{\"type\":\"null\"},\"x\":{\"$ref\":\"#/properties/"
         "a~1b~0\"}}}",
         {"{\"x\":null}", "{\"a/b~\":null,\"x\":null}"},
         {"{\"x\":1}"}},
        {"{\"properties\":{\"a\":{\"title\":\"t\",\"description\":\"d\",\"default\":3,\"type\":\"integer\"}}"
         "}",
         {"{\"a\":3}"},
         {"3", "{\"a\":\"\"}"}},
        {"true", {"1", "{\"a\": [true, null, \"x\", -0.5]}"}, {"", "tru", "[1,]"}},
        {"{}", {"[]"}, {"x"}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct judge judge;
        judge_open(&judge, cases[i].schema);
        for (int k = 0; k < 6 && cases[i].texts[k]; k++) {
            if (!judge_takes(&judge, cases[i].texts[k]))
                fail_msg("%s refuses %s", cases[i].schema, cases[i].texts[k]);
            json_t *value = json_loads(cases[i].texts[k], JSON_DECODE_ANY, NULL);
            assert_non_null(value);
            json_decref(value);
        }
        for (int k = 0; k < 8 && cases[i].others[k]; k++)
            if (judge_takes(&judge, cases[i].others[k]))
                fail_msg("%s takes %s", cases[i].schema, cases[i].others[k]);
        judge_close(&judge);
    }
}

/* All integers about the limits, for limits of every kind. */
static void test_limits_of_integers(void **state)
{
    (void)state;
    static const int limits[] = {-1205, -1000, -100, -99, -17, -10, -9,  -1,  0,   1,
                                 7,     9,     10,   11,  58,  99,  100, 101, 999, 1203};
    enum { NONE = 20, N = 21 };
    for (int a = 0; a < N; a++)
        for (int b = a == NONE ? 0 : a; b < N; b++) {
            if (a == NONE && b == NONE) continue;
            char schema[120] = "{\"type\":\"integer\"";
            bool exclusive = (a + b) % 3 == 0;
            if (a != NONE)
                sprintf(schema + strlen(schema), ",\"%s\":%d", exclusive ? "exclusiveMinimum" : "minimum",
                        limits[a] - exclusive);
            if (b != NONE)
                sprintf(schema + strlen(schema), ",\"maximum\":%d%s", limits[b], (a + b) % 2 ? ".5" : "");
            strcat(schema, "}");
            /* A fraction behind a negative maximum lies below it. */
            int most = b == NONE ? 1 << 30 : limits[b] - ((a + b) % 2 && limits[b] < 0);
            int least = a == NONE ? -(1 << 30) : limits[a];
            if (least > most) continue;
            struct judge judge;
            judge_open(&judge, schema);
            for (int x = -1500; x <= 1500; x++) {
                char text[16];
                sprintf(text, "%d", x);
                if (judge_takes(&judge, text) != (x >= least && x <= most)) fail_msg("%s: %d", schema, x);
            }
            static const int far[] = {-1000000, -123456, 99999, 100000, 7654321};
            for (size_t i = 0; i < sizeof far / sizeof far[0]; i++) {
                char text[16];
                sprintf(text, "%d", far[i]);
                if (judge_takes(&judge, text) != (far[i] >= least && far[i] <= most))
                    fail_msg("%s: %d", schema, far[i]);
            }
            assert_false(judge_takes(&judge, "-0") || judge_takes(&judge, "007") ||
                         judge_takes(&judge, "+5"));
            judge_close(&judge);
        }
}

static void test_what_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *schema, *item, *message;
        millet_status status;
    } cases[] = {
        {"{\"type\": \"string\"", "schema", "line 1", MILLET_BAD_FORMAT},
        {"{\"type\":\"string\",\"pattern\":\"a+\"}", "#/pattern", "not supported for the type string",
         MILLET_UNSUPPORTED},
        {"{\"type\":\"object\",\"properties\":{\"a\":{\"not\":{}}}}", "#/properties/a/not", "not supported",
         MILLET_UNSUPPORTED},
        {"{\"allOf\":[{}]}", "#/allOf", "not supported", MILLET_UNSUPPORTED},
        {"{\"type\":\"integer\",\"multipleOf\":2}", "#/multipleOf", "not supported", MILLET_UNSUPPORTED},
        {"{\"type\":\"number\",\"maximum\":2}", "#/maximum", "not supported for the type number",
         MILLET_UNSUPPORTED},
        {"{\"type\":\"number\",\"minimum\":1}", "#/minimum", "only the minimum 0", MILLET_UNSUPPORTED},
        {"{\"type\":\"text\"}", "#/type", "text is no type", MILLET_BAD_FORMAT},
        {"{\"type\":\"integer\",\"minimum\":5,\"maximum\":4}", "#/minimum", "no integer lies",
         MILLET_BAD_FORMAT},
        {"{\"type\":\"array\",\"minItems\":-1}", "#/minItems", "a count", MILLET_BAD_FORMAT},
        {"{\"type\":\"array\",\"minItems\":5,\"maxItems\":2}", "#/maxItems", "less than minItems",
         MILLET_BAD_FORMAT},
        {"{\"type\":\"string\",\"maxLength\":5000}", "#/maxLength", "at most 4096", MILLET_UNSUPPORTED},
        {"{\"type\":\"string\",\"format\":\"email\"}", "#/format", "the formats are", MILLET_UNSUPPORTED},
        {"{\"$ref\":\"#/$defs/x\"}", "#/$ref", "leads to nothing", MILLET_BAD_FORMAT},
        {"{\"$ref\":\"http://example.com/s\"}", "#/$ref", "other documents", MILLET_BAD_FORMAT},
        {"{\"anyOf\":[]}", "#/anyOf", "something in it", MILLET_BAD_FORMAT},
        {"{\"anyOf\":[{\"type\":\"null\"},{\"type\":\"array\",\"contains\":1}]}", "#/anyOf/1/contains",
         "not supported", MILLET_UNSUPPORTED},
        {"{\"type\":\"object\",\"properties\":{},\"required\":[\"a\"]}", "#/required", "a stands not",
         MILLET_UNSUPPORTED},
        {"[1]", "#", "a schema is expected", MILLET_BAD_FORMAT},
        {"{\"enum\":[1],\"minimum\":0}", "#/minimum", "beside enum", MILLET_UNSUPPORTED},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        millet_error err = {0};
        size_t length;
        millet_status status =
            millet_schema_to_grammar(cases[i].schema, strlen(cases[i].schema), NULL, 0, &length, &err);
        if (status != cases[i].status || strcmp(err.item, cases[i].item) != 0 ||
            !strstr(err.message, cases[i].message))
            fail_msg("%s: %d, %s: %s", cases[i].schema, status, err.item, err.message);
    }
    char deep[8000] = "";
    for (int i = 0; i < 300; i++)
        strcat(deep, "{\"items\":");
    strcat(deep, "true");
    for (int i = 0; i < 300; i++)
        strcat(deep, "}");
    millet_error err;
    size_t length;
    assert_int_equal(millet_schema_to_grammar(deep, strlen(deep), NULL, 0, &length, &err),
                     MILLET_UNSUPPORTED);
}

static bool collect(void *context, const millet_piece *piece)
{
    strncat(context, piece->text, piece->length);
    return true;
}

static void test_generation(void **state)
{
    (void)state;
    struct tiny_shape shape = tiny_default();
    millet_model *model = tiny_model(mlt_default_allocator(), &shape);
    char *text = grammar_of(
        "{\"type\":\"object\",\"properties\":{\"name\":{\"type\":\"string\",\"maxLength\":8},"
        "\"n\":{\"type\":\"integer\",\"minimum\":-3,\"maximum\":12}},\"required\":[\"name\",\"n\"]}");
    millet_grammar *grammar = NULL;
    millet_session *session = NULL;
    millet_error err;
    if (millet_grammar_open(model, text, strlen(text), NULL, &grammar, &err) != MILLET_OK)
        fail_msg("%s", err.message);
    assert_int_equal(millet_session_open(model, NULL, &session, &err), MILLET_OK);
    int complete = 0;
    for (uint64_t seed = 0; seed < 20; seed++) {
        char out[2000] = "";
        millet_generate_options how = millet_generate_options_default();
        how.sampler.seed = seed;
        how.grammar = grammar;
        how.max_tokens = 110;
        millet_generation result;
        millet_sequence_truncate(session, 0, 0, NULL);
        assert_int_equal(millet_generate(session, "the", 3, &how, collect, out, &result, &err), MILLET_OK);
        if (result.finish != MILLET_FINISH_END) continue;
        complete++;
        json_t *value = json_loads(out, 0, NULL);
        if (!value) fail_msg("%s", out);
        json_int_t n = json_integer_value(json_object_get(value, "n"));
        assert_true(json_is_integer(json_object_get(value, "n")) && n >= -3 && n <= 12);
        assert_true(json_is_string(json_object_get(value, "name")));
        assert_int_equal(json_object_size(value), 2);
        json_decref(value);
    }
    assert_true(complete >= 10);
    millet_session_close(&session);
    millet_grammar_close(&grammar);
    millet_model_close(&model);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_limits_of_integers),
        cmocka_unit_test(test_what_is_refused),
        cmocka_unit_test(test_generation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
