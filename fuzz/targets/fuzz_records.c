/*
 * Lines of JSONL and texts made by others, as documents of tokens. The first byte chooses JSONL or text and
 * the chat template.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "corpus/record_tokens.h"
#include "tokenizer/chat_template.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Byte tokens, a few pieces and control tokens. */
static struct mlt_tokenizer *open_tokenizer(enum mlt_tokenizer_kind kind)
{
    static const char *const others[] = {
        "<s>",     "</s>",    "<|im_start|>", "<|im_end|>",         "<|call|>", "<|O|>",
        "<|B:a|>", "<|I:a|>", "<unk>",        MLT_SPACE_MARK "the", "th",       "er"};
    enum { FIRST_CONTROL = 256, UNKNOWN = FIRST_CONTROL + 8 };
    static char texts[256][8];
    struct mlt_token_text tokens[256 + MLT_COUNT(others)];
    float scores[256 + MLT_COUNT(others)];
    int32_t types[256 + MLT_COUNT(others)];
    for (size_t i = 0; i < MLT_COUNT(tokens); i++) {
        if (i < 256) snprintf(texts[i], sizeof texts[i], "<0x%02X>", (unsigned)i);
        tokens[i].data = i < 256 ? texts[i] : others[i - 256];
        tokens[i].length = strlen(tokens[i].data);
        scores[i] = -(float)i;
        types[i] = i < FIRST_CONTROL ? MLT_TOKEN_BYTE
                   : i < UNKNOWN     ? MLT_TOKEN_CONTROL
                   : i == UNKNOWN    ? MLT_TOKEN_UNKNOWN
                                     : MLT_TOKEN_NORMAL;
    }
    struct mlt_tokenizer_spec spec = mlt_tokenizer_spec_default(kind);
    struct mlt_tokenizer *tokenizer;
    spec.n_tokens = (int32_t)MLT_COUNT(tokens);
    spec.tokens = tokens;
    spec.scores = scores;
    spec.types = types;
    spec.bos = 256;
    spec.eos = 257;
    spec.unknown = UNKNOWN;
    spec.add_eos = false;
    if (mlt_tokenizer_open(mlt_default_allocator(), &spec, &tokenizer, NULL) != MILLET_OK) abort();
    return tokenizer;
}

static millet_status ignore(void *context, const char *text, size_t length, millet_error *err)
{
    (void)err;
    size_t *sum = context;
    for (size_t i = 0; i < length; i++)
        *sum += (uint8_t)text[i];
    return MILLET_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static millet_tokenizer tokenizers[2];
    if (!tokenizers[0].tokenizer)
        for (int i = 0; i < 2; i++) {
            tokenizers[i] = (millet_tokenizer){
                .allocator = *mlt_default_allocator(), .bos = 256, .eos = 257, .add_bos = i == 0};
            tokenizers[i].tokenizer = open_tokenizer(i == 0 ? MLT_TOKENIZER_SPM : MLT_TOKENIZER_UNIGRAM);
        }
    if (size < 1) return 0;
    const char *names[64];
    size_t n_names = 0, sum = 0;
    while (n_names < MLT_COUNT(names) && mlt_chat_name(n_names)) {
        names[n_names] = mlt_chat_name(n_names);
        n_names++;
    }
    char *text =
        malloc(size); /* one more than there is: an exact copy of what follows the first byte may be empty */
    if (!text) return 0;
    if (size > 1) memcpy(text, data + 1, size - 1);
    for (int i = 0; i < 2; i++) {
        const struct mlt_encoder encoder = {&tokenizers[i], names[data[0] % n_names], data[0] & 64};
        const struct mlt_raw_record record = {.text = text, .length = size - 1, .json = !(data[0] & 128)};
        struct mlt_encoded encoded = {.allocator = mlt_default_allocator()};
        struct mlt_encoded_record result;
        if (mlt_encode_record(&encoder, &record, true, true, &encoded, &result, NULL) == MILLET_OK) {
            if (result.count != encoded.count || result.prefix > result.count) abort();
            if ((result.skip == MILLET_SKIP_REASONS) != (result.count > 0)) abort();
            size_t n_labels = 0;
            for (size_t k = 0; k < result.count; k++)
                n_labels += encoded.labels[k] >= 0;
            if (n_labels != result.n_labels || result.n_labels > result.prefix) abort();
        }
        mlt_encoded_release(&encoded);
        millet_skip skip;
        (void)mlt_record_texts(&record, ignore, &sum, &skip, NULL);
    }
    free(text);
    return 0;
}
