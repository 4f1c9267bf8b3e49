/* millet_prune: measure, choose, cut, measure again, write. SPDX-License-Identifier: Apache-2.0 */
#include "millet/prune.h"

#include "compact/prune_checkpoint.h"
#include "compact/prune_search.h"
#include "compact/prune_vocabulary.h"
#include "corpus/token_cache.h"
#include "format/gguf_write.h"
#include "import/open_any.h"
#include "train/training_data.h"

#include <math.h>
#include <string.h>

/* Bytes that are written at a time. */
enum { WRITE_BYTES = 1 << 20, USUAL_LENGTH = 256 };
/* Positions that a trial of the search is measured on. */
enum { TRIAL_POSITIONS = 8192 };

millet_prune_options millet_prune_options_default(void)
{
    return (millet_prune_options){.rows = 8, .max_positions = 65536, .seed = 1};
}

/* A result and the memory behind it; the public struct is its first member. */
struct pruning {
    millet_pruning public;
    struct mlt_arena arena;
};

/* A run of millet_prune. */
struct run {
    millet_allocator allocator;
    const char *input, *output;
    const millet_prune_options *options;
    struct mlt_arena arena;
    struct mlt_checkpoint *from;
    struct mlt_config config;
    struct mlt_training_data data;
    struct mlt_prune_counts counts;
    struct mlt_importance importance;
    struct mlt_prune_selection selection;
    int32_t *place; /* [n_vocab] new numbers of tokens, -1: dropped; NULL: all stay */
    struct mlt_batch batch;
    uint64_t n_rows, n_measured_rows; /* to measure importance on, and the loss */
    int32_t *vocabulary, n_vocab;     /* tokens that stay, as in the selection */
    double phase_begin, phase_end;    /* of the progress */
    uint64_t steps_done, steps;       /* rows of this phase */
    uint64_t whole;                   /* parameters before the search */
    struct pruning *result;
};

/* ---- Options ---- */

static millet_status wrong(millet_error *err, const char *option, const char *what)
{
    return mlt_fail_at(err, MILLET_BAD_ARGUMENT, NULL, option, MILLET_NO_OFFSET, "%s", what);
}

static millet_status check_options(const struct run *r, millet_error *err)
{
    const millet_prune_options *o = r->options;
    if (!o->data || o->n_data < 1 || o->n_data > 4096)
        return wrong(err, "data", "1 to 4096 token caches to measure importance on are needed");
    if (o->n_evaluation_data > 4096) return wrong(err, "evaluation_data", "4096 caches at most are possible");
    if (o->rows < 1 || o->rows > 1 << 16) return wrong(err, "rows", "1 to 65536 sequences make a batch");
    if (o->length && (o->length < 2 || o->length > 1 << 24))
        return wrong(err, "length", "2 to 16777216 positions make a sequence; 0: automatic");
    if (o->n_threads < 0 || o->n_threads > MLT_MAX_THREADS)
        return wrong(err, "n_threads", "0 (one for each CPU) to 256 are possible");
    if (o->storage < MILLET_PRUNE_AS_IT_IS || o->storage > MILLET_PRUNE_BF16)
        return wrong(err, "storage", "there is no such type");
    return MILLET_OK;
}

static mlt_dtype storage_dtype(const struct run *r)
{
    static const mlt_dtype dtypes[] = {MLT_DTYPE_LIMIT, MLT_F32, MLT_F16, MLT_BF16};
    return dtypes[r->options->storage];
}

/* ---- Data ---- */

static millet_status open_data(struct run *r, const struct mlt_trainable *model, millet_error *err)
{
    const millet_prune_options *o = r->options;
    millet_train_options train = millet_train_options_default();
    train.data = o->data;
    train.n_data = o->n_data;
    train.evaluation_data = o->evaluation_data;
    train.n_evaluation_data = o->n_evaluation_data;
    train.rows = 1;
    train.length = r->batch.length;
    train.seed = o->seed;
    MLT_TRY(mlt_training_data_open(&r->allocator, &train, model, &r->data, err));
    uint64_t most = o->max_positions ? o->max_positions / (uint64_t)r->batch.length : UINT64_MAX;
    if (most == 0) most = 1;
    r->n_rows = MLT_MIN(r->data.info.n_rows, most);
    r->n_measured_rows = o->n_evaluation_data ? MLT_MIN(r->data.n_held_out_rows, most) : r->n_rows;
    size_t tokens = (size_t)o->rows * (size_t)r->batch.length;
    int32_t *block = mlt_arena_alloc(&r->arena, tokens, 4 * sizeof *block, err);
    if (!block) return MILLET_NO_MEMORY;
    r->batch = (struct mlt_batch){.rows = o->rows,
                                  .length = r->batch.length,
                                  .tokens = block,
                                  .targets = block + tokens,
                                  .begin = block + 2 * tokens,
                                  .end = block + 3 * tokens};
    return MILLET_OK;
}

