/*
 * The forward pass of every family against the naive one in double, and what it promises about cuts,
 * threads, sequences and memory. Models are small and random.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "model/forward_state.h"
#include "support/counting_allocator.h"
#include "support/naive_forward.h"
#include "support/sha256.h"
#include "support/toy_model.h"

#include <math.h>
#include <stdio.h>

enum { N_TOKENS = 16 }; /* more than two windows of the toy models */

/* ---- The models ---- */

struct example {
    const char *name;
    struct toy_model toy;
    int32_t n_ctx;
    double bound; /* of the relative distance to the naive pass */
    const char *digest;
    mlt_dtype cache; /* MLT_F32 (0): what each test chooses */
};

/*
 * The first digits of the SHA-256 of each example's logits (test_levels), in the order below. They are the
 * same on every machine: one that gives others does not keep to docs/arithmetic.md.
 */
static const char digests[][17] = {
    "b010c8d5cd6dd338", "b62fb17b492fb663", "593aed27d3875505", "8487944aefba0a45", "c94a7d806c8bf77d",
    "b4ad2e85ed67e3f6", "652e4d536b2434e5", "36f14f92781f66c3", "b010c8d5cd6dd338", "c97b9a03b4402bc0",
    "3c0fa3f7944dd2d2", "0eb4f1a982941ae4", "37dc423da405e68e", "1d67bfa3b514c9f7", "6782f469eefea883",
    "7fa576505122896f", "9803fb7241dbd794", "60e0b9c3111eb322", "6bb8f4ae9702c29b", "4c2dacb1f65a1243",
    "a2ffc55a59cfb1a1", "dc0fb119d783a649", "f21c888304b0d566", "a4e3738d935fcba7", "e279fcdebd75dc80",
    "b82f32fd5c563d8d", "63e5e6b6084986e8", "c36d609540a02292", "f159726829a908ca", "69d03600188945a9",
    "f4994a90cda81102", "ed0c0dcc92d8e7ce",
};

