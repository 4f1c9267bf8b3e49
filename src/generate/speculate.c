/* SPDX-License-Identifier: Apache-2.0 */
#include "generate/speculate.h"

#include "base/clock.h"
#include "generate/logprob.h"
#include "generate/ngram.h"
#include "generate/session.h"
#include "kernels/math.h"

#include <string.h>

/* Proposals of the draft model are of one kind when its probability for them lies between two of these. */
static const float confidence_limits[] = {0.1f, 0.2f, 0.35f, 0.5f, 0.65f, 0.8f, 0.9f, 0.97f};
enum { CONFIDENCES = MLT_COUNT(confidence_limits) + 1 };

struct mlt_speculation {
    millet_allocator allocator;
    int32_t n_draft, n_vocab; /* n_vocab: of the model, not of the draft model */
    struct mlt_ngram_index index;
    bool lookup, always;
    millet_session *draft; /* NULL: no draft model. Its sequences are beginnings of the session's */

    struct mlt_pace pace;
    struct mlt_chance of_length[MLT_NGRAM_LONGEST + 1]; /* of lookups, by the length of the match */
    struct mlt_chance of_confidence[CONFIDENCES], of_draft;
    int32_t sequence, drafted, accepted; /* of the generation at hand */
    bool foreign;                        /* the text has a token that the draft model has not */

    /* The round at hand. */
    int32_t proposed[MLT_MAX_DRAFT];
    struct mlt_chance *kind[MLT_MAX_DRAFT];
    float chance[MLT_MAX_DRAFT];
    int32_t n_proposed,
        n_taken;               /* the first n_taken are verified; what others would have done is learnt too */
    int32_t length;            /* of the sequence when it began */
    int32_t n_chosen, n_right; /* tokens chosen, and proposals that were equal to them */
    int32_t pending;           /* tokens that were to be computed; more than one: a prompt */
    int32_t behind;            /* tokens that the draft model had to compute first */
    bool from_draft, timed;    /* timed: one token was to be computed, not a prompt */
    double began, step_seconds, draft_seconds;
};

/* ---- Opening --------------------------------------------------------------------------------------------
 */

static millet_status check_vocabulary(const millet_model *model, const millet_model *draft, millet_error *err)
{
    const char *path = draft->checkpoint->path;
    if (!model->tokenizer || !draft->tokenizer)
        return mlt_fail_at(
            err, MILLET_BAD_ARGUMENT, path, "draft", MILLET_NO_OFFSET,
            "the %s has no tokenizer: a draft model must have the same vocabulary as the model",
            draft->tokenizer ? "model" : "draft model");
    /* One may have more tokens than the other: files pad their vocabularies to round numbers. */
    int32_t ours = mlt_tokenizer_size(model->tokenizer), theirs = mlt_tokenizer_size(draft->tokenizer);
    for (int32_t i = 0; i < MLT_MIN(ours, theirs); i++) {
        struct mlt_token_text a = mlt_tokenizer_token(model->tokenizer, i);
        struct mlt_token_text b = mlt_tokenizer_token(draft->tokenizer, i);
        if (a.length == b.length && memcmp(a.data, b.data, a.length) == 0) continue;
        return mlt_fail_at(err, MILLET_BAD_ARGUMENT, path, "draft", MILLET_NO_OFFSET,
                           "token %d of %d is \"%.*s\", in the model of %d tokens it is \"%.*s\": a draft "
                           "model must have the same vocabulary as the model",
                           i, theirs, (int)MLT_MIN(b.length, 40), b.data, ours, (int)MLT_MIN(a.length, 40),
                           a.data);
    }
    return MILLET_OK;
}

millet_status mlt_speculation_check(const millet_model *model, const millet_session_options *options,
                                    int32_t *n_draft, millet_error *err)
{
    *n_draft = 0;
    if (options->n_draft < 0 || options->n_draft > MLT_MAX_DRAFT)
        return mlt_fail_at(err, MILLET_BAD_ARGUMENT, NULL, "n_draft", MILLET_NO_OFFSET,
                           "the session's n_draft is %d; it must be 0 (automatic) to %d tokens",
                           options->n_draft, MLT_MAX_DRAFT);
    if (!options->draft && !options->lookup) {
        if (options->n_draft == 0) return MILLET_OK;
        return mlt_fail_at(err, MILLET_BAD_ARGUMENT, NULL, "n_draft", MILLET_NO_OFFSET,
                           "the session's n_draft is %d, but it has neither a draft model nor lookup to "
                           "propose tokens",
                           options->n_draft);
    }
    if (options->draft) MLT_TRY(check_vocabulary(model, options->draft, err));
    *n_draft = options->n_draft ? options->n_draft : MLT_DEFAULT_DRAFT;
    return MILLET_OK;
}

