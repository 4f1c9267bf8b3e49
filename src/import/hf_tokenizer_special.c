/* Special tokens and chat templates of Hugging Face tokenizers. SPDX-License-Identifier: Apache-2.0 */
#include "import/hf_vocab.h"

#include <stdio.h>
#include <string.h>

enum role { BOS, EOS, UNKNOWN, SEPARATOR, PADDING, CLS, MASK, N_ROLES };

/* The names of a role in tokenizer_config.json, in config.json, and in GGUF (which spells one its own way).
 */
static const struct role_row {
    const char *token, *id, *key;
} roles[N_ROLES] = {
    [BOS] = {"bos_token", "bos_token_id", "tokenizer.ggml.bos_token_id"},
    [EOS] = {"eos_token", "eos_token_id", "tokenizer.ggml.eos_token_id"},
    [UNKNOWN] = {"unk_token", "unk_token_id", "tokenizer.ggml.unknown_token_id"},
    [SEPARATOR] = {"sep_token", "sep_token_id", "tokenizer.ggml.seperator_token_id"},
    [PADDING] = {"pad_token", "pad_token_id", "tokenizer.ggml.padding_token_id"},
    [CLS] = {"cls_token", "cls_token_id", "tokenizer.ggml.cls_token_id"},
    [MASK] = {"mask_token", "mask_token_id", "tokenizer.ggml.mask_token_id"},
};

struct special {
    int32_t id[N_ROLES]; /* -1: none */
    int32_t eot;         /* a second token that ends a turn, -1: none */
    bool add_bos, add_eos;
};

static int32_t find_text(const struct mlt_hf_vocab *vocab, const char *text)
{
    return text ? mlt_hf_vocab_find(vocab, text, strlen(text)) : -1;
}

/* A token is given as text or as {"content": text, ...}. */
static int32_t token_of(const struct mlt_hf_vocab *vocab, const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    const char *text = json_is_object(value) ? mlt_json_string(value, "content") : json_string_value(value);
    return find_text(vocab, text);
}

/* Element `index` of an id or a list of ids; -1 where it is none of the vocabulary. */
static int32_t id_of(const struct mlt_hf_vocab *vocab, const json_t *value, size_t index)
{
    if (json_is_array(value))
        value = json_array_get(value, index);
    else if (index > 0)
        return -1;
    if (!json_is_integer(value)) return -1;
    json_int_t id = json_integer_value(value);
    return id >= 0 && id < (json_int_t)vocab->n_tokens ? (int32_t)id : -1;
}

/* The tokenizer's own files come first, then the model's: they differ where a model was tuned to dialogue. */
static void find_ids(const struct mlt_hf_tokenizer_files *files, const struct mlt_hf_vocab *vocab,
                     struct special *out)
{
    for (int role = 0; role < N_ROLES; role++) {
        int32_t *id = &out->id[role];
        *id = token_of(vocab, files->config.object, roles[role].token);
        if (*id < 0) *id = token_of(vocab, files->special.object, roles[role].token);
        if (*id < 0) *id = id_of(vocab, json_object_get(files->model.object, roles[role].id), 0);
        if (*id < 0) *id = id_of(vocab, json_object_get(files->generation.object, roles[role].id), 0);
    }
    if (out->id[UNKNOWN] < 0) out->id[UNKNOWN] = vocab->unknown;
}

/* Models with several tokens that end a turn list them in generation_config.json. */
static void find_end_of_turn(const struct mlt_hf_tokenizer_files *files, const struct mlt_hf_vocab *vocab,
                             struct special *out)
{
    const json_t *lists[] = {json_object_get(files->generation.object, "eos_token_id"),
                             json_object_get(files->model.object, "eos_token_id")};
    for (size_t i = 0; i < MLT_COUNT(lists); i++) {
        size_t n = json_is_array(lists[i]) ? json_array_size(lists[i]) : 1;
        for (size_t k = 0; k < n && out->eot < 0; k++) {
            int32_t id = id_of(vocab, lists[i], k);
            if (id >= 0 && id != out->id[EOS]) out->eot = id;
        }
    }
}

static int32_t template_token(const struct mlt_hf_vocab *vocab, const json_t *piece)
{
    return find_text(vocab, mlt_json_string(json_object_get(piece, "SpecialToken"), "id"));
}

/* What a TemplateProcessing puts before and after a single text. */
static void read_template(const struct mlt_hf_vocab *vocab, const json_t *processor, struct special *out)
{
    const json_t *single = mlt_json_array(processor, "single");
    size_t n = json_array_size(single);
    if (n < 2) return;
    int32_t first = template_token(vocab, json_array_get(single, 0));
    int32_t last = template_token(vocab, json_array_get(single, n - 1));
    if (first >= 0) {
        if (out->id[BOS] < 0) out->id[BOS] = first;
        out->add_bos = first == out->id[BOS] || first == out->id[CLS];
    }
    if (last >= 0) {
        if (out->id[EOS] >= 0 && out->id[EOS] != last && last != out->id[SEPARATOR]) {
            if (out->eot < 0) out->eot = out->id[EOS];
            out->id[EOS] = last;
        }
        out->add_eos = last == out->id[EOS];
    }
}

