/*
 * The GGUF reader, versions 2 and 3 (github.com/ggml-org/ggml/blob/master/docs/gguf.md), little-endian.
 *
 * File: "GGUF", version u32, tensor count u64, metadata count u64; the metadata (key, value type u32, value);
 * the tensor directory (name, number of dimensions u32, dimensions u64 each, type u32, offset u64); zero
 * bytes up to a multiple of general.alignment; the data, in which each tensor begins at a multiple of the
 * alignment. A string is a length u64 and its bytes. An array is an element type u32, a count u64 and the
 * elements.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "format/readers.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "weights are used in place, as little-endian numbers: a big-endian machine needs a converting reader"
#endif

enum { DEFAULT_ALIGNMENT = 32 };

/* A walk through one file. Errors name `item`, the key or tensor at hand. */
struct cursor {
    const struct mlt_source *source;
    uint64_t at;
    const char *item; /* or NULL */
};

static uint64_t left(const struct cursor *cursor)
{
    return cursor->source->size - cursor->at;
}

/* Adds to an error from a callee what only the walk knows. */
static millet_status place(millet_status status, const struct cursor *cursor, uint64_t offset,
                           millet_error *err)
{
    if (status != MILLET_OK && err) {
        mlt_error_in_file(err, cursor->source->path);
        if (cursor->item) mlt_error_in_item(err, cursor->item);
        if (err->offset == MILLET_NO_OFFSET) err->offset = offset;
    }
    return status;
}

/* Steps over `size` bytes and gives their address; `what` is what they hold. */
static millet_status take(struct cursor *cursor, uint64_t size, const char *what, const uint8_t **bytes,
                          millet_error *err)
{
    if (size > left(cursor)) {
        mlt_fail_at(err, MILLET_BAD_FORMAT, cursor->source->path, cursor->item, cursor->at,
                    "%s needs %" PRIu64 " bytes, but only %" PRIu64 " are left of the file", what, size,
                    left(cursor));
        return MILLET_BAD_FORMAT; /* a constant: the compiler sees that *bytes is set where this succeeds */
    }
    *bytes = cursor->source->data + cursor->at;
    cursor->at += size;
    return MILLET_OK;
}

static millet_status take_u32(struct cursor *cursor, const char *what, uint32_t *value, millet_error *err)
{
    const uint8_t *bytes;
    MLT_TRY(take(cursor, sizeof *value, what, &bytes, err));
    memcpy(value, bytes, sizeof *value);
    return MILLET_OK;
}

static millet_status take_u64(struct cursor *cursor, const char *what, uint64_t *value, millet_error *err)
{
    const uint8_t *bytes;
    MLT_TRY(take(cursor, sizeof *value, what, &bytes, err));
    memcpy(value, bytes, sizeof *value);
    return MILLET_OK;
}

/* A string as it lies in the file, without a NUL. */
static millet_status take_string(struct cursor *cursor, const char *what, struct mlt_string *string,
                                 millet_error *err)
{
    uint64_t length;
    const uint8_t *bytes;
    MLT_TRY(take_u64(cursor, what, &length, err));
    MLT_TRY(take(cursor, length, what, &bytes, err));
    *string = (struct mlt_string){(const char *)bytes, (size_t)length};
    return MILLET_OK;
}

/* A name, copied with its NUL, so that it can be an error's item from here on. */
static millet_status take_name(struct cursor *cursor, struct mlt_arena *arena, const char *what,
                               struct mlt_string *name, millet_error *err)
{
    uint64_t begin = cursor->at;
    cursor->item = NULL;
    MLT_TRY(take_string(cursor, what, name, err));
    MLT_TRY(place(mlt_check_name(name, what, err), cursor, begin, err));
    name->data = mlt_arena_text(arena, name->data, name->length, err);
    if (!name->data) return place(MILLET_NO_MEMORY, cursor, begin, err);
    cursor->item = name->data;
    return MILLET_OK;
}

static bool is_type(uint32_t number)
{
    return number <= MLT_META_F64;
}

