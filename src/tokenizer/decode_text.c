/* Tokens to text, a token at a time. SPDX-License-Identifier: Apache-2.0 */
#include "tokenizer/tokenizer_internal.h"
#include "tokenizer/utf8.h"

#include <string.h>

/* Where decoded bytes go: characters that are complete to `out`, a begun one to the state. Without a state
 * all bytes go to `out`, as those of a text that has begun. */
struct sink {
    struct mlt_decode_state *state;
    char *out;
    size_t length;
};

static void put_replacement(struct sink *sink)
{
    memcpy(sink->out + sink->length, MLT_REPLACEMENT, 3);
    sink->length += 3;
}

static void put_byte(struct sink *sink, uint8_t byte)
{
    struct mlt_decode_state *state = sink->state;
    if (!state) {
        sink->out[sink->length++] = (char)byte;
        return;
    }
    if (state->n_pending && !mlt_utf8_continues(state->pending, state->n_pending, byte)) {
        put_replacement(sink);
        state->n_pending = 0;
    }
    if (state->n_pending == 0) {
        if (byte < 0x80)
            sink->out[sink->length++] = (char)byte;
        else if (mlt_utf8_lead_length(byte) == 1)
            put_replacement(sink);
        else
            state->pending[state->n_pending++] = byte;
        return;
    }
    state->pending[state->n_pending++] = byte;
    if ((size_t)state->n_pending == mlt_utf8_lead_length(state->pending[0])) {
        memcpy(sink->out + sink->length, state->pending, (size_t)state->n_pending);
        sink->length += (size_t)state->n_pending;
        state->n_pending = 0;
    }
}

static void put_bytes(struct sink *sink, const char *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++)
        put_byte(sink, (uint8_t)bytes[i]);
}

/* Text in which U+2581 stands for the space. */
static void put_marked(struct sink *sink, const char *text, size_t length)
{
    for (size_t i = 0; i < length;) {
        bool space = length - i >= 3 && memcmp(text + i, MLT_SPACE_MARK, 3) == 0;
        put_byte(sink, space ? ' ' : (uint8_t)text[i]);
        i += space ? 3 : 1;
    }
}

/* Byte-mapped text; characters that stand for no byte are taken as they are. */
static void put_mapped(struct sink *sink, const char *text, size_t length)
{
    for (size_t i = 0; i < length;) {
        uint32_t codepoint;
        size_t size = mlt_utf8_decode(text + i, length - i, &codepoint);
        int byte = size ? mlt_byte_of_codepoint(codepoint) : -1;
        if (byte >= 0)
            put_byte(sink, (uint8_t)byte);
        else
            put_bytes(sink, text + i, MLT_MAX(1, size));
        i += MLT_MAX(1, size);
    }
}

/* WordPiece: a word begins with U+2581, which is a space unless a sentence begins here or the word is one of
 * the punctuation marks that stand directly behind a word. */
static void put_wordpiece(struct sink *sink, const char *text, size_t length, bool first)
{
    if (length >= 3 && memcmp(text, MLT_SPACE_MARK, 3) == 0) {
        text += 3;
        length -= 3;
        bool closing = length == 1 && memchr(".,!?", text[0], 4);
        if (!first && !closing) put_byte(sink, ' ');
    }
    put_bytes(sink, text, length);
}

static void put_text(const struct mlt_tokenizer *tokenizer, struct sink *sink, const char *text,
                     size_t length)
{
    bool first = sink->state && !sink->state->started;
    if (first) sink->state->started = true;
    switch (tokenizer->kind) {
    case MLT_TOKENIZER_BPE:
        if (tokenizer->byte_level)
            put_mapped(sink, text, length);
        else
            put_marked(sink, text, length);
        break;
    case MLT_TOKENIZER_WORDPIECE: put_wordpiece(sink, text, length, first); break;
    case MLT_TOKENIZER_SPM:
    case MLT_TOKENIZER_UNIGRAM:
        if (first && tokenizer->add_space_prefix && length >= 3 && memcmp(text, MLT_SPACE_MARK, 3) == 0) {
            text += 3;
            length -= 3;
        }
        put_marked(sink, text, length);
        break;
    }
}

size_t mlt_tokenizer_max_piece(const struct mlt_tokenizer *tokenizer)
{
    /* Each byte may become U+FFFD, the up to three pending ones together too. */
    return 3 * (tokenizer->max_token_bytes + 3);
}

size_t mlt_decode_token(const struct mlt_tokenizer *tokenizer, struct mlt_decode_state *state, int32_t id,
                        bool special, char *out)
{
    struct sink sink = {state, out, 0};
    size_t length;
    const char *text = mlt_string_table_get(&tokenizer->strings, id, &length);
    switch ((enum mlt_token_type)tokenizer->types[id]) {
    case MLT_TOKEN_UNKNOWN:
    case MLT_TOKEN_CONTROL:
    case MLT_TOKEN_UNUSED:
        if (special) put_bytes(&sink, text, length);
        break;
    case MLT_TOKEN_USER_DEFINED:
        put_bytes(&sink, text, length);
        state->started = true;
        break;
    case MLT_TOKEN_BYTE:
        put_byte(&sink, (uint8_t)mlt_byte_token_value(text, length));
        state->started = true;
        break;
    case MLT_TOKEN_NORMAL: put_text(tokenizer, &sink, text, length); break;
    }
    return sink.length;
}

size_t mlt_token_bytes(const struct mlt_tokenizer *tokenizer, int32_t id, char *out)
{
    struct sink sink = {NULL, out, 0};
    size_t length;
    const char *text = mlt_string_table_get(&tokenizer->strings, id, &length);
    switch ((enum mlt_token_type)tokenizer->types[id]) {
    case MLT_TOKEN_UNKNOWN:
    case MLT_TOKEN_CONTROL:
    case MLT_TOKEN_UNUSED: break;
    case MLT_TOKEN_USER_DEFINED: put_bytes(&sink, text, length); break;
    case MLT_TOKEN_BYTE: put_byte(&sink, (uint8_t)mlt_byte_token_value(text, length)); break;
    case MLT_TOKEN_NORMAL: put_text(tokenizer, &sink, text, length); break;
    }
    return sink.length;
}

size_t mlt_decode_finish(struct mlt_decode_state *state, char *out)
{
    struct sink sink = {state, out, 0};
    if (state->n_pending) put_replacement(&sink);
    state->n_pending = 0;
    return sink.length;
}

millet_status mlt_detokenize(const struct mlt_tokenizer *tokenizer, const millet_allocator *allocator,
                             const int32_t *ids, size_t count, bool special, char *text, size_t capacity,
                             size_t *length, millet_error *err)
{
    *length = 0;
    int32_t n_tokens = mlt_tokenizer_size(tokenizer);
    for (size_t i = 0; i < count; i++)
        if (ids[i] < 0 || ids[i] >= n_tokens)
            return mlt_fail(err, MILLET_BAD_ARGUMENT, "token %zu is %d; the vocabulary has %d tokens", i,
                            ids[i], n_tokens);
    char *piece = mlt_alloc(allocator, mlt_tokenizer_max_piece(tokenizer) + 16, 1, err);
    if (!piece) return MILLET_NO_MEMORY;
    struct mlt_decode_state state = {0};
    for (size_t i = 0; i <= count; i++) {
        size_t n = i < count ? mlt_decode_token(tokenizer, &state, ids[i], special, piece)
                             : mlt_decode_finish(&state, piece);
        if (*length < capacity && n) memcpy(text + *length, piece, MLT_MIN(n, capacity - *length));
        *length += n;
    }
    mlt_free(allocator, piece);
    return MILLET_OK;
}