/* Fills `out` with all examples and returns their number. */
static size_t make_examples(struct example *out)
{
    static const char *const families[] = {"llama", "qwen2", "qwen3",    "gemma2",  "gemma3",
                                           "phi3",  "gpt2",  "stablelm", "smollm3", "minicpm"};
    static struct toy_key yarn[3];
    yarn[0] = (struct toy_key){"rope.scaling.type", false, toy_string("yarn")};
    yarn[1] = (struct toy_key){"rope.scaling.factor", false, toy_f32(4)};
    yarn[2] = (struct toy_key){"rope.scaling.original_context_length", false, toy_u32(16)};
    size_t n = 0;
    for (size_t i = 0; i < sizeof families / sizeof families[0]; i++)
        out[n++] = (struct example){families[i], toy_model_default(families[i]), 64, 3e-6, NULL, 0};
#define EXAMPLE(title, family, limit)                                                                        \
    out[n] = (struct example){title, toy_model_default(family), 64, limit, NULL, 0};                         \
    for (struct example *e = &out[n++]; e; e = NULL)

    EXAMPLE("untied, with biases", "llama", 3e-6) e->toy.untied = e->toy.biases = true;
    EXAMPLE("experts", "llama", 3e-6) e->toy.n_experts = 5, e->toy.n_experts_used = 2;
    EXAMPLE("one expert of three", "llama", 3e-6) e->toy.n_experts = 3, e->toy.n_experts_used = 1;
    EXAMPLE("rope divisors", "llama", 3e-6) e->toy.rope_freqs = true;
    EXAMPLE("sizes of heads", "llama", 3e-6)
    {
        e->toy.head_size = 24;
        e->toy.value_size = 10;
        e->toy.rope_size = 18;
    }
    EXAMPLE("yarn", "llama", 3e-6)
    {
        e->toy.keys = yarn;
        e->toy.n_keys = sizeof yarn / sizeof yarn[0];
    }
    EXAMPLE("one key head", "qwen2", 3e-6) e->toy.n_kv_heads = 1;
    EXAMPLE("long factors, short context", "phi3", 3e-6) e->toy.long_factors = true;
    EXAMPLE("long factors, long context", "phi3", 3e-6) e->toy.long_factors = true, e->n_ctx = 128;
    EXAMPLE("fused biases", "phi3", 3e-6) e->toy.biases = true;
    EXAMPLE("parallel blocks and norms of heads", "stablelm", 3e-6)
    {
        e->toy.parallel_block = e->toy.qk_norm = true;
        e->toy.rope_size = 4;
    }
    EXAMPLE("windows in seven layers", "gemma3", 3e-6) e->toy.n_layers = 7;
    EXAMPLE("no rope in the fourth layer", "smollm3", 3e-6) e->toy.n_layers = 4;
    EXAMPLE("scale of the widest gemma", "gemma2", 3e-5) e->toy.n_layers = 46, e->toy.head_size = 24;
    EXAMPLE("half precision", "llama", 3e-6) e->toy.dtype = MLT_F16;
    EXAMPLE("bfloat", "qwen2", 3e-6) e->toy.dtype = MLT_BF16;
    /* Activations in int8 are a seventh of a percent off in each product. */
    EXAMPLE("blocks of 32", "llama", 5e-2) e->toy.dtype = MLT_Q8_0;
    EXAMPLE("superblocks", "qwen3", 5e-2)
    {
        e->toy.n_embd = e->toy.n_ff = 256;
        e->toy.dtype = MLT_Q6_K;
    }
    EXAMPLE("experts in blocks", "llama", 5e-2)
    {
        e->toy.n_experts = 4, e->toy.n_experts_used = 2;
        e->toy.dtype = MLT_Q8_0;
        e->toy.seed = 3; /* weights with which no choice of experts is so close that rounding decides */
    }
    /* Rounded keys, values and queries; the last heads are rotated in pieces of 32. */
    EXAMPLE("cache in Q8_0", "llama", 2e-2)
    {
        e->toy.head_size = e->toy.value_size = 64;
        e->cache = MLT_Q8_0;
    }
    EXAMPLE("cache in Q4", "gemma2", 2e-1)
    {
        e->toy.head_size = e->toy.value_size = 64;
        e->cache = MLT_IQ4_NL;
    }
    EXAMPLE("cache in Q4, unequal heads", "llama", 2e-1)
    {
        e->toy.head_size = 288, e->toy.value_size = 96;
        e->toy.rope_size = 18;
        e->cache = MLT_IQ4_NL;
    }
#undef EXAMPLE
    assert_int_equal(n, sizeof digests / sizeof digests[0]);
    for (size_t i = 0; i < n; i++)
        out[i].digest = digests[i];
    return n;
}

enum { MAX_EXAMPLES = 40 };

/* ---- Ways to compute ---- */

static struct mlt_forward *open_forward(const millet_model *model, int32_t n_ctx, int32_t n_threads,
                                        mlt_dtype cache)
{
    struct mlt_forward_options options = {.n_ctx = n_ctx,
                                          .n_sequences = 3,
                                          .n_batch = 3 * N_TOKENS,
                                          .n_logits = N_TOKENS,
                                          .n_threads = n_threads,
                                          .cache = cache};
    struct mlt_forward *forward;
    millet_error err;
    if (mlt_forward_open(mlt_default_allocator(), model, &options, &forward, &err))
        fail_msg("%s", err.message);
    return forward;
}

/* Appends tokens to a sequence; all rows of logits. */
static void append(struct mlt_forward *forward, int32_t sequence, const int32_t *tokens, int32_t n,
                   float *logits)
{
    millet_item items[N_TOKENS];
    for (int32_t i = 0; i < n; i++)
        items[i] = (millet_item){tokens[i], sequence, logits != NULL};
    mlt_forward_run(forward, items, n, logits);
}

static float *rows(const millet_model *model, int32_t n)
{
    float *logits = malloc((size_t)n * (size_t)model->config.n_vocab * sizeof *logits);
    assert_non_null(logits);
    return logits;
}

static void make_tokens(int32_t *tokens, const millet_model *model, uint32_t seed)
{
    for (uint32_t i = 0; i < N_TOKENS; i++)
        tokens[i] = (int32_t)((i * 2654435761u + seed * 40503u) >> 8) % model->config.n_vocab;
}

