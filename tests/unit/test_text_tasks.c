/*
 * Last words and sums in words against naive ways: each passage alone, token by token; each answer generated
 * alone by millet_generate. The number of an answer against a table.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "eval/final_number.h"
#include "millet/tasks.h"
#include "support/corpus_files.h"
#include "support/file_bytes.h"
#include "support/tiny_model.h"

#include <jansson.h>
#include <math.h>
#include <string.h>

static int set_up(void **state)
{
    (void)state;
    return folder_make() ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    folder_remove();
    return 0;
}

static void test_final_number(void **state)
{
    (void)state;
    static const struct {
        const char *text, *number; /* NULL: none */
    } cases[] = {
        {"", NULL},
        {"none at all. - , $", NULL},
        {"72", "72"},
        {"It is 72.", "72"},
        {"first 3, then 4", "4"},
        {"3,4", "4"},
        {"1,234,567 in all", "1234567"},
        {"1,2345", "2345"},
        {"$1,000.50", "1000.5"},
        {"12.00", "12"},
        {"0.50", "0.5"},
        {"007", "7"},
        {"100", "100"},
        {"-5", "-5"},
        {"-$5", "-5"},
        {"10-5", "5"},
        {"(3)-2", "2"},
        {"-0", "0"},
        {"2.5.", "2.5"},
        {"so 5 + 6 = <<5+6=11>>11\n#### 11", "11"},
        {"#### 1\n#### 2 and 3", "2"},
        {"####72 is right, not 5", "72"},
        {"5 ####", NULL},
        {"123456789012345678901234567890123456789012345678901234567890", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char number[MLT_NUMBER_SIZE];
        bool found = mlt_final_number(cases[i].text, number);
        if (found != (cases[i].number != NULL)) fail_msg("\"%s\"", cases[i].text);
        if (found) assert_string_equal(number, cases[i].number);
    }
}

static millet_model *model_of(uint64_t seed)
{
    struct tiny_shape shape = tiny_default();
    shape.n_ctx = 512;
    shape.seed += seed;
    return tiny_model(mlt_default_allocator(), &shape);
}

/* ---- Last words ---- */

static const char passages[] = "{\"text\":\"the cat and the hen ran\"}\n"
                               "{\"text\":\"the cat and the\\n\\nthing \"}\n"
                               "{\"text\":\"another hath thought in the end\"}\n";
static const char *const before[] = {"the cat and the hen", "the cat and the\n",
                                     "another hath thought in the"};
static const char *const words[] = {" ran", "\nthing", " end"};

/* -ln p of the word, from an empty sequence; whether it is foreseen. */
static double naive(const millet_model *model, const char *text, const char *word, bool *right)
{
    char whole[256];
    int32_t ids[256];
    size_t n_text, n;
    snprintf(whole, sizeof whole, "%s%s", text, word);
    assert_int_equal(millet_tokenize(model, text, strlen(text), MILLET_TOKENIZE_BOS, ids, 256, &n_text, NULL),
                     MILLET_OK);
    assert_int_equal(millet_tokenize(model, whole, strlen(whole), MILLET_TOKENIZE_BOS, ids, 256, &n, NULL),
                     MILLET_OK);
    millet_session *session;
    millet_session_options options = {.n_threads = 1};
    assert_int_equal(millet_session_open(model, &options, &session, NULL), MILLET_OK);
    double nll = 0;
    *right = true;
    for (size_t i = 0; i + 1 < n; i++) {
        millet_item item = {ids[i], 0, true};
        assert_int_equal(millet_eval(session, &item, 1, NULL), MILLET_OK);
        if (i + 1 < n_text) continue;
        const float *logits = millet_logits(session, 0);
        double sum = 0, max = -INFINITY;
        for (int v = 0; v < model->config.n_vocab; v++)
            max = max > (double)logits[v] ? max : (double)logits[v]; /* gcc 12 for ARM breaks on fmax here */
        for (int v = 0; v < model->config.n_vocab; v++)
            sum += exp((double)logits[v] - max);
        nll += max + log(sum) - (double)logits[ids[i + 1]];
        *right = *right && (double)logits[ids[i + 1]] == max;
    }
    millet_session_close(&session);
    return nll;
}

static void test_lambada(void **state)
{
    (void)state;
    millet_model *model = model_of(0), *base = model_of(1);
    const char *path = corpus_write("p.jsonl", passages);
    millet_task_options options = {.session = {.n_threads = 1}, .answers = folder_path("a.jsonl")};
    millet_lambada_scores scores;
    millet_error err;
    if (millet_lambada_measure(model, base, path, &options, &scores, &err)) fail_msg("%s", err.message);
    double sum[2] = {0, 0};
    int right = 0;
    FILE *file = fopen(options.answers, "r");
    assert_non_null(file);
    for (int i = 0; i < 3; i++) {
        bool found, ignored;
        double nll = naive(model, before[i], words[i], &found);
        sum[0] += nll;
        sum[1] += naive(base, before[i], words[i], &ignored);
        right += found;
        json_t *line = json_loadf(file, JSON_DISABLE_EOF_CHECK, NULL);
        assert_true(fabs(json_real_value(json_object_get(line, "nll")) - nll) < 1e-9);
        assert_string_equal(json_string_value(json_object_get(line, "word")), words[i] + 1);
        assert_int_equal(json_is_true(json_object_get(line, "right")), found);
        json_decref(line);
    }
    fclose(file);
    assert_int_equal(scores.n_records, 3);
    assert_true(fabs(scores.nll.value - sum[0] / 3) < 1e-9);
    assert_true(fabs(scores.perplexity.value / exp(sum[0] / 3) - 1) < 1e-9);
    assert_true(fabs(scores.base_perplexity.value / exp(sum[1] / 3) - 1) < 1e-9);
    assert_true(fabs(scores.perplexity_ratio.value / exp((sum[0] - sum[1]) / 3) - 1) < 1e-9);
    assert_true(fabs(scores.word.right.value - right / 3.0) < 1e-12);
    options.max_records = 1;
    options.session.n_ctx = 6;
    if (millet_lambada_measure(model, NULL, path, &options, &scores, &err)) fail_msg("%s", err.message);
    assert_true(scores.n_records == 1 && scores.n_cut == 1 && isnan(scores.nll.low) &&
                !isnan(scores.nll.value));
    assert_true(isnan(scores.base_perplexity.value) && isnan(scores.word.kept.value));
    static const char *const bad[] = {"{\"text\":\"word\"}\n", "{\"text\":5}\n", "[]\n"};
    for (size_t i = 0; i < 3; i++) {
        path = corpus_write("bad.jsonl", bad[i]);
        assert_int_equal(millet_lambada_measure(model, NULL, path, NULL, &scores, &err), MILLET_BAD_FORMAT);
        assert_non_null(strstr(err.message, "line 1"));
    }
    millet_model_close(&model);
    millet_model_close(&base);
}

