/*
 * The sampler chain of millet.h. Nothing here sorts the vocabulary: top-k is one pass with a heap of k, and
 * typical-p and top-p build a heap and take from it only as many tokens as they keep.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "generate/sampler.h"

#include "kernels/math.h"
#include "model/model.h"

#include <string.h>

struct ranked {
    float key; /* the greater the better */
    int32_t id;
};

struct penalised {
    int32_t id, count; /* how often it occurs among the recent tokens */
};

struct millet_sampler {
    millet_allocator allocator;
    millet_sampler_options options;
    const struct mlt_kernels *kernels;
    struct mlt_sampler_size size;
    struct mlt_random random;
    int32_t *recent; /* a ring of the last `last` tokens */
    int32_t last, n_recent, oldest;
    struct penalised *penalised; /* the distinct tokens of the ring, ascending by id */
    int32_t n_penalised;
    /* The candidates, ascending by id: logit (with penalties), weight, id. */
    float *x, *weight;
    int32_t *id;
    int32_t n;
    struct ranked *heap;
};

static bool has_penalties(const millet_sampler_options *options)
{
    return options->repeat_penalty != 1.0f || options->frequency_penalty != 0.0f ||
           options->presence_penalty != 0.0f;
}

static int32_t penalty_last(const millet_sampler_options *options)
{
    if (!has_penalties(options)) return 0;
    return options->penalty_last ? options->penalty_last : MLT_SAMPLER_DEFAULT_LAST;
}

millet_sampler_options millet_sampler_options_default(void)
{
    return (millet_sampler_options){
        .temperature = 0.8f,
        .top_k = 40,
        .top_p = 0.95f,
        .min_p = 0.05f,
        .typical_p = 1.0f,
        .repeat_penalty = 1.0f,
    };
}

millet_status mlt_sampler_check(const millet_sampler_options *options, millet_error *err)
{
    /* Comparisons are written so that NaN fails them. */
    const struct {
        const char *name;
        double value;
        bool valid;
        const char *range;
    } checks[] = {
        {"temperature", options->temperature, options->temperature >= 0 && options->temperature < INFINITY,
         "0 (most probable token) or a positive number"},
        {"top_k", options->top_k, options->top_k >= 0, "0 (off) or the number of tokens to keep"},
        {"top_p", options->top_p, options->top_p > 0 && options->top_p <= 1, "above 0, at most 1 (off)"},
        {"min_p", options->min_p, options->min_p >= 0 && options->min_p <= 1, "0 (off) to 1"},
        {"typical_p", options->typical_p, options->typical_p > 0 && options->typical_p <= 1,
         "above 0, at most 1 (off)"},
        {"repeat_penalty", options->repeat_penalty,
         options->repeat_penalty > 0 && options->repeat_penalty < INFINITY,
         "a positive number, 1 for no penalty"},
        {"frequency_penalty", options->frequency_penalty, isfinite(options->frequency_penalty),
         "a finite number, 0 for no penalty"},
        {"presence_penalty", options->presence_penalty, isfinite(options->presence_penalty),
         "a finite number, 0 for no penalty"},
        {"penalty_last", options->penalty_last,
         options->penalty_last >= 0 && options->penalty_last <= MLT_SAMPLER_MAX_LAST,
         "0 (64 tokens) to 1048576"},
    };
    for (size_t i = 0; i < MLT_COUNT(checks); i++)
        if (!checks[i].valid)
            return mlt_fail_at(err, MILLET_BAD_ARGUMENT, NULL, checks[i].name, MILLET_NO_OFFSET,
                               "the sampler's %s is %g; it must be %s (millet_sampler_options_default has "
                               "valid values for all)",
                               checks[i].name, checks[i].value, checks[i].range);
    return MILLET_OK;
}

struct mlt_sampler_size mlt_sampler_size_for(int32_t n_vocab, const millet_sampler_options *options)
{
    int32_t candidates = n_vocab;
    if (options->temperature == 0) candidates = 1;
    if (options->top_k) candidates = MLT_MIN(candidates, options->top_k);
    return (struct mlt_sampler_size){n_vocab, candidates, penalty_last(options)};
}

