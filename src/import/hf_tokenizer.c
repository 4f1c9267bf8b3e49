/* tokenizer.json: the vocabulary, its merges and scores. SPDX-License-Identifier: Apache-2.0 */
#include "import/hf_vocab.h"

#include <stdio.h>
#include <string.h>

int32_t mlt_hf_vocab_find(const struct mlt_hf_vocab *vocab, const char *text, size_t length)
{
    for (uint32_t i = 0; i < vocab->n_tokens; i++)
        if (vocab->tokens[i].length == length && memcmp(vocab->tokens[i].data, text, length) == 0)
            return (int32_t)i;
    return -1;
}

static millet_status bad_token(const struct mlt_json *json, const char *text, const char *what,
                               millet_error *err)
{
    return mlt_fail_at(err, MILLET_BAD_FORMAT, json->file, text, MILLET_NO_OFFSET, "%s", what);
}

static millet_status set_token(struct mlt_checkpoint *checkpoint, struct mlt_hf_vocab *vocab, uint32_t id,
                               const char *text, size_t length, enum mlt_hf_token type, millet_error *err)
{
    char *copy = mlt_arena_text(&checkpoint->arena, text, length, err);
    if (!copy) return MILLET_NO_MEMORY;
    vocab->tokens[id] = (struct mlt_string){copy, length};
    vocab->types[id] = type;
    return MILLET_OK;
}

static bool is_byte_token(const char *text, size_t length)
{
    static const char digits[] = "0123456789ABCDEFabcdef";
    return length == 6 && memcmp(text, "<0x", 3) == 0 && strchr(digits, text[3]) && strchr(digits, text[4]) &&
           text[5] == '>';
}

static bool ends_with(const char *text, size_t length, const char *tail)
{
    size_t n = strlen(tail);
    return length >= n && memcmp(text + length - n, tail, n) == 0;
}

/* WordPiece marks pieces inside a word with "##"; GGUF marks those that begin one. "[CLS]" and kin stay. */
static millet_status set_word_piece(struct mlt_checkpoint *checkpoint, struct mlt_hf_vocab *vocab,
                                    uint32_t id, const char *text, size_t length, millet_error *err)
{
    if (length >= 2 && text[0] == '[' && text[length - 1] == ']')
        return set_token(checkpoint, vocab, id, text, length, MLT_HF_NORMAL, err);
    if (length > 2 && memcmp(text, "##", 2) == 0)
        return set_token(checkpoint, vocab, id, text + 2, length - 2, MLT_HF_NORMAL, err);
    size_t mark = sizeof MLT_HF_SPACE - 1;
    char *marked = mlt_arena_alloc(&checkpoint->arena, length + mark + 1, 1, err);
    if (!marked) return MILLET_NO_MEMORY;
    memcpy(marked, MLT_HF_SPACE, mark);
    memcpy(marked + mark, text, length + 1);
    vocab->tokens[id] = (struct mlt_string){marked, length + mark};
    vocab->types[id] = MLT_HF_NORMAL;
    return MILLET_OK;
}

/* "vocab" as an object of ids by text: BPE and WordPiece. */
static millet_status read_map(struct mlt_checkpoint *checkpoint, const struct mlt_json *json, json_t *map,
                              struct mlt_hf_vocab *vocab, millet_error *err)
{
    const char *text;
    size_t length;
    json_t *value;
    json_object_keylen_foreach(map, text, length, value)
    {
        json_int_t id = json_integer_value(value);
        if (!json_is_integer(value) || id < 0 || id >= (json_int_t)vocab->n_tokens)
            return mlt_fail_at(err, MILLET_BAD_FORMAT, json->file, text, MILLET_NO_OFFSET,
                               "the token's id is no number below %u, the rows of the embedding",
                               vocab->n_tokens);
        if (vocab->tokens[id].data) return bad_token(json, text, "another token has the same id", err);
        if (vocab->kind == MLT_HF_WORDPIECE) {
            MLT_TRY(set_word_piece(checkpoint, vocab, (uint32_t)id, text, length, err));
            continue;
        }
        bool byte = vocab->kind == MLT_HF_SENTENCEPIECE && is_byte_token(text, length);
        MLT_TRY(set_token(checkpoint, vocab, (uint32_t)id, text, length, byte ? MLT_HF_BYTE : MLT_HF_NORMAL,
                          err));
    }
    return MILLET_OK;
}