/* The draft model's session: as the session itself, as far as its positions reach. */
static millet_session_options draft_options(const millet_session_options *options)
{
    millet_session_options draft = *options;
    const struct mlt_config *config = &options->draft->config;
    if (config->position_embd) draft.n_ctx = MLT_MIN(draft.n_ctx, config->n_ctx_train);
    draft.n_logits = 0;
    draft.draft = NULL;
    draft.adapters = NULL;
    draft.n_adapters = 0;
    draft.n_draft = 0;
    draft.lookup = draft.draft_always = false;
    return draft;
}

static uint64_t own_bytes(const millet_session_options *options)
{
    uint64_t bytes = mlt_round_up(sizeof(struct mlt_speculation), MLT_ALIGNMENT);
    return options->lookup ? bytes + mlt_ngram_bytes(options->n_ctx) : bytes;
}

millet_status mlt_speculation_estimate(const millet_model *model, const millet_session_options *options,
                                       millet_memory *memory, millet_error *err)
{
    (void)model;
    *memory = (millet_memory){.workspace = own_bytes(options)};
    if (options->draft) {
        millet_session_options draft = draft_options(options);
        millet_memory of_draft;
        MLT_TRY(mlt_session_estimate(options->draft, &draft, true, &of_draft, err));
        memory->weights = of_draft.weights;
        memory->cache = of_draft.cache;
        memory->workspace += of_draft.workspace;
    }
    memory->total = memory->cache + memory->workspace;
    return MILLET_OK;
}

millet_status mlt_speculation_open(const millet_allocator *allocator, const millet_model *model,
                                   const millet_session_options *options, struct mlt_thread_pool *pool,
                                   struct mlt_speculation **out, millet_error *err)
{
    *out = NULL;
    uint8_t *block = mlt_alloc(allocator, 1, (size_t)own_bytes(options), err);
    if (!block) return MILLET_NO_MEMORY;
    struct mlt_speculation *s = (struct mlt_speculation *)(void *)block;
    *s = (struct mlt_speculation){.allocator = *allocator,
                                  .n_draft = options->n_draft,
                                  .n_vocab = model->config.n_vocab,
                                  .lookup = options->lookup,
                                  .always = options->draft_always};
    if (options->lookup)
        mlt_ngram_init(&s->index, block + mlt_round_up(sizeof *s, MLT_ALIGNMENT), options->n_ctx);
    millet_status status = MILLET_OK;
    if (options->draft) {
        millet_session_options draft = draft_options(options);
        draft.allocator = allocator;
        status = mlt_session_open_with(options->draft, &draft, pool, &s->draft, err);
    }
    if (status != MILLET_OK) mlt_speculation_close(&s);
    *out = s;
    return status;
}

void mlt_speculation_close(struct mlt_speculation **handle)
{
    struct mlt_speculation *s = *handle;
    if (!s) return;
    millet_session_close(&s->draft);
    millet_allocator allocator = s->allocator;
    mlt_free(&allocator, s);
    *handle = NULL;
}

void mlt_speculation_copy(struct mlt_speculation *s, int32_t from, int32_t to)
{
    if (s->draft) millet_sequence_copy(s->draft, from, to, NULL);
}

/* ---- Proposals ------------------------------------------------------------------------------------------
 */

void mlt_speculation_start(struct mlt_speculation *s, const millet_session *session, int32_t sequence)
{
    s->sequence = sequence;
    s->drafted = s->accepted = 0;
    s->foreign = false;
    mlt_pace_start(&s->pace);
    for (int i = 0; i <= MLT_NGRAM_LONGEST; i++)
        s->of_length[i] = mlt_chance_prior((float)i / ((float)i + 4.0f), 2);
    for (int i = 0; i < CONFIDENCES; i++) {
        float low = i > 0 ? confidence_limits[i - 1] : 0;
        float high = i < CONFIDENCES - 1 ? confidence_limits[i] : 1;
        s->of_confidence[i] = mlt_chance_prior((low + high) / 2, 3);
    }
    s->of_draft = mlt_chance_prior(0.7f, 3);
    if (s->lookup) mlt_ngram_reset(&s->index);
    if (!s->draft) return;
    /* The draft model keeps what it has computed of this text. */
    const int32_t *ours = mlt_session_tokens(session, sequence),
                  *theirs = mlt_session_tokens(s->draft, sequence);
    int32_t length = MLT_MIN(session->length[sequence], s->draft->length[sequence]), same = 0;
    while (same < length && ours[same] == theirs[same])
        same++;
    millet_sequence_truncate(s->draft, sequence, same, NULL);
}

