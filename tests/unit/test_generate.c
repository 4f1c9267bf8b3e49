/*
 * millet_generate against a plain loop over millet_eval; stop strings against a search in the whole text.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/random.h"
#include "generate/session.h"
#include "support/counting_allocator.h"
#include "support/tiny_model.h"

#include <math.h>
#include <string.h>

static millet_model *model;
static int32_t n_vocab;

static int set_up(void **state)
{
    (void)state;
    struct tiny_shape shape = tiny_default();
    model = tiny_model(mlt_default_allocator(), &shape);
    n_vocab = model->config.n_vocab;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    millet_model_close(&model);
    return 0;
}

static millet_session *open_session(millet_session_options options)
{
    millet_session *session = NULL;
    millet_error err;
    options.n_threads = 1;
    if (millet_session_open(model, &options, &session, &err) != MILLET_OK) fail_msg("%s", err.message);
    return session;
}

static millet_generate_options greedy(int32_t max_tokens)
{
    millet_generate_options options = millet_generate_options_default();
    options.sampler.temperature = 0;
    options.max_tokens = max_tokens;
    return options;
}

/* What a callback saw. */
struct seen {
    char text[4096];
    size_t length;
    int32_t tokens[300];
    float logprobs[300];
    int n_tokens, calls;
    millet_token_logprob best[300][4];
    int stop_after;                      /* the call that answers false; 0: none */
    struct counting_allocator *counting; /* watched, or NULL */
    long long allocations;               /* its calls at the first token */
};

static size_t utf8_length(const unsigned char *s, size_t rest)
{
    size_t n = s[0] < 0x80                   ? 1
               : s[0] >= 0xc2 && s[0] < 0xe0 ? 2
               : (s[0] & 0xf0) == 0xe0       ? 3
               : s[0] >= 0xf0 && s[0] < 0xf5 ? 4
                                             : 0;
    if (n == 0 || n > rest) return 0;
    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xc0) != 0x80) return 0;
    return n;
}

static bool watch(void *context, const millet_piece *piece)
{
    struct seen *seen = context;
    if (seen->counting && seen->calls == 0) seen->allocations = seen->counting->calls;
    if (seen->counting) assert_int_equal(seen->counting->calls, seen->allocations);
    seen->calls++;
    assert_true(seen->length + piece->length < sizeof seen->text);
    for (size_t i = 0, n; i < piece->length; i += n) {
        n = utf8_length((const unsigned char *)piece->text + i, piece->length - i);
        assert_true(n > 0); /* whole characters only */
    }
    memcpy(seen->text + seen->length, piece->text, piece->length);
    seen->length += piece->length;
    if (piece->token >= 0) {
        for (int i = 0; i < piece->n_best && i < 4; i++)
            seen->best[seen->n_tokens][i] = piece->best[i];
        seen->logprobs[seen->n_tokens] = piece->logprob;
        seen->tokens[seen->n_tokens++] = piece->token;
    }
    return seen->calls != seen->stop_after;
}

static millet_generation generate(millet_session *session, const char *prompt,
                                  const millet_generate_options *options, struct seen *seen)
{
    millet_error err;
    millet_generation result;
    if (millet_generate(session, prompt, strlen(prompt), options, watch, seen, &result, &err) != MILLET_OK)
        fail_msg("%s", err.message);
    return result;
}

static int32_t argmax(const float *logits)
{
    int32_t best = 0;
    for (int32_t i = 1; i < n_vocab; i++)
        if (logits[i] > logits[best]) best = i;
    return best;
}

static double log_probability(const float *logits, int32_t token)
{
    double sum = 0;
    for (int32_t i = 0; i < n_vocab; i++)
        sum += exp((double)logits[i] - (double)logits[token]);
    return -log(sum);
}