/* "vocab" as a list of [piece, log probability]: unigram. */
static millet_status read_scored_list(struct mlt_checkpoint *checkpoint, const struct mlt_json *json,
                                      const json_t *list, bool byte_fallback, struct mlt_hf_vocab *vocab,
                                      millet_error *err)
{
    size_t n = json_array_size(list);
    if (n > vocab->n_tokens)
        return mlt_fail_at(err, MILLET_BAD_FORMAT, json->file, "model.vocab", MILLET_NO_OFFSET,
                           "%zu tokens, but the embedding has %u rows", n, vocab->n_tokens);
    for (size_t i = 0; i < n; i++) {
        const json_t *pair = json_array_get(list, i);
        const json_t *text = json_array_get(pair, 0), *score = json_array_get(pair, 1);
        if (!json_is_string(text) || !json_is_number(score))
            return mlt_fail_at(err, MILLET_BAD_FORMAT, json->file, "model.vocab", MILLET_NO_OFFSET,
                               "element %zu is no pair of text and number", i);
        size_t length = json_string_length(text);
        const char *bytes = json_string_value(text);
        bool byte = byte_fallback && is_byte_token(bytes, length);
        MLT_TRY(set_token(checkpoint, vocab, (uint32_t)i, bytes, length, byte ? MLT_HF_BYTE : MLT_HF_NORMAL,
                          err));
        vocab->scores[i] = (float)json_number_value(score);
    }
    return MILLET_OK;
}

/*
 * Some files leave "special" off tokens that are never text. The shapes are those that the reference
 * converter takes for control tokens.
 */
static bool looks_special(const char *text, size_t length)
{
    static const char *const names[] = {"<pad>", "<mask>", "<2mass>", "[@BOS@]"};
    for (size_t i = 0; i < MLT_COUNT(names); i++)
        if (strlen(names[i]) == length && memcmp(text, names[i], length) == 0) return true;
    if (strncmp(text, "<|", 2) == 0 && ends_with(text, length, "|>")) return true;
    if (strncmp(text, "<\xEF\xBD\x9C", 4) == 0 && ends_with(text, length, "\xEF\xBD\x9C>")) return true;
    return strncmp(text, "<unused", 7) == 0 && ends_with(text, length, ">");
}

/* User-defined tokens are looked for in plain text: the mark of a space becomes a space. */
static void unmark_spaces(struct mlt_string *token)
{
    char *text = (char *)(uintptr_t)token->data; /* our own copy in the arena */
    size_t mark = sizeof MLT_HF_SPACE - 1, to = 0;
    for (size_t from = 0; from < token->length;) {
        bool space = token->length - from >= mark && memcmp(text + from, MLT_HF_SPACE, mark) == 0;
        text[to++] = space ? ' ' : text[from];
        from += space ? mark : 1;
    }
    text[to] = 0;
    token->length = to;
}

static millet_status read_added(struct mlt_checkpoint *checkpoint, const struct mlt_json *json,
                                struct mlt_hf_vocab *vocab, millet_error *err)
{
    const json_t *list = mlt_json_array(json->object, "added_tokens");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *added = json_array_get(list, i), *content = json_object_get(added, "content");
        const json_t *number = json_object_get(added, "id");
        json_int_t id = json_integer_value(number);
        size_t length = json_string_length(content);
        const char *text = json_string_value(content);
        if (!json_is_integer(number) || id < 0 || !text || length == 0)
            return mlt_fail_at(err, MILLET_BAD_FORMAT, json->file, "added_tokens", MILLET_NO_OFFSET,
                               "element %zu has no \"id\" of at least 0 and no \"content\"", i);
        /* Tokens added to the tokenizer alone: the model has no embedding for them and never makes them. */
        if (id >= (json_int_t)vocab->n_tokens) continue;
        bool special = json_is_true(json_object_get(added, "special")) || looks_special(text, length);
        enum mlt_hf_token type = special ? MLT_HF_CONTROL : MLT_HF_USER_DEFINED;
        MLT_TRY(set_token(checkpoint, vocab, (uint32_t)id, text, length, type, err));
        if (!special) unmark_spaces(&vocab->tokens[id]);
        vocab->strip[id] = (uint8_t)(json_is_true(json_object_get(added, "lstrip")) |
                                     json_is_true(json_object_get(added, "rstrip")) << 1);
    }
    return MILLET_OK;
}

