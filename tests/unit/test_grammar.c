/*
 * Grammars against other judges: regular ones against PCRE2, JSON against jansson, sets of characters against
 * their code points one by one; masks against every token taken by itself; generation against the grammar.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <jansson.h>
#include <pcre2.h>

#include "base/random.h"
#include "generate/automaton.h"
#include "generate/gbnf.h"
#include "generate/grammar_mask.h"
#include "model/model.h"
#include "support/counting_allocator.h"
#include "support/tiny_model.h"
#include "tokenizer/utf8.h"

#include <stdio.h>
#include <string.h>

/* ---- A grammar by itself ---- */

struct judge {
    struct mlt_grammar_rules rules;
    struct mlt_automaton *automaton;
};

static void judge_open(struct judge *judge, const char *text, int32_t max_states)
{
    millet_error err;
    if (mlt_gbnf_read(mlt_default_allocator(), text, strlen(text), &judge->rules, &err) != MILLET_OK ||
        mlt_automaton_open(&judge->rules, max_states, &judge->automaton, &err) != MILLET_OK)
        fail_msg("%s: %s", text, err.message);
}

static void judge_close(struct judge *judge)
{
    mlt_automaton_close(&judge->automaton);
    mlt_grammar_rules_release(&judge->rules);
}

/* Whether the text is a sentence; room is made when there is none. */
static bool judge_takes(struct judge *judge, const char *text, size_t length)
{
    int32_t state = mlt_automaton_start(judge->automaton);
    for (size_t i = 0; i < length && state != MLT_STATE_DEAD; i++) {
        int32_t next = mlt_automaton_step(judge->automaton, state, (uint8_t)text[i]);
        if (next == MLT_STATE_FULL) {
            state = mlt_automaton_keep(judge->automaton, state);
            next = mlt_automaton_step(judge->automaton, state, (uint8_t)text[i]);
            assert_int_not_equal(next, MLT_STATE_FULL);
        }
        state = next;
    }
    return mlt_automaton_accepts(judge->automaton, state);
}

