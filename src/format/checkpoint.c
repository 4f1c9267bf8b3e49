/* Checkpoints in memory: building, the sorted index, reading rows. SPDX-License-Identifier: Apache-2.0 */
#include "format/checkpoint.h"

#include "format/readers.h"

#include <string.h>

/*
 * Names are found by binary search in sorted lists. A hash table would be a little quicker for honest files,
 * but its worst case is in the hands of who makes the file; this has none.
 */
struct index {
    size_t meta_capacity, tensor_capacity, map_capacity;
    size_t *metas, *tensors; /* positions in the checkpoint's arrays, by name; NULL until sealed */
    bool sealed;
};

millet_status mlt_checkpoint_new(const millet_allocator *allocator, const char *path, const char *format,
                                 struct mlt_checkpoint **out, millet_error *err)
{
    *out = NULL;
    struct mlt_checkpoint *checkpoint = mlt_alloc_zero(allocator, 1, sizeof *checkpoint, err);
    if (!checkpoint) return MILLET_NO_MEMORY;
    checkpoint->allocator = *allocator;
    checkpoint->format = format;
    mlt_arena_init(&checkpoint->arena, allocator);
    checkpoint->index = mlt_alloc_zero(allocator, 1, sizeof(struct index), err);
    if (checkpoint->index) checkpoint->path = mlt_arena_text(&checkpoint->arena, path, strlen(path), err);
    if (!checkpoint->path) {
        mlt_checkpoint_close(&checkpoint);
        return MILLET_NO_MEMORY;
    }
    *out = checkpoint;
    return MILLET_OK;
}

void mlt_checkpoint_close(struct mlt_checkpoint **handle)
{
    struct mlt_checkpoint *checkpoint = *handle;
    if (!checkpoint) return;
    millet_allocator allocator = checkpoint->allocator;
    struct index *index = checkpoint->index;
    for (size_t i = 0; i < checkpoint->n_maps; i++)
        mlt_file_map_close(&checkpoint->maps[i]);
    if (index) {
        mlt_free(&allocator, index->metas);
        mlt_free(&allocator, index->tensors);
    }
    mlt_free(&allocator, index);
    mlt_free(&allocator, checkpoint->maps);
    mlt_free(&allocator, checkpoint->metas);
    mlt_free(&allocator, checkpoint->tensors);
    mlt_arena_release(&checkpoint->arena);
    mlt_free(&allocator, checkpoint);
    *handle = NULL;
}

millet_status mlt_checkpoint_map(struct mlt_checkpoint *checkpoint, const char *path,
                                 struct mlt_source *source, millet_error *err)
{
    struct index *index = checkpoint->index;
    void *maps = checkpoint->maps;
    MLT_TRY(mlt_grow(&checkpoint->allocator, &maps, &index->map_capacity, checkpoint->n_maps,
                     sizeof *checkpoint->maps, err));
    checkpoint->maps = maps;
    const char *copy = mlt_arena_text(&checkpoint->arena, path, strlen(path), err);
    if (!copy) return MILLET_NO_MEMORY;
    struct mlt_file_map *map = &checkpoint->maps[checkpoint->n_maps];
    MLT_TRY(mlt_file_map_open(copy, map, err));
    checkpoint->n_maps++;
    *source = (struct mlt_source){.path = copy, .data = map->data, .size = map->size};
    return MILLET_OK;
}

/* Length of the valid UTF-8 character at text[0..left), 0 where there is none (RFC 3629: shortest form, no
 * surrogates, at most U+10FFFF). */
static size_t utf8_character(const uint8_t *text, size_t left)
{
    uint8_t first = text[0];
    if (first < 0x80) return 1;
    size_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
    if (first < 0xC2 || first > 0xF4 || length > left) return 0;
    for (size_t i = 1; i < length; i++)
        if ((text[i] & 0xC0) != 0x80) return 0;
    if (first == 0xE0 && text[1] < 0xA0) return 0;
    if (first == 0xED && text[1] > 0x9F) return 0;
    if (first == 0xF0 && text[1] < 0x90) return 0;
    if (first == 0xF4 && text[1] > 0x8F) return 0;
    return length;
}

