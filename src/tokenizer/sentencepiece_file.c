/*
 * SentencePiece's .model files: the protobuf message ModelProto of sentencepiece_model.proto.
 *
 * Protobuf's wire format (https://protobuf.dev/programming-guides/encoding/): a message is a sequence of
 * fields, each a varint of its number and wire type, then a varint (type 0), 8 bytes (1), a length and as
 * many bytes (2) or 4 bytes (5).
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tokenizer/tokenizer_internal.h"
#include "tokenizer/vocabulary_file.h"

#include <string.h>

/* Field numbers. */
enum { MODEL_PIECES = 1, MODEL_TRAINER = 2, MODEL_NORMALIZER = 3 };
enum { PIECE_TEXT = 1, PIECE_SCORE = 2, PIECE_TYPE = 3 };
enum { TRAINER_MODEL_TYPE = 3, TRAINER_UNK = 40, TRAINER_BOS = 41, TRAINER_EOS = 42, TRAINER_PAD = 43 };
enum { NORMALIZER_CHARSMAP = 2, NORMALIZER_DUMMY_PREFIX = 3, NORMALIZER_EXTRA_SPACES = 4 };

enum { MODEL_TYPE_UNIGRAM = 1, MODEL_TYPE_BPE = 2 };

enum wire_type { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };

/* A message that is being read; offsets in errors are of the whole file. */
struct message {
    const uint8_t *file, *at, *end;
};

struct field {
    uint64_t number;
    enum wire_type type;
    uint64_t value;       /* WIRE_VARINT, WIRE_32 */
    const uint8_t *bytes; /* WIRE_BYTES */
    size_t length;
};

static millet_status bad(const struct message *message, millet_error *err, const char *problem)
{
    return mlt_fail_at(err, MILLET_BAD_FORMAT, NULL, NULL, (uint64_t)(message->at - message->file),
                       "the SentencePiece model %s", problem);
}

static millet_status read_varint(struct message *message, uint64_t *value, millet_error *err)
{
    *value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
        if (message->at == message->end) return bad(message, err, "ends within a number");
        uint8_t byte = *message->at++;
        *value |= (uint64_t)(byte & 0x7F) << shift;
        if (byte < 0x80) return MILLET_OK;
    }
    return bad(message, err, "has a number of more than ten bytes");
}

static millet_status read_fixed(struct message *message, size_t size, uint64_t *value, millet_error *err)
{
    if ((size_t)(message->end - message->at) < size) return bad(message, err, "ends within a number");
    *value = 0;
    for (size_t i = 0; i < size; i++)
        *value |= (uint64_t)message->at[i] << (8 * i);
    message->at += size;
    return MILLET_OK;
}

/* The next field; only called before the message's end. */
static millet_status read_field(struct message *message, struct field *field, millet_error *err)
{
    uint64_t key, length;
    *field = (struct field){0};
    MLT_TRY(read_varint(message, &key, err));
    field->number = key >> 3;
    field->type = (enum wire_type)(key & 7);
    switch (field->type) {
    case WIRE_VARINT: return read_varint(message, &field->value, err);
    case WIRE_64: return read_fixed(message, 8, &field->value, err);
    case WIRE_32: return read_fixed(message, 4, &field->value, err);
    case WIRE_BYTES:
        MLT_TRY(read_varint(message, &length, err));
        if (length > (uint64_t)(message->end - message->at))
            return bad(message, err, "has a field that is longer than what is left of it");
        field->bytes = message->at;
        field->length = (size_t)length;
        message->at += length;
        return MILLET_OK;
    }
    return bad(message, err, "has a field of an unknown kind; is it a SentencePiece model?");
}

static struct message inside(const struct message *outer, const struct field *field)
{
    return (struct message){outer->file, field->bytes, field->bytes + field->length};
}

struct reader {
    struct mlt_vocabulary_file *file;
    struct mlt_token_text *tokens;
    float *scores;
    int32_t *types;
    int32_t n_pieces;
};

/* Whether a user-defined token holds U+2581: then `to` gets it with spaces instead, and the length is
 * returned. */
static size_t unmark(const uint8_t *text, size_t length, char *to)
{
    size_t written = 0;
    for (size_t i = 0; i < length; written++) {
        bool mark = length - i >= 3 && memcmp(text + i, MLT_SPACE_MARK, 3) == 0;
        to[written] = mark ? ' ' : (char)text[i];
        i += mark ? 3 : 1;
    }
    return written;
}

static millet_status read_piece(struct reader *reader, struct message message, millet_error *err)
{
    struct field field, text = {0};
    float score = 0;
    uint64_t type = MLT_TOKEN_NORMAL;
    while (message.at < message.end) {
        MLT_TRY(read_field(&message, &field, err));
        if (field.number == PIECE_TEXT && field.type == WIRE_BYTES) text = field;
        if (field.number == PIECE_TYPE && field.type == WIRE_VARINT) type = field.value;
        if (field.number == PIECE_SCORE && field.type == WIRE_32) {
            uint32_t bits = (uint32_t)field.value;
            memcpy(&score, &bits, sizeof score);
        }
    }
    if (type < MLT_TOKEN_NORMAL || type > MLT_TOKEN_BYTE)
        return bad(&message, err, "has a piece of an unknown type");
    char *copy = mlt_arena_alloc(&reader->file->arena, text.length, 1, err);
    if (!copy) return MILLET_NO_MEMORY;
    size_t length = text.length;
    /* User-defined tokens are cut out of the text before its spaces are marked. */
    if (type == MLT_TOKEN_USER_DEFINED)
        length = unmark(text.bytes, text.length, copy);
    else if (length)
        memcpy(copy, text.bytes, length);
    reader->tokens[reader->n_pieces] = (struct mlt_token_text){copy, length};
    reader->scores[reader->n_pieces] = score;
    reader->types[reader->n_pieces++] = (int32_t)type;
    return MILLET_OK;
}