static void test_sentences(void **state)
{
    (void)state;
    static const struct {
        const char *grammar, *sentences, *others; /* separated by | */
    } cases[] = {
        {"root ::= \"yes\" | \"no\"", "yes|no", "|ye|yesno|yes |n"},
        {"root ::= \"\"", "", "a"},
        {"# the whole\nroot ::= a b # both\n\na ::= \"a\"*\nb ::=\n  \"b\"?", "|a|b|aaab|aa", "ba|abb|aba"},
        {"root ::= (\"a\"\n | \"b\"\n)+\n | \"c\"", "a|ab|bba|c", "|cc|ac"},
        {"root ::= [a-c]{2} [^a-c]{1,2} .{,1}", "abx|aaxy|ccxyz|caxya", "axx|ab|abxa1"},
        {"root ::= \"\\\"\\\\\\x41\\u00e9\\U0001F600\\n\"", "\"\\A\xc3\xa9\xf0\x9f\x98\x80\n", "\"\\A"},
        {"root ::= [\\]\\-^\\\\]+", "]-|^^|\\", "a|["},
        {"root ::= [a-]", "a|-", "b"},
        {"root ::= \"ab\"{2,3}", "abab|ababab", "ab|abb|abababab|aba"},
        {"root ::= (\"a\"?)* (\"b\"*)+", "|aab|bb|a", "ba|abab"},
        {"root ::= \"(\" root \")\" | \"x\"", "x|(x)|(((x)))", "(x|x)|()"},
        {"root ::= a | a b\na ::= \"x\" a | \"x\"\nb ::= \"y\"", "x|xx|xxy", "y|xyy|"},
        {"root ::= e\ne ::= t (\"+\" t)*\nt ::= [0-9]+ | \"(\" e \")\"", "1|1+22|(1+2)+3", "1+|+1|(1"},
        {"root ::= \"\xe4\xbd\xa0\xe5\xa5\xbd\" | [\xc3\xa0-\xc3\xbf]", "\xe4\xbd\xa0\xe5\xa5\xbd|\xc3\xa9",
         "\xe4\xbd\xa0|\xc3\x80|\xc3"},
        {"root ::= x{0} \"a\"\nx ::= \"b\"", "a", "ba|"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct judge judge;
        judge_open(&judge, cases[i].grammar, 64);
        for (int wrong = 0; wrong < 2; wrong++) {
            const char *text = wrong ? cases[i].others : cases[i].sentences;
            for (;;) {
                size_t length = strcspn(text, "|");
                if (judge_takes(&judge, text, length) == wrong)
                    fail_msg("%s: '%.*s' was %s", cases[i].grammar, (int)length, text,
                             wrong ? "taken" : "refused");
                text += length;
                if (!*text++) break;
            }
        }
        judge_close(&judge);
    }
}

static void test_against_regular_expressions(void **state)
{
    (void)state;
    static const struct {
        const char *grammar, *expression;
    } pairs[] = {
        {"root ::= (\"ab\" | \"a\" [bc])* \"c\"?", "(ab|a[bc])*c?"},
        {"root ::= x{2,4} (\"c\" x)?\nx ::= \"a\" | \"b\"+", "(a|b+){2,4}(c(a|b+))?"},
        {"root ::= ((\"a\"? \"b\")+ | \"c\"{3,})*", "((a?b)+|c{3,})*"},
        {"root ::= [^a]* \"a\" .{2}", "[^a]*a.{2}"},
        {"root ::= x\nx ::= \"a\" x | \"b\" y | \"\"\ny ::= \"c\" x | \"a\"", "(a|bc)*(ba)?"},
    };
    struct mlt_random random;
    mlt_random_seed(&random, 3);
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        struct judge judge;
        judge_open(&judge, pairs[i].grammar, 16);
        int error;
        PCRE2_SIZE offset;
        pcre2_code *code = pcre2_compile((PCRE2_SPTR)pairs[i].expression, PCRE2_ZERO_TERMINATED,
                                         PCRE2_ANCHORED | PCRE2_ENDANCHORED, &error, &offset, NULL);
        assert_non_null(code);
        pcre2_match_data *data = pcre2_match_data_create_from_pattern(code, NULL);
        int taken = 0;
        for (int n = 0; n < 3000; n++) {
            char text[12];
            size_t length = (size_t)(mlt_random_double(&random) * 11);
            for (size_t k = 0; k < length; k++)
                text[k] = "abc"[(int)(mlt_random_double(&random) * 3)];
            bool expected = pcre2_match(code, (PCRE2_SPTR)text, length, 0, 0, data, NULL) >= 0;
            if (judge_takes(&judge, text, length) != expected)
                fail_msg("%s and %s do not agree on '%.*s'", pairs[i].grammar, pairs[i].expression,
                         (int)length, text);
            taken += expected;
        }
        assert_in_range(taken, 20, 2980);
        pcre2_match_data_free(data);
        pcre2_code_free(code);
        judge_close(&judge);
    }
}

static const char json_grammar[] =
    "root   ::= ws value ws\n"
    "value  ::= object | array | string | number | \"true\" | \"false\" | \"null\"\n"
    "object ::= \"{\" ws (member (ws \",\" ws member)*)? ws \"}\"\n"
    "member ::= string ws \":\" ws value\n"
    "array  ::= \"[\" ws (value (ws \",\" ws value)*)? ws \"]\"\n"
    "string ::= \"\\\"\" ([^\"\\\\\\x00-\\x1F] | \"\\\\\" ([\"\\\\/bfnrt] | \"u\" [0-9a-fA-F]{4}))* "
    "\"\\\"\"\n"
    "number ::= \"-\"? (\"0\" | [1-9] [0-9]*) (\".\" [0-9]+)? ([eE] [-+]? [0-9]+)?\n"
    "ws     ::= [ \\t\\n]*\n";