/* ---- Sums ---- */

enum { SUMS = 11 };

static bool append(void *context, const millet_piece *piece)
{
    strncat(context, piece->text, piece->length);
    return true;
}

/* What the model says to the prompt, as far as it is read. */
static void say(const millet_model *model, const char *prompt, int32_t max_tokens, char *said)
{
    millet_session *session;
    millet_session_options options = {.n_threads = 1, .n_ctx = 512};
    millet_generate_options how = millet_generate_options_default();
    how.sampler.temperature = 0;
    how.max_tokens = max_tokens;
    said[0] = 0;
    assert_int_equal(millet_session_open(model, &options, &session, NULL), MILLET_OK);
    assert_int_equal(millet_generate(session, prompt, strlen(prompt), &how, append, said, NULL, NULL),
                     MILLET_OK);
    millet_session_close(&session);
}

static void test_gsm8k(void **state)
{
    (void)state;
    char text[4096] = "";
    for (int i = 0; i < SUMS; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text),
                 "{\"question\":\"a cat and %d hens\",\"answer\":\"in all\\n#### %d\"}\n", i, i + 1);
    const char *path = corpus_write("s.jsonl", text);
    millet_model *model = model_of(3);
    for (int shots = 0; shots < 2; shots++) {
        millet_task_options options = {.session = {.n_threads = 1 + shots},
                                       .answers = folder_path("a.jsonl"),
                                       .n_shots = shots,
                                       .max_tokens = 12};
        millet_gsm8k_scores scores;
        millet_error err;
        if (millet_gsm8k_measure(model, model, path, &options, &scores, &err)) fail_msg("%s", err.message);
        int right = 0, numbers = 0;
        FILE *file = fopen(options.answers, "r");
        assert_non_null(file);
        for (int i = 0; i < SUMS; i++) {
            char prompt[512], said[512], number[MLT_NUMBER_SIZE], expected[16];
            int other = i == 0;
            if (shots)
                snprintf(prompt, sizeof prompt,
                         "Question: a cat and %d hens\nAnswer: in all\n#### %d\n\nQuestion: a cat and %d "
                         "hens\nAnswer:",
                         other, other + 1, i);
            else
                snprintf(prompt, sizeof prompt, "Question: a cat and %d hens\nAnswer:", i);
            say(model, prompt, 12, said);
            snprintf(expected, sizeof expected, "%d", i + 1);
            bool found = mlt_final_number(said, number);
            numbers += found;
            right += found && strcmp(number, expected) == 0;
            json_t *line = json_loadf(file, JSON_DISABLE_EOF_CHECK, NULL);
            const char *got = json_string_value(json_object_get(line, "text"));
            /* The generation gives out the begun character at its end too. */
            assert_non_null(got);
            assert_true(strncmp(got, said, strlen(got)) == 0 && strlen(said) - strlen(got) <= 12);
            assert_string_equal(json_string_value(json_object_get(line, "final")), expected);
            json_decref(line);
        }
        fclose(file);
        assert_int_equal(scores.n_records, SUMS);
        assert_int_equal(scores.n_numbers, numbers);
        assert_true(fabs(scores.right.right.value - right / (double)SUMS) < 1e-12);
        assert_true(scores.right.agreement.value == 1 && scores.n_shortened == 0 && scores.max_tokens == 12);
        options.max_records = 1;
        options.n_shots = 3;
        options.session.n_ctx = 150;
        if (millet_gsm8k_measure(model, NULL, path, &options, &scores, &err)) fail_msg("%s", err.message);
        assert_true(scores.n_records == 1 && scores.n_shortened == 1);
        options.session.n_ctx = 8;
        assert_int_equal(millet_gsm8k_measure(model, NULL, path, &options, &scores, &err),
                         MILLET_BAD_ARGUMENT);
        assert_non_null(strstr(err.message, "no room"));
    }
    static const char *const bad[] = {"{\"question\":\"q\"}\n", "{\"question\":\"q\",\"answer\":\"many\"}\n",
                                      "5\n"};
    for (size_t i = 0; i < 3; i++) {
        millet_gsm8k_scores scores;
        millet_error err;
        path = corpus_write("bad.jsonl", bad[i]);
        assert_int_equal(millet_gsm8k_measure(model, NULL, path, NULL, &scores, &err), MILLET_BAD_FORMAT);
        assert_non_null(strstr(err.message, "line 1"));
    }
    millet_model_close(&model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_final_number),
        cmocka_unit_test(test_lambada),
        cmocka_unit_test(test_gsm8k),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
