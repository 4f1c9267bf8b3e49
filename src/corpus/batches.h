/*
 * Batches from a mixture of caches, as a source for training.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_BATCHES_H
#define MLT_BATCHES_H

#include "corpus/batch.h"
#include "millet/corpus.h"

/* The source of millet_batches; `batches` must outlive it. fill needs batch->length to be that of the rows
 * (BAD_ARGUMENT) and arrays of batch->rows rows; any number of threads may call it. */
struct mlt_batch_source mlt_batches_source(const millet_batches *batches);

/* As millet_batches_fill, with batch->source where there is one. */
millet_status mlt_batches_fill(const millet_batches *batches, uint64_t step, struct mlt_batch *batch,
                               millet_error *err);

#endif