static void test_against_a_json_parser(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "{\"a\": [1, -2.5e3, {\"b\": null}], \"c\": \"x\\n\xc3\xa9\"}",
        "[[], {}, [true, false], \"\"]",
        "0.5",
        "\"\\\\\"",
        "[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]",
    };
    static const char letters[] = "{}[]\",:0123456789.-+eEtruefalsn\\ \xc3\xa9";
    struct mlt_random random;
    mlt_random_seed(&random, 5);
    struct judge judge;
    judge_open(&judge, json_grammar, 16); /* nesting has more states than that */
    int counts[2] = {0};
    for (int n = 0; n < 20000; n++) {
        char text[80];
        const char *from = texts[n % 5];
        size_t length = strlen(from);
        memcpy(text, from, length);
        for (int changes = (int)(mlt_random_double(&random) * 3); changes > 0 && length > 1; changes--) {
            size_t at = (size_t)(mlt_random_double(&random) * (double)length);
            char letter = letters[(size_t)(mlt_random_double(&random) * (sizeof letters - 1))];
            if (mlt_random_double(&random) < 0.5)
                text[at] = letter;
            else
                memmove(text + at, text + at + 1, --length - at);
        }
        json_t *value = json_loadb(text, length, JSON_DECODE_ANY, NULL);
        /* What jansson adds to the syntax: keys and numbers of its own limits do not occur here. */
        if (judge_takes(&judge, text, length) != (value != NULL))
            fail_msg("'%.*s': the parser %s it", (int)length, text, value ? "takes" : "refuses");
        counts[value != NULL]++;
        json_decref(value);
    }
    assert_true(counts[0] > 3000 && counts[1] > 3000);
    judge_close(&judge);
}

