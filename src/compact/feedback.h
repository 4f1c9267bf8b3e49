/*
 * Rounding a matrix's rows so that its products change least, on the inputs that calibration has seen.
 *
 * With H the mean of x x^T over the inputs and d = q - w the change of a row, the square of a product changes
 * by d^T H d in the mean. H = M^T D M with M unit lower triangular and D diagonal, so that this is
 *
 *     sum over j of D_j (d_j + sum over k < j of M_jk d_k)^2
 *
 * Columns are rounded from the first to the last, each to what is nearest to w_j - sum M_jk d_k: errors that
 * were made are made up for by the columns that follow (LDLQ: Chee et al., 2023; the same as GPTQ: Frantar et
 * al., 2022). A block's scales are fitted, weighted by H's diagonal, to what its columns should then be.
 * After that codes move by one while the whole becomes less. A row keeps the codes of rounding alone where
 * these are better.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_FEEDBACK_H
#define MLT_FEEDBACK_H

#include "base/thread_pool.h"
#include "tensor/dtype.h"

struct mlt_feedback {
    millet_allocator allocator;
    int64_t n;         /* columns */
    const float *gram; /* whose factor this is: [n][n], times `scale` */
    float *h;          /* [n][n] with damping */
    float *m;          /* [n][n] the lower triangle of M; the diagonal is D */
    float *importance; /* [n] the diagonal of h */
};

/*
 * Factors the sum of products gram[n][n] over `count` tokens. Damping adds a hundredth of the mean diagonal
 * to it; more where that is not enough. The same for every number of threads. Errors: NO_MEMORY, BAD_FORMAT
 * (it is no sum of products).
 */
millet_status mlt_feedback_open(struct mlt_feedback *feedback, const millet_allocator *allocator,
                                const float *gram, double count, int64_t n, struct mlt_thread_pool *pool,
                                millet_error *err);
void mlt_feedback_close(struct mlt_feedback *feedback);

/* Floats that mlt_feedback_round needs as scratch. */
uint64_t mlt_feedback_scratch(int64_t n);
/*
 * Rounds one row w[n] to `bytes` of the dtype, whose mlt_code_count must not be 0. Returns the loss d^T H d.
 * Finite values only.
 */
double mlt_feedback_round(const struct mlt_feedback *feedback, mlt_dtype dtype, const float *w,
                          uint8_t *bytes, float *scratch);

#endif