static void assert_same(const float *a, const float *b, const millet_model *model, int32_t n,
                        const char *what)
{
    size_t width = (size_t)model->config.n_vocab;
    for (int32_t i = 0; i < n; i++)
        if (memcmp(a + (size_t)i * width, b + (size_t)i * width, width * sizeof *a))
            fail_msg("%s: row %d differs", what, i);
}

/* ---- The tests; state is an example ---- */

static double relative_distance(const float *logits, const double *expected, size_t count)
{
    double difference = 0, size = 0;
    for (size_t i = 0; i < count; i++) {
        if (!isfinite(logits[i])) fail_msg("logit %zu is %g", i, (double)logits[i]);
        double d = (double)logits[i] - expected[i];
        difference += d * d;
        size += expected[i] * expected[i];
    }
    return sqrt(difference / size);
}

static void test_against_naive(void **state)
{
    const struct example *e = *state;
    millet_model *model = toy_model_open(&e->toy);
    int32_t tokens[N_TOKENS];
    make_tokens(tokens, model, 1);
    struct mlt_forward *forward = open_forward(model, e->n_ctx, 1, MLT_F32);
    float *logits = rows(model, N_TOKENS);
    append(forward, 0, tokens, N_TOKENS, logits);
    size_t count = N_TOKENS * (size_t)model->config.n_vocab;
    double *expected = malloc(count * sizeof *expected);
    naive_forward(model, tokens, N_TOKENS, e->n_ctx, expected);
    double distance = relative_distance(logits, expected, count);
    if (!(distance <= e->bound)) fail_msg("%s: distance %.3g, at most %.3g", e->name, distance, e->bound);
    free(expected);
    free(logits);
    mlt_forward_close(&forward);
    millet_model_close(&model);
}

/* The same tokens in other cuts, on other threads and among other sequences give the same bits. */
static void test_invariance(void **state)
{
    const struct example *e = *state;
    millet_model *model = toy_model_open(&e->toy);
    int32_t tokens[N_TOKENS], others[N_TOKENS];
    make_tokens(tokens, model, 1);
    make_tokens(others, model, 2);
    size_t width = (size_t)model->config.n_vocab;
    float *one = rows(model, N_TOKENS), *many = rows(model, N_TOKENS);
    for (int cache = 0; cache < 2; cache++) {
        mlt_dtype dtype = e->cache ? e->cache : cache ? MLT_F16 : MLT_F32;
        struct mlt_forward *forward = open_forward(model, e->n_ctx, 1, dtype);
        for (int32_t i = 0; i < N_TOKENS; i++)
            append(forward, 0, tokens + i, 1, one + (size_t)i * width);
        append(forward, 1, tokens, N_TOKENS, many);
        assert_same(one, many, model, N_TOKENS, "at once");
        append(forward, 2, tokens, 3, many);
        append(forward, 2, tokens + 3, N_TOKENS - 3, many + 3 * width);
        assert_same(one, many, model, N_TOKENS, "in two chunks");
        mlt_forward_close(&forward);

        forward = open_forward(model, e->n_ctx, 2 + cache, dtype);
        append(forward, 1, others, 5, NULL);
        millet_item items[3 * N_TOKENS];
        int32_t count = 0;
        for (int32_t i = 0; i < N_TOKENS; i++) {
            if (i < N_TOKENS - 5) items[count++] = (millet_item){others[i + 5], 1, false};
            items[count++] = (millet_item){tokens[i], 2, true};
            items[count++] = (millet_item){others[N_TOKENS - 1 - i], 0, false};
        }
        mlt_forward_run(forward, items, count, many);
        assert_same(one, many, model, N_TOKENS, "among others");
        mlt_forward_close(&forward);
    }
    free(one);
    free(many);
    millet_model_close(&model);
}