static void test_against_plain_loop(void **state)
{
    (void)state;
    const char *prompt = "the cat and";
    millet_session *session = open_session((millet_session_options){.n_batch = 3});
    struct seen seen = {.length = 0};
    millet_generate_options options = greedy(40);
    options.n_best = 4;
    millet_generation result = generate(session, prompt, &options, &seen);
    assert_int_equal(seen.n_tokens, result.generated_tokens);
    assert_true(result.finish == MILLET_FINISH_LENGTH || result.finish == MILLET_FINISH_END);

    int32_t ids[64];
    size_t count;
    assert_int_equal(
        millet_tokenize(model, prompt, strlen(prompt), MILLET_TOKENIZE_BOS, ids, 64, &count, NULL),
        MILLET_OK);
    assert_int_equal(ids[0], TINY_BOS);
    assert_int_equal(result.prompt_tokens, count);
    millet_session *plain = open_session((millet_session_options){0});
    for (size_t i = 0; i < count; i++) {
        millet_item item = {ids[i], 0, true};
        assert_int_equal(millet_eval(plain, &item, 1, NULL), MILLET_OK);
    }
    for (int i = 0; i < seen.n_tokens; i++) {
        const float *logits = millet_logits(plain, 0);
        int32_t token = argmax(logits);
        assert_int_equal(seen.tokens[i], token);
        assert_true(fabs((double)seen.logprobs[i] - log_probability(logits, token)) < 1e-5);
        assert_int_equal(seen.best[i][0].token, token);
        double before = INFINITY;
        for (int j = 0; j < 4; j++) { /* the best, in order: as many are better as come before */
            int32_t id = seen.best[i][j].token;
            int better = 0;
            for (int32_t k = 0; k < n_vocab; k++)
                better += logits[k] > logits[id] || (logits[k] == logits[id] && k < id);
            assert_int_equal(better, j);
            assert_true(fabs((double)seen.best[i][j].logprob - log_probability(logits, id)) < 1e-5);
            assert_true((double)seen.best[i][j].logprob <= before);
            before = (double)seen.best[i][j].logprob;
        }
        millet_item item = {token, 0, true};
        assert_int_equal(millet_eval(plain, &item, 1, NULL), MILLET_OK);
    }
    /* The text is that of prompt and continuation less that of the prompt. */
    int32_t all[128];
    char text[1024];
    size_t length, prompt_length;
    memcpy(all, ids, sizeof(int32_t) * count);
    memcpy(all + count, seen.tokens, sizeof(int32_t) * (size_t)seen.n_tokens);
    assert_int_equal(millet_detokenize(model, all, count, false, text, sizeof text, &prompt_length, NULL), 0);
    assert_int_equal(
        millet_detokenize(model, all, count + (size_t)seen.n_tokens, false, text, sizeof text, &length, NULL),
        0);
    assert_int_equal(length - prompt_length, seen.length);
    assert_memory_equal(text + prompt_length, seen.text, seen.length);
    millet_session_close(&plain);
    millet_session_close(&session);
}

/* A token whose logit is NaN does not exist: it is not said, and the others share the probability. */
static void test_a_token_that_is_not_a_number(void **state)
{
    (void)state;
    enum { BAD = 270 };
    struct tiny_shape shape = tiny_default();
    struct mlt_checkpoint *checkpoint = tiny_checkpoint(mlt_default_allocator(), &shape);
    const struct mlt_tensor *tensor = mlt_checkpoint_tensor(checkpoint, "output.weight");
    ((float *)(uintptr_t)tensor->data)[BAD * tensor->ne[0]] = NAN;
    millet_model *damaged = NULL;
    millet_session *session = NULL;
    assert_int_equal(mlt_model_from_checkpoint(mlt_default_allocator(), checkpoint, &damaged, NULL),
                     MILLET_OK);
    millet_session_options session_options = {.n_threads = 1};
    assert_int_equal(millet_session_open(damaged, &session_options, &session, NULL), MILLET_OK);
    millet_generate_options options = millet_generate_options_default();
    options.max_tokens = 1;
    options.n_best = 4;
    struct seen seen = {.length = 0};
    generate(session, "the", &options, &seen);
    const float *logits = millet_logits(session, 0);
    double sum = 0;
    assert_true(isnan(logits[BAD]));
    for (int32_t i = 0; i < n_vocab; i++)
        if (i != BAD) sum += exp((double)logits[i]);
    assert_int_not_equal(seen.tokens[0], BAD);
    assert_true(fabs((double)seen.logprobs[0] - ((double)logits[seen.tokens[0]] - log(sum))) < 1e-5);
    for (int j = 0; j < 4; j++) {
        assert_int_not_equal(seen.best[0][j].token, BAD);
        double expected = (double)logits[seen.best[0][j].token] - log(sum);
        assert_true(fabs((double)seen.best[0][j].logprob - expected) < 1e-5);
    }
    /* Where no number is left, the call says which model it is. */
    const struct mlt_tensor *norm = mlt_checkpoint_tensor(damaged->checkpoint, "blk.1.ffn_down.weight");
    ((float *)(uintptr_t)norm->data)[3] = NAN;
    millet_error err;
    millet_sequence_truncate(session, 0, 0, NULL);
    assert_int_equal(millet_generate(session, "the", 3, &options, NULL, NULL, NULL, &err),
                     MILLET_BAD_ARGUMENT);
    assert_string_equal(err.file, damaged->checkpoint->path);
    millet_session_close(&session);
    millet_model_close(&damaged);
}

