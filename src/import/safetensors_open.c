/* Weights in one or several safetensors files. SPDX-License-Identifier: Apache-2.0 */
#include "import/safetensors.h"

#include "import/json_read.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_INDEX = 64 * 1024 * 1024 };

static const char single_name[] = "model.safetensors";
static const char index_name[] = "model.safetensors.index.json";

static millet_status join_path(struct mlt_arena *arena, const char *folder, const char *name, char **out,
                               millet_error *err)
{
    size_t size = strlen(folder) + 1 + strlen(name) + 1;
    *out = mlt_arena_alloc(arena, size, 1, err);
    if (!*out) return MILLET_NO_MEMORY;
    snprintf(*out, size, "%s/%s", folder, name);
    return MILLET_OK;
}

/* A shard is a file in the directory itself: a name that leads elsewhere is refused before it is opened. */
static bool plain_file_name(const char *name)
{
    static const char suffix[] = ".safetensors";
    size_t length = strlen(name), tail = sizeof suffix - 1;
    if (length <= tail || length > 255 || strcmp(name + length - tail, suffix) != 0) return false;
    return name[0] != '.' && !strchr(name, '/') && !strchr(name, '\\') && !strchr(name, ':');
}

static int compare_texts(const void *a, const void *b)
{
    const char *const *left = a, *const *right = b;
    return strcmp(*left, *right);
}

/* The different file names in the index, sorted; they live as long as `weight_map`. */
static millet_status shard_names(const char *index_path, json_t *weight_map, const char **names,
                                 size_t *n_names, millet_error *err)
{
    const char *tensor;
    json_t *value;
    size_t n = 0;
    json_object_foreach (weight_map, tensor, value) {
        const char *name = json_string_value(value);
        if (!name || strlen(name) != json_string_length(value) || !plain_file_name(name))
            return mlt_fail_at(err, MILLET_BAD_FORMAT, index_path, tensor, MILLET_NO_OFFSET,
                               "\"%.100s\" is not the name of a .safetensors file in the same directory",
                               name ? name : "(no string)");
        names[n++] = name;
    }
    qsort(names, n, sizeof *names, compare_texts);
    *n_names = 0;
    for (size_t i = 0; i < n; i++)
        if (i == 0 || strcmp(names[i], names[i - 1]) != 0) names[(*n_names)++] = names[i];
    return MILLET_OK;
}

/* Appends the tensors of one shard, each of which the index must have placed there. */
static millet_status read_shard(struct mlt_checkpoint *checkpoint, const char *folder, const char *name,
                                const char *index_path, const json_t *weight_map, struct mlt_safetensors *out,
                                millet_error *err)
{
    char *path;
    struct mlt_source source;
    struct mlt_safetensors shard;
    MLT_TRY(join_path(&checkpoint->arena, folder, name, &path, err));
    millet_status status = mlt_checkpoint_map(checkpoint, path, &source, err);
    if (status == MILLET_NOT_FOUND)
        return mlt_fail_at(err, status, path, NULL, MILLET_NO_OFFSET,
                           "this shard is named in %s but is missing: copy all shards of the model",
                           index_name);
    if (status != MILLET_OK) return status;
    MLT_TRY(mlt_safetensors_parse(&checkpoint->arena, &source, &shard, err));
    for (size_t i = 0; i < shard.n_tensors; i++) {
        const struct mlt_safetensor *tensor = &shard.tensors[i];
        const char *placed = json_string_value(json_object_get(weight_map, tensor->name.data));
        if (!placed)
            return mlt_fail_at(err, MILLET_BAD_FORMAT, source.path, tensor->name.data, tensor->offset,
                               "this tensor is not named in %s: the files do not belong together",
                               index_path);
        if (strcmp(placed, name) != 0)
            return mlt_fail_at(err, MILLET_BAD_FORMAT, source.path, tensor->name.data, tensor->offset,
                               "the index says that this tensor lies in %.100s: the files do not belong "
                               "together",
                               placed);
        /* Placed tensors are members of the index, each once: they fit. */
        out->tensors[out->n_tensors++] = *tensor;
    }
    return MILLET_OK;
}

/* Names the first tensor of the index that was in no shard. */
static millet_status missing_tensor(const char *index_path, json_t *weight_map,
                                    const struct mlt_safetensors *set, millet_error *err)
{
    const char *name;
    json_t *value;
    json_object_foreach (weight_map, name, value) {
        if (!mlt_safetensors_find(set, name, strlen(name)))
            return mlt_fail_at(err, MILLET_BAD_FORMAT, index_path, name, MILLET_NO_OFFSET,
                               "this tensor is not in %.100s, where the index places it",
                               json_string_value(value));
    }
    return mlt_fail_at(err, MILLET_INTERNAL, index_path, NULL, MILLET_NO_OFFSET,
                       "the count of tensors is wrong");
}

static millet_status read_shards(struct mlt_checkpoint *checkpoint, const char *folder,
                                 const char *index_path, const json_t *index, struct mlt_safetensors *out,
                                 millet_error *err)
{
    json_t *weight_map = json_object_get(index, "weight_map");
    size_t n = json_object_size(weight_map), n_names = 0;
    if (n == 0)
        return mlt_fail_at(err, MILLET_BAD_FORMAT, index_path, "weight_map", MILLET_NO_OFFSET,
                           "the index has no object \"weight_map\" that places the tensors");
    struct mlt_arena *arena = &checkpoint->arena;
    const char **names = mlt_arena_alloc(arena, n, sizeof *names, err);
    out->tensors = mlt_arena_alloc(arena, n, sizeof *out->tensors, err);
    if (!names || !out->tensors) return MILLET_NO_MEMORY;
    MLT_TRY(shard_names(index_path, weight_map, names, &n_names, err));
    for (size_t i = 0; i < n_names; i++)
        MLT_TRY(read_shard(checkpoint, folder, names[i], index_path, weight_map, out, err));
    mlt_safetensors_sort(out);
    return out->n_tensors == n ? MILLET_OK : missing_tensor(index_path, weight_map, out, err);
}

static millet_status read_single(struct mlt_checkpoint *checkpoint, const char *path,
                                 struct mlt_safetensors *out, millet_error *err)
{
    struct mlt_source source;
    MLT_TRY(mlt_checkpoint_map(checkpoint, path, &source, err));
    return mlt_safetensors_parse(&checkpoint->arena, &source, out, err);
}

millet_status mlt_safetensors_open(struct mlt_checkpoint *checkpoint, const char *path,
                                   struct mlt_safetensors *out, millet_error *err)
{
    *out = (struct mlt_safetensors){0};
    if (!mlt_path_is_directory(path)) return read_single(checkpoint, path, out, err);

    char *index_path, *single_path;
    json_t *index;
    MLT_TRY(join_path(&checkpoint->arena, path, index_name, &index_path, err));
    MLT_TRY(join_path(&checkpoint->arena, path, single_name, &single_path, err));
    MLT_TRY(mlt_json_read_optional(&checkpoint->allocator, index_path, MAX_INDEX, &index, err));
    millet_status status;
    if (index) {
        status = read_shards(checkpoint, path, index_path, index, out, err);
        json_decref(index);
        return status;
    }
    status = read_single(checkpoint, single_path, out, err);
    if (status == MILLET_NOT_FOUND)
        return mlt_fail_at(
            err, MILLET_NOT_FOUND, path, NULL, MILLET_NO_OFFSET,
            "the directory has neither %s nor %s; weights in other formats (.bin, .pt) must be "
            "saved as safetensors first",
            single_name, index_name);
    return status;
}