/* Row `index` of n as row `row` of the batch. */
static millet_status fill_row(struct run *r, bool evaluation, uint64_t index, uint64_t n, int32_t row,
                              millet_error *err)
{
    struct mlt_batch *b = &r->batch;
    size_t at = (size_t)row * (size_t)b->length;
    if (evaluation) { /* evenly among all there are */
        uint64_t all = r->data.n_held_out_rows;
        return mlt_training_data_held_out(&r->data, index * (all / n) + index * (all % n) / n, b, row, err);
    }
    return millet_batches_fill(r->data.batches, index, 1, b->tokens + at, b->targets + at, b->begin + at,
                               b->end + at, NULL, err);
}

static millet_status count_tokens(const struct run *r, uint64_t *counts, millet_error *err)
{
    for (size_t i = 0; i < r->options->n_data; i++) {
        const millet_cache *cache = r->data.caches[i];
        millet_cache_info info;
        millet_cache_get_info(cache, &info);
        for (uint64_t k = 0; k < info.n_tokens; k++) {
            uint32_t token = mlt_cache_token(cache, k);
            if (token >= (uint32_t)r->config.n_vocab)
                return mlt_fail_at(err, MILLET_BAD_FORMAT, r->options->data[i].cache, NULL, MILLET_NO_OFFSET,
                                   "token %llu is outside the vocabulary: the cache is damaged",
                                   (unsigned long long)k);
            counts[token]++;
        }
    }
    return MILLET_OK;
}

static millet_status choose_vocabulary(struct run *r, int32_t **list, int32_t *n_list, millet_error *err)
{
    uint64_t least = r->options->vocabulary_min_count;
    size_t n_vocab = (size_t)r->config.n_vocab;
    *list = NULL;
    *n_list = r->config.n_vocab;
    if (least == 0) return MILLET_OK;
    uint64_t *counts = mlt_arena_alloc(&r->arena, n_vocab, sizeof *counts, err);
    r->place = mlt_arena_alloc(&r->arena, n_vocab, sizeof *r->place, err);
    if (!counts || !r->place) return MILLET_NO_MEMORY;
    memset(counts, 0, n_vocab * sizeof *counts);
    MLT_TRY(count_tokens(r, counts, err));
    MLT_TRY(mlt_vocabulary_choose(r->from, counts, r->config.n_vocab, least, &r->arena, list, n_list, err));
    for (size_t id = 0; id < n_vocab; id++) {
        r->place[id] = -1;
        r->result->public.tokens_used += counts[id] >= least;
    }
    for (int32_t i = 0; i < *n_list; i++)
        r->place[(*list)[i]] = i;
    return MILLET_OK;
}

/* ---- Measuring ---- */

static void begin_phase(struct run *r, double end, uint64_t steps)
{
    r->phase_begin = r->phase_end;
    r->phase_end = end;
    r->steps = steps;
    r->steps_done = 0;
}

static millet_status report(struct run *r, uint64_t rows, millet_error *err)
{
    const millet_prune_options *o = r->options;
    r->steps_done += rows;
    double part = r->steps ? (double)r->steps_done / (double)r->steps : 0;
    if (!o->progress || o->progress(o->context, r->phase_begin + part * (r->phase_end - r->phase_begin)))
        return MILLET_OK;
    return mlt_fail_at(err, MILLET_CANCELLED, r->output, NULL, MILLET_NO_OFFSET,
                       "cancelled; nothing was written");
}

/* Documents with tokens that were dropped have nothing to predict; with `renumber` the others' tokens get
 * their new numbers. */
