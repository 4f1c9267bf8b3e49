/* The GGUF writer; see gguf_read.c for the layout. SPDX-License-Identifier: Apache-2.0 */
#include "format/gguf_write.h"

#include "format/readers.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { DEFAULT_ALIGNMENT = 32, VERSION = 3, MAX_PIECES = 65535 };

/* One output file: its tensors are [first, first + count) of the writer's. */
struct piece {
    struct mlt_writer *file;
    char *path;
    size_t first, count;
    uint64_t header_bytes; /* with the zeros up to the data */
    uint64_t data_bytes;   /* with the zeros after each tensor */
};

struct mlt_gguf_writer {
    millet_allocator allocator;
    struct mlt_arena arena;
    const char *path;
    struct mlt_tensor *tensors; /* measured; offset: in the data section of its piece */
    size_t n_tensors;
    uint64_t alignment;
    struct piece *pieces;
    size_t n_pieces;
    size_t current; /* the tensor at hand */
    size_t current_piece;
    uint64_t written; /* bytes of it */
};

/* Where header bytes go: to a file, or only to a count. */
struct sink {
    struct mlt_writer *file; /* or NULL */
    uint64_t size;
    millet_status status;
    millet_error *err;
};

static void put(struct sink *sink, const void *bytes, uint64_t size)
{
    sink->size += size;
    if (sink->file && sink->status == MILLET_OK)
        sink->status = mlt_writer_write(sink->file, bytes, size, sink->err);
}

static void put_u32(struct sink *sink, uint32_t value)
{
    put(sink, &value, sizeof value);
}

static void put_u64(struct sink *sink, uint64_t value)
{
    put(sink, &value, sizeof value);
}

static void put_string(struct sink *sink, const struct mlt_string *string)
{
    put_u64(sink, string->length);
    put(sink, string->data, string->length);
}

static void put_scalar(struct sink *sink, const struct mlt_meta *meta)
{
    float real = (float)meta->value.f;
    switch (meta->type) {
    case MLT_META_F32: put(sink, &real, sizeof real); break;
    case MLT_META_F64: put(sink, &meta->value.f, sizeof meta->value.f); break;
    case MLT_META_STRING: put_string(sink, &meta->value.string); break;
    default: put(sink, &meta->value, mlt_meta_type_size(meta->type)); break; /* low bytes, two's complement */
    }
}

static void put_meta(struct sink *sink, const struct mlt_meta *meta)
{
    put_string(sink, &meta->key);
    put_u32(sink, meta->type);
    if (meta->type != MLT_META_ARRAY) {
        put_scalar(sink, meta);
        return;
    }
    put_u32(sink, meta->element);
    put_u64(sink, meta->count);
    if (meta->element == MLT_META_STRING) {
        const struct mlt_string *strings = meta->value.array;
        for (uint64_t i = 0; i < meta->count; i++)
            put_string(sink, &strings[i]);
    } else {
        put(sink, meta->value.array, meta->count * mlt_meta_type_size(meta->element));
    }
}

static void put_number(struct sink *sink, const char *key, enum mlt_meta_type type, uint64_t value)
{
    struct mlt_meta meta = {
        .key = {key, strlen(key)}, .type = type, .element = type, .count = 1, .value.u = value};
    put_meta(sink, &meta);
}

static bool is_split_key(const struct mlt_meta *meta)
{
    return strncmp(meta->key.data, "split.", 6) == 0;
}

static bool is_alignment(const struct mlt_meta *meta)
{
    return strcmp(meta->key.data, "general.alignment") == 0;
}

/*
 * The header and metadata of piece `index` of `n_pieces`, which has `n_tensors`. The pieces after the first
 * have no metadata of the model, but each its own alignment.
 */
