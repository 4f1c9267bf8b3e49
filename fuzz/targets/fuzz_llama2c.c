/*
 * The llama2.c reader. A file must have exactly the size that its header asks for, which chance does not
 * find: so the input is read as it is, and again cut or filled up to that size.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "format/readers.h"
#include "fuzz/capped_allocator.h"

enum { LARGEST = 1 << 16 };

/* Reads every row of every tensor. */
static void read_tensors(const struct mlt_checkpoint *checkpoint)
{
    for (size_t i = 0; i < checkpoint->n_tensors; i++) {
        const struct mlt_tensor *tensor = &checkpoint->tensors[i];
        void *rows = malloc(tensor->bytes);
        if (rows && mlt_tensor_read(tensor, 0, tensor->rows, rows, NULL) != MILLET_OK) abort();
        if (rows && mlt_tensor_read(tensor, tensor->rows - 1, 1, rows, NULL) != MILLET_OK) abort();
        free(rows);
    }
}

static void read_model(const uint8_t *data, size_t size)
{
    struct capped_allocator capped;
    struct mlt_checkpoint *checkpoint;
    struct mlt_source source = {"folder/input.bin", data, size};
    uint32_t n_vocab;
    millet_error err;
    /* The smallest layer has 9 tensors in some 80 bytes. */
    capped_allocator_init(&capped, 256 * 1024, 64, size);
    if (!mlt_llama2c_recognise(&source)) return;
    if (mlt_checkpoint_new(&capped.allocator, "input", "", &checkpoint, &err) != MILLET_OK) return;
    millet_status status = mlt_llama2c_read(checkpoint, &source, &n_vocab, &err);
    if (status == MILLET_OK) status = mlt_checkpoint_seal(checkpoint, &err);
    if (status == MILLET_OK) read_tensors(checkpoint);
    if (status != MILLET_OK && (err.status != status || !err.message[0])) abort();
    mlt_checkpoint_close(&checkpoint);
    capped_allocator_check(&capped);
}

/* Bytes that the header asks for, or 0 where these are too many for a test. */
static size_t wanted_size(const uint8_t *data, size_t size)
{
    static const uint8_t magic[] = {0x32, 0x34, 0x6b, 0x61};
    bool v0 = size < 8 || memcmp(data, magic, sizeof magic) != 0;
    size_t header = v0 ? 28 : 256;
    if (size < (v0 ? 28 : 45)) return 0;
    int32_t number[7], group = 1;
    memcpy(number, data + (v0 ? 0 : 8), sizeof number);
    bool shared = v0 ? number[5] > 0 : data[36] == 1, quantised = !v0 && data[4] == 2;
    if (quantised) memcpy(&group, data + 37, sizeof group);
    for (int i = 0; i < 7; i++) {
        if (number[i] < -4096 || number[i] > 4096) return 0;
        if (i == 5 && v0 && number[i] < 0) number[i] = -number[i];
        if (number[i] < 1) return 0;
    }
    if (quantised && (group < 1 || group > 4096)) return 0;
    size_t dim = (size_t)number[0], hidden = (size_t)number[1], layers = (size_t)number[2];
    size_t kv = dim / (size_t)number[3] * (size_t)number[4], vocab = (size_t)number[5];
    size_t norms = (2 * layers + 1) * dim, angles = v0 ? (size_t)number[6] * (dim / (size_t)number[3]) : 0;
    size_t matrices =
        vocab * dim * (shared ? 1 : 2) + layers * (2 * dim * dim + 2 * dim * kv + 3 * dim * hidden);
    size_t wanted =
        header + 4 * (norms + angles) + (quantised ? matrices + matrices / (size_t)group * 4 : 4 * matrices);
    return wanted <= LARGEST ? wanted : 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    read_model(data, size);
    size_t wanted = wanted_size(data, size);
    uint8_t *filled = wanted ? malloc(wanted) : NULL;
    if (!filled) return 0;
    for (size_t i = 0; i < wanted; i++)
        filled[i] = data[i % size];
    read_model(filled, wanted);
    free(filled);
    return 0;
}
