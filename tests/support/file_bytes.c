/* SPDX-License-Identifier: Apache-2.0 */
#include "support/file_bytes.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A test that cannot make its own data has not failed: the machine has. */
static void stop(const char *what)
{
    perror(what);
    exit(2);
}

void bytes_put(struct file_bytes *bytes, const void *from, size_t size)
{
    if (bytes->size + size > bytes->capacity) {
        size_t wanted = 2 * (bytes->size + size) + 64;
        uint8_t *larger = realloc(bytes->data, wanted);
        if (!larger) stop("realloc");
        bytes->data = larger;
        bytes->capacity = wanted;
    }
    if (size) memcpy(bytes->data + bytes->size, from, size);
    bytes->size += size;
}

void bytes_u8(struct file_bytes *bytes, uint8_t value)
{
    bytes_put(bytes, &value, 1);
}

void bytes_u16(struct file_bytes *bytes, uint16_t value)
{
    bytes_u8(bytes, (uint8_t)value);
    bytes_u8(bytes, (uint8_t)(value >> 8));
}

void bytes_u32(struct file_bytes *bytes, uint32_t value)
{
    bytes_u16(bytes, (uint16_t)value);
    bytes_u16(bytes, (uint16_t)(value >> 16));
}

void bytes_u64(struct file_bytes *bytes, uint64_t value)
{
    bytes_u32(bytes, (uint32_t)value);
    bytes_u32(bytes, (uint32_t)(value >> 32));
}

void bytes_f32(struct file_bytes *bytes, float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    bytes_u32(bytes, bits);
}

void bytes_f64(struct file_bytes *bytes, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    bytes_u64(bytes, bits);
}

void bytes_align(struct file_bytes *bytes, size_t alignment)
{
    while (bytes->size % alignment != 0)
        bytes_u8(bytes, 0);
}

void bytes_free(struct file_bytes *bytes)
{
    free(bytes->data);
    *bytes = (struct file_bytes){0};
}

void bytes_string(struct file_bytes *bytes, const char *text)
{
    bytes_u64(bytes, strlen(text));
    bytes_put(bytes, text, strlen(text));
}

void bytes_gguf_header(struct file_bytes *bytes, uint32_t version, uint64_t n_tensors, uint64_t n_metas)
{
    bytes_put(bytes, "GGUF", 4);
    bytes_u32(bytes, version);
    bytes_u64(bytes, n_tensors);
    bytes_u64(bytes, n_metas);
}

void bytes_gguf_key(struct file_bytes *bytes, const char *key, uint32_t type)
{
    bytes_string(bytes, key);
    bytes_u32(bytes, type);
}

void bytes_gguf_u32(struct file_bytes *bytes, const char *key, uint32_t value)
{
    bytes_gguf_key(bytes, key, 4);
    bytes_u32(bytes, value);
}

void bytes_gguf_u16(struct file_bytes *bytes, const char *key, uint16_t value)
{
    bytes_gguf_key(bytes, key, 2);
    bytes_u16(bytes, value);
}

void bytes_gguf_text(struct file_bytes *bytes, const char *key, const char *value)
{
    bytes_gguf_key(bytes, key, 8);
    bytes_string(bytes, value);
}

void bytes_gguf_tensor(struct file_bytes *bytes, const char *name, uint32_t n_dims, const uint64_t *dims,
                       uint32_t type, uint64_t offset)
{
    bytes_string(bytes, name);
    bytes_u32(bytes, n_dims);
    for (uint32_t i = 0; i < n_dims; i++)
        bytes_u64(bytes, dims[i]);
    bytes_u32(bytes, type);
    bytes_u64(bytes, offset);
}

/* Bytes of a scalar of each type, by GGUF's numbers; 0 for string and array. */
static const size_t scalar_size[13] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};

/* Element `i` of type `type`: small numbers, true and false in turn, "item<i>". */
static void put_element(struct file_bytes *bytes, uint32_t type, unsigned i)
{
    char text[16];
    switch (type) {
    case 6: bytes_f32(bytes, 0.5f * (float)i); return;
    case 12: bytes_f64(bytes, 0.25 * (double)i); return;
    case 7: bytes_u8(bytes, i % 2); return;
    case 8:
        snprintf(text, sizeof text, "item%u", i);
        bytes_string(bytes, text);
        return;
    default: break;
    }
    uint64_t value = type == 1 || type == 3 || type == 5 || type == 11 ? 0 - (uint64_t)i : i;
    for (size_t k = 0; k < scalar_size[type]; k++)
        bytes_u8(bytes, (uint8_t)(value >> (8 * k)));
}