static void put_fixed(struct sink *sink, const struct mlt_gguf_writer *writer,
                      const struct mlt_gguf_contents *contents, bool first, size_t n_pieces, size_t index,
                      size_t n_tensors)
{
    uint64_t n_metas = n_pieces > 1 ? 3 : 0;
    for (size_t i = 0; i < contents->n_metas; i++) {
        const struct mlt_meta *meta = &contents->metas[i];
        if (is_alignment(meta) || (first && !is_split_key(meta))) n_metas++;
    }
    put(sink, "GGUF", 4);
    put_u32(sink, VERSION);
    put_u64(sink, n_tensors);
    put_u64(sink, n_metas);
    for (size_t i = 0; i < contents->n_metas; i++) {
        const struct mlt_meta *meta = &contents->metas[i];
        if (is_alignment(meta)) /* other readers take no type but this */
            put_number(sink, meta->key.data, MLT_META_U32, writer->alignment);
        else if (first && !is_split_key(meta))
            put_meta(sink, meta);
    }
    if (n_pieces > 1) {
        put_number(sink, "split.no", MLT_META_U16, index);
        put_number(sink, "split.count", MLT_META_U16, n_pieces);
        put_number(sink, "split.tensors.count", MLT_META_I32, writer->n_tensors);
    }
}

/* A tensor's entry in the directory. */
static void put_directory(struct sink *sink, const struct mlt_tensor *tensor)
{
    put_string(sink, &tensor->name);
    put_u32(sink, (uint32_t)tensor->n_dims);
    for (int i = 0; i < tensor->n_dims; i++)
        put_u64(sink, (uint64_t)tensor->ne[i]);
    put_u32(sink, tensor->dtype);
    put_u64(sink, tensor->offset);
}

/* Copies and checks everything by building a checkpoint of it: what cannot be one cannot be a file. */
static millet_status check_contents(const millet_allocator *allocator, const char *path,
                                    const struct mlt_gguf_contents *contents, millet_error *err)
{
    struct mlt_checkpoint *checkpoint;
    MLT_TRY(mlt_checkpoint_new(allocator, path, "", &checkpoint, err));
    millet_status status = MILLET_OK;
    for (size_t i = 0; status == MILLET_OK && i < contents->n_metas; i++) {
        const struct mlt_meta *meta = &contents->metas[i];
        if ((unsigned)meta->type > MLT_META_F64 ||
            (meta->type == MLT_META_ARRAY && mlt_meta_type_size(meta->element) == 0))
            status = mlt_fail_at(err, MILLET_BAD_ARGUMENT, path, meta->key.data, MILLET_NO_OFFSET,
                                 "a value of type number %u cannot be written", (unsigned)meta->element);
        else
            status = mlt_checkpoint_adopt_meta(checkpoint, meta, err);
    }
    for (size_t i = 0; status == MILLET_OK && i < contents->n_tensors; i++)
        status = mlt_checkpoint_adopt_tensor(checkpoint, &contents->tensors[i], err);
    if (status == MILLET_OK) status = mlt_checkpoint_seal(checkpoint, err);
    mlt_checkpoint_close(&checkpoint);
    return status;
}

static millet_status find_alignment(struct mlt_gguf_writer *writer, const struct mlt_gguf_contents *contents,
                                    millet_error *err)
{
    writer->alignment = DEFAULT_ALIGNMENT;
    for (size_t i = 0; i < contents->n_metas; i++) {
        const struct mlt_meta *meta = &contents->metas[i];
        if (!is_alignment(meta)) continue;
        uint64_t value = meta->value.u;
        bool number = meta->type == MLT_META_U32 || meta->type == MLT_META_U64 ||
                      meta->type == MLT_META_I32 || meta->type == MLT_META_I64;
        if (!number || value < 1 || value > UINT32_MAX || (value & (value - 1)))
            return mlt_fail_at(err, MILLET_BAD_ARGUMENT, writer->path, meta->key.data, MILLET_NO_OFFSET,
                               "the alignment must be a power of two below 2^32");
        writer->alignment = value;
    }
    return MILLET_OK;
}

/* Bytes of the header of a piece without its directory. */
static uint64_t fixed_bytes(const struct mlt_gguf_writer *writer, const struct mlt_gguf_contents *contents,
                            bool first, bool split)
{
    struct sink count = {0};
    put_fixed(&count, writer, contents, first, split ? 2 : 1, 0, 0);
    return count.size;
}

static uint64_t directory_bytes(const struct mlt_tensor *tensor)
{
    struct sink count = {0};
    put_directory(&count, tensor);
    return count.size;
}

