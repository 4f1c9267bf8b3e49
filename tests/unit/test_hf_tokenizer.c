/*
 * tokenizer.json to GGUF keys, on small vocabularies written here: what the keys say, what the tokenizer made
 * of them does, and that what cannot be said is refused.
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

#include <stdio.h>
#include <string.h>

#define SPACE "\xE2\x96\x81"

/* The texts of the files; NULL: there is none. */
struct texts {
    const char *tokenizer, *config, *special, *model, *generation, *chat_template;
};

static struct mlt_json json_of(const char *file, const char *text)
{
    json_t *root = NULL;
    millet_error err;
    if (text && mlt_json_parse(file, 0, text, strlen(text), &root, &err) != MILLET_OK)
        fail_msg("%s: %s: %s", file, err.message, text);
    return (struct mlt_json){root, file, ""};
}

static millet_status read_texts(const struct texts *texts, uint32_t n_vocab, struct mlt_checkpoint **out,
                                millet_error *err)
{
    struct mlt_hf_tokenizer_files files = {
        .tokenizer = json_of("tokenizer.json", texts->tokenizer),
        .config = json_of("tokenizer_config.json", texts->config),
        .special = json_of("special_tokens_map.json", texts->special),
        .model = json_of("config.json", texts->model),
        .generation = json_of("generation_config.json", texts->generation),
        .template_text = texts->chat_template,
        .template_length = texts->chat_template ? strlen(texts->chat_template) : 0,
        .n_vocab = n_vocab,
    };
    memset(err, 0, sizeof *err);
    assert_int_equal(mlt_checkpoint_new(mlt_default_allocator(), "folder", "safetensors", out, err), 0);
    millet_status status = mlt_hf_tokenizer_read(*out, &files, err);
    if (status == MILLET_OK) status = mlt_checkpoint_seal(*out, err);
    const struct mlt_json *all[] = {&files.tokenizer, &files.config, &files.special, &files.model,
                                    &files.generation};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        json_decref((json_t *)(uintptr_t)all[i]->object);
    if (status != MILLET_OK) mlt_checkpoint_close(out);
    return status;
}

static struct mlt_checkpoint *must_read(const struct texts *texts, uint32_t n_vocab)
{
    struct mlt_checkpoint *checkpoint;
    millet_error err;
    if (read_texts(texts, n_vocab, &checkpoint, &err) != MILLET_OK) fail_msg("%s: %s", err.item, err.message);
    return checkpoint;
}

static const char *text_of(const struct mlt_checkpoint *checkpoint, const char *key)
{
    const struct mlt_meta *meta = mlt_checkpoint_meta(checkpoint, key);
    return meta && meta->type == MLT_META_STRING ? meta->value.string.data : "(none)";
}

static long long number_of(const struct mlt_checkpoint *checkpoint, const char *key)
{
    const struct mlt_meta *meta = mlt_checkpoint_meta(checkpoint, key);
    return meta ? (long long)meta->value.u : -1;
}

static const struct mlt_meta *array_of(const struct mlt_checkpoint *checkpoint, const char *key,
                                       uint64_t count)
{
    const struct mlt_meta *meta = mlt_checkpoint_meta(checkpoint, key);
    assert_non_null(meta);
    assert_int_equal(meta->type, MLT_META_ARRAY);
    assert_int_equal(meta->count, count);
    return meta;
}

static const char *token_at(const struct mlt_checkpoint *checkpoint, size_t i)
{
    return ((const struct mlt_string *)mlt_checkpoint_meta(checkpoint, "tokenizer.ggml.tokens")
                ->value.array)[i]
        .data;
}

static int type_at(const struct mlt_checkpoint *checkpoint, size_t i)
{
    return ((const int32_t *)mlt_checkpoint_meta(checkpoint, "tokenizer.ggml.token_type")->value.array)[i];
}

static float score_at(const struct mlt_checkpoint *checkpoint, size_t i)
{
    return ((const float *)mlt_checkpoint_meta(checkpoint, "tokenizer.ggml.scores")->value.array)[i];
}

/* Tokenises with the tokenizer that the keys describe; the ids as text, "1 2 3". */
static const char *tokenized(const struct mlt_checkpoint *checkpoint, const char *text, unsigned flags)
{
    static char out[512];
    struct mlt_tokenizer *tokenizer;
    int32_t bos, eos, *ids;
    bool add_bos, add_eos;
    size_t count, length = 0;
    millet_error err = {0};
    if (mlt_vocabulary_open(mlt_default_allocator(), checkpoint, &tokenizer, &bos, &eos, &add_bos, &add_eos,
                            &err) != MILLET_OK)
        fail_msg("%s: %s", err.item, err.message);
    assert_int_equal(
        mlt_tokenize(tokenizer, mlt_default_allocator(), text, strlen(text), flags, &ids, &count, &err),
        MILLET_OK);
    out[0] = 0;
    for (size_t i = 0; i < count; i++)
        length += (size_t)snprintf(out + length, sizeof out - length, "%s%d", i ? " " : "", ids[i]);
    mlt_free(mlt_default_allocator(), ids);
    mlt_tokenizer_close(&tokenizer);
    return out;
}