static void read_post_processor(const struct mlt_hf_vocab *vocab, const json_t *processor, int depth,
                                struct special *out)
{
    const char *type = mlt_json_string(processor, "type");
    if (!type || depth > 4) return;
    if (strcmp(type, "TemplateProcessing") == 0) {
        read_template(vocab, processor, out);
    } else if (strcmp(type, "RobertaProcessing") == 0 || strcmp(type, "BertProcessing") == 0) {
        int32_t cls =
            find_text(vocab, json_string_value(json_array_get(mlt_json_array(processor, "cls"), 0)));
        int32_t sep =
            find_text(vocab, json_string_value(json_array_get(mlt_json_array(processor, "sep"), 0)));
        if (out->id[CLS] < 0) out->id[CLS] = cls;
        if (out->id[SEPARATOR] < 0) out->id[SEPARATOR] = sep;
        if (out->id[BOS] < 0) out->id[BOS] = out->id[CLS];
        if (out->id[EOS] < 0) out->id[EOS] = out->id[SEPARATOR];
        out->add_bos = out->add_eos = true;
    }
    const json_t *list = mlt_json_array(processor, "processors");
    for (size_t i = 0; i < json_array_size(list); i++)
        read_post_processor(vocab, json_array_get(list, i), depth + 1, out);
}

static millet_status add_ids(struct mlt_checkpoint *checkpoint, const struct special *special,
                             millet_error *err)
{
    for (int role = 0; role < N_ROLES; role++)
        if (special->id[role] >= 0)
            MLT_TRY(mlt_checkpoint_set_u32(checkpoint, roles[role].key, (uint32_t)special->id[role], err));
    if (special->eot >= 0)
        MLT_TRY(
            mlt_checkpoint_set_u32(checkpoint, "tokenizer.ggml.eot_token_id", (uint32_t)special->eot, err));
    MLT_TRY(mlt_checkpoint_set_bool(checkpoint, "tokenizer.ggml.add_bos_token", special->add_bos, err));
    return mlt_checkpoint_set_bool(checkpoint, "tokenizer.ggml.add_eos_token", special->add_eos, err);
}

static millet_status set_template(struct mlt_checkpoint *checkpoint, const char *name, const char *text,
                                  size_t length, millet_error *err)
{
    char key[160];
    if (!name || strcmp(name, "default") == 0)
        snprintf(key, sizeof key, "tokenizer.chat_template");
    else
        snprintf(key, sizeof key, "tokenizer.chat_template.%.100s", name);
    return mlt_checkpoint_set_string(checkpoint, key, text, length, err);
}

/* One template as a string, or a list of named ones; a file of its own where the tokenizer has none. */
static millet_status add_templates(struct mlt_checkpoint *checkpoint,
                                   const struct mlt_hf_tokenizer_files *files, millet_error *err)
{
    const json_t *value = json_object_get(files->config.object, "chat_template");
    if (json_is_string(value))
        return set_template(checkpoint, NULL, json_string_value(value), json_string_length(value), err);
    if (json_is_array(value)) {
        for (size_t i = 0; i < json_array_size(value); i++) {
            const json_t *entry = json_array_get(value, i), *text = json_object_get(entry, "template");
            const char *name = mlt_json_string(entry, "name");
            if (!name || !json_is_string(text))
                return mlt_json_fail(&files->config, "chat_template", err, MILLET_BAD_FORMAT,
                                     "element %zu has no \"name\" and \"template\"", i);
            MLT_TRY(set_template(checkpoint, name, json_string_value(text), json_string_length(text), err));
        }
        return MILLET_OK;
    }
    if (!files->template_text) return MILLET_OK;
    return set_template(checkpoint, NULL, files->template_text, files->template_length, err);
}

millet_status mlt_hf_tokenizer_special(struct mlt_checkpoint *checkpoint,
                                       const struct mlt_hf_tokenizer_files *files,
                                       const struct mlt_hf_vocab *vocab, millet_error *err)
{
    struct special special = {.eot = -1};
    find_ids(files, vocab, &special);
    read_post_processor(vocab, json_object_get(files->tokenizer.object, "post_processor"), 0, &special);
    find_end_of_turn(files, vocab, &special);
    /* What tokenizer_config.json says outright overrides what the post-processor would do. */
    const struct mlt_json *config = &files->config;
    MLT_TRY(mlt_json_get_bool(config, "add_bos_token", &special.add_bos, &special.add_bos, err));
    MLT_TRY(mlt_json_get_bool(config, "add_eos_token", &special.add_eos, &special.add_eos, err));
    special.add_bos = special.add_bos && special.id[BOS] >= 0;
    special.add_eos = special.add_eos && special.id[EOS] >= 0;
    MLT_TRY(add_ids(checkpoint, &special, err));
    return add_templates(checkpoint, files, err);
}
