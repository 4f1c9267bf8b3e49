/* The unigram model: expectation, maximisation, pruning. SPDX-License-Identifier: Apache-2.0 */
#include "corpus/unigram_train.h"

#include "tokenizer/utf8.h"

#include <float.h>
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { CLAIM = 256 };

#define UNIT 1048576.0 /* of the counts */
#define LIKELIHOOD_UNIT 1024.0
#define IMPOSSIBLE (-DBL_MAX)

/* An arc of a word's lattice: a piece from one byte position to another. */
struct arc {
    uint32_t from, to;
    int32_t piece;
};

/* What one thread needs. A word is at most MLT_MAX_WORD bytes long, and no piece begins at a place twice. */
struct lattice {
    struct arc *arcs;
    size_t n_arcs, arc_capacity;
    double forward[MLT_MAX_WORD + 1], backward[MLT_MAX_WORD + 1];
    int32_t best[MLT_MAX_WORD + 1]; /* the arc that ends here */
    int64_t *counts;                /* [pieces], in units */
    int64_t log_likelihood;
    uint64_t n_tokens;
    millet_status status;
    millet_error err;
};

struct pass {
    const struct mlt_word_counts *words;
    const struct mlt_piece_set *set;
    struct mlt_trie trie;
    struct lattice *lattices; /* [threads] */
    bool best;
    atomic_size_t next;
};

static millet_status build_trie(const struct mlt_piece_set *set, struct mlt_trie *trie, millet_error *err)
{
    struct mlt_trie_entry *entries = mlt_alloc(set->allocator, set->count, sizeof *entries, err);
    if (!entries) return MILLET_NO_MEMORY;
    for (size_t i = 0; i < set->count; i++)
        entries[i] = (struct mlt_trie_entry){set->pieces[i].text, set->pieces[i].length, (int32_t)i};
    millet_status status = mlt_trie_open(trie, set->allocator, entries, set->count, err);
    mlt_free(set->allocator, entries);
    return status;
}

/* All arcs of text[0 .. length), by where they begin. A character without a piece of its own gets an arc
 * without piece, which costs nothing and counts for nothing: it parts the word. */
static millet_status list_arcs(const struct mlt_trie *trie, const millet_allocator *allocator,
                               const char *text, uint32_t length, struct lattice *lattice, millet_error *err)
{
    lattice->n_arcs = 0;
    for (uint32_t i = 0; i < length;) {
        uint32_t codepoint, node = 0;
        uint32_t character = (uint32_t)mlt_utf8_step(text + i, length - i, &codepoint);
        bool covered = false;
        for (uint32_t end = i; end < length;) {
            node = mlt_trie_step(trie, node, (uint8_t)text[end++]);
            if (!node) break;
            if (trie->nodes[node].value < 0) continue;
            if (end - i == character) covered = true;
            void *arcs = lattice->arcs;
            MLT_TRY(mlt_grow(allocator, &arcs, &lattice->arc_capacity, lattice->n_arcs + 1,
                             sizeof *lattice->arcs, err));
            lattice->arcs = arcs;
            lattice->arcs[lattice->n_arcs++] = (struct arc){i, end, trie->nodes[node].value};
        }
        if (!covered) {
            void *arcs = lattice->arcs;
            MLT_TRY(mlt_grow(allocator, &arcs, &lattice->arc_capacity, lattice->n_arcs + 1,
                             sizeof *lattice->arcs, err));
            lattice->arcs = arcs;
            lattice->arcs[lattice->n_arcs++] = (struct arc){i, i + character, -1};
        }
        i += character;
    }
    return MILLET_OK;
}

static double score_of(const struct mlt_piece_set *set, const struct arc *arc)
{
    return arc->piece < 0 ? 0 : set->pieces[arc->piece].score;
}

static double log_add(double a, double b)
{
    if (a < b) {
        double c = a;
        a = b;
        b = c;
    }
    if (b == IMPOSSIBLE || a - b > 50) return a;
    return a + log1p(exp(b - a));
}