/* Ids without a token: rows of the embedding that the tokenizer never makes. */
static millet_status fill_holes(struct mlt_checkpoint *checkpoint, struct mlt_hf_vocab *vocab,
                                millet_error *err)
{
    for (uint32_t i = 0; i < vocab->n_tokens; i++) {
        char text[32];
        if (vocab->tokens[i].data) continue;
        int length = snprintf(text, sizeof text, "[PAD%u]", i);
        MLT_TRY(set_token(checkpoint, vocab, i, text, (size_t)length, MLT_HF_UNUSED, err));
    }
    return MILLET_OK;
}

/* The two halves of a merge: "a b", or ["a", "b"] since pieces may hold spaces. */
struct merge {
    struct mlt_string left, right;
};

static millet_status read_merge(const struct mlt_json *json, const json_t *list, size_t i, struct merge *out,
                                millet_error *err)
{
    const json_t *value = json_array_get(list, i);
    *out = (struct merge){0};
    if (json_is_string(value)) {
        const char *text = json_string_value(value);
        size_t length = json_string_length(value);
        const char *space = length ? memchr(text, ' ', length) : NULL;
        if (space) {
            out->left = (struct mlt_string){text, (size_t)(space - text)};
            out->right = (struct mlt_string){space + 1, length - out->left.length - 1};
        }
    } else if (json_array_size(value) == 2) {
        const json_t *left = json_array_get(value, 0), *right = json_array_get(value, 1);
        out->left = (struct mlt_string){json_string_value(left), json_string_length(left)};
        out->right = (struct mlt_string){json_string_value(right), json_string_length(right)};
    }
    if (out->left.length && out->right.length) return MILLET_OK;
    return mlt_fail_at(err, MILLET_BAD_FORMAT, json->file, "model.merges", MILLET_NO_OFFSET,
                       "merge %zu is no pair of pieces", i);
}

static millet_status append_piece(struct mlt_text *text, const struct mlt_string *piece, millet_error *err)
{
    for (size_t i = 0; i < piece->length; i++) {
        /* "left right" cannot hold spaces; byte-level BPE writes a space as U+0120 anyway. */
        bool space = piece->data[i] == ' ';
        MLT_TRY(mlt_text_append(text, space ? "\xC4\xA0" : &piece->data[i], space ? 2 : 1, err));
    }
    return MILLET_OK;
}

static millet_status set_array(struct mlt_checkpoint *checkpoint, const char *key, enum mlt_meta_type element,
                               const void *array, uint64_t count, millet_error *err)
{
    struct mlt_meta meta = {.type = MLT_META_ARRAY, .element = element, .count = count};
    meta.key.length = strlen(key);
    meta.key.data = mlt_arena_text(&checkpoint->arena, key, meta.key.length, err);
    if (!meta.key.data) return MILLET_NO_MEMORY;
    meta.value.array = array;
    return mlt_checkpoint_adopt_meta(checkpoint, &meta, err);
}

