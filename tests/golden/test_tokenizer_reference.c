/*
 * Tokenizers against the ids that the models' own tokenizers and llama.cpp give for the same text:
 * tokenizers/NAME.gguf with NAME.gguf.inp and .out, and reference/tokenizers.json; tiktoken's rank files and
 * Mistral's SentencePiece models.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "model/model.h"
#include "support/test_data.h"
#include "tokenizer/vocabulary_file.h"

#define SEPARATOR "\n__ggml_vocab_test__\n"

static struct mlt_checkpoint *checkpoint;

static struct mlt_tokenizer *open_vocabulary(const char *relative)
{
    struct mlt_tokenizer *tokenizer = NULL;
    millet_error err;
    int32_t bos, eos;
    bool add_bos, add_eos;
    checkpoint = NULL;
    if (mlt_checkpoint_open(mlt_default_allocator(), test_data_path(relative), NULL, &checkpoint, &err) ||
        mlt_vocabulary_open(mlt_default_allocator(), checkpoint, &tokenizer, &bos, &eos, &add_bos, &add_eos,
                            &err))
        fail_msg("%s: %s: %s", relative, err.item, err.message);
    assert_non_null(tokenizer);
    return tokenizer;
}

static void close_vocabulary(struct mlt_tokenizer **tokenizer)
{
    mlt_tokenizer_close(tokenizer);
    mlt_checkpoint_close(&checkpoint);
}

static void show(const char *label, const int32_t *ids, size_t count)
{
    fprintf(stderr, "%s:", label);
    for (size_t i = 0; i < count; i++)
        fprintf(stderr, " %d", ids[i]);
    fprintf(stderr, "\n");
}

static void expect_ids(const struct mlt_tokenizer *tokenizer, const char *name, const char *text,
                       size_t length, unsigned flags, const int32_t *expected, size_t n_expected)
{
    int32_t *ids;
    size_t count;
    millet_error err;
    if (mlt_tokenize(tokenizer, mlt_default_allocator(), text, length, flags, &ids, &count, &err))
        fail_msg("%s: %s", name, err.message);
    if (count != n_expected || (count && memcmp(ids, expected, count * sizeof *ids))) {
        show("expected", expected, n_expected);
        show("got     ", ids, count);
        fail_msg("%s: other ids for \"%.*s\"", name, (int)length, text);
    }
    mlt_free(mlt_default_allocator(), ids);
}

/* Ids as decimal numbers up to the end of the line, which *line is moved behind. At most `capacity`. */
static size_t parse_ids(const char **line, int32_t *ids, size_t capacity)
{
    size_t count = 0;
    while (**line && **line != '\n') {
        char *end;
        long id = strtol(*line, &end, 10);
        if (end == *line) break;
        assert_true(count < capacity);
        ids[count++] = (int32_t)id;
        *line = end;
        while (**line == ' ')
            ++*line;
    }
    if (**line == '\n') ++*line;
    return count;
}

/* Every text of INPUT tokenises to its line of OUTPUT; what the ids decode to is the text where `round_trip`.
 */
static unsigned compare_lines(const struct mlt_tokenizer *tokenizer, const char *input, const char *output)
{
    size_t size;
    char *texts = test_data_read(input, &size);
    texts = realloc(texts, size + 1);
    texts[size] = 0;
    size_t out_size;
    char *lines = test_data_read(output, &out_size);
    lines = realloc(lines, out_size + 1);
    lines[out_size] = 0;
    const char *line = lines;
    unsigned compared = 0;
    int32_t ids[4096];
    for (const char *text = texts; *line; compared++) {
        const char *end = strstr(text, SEPARATOR);
        size_t length = end ? (size_t)(end - text) : strlen(text);
        size_t count = parse_ids(&line, ids, MLT_COUNT(ids));
        expect_ids(tokenizer, input, text, length, 0, ids, count);
        text = end ? end + strlen(SEPARATOR) : text + length;
    }
    free(lines);
    free(texts);
    return compared;
}

static int has_suffix(const char *name, const char *suffix)
{
    size_t length = strlen(name), end = strlen(suffix);
    return length > end && strcmp(name + length - end, suffix) == 0;
}

