/*
 * A checkpoint: metadata and tensors, wherever they came from.
 *
 * Every reader (GGUF, llama2.c, Hugging Face) produces one of these, with metadata under GGUF's keys and
 * tensors under GGUF's names and shapes, so that the model, the quantiser and `inspect` know one form only.
 * Readers validate; who holds a checkpoint may trust that
 *   - every tensor's dtype is known, its dimensions are >= 1, their product and size in bytes do not
 * overflow, and its bytes lie inside its file;
 *   - names of tensors and keys are unique, non-empty, valid UTF-8 without NUL;
 *   - strings in metadata are length-counted, NUL-terminated in memory and may hold any bytes.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_CHECKPOINT_H
#define MLT_CHECKPOINT_H

#include "base/file.h"
#include "tensor/dtype.h"

enum { MLT_MAX_DIMS = 4 };

/* The value types of GGUF metadata, with GGUF's numbers. */
enum mlt_meta_type {
    MLT_META_U8 = 0,
    MLT_META_I8 = 1,
    MLT_META_U16 = 2,
    MLT_META_I16 = 3,
    MLT_META_U32 = 4,
    MLT_META_I32 = 5,
    MLT_META_F32 = 6,
    MLT_META_BOOL = 7,
    MLT_META_STRING = 8,
    MLT_META_ARRAY = 9,
    MLT_META_U64 = 10,
    MLT_META_I64 = 11,
    MLT_META_F64 = 12,
};

struct mlt_string {
    const char *data; /* NUL-terminated */
    size_t length;
};

/* One key and its value. Arrays are one level deep (GGUF arrays of arrays are refused as UNSUPPORTED). */
struct mlt_meta {
    struct mlt_string key;
    enum mlt_meta_type type;    /* MLT_META_ARRAY for arrays */
    enum mlt_meta_type element; /* of an array; else equal to type */
    uint64_t count;             /* elements of an array; 1 otherwise */
    union {
        uint64_t u;               /* unsigned and BOOL (0 or 1) */
        int64_t i;                /* signed */
        double f;                 /* F32 (exactly converted), F64 */
        struct mlt_string string; /* STRING */
        const void *array;        /* packed elements in native order; for strings: struct mlt_string[count] */
    } value;
};

struct mlt_tensor;

/*
 * A tensor that is not stored as it is wanted (other row order, pieces in several places) is assembled on
 * reading: writes rows [row, row + rows) of the tensor, in its dtype, to `out`.
 */
typedef millet_status mlt_tensor_reader(const struct mlt_tensor *tensor, uint64_t row, uint64_t rows,
                                        void *out, millet_error *err);

/* Dimensions as in GGUF: ne[0] runs fastest and is the length of a row; a weight matrix W[out][in] has ne =
 * {in, out}. */
struct mlt_tensor {
    struct mlt_string name;
    mlt_dtype dtype;
    int n_dims;
    int64_t ne[MLT_MAX_DIMS]; /* unused ones are 1 */
    uint64_t row_bytes;       /* bytes of ne[0] elements */
    uint64_t rows;            /* ne[1] * ne[2] * ne[3] */
    uint64_t bytes;           /* row_bytes * rows */
    const uint8_t *data;      /* the mapped bytes (any alignment), or NULL where `read` assembles them */
    mlt_tensor_reader *read;  /* NULL where `data` is set */
    const void *source;       /* for `read`: owned by the checkpoint */
    const char *file;         /* path of the file it lies in; for messages */
    uint64_t offset;          /* of data in that file; for messages */
};

struct mlt_checkpoint {
    millet_allocator allocator;
    struct mlt_arena arena; /* everything below and what readers made */
    const char *path;       /* as given to open */
    const char *format;     /* "GGUF v3", "llama2.c v0", "safetensors": static text */
    struct mlt_meta *metas;
    size_t n_metas;
    struct mlt_tensor *tensors;
    size_t n_tensors;
    struct mlt_file_map *maps; /* the files, all mapped until close */
    size_t n_maps;
    void *index; /* sorted names and keys; see checkpoint.c */
};

