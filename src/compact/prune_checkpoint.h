/*
 * A pruned model as a checkpoint, whose tensors are cut out of the old one's when they are read.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_PRUNE_CHECKPOINT_H
#define MLT_PRUNE_CHECKPOINT_H

#include "compact/prune_select.h"

/*
 * `from` must outlive the result, and its shapes must be those that `config` asks for (mlt_trainable_open has
 * checked them). Matrices are of type `storage`, or where that is MLT_DTYPE_LIMIT of their own type, F16
 * where it is quantised; vectors keep their type. Metadata are those of the old model where they still hold:
 * sizes of heads are written out, and what follows from the width by convention (Gemma's scale of embeddings)
 * is made up for in the weights. Errors: UNSUPPORTED (a tensor within a block that is not known; a model
 * whose arithmetic would change), BAD_FORMAT (a tensor of another shape), those of mlt_vocabulary_write,
 * NO_MEMORY. Reading ends BAD_FORMAT, naming the tensor, where a value is not finite or too large for its
 * type.
 */
millet_status mlt_prune_checkpoint(const struct mlt_checkpoint *from, const struct mlt_config *config,
                                   const struct mlt_prune_selection *selection, mlt_dtype storage,
                                   struct mlt_checkpoint **out, millet_error *err);

#endif