/* What a piece comes to with one more tensor; false where that is more than 2^63 bytes. */
static bool add_to_piece(const struct mlt_gguf_writer *writer, struct piece *piece,
                         const struct mlt_tensor *tensor)
{
    uint64_t padded = mlt_round_up(tensor->bytes, writer->alignment); /* below 2^63 + 2^32 */
    piece->count++;
    piece->header_bytes += directory_bytes(tensor);
    return mlt_add_u64(piece->data_bytes, padded, &piece->data_bytes) && piece->data_bytes <= INT64_MAX;
}

static uint64_t piece_bytes(const struct mlt_gguf_writer *writer, const struct piece *piece)
{
    return mlt_round_up(piece->header_bytes, writer->alignment) + piece->data_bytes;
}

static millet_status fail_too_large(const struct mlt_gguf_writer *writer, millet_error *err)
{
    return mlt_fail_at(err, MILLET_BAD_ARGUMENT, writer->path, NULL, MILLET_NO_OFFSET,
                       "the file would be larger than 2^63 bytes");
}

/* Appends a piece that begins with tensor `first`. */
static millet_status new_piece(struct mlt_gguf_writer *writer, const struct mlt_gguf_contents *contents,
                               size_t *capacity, size_t first, bool split, millet_error *err)
{
    if (writer->n_pieces == MAX_PIECES)
        return mlt_fail_at(err, MILLET_BAD_ARGUMENT, writer->path, NULL, MILLET_NO_OFFSET,
                           "more than %d pieces would be needed; allow larger ones", MAX_PIECES);
    void *pieces = writer->pieces;
    MLT_TRY(mlt_grow(&writer->allocator, &pieces, capacity, writer->n_pieces, sizeof *writer->pieces, err));
    writer->pieces = pieces;
    writer->pieces[writer->n_pieces] = (struct piece){
        .first = first, .header_bytes = fixed_bytes(writer, contents, writer->n_pieces == 0, split)};
    writer->n_pieces++;
    return MILLET_OK;
}

/* Gives every tensor its piece, greedily and in order, and its offset there. */
static millet_status plan_pieces(struct mlt_gguf_writer *writer, const struct mlt_gguf_contents *contents,
                                 millet_error *err)
{
    uint64_t limit = contents->piece_bytes;
    size_t capacity = 0;
    MLT_TRY(new_piece(writer, contents, &capacity, 0, false, err));
    for (size_t i = 0; i < writer->n_tensors; i++) {
        writer->tensors[i].offset = writer->pieces[0].data_bytes;
        if (!add_to_piece(writer, &writer->pieces[0], &writer->tensors[i]))
            return fail_too_large(writer, err);
    }
    if (limit == 0 || piece_bytes(writer, &writer->pieces[0]) <= limit) return MILLET_OK;

    writer->n_pieces = 0;
    MLT_TRY(new_piece(writer, contents, &capacity, 0, true, err));
    for (size_t i = 0; i < writer->n_tensors; i++) {
        struct piece *piece = &writer->pieces[writer->n_pieces - 1], with = *piece;
        add_to_piece(writer, &with, &writer->tensors[i]); /* no overflow: the sum of all did not */
        /* The first may hold metadata alone; the others hold at least one tensor. */
        if ((piece->count > 0 || writer->n_pieces == 1) && piece_bytes(writer, &with) > limit) {
            MLT_TRY(new_piece(writer, contents, &capacity, i, true, err));
            piece = &writer->pieces[writer->n_pieces - 1];
            with = *piece;
            add_to_piece(writer, &with, &writer->tensors[i]);
        }
        writer->tensors[i].offset = piece->data_bytes;
        *piece = with;
    }
    return MILLET_OK;
}

static millet_status name_pieces(struct mlt_gguf_writer *writer, millet_error *err)
{
    size_t stem = strlen(writer->path), size = stem + 64;
    if (writer->n_pieces > 1 && stem > 5 && strcmp(writer->path + stem - 5, ".gguf") == 0) stem -= 5;
    for (size_t i = 0; i < writer->n_pieces; i++) {
        char *path = mlt_arena_alloc(&writer->arena, size, 1, err);
        if (!path) return MILLET_NO_MEMORY;
        int used = snprintf(path, size, "%.*s", (int)stem, writer->path);
        if (writer->n_pieces > 1)
            snprintf(path + used, size - (size_t)used, "-%05zu-of-%05zu.gguf", i + 1, writer->n_pieces);
        writer->pieces[i].path = path;
    }
    return MILLET_OK;
}