/* Widens the scalar at `bytes` into the value; false for a bool that is neither 0 nor 1. */
static bool read_scalar(const uint8_t *bytes, enum mlt_meta_type type, struct mlt_meta *meta)
{
    union {
        uint16_t u16;
        int16_t i16;
        uint32_t u32;
        int32_t i32;
        uint64_t u64;
        int64_t i64;
        float f32;
        double f64;
    } raw;
    memcpy(&raw, bytes, mlt_meta_type_size(type));
    switch (type) {
    case MLT_META_U8:
    case MLT_META_BOOL: meta->value.u = bytes[0]; break;
    case MLT_META_I8: meta->value.i = (int8_t)bytes[0]; break;
    case MLT_META_U16: meta->value.u = raw.u16; break;
    case MLT_META_I16: meta->value.i = raw.i16; break;
    case MLT_META_U32: meta->value.u = raw.u32; break;
    case MLT_META_I32: meta->value.i = raw.i32; break;
    case MLT_META_F32: meta->value.f = (double)raw.f32; break;
    case MLT_META_U64: meta->value.u = raw.u64; break;
    case MLT_META_I64: meta->value.i = raw.i64; break;
    case MLT_META_F64: meta->value.f = raw.f64; break;
    case MLT_META_STRING:
    case MLT_META_ARRAY: break;
    }
    return type != MLT_META_BOOL || meta->value.u <= 1;
}

/*
 * An array of strings: once over the file to check and measure, then one block for the structs and one for
 * the text. `count` has been checked against the file's size, so that both are bounded by it.
 */
static millet_status read_strings(struct cursor *cursor, struct mlt_arena *arena, uint64_t count,
                                  const void **array, millet_error *err)
{
    struct cursor ahead = *cursor;
    uint64_t text_bytes = 0;
    struct mlt_string string;
    for (uint64_t i = 0; i < count; i++) {
        MLT_TRY(take_string(&ahead, "a string of the array", &string, err));
        text_bytes += string.length + 1;
    }
    struct mlt_string *strings = mlt_arena_alloc(arena, (size_t)count, sizeof *strings, err);
    char *text = strings ? mlt_arena_alloc(arena, (size_t)text_bytes, 1, err) : NULL;
    if (!text) return place(MILLET_NO_MEMORY, cursor, cursor->at, err);
    for (uint64_t i = 0; i < count; i++) {
        MLT_TRY(take_string(cursor, "a string of the array", &string, err));
        if (string.length) memcpy(text, string.data, string.length);
        text[string.length] = 0;
        strings[i] = (struct mlt_string){text, string.length};
        text += string.length + 1;
    }
    *array = strings;
    return MILLET_OK;
}

static millet_status read_array(struct cursor *cursor, struct mlt_arena *arena, struct mlt_meta *meta,
                                millet_error *err)
{
    const char *path = cursor->source->path;
    uint64_t begin = cursor->at;
    uint32_t element;
    MLT_TRY(take_u32(cursor, "the element type of the array", &element, err));
    MLT_TRY(take_u64(cursor, "the length of the array", &meta->count, err));
    if (element == MLT_META_ARRAY)
        return mlt_fail_at(err, MILLET_UNSUPPORTED, path, cursor->item, begin,
                           "arrays of arrays are not supported");
    if (!is_type(element))
        return mlt_fail_at(err, MILLET_BAD_FORMAT, path, cursor->item, begin,
                           "the array's element type %" PRIu32 " does not exist", element);
    meta->element = (enum mlt_meta_type)element;
    size_t size = mlt_meta_type_size(meta->element);
    uint64_t stored = element == MLT_META_STRING ? sizeof(uint64_t) : size; /* at least, each */
    if (meta->count > left(cursor) / stored)
        return mlt_fail_at(err, MILLET_BAD_FORMAT, path, cursor->item, begin,
                           "an array of %" PRIu64 " elements of type %s cannot be in the %" PRIu64
                           " bytes that are left of the file",
                           meta->count, mlt_meta_type_name(meta->element), left(cursor));
    if (element == MLT_META_STRING) return read_strings(cursor, arena, meta->count, &meta->value.array, err);

    const uint8_t *bytes;
    begin = cursor->at;
    MLT_TRY(take(cursor, meta->count * size, "the array", &bytes, err));
    void *array = mlt_arena_alloc(arena, (size_t)meta->count, size, err);
    if (!array) return place(MILLET_NO_MEMORY, cursor, begin, err);
    if (meta->count) memcpy(array, bytes, (size_t)meta->count * size);
    for (uint64_t i = 0; element == MLT_META_BOOL && i < meta->count; i++)
        if (bytes[i] > 1)
            return mlt_fail_at(err, MILLET_BAD_FORMAT, path, cursor->item, begin + i,
                               "element %" PRIu64 " of the array is %u; a bool is 0 or 1", i, bytes[i]);
    meta->value.array = array;
    return MILLET_OK;
}

