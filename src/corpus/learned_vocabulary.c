/* Tokens of merges and pieces, and the GGUF file. SPDX-License-Identifier: Apache-2.0 */
#include "corpus/learned_vocabulary.h"

#include "format/gguf_write.h"
#include "tokenizer/utf8.h"

#include <stdio.h>
#include <string.h>

static millet_status set_token(struct mlt_learned *out, int32_t id, const char *text, size_t length,
                               enum mlt_token_type type, float score, millet_error *err)
{
    const char *copy = mlt_arena_text(&out->arena, text, length, err);
    if (!copy) return MILLET_NO_MEMORY;
    out->tokens[id] = (struct mlt_string){copy, length};
    out->types[id] = type;
    if (out->scores) out->scores[id] = score;
    return MILLET_OK;
}

static millet_status make_room(struct mlt_learned *out, int32_t n_tokens, millet_error *err)
{
    size_t n = (size_t)n_tokens;
    out->n_tokens = n_tokens;
    out->tokens = mlt_arena_alloc(&out->arena, n, sizeof *out->tokens, err);
    out->types = mlt_arena_alloc(&out->arena, n, sizeof *out->types, err);
    if (out->kind == MILLET_TOKENIZER_UNIGRAM) {
        out->scores = mlt_arena_alloc(&out->arena, n, sizeof *out->scores, err);
        if (!out->scores) return MILLET_NO_MEMORY;
    }
    return out->tokens && out->types ? MILLET_OK : MILLET_NO_MEMORY;
}

static millet_status find_role(const struct mlt_learned_specials *specials, const char *option,
                               const char *text, int32_t first, int32_t *id, millet_error *err)
{
    *id = -1;
    for (size_t i = 0; text && i < specials->count; i++)
        if (strcmp(specials->texts[i], text) == 0) *id = first + (int32_t)i;
    if (!text || *id >= 0) return MILLET_OK;
    return mlt_fail_at(err, MILLET_BAD_ARGUMENT, NULL, option, MILLET_NO_OFFSET,
                       "\"%.60s\" is none of the special tokens", text);
}

static millet_status add_specials(struct mlt_learned *out, const struct mlt_learned_specials *specials,
                                  int32_t first, millet_error *err)
{
    for (size_t i = 0; i < specials->count; i++) {
        size_t length = strlen(specials->texts[i]);
        if (length == 0 || !mlt_utf8_valid(specials->texts[i], length))
            return mlt_fail_at(err, MILLET_BAD_ARGUMENT, NULL, "special", MILLET_NO_OFFSET,
                               "a special token is a text of UTF-8 that is not empty");
        for (size_t k = 0; k < i; k++)
            if (strcmp(specials->texts[i], specials->texts[k]) == 0)
                return mlt_fail_at(err, MILLET_BAD_ARGUMENT, NULL, "special", MILLET_NO_OFFSET,
                                   "\"%.60s\" is there twice", specials->texts[i]);
        MLT_TRY(set_token(out, first + (int32_t)i, specials->texts[i], length, MLT_TOKEN_CONTROL, 0, err));
    }
    MLT_TRY(find_role(specials, "bos", specials->bos, first, &out->bos, err));
    MLT_TRY(find_role(specials, "eos", specials->eos, first, &out->eos, err));
    return find_role(specials, "pad", specials->pad, first, &out->pad, err);
}

/* A special token whose text is that of another token would be that token in every text. */
static millet_status check_specials(const struct mlt_learned *out,
                                    const struct mlt_learned_specials *specials, int32_t first,
                                    millet_error *err)
{
    int32_t end = first + (int32_t)specials->count;
    for (int32_t s = first; s < end; s++)
        for (int32_t id = 0; id < out->n_tokens; id++)
            if (id != s && out->tokens[id].length == out->tokens[s].length &&
                memcmp(out->tokens[id].data, out->tokens[s].data, out->tokens[s].length) == 0)
                return mlt_fail_at(err, MILLET_BAD_ARGUMENT, NULL, "special", MILLET_NO_OFFSET,
                                   "\"%.60s\" is the text of an ordinary token too", out->tokens[s].data);
    return MILLET_OK;
}

