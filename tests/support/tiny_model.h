/*
 * Small decoders with random weights, for tests that need a model but no file from outside: a llama with a
 * SentencePiece vocabulary of bytes, letters and a few words.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_TINY_MODEL_H
#define MLT_TINY_MODEL_H

#include "model/model.h"

struct tiny_shape {
    uint32_t n_layers, n_embd, n_heads, n_kv_heads, n_ff, n_ctx;
    uint64_t seed;     /* of the weights */
    float noise;       /* added to every weight, in parts of its size: a relative of the model of that seed */
    bool tied;         /* no output matrix of its own */
    bool no_tokenizer; /* then 300 tokens all the same */
    const char *word;  /* one more token, or NULL */
};

/* 2 layers, 64 wide, 4 heads over 2, context 128. */
struct tiny_shape tiny_default(void);

/* Tokens of the vocabulary by what they are for. */
enum { TINY_UNKNOWN = 0, TINY_BOS = 1, TINY_EOS = 2, TINY_BYTES = 3 };

/* What goes wrong in these fails the cmocka test. */
struct mlt_checkpoint *tiny_checkpoint(const millet_allocator *allocator, const struct tiny_shape *shape);
millet_model *tiny_model(const millet_allocator *allocator, const struct tiny_shape *shape);
/* The same as a GGUF file. */
void tiny_write(const char *path, const struct tiny_shape *shape);

#endif
