/*
 * Reference vocabularies written as tokenizer.json and read back: the same tokens, and the recorded ids for
 * every text. SentencePiece's scores become ranked merges on the way, as the converters of Hugging Face make
 * them, and scores again.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "import/hf.h"
#include "model/model.h"
#include "support/test_data.h"

#include <stdio.h>
#include <string.h>

#define SPACE "\xE2\x96\x81"

/* A vocabulary as the GGUF file has it. */
struct source {
    const struct mlt_checkpoint *checkpoint;
    size_t n;
    const struct mlt_string *tokens;
    const int32_t *types;
    const float *scores;
    json_t *ids; /* by text */
};

static const struct mlt_meta *array(const struct mlt_checkpoint *checkpoint, const char *name)
{
    char key[64];
    snprintf(key, sizeof key, "tokenizer.ggml.%s", name);
    return mlt_checkpoint_meta(checkpoint, key);
}

static bool starts(const struct mlt_string *text, const char *with)
{
    return strncmp(text->data, with, strlen(with)) == 0;
}

/* The text of a token in tokenizer.json; WordPiece marks the inside of words, GGUF their beginning. */
static json_t *text_of(const struct source *source, size_t i, bool word_piece)
{
    const struct mlt_string *token = &source->tokens[i];
    bool bracketed = token->length > 1 && token->data[0] == '[' && token->data[token->length - 1] == ']';
    if (!word_piece || bracketed) return json_stringn(token->data, token->length);
    if (starts(token, SPACE)) return json_stringn(token->data + 3, token->length - 3);
    char text[512];
    snprintf(text, sizeof text, "##%s", token->data);
    return json_string(text);
}

struct merge {
    uint32_t left, right; /* token ids */
    float score;
    size_t left_length, right_length; /* in characters */
};

static size_t characters(const struct mlt_string *text)
{
    size_t n = 0;
    for (size_t i = 0; i < text->length; i++)
        n += ((uint8_t)text->data[i] & 0xC0) != 0x80;
    return n;
}

/* Best score first; then the longer left half, then the longer right half. */
static int compare_merges(const void *a, const void *b)
{
    const struct merge *left = a, *right = b;
    if (left->score != right->score) return left->score > right->score ? -1 : 1;
    if (left->left_length != right->left_length) return left->left_length > right->left_length ? -1 : 1;
    if (left->right_length != right->right_length) return left->right_length > right->right_length ? -1 : 1;
    return left->left < right->left ? -1 : left->left > right->left;
}

static long long id_of(const struct source *source, const char *text, size_t length)
{
    const json_t *id = json_object_getn(source->ids, text, length);
    return id ? json_integer_value(id) : -1;
}

/* Every way to cut a piece into two pieces, ranked by the piece's score. */
static json_t *ranked_merges(const struct source *source)
{
    size_t capacity = 1 << 22, n = 0;
    struct merge *merges = malloc(capacity * sizeof *merges);
    assert_non_null(merges);
    for (size_t i = 0; i < source->n; i++) {
        if (source->types[i] != MLT_TOKEN_NORMAL) continue;
        const struct mlt_string *piece = &source->tokens[i];
        for (size_t at = 1; at < piece->length; at++) {
            if (((uint8_t)piece->data[at] & 0xC0) == 0x80) continue;
            long long left = id_of(source, piece->data, at);
            long long right = id_of(source, piece->data + at, piece->length - at);
            if (left < 0 || right < 0 || n == capacity) continue;
            merges[n++] =
                (struct merge){(uint32_t)left, (uint32_t)right, source->scores[i],
                               characters(&source->tokens[left]), characters(&source->tokens[right])};
        }
    }
    assert_true(n < capacity);
    qsort(merges, n, sizeof *merges, compare_merges);
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(list, json_pack("[s, s]", source->tokens[merges[i].left].data,
                                              source->tokens[merges[i].right].data));
    free(merges);
    return list;
}

static json_t *given_merges(const struct source *source)
{
    const struct mlt_meta *meta = array(source->checkpoint, "merges");
    const struct mlt_string *merges = meta->value.array;
    json_t *list = json_array();
    for (uint64_t i = 0; i < meta->count; i++)
        json_array_append_new(list, json_stringn(merges[i].data, merges[i].length));
    return list;
}

/* Rows of the embedding without a token: converters made up a text; tokenizer.json leaves their ids out. */
static bool is_padding(const struct source *source, size_t i)
{
    char text[32];
    snprintf(text, sizeof text, "[PAD%zu]", i);
    return strcmp(source->tokens[i].data, text) == 0;
}