/* Every level of the CPU gives the bits of scalar C, and those are the same on every machine. */
static void test_levels(void **state)
{
    const struct example *e = *state;
    millet_model *model = toy_model_open(&e->toy);
    int32_t tokens[N_TOKENS];
    make_tokens(tokens, model, 1);
    float *expected = rows(model, N_TOKENS), *logits = rows(model, N_TOKENS);
    size_t size = N_TOKENS * (size_t)model->config.n_vocab * sizeof *logits;
    const unsigned masks[] = {0,
                              MLT_CPU_AVX2,
                              MLT_CPU_AVX2 | MLT_CPU_AVX512,
                              MLT_CPU_NEON,
                              MLT_CPU_NEON | MLT_CPU_DOTPROD,
                              mlt_kernels_default()->cpu};
    for (size_t i = 0; i < sizeof masks / sizeof masks[0]; i++) {
        struct mlt_kernels kernels;
        mlt_kernels_init(&kernels, masks[i] & mlt_kernels_default()->cpu);
        struct mlt_forward *forward = open_forward(model, e->n_ctx, 1, e->cache ? e->cache : MLT_F16);
        forward->kernels = forward->matmul.kernels = &kernels;
        append(forward, 0, tokens, N_TOKENS - 1, logits);
        append(forward, 0, tokens + N_TOKENS - 1, 1, logits + (N_TOKENS - 1) * (size_t)model->config.n_vocab);
        if (i == 0) memcpy(expected, logits, size);
        assert_same(expected, logits, model, N_TOKENS, mlt_cpu_tier_name(kernels.cpu));
        mlt_forward_close(&forward);
    }
    char digest[65];
    sha256_hex(expected, size, digest);
    digest[16] = 0;
    assert_string_equal(digest, e->digest);
    free(expected);
    free(logits);
    millet_model_close(&model);
}

static void test_sequences(void **state)
{
    const struct example *e = *state;
    millet_model *model = toy_model_open(&e->toy);
    int32_t tokens[N_TOKENS], others[N_TOKENS];
    make_tokens(tokens, model, 1);
    make_tokens(others, model, 2);
    size_t width = (size_t)model->config.n_vocab;
    float *first = rows(model, N_TOKENS), *again = rows(model, N_TOKENS);
    struct mlt_forward *forward = open_forward(model, e->n_ctx, 1, e->cache ? e->cache : MLT_F16);
    append(forward, 0, tokens, N_TOKENS, first);
    assert_int_equal(mlt_forward_length(forward, 0), N_TOKENS);

    /* What is cut away and computed again, after something else stood there. */
    mlt_forward_truncate(forward, 0, 8);
    append(forward, 0, others, 4, NULL);
    mlt_forward_truncate(forward, 0, 8);
    append(forward, 0, tokens + 8, N_TOKENS - 8, again);
    assert_same(first + 8 * width, again, model, N_TOKENS - 8, "after truncation");

    /* A copy goes on by itself. */
    mlt_forward_truncate(forward, 0, 11);
    mlt_forward_copy(forward, 0, 2);
    mlt_forward_copy(forward, 0, 0);
    assert_int_equal(mlt_forward_length(forward, 2), 11);
    append(forward, 0, others, 6, NULL);
    append(forward, 2, tokens + 11, N_TOKENS - 11, again);
    assert_same(first + 11 * width, again, model, N_TOKENS - 11, "in a copy");
    assert_int_equal(mlt_forward_length(forward, 1), 0);

    /* Only the rows that are asked for, in their order. */
    mlt_forward_truncate(forward, 1, 0);
    millet_item items[N_TOKENS];
    for (int32_t i = 0; i < N_TOKENS; i++)
        items[i] = (millet_item){tokens[i], 1, i % 7 == 3 || i == N_TOKENS - 1};
    mlt_forward_run(forward, items, N_TOKENS, again);
    int32_t row = 0;
    for (int32_t i = 0; i < N_TOKENS; i++)
        if (items[i].logits)
            assert_same(first + (size_t)i * width, again + (size_t)row++ * width, model, 1, "of some rows");
    free(first);
    free(again);
    mlt_forward_close(&forward);
    millet_model_close(&model);
}

