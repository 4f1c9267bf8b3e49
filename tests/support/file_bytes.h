/*
 * Files for tests, put together byte by byte and apart from the library's own writers, so that a reader and a
 * writer that are wrong in the same way do not pass for right. Also a temporary folder.
 *
 * Allocations that fail end the program.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_TEST_FILE_BYTES_H
#define MLT_TEST_FILE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct file_bytes {
    uint8_t *data;
    size_t size, capacity;
};

void bytes_put(struct file_bytes *bytes, const void *from, size_t size);
void bytes_u8(struct file_bytes *bytes, uint8_t value);
void bytes_u16(struct file_bytes *bytes, uint16_t value);
void bytes_u32(struct file_bytes *bytes, uint32_t value);
void bytes_u64(struct file_bytes *bytes, uint64_t value);
void bytes_f32(struct file_bytes *bytes, float value);
void bytes_f64(struct file_bytes *bytes, double value);
void bytes_align(struct file_bytes *bytes, size_t alignment);
void bytes_free(struct file_bytes *bytes);

/* GGUF: a string with its length; key and type of a value; a whole value; an entry of the tensor directory.
 */
void bytes_string(struct file_bytes *bytes, const char *text);
void bytes_gguf_header(struct file_bytes *bytes, uint32_t version, uint64_t n_tensors, uint64_t n_metas);
void bytes_gguf_key(struct file_bytes *bytes, const char *key, uint32_t type);
void bytes_gguf_u32(struct file_bytes *bytes, const char *key, uint32_t value);
void bytes_gguf_u16(struct file_bytes *bytes, const char *key, uint16_t value);
void bytes_gguf_text(struct file_bytes *bytes, const char *key, const char *value);
void bytes_gguf_tensor(struct file_bytes *bytes, const char *name, uint32_t n_dims, const uint64_t *dims,
                       uint32_t type, uint64_t offset);

/*
 * A small valid GGUF file: a key of every type, arrays of every type, four tensors (F32, F16, Q8_0, Q4_K of
 * one to four dimensions). `header` (may be NULL) is set to the bytes before the data.
 */
void bytes_sample_gguf(struct file_bytes *bytes, uint32_t version, size_t *header);

/*
 * A small valid llama2.c checkpoint: dim 64, hidden 96, 2 layers, 4 heads, 2 kv heads, context 8; element i
 * of the file's float tensors is i / 1024 - 1. Version 2: element i is the int8 (i * 7) % 255 - 127 and the
 * scale of group k is 2^-(k % 5) (binary16 holds it) or, with `odd_scales`, 0.1 + k / 1000.
 */
void bytes_sample_llama2c(struct file_bytes *bytes, int version, int32_t n_vocab, int shared, int32_t group,
                          int odd_scales);

/* Its tokenizer.bin: <unk>, BOS, EOS, then the bytes, then letters and words with spaces; n_vocab >= 3. */
void bytes_sample_tokenizer(struct file_bytes *bytes, int32_t n_vocab);

/* Makes a new folder under $TMPDIR (static storage, one per program), and removes it with all its files. */
const char *folder_make(void);
void folder_remove(void);
/* Path of a file in it; static storage, eight calls long. */
const char *folder_path(const char *name);
/* Writes and reads whole files; folder_count counts what is in the folder. */
void file_write(const char *path, const struct file_bytes *bytes);
struct file_bytes file_read(const char *path);
/* Whether two files of the folder have the same bytes. */
bool files_are_same(const char *a, const char *b);
int folder_count(void);

#endif
