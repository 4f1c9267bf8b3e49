/* Choosing what stays. SPDX-License-Identifier: Apache-2.0 */
#include "compact/prune_select.h"

#include "base/random.h"

#include <math.h>
#include <string.h>

/* ---- Numbers ---- */

static millet_status check_one(int32_t *count, int32_t all, const char *option, millet_error *err)
{
    if (*count == 0) *count = all;
    if (*count >= 1 && *count <= all) return MILLET_OK;
    return mlt_fail_at(err, MILLET_BAD_ARGUMENT, NULL, option, MILLET_NO_OFFSET,
                       "%d cannot stay: the model has %d, of which 1 to %d can", *count, all, all);
}

static millet_status check_heads(const struct mlt_config *c, struct mlt_prune_counts *n, millet_error *err)
{
    int32_t group = c->n_heads / c->n_kv_heads;
    bool heads = n->heads != 0, keys = n->kv_heads != 0;
    MLT_TRY(check_one(&n->heads, c->n_heads, "heads", err));
    MLT_TRY(check_one(&n->kv_heads, c->n_kv_heads, "kv_heads", err));
    /* Where each query head has a key head of its own, they go together. */
    if (heads && !keys && group == 1) n->kv_heads = n->heads;
    if (keys && !heads) n->heads = n->kv_heads * group;
    if (n->heads % n->kv_heads != 0)
        return mlt_fail_at(
            err, MILLET_BAD_ARGUMENT, NULL, "heads", MILLET_NO_OFFSET,
            "%d query heads cannot share %d key heads evenly: a multiple of %d is needed, up to %d", n->heads,
            n->kv_heads, n->kv_heads, n->kv_heads * group);
    if (n->heads / n->kv_heads > group)
        return mlt_fail_at(err, MILLET_BAD_ARGUMENT, NULL, "heads", MILLET_NO_OFFSET,
                           "%d query heads over %d key heads, but each key head has only %d", n->heads,
                           n->kv_heads, group);
    return MILLET_OK;
}

millet_status mlt_prune_counts_check(const struct mlt_config *c, struct mlt_prune_counts *n,
                                     millet_error *err)
{
    MLT_TRY(check_one(&n->layers, c->n_layers, "layers", err));
    MLT_TRY(check_one(&n->feed_forward, c->n_ff, "feed_forward", err));
    MLT_TRY(check_one(&n->width, c->n_embd, "width", err));
    return check_heads(c, n, err);
}

/* ---- Choosing ---- */

struct chooser {
    const struct mlt_config *config;
    const struct mlt_importance *importance;
    bool random;
    struct mlt_random numbers;
    struct mlt_arena scratch;
    struct mlt_prune_selection *out;
    millet_error *err;
};

static int32_t *new_list(struct chooser *c, struct mlt_arena *arena, int64_t count)
{
    return mlt_arena_alloc(arena, (size_t)count, sizeof(int32_t), c->err);
}

/* The values of n parts, or random ones. */
static const double *values_of(struct chooser *c, const double *measured, int32_t n)
{
    if (!c->random) return measured;
    double *values = mlt_arena_alloc(&c->scratch, (size_t)n, sizeof *values, c->err);
    for (int32_t i = 0; values && i < n; i++)
        values[i] = mlt_random_double(&c->numbers);
    return values;
}

/* Sifts position `root` of a heap with the least value (of equal ones the last part) on top. */
static bool goes_first(const double *values, int32_t a, int32_t b)
{
    return values[a] < values[b] || (values[a] == values[b] && a > b);
}

static void sift(const double *values, int32_t *heap, int32_t count, int32_t root)
{
    for (;;) {
        int32_t child = 2 * root + 1;
        if (child >= count) return;
        if (child + 1 < count && goes_first(values, heap[child + 1], heap[child])) child++;
        if (!goes_first(values, heap[child], heap[root])) return;
        int32_t held = heap[root];
        heap[root] = heap[child];
        heap[child] = held;
        root = child;
    }
}