static void look_up(struct mlt_speculation *s, const int32_t *tokens, int32_t limit, double *rate)
{
    struct mlt_ngram_match match = mlt_ngram_find(&s->index, tokens, s->length);
    *rate = 0;
    if (match.length == 0) return;
    for (int32_t i = 0; i < limit; i++) {
        s->proposed[i] = mlt_ngram_next(match, tokens, s->length, s->proposed, i);
        /* As long as proposals are right, the match grows. */
        s->kind[i] = &s->of_length[MLT_MIN(match.length + i, MLT_NGRAM_LONGEST)];
        s->chance[i] = mlt_chance_value(*s->kind[i]);
    }
    s->n_proposed = limit;
    s->n_taken = s->always ? limit : mlt_pace_choose(&s->pace, s->chance, limit, 0, rate);
}

/* Appends what the draft model has not seen of the first `length` tokens; false when it cannot go on. */
static bool bring_up_to_date(struct mlt_speculation *s, const int32_t *tokens, int32_t length)
{
    millet_session *draft = s->draft;
    int32_t known = draft->length[s->sequence], n_vocab = draft->model->config.n_vocab;
    for (int32_t i = known; i < length && !s->foreign; i++)
        s->foreign = tokens[i] >= n_vocab;
    if (s->foreign) return false;
    mlt_session_append(draft, s->sequence, tokens + known, (size_t)(length - known));
    return true;
}

static struct mlt_chance *kind_of(struct mlt_speculation *s, const float *logits, int32_t token)
{
    struct mlt_log_scale scale =
        mlt_log_scale_of(mlt_kernels_default(), logits, s->draft->row, s->draft->model->config.n_vocab);
    float probability = mlt_exp(mlt_log_probability(&scale, logits[token]));
    int i = 0;
    while (i < CONFIDENCES - 1 && probability >= confidence_limits[i])
        i++;
    return &s->of_confidence[i];
}

/* Whether any number of further proposals is expected to be better than those that there are. */
static bool is_more_worth_while(struct mlt_speculation *s, int32_t limit)
{
    float usual = mlt_chance_value(s->of_draft);
    double rate;
    if (s->always) return true;
    for (int32_t i = s->n_proposed; i < limit; i++)
        s->chance[i] = usual;
    return mlt_pace_choose(&s->pace, s->chance, limit, s->pace.propose, &rate) > s->n_proposed;
}

static void ask_model(struct mlt_speculation *s, const millet_session *session, int32_t limit)
{
    millet_session *draft = s->draft;
    s->n_proposed = s->n_taken = 0;
    if (!bring_up_to_date(s, mlt_session_tokens(session, s->sequence), s->length)) return;
    s->from_draft = true;
    mlt_sampler_follow(draft->sampler, session->sampler);
    while (s->n_proposed < limit) {
        int32_t token, i = s->n_proposed;
        const float *logits = mlt_session_compute(draft, s->sequence, NULL, 0);
        if (millet_sampler_sample(draft->sampler, logits, &token, NULL) != MILLET_OK) break;
        if (token >= s->n_vocab) break;
        s->proposed[i] = token;
        s->kind[i] = kind_of(s, logits, token);
        s->chance[i] = mlt_chance_value(*s->kind[i]);
        s->n_proposed++;
        if (!is_more_worth_while(s, limit)) break;
        if (s->n_proposed < limit) mlt_session_append(draft, s->sequence, &token, 1);
    }
    double rate;
    s->n_taken = s->n_proposed;
    if (!s->always) s->n_taken = mlt_pace_choose(&s->pace, s->chance, s->n_proposed, s->pace.propose, &rate);
    double now = mlt_clock_seconds();
    s->draft_seconds = now - s->began;
    s->began = now;
    mlt_pace_learn_propose(&s->pace, s->behind, s->n_proposed, s->draft_seconds);
}

