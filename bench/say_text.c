/*
 * say_text: what lookup gains when a model says a given text.
 *
 *     say_text MODEL.gguf VOCABULARY.gguf PROMPT CONTINUATION [tokens=N] [threads=N] [draft=N] [rounds=N]
 * [always=1]
 *
 * The model computes the prompt; then it is made to say the continuation, with lookup and without in
 * alternation: each step is computed as in generating, but the token that is chosen is that of the text. So
 * the texts can be real ones, as a document and its edited version, while the model, of which only the speed
 * counts, may be one of random weights. Texts are tokenised with the vocabulary of another file. Sampling is
 * not in the times.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "base/clock.h"
#include "base/file.h"
#include "generate/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_ROUNDS = 64 };

struct say_text {
    int32_t tokens, threads, draft, rounds, always;
    int32_t *ids; /* prompt, then continuation */
    int32_t n_prompt, n_ids;
    double rate[2][MOST_ROUNDS]; /* tokens a second without and with */
    int32_t drafted, accepted;   /* of the last round */
};

static int fail(const char *what, const millet_error *err)
{
    fprintf(stderr, "say_text: %s: %s\n", what, err->message);
    return 1;
}

static millet_status add_text(struct say_text *r, const struct mlt_tokenizer *tokenizer, const char *path,
                              millet_error *err)
{
    const millet_allocator *allocator = mlt_default_allocator();
    struct mlt_file_map file;
    int32_t *ids = NULL, *all;
    size_t count = 0;
    MLT_TRY(mlt_file_map_open(path, &file, err));
    millet_status status =
        mlt_tokenize(tokenizer, allocator, (const char *)file.data, (size_t)file.size, 0, &ids, &count, err);
    mlt_file_map_close(&file);
    if (status != MILLET_OK) return status;
    all = realloc(r->ids, ((size_t)r->n_ids + count) * sizeof *all + 1);
    if (!all) return mlt_fail(err, MILLET_NO_MEMORY, "out of memory");
    memcpy(all + r->n_ids, ids, count * sizeof *all);
    r->ids = all;
    r->n_ids += (int32_t)count;
    mlt_free(allocator, ids);
    return MILLET_OK;
}

static millet_status read_texts(struct say_text *r, char **paths, millet_error *err)
{
    const millet_allocator *allocator = mlt_default_allocator();
    struct mlt_checkpoint *checkpoint = NULL;
    struct mlt_tokenizer *tokenizer = NULL;
    int32_t bos, eos;
    bool add_bos, add_eos;
    MLT_TRY(mlt_checkpoint_open(allocator, paths[0], NULL, &checkpoint, err));
    millet_status status =
        mlt_vocabulary_open(allocator, checkpoint, &tokenizer, &bos, &eos, &add_bos, &add_eos, err);
    if (status == MILLET_OK) status = add_text(r, tokenizer, paths[1], err);
    r->n_prompt = r->n_ids;
    if (status == MILLET_OK) status = add_text(r, tokenizer, paths[2], err);
    if (r->tokens > 0) r->n_ids = MLT_MIN(r->n_ids, r->n_prompt + r->tokens);
    if (status == MILLET_OK && (r->n_prompt == 0 || r->n_ids - r->n_prompt < 2))
        status = mlt_fail(err, MILLET_BAD_ARGUMENT, "the prompt or the continuation is empty");
    if (tokenizer) mlt_tokenizer_close(&tokenizer);
    mlt_checkpoint_close(&checkpoint);
    return status;
}

