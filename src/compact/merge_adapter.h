/*
 * Adapters made part of a checkpoint: its tensors become W + c * B A when they are read.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_MERGE_ADAPTER_H
#define MLT_MERGE_ADAPTER_H

#include "format/adapter_file.h"

/*
 * Each matrix of `base` that the adapter has a pair for becomes F32, assembled on reading: memory does not
 * grow. The adapter's checkpoint, and what `adapter` points to, must outlive the base. Several adapters may
 * follow each other. Errors: BAD_ARGUMENT (a scale that is not finite), NO_MEMORY; reading a tensor may fail
 * for want of memory too.
 */
millet_status mlt_merge_adapter(struct mlt_checkpoint *base, const struct mlt_adapter_file *adapter,
                                float scale, millet_error *err);

#endif
