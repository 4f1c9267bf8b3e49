/* Spans of a prompt as labels of its tokens. SPDX-License-Identifier: Apache-2.0 */
#include "corpus/tag_labels.h"

#include "tokenizer/utf8.h"

#include <stdlib.h>
#include <string.h>

#define NO_PLACE SIZE_MAX

struct span {
    size_t start, end; /* bytes of the text */
    int32_t begin, in; /* label of its first token, and of the others */
    bool begun;        /* a token lies in it */
};

/* What a call holds. */
struct labelling {
    const millet_tokenizer *tokenizer;
    const struct mlt_tagged_text *text;
    struct span *spans; /* in the order of the text */
    size_t n_spans;
    struct mlt_text decoded, name;
    size_t *ends;   /* [count] of tokens in `decoded` */
    size_t *places; /* [count] where a token lies in the text, or NO_PLACE */
    char *piece;
};

static bool is_control(const struct labelling *l, int32_t token)
{
    return mlt_tokenizer_type(l->tokenizer->tokenizer, token) == MLT_TOKEN_CONTROL;
}

/* ---- Spans ---- */

static millet_status find_label(struct labelling *l, const char *kind, const char *name, int32_t *id,
                                millet_error *err)
{
    l->name.length = 0;
    MLT_TRY(mlt_text_printf(&l->name, err, "<|%s%s|>", kind, name));
    *id = mlt_tokenizer_find(l->tokenizer->tokenizer, l->name.data, l->name.length);
    if (*id >= 0 && !is_control(l, *id)) *id = -1;
    return MILLET_OK;
}

/* A whole number from 0 to `most`. The parser makes reals of all numbers. */
static bool get_place(const json_t *object, const char *key, size_t most, size_t *place)
{
    const json_t *value = json_object_get(object, key);
    double number = json_number_value(value);
    if (!json_is_number(value) || !(number >= 0) || !(number <= (double)most)) return false;
    *place = (size_t)number;
    return (double)*place == number;
}

static int compare_spans(const void *a, const void *b)
{
    const struct span *left = a, *right = b;
    return (left->start > right->start) - (left->start < right->start);
}

/* *skip stays as it is where all spans are good. */
static millet_status read_spans(struct labelling *l, const json_t *tags, millet_skip *skip, millet_error *err)
{
    for (size_t i = 0; i < l->n_spans; i++) {
        const json_t *tag = json_array_get(tags, i), *name = json_object_get(tag, "name");
        struct span *span = &l->spans[i];
        if (!json_is_string(name) || !json_is_number(json_object_get(tag, "start")) ||
            !json_is_number(json_object_get(tag, "end")))
            *skip = MILLET_SKIP_FIELDS;
        else if (!get_place(tag, "start", l->text->length, &span->start) ||
                 !get_place(tag, "end", l->text->length, &span->end) || span->end <= span->start)
            *skip = MILLET_SKIP_TAGS;
        if (*skip != MILLET_SKIP_REASONS) return MILLET_OK;
        const char *text = json_string_value(name);
        MLT_TRY(find_label(l, "B:", text, &span->begin, err));
        MLT_TRY(find_label(l, "I:", text, &span->in, err));
        if (strlen(text) != json_string_length(name) || span->begin < 0 || span->in < 0) {
            *skip = MILLET_SKIP_TAG_TOKENS;
            return MILLET_OK;
        }
    }
    if (l->n_spans) qsort(l->spans, l->n_spans, sizeof *l->spans, compare_spans);
    for (size_t i = 1; i < l->n_spans; i++)
        if (l->spans[i].start < l->spans[i - 1].end) *skip = MILLET_SKIP_TAGS;
    return MILLET_OK;
}

/* ---- Places ---- */

/* The tokens' bytes one after the other, and where each ends: a begun character counts to its token. */
static millet_status decode(struct labelling *l, millet_error *err)
{
    struct mlt_decode_state state = {0};
    for (size_t i = 0; i <= l->text->count; i++) {
        size_t n = i < l->text->count
                       ? mlt_decode_token(l->tokenizer->tokenizer, &state, l->text->tokens[i], true, l->piece)
                       : mlt_decode_finish(&state, l->piece);
        MLT_TRY(mlt_text_append(&l->decoded, l->piece, n, err));
        if (i < l->text->count) l->ends[i] = l->decoded.length + (size_t)state.n_pending;
    }
    return MILLET_OK;
}

