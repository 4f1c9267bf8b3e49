/*
 * Files of low-rank adapters (LoRA: Hu et al., 2021): W' = W + scale * alpha / rank * B A.
 *
 * The layout is GGUF's own for adapters, so that other runtimes read what is written here and the other way
 * round: general.type "adapter", adapter.type "lora", general.architecture, adapter.lora.alpha, and for each
 * matrix NAME[rows][columns] two tensors, "NAME.lora_a" [rank][columns] and "NAME.lora_b" [rows][rank], of
 * any dtype that can be a weight. Tensors that begin with "train." (the optimiser's, of a training's state)
 * are passed over.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_ADAPTER_FILE_H
#define MLT_ADAPTER_FILE_H

#include "format/checkpoint.h"

struct mlt_adapter_pair {
    const struct mlt_tensor *target; /* the matrix, of the base's checkpoint */
    const struct mlt_tensor *a, *b;  /* of the adapter's */
};

struct mlt_adapter_file {
    float alpha; /* 0: B A is not scaled by the rank */
    struct mlt_adapter_pair *pairs;
    size_t n_pairs; /* at least 1 */
    uint64_t bytes; /* of their tensors */
};

#define MLT_ADAPTER_A ".lora_a"
#define MLT_ADAPTER_B ".lora_b"

/*
 * Reads what an adapter's checkpoint has for matrices of `base`; the arena holds the list. Errors, which name
 * the file and its key or tensor: BAD_FORMAT (no adapter; half of a pair; shapes that do not fit the matrix
 * or each other), BAD_ARGUMENT (made for another architecture), NOT_FOUND (the base has no such matrix),
 * UNSUPPORTED (another kind of adapter; token embeddings, experts, vectors), NO_MEMORY.
 */
millet_status mlt_adapter_file_read(const struct mlt_checkpoint *file, const struct mlt_checkpoint *base,
                                    struct mlt_arena *arena, struct mlt_adapter_file *out, millet_error *err);

static inline int64_t mlt_adapter_rank(const struct mlt_adapter_pair *pair)
{
    return pair->b->ne[0];
}

/* The factor of B A. */
static inline float mlt_adapter_factor(float alpha, int64_t rank, float scale)
{
    return alpha != 0 ? (float)((double)scale * (double)alpha / (double)rank) : scale;
}

#endif
