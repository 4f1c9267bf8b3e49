/*
 * A model one of whose matrices at a time can be rounded, and how far its predictions then are from those of
 * the model as it is.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_PLAN_PROBE_H
#define MLT_PLAN_PROBE_H

#include "compact/encode_tensor.h"
#include "model/model.h"

struct mlt_probe {
    millet_allocator allocator;
    millet_model *model;
    struct mlt_encoder encoder;
    millet_session *session;
    int32_t *tokens; /* [n_windows][n_ctx], the last may be shorter */
    int64_t n_tokens;
    int32_t n_ctx, n_rows;
    millet_item *items;     /* [n_rows] */
    float *base;            /* [n_tokens][n_vocab]: logits of the model as it is */
    double *base_sum;       /* [n_tokens]: ln of the sum of their exponentials */
    double *scores;         /* [n_tokens] */
    float *values;          /* the rounded matrix */
    size_t values_capacity; /* elements */
    uint64_t fingerprint;
    bool exact; /* there are quantised matrices: multiply them with floats */
};

struct mlt_probe_options {
    const char *text;
    size_t text_length;
    int32_t n_ctx;      /* 0: 256, or the trained context if that is less */
    int64_t max_tokens; /* 0: 1024 */
    int32_t n_threads;
};

/*
 * Owns the checkpoint from then on, also when this fails (then all is released). Tensors that are assembled
 * on reading are read into memory.
 */
millet_status mlt_probe_open(struct mlt_probe *probe, const millet_allocator *allocator,
                             struct mlt_checkpoint *checkpoint, const struct mlt_probe_options *options,
                             millet_error *err);
void mlt_probe_close(struct mlt_probe *probe);

/* What rounding tensor `index` to `dtype` does to its values alone. */
millet_status mlt_probe_round(struct mlt_probe *probe, size_t index, mlt_dtype dtype,
                              struct mlt_encode_error *error, millet_error *err);
/* The mean divergence in nats with the values of the last mlt_probe_round, which was of this tensor. */
millet_status mlt_probe_measure(struct mlt_probe *probe, size_t index, double *kl, millet_error *err);

#endif
