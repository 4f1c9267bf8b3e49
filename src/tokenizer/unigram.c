/*
 * SentencePiece's unigram language model: the segmentation with the highest sum of scores, by Viterbi's
 * algorithm (Kudo, 2018, arXiv:1804.10959).
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tokenizer/charsmap.h"
#include "tokenizer/tokenizer_internal.h"
#include "tokenizer/utf8.h"

#include <float.h>

/* An unknown character costs this much more than the rarest token; SentencePiece's kUnkPenalty. */
static const float unknown_penalty = 10.0f;

/* The best way to reach a position of the text. */
struct step {
    double score; /* doubles, as the reference adds them up */
    uint32_t from;
    int32_t id; /* -1: a character that no token covers */
};

millet_status mlt_unigram_open(struct mlt_tokenizer *tokenizer, millet_error *err)
{
    struct mlt_trie_entry *entries =
        mlt_alloc(&tokenizer->allocator, (size_t)tokenizer->n_tokens, sizeof *entries, err);
    if (!entries) return MILLET_NO_MEMORY;
    size_t count = 0;
    float lowest = FLT_MAX;
    for (int32_t id = 0; id < tokenizer->n_tokens; id++) {
        uint8_t type = tokenizer->types[id];
        if (type == MLT_TOKEN_NORMAL) lowest = MLT_MIN(lowest, tokenizer->scores[id]);
        if (type != MLT_TOKEN_NORMAL && type != MLT_TOKEN_USER_DEFINED && type != MLT_TOKEN_UNUSED) continue;
        size_t length;
        const char *text = mlt_string_table_get(&tokenizer->strings, id, &length);
        if (length && length <= MLT_MAX_MATCH)
            entries[count++] = (struct mlt_trie_entry){text, (uint32_t)length, id};
    }
    tokenizer->unknown_score = lowest - unknown_penalty;
    millet_status status = mlt_trie_open(&tokenizer->words, &tokenizer->allocator, entries, count, err);
    mlt_free(&tokenizer->allocator, entries);
    return status;
}

static void improve(struct step *step, double score, size_t from, int32_t id)
{
    if (score > step->score) *step = (struct step){score, (uint32_t)from, id};
}

/* Fills steps[0..length] for the normalised text. */
static void find_best(const struct mlt_tokenizer *tokenizer, const char *text, size_t length,
                      struct step *steps)
{
    const struct mlt_trie *words = &tokenizer->words;
    for (size_t i = 0; i <= length; i++)
        steps[i] = (struct step){-DBL_MAX, 0, -1};
    steps[0].score = 0;
    for (size_t i = 0; i < length;) {
        uint32_t codepoint;
        size_t character = mlt_utf8_step(text + i, length - i, &codepoint);
        bool covered = false;
        uint32_t node = 0;
        for (size_t end = i; end < length;) {
            node = mlt_trie_step(words, node, (uint8_t)text[end++]);
            if (!node) break;
            int32_t id = words->nodes[node].value;
            if (id < 0) continue;
            if (end - i == character) covered = true;
            /* User-defined tokens cost nothing, which beats the negative scores of the others. */
            double score = tokenizer->types[id] == MLT_TOKEN_USER_DEFINED ? 0.0 : tokenizer->scores[id];
            improve(&steps[end], steps[i].score + score, i, id);
        }
        if (!covered) improve(&steps[i + character], steps[i].score + tokenizer->unknown_score, i, -1);
        i += character;
    }
}

/* A run of characters that no token covers: its bytes, where every byte has a token, else one unknown token.
 */
static millet_status emit_unknown(struct mlt_tokenize_run *run, const char *text, size_t length,
                                  bool continued, millet_error *err)
{
    const struct mlt_tokenizer *tokenizer = run->tokenizer;
    if (!tokenizer->byte_fallback) return continued ? MILLET_OK : mlt_emit(run, tokenizer->unknown, err);
    for (size_t i = 0; i < length; i++)
        MLT_TRY(mlt_emit(run, tokenizer->byte_numbers[(uint8_t)text[i]], err));
    return MILLET_OK;
}

static millet_status emit_best(struct mlt_tokenize_run *run, const char *text, size_t length,
                               struct step *steps, millet_error *err)
{
    /* The path is known from its end; turned round, steps[end].from says where the token after this one ends.
     */
    uint32_t first_end = (uint32_t)length;
    for (uint32_t at = (uint32_t)length, after = at; at > 0;) {
        uint32_t from = steps[at].from;
        steps[at].from = after;
        first_end = after = at;
        at = from;
    }
    bool unknown = false;
    for (uint32_t begin = 0, end = first_end;; begin = end, end = steps[end].from) {
        if (steps[end].id >= 0)
            MLT_TRY(mlt_emit(run, steps[end].id, err));
        else
            MLT_TRY(emit_unknown(run, text + begin, end - begin, unknown, err));
        unknown = steps[end].id < 0;
        if (end == length) return MILLET_OK;
    }
}

millet_status mlt_unigram_encode(struct mlt_tokenize_run *run, const char *text, size_t length,
                                 millet_error *err)
{
    MLT_TRY(mlt_sentencepiece_normalize(run, text, length, err));
    if (run->text.length == 0) return MILLET_OK;
    if (run->text.length >= INT32_MAX)
        return mlt_fail(err, MILLET_UNSUPPORTED,
                        "a text of %zu bytes is too long to tokenise at once; cut it", run->text.length);
    struct step *steps = mlt_alloc(run->allocator, run->text.length + 1, sizeof *steps, err);
    if (!steps) return MILLET_NO_MEMORY;
    find_best(run->tokenizer, run->text.data, run->text.length, steps);
    millet_status status = emit_best(run, run->text.data, run->text.length, steps, err);
    mlt_free(run->allocator, steps);
    return status;
}
