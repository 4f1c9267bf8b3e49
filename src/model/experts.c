/*
 * A feed-forward of experts (Shazeer et al., 2017; Jiang et al., 2024): each row goes through the few experts
 * that a router gives the highest scores, and the results are added with the router's weights.
 *
 * A row's result is the sum over its experts in ascending order of their numbers, so it does not depend on
 * the rows beside it.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "model/forward_state.h"

#include <string.h>

/* Softmax over all experts; the best U of them (the lower number among equals), renormalised to sum to one.
 */
static void choose(struct mlt_forward *f, int64_t begin, int64_t end)
{
    const struct mlt_config *c = &f->model->config;
    int32_t n = c->n_experts, used = c->n_experts_used;
    for (int64_t row = begin; row < end; row++) {
        float *p = f->router + row * n;
        int32_t *chosen = f->expert_chosen + row * used;
        float *weight = f->expert_weight + row * used;
        f->kernels->softmax(p, n, NULL);
        float sum = 0;
        for (int32_t u = 0; u < used; u++) {
            int32_t best = -1;
            for (int32_t e = 0; e < n; e++) {
                bool taken = false;
                for (int32_t i = 0; i < u; i++)
                    taken |= chosen[i] == e;
                /* The first that is left stands even where all are NaN. */
                if (!taken && (best < 0 || p[e] > p[best])) best = e;
            }
            chosen[u] = best;
            weight[u] = p[best];
            sum += p[best];
        }
        if (c->expert_renormalise) {
            for (int32_t u = 0; u < used; u++)
                weight[u] /= sum;
        }
        memset(f->branch + row * c->n_embd, 0, (size_t)c->n_embd * sizeof(float));
    }
}

/* Collects the inputs of the rows that chose the expert at hand. */
static void gather(struct mlt_forward *f, int64_t begin, int64_t end)
{
    int64_t n_embd = f->model->config.n_embd;
    for (int64_t i = begin; i < end; i++)
        memcpy(f->expert_input + i * n_embd, f->normed + f->expert_row[i] * n_embd,
               (size_t)n_embd * sizeof(float));
}

static void activate(struct mlt_forward *f, int64_t begin, int64_t end)
{
    const struct mlt_config *c = &f->model->config;
    mlt_gate_kernel *act = c->activation == MLT_ACT_SILU ? f->kernels->silu : f->kernels->gelu;
    int64_t first = begin * c->n_ff;
    act(f->gate + first, f->up + first, (end - begin) * c->n_ff, f->gate + first);
}

static void add_weighted(struct mlt_forward *f, int64_t begin, int64_t end)
{
    int64_t n_embd = f->model->config.n_embd;
    for (int64_t i = begin; i < end; i++) {
        const float *y = f->expert_output + i * n_embd;
        float *sum = f->branch + f->expert_row[i] * n_embd, weight = f->expert_row_weight[i];
        for (int64_t j = 0; j < n_embd; j++)
            sum[j] += weight * y[j];
    }
}

/* Lists the rows that chose expert e, in order, with its weight in each. */
static int32_t rows_of_expert(struct mlt_forward *f, int32_t e)
{
    int64_t used = f->model->config.n_experts_used;
    int32_t count = 0;
    for (int32_t row = 0; row < f->rows; row++) {
        for (int64_t u = 0; u < used; u++) {
            if (f->expert_chosen[row * used + u] != e) continue;
            f->expert_row[count] = row;
            f->expert_row_weight[count++] = f->expert_weight[row * used + u];
        }
    }
    return count;
}

void mlt_experts_run(struct mlt_forward *f)
{
    const struct mlt_config *c = &f->model->config;
    const struct mlt_layer *layer = &f->model->weights.layers[f->layer];
    struct mlt_product route = {&layer->router, NULL, f->router, c->n_experts};
    mlt_matmul_run(&f->matmul, f->normed, c->n_embd, f->rows, &route, 1);
    mlt_for_rows(f, f->rows, choose);
    for (int32_t e = 0; e < c->n_experts; e++) {
        int32_t rows = rows_of_expert(f, e);
        if (rows == 0) continue;
        mlt_for_rows(f, rows, gather);
        struct mlt_product in[] = {{&layer->e_gate[e], NULL, f->gate, c->n_ff},
                                   {&layer->e_up[e], NULL, f->up, c->n_ff}};
        mlt_matmul_run(&f->matmul, f->expert_input, c->n_embd, rows, in, 2);
        mlt_for_rows(f, rows, activate);
        struct mlt_product down = {&layer->e_down[e], NULL, f->expert_output, c->n_embd};
        mlt_matmul_run(&f->matmul, f->gate, c->n_ff, rows, &down, 1);
        mlt_for_rows(f, rows, add_weighted);
    }
}
