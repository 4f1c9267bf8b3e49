/*
 * Scaled dot-product attention over the cache (Vaswani et al., 2017), with query heads that share key heads
 * (Ainslie et al., 2023), sliding windows (Beltagy et al., 2020) and capped scores (Gemma 2).
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "model/forward_state.h"

#include <string.h>

/*
 * Rows that are computed together have about TILE_HEADS query heads that share a key head: so often is what
 * was loaded of the cache used.
 */
enum { TILE_HEADS = 32, LEAST_TILE_ROWS = 4 };

/* One thread's part of f->attention; T = tile_rows() * group_size(). */
struct scratch {
    float *scores;  /* [T][f->scores_stride] */
    float *q, *out; /* [T][head_size], [T][value_size] */
};

static int64_t group_size(const struct mlt_config *c)
{
    return c->n_heads / c->n_kv_heads;
}

static int64_t tile_rows(const struct mlt_config *c)
{
    return MLT_MAX(TILE_HEADS / group_size(c), LEAST_TILE_ROWS);
}

/* An odd number of cache lines: rows an even power of two apart would fall on the same lines of a cache. */
int64_t mlt_attention_stride(int32_t n_ctx)
{
    const int64_t line = MLT_ALIGNMENT / sizeof(float);
    return ((n_ctx + line - 1) / line | 1) * line;
}

int64_t mlt_attention_floats(const struct mlt_config *c, int64_t scores_stride)
{
    return tile_rows(c) * group_size(c) * (scores_stride + c->head_size + c->value_size);
}

static struct scratch thread_scratch(const struct mlt_forward *f, int thread)
{
    const struct mlt_config *c = &f->model->config;
    float *start = f->attention + thread * mlt_attention_floats(c, f->scores_stride);
    int64_t rows = tile_rows(c) * group_size(c);
    float *q = start + rows * f->scores_stride;
    return (struct scratch){start, q, q + rows * c->head_size};
}

/* The first position that a row sees. */
static int32_t first_position(const struct mlt_forward *f, int64_t row)
{
    const struct mlt_config *c = &f->model->config;
    int32_t end = f->position[row] + 1;
    return c->layers[f->layer].local && end > c->window ? end - c->window : 0;
}

/*
 * `rows` rows that follow each other in one sequence and see it from the same position on, and for each of
 * them `heads` query heads from `head` on, which share a key head. To the kernels all of these are heads that
 * share keys, of a history as long as the last row's: a key is loaded and converted once for them. Scores of
 * positions after a row's own are replaced by weights of zero. A sum that goes on with 0 * v keeps its bits
 * for every finite v, so a row's result does not depend on the tile that it is in.
 */
static void attend_tile(const struct mlt_forward *f, const struct scratch *scratch, int64_t row, int64_t rows,
                        int64_t head, int64_t heads)
{
    const struct mlt_config *c = &f->model->config;
    const struct mlt_kernels *kernels = f->kernels;
    int32_t kv_head = (int32_t)(head / group_size(c)), begin = first_position(f, row);
    int64_t n = f->position[row + rows - 1] + 1 - begin, stride = f->scores_stride;
    bool half = f->cache.dtype == MLT_F16;
    int64_t element = half ? sizeof(uint16_t) : sizeof(float);
    const uint8_t *keys = mlt_kv_cache_keys(&f->cache, f->layer, f->sequence[row], kv_head);
    const uint8_t *values = mlt_kv_cache_values(&f->cache, f->layer, f->sequence[row], kv_head);
    keys += (int64_t)begin * c->head_size * element;
    values += (int64_t)begin * c->value_size * element;

    float *q = f->q + (row * c->n_heads + head) * c->head_size;
    float *out = f->attended + (row * c->n_heads + head) * c->value_size;
    const int64_t q_row = (int64_t)c->n_heads * c->head_size, out_row = (int64_t)c->n_heads * c->value_size;
    const int64_t q_part = heads * c->head_size, out_part = heads * c->value_size;
    float *tile_q = rows > 1 ? scratch->q : q, *tile_out = rows > 1 ? scratch->out : out;
    for (int64_t r = 0; rows > 1 && r < rows; r++)
        memcpy(tile_q + r * q_part, q + r * q_row, (size_t)q_part * sizeof *q);

    int all = (int)(rows * heads);
    mlt_score_kernel *score = half ? kernels->score_f16 : kernels->score_f32;
    mlt_mix_kernel *mix = half ? kernels->mix_f16 : kernels->mix_f32;
    score(tile_q, all, keys, c->head_size, n, c->head_size, c->attention_scale, scratch->scores, stride);
    for (int64_t r = 0; r < rows; r++) {
        int64_t own = n - (rows - 1 - r);
        for (int64_t h = 0; h < heads; h++) {
            float *s = scratch->scores + (r * heads + h) * stride;
            if (c->attention_softcap > 0) kernels->softcap(s, own, c->attention_softcap);
            kernels->softmax(s, own, NULL);
            memset(s + own, 0, (size_t)(n - own) * sizeof *s);
        }
    }
    mix(scratch->scores, stride, all, values, c->value_size, n, c->value_size, tile_out);

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
    struct scratch scratch = thread_scratch(f, thread);
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
        positions += f->position[row] + 1;
    int64_t work = positions * c->n_heads * (c->head_size + c->value_size);
    mlt_thread_pool_run(work < MLT_WORTH_SHARING ? NULL : f->pool, attend_items, f);
}
