/*
 * What the readers of this room share: sources of bytes, and the builder's side of a checkpoint.
 *
 * A reader gets a file's bytes from memory, whoever put them there (a map, a test, a fuzzer), and adds what
 * it finds to a checkpoint that is not yet sealed. Nothing here opens a file but mlt_checkpoint_map.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_READERS_H
#define MLT_READERS_H

#include "format/checkpoint.h"

/* The bytes of one file. `path` appears in messages and in mlt_tensor.file: it lives as long as the
 * checkpoint. */
struct mlt_source {
    const char *path;
    const uint8_t *data;
    uint64_t size;
};

/* Maps a file for the checkpoint, which owns the map and a copy of the path from then on. */
millet_status mlt_checkpoint_map(struct mlt_checkpoint *checkpoint, const char *path,
                                 struct mlt_source *source, millet_error *err);

/* As mlt_checkpoint_add_meta and add_tensor, but key, value and name are in the checkpoint's arena already.
 */
millet_status mlt_checkpoint_adopt_meta(struct mlt_checkpoint *checkpoint, const struct mlt_meta *meta,
                                        millet_error *err);
millet_status mlt_checkpoint_adopt_tensor(struct mlt_checkpoint *checkpoint, const struct mlt_tensor *tensor,
                                          millet_error *err);

/*
 * What everybody may rely on for names: not empty, valid UTF-8, no NUL; else BAD_FORMAT. `kind` is "metadata
 * key" or "tensor name".
 */
millet_status mlt_check_name(const struct mlt_string *name, const char *kind, millet_error *err);

/*
 * Fills order[0..count) with the positions 0 .. count-1 so that compare(context, order[i], order[i + 1]) <=
 * 0. Heapsort: n log n whatever a file's maker chose, and no memory (the C library's qsort promises neither).
 */
typedef int mlt_order(const void *context, size_t a, size_t b);
void mlt_sort_order(size_t *order, size_t count, mlt_order *compare, const void *context);

/*
 * Fills row_bytes, rows and bytes from dtype, n_dims and ne, and sets unused dimensions to 1. BAD_FORMAT
 * where a dimension is below 1, a row is no whole number of blocks, or a product overflows; the message names
 * the tensor.
 */
millet_status mlt_tensor_measure(struct mlt_tensor *tensor, millet_error *err);

/*
 * Gives piece `index` (1 .. count-1) of a checkpoint whose first piece is `first`; for files it lies beside
 * it under the name that mlt_gguf_piece_path gives.
 */
typedef millet_status mlt_piece_opener(struct mlt_checkpoint *checkpoint, const struct mlt_source *first,
                                       uint32_t index, uint32_t count, void *context,
                                       struct mlt_source *piece, millet_error *err);

bool mlt_gguf_recognise(const struct mlt_source *source);
/* Reads a GGUF checkpoint into `checkpoint` (from mlt_checkpoint_new), all pieces of it; does not seal it. */
millet_status mlt_gguf_read(struct mlt_checkpoint *checkpoint, const struct mlt_source *first,
                            mlt_piece_opener *open_piece, void *context, millet_error *err);
/*
 * The path of piece `index` (from 0): that of piece `own` with the number exchanged, in the arena. BAD_FORMAT
 * where `path` does not end in "-0000<own+1>-of-0000<count>.gguf".
 */
millet_status mlt_gguf_piece_path(struct mlt_arena *arena, const char *path, uint32_t own, uint32_t index,
                                  uint32_t count, char **out, millet_error *err);

/* Whether the file begins as a llama2.c checkpoint does: the magic number of v1 and v2, or a plausible header
 * of v0, which has none. */
bool mlt_llama2c_recognise(const struct mlt_source *source);
/* Reads a llama2.c checkpoint (v0, v1, v2) into `checkpoint`; *n_vocab is what its tokenizer must have. */
millet_status mlt_llama2c_read(struct mlt_checkpoint *checkpoint, const struct mlt_source *source,
                               uint32_t *n_vocab, millet_error *err);
/* Reads the tokenizer.bin that belongs to it: adds tokenizer.ggml.* keys. */
millet_status mlt_llama2c_read_tokenizer(struct mlt_checkpoint *checkpoint, const struct mlt_source *source,
                                         uint32_t n_vocab, millet_error *err);

#endif
