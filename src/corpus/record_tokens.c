/* Records as tokens: texts, pairs, dialogues. SPDX-License-Identifier: Apache-2.0 */
#include "corpus/record_tokens.h"

#include "corpus/tag_labels.h"
#include "tokenizer/chat_template.h"
#include "tokenizer/utf8.h"

#include <jansson.h>
#include <string.h>

/* All renderings of a dialogue together have at most so many bytes. */
#define MAX_RENDERED ((size_t)1 << 28)

static millet_status append_token(struct mlt_encoded *out, int32_t token, bool trained, millet_error *err)
{
    void *tokens = out->tokens, *marks = out->trained, *labels = out->labels;
    millet_status status =
        mlt_grow(out->allocator, &tokens, &out->token_capacity, out->count, sizeof *out->tokens, err);
    out->tokens = tokens;
    if (!status) status = mlt_grow(out->allocator, &marks, &out->trained_capacity, out->count, 1, err);
    out->trained = marks;
    if (!status)
        status =
            mlt_grow(out->allocator, &labels, &out->label_capacity, out->count, sizeof *out->labels, err);
    out->labels = labels;
    if (status) return status;
    out->tokens[out->count] = token;
    out->labels[out->count] = -1;
    out->trained[out->count++] = trained;
    return MILLET_OK;
}

void mlt_encoded_release(struct mlt_encoded *encoded)
{
    mlt_free(encoded->allocator, encoded->tokens);
    mlt_free(encoded->allocator, encoded->trained);
    mlt_free(encoded->allocator, encoded->labels);
    *encoded = (struct mlt_encoded){.allocator = encoded->allocator};
}

/* Tokenises a piece of a document; `flags` of mlt_tokenize. */
static millet_status append_text(const struct mlt_encoder *encoder, struct mlt_encoded *out, const char *text,
                                 size_t length, unsigned flags, bool trained, millet_error *err)
{
    int32_t *ids;
    size_t count;
    MLT_TRY(
        mlt_tokenize(encoder->tokenizer->tokenizer, out->allocator, text, length, flags, &ids, &count, err));
    millet_status status = MILLET_OK;
    for (size_t i = 0; i < count && !status; i++)
        status = append_token(out, ids[i], trained, err);
    mlt_free(out->allocator, ids);
    return status;
}

static millet_status append_bos(const struct mlt_encoder *encoder, struct mlt_encoded *out, millet_error *err)
{
    const millet_tokenizer *tokenizer = encoder->tokenizer;
    if (!tokenizer->add_bos || tokenizer->bos < 0) return MILLET_OK;
    return append_token(out, tokenizer->bos, false, err);
}

static millet_status append_eos(const struct mlt_encoder *encoder, struct mlt_encoded *out, millet_error *err)
{
    return encoder->tokenizer->eos < 0 ? MILLET_OK : append_token(out, encoder->tokenizer->eos, true, err);
}

static bool is_blank(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (!mlt_ascii_space(text[i])) return false;
    return true;
}

static unsigned text_flags(const struct mlt_encoder *encoder)
{
    return encoder->special ? MLT_TOKENIZE_SPECIAL : 0u;
}

static millet_status encode_text(const struct mlt_encoder *encoder, const char *text, size_t length,
                                 bool first, bool last, struct mlt_encoded *out,
                                 struct mlt_encoded_record *result, millet_error *err)
{
    if (is_blank(text, length) && first && last) {
        result->skip = MILLET_SKIP_EMPTY;
        return MILLET_OK;
    }
    if (first) MLT_TRY(append_bos(encoder, out, err));
    unsigned flags = text_flags(encoder) | (first ? 0u : MLT_TOKENIZE_CONTINUE);
    MLT_TRY(append_text(encoder, out, text, length, flags, true, err));
    result->bytes = length;
    return last ? append_eos(encoder, out, err) : MILLET_OK;
}

/* ---- Records of JSON ---- */

/* A string member; false where it is there and no string. */
static bool get_string(const json_t *object, const char *key, const char **text, size_t *length)
{
    const json_t *value = json_object_get(object, key);
    *text = NULL;
    *length = 0;
    if (!value) return true;
    if (!json_is_string(value)) return false;
    *text = json_string_value(value);
    *length = json_string_length(value);
    return true;
}

