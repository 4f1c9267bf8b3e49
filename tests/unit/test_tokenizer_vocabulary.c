/*
 * Vocabularies out of metadata: what missing keys mean, and which key an error names.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "model/model.h"
#include "support/tiny_vocabulary.h"

#define KEY(name) "tokenizer.ggml." name

static struct mlt_checkpoint *checkpoint;
static struct mlt_tokenizer *tokenizer;
static int32_t bos, eos;
static bool add_bos, add_eos;
static millet_error err;

static void begin(void)
{
    assert_int_equal(mlt_checkpoint_new(mlt_default_allocator(), "made-up.gguf", "test", &checkpoint, NULL),
                     MILLET_OK);
}

static void add_text(const char *key, const char *text)
{
    assert_int_equal(mlt_checkpoint_set_string(checkpoint, key, text, strlen(text), NULL), MILLET_OK);
}

static void add_id(const char *key, uint32_t id)
{
    assert_int_equal(mlt_checkpoint_set_u32(checkpoint, key, id, NULL), MILLET_OK);
}

static void add_flag(const char *key, bool value)
{
    assert_int_equal(mlt_checkpoint_set_bool(checkpoint, key, value, NULL), MILLET_OK);
}

static void add_array(const char *key, enum mlt_meta_type element, uint64_t count, const void *array)
{
    struct mlt_meta meta = {.key = {key, strlen(key)},
                            .type = MLT_META_ARRAY,
                            .element = element,
                            .count = count,
                            .value.array = array};
    assert_int_equal(mlt_checkpoint_add_meta(checkpoint, &meta, NULL), MILLET_OK);
}

static void add_texts(const char *key, const struct mlt_token_text *texts, int64_t count)
{
    struct mlt_string strings[TINY_TOKENS];
    for (int64_t i = 0; i < count; i++)
        strings[i] = (struct mlt_string){texts[i].data, texts[i].length};
    add_array(key, MLT_META_STRING, (uint64_t)count, strings);
}

/* Adds the tokens, types and (as the kind has them) scores or merges of a vocabulary. */
static void add_vocabulary(const char *model, const struct tiny_vocabulary *tiny)
{
    const struct mlt_tokenizer_spec *spec = &tiny->spec;
    add_text(KEY("model"), model);
    add_texts(KEY("tokens"), tiny->tokens, spec->n_tokens);
    add_array(KEY("token_type"), MLT_META_I32, (uint64_t)spec->n_tokens, tiny->types);
    if (spec->kind == MLT_TOKENIZER_SPM || spec->kind == MLT_TOKENIZER_UNIGRAM)
        add_array(KEY("scores"), MLT_META_F32, (uint64_t)spec->n_tokens, tiny->scores);
    if (spec->n_merges) add_texts(KEY("merges"), tiny->merges, spec->n_merges);
}

static millet_status open_it(void)
{
    tokenizer = NULL;
    assert_int_equal(mlt_checkpoint_seal(checkpoint, NULL), MILLET_OK);
    return mlt_vocabulary_open(mlt_default_allocator(), checkpoint, &tokenizer, &bos, &eos, &add_bos,
                               &add_eos, &err);
}

static void end(void)
{
    mlt_tokenizer_close(&tokenizer);
    mlt_checkpoint_close(&checkpoint);
}

static void expect_open(void)
{
    if (open_it()) fail_msg("%s: %s", err.item, err.message);
    assert_non_null(tokenizer);
}

static void expect_refused(millet_status status, const char *key)
{
    assert_int_equal(open_it(), status);
    assert_null(tokenizer);
    assert_string_equal(err.item, key);
    assert_string_equal(err.file, "made-up.gguf");
    end();
}

static size_t token_count(const char *text, unsigned flags, int32_t *first)
{
    int32_t *ids;
    size_t count;
    assert_int_equal(
        mlt_tokenize(tokenizer, mlt_default_allocator(), text, strlen(text), flags, &ids, &count, NULL),
        MILLET_OK);
    *first = count ? ids[0] : -1;
    mlt_free(mlt_default_allocator(), ids);
    return count;
}

