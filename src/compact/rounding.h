/*
 * An importance file at hand while a checkpoint's tensors are encoded.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_ROUNDING_H
#define MLT_ROUNDING_H

#include "compact/encode_tensor.h"
#include "format/imatrix.h"

enum { MLT_KEPT_FACTORS = 2 };

struct mlt_calibrated {
    millet_allocator allocator;
    struct mlt_imatrix *imatrix; /* NULL: none, and every tensor is rounded by itself */
    const char *path;
    bool feedback;
    float *importance; /* of the tensor at hand */
    size_t capacity;
    /* Factors of the inputs that were asked for last: neighbours in a file share them. */
    struct mlt_feedback factors[MLT_KEPT_FACTORS];
    int next_factor;
};

/*
 * `path` NULL: no importance file. Errors: those of reading one; BAD_ARGUMENT where none of its matrices is
 * one of the checkpoint's, or one has another width (naming it).
 */
millet_status mlt_calibrated_open(struct mlt_calibrated *calibrated, const millet_allocator *allocator,
                                  const char *path, bool feedback, const struct mlt_checkpoint *checkpoint,
                                  millet_error *err);
void mlt_calibrated_close(struct mlt_calibrated *calibrated);

/* What is known of the tensor's inputs; valid until the next call. Errors: NO_MEMORY, BAD_FORMAT (naming it).
 */
millet_status mlt_calibrated_rounding(struct mlt_calibrated *calibrated, const struct mlt_tensor *tensor,
                                      struct mlt_thread_pool *pool, struct mlt_rounding *rounding,
                                      millet_error *err);

#endif