/* Says the text; returns the tokens a second after the first. */
static double say(struct say_text *r, millet_session *session)
{
    struct mlt_speculation *speculation = session->speculation;
    millet_sequence_truncate(session, 0, 0, NULL);
    mlt_session_append(session, 0, r->ids, (size_t)r->n_prompt);
    if (speculation) mlt_speculation_start(speculation, session, 0);
    int32_t at = r->n_prompt;
    double began = 0;
    while (at < r->n_ids) {
        const int32_t *proposed = NULL;
        int32_t first = at, count = 0;
        if (speculation) count = mlt_speculation_propose(speculation, session, r->n_ids - at - 1, &proposed);
        mlt_session_compute(session, 0, proposed, count);
        if (speculation) mlt_speculation_computed(speculation);
        if (first == r->n_prompt) began = mlt_clock_seconds();
        bool more = true;
        while (more && at < r->n_ids) {
            int32_t token = r->ids[at++];
            mlt_session_append(session, 0, &token, 1);
            more = speculation && mlt_speculation_chosen(speculation, token);
        }
        if (speculation) mlt_speculation_end(speculation, session);
        mlt_session_settle(session, 0, at - 1);
    }
    if (speculation) mlt_speculation_counts(speculation, &r->drafted, &r->accepted);
    return (r->n_ids - r->n_prompt - 1) / (mlt_clock_seconds() - began);
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void report(struct say_text *r, const char *prompt, const char *continuation)
{
    for (int way = 0; way < 2; way++)
        qsort(r->rate[way], (size_t)r->rounds, sizeof(double), compare);
    double without = r->rate[0][r->rounds / 2], with = r->rate[1][r->rounds / 2];
    int32_t said = r->n_ids - r->n_prompt;
    printf("%s, %s: %d tokens after %d: %.1f tokens/s without lookup, %.1f with: %.2f times; of %d guesses "
           "%.1f%% were right, %.2f tokens a step\n",
           prompt, continuation, said, r->n_prompt, without, with, with / without, r->drafted,
           r->drafted ? 100.0 * r->accepted / r->drafted : 0.0, said / (double)(said - r->accepted));
}

int main(int argc, char **argv)
{
    struct say_text r = {.threads = 0, .rounds = 3};
    millet_error err;
    millet_model *model = NULL;
    millet_session *sessions[2] = {NULL, NULL};
    if (argc < 5) {
        fputs("say_text MODEL.gguf VOCABULARY.gguf PROMPT CONTINUATION [tokens=N] [threads=N] [draft=N] "
              "[rounds=N] [always=1]\n",
              stderr);
        return 2;
    }
    for (int i = 5; i < argc; i++) {
        const char *value = strchr(argv[i], '=');
        const struct {
            const char *name;
            int32_t *target;
        } names[] = {{"tokens", &r.tokens},
                     {"threads", &r.threads},
                     {"draft", &r.draft},
                     {"rounds", &r.rounds},
                     {"always", &r.always}};
        for (size_t j = 0; value && j < MLT_COUNT(names); j++)
            if (strncmp(argv[i], names[j].name, (size_t)(value - argv[i])) == 0)
                *names[j].target = (int32_t)strtol(value + 1, NULL, 10);
    }
    r.rounds = MLT_MAX(1, MLT_MIN(r.rounds, MOST_ROUNDS));
    if (read_texts(&r, argv + 2, &err)) return fail("texts", &err);
    if (millet_model_open(argv[1], NULL, &model, &err)) return fail("model", &err);
    for (int32_t i = 0; i < r.n_ids; i++)
        r.ids[i] %= model->config.n_vocab;
    for (int way = 0; way < 2; way++) {
        millet_session_options options = {.n_ctx = r.n_ids,
                                          .n_threads = r.threads,
                                          .lookup = way == 1,
                                          .n_draft = way == 1 ? r.draft : 0,
                                          .draft_always = r.always};
        if (millet_session_open(model, &options, &sessions[way], &err)) return fail("session", &err);
    }
    for (int32_t round = 0; round < r.rounds; round++)
        for (int i = 0; i < 2; i++) {
            int way = (round + i) % 2;
            r.rate[way][round] = say(&r, sessions[way]);
        }
    report(&r, argv[3], argv[4]);
    millet_session_close(&sessions[0]);
    millet_session_close(&sessions[1]);
    millet_model_close(&model);
    free(r.ids);
    return 0;
}
