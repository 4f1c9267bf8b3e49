/* Rows and batches: each position once, nothing across documents, shares, ranks, resuming.
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/random.h"
#include "corpus/batches.h"
#include "corpus/permutation.h"
#include "corpus/row_plan.h"
#include "corpus/token_cache.h"
#include "support/file_bytes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static int set_up(void **state)
{
    (void)state;
    return folder_make() ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    folder_remove();
    return 0;
}

enum { VOCABULARY = 70000 };

/*
 * A cache of documents of random lengths. Token k of the cache is base + k + 1 in a vocabulary large enough:
 * every position can be told from its token.
 */
static millet_cache *make_cache(const char *name, size_t n_documents, unsigned longest, int32_t base,
                                bool masked, bool prefixes, bool labelled, uint64_t seed)
{
    struct mlt_cache_writer *writer;
    const struct mlt_cache_origin origin = {"made-up", 1, 2, VOCABULARY};
    const struct mlt_source_identity identity = {0};
    const uint64_t skipped[MILLET_SKIP_REASONS] = {0};
    struct mlt_random random;
    int32_t next = base + 1;
    mlt_random_seed(&random, seed);
    assert_int_equal(
        mlt_cache_writer_open(mlt_default_allocator(), folder_path(name), &origin, &writer, NULL), MILLET_OK);
    for (size_t d = 0; d < n_documents; d++) {
        size_t count = 2 + mlt_random_u64(&random) % longest;
        uint32_t prefix = prefixes && d % 3 == 0 ? (uint32_t)(mlt_random_u64(&random) % (count + 1)) : 0;
        for (size_t i = 0; i < count; i++) {
            uint8_t trained = !masked || mlt_random_u64(&random) % 3 > 0;
            int32_t token = next++;
            assert_true(token < VOCABULARY);
            /* Also where nothing says that there may be one: on trained tokens, and on a document's last. */
            int32_t label =
                labelled && d % 2 && mlt_random_u64(&random) % 4 == 0 ? VOCABULARY - 1 - (int32_t)i : -1;
            assert_int_equal(
                mlt_cache_writer_put(writer, &token, &trained, labelled ? &label : NULL, 1, NULL), MILLET_OK);
        }
        assert_int_equal(mlt_cache_writer_end_document(writer, prefix, NULL), MILLET_OK);
    }
    assert_int_equal(mlt_cache_writer_commit(&writer, &identity, skipped, 0, NULL, NULL), MILLET_OK);
    millet_cache *cache;
    assert_int_equal(millet_cache_open(folder_path(name), NULL, true, &cache, NULL), MILLET_OK);
    return cache;
}

static void test_permutation(void **state)
{
    (void)state;
    static uint8_t seen[5000];
    for (uint64_t count = 1; count < 5000; count = count < 40 ? count + 1 : count * 3 / 2) {
        for (uint64_t key = 0; key < 3; key++) {
            memset(seen, 0, sizeof seen);
            uint64_t fixed = 0;
            for (uint64_t i = 0; i < count; i++) {
                uint64_t to = mlt_permute(i, count, key);
                assert_true(to < count);
                assert_false(seen[to]++);
                fixed += to == i;
            }
            if (count > 30) assert_true(fixed < 12); /* one on average */
        }
    }
    /* Neighbours go apart: the mean distance of a random order is a third of the count. */
    double sum = 0;
    for (uint64_t i = 0; i + 1 < 4000; i++) {
        double a = (double)mlt_permute(i, 4000, 5), b = (double)mlt_permute(i + 1, 4000, 5);
        sum += a > b ? a - b : b - a;
    }
    assert_true(sum / 3999 > 1200 && sum / 3999 < 1470);
    assert_true(mlt_permute(UINT64_C(1) << 40, (UINT64_C(1) << 41) + 7, 1) < (UINT64_C(1) << 41) + 7);
}

struct batch {
    int32_t *tokens, *targets, *begin, *end;
    uint8_t *marks;
};

static struct batch batch_new(size_t positions)
{
    struct batch batch;
    int32_t *all = malloc(5 * positions * sizeof *all);
    assert_non_null(all);
    batch.tokens = all;
    batch.targets = all + positions;
    batch.begin = all + 2 * positions;
    batch.end = all + 3 * positions;
    batch.marks = (uint8_t *)(all + 4 * positions);
    memset(batch.marks, 0xFF, positions);
    return batch;
}