/* The estimate is what the allocator sees, and computing takes nothing. */
static void test_memory(void **state)
{
    const struct example *e = *state;
    millet_model *model = toy_model_open(&e->toy);
    for (int32_t n_threads = 1; n_threads <= 3; n_threads++) {
        struct mlt_forward_options options = {.n_ctx = e->n_ctx - n_threads,
                                              .n_sequences = n_threads,
                                              .n_batch = N_TOKENS,
                                              .n_logits = 1,
                                              .n_threads = n_threads,
                                              .cache = e->cache         ? e->cache
                                                       : n_threads == 2 ? MLT_F16
                                                                        : MLT_F32};
        struct counting_allocator counting;
        counting_allocator_init(&counting);
        struct mlt_forward_memory memory;
        millet_error err;
        assert_int_equal(mlt_forward_estimate(model, &options, &memory, &err), MILLET_OK);
        struct mlt_forward *forward;
        assert_int_equal(mlt_forward_open(&counting.allocator, model, &options, &forward, &err), MILLET_OK);
        assert_int_equal(atomic_load(&counting.bytes), memory.cache + memory.workspace);
        long long calls = atomic_load(&counting.calls);
        int32_t tokens[N_TOKENS];
        make_tokens(tokens, model, 1);
        float *logits = rows(model, N_TOKENS);
        append(forward, 0, tokens, N_TOKENS - 1, logits);
        append(forward, 0, tokens, 1, logits);
        assert_int_equal(atomic_load(&counting.calls), calls);
        free(logits);
        mlt_forward_close(&forward);
        assert_null(forward);
        assert_int_equal(atomic_load(&counting.live), 0);
    }
    millet_model_close(&model);
}

/* A prefix sees itself in both directions: as in the naive pass, whatever else is in the batch and on however
 * many threads, after what came before it, and for what follows. */
static void test_prefix(void **state)
{
    enum { BEFORE = 4, PREFIX = 9 };
    const struct example *e = *state;
    millet_model *model = toy_model_open(&e->toy);
    int32_t tokens[N_TOKENS], others[N_TOKENS];
    make_tokens(tokens, model, 1);
    make_tokens(others, model, 2);
    size_t width = (size_t)model->config.n_vocab, count = N_TOKENS * width;
    float *logits = rows(model, N_TOKENS), *again = rows(model, N_TOKENS);
    double *expected = malloc(count * sizeof *expected);
    naive_forward_prefix(model, tokens, N_TOKENS, PREFIX, e->n_ctx, expected);
    for (int32_t n_threads = 1; n_threads <= 3; n_threads++) {
        struct mlt_forward *forward = open_forward(model, e->n_ctx, n_threads, e->cache ? e->cache : MLT_F32);
        millet_item items[PREFIX + N_TOKENS];
        int32_t n = 0;
        for (int32_t i = 0; i < PREFIX; i++) {
            items[n++] = (millet_item){tokens[i], 1, true};
            if (n_threads > 1) items[n++] = (millet_item){others[i], 2, false};
        }
        mlt_forward_run_prefix(forward, items, n, logits);
        append(forward, 1, tokens + PREFIX, N_TOKENS - PREFIX, logits + PREFIX * width);
        if (n_threads == 1) {
            memcpy(again, logits, count * sizeof *again);
            double distance = relative_distance(logits, expected, count);
            if (!(distance <= e->bound))
                fail_msg("%s: distance %.3g, at most %.3g", e->name, distance, e->bound);
        }
        assert_same(again, logits, model, N_TOKENS, "a prefix");

        /* After other tokens; and only the rows that are asked for. */
        append(forward, 0, tokens, BEFORE, NULL);
        for (int32_t i = 0; i < PREFIX; i++)
            items[i] = (millet_item){tokens[BEFORE + i], 0, i == 2 || i == PREFIX - 1};
        mlt_forward_run_prefix(forward, items, PREFIX, logits);
        mlt_forward_truncate(forward, 0, BEFORE);
        for (int32_t i = 0; i < PREFIX; i++)
            items[i].logits = true;
        float *all = rows(model, PREFIX);
        mlt_forward_run_prefix(forward, items, PREFIX, all);
        assert_same(all + 2 * width, logits, model, 1, "a row of a prefix");
        assert_same(all + (PREFIX - 1) * width, logits + width, model, 1, "the last row of a prefix");
        free(all);
        mlt_forward_close(&forward);
    }
    free(expected);
    free(logits);
    free(again);
    millet_model_close(&model);
}

