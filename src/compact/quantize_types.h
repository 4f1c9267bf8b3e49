/*
 * What each quantisation type gives each tensor.
 *
 * The types, their numbers in general.file_type and the rules are those of llama.cpp's llama-quantize
 * (without an importance matrix), so that a file made here is what a user of that type's name expects.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_QUANTIZE_TYPES_H
#define MLT_QUANTIZE_TYPES_H

#include "format/checkpoint.h"

enum mlt_mix {
    MLT_MIX_NONE, /* every tensor the same dtype, but for what holds for all quantised types */
    MLT_MIX_Q2_K,
    MLT_MIX_Q3_K_S,
    MLT_MIX_Q3_K_M,
    MLT_MIX_Q3_K_L,
    MLT_MIX_Q4_K_S,
    MLT_MIX_Q4_K_M,
    MLT_MIX_Q5_K_S,
    MLT_MIX_Q5_K_M,
    MLT_MIX_IQ4, /* IQ4_NL and IQ4_XS */
    MLT_MIX_TERNARY,
};

struct mlt_quantize_type {
    const char *name;
    uint32_t file_type; /* general.file_type */
    mlt_dtype dtype;
    enum mlt_mix mix;
};

/* Case-insensitive; "Q3_K", "Q4_K" and "Q5_K" mean their _M. NULL where there is none. */
const struct mlt_quantize_type *mlt_quantize_type_find(const char *name);

/* What the rules look at; 0 where the metadata does not say. */
struct mlt_quantize_facts {
    uint32_t n_layers, n_experts;
    uint32_t group_size; /* query heads for each key and value head */
    bool tied;           /* there is no output.weight */
};

void mlt_quantize_facts_read(struct mlt_quantize_facts *facts, const struct mlt_checkpoint *checkpoint);

/* Whether a tensor is a matrix to quantise: not a vector, norm, router, position embedding or the like. */
bool mlt_quantize_applies(const struct mlt_tensor *tensor);

/* The first in the list of types whose matrices are of this dtype; NULL where there is none. */
const struct mlt_quantize_type *mlt_quantize_type_of(mlt_dtype dtype);

/* Whether a tensor's rows make the logits: output.weight, or token_embd.weight where that serves as both. */
bool mlt_quantize_is_output(const struct mlt_tensor *tensor, const struct mlt_quantize_facts *facts);

/* The dtype that the type's rules want for a tensor to which they apply. */
mlt_dtype mlt_quantize_choose(const struct mlt_quantize_type *type, const struct mlt_quantize_facts *facts,
                              const struct mlt_tensor *tensor);

/* The next best dtype, where rows of `elements` are no multiple of the block length; else `dtype` itself. */
mlt_dtype mlt_quantize_fit(mlt_dtype dtype, int64_t elements);

#endif
