/* Cross-entropy over the vocabulary, some rows at a time. SPDX-License-Identifier: Apache-2.0 */
#include "train/loss.h"

#include "train/pass_state.h"

#include <string.h>

/* Logits that exist at a time, in values (64 MB), but for this many rows at least: the gradient of the output
 * matrix is read and written once for so many. */
enum { CHUNK_VALUES = 1 << 24, CHUNK_LEAST_ROWS = 128 };

struct cross_entropy {
    millet_allocator allocator;
    int64_t chunk_rows;
    float z_loss;
    float *logits;             /* [chunk_rows][n_vocab] */
    float *input, *gradient;   /* [chunk_rows][n_embd] */
    int64_t *row;              /* [chunk_rows] of the batch */
    struct mlt_row_loss *loss; /* [chunk_rows] */
    struct mlt_soft_labels labels;
    struct mlt_distillation mix;
    struct mlt_soft_target *soft; /* [chunk_rows]; NULL where there is no teacher */
};

static int64_t chunk_rows(const struct mlt_config *c, int64_t tokens)
{
    return MLT_MIN(tokens, MLT_MAX((int64_t)CHUNK_LEAST_ROWS, (int64_t)CHUNK_VALUES / c->n_vocab));
}

uint64_t mlt_cross_entropy_bytes(const struct mlt_config *c, int64_t tokens)
{
    uint64_t rows = (uint64_t)chunk_rows(c, tokens), width = (uint64_t)c->n_vocab + 2 * (uint64_t)c->n_embd;
    return rows * (width * sizeof(float) + sizeof(int64_t) + sizeof(struct mlt_row_loss));
}

/* The rows of a chunk that share an argument of mlt_for_range. */
struct chunk {
    struct cross_entropy *ce;
    struct mlt_pass *pass;
    const struct mlt_batch *batch;
    struct mlt_cross_entropy how;
};

void mlt_loss_sums_add(struct mlt_loss_sums *all, const struct mlt_loss_sums *sums)
{
    all->nll += sums->nll;
    all->z += sums->z;
    all->weight += sums->weight;
    all->n_targets += sums->n_targets;
    all->label_nll += sums->label_nll;
    all->n_labels += sums->n_labels;
    all->divergence += sums->divergence;
    all->soft_weight += sums->soft_weight;
    all->hidden += sums->hidden;
    all->hidden_weight += sums->hidden_weight;
    all->relations += sums->relations;
    all->relation_weight += sums->relation_weight;
}

millet_status mlt_loss_sums_of_ranks(millet_ranks *ranks, millet_status status, struct mlt_loss_sums *sums,
                                     millet_error *err)
{
    enum { FIELDS = 13, FAILED = FIELDS - 1 };
    /* Counts are exact in a double. */
    double values[FIELDS] = {sums->nll,          sums->z,
                             sums->weight,       (double)sums->n_targets,
                             sums->label_nll,    (double)sums->n_labels,
                             sums->divergence,   sums->soft_weight,
                             sums->hidden,       sums->hidden_weight,
                             sums->relations,    sums->relation_weight,
                             status != MILLET_OK};
    if (!ranks) return status;
    millet_error lost;
    millet_status exchange = mlt_ranks_sum(ranks, values, FIELDS, &lost);
    if (exchange != MILLET_OK) {
        if (err && status == MILLET_OK) *err = lost; /* an error of its own comes first */
        return status != MILLET_OK ? status : exchange;
    }
    if (values[FAILED] > 0) return millet_ranks_agree(ranks, status, err);
    *sums = (struct mlt_loss_sums){.nll = values[0],
                                   .z = values[1],
                                   .weight = values[2],
                                   .n_targets = (uint64_t)values[3],
                                   .label_nll = values[4],
                                   .n_labels = (uint64_t)values[5],
                                   .divergence = values[6],
                                   .soft_weight = values[7],
                                   .hidden = values[8],
                                   .hidden_weight = values[9],
                                   .relations = values[10],
                                   .relation_weight = values[11]};
    return MILLET_OK;
}

static bool is_label(const struct mlt_batch *batch, int64_t position)
{
    return batch->marks && batch->marks[position] & MILLET_MARK_LABEL;
}

float mlt_loss_weight(const struct mlt_batch *batch, int64_t position)
{
    float weight = is_label(batch, position) ? batch->tag_weight : 1;
    return batch->row_weight ? weight * batch->row_weight[position / batch->length] : weight;
}

static void loss_rows(const void *argument, int64_t begin, int64_t end)
{
    const struct chunk *c = argument;
    const struct cross_entropy *ce = c->ce;
    const struct mlt_ops *ops = c->pass->workers.ops;
    struct mlt_cross_entropy how = c->how;
    for (int64_t i = begin; i < end; i++) {
        int64_t row = ce->row[i];
        how.grad_scale = c->how.grad_scale * mlt_loss_weight(c->batch, row);
        float *logits = ce->logits + i * how.n_vocab;
        int32_t target = c->batch->targets[row];
        ce->loss[i] = ce->soft && ce->soft[i].p ? ops->distil(&how, &ce->mix, &ce->soft[i], logits, target)
                                                : ops->cross_entropy(&how, logits, target);
    }
}

