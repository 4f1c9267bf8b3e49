/*
 * The state of a forward pass: what forward.c, attention.c and experts.c share.
 *
 * Shapes: B = n_batch rows (a row is one token of the batch), E = n_embd, F = n_ff, V = n_vocab, X =
 * n_experts, U = n_experts_used, Hq = n_heads * head_size, Hk = n_kv_heads * head_size, Hv = n_kv_heads *
 * value_size, Ho = n_heads * value_size, P = rope_size / 2.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_FORWARD_STATE_H
#define MLT_FORWARD_STATE_H

#include "model/adapter.h"
#include "model/forward.h"
#include "model/kv_cache.h"

#include <stdatomic.h>

/* Two sets of frequencies at most: of global and of local layers. */
enum { MLT_ROPE_TABLES = 2 };

struct mlt_rope_table {
    double *frequency;    /* [P] */
    float magnitude;      /* of rotated vectors */
    float *cosine, *sine; /* [B][P], of the positions in the batch */
};

/* The room that products with adapters need. */
struct mlt_adapter_room {
    int64_t rank; /* the largest; 0: there are no adapters */
    int64_t add;  /* floats */
};

/* Products of one run that adapters may be added to. */
enum { MLT_ADAPTED_PRODUCTS = 3 };

struct mlt_forward {
    millet_allocator allocator;
    const millet_model *model;
    const struct mlt_kernels *kernels;
    struct mlt_forward_options options;
    struct mlt_thread_pool *pool; /* NULL for one thread */
    struct mlt_matmul matmul;
    struct mlt_kv_cache cache;
    void *block; /* everything below that is a pointer */
    uint64_t block_bytes;
    bool large_pages; /* have been asked for: by the first large batch */

    float *x;      /* [B][E] the residual stream */
    float *normed; /* [B][E] input of a branch */
    float *branch; /* [B][E] output of a branch */
    /* The buffers of attention and those of the feed-forward are never needed together: they overlap. */
    float *q, *k, *v, *attended; /* [B][Hq], [B][Hk], [B][Hv], [B][Ho] */
    float *gate, *up;            /* [B][F] each */
    float *attention;            /* [n_threads][mlt_attention_floats] */
    struct mlt_rope_table rope[MLT_ROPE_TABLES];
    int n_rope_tables;

    /* Adapters only. */
    millet_adapter_use adapters[MILLET_MAX_ADAPTERS];
    struct mlt_adapter_room adapter_room;
    float *adapter_low; /* [MLT_ADAPTED_PRODUCTS][B][rank] */
    float *adapter_add; /* rows of an output, as many as there is room for */

    /* Experts only. */
    float *router;                       /* [B][X] */
    float *expert_weight;                /* [B][U] */
    int32_t *expert_chosen;              /* [B][U] */
    float *expert_input, *expert_output; /* [B][E] */
    int32_t *expert_row;                 /* [B] rows that chose the expert at hand */
    float *expert_row_weight;            /* [B] */

    int32_t *lengths;                     /* [n_sequences] */
    int32_t *token, *position, *sequence; /* [B] of the rows */
    int32_t *seen;                        /* [B] positions up to which a row sees, itself included */
    int32_t *wanted;                      /* [B] rows whose logits are wanted, ascending */

    /*
     * False once a value that is not finite in the cache's dtype has been stored; attention then computes
     * rows one by one (see attention.c).
     */
    atomic_bool finite_values;

    /* The batch at hand; logits [n_wanted][V] are the caller's. */
    float *logits;
    int32_t rows, n_wanted, layer;
    int32_t *tile; /* [B + 1] first rows of attention's tiles, and the end */
    int32_t n_tiles;
    _Atomic int64_t next_item; /* of attention */
};

/* Work on rows [begin, end) that touches no other row's results. */
typedef void mlt_row_stage(struct mlt_forward *f, int64_t begin, int64_t end);
/* Runs a stage on rows [0, rows), split over the threads where there are enough of them. */
void mlt_for_rows(struct mlt_forward *f, int64_t rows, mlt_row_stage *stage);

/* Floats of scratch that a thread needs for attention. */
int64_t mlt_attention_floats(const struct mlt_config *config, mlt_dtype cache, int32_t n_ctx);
/* attention.c: attends from q over the cache to `attended`, for all rows of layer f->layer. */
void mlt_attention_run(struct mlt_forward *f);

/* adapted_product.c: the room for the options' adapters; products of x with f->rows rows, where product i is
 * with the matrix of slots[i] in layer f->layer, and what adapters add to them. n <= MLT_ADAPTED_PRODUCTS. */
struct mlt_adapter_room mlt_adapter_room(const struct mlt_forward_options *options);
void mlt_adapted_products(struct mlt_forward *f, const float *x, int64_t ldx,
                          const struct mlt_product *products, const enum mlt_adapter_slot *slots, int n);

/* experts.c: branch = the mixture of experts of normed, for all rows of layer f->layer. */
void mlt_experts_run(struct mlt_forward *f);

#endif
