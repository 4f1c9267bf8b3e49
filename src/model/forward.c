/*
 * The forward pass of a described decoder.
 *
 * A block in its usual form is
 *     x = x + wo . attention(rope(qk_norm(wq . norm(x))), ...)
 *     x = x + w_down . (act(w_gate . norm(x)) * (w_up . norm(x)))
 * and model/config.h says how families differ from it. Matrix products run through kernels/matmul.h; between
 * them lie stages that work on rows independently. Each float operation of a row depends on that row, its
 * sequence's cache and the weights alone: results do not depend on how a text is cut into batches, on what
 * else is in a batch, or on threads.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "model/forward_state.h"

#include "model/hadamard.h"
#include "model/rope.h"

#include <math.h>
#include <string.h>

/* ---- Memory ---- */

/* Offsets of the buffers in one block; `failed` once the size does not fit. */
struct layout {
    uint64_t bytes;
    bool failed;
    uint64_t x, normed, branch, q, k, v, attended, gate, up, attention;
    uint64_t frequency[MLT_ROPE_TABLES], cosine[MLT_ROPE_TABLES], sine[MLT_ROPE_TABLES];
    uint64_t router, expert_weight, expert_chosen, expert_input, expert_output, expert_row, expert_row_weight;
    uint64_t lengths, token, position, seen, sequence, wanted, tile, adapter_low, adapter_add;
};

/* Reserves count * width elements on a cache line of their own; returns their offset. */
static uint64_t reserve(struct layout *l, int64_t count, int64_t width, size_t element)
{
    uint64_t offset = l->bytes, elements, bytes;
    if (!mlt_mul_u64((uint64_t)count, (uint64_t)width, &elements) ||
        !mlt_mul_u64(elements, element, &bytes) || bytes > SIZE_MAX / 4 || offset > SIZE_MAX / 4)
        l->failed = true;
    else
        l->bytes = mlt_round_up(offset + bytes, MLT_ALIGNMENT);
    return offset;
}

static int rope_tables(const struct mlt_config *c)
{
    return c->rope_kind == MLT_ROPE_NONE ? 0 : c->rope_local_differs ? 2 : 1;
}

static void plan_layout(const struct mlt_config *c, const struct mlt_forward_options *o, struct layout *l)
{
    *l = (struct layout){0};
    int64_t rows = o->n_batch, n_embd = c->n_embd;
    l->x = reserve(l, rows, n_embd, sizeof(float));
    l->normed = reserve(l, rows, n_embd, sizeof(float));
    l->branch = reserve(l, rows, n_embd, sizeof(float));

    uint64_t start = l->bytes;
    l->q = reserve(l, rows, (int64_t)c->n_heads * c->head_size, sizeof(float));
    l->k = reserve(l, rows, (int64_t)c->n_kv_heads * c->head_size, sizeof(float));
    l->v = reserve(l, rows, (int64_t)c->n_kv_heads * c->value_size, sizeof(float));
    l->attended = reserve(l, rows, (int64_t)c->n_heads * c->value_size, sizeof(float));
    uint64_t attention_end = l->bytes;
    l->bytes = start;
    l->gate = reserve(l, rows, c->n_ff, sizeof(float));
    l->up = reserve(l, rows, c->n_ff, sizeof(float));
    l->bytes = MLT_MAX(l->bytes, attention_end);

    l->attention = reserve(l, o->n_threads, mlt_attention_floats(c, o->cache, o->n_ctx), sizeof(float));
    for (int i = 0; i < rope_tables(c); i++) {
        l->frequency[i] = reserve(l, 1, c->rope_size / 2, sizeof(double));
        l->cosine[i] = reserve(l, rows, c->rope_size / 2, sizeof(float));
        l->sine[i] = reserve(l, rows, c->rope_size / 2, sizeof(float));
    }
    if (c->n_experts) {
        l->router = reserve(l, rows, c->n_experts, sizeof(float));
        l->expert_weight = reserve(l, rows, c->n_experts_used, sizeof(float));
        l->expert_chosen = reserve(l, rows, c->n_experts_used, sizeof(int32_t));
        l->expert_input = reserve(l, rows, n_embd, sizeof(float));
        l->expert_output = reserve(l, rows, n_embd, sizeof(float));
        l->expert_row = reserve(l, rows, 1, sizeof(int32_t));
        l->expert_row_weight = reserve(l, rows, 1, sizeof(float));
    }
    l->lengths = reserve(l, o->n_sequences, 1, sizeof(int32_t));
    l->token = reserve(l, rows, 1, sizeof(int32_t));
    l->position = reserve(l, rows, 1, sizeof(int32_t));
    l->seen = reserve(l, rows, 1, sizeof(int32_t));
    l->sequence = reserve(l, rows, 1, sizeof(int32_t));
    l->wanted = reserve(l, rows, 1, sizeof(int32_t));
    l->tile = reserve(l, rows + 1, 1, sizeof(int32_t));
    if (o->n_adapters) {
        struct mlt_adapter_room room = mlt_adapter_room(o);
        l->adapter_low = reserve(l, rows, MLT_ADAPTED_PRODUCTS * room.rank, sizeof(float));
        l->adapter_add = reserve(l, room.add, 1, sizeof(float));
    }
}

