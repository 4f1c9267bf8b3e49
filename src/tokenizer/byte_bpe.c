/*
 * Byte-level BPE (Radford et al., 2019): a regular expression cuts the text into words, and ranked merges
 * turn the bytes of each word into tokens.
 *
 * Vocabularies of this family write bytes as characters: the 188 printable ones of Latin-1 stand for
 * themselves, the other 68 for U+0100 and up, in order. The space is U+0120.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tokenizer/merge.h"
#include "tokenizer/unicode.h"
#include "tokenizer/utf8.h"

#include <stdio.h>
#include <string.h>

enum { FIRST_MOVED = 0x100, MOVED_BYTES = 68 };

static bool stands_for_itself(int byte)
{
    return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xFF && byte != 0xAD);
}

uint32_t mlt_codepoint_of_byte(uint8_t byte)
{
    if (stands_for_itself(byte)) return byte;
    /* Before 0x21 none stands for itself; 0x7F..0xA0 follow those 33; 0xAD is the last. */
    uint32_t moved = byte < 0x21 ? byte : byte <= 0xA0 ? 0x21u + byte - 0x7F : MOVED_BYTES - 1;
    return FIRST_MOVED + moved;
}

int mlt_byte_of_codepoint(uint32_t codepoint)
{
    if (codepoint < 0x100) return stands_for_itself((int)codepoint) ? (int)codepoint : -1;
    uint32_t moved = codepoint - FIRST_MOVED;
    if (moved >= MOVED_BYTES) return -1;
    return moved < 0x21 ? (int)moved : moved < MOVED_BYTES - 1 ? (int)(moved - 0x21 + 0x7F) : 0xAD;
}

static millet_status map_bytes(struct mlt_text *mapped, const char *word, size_t length, millet_error *err)
{
    mapped->length = 0;
    for (size_t i = 0; i < length; i++) {
        char character[4];
        size_t size = mlt_utf8_encode(mlt_codepoint_of_byte((uint8_t)word[i]), character);
        MLT_TRY(mlt_text_append(mapped, character, size, err));
    }
    return MILLET_OK;
}

static uint32_t hash_pair(int32_t left, int32_t right)
{
    uint64_t hash = ((uint64_t)(uint32_t)left << 32 | (uint32_t)right) * UINT64_C(0x9E3779B97F4A7C15);
    hash ^= hash >> 32;
    return (uint32_t)(hash * UINT64_C(0xD6E8FEB86659FD93) >> 32);
}

/* The slot of the pair, or the empty one where it belongs. */
static uint32_t *find_merge(const struct mlt_tokenizer *tokenizer, int32_t left, int32_t right)
{
    for (uint32_t i = hash_pair(left, right);; i++) {
        uint32_t *slot = &tokenizer->merge_slots[i & tokenizer->merge_mask];
        if (!*slot) return slot;
        const struct mlt_merge *merge = &tokenizer->merges[*slot - 1];
        if (merge->left == left && merge->right == right) return slot;
    }
}

/* The number of a string, which is added where it is not there; `guess` (-1: none) is looked at first. */
static millet_status number_of(struct mlt_tokenizer *tokenizer, const char *text, size_t length,
                               int32_t guess, int32_t *number, millet_error *err)
{
    if (guess >= 0 && guess < tokenizer->n_tokens) {
        size_t there_length;
        const char *there = mlt_string_table_get(&tokenizer->strings, guess, &there_length);
        *number = guess;
        if (there_length == length && memcmp(there, text, length) == 0) return MILLET_OK;
    }
    *number = mlt_string_table_find(&tokenizer->strings, text, length);
    return *number >= 0 ? MILLET_OK : mlt_string_table_add(&tokenizer->strings, text, length, number, err);
}

static millet_status bad_merge(int64_t index, const char *problem, millet_error *err)
{
    return mlt_fail_at(err, MILLET_BAD_FORMAT, NULL, "tokenizer.ggml.merges", MILLET_NO_OFFSET,
                       "merge %lld %s", (long long)index, problem);
}

