/* The multiple-choice knapsack. SPDX-License-Identifier: Apache-2.0 */
#include "compact/plan_knapsack.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { WIDTH = 4096, BISECTIONS = 60, ROUNDS = 24 };

/* A partial choice: of the groups so far. */
struct state {
    uint64_t bytes;
    double seconds, loss;
    double bound;    /* the least that it can become, by the prices */
    uint32_t parent; /* in the row of the group before */
    uint32_t choice;
};

struct prices {
    double byte, second;
};

struct solver {
    const struct mlt_knapsack *k;
    struct prices prices;
    struct mlt_choice *rest;  /* [n_groups + 1]: what the groups from here on take at least, each by itself */
    double *rest_priced;      /* [n_groups + 1]: loss and prices of the same */
    struct state *states;     /* [n_groups][width] */
    size_t *n_states;         /* [n_groups] */
    struct state *candidates; /* [width * most choices] */
    struct state *stairs;     /* [width * most choices]: seconds ascending, loss descending */
    size_t width;
    uint32_t *trial; /* [n_groups] */
    struct mlt_knapsack_answer known;
    bool have_known, dropped;
};

static double priced(const struct mlt_choice *c, struct prices p)
{
    return c->loss + p.byte * (double)c->bytes + p.second * c->seconds;
}

/* What every group chooses by itself at these prices; of equals the smallest. */
static struct mlt_knapsack_answer choose_at(const struct mlt_knapsack *k, struct prices p, uint32_t *picked)
{
    struct mlt_knapsack_answer sum = {0};
    for (size_t g = 0; g < k->n_groups; g++) {
        uint32_t best = 0;
        for (uint32_t i = 1; i < k->n_choices[g]; i++) {
            double a = priced(&k->choices[g][i], p), b = priced(&k->choices[g][best], p);
            if (a < b || (a == b && k->choices[g][i].bytes < k->choices[g][best].bytes)) best = i;
        }
        const struct mlt_choice *c = &k->choices[g][best];
        picked[g] = best;
        sum.bytes += c->bytes;
        sum.seconds += c->seconds;
        sum.loss += c->loss;
    }
    return sum;
}

static bool fits(const struct mlt_knapsack *k, const struct mlt_knapsack_answer *a)
{
    return a->bytes <= k->most_bytes && a->seconds <= k->most_seconds;
}

/* Takes over what fits and is better than what is known. */
static void offer(struct solver *s, const struct mlt_knapsack_answer *a, uint32_t *picked)
{
    if (!fits(s->k, a) || (s->have_known && a->loss >= s->known.loss)) return;
    s->known = *a;
    s->have_known = true;
    memcpy(picked, s->trial, s->k->n_groups * sizeof *picked);
}

/*
 * The least price of one kind at which that constraint holds, the other price as it is. Prices range over
 * many powers of ten: bisection in their logarithms.
 */
static double find_price(struct solver *s, bool of_bytes, uint32_t *picked)
{
    struct prices p = s->prices;
    double *price = of_bytes ? &p.byte : &p.second;
    double low = -80, high = 80;
    *price = 0;
    struct mlt_knapsack_answer a = choose_at(s->k, p, s->trial);
    offer(s, &a, picked);
    if (of_bytes ? a.bytes <= s->k->most_bytes : a.seconds <= s->k->most_seconds) return 0;
    for (int i = 0; i < BISECTIONS; i++) {
        double middle = (low + high) / 2;
        *price = exp(middle);
        a = choose_at(s->k, p, s->trial);
        offer(s, &a, picked);
        if (of_bytes ? a.bytes <= s->k->most_bytes : a.seconds <= s->k->most_seconds)
            high = middle;
        else
            low = middle;
    }
    return exp(high);
}

static void find_prices(struct solver *s, uint32_t *picked)
{
    bool bytes = s->k->most_bytes != UINT64_MAX, seconds = isfinite(s->k->most_seconds);
    /* With two constraints the prices are found in turn; the bound holds at any. */
    int rounds = bytes && seconds ? ROUNDS : 1;
    for (int i = 0; i < rounds; i++) {
        struct prices before = s->prices;
        if (bytes) s->prices.byte = find_price(s, true, picked);
        if (seconds) s->prices.second = find_price(s, false, picked);
        if (fabs(s->prices.byte - before.byte) <= 1e-9 * before.byte &&
            fabs(s->prices.second - before.second) <= 1e-9 * before.second)
            break;
    }
    if (!bytes && !seconds) {
        struct mlt_knapsack_answer a = choose_at(s->k, s->prices, s->trial);
        offer(s, &a, picked);
    }
}

