/* Stages of a pass, each carried out by all threads. SPDX-License-Identifier: Apache-2.0 */
#include "train/pass_state.h"

#include <string.h>

/* Values of a share: enough that handing it out costs nothing beside it. */
enum { SHARE_VALUES = 1 << 14, SHARE_COLUMNS = 64 };

static int64_t rows_of_share(int64_t width)
{
    return MLT_MAX((int64_t)1, SHARE_VALUES / width);
}

/* A stage's description beside the table that carries it out. */
struct stage {
    const struct mlt_ops *ops;
    const void *what;
};

static void norm_share(const void *argument, int64_t begin, int64_t end)
{
    const struct stage *s = argument;
    s->ops->norm(s->what, begin, end);
}

static void norm_dx_share(const void *argument, int64_t begin, int64_t end)
{
    const struct stage *s = argument;
    s->ops->norm_dx(s->what, begin, end);
}

static void norm_dweight_share(const void *argument, int64_t begin, int64_t end)
{
    const struct stage *s = argument;
    s->ops->norm_dweight(s->what, begin, end);
}

void mlt_pass_norm(struct mlt_pass *pass, struct mlt_norm *norm, int64_t rows)
{
    struct stage s = {pass->workers.ops, norm};
    mlt_for_range(&pass->workers, rows, rows_of_share(norm->n), norm_share, &s);
}

void mlt_pass_norm_backward(struct mlt_pass *pass, struct mlt_norm *norm, int64_t rows)
{
    struct stage s = {pass->workers.ops, norm};
    norm->rows = rows;
    /* Weights first: dx may be dy. */
    if (norm->dweight || norm->dbias)
        mlt_for_range(&pass->workers, norm->n, SHARE_COLUMNS, norm_dweight_share, &s);
    mlt_for_range(&pass->workers, rows, rows_of_share(norm->n), norm_dx_share, &s);
}

static void rotate_share(const void *argument, int64_t begin, int64_t end)
{
    const struct stage *s = argument;
    s->ops->rotate(s->what, begin, end);
}

void mlt_pass_rotate(struct mlt_pass *pass, struct mlt_rotation *rotation)
{
    struct stage s = {pass->workers.ops, rotation};
    int64_t width = (int64_t)rotation->heads * rotation->head_size;
    mlt_for_range(&pass->workers, pass->tokens, rows_of_share(width), rotate_share, &s);
}

struct attention_stage {
    const struct mlt_ops *ops;
    const struct mlt_batch *batch;
    const struct mlt_attention *attention; /* of the whole batch */
    bool backward;
};

static void attention_item(const void *argument, int64_t index, float *scratch)
{
    const struct attention_stage *s = argument;
    struct mlt_attention a = *s->attention;
    int64_t row = index / a.n_kv_heads * s->batch->length;
    a.scratch = scratch;
    a.first = s->batch->begin + row;
    a.last = s->batch->end + row;
    int64_t q = row * a.n_heads * a.head_size, k = row * a.n_kv_heads * a.head_size;
    int64_t v = row * a.n_kv_heads * a.value_size, o = row * a.n_heads * a.value_size;
    a.q += q, a.k += k, a.v += v, a.out += o, a.log_sum += row * a.n_heads;
    if (!s->backward) {
        s->ops->attention(&a, (int32_t)(index % a.n_kv_heads));
        return;
    }
    a.dout += o, a.dq += q, a.dk += k, a.dv += v;
    s->ops->attention_backward(&a, (int32_t)(index % a.n_kv_heads));
}

void mlt_pass_attention(struct mlt_pass *pass, const struct mlt_batch *batch, struct mlt_attention *attention,
                        bool backward)
{
    struct attention_stage s = {pass->workers.ops, batch, attention, backward};
    mlt_for_items(&pass->workers, (int64_t)batch->rows * attention->n_kv_heads, attention_item, &s);
}

static void gate_share(const void *argument, int64_t begin, int64_t end)
{
    const struct stage *s = argument;
    s->ops->gate(s->what, begin, end);
}

static void gate_backward_share(const void *argument, int64_t begin, int64_t end)
{
    const struct stage *s = argument;
    s->ops->gate_backward(s->what, begin, end);
}

void mlt_pass_gate(struct mlt_pass *pass, struct mlt_gate *gate, int64_t count, bool backward)
{
    struct stage s = {pass->workers.ops, gate};
    mlt_for_range(&pass->workers, count, SHARE_VALUES, backward ? gate_backward_share : gate_share, &s);
}