static struct tiny_vocabulary tiny;

static void files_without_a_tokenizer(void **state)
{
    (void)state;
    begin();
    assert_int_equal(open_it(), MILLET_OK);
    assert_null(tokenizer);
    assert_int_equal(bos, -1);
    end();
    begin();
    add_text(KEY("model"), "no_vocab");
    assert_int_equal(open_it(), MILLET_OK);
    assert_null(tokenizer);
    end();
    begin();
    add_text(KEY("model"), "rwkv");
    expect_refused(MILLET_UNSUPPORTED, KEY("model"));
}

static void defaults_of_llama(void **state)
{
    (void)state;
    tiny_fill(&tiny, MLT_TOKENIZER_SPM);
    begin();
    add_vocabulary("llama", &tiny);
    add_id(KEY("padding_token_id"), UINT32_MAX); /* as some writers say that there is none */
    expect_open();
    int32_t first;
    assert_true(bos == 1 && eos == 2 && add_bos && !add_eos);
    assert_int_equal(token_count("hello", MLT_TOKENIZE_BOS_EOS, &first), 2);
    assert_int_equal(first, 1);
    assert_true(mlt_tokenizer_is_end(tokenizer, 2));
    end();

    begin();
    add_vocabulary("llama", &tiny);
    add_flag(KEY("add_bos_token"), false);
    add_flag(KEY("add_eos_token"), true);
    add_flag(KEY("add_space_prefix"), false);
    add_id(KEY("eos_token_id"), 1);
    expect_open();
    assert_true(eos == 1 && !add_bos && add_eos);
    /* "hello" without a space, and EOS. */
    assert_int_equal(token_count("hello", MLT_TOKENIZE_BOS_EOS, &first), 2);
    assert_int_equal(first, mlt_tokenizer_find(tokenizer, "hello", 5));
    end();
}

static void defaults_of_byte_level_bpe(void **state)
{
    (void)state;
    tiny_fill(&tiny, MLT_TOKENIZER_BPE);
    int32_t special = tiny.spec.n_tokens - 1, first;
    begin();
    add_vocabulary("gpt2", &tiny);
    expect_open();
    /* Token 11 is text in this vocabulary: nobody's BOS or EOS. */
    assert_true(bos == -1 && eos == -1 && !add_bos);
    assert_true(mlt_tokenizer_is_end(tokenizer, special)); /* by its name */
    end();

    begin();
    add_vocabulary("gpt2", &tiny);
    add_text(KEY("pre"), "llama-bpe");
    add_id(KEY("bos_token_id"), (uint32_t)special);
    expect_open();
    assert_true(add_bos && bos == special);
    assert_int_equal(token_count("hello", MLT_TOKENIZE_BOS_EOS, &first), 2);
    assert_int_equal(first, special);
    end();

    begin();
    add_vocabulary("gpt2", &tiny);
    add_text(KEY("pre"), "unheard-of");
    expect_refused(MILLET_UNSUPPORTED, KEY("pre"));
    begin();
    add_vocabulary("gpt2", &tiny);
    add_flag(KEY("add_bos_token"), true);
    expect_refused(MILLET_BAD_FORMAT, KEY("bos_token_id"));
    tiny.spec.n_merges = 0;
    begin();
    add_vocabulary("gpt2", &tiny);
    expect_refused(MILLET_NOT_FOUND, KEY("merges"));
    /* Kimi's files have none: the ids are the ranks. */
    begin();
    add_vocabulary("gpt2", &tiny);
    add_text(KEY("pre"), "kimi-k2");
    expect_open();
    assert_int_equal(token_count("hell", 0, &first), 1);
    end();
}