static void assign_buffers(struct mlt_forward *f, const struct layout *l)
{
    uint8_t *block = f->block;
#define AT(field) ((void *)(block + l->field))
    f->x = AT(x);
    f->normed = AT(normed);
    f->branch = AT(branch);
    f->q = AT(q);
    f->k = AT(k);
    f->v = AT(v);
    f->attended = AT(attended);
    f->gate = AT(gate);
    f->up = AT(up);
    f->attention = AT(attention);
    for (int i = 0; i < MLT_ROPE_TABLES; i++) {
        f->rope[i].frequency = AT(frequency[i]);
        f->rope[i].cosine = AT(cosine[i]);
        f->rope[i].sine = AT(sine[i]);
    }
    f->router = AT(router);
    f->expert_weight = AT(expert_weight);
    f->expert_chosen = AT(expert_chosen);
    f->expert_input = AT(expert_input);
    f->expert_output = AT(expert_output);
    f->expert_row = AT(expert_row);
    f->expert_row_weight = AT(expert_row_weight);
    f->lengths = AT(lengths);
    f->token = AT(token);
    f->position = AT(position);
    f->seen = AT(seen);
    f->sequence = AT(sequence);
    f->wanted = AT(wanted);
    f->tile = AT(tile);
    f->adapter_low = AT(adapter_low);
    f->adapter_add = AT(adapter_add);
#undef AT
}

/* The widest input of a matrix product. */
static int64_t widest_input(const struct mlt_config *c, const struct mlt_forward_options *o)
{
    int64_t attended = (int64_t)c->n_heads * c->value_size;
    int64_t widest = MLT_MAX(MLT_MAX(c->n_embd, c->n_ff), attended);
    return MLT_MAX(widest, mlt_adapter_room(o).rank);
}

static millet_status check_adapters(const millet_model *model, const struct mlt_forward_options *o,
                                    millet_error *err)
{
    if (o->n_adapters < 0 || o->n_adapters > MILLET_MAX_ADAPTERS || (o->n_adapters && !o->adapters))
        return mlt_fail_at(err, MILLET_BAD_ARGUMENT, NULL, "n_adapters", MILLET_NO_OFFSET,
                           "%d adapters; 0 to %d are possible, in a list", o->n_adapters,
                           MILLET_MAX_ADAPTERS);
    for (int32_t i = 0; i < o->n_adapters; i++) {
        if (!o->adapters[i].adapter || o->adapters[i].adapter->model != model)
            return mlt_fail_at(err, MILLET_BAD_ARGUMENT, NULL, "adapters", MILLET_NO_OFFSET,
                               "adapter %d was not opened for this model", i);
        if (!isfinite(o->adapters[i].scale))
            return mlt_fail_at(err, MILLET_BAD_ARGUMENT, o->adapters[i].adapter->checkpoint->path, "adapters",
                               MILLET_NO_OFFSET, "its scale is not a finite number");
    }
    return MILLET_OK;
}

