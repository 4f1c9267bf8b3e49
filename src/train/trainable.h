/*
 * A model that can be trained: its weights in float, in one block, each under its GGUF name, with gradients
 * of the same layout; and the way back to a GGUF file.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_TRAINABLE_H
#define MLT_TRAINABLE_H

#include "model/config.h"

/* What an optimiser may want to treat differently. */
enum mlt_parameter_kind {
    MLT_PARAMETER_VECTOR,    /* norms, biases */
    MLT_PARAMETER_MATRIX,    /* within blocks */
    MLT_PARAMETER_EMBEDDING, /* token and position embeddings, the output matrix */
};

struct mlt_parameter {
    const struct mlt_tensor *tensor; /* of the checkpoint: name and dimensions */
    enum mlt_parameter_kind kind;
    int64_t rows, columns, offset; /* in the blocks below, in values; a multiple of 16 */
};

/* A matrix or vector within the blocks; offset < 0: absent. */
struct mlt_slice {
    int64_t offset, rows, columns;
};

/* The fields of struct mlt_layer of model/model.h, as slices. */
struct mlt_trainable_layer {
    struct mlt_slice attn_norm, attn_norm_bias, wq, wk, wv, bq, bk, bv, q_norm, k_norm, wo, bo,
        attn_post_norm;
    struct mlt_slice ffn_norm, ffn_norm_bias, w_gate, w_up, w_down, b_gate, b_up, b_down, ffn_post_norm;
};

struct mlt_trainable {
    millet_allocator allocator;
    struct mlt_checkpoint *checkpoint; /* owned: metadata, and tensors that are not trained */
    struct mlt_config config;
    struct mlt_arena arena;
    struct mlt_parameter *parameters;
    size_t n_parameters;
    int64_t n_values;   /* of each block, padding included */
    uint64_t n_weights; /* without padding */
    float *master;      /* what the optimiser changes */
    float *weights;     /* what the passes read: master, or its copy as it will be stored */
    float *gradient;
    struct mlt_slice token_embd, position_embd, output_norm, output_norm_bias, output, output_bias;
    struct mlt_trainable_layer *layers;
    const float *rope_divisors; /* [rope_size / 2] or NULL */
};

/*
 * Takes over a checkpoint (also when this fails) and reads its weights. `stored`: MLT_F32, or MLT_BF16 where
 * the passes shall read weights as a file of that type would have them; the master stays in F32. Errors:
 * UNSUPPORTED (experts), those of mlt_config_read, NOT_FOUND and BAD_FORMAT naming a tensor, NO_MEMORY.
 */
millet_status mlt_trainable_open(const millet_allocator *allocator, struct mlt_checkpoint *checkpoint,
                                 mlt_dtype stored, struct mlt_trainable **out, millet_error *err);
void mlt_trainable_close(struct mlt_trainable **trainable);

/* Brings `weights` up to date after `master` has changed, values [begin, end). */
void mlt_trainable_refresh(struct mlt_trainable *trainable, int64_t begin, int64_t end);

static inline bool mlt_has(struct mlt_slice slice)
{
    return slice.offset >= 0;
}

/* More tensors and keys for mlt_trainable_write: the optimiser's state. */
struct mlt_extra_tensor {
    struct mlt_tensor tensor; /* name, n_dims, ne; F32 */
    const float *values;      /* NULL: asked for when they are written */
};

struct mlt_extras {
    const struct mlt_meta *metas;
    size_t n_metas;
    const struct mlt_extra_tensor *tensors;
    size_t n_tensors;
    /* Gives the values of tensors[index], which stay until the next call. Tensors are asked for in order. */
    millet_status (*read)(void *context, size_t index, const float **values, millet_error *err);
    void *context;
};

/*
 * Writes the model as GGUF, atomically: matrices as `dtype` (F32, F16 or BF16), vectors as F32, metadata and
 * other tensors as they were, without those that begin with "train.". `extras` may be NULL. Errors: those of
 * gguf_write.h.
 */
millet_status mlt_trainable_write(const struct mlt_trainable *trainable, const char *path, mlt_dtype dtype,
                                  const struct mlt_extras *extras, millet_error *err);

#endif