static millet_status add_merge(struct mlt_tokenizer *tokenizer, int64_t index, struct mlt_token_text text,
                               struct mlt_text *both, millet_error *err)
{
    const char *space = text.length > 1 ? memchr(text.data + 1, ' ', text.length - 1) : NULL;
    if (!space) return bad_merge(index, "has no space between its two parts", err);
    size_t left_length = (size_t)(space - text.data), right_length = text.length - left_length - 1;
    if (right_length == 0) return bad_merge(index, "has nothing behind its space", err);
    both->length = 0;
    MLT_TRY(mlt_text_append(both, text.data, left_length, err));
    MLT_TRY(mlt_text_append(both, space + 1, right_length, err));

    struct mlt_merge *merge = &tokenizer->merges[tokenizer->n_merges];
    MLT_TRY(number_of(tokenizer, text.data, left_length, -1, &merge->left, err));
    MLT_TRY(number_of(tokenizer, space + 1, right_length, -1, &merge->right, err));
    /* Most vocabularies number their tokens in the order of the merges that make them. */
    int32_t guess = tokenizer->n_merges ? merge[-1].result + 1 : -1;
    MLT_TRY(number_of(tokenizer, both->data, both->length, guess, &merge->result, err));
    uint32_t *slot = find_merge(tokenizer, merge->left, merge->right);
    /* Of merges that stand there twice the better one counts. */
    if (!*slot) *slot = (uint32_t)++tokenizer->n_merges;
    return MILLET_OK;
}

static millet_status open_merges(struct mlt_tokenizer *tokenizer, const struct mlt_tokenizer_spec *spec,
                                 millet_error *err)
{
    if (spec->n_merges < 0 || spec->n_merges > INT32_MAX / 4)
        return mlt_fail_at(err, MILLET_UNSUPPORTED, NULL, "tokenizer.ggml.merges", MILLET_NO_OFFSET,
                           "%lld merges are too many", (long long)spec->n_merges);
    uint32_t slots = 16;
    while (slots < 2 * spec->n_merges)
        slots *= 2;
    tokenizer->merge_mask = slots - 1;
    tokenizer->merge_slots =
        mlt_alloc_zero(&tokenizer->allocator, slots, sizeof *tokenizer->merge_slots, err);
    if (!tokenizer->merge_slots) return MILLET_NO_MEMORY;
    tokenizer->merges =
        mlt_alloc(&tokenizer->allocator, (size_t)spec->n_merges, sizeof *tokenizer->merges, err);
    if (!tokenizer->merges) return MILLET_NO_MEMORY;
    struct mlt_text both = {.allocator = &tokenizer->allocator};
    millet_status status = MILLET_OK;
    for (int64_t i = 0; i < spec->n_merges && !status; i++)
        status = add_merge(tokenizer, i, spec->merges[i], &both, err);
    mlt_text_release(&both);
    return status;
}

static millet_status open_ranks(struct mlt_tokenizer *tokenizer, const struct mlt_tokenizer_spec *spec,
                                millet_error *err)
{
    tokenizer->ranks =
        mlt_alloc(&tokenizer->allocator, (size_t)spec->n_tokens, sizeof *tokenizer->ranks, err);
    if (!tokenizer->ranks) return MILLET_NO_MEMORY;
    memcpy(tokenizer->ranks, spec->ranks, (size_t)spec->n_tokens * sizeof *tokenizer->ranks);
    return MILLET_OK;
}

/* Which string each byte is, before anything merges; of plain text: which token a byte without one falls back
 * to. */
static void number_bytes(struct mlt_tokenizer *tokenizer)
{
    for (int byte = 0; byte < 256; byte++) {
        char text[8];
        size_t length;
        if (tokenizer->byte_level)
            length = mlt_utf8_encode(mlt_codepoint_of_byte((uint8_t)byte), text);
        else
            length = (size_t)snprintf(text, sizeof text, "<0x%02X>", byte);
        tokenizer->byte_numbers[byte] = mlt_string_table_find(&tokenizer->strings, text, length);
    }
}

millet_status mlt_byte_bpe_open(struct mlt_tokenizer *tokenizer, const struct mlt_tokenizer_spec *spec,
                                millet_error *err)
{
    struct mlt_pretokenizer_traits traits = {0};
    if (!spec->pre_pattern) mlt_pretokenizer_traits(spec->pre, &traits);
    /* Rank files are of bytes, whatever the name. */
    tokenizer->byte_level = spec->ranks || !traits.raw_text;
    MLT_TRY(mlt_pretokenizer_open(&tokenizer->allocator, spec->pre, spec->pre_pattern,
                                  &tokenizer->pretokenizer, err));
    if (spec->ranks)
        MLT_TRY(open_ranks(tokenizer, spec, err));
    else
        MLT_TRY(open_merges(tokenizer, spec, err));
    number_bytes(tokenizer);
    return MILLET_OK;
}