static void vocabularies_give_reference_ids(void **state)
{
    (void)state;
    DIR *folder = opendir(test_data_path("tokenizers"));
    assert_non_null(folder);
    unsigned files = 0;
    for (struct dirent *entry; (entry = readdir(folder));) {
        if (!has_suffix(entry->d_name, ".gguf.inp")) continue;
        char input[512], output[512], vocabulary[512];
        int stem = (int)strlen(entry->d_name) - 4;
        snprintf(vocabulary, sizeof vocabulary, "tokenizers/%.*s", stem, entry->d_name);
        snprintf(input, sizeof input, "%.400s.inp", vocabulary);
        snprintf(output, sizeof output, "%.400s.out", vocabulary);
        struct mlt_tokenizer *tokenizer = open_vocabulary(vocabulary);
        unsigned lines = compare_lines(tokenizer, input, output);
        print_message("%s: %u texts\n", vocabulary, lines);
        assert_true(lines > 0);
        close_vocabulary(&tokenizer);
        files++;
    }
    closedir(folder);
    assert_true(files > 0);
}

/* Files without reference ids must at least open and give their text back. */
static void other_vocabularies_open(void **state)
{
    (void)state;
    const char *const names[] = {"tokenizers/baichuan.gguf", "tokenizers/gpt-neox.gguf"};
    for (size_t i = 0; i < MLT_COUNT(names); i++) {
        struct mlt_tokenizer *tokenizer = open_vocabulary(names[i]);
        assert_true(mlt_tokenizer_size(tokenizer) > 50000);
        close_vocabulary(&tokenizer);
    }
}

static size_t json_ids(const json_t *array, int32_t *ids, size_t capacity)
{
    size_t i;
    json_t *id;
    assert_true(json_array_size(array) <= capacity);
    json_array_foreach (array, i, id)
        ids[i] = (int32_t)json_integer_value(id);
    return json_array_size(array);
}

static void reference_models_give_reference_ids(void **state)
{
    (void)state;
    json_t *models = test_data_json("reference/tokenizers.json"), *texts, *entry;
    const char *model;
    unsigned compared = 0;
    json_object_foreach (models, model, texts) {
        char path[256];
        snprintf(path, sizeof path, "reference/%.200s.gguf", model);
        struct mlt_tokenizer *tokenizer = open_vocabulary(path);
        size_t i;
        json_array_foreach (texts, i, entry) {
            const json_t *text = json_object_get(entry, "text");
            const char *data = json_string_value(text);
            size_t length = json_string_length(text);
            int32_t ids[4096];
            size_t count = json_ids(json_object_get(entry, "ids"), ids, MLT_COUNT(ids));
            expect_ids(tokenizer, model, data, length, 0, ids, count);
            count = json_ids(json_object_get(entry, "ids_bos_special"), ids, MLT_COUNT(ids));
            expect_ids(tokenizer, model, data, length, MLT_TOKENIZE_SPECIAL | MLT_TOKENIZE_BOS_EOS, ids,
                       count);
            compared += 2;
        }
        close_vocabulary(&tokenizer);
    }
    json_decref(models);
    print_message("reference models: %u texts\n", compared);
    assert_true(compared > 0);
}

/* What the ids of a text decode to, a token at a time, is the text, in whole characters at every step. */
static void round_trip(const struct mlt_tokenizer *tokenizer, const char *name, const char *text,
                       size_t length)
{
    int32_t *ids;
    size_t count, filled = 0;
    assert_int_equal(mlt_tokenize(tokenizer, mlt_default_allocator(), text, length, 0, &ids, &count, NULL),
                     MILLET_OK);
    char *decoded = malloc(3 * length + mlt_tokenizer_max_piece(tokenizer) + 16);
    struct mlt_decode_state decode = {0};
    for (size_t i = 0; i < count; i++) {
        size_t size = mlt_decode_token(tokenizer, &decode, ids[i], false, decoded + filled);
        assert_true(size <= mlt_tokenizer_max_piece(tokenizer));
        filled += size;
        if (filled < length && ((uint8_t)text[filled] & 0xC0) == 0x80)
            fail_msg("%s: half a character of \"%.*s\"", name, (int)length, text);
    }
    filled += mlt_decode_finish(&decode, decoded + filled);
    if (filled != length || memcmp(decoded, text, length))
        fail_msg("%s: \"%.*s\" came back as \"%.*s\"", name, (int)length, text, (int)filled, decoded);
    free(decoded);
    mlt_free(mlt_default_allocator(), ids);
}

