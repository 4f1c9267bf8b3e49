/*
 * Files in the layout of Hugging Face, for tests: safetensors put together byte by byte, and a checkpoint of
 * ours written as such a directory. Names and orders are written down here a second time, apart from the
 * library's importer, so that both would have to be wrong in the same way.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_TEST_HF_FILES_H
#define MLT_TEST_HF_FILES_H

#include "format/checkpoint.h"
#include "support/file_bytes.h"

#include <jansson.h>

/* A safetensors file in the making: the JSON header and the buffer. Zero-initialise. */
struct hf_file {
    json_t *header;
    struct file_bytes buffer;
};

/* Appends a tensor; `shape` outermost first. */
void hf_tensor(struct hf_file *file, const char *name, const char *dtype, int n_dims, const int64_t *shape,
               const void *data, size_t bytes);
/* The whole file. */
struct file_bytes hf_file_bytes(const struct hf_file *file);
void hf_file_free(struct hf_file *file);
/* A file of any header text and a buffer of zeros. */
struct file_bytes hf_raw(const char *header, size_t buffer_bytes);

/* Writes JSON text or a JSON value (which is released) into the test's folder. */
void hf_write_text(const char *name, const char *text);
void hf_write_json(const char *name, json_t *value);
/* Writes a file that is then released. */
void hf_write_file(const char *name, struct hf_file *file);

/*
 * Writes the model of a checkpoint with GGUF keys and names into the test's folder: config.json and weights,
 * in `n_shards` files (1: model.safetensors). Without the tokenizer. What could not be written fails the
 * test.
 */
void hf_export(const struct mlt_checkpoint *checkpoint, int n_shards);

#endif
