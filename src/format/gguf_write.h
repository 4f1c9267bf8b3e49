/*
 * Writing GGUF v3: the header at once, then the tensors' bytes in order, in pieces of any size.
 *
 * Memory does not grow with the model: what is asked of the caller is the list of tensors first and their
 * bytes afterwards. Nothing appears under the output's name before mlt_gguf_writer_commit (base/file.h:
 * temporary file, fsync, rename), so a process that is killed leaves the old file, or none, and a temporary
 * one beside it.
 *
 * The layout is the canonical one that other runtimes expect: tensors in the order given, each at a multiple
 * of the alignment directly after the one before, zero bytes between and after the last.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_GGUF_WRITE_H
#define MLT_GGUF_WRITE_H

#include "format/checkpoint.h"

/* What a file will hold. Everything is only read during mlt_gguf_writer_open. */
struct mlt_gguf_contents {
    /*
     * In the order in which they are written. general.alignment sets the alignment (default 32). Keys that
     * describe a split ("split.*") are left out: they are the writer's own.
     */
    const struct mlt_meta *metas;
    size_t n_metas;
    /* name, dtype, n_dims and ne count; the other fields need not be set. */
    const struct mlt_tensor *tensors;
    size_t n_tensors;
    /*
     * 0: one file. Else the output is cut between tensors into pieces of at most so many bytes (a tensor that
     * is larger alone gets a piece of its own); if one piece is enough it is an ordinary file under the path
     * given, else the pieces of "NAME.gguf" are "NAME-00001-of-0000N.gguf" and so on.
     */
    uint64_t piece_bytes;
};

struct mlt_gguf_writer;

/*
 * Checks the contents (unique valid names, known types, possible shapes) and opens the temporary files. A
 * piece takes 256 KiB of memory until the end. Errors: BAD_ARGUMENT, BAD_FORMAT, UNSUPPORTED, IO, NO_MEMORY.
 */
millet_status mlt_gguf_writer_open(const millet_allocator *allocator, const char *path,
                                   const struct mlt_gguf_contents *contents, struct mlt_gguf_writer **out,
                                   millet_error *err);

/* The bytes that a writer's pieces will have together, and their number, without writing anything. Errors: as
 * above but for IO. */
millet_status mlt_gguf_measure(const millet_allocator *allocator, const struct mlt_gguf_contents *contents,
                               uint64_t *bytes, uint64_t *n_pieces, millet_error *err);

/* Bytes that all pieces will have together. */
uint64_t mlt_gguf_writer_total(const struct mlt_gguf_writer *writer);
/* The number of pieces, and the path of piece `index` (owned by the writer). */
size_t mlt_gguf_writer_pieces(const struct mlt_gguf_writer *writer);
const char *mlt_gguf_writer_path(const struct mlt_gguf_writer *writer, size_t index);

/*
 * Appends `size` bytes to tensor `index` of the contents. Tensors are written in order: `index` is the one at
 * hand, or the next one once that has all its bytes. BAD_ARGUMENT (names the tensor) where it is another, or
 * where it would get more bytes than its shape has; IO where the disk is full.
 */
millet_status mlt_gguf_writer_write(struct mlt_gguf_writer *writer, size_t index, const void *bytes,
                                    uint64_t size, millet_error *err);

/*
 * Checks that every tensor has all its bytes (else BAD_ARGUMENT names the first that has not), makes the file
 * visible, releases the writer in any case and nulls the handle. Pieces of a split appear from the last to
 * the first, after an old first piece has been removed: a process killed in between leaves no first piece, so
 * that nothing can be opened that mixes old and new.
 */
millet_status mlt_gguf_writer_commit(struct mlt_gguf_writer **writer, millet_error *err);
/* Removes the temporary files, releases the writer and nulls the handle; nothing for NULL. */
void mlt_gguf_writer_abort(struct mlt_gguf_writer **writer);

#endif