/* The document that a token (by its value) is of, and its place there. */
static uint64_t document_of(const millet_cache *cache, int32_t base, int32_t token, uint64_t *place)
{
    uint64_t number = (uint64_t)(token - base - 1), d = 0;
    while (cache->documents[d + 1] <= number)
        d++;
    *place = number - cache->documents[d];
    return d;
}

/*
 * One epoch in full: every position of every document on this side of the split is seen once, with its
 * target; documents do not mix; attention is bounded as it must be.
 */
static void check_epoch(const millet_cache *cache, int32_t base, const millet_batch_options *options)
{
    const millet_mixture_part part = {.cache = cache};
    millet_batches *batches;
    millet_batches_info info;
    assert_int_equal(millet_batches_open(&part, 1, options, &batches, NULL), MILLET_OK);
    millet_batches_get_info(batches, &info);
    uint8_t *seen = calloc(cache->trailer.n_tokens, 1);
    assert_non_null(seen);
    int32_t length = options->length;
    struct batch b = batch_new((size_t)length);
    uint64_t positions = 0, targets = 0, labels = 0, padding = 0;
    for (uint64_t row = 0; row < info.n_rows; row++) {
        assert_int_equal(
            millet_batches_fill(batches, row, 1, b.tokens, b.targets, b.begin, b.end, b.marks, NULL),
            MILLET_OK);
        for (int32_t i = 0; i < length; i++) {
            if (b.tokens[i] == 0) { /* padding: no token of the cache has this number */
                assert_int_equal(b.targets[i], -1);
                assert_true(b.begin[i] == i && b.end[i] == i && b.marks[i] == 0);
                padding++;
                continue;
            }
            uint64_t place, begin_place, d = document_of(cache, base, b.tokens[i], &place);
            assert_false(seen[b.tokens[i] - base - 1]++);
            positions++;
            /* The row from begin to here is one stretch of the document. */
            assert_true(b.begin[i] >= 0 && b.begin[i] <= i && b.end[i] >= i && b.end[i] < length);
            assert_int_equal(b.tokens[b.begin[i]], b.tokens[i] - (i - b.begin[i]));
            assert_int_equal(document_of(cache, base, b.tokens[b.begin[i]], &begin_place), d);
            assert_int_equal(b.tokens[b.end[i]], b.tokens[i] + (b.end[i] - i));
            assert_int_equal(b.begin[b.end[i]], b.begin[i]);
            uint64_t prefix = cache->prefixes ? cache->prefixes[d] : 0,
                     count = cache->documents[d + 1] - cache->documents[d];
            assert_true(place + 1 < count);
            /* In the prefix the last position seen is its last one in this row. */
            bool in_prefix = place < prefix;
            if (!in_prefix) assert_int_equal(b.end[i], i);
            uint64_t last = place + (uint64_t)(b.end[i] - i);
            if (in_prefix) {
                assert_true(last < prefix);
                bool row_ends = b.end[i] + 1 == length || b.tokens[b.end[i] + 1] != b.tokens[b.end[i]] + 1 ||
                                last + 2 == count;
                assert_true(last + 1 == prefix || row_ends);
            }
            bool trained;
            millet_cache_token(cache, (uint64_t)(b.tokens[i] - base), &trained);
            int32_t label = millet_cache_label(cache, (uint64_t)(b.tokens[i] - base - 1));
            assert_int_equal(b.targets[i], label >= 0                 ? label
                                           : trained && b.end[i] == i ? b.tokens[i] + 1
                                                                      : -1);
            assert_int_equal(b.marks[i],
                             (label >= 0 ? MILLET_MARK_LABEL : 0) | (in_prefix ? MILLET_MARK_PREFIX : 0));
            labels += label >= 0;
            targets += b.targets[i] >= 0;
        }
    }
    assert_int_equal(positions, info.n_positions);
    assert_int_equal(padding, info.n_rows * (uint64_t)length - positions);
    if (!cache->prefixes) assert_int_equal(targets, info.n_targets);
    if (cache->trailer.n_labels > 200 && !options->held_out) assert_true(labels > 20);
    uint64_t expected = 0, left_out = 0;
    for (uint64_t d = 0; d < cache->trailer.n_documents; d++) {
        bool apart = options->holdout && d % (uint64_t)options->holdout == (uint64_t)options->holdout - 1;
        uint64_t n = cache->documents[d + 1] - cache->documents[d] - 1;
        bool chosen = apart == options->held_out;
        if (chosen && options->skip_long && n > (uint64_t)length) {
            left_out++;
            chosen = false;
        }
        if (chosen) expected += n;
        for (uint64_t i = 0; i < n; i++)
            assert_int_equal(seen[cache->documents[d] + i], chosen);
    }
    assert_int_equal(positions, expected);
    assert_int_equal(left_out, info.n_left_out);
    if (options->packing == MILLET_PACK_SEQUENTIAL) assert_true(padding < (uint64_t)length);
    free(b.tokens);
    free(seen);
    millet_batches_close(&batches);
}

