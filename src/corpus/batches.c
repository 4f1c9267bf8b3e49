/*
 * Rows of several caches, mixed and shuffled, by arithmetic alone: which row stands at a place of a batch
 * follows from the step and the seed, so that nothing has to be remembered and a resumed run goes on where it
 * was.
 *
 * The rows of all ranks are numbered through. Every BLOCK rows hold the same number of each part, in an order
 * of their own; the k-th row of a part is its row permutation(k mod n) of epoch k / n.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "corpus/batches.h"

#include "corpus/permutation.h"
#include "corpus/row_plan.h"

#include <math.h>
#include <string.h>

enum { BLOCK = 4096, MAX_LENGTH = 1 << 24 };

struct part {
    struct mlt_row_plan plan;
    uint32_t begin, quota; /* its places in a block before they are permuted: [begin, begin + quota) */
    float loss_weight;
};

struct millet_batches {
    millet_allocator allocator;
    millet_batch_options options;
    struct part *parts;
    size_t n_parts;
    millet_batches_info info;
};

millet_batch_options millet_batch_options_default(void)
{
    return (millet_batch_options){.length = 512, .n_ranks = 1};
}

static millet_status bad_option(millet_error *err, const char *option, const char *what)
{
    return mlt_fail_at(err, MILLET_BAD_ARGUMENT, NULL, option, MILLET_NO_OFFSET, "%s", what);
}

static millet_status check_options(const millet_batch_options *o, const millet_mixture_part *parts,
                                   size_t n_parts, millet_error *err)
{
    if (o->length < 2 || o->length > MAX_LENGTH)
        return bad_option(err, "length", "2 to 2^24 positions make a row");
    if (o->n_ranks < 0 || o->rank < 0 || o->rank >= MLT_MAX(o->n_ranks, 1))
        return bad_option(err, "rank", "must lie below n_ranks");
    if (o->holdout < 0 || o->holdout == 1)
        return bad_option(err, "holdout", "0, or at least 2: every so manieth document");
    if (o->held_out && !o->holdout) return bad_option(err, "held_out", "nothing is held out; set holdout");
    if (o->skip_long && o->packing != MILLET_PACK_BEST_FIT)
        return bad_option(err, "skip_long", "is for best fit; sequential packing cuts where a row ends");
    if (n_parts == 0 || n_parts > BLOCK) return bad_option(err, "parts", "1 to 4096 caches can be mixed");
    for (size_t i = 0; i < n_parts; i++) {
        if (!(parts[i].weight >= 0) || !(parts[i].weight < INFINITY))
            return bad_option(err, "weight", "a number of at least 0 is needed");
        if (!(parts[i].loss_weight >= 0) || !(parts[i].loss_weight < INFINITY))
            return bad_option(err, "loss_weight", "a number of at least 0 is needed");
        if (parts[i].cache->trailer.n_vocab != parts[0].cache->trailer.n_vocab ||
            parts[i].cache->trailer.tokenizer_checksum != parts[0].cache->trailer.tokenizer_checksum)
            return mlt_fail_at(err, MILLET_BAD_ARGUMENT, parts[i].cache->path, NULL, MILLET_NO_OFFSET,
                               "was made with another tokenizer than %.200s", parts[0].cache->path);
    }
    return MILLET_OK;
}

/* Tokens of [first, end) that are trained on. */
static uint64_t count_trained(const struct millet_cache *cache, uint64_t first, uint64_t end)
{
    uint64_t count = 0;
    if (!cache->mask) return end - first;
    for (; first < end && first % 8; first++)
        count += cache->mask[first / 8] >> first % 8 & 1;
    for (; first + 8 <= end; first += 8)
        count += (uint64_t)__builtin_popcount(cache->mask[first / 8]);
    for (; first < end; first++)
        count += cache->mask[first / 8] >> first % 8 & 1;
    return count;
}

/* Labels of the positions [first, end) that stand in no other target's place. */
static uint64_t count_labels(const struct millet_cache *cache, uint64_t first, uint64_t end)
{
    uint64_t count = 0;
    for (; cache->trailer.n_labels && first < end; first++)
        count += mlt_cache_label(cache, first) >= 0 && !mlt_cache_trained(cache, first + 1);
    return count;
}