/* The k of n parts with the highest values, of equal ones the first, in rising order. */
static millet_status choose_best(struct chooser *c, const double *measured, int32_t n, int32_t k,
                                 int32_t *out)
{
    const double *values = k < n ? values_of(c, measured, n) : measured;
    if (!values) return MILLET_NO_MEMORY;
    int32_t *heap = new_list(c, &c->scratch, k);
    bool *kept = mlt_arena_alloc(&c->scratch, (size_t)n, sizeof *kept, c->err);
    if (!heap || !kept) return MILLET_NO_MEMORY;
    for (int32_t i = 0; i < n; i++)
        kept[i] = false;
    for (int32_t i = 0; i < k; i++)
        heap[i] = i;
    for (int32_t i = k / 2; i-- > 0;)
        sift(values, heap, k, i);
    for (int32_t i = k; i < n; i++) {
        if (!goes_first(values, heap[0], i)) continue;
        heap[0] = i;
        sift(values, heap, k, 0);
    }
    for (int32_t i = 0; i < k; i++)
        kept[heap[i]] = true;
    for (int32_t i = 0, at = 0; i < n; i++)
        if (kept[i]) out[at++] = i;
    return MILLET_OK;
}

/* ---- Layers ---- */

static bool same_kind(struct mlt_layer_choice a, struct mlt_layer_choice b)
{
    return a.local == b.local && a.rope == b.rope;
}

/*
 * best[j][i]: the highest sum of j + 1 layers of which the last is i, each of the kind that place j has in
 * the family's pattern, which counts from the first layer however many there are.
 */
static millet_status choose_layers(struct chooser *c)
{
    const struct mlt_config *config = c->config;
    int32_t n = config->n_layers, k = c->out->n_layers;
    const double *values = values_of(c, c->importance->layers, n);
    double *best = mlt_arena_alloc(&c->scratch, (size_t)k * (size_t)n, sizeof *best, c->err);
    int32_t *from = new_list(c, &c->scratch, (int64_t)k * n);
    if (!values || !best || !from) return MILLET_NO_MEMORY;
    for (int32_t j = 0; j < k; j++) {
        int32_t previous = -1; /* the best layer before i at place j - 1 */
        for (int32_t i = 0; i < n; i++) {
            double *here = &best[(int64_t)j * n + i];
            const double *row = j ? best + (int64_t)(j - 1) * n : NULL;
            *here = -INFINITY;
            from[(int64_t)j * n + i] = previous;
            if (same_kind(config->layers[i], config->layers[j])) {
                if (j == 0) *here = values[i];
                if (j > 0 && previous >= 0 && row[previous] > -INFINITY) *here = row[previous] + values[i];
            }
            if (row && row[i] > -INFINITY && (previous < 0 || row[i] > row[previous])) previous = i;
        }
    }
    const double *last = best + (int64_t)(k - 1) * n;
    int32_t at = 0;
    for (int32_t i = 1; i < n; i++)
        if (last[i] > last[at]) at = i;
    for (int32_t j = k; j-- > 0; at = from[(int64_t)j * n + at])
        c->out->layers[j] = at;
    return MILLET_OK;
}

/* ---- Parts of a layer ---- */

static millet_status choose_heads(struct chooser *c, int32_t place)
{
    const struct mlt_config *config = c->config;
    struct mlt_prune_selection *out = c->out;
    int32_t group = config->n_heads / config->n_kv_heads, kept = out->n_heads / out->n_kv_heads;
    int64_t layer = out->layers[place];
    int32_t *keys = out->kv_heads + (int64_t)place * out->n_kv_heads;
    int32_t *heads = out->heads + (int64_t)place * out->n_heads;
    MLT_TRY(choose_best(c, c->importance->groups + layer * config->n_kv_heads, config->n_kv_heads,
                        out->n_kv_heads, keys));
    for (int32_t g = 0; g < out->n_kv_heads; g++) {
        int32_t first = keys[g] * group, *mine = heads + (int64_t)g * kept;
        MLT_TRY(choose_best(c, c->importance->heads + layer * config->n_heads + first, group, kept, mine));
        for (int32_t h = 0; h < kept; h++)
            mine[h] += first;
    }
    return MILLET_OK;
}

void mlt_width_importance(const struct mlt_importance *m, const struct mlt_prune_selection *s, double *out)
{
    int64_t n = m->n_embd;
    const double *last = m->magnitude + (int64_t)MLT_PRUNE_NORMS * m->n_layers * n;
    memcpy(out, last, (size_t)n * sizeof *out);
    for (int32_t j = 0; j < s->n_layers; j++) {
        const double *norms = m->magnitude + (int64_t)MLT_PRUNE_NORMS * s->layers[j] * n;
        for (int64_t i = 0; i < (int64_t)MLT_PRUNE_NORMS * n; i++)
            out[i % n] += norms[i];
    }
}