/* Adds what is expected of each piece in a word that occurs `times`. */
static void expect_word(const struct mlt_piece_set *set, struct lattice *l, uint32_t length, uint64_t times)
{
    for (uint32_t i = 0; i <= length; i++)
        l->forward[i] = l->backward[i] = IMPOSSIBLE;
    l->forward[0] = l->backward[length] = 0;
    for (size_t a = 0; a < l->n_arcs; a++) {
        const struct arc *arc = &l->arcs[a];
        if (l->forward[arc->from] == IMPOSSIBLE) continue;
        l->forward[arc->to] = log_add(l->forward[arc->to], l->forward[arc->from] + score_of(set, arc));
    }
    for (size_t a = l->n_arcs; a-- > 0;) {
        const struct arc *arc = &l->arcs[a];
        if (l->backward[arc->to] == IMPOSSIBLE) continue;
        l->backward[arc->from] = log_add(l->backward[arc->from], l->backward[arc->to] + score_of(set, arc));
    }
    double all = l->forward[length];
    for (size_t a = 0; a < l->n_arcs; a++) {
        const struct arc *arc = &l->arcs[a];
        if (arc->piece < 0 || l->forward[arc->from] == IMPOSSIBLE || l->backward[arc->to] == IMPOSSIBLE)
            continue;
        double p = exp(l->forward[arc->from] + score_of(set, arc) + l->backward[arc->to] - all);
        l->counts[arc->piece] += llround(p * (double)times * UNIT);
    }
    l->log_likelihood += llround(all * (double)times * LIKELIHOOD_UNIT);
}

/* Finds the best segmentation, with `without` (a piece, or -1) forbidden. Returns its score; IMPOSSIBLE where
 * there is none. */
static double find_best(const struct mlt_piece_set *set, struct lattice *l, uint32_t length, int32_t without)
{
    for (uint32_t i = 0; i <= length; i++)
        l->forward[i] = IMPOSSIBLE;
    l->forward[0] = 0;
    for (size_t a = 0; a < l->n_arcs; a++) {
        const struct arc *arc = &l->arcs[a];
        if (l->forward[arc->from] == IMPOSSIBLE || (arc->piece >= 0 && arc->piece == without)) continue;
        double score = l->forward[arc->from] + score_of(set, arc);
        if (score <= l->forward[arc->to]) continue;
        l->forward[arc->to] = score;
        l->best[arc->to] = (int32_t)a;
    }
    return l->forward[length];
}

static void count_best(const struct mlt_piece_set *set, struct lattice *l, uint32_t length, uint64_t times)
{
    double score = find_best(set, l, length, -1);
    for (uint32_t at = length; at > 0; at = l->arcs[l->best[at]].from) {
        int32_t piece = l->arcs[l->best[at]].piece;
        if (piece >= 0) l->counts[piece] += (int64_t)times * (int64_t)UNIT;
        /* A character without a piece is said by its bytes. */
        l->n_tokens += piece >= 0 ? times : times * (l->arcs[l->best[at]].to - l->arcs[l->best[at]].from);
    }
    l->log_likelihood += llround(score * (double)times * LIKELIHOOD_UNIT);
}

static void pass_share(void *argument, int share, int threads)
{
    struct pass *pass = argument;
    struct lattice *l = &pass->lattices[share];
    const struct mlt_word_counts *words = pass->words;
    (void)threads;
    while (l->status == MILLET_OK) {
        size_t begin = atomic_fetch_add(&pass->next, CLAIM);
        if (begin >= words->n_words) return;
        for (size_t w = begin; w < MLT_MIN(begin + CLAIM, words->n_words) && l->status == MILLET_OK; w++) {
            const struct mlt_word *word = &words->words[w];
            l->status = list_arcs(&pass->trie, words->allocator, mlt_word_text(words, word), word->length, l,
                                  &l->err);
            if (l->status != MILLET_OK) break;
            (pass->best ? count_best : expect_word)(pass->set, l, word->length, word->count);
        }
    }
}

static millet_status run_pass(struct pass *pass, struct mlt_thread_pool *pool, int threads,
                              struct mlt_unigram_expectation *out, millet_error *err)
{
    const millet_allocator *allocator = pass->words->allocator;
    MLT_TRY(build_trie(pass->set, &pass->trie, err));
    pass->lattices = mlt_alloc_zero(allocator, (size_t)threads, sizeof *pass->lattices, err);
    if (!pass->lattices) return MILLET_NO_MEMORY;
    for (int t = 0; t < threads; t++) {
        pass->lattices[t].counts = mlt_alloc_zero(allocator, pass->set->count, sizeof(int64_t), err);
        if (!pass->lattices[t].counts) return MILLET_NO_MEMORY;
    }
    out->counts = mlt_alloc(allocator, pass->set->count, sizeof *out->counts, err);
    if (!out->counts) return MILLET_NO_MEMORY;
    atomic_store(&pass->next, 0);
    mlt_thread_pool_run(pool, pass_share, pass);
    int64_t log_likelihood = 0;
    for (int t = 0; t < threads; t++) {
        if (pass->lattices[t].status != MILLET_OK) {
            if (err) *err = pass->lattices[t].err;
            return pass->lattices[t].status;
        }
        log_likelihood += pass->lattices[t].log_likelihood;
        out->n_tokens += pass->lattices[t].n_tokens;
        for (size_t i = 0; t > 0 && i < pass->set->count; i++)
            pass->lattices[0].counts[i] += pass->lattices[t].counts[i];
    }
    for (size_t i = 0; i < pass->set->count; i++)
        out->counts[i] = (double)pass->lattices[0].counts[i] / UNIT;
    out->log_likelihood = (double)log_likelihood / LIKELIHOOD_UNIT;
    return MILLET_OK;
}