static void add_info(struct millet_batches *batches, const struct mlt_row_plan *plan)
{
    batches->info.n_rows += plan->n_rows;
    batches->info.n_positions += plan->n_positions;
    batches->info.n_documents += plan->n_documents;
    batches->info.n_left_out += plan->n_left_out;
    for (uint64_t d = 0; d < plan->cache->trailer.n_documents; d++) {
        uint64_t first = plan->cache->documents[d], end = plan->cache->documents[d + 1];
        if (mlt_row_plan_positions(plan, d))
            batches->info.n_targets +=
                count_trained(plan->cache, first + 1, end) + count_labels(plan->cache, first, end - 1);
    }
}

/*
 * How many rows of a block each part gets: its share of the tokens divided by how full its rows are, by the
 * method of the largest remainder; each part with a weight gets one at least.
 */
static millet_status set_quotas(struct millet_batches *batches, const millet_mixture_part *parts,
                                millet_error *err)
{
    size_t n = batches->n_parts;
    double sum = 0, given = 0;
    for (size_t i = 0; i < n; i++)
        given += parts[i].weight;
    double *share = mlt_alloc(&batches->allocator, n, sizeof *share, err);
    if (!share) return MILLET_NO_MEMORY;
    for (size_t i = 0; i < n; i++) {
        const struct mlt_row_plan *plan = &batches->parts[i].plan;
        double weight = given > 0 ? parts[i].weight : (double)plan->n_positions;
        double per_row = plan->n_rows ? (double)plan->n_positions / (double)plan->n_rows : 1;
        share[i] = weight / per_row;
        sum += share[i];
    }
    uint32_t left = BLOCK;
    for (size_t i = 0; i < n; i++) {
        share[i] *= BLOCK / sum;
        uint32_t quota = (uint32_t)share[i];
        if (quota == 0 && share[i] > 0) quota = 1;
        batches->parts[i].quota = quota;
        share[i] -= quota;
        left -= quota; /* may go below zero for a moment, modulo 2^32 */
    }
    while (left) {
        bool add = left <= BLOCK;
        size_t best = n;
        for (size_t i = 0; i < n; i++) {
            if (!add && batches->parts[i].quota < 2) continue;
            if (add && batches->parts[i].quota == 0) continue;
            if (best == n || (add ? share[i] > share[best] : share[i] < share[best])) best = i;
        }
        batches->parts[best].quota += add ? 1 : UINT32_MAX;
        share[best] -= add ? 1 : -1;
        left -= add ? 1 : UINT32_MAX;
    }
    uint32_t begin = 0;
    for (size_t i = 0; i < n; i++) {
        batches->parts[i].begin = begin;
        begin += batches->parts[i].quota;
    }
    mlt_free(&batches->allocator, share);
    return MILLET_OK;
}

static millet_status no_rows(const struct millet_cache *cache, const millet_batch_options *o,
                             millet_error *err)
{
    unsigned long long n = cache->trailer.n_documents;
    if (o->holdout && n < (unsigned long long)o->holdout)
        return mlt_fail_at(err, MILLET_BAD_ARGUMENT, cache->path, "holdout", MILLET_NO_OFFSET,
                           "has %llu documents, of which every %d. was to be held out", n, o->holdout);
    return mlt_fail_at(err, MILLET_BAD_ARGUMENT, cache->path, NULL, MILLET_NO_OFFSET,
                       "none of its %llu documents fits into rows of %d positions", n, o->length);
}

static millet_status open_parts(struct millet_batches *batches, const millet_mixture_part *parts,
                                size_t n_parts, millet_error *err)
{
    bool weighted = false;
    batches->parts = mlt_alloc_zero(&batches->allocator, n_parts, sizeof *batches->parts, err);
    if (!batches->parts) return MILLET_NO_MEMORY;
    for (size_t i = 0; i < n_parts; i++)
        weighted = weighted || parts[i].weight > 0;
    for (size_t i = 0; i < n_parts; i++) {
        struct mlt_row_plan *plan = &batches->parts[i].plan;
        MLT_TRY(mlt_row_plan_open(&batches->allocator, parts[i].cache, &batches->options, plan, err));
        batches->parts[batches->n_parts++].loss_weight = parts[i].loss_weight > 0 ? parts[i].loss_weight : 1;
        if (plan->n_rows == 0 && (!weighted || parts[i].weight > 0))
            return no_rows(parts[i].cache, &batches->options, err);
        if (!weighted || parts[i].weight > 0) add_info(batches, plan);
    }
    return set_quotas(batches, parts, err);
}