struct mlt_sampler_size mlt_sampler_size_any(int32_t n_vocab, int32_t max_recent)
{
    return (struct mlt_sampler_size){n_vocab, n_vocab, MLT_MIN(max_recent, MLT_SAMPLER_MAX_LAST)};
}

/* Sizes and places of the arrays behind the struct. */
struct layout {
    uint64_t recent, penalised, x, weight, id, heap, total;
};

static struct layout lay_out(struct mlt_sampler_size size)
{
    struct layout l;
    uint64_t recent = (uint64_t)size.max_recent, candidates = (uint64_t)size.max_candidates;
    l.recent = mlt_round_up(sizeof(millet_sampler), MLT_ALIGNMENT);
    l.penalised = l.recent + mlt_round_up(recent * sizeof(int32_t), MLT_ALIGNMENT);
    l.x = l.penalised + mlt_round_up(recent * sizeof(struct penalised), MLT_ALIGNMENT);
    l.weight = l.x + mlt_round_up(candidates * sizeof(float), MLT_ALIGNMENT);
    l.id = l.weight + mlt_round_up(candidates * sizeof(float), MLT_ALIGNMENT);
    l.heap = l.id + mlt_round_up(candidates * sizeof(int32_t), MLT_ALIGNMENT);
    l.total = l.heap + mlt_round_up(candidates * sizeof(struct ranked), MLT_ALIGNMENT);
    return l;
}

uint64_t mlt_sampler_bytes(struct mlt_sampler_size size)
{
    return lay_out(size).total;
}

millet_status mlt_sampler_create(const millet_allocator *allocator, struct mlt_sampler_size size,
                                 millet_sampler **out, millet_error *err)
{
    *out = NULL;
    struct layout l = lay_out(size);
    if (l.total > SIZE_MAX)
        return mlt_fail(err, MILLET_NO_MEMORY, "a sampler for %d tokens is larger than the address space",
                        size.n_vocab);
    uint8_t *block = mlt_alloc(allocator, 1, (size_t)l.total, err);
    if (!block) return MILLET_NO_MEMORY;
    millet_sampler *sampler = (millet_sampler *)(void *)block;
    *sampler = (millet_sampler){
        .allocator = *allocator,
        .kernels = mlt_kernels_default(),
        .size = size,
        .recent = (int32_t *)(void *)(block + l.recent),
        .penalised = (struct penalised *)(void *)(block + l.penalised),
        .x = (float *)(void *)(block + l.x),
        .weight = (float *)(void *)(block + l.weight),
        .id = (int32_t *)(void *)(block + l.id),
        .heap = (struct ranked *)(void *)(block + l.heap),
    };
    *out = sampler;
    return MILLET_OK;
}

void mlt_sampler_configure(millet_sampler *sampler, const millet_sampler_options *options)
{
    sampler->options = *options;
    sampler->last = MLT_MIN(penalty_last(options), sampler->size.max_recent);
    millet_sampler_reset(sampler);
}

millet_status millet_sampler_open(const millet_model *model, const millet_sampler_options *options,
                                  millet_sampler **sampler, millet_error *err)
{
    millet_sampler_options defaults = millet_sampler_options_default();
    if (!options) options = &defaults;
    *sampler = NULL;
    MLT_TRY(mlt_sampler_check(options, err));
    struct mlt_sampler_size size = mlt_sampler_size_for(model->config.n_vocab, options);
    MLT_TRY(mlt_sampler_create(&model->allocator, size, sampler, err));
    mlt_sampler_configure(*sampler, options);
    return MILLET_OK;
}

void millet_sampler_close(millet_sampler **handle)
{
    millet_sampler *sampler = *handle;
    if (!sampler) return;
    millet_allocator allocator = sampler->allocator;
    mlt_free(&allocator, sampler);
    *handle = NULL;
}

void millet_sampler_reset(millet_sampler *sampler)
{
    sampler->n_recent = sampler->oldest = sampler->n_penalised = 0;
    mlt_random_seed(&sampler->random, sampler->options.seed);
}

