/* millet_generate: prompt, token loop, log-probabilities, stop strings. SPDX-License-Identifier: Apache-2.0
 */
#include "base/clock.h"
#include "generate/grammar_mask.h"
#include "generate/logprob.h"
#include "generate/session.h"

millet_generate_options millet_generate_options_default(void)
{
    return (millet_generate_options){.sampler = millet_sampler_options_default()};
}

static millet_status check_options(const millet_session *session, const millet_generate_options *options,
                                   millet_error *err)
{
    MLT_TRY(mlt_sampler_check(&options->sampler, err));
    if (options->max_tokens < 0)
        return mlt_fail_at(err, MILLET_BAD_ARGUMENT, NULL, "max_tokens", MILLET_NO_OFFSET,
                           "max_tokens is %d; it must be 0 (no limit but the context) or more",
                           options->max_tokens);
    if (options->n_best < 0 || options->n_best > MLT_MAX_BEST)
        return mlt_fail_at(err, MILLET_BAD_ARGUMENT, NULL, "n_best", MILLET_NO_OFFSET,
                           "n_best is %d; 0 to %d alternatives can be reported", options->n_best,
                           MLT_MAX_BEST);
    if (options->sequence < 0 || options->sequence >= session->options.n_sequences)
        return mlt_fail_at(err, MILLET_BAD_ARGUMENT, NULL, "sequence", MILLET_NO_OFFSET,
                           "sequence %d; the session was opened with n_sequences %d", options->sequence,
                           session->options.n_sequences);
    if (!session->model->tokenizer)
        return mlt_fail(err, MILLET_UNSUPPORTED,
                        "the model has no tokenizer; use millet_eval with ids of your own");
    if (options->grammar && !mlt_grammar_is_for(options->grammar, session->model))
        return mlt_fail_at(err, MILLET_BAD_ARGUMENT, NULL, "grammar", MILLET_NO_OFFSET,
                           "the grammar was opened for another model");
    return MILLET_OK;
}

/* Appends the prompt's tokens to the sequence. On failure it is as before. */
static millet_status add_prompt(millet_session *session, const char *prompt, size_t length,
                                const millet_generate_options *options, int32_t *n_prompt, millet_error *err)
{
    const millet_model *model = session->model;
    int32_t before = session->length[options->sequence], *ids = NULL;
    size_t count = 0;
    MLT_TRY(mlt_tokenize(model->tokenizer, &session->allocator, prompt, length,
                         options->special ? MLT_TOKENIZE_SPECIAL : 0, &ids, &count, err));
    /* Not left to the tokenizer, which would add EOS too where the model has it. */
    bool add_bos = before == 0 && !options->no_bos && model->add_bos && model->bos >= 0 &&
                   !(count > 0 && ids[0] == model->bos);
    millet_status status = MILLET_OK;
    if (before == 0 && !add_bos && count == 0)
        status = mlt_fail(err, MILLET_BAD_ARGUMENT,
                          "the prompt is empty and the model has no token to begin with");
    else if (count + add_bos > (size_t)(session->options.n_ctx - before))
        status = mlt_fail(
            err, MILLET_CONTEXT_FULL,
            "the prompt has %zu tokens; sequence %d has room for %d of %d: shorten it, truncate "
            "the sequence, or open the session with a larger n_ctx",
            count + add_bos, options->sequence, session->options.n_ctx - before, session->options.n_ctx);
    if (status == MILLET_OK) {
        if (add_bos) mlt_session_append(session, options->sequence, &model->bos, 1);
        mlt_session_append(session, options->sequence, ids, count);
        *n_prompt = (int32_t)(count + add_bos);
    }
    mlt_free(&session->allocator, ids);
    return status;
}

/* ---- The loop -------------------------------------------------------------------------------------------
 */

struct generation {
    millet_session *session;
    const millet_generate_options *options;
    millet_piece_callback *callback;
    void *context;
    struct mlt_stop_filter filter;
    struct mlt_decode_state decode;
    millet_token_logprob best[MLT_MAX_BEST];
    bool stopped; /* by a stop string */
};

/* Gives out what is ready of the text held, with what is known of the token; false to stop. */
static bool give_out(struct generation *g, millet_piece piece, bool last)
{
    g->stopped = mlt_stop_scan(&g->filter, last, &piece.length);
    piece.text = g->filter.held;
    bool go_on = true;
    if (g->callback && (piece.token >= 0 || piece.length > 0)) go_on = g->callback(g->context, &piece);
    mlt_stop_drop(&g->filter, piece.length);
    return go_on;
}