/* ---- Byte-level BPE ---- */

/* A tokenizer of a few letters; rest: pre_tokenizer and whatever else. */
static const char *letters(const char *model_options, const char *rest)
{
    static char text[8192];
    snprintf(
        text, sizeof text,
        "{\"model\":{\"type\":\"BPE\",%s\"vocab\":{\"a\":0,\"b\":1,\"c\":2,\"\xC4\xA0\":3,\"ab\":4,\"abc\":5,"
        "\"x\":6,\"1\":7},\"merges\":[\"a b\",\"ab c\"]},%s,\"decoder\":{\"type\":\"ByteLevel\"},"
        "\"added_tokens\":[{\"id\":8,\"content\":\"<|end|>\",\"special\":true},"
        "{\"id\":9,\"content\":\"<tool>\",\"special\":false,\"rstrip\":true}]}",
        model_options, rest);
    return text;
}

#define BYTE_LEVEL(options) "\"pre_tokenizer\":{\"type\":\"ByteLevel\"" options "}"

static void test_byte_level(void **state)
{
    (void)state;
    struct texts texts = {.tokenizer = letters("", BYTE_LEVEL(""))};
    struct mlt_checkpoint *checkpoint = must_read(&texts, 12);
    assert_string_equal(text_of(checkpoint, "tokenizer.ggml.model"), "gpt2");
    assert_string_equal(text_of(checkpoint, "tokenizer.ggml.pre"), "gpt-2");
    array_of(checkpoint, "tokenizer.ggml.tokens", 12);
    static const int types[] = {1, 1, 1, 1, 1, 1, 1, 1, 3, 4, 5, 5};
    for (size_t i = 0; i < 12; i++)
        assert_int_equal(type_at(checkpoint, i), types[i]);
    assert_string_equal(token_at(checkpoint, 5), "abc");
    assert_string_equal(token_at(checkpoint, 9), "<tool>");
    assert_string_equal(token_at(checkpoint, 10), "[PAD10]");
    assert_null(mlt_checkpoint_meta(checkpoint, "tokenizer.ggml.scores"));
    assert_null(mlt_checkpoint_meta(checkpoint, "millet.tokenizer.pattern"));
    const struct mlt_string *merges = array_of(checkpoint, "tokenizer.ggml.merges", 2)->value.array;
    assert_string_equal(merges[0].data, "a b");
    assert_string_equal(merges[1].data, "ab c");
    const uint8_t *strip = array_of(checkpoint, "millet.tokenizer.strip", 12)->value.array;
    assert_int_equal(strip[8], 0);
    assert_int_equal(strip[9], 2);
    assert_string_equal(tokenized(checkpoint, "abc ab", 0), "5 3 4");
    assert_string_equal(tokenized(checkpoint, "a<|end|>b", MLT_TOKENIZE_SPECIAL), "0 8 1");
    mlt_checkpoint_close(&checkpoint);
}

static void test_merge_forms(void **state)
{
    (void)state;
    static const char *const forms[] = {
        "[\"a b\",\"ab c\"]",
        "[[\"a\",\"b\"],[\"ab\",\"c\"]]",
        "[[\"a\",\"b\"],\"ab c\"]",
    };
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        char text[1024];
        snprintf(text, sizeof text,
                 "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"c\":2,\"ab\":3,\"abc\":4},"
                 "\"merges\":%s}," BYTE_LEVEL("") "}",
                 forms[i]);
        struct texts texts = {.tokenizer = text};
        struct mlt_checkpoint *checkpoint = must_read(&texts, 5);
        const struct mlt_string *merges = array_of(checkpoint, "tokenizer.ggml.merges", 2)->value.array;
        assert_string_equal(merges[0].data, "a b");
        assert_string_equal(merges[1].data, "ab c");
        mlt_checkpoint_close(&checkpoint);
    }
    /* A space inside a half, which only pairs can say, is written as byte-level BPE writes it. */
    struct texts texts = {.tokenizer =
                              "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"\xC4\xA0\":1,\"\xC4\xA0"
                              "a\":2},\"merges\":[[\" \",\"a\"]]}," BYTE_LEVEL("") "}"};
    struct mlt_checkpoint *checkpoint = must_read(&texts, 3);
    const struct mlt_string *merges = array_of(checkpoint, "tokenizer.ggml.merges", 1)->value.array;
    assert_string_equal(merges[0].data, "\xC4\xA0 a");
    mlt_checkpoint_close(&checkpoint);
}