/* tokenizer.json of a file; `rules` is the text of normalizer and pre_tokenizer. */
static json_t *tokenizer_json(const struct source *source, const char *kind, const char *rules)
{
    bool word_piece = strcmp(kind, "bert") == 0, pieces = strcmp(kind, "llama") == 0;
    json_error_t error;
    json_t *root = json_loads(rules, 0, &error), *added = json_array(), *vocab = json_object();
    assert_non_null(root);
    for (size_t i = 0; i < source->n; i++) {
        if (is_padding(source, i)) continue;
        json_t *text = text_of(source, i, word_piece);
        assert_non_null(text);
        int type = source->types[i];
        json_object_set_new(vocab, json_string_value(text), json_integer((json_int_t)i));
        if (type == MLT_TOKEN_CONTROL || type == MLT_TOKEN_UNKNOWN || type == MLT_TOKEN_USER_DEFINED)
            json_array_append_new(added, json_pack("{s:i, s:O, s:b}", "id", (int)i, "content", text,
                                                   "special", type != MLT_TOKEN_USER_DEFINED));
        json_decref(text);
    }
    json_t *model = json_pack("{s:s, s:o}", "type", word_piece ? "WordPiece" : "BPE", "vocab", vocab);
    if (pieces) {
        json_object_set_new(model, "byte_fallback", json_true());
        json_object_set_new(model, "unk_token", json_string("<unk>"));
    }
    if (word_piece) json_object_set_new(model, "unk_token", json_string("[UNK]"));
    if (!word_piece)
        json_object_set_new(model, "merges", pieces ? ranked_merges(source) : given_merges(source));
    json_object_set_new(root, "model", model);
    json_object_set_new(root, "added_tokens", added);
    return root;
}

static struct mlt_checkpoint *import_text(json_t *root, uint32_t n_vocab)
{
    /* Through text, as from a file. */
    char *text = json_dumps(root, JSON_COMPACT);
    struct mlt_checkpoint *checkpoint;
    json_t *again;
    millet_error err;
    assert_int_equal(mlt_json_parse("tokenizer.json", 0, text, strlen(text), &again, &err), MILLET_OK);
    struct mlt_hf_tokenizer_files files = {.tokenizer = {again, "tokenizer.json", ""}, .n_vocab = n_vocab};
    files.config = files.special = files.model = files.generation = (struct mlt_json){NULL, "", ""};
    assert_int_equal(mlt_checkpoint_new(mlt_default_allocator(), "folder", "safetensors", &checkpoint, &err),
                     0);
    if (mlt_hf_tokenizer_read(checkpoint, &files, &err) != MILLET_OK ||
        mlt_checkpoint_seal(checkpoint, &err) != MILLET_OK)
        fail_msg("%s: %s", err.item, err.message);
    json_decref(again);
    free(text);
    return checkpoint;
}

/* The same tokens and types. */
static void compare_tokens(const struct source *source, const struct mlt_checkpoint *imported)
{
    const struct mlt_meta *tokens = array(imported, "tokens"), *types = array(imported, "token_type");
    assert_int_equal(tokens->count, source->n);
    const struct mlt_string *texts = tokens->value.array;
    const int32_t *numbers = types->value.array;
    for (size_t i = 0; i < source->n; i++) {
        if (strcmp(texts[i].data, source->tokens[i].data) != 0)
            fail_msg("token %zu is %s, not %s", i, texts[i].data, source->tokens[i].data);
        /* One of the files has the unknown token as a control token. */
        int32_t type = source->types[i];
        if (strcmp(texts[i].data, "<unk>") == 0) type = MLT_TOKEN_UNKNOWN;
        if (is_padding(source, i)) type = MLT_TOKEN_UNUSED;
        if (numbers[i] != type) fail_msg("token %zu has type %d", i, numbers[i]);
    }
}

struct scored {
    float before, after;
};

static int compare_scored(const void *a, const void *b)
{
    float left = ((const struct scored *)a)->before, right = ((const struct scored *)b)->before;
    return left > right ? -1 : left < right;
}

/* Pieces that are merged keep their order. Runs of spaces, which share one score below all others, need not.
 */
static void compare_scores(const struct source *source, const struct mlt_checkpoint *imported)
{
    const float *found = array(imported, "scores")->value.array;
    struct scored *pieces = malloc(source->n * sizeof *pieces);
    size_t n = 0;
    assert_non_null(pieces);
    for (size_t i = 0; i < source->n; i++)
        if (source->types[i] == MLT_TOKEN_NORMAL && characters(&source->tokens[i]) > 1 &&
            source->scores[i] > -1e8f)
            pieces[n++] = (struct scored){source->scores[i], found[i]};
    qsort(pieces, n, sizeof *pieces, compare_scored);
    assert_true(n > 20000);
    for (size_t i = 1; i < n; i++)
        assert_true(pieces[i].before < pieces[i - 1].before && pieces[i].after < pieces[i - 1].after);
    free(pieces);
}