static void leave_out(const struct run *r, struct mlt_batch *b, bool renumber)
{
    const int32_t *place = r->place;
    int64_t n = (int64_t)b->rows * b->length;
    for (int64_t first = 0, end; place && first < n; first = end) {
        bool whole = true;
        for (end = first; end < n && end / b->length == first / b->length && b->begin[end] == b->begin[first];
             end++)
            whole =
                whole && place[b->tokens[end]] >= 0 && (b->targets[end] < 0 || place[b->targets[end]] >= 0);
        for (int64_t i = first; i < end; i++) {
            if (!whole) b->targets[i] = MLT_NO_TARGET;
            if (!renumber) continue;
            b->tokens[i] = MLT_MAX(place[b->tokens[i]], 0);
            if (b->targets[i] >= 0) b->targets[i] = place[b->targets[i]];
        }
    }
}

struct measuring {
    struct run *run;
    struct mlt_pass *pass;
    struct mlt_loss_stage loss;
    struct mlt_importance_watch *watch; /* NULL: only the loss is wanted */
    bool evaluation, renumber, whole;
};

static millet_status measure_rows(struct measuring *m, uint64_t n, struct mlt_loss_sums *sums,
                                  millet_error *err)
{
    struct run *r = m->run;
    struct mlt_batch *b = &r->batch;
    for (uint64_t first = 0; first < n; first += (uint64_t)r->options->rows) {
        struct mlt_loss_sums now;
        b->rows = (int32_t)MLT_MIN(n - first, (uint64_t)r->options->rows);
        for (int32_t row = 0; row < b->rows; row++)
            MLT_TRY(fill_row(r, m->evaluation, first + (uint64_t)row, n, row, err));
        if (m->watch) mlt_importance_watch_begin(m->watch, b);
        if (!m->whole) leave_out(r, b, m->renumber);
        MLT_TRY(mlt_pass_forward(m->pass, b, err));
        if (m->watch) mlt_importance_watch_end(m->watch);
        MLT_TRY(m->loss.run(m->loss.context, m->pass, b, false, 1, &now, err));
        sums->nll += now.nll;
        sums->n_targets += now.n_targets;
        MLT_TRY(report(r, (uint64_t)b->rows, err));
    }
    return MILLET_OK;
}

/* What is measured: the loss on so many rows, and importance. */
struct task {
    uint64_t rows;
    bool importance, evaluation, renumber;
    bool whole; /* also documents with tokens that are dropped */
};

static millet_status measure(struct run *r, struct mlt_trainable *model, struct task task, double *loss,
                             millet_error *err)
{
    const millet_prune_options *o = r->options;
    struct measuring m = {
        .run = r, .evaluation = task.evaluation, .renumber = task.renumber, .whole = task.whole};
    struct mlt_pass_options pass = {.rows = o->rows,
                                    .length = r->batch.length,
                                    .n_threads = o->n_threads ? o->n_threads : mlt_cpu_count()};
    struct mlt_loss_sums sums = {0};
    millet_status status = mlt_pass_open(&r->allocator, model, &pass, &m.pass, err);
    if (status == MILLET_OK)
        status = mlt_cross_entropy_open(&r->allocator, &model->config, (int64_t)o->rows * r->batch.length, 0,
                                        &m.loss, err);
    if (status == MILLET_OK && task.importance)
        status = mlt_importance_watch_open(&r->importance, m.pass, &m.watch, err);
    if (status == MILLET_OK) status = measure_rows(&m, task.rows, &sums, err);
    mlt_importance_watch_close(&m.watch);
    if (m.loss.close) m.loss.close(m.loss.context);
    mlt_pass_close(&m.pass);
    *loss = sums.n_targets ? sums.nll / (double)sums.n_targets : (double)NAN;
    return status;
}

/* The rows that losses of the result are measured on. */
static struct task loss_task(const struct run *r)
{
    return (struct task){.rows = r->n_measured_rows, .evaluation = r->options->n_evaluation_data > 0};
}

/* ---- Choosing for a number of parameters ---- */