static void test_generation_goes_on(void **state)
{
    (void)state;
    struct seen whole = {.length = 0}, first = {.length = 0}, second = {.length = 0};
    millet_session *session = open_session((millet_session_options){.n_sequences = 2});
    millet_generate_options options = greedy(30);
    options.ignore_end = true;
    generate(session, "a", &options, &whole);
    assert_int_equal(whole.n_tokens, 30);
    int32_t length = millet_sequence_length(session, 0);
    options.sequence = 1;
    options.max_tokens = 11;
    generate(session, "a", &options, &first);
    assert_int_equal(millet_sequence_length(session, 1), length - 19);
    options.max_tokens = 19;
    millet_generation result = generate(session, "", &options, &second);
    assert_int_equal(result.prompt_tokens, 0);
    assert_memory_equal(whole.tokens, first.tokens, 11 * sizeof(int32_t));
    assert_memory_equal(whole.tokens + 11, second.tokens, 19 * sizeof(int32_t));
    assert_int_equal(whole.length, first.length + second.length);
    assert_int_equal(millet_sequence_length(session, 1), length);
    /* Also where all tokens have been computed and only the logits are gone. */
    millet_item item = {5, 0, true};
    assert_int_equal(millet_eval(session, &item, 1, NULL), MILLET_OK);
    int32_t expected = argmax(millet_logits(session, 0));
    struct seen third = {.length = 0};
    options.sequence = 0;
    options.max_tokens = 1;
    generate(session, "", &options, &third);
    assert_int_equal(third.tokens[0], expected);
    millet_session_close(&session);
}

static void test_context_is_full(void **state)
{
    (void)state;
    millet_session *session = open_session((millet_session_options){.n_ctx = 12});
    struct seen seen = {.length = 0};
    millet_generate_options options = greedy(0);
    options.ignore_end = true;
    millet_generation result = generate(session, "and", &options, &seen);
    assert_int_equal(result.finish, MILLET_FINISH_LENGTH);
    assert_int_equal(result.prompt_tokens + result.generated_tokens, 12);
    assert_int_equal(millet_sequence_length(session, 0), 12);
    result = generate(session, "", &options, &seen);
    assert_int_equal(result.finish, MILLET_FINISH_LENGTH);
    assert_int_equal(result.generated_tokens, 0);
    assert_int_equal(millet_sequence_truncate(session, 0, 3, NULL), MILLET_OK);
    millet_error err;
    const char *prompt = "this is longer than the context";
    assert_int_equal(millet_generate(session, prompt, strlen(prompt), &options, watch, &seen, &result, &err),
                     MILLET_CONTEXT_FULL);
    assert_int_equal(millet_sequence_length(session, 0), 3);
    millet_session_close(&session);
}

static void test_callback_stops(void **state)
{
    (void)state;
    millet_session *session = open_session((millet_session_options){0});
    struct seen seen = {.stop_after = 5};
    millet_generate_options options = greedy(50);
    options.ignore_end = true;
    millet_generation result = generate(session, "a", &options, &seen);
    assert_int_equal(result.finish, MILLET_FINISH_CALLBACK);
    assert_int_equal(result.generated_tokens, 5);
    assert_int_equal(seen.calls, 5);
    millet_session_close(&session);
}

