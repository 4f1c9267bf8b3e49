/*
 * The operations that training is made of, each with its gradient: a table of functions that one file of
 * loops (ops_loops.h) fills for every instruction set. Together with products.h this is the seam for another
 * device: what lies above it only moves pointers.
 *
 * Shapes: a "row" is one token (or one head of one token) of `n` values. Functions work on rows [begin, end)
 * or columns [begin, end) and never sum across the threads' shares, so results do not depend on the number of
 * threads. They do depend on the instruction set in the last bits: training is exempt from
 * docs/arithmetic.md.
 *
 * The element is float; the tests compile the same loops for double and compare each gradient with central
 * differences.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_OPS_H
#define MLT_OPS_H

#include "model/config.h"

#ifndef MLT_REAL
#define MLT_REAL float
#endif
typedef MLT_REAL mlt_real;

/* ---- Matrix products ---- */

/* A matrix read in place: element (row, column) is data[row * ld + column], or data[column * ld + row]. */
struct mlt_operand {
    const mlt_real *data;
    int64_t ld;
    bool transposed;
};

/* ---- Norms ---- */

/*
 * y = (x - mean) * rstd * weight + bias for each row; mean is 0 for RMS norm (Zhang and Sennrich, 2019). Row
 * r uses weight row r % weight_rows: heads may have weights of their own. Forward writes rstd[row] and, for
 * LayerNorm, mean[row]; the gradients read them.
 */
struct mlt_norm {
    enum mlt_norm_kind kind;
    int64_t n, weight_rows;
    mlt_real eps;
    const mlt_real *x, *weight, *bias; /* bias may be NULL */
    mlt_real *y;                       /* forward; may be x */
    mlt_real *mean, *rstd;             /* [rows]; mean may be NULL for RMS norm */
    const mlt_real *dy;
    mlt_real *dx;              /* may be dy */
    bool add;                  /* dx += instead of dx = */
    mlt_real *dweight, *dbias; /* += ; either may be NULL */
    int64_t rows;              /* of the weight gradient */
};

/* ---- Rotary positions ---- */

/* x in place, rows of `heads` heads; the row at position p of a sequence uses row p of cosine and sine
 * [.][pairs]. */
struct mlt_rotation {
    enum mlt_rope_kind kind;
    int32_t heads, head_size, pairs;
    const int32_t *position; /* [rows] */
    const mlt_real *cosine, *sine;
    mlt_real *x;
    bool backward; /* rotates back: the transposed rotation */
};

/* ---- Attention ---- */

enum { MLT_QUERY_BLOCK = 64 };

/*
 * Softmax attention of one sequence and one key head with its group of query heads; scores are
 * cap * tanh(scale * q . k / cap) where there is a cap. Position i sees the keys from max(first[i], i -
 * window + 1) (window 0: from first[i]) to last[i]. Probabilities are not kept: log_sum [length][n_heads] is
 * enough to form them again (Dao et al., 2022).
 */
struct mlt_attention {
    int32_t length, n_heads, n_kv_heads, head_size, value_size, window;
    mlt_real scale, softcap;
    const int32_t *first, *last; /* [length] */
    const mlt_real *q, *k, *v;   /* [length][heads * size] */
    mlt_real *out, *log_sum;     /* out: [length][n_heads * value_size]; read by the gradient */
    const mlt_real *dout;
    mlt_real *dq, *dk, *dv; /* set, not added to */
    mlt_real *scratch;      /* mlt_attention_scratch values */
};

/* ---- Feed-forward ---- */

/* h = act(gate) * up, or act(gate) where up is NULL; n values in one piece. Backward overwrites gate and up
 * with their gradients. */
struct mlt_gate {
    enum mlt_activation activation;
    mlt_real *gate, *up;
    mlt_real *h;
    const mlt_real *dh;
};

/* ---- Loss ---- */

/*
 * Cross-entropy of one row of logits with its softmax, after logit scale and softcap; z_loss * log_sum^2 is
 * added (de Brebisson and Vincent, 2016; PaLM uses 1e-4). The row is overwritten with grad_scale times the
 * gradient where `backward`.
 */
struct mlt_cross_entropy {
    int64_t n_vocab;
    mlt_real logit_scale, softcap, z_loss, grad_scale;
    bool backward;
};

struct mlt_row_loss {
    double nll, z;     /* -ln p(target), and log_sum^2 */
    double divergence; /* of the teacher's distribution from the row's; 0 where there is no teacher */
};

/* ---- Distillation ---- */

/*
 * What a teacher says about a row: probabilities, softened, that sum to 1. Either all of them (ids NULL: p
 * has n_vocab values, rest is 0), or those of k < n_vocab tokens, whose ids rise, and that of all others
 * together.
 */
struct mlt_soft_target {
    const mlt_real *p;
    const int32_t *ids;
    int64_t k;
    mlt_real rest;
    double negative_entropy; /* sum of p ln p, rest included */
    mlt_real *scratch;       /* [k], where there are ids */
};

/*
 * (1 - alpha) times cross-entropy, plus alpha T^2 times the divergence of the teacher's distribution from the
 * student's, both softened by the temperature T (Hinton et al., 2015). With ids, the tokens that are not
 * among them count as one event, so that it is a divergence in any case. z_loss is as it was.
 */