static millet_status encode_pair(const struct mlt_encoder *encoder, const json_t *object,
                                 struct mlt_encoded *out, struct mlt_encoded_record *result,
                                 millet_error *err)
{
    const char *prompt, *completion;
    size_t prompt_length, completion_length;
    bool good = get_string(object, "prompt", &prompt, &prompt_length) &&
                get_string(object, "completion", &completion, &completion_length);
    if (!good || !prompt || !completion) {
        result->skip = MILLET_SKIP_FIELDS;
        return MILLET_OK;
    }
    if (completion_length == 0) {
        result->skip = MILLET_SKIP_EMPTY;
        return MILLET_OK;
    }
    const json_t *tags = json_object_get(object, "tags");
    unsigned flags = text_flags(encoder);
    MLT_TRY(append_bos(encoder, out, err));
    size_t first = out->count;
    MLT_TRY(append_text(encoder, out, prompt, prompt_length, flags, false, err));
    if (tags) {
        if (!json_is_true(json_object_get(object, "prefix"))) {
            result->skip = MILLET_SKIP_TAGS;
            return MILLET_OK;
        }
        const struct mlt_tagged_text text = {prompt, prompt_length, out->tokens + first, out->count - first,
                                             out->labels + first};
        MLT_TRY(mlt_label_tokens(encoder->tokenizer, out->allocator, tags, &text, &result->n_labels,
                                 &result->skip, err));
        if (result->skip != MILLET_SKIP_REASONS) return MILLET_OK;
    }
    MLT_TRY(append_text(encoder, out, completion, completion_length,
                        flags | (prompt_length ? MLT_TOKENIZE_CONTINUE : 0u), true, err));
    result->bytes = prompt_length + completion_length;
    return append_eos(encoder, out, err);
}

/* A dialogue while it is encoded: `all` is the whole rendering, `part` the beginning of it that a message
 * ends or begins at. */
struct dialogue {
    const struct mlt_encoder *encoder;
    millet_message *messages;
    bool *trained; /* [n_messages] */
    size_t n_messages, rendered;
    struct mlt_text all, part;
    struct mlt_encoded *out;
};

/*
 * The bytes of `all` that messages[0 .. count) make, with the assistant's opening where asked. *whole is
 * false where they are no beginning of it: the form puts something elsewhere as the dialogue grows.
 */
static millet_status length_of(struct dialogue *dialogue, size_t count, bool opening, size_t *length,
                               bool *whole, millet_error *err)
{
    dialogue->part.length = 0;
    *whole = false;
    *length = 0;
    MLT_TRY(mlt_chat_render(dialogue->encoder->chat_template, dialogue->messages, count, opening,
                            &dialogue->part, err));
    dialogue->rendered += dialogue->part.length;
    *length = dialogue->part.length;
    *whole = *length <= dialogue->all.length &&
             (*length == 0 || memcmp(dialogue->part.data, dialogue->all.data, *length) == 0);
    return MILLET_OK;
}

static millet_status encode_span(struct dialogue *dialogue, size_t begin, size_t end, bool trained,
                                 millet_error *err)
{
    if (begin == end) return MILLET_OK;
    unsigned flags = MLT_TOKENIZE_SPECIAL | (begin ? MLT_TOKENIZE_CONTINUE : 0u);
    return append_text(dialogue->encoder, dialogue->out, dialogue->all.data + begin, end - begin, flags,
                       trained, err);
}

/* Whether the tokens of the last reply end it: then EOS need not be added. */
static bool has_end(const struct dialogue *dialogue, size_t from)
{
    for (size_t i = from; i < dialogue->out->count; i++)
        if (dialogue->out->trained[i] &&
            mlt_tokenizer_is_end(dialogue->encoder->tokenizer->tokenizer, dialogue->out->tokens[i]))
            return true;
    return false;
}

/*
 * What is trained on is what stands between the opening of a turn and its end, end token included: the model
 * learns to stop. Each such part is tokenised apart from what comes before it, as it is when the model goes
 * on from a prompt.
 */