millet_status mlt_check_name(const struct mlt_string *name, const char *kind, millet_error *err)
{
    if (name->length == 0) return mlt_fail(err, MILLET_BAD_FORMAT, "an empty %s", kind);
    for (size_t i = 0; i < name->length;) {
        size_t length = utf8_character((const uint8_t *)name->data + i, name->length - i);
        if (length == 0 || name->data[i] == 0)
            return mlt_fail(err, MILLET_BAD_FORMAT, "byte %zu of a %s is %s", i, kind,
                            length ? "NUL" : "no valid UTF-8");
        i += length;
    }
    return MILLET_OK;
}

static millet_status not_sealed(const struct mlt_checkpoint *checkpoint, millet_error *err)
{
    const struct index *index = checkpoint->index;
    if (!index->sealed) return MILLET_OK;
    return mlt_fail(err, MILLET_BAD_ARGUMENT, "the checkpoint is sealed: nothing can be added to it");
}

static millet_status copy_string(struct mlt_arena *arena, const struct mlt_string *from,
                                 struct mlt_string *to, millet_error *err)
{
    const char *data = mlt_arena_text(arena, from->data, from->length, err);
    if (!data) return MILLET_NO_MEMORY;
    *to = (struct mlt_string){data, from->length};
    return MILLET_OK;
}

millet_status mlt_checkpoint_adopt_meta(struct mlt_checkpoint *checkpoint, const struct mlt_meta *meta,
                                        millet_error *err)
{
    struct index *index = checkpoint->index;
    MLT_TRY(not_sealed(checkpoint, err));
    MLT_TRY(mlt_check_name(&meta->key, "metadata key", err));
    void *metas = checkpoint->metas;
    MLT_TRY(mlt_grow(&checkpoint->allocator, &metas, &index->meta_capacity, checkpoint->n_metas, sizeof *meta,
                     err));
    checkpoint->metas = metas;
    checkpoint->metas[checkpoint->n_metas++] = *meta;
    return MILLET_OK;
}

millet_status mlt_checkpoint_add_meta(struct mlt_checkpoint *checkpoint, const struct mlt_meta *meta,
                                      millet_error *err)
{
    struct mlt_arena *arena = &checkpoint->arena;
    struct mlt_meta copy = *meta;
    MLT_TRY(copy_string(arena, &meta->key, &copy.key, err));
    if (meta->type == MLT_META_STRING) {
        MLT_TRY(copy_string(arena, &meta->value.string, &copy.value.string, err));
    } else if (meta->type == MLT_META_ARRAY) {
        size_t size = mlt_meta_type_size(meta->element);
        if (size == 0)
            return mlt_fail_at(err, MILLET_UNSUPPORTED, NULL, copy.key.data, MILLET_NO_OFFSET,
                               "arrays of type %s are not supported", mlt_meta_type_name(meta->element));
        if (meta->count > SIZE_MAX)
            return mlt_fail(err, MILLET_NO_MEMORY, "an array is larger than the address space");
        size_t count = (size_t)meta->count;
        void *array = mlt_arena_alloc(arena, count, size, err);
        if (!array) return MILLET_NO_MEMORY;
        if (count) memcpy(array, meta->value.array, count * size);
        if (meta->element == MLT_META_STRING) {
            struct mlt_string *strings = array;
            for (size_t i = 0; i < count; i++)
                MLT_TRY(copy_string(arena, &strings[i], &strings[i], err));
        }
        copy.value.array = array;
    }
    return mlt_checkpoint_adopt_meta(checkpoint, &copy, err);
}

