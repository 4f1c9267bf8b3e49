/* A Hugging Face directory as a checkpoint. SPDX-License-Identifier: Apache-2.0 */
#include "import/import.h"

#include "import/hf.h"

#include <stdio.h>
#include <string.h>

enum {
    MAX_CONFIG = 8 * 1024 * 1024,
    MAX_TOKENIZER = 256 * 1024 * 1024, /* the largest in use have some 35 million bytes */
    MAX_TEMPLATE = 4 * 1024 * 1024,
    MAX_TOKENS = 1 << 22,
};

enum json_file { CONFIG, GENERATION, TOKENIZER, TOKENIZER_CONFIG, SPECIAL_TOKENS, N_FILES };

static const struct file_row {
    const char *name;
    uint64_t limit;
} files[N_FILES] = {
    [CONFIG] = {"config.json", MAX_CONFIG},
    [GENERATION] = {"generation_config.json", MAX_CONFIG},
    [TOKENIZER] = {"tokenizer.json", MAX_TOKENIZER},
    [TOKENIZER_CONFIG] = {"tokenizer_config.json", MAX_CONFIG},
    [SPECIAL_TOKENS] = {"special_tokens_map.json", MAX_CONFIG},
};

/* What is held while a directory is read. */
struct import {
    struct mlt_checkpoint *checkpoint;
    const char *folder;
    const char *tokenizer_name; /* another name than tokenizer.json, or NULL */
    json_t *roots[N_FILES];
    struct mlt_json json[N_FILES]; /* object NULL where there is no such file */
    char *template_text;
    uint64_t template_length;
};

bool mlt_import_recognise(const char *path)
{
    static const char suffix[] = ".safetensors";
    size_t length = strlen(path), tail = sizeof suffix - 1;
    return (length > tail && strcmp(path + length - tail, suffix) == 0) || mlt_path_is_directory(path);
}

/* The directory itself, or the one that the file lies in. */
static millet_status find_folder(struct import *import, const char *path, millet_error *err)
{
    size_t length = strlen(path);
    if (!mlt_path_is_directory(path)) {
        const char *slash = strrchr(path, '/');
        length = slash ? (size_t)(slash - path) : 0;
    }
    while (length > 1 && path[length - 1] == '/')
        length--;
    bool root = length == 0 && path[0] == '/';
    import->folder = mlt_arena_text(&import->checkpoint->arena,
                                    length ? path
                                    : root ? "/"
                                           : ".",
                                    length ? length : 1, err);
    return import->folder ? MILLET_OK : MILLET_NO_MEMORY;
}

static millet_status file_path(const struct import *import, const char *name, char **out, millet_error *err)
{
    size_t size = strlen(import->folder) + strlen(name) + 2;
    *out = mlt_arena_alloc(&import->checkpoint->arena, size, 1, err);
    if (!*out) return MILLET_NO_MEMORY;
    snprintf(*out, size, "%s/%s", import->folder, name);
    return MILLET_OK;
}

static millet_status read_files(struct import *import, millet_error *err)
{
    const millet_allocator *allocator = &import->checkpoint->allocator;
    char *path;
    for (int i = 0; i < N_FILES; i++) {
        bool other = i == TOKENIZER && import->tokenizer_name;
        MLT_TRY(file_path(import, other ? import->tokenizer_name : files[i].name, &path, err));
        MLT_TRY(mlt_json_read_optional(allocator, path, files[i].limit, &import->roots[i], err));
        import->json[i] = (struct mlt_json){.object = import->roots[i], .file = path, .prefix = ""};
    }
    MLT_TRY(file_path(import, "chat_template.jinja", &path, err));
    millet_error probe;
    millet_status status = mlt_file_read(allocator, path, MAX_TEMPLATE, &import->template_text,
                                         &import->template_length, &probe);
    if (status == MILLET_OK || status == MILLET_NOT_FOUND) return MILLET_OK;
    if (err) *err = probe;
    return status;
}

/* GGUF's number for what most of the weights are stored as. */
static uint32_t file_type(mlt_dtype dtype)
{
    return dtype == MLT_F32 ? 0 : dtype == MLT_F16 ? 1 : 32;
}

/* Keys that say nothing about the arithmetic: the model's name (the directory's) and its type. */
static millet_status add_general(struct import *import, const struct mlt_tensor *embedding, millet_error *err)
{
    const char *slash = strrchr(import->folder, '/'), *name = slash ? slash + 1 : import->folder;
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || !*name) {
        const char *given = mlt_json_string(import->roots[CONFIG], "_name_or_path");
        name = given ? given : "";
    }
    MLT_TRY(mlt_checkpoint_set_string(import->checkpoint, "general.name", name, strlen(name), err));
    return mlt_checkpoint_set_u32(import->checkpoint, "general.file_type", file_type(embedding->dtype), err);
}

/* The embedding has a row for each token: this bounds everything that is made per token. */
static millet_status check_embedding(const struct import *import, const struct mlt_hf_config *config,
                                     const struct mlt_tensor **out, millet_error *err)
{
    const struct mlt_tensor *embedding = mlt_checkpoint_tensor(import->checkpoint, "token_embd.weight");
    const char *file = import->json[CONFIG].file;
    if (!embedding)
        return mlt_fail_at(err, MILLET_BAD_FORMAT, import->checkpoint->path, "token_embd.weight",
                           MILLET_NO_OFFSET, "the weights have no token embedding");
    if (embedding->n_dims != 2 || embedding->ne[1] != config->n_vocab || embedding->ne[0] != config->n_embd)
        return mlt_fail_at(err, MILLET_BAD_FORMAT, file, "vocab_size", MILLET_NO_OFFSET,
                           "config.json gives %u tokens of %u elements, the embedding has %lld of %lld",
                           config->n_vocab, config->n_embd, (long long)embedding->ne[1],
                           (long long)embedding->ne[0]);
    *out = embedding;
    return MILLET_OK;
}

