/* SPDX-License-Identifier: Apache-2.0 */
#include "support/hf_files.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void hf_tensor(struct hf_file *file, const char *name, const char *dtype, int n_dims, const int64_t *shape,
               const void *data, size_t bytes)
{
    json_t *dims = json_array();
    for (int i = 0; i < n_dims; i++)
        json_array_append_new(dims, json_integer(shape[i]));
    size_t begin = file->buffer.size;
    bytes_put(&file->buffer, data, bytes);
    if (!file->header) file->header = json_object();
    json_object_set_new(file->header, name,
                        json_pack("{s:s, s:o, s:[I, I]}", "dtype", dtype, "shape", dims, "data_offsets",
                                  (json_int_t)begin, (json_int_t)(begin + bytes)));
}

struct file_bytes hf_raw(const char *header, size_t buffer_bytes)
{
    struct file_bytes out = {0};
    bytes_u64(&out, strlen(header));
    bytes_put(&out, header, strlen(header));
    for (size_t i = 0; i < buffer_bytes; i++)
        bytes_u8(&out, 0);
    return out;
}

struct file_bytes hf_file_bytes(const struct hf_file *file)
{
    char *text = file->header ? json_dumps(file->header, JSON_COMPACT) : NULL;
    struct file_bytes out = hf_raw(text ? text : "{}", 0);
    bytes_put(&out, file->buffer.data, file->buffer.size);
    free(text);
    return out;
}

void hf_file_free(struct hf_file *file)
{
    json_decref(file->header);
    bytes_free(&file->buffer);
    file->header = NULL;
}

void hf_write_text(const char *name, const char *text)
{
    struct file_bytes bytes = {0};
    bytes_put(&bytes, text, strlen(text));
    file_write(folder_path(name), &bytes);
    bytes_free(&bytes);
}

void hf_write_json(const char *name, json_t *value)
{
    char *text = json_dumps(value, JSON_COMPACT);
    hf_write_text(name, text);
    free(text);
    json_decref(value);
}

void hf_write_file(const char *name, struct hf_file *file)
{
    struct file_bytes bytes = hf_file_bytes(file);
    file_write(folder_path(name), &bytes);
    bytes_free(&bytes);
    hf_file_free(file);
}
