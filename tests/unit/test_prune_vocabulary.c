/*
 * Pruned vocabularies of every kind of tokenizer: texts of the corpus have the same tokens, every other text
 * still has some.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/random.h"
#include "compact/prune_vocabulary.h"
#include "support/corpus_files.h"
#include "support/file_bytes.h"
#include "support/pruned_vocabulary.h"
#include "support/tiny_vocabulary.h"

enum { TEXTS = 60, CORPUS = 25, LONGEST = 120, ROUNDS = 12 };

static char memory[TEXTS][LONGEST + 8];
static struct pruned_vocabulary_text texts[TEXTS];

/* Random texts of pieces; those of the corpus use only the first `common` of them. */
static void make_texts(const char *const *pieces, size_t n, size_t common, uint64_t seed)
{
    struct mlt_random random;
    mlt_random_seed(&random, seed);
    for (size_t i = 0; i < TEXTS; i++) {
        size_t length = 0, wanted = mlt_random_u64(&random) % LONGEST;
        while (length < wanted) {
            const char *piece = pieces[mlt_random_u64(&random) % (i < CORPUS ? common : n)];
            if (length + strlen(piece) > LONGEST) break;
            memcpy(memory[i] + length, piece, strlen(piece));
            length += strlen(piece);
        }
        texts[i] = (struct pruned_vocabulary_text){memory[i], length};
    }
}

static const char *const letters[] = {
    "h",          "e",      "l",      "o",   " ",    "w",     "he", "ll", "hello",    "or",           "world",
    "hell",       " hello", " world", "d",   "r",    "x",     "\n", "z",  "\xC3\xA9", "\xE4\xB8\xAD", "!",
    "<|im_end|>", "<user>", "un",     "aff", "able", "resume"};

static void try_rounds(const char *name, const struct mlt_checkpoint *checkpoint, bool lossless)
{
    int32_t smallest = INT32_MAX;
    for (uint64_t seed = 1; seed <= ROUNDS; seed++) {
        make_texts(letters, MLT_COUNT(letters), 3 + seed % 8, seed);
        int32_t n = check_pruned_vocabulary(name, checkpoint, texts, TEXTS, CORPUS, 1, lossless);
        smallest = n < smallest ? n : smallest;
        check_pruned_vocabulary(name, checkpoint, texts, TEXTS, CORPUS, 9, lossless);
    }
    const struct mlt_meta *tokens = mlt_checkpoint_meta(checkpoint, "tokenizer.ggml.tokens");
    assert_true((uint64_t)smallest < tokens->count);
}

static void small_ones(void **state)
{
    (void)state;
    static const struct {
        const char *model;
        enum mlt_tokenizer_kind kind;
        bool lossless;
    } kinds[] = {{"llama", MLT_TOKENIZER_SPM, true},
                 {"t5", MLT_TOKENIZER_UNIGRAM, false},
                 {"gpt2", MLT_TOKENIZER_BPE, true},
                 {"bert", MLT_TOKENIZER_WORDPIECE, false}};
    for (size_t i = 0; i < MLT_COUNT(kinds); i++) {
        struct tiny_vocabulary tiny;
        tiny_fill(&tiny, kinds[i].kind);
        struct mlt_checkpoint *c = vocabulary_checkpoint(kinds[i].model, &tiny.spec);
        try_rounds(kinds[i].model, c, kinds[i].lossless);
        mlt_checkpoint_close(&c);
    }
}

/* Words that are tokens are taken whole; pairs by the rank of their result; plain text with tokens for bytes.
 */
