/*
 * The tokenizer.bin of llama2.c (tokenizer.py, run.c): an i32, the length of the longest token; then for each
 * token a float32 score, an i32 length and the bytes. The number of tokens is the model's.
 *
 * The file comes from a SentencePiece model with U+2581 turned into spaces, and with line breaks around the
 * names of token 1 (BOS) and 2 (EOS); both are undone here, so that the vocabulary is what GGUF has under
 * "llama". run.c ends a text at BOS and not at EOS: models that it trains put BOS between texts. GGUF can say
 * so: BOS is given as the token that ends a turn.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "format/readers.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

/* Token types with GGUF's numbers. */
enum { NORMAL = 1, UNKNOWN = 2, CONTROL = 3, BYTE = 6 };

enum { FIRST_TOKEN = 4, ENTRY_HEADER = 8, BOS = 1, EOS = 2 };

struct entry {
    float score;
    struct mlt_string text; /* in the file */
};

/* The token at *offset, which moves on. */
static millet_status read_entry(const struct mlt_source *source, uint32_t id, uint64_t *offset,
                                struct entry *entry, millet_error *err)
{
    uint64_t at = *offset, left = source->size - at;
    int32_t length;
    if (left < ENTRY_HEADER)
        return mlt_fail_at(err, MILLET_BAD_FORMAT, source->path, NULL, at,
                           "the file ends before token %" PRIu32 ": is it the tokenizer of another model?",
                           id);
    memcpy(&entry->score, source->data + at, sizeof entry->score);
    memcpy(&length, source->data + at + 4, sizeof length);
    if (length < 0 || (uint64_t)length > left - ENTRY_HEADER)
        return mlt_fail_at(err, MILLET_BAD_FORMAT, source->path, NULL, at + 4,
                           "token %" PRIu32 " has a length of %" PRId32 ", but %" PRIu64
                           " bytes are left of the file",
                           id, length, left - ENTRY_HEADER);
    if (!isfinite(entry->score))
        return mlt_fail_at(err, MILLET_BAD_FORMAT, source->path, NULL, at,
                           "the score of token %" PRIu32 " is not finite", id);
    entry->text = (struct mlt_string){(const char *)source->data + at + ENTRY_HEADER, (size_t)length};
    *offset = at + ENTRY_HEADER + (uint64_t)length;
    return MILLET_OK;
}

static bool equals(const struct mlt_string *string, const char *text)
{
    return string->length == strlen(text) && memcmp(string->data, text, string->length) == 0;
}

static bool is_hex(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'F');
}

static int32_t token_type(uint32_t id, const struct mlt_string *text)
{
    if (id == BOS || id == EOS) return CONTROL;
    if (id == 0 && equals(text, "<unk>")) return UNKNOWN;
    if (text->length == 6 && memcmp(text->data, "<0x", 3) == 0 && is_hex(text->data[3]) &&
        is_hex(text->data[4]) && text->data[5] == '>')
        return BYTE;
    return NORMAL;
}

/* Writes the text as GGUF has it and returns its length; `to` NULL only measures. */
static size_t convert_text(uint32_t id, const struct mlt_string *text, char *to)
{
    struct mlt_string from = *text;
    if ((id == BOS && equals(text, "\n<s>\n")) || (id == EOS && equals(text, "\n</s>\n"))) {
        from.data++;
        from.length -= 2;
    }
    static const char space[] = "\xE2\x96\x81"; /* U+2581 */
    size_t length = 0;
    for (size_t i = 0; i < from.length; i++) {
        const char *piece = from.data[i] == ' ' ? space : from.data + i;
        size_t size = from.data[i] == ' ' ? 3 : 1;
        if (to) memcpy(to + length, piece, size);
        length += size;
    }
    return length;
}