static void text_survives_a_round_trip(void **state)
{
    (void)state;
    const char *const names[] = {"llama-spm", "phi-3", "baichuan",  "gpt-2",
                                 "gpt-neox",  "mpt",   "starcoder", "deepseek-llm"};
    size_t size;
    char *text = test_data_read("tokenizers/gpt-2.gguf.inp", &size);
    for (size_t i = 0; i < MLT_COUNT(names); i++) {
        char path[256];
        snprintf(path, sizeof path, "tokenizers/%s.gguf", names[i]);
        struct mlt_tokenizer *tokenizer = open_vocabulary(path);
        for (size_t from = 0; from < size; from += 97)
            if (((uint8_t)text[from] & 0xC0) != 0x80)
                round_trip(tokenizer, names[i], text + from, size - from);
        close_vocabulary(&tokenizer);
    }
    free(text);
}

/* The tokenizer of a rank file with the settings of its family. */
static struct mlt_tokenizer *open_ranks(const char *relative, const char *pre, const char *pattern, bool nfc)
{
    size_t size;
    char *text = test_data_read(relative, &size);
    struct mlt_vocabulary_file file;
    millet_error err;
    struct mlt_tokenizer *tokenizer = NULL;
    assert_int_equal(mlt_tiktoken_read(mlt_default_allocator(), text, size, NULL, 0, &file, &err), MILLET_OK);
    file.spec.pre = pre;
    file.spec.pre_pattern = pattern;
    file.spec.nfc = nfc;
    if (mlt_tokenizer_open(mlt_default_allocator(), &file.spec, &tokenizer, &err))
        fail_msg("%s", err.message);
    mlt_vocabulary_file_release(&file);
    free(text);
    return tokenizer;
}

static void qwen_ranks_give_reference_ids(void **state)
{
    (void)state;
    struct mlt_tokenizer *tokenizer = open_ranks("tokenizers/qwen.tiktoken", "qwen2", NULL, true);
    assert_int_equal(compare_lines(tokenizer, "tokenizers/qwen2.inp", "tokenizers/qwen2.out"), 46);
    mlt_tokenizer_close(&tokenizer);
    tokenizer = open_ranks("tokenizers/qwen.tiktoken", "deepseek-r1-qwen", NULL, false);
    assert_int_equal(
        compare_lines(tokenizer, "tokenizers/deepseek-r1-qwen.inp", "tokenizers/deepseek-r1-qwen.out"), 46);
    mlt_tokenizer_close(&tokenizer);
}

/* Calls `check` with each line of a .jsonl file. */
static unsigned each_json_line(const char *relative, void (*check)(const json_t *line, void *context),
                               void *context)
{
    size_t size;
    char *text = test_data_read(relative, &size);
    unsigned lines = 0;
    for (char *at = text, *end; at < text + size; at = end + 1) {
        end = memchr(at, '\n', (size_t)(text + size - at));
        if (!end) end = text + size;
        json_t *line = json_loadb(at, (size_t)(end - at), JSON_ALLOW_NUL, NULL);
        assert_non_null(line);
        check(line, context);
        json_decref(line);
        lines++;
    }
    free(text);
    return lines;
}

static void check_vector(const json_t *line, void *context)
{
    const json_t *text = json_object_get(line, "text");
    int32_t ids[8192];
    size_t count = json_ids(json_object_get(line, "ids"), ids, MLT_COUNT(ids));
    expect_ids(context, "cl100k", json_string_value(text), json_string_length(text), 0, ids, count);
}