static void test_end_tokens(void **state)
{
    (void)state;
    millet_session *session = open_session((millet_session_options){0});
    millet_generate_options options = millet_generate_options_default();
    options.sampler =
        (millet_sampler_options){.temperature = 4, .top_p = 1, .typical_p = 1, .repeat_penalty = 1};
    bool found = false;
    for (uint64_t seed = 0; seed < 100 && !found; seed++) {
        options.sampler.seed = seed;
        struct seen seen = {.length = 0}, on = {.length = 0};
        assert_int_equal(millet_sequence_truncate(session, 0, 0, NULL), MILLET_OK);
        millet_generation result = generate(session, "the", &options, &seen);
        found = result.finish == MILLET_FINISH_END;
        if (!found) continue;
        assert_int_equal(seen.tokens[seen.n_tokens - 1], TINY_EOS);
        assert_int_equal(result.generated_tokens, seen.n_tokens);
        assert_int_equal(millet_sequence_length(session, 0), result.prompt_tokens + seen.n_tokens - 1);
        /* The same draws go on where end tokens are ignored. */
        assert_int_equal(millet_sequence_truncate(session, 0, 0, NULL), MILLET_OK);
        options.ignore_end = true;
        result = generate(session, "the", &options, &on);
        assert_int_equal(result.finish, MILLET_FINISH_LENGTH);
        assert_memory_equal(on.tokens, seen.tokens, sizeof(int32_t) * (size_t)seen.n_tokens);
        assert_true(on.n_tokens > seen.n_tokens);
    }
    assert_true(found);
    millet_session_close(&session);
}

/* Bytes drawn at random are mostly not UTF-8: what comes out is, whatever was drawn (see watch). */
static void test_pieces_are_utf8(void **state)
{
    (void)state;
    millet_session *session = open_session((millet_session_options){0});
    millet_generate_options options = millet_generate_options_default();
    options.sampler =
        (millet_sampler_options){.temperature = 9, .top_p = 1, .typical_p = 1, .repeat_penalty = 1};
    options.ignore_end = true;
    options.stop = (const char *const[]){"\x80\xbf", "\xa9"}; /* not UTF-8 themselves: no character is cut */
    options.n_stop = 2;
    for (uint64_t seed = 0; seed < 20; seed++) {
        options.sampler.seed = seed;
        struct seen seen = {.length = 0};
        assert_int_equal(millet_sequence_truncate(session, 0, 0, NULL), MILLET_OK);
        generate(session, "\xc3\xa9", &options, &seen);
    }
    millet_session_close(&session);
}

static void test_seeds(void **state)
{
    (void)state;
    millet_session *session = open_session((millet_session_options){0});
    millet_generate_options options = millet_generate_options_default();
    options.max_tokens = 40;
    options.sampler.repeat_penalty = 1.1f;
    struct seen a = {.length = 0}, b = {.length = 0}, c = {.length = 0};
    generate(session, "the", &options, &a);
    millet_sequence_truncate(session, 0, 0, NULL);
    generate(session, "the", &options, &b);
    millet_sequence_truncate(session, 0, 0, NULL);
    options.sampler.seed = 1;
    generate(session, "the", &options, &c);
    assert_int_equal(a.n_tokens, b.n_tokens);
    assert_memory_equal(a.tokens, b.tokens, sizeof(int32_t) * (size_t)a.n_tokens);
    assert_memory_not_equal(a.tokens, c.tokens, sizeof(int32_t) * 20);
    millet_session_close(&session);
}

/* A token that was said is not said again while a huge penalty looks back on it; also in the prompt. */
static void test_penalties_see_the_sequence(void **state)
{
    (void)state;
    millet_session *session = open_session((millet_session_options){0});
    millet_generate_options options = greedy(60);
    options.ignore_end = true;
    options.sampler.presence_penalty = 1e6f;
    options.sampler.penalty_last = 1000;
    struct seen seen = {.length = 0};
    millet_generation result = generate(session, "the a b c", &options, &seen);
    int32_t said[200];
    size_t n;
    millet_tokenize(model, "the a b c", 9, MILLET_TOKENIZE_BOS, said, 200, &n, NULL);
    assert_int_equal(result.generated_tokens, 60);
    for (int i = 0; i < seen.n_tokens; i++) {
        for (size_t j = 0; j < n; j++)
            assert_int_not_equal(seen.tokens[i], said[j]);
        said[n++] = seen.tokens[i];
    }
    millet_session_close(&session);
}

