/*
 * The tokenizer of a Hugging Face model while it is turned into GGUF keys. Internal to the hf_tokenizer*.c
 * files of this room.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_HF_VOCAB_H
#define MLT_HF_VOCAB_H

#include "import/hf.h"

/* Token types with GGUF's numbers. */
enum mlt_hf_token {
    MLT_HF_NORMAL = 1,
    MLT_HF_UNKNOWN = 2,
    MLT_HF_CONTROL = 3,
    MLT_HF_USER_DEFINED = 4,
    MLT_HF_UNUSED = 5,
    MLT_HF_BYTE = 6,
};

enum mlt_hf_tokenizer_kind { MLT_HF_BYTE_LEVEL, MLT_HF_SENTENCEPIECE, MLT_HF_UNIGRAM, MLT_HF_WORDPIECE };

/* U+2581, which stands for a space in SentencePiece's pieces. */
#define MLT_HF_SPACE "\xE2\x96\x81"

struct mlt_hf_vocab {
    enum mlt_hf_tokenizer_kind kind;
    uint32_t n_tokens;
    struct mlt_string *tokens; /* [n_tokens], in the checkpoint's arena; data NULL while unknown */
    int32_t *types;            /* [n_tokens] of enum mlt_hf_token */
    uint8_t *strip;            /* [n_tokens] white space that a token swallows: 1 before it, 2 after it */
    float *scores;             /* [n_tokens], or NULL for byte-level BPE and WordPiece */
    int32_t unknown;           /* id of the token for what cannot be spelled, -1: none */
};

/* Id of a token by its text, -1 where there is none. */
int32_t mlt_hf_vocab_find(const struct mlt_hf_vocab *vocab, const char *text, size_t length);

/* hf_tokenizer_rules.c: the normaliser and pre-tokeniser; adds tokenizer.ggml.pre and what goes with it. */
millet_status mlt_hf_tokenizer_rules(struct mlt_checkpoint *checkpoint, const struct mlt_json *tokenizer,
                                     const struct mlt_hf_vocab *vocab, millet_error *err);

/* hf_tokenizer_special.c: ids of special tokens, whether BOS and EOS are added, chat templates. */
millet_status mlt_hf_tokenizer_special(struct mlt_checkpoint *checkpoint,
                                       const struct mlt_hf_tokenizer_files *files,
                                       const struct mlt_hf_vocab *vocab, millet_error *err);

#endif
