/* Packing documents into rows. SPDX-License-Identifier: Apache-2.0 */
#include "corpus/row_plan.h"

#include <string.h>

#define NONE UINT32_MAX

/* Whether a document is on this side of the split. */
static bool is_chosen(const struct mlt_row_plan *plan, uint64_t document)
{
    bool apart = plan->every && document % plan->every == plan->every - 1;
    return apart == plan->held_out;
}

/* Positions of a document, 0 where it is left out. */
uint64_t mlt_row_plan_positions(const struct mlt_row_plan *plan, uint64_t document)
{
    if (!is_chosen(plan, document)) return 0;
    uint64_t count = plan->cache->documents[document + 1] - plan->cache->documents[document] - 1;
    return plan->skip_long && count > plan->length ? 0 : count;
}

static uint64_t n_marks(const struct mlt_row_plan *plan)
{
    return plan->cache->trailer.n_documents / MLT_PLAN_STRIDE + 1;
}

static millet_status plan_sequential(struct mlt_row_plan *plan, millet_error *err)
{
    plan->marks = mlt_alloc(&plan->allocator, (size_t)n_marks(plan), sizeof *plan->marks, err);
    if (!plan->marks) return MILLET_NO_MEMORY;
    uint64_t total = 0;
    for (uint64_t d = 0; d < plan->cache->trailer.n_documents; d++) {
        if (d % MLT_PLAN_STRIDE == 0) plan->marks[d / MLT_PLAN_STRIDE] = total;
        uint64_t n = mlt_row_plan_positions(plan, d);
        total += n;
        plan->n_documents += n > 0;
    }
    plan->n_positions = total;
    plan->n_rows = (total + plan->length - 1) / plan->length;
    return MILLET_OK;
}

/* ---- Best fit ---- */

/* Positions of a document's last part, which is shorter than a row; 0: there is none. */
static uint32_t remainder_of(const struct mlt_row_plan *plan, uint64_t document)
{
    return (uint32_t)(mlt_row_plan_positions(plan, document) % plan->length);
}

struct packing {
    uint32_t *order;    /* documents by remainder, the longest first */
    uint32_t *bin_head; /* [length + 1]: a stack of rows that have so much room */
    uint32_t *bin_next; /* [n_bins] */
    uint32_t *row_last; /* [n_bins]: the last document of the row */
    uint64_t *tree;     /* a bit for each amount of room that some row has, and above them a bit for each word
                           that is not 0 */
    size_t words, count;
};

static void set_room(struct packing *packing, uint32_t room, bool there)
{
    uint64_t *word = &packing->tree[packing->words + room / 64];
    if (there)
        *word |= UINT64_C(1) << room % 64;
    else
        *word &= ~(UINT64_C(1) << room % 64);
    uint64_t *summary = &packing->tree[room / 64 / 64];
    uint64_t bit = UINT64_C(1) << room / 64 % 64;
    *summary = *word ? *summary | bit : *summary & ~bit;
}

/* The least room of a row that is at least `wanted`; NONE. */
static uint32_t find_room(const struct packing *packing, uint32_t wanted)
{
    size_t word = wanted / 64;
    uint64_t bits = packing->tree[packing->words + word] & (~UINT64_C(0) << wanted % 64);
    if (bits) return (uint32_t)(word * 64 + (size_t)__builtin_ctzll(bits));
    for (size_t next = word + 1; next < packing->words;) {
        uint64_t summary = packing->tree[next / 64] & (~UINT64_C(0) << next % 64);
        if (!summary) {
            next = (next / 64 + 1) * 64;
            continue;
        }
        next = next / 64 * 64 + (size_t)__builtin_ctzll(summary);
        if (next >= packing->words) break;
        bits = packing->tree[packing->words + next];
        return (uint32_t)(next * 64 + (size_t)__builtin_ctzll(bits));
    }
    return NONE;
}