struct mlt_distillation {
    mlt_real alpha, temperature;
};

/*
 * How the positions of a sequence relate in one head of queries, keys or values: the softmax over j of
 * a_i . a_j / sqrt(size), for the j that i sees (first[i] to last[i]), and the divergence of the student's
 * from the teacher's, whose heads may be of another size (MiniLMv2: Wang et al., 2021).
 */
struct mlt_relation {
    int64_t length, size, ld, their_size, their_ld;
    const int32_t *first, *last; /* [length] */
    const mlt_real *weight;      /* [length] what position i counts; 0: it is not compared */
    const mlt_real *a, *theirs; /* [length][ld] and [length][their_ld], of which the head's values are read */
    mlt_real grad_scale;
    mlt_real *da;      /* += grad_scale times the gradient, as a; NULL: none is wanted */
    mlt_real *scratch; /* [3 * length] */
};

/* ---- Optimiser ---- */

/* AdamW (Loshchilov and Hutter, 2019) on `count` values; gradients are multiplied by grad_scale first. */
struct mlt_adamw {
    mlt_real rate, beta1, beta2, eps, decay, grad_scale;
    mlt_real correction1, correction2; /* 1 / (1 - beta^step) */
};

/* ---- The table ---- */

struct mlt_ops {
    const char *name;
    /* Products: a panel of the right matrix has `nr` columns, a panel of the left one `mr` rows. */
    int mr, nr;
    /* Packs columns [begin, end) of b (depth x columns) to out[panel][depth][nr]; begin is a multiple of nr,
     * columns beyond `columns` are 0. */
    void (*pack_right)(const struct mlt_operand *b, int64_t depth, int64_t columns, int64_t begin,
                       int64_t end, mlt_real *out);
    /* c[row][column] (ld ldc) = or += a . b for rows [row0, row1) and columns [column0, column1); `packed`
     * holds the columns from column0 on; scratch: mlt_product_scratch(). The sum over depth is taken in the
     * same order for each element wherever it lies. */
    void (*multiply)(const struct mlt_operand *a, int64_t row0, int64_t row1, const mlt_real *packed,
                     int64_t column0, int64_t column1, int64_t depth, bool add, mlt_real *c, int64_t ldc,
                     mlt_real *scratch);
    void (*norm)(const struct mlt_norm *norm, int64_t begin, int64_t end);
    void (*norm_dx)(const struct mlt_norm *norm, int64_t begin, int64_t end);
    void (*norm_dweight)(const struct mlt_norm *norm, int64_t begin, int64_t end); /* columns */
    void (*rotate)(const struct mlt_rotation *rotation, int64_t begin, int64_t end);
    void (*attention)(const struct mlt_attention *attention, int32_t kv_head);
    void (*attention_backward)(const struct mlt_attention *attention, int32_t kv_head);
    void (*gate)(const struct mlt_gate *gate, int64_t begin, int64_t end);
    void (*gate_backward)(const struct mlt_gate *gate, int64_t begin, int64_t end);
    struct mlt_row_loss (*cross_entropy)(const struct mlt_cross_entropy *loss, mlt_real *logits,
                                         int32_t target);
    /* As cross_entropy, with a teacher. */
    struct mlt_row_loss (*distil)(const struct mlt_cross_entropy *loss, const struct mlt_distillation *mix,
                                  const struct mlt_soft_target *soft, mlt_real *logits, int32_t target);
    /* out[n_vocab] += weight * p, p = softmax(logits / temperature) after logit scale and softcap; logits are
     * changed. Returns the sum of p ln p. */
    double (*soften)(const struct mlt_cross_entropy *how, mlt_real temperature, mlt_real weight,
                     mlt_real *logits, mlt_real *out);
    /* The weighted sum of the positions' divergences. */
    double (*relate)(const struct mlt_relation *relation);
    /* y += scale * x */
    void (*add_scaled)(mlt_real *y, const mlt_real *x, mlt_real scale, int64_t begin, int64_t end);
    /* dbias[column] += sum over rows of dy[row][column], columns [begin, end) of n */
    void (*add_rows)(const mlt_real *dy, int64_t rows, int64_t n, mlt_real *dbias, int64_t begin,
                     int64_t end);
    double (*square_sum)(const mlt_real *x, int64_t n);
    void (*adamw)(const struct mlt_adamw *how, mlt_real *weight, const mlt_real *gradient, mlt_real *mean,
                  mlt_real *square, int64_t n);
};

/* Rows of the left matrix and depth that are packed together. */
enum { MLT_PRODUCT_ROWS = 192, MLT_PRODUCT_DEPTH = 256 };

/* Values of scratch that `multiply` needs, and a thread in attention. */
int64_t mlt_product_scratch(void);
int64_t mlt_attention_scratch(int32_t length, int32_t head_size, int32_t value_size);

/* The fastest table that the CPU has and MILLET_CPU allows. */
const struct mlt_ops *mlt_ops_default(void);

extern const struct mlt_ops mlt_ops_scalar;
extern const struct mlt_ops mlt_ops_avx2;
extern const struct mlt_ops mlt_ops_avx512;

#endif