static void forms_of_bpe(void **state)
{
    (void)state;
    struct tiny_vocabulary tiny;
    tiny_fill(&tiny, MLT_TOKENIZER_BPE);
    tiny.spec.ignore_merges = true;
    tiny_add(&tiny, "world", MLT_TOKEN_NORMAL, 0); /* no merges lead to it */
    struct mlt_checkpoint *c = vocabulary_checkpoint("gpt2", &tiny.spec);
    try_rounds("whole words", c, true);
    mlt_checkpoint_close(&c);

    tiny_fill(&tiny, MLT_TOKENIZER_BPE);
    tiny.spec.pre = "kimi-k2";
    tiny.spec.merges = NULL;
    c = vocabulary_checkpoint("gpt2", &tiny.spec);
    try_rounds("ranks", c, true);
    mlt_checkpoint_close(&c);

    tiny_init(&tiny, MLT_TOKENIZER_BPE);
    tiny.spec.unknown = tiny_add(&tiny, "<unk>", MLT_TOKEN_UNKNOWN, 0);
    tiny.spec.bos = tiny_add(&tiny, "<bos>", MLT_TOKEN_CONTROL, 0);
    tiny_add_byte_tokens(&tiny);
    static const char *const plain[] = {"h",  "e",    "l",  "o",  "w",    "r",     "d",  MLT_SPACE_MARK,
                                        "\n", "\n\n", "he", "ll", "hell", "hello", "or", MLT_SPACE_MARK "w"};
    for (size_t i = 0; i < MLT_COUNT(plain); i++)
        tiny_add(&tiny, plain[i], MLT_TOKEN_NORMAL, 0);
    static const char *const merges[] = {"h e", "l l", "he ll", "hell o", "o r", MLT_SPACE_MARK " w"};
    for (size_t i = 0; i < MLT_COUNT(merges); i++)
        tiny_add_merge(&tiny, merges[i]);
    c = vocabulary_checkpoint("gemma4", &tiny.spec);
    try_rounds("gemma4", c, true);
    mlt_checkpoint_close(&c);
}

/* Without a key, ids are convention; after pruning the same token has to have the part. */
static void ids_by_convention(void **state)
{
    (void)state;
    struct tiny_vocabulary tiny;
    /* Token 11 is the end of text, as in GPT-2's relatives, and a control token moves to its place. */
    tiny_init(&tiny, MLT_TOKENIZER_BPE);
    for (int i = 0; i < 11; i++) {
        static const char *const names[] = {"q1", "q2", "q3", "q4",  "q5", "q6",
                                            "q7", "q8", "q9", "q10", "q11"};
        tiny_add(&tiny, names[i], MLT_TOKEN_NORMAL, 0);
    }
    tiny_add(&tiny, "<|endoftext|>", MLT_TOKEN_CONTROL, 0);
    tiny_add_mapped_bytes(&tiny);
    tiny_add_merge(&tiny, "h e");
    tiny_add(&tiny, "he", MLT_TOKEN_NORMAL, 0);
    tiny.spec.pre = "gpt-2";
    struct mlt_checkpoint *c = vocabulary_checkpoint("gpt2", &tiny.spec);
    try_rounds("eleven", c, true);
    mlt_checkpoint_close(&c);
    /* Here token 11 is none, and it is a control token that would get the number. */
    tiny_init(&tiny, MLT_TOKENIZER_BPE);
    tiny_add(&tiny, "unused", MLT_TOKEN_NORMAL, 0);
    tiny_add_mapped_bytes(&tiny);
    tiny_add_merge(&tiny, "h e");
    tiny_add(&tiny, "he", MLT_TOKEN_NORMAL, 0);
    tiny.types[12] = MLT_TOKEN_CONTROL;
    tiny.spec.pre = "gpt-2";
    c = vocabulary_checkpoint("gpt2", &tiny.spec);
    make_texts(letters, MLT_COUNT(letters), 5, 3);
    check_pruned_vocabulary("none", c, texts, TEXTS, CORPUS, 1, true);
    mlt_checkpoint_close(&c);
}