static void test_epochs(void **state)
{
    (void)state;
    for (int kind = 0; kind < 5; kind++) {
        millet_cache *cache = make_cache("a.tokens", kind == 2 ? 3000 : 300, kind == 2 ? 20 : 90, 5, kind > 0,
                                         kind == 1 || kind == 2 || kind == 4, kind >= 3, (uint64_t)kind);
        assert_int_equal(cache->trailer.n_labels > 1000, kind >= 3);
        static const int32_t lengths[] = {2, 7, 64, 100, 1000};
        for (size_t l = 0; l < sizeof lengths / sizeof *lengths; l++)
            for (int variant = 0; variant < 12; variant++) {
                millet_batch_options options = millet_batch_options_default();
                options.length = lengths[l];
                options.packing = variant & 1 ? MILLET_PACK_SEQUENTIAL : MILLET_PACK_BEST_FIT;
                options.in_order = variant & 2;
                options.seed = (uint64_t)variant;
                options.holdout = variant < 4 ? 0 : 7;
                options.held_out = variant >= 8;
                check_epoch(cache, 5, &options);
            }
        millet_batch_options options = millet_batch_options_default();
        options.length = 50;
        options.skip_long = true;
        if (kind < 2) check_epoch(cache, 5, &options);
        millet_cache_close(&cache);
    }
}

/* Best fit wastes little: rows of documents of all lengths are nearly full. */
static void test_best_fit_is_tight(void **state)
{
    (void)state;
    millet_cache *cache = make_cache("a.tokens", 900, 120, 0, false, false, false, 3);
    const millet_mixture_part part = {.cache = cache};
    millet_batch_options options = millet_batch_options_default();
    millet_batches *batches;
    millet_batches_info info;
    options.length = 256;
    assert_int_equal(millet_batches_open(&part, 1, &options, &batches, NULL), MILLET_OK);
    millet_batches_get_info(batches, &info);
    assert_true((double)info.n_positions > 0.99 * 256 * (double)info.n_rows);
    millet_batches_close(&batches);
    millet_cache_close(&cache);
}