millet_status mlt_learned_from_bpe(struct mlt_learned *out, const struct mlt_learned_specials *specials,
                                   const struct mlt_bpe_merge *merges, int32_t n_merges, millet_error *err)
{
    int32_t first = (int32_t)specials->count;
    out->kind = MILLET_TOKENIZER_BPE;
    out->unknown = -1;
    MLT_TRY(make_room(out, first + 256 + n_merges, err));
    MLT_TRY(add_specials(out, specials, 0, err));
    out->merges = mlt_arena_alloc(&out->arena, (size_t)n_merges, sizeof *out->merges, err);
    if (!out->merges) return MILLET_NO_MEMORY;
    out->n_merges = n_merges;
    for (int byte = 0; byte < 256; byte++) {
        char text[4];
        size_t length = mlt_utf8_encode(mlt_codepoint_of_byte((uint8_t)byte), text);
        MLT_TRY(set_token(out, first + byte, text, length, MLT_TOKEN_NORMAL, 0, err));
    }
    struct mlt_text text = {.allocator = &out->arena.allocator};
    millet_status status = MILLET_OK;
    for (int32_t i = 0; i < n_merges && status == MILLET_OK; i++) {
        const struct mlt_string left = out->tokens[first + merges[i].left],
                                right = out->tokens[first + merges[i].right];
        text.length = 0;
        status = mlt_text_printf(&text, err, "%s %s", left.data, right.data);
        if (status) break;
        out->merges[i] =
            (struct mlt_string){mlt_arena_text(&out->arena, text.data, text.length, err), text.length};
        if (!out->merges[i].data) status = MILLET_NO_MEMORY;
        if (status) break;
        text.length = 0;
        status = mlt_text_printf(&text, err, "%s%s", left.data, right.data);
        if (!status)
            status = set_token(out, first + 256 + i, text.data, text.length, MLT_TOKEN_NORMAL, 0, err);
    }
    mlt_text_release(&text);
    return status ? status : check_specials(out, specials, 0, err);
}

millet_status mlt_learned_from_pieces(struct mlt_learned *out, const struct mlt_learned_specials *specials,
                                      const struct mlt_piece_set *set, millet_error *err)
{
    /* Bytes and special tokens are never looked for among the pieces; a runtime that does so all the same
     * must not prefer them. */
    const float never = -1000;
    int32_t first = 1 + (int32_t)specials->count, id = first;
    out->kind = MILLET_TOKENIZER_UNIGRAM;
    out->unknown = 0;
    MLT_TRY(make_room(out, first + 256 + (int32_t)set->count, err));
    MLT_TRY(set_token(out, 0, "<unk>", 5, MLT_TOKEN_UNKNOWN, 0, err));
    MLT_TRY(add_specials(out, specials, 1, err));
    for (int byte = 0; byte < 256; byte++) {
        char text[8];
        snprintf(text, sizeof text, "<0x%02X>", (unsigned)byte);
        MLT_TRY(set_token(out, id++, text, 6, MLT_TOKEN_BYTE, never, err));
    }
    for (size_t i = 0; i < set->count; i++)
        MLT_TRY(set_token(out, id++, set->pieces[i].text, set->pieces[i].length, MLT_TOKEN_NORMAL,
                          (float)set->pieces[i].score, err));
    return check_specials(out, specials, 1, err);
}

/* ---- GGUF ---- */

static millet_status set_array(struct mlt_checkpoint *checkpoint, const char *key, enum mlt_meta_type element,
                               const void *array, uint64_t count, millet_error *err)
{
    struct mlt_meta meta = {
        .key = {key, strlen(key)}, .type = MLT_META_ARRAY, .element = element, .count = count};
    meta.value.array = array;
    return mlt_checkpoint_add_meta(checkpoint, &meta, err);
}

static millet_status set_text(struct mlt_checkpoint *checkpoint, const char *key, const char *text,
                              millet_error *err)
{
    return text ? mlt_checkpoint_set_string(checkpoint, key, text, strlen(text), err) : MILLET_OK;
}

static millet_status set_id(struct mlt_checkpoint *checkpoint, const char *key, int32_t id, millet_error *err)
{
    return id >= 0 ? mlt_checkpoint_set_u32(checkpoint, key, (uint32_t)id, err) : MILLET_OK;
}