static millet_status read_meta(struct cursor *cursor, struct mlt_arena *arena, struct mlt_meta *meta,
                               millet_error *err)
{
    const char *path = cursor->source->path;
    *meta = (struct mlt_meta){.count = 1};
    MLT_TRY(take_name(cursor, arena, "metadata key", &meta->key, err));
    uint64_t begin = cursor->at;
    uint32_t type;
    MLT_TRY(take_u32(cursor, "the type of the value", &type, err));
    if (!is_type(type))
        return mlt_fail_at(err, MILLET_BAD_FORMAT, path, cursor->item, begin,
                           "the value's type %" PRIu32 " does not exist", type);
    meta->type = meta->element = (enum mlt_meta_type)type;
    if (type == MLT_META_ARRAY) return read_array(cursor, arena, meta, err);

    begin = cursor->at;
    if (type == MLT_META_STRING) {
        struct mlt_string *string = &meta->value.string;
        MLT_TRY(take_string(cursor, "the string", string, err));
        string->data = mlt_arena_text(arena, string->data, string->length, err);
        return string->data ? MILLET_OK : place(MILLET_NO_MEMORY, cursor, begin, err);
    }
    const uint8_t *bytes;
    MLT_TRY(take(cursor, mlt_meta_type_size(meta->type), "the value", &bytes, err));
    if (!read_scalar(bytes, meta->type, meta))
        return mlt_fail_at(err, MILLET_BAD_FORMAT, path, cursor->item, begin,
                           "the value is %u; a bool is 0 or 1", bytes[0]);
    return MILLET_OK;
}

/* One entry of the directory. `offset` is left relative to the data section, whose place is not known yet. */
static millet_status read_tensor(struct cursor *cursor, struct mlt_arena *arena, struct mlt_tensor *tensor,
                                 millet_error *err)
{
    const char *path = cursor->source->path;
    *tensor = (struct mlt_tensor){.file = path};
    MLT_TRY(take_name(cursor, arena, "tensor name", &tensor->name, err));
    uint64_t begin = cursor->at;
    uint32_t n_dims, type;
    MLT_TRY(take_u32(cursor, "the number of dimensions", &n_dims, err));
    if (n_dims > MLT_MAX_DIMS)
        return mlt_fail_at(err, MILLET_BAD_FORMAT, path, cursor->item, begin,
                           "%" PRIu32 " dimensions; a tensor has at most %d", n_dims, MLT_MAX_DIMS);
    tensor->ne[0] = 1;
    tensor->n_dims = n_dims ? (int)n_dims : 1; /* no dimension: a single number */
    for (uint32_t i = 0; i < n_dims; i++) {
        uint64_t length;
        begin = cursor->at;
        MLT_TRY(take_u64(cursor, "a dimension", &length, err));
        if (length < 1 || length > INT64_MAX)
            return mlt_fail_at(err, MILLET_BAD_FORMAT, path, cursor->item, begin,
                               "dimension %" PRIu32 " is %" PRIu64 "; it must be at least 1 and below 2^63",
                               i, length);
        tensor->ne[i] = (int64_t)length;
    }
    begin = cursor->at;
    MLT_TRY(take_u32(cursor, "the tensor's type", &type, err));
    MLT_TRY(take_u64(cursor, "the tensor's offset", &tensor->offset, err));
    if (!mlt_dtype_find(type))
        return mlt_fail_at(
            err, MILLET_UNSUPPORTED, path, cursor->item, begin,
            "tensor type number %" PRIu32 " is not supported; convert the model to a type that is", type);
    tensor->dtype = (mlt_dtype)type;
    return place(mlt_tensor_measure(tensor, err), cursor, begin, err);
}