void mlt_byte_bpe_close(struct mlt_tokenizer *tokenizer)
{
    mlt_pretokenizer_close(&tokenizer->pretokenizer);
    mlt_free(&tokenizer->allocator, tokenizer->merges);
    mlt_free(&tokenizer->allocator, tokenizer->merge_slots);
    mlt_free(&tokenizer->allocator, tokenizer->ranks);
}

uint32_t mlt_byte_bpe_merge_rank(const struct mlt_tokenizer *tokenizer, int32_t left, int32_t right,
                                 int32_t *result)
{
    if (left < 0 || right < 0) return 0;
    uint32_t index = *find_merge(tokenizer, left, right);
    if (index) *result = tokenizer->merges[index - 1].result;
    return index;
}

static bool merges_by_rank_of_pair(const struct mlt_tokenizer *tokenizer, const char *text,
                                   const struct mlt_merge_symbol *left, const struct mlt_merge_symbol *right,
                                   struct mlt_merge_candidate *candidate)
{
    (void)text;
    candidate->priority = mlt_byte_bpe_merge_rank(tokenizer, left->number, right->number, &candidate->number);
    return candidate->priority != 0;
}

static bool merges_by_rank_of_result(const struct mlt_tokenizer *tokenizer, const char *text,
                                     const struct mlt_merge_symbol *left,
                                     const struct mlt_merge_symbol *right,
                                     struct mlt_merge_candidate *candidate)
{
    (void)right;
    if (candidate->length > MLT_MAX_MATCH) return false;
    int32_t id = mlt_string_table_find(&tokenizer->strings, text + left->start, candidate->length);
    if (id < 0 || tokenizer->ranks[id] < 0) return false;
    candidate->priority = (uint32_t)tokenizer->ranks[id];
    candidate->number = id;
    return true;
}

/* A symbol without a token: the tokens of its bytes, as far as there are any. */
static millet_status emit_bytes(struct mlt_tokenize_run *run, const char *bytes, size_t length,
                                millet_error *err)
{
    const struct mlt_tokenizer *tokenizer = run->tokenizer;
    for (size_t i = 0; i < length; i++) {
        int32_t number = tokenizer->byte_numbers[(uint8_t)bytes[i]];
        MLT_TRY(
            mlt_emit(run, number >= 0 && number < tokenizer->n_tokens ? number : tokenizer->unknown, err));
    }
    return MILLET_OK;
}

static millet_status emit_symbols(struct mlt_tokenize_run *run, const char *word, millet_error *err)
{
    for (int32_t i = 0; i >= 0; i = run->symbols[i].next) {
        const struct mlt_merge_symbol *symbol = &run->symbols[i];
        if (symbol->number >= 0 && symbol->number < run->tokenizer->n_tokens)
            MLT_TRY(mlt_emit(run, symbol->number, err));
        else
            MLT_TRY(emit_bytes(run, word + symbol->start, symbol->length, err));
    }
    return MILLET_OK;
}

/* Merges by the list of pairs; positions count in the word's own bytes. */
static millet_status encode_by_pairs(struct mlt_tokenize_run *run, const char *word, size_t length,
                                     millet_error *err)
{
    const struct mlt_tokenizer *tokenizer = run->tokenizer;
    MLT_TRY(mlt_merge_reserve(run, length, err));
    size_t count = 0;
    for (size_t i = 0; i < length; count++) {
        struct mlt_merge_symbol *symbol = &run->symbols[count];
        symbol->start = (uint32_t)i;
        if (tokenizer->byte_level) {
            symbol->length = 1;
            symbol->number = tokenizer->byte_numbers[(uint8_t)word[i]];
        } else {
            symbol->length = (uint32_t)MLT_MIN(mlt_utf8_lead_length((uint8_t)word[i]), length - i);
            symbol->number = mlt_string_table_find(&tokenizer->strings, word + i, symbol->length);
        }
        i += symbol->length;
    }
    mlt_merge_symbols(run, word, count, merges_by_rank_of_pair);
    return emit_symbols(run, word, err);
}