millet_status millet_batches_open(const millet_mixture_part *parts, size_t n_parts,
                                  const millet_batch_options *options, millet_batches **out,
                                  millet_error *err)
{
    *out = NULL;
    millet_batch_options defaults = millet_batch_options_default();
    if (!options) options = &defaults;
    MLT_TRY(check_options(options, parts, n_parts, err));
    const millet_allocator *allocator = options->allocator ? options->allocator : mlt_default_allocator();
    struct millet_batches *batches = mlt_alloc_zero(allocator, 1, sizeof *batches, err);
    if (!batches) return MILLET_NO_MEMORY;
    batches->allocator = *allocator;
    batches->options = *options;
    if (batches->options.n_ranks == 0) batches->options.n_ranks = 1;
    millet_status status = open_parts(batches, parts, n_parts, err);
    if (status)
        millet_batches_close(&batches);
    else
        *out = batches;
    return status;
}

void millet_batches_close(millet_batches **handle)
{
    struct millet_batches *batches = *handle;
    if (!batches) return;
    millet_allocator allocator = batches->allocator;
    for (size_t i = 0; i < batches->n_parts; i++)
        mlt_row_plan_close(&batches->parts[i].plan);
    mlt_free(&allocator, batches->parts);
    mlt_free(&allocator, batches);
    *handle = NULL;
}

void millet_batches_get_info(const millet_batches *batches, millet_batches_info *info)
{
    *info = batches->info;
}

/* ---- A row ---- */

/* The part and its row at place `number` of all ranks' rows. */
static const struct part *find_row(const struct millet_batches *batches, uint64_t number, uint64_t *row)
{
    uint64_t seed = batches->options.seed, block = number / BLOCK, place = number % BLOCK;
    bool in_order = batches->options.in_order;
    uint64_t key = mlt_mix64(seed ^ mlt_mix64(in_order ? 0 : block));
    /* Parts are mixed in any case; in order, in the same way in every block. */
    if (batches->n_parts > 1) place = mlt_permute(place, BLOCK, key);
    size_t index = 0;
    while (place >= batches->parts[index].begin + batches->parts[index].quota)
        index++;
    const struct part *part = &batches->parts[index];
    uint64_t taken = block * part->quota + (place - part->begin);
    uint64_t epoch = taken / part->plan.n_rows;
    *row = taken % part->plan.n_rows;
    if (!in_order)
        *row = mlt_permute(*row, part->plan.n_rows,
                           mlt_mix64(mlt_mix64(seed + index * UINT64_C(0xD6E8FEB86659FD93)) ^ epoch));
    return part;
}

struct row {
    const struct millet_cache *cache;
    int32_t *tokens, *targets, *begin, *end;
    uint8_t *marks;   /* or NULL */
    uint64_t *source; /* or NULL */
    uint64_t part;
    int32_t used, length;
    uint64_t bad; /* the number of a token outside the vocabulary or with such a label, or UINT64_MAX */
};

static void fill_part(void *context, const struct mlt_row_part *part)
{
    struct row *row = context;
    const struct millet_cache *cache = row->cache;
    int32_t first = row->used, last = first + (int32_t)part->count - 1;
    /* The part of the document's prefix that lies here. */
    uint64_t prefix = cache->prefixes ? cache->prefixes[part->document] : 0;
    prefix = prefix > part->offset ? MLT_MIN(prefix - part->offset, part->count) : 0;
    int32_t prefix_end = first + (int32_t)prefix - 1;
    uint32_t n_vocab = (uint32_t)cache->trailer.n_vocab, token = mlt_cache_token(cache, part->first);
    for (uint32_t i = 0; i < part->count; i++) {
        int32_t at = first + (int32_t)i;
        uint64_t number = part->first + i;
        uint32_t next = mlt_cache_token(cache, number + 1);
        int64_t label = mlt_cache_label(cache, number);
        if (token >= n_vocab || next >= n_vocab || label >= (int64_t)n_vocab) {
            row->bad = number;
            token = next = 0;
            label = -1;
        }
        row->tokens[at] = (int32_t)token;
        /* A position that sees its target already has nothing to learn from it. */
        bool seen = at < prefix_end;
        row->targets[at] = label >= 0                                      ? (int32_t)label
                           : !seen && mlt_cache_trained(cache, number + 1) ? (int32_t)next
                                                                           : MLT_NO_TARGET;
        if (row->marks)
            row->marks[at] =
                (uint8_t)((label >= 0 ? MILLET_MARK_LABEL : 0) | (at <= prefix_end ? MILLET_MARK_PREFIX : 0));
        row->begin[at] = first;
        row->end[at] = MLT_MAX(at, prefix_end);
        if (row->source) row->source[at] = mlt_source(row->part, number);
        token = next;
    }
    row->used = last + 1;
}

