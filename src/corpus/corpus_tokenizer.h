/*
 * A tokenizer without its model: what the public handle holds.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_CORPUS_TOKENIZER_H
#define MLT_CORPUS_TOKENIZER_H

#include "format/checkpoint.h"
#include "millet/corpus.h"
#include "tokenizer/tokenizer.h"
#include "tokenizer/trie.h"

struct millet_tokenizer {
    millet_allocator allocator;
    struct mlt_checkpoint *checkpoint; /* owned */
    struct mlt_tokenizer *tokenizer;
    enum mlt_tokenizer_kind kind;
    int32_t bos, eos;
    bool add_bos, add_eos;
    const char *chat_template; /* name of the form, or NULL */
    struct mlt_trie control;   /* texts of control tokens */
    uint64_t checksum;
};

/* Of everything under tokenizer.* and millet.tokenizer.* in the metadata, but for the chat template, which
 * decides no token. */
uint64_t mlt_tokenizer_checksum(const struct mlt_checkpoint *checkpoint);

/* Whether a text contains the text of a control token. */
bool mlt_has_control_token(const struct millet_tokenizer *tokenizer, const char *text, size_t length);

#endif