static millet_status encode_turns(struct dialogue *dialogue, struct mlt_encoded_record *result,
                                  millet_error *err)
{
    size_t done = 0, last_reply = dialogue->out->count;
    bool any = false;
    MLT_TRY(mlt_chat_render(dialogue->encoder->chat_template, dialogue->messages, dialogue->n_messages, false,
                            &dialogue->all, err));
    MLT_TRY(append_bos(dialogue->encoder, dialogue->out, err));
    for (size_t i = 0; i < dialogue->n_messages; i++) {
        if (!dialogue->trained[i]) continue;
        if (dialogue->rendered > MAX_RENDERED) {
            result->skip = MILLET_SKIP_LONG;
            return MILLET_OK;
        }
        bool opening = strcmp(dialogue->messages[i].role, "assistant") == 0, whole, whole_end;
        size_t begin, end;
        MLT_TRY(length_of(dialogue, i, opening, &begin, &whole, err));
        MLT_TRY(length_of(dialogue, i + 1, false, &end, &whole_end, err));
        if (!whole || !whole_end || begin < done || end < begin) continue;
        MLT_TRY(encode_span(dialogue, done, begin, false, err));
        last_reply = dialogue->out->count;
        MLT_TRY(encode_span(dialogue, begin, end, true, err));
        done = end;
        any = true;
    }
    if (!any) {
        result->skip = MILLET_SKIP_DIALOGUE;
        return MILLET_OK;
    }
    bool ends_in_reply = done == dialogue->all.length;
    MLT_TRY(encode_span(dialogue, done, dialogue->all.length, false, err));
    if (ends_in_reply && !has_end(dialogue, last_reply))
        MLT_TRY(append_eos(dialogue->encoder, dialogue->out, err));
    return MILLET_OK;
}

/* Reads messages; false where one is not as it must be, with the reason. */
static bool read_messages(struct dialogue *dialogue, const json_t *list, struct mlt_encoded_record *result)
{
    for (size_t i = 0; i < dialogue->n_messages; i++) {
        const json_t *message = json_array_get(list, i), *loss = json_object_get(message, "loss");
        const char *role, *content;
        size_t role_length, length;
        result->skip = MILLET_SKIP_FIELDS;
        if (!get_string(message, "role", &role, &role_length) ||
            !get_string(message, "content", &content, &length))
            return false;
        if (!role || !content || (loss && !json_is_boolean(loss))) return false;
        /* The renderer takes texts that end with NUL. */
        if (strlen(role) != role_length || strlen(content) != length) return false;
        result->skip = MILLET_SKIP_SPECIAL;
        if (mlt_has_control_token(dialogue->encoder->tokenizer, content, length)) return false;
        dialogue->messages[i] = (millet_message){role, content};
        dialogue->trained[i] = loss ? json_is_true(loss) : strcmp(role, "assistant") == 0;
        result->bytes += length;
    }
    result->skip = MILLET_SKIP_REASONS;
    return true;
}

static millet_status encode_dialogue(const struct mlt_encoder *encoder, const json_t *list,
                                     struct mlt_encoded *out, struct mlt_encoded_record *result,
                                     millet_error *err)
{
    size_t count = json_array_size(list);
    if (!json_is_array(list) || count == 0 || count > MLT_MAX_MESSAGES) {
        result->skip = count > MLT_MAX_MESSAGES ? MILLET_SKIP_LONG : MILLET_SKIP_FIELDS;
        return MILLET_OK;
    }
    if (!encoder->chat_template)
        return mlt_fail(err, MILLET_BAD_ARGUMENT,
                        "the source has dialogues, and the tokenizer's file has no chat template that is "
                        "recognised; name one of %s",
                        mlt_chat_names());
    struct dialogue dialogue = {.encoder = encoder,
                                .n_messages = count,
                                .out = out,
                                .all.allocator = out->allocator,
                                .part.allocator = out->allocator};
    dialogue.messages = mlt_alloc(out->allocator, count, sizeof *dialogue.messages, err);
    dialogue.trained = mlt_alloc(out->allocator, count, 1, err);
    millet_status status = dialogue.messages && dialogue.trained ? MILLET_OK : MILLET_NO_MEMORY;
    if (!status && read_messages(&dialogue, list, result)) {
        status = encode_turns(&dialogue, result, err);
        /* A role that the form has no turn for. */
        if (status == MILLET_BAD_ARGUMENT) {
            result->skip = MILLET_SKIP_DIALOGUE;
            status = MILLET_OK;
        }
    }
    mlt_text_release(&dialogue.all);
    mlt_text_release(&dialogue.part);
    mlt_free(out->allocator, dialogue.messages);
    mlt_free(out->allocator, dialogue.trained);
    return status;
}

/*
 * Parses a line; *object is NULL, with the reason, where it is no JSON object. Numbers that are out of range
 * are no reason to refuse a text. jansson takes its memory from the C library; what it takes is in proportion
 * to the line.
 */
