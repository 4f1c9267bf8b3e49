/* Opening a tokenizer, and what all families share. SPDX-License-Identifier: Apache-2.0 */
#include "tokenizer/charsmap.h"
#include "tokenizer/merge.h"

#include <string.h>

/* Longest text that one call takes: positions are 32-bit numbers, and normalising may triple it. */
enum { MAX_TEXT = 512 * 1024 * 1024 };

struct mlt_tokenizer_spec mlt_tokenizer_spec_default(enum mlt_tokenizer_kind kind)
{
    bool spm = kind == MLT_TOKENIZER_SPM;
    return (struct mlt_tokenizer_spec){
        .kind = kind,
        .bos = -1,
        .eos = -1,
        .eot = -1,
        .unknown = -1,
        .separator = -1,
        .padding = -1,
        .mask = -1,
        .cls = -1,
        .add_bos = spm || kind == MLT_TOKENIZER_WORDPIECE,
        .add_eos = kind == MLT_TOKENIZER_UNIGRAM,
        .add_space_prefix = spm,
        .lowercase = kind == MLT_TOKENIZER_WORDPIECE,
    };
}

static bool has_scores(enum mlt_tokenizer_kind kind)
{
    return kind == MLT_TOKENIZER_SPM || kind == MLT_TOKENIZER_UNIGRAM;
}

int mlt_byte_token_value(const char *text, size_t length)
{
    if (length != 6 || memcmp(text, "<0x", 3) != 0 || text[5] != '>') return -1;
    int value = 0;
    for (int i = 3; i < 5; i++) {
        char digit = text[i];
        if (digit >= '0' && digit <= '9')
            value = value * 16 + (digit - '0');
        else if (digit >= 'A' && digit <= 'F')
            value = value * 16 + (digit - 'A' + 10);
        else if (digit >= 'a' && digit <= 'f')
            value = value * 16 + (digit - 'a' + 10);
        else
            return -1;
    }
    return value;
}

static millet_status bad(const char *key, millet_error *err, const char *problem, long long first,
                         long long second)
{
    return mlt_fail_at(err, MILLET_BAD_FORMAT, NULL, key, MILLET_NO_OFFSET, problem, first, second);
}

/* The special ids of a specification, by name. */
static millet_status check_ids(const struct mlt_tokenizer_spec *spec, millet_error *err)
{
    const struct {
        const char *key;
        int32_t id;
    } ids[] = {
        {"tokenizer.ggml.bos_token_id", spec->bos},
        {"tokenizer.ggml.eos_token_id", spec->eos},
        {"tokenizer.ggml.eot_token_id", spec->eot},
        {"tokenizer.ggml.unknown_token_id", spec->unknown},
        {"tokenizer.ggml.seperator_token_id", spec->separator},
        {"tokenizer.ggml.padding_token_id", spec->padding},
        {"tokenizer.ggml.mask_token_id", spec->mask},
        {"tokenizer.ggml.cls_token_id", spec->cls},
    };
    for (size_t i = 0; i < MLT_COUNT(ids); i++)
        if (ids[i].id < -1 || ids[i].id >= spec->n_tokens)
            return bad(ids[i].key, err, "the id %lld is outside the vocabulary of %lld tokens", ids[i].id,
                       spec->n_tokens);
    if (spec->add_bos && spec->bos < 0 && spec->kind != MLT_TOKENIZER_WORDPIECE)
        return bad("tokenizer.ggml.bos_token_id", err, "BOS is to be added, but the vocabulary has none", 0,
                   0);
    if (spec->add_eos && spec->eos < 0)
        return bad("tokenizer.ggml.eos_token_id", err, "EOS is to be added, but the vocabulary has none", 0,
                   0);
    return MILLET_OK;
}

static millet_status open_strings(struct mlt_tokenizer *tokenizer, const struct mlt_tokenizer_spec *spec,
                                  millet_error *err)
{
    size_t bytes = 0;
    for (int32_t i = 0; i < spec->n_tokens; i++) {
        if (spec->tokens[i].length > INT32_MAX || (bytes += spec->tokens[i].length) > INT32_MAX)
            return mlt_fail_at(err, MILLET_UNSUPPORTED, NULL, "tokenizer.ggml.tokens", MILLET_NO_OFFSET,
                               "the texts of the tokens have more than 2 GiB");
        tokenizer->max_token_bytes = MLT_MAX(tokenizer->max_token_bytes, spec->tokens[i].length);
    }
    MLT_TRY(mlt_string_table_open(&tokenizer->strings, &tokenizer->allocator, (size_t)spec->n_tokens, bytes,
                                  err));
    for (int32_t i = 0; i < spec->n_tokens; i++) {
        int32_t first;
        MLT_TRY(mlt_string_table_add(&tokenizer->strings, spec->tokens[i].data, spec->tokens[i].length,
                                     &first, err));
        /* llama2.c's files may hold a text twice (its padding does); others have no use for an id never
         * reached. */
        if (first != i && spec->tokens[i].length)
            return bad("tokenizer.ggml.tokens", err, "token %lld has the same text as token %lld", i, first);
    }
    return MILLET_OK;
}

