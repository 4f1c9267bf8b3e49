/*
 * Encoding a tensor on a pool of threads, in pieces: memory does not grow with the tensor.
 *
 * A row is cut into segments of at most 4096 elements, a multiple of every block length; blocks are encoded
 * independently of each other, so that the bytes do not depend on the cut or on the number of threads.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_ENCODE_TENSOR_H
#define MLT_ENCODE_TENSOR_H

#include "base/thread_pool.h"
#include "compact/feedback.h"
#include "format/checkpoint.h"

enum { MLT_SEGMENT_ELEMENTS = 4096, MLT_GROUP_SEGMENTS = 256 };

struct mlt_encoder {
    millet_allocator allocator;
    struct mlt_thread_pool *pool;
    struct mlt_segment *segments; /* [MLT_GROUP_SEGMENTS], computed together */
    uint8_t *out;                 /* their bytes in the new dtype */
    float *values;                /* per thread: two segments */
    uint8_t *rows;                /* rows of a tensor that is assembled on reading, or NULL */
    uint64_t rows_size;
};

/* Errors: BAD_ARGUMENT (threads), NO_MEMORY. n_threads 0: the CPUs of the process. */
millet_status mlt_encoder_open(struct mlt_encoder *encoder, const millet_allocator *allocator, int n_threads,
                               millet_error *err);
void mlt_encoder_close(struct mlt_encoder *encoder);

/* Sums over the elements of a tensor. */
struct mlt_encode_error {
    double squares;    /* of the elements */
    double difference; /* squares of the differences that encoding made */
};

/* How rows are rounded where calibration says what their inputs are. */
struct mlt_rounding {
    const float *importance;             /* [slices][columns]; NULL: every element counts the same */
    uint64_t slice_rows;                 /* rows of a slice: of an expert, or all */
    const struct mlt_feedback *feedback; /* NULL: none; it has as many columns */
};

/* Takes the next bytes of the tensor in its new dtype; `elements` more are done. */
typedef millet_status mlt_encode_sink(void *context, const void *bytes, uint64_t size, uint64_t elements,
                                      millet_error *err);

/*
 * Encodes the tensor as `to` (its rows hold whole blocks of it) or, where it is of that dtype, copies it.
 * `rounding` may be NULL; with feedback, memory for some whole rows is taken meanwhile. Errors: BAD_ARGUMENT
 * naming tensor and element where a value is NaN or infinite, or becomes so; those of reading; those of the
 * sink.
 */
millet_status mlt_encode_tensor(struct mlt_encoder *encoder, const struct mlt_tensor *tensor, mlt_dtype to,
                                const struct mlt_rounding *rounding, mlt_encode_sink *sink, void *context,
                                struct mlt_encode_error *error, millet_error *err);

#endif