void mlt_sampler_follow(millet_sampler *sampler, const millet_sampler *from)
{
    sampler->options = from->options;
    sampler->random = from->random;
    sampler->n_recent = sampler->oldest = sampler->n_penalised = sampler->last = 0;
    if (from->last > sampler->size.max_recent) return;
    sampler->last = from->last;
    sampler->n_recent = from->n_recent;
    sampler->oldest = from->oldest;
    sampler->n_penalised = from->n_penalised;
    memcpy(sampler->recent, from->recent, sizeof *from->recent * (size_t)from->n_recent);
    memcpy(sampler->penalised, from->penalised, sizeof *from->penalised * (size_t)from->n_penalised);
}

/* ---- Recent tokens --------------------------------------------------------------------------------------
 */

/* Index of the first distinct recent token whose id is not below `id`. */
static int32_t find_penalised(const millet_sampler *sampler, int32_t id)
{
    int32_t low = 0, high = sampler->n_penalised;
    while (low < high) {
        int32_t middle = low + (high - low) / 2;
        if (sampler->penalised[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

void millet_sampler_accept(millet_sampler *sampler, int32_t token)
{
    if (sampler->last == 0 || token < 0 || token >= sampler->size.n_vocab) return;
    struct penalised *list = sampler->penalised;
    int32_t at;
    if (sampler->n_recent == sampler->last) {
        at = find_penalised(sampler, sampler->recent[sampler->oldest]);
        if (--list[at].count == 0) {
            for (int32_t i = at + 1; i < sampler->n_penalised; i++)
                list[i - 1] = list[i];
            sampler->n_penalised--;
        }
        sampler->recent[sampler->oldest] = token;
        sampler->oldest = (sampler->oldest + 1) % sampler->last;
    } else {
        sampler->recent[sampler->n_recent++] = token;
    }
    at = find_penalised(sampler, token);
    if (at < sampler->n_penalised && list[at].id == token) {
        list[at].count++;
        return;
    }
    for (int32_t i = sampler->n_penalised; i > at; i--)
        list[i] = list[i - 1];
    list[at] = (struct penalised){token, 1};
    sampler->n_penalised++;
}

/* Walks over the logits in ascending order of id, penalties applied. */
struct walk {
    const float *logits;
    const struct penalised *next, *end;
    const millet_sampler_options *options;
    int32_t id;
};

static struct walk walk_start(const millet_sampler *sampler, const float *logits)
{
    return (struct walk){logits, sampler->penalised, sampler->penalised + sampler->n_penalised,
                         &sampler->options, 0};
}

static inline float walk_step(struct walk *walk)
{
    float x = walk->logits[walk->id];
    if (MLT_UNLIKELY(walk->next < walk->end && walk->next->id == walk->id)) {
        const millet_sampler_options *options = walk->options;
        x = x > 0 ? x / options->repeat_penalty : x * options->repeat_penalty;
        x -= (float)walk->next->count * options->frequency_penalty + options->presence_penalty;
        walk->next++;
    }
    walk->id++;
    return x;
}

/* ---- Heaps ----------------------------------------------------------------------------------------------
 */

static inline bool is_before(struct ranked a, struct ranked b)
{
    return a.key > b.key || (a.key == b.key && a.id < b.id);
}

/* Restores the heap heap[0..n) below node `i`; its root is the best, or with `worst_on_top` the worst. */
static void sift_down(struct ranked *heap, int32_t n, int32_t i, bool worst_on_top)
{
    struct ranked moved = heap[i];
    for (;;) {
        int64_t child = 2 * (int64_t)i + 1;
        if (child >= n) break;
        if (child + 1 < n && is_before(heap[child + 1], heap[child]) != worst_on_top) child++;
        if (is_before(heap[child], moved) == worst_on_top) break;
        heap[i] = heap[child];
        i = (int32_t)child;
    }
    heap[i] = moved;
}

static void build_heap(struct ranked *heap, int32_t n, bool worst_on_top)
{
    for (int32_t i = n / 2 - 1; i >= 0; i--)
        sift_down(heap, n, i, worst_on_top);
}

/* ---- Filters --------------------------------------------------------------------------------------------
 */

static void take_all(millet_sampler *sampler, const float *logits)
{
    struct walk walk = walk_start(sampler, logits);
    int32_t n = 0;
    for (int32_t i = 0; i < sampler->size.n_vocab; i++) {
        float x = walk_step(&walk);
        if (x != x) continue;
        sampler->x[n] = x;
        sampler->id[n++] = i;
    }
    sampler->n = n;
}

static void take_top_k(millet_sampler *sampler, const float *logits, int32_t k)
{
    struct ranked *heap = sampler->heap;
    struct walk walk = walk_start(sampler, logits);
    int32_t n = 0;
    for (int32_t i = 0; i < sampler->size.n_vocab; i++) {
        struct ranked r = {walk_step(&walk), i};
        if (r.key != r.key) continue;
        if (n < k) {
            heap[n++] = r;
            if (n == k) build_heap(heap, n, true);
        } else if (r.key > heap[0].key) { /* an equal key has a lower rank: its id is higher */
            heap[0] = r;
            sift_down(heap, n, 0, true);
        }
    }
    if (n < k) { /* hardly any numbers among the logits */
        take_all(sampler, logits);
        return;
    }
    struct ranked last = heap[0];
    walk = walk_start(sampler, logits);
    n = 0;
    for (int32_t i = 0; n < k; i++) {
        struct ranked r = {walk_step(&walk), i};
        if (r.key != r.key || is_before(last, r)) continue;
        sampler->x[n] = r.key;
        sampler->id[n++] = i;
    }
    sampler->n = n;
}

static void take_greatest(millet_sampler *sampler, const float *logits)
{
    struct walk walk = walk_start(sampler, logits);
    struct ranked best = {-INFINITY, -1};
    for (int32_t i = 0; i < sampler->size.n_vocab; i++) {
        float x = walk_step(&walk);
        if (x > best.key || (best.id < 0 && x == x)) best = (struct ranked){x, i};
    }
    sampler->n = best.id >= 0;
    sampler->x[0] = best.key;
    sampler->id[0] = best.id;
}

/* Sixteen lanes, which compilers make vectors of. */
float mlt_greatest(const float *x, int32_t n)
{
    float lane[16], max = -INFINITY;
    for (int j = 0; j < 16; j++)
        lane[j] = -INFINITY;
    int32_t i = 0;
    for (; i + 16 <= n; i += 16)
        for (int j = 0; j < 16; j++)
            lane[j] = x[i + j] > lane[j] ? x[i + j] : lane[j];
    for (int j = 0; j < 16; j++)
        max = lane[j] > max ? lane[j] : max;
    for (; i < n; i++)
        max = x[i] > max ? x[i] : max;
    return max;
}

/* x - max, at most 0, also where both are the same infinity. */
static inline float below(float x, float max)
{
    return x == max ? 0.0f : x - max;
}

/* Fills the weights with the probabilities of softmax(x / temperature). */
static void weigh(millet_sampler *sampler, float temperature)
{
    float max = mlt_greatest(sampler->x, sampler->n);
    for (int32_t i = 0; i < sampler->n; i++)
        sampler->weight[i] = below(sampler->x[i], max) / temperature;
    sampler->kernels->softmax(sampler->weight, sampler->n, NULL);
}

static double total_weight(const millet_sampler *sampler)
{
    double total = 0;
    for (int32_t i = 0; i < sampler->n; i++)
        total += sampler->weight[i];
    return total;
}

/*
 * Rank for top-p: the logit. Rank for typical-p: how near the information -ln p of a token is to its mean
 * over the candidates, the entropy: with d = x - max and p in proportion to w, -ln p - H = sum(w d) / sum(w)
 * - d.
 */
struct order {
    bool typical;
    float max;
    double mean;
};

static inline float rank_key(const struct order *order, float x)
{
    if (!order->typical) return x;
    return (float)-fabs((double)below(x, order->max) - order->mean);
}

/* Keeps the smallest set of best-ranked candidates whose part of the total weight reaches `share`. */
static void keep_share(millet_sampler *sampler, const struct order *order, float share)
{
    struct ranked *heap = sampler->heap;
    double total = total_weight(sampler), wanted = (double)share * total, reached = 0, floor = -1;
    /*
     * Top-p: what is below (1 - share) / n of the total cannot add up to more than 1 - share of it, so that
     * the best tokens reach the share without it (0.999: rounding). Mostly that is nearly all of the
     * vocabulary.
     */
    if (!order->typical) floor = 0.999 * (1 - (double)share) * total / sampler->n;
    /* In the heap `id` is the place among the candidates, which are in the order of their ids. */
    int32_t left = 0;
    for (int32_t i = 0; i < sampler->n; i++)
        if ((double)sampler->weight[i] >= floor)
            heap[left++] = (struct ranked){rank_key(order, sampler->x[i]), i};
    build_heap(heap, left, false);
    struct ranked last = heap[0];
    while (left > 0) {
        last = heap[0];
        reached += sampler->weight[last.id];
        if (reached >= wanted) break;
        heap[0] = heap[--left];
        sift_down(heap, left, 0, false);
    }
    int32_t n = 0;
    for (int32_t i = 0; i < sampler->n; i++) {
        if (is_before(last, (struct ranked){rank_key(order, sampler->x[i]), i})) continue;
        sampler->x[n] = sampler->x[i];
        sampler->weight[n] = sampler->weight[i];
        sampler->id[n++] = sampler->id[i];
    }
    sampler->n = n;
}

static void keep_typical(millet_sampler *sampler, float share)
{
    struct order order = {.typical = true, .max = mlt_greatest(sampler->x, sampler->n)};
    double sum = 0;
    for (int32_t i = 0; i < sampler->n; i++)
        if (sampler->weight[i] > 0)
            sum += (double)sampler->weight[i] * (double)below(sampler->x[i], order.max);
    order.mean = sum / total_weight(sampler);
    keep_share(sampler, &order, share);
}

static void keep_min_p(millet_sampler *sampler, float fraction)
{
    float max = mlt_greatest(sampler->weight, sampler->n);
    int32_t n = 0;
    for (int32_t i = 0; i < sampler->n; i++) {
        if (sampler->weight[i] < fraction * max) continue;
        sampler->x[n] = sampler->x[i];
        sampler->weight[n] = sampler->weight[i];
        sampler->id[n++] = sampler->id[i];
    }
    sampler->n = n;
}

millet_status mlt_sampler_distribution(millet_sampler *sampler, const float *logits,
                                       struct mlt_distribution *out, millet_error *err)
{
    const millet_sampler_options *options = &sampler->options;
    if (options->temperature == 0)
        take_greatest(sampler, logits);
    else if (options->top_k && options->top_k < sampler->size.n_vocab)
        take_top_k(sampler, logits, options->top_k);
    else
        take_all(sampler, logits);
    if (sampler->n == 0)
        return mlt_fail(err, MILLET_BAD_ARGUMENT, "all %d logits are NaN", sampler->size.n_vocab);
    if (sampler->n == 1) {
        sampler->weight[0] = 1;
    } else {
        if (options->typical_p < 1 || options->top_p < 1 || options->min_p > 0) {
            weigh(sampler, 1);
            if (options->typical_p < 1) keep_typical(sampler, options->typical_p);
            if (options->top_p < 1) keep_share(sampler, &(struct order){.typical = false}, options->top_p);
            if (options->min_p > 0) keep_min_p(sampler, options->min_p);
        }
        weigh(sampler, options->temperature);
    }
    *out = (struct mlt_distribution){sampler->n, sampler->id, sampler->weight, total_weight(sampler)};
    return MILLET_OK;
}

millet_status millet_sampler_sample(millet_sampler *sampler, const float *logits, int32_t *token,
                                    millet_error *err)
{
    struct mlt_distribution d;
    MLT_TRY(mlt_sampler_distribution(sampler, logits, &d, err));
    int32_t chosen = 0;
    if (sampler->options.temperature > 0) { /* one random number a token, however many can be drawn */
        double point = mlt_random_double(&sampler->random) * d.total, reached = 0;
        for (int32_t i = 0; i < d.count; i++) {
            if (d.weights[i] == 0) continue;
            chosen = i;
            reached += d.weights[i];
            if (point < reached) break;
        }
    }
    *token = d.ids[chosen];
    millet_sampler_accept(sampler, *token);
    return MILLET_OK;
}