/*
 * Opens a file by its content: GGUF (also the first file of a split: the others are found beside it) or
 * llama2.c (whose tokenizer is `tokenizer_path`, or NULL: then tok<vocabulary size>.bin or tokenizer.bin
 * beside it, else none). The result is immutable and may be read by many threads; it owns the maps.
 */
millet_status mlt_checkpoint_open(const millet_allocator *allocator, const char *path,
                                  const char *tokenizer_path, struct mlt_checkpoint **out, millet_error *err);
void mlt_checkpoint_close(struct mlt_checkpoint **checkpoint);

/* NULL where there is none. */
const struct mlt_tensor *mlt_checkpoint_tensor(const struct mlt_checkpoint *checkpoint, const char *name);
const struct mlt_meta *mlt_checkpoint_meta(const struct mlt_checkpoint *checkpoint, const char *key);

/* Copies (or assembles) rows of a tensor in its own dtype. BAD_ARGUMENT outside the tensor. */
millet_status mlt_tensor_read(const struct mlt_tensor *tensor, uint64_t row, uint64_t rows, void *out,
                              millet_error *err);

/* Bytes of one element in memory (a string: its struct); 0 for ARRAY and numbers that are no type. */
size_t mlt_meta_type_size(enum mlt_meta_type type);
/* "u32", "string" ...; static text, "unknown" for numbers that are no type. */
const char *mlt_meta_type_name(enum mlt_meta_type type);

/*
 * Typed access. `fallback` NULL: the key is required (NOT_FOUND names it). A value of another type that
 * cannot hold the request exactly (a string for a number, -1 for an unsigned, 2^40 for a u32) is BAD_FORMAT
 * and names key and type; only an F64 asked for as f32 is rounded.
 */
millet_status mlt_meta_get_u32(const struct mlt_checkpoint *checkpoint, const char *key,
                               const uint32_t *fallback, uint32_t *out, millet_error *err);
millet_status mlt_meta_get_f32(const struct mlt_checkpoint *checkpoint, const char *key,
                               const float *fallback, float *out, millet_error *err);
millet_status mlt_meta_get_bool(const struct mlt_checkpoint *checkpoint, const char *key,
                                const bool *fallback, bool *out, millet_error *err);
/* The string lives as long as the checkpoint. */
millet_status mlt_meta_get_string(const struct mlt_checkpoint *checkpoint, const char *key,
                                  const struct mlt_string *fallback, struct mlt_string *out,
                                  millet_error *err);

/*
 * Building a checkpoint in memory (readers and tests). Keys, values, array elements and tensor names are
 * copied into the arena; the caller's may go. Names that are empty, not UTF-8 or hold NUL are BAD_FORMAT.
 */
millet_status mlt_checkpoint_new(const millet_allocator *allocator, const char *path, const char *format,
                                 struct mlt_checkpoint **out, millet_error *err);
millet_status mlt_checkpoint_add_meta(struct mlt_checkpoint *checkpoint, const struct mlt_meta *meta,
                                      millet_error *err);
/*
 * row_bytes, rows and bytes are computed from dtype, n_dims and ne (BAD_FORMAT where these are impossible).
 * `data`, `source` and `file` are kept as given and must live as long as the checkpoint; `file` NULL: the
 * checkpoint's path. Pointers to tensors and metas are valid once everything has been added.
 */
millet_status mlt_checkpoint_add_tensor(struct mlt_checkpoint *checkpoint, const struct mlt_tensor *tensor,
                                        millet_error *err);
/* Shorthands for add_meta. */
millet_status mlt_checkpoint_set_u32(struct mlt_checkpoint *checkpoint, const char *key, uint32_t value,
                                     millet_error *err);
millet_status mlt_checkpoint_set_f32(struct mlt_checkpoint *checkpoint, const char *key, float value,
                                     millet_error *err);
millet_status mlt_checkpoint_set_bool(struct mlt_checkpoint *checkpoint, const char *key, bool value,
                                      millet_error *err);
millet_status mlt_checkpoint_set_string(struct mlt_checkpoint *checkpoint, const char *key, const char *value,
                                        size_t length, millet_error *err);
/* Sorts the names: after it lookups are quick and nothing may be added. BAD_FORMAT names a name that occurs
 * twice. */
millet_status mlt_checkpoint_seal(struct mlt_checkpoint *checkpoint, millet_error *err);

#endif