/* ---- Partial choices ---- */

static void sum_rest(struct solver *s)
{
    const struct mlt_knapsack *k = s->k;
    s->rest[k->n_groups] = (struct mlt_choice){0};
    s->rest_priced[k->n_groups] = 0;
    for (size_t g = k->n_groups; g-- > 0;) {
        struct mlt_choice least = {UINT64_MAX, INFINITY, 0};
        double least_priced = INFINITY;
        for (size_t i = 0; i < k->n_choices[g]; i++) {
            const struct mlt_choice *c = &k->choices[g][i];
            least.bytes = MLT_MIN(least.bytes, c->bytes);
            least.seconds = fmin(least.seconds, c->seconds);
            least_priced = fmin(least_priced, priced(c, s->prices));
        }
        s->rest[g].bytes = s->rest[g + 1].bytes + least.bytes;
        s->rest[g].seconds = s->rest[g + 1].seconds + least.seconds;
        s->rest_priced[g] = s->rest_priced[g + 1] + least_priced;
    }
}

static int by_bytes(const void *a, const void *b)
{
    const struct state *x = a, *y = b;
    if (x->bytes != y->bytes) return x->bytes < y->bytes ? -1 : 1;
    if (x->loss != y->loss) return x->loss < y->loss ? -1 : 1;
    if (x->seconds != y->seconds) return x->seconds < y->seconds ? -1 : 1;
    if (x->parent != y->parent) return x->parent < y->parent ? -1 : 1;
    return (x->choice > y->choice) - (x->choice < y->choice);
}

static int by_bound(const void *a, const void *b)
{
    const struct state *x = a, *y = b;
    if (x->bound != y->bound) return x->bound < y->bound ? -1 : 1;
    return by_bytes(a, b);
}

/* Drops states that another with no more bytes beats in seconds and loss; states are sorted by bytes. */
static size_t drop_dominated(struct solver *s, struct state *states, size_t n)
{
    size_t kept = 0, n_stairs = 0;
    for (size_t i = 0; i < n; i++) {
        /* The last step that takes no more seconds has the least loss of those. */
        size_t low = 0, high = n_stairs;
        while (low < high) {
            size_t middle = (low + high) / 2;
            if (s->stairs[middle].seconds <= states[i].seconds)
                low = middle + 1;
            else
                high = middle;
        }
        if (low > 0 && s->stairs[low - 1].loss <= states[i].loss) continue;
        size_t end = low; /* steps that this one makes useless */
        while (end < n_stairs && s->stairs[end].loss >= states[i].loss)
            end++;
        memmove(&s->stairs[low + 1], &s->stairs[end], (n_stairs - end) * sizeof *s->stairs);
        n_stairs += 1 + low - end;
        s->stairs[low] = states[i];
        states[kept++] = states[i];
    }
    return kept;
}

/* The row of group g from that before it. */
static void extend(struct solver *s, size_t g)
{
    const struct mlt_knapsack *k = s->k;
    const struct state start = {0}, *from = g ? s->states + (g - 1) * s->width : &start;
    size_t n_from = g ? s->n_states[g - 1] : 1, n = 0;
    double allowance = s->prices.byte > 0 ? s->prices.byte * (double)k->most_bytes : 0;
    if (s->prices.second > 0) allowance += s->prices.second * k->most_seconds;
    for (size_t i = 0; i < n_from; i++)
        for (uint32_t c = 0; c < k->n_choices[g]; c++) {
            const struct mlt_choice *choice = &k->choices[g][c];
            struct state to = {.bytes = from[i].bytes + choice->bytes,
                               .seconds = from[i].seconds + choice->seconds,
                               .loss = from[i].loss + choice->loss,
                               .parent = (uint32_t)i,
                               .choice = c};
            if (to.bytes + s->rest[g + 1].bytes > k->most_bytes ||
                to.seconds + s->rest[g + 1].seconds > k->most_seconds)
                continue;
            struct mlt_choice sum = {to.bytes, to.seconds, to.loss};
            to.bound = priced(&sum, s->prices) + s->rest_priced[g + 1] - allowance;
            if (s->have_known && to.bound > s->known.loss + 1e-12 * fabs(s->known.loss)) continue;
            s->candidates[n++] = to;
        }
    qsort(s->candidates, n, sizeof *s->candidates, by_bytes);
    n = drop_dominated(s, s->candidates, n);
    if (n > s->width) {
        qsort(s->candidates, n, sizeof *s->candidates, by_bound);
        n = s->width;
        s->dropped = true;
    }
    memcpy(s->states + g * s->width, s->candidates, n * sizeof *s->candidates);
    s->n_states[g] = n;
}