/* Every text of NAME.inp gives the ids of NAME.out. */
static void check_ids(const struct mlt_checkpoint *checkpoint, const char *name)
{
    static const char separator[] = "\n__ggml_vocab_test__\n";
    char path[128];
    size_t size, out_size, n = 0;
    snprintf(path, sizeof path, "tokenizers/%s.gguf.inp", name);
    char *texts = test_data_read(path, &size);
    snprintf(path, sizeof path, "tokenizers/%s.gguf.out", name);
    char *lines = test_data_read(path, &out_size);
    struct mlt_tokenizer *tokenizer;
    int32_t bos, eos;
    bool add_bos, add_eos;
    millet_error err;
    if (mlt_vocabulary_open(mlt_default_allocator(), checkpoint, &tokenizer, &bos, &eos, &add_bos, &add_eos,
                            &err) != MILLET_OK)
        fail_msg("%s: %s", err.item, err.message);
    const char *text = texts, *line = lines;
    while (text && line < lines + out_size) {
        const char *end = strstr(text, separator);
        size_t length = end ? (size_t)(end - text) : 0;
        if (!end) break;
        int32_t *ids;
        size_t count;
        assert_int_equal(
            mlt_tokenize(tokenizer, mlt_default_allocator(), text, length, 0, &ids, &count, &err), MILLET_OK);
        for (size_t i = 0; i < count; i++) {
            char *after;
            long wanted = strtol(line, &after, 10);
            if (after == line || wanted != ids[i])
                fail_msg("%s: text %zu, id %zu: %d, not %ld", name, n, i, ids[i], wanted);
            line = after;
        }
        while (*line == ' ')
            line++;
        assert_int_equal(*line, '\n');
        line++;
        mlt_free(mlt_default_allocator(), ids);
        text = end + sizeof separator - 1;
        n++;
    }
    assert_true(n > 20);
    mlt_tokenizer_close(&tokenizer);
    free(texts);
    free(lines);
}

#define SPLIT(regex)                                                                                         \
    "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"" regex "\"},\"behavior\":\"Isolated\",\"invert\":false},"
#define BYTE_DECODER "\"decoder\":{\"type\":\"ByteLevel\"}"
#define LLAMA_NORMALIZER                                                                                     \
    "\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Prepend\",\"prepend\":\"" SPACE      \
    "\"},{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"" SPACE "\"}]}"

static const struct {
    const char *name, *kind, *pre, *rules;
} files[] = {
    {"gpt-2", "gpt2", "gpt-2",
     "{\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false}," BYTE_DECODER "}"},
    {"mpt", "gpt2", "olmo",
     "{\"normalizer\":{\"type\":\"NFC\"},\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":"
     "false}," BYTE_DECODER "}"},
    {"starcoder", "gpt2", "starcoder",
     "{\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Digits\",\"individual_"
     "digits\":true},"
     "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":true}]}," BYTE_DECODER "}"},
    {"deepseek-llm", "gpt2", "deepseek-llm",
     "{\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[" SPLIT("[\\r\\n]")
         SPLIT("\\\\s?[A-Za-z\u00B5\u00C0-\u00D6]+") SPLIT("\\\\s?[!-/:-~\uFF01-\uFF0F]+") SPLIT("\\\\s+$")
             SPLIT("[\u4E00-\u9FA5\u0800-\u4E00\uAC00-\uD7FF]+") "{\"type\":\"Digits\",\"individual_digits\":"
                                                                 "true},{\"type\":\"ByteLevel\",\"use_"
                                                                 "regex\":false}]}," BYTE_DECODER "}"},
    {"llama-spm", "llama", "default", "{" LLAMA_NORMALIZER "}"},
    {"phi-3", "llama", "default", "{" LLAMA_NORMALIZER "}"},
    {"bert-bge", "bert", "default",
     "{\"normalizer\":{\"type\":\"BertNormalizer\",\"lowercase\":true},\"pre_tokenizer\":{\"type\":"
     "\"BertPreTokenizer\"}}"},
};

static void test_vocabularies(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char path[128];
        struct mlt_checkpoint *checkpoint;
        millet_error err;
        printf("%s\n", files[i].name);
        snprintf(path, sizeof path, "tokenizers/%s.gguf", files[i].name);
        assert_int_equal(
            mlt_checkpoint_open(mlt_default_allocator(), test_data_path(path), NULL, &checkpoint, &err),
            MILLET_OK);
        struct source source = {.checkpoint = checkpoint, .ids = json_object()};
        source.tokens = array(checkpoint, "tokens")->value.array;
        source.n = (size_t)array(checkpoint, "tokens")->count;
        source.types = array(checkpoint, "token_type")->value.array;
        const struct mlt_meta *scores = array(checkpoint, "scores");
        source.scores = scores ? scores->value.array : NULL;
        for (size_t k = 0; k < source.n; k++)
            json_object_set_new(source.ids, source.tokens[k].data, json_integer((json_int_t)k));
        json_t *root = tokenizer_json(&source, files[i].kind, files[i].rules);
        struct mlt_checkpoint *imported = import_text(root, (uint32_t)source.n);
        assert_string_equal(array(imported, "model")->value.string.data, files[i].kind);
        assert_string_equal(array(imported, "pre")->value.string.data, files[i].pre);
        compare_tokens(&source, imported);
        if (scores) compare_scores(&source, imported);
        check_ids(imported, files[i].name);
        mlt_checkpoint_close(&imported);
        mlt_checkpoint_close(&checkpoint);
        json_decref(source.ids);
        json_decref(root);
    }
}

int main(void)
{
    if (!test_data_root()) return TEST_SKIPPED;
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_vocabularies)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