millet_status mlt_unigram_expect(const struct mlt_word_counts *words, const struct mlt_piece_set *set,
                                 struct mlt_thread_pool *pool, bool best, struct mlt_unigram_expectation *out,
                                 millet_error *err)
{
    const millet_allocator *allocator = words->allocator;
    int threads = pool ? mlt_thread_pool_size(pool) : 1;
    struct pass pass = {.words = words, .set = set, .best = best};
    *out = (struct mlt_unigram_expectation){0};
    millet_status status = run_pass(&pass, pool, threads, out, err);
    for (int t = 0; pass.lattices && t < threads; t++) {
        mlt_free(allocator, pass.lattices[t].arcs);
        mlt_free(allocator, pass.lattices[t].counts);
    }
    mlt_free(allocator, pass.lattices);
    if (pass.trie.nodes) mlt_trie_close(&pass.trie);
    if (status) {
        mlt_free(allocator, out->counts);
        out->counts = NULL;
    }
    return status;
}

/* The digamma function by its recurrence and asymptotic series (Abramowitz and Stegun, 6.3.5 and 6.3.18); x >
 * 0. */
static double digamma(double x)
{
    double result = 0;
    for (; x < 7; x++)
        result -= 1 / x;
    double y = x - 0.5, r = 1 / (y * y);
    return result + log(y) + r * (1.0 / 24 - r * (7.0 / 960 - r * (31.0 / 8064 - r * 127.0 / 30720)));
}

void mlt_unigram_maximize(struct mlt_piece_set *set, const double *counts, bool bayesian, double least)
{
    double sum = 0;
    size_t n = 0;
    for (size_t i = 0; i < set->count; i++) {
        if (!set->pieces[i].required && counts[i] < least) continue;
        double count = MLT_MAX(counts[i], 1e-3); /* required ones keep a little */
        set->pieces[n] = set->pieces[i];
        set->pieces[n++].score = count;
        sum += count;
    }
    set->count = n;
    double log_sum = bayesian ? digamma(sum) : log(sum);
    for (size_t i = 0; i < n; i++)
        set->pieces[i].score =
            (bayesian ? digamma(set->pieces[i].score) : log(set->pieces[i].score)) - log_sum;
}

/* ---- Pruning ---- */

struct loss {
    double value;
    uint32_t piece;
};

static int compare_losses(const void *a, const void *b)
{
    const struct loss *x = a, *y = b;
    if (x->value != y->value) return x->value > y->value ? -1 : 1;
    return (x->piece > y->piece) - (x->piece < y->piece);
}

/*
 * What the text loses with each piece: where it stands now, the pieces of its own second-best segmentation
 * would. A piece that is not its own best segmentation is not needed.
 */
static millet_status find_losses(const struct mlt_piece_set *set, const struct mlt_unigram_expectation *now,
                                 struct loss *losses, size_t *n_losses, millet_error *err)
{
    struct mlt_trie trie = {.nodes = NULL};
    struct lattice *l = mlt_alloc_zero(set->allocator, 1, sizeof *l, err);
    if (!l) return MILLET_NO_MEMORY;
    millet_status status = build_trie(set, &trie, err);
    double sum = 0;
    for (size_t i = 0; i < set->count; i++)
        sum += now->counts[i];
    *n_losses = 0;
    for (size_t i = 0; i < set->count && status == MILLET_OK; i++) {
        const struct mlt_piece *piece = &set->pieces[i];
        if (piece->required || now->counts[i] == 0) continue;
        status = list_arcs(&trie, set->allocator, piece->text, piece->length, l, err);
        if (status != MILLET_OK) break;
        double other = find_best(set, l, piece->length, (int32_t)i);
        if (other > piece->score) continue;
        uint32_t n_other = 0;
        double f = now->counts[i];
        for (uint32_t at = piece->length; at > 0; at = l->arcs[l->best[at]].from)
            n_other++;
        double log_sum = log(sum), log_sum_other = log(sum + f * (n_other - 1)), log_other = 0;
        for (uint32_t at = piece->length; at > 0; at = l->arcs[l->best[at]].from) {
            int32_t part = l->arcs[l->best[at]].piece;
            if (part >= 0) log_other += log(now->counts[part] + f) - log_sum_other;
        }
        losses[(*n_losses)++] = (struct loss){f / sum * (log(f) - log_sum - log_other), (uint32_t)i};
    }
    if (trie.nodes) mlt_trie_close(&trie);
    mlt_free(set->allocator, l->arcs);
    mlt_free(set->allocator, l);
    return status;
}