static millet_status check_options(const millet_model *model, const struct mlt_forward_options *o,
                                   struct layout *layout, uint64_t *cache_bytes, millet_error *err)
{
    const struct mlt_config *c = &model->config;
    MLT_TRY(check_adapters(model, o, err));
    if (c->position_embd && o->n_ctx > c->n_ctx_train)
        return mlt_fail(err, MILLET_BAD_ARGUMENT,
                        "n_ctx is %d, but the model has learned only %d positions; ask for no more", o->n_ctx,
                        c->n_ctx_train);
    const int32_t block = mlt_dtype_info(o->cache)->block_length;
    if (c->head_size % block != 0 || c->value_size % block != 0)
        return mlt_fail_at(
            err, MILLET_BAD_ARGUMENT, NULL, "cache_type", MILLET_NO_OFFSET,
            "a cache in %s stores blocks of %d elements, and this model's heads have %d (keys) and %d "
            "(values); choose cache_type F16 or F32",
            mlt_dtype_info(o->cache)->name, block, c->head_size, c->value_size);
    if (!mlt_kv_cache_bytes(c, o->n_ctx, o->n_sequences, o->cache, cache_bytes))
        return mlt_fail(err, MILLET_BAD_ARGUMENT,
                        "n_ctx %d for n_sequences %d: the cache is larger than the address space", o->n_ctx,
                        o->n_sequences);
    plan_layout(c, o, layout);
    if (layout->failed)
        return mlt_fail(err, MILLET_BAD_ARGUMENT,
                        "n_batch %d, n_ctx %d: the workspace is larger than the address space", o->n_batch,
                        o->n_ctx);
    return MILLET_OK;
}

millet_status mlt_forward_estimate(const millet_model *model, const struct mlt_forward_options *options,
                                   struct mlt_forward_memory *memory, millet_error *err)
{
    struct layout layout;
    MLT_TRY(check_options(model, options, &layout, &memory->cache, err));
    memory->workspace =
        sizeof(struct mlt_forward) + layout.bytes +
        mlt_matmul_bytes(options->n_batch, widest_input(&model->config, options), options->n_threads);
    memory->threads = options->n_threads > 1 ? mlt_thread_pool_bytes() : 0;
    memory->workspace += memory->threads;
    return MILLET_OK;
}

static void prepare_rope(struct mlt_forward *f)
{
    const struct mlt_config *c = &f->model->config;
    const struct mlt_weights *w = &f->model->weights;
    /* LongRoPE (Ding et al., 2024): one set of divisors within the original context, another beyond it. */
    const float *divisors = w->rope_factors;
    if (w->rope_factors_long && f->options.n_ctx > c->rope.n_ctx_original) divisors = w->rope_factors_long;
    f->n_rope_tables = rope_tables(c);
    for (int i = 0; i < f->n_rope_tables; i++) {
        const struct mlt_rope *rope = i == 0 ? &c->rope : &c->rope_local;
        f->rope[i].magnitude = mlt_rope_frequencies(rope, c->rope_size, divisors, f->rope[i].frequency);
    }
}

millet_status mlt_forward_open(const millet_allocator *allocator, const millet_model *model,
                               const struct mlt_forward_options *options, struct mlt_forward **out,
                               millet_error *err)
{
    *out = NULL;
    struct layout layout;
    uint64_t cache_bytes;
    MLT_TRY(check_options(model, options, &layout, &cache_bytes, err));
    struct mlt_forward *f = mlt_alloc_zero(allocator, 1, sizeof *f, err);
    if (!f) return MILLET_NO_MEMORY;
    f->allocator = *allocator;
    f->model = model;
    f->options = *options;
    f->kernels = mlt_kernels_default();
    const struct mlt_config *c = &model->config;
    millet_status status = MILLET_OK;
    f->pool = options->pool;
    if (options->n_threads > 1 && !f->pool)
        status = mlt_thread_pool_open(allocator, options->n_threads, &f->pool, err);
    if (status == MILLET_OK)
        status = mlt_kv_cache_open(&f->cache, allocator, c, options->n_ctx, options->n_sequences,
                                   options->cache, err);
    if (status == MILLET_OK)
        status = mlt_matmul_open(&f->matmul, allocator, f->kernels, f->pool, options->n_batch,
                                 widest_input(c, options), err);
    if (status == MILLET_OK) {
        f->matmul.exact_activations = options->exact_activations;
        f->block = mlt_alloc(allocator, (size_t)layout.bytes, 1, err);
        f->block_bytes = layout.bytes;
        if (!f->block) status = MILLET_NO_MEMORY;
    }
    if (status != MILLET_OK) {
        mlt_forward_close(&f);
        return status;
    }
    assign_buffers(f, &layout);
    f->adapter_room = mlt_adapter_room(options);
    if (options->n_adapters)
        memcpy(f->adapters, options->adapters, (size_t)options->n_adapters * sizeof *f->adapters);
    f->options.adapters = f->adapters;
    memset(f->lengths, 0, (size_t)options->n_sequences * sizeof *f->lengths);
    atomic_init(&f->finite_values, true);
    prepare_rope(f);
    *out = f;
    return MILLET_OK;
}