/* What one file says of itself besides its tensors. */
struct piece {
    uint32_t version, alignment;
    uint32_t number, count; /* split.no, split.count */
    uint64_t all_tensors;   /* split.tensors.count; 0: not said */
    size_t first_tensor, n_tensors;
};

static bool is_split_key(const char *key)
{
    return strncmp(key, "split.", 6) == 0;
}

/* Notes the keys that steer the reading. */
static millet_status note_meta(struct piece *piece, const struct mlt_meta *meta, const struct cursor *cursor,
                               uint64_t begin, millet_error *err)
{
    const char *key = meta->key.data;
    bool alignment = strcmp(key, "general.alignment") == 0;
    if (!alignment && !is_split_key(key)) return MILLET_OK;
    uint64_t value = UINT64_MAX;
    switch (meta->type) {
    case MLT_META_U8:
    case MLT_META_U16:
    case MLT_META_U32:
    case MLT_META_U64: value = meta->value.u; break;
    case MLT_META_I8:
    case MLT_META_I16:
    case MLT_META_I32:
    case MLT_META_I64: value = (uint64_t)meta->value.i; break;
    default: break;
    }
    const char *wrong = NULL;
    if (alignment) {
        wrong =
            value == 0 || value > UINT32_MAX || (value & (value - 1)) ? "a power of two below 2^32" : NULL;
        piece->alignment = (uint32_t)value;
    } else if (strcmp(key, "split.no") == 0) {
        wrong = value > UINT16_MAX ? "a number below 65536" : NULL;
        piece->number = (uint32_t)value;
    } else if (strcmp(key, "split.count") == 0) {
        wrong = value > UINT16_MAX ? "a number below 65536" : NULL;
        piece->count = (uint32_t)value;
    } else if (strcmp(key, "split.tensors.count") == 0) {
        wrong = value > INT64_MAX ? "a number below 2^63" : NULL;
        piece->all_tensors = value;
    }
    if (!wrong) return MILLET_OK;
    return mlt_fail_at(err, MILLET_BAD_FORMAT, cursor->source->path, key, begin, "the value must be %s",
                       wrong);
}

/* Magic number, version and counts. */
static millet_status read_header(struct cursor *cursor, struct piece *piece, uint64_t *n_metas,
                                 uint64_t *n_tensors, millet_error *err)
{
    const char *path = cursor->source->path;
    const uint8_t *magic;
    MLT_TRY(take(cursor, 4, "the magic number", &magic, err));
    if (memcmp(magic, "GGUF", 4) != 0)
        return mlt_fail_at(err, MILLET_BAD_FORMAT, path, NULL, 0,
                           "this is no GGUF file: it does not begin with the letters GGUF");
    MLT_TRY(take_u32(cursor, "the version", &piece->version, err));
    /* A file written on a big-endian machine has the same letters, but its version 3 reads as 3 << 24. */
    if (piece->version && (piece->version & 0xFFFF) == 0)
        return mlt_fail_at(err, MILLET_UNSUPPORTED, path, NULL, 4,
                           "this is a big-endian GGUF file; convert it to little-endian first");
    if (piece->version < 2 || piece->version > 3)
        return mlt_fail_at(err, MILLET_UNSUPPORTED, path, NULL, 4,
                           "GGUF version %" PRIu32 "; versions 2 and 3 are read%s", piece->version,
                           piece->version == 1 ? "; convert the original model again" : "");
    MLT_TRY(take_u64(cursor, "the number of tensors", n_tensors, err));
    MLT_TRY(take_u64(cursor, "the number of metadata keys", n_metas, err));
    /* The least that an entry takes: a name of one letter and no dimension; a key of one letter and a byte.
     */
    const uint64_t tensor_bytes = 8 + 1 + 4 + 4 + 8, meta_bytes = 8 + 1 + 4 + 1;
    if (*n_tensors > left(cursor) / tensor_bytes)
        return mlt_fail_at(err, MILLET_BAD_FORMAT, path, NULL, 8,
                           "the header promises %" PRIu64 " tensors; a file of %" PRIu64
                           " bytes cannot hold so many",
                           *n_tensors, cursor->source->size);
    if (*n_metas > left(cursor) / meta_bytes)
        return mlt_fail_at(err, MILLET_BAD_FORMAT, path, NULL, 16,
                           "the header promises %" PRIu64 " metadata keys; a file of %" PRIu64
                           " bytes cannot hold so many",
                           *n_metas, cursor->source->size);
    return MILLET_OK;
}