static void test_sets_of_characters(void **state)
{
    (void)state;
    static const struct {
        const char *grammar;
        uint32_t ranges[4][2];
        bool others;
    } cases[] = {
        {"root ::= [a-z\xc3\xa0-\xe4\xb8\x80]", {{'a', 'z'}, {0xE0, 0x4E00}}, false},
        {"root ::= [^a-z\xc3\xa0-\xe4\xb8\x80]", {{'a', 'z'}, {0xE0, 0x4E00}}, true},
        {"root ::= [\\u07F0-\\u0810\\uFFF0-\\U00010010\\U000FFFFF-\\U0010FFFE]",
         {{0x7F0, 0x810}, {0xFFF0, 0x10010}, {0xFFFFF, 0x10FFFE}},
         false},
        {"root ::= .", {{0, 0x10FFFF}}, false},
        {"root ::= [\\u1234\\U00012345x-z]", {{0x1234, 0x1234}, {0x12345, 0x12345}, {'x', 'z'}}, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct judge judge;
        judge_open(&judge, cases[i].grammar, 64);
        for (uint32_t code = 0; code <= 0x10FFFF; code++) {
            if (code >= 0xD800 && code <= 0xDFFF) continue;
            bool inside = false;
            for (int k = 0; k < 4; k++)
                inside |= code >= cases[i].ranges[k][0] && code <= cases[i].ranges[k][1] &&
                          (code || cases[i].ranges[k][1]);
            char bytes[4];
            size_t n = mlt_utf8_encode(code, bytes);
            int32_t s = 1; /* of the start, which is kept all the time */
            if (code == 0) s = mlt_automaton_start(judge.automaton);
            for (size_t k = 0; k < n; k++)
                s = mlt_automaton_step(judge.automaton, s, (uint8_t)bytes[k]);
            if (mlt_automaton_accepts(judge.automaton, s) != (inside != cases[i].others))
                fail_msg("%s: U+%04X", cases[i].grammar, (unsigned)code);
        }
        /* Surrogates, overlong forms, bytes above: no characters. */
        static const char *const bad[] = {"\xed\xa0\x80",     "\xc0\x80", "\xe0\x80\x80",
                                          "\xf4\x90\x80\x80", "\xff",     "\x80"};
        for (size_t k = 0; k < sizeof bad / sizeof bad[0]; k++)
            assert_false(judge_takes(&judge, bad[k], strlen(bad[k])));
        judge_close(&judge);
    }
}

static void test_what_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *grammar, *message;
        millet_status status;
    } cases[] = {
        {"", "no rule named root", MILLET_BAD_FORMAT},
        {"rot ::= \"a\"", "no rule named root", MILLET_BAD_FORMAT},
        {"root ::= a\nb ::= \"x\"", "line 1, column 10: the rule a is missing", MILLET_BAD_FORMAT},
        {"root ::= \"a\"\nroot ::= \"b\"", "line 2, column 1: the rule root stands twice", MILLET_BAD_FORMAT},
        {"root ::= \"a", "line 1, column 12: the literal or set is not closed", MILLET_BAD_FORMAT},
        {"root ::= [a", "is not closed", MILLET_BAD_FORMAT},
        {"root ::= []", "a set without characters", MILLET_BAD_FORMAT},
        {"root ::= [z-a]", "ends before it begins", MILLET_BAD_FORMAT},
        {"root ::= (\"a\" | \"b\"", "line 1, column 10: the group is not closed", MILLET_BAD_FORMAT},
        {"root ::= \"a\")", "a group is closed that is not open", MILLET_BAD_FORMAT},
        {"root ::= \"a\"{3,2}", "at most 2 after at least 3", MILLET_BAD_FORMAT},
        {"root ::= \"a\"{}", "a number of repetitions is expected", MILLET_BAD_FORMAT},
        {"root ::= \"a\"{5000}", "at most 4096 repetitions", MILLET_BAD_FORMAT},
        {"root ::= \"\\q\"", "an escape is one of", MILLET_BAD_FORMAT},
        {"root ::= \"\\uD800\"", "U+D800 is no character", MILLET_BAD_FORMAT},
        {"root ::= \"\\x4\"", "needs 2 hexadecimal digits", MILLET_BAD_FORMAT},
        {"root ::= \"\xff\"", "no valid UTF-8", MILLET_BAD_FORMAT},
        {"root ::= = \"a\"", "'=' begins no item", MILLET_BAD_FORMAT},
        {"root = \"a\"", "a rule is expected", MILLET_BAD_FORMAT},
        {"root ::= root \"a\" | \"b\"", "the rule root calls itself before it has read anything",
         MILLET_BAD_FORMAT},
        {"root ::= a\na ::= \"x\"? b\nb ::= (a \"y\")* \"z\"", "line 2, column 1: the rule a calls itself",
         MILLET_BAD_FORMAT},
        {"root ::= \"a\" root", "no text can ever end", MILLET_BAD_FORMAT},
        {"root ::= <think>", "tokens by name", MILLET_UNSUPPORTED},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct mlt_grammar_rules rules;
        millet_error err = {0};
        millet_status status =
            mlt_gbnf_read(mlt_default_allocator(), cases[i].grammar, strlen(cases[i].grammar), &rules, &err);
        mlt_grammar_rules_release(&rules);
        if (status != cases[i].status || !strstr(err.message, cases[i].message))
            fail_msg("%s: %d, %s", cases[i].grammar, status, err.message);
    }
    /* Calls of itself at the end, with nothing read before, are no growth: they are refused nowhere. */
    struct judge judge;
    judge_open(&judge, "root ::= a | \"x\"\na ::= root | \"y\"", 16);
    assert_true(judge_takes(&judge, "y", 1));
    judge_close(&judge);
    /* Groups within groups, to a limit. */
    char deep[1024] = "root ::= ";
    size_t n = strlen(deep);
    memset(deep + n, '(', 300);
    struct mlt_grammar_rules rules;
    millet_error err;
    assert_int_equal(mlt_gbnf_read(mlt_default_allocator(), deep, n + 300, &rules, &err), MILLET_BAD_FORMAT);
    assert_non_null(strstr(err.message, "groups are open"));
    mlt_grammar_rules_release(&rules);
    char large[1024] = "root ::= ";
    for (int i = 0; i < 70; i++)
        strcat(large, "\"a\"{4000}");
    assert_int_equal(mlt_gbnf_read(mlt_default_allocator(), large, strlen(large), &rules, &err),
                     MILLET_UNSUPPORTED);
    assert_non_null(strstr(err.message, "more than 262144 symbols"));
    mlt_grammar_rules_release(&rules);
}