static uint64_t count_parameters(const struct run *r, const struct mlt_checkpoint *checkpoint)
{
    static const char *const of_tokens[] = {"token_embd.weight", "output.weight", "output.bias"};
    uint64_t count = 0;
    for (size_t i = 0; i < checkpoint->n_tensors; i++) {
        const struct mlt_tensor *tensor = &checkpoint->tensors[i];
        uint64_t values = tensor->rows * (uint64_t)tensor->ne[0];
        for (size_t k = 0; k < MLT_COUNT(of_tokens); k++)
            if (strcmp(tensor->name.data, of_tokens[k]) == 0)
                values = values / (uint64_t)r->config.n_vocab * (uint64_t)r->n_vocab;
        count += values;
    }
    return count;
}

/* The vocabulary is not cut in trials, so that every text has a loss; its rows are not counted. */
static millet_status try_counts(void *context, const struct mlt_prune_counts *counts, double *loss,
                                uint64_t *parameters, millet_error *err)
{
    struct run *r = context;
    struct mlt_checkpoint *pruned = NULL;
    struct mlt_trainable *model = NULL;
    struct mlt_prune_selection selection;
    struct mlt_arena arena;
    uint64_t rows = MLT_MAX((uint64_t)1, (uint64_t)TRIAL_POSITIONS / (uint64_t)r->batch.length);
    mlt_arena_init(&arena, &r->allocator);
    millet_status status =
        mlt_select(&r->config, &r->importance, counts, r->options->random, &arena, &selection, err);
    if (status == MILLET_OK)
        status = mlt_prune_checkpoint(r->from, &r->config, &selection, MLT_F32, &pruned, err);
    if (status == MILLET_OK) *parameters = count_parameters(r, pruned);
    if (status == MILLET_OK) status = mlt_trainable_open(&r->allocator, pruned, MLT_F32, &model, err);
    if (status == MILLET_OK)
        status = measure(r, model, (struct task){.rows = MLT_MIN(rows, r->n_rows), .whole = true}, loss, err);
    mlt_trainable_close(&model);
    mlt_arena_release(&arena);
    MLT_TRY(status);
    if (!r->whole) r->whole = *parameters;
    /* How far the number of parameters has come. */
    uint64_t wanted = r->options->parameters;
    begin_phase(r, 0.9, 0);
    if (r->whole > wanted && *parameters < r->whole)
        r->phase_begin =
            0.3 + 0.6 * MLT_MIN(1.0, (double)(r->whole - *parameters) / (double)(r->whole - wanted));
    return report(r, 0, err);
}

static millet_status search(struct run *r, millet_error *err)
{
    const millet_prune_options *o = r->options;
    struct mlt_prune_counts fixed = {o->layers, o->heads, o->kv_heads, o->feed_forward, o->width};
    struct mlt_prune_trial trial = {r, try_counts};
    return mlt_prune_search(&r->config, &fixed, o->parameters, trial, &r->counts, err);
}

/* ---- The result ---- */

static millet_prune_shape shape_of(const struct mlt_config *c, const struct mlt_checkpoint *checkpoint)
{
    millet_prune_shape shape = {.layers = c->n_layers,
                                .heads = c->n_heads,
                                .kv_heads = c->n_kv_heads,
                                .head_size = c->head_size,
                                .feed_forward = c->n_ff,
                                .width = c->n_embd,
                                .vocabulary = c->n_vocab};
    shape.cache_bytes = 2 * (uint64_t)c->n_layers * (uint64_t)c->n_kv_heads *
                        ((uint64_t)c->head_size + (uint64_t)c->value_size);
    for (size_t i = 0; i < checkpoint->n_tensors; i++) {
        if (strncmp(checkpoint->tensors[i].name.data, "train.", 6) == 0) continue; /* the optimiser's */
        shape.parameters += checkpoint->tensors[i].rows * (uint64_t)checkpoint->tensors[i].ne[0];
        shape.bytes += checkpoint->tensors[i].bytes;
    }
    return shape;
}

static millet_prune_part *new_parts(struct run *r, const double *importance, int64_t count, millet_error *err)
{
    millet_prune_part *parts = mlt_arena_alloc(&r->result->arena, (size_t)count, sizeof *parts, err);
    for (int64_t i = 0; parts && i < count; i++)
        parts[i] = (millet_prune_part){importance[i], false};
    return parts;
}

