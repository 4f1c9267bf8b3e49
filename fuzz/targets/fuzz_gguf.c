/*
 * The GGUF reader. The input is a file; where it holds the marker below it is a split of several files.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "format/readers.h"
#include "fuzz/capped_allocator.h"

static const char marker[] = "\n-- next piece --\n";

static const uint8_t *find_marker(const uint8_t *data, size_t size)
{
    const size_t length = sizeof marker - 1;
    for (size_t i = 0; i + length <= size; i++)
        if (memcmp(data + i, marker, length) == 0) return data + i;
    return NULL;
}

/* Piece `index` of the input, which `context` is. */
static millet_status open_piece(struct mlt_checkpoint *checkpoint, const struct mlt_source *first,
                                uint32_t index, uint32_t count, void *context, struct mlt_source *piece,
                                millet_error *err)
{
    (void)checkpoint, (void)count;
    const struct mlt_source *input = context;
    const uint8_t *begin = input->data, *end = input->data + input->size;
    for (uint32_t i = 0; i < index; i++) {
        const uint8_t *found = find_marker(begin, (size_t)(end - begin));
        if (!found)
            return mlt_fail_at(err, MILLET_NOT_FOUND, first->path, NULL, MILLET_NO_OFFSET, "no piece %u",
                               index);
        begin = found + sizeof marker - 1;
    }
    const uint8_t *found = find_marker(begin, (size_t)(end - begin));
    *piece = (struct mlt_source){first->path, begin, (uint64_t)((found ? found : end) - begin)};
    return MILLET_OK;
}

static void check(bool holds, const char *what)
{
    if (holds) return;
    fprintf(stderr, "%s\n", what);
    abort();
}

/* What checkpoint.h promises. */
static void check_checkpoint(const struct mlt_checkpoint *checkpoint, const struct mlt_source *input)
{
    static volatile unsigned sink;
    for (size_t i = 0; i < checkpoint->n_metas; i++) {
        const struct mlt_meta *meta = &checkpoint->metas[i];
        check(mlt_checkpoint_meta(checkpoint, meta->key.data) == meta,
              "a key is not found, or not the only one");
        check(meta->key.length == strlen(meta->key.data), "a key holds NUL");
        if (meta->type == MLT_META_STRING)
            check(meta->value.string.data[meta->value.string.length] == 0, "a string without NUL");
        if (meta->type != MLT_META_ARRAY) continue;
        const struct mlt_string *strings = meta->value.array;
        const uint8_t *bytes = meta->value.array;
        for (uint64_t k = 0; meta->element == MLT_META_STRING && k < meta->count; k++)
            check(strings[k].data[strings[k].length] == 0, "a string without NUL");
        if (meta->count) sink = sink + bytes[meta->count * mlt_meta_type_size(meta->element) - 1];
    }
    for (size_t i = 0; i < checkpoint->n_tensors; i++) {
        const struct mlt_tensor *tensor = &checkpoint->tensors[i];
        check(mlt_checkpoint_tensor(checkpoint, tensor->name.data) == tensor, "a tensor is not found");
        check(tensor->data >= input->data && tensor->bytes >= 1 && tensor->bytes <= input->size &&
                  tensor->data + tensor->bytes <= input->data + input->size,
              "a tensor outside its file");
        check(tensor->rows * tensor->row_bytes == tensor->bytes && mlt_dtype_find(tensor->dtype) != NULL,
              "a tensor's sizes contradict each other");
        sink = sink + tensor->data[tensor->bytes - 1];
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct capped_allocator capped;
    struct mlt_checkpoint *checkpoint;
    struct mlt_source input = {"input", data, size}, first;
    millet_error err;
    capped_allocator_init(&capped, 128 * 1024, 16, size);
    if (open_piece(NULL, &input, 0, 1, &input, &first, &err) != MILLET_OK) return 0;
    if (mlt_checkpoint_new(&capped.allocator, "input", "", &checkpoint, &err) != MILLET_OK) return 0;
    mlt_gguf_recognise(&first);
    millet_status status = mlt_gguf_read(checkpoint, &first, open_piece, &input, &err);
    if (status == MILLET_OK) status = mlt_checkpoint_seal(checkpoint, &err);
    if (status == MILLET_OK) check_checkpoint(checkpoint, &input);
    if (status != MILLET_OK) check(err.status == status && err.message[0], "a failure without a message");
    mlt_checkpoint_close(&checkpoint);
    capped_allocator_check(&capped);
    return 0;
}