void mlt_forward_close(struct mlt_forward **forward)
{
    struct mlt_forward *f = *forward;
    if (!f) return;
    millet_allocator allocator = f->allocator;
    mlt_free(&allocator, f->block);
    mlt_matmul_close(&f->matmul);
    mlt_kv_cache_close(&f->cache);
    if (!f->options.pool) mlt_thread_pool_close(&f->pool);
    mlt_free(&allocator, f);
    *forward = NULL;
}

/* ---- Row stages ---- */

/* Rows from which the buffers are used as a whole, or nearly so. */
enum { LARGE_BATCH = 64 };

/* Below so many rows, or elements of them, a stage is done sooner than threads are told of it. */
enum { ROWS_WORTH_SHARING = 8, ELEMENTS_WORTH_SHARING = 1 << 14 };

struct shared_stage {
    struct mlt_forward *f;
    mlt_row_stage *stage;
    int64_t rows;
};

static void run_share(void *argument, int thread, int threads)
{
    const struct shared_stage *s = argument;
    int64_t begin, end;
    mlt_thread_share(s->rows, 1, thread, threads, &begin, &end);
    if (begin < end) s->stage(s->f, begin, end);
}

void mlt_for_rows(struct mlt_forward *f, int64_t rows, mlt_row_stage *stage)
{
    if (!f->pool || rows < ROWS_WORTH_SHARING || rows * f->model->config.n_embd < ELEMENTS_WORTH_SHARING) {
        stage(f, 0, rows);
        return;
    }
    struct shared_stage shared = {f, stage, rows};
    mlt_thread_pool_run(f->pool, run_share, &shared);
}

static void norm_row(const struct mlt_forward *f, const float *x, const float *weight, const float *bias,
                     int64_t n, float *y)
{
    const struct mlt_config *c = &f->model->config;
    if (c->norm == MLT_NORM_LAYER)
        f->kernels->layer_norm(x, weight, bias, n, c->norm_eps, y);
    else
        f->kernels->rms_norm(x, weight, n, c->norm_eps, y);
}

static const float *matrix_row(const struct mlt_matrix *m, int64_t row, float *out)
{
    mlt_decode(m->dtype, m->data + (uint64_t)row * m->row_bytes, out, m->columns);
    return out;
}

/* Embeddings (and learned positions), and the angles of the rows' positions. */
static void embed(struct mlt_forward *f, int64_t begin, int64_t end)
{
    const struct mlt_config *c = &f->model->config;
    const struct mlt_weights *w = &f->model->weights;
    int64_t n_embd = c->n_embd, pairs = c->rope_size / 2;
    for (int64_t row = begin; row < end; row++) {
        float *x = f->x + row * n_embd;
        matrix_row(&w->token_embd, f->token[row], x);
        if (c->embedding_scale != 1) {
            for (int64_t i = 0; i < n_embd; i++)
                x[i] *= c->embedding_scale;
        }
        if (c->position_embd) {
            const float *learned = matrix_row(&w->position_embd, f->position[row], f->normed + row * n_embd);
            for (int64_t i = 0; i < n_embd; i++)
                x[i] += learned[i];
        }
        for (int t = 0; t < f->n_rope_tables; t++) {
            struct mlt_rope_table *table = &f->rope[t];
            mlt_rope_angles(table->frequency, (int32_t)pairs, table->magnitude, f->position[row],
                            table->cosine + row * pairs, table->sine + row * pairs);
        }
    }
}

static void norm_for_attention(struct mlt_forward *f, int64_t begin, int64_t end)
{
    const struct mlt_layer *layer = &f->model->weights.layers[f->layer];
    int64_t n_embd = f->model->config.n_embd;
    for (int64_t row = begin; row < end; row++)
        norm_row(f, f->x + row * n_embd, layer->attn_norm, layer->attn_norm_bias, n_embd,
                 f->normed + row * n_embd);
}