static void test_no_allocation_in_the_loop(void **state)
{
    (void)state;
    struct counting_allocator counting;
    counting_allocator_init(&counting);
    millet_session *session = open_session((millet_session_options){.allocator = &counting.allocator});
    millet_generate_options options = millet_generate_options_default();
    options.ignore_end = true;
    options.n_best = 64;
    options.sampler.top_k = 0;
    options.sampler.typical_p = 0.9f;
    options.sampler.frequency_penalty = 0.1f;
    options.stop = (const char *const[]){"a stop string that is never said"};
    options.n_stop = 1;
    unsigned long long bytes = counting.bytes;
    struct seen seen = {.counting = &counting};
    generate(session, "the", &options, &seen);
    assert_true(seen.calls > 100);
    assert_int_equal(counting.calls, seen.allocations);
    assert_int_equal(counting.bytes, bytes); /* the prompt's ids are gone */
    millet_session_close(&session);
    assert_int_equal(counting.live, 0);
}

static void test_bad_options(void **state)
{
    (void)state;
    millet_session *session = open_session((millet_session_options){0});
    char longest[MLT_MAX_STOP_LENGTH + 2];
    memset(longest, 'x', sizeof longest);
    longest[sizeof longest - 1] = 0;
    const char *const stop_long[] = {longest}, *const stop_empty[] = {"a", ""}, *const stop_null[] = {NULL};
    static const char *stop_many[MLT_MAX_STOPS + 1];
    for (int i = 0; i <= MLT_MAX_STOPS; i++)
        stop_many[i] = "x";
    struct {
        const char *item;
        millet_generate_options options;
    } bad[9];
    for (size_t i = 0; i < MLT_COUNT(bad); i++)
        bad[i].options = greedy(5);
    bad[0].item = "max_tokens", bad[0].options.max_tokens = -1;
    bad[1].item = "n_best", bad[1].options.n_best = MLT_MAX_BEST + 1;
    bad[2].item = "n_best", bad[2].options.n_best = -1;
    bad[3].item = "sequence", bad[3].options.sequence = 1;
    bad[4].item = "top_p", bad[4].options.sampler.top_p = 2;
    bad[5].item = "stop", bad[5].options.stop = stop_long, bad[5].options.n_stop = 1;
    bad[6].item = "stop", bad[6].options.stop = stop_empty, bad[6].options.n_stop = 2;
    bad[7].item = "stop", bad[7].options.stop = stop_null, bad[7].options.n_stop = 1;
    bad[8].item = "stop", bad[8].options.stop = stop_many, bad[8].options.n_stop = MLT_MAX_STOPS + 1;
    for (size_t i = 0; i < MLT_COUNT(bad); i++) {
        millet_error err;
        assert_int_equal(millet_generate(session, "a", 1, &bad[i].options, NULL, NULL, NULL, &err),
                         MILLET_BAD_ARGUMENT);
        assert_string_equal(err.item, bad[i].item);
        assert_int_equal(millet_sequence_length(session, 0), 0);
    }
    millet_generate_options options = greedy(1);
    options.no_bos = true;
    millet_error err;
    assert_int_equal(millet_generate(session, "", 0, &options, NULL, NULL, NULL, &err), MILLET_BAD_ARGUMENT);
    millet_session_close(&session);
}

static void test_bos(void **state)
{
    (void)state;
    millet_session *session = open_session((millet_session_options){0});
    const struct {
        const char *prompt;
        bool special, no_bos;
        int32_t tokens;
    } cases[] = {
        {"", false, false, 1},  {"a", false, false, 2},
        {"a", false, true, 1},  {"<s>a", true, false, 2}, /* written out: not added again */
        {"<s>", true, true, 1},
    };
    for (size_t i = 0; i < MLT_COUNT(cases); i++) {
        millet_generate_options options = greedy(1);
        options.special = cases[i].special;
        options.no_bos = cases[i].no_bos;
        struct seen seen = {.length = 0};
        millet_sequence_truncate(session, 0, 0, NULL);
        millet_generation result = generate(session, cases[i].prompt, &options, &seen);
        assert_int_equal(result.prompt_tokens, cases[i].tokens);
    }
    millet_session_close(&session);
}

/* ---- Stop strings ---------------------------------------------------------------------------------------
 */

/* Where the first stop string begins in the text; its length if there is none. */
static size_t search(const char *text, const char *const *stops, size_t n_stops)
{
    size_t first = strlen(text);
    for (size_t i = 0; i < n_stops; i++) {
        const char *at = strstr(text, stops[i]);
        if (at && (size_t)(at - text) < first) first = (size_t)(at - text);
    }
    return first;
}

