/*
 * The matrix product over the kernel table: what the forward pass calls.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_MATMUL_H
#define MLT_MATMUL_H

#include "base/thread_pool.h"
#include "kernels/kernels.h"

/*
 * Multiply-adds below which the caller is done before other threads have begun; small models would spend
 * their time on waking threads, and much more where another process has a core.
 */
enum { MLT_WORTH_SHARING = 1 << 17 };

/* A weight matrix W[rows][columns] in place. */
struct mlt_matrix {
    const uint8_t *data; /* row r at data + r * row_bytes; NULL: absent */
    uint64_t row_bytes;
    int64_t rows, columns;
    mlt_dtype dtype;
};

/* One product: out[t * ld + r] = W[r] . x[t] (+ bias[r], rounded by itself, where bias is not NULL). */
struct mlt_product {
    const struct mlt_matrix *w;
    const float *bias; /* [w->rows] or NULL */
    float *out;
    int64_t ld;
};

/* Told of the inputs x[tokens][ldx] of products before they are computed; on the caller's thread. */
typedef void mlt_product_observer(void *context, const float *x, int64_t ldx, int64_t tokens,
                                  const struct mlt_product *products, int n_products);

/*
 * Workspace of the products of one context: reserve it once for the largest input, then no product allocates.
 * exact_activations: quantised weights are decoded and multiplied with float activations (slow; for
 * comparisons).
 */
struct mlt_matmul {
    const struct mlt_kernels *kernels;
    struct mlt_thread_pool *pool; /* NULL: the caller alone */
    bool exact_activations;
    mlt_product_observer *observer; /* NULL: none */
    void *observing;
    millet_allocator allocator;
    void *block;      /* activations in both block sizes, then the threads' scratch */
    uint64_t bytes;   /* of the block */
    uint8_t *threads; /* per thread: panels and accumulators */
    uint64_t thread_bytes;
    int64_t max_tokens, max_columns;
};

/* Bytes that mlt_matmul_open takes. */
uint64_t mlt_matmul_bytes(int64_t max_tokens, int64_t max_columns, int threads);
millet_status mlt_matmul_open(struct mlt_matmul *matmul, const millet_allocator *allocator,
                              const struct mlt_kernels *kernels, struct mlt_thread_pool *pool,
                              int64_t max_tokens, int64_t max_columns, millet_error *err);
void mlt_matmul_close(struct mlt_matmul *matmul);

/*
 * Multiplies `tokens` rows of x (ldx floats apart; all products have the same number of columns) with one to
 * eight matrices. The result does not depend on tokens, on the number of products, or on threads. columns <=
 * max_columns, tokens <= max_tokens.
 */
void mlt_matmul_run(struct mlt_matmul *matmul, const float *x, int64_t ldx, int64_t tokens,
                    const struct mlt_product *products, int n_products);

/*
 * Whether sixteen rows are better multiplied with so many tokens straight from their layout, by
 * mlt_rows_multiply, than by way of panels.
 */
bool mlt_rows_are_better(const struct mlt_kernels *kernels, mlt_dtype dtype, int64_t tokens);
/* Row r times tokens [0, tokens) of act to y[t * ld + r], where mlt_rows_are_better. */
void mlt_rows_multiply(const struct mlt_kernels *kernels, mlt_dtype dtype,
                       const uint8_t *const rows[MLT_PANEL_ROWS], const struct mlt_act *act, int tokens,
                       float *y, int64_t ld);

#endif