/* The type of a token where the file gives none. */
static enum mlt_token_type guess_type(const struct mlt_tokenizer_spec *spec, int32_t id)
{
    if (id == spec->unknown) return MLT_TOKEN_UNKNOWN;
    if (id == spec->bos || id == spec->eos) return MLT_TOKEN_CONTROL;
    const struct mlt_token_text *text = &spec->tokens[id];
    return has_scores(spec->kind) && mlt_byte_token_value(text->data, text->length) >= 0 ? MLT_TOKEN_BYTE
                                                                                         : MLT_TOKEN_NORMAL;
}

static millet_status open_types(struct mlt_tokenizer *tokenizer, const struct mlt_tokenizer_spec *spec,
                                millet_error *err)
{
    const millet_allocator *allocator = &tokenizer->allocator;
    tokenizer->types = mlt_alloc(allocator, (size_t)spec->n_tokens, 1, err);
    tokenizer->flags = mlt_alloc_zero(allocator, (size_t)spec->n_tokens, 1, err);
    if (!tokenizer->types || !tokenizer->flags) return MILLET_NO_MEMORY;
    for (int32_t id = 0; id < spec->n_tokens; id++) {
        int32_t type = spec->types ? spec->types[id] : (int32_t)guess_type(spec, id);
        if (type < 0 || type > MLT_TOKEN_BYTE)
            return bad("tokenizer.ggml.token_type", err, "token %lld has the type %lld; 1 to 6 are known", id,
                       type);
        /* Files write 0 for tokens that nobody is to use. */
        if (type == 0) type = MLT_TOKEN_UNUSED;
        if (type == MLT_TOKEN_BYTE &&
            mlt_byte_token_value(spec->tokens[id].data, spec->tokens[id].length) < 0)
            return bad("tokenizer.ggml.token_type", err,
                       "token %lld is of type byte, but its text is not <0xNN>", id, 0);
        tokenizer->types[id] = (uint8_t)type;
    }
    return MILLET_OK;
}

static millet_status open_scores(struct mlt_tokenizer *tokenizer, const struct mlt_tokenizer_spec *spec,
                                 millet_error *err)
{
    tokenizer->scores = mlt_alloc_zero(&tokenizer->allocator, (size_t)spec->n_tokens, sizeof(float), err);
    if (!tokenizer->scores) return MILLET_NO_MEMORY;
    for (int32_t id = 0; spec->scores && id < spec->n_tokens; id++) {
        tokenizer->scores[id] = spec->scores[id];
        if (spec->scores[id] != spec->scores[id])
            return bad("tokenizer.ggml.scores", err, "the score of token %lld is not a number", id, 0);
    }
    return MILLET_OK;
}

static void number_byte_tokens(struct mlt_tokenizer *tokenizer)
{
    for (int byte = 0; byte < 256; byte++)
        tokenizer->byte_numbers[byte] = -1;
    for (int32_t id = 0; id < tokenizer->n_tokens; id++) {
        if (tokenizer->types[id] != MLT_TOKEN_BYTE) continue;
        size_t length;
        const char *text = mlt_string_table_get(&tokenizer->strings, id, &length);
        int byte = mlt_byte_token_value(text, length);
        if (tokenizer->byte_numbers[byte] < 0) tokenizer->byte_numbers[byte] = id;
    }
    tokenizer->byte_fallback = true;
    for (int byte = 0; byte < 256; byte++)
        if (tokenizer->byte_numbers[byte] < 0) tokenizer->byte_fallback = false;
}

static millet_status open_family(struct mlt_tokenizer *tokenizer, const struct mlt_tokenizer_spec *spec,
                                 millet_error *err)
{
    switch (spec->kind) {
    case MLT_TOKENIZER_SPM:
        number_byte_tokens(tokenizer);
        mlt_sentencepiece_open(tokenizer);
        break;
    case MLT_TOKENIZER_UNIGRAM: number_byte_tokens(tokenizer); return mlt_unigram_open(tokenizer, err);
    case MLT_TOKENIZER_BPE: return mlt_byte_bpe_open(tokenizer, spec, err);
    case MLT_TOKENIZER_WORDPIECE: return mlt_wordpiece_open(tokenizer, err);
    }
    return MILLET_OK;
}

