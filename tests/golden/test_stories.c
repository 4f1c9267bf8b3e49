/*
 * Small models that were trained on stories say what the reference runtimes have them say, token by token,
 * and find a text as likely.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "millet/lab.h"
#include "support/file_bytes.h"
#include "support/test_data.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static millet_model *open_model(const char *path, const char *tokenizer)
{
    millet_model *model = NULL;
    millet_error err;
    millet_model_options options = millet_model_options_default();
    options.tokenizer_path = tokenizer;
    if (millet_model_open(path, &options, &model, &err) != MILLET_OK) fail_msg("%s: %s", path, err.message);
    return model;
}

static millet_session *open_session(const millet_model *model, int32_t n_batch)
{
    millet_session *session = NULL;
    millet_error err;
    millet_session_options options = millet_session_options_default();
    options.cache_type = MILLET_CACHE_F32;
    options.n_batch = n_batch;
    options.n_threads = 1 + (n_batch > 0);
    options.n_ctx = 512; /* the records go beyond the trained 128 */
    if (millet_session_open(model, &options, &session, &err) != MILLET_OK) fail_msg("%s", err.message);
    return session;
}

struct said {
    char text[8192];
    size_t length;
    int32_t tokens[1024];
    size_t n_tokens;
};

static bool listen(void *context, const millet_piece *piece)
{
    struct said *said = context;
    assert_true(said->length + piece->length < sizeof said->text);
    memcpy(said->text + said->length, piece->text, piece->length);
    said->length += piece->length;
    said->text[said->length] = 0;
    if (piece->token >= 0) said->tokens[said->n_tokens++] = piece->token;
    return true;
}

static void generate(millet_session *session, const char *prompt, int32_t max_tokens, struct said *said)
{
    millet_error err;
    millet_generate_options options = millet_generate_options_default();
    options.sampler.temperature = 0;
    options.max_tokens = max_tokens;
    memset(said, 0, sizeof *said);
    if (millet_generate(session, prompt, strlen(prompt), &options, listen, said, NULL, &err) != MILLET_OK)
        fail_msg("%s", err.message);
}

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    assert_non_null(text);
    return text;
}

/* The recorded text is the beginning of what the model says to nothing. */
static void assert_story(const millet_model *model, const char *text)
{
    static struct said said;
    millet_session *session = open_session(model, 0);
    generate(session, "", 300, &said);
    if (strncmp(said.text, text, strlen(text)) != 0) fail_msg("said \"%s\", not \"%s\"", said.text, text);
    millet_session_close(&session);
}

static void each_story(void (*check)(const char *model, const char *tokenizer, const char *text))
{
    size_t size;
    char *lines = test_data_read("models/llama2c_greedy.jsonl", &size);
    lines[size] = 0;
    int n = 0;
    for (char *line = strtok(lines, "\n"); line; line = strtok(NULL, "\n"), n++) {
        json_t *json = json_loads(line, 0, NULL);
        assert_non_null(json);
        char model[512], tokenizer[512];
        snprintf(model, sizeof model, "models/%s", text_of(json, "model"));
        snprintf(tokenizer, sizeof tokenizer, "models/%s", text_of(json, "tokenizer"));
        check(test_data_path(model), test_data_path(tokenizer), text_of(json, "text"));
        json_decref(json);
    }
    assert_true(n >= 3);
    free(lines);
}

static void check_story(const char *path, const char *tokenizer, const char *text)
{
    millet_model *model = open_model(path, tokenizer);
    assert_story(model, text);
    millet_model_close(&model);
}

static void test_llama2c(void **state)
{
    (void)state;
    each_story(check_story);
}

/* The same from a GGUF file that was made of it. */
static void check_story_from_gguf(const char *path, const char *tokenizer, const char *text)
{
    const char *gguf = folder_path("story.gguf");
    millet_error err;
    millet_quantize_options options = millet_quantize_options_default();
    options.type = "F32";
    options.tokenizer_path = tokenizer;
    options.n_threads = 1;
    if (millet_quantize(path, gguf, &options, NULL, &err) != MILLET_OK) fail_msg("%s", err.message);
    check_story(gguf, NULL, text);
}

