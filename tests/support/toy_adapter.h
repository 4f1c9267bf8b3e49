/*
 * Random low-rank adapters for toy models: a checkpoint in memory, with faults where a test wants them.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_TOY_ADAPTER_H
#define MLT_TOY_ADAPTER_H

#include "support/toy_model.h"

struct toy_adapter {
    int64_t rank;
    float alpha; /* 0: no key */
    mlt_dtype dtype;
    uint64_t seed;
    float b_spread;   /* 0: B is zero */
    const char *only; /* only matrices whose name contains this; NULL: all of blocks, and the output's */
    const char *type, *kind, *architecture; /* other values of the keys; "": without the key; NULL: right */
    const char *extra_key;
    const char *without;            /* a tensor that is left out */
    const struct toy_tensor *other; /* a tensor with other dimensions or another dtype */
    const char *added;              /* a pair for this tensor of the model too */
};

/* Rank 4, alpha 8, F32, B with a spread of 0.1. */
struct toy_adapter toy_adapter_default(void);

/* For the matrices of `base`, which is only read. What fails here fails the cmocka test. */
struct mlt_checkpoint *toy_adapter_checkpoint(const struct toy_adapter *toy,
                                              const struct mlt_checkpoint *base);

#endif