struct sum_stage {
    const struct mlt_ops *ops;
    float *y;
    const float *x;
    float scale;
    int64_t rows, n;
};

static void add_share(const void *argument, int64_t begin, int64_t end)
{
    const struct sum_stage *s = argument;
    s->ops->add_scaled(s->y, s->x, s->scale, begin, end);
}

void mlt_pass_add(struct mlt_pass *pass, float *y, const float *x, float scale, int64_t count)
{
    struct sum_stage s = {.ops = pass->workers.ops, .y = y, .x = x, .scale = scale};
    mlt_for_range(&pass->workers, count, SHARE_VALUES, add_share, &s);
}

static void add_rows_share(const void *argument, int64_t begin, int64_t end)
{
    const struct sum_stage *s = argument;
    s->ops->add_rows(s->x, s->rows, s->n, s->y, begin, end);
}

void mlt_pass_add_rows(struct mlt_pass *pass, const float *dy, int64_t rows, int64_t n, float *dbias)
{
    struct sum_stage s = {.ops = pass->workers.ops, .y = dbias, .x = dy, .rows = rows, .n = n};
    mlt_for_range(&pass->workers, n, SHARE_COLUMNS, add_rows_share, &s);
}

/* ---- Linear layers ---- */

struct decoding {
    const struct mlt_tensor *tensor;
    int64_t row; /* the first */
    float *out;
};

static void decode_share(const void *argument, int64_t begin, int64_t end)
{
    const struct decoding *s = argument;
    for (int64_t r = begin; r < end; r++)
        mlt_decode(s->tensor->dtype, s->tensor->data + (uint64_t)(s->row + r) * s->tensor->row_bytes,
                   s->out + r * s->tensor->ne[0], s->tensor->ne[0]);
}

const float *mlt_pass_matrix(struct mlt_pass *pass, struct mlt_slice matrix)
{
    struct mlt_low_rank_training *low = pass->model->low_rank;
    if (!matrix.mapped) return mlt_weight(pass, matrix);
    const struct mlt_tensor *tensor = low->frozen[matrix.mapped - 1].tensor;
    if (mlt_in_place(tensor)) return (const float *)(const void *)tensor->data + matrix.row * matrix.columns;
    if (low->decoded_mapped == matrix.mapped && low->decoded_row == matrix.row &&
        low->decoded_rows == matrix.rows)
        return low->decoded;
    struct decoding s = {tensor, matrix.row, low->decoded};
    mlt_for_range(&pass->workers, matrix.rows, rows_of_share(matrix.columns), decode_share, &s);
    low->decoded_mapped = matrix.mapped;
    low->decoded_row = matrix.row;
    low->decoded_rows = matrix.rows;
    return low->decoded;
}

static void bias_share(const void *argument, int64_t begin, int64_t end)
{
    const struct sum_stage *s = argument;
    for (int64_t row = begin; row < end; row++)
        memcpy(s->y + row * s->n, s->x, (size_t)s->n * sizeof(float));
}

static void bias_add_share(const void *argument, int64_t begin, int64_t end)
{
    const struct sum_stage *s = argument;
    for (int64_t row = begin; row < end; row++)
        s->ops->add_scaled(s->y + row * s->n, s->x, 1, 0, s->n);
}

/* The pair of a weight: A [rank][columns] and the rows of B [rows][rank] that belong to it. */
struct low_rank {
    int64_t rank;
    float factor; /* alpha / rank */
    const float *a, *b;
    float *da, *db;
};

static struct low_rank low_rank_of(const struct mlt_pass *pass, struct mlt_slice weight)
{
    const struct mlt_trainable *t = pass->model;
    const struct mlt_low_rank_options *o = &t->low_rank->options;
    struct mlt_low_rank_pair pair = t->low_rank->pairs[weight.pair - 1];
    pair.b += weight.row * o->rank;
    return (struct low_rank){o->rank,
                             o->alpha / (float)o->rank,
                             t->weights + pair.a,
                             t->weights + pair.b,
                             t->gradient + pair.a,
                             t->gradient + pair.b};
}

static void scale_share(const void *argument, int64_t begin, int64_t end)
{
    const struct sum_stage *s = argument;
    for (int64_t i = begin; i < end; i++)
        s->y[i] *= s->scale;
}