/* Logits of every token of a text of n, computed in batches of `size`; the caller frees them. */
static float *compute_long(const millet_model *model, mlt_dtype cache, int32_t n, int32_t size,
                           int32_t n_threads)
{
    struct mlt_forward_options options = {.n_ctx = n + 1,
                                          .n_sequences = 1,
                                          .n_batch = size,
                                          .n_logits = size,
                                          .n_threads = n_threads,
                                          .cache = cache};
    struct mlt_forward *forward;
    millet_error err;
    if (mlt_forward_open(mlt_default_allocator(), model, &options, &forward, &err))
        fail_msg("%s", err.message);
    float *logits = rows(model, n);
    millet_item *items = malloc((size_t)size * sizeof *items);
    for (int32_t done = 0; done < n; done += size) {
        int32_t count = n - done < size ? n - done : size;
        for (int32_t i = 0; i < count; i++)
            items[i] = (millet_item){(done + i) * 37 % model->config.n_vocab, 0, true};
        mlt_forward_run(forward, items, count, logits + (size_t)done * (size_t)model->config.n_vocab);
    }
    free(items);
    mlt_forward_close(&forward);
    return logits;
}

/* Against the naive pass. */
static void check_long(const millet_model *model, int32_t n, const float *logits, double bound)
{
    size_t count = (size_t)n * (size_t)model->config.n_vocab;
    int32_t *tokens = malloc((size_t)n * sizeof *tokens);
    double *naive = malloc(count * sizeof *naive);
    for (int32_t i = 0; i < n; i++)
        tokens[i] = i * 37 % model->config.n_vocab;
    naive_forward(model, tokens, n, n + 1, naive);
    double distance = relative_distance(logits, naive, count);
    if (!(distance <= bound)) fail_msg("distance %.3g", distance);
    free(tokens);
    free(naive);
}

/*
 * Histories long enough that attention is shared by the threads and adds values in several chunks, and longer
 * than a window that begins in the middle of a tile of rows.
 */
static void test_long_texts(void **state)
{
    (void)state;
    enum { LONG = 300 };
    static const struct {
        const char *family;
        mlt_dtype cache;
        double bound; /* halves in the cache cost 2^-12 in each key and value */
    } kinds[] = {{"llama", MLT_F16, 2e-3},
                 {"gemma2", MLT_F16, 2e-3},
                 {"gemma2", MLT_Q8_0, 2e-2},
                 {"llama", MLT_IQ4_NL, 2e-1}};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        struct toy_model toy = toy_model_default(kinds[i].family);
        toy.n_heads = kinds[i].cache == MLT_F16 ? 8 : 4;
        toy.head_size = toy.value_size = 64;
        toy.window = 130;
        millet_model *model = toy_model_open(&toy);
        float *expected = compute_long(model, kinds[i].cache, LONG, 1, 1);
        check_long(model, LONG, expected, kinds[i].bound);
        static const struct {
            int32_t size, n_threads;
        } ways[] = {{1, 3}, {1, 5}, {LONG, 1}, {LONG, 4}, {71, 2}, {2, 2}};
        for (size_t w = 0; w < sizeof ways / sizeof ways[0]; w++) {
            float *logits = compute_long(model, kinds[i].cache, LONG, ways[w].size, ways[w].n_threads);
            char what[60];
            snprintf(what, sizeof what, "batches of %d on %d threads", ways[w].size, ways[w].n_threads);
            assert_same(expected, logits, model, LONG, what);
            free(logits);
        }
        free(expected);
        millet_model_close(&model);
    }
}

/*
 * A value that is infinite in the cache spoils the rows that see it and no other, wherever the batch is cut.
 */