static millet_status open_pieces(struct mlt_gguf_writer *writer, const struct mlt_gguf_contents *contents,
                                 millet_error *err)
{
    for (size_t i = 0; i < writer->n_pieces; i++) {
        struct piece *piece = &writer->pieces[i];
        MLT_TRY(mlt_writer_open(&writer->allocator, piece->path, &piece->file, err));
        struct sink sink = {.file = piece->file, .status = MILLET_OK, .err = err};
        put_fixed(&sink, writer, contents, i == 0, writer->n_pieces, i, piece->count);
        for (size_t k = 0; k < piece->count; k++)
            put_directory(&sink, &writer->tensors[piece->first + k]);
        MLT_TRY(sink.status);
        MLT_TRY(mlt_writer_align(piece->file, writer->alignment, err));
    }
    return MILLET_OK;
}

static millet_status set_up(struct mlt_gguf_writer *writer, const char *path,
                            const struct mlt_gguf_contents *contents, millet_error *err)
{
    MLT_TRY(check_contents(&writer->allocator, path, contents, err));
    writer->path = mlt_arena_text(&writer->arena, path, strlen(path), err);
    writer->tensors = mlt_alloc(&writer->allocator, contents->n_tensors, sizeof *writer->tensors, err);
    if (!writer->path || !writer->tensors) return MILLET_NO_MEMORY;
    for (size_t i = 0; i < contents->n_tensors; i++) {
        struct mlt_tensor *tensor = &writer->tensors[i];
        *tensor = contents->tensors[i];
        tensor->name.data = mlt_arena_text(&writer->arena, tensor->name.data, tensor->name.length, err);
        if (!tensor->name.data) return MILLET_NO_MEMORY;
        MLT_TRY(mlt_tensor_measure(tensor, err));
    }
    writer->n_tensors = contents->n_tensors;
    MLT_TRY(find_alignment(writer, contents, err));
    return plan_pieces(writer, contents, err);
}

millet_status mlt_gguf_measure(const millet_allocator *allocator, const struct mlt_gguf_contents *contents,
                               uint64_t *bytes, uint64_t *n_pieces, millet_error *err)
{
    struct mlt_gguf_writer *writer = mlt_alloc_zero(allocator, 1, sizeof *writer, err);
    if (!writer) return MILLET_NO_MEMORY;
    writer->allocator = *allocator;
    mlt_arena_init(&writer->arena, allocator);
    millet_status status = set_up(writer, "", contents, err);
    if (status == MILLET_OK) {
        *bytes = mlt_gguf_writer_total(writer);
        *n_pieces = mlt_gguf_writer_pieces(writer);
    }
    mlt_gguf_writer_abort(&writer);
    return status;
}

millet_status mlt_gguf_writer_open(const millet_allocator *allocator, const char *path,
                                   const struct mlt_gguf_contents *contents, struct mlt_gguf_writer **out,
                                   millet_error *err)
{
    *out = NULL;
    struct mlt_gguf_writer *writer = mlt_alloc_zero(allocator, 1, sizeof *writer, err);
    if (!writer) return MILLET_NO_MEMORY;
    writer->allocator = *allocator;
    mlt_arena_init(&writer->arena, allocator);
    millet_status status = set_up(writer, path, contents, err);
    if (status == MILLET_OK) status = name_pieces(writer, err);
    if (status == MILLET_OK) status = open_pieces(writer, contents, err);
    if (status != MILLET_OK) {
        mlt_error_in_file(err, path);
        mlt_gguf_writer_abort(&writer);
        return status;
    }
    *out = writer;
    return MILLET_OK;
}

uint64_t mlt_gguf_writer_total(const struct mlt_gguf_writer *writer)
{
    uint64_t total = 0;
    for (size_t i = 0; i < writer->n_pieces; i++)
        total += piece_bytes(writer, &writer->pieces[i]);
    return total;
}

