/*
 * Generation with speculation against generation without: the same tokens, numbers and text, whatever
 * guesses.
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

/* The model, one that nearly agrees with it, one that does not, and one with another vocabulary. */
static struct counting_allocator counting;
static millet_model *model, *relative, *stranger, *padded;
static int32_t n_vocab;

static int set_up(void **state)
{
    (void)state;
    counting_allocator_init(&counting);
    struct tiny_shape shape = tiny_default();
    model = tiny_model(&counting.allocator, &shape);
    n_vocab = model->config.n_vocab;
    shape.noise = 0.02f;
    relative = tiny_model(&counting.allocator, &shape);
    shape.noise = 0;
    shape.word = "zebra"; /* one token more than the model has */
    padded = tiny_model(&counting.allocator, &shape);
    shape.word = NULL;
    shape.seed += 77;
    shape.n_layers = 1;
    stranger = tiny_model(&counting.allocator, &shape);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    millet_model_close(&model);
    millet_model_close(&relative);
    millet_model_close(&stranger);
    millet_model_close(&padded);
    assert_int_equal(counting.live, 0);
    return 0;
}

static millet_session *open_session(millet_session_options options)
{
    millet_session *session = NULL;
    millet_error err;
    if (!options.n_threads) options.n_threads = 1;
    if (millet_session_open(model, &options, &session, &err) != MILLET_OK) fail_msg("%s", err.message);
    return session;
}

enum { MAX_SEEN = 300, MAX_BEST = 4 };

/* All that a generation tells. Zeroed, so that two can be compared as memory. */
struct seen {
    char text[4096];
    size_t length, lengths[MAX_SEEN]; /* of the text so far, after each piece */
    int32_t tokens[MAX_SEEN];
    float logprobs[MAX_SEEN];
    millet_token_logprob best[MAX_SEEN][MAX_BEST];
    int calls, stop_after;
    millet_status status;
    millet_finish finish;
    int32_t prompt_tokens, generated_tokens, length_after;
    int32_t next[2]; /* bits of logits that the session computes after it */
};

static long long allocations; /* at the last piece */

static bool watch(void *context, const millet_piece *piece)
{
    struct seen *seen = context;
    if (seen->calls > 0) assert_int_equal(counting.calls, allocations); /* none in the loop */
    allocations = counting.calls;
    assert_true(seen->calls < MAX_SEEN && seen->length + piece->length <= sizeof seen->text);
    memcpy(seen->text + seen->length, piece->text, piece->length);
    seen->length += piece->length;
    seen->lengths[seen->calls] = seen->length;
    seen->tokens[seen->calls] = piece->token;
    seen->logprobs[seen->calls] = piece->logprob;
    for (int i = 0; i < piece->n_best && i < MAX_BEST; i++)
        seen->best[seen->calls][i] = piece->best[i];
    return ++seen->calls != seen->stop_after;
}

static millet_generation generate(millet_session *session, const char *prompt,
                                  const millet_generate_options *how, int stop_after, struct seen *seen)
{
    millet_generation result = {0};
    millet_error err;
    memset(seen, 0, sizeof *seen);
    seen->stop_after = stop_after;
    seen->status = millet_generate(session, prompt, strlen(prompt), how, watch, seen, &result, &err);
    seen->finish = result.finish;
    seen->prompt_tokens = result.prompt_tokens;
    seen->generated_tokens = result.generated_tokens;
    seen->length_after = millet_sequence_length(session, how->sequence);
    assert_true(result.accepted_tokens <= result.drafted_tokens);
    assert_true(result.accepted_tokens <= result.generated_tokens);
    return result;
}

/* What the session computes next: is its cache what it was without speculation? */
static void look_at_next(millet_session *session, struct seen *seen)
{
    millet_item item = {.token = 5, .logits = true};
    int32_t length = millet_sequence_length(session, 0);
    if (length == session->options.n_ctx) return;
    assert_int_equal(millet_eval(session, &item, 1, NULL), MILLET_OK);
    memcpy(seen->next, millet_logits(session, 0) + 7, sizeof seen->next);
    assert_int_equal(millet_sequence_truncate(session, 0, length, NULL), MILLET_OK);
}

/* The ways of guessing that are compared. */
enum { WAYS = 9 };

