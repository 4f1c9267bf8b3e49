/*
 * Training an adapter instead of the model (LoRA: Hu et al., 2021): W x becomes W x + alpha / rank * B (A x)
 * for some matrices W of the blocks, and A [rank][columns] and B [rows][rank] alone are trained. A begins
 * uniform within 1 / sqrt(columns), B with zeros, so that the model begins as it was.
 *
 * Matrices of the model stay where they are mapped, in their dtype, and are decoded when a product needs
 * them, one at a time; those that their reader assembles are decoded once.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_LOW_RANK_H
#define MLT_LOW_RANK_H

#include "model/config.h"

struct mlt_low_rank_options {
    int32_t rank;
    float alpha;
    unsigned targets; /* of mlt_low_rank_targets */
    uint64_t seed;
};

struct mlt_low_rank_pair {
    int64_t a, b; /* offsets among the parameters' values */
};

/* What a trainable model has where an adapter is trained. */
struct mlt_low_rank_training {
    struct mlt_low_rank_options options;
    struct mlt_checkpoint *saved; /* owned; NULL: none */
    struct mlt_parameter *frozen; /* the model's weights; those that are not mapped have places in `values` */
    size_t n_frozen;
    float *values;
    int64_t n_values;
    float
        *decoded; /* [n_decoded] the matrix that was needed last, of a slice with the same `mapped`, `row` */
    int64_t n_decoded, decoded_row, decoded_rows;
    int32_t decoded_mapped; /* 0: none yet */
    uint64_t checksum;      /* of their bytes in the checkpoint */
    struct mlt_low_rank_pair *pairs;
    size_t n_pairs;
};

/* Bits for "q,k,v,o,gate,up,down", each of which may be left out; NULL: all. BAD_ARGUMENT names the word. */
millet_status mlt_low_rank_targets(const char *text, unsigned *targets, millet_error *err);

/* Whether the targets include a tensor of a block, by its name there ("attn_q.weight"). One tensor of several
 * matrices is included where any of them is. */
bool mlt_low_rank_includes(unsigned targets, const char *suffix);

/* Values of a new A; they depend on seed and name alone. */
void mlt_low_rank_start(uint64_t seed, const char *name, int64_t rank, int64_t columns, float *a);

#endif
