/*
 * tokenizer.json and, each after a NUL byte, tokenizer_config.json and generation_config.json: the keys that
 * come of them, the tokenizer that these make, and a text through it.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "import/hf.h"
#include "model/model.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { N_TEXTS = 3, N_VOCAB = 300 };

static void tokenize(const struct mlt_checkpoint *checkpoint)
{
    static const char text[] =
        "Hello  world, it's 1234 \xE2\x96\x81 <s>[CLS] ab abc\n\xC3\xA9\xFF\xF0\x9F\x98\x80";
    struct mlt_tokenizer *tokenizer;
    int32_t bos, eos, *ids;
    bool add_bos, add_eos;
    size_t count;
    millet_error err;
    if (mlt_vocabulary_open(mlt_default_allocator(), checkpoint, &tokenizer, &bos, &eos, &add_bos, &add_eos,
                            &err) != MILLET_OK)
        return;
    unsigned flags = MLT_TOKENIZE_SPECIAL | MLT_TOKENIZE_BOS_EOS;
    if (mlt_tokenize(tokenizer, mlt_default_allocator(), text, sizeof text - 1, flags, &ids, &count, &err) ==
        MILLET_OK)
        mlt_free(mlt_default_allocator(), ids);
    mlt_tokenizer_close(&tokenizer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t *roots[N_TEXTS] = {NULL};
    millet_error err;
    for (int i = 0; i < N_TEXTS && data; i++) {
        const uint8_t *end = size ? memchr(data, 0, size) : NULL;
        size_t length = end ? (size_t)(end - data) : size;
        (void)mlt_json_parse("input", 0, data, length, &roots[i], &err);
        size -= end ? length + 1 : length;
        data = end ? end + 1 : NULL;
    }
    struct mlt_hf_tokenizer_files files = {.n_vocab = N_VOCAB};
    files.tokenizer = (struct mlt_json){roots[0], "tokenizer.json", ""};
    files.config = (struct mlt_json){roots[1], "tokenizer_config.json", ""};
    files.generation = (struct mlt_json){roots[2], "generation_config.json", ""};
    files.special = files.model = (struct mlt_json){NULL, "", ""};
    struct mlt_checkpoint *checkpoint = NULL;
    if (roots[0] &&
        mlt_checkpoint_new(mlt_default_allocator(), "input", "safetensors", &checkpoint, &err) == MILLET_OK &&
        mlt_hf_tokenizer_read(checkpoint, &files, &err) == MILLET_OK &&
        mlt_checkpoint_seal(checkpoint, &err) == MILLET_OK)
        tokenize(checkpoint);
    mlt_checkpoint_close(&checkpoint);
    for (int i = 0; i < N_TEXTS; i++)
        json_decref(roots[i]);
    return 0;
}