static void test_stop_filter(void **state)
{
    (void)state;
    struct mlt_random random;
    mlt_random_seed(&random, 5);
    for (int trial = 0; trial < 20000; trial++) {
        char text[41], stops[4][8], held[MLT_MAX_STOP_LENGTH + 40 + MLT_MAX_FINISH], out[64];
        const char *pointers[4];
        size_t n = (size_t)(mlt_random_double(&random) * 40), n_stops = 1 + trial % 4, at = 0, given = 0;
        for (size_t i = 0; i < n; i++)
            text[i] = (char)('a' + (int)(mlt_random_double(&random) * 2.2));
        text[n] = 0;
        for (size_t i = 0; i < n_stops; i++) {
            size_t length = 1 + (size_t)(mlt_random_double(&random) * 6);
            for (size_t j = 0; j < length; j++)
                stops[i][j] = (char)('a' + (int)(mlt_random_double(&random) * 2.2));
            stops[i][length] = 0;
            pointers[i] = stops[i];
        }
        struct mlt_stop_filter filter;
        assert_int_equal(mlt_stop_init(&filter, pointers, n_stops, held, NULL), MILLET_OK);
        bool found = false;
        while (!found) {
            size_t piece = (size_t)(mlt_random_double(&random) * 5), ready;
            piece = MLT_MIN(piece, n - at);
            bool last = at + piece == n;
            mlt_stop_push(&filter, text + at, piece);
            at += piece;
            found = mlt_stop_scan(&filter, last, &ready);
            memcpy(out + given, filter.held, ready);
            given += ready;
            mlt_stop_drop(&filter, ready);
            assert_true(given <= search(text, pointers, n_stops)); /* never too much */
            /* No more is held than may belong to a stop string. */
            if (!found) assert_true(filter.n_held < 7);
            if (last) break;
        }
        size_t expected = search(text, pointers, n_stops);
        assert_int_equal(given, expected);
        assert_int_equal(found, expected < n);
        assert_memory_equal(out, text, given);
    }
}

static void test_stop_strings(void **state)
{
    (void)state;
    millet_session *session = open_session((millet_session_options){0});
    struct seen whole = {.length = 0};
    millet_generate_options options = greedy(60);
    options.ignore_end = true;
    options.sampler.presence_penalty = 100; /* a text that does not repeat itself */
    generate(session, "the", &options, &whole);
    assert_true(whole.length > 20);
    whole.text[whole.length] = 0;
    int tested = 0;
    for (size_t from = 1; from + 6 < whole.length; from += 3) {
        char stop[8] = {0};
        size_t length = 1 + from % 6;
        memcpy(stop, whole.text + from, length);
        if (((unsigned char)stop[0] & 0xc0) == 0x80) continue;
        const char *const stops[] = {"never said", stop};
        options.stop = stops;
        options.n_stop = 2;
        struct seen seen = {.length = 0};
        millet_sequence_truncate(session, 0, 0, NULL);
        millet_generation result = generate(session, "the", &options, &seen);
        size_t expected = search(whole.text, stops, 2);
        assert_int_equal(result.finish, MILLET_FINISH_STOP);
        assert_int_equal(seen.length, expected);
        assert_memory_equal(seen.text, whole.text, expected);
        tested++;
    }
    assert_true(tested > 3);
    millet_session_close(&session);
}

/* ---- Text -----------------------------------------------------------------------------------------------
 */