millet_status mlt_tensor_measure(struct mlt_tensor *tensor, millet_error *err)
{
    const struct mlt_dtype_info *info = mlt_dtype_find(tensor->dtype);
    const char *name = tensor->name.data;
    if (!info)
        return mlt_fail_at(err, MILLET_UNSUPPORTED, NULL, name, MILLET_NO_OFFSET,
                           "tensor type number %u is not known", (unsigned)tensor->dtype);
    if (tensor->n_dims < 1 || tensor->n_dims > MLT_MAX_DIMS)
        return mlt_fail_at(err, MILLET_BAD_FORMAT, NULL, name, MILLET_NO_OFFSET,
                           "%d dimensions; a tensor has 1 to %d", tensor->n_dims, MLT_MAX_DIMS);
    uint64_t elements = 1;
    for (int i = 0; i < MLT_MAX_DIMS; i++) {
        if (i >= tensor->n_dims) tensor->ne[i] = 1;
        if (tensor->ne[i] < 1)
            return mlt_fail_at(err, MILLET_BAD_FORMAT, NULL, name, MILLET_NO_OFFSET,
                               "dimension %d is %lld; at least 1 is needed", i, (long long)tensor->ne[i]);
        if (!mlt_mul_u64(elements, (uint64_t)tensor->ne[i], &elements) || elements > INT64_MAX)
            return mlt_fail_at(err, MILLET_BAD_FORMAT, NULL, name, MILLET_NO_OFFSET,
                               "the product of the dimensions exceeds 2^63");
    }
    uint64_t row = (uint64_t)tensor->ne[0], block = (uint64_t)info->block_length;
    if (row % block != 0)
        return mlt_fail_at(err, MILLET_BAD_FORMAT, NULL, name, MILLET_NO_OFFSET,
                           "a row of %llu elements is no whole number of %s blocks of %llu",
                           (unsigned long long)row, info->name, (unsigned long long)block);
    tensor->rows = elements / row;
    if (!mlt_mul_u64(row / block, (uint64_t)info->block_bytes, &tensor->row_bytes) ||
        !mlt_mul_u64(tensor->row_bytes, tensor->rows, &tensor->bytes) || tensor->bytes > INT64_MAX)
        return mlt_fail_at(err, MILLET_BAD_FORMAT, NULL, name, MILLET_NO_OFFSET,
                           "the size of the tensor exceeds 2^63 bytes");
    return MILLET_OK;
}

millet_status mlt_checkpoint_adopt_tensor(struct mlt_checkpoint *checkpoint, const struct mlt_tensor *tensor,
                                          millet_error *err)
{
    struct index *index = checkpoint->index;
    MLT_TRY(not_sealed(checkpoint, err));
    MLT_TRY(mlt_check_name(&tensor->name, "tensor name", err));
    void *tensors = checkpoint->tensors;
    MLT_TRY(mlt_grow(&checkpoint->allocator, &tensors, &index->tensor_capacity, checkpoint->n_tensors,
                     sizeof *tensor, err));
    checkpoint->tensors = tensors;
    struct mlt_tensor *added = &checkpoint->tensors[checkpoint->n_tensors];
    *added = *tensor;
    if (!added->file) added->file = checkpoint->path;
    MLT_TRY(mlt_tensor_measure(added, err));
    checkpoint->n_tensors++;
    return MILLET_OK;
}

millet_status mlt_checkpoint_add_tensor(struct mlt_checkpoint *checkpoint, const struct mlt_tensor *tensor,
                                        millet_error *err)
{
    struct mlt_tensor copy = *tensor;
    MLT_TRY(copy_string(&checkpoint->arena, &tensor->name, &copy.name, err));
    return mlt_checkpoint_adopt_tensor(checkpoint, &copy, err);
}

/* Lets position `root` of a heap of `count` sink to its place. */
static void sift_down(size_t *order, size_t root, size_t count, mlt_order *compare, const void *context)
{
    for (;;) {
        size_t child = 2 * root + 1;
        if (child >= count) return;
        if (child + 1 < count && compare(context, order[child], order[child + 1]) < 0) child++;
        if (compare(context, order[root], order[child]) >= 0) return;
        size_t held = order[root];
        order[root] = order[child];
        order[child] = held;
        root = child;
    }
}

void mlt_sort_order(size_t *order, size_t count, mlt_order *compare, const void *context)
{
    for (size_t i = 0; i < count; i++)
        order[i] = i;
    for (size_t i = count / 2; i-- > 0;)
        sift_down(order, i, count, compare, context);
    for (size_t last = count; last-- > 1;) {
        size_t held = order[0];
        order[0] = order[last];
        order[last] = held;
        sift_down(order, 0, last, compare, context);
    }
}

/* An array of structs that begin with their name. */
struct names {
    const void *array;
    size_t stride, count;
};