/* out[rows][columns] = scale * a . b */
static void scaled_product(struct mlt_pass *pass, struct mlt_operand a, struct mlt_operand b, int64_t rows,
                           int64_t columns, int64_t depth, float scale, float *out)
{
    struct sum_stage s = {.y = out, .scale = scale};
    mlt_product(&pass->workers, a, b, rows, columns, depth, false, out, columns);
    mlt_for_range(&pass->workers, rows * columns, SHARE_VALUES, scale_share, &s);
}

/* out += alpha / rank * (x A^T) B^T */
static void add_low_rank(struct mlt_pass *pass, const float *x, int64_t rows, struct mlt_slice weight,
                         float *out)
{
    struct low_rank p = low_rank_of(pass, weight);
    float *low = pass->state->low;
    struct mlt_operand input = {x, weight.columns, false}, a = {p.a, weight.columns, true};
    struct mlt_operand h = {low, p.rank, false}, b = {p.b, p.rank, true};
    scaled_product(pass, input, a, rows, p.rank, weight.columns, p.factor, low);
    mlt_product(&pass->workers, h, b, rows, weight.rows, p.rank, true, out, weight.rows);
}

/* With h = factor * x A^T: dB += dy^T h, dh = factor * dy B, dA += dh^T x, dx += dh A. */
static void low_rank_backward(struct mlt_pass *pass, const float *x, const float *dy, int64_t rows,
                              struct mlt_slice weight, float *dx)
{
    struct low_rank p = low_rank_of(pass, weight);
    float *low = pass->state->low, *d_low = pass->state->d_low;
    struct mlt_operand input = {x, weight.columns, false}, a_turned = {p.a, weight.columns, true};
    struct mlt_operand d = {dy, weight.rows, false}, d_turned = {dy, weight.rows, true};
    struct mlt_operand h = {low, p.rank, false}, a = {p.a, weight.columns, false}, b = {p.b, p.rank, false};
    struct mlt_operand dh = {d_low, p.rank, false}, dh_turned = {d_low, p.rank, true};
    scaled_product(pass, input, a_turned, rows, p.rank, weight.columns, p.factor, low);
    mlt_product(&pass->workers, d_turned, h, weight.rows, p.rank, rows, true, p.db, p.rank);
    scaled_product(pass, d, b, rows, p.rank, weight.rows, p.factor, d_low);
    mlt_product(&pass->workers, dh_turned, input, p.rank, weight.columns, rows, true, p.da, weight.columns);
    if (dx) mlt_product(&pass->workers, dh, a, rows, weight.columns, p.rank, true, dx, weight.columns);
}

void mlt_pass_linear(struct mlt_pass *pass, const float *x, int64_t rows, struct mlt_slice weight,
                     struct mlt_slice bias, bool add, float *out)
{
    if (mlt_has(bias)) {
        struct sum_stage s = {
            .ops = pass->workers.ops, .y = out, .x = mlt_weight(pass, bias), .n = weight.rows};
        mlt_for_range(&pass->workers, rows, rows_of_share(weight.rows), add ? bias_add_share : bias_share,
                      &s);
        add = true;
    }
    struct mlt_operand a = {x, weight.columns, false},
                       b = {mlt_pass_matrix(pass, weight), weight.columns, true};
    mlt_product(&pass->workers, a, b, rows, weight.rows, weight.columns, add, out, weight.rows);
    if (weight.pair) add_low_rank(pass, x, rows, weight, out);
}

void mlt_pass_linear_backward(struct mlt_pass *pass, const float *x, const float *dy, int64_t rows,
                              struct mlt_slice weight, struct mlt_slice bias, bool add, float *dx)
{
    struct mlt_operand d = {dy, weight.rows, false}, d_turned = {dy, weight.rows, true};
    struct mlt_operand input = {x, weight.columns, false},
                       w = {mlt_pass_matrix(pass, weight), weight.columns, false};
    if (!pass->model->low_rank)
        mlt_product(&pass->workers, d_turned, input, weight.rows, weight.columns, rows, true,
                    mlt_gradient(pass, weight), weight.columns);
    if (mlt_has(bias) && !pass->model->low_rank)
        mlt_pass_add_rows(pass, dy, rows, weight.rows, mlt_gradient(pass, bias));
    if (dx) mlt_product(&pass->workers, d, w, rows, weight.columns, weight.rows, add, dx, weight.columns);
    if (weight.pair) low_rank_backward(pass, x, dy, rows, weight, dx);
}
