/*
 * Reading safetensors files (the format of https://github.com/huggingface/safetensors, README "Format").
 *
 * A file is an unsigned 64-bit little-endian length N, N bytes of JSON, and a buffer. The JSON object gives
 * for each tensor name its dtype, its shape (outermost dimension first) and the range of its bytes in the
 * buffer. Everything is checked here: ranges lie inside the file, do not overlap, leave no hole, and have the
 * size that dtype and shape demand; names are unique.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_SAFETENSORS_H
#define MLT_SAFETENSORS_H

#include "format/readers.h"

enum { MLT_SAFETENSOR_DIMS = 8 };

struct mlt_safetensor {
    struct mlt_string name;
    const char *dtype_name; /* as the file has it: "BF16" */
    bool usable;            /* dtype is F32, F16 or BF16 */
    mlt_dtype dtype;        /* where usable */
    int n_dims;
    int64_t shape[MLT_SAFETENSOR_DIMS]; /* outermost first; 0 is possible, the product fits in int64 */
    const uint8_t *data;                /* in the map; any alignment */
    uint64_t bytes;
    const char *file;
    uint64_t offset; /* of data in that file */
};

/* The tensors of one file or of all shards, sorted by name; in an arena. */
struct mlt_safetensors {
    struct mlt_safetensor *tensors;
    size_t n_tensors;
};

/*
 * Reads the header of one file. What it makes lies in `arena`; data pointers lie in the source. Errors:
 * BAD_FORMAT (names tensor and offset), NO_MEMORY.
 */
millet_status mlt_safetensors_parse(struct mlt_arena *arena, const struct mlt_source *source,
                                    struct mlt_safetensors *out, millet_error *err);

/*
 * Opens the weights at `path`: one .safetensors file, or a directory with model.safetensors.index.json and
 * its shards, or with model.safetensors. The maps belong to the checkpoint. Every tensor must lie in the
 * shard that the index says, and none beside; a shard's name may not lead out of the directory. Errors:
 * NOT_FOUND (a missing shard is named), BAD_FORMAT, IO, NO_MEMORY.
 */
millet_status mlt_safetensors_open(struct mlt_checkpoint *checkpoint, const char *path,
                                   struct mlt_safetensors *out, millet_error *err);

/* Sorts by name, after tensors were added. */
void mlt_safetensors_sort(struct mlt_safetensors *set);

/* By binary search; NULL where there is none. */
const struct mlt_safetensor *mlt_safetensors_find(const struct mlt_safetensors *set, const char *name,
                                                  size_t length);

#endif
