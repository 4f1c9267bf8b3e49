/* The header of one safetensors file: parsing and checking. SPDX-License-Identifier: Apache-2.0 */
#include "import/safetensors.h"

#include "import/json_read.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
    LENGTH_BYTES = 8,
    MAX_HEADER = 100 * 1000 * 1000, /* the limit of the reference implementation */
};

/* The dtypes of the format. Those that are no weights (`size` only) may lie in a file but not be used. */
static const struct dtype_row {
    const char *name;
    int size;
    bool usable;
    mlt_dtype dtype;
} dtypes[] = {
    {"F32", 4, true, MLT_F32}, {"F16", 2, true, MLT_F16}, {"BF16", 2, true, MLT_BF16},
    {"F64", 8, false, 0},      {"I64", 8, false, 0},      {"U64", 8, false, 0},
    {"I32", 4, false, 0},      {"U32", 4, false, 0},      {"I16", 2, false, 0},
    {"U16", 2, false, 0},      {"I8", 1, false, 0},       {"U8", 1, false, 0},
    {"BOOL", 1, false, 0},     {"F8_E4M3", 1, false, 0},  {"F8_E5M2", 1, false, 0},
    {"F8_E8M0", 1, false, 0},
};

static const struct dtype_row *find_dtype(const char *name)
{
    for (size_t i = 0; i < MLT_COUNT(dtypes); i++)
        if (strcmp(dtypes[i].name, name) == 0) return &dtypes[i];
    return NULL;
}

/* What one entry of the header says, while it is read. */
struct entry {
    const struct mlt_source *source;
    uint64_t buffer; /* offset of the buffer in the file */
    const char *name;
    const json_t *value;
};

static millet_status bad_entry(const struct entry *entry, millet_error *err, const char *what)
{
    return mlt_fail_at(err, MILLET_BAD_FORMAT, entry->source->path, entry->name, MILLET_NO_OFFSET, "%s",
                       what);
}

static millet_status read_shape(const struct entry *entry, struct mlt_safetensor *tensor, uint64_t *elements,
                                millet_error *err)
{
    const json_t *shape = mlt_json_array(entry->value, "shape");
    if (!shape) return bad_entry(entry, err, "the header gives no array \"shape\" for this tensor");
    size_t n = json_array_size(shape);
    if (n > MLT_SAFETENSOR_DIMS)
        return mlt_fail_at(err, MILLET_BAD_FORMAT, entry->source->path, entry->name, MILLET_NO_OFFSET,
                           "the tensor has %zu dimensions; at most %d are possible", n, MLT_SAFETENSOR_DIMS);
    tensor->n_dims = (int)n;
    *elements = 1;
    for (size_t i = 0; i < n; i++) {
        const json_t *dim = json_array_get(shape, i);
        json_int_t size = json_integer_value(dim);
        if (!json_is_integer(dim) || size < 0)
            return bad_entry(entry, err, "a dimension is not an integer of at least 0");
        if (!mlt_mul_u64(*elements, (uint64_t)size, elements) || *elements > INT64_MAX)
            return bad_entry(entry, err, "the product of the dimensions exceeds 2^63");
        tensor->shape[i] = (int64_t)size;
    }
    return MILLET_OK;
}

static millet_status read_range(const struct entry *entry, uint64_t *begin, uint64_t *end, millet_error *err)
{
    const json_t *range = mlt_json_array(entry->value, "data_offsets");
    const json_t *from = json_array_get(range, 0), *to = json_array_get(range, 1);
    if (json_array_size(range) != 2 || !json_is_integer(from) || !json_is_integer(to))
        return bad_entry(entry, err, "the header gives no pair of integers \"data_offsets\" for this tensor");
    json_int_t first = json_integer_value(from), last = json_integer_value(to);
    uint64_t limit = entry->source->size - entry->buffer;
    if (first < 0 || last < first || (uint64_t)last > limit)
        return mlt_fail_at(err, MILLET_BAD_FORMAT, entry->source->path, entry->name, MILLET_NO_OFFSET,
                           "its bytes %lld to %lld lie outside the buffer, which has %" PRIu64
                           " bytes: the file is truncated or damaged",
                           (long long)first, (long long)last, limit);
    *begin = (uint64_t)first;
    *end = (uint64_t)last;
    return MILLET_OK;
}

static millet_status read_entry(const struct entry *entry, struct mlt_arena *arena,
                                struct mlt_safetensor *tensor, millet_error *err)
{
    size_t length = strlen(entry->name);
    *tensor = (struct mlt_safetensor){.file = entry->source->path};
    tensor->name = (struct mlt_string){entry->name, length};
    millet_status status = mlt_check_name(&tensor->name, "tensor name", err);
    if (status != MILLET_OK) {
        mlt_error_in_file(err, entry->source->path);
        return status;
    }
    tensor->name.data = mlt_arena_text(arena, entry->name, length, err);
    if (!tensor->name.data) return MILLET_NO_MEMORY;

    const char *dtype_name = mlt_json_string(entry->value, "dtype");
    if (!dtype_name) return bad_entry(entry, err, "the header gives no string \"dtype\" for this tensor");
    uint64_t elements = 0, begin = 0, end = 0;
    MLT_TRY(read_shape(entry, tensor, &elements, err));
    MLT_TRY(read_range(entry, &begin, &end, err));
    tensor->bytes = end - begin;
    tensor->offset = entry->buffer + begin;
    tensor->data = entry->source->data + tensor->offset;