static void test_text(void **state)
{
    (void)state;
    int32_t ids[40], again[40];
    size_t count, full, length;
    const char *text = "the cat\tand \xf0\x9f\x90\x88";
    assert_int_equal(millet_tokenize(model, text, strlen(text), 0, ids, 40, &count, NULL), MILLET_OK);
    assert_true(count > 4 && count <= 40);
    assert_int_equal(millet_tokenize(model, text, strlen(text), 0, NULL, 0, &full, NULL), MILLET_OK);
    assert_int_equal(full, count);
    memset(again, -1, sizeof again);
    assert_int_equal(millet_tokenize(model, text, strlen(text), 0, again, 3, &full, NULL), MILLET_OK);
    assert_int_equal(full, count);
    assert_memory_equal(again, ids, 3 * sizeof(int32_t));
    assert_int_equal(again[3], -1);

    char out[64];
    memset(out, '?', sizeof out);
    assert_int_equal(millet_detokenize(model, ids, count, false, out, sizeof out, &length, NULL), MILLET_OK);
    assert_int_equal(length, strlen(text));
    assert_memory_equal(out, text, length);
    memset(out, '?', sizeof out);
    assert_int_equal(millet_detokenize(model, ids, count, false, out, 5, &length, NULL), MILLET_OK);
    assert_int_equal(length, strlen(text));
    assert_memory_equal(out, "the c?", 6);
    millet_error err;
    ids[2] = n_vocab;
    assert_int_equal(millet_detokenize(model, ids, count, false, out, sizeof out, &length, &err),
                     MILLET_BAD_ARGUMENT);
    assert_non_null(strstr(err.message, "token 2"));

    assert_int_equal(millet_token_bos(model), TINY_BOS);
    assert_int_equal(millet_token_eos(model), TINY_EOS);
    assert_true(millet_token_is_end(model, TINY_EOS));
    assert_false(millet_token_is_end(model, TINY_BOS));
    assert_false(millet_token_is_end(model, -1));
    assert_false(millet_token_is_end(model, n_vocab));
    const char *stored = millet_token_text(model, TINY_EOS, &length);
    assert_int_equal(length, 4);
    assert_memory_equal(stored, "</s>", 4);
    assert_null(millet_token_text(model, n_vocab, &length));
    assert_null(millet_token_text(model, -1, &length));
}

static void test_chat(void **state)
{
    (void)state;
    const millet_message messages[] = {{"user", "hello"}};
    char text[200];
    size_t length, full;
    millet_error err;
    /* The small model has no template: one must be named. */
    assert_null(millet_chat_template_detect(model));
    assert_int_equal(millet_chat_render(model, NULL, messages, 1, true, text, sizeof text, &length, &err),
                     MILLET_UNSUPPORTED);
    assert_non_null(strstr(err.message, "chatml"));
    assert_non_null(strstr(millet_chat_template_names(), "chatml"));
    assert_int_equal(
        millet_chat_render(model, "nonsense", messages, 1, true, text, sizeof text, &length, &err),
        MILLET_NOT_FOUND);
    assert_int_equal(millet_chat_render(model, "chatml", messages, 1, true, text, sizeof text, &length, &err),
                     MILLET_OK);
    const char *expected = "<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n";
    assert_int_equal(length, strlen(expected));
    assert_memory_equal(text, expected, length);
    memset(text, '?', sizeof text);
    assert_int_equal(millet_chat_render(model, "chatml", messages, 1, true, text, 5, &full, &err), MILLET_OK);
    assert_int_equal(full, length);
    assert_memory_equal(text, "<|im_?", 6);
}

static void test_model_without_tokenizer(void **state)
{
    (void)state;
    struct tiny_shape shape = tiny_default();
    shape.no_tokenizer = true;
    millet_model *mute = tiny_model(mlt_default_allocator(), &shape);
    millet_session *session;
    millet_error err;
    size_t n;
    char text[4];
    int32_t id = 5;
    millet_session_options options = {.n_threads = 1};
    assert_int_equal(millet_session_open(mute, &options, &session, NULL), MILLET_OK);
    assert_int_equal(millet_generate(session, "a", 1, NULL, NULL, NULL, NULL, &err), MILLET_UNSUPPORTED);
    assert_int_equal(millet_tokenize(mute, "a", 1, 0, &id, 1, &n, &err), MILLET_UNSUPPORTED);
    assert_int_equal(millet_detokenize(mute, &id, 1, false, text, 4, &n, &err), MILLET_UNSUPPORTED);
    assert_null(millet_token_text(mute, 5, &n));
    assert_false(millet_token_is_end(mute, 5));
    millet_session_close(&session);
    millet_model_close(&mute);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_plain_loop),
        cmocka_unit_test(test_a_token_that_is_not_a_number),
        cmocka_unit_test(test_generation_goes_on),
        cmocka_unit_test(test_context_is_full),
        cmocka_unit_test(test_callback_stops),
        cmocka_unit_test(test_end_tokens),
        cmocka_unit_test(test_pieces_are_utf8),
        cmocka_unit_test(test_seeds),
        cmocka_unit_test(test_penalties_see_the_sequence),
        cmocka_unit_test(test_no_allocation_in_the_loop),
        cmocka_unit_test(test_bad_options),
        cmocka_unit_test(test_bos),
        cmocka_unit_test(test_stop_filter),
        cmocka_unit_test(test_stop_strings),
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_chat),
        cmocka_unit_test(test_model_without_tokenizer),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