/* Byte-level BPE: the merges as GGUF has them, "left right" in their order. */
static millet_status add_merges(struct mlt_checkpoint *checkpoint, const struct mlt_json *json,
                                const json_t *list, millet_error *err)
{
    struct mlt_arena *arena = &checkpoint->arena;
    size_t n = json_array_size(list);
    struct mlt_string *merges = mlt_arena_alloc(arena, n, sizeof *merges, err);
    if (!merges) return MILLET_NO_MEMORY;
    struct mlt_text text = {.allocator = &checkpoint->allocator};
    millet_status status = MILLET_OK;
    for (size_t i = 0; i < n && status == MILLET_OK; i++) {
        struct merge merge;
        text.length = 0;
        status = read_merge(json, list, i, &merge, err);
        if (status == MILLET_OK) status = append_piece(&text, &merge.left, err);
        if (status == MILLET_OK) status = mlt_text_append(&text, " ", 1, err);
        if (status == MILLET_OK) status = append_piece(&text, &merge.right, err);
        if (status != MILLET_OK) break;
        merges[i].length = text.length;
        merges[i].data = mlt_arena_text(arena, text.data, text.length, err);
        if (!merges[i].data) status = MILLET_NO_MEMORY;
    }
    mlt_text_release(&text);
    if (status != MILLET_OK) return status;
    return set_array(checkpoint, "tokenizer.ggml.merges", MLT_META_STRING, merges, n, err);
}

/* The id that a merge results in; BAD_FORMAT where the vocabulary lacks it. */
static millet_status merged_id(const struct mlt_json *json, const json_t *map, const struct merge *merge,
                               size_t i, struct mlt_text *text, json_int_t *id, millet_error *err)
{
    text->length = 0;
    MLT_TRY(mlt_text_append(text, merge->left.data, merge->left.length, err));
    MLT_TRY(mlt_text_append(text, merge->right.data, merge->right.length, err));
    const json_t *value = json_object_getn(map, text->data, text->length);
    *id = json_integer_value(value);
    if (value) return MILLET_OK;
    return mlt_fail_at(err, MILLET_BAD_FORMAT, json->file, "model.merges", MILLET_NO_OFFSET,
                       "merge %zu makes the piece \"%.60s\", which is not in the vocabulary", i, text->data);
}

/*
 * SentencePiece's BPE joins, of all neighbours whose union is a piece, those of the highest score (leftmost
 * first). tokenizer.json has ranked merges instead. A piece's score is minus the rank of the first merge that
 * makes it, counted in pieces: the same order. Pieces that no merge makes come last; scores of single
 * characters, bytes and control tokens are never compared.
 */
static millet_status score_merges(struct mlt_checkpoint *checkpoint, const struct mlt_json *json,
                                  const json_t *map, const json_t *list, struct mlt_hf_vocab *vocab,
                                  millet_error *err)
{
    static const float never = -1e9f, unset = 1;
    uint32_t rank = 0;
    struct mlt_text text = {.allocator = &checkpoint->allocator};
    millet_status status = MILLET_OK;
    for (uint32_t i = 0; i < vocab->n_tokens; i++)
        vocab->scores[i] = unset;
    for (size_t i = 0; i < json_array_size(list) && status == MILLET_OK; i++) {
        struct merge merge;
        json_int_t id = 0;
        status = read_merge(json, list, i, &merge, err);
        if (status == MILLET_OK) status = merged_id(json, map, &merge, i, &text, &id, err);
        if (status == MILLET_OK && vocab->scores[id] == unset) vocab->scores[id] = -(float)rank++;
    }
    mlt_text_release(&text);
    for (uint32_t i = 0; i < vocab->n_tokens; i++)
        if (vocab->scores[i] == unset) vocab->scores[i] = vocab->types[i] == MLT_HF_NORMAL ? never : 0;
    return status;
}

/* Whether a normaliser, pre-tokeniser or decoder contains a step of this type, in its sequences too. */
static bool has_step(const json_t *step, const char *type, int depth)
{
    static const char *const lists[] = {"normalizers", "pretokenizers", "decoders"};
    const char *own = mlt_json_string(step, "type");
    if (!own || depth > 4) return false;
    if (strcmp(own, type) == 0) return true;
    for (size_t i = 0; i < MLT_COUNT(lists); i++) {
        const json_t *list = mlt_json_array(step, lists[i]);
        for (size_t k = 0; k < json_array_size(list); k++)
            if (has_step(json_array_get(list, k), type, depth + 1)) return true;
    }
    return false;
}

