/*
 * New models: a checkpoint in memory from a description, with random weights.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_SHAPE_H
#define MLT_SHAPE_H

#include "format/checkpoint.h"

/*
 * `description` is a JSON object: architecture ("llama", "gpt2", "qwen2", "qwen3", "gemma2", "gemma3"),
 * layers, width, heads, feed_forward, context are required; kv_heads (heads), head_size (width / heads), tied
 * (true), rope_base (10000), norm_epsilon (1e-6), window (of gemma, 512), spread (0.02) may be left out.
 * Metadata that begin with "tokenizer." are copied from `tokenizer`, whose number of tokens is the
 * vocabulary's unless `vocabulary` says a larger one.
 *
 * Matrices are normal with deviation `spread`, those that end a branch divided by sqrt(2 layers) (Radford et
 * al., 2019); norms are 1, biases 0. Each row depends on the seed, its tensor's name and its number alone.
 * Weights are made when they are read. Errors: BAD_FORMAT (names the member), UNSUPPORTED (another
 * architecture), NO_MEMORY.
 */
millet_status mlt_shape_checkpoint(const millet_allocator *allocator, const char *description,
                                   const struct mlt_checkpoint *tokenizer, uint64_t seed,
                                   struct mlt_checkpoint **out, millet_error *err);

#endif