/*
 * Finds the tokens' bytes in the text. White space may have been added or left out (SentencePiece); false
 * where anything else has been changed.
 */
static bool find_places(struct labelling *l)
{
    const char *text = l->text->text, *decoded = l->decoded.data;
    size_t at = 0, i = 0;
    for (size_t token = 0; token < l->text->count; token++) {
        size_t white = NO_PLACE, black = NO_PLACE;
        for (; i < l->ends[token]; i++) {
            if (i >= l->decoded.length) return false;
            if (mlt_ascii_space(decoded[i])) {
                if (at == l->text->length || !mlt_ascii_space(text[at])) continue;
                if (white == NO_PLACE) white = at;
                at++;
                continue;
            }
            while (at < l->text->length && mlt_ascii_space(text[at]))
                at++;
            if (at == l->text->length || text[at] != decoded[i]) return false;
            if (black == NO_PLACE) black = at;
            at++;
        }
        l->places[token] = black != NO_PLACE ? black : white;
    }
    while (at < l->text->length && mlt_ascii_space(text[at]))
        at++;
    return at == l->text->length;
}

/* ---- All ---- */

static void label(struct labelling *l, int32_t outside, size_t *n_labels)
{
    size_t span = 0;
    *n_labels = 0;
    for (size_t i = 0; i < l->text->count; i++) {
        l->text->labels[i] = -1;
        if (is_control(l, l->text->tokens[i])) continue;
        ++*n_labels;
        l->text->labels[i] = outside;
        size_t place = l->places[i];
        if (place == NO_PLACE) continue;
        while (span < l->n_spans && l->spans[span].end <= place)
            span++;
        if (span == l->n_spans || place < l->spans[span].start) continue;
        l->text->labels[i] = l->spans[span].begun ? l->spans[span].in : l->spans[span].begin;
        l->spans[span].begun = true;
    }
}

static millet_status label_all(struct labelling *l, const json_t *tags, size_t *n_labels, millet_skip *skip,
                               millet_error *err)
{
    int32_t outside;
    const struct mlt_tagged_text *text = l->text;
    MLT_TRY(find_label(l, "O", "", &outside, err));
    if (!json_is_array(tags))
        *skip = MILLET_SKIP_FIELDS;
    else if (outside < 0)
        *skip = MILLET_SKIP_TAG_TOKENS;
    else if (text->count == 0 || !is_control(l, text->tokens[text->count - 1]))
        *skip = MILLET_SKIP_TAG_PROMPT;
    else
        MLT_TRY(read_spans(l, tags, skip, err));
    if (*skip != MILLET_SKIP_REASONS) return MILLET_OK;
    MLT_TRY(decode(l, err));
    if (!find_places(l)) {
        *skip = MILLET_SKIP_TAGS;
        return MILLET_OK;
    }
    label(l, outside, n_labels);
    for (size_t i = 0; i < l->n_spans; i++)
        if (!l->spans[i].begun) *skip = MILLET_SKIP_TAGS;
    return MILLET_OK;
}

millet_status mlt_label_tokens(const millet_tokenizer *tokenizer, const millet_allocator *allocator,
                               const json_t *tags, const struct mlt_tagged_text *text, size_t *n_labels,
                               millet_skip *skip, millet_error *err)
{
    struct labelling l = {.tokenizer = tokenizer,
                          .text = text,
                          .n_spans = json_array_size(tags),
                          .decoded.allocator = allocator,
                          .name.allocator = allocator};
    *n_labels = 0;
    l.spans = mlt_alloc_zero(allocator, l.n_spans + 1, sizeof *l.spans, err);
    l.ends = mlt_alloc(allocator, text->count + 1, sizeof *l.ends, err);
    l.places = mlt_alloc(allocator, text->count + 1, sizeof *l.places, err);
    l.piece = mlt_alloc(allocator, mlt_tokenizer_max_piece(tokenizer->tokenizer) + 16, 1, err);
    millet_status status = MILLET_NO_MEMORY;
    if (l.spans && l.ends && l.places && l.piece) status = label_all(&l, tags, n_labels, skip, err);
    if (*skip != MILLET_SKIP_REASONS) *n_labels = 0;
    mlt_text_release(&l.decoded);
    mlt_text_release(&l.name);
    mlt_free(allocator, l.spans);
    mlt_free(allocator, l.ends);
    mlt_free(allocator, l.places);
    mlt_free(allocator, l.piece);
    return status;
}
