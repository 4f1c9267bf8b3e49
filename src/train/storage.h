/*
 * What trained weights are stored as: the dtype of each parameter in the file at the end, and the values that
 * such a file gives back. The passes read those; gradients go to the float values behind them as if rounding
 * were not there (the straight-through estimator: Bengio et al., 2013; for ternary weights BitNet b1.58, Ma
 * et al., 2024).
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_STORAGE_H
#define MLT_STORAGE_H

#include "millet/train.h"
#include "train/trainable.h"

/* The dtype of matrices. */
mlt_dtype mlt_storage_dtype(millet_train_storage storage);
/* As options and settings name it: "f32", "q4_0". */
const char *mlt_storage_name(millet_train_storage storage);
/* general.file_type of a file whose matrices are `dtype`. */
uint32_t mlt_storage_file_type(mlt_dtype dtype);

/*
 * The dtype of a parameter where matrices are `dtype`: vectors are F32, and where `dtype` is quantised
 * position embeddings too, as `millet compact` has it. With TQ2_0, token embeddings and the output matrix are
 * Q8_0. Rows that are no multiple of the block length: Q8_0 where they are one of 32, else F16.
 */
mlt_dtype mlt_storage_choose(const struct mlt_parameter *parameter, mlt_dtype dtype);

/* What a file gives back of n values (whole blocks), encoded without importances as `millet compact` does it.
 */
void mlt_storage_round(mlt_dtype dtype, const float *values, float *out, int64_t n);

#endif
