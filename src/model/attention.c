/*
 * Scaled dot-product attention over the cache (Vaswani et al., 2017), with query heads that share key heads
 * (Ainslie et al., 2023), sliding windows (Beltagy et al., 2020) and capped scores (Gemma 2).
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "model/forward_state.h"

#include "model/hadamard.h"

#include <string.h>

/*
 * Rows that are computed together have about TILE_HEADS query heads that share a key head: so often is what
 * was loaded of the cache used.
 */
enum { TILE_HEADS = 32, LEAST_TILE_ROWS = 4 };

/* One thread's part of f->attention; T = tile_rows() * group_size(). */
struct scratch {
    float *scores;  /* [T][scores_stride()] */
    float *q, *out; /* [T][head_size], [T][value_size] */
    /* Only for a cache of blocks: panels of keys, and queries as activations in int8. */
    struct mlt_panel *panels; /* [MLT_MAX_PANELS] */
    float *scaled, *query_d;  /* [head_size], [T][head_size / 32] */
    int8_t *query;            /* [T][head_size] */
    int16_t *query_sums;      /* [T][head_size / 16] */
    int16_t *query_reach;     /* [T][head_size / 32] */
};

static int64_t group_size(const struct mlt_config *c)
{
    return c->n_heads / c->n_kv_heads;
}

static int64_t tile_rows(const struct mlt_config *c)
{
    return MLT_MAX(TILE_HEADS / group_size(c), LEAST_TILE_ROWS);
}

/*
 * Floats from one row of scores to the next: an odd number of cache lines, since rows a power of two apart
 * would fall on the same lines of a cache; and room for whole panels.
 */
static int64_t scores_stride(int32_t n_ctx)
{
    return ((n_ctx + MLT_PANEL_ROWS - 1) / MLT_PANEL_ROWS | 1) * MLT_PANEL_ROWS;
}

static bool in_blocks(mlt_dtype cache)
{
    return mlt_dtype_info(cache)->quantised;
}

/* Takes `floats` floats, and what is missing to a whole cache line, from *used on. */
static float *take(float *base, int64_t *used, int64_t floats)
{
    const int64_t line = MLT_ALIGNMENT / sizeof(float);
    float *part = base ? base + *used : NULL;
    *used += (floats + line - 1) / line * line;
    return part;
}

/* Lays out a thread's part from `base` on (NULL: only its size matters), and returns its floats. */
static int64_t lay_out(const struct mlt_config *c, mlt_dtype cache, int32_t n_ctx, float *base,
                       struct scratch *s)
{
    const int64_t rows = tile_rows(c) * group_size(c), size = c->head_size;
    int64_t used = 0;
    *s = (struct scratch){0};
    s->scores = take(base, &used, rows * scores_stride(n_ctx));
    s->q = take(base, &used, rows * size);
    s->out = take(base, &used, rows * c->value_size);
    if (!in_blocks(cache)) return used;
    s->panels =
        (void *)take(base, &used, MLT_MAX_PANELS * (int64_t)(sizeof(struct mlt_panel) / sizeof(float)));
    s->scaled = take(base, &used, size);
    s->query_d = take(base, &used, rows * size / 32);
    s->query = (void *)take(base, &used, rows * size / (int64_t)sizeof(float));
    s->query_sums = (void *)take(base, &used, rows * size / 32);
    s->query_reach = (void *)take(base, &used, rows * size / 64 + 1);
    return used;
}

int64_t mlt_attention_floats(const struct mlt_config *c, mlt_dtype cache, int32_t n_ctx)
{
    struct scratch ignored;
    return lay_out(c, cache, n_ctx, NULL, &ignored);
}

/* The first position that a row sees. */
static int32_t first_position(const struct mlt_forward *f, int64_t row)
{
    const struct mlt_config *c = &f->model->config;
    int32_t end = f->position[row] + 1;
    return c->layers[f->layer].local && end > c->window ? end - c->window : 0;
}

/*
 * Scores of `heads` queries [heads][head_size] with `n` keys in blocks: products of a quantised matrix, whose
 * rows are the keys, with the scaled queries as activations in int8 (kernels.h). Up to fifteen floats behind
 * the n scores of a query are written too.
 */