/* Counting sort: by remainder, the longest first, equal ones in the order of the documents. */
static void sort_by_remainder(const struct mlt_row_plan *plan, struct packing *packing, uint64_t *starts)
{
    uint64_t n = plan->cache->trailer.n_documents, total = 0;
    memset(starts, 0, ((size_t)plan->length + 1) * sizeof *starts);
    for (uint64_t d = 0; d < n; d++)
        starts[remainder_of(plan, d)]++;
    for (uint32_t r = plan->length; r-- > 1;) {
        uint64_t count = starts[r];
        starts[r] = total;
        total += count;
    }
    for (uint64_t d = 0; d < n; d++) {
        uint32_t r = remainder_of(plan, d);
        if (r) packing->order[starts[r]++] = (uint32_t)d;
    }
    packing->count = (size_t)total;
}

static void pack(struct mlt_row_plan *plan, struct packing *packing, uint32_t *n_bins)
{
    for (uint32_t room = 0; room <= plan->length; room++)
        packing->bin_head[room] = NONE;
    *n_bins = 0;
    for (size_t i = 0; i < packing->count; i++) {
        uint32_t document = packing->order[i], size = remainder_of(plan, document);
        uint32_t room = find_room(packing, size), bin;
        plan->next[document] = NONE;
        if (room == NONE) {
            bin = (*n_bins)++;
            room = plan->length;
            plan->row_first[bin] = document;
        } else {
            bin = packing->bin_head[room];
            packing->bin_head[room] = packing->bin_next[bin];
            if (packing->bin_head[room] == NONE) set_room(packing, room, false);
            plan->next[packing->row_last[bin]] = document;
        }
        packing->row_last[bin] = document;
        room -= size;
        if (room == 0) continue;
        packing->bin_next[bin] = packing->bin_head[room];
        packing->bin_head[room] = bin;
        set_room(packing, room, true);
    }
}

static millet_status plan_full_rows(struct mlt_row_plan *plan, millet_error *err)
{
    plan->full_before = mlt_alloc(&plan->allocator, (size_t)n_marks(plan), sizeof *plan->full_before, err);
    if (!plan->full_before) return MILLET_NO_MEMORY;
    for (uint64_t d = 0; d < plan->cache->trailer.n_documents; d++) {
        if (d % MLT_PLAN_STRIDE == 0) plan->full_before[d / MLT_PLAN_STRIDE] = plan->n_full;
        uint64_t n = mlt_row_plan_positions(plan, d);
        plan->n_full += n / plan->length;
        plan->n_positions += n;
        plan->n_documents += n > 0;
        plan->n_left_out += n == 0 && is_chosen(plan, d);
    }
    return MILLET_OK;
}

static millet_status plan_best_fit(struct mlt_row_plan *plan, millet_error *err)
{
    const millet_allocator *allocator = &plan->allocator;
    size_t n = (size_t)plan->cache->trailer.n_documents, rooms = (size_t)plan->length + 1;
    struct packing packing = {.words = (rooms + 63) / 64};
    size_t tree_words = MLT_MAX(packing.words, (packing.words + 63) / 64) + packing.words;
    MLT_TRY(plan_full_rows(plan, err));
    plan->next = mlt_alloc(allocator, n, sizeof *plan->next, err);
    plan->row_first = mlt_alloc(allocator, n, sizeof *plan->row_first, err);
    packing.order = mlt_alloc(allocator, n, sizeof *packing.order, err);
    packing.bin_head = mlt_alloc(allocator, rooms, sizeof *packing.bin_head, err);
    packing.bin_next = mlt_alloc(allocator, n, sizeof *packing.bin_next, err);
    packing.row_last = mlt_alloc(allocator, n, sizeof *packing.row_last, err);
    packing.tree = mlt_alloc_zero(allocator, tree_words, sizeof *packing.tree, err);
    uint64_t *starts = mlt_alloc(allocator, rooms, sizeof *starts, err);
    bool good = plan->next && plan->row_first && packing.order && packing.bin_head && packing.bin_next &&
                packing.row_last && packing.tree && starts;
    if (good) {
        uint32_t n_bins;
        sort_by_remainder(plan, &packing, starts);
        pack(plan, &packing, &n_bins);
        plan->n_rows = plan->n_full + n_bins;
    }
    mlt_free(allocator, packing.order);
    mlt_free(allocator, packing.bin_head);
    mlt_free(allocator, packing.bin_next);
    mlt_free(allocator, packing.row_last);
    mlt_free(allocator, packing.tree);
    mlt_free(allocator, starts);
    return good ? MILLET_OK : MILLET_NO_MEMORY;
}