static millet_session_options way(int i, int32_t n_ctx)
{
    millet_session_options options = {.n_ctx = n_ctx, .draft_always = true, .n_draft = 1 + 3 * i};
    switch (i) {
    case 0: options.lookup = true; break;
    case 1: options.draft = relative; break;
    case 2: options.draft = model; break;
    case 3: options.draft = stranger; break;
    case 4:
        options.draft = relative;
        options.lookup = true;
        options.n_batch = 3; /* less than a step of guesses */
        break;
    case 5:
        options.lookup = true;
        options.draft_always = false;
        options.n_draft = 0;
        break;
    case 6:
        options.draft = relative;
        options.draft_always = false;
        options.n_threads = 2;
        break;
    case 7: options.draft = padded; break;
    default:
        options.lookup = true;
        options.n_draft = MLT_MAX_DRAFT;
        break;
    }
    return options;
}

/* Generates with each way and without, twice in each session, and compares. Returns the guesses accepted. */
static int32_t compare(const char *prompt, const millet_generate_options *how, int32_t n_ctx, int stop_after)
{
    static struct seen plain[2], seen;
    millet_session *session = open_session((millet_session_options){.n_ctx = n_ctx});
    int32_t accepted = 0;
    for (int turn = 0; turn < 2; turn++) {
        millet_generation result = generate(session, prompt, how, stop_after, &plain[turn]);
        assert_int_equal(result.drafted_tokens, 0);
        look_at_next(session, &plain[turn]);
    }
    millet_session_close(&session);
    for (int i = 0; i < WAYS; i++) {
        session = open_session(way(i, n_ctx));
        for (int turn = 0; turn < 2; turn++) {
            accepted += generate(session, prompt, how, stop_after, &seen).accepted_tokens;
            look_at_next(session, &seen);
            if (memcmp(&seen, &plain[turn], sizeof seen) != 0)
                fail_msg("\"%s\", way %d, turn %d: \"%.*s\" (%d tokens) is not \"%.*s\" (%d tokens)", prompt,
                         i, turn, (int)seen.length, seen.text, seen.generated_tokens, (int)plain[turn].length,
                         plain[turn].text, plain[turn].generated_tokens);
        }
        millet_session_close(&session);
    }
    return accepted;
}

static const char *const prompts[] = {"the cat and the hen and the cat and", "abc", "in the end", "q"};

static void test_same_greedy(void **state)
{
    (void)state;
    millet_generate_options how = millet_generate_options_default();
    how.sampler.temperature = 0;
    how.max_tokens = 40;
    how.n_best = MAX_BEST;
    int32_t accepted = 0;
    for (size_t i = 0; i < MLT_COUNT(prompts); i++)
        accepted += compare(prompts[i], &how, 0, 0);
    assert_true(accepted > 100);
}

static void test_same_sampled(void **state)
{
    (void)state;
    struct mlt_random random;
    mlt_random_seed(&random, 11);
    int32_t accepted = 0;
    for (uint64_t seed = 0; seed < 12; seed++) {
        millet_generate_options how = millet_generate_options_default();
        how.max_tokens = 30;
        how.sampler.seed = seed;
        how.sampler.temperature = 0.2f + mlt_random_float(&random);
        if (seed % 2) how.sampler.repeat_penalty = 1 + mlt_random_float(&random);
        if (seed % 3 == 1) how.sampler.frequency_penalty = mlt_random_float(&random) - 0.5f;
        if (seed % 4 == 1) how.sampler.presence_penalty = mlt_random_float(&random);
        if (seed % 5 == 1) how.sampler.penalty_last = 1 + (int32_t)(mlt_random_u64(&random) % 100);
        if (seed % 6 == 1) how.sampler.typical_p = 0.5f;
        if (seed % 7 == 1) how.sampler.top_k = 0;
        how.ignore_end = seed % 8 == 1;
        how.n_best = (int32_t)(seed % 3);
        accepted += compare(prompts[seed % MLT_COUNT(prompts)], &how, 0, 0);
    }
    assert_true(accepted > 100);
}

/* Many numbers of tokens, sizes of context, and places where the callback stops. */
static void test_same_at_the_edges(void **state)
{
    (void)state;
    millet_generate_options how = millet_generate_options_default();
    how.sampler.temperature = 0;
    how.ignore_end = true;
    for (int32_t i = 1; i <= 14; i += 2) {
        how.max_tokens = i;
        compare(prompts[0], &how, 0, 0);
    }
    how.max_tokens = 0;
    for (int32_t i = 0; i < 14; i += 3)
        compare(prompts[0], &how, 40 + i, 0);
    for (int i = 1; i <= 14; i += 2)
        compare(prompts[0], &how, 0, i);
}

