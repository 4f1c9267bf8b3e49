/*
 * A model that can be trained: its weights in float, in one block, each under its GGUF name, with gradients
 * of the same layout; and the way back to a GGUF file.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_TRAINABLE_H
#define MLT_TRAINABLE_H

#include "train/low_rank.h"

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
    mlt_dtype stored;              /* in the file at the end; the passes see its values */
};

/* A matrix or vector within the blocks; offset < 0: absent. */
struct mlt_slice {
    int64_t offset, rows, columns;
    /* Of a model that stays as it is (low_rank.h); 0: none. */
    int32_t pair;   /* the low-rank pair pairs[pair - 1] is added to it */
    int32_t mapped; /* it has no values in the block: it is a part of frozen[mapped - 1], in the checkpoint */
    int64_t row;    /* its first row, of the tensor and of the pair's B */
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
    const float *base;  /* what slices refer to: `weights`, or `frozen` */
    float *master;      /* what the optimiser changes */
    float *weights;     /* what the passes read: master, or its copy as it will be stored */
    bool exact;         /* weights are not rounded, for now */
    float *gradient;    /* NULL where the model is frozen */
    struct mlt_slice token_embd, position_embd, output_norm, output_norm_bias, output, output_bias;
    struct mlt_trainable_layer *layers;
    const float *rope_divisors;             /* [rope_size / 2] or NULL */
    struct mlt_low_rank_training *low_rank; /* NULL: the model itself is trained */
};

/*
 * Takes over a checkpoint (also when this fails) and reads its weights. `stored`: MLT_F32, or the dtype of
 * matrices where the passes shall read weights as a file of that type would have them (storage.h); the master
 * stays in F32. MLT_DTYPE_LIMIT: the weights are not read, for an estimate. Errors:
 * UNSUPPORTED (experts), those of mlt_config_read, NOT_FOUND and BAD_FORMAT naming a tensor, NO_MEMORY.
 */
millet_status mlt_trainable_open(const millet_allocator *allocator, struct mlt_checkpoint *checkpoint,
                                 mlt_dtype stored, struct mlt_trainable **out, millet_error *err);
/*
 * Matrices that are trained beside the model, and are no part of it: they stay in the state
 * ("train.map.NAME"), from which they are taken where the checkpoint has them, and are left out of the
 * output.
 */
struct mlt_added_matrix {
    const char *name;
    int64_t rows, columns;
    struct mlt_slice slice; /* set by opening */
};

/* As mlt_trainable_open, with added matrices: at the beginning the unit matrix where it is square, else
 * random with deviation 1 / sqrt(columns). */
millet_status mlt_trainable_open_with(const millet_allocator *allocator, struct mlt_checkpoint *checkpoint,
                                      mlt_dtype stored, struct mlt_added_matrix *added, size_t n_added,
                                      struct mlt_trainable **out, millet_error *err);
/* Whether a parameter is an added matrix. */
bool mlt_parameter_is_added(const struct mlt_parameter *parameter);
/* The same to be read only, as a teacher is: there is no gradient, which is NULL. */
millet_status mlt_trainable_open_frozen(const millet_allocator *allocator, struct mlt_checkpoint *checkpoint,
                                        struct mlt_trainable **out, millet_error *err);
/*
 * The same for training an adapter (low_rank.h): the model's weights stay as they are, parameters are A and B
 * of its pairs. `saved` (may be NULL; taken over in any case) is the checkpoint that has their values; else A
 * is random and B is 0. `stored` is F32 or BF16. Errors further: NOT_FOUND and BAD_FORMAT naming a tensor of
 * `saved`, BAD_ARGUMENT (the model has none of the matrices that are asked for).
 */
millet_status mlt_trainable_open_adapter(const millet_allocator *allocator, struct mlt_checkpoint *checkpoint,
                                         const struct mlt_low_rank_options *options,
                                         struct mlt_checkpoint *saved, mlt_dtype stored,
                                         struct mlt_trainable **out, millet_error *err);
void mlt_trainable_close(struct mlt_trainable **trainable);

/* Brings `weights` up to date after a parameter's values [begin, end) of `master` have changed; both are
 * multiples of 256, or the end. */
void mlt_trainable_refresh(struct mlt_trainable *trainable, size_t parameter, int64_t begin, int64_t end);
/* Whether the passes read the master as it is, instead of what is stored. */
void mlt_trainable_set_exact(struct mlt_trainable *trainable, bool exact);

/* Where the state of a stopped training lies: the model's checkpoint, or the adapter's. */
const struct mlt_checkpoint *mlt_trainable_saved(const struct mlt_trainable *trainable);

/* Whether a mapped tensor can be read as floats where it lies. */
static inline bool mlt_in_place(const struct mlt_tensor *tensor)
{
    return tensor->dtype == MLT_F32 && (uintptr_t)tensor->data % sizeof(float) == 0;
}

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
 * Writes the model as GGUF, atomically: matrices as `dtype` (storage.h says which not), vectors as F32,
 * metadata and other tensors as they were (of an adapter: its own alone), without those that begin with
 * "train.". `extras` may be NULL. Errors: those of gguf_write.h.
 */
millet_status mlt_trainable_write(const struct mlt_trainable *trainable, const char *path, mlt_dtype dtype,
                                  const struct mlt_extras *extras, millet_error *err);

#endif