#define CONTRACTIONS_JSON "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define WORDS_JSON "[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+"
#define REST_JSON " ?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+"
#define LLAMA3_JSON CONTRACTIONS_JSON "|" WORDS_JSON "|\\\\p{N}{1,3}|" REST_JSON
#define QWEN2_JSON CONTRACTIONS_JSON "|" WORDS_JSON "|\\\\p{N}|" REST_JSON
#define SPLIT(regex)                                                                                         \
    "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"" regex "\"},\"behavior\":\"Isolated\",\"invert\":false}"
#define RAW_BYTES "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false}"
#define SEQUENCE(...) "\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[" __VA_ARGS__ "]}"
#define NFC ",\"normalizer\":{\"type\":\"NFC\"}"

#define PLAIN_BYTES "{\"type\":\"ByteLevel\",\"add_prefix_space\":false}"
#define DIGITS(each) "{\"type\":\"Digits\",\"individual_digits\":" each "}"
#define HAN "[\u4E00-\u9FA5\u0800-\u4E00\uAC00-\uD7FF]+"
/* With the lists of letters cut short, which are not compared. */
#define DEEPSEEK_LLM                                                                                         \
    SPLIT("[\\r\\n]")                                                                                        \
    "," SPLIT("\\\\s?[A-Za-z\u00B5]+") "," SPLIT("\\\\s?[!-/:-~\uFF01]+") "," SPLIT("\\\\s+$") "," SPLIT(HAN)