#define KEY(name) "tokenizer.ggml." name

static millet_status add_bpe(struct mlt_checkpoint *checkpoint, const struct mlt_learned *l,
                             millet_error *err)
{
    MLT_TRY(set_text(checkpoint, KEY("model"), "gpt2", err));
    MLT_TRY(set_text(checkpoint, KEY("pre"), l->pre ? l->pre : "default", err));
    MLT_TRY(set_text(checkpoint, "millet.tokenizer.pattern", l->pattern, err));
    return set_array(checkpoint, KEY("merges"), MLT_META_STRING, l->merges, (uint64_t)l->n_merges, err);
}

static millet_status add_unigram(struct mlt_checkpoint *checkpoint, const struct mlt_learned *l,
                                 millet_error *err)
{
    MLT_TRY(set_text(checkpoint, KEY("model"), "t5", err));
    MLT_TRY(set_text(checkpoint, KEY("pre"), "default", err));
    MLT_TRY(set_array(checkpoint, KEY("scores"), MLT_META_F32, l->scores, (uint64_t)l->n_tokens, err));
    MLT_TRY(mlt_checkpoint_set_bool(checkpoint, KEY("add_space_prefix"), l->add_prefix_space, err));
    MLT_TRY(mlt_checkpoint_set_bool(checkpoint, KEY("remove_extra_whitespaces"), l->collapse_spaces, err));
    if (!l->charsmap) return MILLET_OK;
    return set_array(checkpoint, KEY("precompiled_charsmap"), MLT_META_U8, l->charsmap, l->charsmap_bytes,
                     err);
}

static millet_status add_keys(struct mlt_checkpoint *checkpoint, const struct mlt_learned *l,
                              millet_error *err)
{
    /* A file without tensors still names an architecture; readers of vocabularies look no further. */
    MLT_TRY(set_text(checkpoint, "general.architecture", "llama", err));
    MLT_TRY(set_text(checkpoint, "general.type", "vocab", err));
    MLT_TRY(set_text(checkpoint, "general.name", l->name, err));
    MLT_TRY(l->kind == MILLET_TOKENIZER_BPE ? add_bpe(checkpoint, l, err) : add_unigram(checkpoint, l, err));
    MLT_TRY(set_array(checkpoint, KEY("tokens"), MLT_META_STRING, l->tokens, (uint64_t)l->n_tokens, err));
    MLT_TRY(set_array(checkpoint, KEY("token_type"), MLT_META_I32, l->types, (uint64_t)l->n_tokens, err));
    MLT_TRY(set_id(checkpoint, KEY("bos_token_id"), l->bos, err));
    MLT_TRY(set_id(checkpoint, KEY("eos_token_id"), l->eos, err));
    MLT_TRY(set_id(checkpoint, KEY("unknown_token_id"), l->unknown, err));
    MLT_TRY(set_id(checkpoint, KEY("padding_token_id"), l->pad, err));
    MLT_TRY(mlt_checkpoint_set_bool(checkpoint, KEY("add_bos_token"), l->add_bos, err));
    MLT_TRY(mlt_checkpoint_set_bool(checkpoint, KEY("add_eos_token"), false, err));
    return set_text(checkpoint, "tokenizer.chat_template", l->chat_template, err);
}

millet_status mlt_learned_write_gguf(const millet_allocator *allocator, const struct mlt_learned *learned,
                                     const char *path, millet_error *err)
{
    struct mlt_checkpoint *checkpoint;
    struct mlt_gguf_writer *writer = NULL;
    MLT_TRY(mlt_checkpoint_new(allocator, path, "GGUF v3", &checkpoint, err));
    millet_status status = add_keys(checkpoint, learned, err);
    if (status == MILLET_OK) {
        struct mlt_gguf_contents contents = {.metas = checkpoint->metas, .n_metas = checkpoint->n_metas};
        status = mlt_gguf_writer_open(allocator, path, &contents, &writer, err);
    }
    if (status == MILLET_OK) status = mlt_gguf_writer_commit(&writer, err);
    mlt_gguf_writer_abort(&writer);
    mlt_checkpoint_close(&checkpoint);
    return status;
}