static millet_status parse(const struct mlt_raw_record *record, json_t **object, millet_skip *skip,
                           millet_error *err)
{
    json_error_t error;
    *object = json_loadb(record->text, record->length, JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, &error);
    if (!*object && json_error_code(&error) == json_error_out_of_memory)
        return mlt_fail(err, MILLET_NO_MEMORY, "no memory to parse line %llu",
                        (unsigned long long)record->line);
    if (json_is_object(*object)) return MILLET_OK;
    json_decref(*object);
    *object = NULL;
    *skip = mlt_utf8_valid(record->text, record->length) ? MILLET_SKIP_JSON : MILLET_SKIP_UTF8;
    return MILLET_OK;
}

static millet_status encode_json(const struct mlt_encoder *encoder, const struct mlt_raw_record *record,
                                 struct mlt_encoded *out, struct mlt_encoded_record *result,
                                 millet_error *err)
{
    json_t *object;
    MLT_TRY(parse(record, &object, &result->skip, err));
    if (!object) return MILLET_OK;
    const json_t *messages = json_object_get(object, "messages"), *prefix = json_object_get(object, "prefix");
    const char *text;
    size_t length, begin = out->count;
    millet_status status = MILLET_OK;
    bool good = get_string(object, "text", &text, &length) && (!prefix || json_is_boolean(prefix));
    if (!good || (!messages && !text && !json_object_get(object, "prompt")))
        result->skip = MILLET_SKIP_FIELDS;
    else if (messages)
        status = encode_dialogue(encoder, messages, out, result, err);
    else if (text)
        status = encode_text(encoder, text, length, true, true, out, result, err);
    else
        status = encode_pair(encoder, object, out, result, err);
    if (!status && json_is_true(prefix) && !text) {
        size_t n = 0;
        while (begin + n < out->count && !out->trained[begin + n])
            n++;
        result->prefix = (uint32_t)MLT_MIN(n, (size_t)INT32_MAX);
    }
    json_decref(object);
    return status;
}

millet_status mlt_encode_record(const struct mlt_encoder *encoder, const struct mlt_raw_record *record,
                                bool first, bool last, struct mlt_encoded *out,
                                struct mlt_encoded_record *result, millet_error *err)
{
    size_t begin = out->count;
    millet_status status = MILLET_OK;
    *result = (struct mlt_encoded_record){.skip = MILLET_SKIP_REASONS};
    if (record->json)
        status = encode_json(encoder, record, out, result, err);
    else if (mlt_utf8_valid(record->text, record->length))
        status = encode_text(encoder, record->text, record->length, first, last, out, result, err);
    else
        result->skip = MILLET_SKIP_UTF8;
    if (status || result->skip != MILLET_SKIP_REASONS) {
        out->count = begin;
        *result = (struct mlt_encoded_record){.skip = result->skip};
        return status;
    }
    result->count = out->count - begin;
    if (first && last && result->count < 2) { /* nothing to predict */
        result->skip = MILLET_SKIP_EMPTY;
        result->count = 0;
        out->count = begin;
    }
    return MILLET_OK;
}

static millet_status give_member(const json_t *object, const char *key, mlt_text_function *text,
                                 void *context, size_t *given, millet_error *err)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_string(value)) return MILLET_OK;
    ++*given;
    return text(context, json_string_value(value), json_string_length(value), err);
}

millet_status mlt_record_texts(const struct mlt_raw_record *record, mlt_text_function *text, void *context,
                               millet_skip *skip, millet_error *err)
{
    *skip = MILLET_SKIP_REASONS;
    if (!record->json) {
        if (mlt_utf8_valid(record->text, record->length))
            return text(context, record->text, record->length, err);
        *skip = MILLET_SKIP_UTF8;
        return MILLET_OK;
    }
    json_t *object;
    MLT_TRY(parse(record, &object, skip, err));
    if (!object) return MILLET_OK;
    static const char *const keys[] = {"text", "prompt", "completion"};
    size_t given = 0;
    millet_status status = MILLET_OK;
    for (size_t i = 0; i < MLT_COUNT(keys) && !status; i++)
        status = give_member(object, keys[i], text, context, &given, err);
    const json_t *list = json_object_get(object, "messages");
    for (size_t i = 0; i < json_array_size(list) && !status; i++)
        status = give_member(json_array_get(list, i), "content", text, context, &given, err);
    if (!given) *skip = MILLET_SKIP_FIELDS;
    json_decref(object);
    return status;
}
