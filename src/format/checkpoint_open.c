/* Opening checkpoint files by their content. SPDX-License-Identifier: Apache-2.0 */
#include "format/readers.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* The piece of a split file beside the first. */
static millet_status open_beside(struct mlt_checkpoint *checkpoint, const struct mlt_source *first,
                                 uint32_t index, uint32_t count, void *context, struct mlt_source *piece,
                                 millet_error *err)
{
    (void)context;
    char *path;
    MLT_TRY(mlt_gguf_piece_path(&checkpoint->arena, first->path, 0, index, count, &path, err));
    millet_status status = mlt_checkpoint_map(checkpoint, path, piece, err);
    if (status == MILLET_NOT_FOUND)
        return mlt_fail_at(err, status, path, NULL, MILLET_NO_OFFSET,
                           "piece %" PRIu32 " of %" PRIu32 " of a split model is missing: it must lie beside "
                           "the first piece under this name",
                           index + 1, count);
    return status;
}

/* Maps `name` in the folder of `path`. */
static millet_status map_beside(struct mlt_checkpoint *checkpoint, const char *path, const char *name,
                                struct mlt_source *source, millet_error *err)
{
    const char *slash = strrchr(path, '/');
    size_t folder = slash ? (size_t)(slash - path) + 1 : 0, length = strlen(name);
    char *beside = mlt_arena_alloc(&checkpoint->arena, folder + length + 1, 1, err);
    if (!beside) return MILLET_NO_MEMORY;
    memcpy(beside, path, folder);
    memcpy(beside + folder, name, length + 1);
    return mlt_checkpoint_map(checkpoint, beside, source, err);
}

/* The tokenizer that was named, or that lies beside the model as tok<vocabulary>.bin or tokenizer.bin; none
 * of these is no error. */
static millet_status read_llama2c(struct mlt_checkpoint *checkpoint, const struct mlt_source *source,
                                  const char *tokenizer_path, millet_error *err)
{
    uint32_t n_vocab;
    struct mlt_source tokenizer;
    MLT_TRY(mlt_llama2c_read(checkpoint, source, &n_vocab, err));
    if (tokenizer_path) {
        MLT_TRY(mlt_checkpoint_map(checkpoint, tokenizer_path, &tokenizer, err));
    } else {
        char name[32];
        snprintf(name, sizeof name, "tok%" PRIu32 ".bin", n_vocab);
        millet_status status = map_beside(checkpoint, source->path, name, &tokenizer, err);
        if (status == MILLET_NOT_FOUND)
            status = map_beside(checkpoint, source->path, "tokenizer.bin", &tokenizer, err);
        if (status == MILLET_NOT_FOUND) return MILLET_OK;
        if (status != MILLET_OK) return status;
    }
    return mlt_llama2c_read_tokenizer(checkpoint, &tokenizer, n_vocab, err);
}

/* What a file is that we do not read, for the message. */
static const char *foreign_format(const struct mlt_source *source)
{
    const uint8_t *data = source->data;
    if (source->size > 8 && data[8] == '{') return "it looks like safetensors: import its folder instead";
    if (source->size > 4 && memcmp(data, "PK\3\4", 4) == 0)
        return "it looks like a PyTorch archive: convert it to safetensors or GGUF";
    if (source->size > 4 &&
        (memcmp(data, "lmgg", 4) == 0 || memcmp(data, "tjgg", 4) == 0 || memcmp(data, "fmgg", 4) == 0))
        return "it looks like GGML, the format before GGUF: convert the original model again";
    return "it does not begin as one of these does";
}

static millet_status read_file(struct mlt_checkpoint *checkpoint, const char *path,
                               const char *tokenizer_path, millet_error *err)
{
    struct mlt_source source;
    MLT_TRY(mlt_checkpoint_map(checkpoint, path, &source, err));
    if (mlt_gguf_recognise(&source)) return mlt_gguf_read(checkpoint, &source, open_beside, NULL, err);
    if (mlt_llama2c_recognise(&source)) return read_llama2c(checkpoint, &source, tokenizer_path, err);
    if (source.size == 0) return mlt_fail_at(err, MILLET_BAD_FORMAT, path, NULL, 0, "the file is empty");
    return mlt_fail_at(err, MILLET_BAD_FORMAT, path, NULL, 0,
                       "neither a GGUF file nor a llama2.c checkpoint: %s", foreign_format(&source));
}

millet_status mlt_checkpoint_open(const millet_allocator *allocator, const char *path,
                                  const char *tokenizer_path, struct mlt_checkpoint **out, millet_error *err)
{
    *out = NULL;
    struct mlt_checkpoint *checkpoint;
    MLT_TRY(mlt_checkpoint_new(allocator, path, "", &checkpoint, err));
    millet_status status = read_file(checkpoint, path, tokenizer_path, err);
    if (status == MILLET_OK) status = mlt_checkpoint_seal(checkpoint, err);
    if (status != MILLET_OK) {
        mlt_error_in_file(err, path);
        mlt_checkpoint_close(&checkpoint);
        return status;
    }
    *out = checkpoint;
    return MILLET_OK;
}