size_t mlt_gguf_writer_pieces(const struct mlt_gguf_writer *writer)
{
    return writer->n_pieces;
}

const char *mlt_gguf_writer_path(const struct mlt_gguf_writer *writer, size_t index)
{
    return writer->pieces[index].path;
}

/* The piece that holds the tensor at hand. */
static struct piece *current_piece(struct mlt_gguf_writer *writer)
{
    size_t i = writer->current_piece;
    while (writer->current >= writer->pieces[i].first + writer->pieces[i].count)
        i++;
    writer->current_piece = i;
    return &writer->pieces[i];
}

millet_status mlt_gguf_writer_write(struct mlt_gguf_writer *writer, size_t index, const void *bytes,
                                    uint64_t size, millet_error *err)
{
    if (index >= writer->n_tensors)
        return mlt_fail_at(err, MILLET_BAD_ARGUMENT, writer->path, NULL, MILLET_NO_OFFSET,
                           "bytes for tensor %zu of %zu", index, writer->n_tensors);
    const struct mlt_tensor *tensor = &writer->tensors[index];
    const char *name = tensor->name.data;
    if (index > writer->current)
        return mlt_fail_at(err, MILLET_BAD_ARGUMENT, writer->path, name, MILLET_NO_OFFSET,
                           "tensors are written in order: %.64s has %" PRIu64 " of its %" PRIu64 " bytes",
                           writer->tensors[writer->current].name.data, writer->written,
                           writer->tensors[writer->current].bytes);
    if (index < writer->current || size > tensor->bytes - writer->written)
        return mlt_fail_at(err, MILLET_BAD_ARGUMENT, writer->path, name, MILLET_NO_OFFSET,
                           "more bytes than the %" PRIu64 " that its shape has", tensor->bytes);
    struct piece *piece = current_piece(writer);
    MLT_TRY(mlt_writer_write(piece->file, bytes, size, err));
    writer->written += size;
    if (writer->written < tensor->bytes) return MILLET_OK;
    writer->current++;
    writer->written = 0;
    return mlt_writer_align(piece->file, writer->alignment, err);
}

/* See the header for the order. What has been renamed when a later step fails is removed again. */
static millet_status commit_pieces(struct mlt_gguf_writer *writer, millet_error *err)
{
    if (writer->n_pieces > 1 && unlink(writer->pieces[0].path) != 0 && errno != ENOENT)
        return mlt_fail_at(err, MILLET_IO, writer->pieces[0].path, NULL, MILLET_NO_OFFSET,
                           "cannot remove the old file: %s", strerror(errno));
    for (size_t i = writer->n_pieces; i-- > 0;) {
        millet_status status = mlt_writer_commit(&writer->pieces[i].file, err);
        if (status == MILLET_OK) continue;
        for (size_t done = i + 1; done < writer->n_pieces; done++)
            unlink(writer->pieces[done].path);
        return status;
    }
    return MILLET_OK;
}

millet_status mlt_gguf_writer_commit(struct mlt_gguf_writer **handle, millet_error *err)
{
    struct mlt_gguf_writer *writer = *handle;
    millet_status status;
    if (writer->current < writer->n_tensors) {
        const struct mlt_tensor *tensor = &writer->tensors[writer->current];
        status = mlt_fail_at(err, MILLET_BAD_ARGUMENT, writer->path, tensor->name.data, MILLET_NO_OFFSET,
                             "only %" PRIu64 " of its %" PRIu64 " bytes have been written", writer->written,
                             tensor->bytes);
    } else {
        status = commit_pieces(writer, err);
    }
    mlt_gguf_writer_abort(handle);
    return status;
}

void mlt_gguf_writer_abort(struct mlt_gguf_writer **handle)
{
    struct mlt_gguf_writer *writer = *handle;
    if (!writer) return;
    millet_allocator allocator = writer->allocator;
    for (size_t i = 0; i < writer->n_pieces; i++)
        mlt_writer_abort(&writer->pieces[i].file);
    mlt_free(&allocator, writer->pieces);
    mlt_free(&allocator, writer->tensors);
    mlt_arena_release(&writer->arena);
    mlt_free(&allocator, writer);
    *handle = NULL;
}