    const struct dtype_row *row = find_dtype(dtype_name);
    if (!row) { /* of a later version of the format; who needs the tensor will refuse it */
        tensor->dtype_name = mlt_arena_text(arena, dtype_name, strlen(dtype_name), err);
        return tensor->dtype_name ? MILLET_OK : MILLET_NO_MEMORY;
    }
    tensor->dtype_name = row->name;
    tensor->usable = row->usable;
    tensor->dtype = row->dtype;
    uint64_t wanted;
    if (!mlt_mul_u64(elements, (uint64_t)row->size, &wanted) || wanted != tensor->bytes)
        return mlt_fail_at(err, MILLET_BAD_FORMAT, entry->source->path, entry->name, tensor->offset,
                           "%" PRIu64 " elements of type %s do not fill its %" PRIu64 " bytes exactly",
                           elements, row->name, tensor->bytes);
    return MILLET_OK;
}

static int compare_ranges(const void *a, const void *b)
{
    const struct mlt_safetensor *left = a, *right = b;
    if (left->offset != right->offset) return left->offset < right->offset ? -1 : 1;
    if (left->bytes != right->bytes) return left->bytes < right->bytes ? -1 : 1;
    return 0;
}

/* The ranges must cover the buffer without overlap, hole or rest, as the specification demands. */
static millet_status check_cover(const struct mlt_source *source, uint64_t buffer,
                                 struct mlt_safetensors *set, millet_error *err)
{
    if (set->n_tensors) qsort(set->tensors, set->n_tensors, sizeof *set->tensors, compare_ranges);
    uint64_t at = buffer;
    for (size_t i = 0; i < set->n_tensors; i++) {
        const struct mlt_safetensor *tensor = &set->tensors[i];
        if (tensor->offset != at)
            return mlt_fail_at(err, MILLET_BAD_FORMAT, source->path, tensor->name.data, tensor->offset,
                               tensor->offset < at ? "its bytes overlap those of another tensor"
                                                   : "bytes before it belong to no tensor");
        at += tensor->bytes;
    }
    if (at != source->size)
        return mlt_fail_at(err, MILLET_BAD_FORMAT, source->path, NULL, at,
                           "%" PRIu64 " bytes at the end of the file belong to no tensor", source->size - at);
    return MILLET_OK;
}

static millet_status read_header(struct mlt_arena *arena, const struct mlt_source *source, uint64_t buffer,
                                 const json_t *header, struct mlt_safetensors *out, millet_error *err)
{
    out->tensors = mlt_arena_alloc(arena, json_object_size(header), sizeof *out->tensors, err);
    if (!out->tensors) return MILLET_NO_MEMORY;
    json_t *members = json_incref((json_t *)(uintptr_t)header); /* iterators are not const in jansson */
    millet_status status = MILLET_OK;
    const char *name;
    json_t *value;
    json_object_foreach (members, name, value) {
        if (strcmp(name, "__metadata__") == 0) continue; /* free text of who wrote the file */
        struct entry entry = {source, buffer, name, value};
        status = read_entry(&entry, arena, &out->tensors[out->n_tensors], err);
        if (status != MILLET_OK) break;
        out->n_tensors++;
    }
    json_decref(members);
    return status;
}

static int compare_names(const struct mlt_string *a, const struct mlt_string *b)
{
    size_t length = MLT_MIN(a->length, b->length);
    int sign = length ? memcmp(a->data, b->data, length) : 0;
    if (sign) return sign;
    return a->length < b->length ? -1 : a->length > b->length;
}

static int compare_tensors(const void *a, const void *b)
{
    const struct mlt_safetensor *left = a, *right = b;
    return compare_names(&left->name, &right->name);
}

const struct mlt_safetensor *mlt_safetensors_find(const struct mlt_safetensors *set, const char *name,
                                                  size_t length)
{
    struct mlt_string wanted = {name, length};
    size_t low = 0, high = set->n_tensors;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int sign = compare_names(&set->tensors[middle].name, &wanted);
        if (sign == 0) return &set->tensors[middle];
        if (sign < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

void mlt_safetensors_sort(struct mlt_safetensors *set)
{
    if (set->n_tensors) qsort(set->tensors, set->n_tensors, sizeof *set->tensors, compare_tensors);
}

millet_status mlt_safetensors_parse(struct mlt_arena *arena, const struct mlt_source *source,
                                    struct mlt_safetensors *out, millet_error *err)
{
    *out = (struct mlt_safetensors){0};
    if (source->size < LENGTH_BYTES)
        return mlt_fail_at(err, MILLET_BAD_FORMAT, source->path, NULL, 0,
                           "the file has %" PRIu64 " bytes; a safetensors file begins with 8 bytes that give "
                           "the length of its header",
                           source->size);
    uint64_t length = 0;
    for (int i = LENGTH_BYTES; i-- > 0;)
        length = length << 8 | source->data[i];
    if (length > MAX_HEADER || length > source->size - LENGTH_BYTES)
        return mlt_fail_at(err, MILLET_BAD_FORMAT, source->path, NULL, 0,
                           "the header is said to have %" PRIu64 " bytes; the file has %" PRIu64
                           " and %d is the limit: no safetensors file, or a truncated one",
                           length, source->size, (int)MAX_HEADER);
    const uint8_t *text = source->data + LENGTH_BYTES;
    if (length < 2 || text[0] != '{')
        return mlt_fail_at(err, MILLET_BAD_FORMAT, source->path, NULL, LENGTH_BYTES,
                           "the header does not begin with '{': no safetensors file");
    json_t *header;
    MLT_TRY(mlt_json_parse(source->path, LENGTH_BYTES, text, (size_t)length, &header, err));
    uint64_t buffer = LENGTH_BYTES + length;
    millet_status status = read_header(arena, source, buffer, header, out, err);
    json_decref(header);
    if (status == MILLET_OK) status = check_cover(source, buffer, out, err);
    if (status == MILLET_OK) mlt_safetensors_sort(out);
    return status;
}