/* Norms each head of q or k in place; LayerNorm has weights for each head of its own. */
static void norm_heads(const struct mlt_forward *f, float *x, int32_t heads, const float *weight)
{
    const struct mlt_config *c = &f->model->config;
    int64_t size = c->head_size;
    for (int64_t h = 0; h < heads; h++) {
        if (c->qk_norm == MLT_QK_LAYER_HEAD)
            f->kernels->layer_norm(x + h * size, weight + h * size, NULL, size, c->norm_eps, x + h * size);
        else
            f->kernels->rms_norm(x + h * size, weight, size, c->norm_eps, x + h * size);
    }
}

/* Whether all values are finite once they are stored in the cache. */
static bool stay_finite(const float *x, int64_t n, mlt_dtype dtype)
{
    float limit = mlt_kv_cache_limit(dtype);
    bool finite = true;
    for (int64_t i = 0; i < n; i++)
        finite &= fabsf(x[i]) < limit;
    return finite;
}

/* Norms q and k, gives them their positions, and stores k and v in the cache. */
static void place(struct mlt_forward *f, int64_t begin, int64_t end)
{
    const struct mlt_config *c = &f->model->config;
    const struct mlt_layer *layer = &f->model->weights.layers[f->layer];
    const struct mlt_layer_choice *choice = &c->layers[f->layer];
    const struct mlt_rope_table *table = &f->rope[choice->local && c->rope_local_differs];
    int32_t pairs = c->rope_size / 2;
    for (int64_t row = begin; row < end; row++) {
        float *q = f->q + row * c->n_heads * c->head_size;
        float *k = f->k + row * c->n_kv_heads * c->head_size;
        if (c->qk_norm != MLT_QK_NONE) {
            norm_heads(f, q, c->n_heads, layer->q_norm);
            norm_heads(f, k, c->n_kv_heads, layer->k_norm);
        }
        if (choice->rope) {
            const float *cosine = table->cosine + row * pairs, *sine = table->sine + row * pairs;
            mlt_rope_rotate(c->rope_kind, cosine, sine, pairs, q, c->n_heads, c->head_size);
            mlt_rope_rotate(c->rope_kind, cosine, sine, pairs, k, c->n_kv_heads, c->head_size);
        }
        float *v = f->v + row * c->n_kv_heads * c->value_size;
        if (mlt_kv_cache_rotates(f->cache.dtype)) {
            mlt_hadamard(q, c->n_heads, c->head_size);
            mlt_hadamard(k, c->n_kv_heads, c->head_size);
            mlt_hadamard(v, c->n_kv_heads, c->value_size);
        }
        if (!stay_finite(v, (int64_t)c->n_kv_heads * c->value_size, f->cache.dtype))
            atomic_store_explicit(&f->finite_values, false, memory_order_relaxed);
        mlt_kv_cache_store(&f->cache, f->kernels, f->layer, f->sequence[row], f->position[row], k, v);
    }
}

/* x += scale * branch, the branch normed first where post_norm is not NULL. */
static void add_branch(const struct mlt_forward *f, int64_t row, const float *post_norm)
{
    int64_t n_embd = f->model->config.n_embd;
    float *x = f->x + row * n_embd, *y = f->branch + row * n_embd;
    float scale = f->model->config.residual_scale;
    if (post_norm) norm_row(f, y, post_norm, NULL, n_embd, y);
    for (int64_t i = 0; i < n_embd; i++)
        x[i] += scale * y[i];
}

/* Ends the attention branch; a parallel block's feed-forward reads what attention read. */
static void add_attention(struct mlt_forward *f, int64_t begin, int64_t end)
{
    const struct mlt_config *c = &f->model->config;
    const struct mlt_layer *layer = &f->model->weights.layers[f->layer];
    int64_t n_embd = c->n_embd;
    for (int64_t row = begin; row < end; row++) {
        add_branch(f, row, layer->attn_post_norm);
        if (!c->parallel_block)
            norm_row(f, f->x + row * n_embd, layer->ffn_norm, layer->ffn_norm_bias, n_embd,
                     f->normed + row * n_embd);
    }
}