static void score_blocks(const struct mlt_forward *f, const struct scratch *scratch, const float *q,
                         int heads, const uint8_t *keys, int64_t n)
{
    const struct mlt_config *c = &f->model->config;
    const struct mlt_kernels *kernels = f->kernels;
    const mlt_dtype dtype = f->cache.dtype;
    const int64_t size = c->head_size, stride = scores_stride(f->options.n_ctx);
    const int64_t row_bytes = (int64_t)mlt_dtype_row_bytes(dtype, size);
    for (int64_t h = 0; h < heads; h++) {
        for (int64_t i = 0; i < size; i++)
            scratch->scaled[i] = q[h * size + i] * c->attention_scale;
        kernels->quantize(scratch->scaled, size, 32, scratch->query + h * size,
                          scratch->query_d + h * (size / 32), scratch->query_sums + h * (size / 16),
                          scratch->query_reach + h * (size / 32));
    }
    const struct mlt_act act = {
        size, 32, scratch->query, scratch->query_d, scratch->query_sums, scratch->query_reach};
    const bool by_rows = mlt_rows_are_better(kernels, dtype, heads);
    const int64_t step = by_rows ? MLT_PANEL_ROWS : MLT_MAX_PANELS * MLT_PANEL_ROWS;
    for (int64_t i = 0; i < n; i += step) {
        const uint8_t *rows[MLT_MAX_PANELS * MLT_PANEL_ROWS];
        const int panels = (int)MLT_MIN(step, n - i + MLT_PANEL_ROWS - 1) / MLT_PANEL_ROWS;
        for (int64_t r = 0; r < panels * MLT_PANEL_ROWS; r++)
            rows[r] = keys + MLT_MIN(i + r, n - 1) * row_bytes;
        float *s = scratch->scores + i;
        if (by_rows) {
            mlt_rows_multiply(kernels, dtype, rows, &act, heads, s, stride);
            continue;
        }
        for (int h = 0; h < heads; h++)
            memset(s + h * stride, 0, (size_t)panels * MLT_PANEL_ROWS * sizeof *s);
        for (int64_t column = 0; column < size; column += MLT_PANEL_COLUMNS) {
            const int columns = (int)MLT_MIN(size - column, MLT_PANEL_COLUMNS);
            for (int p = 0; p < panels; p++)
                kernels->unpack[dtype](rows + p * MLT_PANEL_ROWS, column, columns, &scratch->panels[p]);
            kernels->dot_block32(scratch->panels, panels, column, &act, 0, heads, s, stride);
        }
    }
}

static void score(const struct mlt_forward *f, const struct scratch *scratch, const float *q, int heads,
                  const uint8_t *keys, int64_t n)
{
    const struct mlt_config *c = &f->model->config;
    mlt_score_kernel *kernel = f->cache.dtype == MLT_F16 ? f->kernels->score_f16 : f->kernels->score_f32;
    if (in_blocks(f->cache.dtype))
        score_blocks(f, scratch, q, heads, keys, n);
    else
        kernel(q, heads, keys, c->head_size, n, c->head_size, c->attention_scale, scratch->scores,
               scores_stride(f->options.n_ctx));
}

static mlt_mix_kernel *mix_for(const struct mlt_kernels *kernels, mlt_dtype dtype)
{
    switch (dtype) {
    case MLT_F16: return kernels->mix_f16;
    case MLT_Q8_0: return kernels->mix_q8_0;
    case MLT_IQ4_NL: return kernels->mix_iq4_nl;
    default: return kernels->mix_f32;
    }
}

/*
 * `rows` rows that follow each other in one sequence and see it from the same position on, and for each of
 * them `heads` query heads from `head` on, which share a key head. To the kernels all of these are heads that
 * share keys, of a history as long as the last row's: a key is loaded and converted once for them. Scores of
 * positions after what a row sees are replaced by weights of zero. A sum that goes on with 0 * v keeps its
 * bits for every finite v, so a row's result does not depend on the tile that it is in.
 */
