/*
 * WordPiece as in BERT (Devlin et al., 2018, arXiv:1810.04805): the text is normalised and cut into words,
 * and each word is covered from the left with the longest tokens.
 *
 * GGUF stores the vocabulary turned round: a token that begins a word has U+2581 before it, one that
 * continues a word has no mark (BERT itself writes "##" before the latter).
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tokenizer/tokenizer_internal.h"
#include "tokenizer/unicode.h"
#include "tokenizer/utf8.h"

/* A longer word, in characters, is one unknown token: BERT's max_input_chars_per_word. */
enum { MAX_WORD_CHARACTERS = 100 };

enum { MARK_BYTES = 3 };

millet_status mlt_wordpiece_open(struct mlt_tokenizer *tokenizer, millet_error *err)
{
    struct mlt_trie_entry *entries =
        mlt_alloc(&tokenizer->allocator, (size_t)tokenizer->n_tokens, sizeof *entries, err);
    if (!entries) return MILLET_NO_MEMORY;
    size_t count = 0;
    for (int32_t id = 0; id < tokenizer->n_tokens; id++) {
        if (tokenizer->types[id] == MLT_TOKEN_CONTROL || tokenizer->types[id] == MLT_TOKEN_UNKNOWN) continue;
        size_t length;
        const char *text = mlt_string_table_get(&tokenizer->strings, id, &length);
        if (length && length <= MLT_MAX_MATCH)
            entries[count++] = (struct mlt_trie_entry){text, (uint32_t)length, id};
    }
    millet_status status = mlt_trie_open(&tokenizer->words, &tokenizer->allocator, entries, count, err);
    mlt_free(&tokenizer->allocator, entries);
    return status;
}

/* Ideographs are words of their own. The blocks are those of BERT, one of them (0x2B920) as in Hugging Face's
 * code, which the models were used with. */
static bool is_ideograph(uint32_t c)
{
    return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) || (c >= 0x20000 && c <= 0x2A6DF) ||
           (c >= 0x2A700 && c <= 0x2B73F) || (c >= 0x2B740 && c <= 0x2B81F) ||
           (c >= 0x2B920 && c <= 0x2CEAF) || (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x2F800 && c <= 0x2FA1F);
}

static bool is_punctuation(uint32_t c)
{
    /* All of ASCII's symbols count, though Unicode calls some of them signs. */
    if (c < 0x80)
        return (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') ||
               (c >= '{' && c <= '~');
    return mlt_char_class(c) == MLT_CHAR_PUNCTUATION;
}

/* The word in run->text, which begins with the mark. */
static millet_status encode_word(struct mlt_tokenize_run *run, size_t characters, millet_error *err)
{
    const struct mlt_tokenizer *tokenizer = run->tokenizer;
    const char *word = run->text.data;
    size_t length = run->text.length, before = run->count;
    bool covered = characters <= MAX_WORD_CHARACTERS;
    for (size_t i = 0; i < length && covered;) {
        int32_t id = -1;
        size_t size = mlt_trie_longest(&tokenizer->words, word + i, length - i, &id);
        covered = size > 0;
        if (covered) MLT_TRY(mlt_emit(run, id, err));
        i += size;
    }
    if (covered) return MILLET_OK;
    run->count = before;
    return mlt_emit(run, tokenizer->unknown, err);
}

/* Collects characters to words. */
struct words {
    struct mlt_tokenize_run *run;
    size_t characters; /* of the word in run->text, without the mark */
};

static millet_status end_word(struct words *words, millet_error *err)
{
    if (words->characters) MLT_TRY(encode_word(words->run, words->characters, err));
    words->characters = 0;
    words->run->text.length = 0;
    return MILLET_OK;
}

static millet_status add_character(struct words *words, uint32_t codepoint, millet_error *err)
{
    bool alone = is_punctuation(codepoint) || is_ideograph(codepoint);
    if (alone) MLT_TRY(end_word(words, err));
    if (!words->characters) MLT_TRY(mlt_text_append(&words->run->text, MLT_SPACE_MARK, MARK_BYTES, err));
    words->characters++;
    /* What is too long already need not be kept. */
    if (words->characters <= MAX_WORD_CHARACTERS) {
        char bytes[4];
        MLT_TRY(mlt_text_append(&words->run->text, bytes, mlt_utf8_encode(codepoint, bytes), err));
    }
    return alone ? end_word(words, err) : MILLET_OK;
}

millet_status mlt_wordpiece_encode(struct mlt_tokenize_run *run, const char *text, size_t length,
                                   millet_error *err)
{
    struct words words = {.run = run};
    run->text.length = 0;
    for (size_t i = 0; i < length;) {
        uint32_t codepoint = 0, parts[MLT_MAX_DECOMPOSITION];
        size_t size = mlt_utf8_decode(text + i, length - i, &codepoint);
        i += MLT_MAX(1, size);
        enum mlt_char_class class = mlt_char_class(codepoint);
        if (!size || codepoint == 0xFFFD || class == MLT_CHAR_CONTROL) continue;
        if (class == MLT_CHAR_SPACE) {
            MLT_TRY(end_word(&words, err));
            continue;
        }
        if (!run->tokenizer->lowercase) {
            MLT_TRY(add_character(&words, codepoint, err));
            continue;
        }
        int n_parts = mlt_char_decompose(codepoint, parts);
        for (int k = 0; k < n_parts; k++)
            if (mlt_char_class(parts[k]) != MLT_CHAR_MARK)
                MLT_TRY(add_character(&words, mlt_char_lower(parts[k]), err));
    }
    return end_word(&words, err);
}