static void test_overflowing_values(void **state)
{
    (void)state;
    struct toy_model toy = toy_model_default("llama");
    toy.biases = true;
    millet_model *model = toy_model_open(&toy);
    /* Halves end at 65520, and what the weights add to the bias is above or below 0.5 from token to token. */
    float *bias = (float *)(uintptr_t)model->weights.layers[0].bv;
    bias[5] = 65519.5f;
    size_t width = (size_t)model->config.n_vocab;
    int spoiled = 0, kept = 0;
    for (uint32_t seed = 1; seed <= 8; seed++) {
        int32_t tokens[N_TOKENS];
        make_tokens(tokens, model, seed);
        struct mlt_forward *forward = open_forward(model, 64, 1, MLT_F16);
        float *one = rows(model, N_TOKENS), *many = rows(model, N_TOKENS);
        append(forward, 0, tokens, N_TOKENS, many);
        for (int32_t i = 0; i < N_TOKENS; i++) {
            append(forward, 1, tokens + i, 1, one + (size_t)i * width);
            bool finite = isfinite(one[(size_t)i * width]);
            assert_int_equal(finite, isfinite(many[(size_t)i * width]));
            if (finite) assert_memory_equal(one + (size_t)i * width, many + (size_t)i * width, width * 4);
            spoiled += !finite;
            kept += finite;
        }
        free(one);
        free(many);
        mlt_forward_close(&forward);
    }
    assert_true(spoiled > 10 && kept > 3);
    millet_model_close(&model);
}

static void test_refusals(void **state)
{
    (void)state;
    struct toy_model toy = toy_model_default("gpt2");
    millet_model *model = toy_model_open(&toy);
    struct mlt_forward_options options = {.n_ctx = toy.n_ctx + 1,
                                          .n_sequences = 1,
                                          .n_batch = 4,
                                          .n_logits = 1,
                                          .n_threads = 1,
                                          .cache = MLT_F16};
    struct mlt_forward *forward;
    struct mlt_forward_memory memory;
    millet_error err;
    /* Positions beyond those learned do not exist. */
    assert_int_equal(mlt_forward_open(mlt_default_allocator(), model, &options, &forward, &err),
                     MILLET_BAD_ARGUMENT);
    assert_null(forward);
    assert_int_equal(mlt_forward_estimate(model, &options, &memory, &err), MILLET_BAD_ARGUMENT);
    assert_non_null(strstr(err.message, "n_ctx"));
    millet_model_close(&model);

    /* Heads that are not whole blocks. */
    toy = toy_model_default("llama");
    toy.head_size = 64, toy.value_size = 48;
    model = toy_model_open(&toy);
    options.n_ctx = 8;
    options.cache = MLT_Q8_0;
    assert_int_equal(mlt_forward_estimate(model, &options, &memory, &err), MILLET_BAD_ARGUMENT);
    assert_string_equal(err.item, "cache_type");
    assert_non_null(strstr(err.message, "48"));
    millet_model_close(&model);
    options.cache = MLT_F16;

    /* Sizes that do not fit in the address space. */
    toy = toy_model_default("llama");
    model = toy_model_open(&toy);
    options.n_ctx = options.n_sequences = INT32_MAX;
    assert_int_equal(mlt_forward_estimate(model, &options, &memory, &err), MILLET_BAD_ARGUMENT);
    mlt_forward_close(&forward);
    millet_model_close(&model);
}

int main(void)
{
    static struct example examples[MAX_EXAMPLES];
    static char names[6 * MAX_EXAMPLES + 3][120];
    static struct CMUnitTest tests[6 * MAX_EXAMPLES + 3];
    size_t n_examples = make_examples(examples), n = 0;
    for (size_t i = 0; i < n_examples; i++) {
        static const struct {
            const char *name;
            CMUnitTestFunction function;
        } kinds[] = {
            {"against naive", test_against_naive}, {"invariance", test_invariance}, {"levels", test_levels},
            {"sequences", test_sequences},         {"prefix", test_prefix},         {"memory", test_memory}};
        for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
            snprintf(names[n], sizeof names[n], "%s, %s: %s", examples[i].toy.architecture, examples[i].name,
                     kinds[k].name);
            tests[n] = (struct CMUnitTest){names[n], kinds[k].function, NULL, NULL, &examples[i]};
            n++;
        }
    }
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_long_texts);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_overflowing_values);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_refusals);
    return _cmocka_run_group_tests("forward", tests, n, NULL, NULL);
}
