/* Hugging Face's tokenizer.json and tokenizer_config.json. SPDX-License-Identifier: Apache-2.0 */
#include "corpus/learned_vocabulary.h"

#include "base/file.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

/* jansson's functions take NULL for a value that could not be made and fail: what is missing shows in the
 * end, in one place. */

static json_t *added_tokens(const struct mlt_learned *l)
{
    json_t *list = json_array();
    for (int32_t id = 0; id < l->n_tokens; id++) {
        if (l->types[id] != MLT_TOKEN_CONTROL && l->types[id] != MLT_TOKEN_UNKNOWN) continue;
        json_t *token = json_pack("{s:i,s:s%,s:b,s:b,s:b,s:b,s:b}", "id", (int)id, "content",
                                  l->tokens[id].data, l->tokens[id].length, "single_word", 0, "lstrip", 0,
                                  "rstrip", 0, "normalized", 0, "special", 1);
        if (json_array_append_new(list, token) != 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

static json_t *split_step(const char *pattern)
{
    return json_pack("{s:s,s:{s:s},s:s,s:b}", "type", "Split", "pattern", "Regex", pattern, "behavior",
                     "Isolated", "invert", 0);
}

/* The steps of a named pre-tokeniser, or NULL where one cannot be said. */
static json_t *byte_level_steps(const struct mlt_learned *l)
{
    json_t *steps = json_array();
    if (l->pattern) {
        json_array_append_new(steps, split_step(l->pattern));
    } else {
        for (size_t i = 0; i < mlt_pretokenizer_source_count; i++) {
            const struct mlt_pretokenizer_source *source = &mlt_pretokenizer_sources[i];
            if (strcmp(source->name, l->pre) != 0) continue;
            for (int k = 0; k < MLT_MAX_STAGES && source->stages[k].kind != MLT_STAGE_NONE; k++) {
                bool digits = strcmp(source->stages[k].pattern, "\\p{N}") == 0;
                json_array_append_new(
                    steps, digits ? json_pack("{s:s,s:b}", "type", "Digits", "individual_digits", 1)
                                  : split_step(source->stages[k].pattern));
            }
            break;
        }
    }
    json_array_append_new(steps, json_pack("{s:s,s:b,s:b,s:b}", "type", "ByteLevel", "add_prefix_space", 0,
                                           "trim_offsets", 0, "use_regex", 0));
    return json_pack("{s:s,s:o}", "type", "Sequence", "pretokenizers", steps);
}

static json_t *byte_level_decoder(void)
{
    return json_pack("{s:s,s:b,s:b,s:b}", "type", "ByteLevel", "add_prefix_space", 0, "trim_offsets", 0,
                     "use_regex", 0);
}

static json_t *bpe_model(const struct mlt_learned *l)
{
    json_t *vocab = json_object(), *merges = json_array();
    struct mlt_pretokenizer_traits traits = {0};
    bool good = vocab && merges;
    if (l->pre) mlt_pretokenizer_traits(l->pre, &traits);
    for (int32_t id = 0; good && id < l->n_tokens; id++)
        good = json_object_setn_new(vocab, l->tokens[id].data, l->tokens[id].length, json_integer(id)) == 0;
    for (int32_t i = 0; good && i < l->n_merges; i++)
        good = json_array_append_new(merges, json_stringn(l->merges[i].data, l->merges[i].length)) == 0;
    if (!good) {
        json_decref(vocab);
        json_decref(merges);
        return NULL;
    }
    return json_pack("{s:s,s:n,s:n,s:n,s:n,s:b,s:b,s:b,s:o,s:o}", "type", "BPE", "dropout", "unk_token",
                     "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk", 0, "byte_fallback", 0,
                     "ignore_merges", (int)traits.ignore_merges, "vocab", vocab, "merges", merges);
}

static json_t *unigram_model(const struct mlt_learned *l)
{
    json_t *vocab = json_array();
    bool good = vocab != NULL;
    for (int32_t id = 0; good && id < l->n_tokens; id++)
        good = json_array_append_new(vocab, json_pack("[s%,f]", l->tokens[id].data, l->tokens[id].length,
                                                      (double)l->scores[id])) == 0;
    if (!good) {
        json_decref(vocab);
        return NULL;
    }
    return json_pack("{s:s,s:i,s:o,s:b}", "type", "Unigram", "unk_id", (int)l->unknown, "vocab", vocab,
                     "byte_fallback", 1);
}

static json_t *base64(const uint8_t *bytes, size_t count, const millet_allocator *allocator)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char *text = mlt_alloc(allocator, (count + 2) / 3, 4, NULL);
    if (!text) return NULL;
    size_t n = 0;
    for (size_t i = 0; i < count; i += 3) {
        uint32_t group = (uint32_t)bytes[i] << 16;
        if (i + 1 < count) group |= (uint32_t)bytes[i + 1] << 8;
        if (i + 2 < count) group |= bytes[i + 2];
        for (int k = 0; k < 4; k++)
            text[n++] = digits[group >> (18 - 6 * k) & 63];
        if (i + 2 >= count) text[n - 1] = '=';
        if (i + 1 >= count) text[n - 2] = '=';
    }
    json_t *value = json_stringn(text, n);
    mlt_free(allocator, text);
    return value;
}

static json_t *unigram_normalizer(const struct mlt_learned *l, const millet_allocator *allocator)
{
    json_t *steps = json_array();
    if (l->charsmap)
        json_array_append_new(steps, json_pack("{s:s,s:o}", "type", "Precompiled", "precompiled_charsmap",
                                               base64(l->charsmap, l->charsmap_bytes, allocator)));
    if (l->collapse_spaces) {
        json_array_append_new(steps,
                              json_pack("{s:s,s:b,s:b}", "type", "Strip", "strip_left", 1, "strip_right", 1));
        json_array_append_new(steps, json_pack("{s:s,s:{s:s},s:s}", "type", "Replace", "pattern", "Regex",
                                               " {2,}", "content", " "));
    }
    if (json_array_size(steps) == 0) {
        json_decref(steps);
        return json_null();
    }
    return json_pack("{s:s,s:o}", "type", "Sequence", "normalizers", steps);
}

static json_t *metaspace(const struct mlt_learned *l)
{
    return json_pack("{s:s,s:s,s:s,s:b}", "type", "Metaspace", "replacement", MLT_SPACE_MARK,
                     "prepend_scheme", l->add_prefix_space ? "always" : "never", "split", 0);
}

static json_t *unigram_decoder(const struct mlt_learned *l)
{
    return json_pack("{s:s,s:[{s:s},{s:s},o]}", "type", "Sequence", "decoders", "type", "ByteFallback",
                     "type", "Fuse", metaspace(l));
}

/* What puts bos before a text; JSON's null where nothing does. */
static json_t *post_processor(const struct mlt_learned *l)
{
    if (!l->add_bos || l->bos < 0)
        return l->kind == MILLET_TOKENIZER_BPE ? byte_level_decoder() : json_null();
    const char *bos = l->tokens[l->bos].data;
    return json_pack("{s:s,s:[{s:{s:s,s:i}},{s:{s:s,s:i}}],s:[{s:{s:s,s:i}},{s:{s:s,s:i}},{s:{s:s,s:i}}],s:{"
                     "s:{s:s,s:[i],s:[s]}}}",
                     "type", "TemplateProcessing", "single", "SpecialToken", "id", bos, "type_id", 0,
                     "Sequence", "id", "A", "type_id", 0, "pair", "SpecialToken", "id", bos, "type_id", 0,
                     "Sequence", "id", "A", "type_id", 0, "Sequence", "id", "B", "type_id", 1,
                     "special_tokens", bos, "id", bos, "ids", (int)l->bos, "tokens", bos);
}

static json_t *tokenizer_object(const struct mlt_learned *l, const millet_allocator *allocator)
{
    bool bpe = l->kind == MILLET_TOKENIZER_BPE;
    return json_pack(
        "{s:s,s:n,s:n,s:o,s:o,s:o,s:o,s:o,s:o}", "version", "1.0", "truncation", "padding", "added_tokens",
        added_tokens(l), "normalizer", bpe ? json_null() : unigram_normalizer(l, allocator), "pre_tokenizer",
        bpe ? byte_level_steps(l) : metaspace(l), "post_processor", post_processor(l), "decoder",
        bpe ? byte_level_decoder() : unigram_decoder(l), "model", bpe ? bpe_model(l) : unigram_model(l));
}

static json_t *config_object(const struct mlt_learned *l)
{
    const struct {
        const char *key;
        int32_t id;
    } roles[] = {
        {"bos_token", l->bos}, {"eos_token", l->eos}, {"pad_token", l->pad}, {"unk_token", l->unknown}};
    json_t *object = json_pack("{s:s,s:b,s:b,s:b,s:I}", "tokenizer_class", "PreTrainedTokenizerFast",
                               "add_bos_token", (int)l->add_bos, "add_eos_token", 0,
                               "clean_up_tokenization_spaces", 0, "model_max_length", (json_int_t)1000000000);
    for (size_t i = 0; i < MLT_COUNT(roles); i++)
        if (roles[i].id >= 0)
            json_object_set_new(object, roles[i].key, json_string(l->tokens[roles[i].id].data));
    if (l->chat_template) json_object_set_new(object, "chat_template", json_string(l->chat_template));
    return object;
}

struct dump {
    struct mlt_writer *writer;
    millet_status status;
    millet_error *err;
};

static int dump_part(const char *bytes, size_t size, void *context)
{
    struct dump *dump = context;
    dump->status = mlt_writer_write(dump->writer, bytes, size, dump->err);
    return dump->status == MILLET_OK ? 0 : -1;
}

/* Writes a value, which is released. */
static millet_status write_json(const millet_allocator *allocator, const char *path, json_t *value,
                                millet_error *err)
{
    struct dump dump = {.err = err};
    if (!value)
        return mlt_fail_at(err, MILLET_NO_MEMORY, path, NULL, MILLET_NO_OFFSET,
                           "no memory for the JSON text");
    millet_status status = mlt_writer_open(allocator, path, &dump.writer, err);
    if (status == MILLET_OK) {
        int code = json_dump_callback(value, dump_part, &dump,
                                      JSON_INDENT(1) | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(9));
        status = dump.status;
        if (code != 0 && status == MILLET_OK)
            status = mlt_fail_at(err, MILLET_NO_MEMORY, path, NULL, MILLET_NO_OFFSET,
                                 "no memory for the JSON text");
    }
    if (status == MILLET_OK) status = mlt_writer_write(dump.writer, "\n", 1, err);
    if (status == MILLET_OK) status = mlt_writer_commit(&dump.writer, err);
    mlt_writer_abort(&dump.writer);
    json_decref(value);
    return status;
}

static const struct mlt_pretokenizer_source *find_pre(const char *name)
{
    for (size_t i = 0; name && i < mlt_pretokenizer_source_count; i++)
        if (strcmp(mlt_pretokenizer_sources[i].name, name) == 0) return &mlt_pretokenizer_sources[i];
    return NULL;
}

millet_status mlt_learned_write_json(const millet_allocator *allocator, const struct mlt_learned *learned,
                                     const char *path, millet_error *err)
{
    const struct mlt_pretokenizer_source *pre = find_pre(learned->pre);
    for (int k = 0; pre && k < MLT_MAX_STAGES && pre->stages[k].kind != MLT_STAGE_NONE; k++)
        if (pre->stages[k].kind != MLT_STAGE_PATTERN)
            return mlt_fail_at(err, MILLET_UNSUPPORTED, path, "pre_tokenizer", MILLET_NO_OFFSET,
                               "\"%s\" has a step that tokenizer.json cannot say", learned->pre);
    MLT_TRY(write_json(allocator, path, tokenizer_object(learned, allocator), err));
    static const char name[] = "tokenizer.json", config[] = "tokenizer_config.json";
    size_t length = strlen(path), tail = sizeof name - 1, folder = length - tail;
    if (length < tail || strcmp(path + folder, name) != 0 || (folder > 0 && path[folder - 1] != '/'))
        return MILLET_OK;
    char *beside = mlt_alloc(allocator, folder + sizeof config, 1, err);
    if (!beside) return MILLET_NO_MEMORY;
    memcpy(beside, path, folder);
    memcpy(beside + folder, config, sizeof config);
    millet_status status = write_json(allocator, beside, config_object(learned), err);
    mlt_free(allocator, beside);
    return status;
}