static void test_order_and_epochs(void **state)
{
    (void)state;
    millet_cache *cache = make_cache("a.tokens", 200, 50, 0, false, false, false, 4);
    const millet_mixture_part part = {.cache = cache};
    millet_batch_options options = millet_batch_options_default();
    millet_batches *batches, *other;
    millet_batches_info info;
    options.length = 16;
    options.packing = MILLET_PACK_SEQUENTIAL;
    options.in_order = true;
    struct batch b = batch_new(16 * 8), c = batch_new(16 * 8);
    assert_int_equal(millet_batches_open(&part, 1, &options, &batches, NULL), MILLET_OK);
    millet_batches_get_info(batches, &info);
    /* In order, tokens rise; after the last row the first comes again. */
    int32_t last = 0;
    for (uint64_t row = 0; row < info.n_rows; row++) {
        assert_int_equal(
            millet_batches_fill(batches, row, 1, b.tokens, b.targets, b.begin, b.end, NULL, NULL), MILLET_OK);
        assert_true(b.tokens[0] > last);
        last = b.tokens[0];
    }
    assert_int_equal(
        millet_batches_fill(batches, info.n_rows, 1, b.tokens, b.targets, b.begin, b.end, NULL, NULL),
        MILLET_OK);
    assert_int_equal(b.tokens[0], 1);
    millet_batches_close(&batches);
    /* Shuffled, each epoch has another order, and so has each seed. */
    options.in_order = false;
    options.seed = 1;
    assert_int_equal(millet_batches_open(&part, 1, &options, &batches, NULL), MILLET_OK);
    options.seed = 2;
    assert_int_equal(millet_batches_open(&part, 1, &options, &other, NULL), MILLET_OK);
    uint64_t same_epoch = 0, same_seed = 0;
    for (uint64_t row = 0; row < info.n_rows; row++) {
        assert_int_equal(
            millet_batches_fill(batches, row, 1, b.tokens, b.targets, b.begin, b.end, NULL, NULL), MILLET_OK);
        assert_int_equal(millet_batches_fill(batches, row + info.n_rows, 1, c.tokens, c.targets, c.begin,
                                             c.end, NULL, NULL),
                         MILLET_OK);
        same_epoch += b.tokens[0] == c.tokens[0];
        assert_int_equal(millet_batches_fill(other, row, 1, c.tokens, c.targets, c.begin, c.end, NULL, NULL),
                         MILLET_OK);
        same_seed += b.tokens[0] == c.tokens[0];
    }
    assert_true(same_epoch < 10 && same_seed < 10);
    /* A batch of many rows is the rows one by one, in whatever order steps are asked for; the source says the
     * same. */
    struct mlt_batch_source source = mlt_batches_source(batches);
    struct mlt_batch batch = {
        .rows = 8, .length = 16, .tokens = c.tokens, .targets = c.targets, .begin = c.begin, .end = c.end};
    for (uint64_t step = 9; step-- > 0;) {
        assert_int_equal(source.fill(source.context, step, &batch, NULL), MILLET_OK);
        for (uint64_t r = 0; r < 8; r++) {
            assert_int_equal(millet_batches_fill(batches, step * 8 + r, 1, b.tokens, b.targets, b.begin,
                                                 b.end, NULL, NULL),
                             MILLET_OK);
            assert_memory_equal(b.tokens, c.tokens + 16 * r, 16 * sizeof(int32_t));
            assert_memory_equal(b.targets, c.targets + 16 * r, 16 * sizeof(int32_t));
            assert_memory_equal(b.begin, c.begin + 16 * r, 16 * sizeof(int32_t));
            assert_memory_equal(b.end, c.end + 16 * r, 16 * sizeof(int32_t));
        }
    }
    batch.length = 17;
    assert_int_equal(source.fill(source.context, 0, &batch, NULL), MILLET_BAD_ARGUMENT);
    millet_batches_close(&batches);
    millet_batches_close(&other);
    millet_cache_close(&cache);
    free(b.tokens);
    free(c.tokens);
}

/* Every position says which token of which part it is; padding, that it is none. */
static void test_sources(void **state)
{
    (void)state;
    enum { LENGTH = 24, ROWS = 4 };
    millet_cache *caches[2] = {make_cache("a.tokens", 90, 50, 0, true, true, false, 5),
                               make_cache("b.tokens", 60, 30, 0, false, false, false, 6)};
    const millet_mixture_part parts[] = {{.cache = caches[0]}, {.cache = caches[1]}};
    millet_batch_options options = millet_batch_options_default();
    millet_batches *batches;
    uint64_t source[ROWS * LENGTH], n_padding = 0, of_part[2] = {0};
    struct batch b = batch_new(ROWS * LENGTH);
    struct mlt_batch batch = {.rows = ROWS,
                              .length = LENGTH,
                              .tokens = b.tokens,
                              .targets = b.targets,
                              .begin = b.begin,
                              .end = b.end,
                              .source = source};
    options.length = LENGTH;
    assert_int_equal(millet_batches_open(parts, 2, &options, &batches, NULL), MILLET_OK);
    for (uint64_t step = 0; step < 40; step++) {
        assert_int_equal(mlt_batches_fill(batches, step, &batch, NULL), MILLET_OK);
        for (int32_t i = 0; i < ROWS * LENGTH; i++) {
            if (source[i] == MLT_NO_SOURCE) {
                assert_int_equal(b.targets[i], MLT_NO_TARGET);
                assert_int_equal(b.begin[i], i % LENGTH);
                n_padding++;
                continue;
            }
            uint64_t part = mlt_source_part(source[i]), number = mlt_source_token(source[i]);
            assert_in_range(part, 0, 1);
            of_part[part]++;
            assert_int_equal(b.tokens[i], millet_cache_token(caches[part], number, NULL));
            if (b.targets[i] >= 0)
                assert_int_equal(b.targets[i], millet_cache_token(caches[part], number + 1, NULL));
        }
    }
    assert_true(n_padding > 0 && of_part[0] > 100 && of_part[1] > 100);
    millet_batches_close(&batches);
    for (int i = 0; i < 2; i++)
        millet_cache_close(&caches[i]);
    free(b.tokens);
}