/*
 * Before the draft model reads a whole text, the first few tokens show whether it is quick enough to be of
 * use: of these the last is timed, when the others have brought the weights near.
 */
static void try_speed(struct mlt_speculation *s, const int32_t *tokens)
{
    enum { TRIED = 8 };
    if (s->pace.propose > 0 || s->draft->length[s->sequence] > 0 || s->length < 2 * TRIED) return;
    if (!bring_up_to_date(s, tokens, TRIED - 1)) return;
    mlt_session_compute(s->draft, s->sequence, NULL, 0);
    double began = mlt_clock_seconds();
    if (!bring_up_to_date(s, tokens, TRIED)) return;
    mlt_session_compute(s->draft, s->sequence, NULL, 0);
    mlt_pace_learn_propose(&s->pace, 1, 1, mlt_clock_seconds() - began);
}

/* What the draft model is expected to reach with the usual luck. */
static double draft_rate(struct mlt_speculation *s, int32_t limit)
{
    double rate;
    float chance[MLT_MAX_DRAFT];
    for (int32_t i = 0; i < limit; i++)
        chance[i] = mlt_chance_value(s->of_draft);
    mlt_pace_choose(&s->pace, chance, limit, s->pace.propose, &rate);
    return rate;
}

int32_t mlt_speculation_propose(struct mlt_speculation *s, const millet_session *session, int32_t room,
                                const int32_t **proposed)
{
    const int32_t *tokens = mlt_session_tokens(session, s->sequence);
    int32_t limit = MLT_MIN(s->n_draft, room);
    s->length = session->length[s->sequence];
    s->n_proposed = s->n_taken = s->n_chosen = s->n_right = 0;
    s->from_draft = false;
    s->draft_seconds = 0;
    s->pending = s->length - mlt_forward_length(session->forward, s->sequence);
    s->timed = s->pending == 1;
    s->began = mlt_clock_seconds();
    *proposed = s->proposed;
    if (s->lookup) mlt_ngram_extend(&s->index, tokens, s->length);
    if (!s->timed || limit <= 0) return 0;
    double rate = 0;
    if (s->lookup) look_up(s, tokens, limit, &rate);
    if (s->draft && !s->foreign && (s->n_taken == 0 || (s->pace.profit > 0 && draft_rate(s, limit) > rate))) {
        int32_t reach = MLT_MIN(limit, s->draft->options.n_ctx - s->length);
        if (reach > 0 && !s->always) try_speed(s, tokens);
        s->behind = s->length - s->draft->length[s->sequence];
        float usual = mlt_chance_value(s->of_draft);
        if (reach > 0 && (s->always || mlt_pace_wants_model(&s->pace, usual, reach, s->behind)))
            ask_model(s, session, reach);
    }
    return s->n_taken;
}

void mlt_speculation_computed(struct mlt_speculation *s)
{
    s->step_seconds = mlt_clock_seconds() - s->began;
    if (s->timed)
        mlt_pace_learn_step(&s->pace, s->n_taken + 1, s->step_seconds);
    else
        mlt_pace_learn_prompt(&s->pace, s->pending, s->step_seconds);
}

bool mlt_speculation_chosen(struct mlt_speculation *s, int32_t token)
{
    int32_t i = s->n_chosen++;
    if (i >= s->n_proposed) return false;
    bool right = s->proposed[i] == token;
    mlt_chance_learn(s->kind[i], right);
    if (s->from_draft) mlt_chance_learn(&s->of_draft, right);
    s->n_right += right;
    s->accepted += right && i < s->n_taken;
    return right && i < s->n_taken;
}

void mlt_speculation_end(struct mlt_speculation *s, const millet_session *session)
{
    s->drafted += s->n_taken;
    if (!s->draft) return;
    int32_t length = MLT_MIN(s->draft->length[s->sequence], s->length + s->n_right);
    length = MLT_MIN(length, session->length[s->sequence]);
    millet_sequence_truncate(s->draft, s->sequence, length, NULL);
    if (!s->timed) return;
    double reading = MLT_MAX(s->draft_seconds - s->pace.propose * s->n_proposed, 0);
    mlt_pace_learn_round(&s->pace, s->n_chosen, s->step_seconds, s->draft_seconds, reading);
}

void mlt_speculation_counts(const struct mlt_speculation *s, int32_t *drafted, int32_t *accepted)
{
    *drafted = s->drafted;
    *accepted = s->accepted;
}
