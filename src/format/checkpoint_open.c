/* Opening checkpoint files by their content. SPDX-License-Identifier: Apache-2.0 */
#include "format/readers.h"

#include <inttypes.h>
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

static millet_status read_file(struct mlt_checkpoint *checkpoint, const char *path,
                               const char *tokenizer_path, millet_error *err)
{
    struct mlt_source source;
    MLT_TRY(mlt_checkpoint_map(checkpoint, path, &source, err));
    (void)tokenizer_path;
    if (mlt_gguf_recognise(&source)) return mlt_gguf_read(checkpoint, &source, open_beside, NULL, err);
    return mlt_fail_at(err, MILLET_BAD_FORMAT, path, NULL, 0, "the file is neither GGUF nor llama2.c");
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