/* The rows of all ranks together are those of one process with as many rows. */
static void test_ranks(void **state)
{
    (void)state;
    millet_cache *cache = make_cache("a.tokens", 200, 50, 0, false, false, false, 5);
    const millet_mixture_part part = {.cache = cache};
    millet_batch_options options = millet_batch_options_default();
    millet_batches *whole, *one;
    options.length = 16;
    struct batch b = batch_new(16 * 12), c = batch_new(16 * 12);
    assert_int_equal(millet_batches_open(&part, 1, &options, &whole, NULL), MILLET_OK);
    for (int32_t ranks = 1; ranks <= 4; ranks++)
        for (int32_t rank = 0; rank < ranks; rank++) {
            options.rank = rank;
            options.n_ranks = ranks;
            assert_int_equal(millet_batches_open(&part, 1, &options, &one, NULL), MILLET_OK);
            for (uint64_t step = 0; step < 5; step++) {
                assert_int_equal(millet_batches_fill(whole, step, 3 * ranks, b.tokens, b.targets, b.begin,
                                                     b.end, NULL, NULL),
                                 MILLET_OK);
                assert_int_equal(
                    millet_batches_fill(one, step, 3, c.tokens, c.targets, c.begin, c.end, NULL, NULL),
                    MILLET_OK);
                for (int32_t r = 0; r < 3; r++)
                    assert_memory_equal(c.tokens + 16 * r, b.tokens + 16 * (r * ranks + rank),
                                        16 * sizeof(int32_t));
            }
            millet_batches_close(&one);
        }
    millet_batches_close(&whole);
    millet_cache_close(&cache);
    free(b.tokens);
    free(c.tokens);
}

static void test_mixture(void **state)
{
    (void)state;
    /* Tokens from 1, 20001 and 40001 tell the parts apart; documents of the second are longer than half a
     * row, so that its rows are less full. */
    millet_cache *caches[] = {make_cache("a.tokens", 400, 30, 0, false, false, false, 6),
                              make_cache("b.tokens", 200, 30, 20000, false, false, false, 7),
                              make_cache("c.tokens", 40, 300, 40000, false, false, false, 8)};
    millet_mixture_part parts[3] = {{.cache = caches[0], .weight = 5},
                                    {.cache = caches[1], .weight = 3, .loss_weight = 0.25f},
                                    {.cache = caches[2], .weight = 2}};
    millet_batch_options options = millet_batch_options_default();
    millet_batches *batches;
    options.length = 64;
    struct batch b = batch_new(64);
    for (int variant = 0; variant < 3; variant++) {
        double share[3] = {0.5, 0.3, 0.2}, counts[3] = {0}, total = 0;
        if (variant == 1) { /* without weights: by tokens */
            double sum = 0;
            for (int i = 0; i < 3; i++) {
                parts[i].weight = 0;
                share[i] = (double)(caches[i]->trailer.n_tokens - caches[i]->trailer.n_documents);
                sum += share[i];
            }
            for (int i = 0; i < 3; i++)
                share[i] /= sum;
        } else if (variant == 2) { /* one part alone */
            parts[1].weight = 1;
            share[0] = share[2] = 0;
            share[1] = 1;
        }
        assert_int_equal(millet_batches_open(parts, 3, &options, &batches, NULL), MILLET_OK);
        float row_weight = 0;
        struct mlt_batch one = {.rows = 1,
                                .length = 64,
                                .tokens = b.tokens,
                                .targets = b.targets,
                                .begin = b.begin,
                                .end = b.end,
                                .row_weight = &row_weight};
        for (uint64_t row = 0; row < 3 * 4096; row++) {
            assert_int_equal(mlt_batches_fill(batches, row, &one, NULL), MILLET_OK);
            assert_true(row_weight == (b.tokens[0] > 20000 && b.tokens[0] <= 40000 ? 0.25f : 1.0f));
            for (int i = 0; i < 64; i++)
                if (b.tokens[i]) counts[(b.tokens[i] - 1) / 20000]++;
        }
        for (int i = 0; i < 3; i++)
            total += counts[i];
        for (int i = 0; i < 3; i++)
            assert_true(counts[i] / total > share[i] - 0.005 && counts[i] / total < share[i] + 0.005);
        millet_batches_close(&batches);
    }
    for (int i = 0; i < 3; i++)
        millet_cache_close(&caches[i]);
    free(b.tokens);
}