/* ---- Tokens ---- */

static millet_model *model;

static int set_up(void **state)
{
    (void)state;
    struct tiny_shape shape = tiny_default();
    model = tiny_model(mlt_default_allocator(), &shape);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    millet_model_close(&model);
    return 0;
}

static millet_grammar *open_grammar(const char *text, int32_t max_states)
{
    millet_grammar *grammar = NULL;
    millet_error err;
    millet_grammar_options options = {.max_states = max_states};
    if (millet_grammar_open(model, text, strlen(text), &options, &grammar, &err) != MILLET_OK)
        fail_msg("%s: %s", text, err.message);
    return grammar;
}

static bool is_allowed(const uint32_t *allowed, int32_t id)
{
    return allowed[id / 32] >> (id % 32) & 1;
}

static const char words_grammar[] =
    "root ::= (\"the \" | \"an\" \"d\"? \" \" | [h-k] root \"e\" | \"\xc3\xa9\" \" \"?)+";

/* Every token by itself: the judge takes the text and the token's bytes, and looks whether they live. */
static void test_masks(void **state)
{
    (void)state;
    struct mlt_random random;
    mlt_random_seed(&random, 11);
    millet_grammar *large = open_grammar(words_grammar, 0), *small = open_grammar(words_grammar, 16);
    struct judge judge;
    judge_open(&judge, words_grammar, 4096);
    int32_t n_vocab = mlt_tokenizer_size(model->tokenizer);
    char *piece = malloc(mlt_tokenizer_max_piece(model->tokenizer));
    assert_non_null(piece);
    for (int round = 0; round < 20; round++) {
        millet_grammar_reset(large);
        millet_grammar_reset(small);
        int32_t at = mlt_automaton_start(judge.automaton);
        for (int step = 0; step < 12; step++) {
            const uint32_t *allowed, *same;
            millet_error err;
            assert_int_equal(millet_grammar_allowed(large, &allowed, &err), MILLET_OK);
            if (millet_grammar_allowed(small, &same, &err) != MILLET_OK) fail_msg("%s", err.message);
            int32_t chosen = -1, n = 0;
            for (int32_t id = 0; id < n_vocab; id++) {
                size_t length = mlt_token_bytes(model->tokenizer, id, piece);
                int32_t s = at;
                for (size_t i = 0; i < length && s; i++)
                    s = mlt_automaton_step(judge.automaton, s, (uint8_t)piece[i]);
                bool expected = length && s != MLT_STATE_DEAD;
                if (id == TINY_EOS) expected = mlt_automaton_accepts(judge.automaton, at);
                if (is_allowed(allowed, id) != expected || is_allowed(same, id) != expected)
                    fail_msg("token %d: %d, %d, expected %d", id, is_allowed(allowed, id),
                             is_allowed(same, id), expected);
                if (expected && id != TINY_EOS && mlt_random_double(&random) * ++n < 1) chosen = id;
                millet_error unused;
                if (!expected)
                    assert_int_equal(millet_grammar_accept(large, id, &unused), MILLET_BAD_ARGUMENT);
            }
            bool complete = mlt_automaton_accepts(judge.automaton, at);
            assert_int_equal(millet_grammar_complete(large, NULL), complete);
            assert_true(chosen >= 0);
            assert_int_equal(millet_grammar_accept(large, chosen, &err), MILLET_OK);
            assert_int_equal(millet_grammar_accept(small, chosen, &err), MILLET_OK);
            size_t length = mlt_token_bytes(model->tokenizer, chosen, piece);
            for (size_t i = 0; i < length; i++)
                at = mlt_automaton_step(judge.automaton, at, (uint8_t)piece[i]);
            assert_true(at > MLT_STATE_DEAD);
        }
    }
    free(piece);
    judge_close(&judge);
    millet_grammar_close(&large);
    millet_grammar_close(&small);
}