static millet_status add_array(struct mlt_checkpoint *checkpoint, const char *key, enum mlt_meta_type element,
                               uint32_t count, const void *array, millet_error *err)
{
    const struct mlt_meta meta = {.key = {key, strlen(key)},
                                  .type = MLT_META_ARRAY,
                                  .element = element,
                                  .count = count,
                                  .value.array = array};
    return mlt_checkpoint_adopt_meta(checkpoint, &meta, err);
}

millet_status mlt_llama2c_read_tokenizer(struct mlt_checkpoint *checkpoint, const struct mlt_source *source,
                                         uint32_t n_vocab, millet_error *err)
{
    struct mlt_arena *arena = &checkpoint->arena;
    if (source->size < FIRST_TOKEN)
        return mlt_fail_at(err, MILLET_BAD_FORMAT, source->path, NULL, 0, "the file is empty or cut short");
    uint64_t offset = FIRST_TOKEN, text_bytes = 0;
    struct entry entry;
    for (uint32_t id = 0; id < n_vocab; id++) {
        MLT_TRY(read_entry(source, id, &offset, &entry, err));
        text_bytes += convert_text(id, &entry.text, NULL) + 1;
    }
    if (offset != source->size)
        return mlt_fail_at(err, MILLET_BAD_FORMAT, source->path, NULL, offset,
                           "the file goes on after the model's %" PRIu32
                           " tokens: it is the tokenizer of another model",
                           n_vocab);

    struct mlt_string *tokens = mlt_arena_alloc(arena, n_vocab, sizeof *tokens, err);
    float *scores = tokens ? mlt_arena_alloc(arena, n_vocab, sizeof *scores, err) : NULL;
    int32_t *types = scores ? mlt_arena_alloc(arena, n_vocab, sizeof *types, err) : NULL;
    char *text = types ? mlt_arena_alloc(arena, (size_t)text_bytes, 1, err) : NULL;
    if (!text) return MILLET_NO_MEMORY;
    offset = FIRST_TOKEN;
    for (uint32_t id = 0; id < n_vocab; id++) {
        MLT_TRY(read_entry(source, id, &offset, &entry, err));
        size_t length = convert_text(id, &entry.text, text);
        text[length] = 0;
        tokens[id] = (struct mlt_string){text, length};
        scores[id] = entry.score;
        types[id] = token_type(id, &entry.text);
        text += length + 1;
    }
    MLT_TRY(mlt_checkpoint_set_string(checkpoint, "tokenizer.ggml.model", "llama", 5, err));
    MLT_TRY(add_array(checkpoint, "tokenizer.ggml.tokens", MLT_META_STRING, n_vocab, tokens, err));
    MLT_TRY(add_array(checkpoint, "tokenizer.ggml.scores", MLT_META_F32, n_vocab, scores, err));
    MLT_TRY(add_array(checkpoint, "tokenizer.ggml.token_type", MLT_META_I32, n_vocab, types, err));
    if (types[0] == UNKNOWN)
        MLT_TRY(mlt_checkpoint_set_u32(checkpoint, "tokenizer.ggml.unknown_token_id", 0, err));
    if (n_vocab > BOS) {
        MLT_TRY(mlt_checkpoint_set_u32(checkpoint, "tokenizer.ggml.bos_token_id", BOS, err));
        MLT_TRY(mlt_checkpoint_set_u32(checkpoint, "tokenizer.ggml.eot_token_id", BOS, err));
    }
    if (n_vocab > EOS) MLT_TRY(mlt_checkpoint_set_u32(checkpoint, "tokenizer.ggml.eos_token_id", EOS, err));
    MLT_TRY(mlt_checkpoint_set_bool(checkpoint, "tokenizer.ggml.add_bos_token", n_vocab > BOS, err));
    MLT_TRY(mlt_checkpoint_set_bool(checkpoint, "tokenizer.ggml.add_eos_token", false, err));
    return mlt_checkpoint_set_bool(checkpoint, "tokenizer.ggml.add_space_prefix", true, err);
}
