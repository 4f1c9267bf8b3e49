/*
 * Low-rank adapters beside a model's weights, and matrix products with them.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_ADAPTER_H
#define MLT_ADAPTER_H

#include "format/adapter_file.h"
#include "model/model.h"

/* Matrices that can have an adapter: of a block, and the output matrix. */
enum mlt_adapter_slot {
    MLT_SLOT_Q,
    MLT_SLOT_K,
    MLT_SLOT_V,
    MLT_SLOT_O,
    MLT_SLOT_GATE,
    MLT_SLOT_UP,
    MLT_SLOT_DOWN,
    MLT_LAYER_SLOTS,
    MLT_SLOT_OUTPUT = MLT_LAYER_SLOTS,
};

/* A [rank][columns of W], B [rows of W][rank], in place; no data: absent. */
struct mlt_low_rank {
    struct mlt_matrix a, b;
};

struct millet_adapter {
    millet_allocator allocator;
    const millet_model *model;
    struct mlt_checkpoint *checkpoint; /* owned */
    struct mlt_arena arena;            /* of what follows */
    struct mlt_adapter_file file;
    struct mlt_low_rank (*layers)[MLT_LAYER_SLOTS]; /* [n_layers] */
    struct mlt_low_rank output;
    int64_t max_rank, max_rows; /* over all pairs */
};

/* As for the engine's public function; takes over the adapter's checkpoint, also when this fails. */
millet_status mlt_adapter_from_checkpoint(const millet_model *model, struct mlt_checkpoint *checkpoint,
                                          millet_adapter **out, millet_error *err);

#endif