struct seen {
    char text[2048];
    size_t length;
    struct counting_allocator *counting;
    long long allocations;
    int calls;
};

static bool watch(void *context, const millet_piece *piece)
{
    struct seen *seen = context;
    if (seen->counting && seen->calls++ == 0) seen->allocations = seen->counting->calls;
    if (seen->counting) assert_int_equal(seen->counting->calls, seen->allocations);
    assert_true(seen->length + piece->length < sizeof seen->text);
    memcpy(seen->text + seen->length, piece->text, piece->length);
    seen->length += piece->length;
    return true;
}

static void test_generation(void **state)
{
    (void)state;
    static const char *const grammars[] = {
        words_grammar,
        "root ::= \"{\\\"name\\\": \\\"\" [a-z]{1,12} \"\\\", \\\"n\\\": \" [0-9]{1,4} \"}\"",
        "root ::= [a-z]{3,8} (\", \" [a-z]{3,8}){2}",
        "root ::= \"\xe4\xbd\xa0\xe5\xa5\xbd\" [\xe4\xb8\x80-\xe4\xb8\xa0]{4}",
    };
    struct counting_allocator counting;
    counting_allocator_init(&counting);
    millet_error err;
    for (int lookup = 0; lookup < 2; lookup++) {
        millet_session_options options = millet_session_options_default();
        options.allocator = &counting.allocator;
        options.n_threads = 1;
        options.lookup = lookup;
        options.draft_always = lookup;
        millet_session *session = NULL;
        assert_int_equal(millet_session_open(model, &options, &session, &err), MILLET_OK);
        for (size_t g = 0; g < sizeof grammars / sizeof grammars[0]; g++) {
            millet_grammar *grammar = NULL;
            millet_grammar_options how_opened = {.allocator = &counting.allocator};
            assert_int_equal(
                millet_grammar_open(model, grammars[g], strlen(grammars[g]), &how_opened, &grammar, &err),
                MILLET_OK);
            struct judge judge;
            judge_open(&judge, grammars[g], 4096);
            static char plain[4][6][2048]; /* the texts without speculation */
            for (int seed = 0; seed < 6; seed++) {
                millet_generate_options how = millet_generate_options_default();
                how.sampler.seed = (uint64_t)seed;
                how.sampler.temperature = seed == 0 ? 0.0f : 1.0f;
                how.sampler.repeat_penalty = seed == 1 ? 1.3f : 1.0f;
                how.ignore_end = seed == 2;
                how.max_tokens = 80;
                how.grammar = grammar;
                struct seen seen = {.counting = &counting};
                millet_generation result;
                millet_sequence_truncate(session, 0, 0, NULL);
                if (millet_generate(session, "the and", 7, &how, watch, &seen, &result, &err) != MILLET_OK)
                    fail_msg("%s: %s", grammars[g], err.message);
                seen.text[seen.length] = 0;
                if (result.finish == MILLET_FINISH_END)
                    assert_true(judge_takes(&judge, seen.text, seen.length));
                else
                    assert_int_equal(result.finish, MILLET_FINISH_LENGTH);
                if (g > 0) assert_int_equal(result.finish, MILLET_FINISH_END); /* short by their nature */
                if (lookup)
                    assert_string_equal(seen.text, plain[g][seed]);
                else
                    memcpy(plain[g][seed], seen.text, seen.length + 1);
            }
            judge_close(&judge);
            millet_grammar_close(&grammar);
        }
        millet_session_close(&session);
    }
    assert_int_equal(counting.live, 0);
}

