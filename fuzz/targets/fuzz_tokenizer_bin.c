/*
 * The reader of llama2.c's tokenizer.bin. The first two bytes are the model's number of tokens less one.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "format/readers.h"
#include "fuzz/capped_allocator.h"

static void check_vocabulary(const struct mlt_checkpoint *checkpoint, uint32_t n_vocab)
{
    const struct mlt_meta *tokens = mlt_checkpoint_meta(checkpoint, "tokenizer.ggml.tokens");
    const struct mlt_meta *types = mlt_checkpoint_meta(checkpoint, "tokenizer.ggml.token_type");
    if (!tokens || tokens->count != n_vocab || !types || types->count != n_vocab) abort();
    const struct mlt_string *text = tokens->value.array;
    const int32_t *type = types->value.array;
    for (uint32_t i = 0; i < n_vocab; i++) {
        if (text[i].data[text[i].length] != 0 || type[i] < 1 || type[i] > 6) abort();
        if (memchr(text[i].data, ' ', text[i].length)) abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) return 0;
    struct capped_allocator capped;
    struct mlt_checkpoint *checkpoint;
    struct mlt_source source = {"tokenizer.bin", data + 2, size - 2};
    uint32_t n_vocab = (uint32_t)data[0] + ((uint32_t)data[1] << 8) + 1;
    millet_error err;
    capped_allocator_init(&capped, 128 * 1024, 16, size);
    if (mlt_checkpoint_new(&capped.allocator, "input", "", &checkpoint, &err) != MILLET_OK) return 0;
    millet_status status = mlt_llama2c_read_tokenizer(checkpoint, &source, n_vocab, &err);
    if (status == MILLET_OK) status = mlt_checkpoint_seal(checkpoint, &err);
    if (status == MILLET_OK) check_vocabulary(checkpoint, n_vocab);
    if (status != MILLET_OK && (err.status != status || !err.message[0])) abort();
    mlt_checkpoint_close(&checkpoint);
    capped_allocator_check(&capped);
    return 0;
}