static void test_pre_tokenisers(void **state)
{
    (void)state;
    static const struct {
        const char *options, *rest, *pre;
    } cases[] = {
        {"", BYTE_LEVEL(""), "gpt-2"},
        {"", BYTE_LEVEL(",\"add_prefix_space\":false,\"trim_offsets\":true,\"use_regex\":true"), "gpt-2"},
        {"", BYTE_LEVEL("") NFC, "olmo"},
        {"\"ignore_merges\":true,", SEQUENCE(SPLIT(LLAMA3_JSON) "," RAW_BYTES), "llama-bpe"},
        {"", SEQUENCE(SPLIT(LLAMA3_JSON) "," RAW_BYTES), "dbrx"},
        {"", SEQUENCE(SPLIT(QWEN2_JSON) "," RAW_BYTES) NFC, "qwen2"},
        {"", SEQUENCE(SPLIT(QWEN2_JSON) "," RAW_BYTES), "stablelm2"},
        {"",
         SEQUENCE(SPLIT(QWEN2_JSON) "," RAW_BYTES) ",\"normalizer\":{\"type\":\"Sequence\","
                                                   "\"normalizers\":[{\"type\":\"NFC\"}]}",
         "qwen2"},
        {"", SEQUENCE(DIGITS("true") "," PLAIN_BYTES), "starcoder"},
        {"",
         SEQUENCE("{\"type\":\"Punctuation\",\"behavior\":\"Contiguous\"}," PLAIN_BYTES
                  "," DIGITS("false") "," SPLIT("[0-9][0-9][0-9]")),
         "falcon"},
        {"",
         SEQUENCE(SPLIT("[\\r\\n]") "," SPLIT("\\\\s?\\\\p{L}+") "," SPLIT("\\\\s?\\\\p{P}+") "," SPLIT(
             HAN) "," DIGITS("true") "," RAW_BYTES),
         "deepseek-coder"},
        {"", SEQUENCE(DEEPSEEK_LLM "," DIGITS("true") "," RAW_BYTES), "deepseek-llm"},
        {"", SEQUENCE(DEEPSEEK_LLM "," DIGITS("false") "," RAW_BYTES), "deepseek-llm"},
        /* Removing what is between the matches is the same here. */
        {"",
         SEQUENCE("{\"type\":\"Split\",\"pattern\":{\"Regex\":\"" LLAMA3_JSON
                  "\"},\"behavior\":\"Removed\",\"invert\":true}," RAW_BYTES),
         "dbrx"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct texts texts = {.tokenizer = letters(cases[i].options, cases[i].rest)};
        struct mlt_checkpoint *checkpoint = must_read(&texts, 10);
        if (strcmp(text_of(checkpoint, "tokenizer.ggml.pre"), cases[i].pre) != 0)
            fail_msg("%s: %s, not %s", cases[i].rest, text_of(checkpoint, "tokenizer.ggml.pre"),
                     cases[i].pre);
        assert_null(mlt_checkpoint_meta(checkpoint, "millet.tokenizer.pattern"));
        assert_int_equal(number_of(checkpoint, "millet.tokenizer.nfc"), strstr(cases[i].rest, "NFC") != NULL);
        assert_int_equal(number_of(checkpoint, "millet.tokenizer.ignore_merges"), cases[i].options[0] != 0);
        tokenized(checkpoint, "abc", 0); /* the tokenizer knows the name */
        mlt_checkpoint_close(&checkpoint);
    }
}

static void test_own_pattern(void **state)
{
    (void)state;
    struct texts texts = {.tokenizer = letters("", SEQUENCE(SPLIT("x|[^x]+") "," RAW_BYTES))};
    struct mlt_checkpoint *checkpoint = must_read(&texts, 10);
    assert_string_equal(text_of(checkpoint, "tokenizer.ggml.pre"), "default");
    assert_string_equal(text_of(checkpoint, "millet.tokenizer.pattern"), "x|[^x]+");
    assert_string_equal(tokenized(checkpoint, "abxabc", 0), "4 6 5");
    mlt_checkpoint_close(&checkpoint);

    /* The pattern decides where merges may happen. */
    texts.tokenizer = letters("", SEQUENCE(SPLIT("a|bc") "," RAW_BYTES));
    checkpoint = must_read(&texts, 10);
    assert_string_equal(tokenized(checkpoint, "abc", 0), "0 1 2");
    mlt_checkpoint_close(&checkpoint);
}

/* ---- SentencePiece's BPE ---- */

#define PIECES                                                                                               \
    "\"vocab\":{\"<unk>\":0,\"<s>\":1,\"</s>\":2,\"<0x0A>\":3,\"<0x41>\":4,\"" SPACE                         \
    "\":5,\"a\":6,\"b\":7,\"c\":8,"                                                                          \
    "\"" SPACE "a\":9,\"ab\":10,\"" SPACE "ab\":11,\"bc\":12}"

static const char *pieces(const char *rest)
{
    static char text[4096];
    snprintf(
        text, sizeof text,
        "{\"model\":{\"type\":\"BPE\",\"unk_token\":\"<unk>\",\"byte_fallback\":true," PIECES
        ",\"merges\":[\"b c\",\"" SPACE " a\",\"a b\",\"" SPACE " ab\",\"" SPACE "a b\"]},"
        "\"added_tokens\":[{\"id\":0,\"content\":\"<unk>\",\"special\":true},"
        "{\"id\":1,\"content\":\"<s>\",\"special\":true},{\"id\":2,\"content\":\"</s>\",\"special\":true},"
        "{\"id\":13,\"content\":\"" SPACE "=" SPACE "\",\"special\":false}]%s}",
        rest);
    return text;
}

#define PREPEND                                                                                              \
    ",\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Prepend\",\"prepend\":\"" SPACE     \
    "\"},"                                                                                                   \
    "{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"" SPACE "\"}]}"
#define REPLACE                                                                                              \
    ",\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"" SPACE "\"}"

static void test_sentence_piece(void **state)
{
    (void)state;
    struct texts texts = {.tokenizer = pieces(PREPEND)};
    struct mlt_checkpoint *checkpoint = must_read(&texts, 15);
    assert_string_equal(text_of(checkpoint, "tokenizer.ggml.model"), "llama");
    assert_string_equal(text_of(checkpoint, "tokenizer.ggml.pre"), "default");
    assert_int_equal(number_of(checkpoint, "tokenizer.ggml.add_space_prefix"), 1);
    assert_int_equal(number_of(checkpoint, "tokenizer.ggml.unknown_token_id"), 0);
    static const int types[] = {2, 3, 3, 6, 6, 1, 1, 1, 1, 1, 1, 1, 1, 4, 5};
    for (size_t i = 0; i < 15; i++)
        assert_int_equal(type_at(checkpoint, i), types[i]);
    assert_string_equal(token_at(checkpoint, 13), " = "); /* spaces of user-defined tokens are spaces */
    assert_null(mlt_checkpoint_meta(checkpoint, "tokenizer.ggml.merges"));
    /* In the order in which the merges make them, both ways to one piece counting once. */
    assert_true(score_at(checkpoint, 12) == 0);
    assert_true(score_at(checkpoint, 9) == -1);
    assert_true(score_at(checkpoint, 10) == -2);
    assert_true(score_at(checkpoint, 11) == -3);
    assert_true(score_at(checkpoint, 6) < -3);
    /* "bc" wins over "ab" wherever both are possible; unknown letters become bytes. */
    assert_string_equal(tokenized(checkpoint, "abc", 0), "9 12");
    assert_string_equal(tokenized(checkpoint, "ab", 0), "11");
    assert_string_equal(tokenized(checkpoint, "aA", 0), "9 4");
    mlt_checkpoint_close(&checkpoint);

    texts.tokenizer = pieces(REPLACE);
    checkpoint = must_read(&texts, 14);
    assert_int_equal(number_of(checkpoint, "tokenizer.ggml.add_space_prefix"), 0);
    assert_string_equal(tokenized(checkpoint, "abc", 0), "6 12");
    mlt_checkpoint_close(&checkpoint);
}

static void test_metaspace(void **state)
{
    (void)state;
    static const struct {
        const char *step;
        int prefix;
    } cases[] = {
        {"{\"type\":\"Metaspace\",\"replacement\":\"" SPACE
         "\",\"prepend_scheme\":\"first\",\"split\":false}",
         1},
        {"{\"type\":\"Metaspace\",\"replacement\":\"" SPACE "\",\"prepend_scheme\":\"always\"}", 1},
        {"{\"type\":\"Metaspace\",\"replacement\":\"" SPACE "\",\"prepend_scheme\":\"never\"}", 0},
        {"{\"type\":\"Metaspace\",\"replacement\":\"" SPACE "\",\"add_prefix_space\":true}", 1},
        {"{\"type\":\"Metaspace\",\"replacement\":\"" SPACE "\",\"add_prefix_space\":false}", 0},
        {"{\"type\":\"Split\",\"pattern\":{\"String\":\" \"},\"behavior\":\"MergedWithPrevious\"}", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char rest[512];
        snprintf(rest, sizeof rest, "%s,\"pre_tokenizer\":%s", strstr(cases[i].step, "Split") ? REPLACE : "",
                 cases[i].step);
        struct texts texts = {.tokenizer = pieces(rest)};
        struct mlt_checkpoint *checkpoint = must_read(&texts, 14);
        assert_int_equal(number_of(checkpoint, "tokenizer.ggml.add_space_prefix"), cases[i].prefix);
        mlt_checkpoint_close(&checkpoint);
    }
}

/* ---- Unigram and WordPiece ---- */

static void test_unigram(void **state)
{
    (void)state;
    struct texts texts = {
        .tokenizer =
            "{\"model\":{\"type\":\"Unigram\",\"unk_id\":2,\"vocab\":[[\"<pad>\",0.0],[\"</s>\",0.0],"
            "[\"<unk>\",0],[\"" SPACE "\",-2.5],[\"a\",-3],[\"b\",-3],[\"ab\",-5.5],[\"" SPACE "a\",-4]]},"
            "\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Precompiled\","
            "\"precompiled_charsmap\":\"AAAAAA==\"},{\"type\":\"Replace\",\"pattern\":{\"Regex\":\" "
            "{2,}\"},\"content\":\" \"}]},\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":"
            "\"" SPACE "\",\"add_prefix_space\":true},\"added_tokens\":[{\"id\":0,\"content\":\"<pad>\","
            "\"special\":true},{\"id\":1,\"content\":\"</s>\",\"special\":true},{\"id\":2,"
            "\"content\":\"<unk>\",\"special\":true}],\"post_processor\":{\"type\":"
            "\"TemplateProcessing\",\"single\":[{\"Sequence\":{\"id\":\"A\"}},{\"SpecialToken\":"
            "{\"id\":\"</s>\"}}]}}",
        .config = "{\"eos_token\":\"</s>\",\"pad_token\":\"<pad>\",\"unk_token\":\"<unk>\"}",
    };
    struct mlt_checkpoint *checkpoint = must_read(&texts, 8);
    assert_string_equal(text_of(checkpoint, "tokenizer.ggml.model"), "t5");
    assert_int_equal(type_at(checkpoint, 0), 3);
    assert_int_equal(type_at(checkpoint, 2), 2);
    assert_true(score_at(checkpoint, 6) == -5.5f);
    assert_int_equal(number_of(checkpoint, "tokenizer.ggml.unknown_token_id"), 2);
    assert_int_equal(number_of(checkpoint, "tokenizer.ggml.eos_token_id"), 1);
    assert_int_equal(number_of(checkpoint, "tokenizer.ggml.add_eos_token"), 1);
    assert_int_equal(number_of(checkpoint, "tokenizer.ggml.add_bos_token"), 0);
    assert_int_equal(number_of(checkpoint, "tokenizer.ggml.remove_extra_whitespaces"), 1);
    const struct mlt_meta *map = array_of(checkpoint, "tokenizer.ggml.precompiled_charsmap", 4);
    assert_memory_equal(map->value.array, "\0\0\0\0", 4);
    /* The best path: -4 - 3 against -2.5 - 5.5. */
    assert_string_equal(tokenized(checkpoint, "ab", 0), "7 5");
    mlt_checkpoint_close(&checkpoint);
}

static void test_word_piece(void **state)
{
    (void)state;
    struct texts texts = {
        .tokenizer =
            "{\"model\":{\"type\":\"WordPiece\",\"unk_token\":\"[UNK]\",\"continuing_subword_prefix\":"
            "\"##\",\"vocab\":{\"[PAD]\":0,\"[UNK]\":1,\"[CLS]\":2,\"[SEP]\":3,\"ab\":4,\"##c\":5,"
            "\"c\":6,\"#\":7}},\"normalizer\":{\"type\":\"BertNormalizer\",\"lowercase\":true},"
            "\"pre_tokenizer\":{\"type\":\"BertPreTokenizer\"},\"post_processor\":{\"type\":"
            "\"BertProcessing\",\"sep\":[\"[SEP]\",3],\"cls\":[\"[CLS]\",2]}}",
    };
    struct mlt_checkpoint *checkpoint = must_read(&texts, 8);
    assert_string_equal(text_of(checkpoint, "tokenizer.ggml.model"), "bert");
    assert_string_equal(token_at(checkpoint, 1), "[UNK]");
    assert_string_equal(token_at(checkpoint, 4), SPACE "ab");
    assert_string_equal(token_at(checkpoint, 5), "c");
    assert_string_equal(token_at(checkpoint, 7), SPACE "#");
    assert_int_equal(number_of(checkpoint, "tokenizer.ggml.cls_token_id"), 2);
    assert_int_equal(number_of(checkpoint, "tokenizer.ggml.seperator_token_id"), 3);
    assert_int_equal(number_of(checkpoint, "tokenizer.ggml.unknown_token_id"), 1);
    assert_int_equal(number_of(checkpoint, "millet.tokenizer.lowercase"), 1);
    assert_string_equal(tokenized(checkpoint, "ABC c abd", 0), "4 5 6 1");
    mlt_checkpoint_close(&checkpoint);
}

/* ---- Special tokens ---- */

#define TEMPLATE(single)                                                                                     \
    ",\"post_processor\":{\"type\":\"Sequence\",\"processors\":[{\"type\":\"ByteLevel\"},"                   \
    "{\"type\":\"TemplateProcessing\",\"single\":[" single "]}]}"
#define TOKEN(text) "{\"SpecialToken\":{\"id\":\"" text "\",\"type_id\":0}}"
#define TEXT_A "{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}"

static void test_special_ids(void **state)
{
    (void)state;
    static const struct {
        const char *rest, *config, *special, *model, *generation;
        long long bos, eos, eot, add_bos, add_eos;
    } cases[] = {
        /* Nothing is said. */
        {"", NULL, NULL, NULL, NULL, -1, -1, -1, 0, 0},
        /* By text in tokenizer_config.json, as a string and as an object. */
        {"", "{\"bos_token\":\"<s>\",\"eos_token\":{\"content\":\"</s>\"}}", NULL, NULL, NULL, 1, 2, -1, 0,
         0},
        {"", NULL, "{\"bos_token\":\"<s>\",\"eos_token\":{\"content\":\"</s>\"}}", NULL, NULL, 1, 2, -1, 0,
         0},
        /* By number in config.json; a list's first is the one, its second ends a turn. */
        {"", NULL, NULL, "{\"bos_token_id\":1,\"eos_token_id\":2}", NULL, 1, 2, -1, 0, 0},
        {"", NULL, NULL, "{\"eos_token_id\":[2,13]}", NULL, -1, 2, 13, 0, 0},
        {"", "{\"eos_token\":\"</s>\"}", NULL, NULL, "{\"eos_token_id\":[13,2]}", -1, 2, 13, 0, 0},
        {"", NULL, NULL, "{\"eos_token_id\":99,\"bos_token_id\":-1}", NULL, -1, -1, -1, 0, 0},
        /* The template adds. */
        {TEMPLATE(TOKEN("<s>") "," TEXT_A), NULL, NULL, NULL, NULL, 1, -1, -1, 1, 0},
        {TEMPLATE(TOKEN("<s>") "," TEXT_A), "{\"bos_token\":\"<s>\"}", NULL, NULL, NULL, 1, -1, -1, 1, 0},
        {TEMPLATE(TEXT_A "," TOKEN("</s>")), "{\"eos_token\":\"</s>\"}", NULL, NULL, NULL, -1, 2, -1, 0, 1},
        {TEMPLATE(TEXT_A), "{\"bos_token\":\"<s>\"}", NULL, NULL, NULL, 1, -1, -1, 0, 0},
        /* What the file says outright counts more. */
        {TEMPLATE(TOKEN("<s>") "," TEXT_A), "{\"bos_token\":\"<s>\",\"add_bos_token\":false}", NULL, NULL,
         NULL, 1, -1, -1, 0, 0},
        {"", "{\"bos_token\":\"<s>\",\"add_bos_token\":true,\"add_eos_token\":true}", NULL, NULL, NULL, 1, -1,
         -1, 1, 0},
        /* An end that is not EOS becomes it. */
        {TEMPLATE(TEXT_A "," TOKEN("</s>")), "{\"eos_token\":\"<unk>\"}", NULL, NULL, NULL, -1, 2, 0, 0, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char rest[1024];
        snprintf(rest, sizeof rest, "%s%s", PREPEND, cases[i].rest);
        struct texts texts = {pieces(rest),   cases[i].config,     cases[i].special,
                              cases[i].model, cases[i].generation, NULL};
        struct mlt_checkpoint *checkpoint = must_read(&texts, 14);
        long long found[] = {number_of(checkpoint, "tokenizer.ggml.bos_token_id"),
                             number_of(checkpoint, "tokenizer.ggml.eos_token_id"),
                             number_of(checkpoint, "tokenizer.ggml.eot_token_id"),
                             number_of(checkpoint, "tokenizer.ggml.add_bos_token"),
                             number_of(checkpoint, "tokenizer.ggml.add_eos_token")};
        long long wanted[] = {cases[i].bos, cases[i].eos, cases[i].eot, cases[i].add_bos, cases[i].add_eos};
        for (size_t k = 0; k < 5; k++)
            if (found[k] != wanted[k])
                fail_msg("case %zu, value %zu: %lld, not %lld", i, k, found[k], wanted[k]);
        mlt_checkpoint_close(&checkpoint);
    }
}

static void test_chat_templates(void **state)
{
    (void)state;
    struct texts texts = {.tokenizer = pieces(PREPEND), .config = "{\"chat_template\":\"{{ one }}\"}"};
    struct mlt_checkpoint *checkpoint = must_read(&texts, 14);
    assert_string_equal(text_of(checkpoint, "tokenizer.chat_template"), "{{ one }}");
    mlt_checkpoint_close(&checkpoint);

    texts.config = "{\"chat_template\":[{\"name\":\"default\",\"template\":\"D\"},"
                   "{\"name\":\"tool_use\",\"template\":\"T\"}]}";
    checkpoint = must_read(&texts, 14);
    assert_string_equal(text_of(checkpoint, "tokenizer.chat_template"), "D");
    assert_string_equal(text_of(checkpoint, "tokenizer.chat_template.tool_use"), "T");
    mlt_checkpoint_close(&checkpoint);

    texts.config = "{}";
    texts.chat_template = "{{ file }}";
    checkpoint = must_read(&texts, 14);
    assert_string_equal(text_of(checkpoint, "tokenizer.chat_template"), "{{ file }}");
    mlt_checkpoint_close(&checkpoint);
}

/* ---- Refusals ---- */

#define MODEL(options) "{\"model\":{\"type\":\"BPE\"," options "}," BYTE_LEVEL("") "}"

static void test_refusals(void **state)
{
    (void)state;
    static const struct {
        const char *tokenizer;
        millet_status status;
        const char *word; /* in message or item */
    } cases[] = {
        {"{}", MILLET_BAD_FORMAT, "model"},
        {"{\"model\":[]}", MILLET_BAD_FORMAT, "model"},
        {"{\"model\":{}}", MILLET_UNSUPPORTED, "known"},
        {"{\"model\":{\"type\":\"Word\"}}", MILLET_UNSUPPORTED, "Word"},
        {MODEL("\"vocab\":7"), MILLET_BAD_FORMAT, "vocab"},
        {MODEL("\"vocab\":{\"a\":4}"), MILLET_BAD_FORMAT, "below 4"},
        {MODEL("\"vocab\":{\"a\":-1}"), MILLET_BAD_FORMAT, "below 4"},
        {MODEL("\"vocab\":{\"a\":0.5}"), MILLET_BAD_FORMAT, "below 4"},
        {MODEL("\"vocab\":{\"a\":null}"), MILLET_BAD_FORMAT, "below 4"},
        {MODEL("\"vocab\":{\"a\":9223372036854775807}"), MILLET_BAD_FORMAT, "below 4"},
        {MODEL("\"vocab\":{\"a\":0,\"b\":0}"), MILLET_BAD_FORMAT, "same id"},
        {MODEL("\"vocab\":{\"a\":0},\"merges\":[\"ab\"]"), MILLET_BAD_FORMAT, "merge 0"},
        {MODEL("\"vocab\":{\"a\":0},\"merges\":[\" a\"]"), MILLET_BAD_FORMAT, "merge 0"},
        {MODEL("\"vocab\":{\"a\":0},\"merges\":[\"a \"]"), MILLET_BAD_FORMAT, "merge 0"},
        {MODEL("\"vocab\":{\"a\":0},\"merges\":[[\"a\"]]"), MILLET_BAD_FORMAT, "merge 0"},
        {MODEL("\"vocab\":{\"a\":0},\"merges\":[[\"a\",7]]"), MILLET_BAD_FORMAT, "merge 0"},
        {MODEL("\"vocab\":{\"a\":0},\"merges\":[7]"), MILLET_BAD_FORMAT, "merge 0"},
        {MODEL("\"vocab\":{\"a\":0},\"end_of_word_suffix\":\"</w>\""), MILLET_UNSUPPORTED,
         "end_of_word_suffix"},
        {MODEL("\"vocab\":{\"a\":0},\"continuing_subword_prefix\":\"##\""), MILLET_UNSUPPORTED, "WordPiece"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0}}}", MILLET_UNSUPPORTED, "neither"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0}},\"added_tokens\":[{\"id\":1}]," BYTE_LEVEL(
             "") "}",
         MILLET_BAD_FORMAT, "added_tokens"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0}}," BYTE_LEVEL(",\"add_prefix_space\":true") "}",
         MILLET_UNSUPPORTED, "add_prefix_space"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0}}," SEQUENCE(
             "{\"type\":\"Whitespace\"}," RAW_BYTES) "}",
         MILLET_UNSUPPORTED, "Whitespace"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0}}," SEQUENCE(
             SPLIT("a") "," SPLIT("b") "," RAW_BYTES) "}",
         MILLET_UNSUPPORTED, "combination"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0}}," SEQUENCE("{\"a\":1}," RAW_BYTES) "}",
         MILLET_BAD_FORMAT, "pre_tokenizer"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0}}," BYTE_LEVEL(
             "") ",\"normalizer\":{\"type\":\"NFKC\"}}",
         MILLET_UNSUPPORTED, "NFKC"},
        {"{\"model\":{\"type\":\"BPE\",\"byte_fallback\":true,\"vocab\":{\"a\":0,\"b\":1},\"merges\":[\"a "
         "b\"]}}",
         MILLET_BAD_FORMAT, "not in the vocabulary"},
        {"{\"model\":{\"type\":\"BPE\",\"byte_fallback\":true,\"vocab\":{\"a\":0}},\"normalizer\":{\"type\":"
         "\"Lowercase\"}}",
         MILLET_UNSUPPORTED, "Lowercase"},
        {"{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\",0],[\"b\"]]}}", MILLET_BAD_FORMAT, "element 1"},
        {"{\"model\":{\"type\":\"Unigram\",\"vocab\":[7]}}", MILLET_BAD_FORMAT, "element 0"},
        {"{\"model\":{\"type\":\"Unigram\",\"unk_id\":4,\"vocab\":[[\"a\",0]]}}", MILLET_BAD_FORMAT,
         "unk_id"},
        {"{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\",0],[\"b\",0],[\"c\",0],[\"d\",0],[\"e\",0]]}}",
         MILLET_BAD_FORMAT, "5 tokens"},
        {"{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\",0]]},\"normalizer\":{\"type\":\"Precompiled\","
         "\"precompiled_charsmap\":\"A!\"}}",
         MILLET_BAD_FORMAT, "base64"},
        {"{\"model\":{\"type\":\"WordPiece\",\"vocab\":{\"a\":0}},\"normalizer\":{\"type\":\"NFKC\"}}",
         MILLET_UNSUPPORTED, "NFKC"},
        {"{\"model\":{\"type\":\"WordPiece\",\"vocab\":{\"a\":0}},\"pre_tokenizer\":{\"type\":\"ByteLevel\"}"
         "}",
         MILLET_UNSUPPORTED, "ByteLevel"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct texts texts = {.tokenizer = cases[i].tokenizer};
        struct mlt_checkpoint *checkpoint;
        millet_error err;
        millet_status status = read_texts(&texts, 4, &checkpoint, &err);
        if (status == MILLET_OK) fail_msg("%s was taken", cases[i].tokenizer);
        if (status != cases[i].status ||
            !(strstr(err.message, cases[i].word) || strstr(err.item, cases[i].word)))
            fail_msg("%s: %s, %s: %s", cases[i].tokenizer, millet_status_name(status), err.item, err.message);
        assert_string_equal(err.file, "tokenizer.json");
    }
    /* Sequences in sequences in ... */
    char deep[4096] =
        "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0}},\"decoder\":{\"type\":\"ByteLevel\"},"
        "\"pre_tokenizer\":";
    for (int i = 0; i < 20; i++)
        strcat(deep, "{\"type\":\"Sequence\",\"pretokenizers\":[");
    for (int i = 0; i < 20; i++)
        strcat(deep, "]}");
    strcat(deep, "}");
    struct texts texts = {.tokenizer = deep};
    struct mlt_checkpoint *checkpoint;
    millet_error err;
    assert_int_equal(read_texts(&texts, 4, &checkpoint, &err), MILLET_UNSUPPORTED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_byte_level),     cmocka_unit_test(test_merge_forms),
        cmocka_unit_test(test_pre_tokenisers), cmocka_unit_test(test_own_pattern),
        cmocka_unit_test(test_sentence_piece), cmocka_unit_test(test_metaspace),
        cmocka_unit_test(test_unigram),        cmocka_unit_test(test_word_piece),
        cmocka_unit_test(test_special_ids),    cmocka_unit_test(test_chat_templates),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