static millet_status prune(const struct mlt_word_counts *words, const struct mlt_unigram_options *options,
                           struct mlt_piece_set *set, millet_error *err)
{
    struct mlt_unigram_expectation now;
    MLT_TRY(mlt_unigram_expect(words, set, options->pool, true, &now, err));
    struct loss *losses = mlt_alloc(set->allocator, set->count, sizeof *losses, err);
    bool *keep = mlt_alloc_zero(set->allocator, set->count, 1, err);
    size_t n_losses = 0, kept = 0, n = 0;
    millet_status status = losses && keep ? find_losses(set, &now, losses, &n_losses, err) : MILLET_NO_MEMORY;
    if (status == MILLET_OK) {
        size_t wanted = MLT_MAX(options->n_pieces, (size_t)((double)set->count * options->shrink));
        if (n_losses) qsort(losses, n_losses, sizeof *losses, compare_losses);
        for (size_t i = 0; i < set->count; i++) {
            keep[i] = set->pieces[i].required;
            kept += keep[i];
        }
        for (size_t i = 0; i < n_losses && kept < wanted; i++, kept++)
            keep[losses[i].piece] = true;
        for (size_t i = 0; i < set->count; i++)
            if (keep[i]) set->pieces[n++] = set->pieces[i];
        set->count = n;
    }
    mlt_free(set->allocator, losses);
    mlt_free(set->allocator, keep);
    mlt_free(set->allocator, now.counts);
    return status;
}

static millet_status em_step(const struct mlt_word_counts *words, const struct mlt_unigram_options *options,
                             struct mlt_piece_set *set, double least, millet_error *err)
{
    struct mlt_unigram_expectation now;
    MLT_TRY(mlt_unigram_expect(words, set, options->pool, false, &now, err));
    mlt_unigram_maximize(set, now.counts, true, least);
    mlt_free(set->allocator, now.counts);
    return MILLET_OK;
}

static int compare_scores(const void *a, const void *b)
{
    const struct mlt_piece *x = a, *y = b;
    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    int order = memcmp(x->text, y->text, MLT_MIN(x->length, y->length));
    return order ? order : (x->length > y->length) - (x->length < y->length);
}

millet_status mlt_unigram_train(const struct mlt_word_counts *words,
                                const struct mlt_unigram_options *options, struct mlt_piece_set *set,
                                uint64_t *n_tokens, millet_error *err)
{
    double sum = 0, begun = log((double)set->count);
    for (size_t i = 0; i < set->count; i++)
        sum += set->pieces[i].score;
    for (size_t i = 0; i < set->count; i++)
        set->pieces[i].score = log(set->pieces[i].score / sum);
    for (;;) {
        bool last = set->count <= options->n_pieces;
        for (int32_t i = 0; i < options->em_steps; i++)
            /* The last steps drop nothing: the vocabulary is to have the size asked for. */
            MLT_TRY(em_step(words, options, set, last ? 0 : 0.5, err));
        if (last) break;
        if (set->count > options->n_pieces) MLT_TRY(prune(words, options, set, err));
        double left = log((double)set->count) - log((double)options->n_pieces);
        double whole = begun - log((double)options->n_pieces);
        if (options->progress &&
            !options->progress(options->context, whole > 0 ? 1 - MLT_MAX(left, 0.0) / whole : 1))
            return mlt_fail(err, MILLET_CANCELLED, "stopped");
    }
    struct mlt_unigram_expectation now;
    MLT_TRY(mlt_unigram_expect(words, set, options->pool, true, &now, err));
    *n_tokens = now.n_tokens;
    mlt_free(set->allocator, now.counts);
    qsort(set->pieces, set->count, sizeof *set->pieces, compare_scores);
    return MILLET_OK;
}