/* End tokens and stop strings may be anywhere among the guesses. */
static void test_same_ends(void **state)
{
    (void)state;
    int ended = 0, stopped = 0;
    static struct seen seen;
    for (uint64_t seed = 0; seed < 12; seed++) {
        millet_generate_options how = millet_generate_options_default();
        how.sampler.seed = seed;
        how.sampler.temperature = 3;
        how.sampler.top_k = 0;
        how.sampler.top_p = 1;
        how.sampler.min_p = 0;
        how.max_tokens = 60;
        /* Characters of the text itself are stop strings. */
        millet_session *session = open_session((millet_session_options){0});
        generate(session, prompts[1], &how, 0, &seen);
        millet_session_close(&session);
        ended += seen.finish == MILLET_FINISH_END;
        compare(prompts[1], &how, 0, 0);
        char stop[2] = {0};
        for (size_t i = seen.length / 2; i < seen.length && !stop[0]; i++)
            if (seen.text[i] >= 'a' && seen.text[i] <= 'z') stop[0] = seen.text[i];
        if (!stop[0]) continue;
        const char *stops[] = {stop, "neverinthetext"};
        how.stop = stops;
        how.n_stop = 2;
        stopped++;
        compare(prompts[1], &how, 0, 0);
    }
    assert_true(stopped > 5);
    assert_true(ended > 0);
}

/* A draft model that is the model itself is always right, also with random numbers and penalties. */
static void test_own_model_is_always_right(void **state)
{
    (void)state;
    static struct seen seen;
    for (uint64_t seed = 0; seed < 10; seed++) {
        millet_session *session = open_session(
            (millet_session_options){.draft = model, .n_draft = 1 + (int32_t)seed, .draft_always = true});
        millet_generate_options how = millet_generate_options_default();
        how.sampler.seed = seed;
        how.sampler.temperature = seed % 2 ? 1.5f : 0;
        how.sampler.repeat_penalty = 1.3f;
        how.max_tokens = 50;
        how.ignore_end = true;
        millet_generation result = generate(session, prompts[2], &how, 0, &seen);
        assert_int_equal(result.generated_tokens, 50);
        assert_int_equal(result.accepted_tokens, result.drafted_tokens);
        /* The first token has no guesses, then there is one other token in a step. */
        int32_t steps = (49 + how.max_tokens) / (int32_t)(2 + seed);
        assert_true(result.drafted_tokens >= 50 - 1 - steps);
        millet_session_close(&session);
    }
}

/* Each step but the first has its guess, whatever became of the one before. */
static void test_wrong_guesses_are_followed_by_others(void **state)
{
    (void)state;
    static struct seen seen;
    millet_session *session =
        open_session((millet_session_options){.draft = relative, .n_draft = 1, .draft_always = true});
    millet_generate_options how = millet_generate_options_default();
    how.max_tokens = 100;
    how.ignore_end = true;
    millet_generation result = generate(session, "the", &how, 0, &seen);
    assert_true(result.accepted_tokens > 0 && result.accepted_tokens < result.drafted_tokens);
    int32_t steps = 100 - result.accepted_tokens; /* the last may have had room for one token only */
    assert_true(result.drafted_tokens == steps - 1 || result.drafted_tokens == steps - 2);
    millet_session_close(&session);
}

/* Text that repeats is guessed right without a model. */
static void test_lookup_finds_repetition(void **state)
{
    (void)state;
    static struct seen seen;
    millet_session *session = open_session((millet_session_options){.lookup = true, .draft_always = true});
    millet_generate_options how = millet_generate_options_default();
    how.sampler.temperature = 0;
    how.sampler.frequency_penalty = -10; /* what was said is said again */
    how.max_tokens = 60;
    how.ignore_end = true;
    millet_generation result = generate(session, prompts[0], &how, 0, &seen);
    assert_true(result.accepted_tokens > 30);
    millet_session_close(&session);
}

