/*
 * SentencePiece: the normalisation of the text, and BPE by scores with byte fallback.
 *
 * Kudo and Richardson, 2018, arXiv:1808.06226; Bostrom and Durrett, 2020, compare its two models.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tokenizer/charsmap.h"
#include "tokenizer/merge.h"
#include "tokenizer/utf8.h"

#include <string.h>

/* Writes normalised bytes: spaces become U+2581 and, where asked, runs of them become one. */
struct writer {
    struct mlt_text *out;
    bool collapse;      /* extra spaces go */
    bool pending_space; /* collapse: a space waits for a character to follow */
    bool any;           /* collapse: a character has been written */
};

static millet_status write_bytes(struct writer *writer, const char *bytes, size_t length, millet_error *err)
{
    for (size_t i = 0; i < length;) {
        if (bytes[i] == ' ') {
            if (!writer->collapse)
                MLT_TRY(mlt_text_append(writer->out, MLT_SPACE_MARK, 3, err));
            else
                writer->pending_space = writer->any;
            i++;
            continue;
        }
        const char *space = memchr(bytes + i, ' ', length - i);
        size_t run = space ? (size_t)(space - bytes) - i : length - i;
        if (writer->pending_space) MLT_TRY(mlt_text_append(writer->out, MLT_SPACE_MARK, 3, err));
        writer->pending_space = false;
        writer->any = true;
        MLT_TRY(mlt_text_append(writer->out, bytes + i, run, err));
        i += run;
    }
    return MILLET_OK;
}

/* The replacement of what text[0..length) begins with; *consumed is its length. */
static const char *normalize_next(const struct mlt_tokenizer *tokenizer, const char *text, size_t length,
                                  size_t *consumed, size_t *replacement_length)
{
    const char *replacement = NULL;
    if (tokenizer->charsmap)
        *consumed = mlt_charsmap_longest(tokenizer->charsmap, text, length, &replacement);
    if (replacement) {
        *replacement_length = strlen(replacement);
        return replacement;
    }
    uint32_t codepoint;
    size_t size = mlt_utf8_decode(text, length, &codepoint);
    if (!size && tokenizer->kind == MLT_TOKENIZER_UNIGRAM) {
        *consumed = 1;
        *replacement_length = 3;
        return MLT_REPLACEMENT;
    }
    *consumed = *replacement_length = size ? size : 1;
    return text;
}

millet_status mlt_sentencepiece_normalize(struct mlt_tokenize_run *run, const char *text, size_t length,
                                          millet_error *err)
{
    const struct mlt_tokenizer *tokenizer = run->tokenizer;
    struct writer writer = {.out = &run->text, .collapse = tokenizer->remove_extra_whitespace};
    run->text.length = 0;
    if (tokenizer->add_space_prefix && length && !run->continues)
        MLT_TRY(mlt_text_append(&run->text, MLT_SPACE_MARK, 3, err));
    if (!tokenizer->charsmap && tokenizer->kind != MLT_TOKENIZER_UNIGRAM)
        MLT_TRY(write_bytes(&writer, text, length, err));
    else
        for (size_t i = 0; i < length;) {
            size_t consumed, size;
            const char *bytes = normalize_next(tokenizer, text + i, length - i, &consumed, &size);
            MLT_TRY(write_bytes(&writer, bytes, size, err));
            i += consumed;
        }
    /* Nothing but extra spaces: not even the prefix remains. */
    if (writer.collapse && !writer.any) run->text.length = 0;
    return MILLET_OK;
}

/* Orders scores, the highest first, as unsigned numbers; NaN comes last. */
static uint32_t priority_of_score(float score)
{
    if (score != score) return UINT32_MAX;
    score += 0.0f; /* -0 becomes 0 */
    uint32_t bits;
    memcpy(&bits, &score, sizeof bits);
    return bits >> 31 ? bits : ~bits & 0x7FFFFFFFu;
}

/* Control, unknown and byte tokens are not made of text: nobody can write them by accident or on purpose. */
bool mlt_sentencepiece_is_piece(const struct mlt_tokenizer *tokenizer, int32_t id)
{
    uint8_t type = tokenizer->types[id];
    return type == MLT_TOKEN_NORMAL || type == MLT_TOKEN_USER_DEFINED || type == MLT_TOKEN_UNUSED;
}