static void cl100k_ranks_give_reference_ids(void **state)
{
    (void)state;
    json_t *settings = test_data_json("tokenizers/cl100k_base.json");
    const char *pattern = json_string_value(json_object_get(settings, "pattern"));
    struct mlt_tokenizer *tokenizer = open_ranks("tokenizers/cl100k_base.tiktoken", NULL, pattern, false);
    unsigned lines = each_json_line("tokenizers/cl100k_vectors.jsonl", check_vector, tokenizer);
    print_message("cl100k: %u texts\n", lines);
    assert_true(lines > 0);
    mlt_tokenizer_close(&tokenizer);
    json_decref(settings);
}

/* The recorded text shows spaces as U+2581, and the dummy prefix of each part between special tokens with
 * them. */
static size_t plain_text(const struct mlt_tokenizer *tokenizer, const char *shown, char *out)
{
    size_t length = 0;
    bool begin = true; /* of a part */
    while (*shown) {
        bool mark = memcmp(shown, "\xE2\x96\x81", 3) == 0;
        if (mark || *shown == ' ') {
            if (!begin) out[length++] = ' ';
            shown += mark ? 3 : 1;
            begin = false;
            continue;
        }
        begin = false;
        const char *close = *shown == '[' ? strchr(shown, ']') : *shown == '<' ? strchr(shown, '>') : NULL;
        size_t size = close ? (size_t)(close + 1 - shown) : 1;
        int32_t id = close ? mlt_tokenizer_find(tokenizer, shown, size) : -1;
        if (id >= 0 && mlt_tokenizer_type(tokenizer, id) == MLT_TOKEN_BYTE) {
            out[length++] = (char)strtol(shown + 3, NULL, 16);
            shown += size;
            continue;
        }
        if (id < 0) size = 1;
        memcpy(out + length, shown, size);
        length += size;
        shown += size;
        begin = id >= 0 && mlt_tokenizer_type(tokenizer, id) == MLT_TOKEN_CONTROL;
    }
    return length;
}

static void check_mistral(const json_t *line, void *context)
{
    struct mlt_tokenizer **versions = context;
    const char *version = json_string_value(json_object_get(line, "version"));
    const char *shown = json_string_value(json_object_get(line, "text"));
    const struct mlt_tokenizer *tokenizer = versions[version[1] - '1'];
    int32_t ids[8192];
    size_t count = json_ids(json_object_get(line, "ids"), ids, MLT_COUNT(ids));
    char *text = malloc(strlen(shown) + 1);
    size_t length = plain_text(tokenizer, shown, text);
    expect_ids(tokenizer, version, text, length, MLT_TOKENIZE_SPECIAL, ids, count);
    free(text);
}

static void mistral_models_give_reference_ids(void **state)
{
    (void)state;
    struct mlt_tokenizer *versions[3];
    for (int i = 0; i < 3; i++) {
        char path[64];
        snprintf(path, sizeof path, "tokenizers/mistral_v%d.model", i + 1);
        size_t size;
        char *bytes = test_data_read(path, &size);
        struct mlt_vocabulary_file file;
        millet_error err;
        if (mlt_sentencepiece_read(mlt_default_allocator(), bytes, size, &file, &err) ||
            mlt_tokenizer_open(mlt_default_allocator(), &file.spec, &versions[i], &err))
            fail_msg("%s: %s", path, err.message);
        mlt_vocabulary_file_release(&file);
        free(bytes);
    }
    unsigned lines = each_json_line("tokenizers/mistral_golden.jsonl", check_mistral, versions);
    print_message("mistral: %u texts\n", lines);
    assert_true(lines > 0);
    for (int i = 0; i < 3; i++)
        mlt_tokenizer_close(&versions[i]);
}

int main(void)
{
    if (!test_data_root()) return TEST_SKIPPED;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vocabularies_give_reference_ids),
        cmocka_unit_test(other_vocabularies_open),
        cmocka_unit_test(reference_models_give_reference_ids),
        cmocka_unit_test(text_survives_a_round_trip),
        cmocka_unit_test(qwen_ranks_give_reference_ids),
        cmocka_unit_test(cl100k_ranks_give_reference_ids),
        cmocka_unit_test(mistral_models_give_reference_ids),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