static void defaults_of_the_others(void **state)
{
    (void)state;
    tiny_fill(&tiny, MLT_TOKENIZER_UNIGRAM);
    begin();
    add_vocabulary("t5", &tiny);
    static const int8_t empty_map[4];
    add_array(KEY("precompiled_charsmap"), MLT_META_I8, 4, empty_map);
    expect_open();
    assert_true(eos == 1 && add_eos && !add_bos && bos == -1);
    end();

    tiny_fill(&tiny, MLT_TOKENIZER_WORDPIECE);
    begin();
    add_vocabulary("bert", &tiny);
    add_id(KEY("unknown_token_id"), 1);
    add_id(KEY("cls_token_id"), 2);
    add_id(KEY("seperator_token_id"), 3);
    expect_open();
    int32_t first;
    assert_int_equal(bos, 2);
    assert_int_equal(token_count("hello", MLT_TOKENIZE_BOS_EOS, &first), 3);
    assert_int_equal(first, 2);
    end();
}

static void phi3_swallows_space_after_special_tokens(void **state)
{
    (void)state;
    for (int named = 0; named < 2; named++) {
        tiny_fill(&tiny, MLT_TOKENIZER_SPM);
        begin();
        add_vocabulary("llama", &tiny);
        add_text("general.name", named ? "My Phi-3 mini" : "Phi");
        expect_open();
        int32_t first;
        /* <|im_end|>, then "hello" with the space it gets anyway, or with one more. */
        assert_int_equal(token_count("<|im_end|> hello", MLT_TOKENIZE_SPECIAL, &first), named ? 2 : 3);
        end();
    }
}

static void wrong_metadata_names_its_key(void **state)
{
    (void)state;
    tiny_fill(&tiny, MLT_TOKENIZER_SPM);
    const struct mlt_tokenizer_spec *spec = &tiny.spec;
    uint64_t n = (uint64_t)spec->n_tokens;

    begin();
    add_text(KEY("model"), "llama");
    expect_refused(MILLET_NOT_FOUND, KEY("tokens"));
    begin();
    add_text(KEY("model"), "llama");
    add_text(KEY("tokens"), "not an array");
    expect_refused(MILLET_BAD_FORMAT, KEY("tokens"));
    begin();
    add_text(KEY("model"), "llama");
    add_array(KEY("tokens"), MLT_META_F32, n, tiny.scores);
    expect_refused(MILLET_BAD_FORMAT, KEY("tokens"));
    begin();
    add_text(KEY("model"), "llama");
    add_texts(KEY("tokens"), tiny.tokens, spec->n_tokens);
    add_array(KEY("scores"), MLT_META_F32, n - 1, tiny.scores);
    expect_refused(MILLET_BAD_FORMAT, KEY("scores"));
    begin();
    add_text(KEY("model"), "llama");
    add_texts(KEY("tokens"), tiny.tokens, spec->n_tokens);
    add_array(KEY("token_type"), MLT_META_F32, n, tiny.scores);
    expect_refused(MILLET_BAD_FORMAT, KEY("token_type"));
    begin();
    add_vocabulary("llama", &tiny);
    add_id(KEY("bos_token_id"), (uint32_t)n);
    expect_refused(MILLET_BAD_FORMAT, KEY("bos_token_id"));
    begin();
    add_vocabulary("llama", &tiny);
    add_text(KEY("eos_token_id"), "2");
    expect_refused(MILLET_BAD_FORMAT, KEY("eos_token_id"));
    begin();
    add_vocabulary("llama", &tiny);
    add_id(KEY("add_bos_token"), 7);
    expect_refused(MILLET_BAD_FORMAT, KEY("add_bos_token"));
    begin();
    add_vocabulary("t5", &tiny);
    add_array(KEY("precompiled_charsmap"), MLT_META_F32, 1, tiny.scores);
    expect_refused(MILLET_BAD_FORMAT, KEY("precompiled_charsmap"));
    tiny.tokens[5] = tiny.tokens[4];
    begin();
    add_vocabulary("llama", &tiny);
    expect_refused(MILLET_BAD_FORMAT, KEY("tokens"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_without_a_tokenizer),
        cmocka_unit_test(defaults_of_llama),
        cmocka_unit_test(defaults_of_byte_level_bpe),
        cmocka_unit_test(defaults_of_the_others),
        cmocka_unit_test(phi3_swallows_space_after_special_tokens),
        cmocka_unit_test(wrong_metadata_names_its_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