static millet_status open_parts(struct mlt_tokenizer *tokenizer, const struct mlt_tokenizer_spec *spec,
                                millet_error *err)
{
    if (spec->n_tokens < 1)
        return bad("tokenizer.ggml.tokens", err, "the vocabulary has %lld tokens; at least 1 is needed",
                   spec->n_tokens, 0);
    MLT_TRY(check_ids(spec, err));
    MLT_TRY(open_strings(tokenizer, spec, err));
    MLT_TRY(open_types(tokenizer, spec, err));
    if (has_scores(spec->kind)) MLT_TRY(open_scores(tokenizer, spec, err));
    MLT_TRY(mlt_special_tokens_open(tokenizer, spec, err));
    if (spec->kind == MLT_TOKENIZER_SPM || spec->kind == MLT_TOKENIZER_UNIGRAM)
        MLT_TRY(mlt_charsmap_open(&tokenizer->allocator, spec->charsmap, spec->charsmap_bytes,
                                  &tokenizer->charsmap, err));
    return open_family(tokenizer, spec, err);
}

millet_status mlt_tokenizer_open(const millet_allocator *allocator, const struct mlt_tokenizer_spec *spec,
                                 struct mlt_tokenizer **out, millet_error *err)
{
    *out = NULL;
    struct mlt_tokenizer *tokenizer = mlt_alloc_zero(allocator, 1, sizeof *tokenizer, err);
    if (!tokenizer) return MILLET_NO_MEMORY;
    tokenizer->allocator = *allocator;
    tokenizer->kind = spec->kind;
    tokenizer->n_tokens = spec->n_tokens;
    tokenizer->bos = spec->bos;
    tokenizer->eos = spec->eos;
    tokenizer->eot = spec->eot;
    tokenizer->unknown = spec->unknown;
    tokenizer->separator = spec->separator;
    tokenizer->cls = spec->cls >= 0 ? spec->cls : spec->bos;
    tokenizer->add_bos = spec->add_bos;
    tokenizer->add_eos = spec->add_eos;
    tokenizer->add_space_prefix = spec->add_space_prefix;
    tokenizer->remove_extra_whitespace = spec->remove_extra_whitespace;
    tokenizer->ignore_merges = spec->ignore_merges;
    tokenizer->nfc = spec->nfc;
    tokenizer->lowercase = spec->lowercase;
    millet_status status = open_parts(tokenizer, spec, err);
    if (status)
        mlt_tokenizer_close(&tokenizer);
    else
        *out = tokenizer;
    return status;
}

void mlt_tokenizer_close(struct mlt_tokenizer **handle)
{
    struct mlt_tokenizer *tokenizer = *handle;
    if (!tokenizer) return;
    const millet_allocator allocator = tokenizer->allocator;
    mlt_string_table_close(&tokenizer->strings);
    mlt_trie_close(&tokenizer->special);
    mlt_trie_close(&tokenizer->user_defined);
    mlt_trie_close(&tokenizer->words);
    mlt_charsmap_close(&tokenizer->charsmap);
    mlt_byte_bpe_close(tokenizer);
    mlt_free(&allocator, tokenizer->types);
    mlt_free(&allocator, tokenizer->flags);
    mlt_free(&allocator, tokenizer->scores);
    mlt_free(&allocator, tokenizer);
    *handle = NULL;
}

int32_t mlt_tokenizer_size(const struct mlt_tokenizer *tokenizer)
{
    return tokenizer->n_tokens;
}

int32_t mlt_tokenizer_find(const struct mlt_tokenizer *tokenizer, const char *text, size_t length)
{
    int32_t id = mlt_string_table_find(&tokenizer->strings, text, length);
    return id < tokenizer->n_tokens ? id : -1;
}

struct mlt_token_text mlt_tokenizer_token(const struct mlt_tokenizer *tokenizer, int32_t id)
{
    struct mlt_token_text text;
    text.data = mlt_string_table_get(&tokenizer->strings, id, &text.length);
    return text;
}

enum mlt_token_type mlt_tokenizer_type(const struct mlt_tokenizer *tokenizer, int32_t id)
{
    return (enum mlt_token_type)tokenizer->types[id];
}

bool mlt_tokenizer_is_end(const struct mlt_tokenizer *tokenizer, int32_t id)
{
    return id >= 0 && id < tokenizer->n_tokens && (tokenizer->flags[id] & MLT_FLAG_END);
}

millet_status mlt_emit(struct mlt_tokenize_run *run, int32_t id, millet_error *err)
{
    if (id < 0) return MILLET_OK;
    void *ids = run->ids;
    millet_status status = mlt_grow(run->allocator, &ids, &run->capacity, run->count, sizeof *run->ids, err);
    run->ids = ids;
    if (status) return status;
    run->ids[run->count++] = id;
    return MILLET_OK;
}