/* Finds each tensor's bytes: aligned, and inside the data section that begins after `cursor`. */
static millet_status place_tensors(struct mlt_checkpoint *checkpoint, const struct cursor *cursor,
                                   const struct piece *piece, millet_error *err)
{
    const struct mlt_source *source = cursor->source;
    uint64_t begin = mlt_round_up(cursor->at, piece->alignment);
    for (size_t i = 0; i < piece->n_tensors; i++) {
        struct mlt_tensor *tensor = &checkpoint->tensors[piece->first_tensor + i];
        uint64_t offset = tensor->offset;
        if (offset % piece->alignment != 0)
            return mlt_fail_at(err, MILLET_BAD_FORMAT, source->path, tensor->name.data, MILLET_NO_OFFSET,
                               "its offset %" PRIu64 " is no multiple of the alignment %" PRIu32, offset,
                               piece->alignment);
        if (begin > source->size || offset > source->size - begin ||
            tensor->bytes > source->size - begin - offset)
            return mlt_fail_at(err, MILLET_BAD_FORMAT, source->path, tensor->name.data, begin,
                               "its %" PRIu64 " bytes at offset %" PRIu64
                               " of the data section end beyond the file's %" PRIu64
                               " bytes: the file is cut short or damaged",
                               tensor->bytes, offset, source->size);
        tensor->offset = begin + offset;
        tensor->data = source->data + tensor->offset;
    }
    return MILLET_OK;
}

static int compare_offsets(const void *context, size_t a, size_t b)
{
    const struct mlt_tensor *tensors = context;
    if (tensors[a].offset != tensors[b].offset) return tensors[a].offset < tensors[b].offset ? -1 : 1;
    return a < b ? -1 : 1;
}

/* No byte may belong to two tensors. */
static millet_status check_overlap(const struct mlt_checkpoint *checkpoint, const struct mlt_source *source,
                                   const struct piece *piece, millet_error *err)
{
    if (piece->n_tensors < 2) return MILLET_OK;
    const struct mlt_tensor *tensors = checkpoint->tensors + piece->first_tensor;
    size_t *order = mlt_alloc(&checkpoint->allocator, piece->n_tensors, sizeof *order, err);
    if (!order) return MILLET_NO_MEMORY;
    mlt_sort_order(order, piece->n_tensors, compare_offsets, tensors);
    millet_status status = MILLET_OK;
    for (size_t i = 1; status == MILLET_OK && i < piece->n_tensors; i++) {
        const struct mlt_tensor *before = &tensors[order[i - 1]], *tensor = &tensors[order[i]];
        if (tensor->offset - before->offset < before->bytes)
            status = mlt_fail_at(err, MILLET_BAD_FORMAT, source->path, tensor->name.data, tensor->offset,
                                 "it overlaps tensor %.64s, which has %" PRIu64 " bytes from byte %" PRIu64,
                                 before->name.data, before->bytes, before->offset);
    }
    mlt_free(&checkpoint->allocator, order);
    return status;
}

