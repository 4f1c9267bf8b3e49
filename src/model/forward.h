/*
 * The forward pass of a described decoder over a key-value cache, and the memory that it needs.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_FORWARD_H
#define MLT_FORWARD_H

#include "model/adapter.h"

struct mlt_forward_options {
    int32_t n_ctx, n_sequences, n_batch, n_logits,
        n_threads;   /* all >= 1: the session has made them definite */
    mlt_dtype cache; /* MLT_F16, MLT_F32, MLT_Q8_0 or MLT_IQ4_NL */
    bool exact_activations;
    const millet_adapter_use *adapters; /* [n_adapters], read when the pass is opened */
    int32_t n_adapters;
    /* Threads of another forward pass that is never at work at the same time, and is closed later; NULL:
     * threads of its own. n_threads is their number. */
    struct mlt_thread_pool *pool;
};

struct mlt_forward_memory {
    uint64_t cache, workspace;
    uint64_t threads; /* part of the workspace that is not needed with the threads of another */
};

struct mlt_forward;

/* What mlt_forward_open would allocate; overflow is BAD_ARGUMENT. */
millet_status mlt_forward_estimate(const millet_model *model, const struct mlt_forward_options *options,
                                   struct mlt_forward_memory *memory, millet_error *err);
millet_status mlt_forward_open(const millet_allocator *allocator, const millet_model *model,
                               const struct mlt_forward_options *options, struct mlt_forward **out,
                               millet_error *err);
void mlt_forward_close(struct mlt_forward **forward);

/*
 * Computes `count` items (at most n_batch; any mixture of sequences, each sequence's tokens in order) and
 * appends their keys and values. The rows of logits that the items ask for, at most n_logits, are written to
 * logits[wanted][n_vocab], the caller's, in the order of the items (NULL where none is wanted). The caller
 * has checked tokens, sequences, room and the number of rows. Allocates nothing.
 */
void mlt_forward_run(struct mlt_forward *forward, const millet_item *items, int32_t count, float *logits);
/* The same, but each item also sees the later ones of its sequence (a prefix: Raffel et al., 2020). */
void mlt_forward_run_prefix(struct mlt_forward *forward, const millet_item *items, int32_t count,
                            float *logits);

/* From now on `observer` (NULL: nobody) is told of the inputs of all products with weights. */
void mlt_forward_observe(struct mlt_forward *forward, mlt_product_observer *observer, void *context);

/* Its threads, to lend them; NULL where it works on the caller's alone. */
struct mlt_thread_pool *mlt_forward_pool(const struct mlt_forward *forward);

/* Number of positions in a sequence; cutting it; copying. */
int32_t mlt_forward_length(const struct mlt_forward *forward, int32_t sequence);
void mlt_forward_truncate(struct mlt_forward *forward, int32_t sequence, int32_t length);
void mlt_forward_copy(struct mlt_forward *forward, int32_t from, int32_t to);

#endif