static int32_t find_piece(const struct mlt_tokenizer *tokenizer, const char *text, size_t length)
{
    int32_t id = length <= MLT_MAX_MATCH ? mlt_string_table_find(&tokenizer->strings, text, length) : -1;
    return id >= 0 && mlt_sentencepiece_is_piece(tokenizer, id) ? id : -1;
}

static bool merges_to_piece(const struct mlt_tokenizer *tokenizer, const char *text,
                            const struct mlt_merge_symbol *left, const struct mlt_merge_symbol *right,
                            struct mlt_merge_candidate *candidate)
{
    (void)right;
    int32_t id = find_piece(tokenizer, text + left->start, candidate->length);
    if (id < 0) return false;
    candidate->number = id;
    candidate->priority = priority_of_score(tokenizer->scores[id]);
    return true;
}

/* A character without a token: its bytes, or where they have no tokens the unknown token. */
static millet_status emit_bytes(struct mlt_tokenize_run *run, const char *text, size_t length,
                                millet_error *err)
{
    const int32_t *numbers = run->tokenizer->byte_numbers;
    bool known = true;
    for (size_t i = 0; i < length; i++)
        known = known && numbers[(uint8_t)text[i]] >= 0;
    if (!known) return mlt_emit(run, run->tokenizer->unknown, err);
    for (size_t i = 0; i < length; i++)
        MLT_TRY(mlt_emit(run, numbers[(uint8_t)text[i]], err));
    return MILLET_OK;
}

/* Whether U+2581 begins at text + at and follows something else. */
static bool begins_word(const char *text, size_t at, size_t length)
{
    if (length - at < 3 || memcmp(text + at, MLT_SPACE_MARK, 3) != 0) return false;
    return at < 3 || memcmp(text + at - 3, MLT_SPACE_MARK, 3) != 0;
}

void mlt_sentencepiece_open(struct mlt_tokenizer *tokenizer)
{
    tokenizer->separate_words = true;
    for (int32_t id = 0; id < tokenizer->n_tokens && tokenizer->separate_words; id++) {
        size_t length;
        const char *text = mlt_string_table_get(&tokenizer->strings, id, &length);
        for (size_t at = 1; at < length && mlt_sentencepiece_is_piece(tokenizer, id); at++)
            if (begins_word(text, at, length)) tokenizer->separate_words = false;
    }
}

/* Merges text[0..length), nothing of which merges with what is around it. */
static millet_status encode_part(struct mlt_tokenize_run *run, const char *text, size_t length,
                                 millet_error *err)
{
    const struct mlt_tokenizer *tokenizer = run->tokenizer;
    size_t count = 0;
    uint32_t codepoint;
    for (size_t i = 0; i < length; count++)
        i += mlt_utf8_step(text + i, length - i, &codepoint);
    MLT_TRY(mlt_merge_reserve(run, count, err));
    struct mlt_merge_symbol *symbols = run->symbols;
    for (size_t i = 0, start = 0; i < count; i++) {
        symbols[i].start = (uint32_t)start;
        symbols[i].length = (uint32_t)mlt_utf8_step(text + start, length - start, &codepoint);
        symbols[i].number = find_piece(tokenizer, text + start, symbols[i].length);
        start += symbols[i].length;
    }
    mlt_merge_symbols(run, text, count, merges_to_piece);
    for (int32_t i = 0; i >= 0; i = symbols[i].next) {
        if (symbols[i].number >= 0)
            MLT_TRY(mlt_emit(run, symbols[i].number, err));
        else
            MLT_TRY(emit_bytes(run, text + symbols[i].start, symbols[i].length, err));
    }
    return MILLET_OK;
}

millet_status mlt_sentencepiece_encode(struct mlt_tokenize_run *run, const char *text, size_t length,
                                       millet_error *err)
{
    MLT_TRY(mlt_sentencepiece_normalize(run, text, length, err));
    text = run->text.data;
    length = run->text.length;
    /* Word by word where no token reaches into the next: the same result as all at once, in memory that is
     * near. */
    for (size_t begin = 0, end; begin < length; begin = end) {
        end = run->tokenizer->separate_words ? begin + 1 : length;
        while (end < length && !begins_word(text, end, length))
            end++;
        MLT_TRY(encode_part(run, text + begin, end - begin, err));
    }
    return MILLET_OK;
}