static void activate(struct mlt_forward *f, int64_t begin, int64_t end)
{
    const struct mlt_config *c = &f->model->config;
    mlt_gate_kernel *act = c->activation == MLT_ACT_SILU ? f->kernels->silu : f->kernels->gelu;
    int64_t first = begin * c->n_ff, n = (end - begin) * c->n_ff;
    if (c->gated)
        act(f->gate + first, f->up + first, n, f->gate + first);
    else
        act(f->up + first, NULL, n, f->gate + first);
}

static void add_feed_forward(struct mlt_forward *f, int64_t begin, int64_t end)
{
    const struct mlt_layer *layer = &f->model->weights.layers[f->layer];
    for (int64_t row = begin; row < end; row++)
        add_branch(f, row, layer->ffn_post_norm);
}

static void norm_for_output(struct mlt_forward *f, int64_t begin, int64_t end)
{
    const struct mlt_weights *w = &f->model->weights;
    int64_t n_embd = f->model->config.n_embd;
    for (int64_t row = begin; row < end; row++)
        norm_row(f, f->x + row * n_embd, w->output_norm, w->output_norm_bias, n_embd,
                 f->normed + row * n_embd);
}

/* ---- The pass ---- */

static void attention_branch(struct mlt_forward *f)
{
    const struct mlt_config *c = &f->model->config;
    const struct mlt_layer *layer = &f->model->weights.layers[f->layer];
    mlt_for_rows(f, f->rows, norm_for_attention);
    struct mlt_product qkv[] = {{&layer->wq, layer->bq, f->q, (int64_t)c->n_heads * c->head_size},
                                {&layer->wk, layer->bk, f->k, (int64_t)c->n_kv_heads * c->head_size},
                                {&layer->wv, layer->bv, f->v, (int64_t)c->n_kv_heads * c->value_size}};
    static const enum mlt_adapter_slot slots[] = {MLT_SLOT_Q, MLT_SLOT_K, MLT_SLOT_V};
    mlt_adapted_products(f, f->normed, c->n_embd, qkv, slots, 3);
    mlt_for_rows(f, f->rows, place);
}

static void feed_forward_branch(struct mlt_forward *f)
{
    const struct mlt_config *c = &f->model->config;
    const struct mlt_layer *layer = &f->model->weights.layers[f->layer];
    if (c->n_experts) {
        mlt_experts_run(f);
    } else {
        struct mlt_product in[] = {{&layer->w_up, layer->b_up, f->up, c->n_ff},
                                   {&layer->w_gate, layer->b_gate, f->gate, c->n_ff}};
        static const enum mlt_adapter_slot slots[] = {MLT_SLOT_UP, MLT_SLOT_GATE}, last = MLT_SLOT_DOWN;
        mlt_adapted_products(f, f->normed, c->n_embd, in, slots, c->gated ? 2 : 1);
        mlt_for_rows(f, f->rows, activate);
        struct mlt_product down = {&layer->w_down, layer->b_down, f->branch, c->n_embd};
        mlt_adapted_products(f, f->gate, c->n_ff, &down, &last, 1);
    }
    mlt_for_rows(f, f->rows, add_feed_forward);
}

/*
 * After the last layer's keys and values are stored, only rows whose logits are wanted matter: they move to
 * the front, with all that the rest of the layer reads.
 */
static void keep_wanted(struct mlt_forward *f)
{
    const struct mlt_config *c = &f->model->config;
    size_t n_embd = (size_t)c->n_embd, n_q = (size_t)c->n_heads * (size_t)c->head_size;
    for (int32_t i = 0; i < f->n_wanted; i++) {
        int32_t row = f->wanted[i];
        if (row == i) continue;
        memcpy(f->x + (size_t)i * n_embd, f->x + (size_t)row * n_embd, n_embd * sizeof(float));
        memcpy(f->normed + (size_t)i * n_embd, f->normed + (size_t)row * n_embd, n_embd * sizeof(float));
        memcpy(f->q + (size_t)i * n_q, f->q + (size_t)row * n_q, n_q * sizeof(float));
        f->position[i] = f->position[row];
        f->seen[i] = f->seen[row];
        f->sequence[i] = f->sequence[row];
    }
    f->rows = f->n_wanted;
}