/* Sequences are cut, changed and copied between generations: the draft model follows. */
static void test_other_calls_in_between(void **state)
{
    (void)state;
    static struct seen plain, seen;
    for (int i = 0; i < WAYS; i++) {
        millet_session_options options = way(i, 100);
        options.n_sequences = 2;
        millet_session *without = open_session((millet_session_options){.n_ctx = 100, .n_sequences = 2});
        millet_session *with = open_session(options);
        millet_generate_options how = millet_generate_options_default();
        how.max_tokens = 12;
        struct mlt_random random;
        mlt_random_seed(&random, 3);
        for (int turn = 0; turn < 12; turn++) {
            millet_session *sessions[] = {without, with};
            int32_t length = millet_sequence_length(without, how.sequence);
            assert_int_equal(millet_sequence_length(with, how.sequence), length);
            int32_t kept = length > 0 ? (int32_t)(mlt_random_u64(&random) % (uint64_t)length) : 0;
            if (length < 60 && turn % 3) kept = length;
            const millet_item item = {(int32_t)(mlt_random_u64(&random) % (uint64_t)n_vocab), how.sequence,
                                      true};
            for (int j = 0; j < 2; j++) {
                assert_int_equal(millet_sequence_truncate(sessions[j], how.sequence, kept, NULL), MILLET_OK);
                if (turn % 4 == 1) assert_int_equal(millet_eval(sessions[j], &item, 1, NULL), MILLET_OK);
                if (turn % 4 == 2)
                    assert_int_equal(millet_sequence_copy(sessions[j], how.sequence, 1 - how.sequence, NULL),
                                     MILLET_OK);
            }
            if (turn % 4 == 2) how.sequence = 1 - how.sequence;
            how.sampler.seed = (uint64_t)turn;
            generate(without, turn % 2 ? "" : "the ", &how, 0, &plain);
            generate(with, turn % 2 ? "" : "the ", &how, 0, &seen);
            if (turn == 0) assert_int_equal(plain.status, MILLET_OK);
            assert_memory_equal(&seen, &plain, sizeof seen);
        }
        millet_session_close(&without);
        millet_session_close(&with);
    }
}

/* Logits that are nothing but NaN: the failure comes at the same token, with the same text before it. */
static void test_same_failure(void **state)
{
    (void)state;
    static struct seen plain, seen;
    millet_generate_options how = millet_generate_options_default();
    how.max_tokens = 30;
    how.ignore_end = true;
    how.sampler.temperature = 2;
    millet_session *session = open_session((millet_session_options){0});
    generate(session, "the", &how, 0, &plain);
    millet_session_close(&session);
    /* The last token to be said for the first time gets an embedding that is no number. */
    int at = 0;
    for (int i = 0; i < 20; i++) {
        bool is_new = true;
        for (int j = 0; j < i; j++)
            is_new &= plain.tokens[j] != plain.tokens[i];
        if (is_new) at = i;
    }
    assert_true(at > 4);
    struct tiny_shape shape = tiny_default();
    struct mlt_checkpoint *checkpoint = tiny_checkpoint(mlt_default_allocator(), &shape);
    const struct mlt_tensor *embedding = mlt_checkpoint_tensor(checkpoint, "token_embd.weight");
    ((float *)(uintptr_t)embedding->data)[plain.tokens[at] * embedding->ne[0]] = NAN;
    millet_model *damaged = NULL, *intact = model;
    assert_int_equal(mlt_model_from_checkpoint(mlt_default_allocator(), checkpoint, &damaged, NULL),
                     MILLET_OK);
    for (int i = 0; i < WAYS; i++) {
        millet_session_options options = way(i, 0); /* with the intact model among the draft models */
        model = damaged;
        session = open_session((millet_session_options){0});
        generate(session, "the", &how, 0, &plain);
        millet_session_close(&session);
        assert_int_equal(plain.status, MILLET_BAD_ARGUMENT);
        assert_int_equal(plain.calls, at + 1);
        session = open_session(options);
        generate(session, "the", &how, 0, &seen);
        assert_memory_equal(&seen, &plain, sizeof seen);
        assert_true(mlt_forward_length(session->forward, 0) <= millet_sequence_length(session, 0));
        millet_session_close(&session);
        model = intact;
    }
    millet_model_close(&damaged);
}