/* Chooses and gives out one token. */
static millet_status next_token(struct generation *g, const float *logits, int32_t *token, bool *done,
                                millet_finish *finish, millet_error *err)
{
    millet_session *session = g->session;
    const millet_model *model = session->model;
    millet_grammar *grammar = g->options->grammar;
    millet_piece piece = {.best = g->best};
    const float *choice = logits;
    if (grammar) {
        MLT_TRY(mlt_grammar_mask(grammar, logits, session->row, err));
        choice = session->row;
    }
    millet_status status = millet_sampler_sample(session->sampler, choice, &piece.token, err);
    if (status != MILLET_OK) {
        mlt_error_in_file(err, model->checkpoint->path); /* nothing but NaN: the weights are damaged */
        return status;
    }
    if (g->callback) {
        int32_t n_vocab = model->config.n_vocab;
        struct mlt_log_scale scale = mlt_log_scale_of(mlt_kernels_default(), logits, session->row, n_vocab);
        piece.logprob = mlt_log_probability(&scale, logits[piece.token]);
        piece.n_best = mlt_find_best(logits, n_vocab, &scale, g->best, g->options->n_best);
    }
    *token = piece.token;
    bool end = (!g->options->ignore_end || grammar) && mlt_tokenizer_is_end(model->tokenizer, piece.token);
    bool sentence_ends = false;
    if (!end) {
        if (grammar) {
            MLT_TRY(millet_grammar_accept(grammar, piece.token, err));
            millet_grammar_complete(grammar, &sentence_ends);
        }
        mlt_session_append(session, g->options->sequence, &piece.token, 1);
        g->filter.n_held += mlt_decode_token(model->tokenizer, &g->decode, piece.token, false,
                                             g->filter.held + g->filter.n_held);
    }
    bool go_on = give_out(g, piece, false);
    *done = !go_on || end || sentence_ends || g->stopped;
    *finish = g->stopped ? MILLET_FINISH_STOP : !go_on ? MILLET_FINISH_CALLBACK : MILLET_FINISH_END;
    return MILLET_OK;
}

/*
 * One computation and the tokens that come of it, at least one and at most `room`; *computed gets the time in
 * between where it is not NULL.
 */
static millet_status round_of_tokens(struct generation *g, int32_t room, double *computed, int32_t *n_tokens,
                                     bool *done, millet_finish *finish, millet_error *err)
{
    millet_session *session = g->session;
    struct mlt_speculation *speculation = session->speculation;
    int32_t sequence = g->options->sequence, length = session->length[sequence], n_proposed = 0;
    const int32_t *proposed = NULL;
    if (speculation) n_proposed = mlt_speculation_propose(speculation, session, room - 1, &proposed);
    const float *logits = mlt_session_compute(session, sequence, proposed, n_proposed);
    if (speculation) mlt_speculation_computed(speculation);
    if (computed) *computed = mlt_clock_seconds();
    millet_status status = MILLET_OK;
    bool next_is_known = true;
    while (next_is_known && !*done) {
        int32_t token;
        status = next_token(g, logits, &token, done, finish, err);
        if (status != MILLET_OK) break;
        ++*n_tokens;
        logits += session->model->config.n_vocab;
        next_is_known = speculation && mlt_speculation_chosen(speculation, token);
    }
    if (speculation) mlt_speculation_end(speculation, session);
    /* All tokens but the last were among those proposed; the last will be computed when something follows. */
    mlt_session_settle(session, sequence, length + MLT_MAX(*n_tokens - 1, 0));
    return status;
}

millet_status millet_generate(millet_session *session, const char *prompt, size_t length,
                              const millet_generate_options *options, millet_piece_callback *callback,
                              void *context, millet_generation *result, millet_error *err)
{
    millet_generate_options defaults = millet_generate_options_default();
    if (!options) options = &defaults;
    struct generation g = {.session = session, .options = options, .callback = callback, .context = context};
    MLT_TRY(check_options(session, options, err));
    MLT_TRY(mlt_stop_init(&g.filter, options->stop, options->n_stop, session->held, err));

    double start = mlt_clock_seconds();
    millet_generation all = {.finish = MILLET_FINISH_LENGTH};
    MLT_TRY(add_prompt(session, prompt, length, options, &all.prompt_tokens, err));
    int32_t sequence = options->sequence, n_ctx = session->options.n_ctx;
    const int32_t *tokens = mlt_session_tokens(session, sequence);
    int32_t n_before = session->length[sequence];
    mlt_sampler_configure(session->sampler, &options->sampler);
    for (int32_t i = 0; i < n_before; i++)
        millet_sampler_accept(session->sampler, tokens[i]);
    if (session->speculation) mlt_speculation_start(session->speculation, session, sequence);
    /* The space that SentencePiece puts before a text belongs to the prompt, unless there is none. */
    g.decode.started = n_before > (tokens[0] == session->model->bos);

    double prompt_end = start;
    bool done = false;
    if (options->grammar) {
        millet_grammar_reset(options->grammar);
        if (millet_grammar_complete(options->grammar, &done) && done) all.finish = MILLET_FINISH_END;
    }
    while (!done && session->length[sequence] < n_ctx &&
           (options->max_tokens == 0 || all.generated_tokens < options->max_tokens)) {
        int32_t room = n_ctx - session->length[sequence], n = 0;
        if (options->max_tokens) room = MLT_MIN(room, options->max_tokens - all.generated_tokens);
        MLT_TRY(round_of_tokens(&g, room, all.generated_tokens == 0 ? &prompt_end : NULL, &n, &done,
                                &all.finish, err));
        all.generated_tokens += n;
    }
    if (session->speculation)
        mlt_speculation_counts(session->speculation, &all.drafted_tokens, &all.accepted_tokens);
    if (!done) all.finish = MILLET_FINISH_LENGTH;
    if (all.finish == MILLET_FINISH_END || all.finish == MILLET_FINISH_LENGTH) {
        g.filter.n_held += mlt_decode_finish(&g.decode, g.filter.held + g.filter.n_held);
        millet_piece rest = {.token = -1, .best = g.best};
        if (!give_out(&g, rest, true)) all.finish = MILLET_FINISH_CALLBACK;
        if (g.stopped) all.finish = MILLET_FINISH_STOP;
    }
    all.generate_seconds = mlt_clock_seconds() - prompt_end;
    all.prompt_seconds = prompt_end - start;
    if (result) *result = all;
    return MILLET_OK;
}