/* Logits are scaled and capped in columns shared by the threads: with one row there is much to do too. */
static void finish_share(void *argument, int thread, int threads)
{
    struct mlt_forward *f = argument;
    const struct mlt_config *c = &f->model->config;
    int64_t begin, end;
    mlt_thread_share(c->n_vocab, MLT_ALIGNMENT / (int64_t)sizeof(float), thread, threads, &begin, &end);
    for (int64_t row = 0; row < f->rows; row++) {
        float *logits = f->logits + row * c->n_vocab;
        if (c->logit_scale != 1) {
            for (int64_t i = begin; i < end; i++)
                logits[i] *= c->logit_scale;
        }
        if (c->logit_softcap > 0 && begin < end)
            f->kernels->softcap(logits + begin, end - begin, c->logit_softcap);
    }
}

static void output(struct mlt_forward *f)
{
    const struct mlt_config *c = &f->model->config;
    const struct mlt_weights *w = &f->model->weights;
    mlt_for_rows(f, f->rows, norm_for_output);
    struct mlt_product product = {&w->output, w->output_bias, f->logits, c->n_vocab};
    const enum mlt_adapter_slot slot = MLT_SLOT_OUTPUT;
    mlt_adapted_products(f, f->normed, c->n_embd, &product, &slot, 1);
    if (c->logit_scale != 1 || c->logit_softcap > 0) mlt_thread_pool_run(f->pool, finish_share, f);
}

/* Makes the items rows, each at the next position of its sequence; in a prefix each sees all that its
 * sequence then has. */
static void take_items(struct mlt_forward *f, const millet_item *items, int32_t count, bool prefix)
{
    f->rows = count;
    f->n_wanted = 0;
    for (int32_t i = 0; i < count; i++) {
        f->token[i] = items[i].token;
        f->sequence[i] = items[i].sequence;
        f->position[i] = f->lengths[items[i].sequence]++;
        if (items[i].logits) f->wanted[f->n_wanted++] = i;
    }
    for (int32_t i = 0; i < count; i++)
        f->seen[i] = prefix ? f->lengths[f->sequence[i]] : f->position[i] + 1;
}

static void run(struct mlt_forward *f, const millet_item *items, int32_t count, bool prefix, float *logits)
{
    const struct mlt_config *c = &f->model->config;
    f->logits = logits;
    if (count >= LARGE_BATCH && !f->large_pages) {
        mlt_use_large_pages(f->block, f->block_bytes);
        mlt_use_large_pages(f->matmul.block, f->matmul.bytes);
        f->large_pages = true;
    }
    take_items(f, items, count, prefix);
    mlt_for_rows(f, f->rows, embed);
    for (f->layer = 0; f->layer < c->n_layers; f->layer++) {
        const struct mlt_layer *layer = &f->model->weights.layers[f->layer];
        attention_branch(f);
        if (f->layer == c->n_layers - 1) keep_wanted(f);
        if (f->rows == 0) break;
        mlt_attention_run(f);
        struct mlt_product out = {&layer->wo, layer->bo, f->branch, c->n_embd};
        static const enum mlt_adapter_slot slot = MLT_SLOT_O;
        mlt_adapted_products(f, f->attended, (int64_t)c->n_heads * c->value_size, &out, &slot, 1);
        mlt_for_rows(f, f->rows, add_attention);
        feed_forward_branch(f);
    }
    if (f->rows > 0) output(f);
}

void mlt_forward_run(struct mlt_forward *f, const millet_item *items, int32_t count, float *logits)
{
    run(f, items, count, false, logits);
}

void mlt_forward_run_prefix(struct mlt_forward *f, const millet_item *items, int32_t count, float *logits)
{
    run(f, items, count, true, logits);
}

void mlt_forward_observe(struct mlt_forward *f, mlt_product_observer *observer, void *context)
{
    f->matmul.observer = observer;
    f->matmul.observing = context;
}

struct mlt_thread_pool *mlt_forward_pool(const struct mlt_forward *f)
{
    return f->pool;
}

int32_t mlt_forward_length(const struct mlt_forward *f, int32_t sequence)
{
    return f->lengths[sequence];
}

void mlt_forward_truncate(struct mlt_forward *f, int32_t sequence, int32_t length)
{
    f->lengths[sequence] = length;
}

void mlt_forward_copy(struct mlt_forward *f, int32_t from, int32_t to)
{
    if (from == to) return;
    mlt_kv_cache_copy(&f->cache, from, to, f->lengths[from]);
    f->lengths[to] = f->lengths[from];
}