/* Tokenises text without special tokens. */
static millet_status encode(struct mlt_tokenize_run *run, const char *text, size_t length, millet_error *err)
{
    if (length == 0) return MILLET_OK;
    millet_status status = MILLET_OK;
    switch (run->tokenizer->kind) {
    case MLT_TOKENIZER_SPM: status = mlt_sentencepiece_encode(run, text, length, err); break;
    case MLT_TOKENIZER_UNIGRAM: status = mlt_unigram_encode(run, text, length, err); break;
    case MLT_TOKENIZER_BPE: status = mlt_byte_bpe_encode(run, text, length, err); break;
    case MLT_TOKENIZER_WORDPIECE: status = mlt_wordpiece_encode(run, text, length, err); break;
    }
    run->continues = false;
    return status;
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Cuts out the special tokens, at each place the longest, and tokenises what is between them. */
static millet_status encode_around_special(struct mlt_tokenize_run *run, const struct mlt_trie *special,
                                           const char *text, size_t length, millet_error *err)
{
    const struct mlt_tokenizer *tokenizer = run->tokenizer;
    size_t done = 0;
    for (size_t i = 0; i < length && special->n_nodes;) {
        int32_t id = -1;
        size_t size = mlt_trie_longest(special, text + i, length - i, &id);
        if (!size) {
            i++;
            continue;
        }
        size_t end = i;
        if (tokenizer->flags[id] & MLT_FLAG_STRIP_LEFT)
            while (end > done && is_space(text[end - 1]))
                end--;
        MLT_TRY(encode(run, text + done, end - done, err));
        MLT_TRY(mlt_emit(run, id, err));
        run->continues = false;
        i += size;
        if (tokenizer->flags[id] & MLT_FLAG_STRIP_RIGHT)
            while (i < length && is_space(text[i]))
                i++;
        done = i;
    }
    return encode(run, text + done, length - done, err);
}

static millet_status encode_all(struct mlt_tokenize_run *run, const char *text, size_t length, unsigned flags,
                                millet_error *err)
{
    const struct mlt_tokenizer *tokenizer = run->tokenizer;
    bool frame = flags & MLT_TOKENIZE_BOS_EOS, wordpiece = tokenizer->kind == MLT_TOKENIZER_WORDPIECE;
    if (frame && tokenizer->add_bos) MLT_TRY(mlt_emit(run, wordpiece ? tokenizer->cls : tokenizer->bos, err));
    const struct mlt_trie *special =
        flags & MLT_TOKENIZE_SPECIAL ? &tokenizer->special : &tokenizer->user_defined;
    MLT_TRY(encode_around_special(run, special, text, length, err));
    if (frame && wordpiece && tokenizer->add_bos) MLT_TRY(mlt_emit(run, tokenizer->separator, err));
    if (frame && tokenizer->add_eos) MLT_TRY(mlt_emit(run, tokenizer->eos, err));
    return MILLET_OK;
}

millet_status mlt_tokenize(const struct mlt_tokenizer *tokenizer, const millet_allocator *allocator,
                           const char *text, size_t length, unsigned flags, int32_t **ids, size_t *count,
                           millet_error *err)
{
    *ids = NULL;
    *count = 0;
    if (length > MAX_TEXT)
        return mlt_fail(err, MILLET_UNSUPPORTED,
                        "a text of %zu bytes is too long to tokenise at once; cut it at %d", length,
                        MAX_TEXT);
    struct mlt_tokenize_run run = {
        .tokenizer = tokenizer,
        .allocator = allocator,
        .text = {.allocator = allocator},
        .normalized = {.allocator = allocator},
        .mapped = {.allocator = allocator},
        .continues = flags & MLT_TOKENIZE_CONTINUE,
    };
    millet_status status = encode_all(&run, text, length, flags, err);
    mlt_free(allocator, run.symbols);
    mlt_free(allocator, run.heap);
    mlt_text_release(&run.text);
    mlt_text_release(&run.normalized);
    mlt_text_release(&run.mapped);
    mlt_pretokenizer_scratch_close(&run.pretokenizer);
    if (status) {
        mlt_free(allocator, run.ids);
        return status;
    }
    *ids = run.ids;
    *count = run.count;
    return MILLET_OK;
}

millet_status mlt_tokenizer_normalize(const struct mlt_tokenizer *tokenizer,
                                      const millet_allocator *allocator, const char *text, size_t length,
                                      struct mlt_text *out, millet_error *err)
{
    bool sentencepiece = tokenizer->kind == MLT_TOKENIZER_SPM || tokenizer->kind == MLT_TOKENIZER_UNIGRAM;
    if (!sentencepiece) return mlt_text_append(out, text, length, err);
    struct mlt_tokenize_run run = {
        .tokenizer = tokenizer, .allocator = allocator, .text = {.allocator = allocator}};
    millet_status status = mlt_sentencepiece_normalize(&run, text, length, err);
    if (!status && run.text.length) status = mlt_text_append(out, run.text.data, run.text.length, err);
    mlt_text_release(&run.text);
    return status;
}