void bytes_sample_gguf(struct file_bytes *bytes, uint32_t version, size_t *header)
{
    static const uint64_t vector[] = {16}, matrix[] = {32, 3}, cube[] = {64, 2, 2}, four[] = {256, 1, 2, 1};
    char key[32];
    *bytes = (struct file_bytes){0};
    bytes_gguf_header(bytes, version, 4, 26);
    bytes_gguf_text(bytes, "general.architecture", "sample");
    for (uint32_t type = 0; type <= 12; type++) {
        if (type == 9) continue;
        snprintf(key, sizeof key, "scalar.%u", type);
        bytes_gguf_key(bytes, key, type);
        put_element(bytes, type, 1);
    }
    for (uint32_t type = 0; type <= 12; type++) {
        if (type == 9) continue;
        snprintf(key, sizeof key, "array.%u", type);
        bytes_gguf_key(bytes, key, 9);
        bytes_u32(bytes, type);
        bytes_u64(bytes, 3);
        for (unsigned i = 0; i < 3; i++)
            put_element(bytes, type, i);
    }
    bytes_gguf_key(bytes, "empty", 9);
    bytes_u32(bytes, 8);
    bytes_u64(bytes, 0);

    bytes_gguf_tensor(bytes, "vector", 1, vector, 0, 0);  /* F32: 64 bytes */
    bytes_gguf_tensor(bytes, "matrix", 2, matrix, 8, 64); /* Q8_0: 3 x 34 = 102 */
    bytes_gguf_tensor(bytes, "cube", 3, cube, 1, 192);    /* F16: 4 x 128 = 512 */
    bytes_gguf_tensor(bytes, "four", 4, four, 12, 704);   /* Q4_K: 2 x 144 = 288 */
    bytes_align(bytes, 32);
    if (header) *header = bytes->size;
    size_t data = bytes->size;
    static const size_t begin[] = {0, 64, 192, 704}, size[] = {64, 102, 512, 288};
    for (int t = 0; t < 4; t++) {
        while (bytes->size < data + begin[t])
            bytes_u8(bytes, 0);
        for (size_t i = 0; i < size[t]; i++)
            bytes_u8(bytes, (uint8_t)(i * 31 + (size_t)t));
    }
    bytes_align(bytes, 32);
}

enum { DIM = 64, HIDDEN = 96, LAYERS = 2, HEADS = 4, KV_HEADS = 2, CONTEXT = 8 };

/* Appends `count` floats, or int8 and scales, continuing the counts. */
struct filler {
    struct file_bytes *bytes;
    uint32_t group; /* 0: floats */
    int odd_scales;
    size_t floats, values, groups;
};

static void fill_floats(struct filler *filler, size_t count)
{
    for (size_t i = 0; i < count; i++)
        bytes_f32(filler->bytes, (float)filler->floats++ / 1024.0f - 1.0f);
}

static void fill(struct filler *filler, size_t count)
{
    if (filler->group == 0) {
        fill_floats(filler, count);
        return;
    }
    for (size_t i = 0; i < count; i++)
        bytes_u8(filler->bytes, (uint8_t)(filler->values++ * 7 % 255 - 127));
    for (size_t i = 0; i < count / filler->group; i++) {
        size_t k = filler->groups++;
        bytes_f32(filler->bytes,
                  filler->odd_scales ? 0.1f + (float)k / 1000.0f : 1.0f / (float)(1 << (k % 5)));
    }
}