static void test_refusals(void **state)
{
    (void)state;
    millet_cache *cache = make_cache("a.tokens", 3, 30, 0, false, false, false, 9);
    millet_mixture_part part = {.cache = cache};
    millet_batches *batches;
    millet_error err;
#define REFUSED(item_name, ...)                                                                              \
    do {                                                                                                     \
        millet_batch_options options = {__VA_ARGS__};                                                        \
        assert_int_equal(millet_batches_open(&part, 1, &options, &batches, &err), MILLET_BAD_ARGUMENT);      \
        assert_null(batches);                                                                                \
        assert_string_equal(err.item, item_name);                                                            \
    } while (0)
    REFUSED("length", .length = 1);
    REFUSED("length", .length = 1 << 25);
    REFUSED("rank", .length = 8, .rank = 2, .n_ranks = 2);
    REFUSED("rank", .length = 8, .rank = -1, .n_ranks = 2);
    REFUSED("holdout", .length = 8, .holdout = 1);
    REFUSED("held_out", .length = 8, .held_out = true);
    REFUSED("skip_long", .length = 8, .skip_long = true, .packing = MILLET_PACK_SEQUENTIAL);
    REFUSED("holdout", .length = 8, .holdout = 10, .held_out = true); /* three documents: none is the tenth */
    part.weight = -1;
    REFUSED("weight", .length = 8);
#undef REFUSED
    millet_cache_close(&cache);
}

/* A cache whose checksum is right and whose tokens or labels are not: no batch carries them further. */
static void check_outside(bool labels)
{
    static const uint32_t outside = VOCABULARY;
    millet_cache *cache = make_cache("a.tokens", 3, 30, 0, false, false, labels, 9);
    uint64_t tokens_at = cache->trailer.tokens_at, at = labels ? cache->trailer.labels_at : tokens_at;
    millet_cache_close(&cache);
    struct file_bytes bytes = file_read(folder_path("a.tokens"));
    memcpy(bytes.data + at, &outside, sizeof outside);
    file_write(folder_path("a.tokens"), &bytes);
    bytes_free(&bytes);
    assert_int_equal(millet_cache_open(folder_path("a.tokens"), NULL, false, &cache, NULL), MILLET_OK);
    assert_int_equal(millet_cache_label(cache, 0), -1);
    const millet_mixture_part part = {.cache = cache};
    millet_batch_options options = millet_batch_options_default();
    millet_batches *batches;
    millet_error err;
    options.length = 100;
    struct batch b = batch_new(100);
    assert_int_equal(millet_batches_open(&part, 1, &options, &batches, NULL), MILLET_OK);
    assert_int_equal(millet_batches_fill(batches, 0, 1, b.tokens, b.targets, b.begin, b.end, NULL, &err),
                     MILLET_BAD_FORMAT);
    assert_int_equal(err.offset, tokens_at);
    millet_batches_close(&batches);
    millet_cache_close(&cache);
    free(b.tokens);
}

static void test_tokens_outside(void **state)
{
    (void)state;
    check_outside(false);
    check_outside(true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_permutation),
        cmocka_unit_test(test_epochs),
        cmocka_unit_test(test_best_fit_is_tight),
        cmocka_unit_test(test_order_and_epochs),
        cmocka_unit_test(test_ranks),
        cmocka_unit_test(test_sources),
        cmocka_unit_test(test_mixture),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_tokens_outside),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