static millet_status fill_row(const struct millet_batches *batches, uint64_t number, struct row *row,
                              millet_error *err)
{
    uint64_t index;
    const struct part *part = find_row(batches, number, &index);
    row->cache = part->plan.cache;
    row->part = (uint64_t)(part - batches->parts);
    row->used = 0;
    row->bad = UINT64_MAX;
    mlt_row_plan_row(&part->plan, index, fill_part, row);
    for (int32_t i = row->used; i < row->length; i++) { /* padding sees itself alone and predicts nothing */
        row->tokens[i] = 0;
        row->targets[i] = MLT_NO_TARGET;
        row->begin[i] = row->end[i] = i;
        if (row->marks) row->marks[i] = 0;
        if (row->source) row->source[i] = MLT_NO_SOURCE;
    }
    if (row->bad == UINT64_MAX) return MILLET_OK;
    return mlt_fail_at(err, MILLET_BAD_FORMAT, row->cache->path, NULL,
                       row->cache->trailer.tokens_at + row->bad * row->cache->trailer.token_bytes,
                       "a token or its label is outside the vocabulary: the cache is damaged");
}

millet_status mlt_batches_fill(const millet_batches *batches, uint64_t step, struct mlt_batch *batch,
                               millet_error *err)
{
    uint64_t ranks = (uint64_t)batches->options.n_ranks, rank = (uint64_t)batches->options.rank;
    int32_t length = batches->options.length;
    if (batch->length != length)
        return mlt_fail(err, MILLET_BAD_ARGUMENT, "the batch has rows of %d; they were packed to %d",
                        batch->length, length);
    int32_t all = batch->all_rows ? batch->all_rows : batch->rows;
    if (batch->rows < 1 || all < batch->rows || step > UINT64_MAX / 2 / ((uint64_t)all * ranks))
        return bad_option(err, "rows", "at least one row is needed");
    for (int32_t r = 0; r < batch->rows; r++) {
        size_t at = (size_t)r * (size_t)length;
        struct row row = {.tokens = batch->tokens + at,
                          .targets = batch->targets + at,
                          .begin = batch->begin + at,
                          .end = batch->end + at,
                          .marks = batch->marks ? batch->marks + at : NULL,
                          .source = batch->source ? batch->source + at : NULL,
                          .length = length};
        uint64_t number = step * (uint64_t)all + (uint64_t)batch->first_row + (uint64_t)r;
        MLT_TRY(fill_row(batches, number * ranks + rank, &row, err));
        if (batch->row_weight) batch->row_weight[r] = batches->parts[row.part].loss_weight;
    }
    return MILLET_OK;
}

millet_status millet_batches_fill(const millet_batches *batches, uint64_t step, int32_t rows, int32_t *tokens,
                                  int32_t *targets, int32_t *begin, int32_t *end, uint8_t *marks,
                                  millet_error *err)
{
    struct mlt_batch batch = {.rows = rows,
                              .length = batches->options.length,
                              .tokens = tokens,
                              .targets = targets,
                              .begin = begin,
                              .end = end,
                              .marks = marks};
    return mlt_batches_fill(batches, step, &batch, err);
}

static millet_status fill(void *context, uint64_t step, struct mlt_batch *batch, millet_error *err)
{
    return mlt_batches_fill(context, step, batch, err);
}

struct mlt_batch_source mlt_batches_source(const millet_batches *batches)
{
    union {
        const void *constant;
        void *plain;
    } context = {batches};
    return (struct mlt_batch_source){context.plain, fill};
}