static millet_status run_chunk(struct chunk *c, int64_t rows, struct mlt_loss_sums *sums, millet_error *err)
{
    struct cross_entropy *ce = c->ce;
    struct mlt_pass *pass = c->pass;
    const struct mlt_trainable *t = pass->model;
    size_t bytes = (size_t)t->config.n_embd * sizeof(float);
    if (ce->soft) MLT_TRY(ce->labels.rows(ce->labels.context, c->batch, ce->row, rows, ce->soft, err));
    for (int64_t i = 0; i < rows; i++)
        memcpy(ce->input + i * t->config.n_embd, pass->hidden + ce->row[i] * t->config.n_embd, bytes);
    mlt_pass_linear(pass, ce->input, rows, t->output, t->output_bias, false, ce->logits);
    mlt_for_range(&pass->workers, rows, 1, loss_rows, c);
    for (int64_t i = 0; i < rows; i++) {
        bool label = is_label(c->batch, ce->row[i]), soft = ce->soft && ce->soft[i].p;
        double weight = (double)mlt_loss_weight(c->batch, ce->row[i]);
        sums->nll += weight * ce->loss[i].nll;
        sums->z += weight * ce->loss[i].z;
        sums->weight += weight;
        sums->label_nll += label ? ce->loss[i].nll : 0;
        sums->n_labels += label;
        sums->divergence += soft ? weight * ce->loss[i].divergence : 0;
        sums->soft_weight += soft ? weight : 0;
    }
    sums->n_targets += (uint64_t)rows;
    if (!c->how.backward) return MILLET_OK;
    mlt_pass_linear_backward(pass, ce->input, ce->logits, rows, t->output, t->output_bias, false,
                             ce->gradient);
    for (int64_t i = 0; i < rows; i++)
        memcpy(pass->d_hidden + ce->row[i] * t->config.n_embd, ce->gradient + i * t->config.n_embd, bytes);
    return MILLET_OK;
}

static millet_status run(void *context, struct mlt_pass *pass, const struct mlt_batch *batch, bool backward,
                         float scale, struct mlt_loss_sums *sums, millet_error *err)
{
    struct cross_entropy *ce = context;
    const struct mlt_config *config = &pass->model->config;
    struct chunk c = {.ce = ce, .pass = pass, .batch = batch};
    c.how = (struct mlt_cross_entropy){.n_vocab = config->n_vocab,
                                       .logit_scale = config->logit_scale,
                                       .softcap = config->logit_softcap,
                                       .z_loss = ce->z_loss,
                                       .grad_scale = scale,
                                       .backward = backward};
    *sums = (struct mlt_loss_sums){0};
    if (backward) memset(pass->d_hidden, 0, (size_t)(pass->tokens * config->n_embd) * sizeof(float));
    int64_t rows = 0;
    for (int64_t i = 0; i < pass->tokens; i++) {
        if (batch->targets[i] < 0) continue;
        ce->row[rows++] = i;
        if (rows < ce->chunk_rows) continue;
        MLT_TRY(run_chunk(&c, rows, sums, err));
        rows = 0;
    }
    return rows > 0 ? run_chunk(&c, rows, sums, err) : MILLET_OK;
}

static void close_stage(void *context)
{
    struct cross_entropy *ce = context;
    if (!ce) return;
    millet_allocator allocator = ce->allocator;
    mlt_free(&allocator, ce->logits);
    mlt_free(&allocator, ce->input);
    mlt_free(&allocator, ce->gradient);
    mlt_free(&allocator, ce->row);
    mlt_free(&allocator, ce->loss);
    mlt_free(&allocator, ce->soft);
    mlt_free(&allocator, ce);
}

millet_status mlt_cross_entropy_open(const millet_allocator *allocator, const struct mlt_config *config,
                                     int64_t tokens, float z_loss, struct mlt_loss_stage *out,
                                     millet_error *err)
{
    *out = (struct mlt_loss_stage){0};
    struct cross_entropy *ce = mlt_alloc_zero(allocator, 1, sizeof *ce, err);
    if (!ce) return MILLET_NO_MEMORY;
    ce->allocator = *allocator;
    ce->z_loss = z_loss;
    ce->chunk_rows = chunk_rows(config, tokens);
    size_t rows = (size_t)ce->chunk_rows, n_embd = (size_t)config->n_embd;
    ce->logits = mlt_alloc(allocator, rows * (size_t)config->n_vocab, sizeof(float), err);
    ce->input = mlt_alloc(allocator, rows * n_embd, sizeof(float), err);
    ce->gradient = mlt_alloc(allocator, rows * n_embd, sizeof(float), err);
    ce->row = mlt_alloc(allocator, rows, sizeof *ce->row, err);
    ce->loss = mlt_alloc(allocator, rows, sizeof *ce->loss, err);
    if (!ce->logits || !ce->input || !ce->gradient || !ce->row || !ce->loss) {
        close_stage(ce);
        return MILLET_NO_MEMORY;
    }
    *out = (struct mlt_loss_stage){ce, run, close_stage};
    return MILLET_OK;
}

millet_status mlt_cross_entropy_teach(struct mlt_loss_stage *stage, const struct mlt_soft_labels *labels,
                                      const struct mlt_distillation *mix, millet_error *err)
{
    struct cross_entropy *ce = stage->context;
    ce->chunk_rows = MLT_MIN(ce->chunk_rows, labels->chunk_rows);
    ce->soft = mlt_alloc_zero(&ce->allocator, (size_t)ce->chunk_rows, sizeof *ce->soft, err);
    if (!ce->soft) return MILLET_NO_MEMORY;
    ce->labels = *labels;
    ce->mix = *mix;
    return MILLET_OK;
}