static millet_status describe_parts(struct run *r, millet_error *err)
{
    const struct mlt_config *c = &r->config;
    const struct mlt_importance *m = &r->importance;
    const struct mlt_prune_selection *s = &r->selection;
    int64_t n = c->n_layers;
    double *sum = mlt_arena_alloc(&r->arena, (size_t)c->n_embd, sizeof *sum, err);
    if (!sum) return MILLET_NO_MEMORY;
    mlt_width_importance(m, s, sum);
    millet_prune_part *layers = new_parts(r, m->layers, n, err);
    millet_prune_part *heads = new_parts(r, m->heads, n * c->n_heads, err);
    millet_prune_part *groups = new_parts(r, m->groups, n * c->n_kv_heads, err);
    millet_prune_part *channels = new_parts(r, m->feed_forward, n * c->n_ff, err);
    millet_prune_part *width = new_parts(r, sum, c->n_embd, err);
    if (!layers || !heads || !groups || !channels || !width) return MILLET_NO_MEMORY;
    for (int64_t j = 0; j < s->n_layers; j++) {
        int64_t layer = s->layers[j];
        layers[layer].kept = true;
        for (int64_t h = 0; h < s->n_heads; h++)
            heads[layer * c->n_heads + s->heads[j * s->n_heads + h]].kept = true;
        for (int64_t g = 0; g < s->n_kv_heads; g++)
            groups[layer * c->n_kv_heads + s->kv_heads[j * s->n_kv_heads + g]].kept = true;
        for (int64_t i = 0; i < s->n_ff; i++)
            channels[layer * c->n_ff + s->feed_forward[j * s->n_ff + i]].kept = true;
    }
    for (int32_t i = 0; i < s->n_embd; i++)
        width[s->width[i]].kept = true;
    millet_pruning *p = &r->result->public;
    p->n_positions = m->n_positions;
    p->layers = layers;
    p->heads = heads;
    p->groups = groups;
    p->feed_forward = channels;
    p->width = width;
    return MILLET_OK;
}

void millet_pruning_free(millet_pruning **handle)
{
    if (!*handle) return;
    struct pruning *result = (struct pruning *)(void *)*handle;
    millet_allocator allocator = result->arena.allocator;
    mlt_arena_release(&result->arena);
    mlt_free(&allocator, result);
    *handle = NULL;
}

/* ---- Writing ---- */

static millet_status write_tensors(const struct run *r, const struct mlt_checkpoint *pruned,
                                   struct mlt_gguf_writer *writer, millet_error *err)
{
    uint64_t largest = WRITE_BYTES;
    for (size_t i = 0; i < pruned->n_tensors; i++)
        largest = MLT_MAX(largest, pruned->tensors[i].row_bytes);
    uint8_t *bytes = mlt_alloc(&r->allocator, (size_t)largest, 1, err);
    if (!bytes) return MILLET_NO_MEMORY;
    millet_status status = MILLET_OK;
    for (size_t i = 0; i < pruned->n_tensors && status == MILLET_OK; i++) {
        const struct mlt_tensor *tensor = &pruned->tensors[i];
        uint64_t step = largest / tensor->row_bytes;
        for (uint64_t row = 0; row < tensor->rows && status == MILLET_OK; row += step) {
            uint64_t rows = MLT_MIN(step, tensor->rows - row);
            status = mlt_tensor_read(tensor, row, rows, bytes, err);
            if (status == MILLET_OK)
                status = mlt_gguf_writer_write(writer, i, bytes, rows * tensor->row_bytes, err);
        }
    }
    mlt_free(&r->allocator, bytes);
    return status;
}

static millet_status write_model(struct run *r, const struct mlt_checkpoint *pruned, millet_error *err)
{
    struct mlt_gguf_writer *writer = NULL;
    struct mlt_gguf_contents contents = {.metas = pruned->metas,
                                         .n_metas = pruned->n_metas,
                                         .tensors = pruned->tensors,
                                         .n_tensors = pruned->n_tensors};
    MLT_TRY(mlt_gguf_writer_open(&r->allocator, r->output, &contents, &writer, err));
    r->result->public.file_bytes = mlt_gguf_writer_total(writer);
    millet_status status = write_tensors(r, pruned, writer, err);
    if (status == MILLET_OK) status = mlt_gguf_writer_commit(&writer, err);
    mlt_gguf_writer_abort(&writer);
    return status;
}

/* ---- The run ---- */