static millet_status find_kind(const struct mlt_json *json, const struct mlt_json *model,
                               enum mlt_hf_tokenizer_kind *out, millet_error *err)
{
    const char *type = mlt_json_string(model->object, "type");
    const json_t *vocab = json_object_get(model->object, "vocab");
    /* Older files leave the type out; the form of the vocabulary tells it. */
    if (!type) type = json_is_array(vocab) ? "Unigram" : mlt_json_array(model->object, "merges") ? "BPE" : "";
    if (strcmp(type, "Unigram") == 0)
        *out = MLT_HF_UNIGRAM;
    else if (strcmp(type, "WordPiece") == 0)
        *out = MLT_HF_WORDPIECE;
    else if (strcmp(type, "BPE") != 0)
        return mlt_json_fail(model, "type", err, MILLET_UNSUPPORTED,
                             "\"%.40s\" is not known; known: BPE, Unigram, WordPiece", type);
    else if (has_step(json_object_get(json->object, "pre_tokenizer"), "ByteLevel", 0) ||
             has_step(json_object_get(json->object, "decoder"), "ByteLevel", 0))
        *out = MLT_HF_BYTE_LEVEL;
    else if (json_is_true(json_object_get(model->object, "byte_fallback")))
        *out = MLT_HF_SENTENCEPIECE;
    else
        return mlt_json_fail(model, "byte_fallback", err, MILLET_UNSUPPORTED,
                             "a BPE tokenizer that is neither byte-level nor has byte fallback");
    if (*out == MLT_HF_UNIGRAM ? json_is_array(vocab) : json_is_object(vocab)) return MILLET_OK;
    return mlt_json_fail(model, "vocab", err, MILLET_BAD_FORMAT, "the vocabulary is missing");
}

/* Options of the model that change its result and that GGUF has no word for. */
static millet_status check_model(const struct mlt_json *model, enum mlt_hf_tokenizer_kind kind,
                                 millet_error *err)
{
    const char *prefix = mlt_json_string(model->object, "continuing_subword_prefix");
    const char *suffix = mlt_json_string(model->object, "end_of_word_suffix");
    if (suffix && *suffix)
        return mlt_json_fail(model, "end_of_word_suffix", err, MILLET_UNSUPPORTED,
                             "words that end in a mark are not supported");
    if (kind == MLT_HF_WORDPIECE ? prefix && strcmp(prefix, "##") != 0 : prefix && *prefix)
        return mlt_json_fail(model, "continuing_subword_prefix", err, MILLET_UNSUPPORTED,
                             "only \"##\" of WordPiece is supported");
    return MILLET_OK;
}

static millet_status find_unknown(const struct mlt_json *model, struct mlt_hf_vocab *vocab, millet_error *err)
{
    vocab->unknown = -1;
    const json_t *id = json_object_get(model->object, "unk_id");
    const char *text = mlt_json_string(model->object, "unk_token");
    if (json_is_integer(id)) {
        if (json_integer_value(id) < 0 || json_integer_value(id) >= (json_int_t)vocab->n_tokens)
            return mlt_json_fail(model, "unk_id", err, MILLET_BAD_FORMAT, "the id is no token's");
        vocab->unknown = (int32_t)json_integer_value(id);
    } else if (text) {
        vocab->unknown = mlt_hf_vocab_find(vocab, text, strlen(text));
    }
    if (vocab->unknown >= 0 && (vocab->kind == MLT_HF_SENTENCEPIECE || vocab->kind == MLT_HF_UNIGRAM))
        vocab->types[vocab->unknown] = MLT_HF_UNKNOWN;
    return MILLET_OK;
}