/* Reads one file. Metadata of the first is kept; of the others only what describes the split is looked at. */
static millet_status read_piece(struct mlt_checkpoint *checkpoint, const struct mlt_source *source,
                                bool keep_metas, struct piece *piece, millet_error *err)
{
    struct cursor cursor = {.source = source};
    struct mlt_arena *arena = &checkpoint->arena;
    uint64_t n_metas = 0, n_tensors = 0;
    *piece =
        (struct piece){.alignment = DEFAULT_ALIGNMENT, .count = 1, .first_tensor = checkpoint->n_tensors};
    MLT_TRY(read_header(&cursor, piece, &n_metas, &n_tensors, err));
    for (uint64_t i = 0; i < n_metas; i++) {
        uint64_t begin = cursor.at;
        struct mlt_meta meta;
        MLT_TRY(read_meta(&cursor, arena, &meta, err));
        MLT_TRY(note_meta(piece, &meta, &cursor, begin, err));
        if (keep_metas)
            MLT_TRY(place(mlt_checkpoint_adopt_meta(checkpoint, &meta, err), &cursor, begin, err));
    }
    for (uint64_t i = 0; i < n_tensors; i++) {
        uint64_t begin = cursor.at;
        struct mlt_tensor tensor;
        MLT_TRY(read_tensor(&cursor, arena, &tensor, err));
        MLT_TRY(place(mlt_checkpoint_adopt_tensor(checkpoint, &tensor, err), &cursor, begin, err));
        piece->n_tensors++;
    }
    MLT_TRY(place_tensors(checkpoint, &cursor, piece, err));
    return check_overlap(checkpoint, source, piece, err);
}

bool mlt_gguf_recognise(const struct mlt_source *source)
{
    return source->size >= 4 && memcmp(source->data, "GGUF", 4) == 0;
}

millet_status mlt_gguf_piece_path(struct mlt_arena *arena, const char *path, uint32_t own, uint32_t index,
                                  uint32_t count, char **out, millet_error *err)
{
    char suffix[64];
    int length = snprintf(suffix, sizeof suffix, "-%05" PRIu32 "-of-%05" PRIu32 ".gguf", own + 1, count);
    size_t stem = strlen(path);
    if (stem <= (size_t)length || strcmp(path + stem - length, suffix) != 0)
        return mlt_fail_at(err, MILLET_BAD_FORMAT, path, "split.count", MILLET_NO_OFFSET,
                           "the file is piece %" PRIu32 " of %" PRIu32
                           ", so that its name must end in \"%s\": rename all pieces in this way",
                           own + 1, count, suffix);
    char *copy = mlt_arena_text(arena, path, stem, err);
    if (!copy) return MILLET_NO_MEMORY;
    /* One more for the NUL, which is there already. The number has five digits in every valid split. */
    snprintf(copy + stem - length, (size_t)length + 1, "-%05" PRIu32 "-of-%05" PRIu32 ".gguf", index + 1,
             count);
    *out = copy;
    return MILLET_OK;
}

millet_status mlt_gguf_read(struct mlt_checkpoint *checkpoint, const struct mlt_source *first,
                            mlt_piece_opener *open_piece, void *context, millet_error *err)
{
    struct piece head, piece;
    MLT_TRY(read_piece(checkpoint, first, true, &head, err));
    checkpoint->format = head.version == 2 ? "GGUF v2" : "GGUF v3";
    if (head.count <= 1) return MILLET_OK;
    if (head.number != 0) {
        char *path;
        MLT_TRY(mlt_gguf_piece_path(&checkpoint->arena, first->path, head.number, 0, head.count, &path, err));
        return mlt_fail_at(err, MILLET_BAD_FORMAT, first->path, "split.no", MILLET_NO_OFFSET,
                           "this is piece %" PRIu32 " of %" PRIu32 "; open the first, %s", head.number + 1,
                           head.count, path);
    }
    for (uint32_t i = 1; i < head.count; i++) {
        struct mlt_source source;
        MLT_TRY(open_piece(checkpoint, first, i, head.count, context, &source, err));
        MLT_TRY(read_piece(checkpoint, &source, false, &piece, err));
        if (piece.number != i || piece.count != head.count)
            return mlt_fail_at(err, MILLET_BAD_FORMAT, source.path, "split.no", MILLET_NO_OFFSET,
                               "the file says that it is piece %" PRIu32 " of %" PRIu32 ", but piece %" PRIu32
                               " of %" PRIu32 " was expected here",
                               piece.number + 1, piece.count, i + 1, head.count);
    }
    if (head.all_tensors && head.all_tensors != checkpoint->n_tensors)
        return mlt_fail_at(err, MILLET_BAD_FORMAT, first->path, "split.tensors.count", MILLET_NO_OFFSET,
                           "the pieces hold %zu tensors together, but %" PRIu64 " are promised",
                           checkpoint->n_tensors, head.all_tensors);
    return MILLET_OK;
}