static void fill(struct solver *s, uint32_t *picked)
{
    size_t n = s->k->n_groups;
    sum_rest(s);
    for (size_t g = 0; g < n; g++)
        extend(s, g);
    const struct state *row = s->states + (n - 1) * s->width, *best = NULL;
    for (size_t i = 0; i < s->n_states[n - 1]; i++)
        if (!best || row[i].loss < best->loss) best = &row[i];
    if (!best) return;
    struct mlt_knapsack_answer a = {best->bytes, best->seconds, best->loss, false};
    for (size_t g = n; g-- > 0;) {
        s->trial[g] = best->choice;
        if (g) best = s->states + (g - 1) * s->width + best->parent;
    }
    offer(s, &a, picked);
}

static millet_status fail_least(const struct mlt_knapsack *k, const struct solver *s,
                                struct mlt_knapsack_answer *answer, millet_error *err)
{
    *answer = (struct mlt_knapsack_answer){.bytes = s->rest[0].bytes, .seconds = s->rest[0].seconds};
    bool bytes = s->rest[0].bytes > k->most_bytes, seconds = s->rest[0].seconds > k->most_seconds;
    return mlt_fail(err, MILLET_BAD_ARGUMENT, "no choice of types has so few bytes%s",
                    bytes && seconds ? ", nor is any so fast"
                    : bytes          ? ""
                                     : " and is so fast");
}

millet_status mlt_knapsack_solve(const millet_allocator *allocator, const struct mlt_knapsack *k,
                                 uint32_t *picked, struct mlt_knapsack_answer *answer, millet_error *err)
{
    *answer = (struct mlt_knapsack_answer){.best = true};
    if (k->n_groups == 0) return MILLET_OK;
    struct solver s = {.k = k, .width = k->width ? k->width : WIDTH};
    size_t n = k->n_groups, most = 1;
    for (size_t g = 0; g < n; g++)
        most = MLT_MAX(most, k->n_choices[g]);
    s.rest = mlt_alloc(allocator, n + 1, sizeof *s.rest, err);
    s.rest_priced = mlt_alloc(allocator, n + 1, sizeof *s.rest_priced, err);
    s.states = mlt_alloc(allocator, n * s.width, sizeof *s.states, err);
    s.n_states = mlt_alloc_zero(allocator, n, sizeof *s.n_states, err);
    s.candidates = mlt_alloc(allocator, s.width * most, sizeof *s.candidates, err);
    s.stairs = mlt_alloc(allocator, s.width * most + 1, sizeof *s.stairs, err);
    s.trial = mlt_alloc(allocator, n, sizeof *s.trial, err);
    millet_status status = MILLET_NO_MEMORY;
    if (s.rest && s.rest_priced && s.states && s.n_states && s.candidates && s.stairs && s.trial) {
        status = MILLET_OK;
        find_prices(&s, picked);
        fill(&s, picked);
        if (s.have_known) {
            *answer = s.known;
            answer->best = !s.dropped;
        } else {
            status = fail_least(k, &s, answer, err);
        }
    }
    mlt_free(allocator, s.rest);
    mlt_free(allocator, s.rest_priced);
    mlt_free(allocator, s.states);
    mlt_free(allocator, s.n_states);
    mlt_free(allocator, s.candidates);
    mlt_free(allocator, s.stairs);
    mlt_free(allocator, s.trial);
    return status;
}