void bytes_sample_llama2c(struct file_bytes *bytes, int version, int32_t n_vocab, int shared, int32_t group,
                          int odd_scales)
{
    const size_t kv = DIM / HEADS * KV_HEADS;
    *bytes = (struct file_bytes){0};
    if (version > 0) {
        bytes_u32(bytes, 0x616b3432);
        bytes_u32(bytes, (uint32_t)version);
    }
    int32_t numbers[] = {
        DIM, HIDDEN, LAYERS, HEADS, KV_HEADS, version == 0 && !shared ? -n_vocab : n_vocab, CONTEXT};
    for (int i = 0; i < 7; i++)
        bytes_u32(bytes, (uint32_t)numbers[i]);
    if (version > 0) bytes_u8(bytes, shared != 0);
    if (version == 2) bytes_u32(bytes, (uint32_t)group);
    while (version > 0 && bytes->size < 256)
        bytes_u8(bytes, 0);

    struct filler filler = {bytes, version == 2 ? (uint32_t)group : 0, odd_scales, 0, 0, 0};
    if (version == 0) {
        fill(&filler, (size_t)n_vocab * DIM);
        fill(&filler, LAYERS * DIM);
    } else {
        fill_floats(&filler, 2 * LAYERS * DIM + DIM);
        fill(&filler, (size_t)n_vocab * DIM);
    }
    const size_t attention[] = {DIM * DIM, DIM * kv, DIM * kv, DIM * DIM};
    for (int i = 0; i < 4; i++)
        for (int l = 0; l < LAYERS; l++)
            fill(&filler, attention[i]);
    if (version == 0) fill(&filler, LAYERS * DIM);
    for (int i = 0; i < 3 * LAYERS; i++)
        fill(&filler, DIM * HIDDEN);
    if (version == 0) fill(&filler, DIM + CONTEXT * DIM / HEADS);
    if (!shared) fill(&filler, (size_t)n_vocab * DIM);
}

void bytes_sample_tokenizer(struct file_bytes *bytes, int32_t n_vocab)
{
    static const char *const words[] = {" ", "a", "b", " a", "ab", " ab", "\xC3\xA9"};
    *bytes = (struct file_bytes){0};
    bytes_u32(bytes, 7);
    for (int32_t id = 0; id < n_vocab; id++) {
        char text[16];
        float score = 0;
        if (id < 3) {
            static const char *const special[] = {"<unk>", "\n<s>\n", "\n</s>\n"};
            snprintf(text, sizeof text, "%s", special[id]);
        } else if (id < 259) {
            snprintf(text, sizeof text, "<0x%02X>", (unsigned)id - 3);
        } else if (id < 259 + 7) {
            snprintf(text, sizeof text, "%s", words[id - 259]);
            score = (float)(259 - id);
        } else {
            snprintf(text, sizeof text, "w%d", (int)id);
            score = (float)(259 - id);
        }
        bytes_f32(bytes, score);
        bytes_u32(bytes, (uint32_t)strlen(text));
        bytes_put(bytes, text, strlen(text));
    }
}

static char folder[512];

const char *folder_make(void)
{
    const char *root = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/millet-test-XXXXXX", root && *root ? root : "/tmp");
    if (!mkdtemp(folder)) stop(folder);
    return folder;
}

const char *folder_path(const char *name)
{
    static char paths[8][1024];
    static int next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

/* Counts what is in the folder, and removes it too if asked. */
static int visit(int remove_files)
{
    int count = 0;
    DIR *directory = opendir(folder);
    if (!directory) stop(folder);
    struct dirent *entry;
    while ((entry = readdir(directory))) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        count++;
        if (remove_files) unlink(folder_path(entry->d_name));
    }
    closedir(directory);
    return count;
}

int folder_count(void)
{
    return visit(0);
}

void folder_remove(void)
{
    visit(1);
    if (rmdir(folder) != 0) stop(folder);
}

void file_write(const char *path, const struct file_bytes *bytes)
{
    FILE *file = fopen(path, "wb");
    if (!file) stop(path);
    size_t written = bytes->size ? fwrite(bytes->data, 1, bytes->size, file) : 0;
    if (written != bytes->size || fclose(file) != 0) stop(path);
}

struct file_bytes file_read(const char *path)
{
    struct file_bytes bytes = {0};
    FILE *file = fopen(path, "rb");
    if (!file) stop(path);
    uint8_t part[4096];
    size_t n;
    while ((n = fread(part, 1, sizeof part, file)) > 0)
        bytes_put(&bytes, part, n);
    fclose(file);
    return bytes;
}

bool files_are_same(const char *a, const char *b)
{
    struct file_bytes x = file_read(folder_path(a)), y = file_read(folder_path(b));
    bool same = x.size == y.size && memcmp(x.data, y.data, x.size) == 0;
    bytes_free(&x);
    bytes_free(&y);
    return same;
}