static millet_status read_vocab(struct mlt_checkpoint *checkpoint, const struct mlt_json *json,
                                const struct mlt_json *model, struct mlt_hf_vocab *vocab, millet_error *err)
{
    struct mlt_arena *arena = &checkpoint->arena;
    size_t n = vocab->n_tokens;
    json_t *map = json_object_get(model->object, "vocab");
    bool scored = vocab->kind == MLT_HF_SENTENCEPIECE || vocab->kind == MLT_HF_UNIGRAM;
    vocab->tokens = mlt_arena_alloc(arena, n, sizeof *vocab->tokens, err);
    vocab->types = mlt_arena_alloc(arena, n, sizeof *vocab->types, err);
    vocab->strip = mlt_arena_alloc(arena, n, sizeof *vocab->strip, err);
    vocab->scores = scored ? mlt_arena_alloc(arena, n, sizeof *vocab->scores, err) : NULL;
    if (!vocab->tokens || !vocab->types || !vocab->strip || (scored && !vocab->scores))
        return MILLET_NO_MEMORY;
    memset(vocab->strip, 0, n * sizeof *vocab->strip);
    memset(vocab->tokens, 0, n * sizeof *vocab->tokens);
    if (scored) memset(vocab->scores, 0, n * sizeof *vocab->scores);
    if (vocab->kind == MLT_HF_UNIGRAM) {
        bool bytes = json_is_true(json_object_get(model->object, "byte_fallback"));
        MLT_TRY(read_scored_list(checkpoint, json, map, bytes, vocab, err));
    } else {
        MLT_TRY(read_map(checkpoint, json, map, vocab, err));
    }
    MLT_TRY(read_added(checkpoint, json, vocab, err));
    MLT_TRY(fill_holes(checkpoint, vocab, err));
    MLT_TRY(find_unknown(model, vocab, err));
    const json_t *merges = mlt_json_array(model->object, "merges");
    if (vocab->kind == MLT_HF_BYTE_LEVEL) return add_merges(checkpoint, json, merges, err);
    if (vocab->kind == MLT_HF_SENTENCEPIECE) return score_merges(checkpoint, json, map, merges, vocab, err);
    return MILLET_OK;
}

millet_status mlt_hf_tokenizer_read(struct mlt_checkpoint *checkpoint,
                                    const struct mlt_hf_tokenizer_files *files, millet_error *err)
{
    static const char *const names[] = {
        [MLT_HF_BYTE_LEVEL] = "gpt2",
        [MLT_HF_SENTENCEPIECE] = "llama",
        [MLT_HF_UNIGRAM] = "t5",
        [MLT_HF_WORDPIECE] = "bert",
    };
    const struct mlt_json *json = &files->tokenizer;
    struct mlt_json model;
    struct mlt_hf_vocab vocab = {.n_tokens = files->n_vocab};
    MLT_TRY(mlt_json_get_object(json, "model", "model.", &model, err));
    if (!model.object) return mlt_json_fail(json, "model", err, MILLET_BAD_FORMAT, "this key is missing");
    MLT_TRY(find_kind(json, &model, &vocab.kind, err));
    MLT_TRY(check_model(&model, vocab.kind, err));
    const char *name = names[vocab.kind];
    MLT_TRY(mlt_checkpoint_set_string(checkpoint, "tokenizer.ggml.model", name, strlen(name), err));
    MLT_TRY(read_vocab(checkpoint, json, &model, &vocab, err));
    uint64_t n = vocab.n_tokens;
    MLT_TRY(set_array(checkpoint, "tokenizer.ggml.tokens", MLT_META_STRING, vocab.tokens, n, err));
    MLT_TRY(set_array(checkpoint, "tokenizer.ggml.token_type", MLT_META_I32, vocab.types, n, err));
    MLT_TRY(set_array(checkpoint, "millet.tokenizer.strip", MLT_META_U8, vocab.strip, n, err));
    if (vocab.scores)
        MLT_TRY(set_array(checkpoint, "tokenizer.ggml.scores", MLT_META_F32, vocab.scores, n, err));
    MLT_TRY(mlt_hf_tokenizer_rules(checkpoint, json, &vocab, err));
    return mlt_hf_tokenizer_special(checkpoint, files, &vocab, err);
}