static void test_empty_and_foreign_grammars(void **state)
{
    (void)state;
    millet_error err;
    millet_session *session = NULL;
    assert_int_equal(millet_session_open(model, NULL, &session, &err), MILLET_OK);
    millet_generate_options how = millet_generate_options_default();
    how.grammar = open_grammar("root ::= \"\"", 0);
    millet_generation result;
    assert_int_equal(millet_generate(session, "a", 1, &how, NULL, NULL, &result, &err), MILLET_OK);
    assert_int_equal(result.generated_tokens, 0);
    assert_int_equal(result.finish, MILLET_FINISH_END);
    millet_session_close(&session);

    struct tiny_shape shape = tiny_default();
    millet_model *other = tiny_model(mlt_default_allocator(), &shape);
    assert_int_equal(millet_session_open(other, NULL, &session, &err), MILLET_OK);
    assert_int_equal(millet_generate(session, "a", 1, &how, NULL, NULL, &result, &err), MILLET_BAD_ARGUMENT);
    assert_non_null(strstr(err.message, "another model"));
    millet_session_close(&session);
    millet_model_close(&other);
    millet_grammar_close(&how.grammar);

    shape.no_tokenizer = true;
    other = tiny_model(mlt_default_allocator(), &shape);
    assert_int_equal(millet_grammar_open(other, "root ::= \"\"", 11, NULL, &how.grammar, &err),
                     MILLET_UNSUPPORTED);
    millet_model_close(&other);
    millet_grammar_options options = {.max_states = 3};
    assert_int_equal(millet_grammar_open(model, "root ::= \"\"", 11, &options, &how.grammar, &err),
                     MILLET_BAD_ARGUMENT);
    /* One step with more places than there is room for. */
    char letters[1024] = "root ::= \"a\" [0-9]{1}";
    for (char c = 'b'; c <= 'z'; c++)
        sprintf(letters + strlen(letters), " | \"%c\" [a-z]{%d}", c, c - 'a' + 2);
    how.grammar = open_grammar(letters, 16);
    const uint32_t *allowed;
    assert_int_equal(millet_grammar_allowed(how.grammar, &allowed, &err), MILLET_NO_MEMORY);
    assert_non_null(strstr(err.message, "larger max_states"));
    assert_int_equal(millet_grammar_accept(how.grammar, TINY_BYTES + 'c', &err), MILLET_OK);
    assert_int_equal(millet_grammar_allowed(how.grammar, &allowed, &err), MILLET_OK);
    millet_grammar_close(&how.grammar);
}

static void test_refused_allocations(void **state)
{
    (void)state;
    struct counting_allocator counting;
    counting_allocator_init(&counting);
    millet_grammar_options options = {.allocator = &counting.allocator};
    millet_status status = MILLET_NO_MEMORY;
    for (long long n = 0; status != MILLET_OK; n++) {
        millet_grammar *grammar;
        millet_error err;
        counting.calls = 0;
        counting.fail_at = n;
        status = millet_grammar_open(model, json_grammar, strlen(json_grammar), &options, &grammar, &err);
        if (status != MILLET_OK) {
            assert_int_equal(status, MILLET_NO_MEMORY);
            assert_null(grammar);
        }
        millet_grammar_close(&grammar);
        assert_int_equal(counting.live, 0);
        assert_true(n < 10000);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sentences),
        cmocka_unit_test(test_against_regular_expressions),
        cmocka_unit_test(test_against_a_json_parser),
        cmocka_unit_test(test_sets_of_characters),
        cmocka_unit_test(test_what_is_refused),
        cmocka_unit_test(test_masks),
        cmocka_unit_test(test_generation),
        cmocka_unit_test(test_empty_and_foreign_grammars),
        cmocka_unit_test(test_refused_allocations),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