static const struct mlt_string *name_at(const struct names *names, size_t i)
{
    return (const struct mlt_string *)((const char *)names->array + i * names->stride);
}

/* By bytes, the shorter first: names hold no NUL, so that their terminators end the comparison. */
static int compare_names(const void *context, size_t a, size_t b)
{
    const struct names *names = context;
    return strcmp(name_at(names, a)->data, name_at(names, b)->data);
}

static millet_status sort_names(const struct mlt_checkpoint *checkpoint, const struct names *names,
                                const char *kind, size_t **out, millet_error *err)
{
    size_t *order = mlt_alloc(&checkpoint->allocator, names->count, sizeof *order, err);
    if (!order) return MILLET_NO_MEMORY;
    *out = order;
    mlt_sort_order(order, names->count, compare_names, names);
    for (size_t i = 1; i < names->count; i++)
        if (compare_names(names, order[i - 1], order[i]) == 0)
            return mlt_fail_at(err, MILLET_BAD_FORMAT, checkpoint->path, name_at(names, order[i])->data,
                               MILLET_NO_OFFSET, "this %s occurs twice", kind);
    return MILLET_OK;
}

_Static_assert(offsetof(struct mlt_meta, key) == 0, "name_at reads the key");
_Static_assert(offsetof(struct mlt_tensor, name) == 0, "name_at reads the name");

static struct names meta_names(const struct mlt_checkpoint *checkpoint)
{
    return (struct names){checkpoint->metas, sizeof *checkpoint->metas, checkpoint->n_metas};
}

static struct names tensor_names(const struct mlt_checkpoint *checkpoint)
{
    return (struct names){checkpoint->tensors, sizeof *checkpoint->tensors, checkpoint->n_tensors};
}

millet_status mlt_checkpoint_seal(struct mlt_checkpoint *checkpoint, millet_error *err)
{
    struct index *index = checkpoint->index;
    struct names metas = meta_names(checkpoint), tensors = tensor_names(checkpoint);
    MLT_TRY(not_sealed(checkpoint, err));
    index->sealed = true;
    MLT_TRY(sort_names(checkpoint, &metas, "metadata key", &index->metas, err));
    return sort_names(checkpoint, &tensors, "tensor name", &index->tensors, err);
}

/* Position of `name`, or the count. Without an order (not sealed yet) all names are looked at. */
static size_t find_name(const struct names *names, const size_t *order, const char *name)
{
    if (!order) {
        for (size_t i = 0; i < names->count; i++)
            if (strcmp(name_at(names, i)->data, name) == 0) return i;
        return names->count;
    }
    size_t low = 0, high = names->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int sign = strcmp(name_at(names, order[middle])->data, name);
        if (sign == 0) return order[middle];
        if (sign < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return names->count;
}

const struct mlt_tensor *mlt_checkpoint_tensor(const struct mlt_checkpoint *checkpoint, const char *name)
{
    const struct index *index = checkpoint->index;
    struct names names = tensor_names(checkpoint);
    size_t at = find_name(&names, index->tensors, name);
    return at < names.count ? &checkpoint->tensors[at] : NULL;
}

const struct mlt_meta *mlt_checkpoint_meta(const struct mlt_checkpoint *checkpoint, const char *key)
{
    const struct index *index = checkpoint->index;
    struct names names = meta_names(checkpoint);
    size_t at = find_name(&names, index->metas, key);
    return at < names.count ? &checkpoint->metas[at] : NULL;
}

millet_status mlt_tensor_read(const struct mlt_tensor *tensor, uint64_t row, uint64_t rows, void *out,
                              millet_error *err)
{
    if (row > tensor->rows || rows > tensor->rows - row)
        return mlt_fail_at(err, MILLET_BAD_ARGUMENT, tensor->file, tensor->name.data, MILLET_NO_OFFSET,
                           "rows %llu to %llu were asked for; it has %llu", (unsigned long long)row,
                           (unsigned long long)(row + rows), (unsigned long long)tensor->rows);
    if (rows == 0) return MILLET_OK;
    if (!tensor->data) return tensor->read(tensor, row, rows, out, err);
    memcpy(out, tensor->data + row * tensor->row_bytes, (size_t)(rows * tensor->row_bytes));
    return MILLET_OK;
}