millet_status mlt_row_plan_open(const millet_allocator *allocator, const struct millet_cache *cache,
                                const millet_batch_options *options, struct mlt_row_plan *plan,
                                millet_error *err)
{
    *plan = (struct mlt_row_plan){.allocator = *allocator,
                                  .cache = cache,
                                  .length = (uint32_t)options->length,
                                  .every = (uint32_t)options->holdout,
                                  .held_out = options->held_out,
                                  .skip_long = options->skip_long};
    millet_status status =
        options->packing == MILLET_PACK_SEQUENTIAL ? plan_sequential(plan, err) : plan_best_fit(plan, err);
    if (status) mlt_row_plan_close(plan);
    return status;
}

void mlt_row_plan_close(struct mlt_row_plan *plan)
{
    mlt_free(&plan->allocator, plan->marks);
    mlt_free(&plan->allocator, plan->full_before);
    mlt_free(&plan->allocator, plan->row_first);
    mlt_free(&plan->allocator, plan->next);
    plan->marks = plan->full_before = NULL;
    plan->row_first = plan->next = NULL;
}

/* ---- Rows ---- */

/* The last mark that is not above `value`. */
static uint64_t find_mark(const uint64_t *marks, uint64_t count, uint64_t value)
{
    uint64_t low = 0, high = count;
    while (high - low > 1) {
        uint64_t middle = low + (high - low) / 2;
        if (marks[middle] <= value)
            low = middle;
        else
            high = middle;
    }
    return low;
}

static void give_part(const struct mlt_row_plan *plan, uint64_t document, uint64_t offset, uint64_t count,
                      mlt_row_part_function *part, void *context)
{
    struct mlt_row_part out = {plan->cache->documents[document] + offset, offset, (uint32_t)count,
                               (uint32_t)document};
    part(context, &out);
}

static void sequential_row(const struct mlt_row_plan *plan, uint64_t row, mlt_row_part_function *part,
                           void *context)
{
    uint64_t begin = row * plan->length, end = MLT_MIN(begin + plan->length, plan->n_positions);
    uint64_t mark = find_mark(
        plan->marks, (plan->cache->trailer.n_documents + MLT_PLAN_STRIDE - 1) / MLT_PLAN_STRIDE, begin);
    uint64_t at = plan->marks[mark];
    for (uint64_t d = mark * MLT_PLAN_STRIDE; at < end; d++) {
        uint64_t n = mlt_row_plan_positions(plan, d), from = MLT_MAX(at, begin), to = MLT_MIN(at + n, end);
        if (from < to) give_part(plan, d, from - at, to - from, part, context);
        at += n;
    }
}

static void full_row(const struct mlt_row_plan *plan, uint64_t row, mlt_row_part_function *part,
                     void *context)
{
    uint64_t mark = find_mark(
        plan->full_before, (plan->cache->trailer.n_documents + MLT_PLAN_STRIDE - 1) / MLT_PLAN_STRIDE, row);
    uint64_t at = plan->full_before[mark];
    for (uint64_t d = mark * MLT_PLAN_STRIDE;; d++) {
        uint64_t n = mlt_row_plan_positions(plan, d) / plan->length;
        if (row < at + n) {
            give_part(plan, d, (row - at) * plan->length, plan->length, part, context);
            return;
        }
        at += n;
    }
}

void mlt_row_plan_row(const struct mlt_row_plan *plan, uint64_t row, mlt_row_part_function *part,
                      void *context)
{
    if (plan->marks) {
        sequential_row(plan, row, part, context);
    } else if (row < plan->n_full) {
        full_row(plan, row, part, context);
    } else {
        for (uint32_t d = plan->row_first[row - plan->n_full]; d != NONE; d = plan->next[d]) {
            uint64_t n = mlt_row_plan_positions(plan, d), size = n % plan->length;
            give_part(plan, d, n - size, size, part, context);
        }
    }
}