static void test_gguf_of_llama2c(void **state)
{
    (void)state;
    folder_make();
    each_story(check_story_from_gguf);
    folder_remove();
}

/* The tokens of the continuation, however the prompt is cut into batches. */
static void check_continuation(const millet_model *model, const json_t *record, int32_t n_batch)
{
    static struct said said;
    const json_t *ids = json_object_get(record, "ids");
    size_t n_prompt = (size_t)json_integer_value(json_object_get(record, "n_prompt"));
    size_t count = json_array_size(ids);
    assert_true(count > n_prompt + 100);
    millet_session *session = open_session(model, n_batch);
    generate(session, text_of(record, "prompt"), (int32_t)(count - n_prompt), &said);
    assert_int_equal(said.n_tokens, count - n_prompt);
    int32_t all[1024];
    for (size_t i = 0; i < count; i++) {
        all[i] = (int32_t)json_integer_value(json_array_get(ids, i));
        if (i >= n_prompt) assert_int_equal(said.tokens[i - n_prompt], all[i]);
    }
    assert_int_equal(millet_sequence_length(session, 0), count);
    /* The record has the space that the tokenizer put before the prompt; a text begins without it. */
    static char text[8192];
    size_t length;
    assert_int_equal(millet_detokenize(model, all, count, false, text, sizeof text - 1, &length, NULL),
                     MILLET_OK);
    text[length] = 0;
    const char *recorded = text_of(record, "text");
    assert_string_equal(text, recorded + (recorded[0] == ' '));
    assert_string_equal(text + length - said.length, said.text);
    millet_session_close(&session);
}

static void test_continuations(void **state)
{
    (void)state;
    millet_model *model = open_model(test_data_path("reference/stories260K.gguf"), NULL);
    json_t *json = test_data_json("reference/stories260K.json");
    const json_t *greedy = json_object_get(json, "greedy");
    assert_true(json_array_size(greedy) >= 3);
    for (size_t i = 0; i < json_array_size(greedy); i++) {
        check_continuation(model, json_array_get(greedy, i), 0);
        check_continuation(model, json_array_get(greedy, i), 3);
    }
    json_decref(json);
    millet_model_close(&model);
}

static void test_perplexity(void **state)
{
    (void)state;
    millet_model *model = open_model(test_data_path("reference/stories260K.gguf"), NULL);
    json_t *json = test_data_json("reference/stories260K.json");
    const json_t *record = json_object_get(json, "perplexity"), *each = json_object_get(record, "nll");
    const char *text = text_of(record, "text");
    float nll[512];
    millet_eval_options options = millet_eval_options_default();
    options.cache_type = MILLET_CACHE_F32;
    options.nll = nll;
    options.nll_capacity = 512;
    millet_perplexity result;
    millet_error err;
    if (millet_perplexity_measure(model, text, strlen(text), &options, &result, &err) != MILLET_OK)
        fail_msg("%s", err.message);
    assert_int_equal(result.n_scored, json_array_size(each));
    assert_int_equal(result.n_scored, json_integer_value(json_object_get(record, "n_scored")));
    assert_int_equal(result.n_windows, 1);
    for (size_t i = 0; i < json_array_size(each); i++)
        assert_true(fabs((double)nll[i] - json_number_value(json_array_get(each, i))) < 2e-5);
    double mean = json_number_value(json_object_get(record, "mean_nll"));
    double perplexity = json_number_value(json_object_get(record, "perplexity"));
    assert_true(fabs(result.nll.value - mean) < 1e-6);
    assert_true(fabs(result.perplexity.value - perplexity) < 1e-5);
    assert_true(result.perplexity.low < perplexity && result.perplexity.high > perplexity);
    json_decref(json);
    millet_model_close(&model);
}

int main(void)
{
    if (!test_data_root()) return TEST_SKIPPED;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_llama2c),
        cmocka_unit_test(test_gguf_of_llama2c),
        cmocka_unit_test(test_continuations),
        cmocka_unit_test(test_perplexity),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