/* Vocabularies of some hundred learned tokens, over texts of the syllables that they were learned from. */
static void learned_ones(void **state)
{
    static const char *const syllables[] = {"ka", "lo",  "mi", "tur",      "en", "sa",
                                            " ",  "vor", "ig", "pel",      "na", "st",
                                            "oo", ".\n", "Ka", "\xC3\xBC", "77", "<|im_end|>"};
    (void)state;
    folder_make();
    for (int kind = 0; kind < 2; kind++) {
        millet_error err;
        struct mlt_checkpoint *c;
        millet_tokenizer *tokenizer =
            corpus_tokenizer("learned.gguf", kind ? MILLET_TOKENIZER_UNIGRAM : MILLET_TOKENIZER_BPE, 700);
        millet_tokenizer_close(&tokenizer);
        assert_int_equal(
            mlt_checkpoint_open(mlt_default_allocator(), folder_path("learned.gguf"), NULL, &c, &err),
            MILLET_OK);
        for (uint64_t seed = 1; seed <= ROUNDS; seed++) {
            make_texts(syllables, MLT_COUNT(syllables), 4 + seed % 9, seed);
            int32_t n = check_pruned_vocabulary(kind ? "unigram" : "BPE", c, texts, TEXTS, CORPUS, 1, true);
            assert_true(n < 700);
            check_pruned_vocabulary(kind ? "unigram" : "BPE", c, texts, TEXTS, CORPUS, 5, true);
        }
        mlt_checkpoint_close(&c);
    }
    folder_remove();
}

static void what_is_not_known_is_refused(void **state)
{
    (void)state;
    millet_error err;
    uint64_t counts[TINY_TOKENS] = {0};
    int32_t *list, n;
    struct mlt_arena arena;
    struct tiny_vocabulary tiny;
    mlt_arena_init(&arena, mlt_default_allocator());
    tiny_fill(&tiny, MLT_TOKENIZER_SPM);
    struct mlt_checkpoint *c = vocabulary_checkpoint("llama", &tiny.spec);
    /* More tokens than rows. */
    assert_int_equal(mlt_vocabulary_choose(c, counts, 100, 1, &arena, &list, &n, &err), MILLET_UNSUPPORTED);
    assert_string_equal(err.item, "tokenizer.ggml.tokens");
    mlt_checkpoint_close(&c);
    /* An array of something for each token. */
    struct mlt_checkpoint *other = NULL;
    c = vocabulary_checkpoint("llama", &tiny.spec);
    assert_int_equal(mlt_checkpoint_new(mlt_default_allocator(), "other", "test", &other, &err), MILLET_OK);
    for (size_t i = 0; i < c->n_metas; i++)
        assert_int_equal(mlt_checkpoint_add_meta(other, &c->metas[i], &err), MILLET_OK);
    struct mlt_meta meta = *mlt_checkpoint_meta(c, "tokenizer.ggml.token_type");
    meta.key = (struct mlt_string){"tokenizer.ggml.moods", 20};
    assert_int_equal(mlt_checkpoint_add_meta(other, &meta, &err), MILLET_OK);
    assert_int_equal(mlt_checkpoint_seal(other, &err), MILLET_OK);
    assert_int_equal(mlt_vocabulary_choose(other, counts, TINY_TOKENS, 1, &arena, &list, &n, &err),
                     MILLET_UNSUPPORTED);
    assert_string_equal(err.item, "tokenizer.ggml.moods");
    mlt_checkpoint_close(&other);
    mlt_checkpoint_close(&c);
    /* No tokenizer at all. */
    assert_int_equal(mlt_checkpoint_new(mlt_default_allocator(), "none", "test", &c, &err), MILLET_OK);
    assert_int_equal(mlt_checkpoint_seal(c, &err), MILLET_OK);
    assert_int_equal(mlt_vocabulary_choose(c, counts, TINY_TOKENS, 1, &arena, &list, &n, &err),
                     MILLET_UNSUPPORTED);
    mlt_checkpoint_close(&c);
    mlt_arena_release(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_ones),
        cmocka_unit_test(forms_of_bpe),
        cmocka_unit_test(ids_by_convention),
        cmocka_unit_test(learned_ones),
        cmocka_unit_test(what_is_not_known_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