/* Opens the old model, measures it and lets go of its weights in F32. */
static millet_status study(struct run *r, millet_error *err)
{
    const millet_prune_options *o = r->options;
    struct mlt_checkpoint *checkpoint = NULL;
    struct mlt_trainable *model = NULL;
    double *loss = &r->result->public.loss_before;
    MLT_TRY(mlt_open_any(&r->allocator, r->input, o->tokenizer_path, &r->from, err));
    MLT_TRY(mlt_config_read(&r->config, r->from, &r->arena, err));
    r->batch.length = o->length ? o->length : MLT_MIN((int32_t)USUAL_LENGTH, r->config.n_ctx_train);
    r->counts = (struct mlt_prune_counts){o->layers, o->heads, o->kv_heads, o->feed_forward, o->width};
    MLT_TRY(mlt_prune_counts_check(&r->config, &r->counts, err));
    MLT_TRY(mlt_open_any(&r->allocator, r->input, o->tokenizer_path, &checkpoint, err));
    MLT_TRY(mlt_trainable_open(&r->allocator, checkpoint, MLT_F32, &model, err));
    millet_status status = open_data(r, model, err);
    if (status == MILLET_OK) status = choose_vocabulary(r, &r->vocabulary, &r->n_vocab, err);
    if (status == MILLET_OK) status = mlt_importance_open(&r->allocator, &r->config, &r->importance, err);
    bool apart = o->n_evaluation_data > 0;
    begin_phase(r, o->parameters ? 0.3 : 0.6, r->n_rows + (apart ? r->n_measured_rows : 0));
    if (status == MILLET_OK)
        status = measure(r, model, (struct task){.rows = r->n_rows, .importance = true}, loss, err);
    if (status == MILLET_OK && apart) status = measure(r, model, loss_task(r), loss, err);
    if (status == MILLET_OK) status = mlt_importance_finish(&r->importance, model, err);
    mlt_trainable_close(&model);
    return status;
}

static millet_status choose(struct run *r, millet_error *err)
{
    if (r->options->parameters) MLT_TRY(search(r, err));
    MLT_TRY(mlt_select(&r->config, &r->importance, &r->counts, r->options->random, &r->arena, &r->selection,
                       err));
    r->selection.vocabulary = r->vocabulary;
    r->selection.n_vocab = r->n_vocab;
    return describe_parts(r, err);
}

static millet_status run(struct run *r, millet_error *err)
{
    struct mlt_checkpoint *pruned = NULL;
    struct mlt_trainable *model = NULL;
    r->result = mlt_alloc_zero(&r->allocator, 1, sizeof *r->result, err);
    if (!r->result) return MILLET_NO_MEMORY;
    mlt_arena_init(&r->result->arena, &r->allocator);
    MLT_TRY(check_options(r, err));
    MLT_TRY(study(r, err));
    MLT_TRY(choose(r, err));
    MLT_TRY(mlt_prune_checkpoint(r->from, &r->config, &r->selection, storage_dtype(r), &pruned, err));
    MLT_TRY(mlt_trainable_open(&r->allocator, pruned, MLT_F32, &model, err));
    r->result->public.before = shape_of(&r->config, r->from);
    r->result->public.after = shape_of(&model->config, model->checkpoint);
    struct task task = loss_task(r);
    task.renumber = true;
    begin_phase(r, 1, task.rows);
    millet_status status = measure(r, model, task, &r->result->public.loss_after, err);
    if (status == MILLET_OK && r->output) status = write_model(r, model->checkpoint, err);
    mlt_trainable_close(&model);
    return status;
}

millet_status millet_prune(const char *input, const char *output, const millet_prune_options *options,
                           millet_pruning **result, millet_error *err)
{
    millet_prune_options defaults = millet_prune_options_default();
    if (!options) options = &defaults;
    struct run r = {.input = input, .output = output, .options = options};
    r.allocator = options->allocator ? *options->allocator : *mlt_default_allocator();
    mlt_arena_init(&r.arena, &r.allocator);
    if (result) *result = NULL;
    millet_status status = run(&r, err);
    mlt_training_data_close(&r.data);
    mlt_importance_close(&r.importance);
    mlt_arena_release(&r.arena);
    mlt_checkpoint_close(&r.from);
    millet_pruning *all = r.result ? &r.result->public : NULL;
    if (status == MILLET_OK && result)
        *result = all;
    else
        millet_pruning_free(&all);
    return status;
}
