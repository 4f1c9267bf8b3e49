/*
 * Scaled dot-product attention over the cache (Vaswani et al., 2017), with query heads that share key heads
 * (Ainslie et al., 2023), sliding windows (Beltagy et al., 2020) and capped scores (Gemma 2).
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "model/forward_state.h"

/*
 * An item of work is one row and `heads` query heads from `head` on, which share a key head. Its result
 * depends on nothing else, so items may run in any order on any thread.
 */
static void attend(struct mlt_forward *f, int64_t row, int32_t head, int32_t heads, float *scores)
{
    const struct mlt_config *c = &f->model->config;
    const struct mlt_kernels *kernels = f->kernels;
    int32_t kv_head = head / (c->n_heads / c->n_kv_heads);
    int32_t end = f->position[row] + 1, begin = 0;
    if (c->layers[f->layer].local && end > c->window) begin = end - c->window;
    int64_t n = end - begin, stride = f->scores_stride;
    bool half = f->cache.dtype == MLT_F16;
    uint64_t element = half ? sizeof(uint16_t) : sizeof(float);

    const float *q = f->q + (row * c->n_heads + head) * c->head_size;
    const uint8_t *keys = mlt_kv_cache_keys(&f->cache, f->layer, f->sequence[row], kv_head) +
                          (uint64_t)begin * (uint64_t)c->head_size * element;
    const uint8_t *values = mlt_kv_cache_values(&f->cache, f->layer, f->sequence[row], kv_head) +
                            (uint64_t)begin * (uint64_t)c->value_size * element;
    float *out = f->attended + (row * c->n_heads + head) * c->value_size;

    mlt_score_kernel *score = half ? kernels->score_f16 : kernels->score_f32;
    mlt_mix_kernel *mix = half ? kernels->mix_f16 : kernels->mix_f32;
    score(q, heads, keys, c->head_size, n, c->head_size, c->attention_scale, scores, stride);
    for (int32_t h = 0; h < heads; h++) {
        float *s = scores + h * stride;
        if (c->attention_softcap > 0) kernels->softcap(s, n, c->attention_softcap);
        kernels->softmax(s, n, NULL);
    }
    mix(scores, stride, heads, values, c->value_size, n, c->value_size, out);
}

/*
 * Threads take items one by one, since their costs differ. Usually an item is all the query heads of a key
 * head, so that keys are read once for them; with fewer such items than threads it is one query head.
 */
static void attend_items(void *argument, int thread, int threads)
{
    struct mlt_forward *f = argument;
    const struct mlt_config *c = &f->model->config;
    int32_t group = c->n_heads / c->n_kv_heads;
    int32_t heads = (int64_t)c->n_kv_heads * f->rows < threads ? 1 : group;
    int64_t rows = f->rows, items = rows * (c->n_heads / heads);
    float *scores = f->scores + (int64_t)thread * group * f->scores_stride;
    for (;;) {
        int64_t item = atomic_fetch_add_explicit(&f->next_item, 1, memory_order_relaxed);
        if (item >= items) return;
        /* Rows run fastest: threads work on one head's keys at a time. The longest histories come first. */
        attend(f, rows - 1 - item % rows, (int32_t)(item / rows) * heads, heads, scores);
    }
}

void mlt_attention_run(struct mlt_forward *f)
{
    atomic_store_explicit(&f->next_item, 0, memory_order_relaxed);
    mlt_thread_pool_run(f->pool, attend_items, f);
}