static millet_status read_tokenizer(struct import *import, uint32_t n_vocab, millet_error *err)
{
    struct mlt_hf_tokenizer_files tokenizer = {
        .tokenizer = import->json[TOKENIZER],
        .config = import->json[TOKENIZER_CONFIG],
        .special = import->json[SPECIAL_TOKENS],
        .model = import->json[CONFIG],
        .generation = import->json[GENERATION],
        .template_text = import->template_text,
        .template_length = (size_t)import->template_length,
        .n_vocab = n_vocab,
    };
    return mlt_hf_tokenizer_read(import->checkpoint, &tokenizer, err);
}

static millet_status fill(struct import *import, const char *path, millet_error *err)
{
    struct mlt_safetensors set;
    struct mlt_hf_config config;
    const struct mlt_tensor *embedding = NULL;
    MLT_TRY(mlt_safetensors_open(import->checkpoint, path, &set, err));
    MLT_TRY(find_folder(import, path, err));
    MLT_TRY(read_files(import, err));
    if (!import->roots[CONFIG])
        return mlt_fail_at(err, MILLET_NOT_FOUND, import->folder, NULL, MILLET_NO_OFFSET,
                           "the directory has no config.json, which says what model the weights belong to");
    MLT_TRY(mlt_hf_config_read(import->checkpoint, &import->json[CONFIG], &config, err));
    MLT_TRY(mlt_hf_tensors_map(import->checkpoint, &config, &set, err));
    MLT_TRY(check_embedding(import, &config, &embedding, err));
    MLT_TRY(add_general(import, embedding, err));
    if (import->roots[TOKENIZER]) MLT_TRY(read_tokenizer(import, config.n_vocab, err));
    return mlt_checkpoint_seal(import->checkpoint, err);
}

/* One more than the largest id in tokenizer.json: without weights nothing else says how many tokens there
 * are. */
static millet_status count_tokens(const struct mlt_json *json, uint32_t *out, millet_error *err)
{
    json_t *model = json_object_get(json->object, "model"), *vocab = json_object_get(model, "vocab");
    json_t *added = json_object_get(json->object, "added_tokens"), *value;
    const char *text;
    size_t index;
    json_int_t count = json_is_array(vocab) ? (json_int_t)json_array_size(vocab) : 0;
    if (json_is_object(vocab))
        json_object_foreach (vocab, text, value)
            count = MLT_MAX(count, json_integer_value(value) + 1);
    json_array_foreach (added, index, value)
        count = MLT_MAX(count, json_integer_value(json_object_get(value, "id")) + 1);
    if (count < 1 || count > MAX_TOKENS)
        return mlt_json_fail(json, "model.vocab", err, MILLET_BAD_FORMAT,
                             "the largest id gives %lld tokens; 1 to %d make sense", (long long)count,
                             (int)MAX_TOKENS);
    *out = (uint32_t)count;
    return MILLET_OK;
}

static millet_status fill_tokenizer(struct import *import, const char *path, millet_error *err)
{
    uint32_t n_vocab = 0;
    const char *slash = strrchr(path, '/');
    if (!mlt_path_is_directory(path)) import->tokenizer_name = slash ? slash + 1 : path;
    MLT_TRY(find_folder(import, path, err));
    MLT_TRY(read_files(import, err));
    if (!import->roots[TOKENIZER])
        return mlt_fail_at(err, MILLET_NOT_FOUND, import->folder, NULL, MILLET_NO_OFFSET,
                           "the directory has no tokenizer.json");
    MLT_TRY(count_tokens(&import->json[TOKENIZER], &n_vocab, err));
    MLT_TRY(read_tokenizer(import, n_vocab, err));
    return mlt_checkpoint_seal(import->checkpoint, err);
}

typedef millet_status filler(struct import *import, const char *path, millet_error *err);

static millet_status import_with(const millet_allocator *allocator, const char *path, const char *format,
                                 filler *fill_it, struct mlt_checkpoint **out, millet_error *err)
{
    *out = NULL;
    struct import import = {0};
    MLT_TRY(mlt_checkpoint_new(allocator, path, format, &import.checkpoint, err));
    millet_status status = fill_it(&import, path, err);
    for (int i = 0; i < N_FILES; i++)
        json_decref(import.roots[i]);
    mlt_free(allocator, import.template_text);
    if (status != MILLET_OK) {
        mlt_error_in_file(err, path);
        mlt_checkpoint_close(&import.checkpoint);
        return status;
    }
    *out = import.checkpoint;
    return MILLET_OK;
}

millet_status mlt_import_checkpoint(const millet_allocator *allocator, const char *path,
                                    struct mlt_checkpoint **out, millet_error *err)
{
    return import_with(allocator, path, "safetensors", fill, out, err);
}

millet_status mlt_import_tokenizer(const millet_allocator *allocator, const char *path,
                                   struct mlt_checkpoint **out, millet_error *err)
{
    return import_with(allocator, path, "tokenizer.json", fill_tokenizer, out, err);
}