static void attend_tile(const struct mlt_forward *f, const struct scratch *scratch, int64_t row, int64_t rows,
                        int64_t head, int64_t heads)
{
    const struct mlt_config *c = &f->model->config;
    const struct mlt_kernels *kernels = f->kernels;
    const mlt_dtype dtype = f->cache.dtype;
    int32_t kv_head = (int32_t)(head / group_size(c)), begin = first_position(f, row);
    int64_t n = f->seen[row + rows - 1] - begin, stride = scores_stride(f->options.n_ctx);
    const uint8_t *keys = mlt_kv_cache_keys(&f->cache, f->layer, f->sequence[row], kv_head);
    const uint8_t *values = mlt_kv_cache_values(&f->cache, f->layer, f->sequence[row], kv_head);
    keys += (uint64_t)begin * mlt_dtype_row_bytes(dtype, c->head_size);
    values += (uint64_t)begin * mlt_dtype_row_bytes(dtype, c->value_size);

    float *q = f->q + (row * c->n_heads + head) * c->head_size;
    float *out = f->attended + (row * c->n_heads + head) * c->value_size;
    const int64_t q_row = (int64_t)c->n_heads * c->head_size, out_row = (int64_t)c->n_heads * c->value_size;
    const int64_t q_part = heads * c->head_size, out_part = heads * c->value_size;
    float *tile_q = rows > 1 ? scratch->q : q, *tile_out = rows > 1 ? scratch->out : out;
    for (int64_t r = 0; rows > 1 && r < rows; r++)
        memcpy(tile_q + r * q_part, q + r * q_row, (size_t)q_part * sizeof *q);

    int all = (int)(rows * heads);
    score(f, scratch, tile_q, all, keys, n);
    for (int64_t r = 0; r < rows; r++) {
        int64_t own = f->seen[row + r] - begin;
        for (int64_t h = 0; h < heads; h++) {
            float *s = scratch->scores + (r * heads + h) * stride;
            if (c->attention_softcap > 0) kernels->softcap(s, own, c->attention_softcap);
            kernels->softmax(s, own, NULL);
            memset(s + own, 0, (size_t)(n - own) * sizeof *s);
        }
    }
    mix_for(kernels, dtype)(scratch->scores, stride, all, values, c->value_size, n, c->value_size, tile_out);
    if (mlt_kv_cache_rotates(dtype)) mlt_hadamard(tile_out, all, c->value_size);

    for (int64_t r = 0; rows > 1 && r < rows; r++)
        memcpy(out + r * out_row, tile_out + r * out_part, (size_t)out_part * sizeof *out);
}

/*
 * Threads take items one by one, since their costs differ. An item is a tile of rows and all the query heads
 * of a key head; with fewer such items than threads, as for a single token, it is one query head.
 */
static void attend_items(void *argument, int thread, int threads)
{
    struct mlt_forward *f = argument;
    const struct mlt_config *c = &f->model->config;
    int64_t tiles = f->n_tiles, heads = tiles * c->n_kv_heads < threads ? 1 : group_size(c);
    int64_t items = tiles * (c->n_heads / heads);
    const int64_t floats = mlt_attention_floats(c, f->cache.dtype, f->options.n_ctx);
    struct scratch scratch;
    lay_out(c, f->cache.dtype, f->options.n_ctx, f->attention + thread * floats, &scratch);
    for (;;) {
        int64_t item = atomic_fetch_add_explicit(&f->next_item, 1, memory_order_relaxed);
        if (item >= items) return;
        /* Tiles run fastest: threads work on one head's keys at a time. The longest histories come first. */
        int64_t tile = tiles - 1 - item % tiles, head = item / tiles * heads;
        int64_t row = f->tile[tile], end = f->tile[tile + 1];
        if (first_position(f, end - 1) == first_position(f, row)) {
            attend_tile(f, &scratch, row, end - row, head, heads);
        } else {
            for (; row < end; row++)
                attend_tile(f, &scratch, row, 1, head, heads);
        }
    }
}

/* Cuts the rows into tiles of consecutive positions of one sequence. */
static void make_tiles(struct mlt_forward *f)
{
    bool finite = atomic_load_explicit(&f->finite_values, memory_order_relaxed);
    const int64_t longest = tile_rows(&f->model->config);
    f->n_tiles = 0;
    for (int32_t row = 0; row < f->rows; row++) {
        bool follows = finite && row > 0 && f->sequence[row] == f->sequence[row - 1] &&
                       f->position[row] == f->position[row - 1] + 1 &&
                       row - f->tile[f->n_tiles - 1] < longest;
        if (!follows) f->tile[f->n_tiles++] = row;
    }
    f->tile[f->n_tiles] = f->rows;
}

void mlt_attention_run(struct mlt_forward *f)
{
    make_tiles(f);
    atomic_store_explicit(&f->next_item, 0, memory_order_relaxed);
    const struct mlt_config *c = &f->model->config;
    int64_t positions = 0;
    for (int32_t row = 0; row < f->rows; row++)
        positions += f->seen[row];
    int64_t work = positions * c->n_heads * (c->head_size + c->value_size);
    mlt_thread_pool_run(work < MLT_WORTH_SHARING ? NULL : f->pool, attend_items, f);
}