static void test_memory_is_known(void **state)
{
    (void)state;
    for (int i = 0; i < WAYS; i++) {
        millet_session_options options = way(i, 50);
        options.n_sequences = 1 + i % 2;
        if (!options.n_threads) options.n_threads = 1 + i % 3;
        millet_memory memory, without;
        assert_int_equal(millet_estimate(model, &options, &memory, NULL), MILLET_OK);
        assert_true(memory.total == memory.cache + memory.workspace);
        unsigned long long before = counting.bytes;
        millet_session *session = open_session(options);
        assert_true(counting.bytes - before == memory.total);
        millet_session_close(&session);
        assert_true(counting.bytes == before);
        millet_session_options plain = {.n_ctx = 50,
                                        .n_sequences = options.n_sequences,
                                        .n_batch = options.n_batch,
                                        .n_threads = options.n_threads};
        assert_int_equal(millet_estimate(model, &plain, &without, NULL), MILLET_OK);
        assert_true(memory.total > without.total);
        assert_true((memory.weights > without.weights) == (options.draft != NULL));
    }
}

static void test_bad_options(void **state)
{
    (void)state;
    struct tiny_shape shape = tiny_default();
    shape.no_tokenizer = true;
    millet_model *mute = tiny_model(mlt_default_allocator(), &shape);
    const struct {
        millet_session_options options;
        const char *says;
    } bad[] = {
        {{.n_draft = 4}, "neither"},
        {{.n_draft = -1, .lookup = true}, "-1"},
        {{.n_draft = MLT_MAX_DRAFT + 1, .lookup = true}, "32"},
        {{.draft = mute}, "no tokenizer"},
    };
    millet_memory memory;
    millet_error err;
    for (size_t i = 0; i < MLT_COUNT(bad); i++) {
        millet_session *session;
        assert_int_equal(millet_estimate(model, &bad[i].options, &memory, &err), MILLET_BAD_ARGUMENT);
        assert_non_null(strstr(err.message, bad[i].says));
        assert_int_equal(millet_session_open(model, &bad[i].options, &session, NULL), MILLET_BAD_ARGUMENT);
        assert_null(session);
    }
    millet_model_close(&mute);
}

/* Two models whose vocabularies begin alike, and two that do not. */
static void test_vocabularies_must_agree(void **state)
{
    (void)state;
    struct tiny_shape shape = tiny_default();
    shape.word = "zebu";
    millet_model *zebu = tiny_model(mlt_default_allocator(), &shape);
    millet_session_options options = {.draft = padded};
    millet_memory memory;
    millet_error err;
    assert_int_equal(millet_estimate(model, &options, &memory, &err), MILLET_OK);
    assert_int_equal(millet_estimate(zebu, &options, &memory, &err), MILLET_BAD_ARGUMENT);
    assert_non_null(strstr(err.message, "zebra"));
    assert_non_null(strstr(err.message, "zebu"));
    assert_string_equal(err.item, "draft");
    millet_model_close(&zebu);
}

/* Text with a token that the draft model has not: nothing is guessed, nothing goes wrong. */
static void test_token_that_the_draft_lacks(void **state)
{
    (void)state;
    static struct seen plain, seen;
    millet_model *smaller = model;
    model = padded;
    for (int with = 0; with < 2; with++) {
        millet_session *session =
            open_session((millet_session_options){.draft = with ? smaller : NULL, .draft_always = true});
        millet_generate_options how = millet_generate_options_default();
        how.sampler.temperature = 0;
        how.max_tokens = 20;
        how.ignore_end = true;
        assert_true(generate(session, "the cat", &how, 0, &seen).drafted_tokens > 0 || !with);
        millet_item item = {.token = padded->config.n_vocab - 1};
        assert_int_equal(millet_eval(session, &item, 1, NULL), MILLET_OK);
        millet_generation result = generate(session, "the", &how, 0, with ? &seen : &plain);
        assert_int_equal(result.drafted_tokens, 0);
        millet_session_close(&session);
    }
    assert_memory_equal(&seen, &plain, sizeof seen);
    model = smaller;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_greedy),
        cmocka_unit_test(test_same_sampled),
        cmocka_unit_test(test_same_at_the_edges),
        cmocka_unit_test(test_same_ends),
        cmocka_unit_test(test_own_model_is_always_right),
        cmocka_unit_test(test_wrong_guesses_are_followed_by_others),
        cmocka_unit_test(test_lookup_finds_repetition),
        cmocka_unit_test(test_other_calls_in_between),
        cmocka_unit_test(test_same_failure),
        cmocka_unit_test(test_memory_is_known),
        cmocka_unit_test(test_bad_options),
        cmocka_unit_test(test_vocabularies_must_agree),
        cmocka_unit_test(test_token_that_the_draft_lacks),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