/* An id of the trainer's settings: an int32 as a varint, -1 where there is no such token. */
static int32_t id_of(uint64_t value)
{
    return (int32_t)(uint32_t)value;
}

static millet_status read_trainer(struct reader *reader, struct message message, millet_error *err)
{
    struct mlt_tokenizer_spec *spec = &reader->file->spec;
    struct field field;
    uint64_t model_type = MODEL_TYPE_UNIGRAM;
    while (message.at < message.end) {
        MLT_TRY(read_field(&message, &field, err));
        if (field.type != WIRE_VARINT) continue;
        if (field.number == TRAINER_MODEL_TYPE) model_type = field.value;
        if (field.number == TRAINER_UNK) spec->unknown = id_of(field.value);
        if (field.number == TRAINER_BOS) spec->bos = id_of(field.value);
        if (field.number == TRAINER_EOS) spec->eos = id_of(field.value);
        if (field.number == TRAINER_PAD) spec->padding = id_of(field.value);
    }
    if (model_type != MODEL_TYPE_UNIGRAM && model_type != MODEL_TYPE_BPE)
        return mlt_fail(err, MILLET_UNSUPPORTED,
                        "the SentencePiece model is of type %llu; 1 (unigram) and 2 (BPE) are supported",
                        (unsigned long long)model_type);
    spec->kind = model_type == MODEL_TYPE_BPE ? MLT_TOKENIZER_SPM : MLT_TOKENIZER_UNIGRAM;
    return MILLET_OK;
}

static millet_status read_normalizer(struct reader *reader, struct message message, millet_error *err)
{
    struct mlt_tokenizer_spec *spec = &reader->file->spec;
    struct field field;
    while (message.at < message.end) {
        MLT_TRY(read_field(&message, &field, err));
        if (field.number == NORMALIZER_DUMMY_PREFIX && field.type == WIRE_VARINT)
            spec->add_space_prefix = field.value;
        if (field.number == NORMALIZER_EXTRA_SPACES && field.type == WIRE_VARINT)
            spec->remove_extra_whitespace = field.value;
        if (field.number != NORMALIZER_CHARSMAP || field.type != WIRE_BYTES || !field.length) continue;
        void *copy = mlt_arena_alloc(&reader->file->arena, field.length, 1, err);
        if (!copy) return MILLET_NO_MEMORY;
        memcpy(copy, field.bytes, field.length);
        spec->charsmap = copy;
        spec->charsmap_bytes = field.length;
    }
    return MILLET_OK;
}

static millet_status count_pieces(struct message message, size_t *count, millet_error *err)
{
    struct field field;
    *count = 0;
    while (message.at < message.end) {
        MLT_TRY(read_field(&message, &field, err));
        *count += field.number == MODEL_PIECES && field.type == WIRE_BYTES;
    }
    if (*count == 0 || *count > INT32_MAX)
        return bad(&message, err, "has no pieces; is it a SentencePiece model?");
    return MILLET_OK;
}

static millet_status read_model(struct mlt_vocabulary_file *file, struct message message, millet_error *err)
{
    struct reader reader = {.file = file};
    struct field field;
    size_t count;
    MLT_TRY(count_pieces(message, &count, err));
    if (!(reader.tokens = mlt_arena_alloc(&file->arena, count, sizeof *reader.tokens, err)) ||
        !(reader.scores = mlt_arena_alloc(&file->arena, count, sizeof *reader.scores, err)) ||
        !(reader.types = mlt_arena_alloc(&file->arena, count, sizeof *reader.types, err)))
        return MILLET_NO_MEMORY;
    while (message.at < message.end) {
        MLT_TRY(read_field(&message, &field, err));
        if (field.type != WIRE_BYTES) continue;
        if (field.number == MODEL_PIECES) MLT_TRY(read_piece(&reader, inside(&message, &field), err));
        if (field.number == MODEL_TRAINER) MLT_TRY(read_trainer(&reader, inside(&message, &field), err));
        if (field.number == MODEL_NORMALIZER)
            MLT_TRY(read_normalizer(&reader, inside(&message, &field), err));
    }
    file->spec.n_tokens = reader.n_pieces;
    file->spec.tokens = reader.tokens;
    file->spec.scores = reader.scores;
    file->spec.types = reader.types;
    /* As the models of the two kinds do it: Llama puts BOS before a text, T5 EOS behind it. */
    file->spec.add_bos = file->spec.kind == MLT_TOKENIZER_SPM && file->spec.bos >= 0;
    file->spec.add_eos = file->spec.kind == MLT_TOKENIZER_UNIGRAM && file->spec.eos >= 0;
    return MILLET_OK;
}

millet_status mlt_sentencepiece_read(const millet_allocator *allocator, const void *bytes, size_t length,
                                     struct mlt_vocabulary_file *out, millet_error *err)
{
    /* The defaults of sentencepiece_model.proto. */
    out->spec = mlt_tokenizer_spec_default(MLT_TOKENIZER_UNIGRAM);
    out->spec.unknown = 0;
    out->spec.bos = 1;
    out->spec.eos = 2;
    out->spec.add_space_prefix = true;
    out->spec.remove_extra_whitespace = true;
    mlt_arena_init(&out->arena, allocator);
    const uint8_t *file = bytes;
    millet_status status = length ? read_model(out, (struct message){file, file, file + length}, err)
                                  : mlt_fail(err, MILLET_BAD_FORMAT, "the SentencePiece model is empty");
    if (status) mlt_vocabulary_file_release(out);
    return status;
}
