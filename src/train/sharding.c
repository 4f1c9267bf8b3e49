/* Shares of a model's block. SPDX-License-Identifier: Apache-2.0 */
#include "train/sharding.h"

#include <string.h>

enum { VALUE_ALIGNMENT = MLT_ALIGNMENT / sizeof(float) };

bool mlt_is_muon(millet_optimizer kind, const struct mlt_parameter *p)
{
    return kind == MILLET_MUON && p->kind == MLT_PARAMETER_MATRIX;
}

/* Where a bucket begins in the block; n_buckets: its end. */
static int64_t bucket_begin(const struct mlt_trainable *t, size_t bucket)
{
    size_t n_layers = (size_t)t->config.n_layers;
    if (bucket == 0) return 0;
    if (t->low_rank) return t->n_values; /* an adapter is all that is exchanged: at the end, at once */
    if (bucket <= n_layers) return t->layers[bucket - 1].attn_norm.offset;
    return bucket == n_layers + 1 ? t->output_norm.offset : t->n_values;
}

struct builder {
    struct mlt_sharding *s;
    const struct mlt_trainable *t;
    millet_optimizer kind;
    int32_t n_ranks;
    size_t parameter; /* the first that no bucket has had */
    int64_t *load;    /* [n_ranks] values given out so far */
};

static void give(struct builder *b, int64_t begin, int64_t count, int32_t owner)
{
    if (count == 0) return;
    b->s->shares[b->s->n_shares++] = (struct mlt_share){begin, count, owner};
    b->load[owner] += count;
}

static int32_t least_loaded(const struct builder *b)
{
    int32_t least = 0;
    for (int32_t rank = 1; rank < b->n_ranks; rank++)
        if (b->load[rank] < b->load[least]) least = rank;
    return least;
}

static void share_out(struct builder *b, size_t bucket)
{
    const struct mlt_trainable *t = b->t;
    int64_t begin = bucket_begin(t, bucket), end = bucket_begin(t, bucket + 1);
    size_t first = b->parameter;
    bool muon = false;
    for (; b->parameter < t->n_parameters && t->parameters[b->parameter].offset < end; b->parameter++)
        muon = muon || mlt_is_muon(b->kind, &t->parameters[b->parameter]);
    if (!muon) { /* begin, end and with them the cuts are multiples of VALUE_ALIGNMENT */
        for (int32_t rank = 0; rank < b->n_ranks; rank++) {
            int64_t at, n = mlt_ranks_part((end - begin) / VALUE_ALIGNMENT, rank, b->n_ranks, &at);
            give(b, begin + at * VALUE_ALIGNMENT, n * VALUE_ALIGNMENT, rank);
        }
        return;
    }
    for (size_t i = first; i < b->parameter; i++) {
        int64_t next = i + 1 < b->parameter ? t->parameters[i + 1].offset : end;
        give(b, t->parameters[i].offset, next - t->parameters[i].offset, least_loaded(b));
    }
}

millet_status mlt_sharding_open(const millet_allocator *allocator, const struct mlt_trainable *t,
                                millet_optimizer kind, int32_t n_ranks, struct mlt_sharding *s,
                                millet_error *err)
{
    *s = (struct mlt_sharding){.allocator = *allocator, .n_buckets = (size_t)t->config.n_layers + 2};
    struct builder b = {.s = s, .t = t, .kind = kind, .n_ranks = n_ranks};
    size_t most = t->n_parameters + s->n_buckets * (size_t)n_ranks;
    s->shares = mlt_alloc(allocator, most, sizeof *s->shares, err);
    s->first = mlt_alloc(allocator, s->n_buckets + 1, sizeof *s->first, err);
    b.load = mlt_alloc_zero(allocator, (size_t)n_ranks, sizeof *b.load, err);
    if (!s->shares || !s->first || !b.load) {
        mlt_sharding_close(s);
        mlt_free(allocator, b.load);
        return MILLET_NO_MEMORY;
    }
    for (size_t bucket = 0; bucket < s->n_buckets; bucket++) {
        s->first[bucket] = s->n_shares;
        share_out(&b, bucket);
    }
    s->first[s->n_buckets] = s->n_shares;
    mlt_free(allocator, b.load);
    return MILLET_OK;
}

void mlt_sharding_close(struct mlt_sharding *s)
{
    if (!s->n_buckets) return;
    mlt_free(&s->allocator, s->shares);
    mlt_free(&s->allocator, s->first);
    memset(s, 0, sizeof *s);
}

size_t mlt_sharding_parts(const struct mlt_sharding *s, const struct mlt_parameter *p,
                          struct mlt_share *parts)
{
    int64_t first = p->offset, last = p->offset + p->rows * p->columns;
    size_t n = 0;
    for (size_t i = 0; i < s->n_shares; i++) {
        const struct mlt_share *share = &s->shares[i];
        int64_t begin = MLT_MAX(share->begin, first), end = MLT_MIN(share->begin + share->count, last);
        if (begin < end) parts[n++] = (struct mlt_share){begin - first, end - begin, share->owner};
    }
    return n;
}

struct mlt_share mlt_sharding_part(const struct mlt_sharding *s, const struct mlt_parameter *p, int32_t rank)
{
    int64_t first = p->offset, last = p->offset + p->rows * p->columns;
    for (size_t i = 0; i < s->n_shares; i++) {
        const struct mlt_share *share = &s->shares[i];
        int64_t begin = MLT_MAX(share->begin, first), end = MLT_MIN(share->begin + share->count, last);
        if (share->owner == rank && begin < end) return (struct mlt_share){begin - first, end - begin, rank};
    }
    return (struct mlt_share){0, 0, rank};
}