static millet_status choose_width(struct chooser *c)
{
    int32_t n = c->config->n_embd;
    double *values = mlt_arena_alloc(&c->scratch, (size_t)n, sizeof *values, c->err);
    if (!values) return MILLET_NO_MEMORY;
    mlt_width_importance(c->importance, c->out, values);
    return choose_best(c, values, n, c->out->n_embd, c->out->width);
}

/*
 * 1 / rms of the kept channels, as a mean square over n' of them, is rstd / sqrt(part * n / n'), where `part`
 * is their part of the sum of squares.
 */
static float scale_of_norm(const struct chooser *c, int64_t norm)
{
    const struct mlt_prune_selection *s = c->out;
    int64_t n = c->config->n_embd;
    const double *energy = c->importance->energy + norm * n;
    double all = 0, kept = 0;
    for (int64_t i = 0; i < n; i++)
        all += energy[i];
    for (int32_t i = 0; i < s->n_embd; i++)
        kept += energy[s->width[i]];
    if (!(kept > 0)) return 1;
    return (float)sqrt(kept / all * (double)n / (double)s->n_embd);
}

static void set_norm_scales(struct chooser *c)
{
    struct mlt_prune_selection *s = c->out;
    for (int32_t j = 0; j < s->n_layers; j++)
        for (int64_t which = 0; which < MLT_PRUNE_NORMS; which++)
            s->norm_scale[(int64_t)j * MLT_PRUNE_NORMS + which] =
                s->n_embd == c->config->n_embd
                    ? 1
                    : scale_of_norm(c, (int64_t)s->layers[j] * MLT_PRUNE_NORMS + which);
    s->norm_scale[(int64_t)s->n_layers * MLT_PRUNE_NORMS] =
        s->n_embd == c->config->n_embd ? 1 : scale_of_norm(c, (int64_t)c->config->n_layers * MLT_PRUNE_NORMS);
}

static millet_status choose_all(struct chooser *c, struct mlt_arena *arena)
{
    struct mlt_prune_selection *s = c->out;
    int64_t layers = s->n_layers;
    s->layers = new_list(c, arena, layers);
    s->heads = new_list(c, arena, layers * s->n_heads);
    s->kv_heads = new_list(c, arena, layers * s->n_kv_heads);
    s->feed_forward = new_list(c, arena, layers * s->n_ff);
    s->width = new_list(c, arena, s->n_embd);
    s->norm_scale = mlt_arena_alloc(arena, (size_t)layers * MLT_PRUNE_NORMS + 1, sizeof(float), c->err);
    if (!s->layers || !s->heads || !s->kv_heads || !s->feed_forward || !s->width || !s->norm_scale)
        return MILLET_NO_MEMORY;
    MLT_TRY(choose_layers(c));
    for (int32_t j = 0; j < s->n_layers; j++) {
        MLT_TRY(choose_heads(c, j));
        MLT_TRY(choose_best(c, c->importance->feed_forward + (int64_t)s->layers[j] * c->config->n_ff,
                            c->config->n_ff, s->n_ff, s->feed_forward + (int64_t)j * s->n_ff));
    }
    MLT_TRY(choose_width(c));
    set_norm_scales(c);
    return MILLET_OK;
}

millet_status mlt_select(const struct mlt_config *config, const struct mlt_importance *importance,
                         const struct mlt_prune_counts *counts, uint64_t random, struct mlt_arena *arena,
                         struct mlt_prune_selection *out, millet_error *err)
{
    struct chooser c = {
        .config = config, .importance = importance, .random = random != 0, .out = out, .err = err};
    mlt_random_seed(&c.numbers, random);
    mlt_arena_init(&c.scratch, &arena->allocator);
    *out = (struct mlt_prune_selection){.n_layers = counts->layers,
                                        .n_heads = counts->heads,
                                        .n_kv_heads = counts->kv_heads,
                                        .n_ff = counts->feed_forward,
                                        .n_embd = counts->width,
                                        .n_vocab = config->n_vocab};
    millet_status status = choose_all(&c, arena);
    mlt_arena_release(&c.scratch);
    return status;
}