/* Merges by the ranks of tokens; positions count in the mapped word, whose characters are the bytes. */
static millet_status encode_by_ranks(struct mlt_tokenize_run *run, const char *word, size_t length,
                                     millet_error *err)
{
    const struct mlt_tokenizer *tokenizer = run->tokenizer;
    MLT_TRY(mlt_merge_reserve(run, length, err));
    uint32_t start = 0;
    for (size_t i = 0; i < length; i++) {
        char character[4];
        uint32_t size = (uint32_t)mlt_utf8_encode(mlt_codepoint_of_byte((uint8_t)word[i]), character);
        run->symbols[i] = (struct mlt_merge_symbol){
            .start = start, .length = size, .number = tokenizer->byte_numbers[(uint8_t)word[i]]};
        start += size;
    }
    mlt_merge_symbols(run, run->mapped.data, length, merges_by_rank_of_result);
    for (int32_t i = 0; i >= 0; i = run->symbols[i].next)
        MLT_TRY(mlt_emit(run, run->symbols[i].number, err));
    return MILLET_OK;
}

static millet_status encode_word(void *context, const char *word, size_t length, millet_error *err)
{
    struct mlt_tokenize_run *run = context;
    const struct mlt_tokenizer *tokenizer = run->tokenizer;
    /* gemma4 splits only at line ends and has tokens, but no merges, for several of them. */
    bool whole = tokenizer->ignore_merges || tokenizer->ranks || (!tokenizer->byte_level && word[0] == '\n');
    if (whole) {
        const char *stored = word;
        size_t stored_length = length;
        if (tokenizer->byte_level) {
            MLT_TRY(map_bytes(&run->mapped, word, length, err));
            stored = run->mapped.data;
            stored_length = run->mapped.length;
        }
        int32_t id = mlt_string_table_find(&tokenizer->strings, stored, stored_length);
        bool usable = id >= 0 && id < tokenizer->n_tokens && tokenizer->types[id] != MLT_TOKEN_CONTROL &&
                      (!tokenizer->ranks || tokenizer->ranks[id] >= 0);
        if (usable) return mlt_emit(run, id, err);
    }
    return tokenizer->ranks ? encode_by_ranks(run, word, length, err)
                            : encode_by_pairs(run, word, length, err);
}

/* Invalid bytes become U+FFFD each, as the pattern needs characters; plain text gets its visible spaces. */
static millet_status clean(struct mlt_tokenize_run *run, const char *text, size_t length, millet_error *err)
{
    bool mark_spaces = !run->tokenizer->byte_level;
    run->text.length = 0;
    for (size_t i = 0, done = 0; i < length || done < length;) {
        uint32_t codepoint = 0;
        size_t size = i < length ? mlt_utf8_decode(text + i, length - i, &codepoint) : 0;
        if (size && !(mark_spaces && codepoint == ' ')) {
            i += size;
            continue;
        }
        MLT_TRY(mlt_text_append(&run->text, text + done, i - done, err));
        if (i < length) MLT_TRY(mlt_text_append(&run->text, size ? MLT_SPACE_MARK : MLT_REPLACEMENT, 3, err));
        done = ++i;
    }
    return MILLET_OK;
}

millet_status mlt_byte_bpe_encode(struct mlt_tokenize_run *run, const char *text, size_t length,
                                  millet_error *err)
{
    const struct mlt_tokenizer *tokenizer = run->tokenizer;
    if (!run->pretokenizer)
        MLT_TRY(
            mlt_pretokenizer_scratch_open(tokenizer->pretokenizer, run->allocator, &run->pretokenizer, err));
    if (!tokenizer->byte_level || !mlt_utf8_valid(text, length)) {
        MLT_TRY(clean(run, text, length, err));
        text = run->text.data;
        length = run->text.length;
    }
    if (tokenizer->nfc) {
        run->normalized.length = 0;
        MLT_TRY(mlt_text_to_nfc(text, length, &run->normalized, err));
        text = run->normalized.data;
        length = run->normalized.length;
    }
    return mlt_pretokenizer_split(tokenizer->pretokenizer, run->pretokenizer, text, length, encode_word, run,
                                  err);
}
