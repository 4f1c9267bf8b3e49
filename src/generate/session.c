/* Sessions: memory, batches, sequences. SPDX-License-Identifier: Apache-2.0 */
#include "generate/session.h"

#include <string.h>

enum { DEFAULT_CTX = 4096, DEFAULT_BATCH = 512 };

millet_session_options millet_session_options_default(void)
{
    return (millet_session_options){0};
}

/* A session's memory, before there is any: definite options and where each array lies in the block. */
struct plan {
    struct mlt_forward_options options;
    millet_session_options speculation; /* definite; n_draft 0: none */
    struct mlt_sampler_size sampler;
    size_t held_size;
    uint64_t tokens, length, given, batch, logits, row, held, block; /* offsets; block: the total */
};

static millet_status bad_option(millet_error *err, const char *name, int32_t value, const char *range)
{
    return mlt_fail_at(err, MILLET_BAD_ARGUMENT, NULL, name, MILLET_NO_OFFSET,
                       "the session's %s is %d; it must be %s", name, value, range);
}

/* Makes every option definite. */
static millet_status settle_options(const millet_model *model, const millet_session_options *asked,
                                    struct mlt_forward_options *out, millet_error *err)
{
    const struct mlt_config *config = &model->config;
    if (asked->n_ctx < 0)
        return bad_option(err, "n_ctx", asked->n_ctx, "0 (automatic) or a number of tokens");
    if (asked->n_sequences < 0)
        return bad_option(err, "n_sequences", asked->n_sequences, "0 (one) or a number of sequences");
    if (asked->n_batch < 0)
        return bad_option(err, "n_batch", asked->n_batch, "0 (automatic) or a number of tokens");
    if (asked->n_logits < 0)
        return bad_option(err, "n_logits", asked->n_logits, "0 (n_sequences) or a number of rows");
    if (asked->n_threads < 0 || asked->n_threads > MLT_MAX_THREADS)
        return bad_option(err, "n_threads", asked->n_threads, "0 (all CPUs of the process) to 256");
    static const mlt_dtype caches[] = {[MILLET_CACHE_F16] = MLT_F16,
                                       [MILLET_CACHE_F32] = MLT_F32,
                                       [MILLET_CACHE_Q8_0] = MLT_Q8_0,
                                       [MILLET_CACHE_Q4] = MLT_IQ4_NL};
    if ((unsigned)asked->cache_type >= MLT_COUNT(caches))
        return bad_option(err, "cache_type", (int32_t)asked->cache_type,
                          "MILLET_CACHE_F16, MILLET_CACHE_F32, MILLET_CACHE_Q8_0 or MILLET_CACHE_Q4");
    int32_t trained = config->n_ctx_train > 0 ? config->n_ctx_train : DEFAULT_CTX;
    if (config->position_embd && asked->n_ctx > trained)
        return mlt_fail_at(
            err, MILLET_BAD_ARGUMENT, NULL, "n_ctx", MILLET_NO_OFFSET,
            "the session's n_ctx is %d, but the model has learned positions for %d tokens only", asked->n_ctx,
            trained);
    *out = (struct mlt_forward_options){
        .n_ctx = asked->n_ctx ? asked->n_ctx : MLT_MIN(trained, DEFAULT_CTX),
        .n_sequences = asked->n_sequences ? asked->n_sequences : 1,
        .n_threads = asked->n_threads ? asked->n_threads : mlt_cpu_count(),
        .cache = caches[asked->cache_type],
        .exact_activations = asked->exact_activations,
        .adapters = asked->adapters,
        .n_adapters = asked->n_adapters,
    };
    out->n_batch = asked->n_batch ? asked->n_batch : MLT_MIN(DEFAULT_BATCH, out->n_ctx);
    /* More tokens than the cache has room for are never computed together. */
    if ((int64_t)out->n_ctx * out->n_sequences < out->n_batch) out->n_batch = out->n_ctx * out->n_sequences;
    out->n_logits = asked->n_logits ? asked->n_logits : out->n_sequences;
    return MILLET_OK;
}

/* Appends an array of rows x columns elements to the block; false when the block outgrows the address space.
 */
static bool place(struct plan *plan, uint64_t rows, uint64_t columns, uint64_t size, uint64_t *offset)
{
    uint64_t bytes;
    *offset = plan->block;
    return mlt_mul_u64(rows, columns, &bytes) && mlt_mul_u64(bytes, size, &bytes) &&
           bytes <= UINT64_MAX / 2 &&
           mlt_add_u64(plan->block, mlt_round_up(bytes, MLT_ALIGNMENT), &plan->block);
}

static millet_status make_plan(const millet_model *model, const millet_session_options *asked,
                               struct plan *plan, millet_error *err)
{
    millet_session_options defaults = millet_session_options_default();
    *plan = (struct plan){.block = mlt_round_up(sizeof(millet_session), MLT_ALIGNMENT)};
    struct mlt_forward_options *options = &plan->options;
    if (!asked) asked = &defaults;
    MLT_TRY(settle_options(model, asked, options, err));
    plan->speculation = *asked;
    MLT_TRY(mlt_speculation_check(model, asked, &plan->speculation.n_draft, err));
    if (plan->speculation.n_draft) {
        plan->speculation.n_ctx = options->n_ctx;
        plan->speculation.n_sequences = options->n_sequences;
        plan->speculation.n_batch = options->n_batch;
        plan->speculation.n_threads = options->n_threads;
        options->n_logits = MLT_MAX(options->n_logits, plan->speculation.n_draft + 1);
    }
    uint64_t n_sequences = (uint64_t)options->n_sequences, n_vocab = (uint64_t)model->config.n_vocab;
    if (model->tokenizer)
        plan->held_size = MLT_MAX_STOP_LENGTH + mlt_tokenizer_max_piece(model->tokenizer) + MLT_MAX_FINISH;
    plan->sampler = mlt_sampler_size_any(model->config.n_vocab, options->n_ctx);
    bool fits = place(plan, n_sequences, (uint64_t)options->n_ctx, sizeof(int32_t), &plan->tokens) &&
                place(plan, n_sequences, 1, sizeof(int32_t), &plan->length) &&
                place(plan, n_sequences, 1, sizeof(int32_t), &plan->given) &&
                place(plan, (uint64_t)options->n_batch, 1, sizeof(millet_item), &plan->batch) &&
                place(plan, (uint64_t)options->n_logits, n_vocab, sizeof(float), &plan->logits) &&
                place(plan, n_vocab, 1, sizeof(float), &plan->row) &&
                place(plan, plan->held_size, 1, 1, &plan->held) && plan->block <= SIZE_MAX;
    if (!fits)
        return mlt_fail(err, MILLET_BAD_ARGUMENT,
                        "%d sequences of %d tokens with %d rows of logits need more than the address space; "
                        "ask for less",
                        options->n_sequences, options->n_ctx, options->n_logits);
    return MILLET_OK;
}

static uint64_t weight_bytes(const millet_model *model, const struct mlt_forward_options *options)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < model->checkpoint->n_tensors; i++)
        bytes += model->checkpoint->tensors[i].bytes;
    for (int32_t i = 0; i < options->n_adapters; i++)
        bytes += options->adapters[i].adapter->file.bytes;
    return bytes;
}

millet_status mlt_session_estimate(const millet_model *model, const millet_session_options *options,
                                   bool lent_threads, millet_memory *memory, millet_error *err)
{
    struct plan plan;
    struct mlt_forward_memory forward;
    millet_memory speculation = {0};
    MLT_TRY(make_plan(model, options, &plan, err));
    MLT_TRY(mlt_forward_estimate(model, &plan.options, &forward, err));
    if (lent_threads) forward.workspace -= forward.threads;
    if (plan.speculation.n_draft)
        MLT_TRY(mlt_speculation_estimate(model, &plan.speculation, &speculation, err));
    *memory = (millet_memory){
        .weights = weight_bytes(model, &plan.options) + speculation.weights,
        .cache = forward.cache + speculation.cache,
        .workspace = forward.workspace + plan.block + mlt_sampler_bytes(plan.sampler) + speculation.workspace,
        .n_ctx = plan.options.n_ctx,
        .n_batch = plan.options.n_batch,
        .n_threads = plan.options.n_threads,
    };
    memory->total = memory->cache + memory->workspace;
    return MILLET_OK;
}

millet_status millet_estimate(const millet_model *model, const millet_session_options *options,
                              millet_memory *memory, millet_error *err)
{
    return mlt_session_estimate(model, options, false, memory, err);
}

millet_status mlt_session_open_with(const millet_model *model, const millet_session_options *options,
                                    struct mlt_thread_pool *pool, millet_session **out, millet_error *err)
{
    *out = NULL;
    struct plan plan;
    MLT_TRY(make_plan(model, options, &plan, err));
    plan.options.pool = pool;
    const millet_allocator *allocator =
        options && options->allocator ? options->allocator : &model->allocator;
    uint8_t *block = mlt_alloc(allocator, 1, (size_t)plan.block, err);
    if (!block) return MILLET_NO_MEMORY;
    millet_session *session = (millet_session *)(void *)block;
    *session = (millet_session){
        .allocator = *allocator,
        .model = model,
        .options = plan.options,
        .tokens = (int32_t *)(void *)(block + plan.tokens),
        .length = (int32_t *)(void *)(block + plan.length),
        .given = (int32_t *)(void *)(block + plan.given),
        .batch = (millet_item *)(void *)(block + plan.batch),
        .logits = (float *)(void *)(block + plan.logits),
        .row = (float *)(void *)(block + plan.row),
        .held = (char *)(block + plan.held),
        .held_size = plan.held_size,
    };
    memset(session->length, 0, sizeof(int32_t) * (size_t)plan.options.n_sequences);
    millet_status status = mlt_forward_open(allocator, model, &plan.options, &session->forward, err);
    if (status == MILLET_OK) status = mlt_sampler_create(allocator, plan.sampler, &session->sampler, err);
    if (status == MILLET_OK && plan.speculation.n_draft)
        status = mlt_speculation_open(allocator, model, &plan.speculation, mlt_forward_pool(session->forward),
                                      &session->speculation, err);
    session->options.adapters = NULL; /* the caller's list; the pass has its own */
    if (status != MILLET_OK) millet_session_close(&session);
    *out = session;
    return status;
}

millet_status millet_session_open(const millet_model *model, const millet_session_options *options,
                                  millet_session **session, millet_error *err)
{
    return mlt_session_open_with(model, options, NULL, session, err);
}

void millet_session_close(millet_session **handle)
{
    millet_session *session = *handle;
    if (!session) return;
    mlt_speculation_close(&session->speculation); /* before the threads that it uses */
    millet_sampler_close(&session->sampler);
    mlt_forward_close(&session->forward);
    millet_allocator allocator = session->allocator;
    mlt_free(&allocator, session);
    *handle = NULL;
}

/* ---- Computing ------------------------------------------------------------------------------------------
 */

/* A computation at hand: a batch that is filled and handed to the forward pass whenever it is full. */
struct computation {
    millet_session *session;
    int32_t n, wanted; /* items in the batch, and rows of logits that they ask for */
};

static void flush(struct computation *c)
{
    millet_session *session = c->session;
    if (c->n == 0) return;
    float *logits = session->logits + (size_t)session->n_rows * (size_t)session->model->config.n_vocab;
    mlt_forward_run(session->forward, session->batch, c->n, c->wanted ? logits : NULL);
    session->n_rows += c->wanted;
    c->n = c->wanted = 0;
}

static void push(struct computation *c, millet_item item)
{
    c->session->batch[c->n++] = item;
    c->wanted += item.logits;
    if (c->n == c->session->options.n_batch) flush(c);
}

/* Puts tokens of a sequence up to `end` that are not computed into batches. */
static void catch_up(struct computation *c, int32_t sequence, int32_t end)
{
    int32_t *given = &c->session->given[sequence];
    const int32_t *tokens = mlt_session_tokens(c->session, sequence);
    for (; *given < end; ++*given)
        push(c, (millet_item){tokens[*given], sequence, false});
}

static millet_status check_items(millet_session *session, const millet_item *items, int32_t count,
                                 millet_error *err)
{
    const struct mlt_forward_options *options = &session->options;
    int32_t n_vocab = session->model->config.n_vocab, n_logits = 0;
    if (count < 0) return mlt_fail(err, MILLET_BAD_ARGUMENT, "%d items; 0 or more are possible", count);
    int32_t *added = session->given;
    memset(added, 0, sizeof(int32_t) * (size_t)options->n_sequences);
    for (int32_t i = 0; i < count; i++) {
        const millet_item *item = &items[i];
        if (item->token < 0 || item->token >= n_vocab)
            return mlt_fail(err, MILLET_BAD_ARGUMENT, "item %d has token %d; the vocabulary has %d tokens", i,
                            item->token, n_vocab);
        if (item->sequence < 0 || item->sequence >= options->n_sequences)
            return mlt_fail(err, MILLET_BAD_ARGUMENT,
                            "item %d belongs to sequence %d; the session was opened with n_sequences %d", i,
                            item->sequence, options->n_sequences);
        n_logits += item->logits;
        added[item->sequence]++;
    }
    if (n_logits > options->n_logits)
        return mlt_fail(err, MILLET_BAD_ARGUMENT,
                        "%d rows of logits are wanted; the session was opened with n_logits %d", n_logits,
                        options->n_logits);
    for (int32_t s = 0; s < options->n_sequences; s++)
        if (added[s] > options->n_ctx - session->length[s])
            return mlt_fail(err, MILLET_CONTEXT_FULL,
                            "sequence %d holds %d of %d tokens: %d more do not fit; truncate it, or open the "
                            "session with a larger n_ctx",
                            s, session->length[s], options->n_ctx, added[s]);
    return MILLET_OK;
}

millet_status millet_eval(millet_session *session, const millet_item *items, int32_t count, millet_error *err)
{
    MLT_TRY(check_items(session, items, count, err));
    for (int32_t s = 0; s < session->options.n_sequences; s++)
        session->given[s] = mlt_forward_length(session->forward, s);
    session->n_rows = 0;
    struct computation c = {.session = session};
    for (int32_t i = 0; i < count; i++) {
        int32_t sequence = items[i].sequence, *length = &session->length[sequence];
        catch_up(&c, sequence, *length);
        mlt_session_tokens(session, sequence)[(*length)++] = items[i].token;
        session->given[sequence]++;
        push(&c, items[i]);
    }
    flush(&c);
    return MILLET_OK;
}

millet_status millet_eval_prefix(millet_session *session, const millet_item *items, int32_t count,
                                 millet_error *err)
{
    MLT_TRY(check_items(session, items, count, err));
    if (count > session->options.n_batch)
        return mlt_fail(err, MILLET_BAD_ARGUMENT,
                        "%d tokens that see each other are computed together; the session was opened with "
                        "n_batch %d",
                        count, session->options.n_batch);
    for (int32_t s = 0; s < session->options.n_sequences; s++)
        session->given[s] = mlt_forward_length(session->forward, s);
    session->n_rows = 0;
    struct computation c = {.session = session};
    for (int32_t i = 0; i < count; i++) /* what is missing before them is computed first */
        catch_up(&c, items[i].sequence, session->length[items[i].sequence]);
    flush(&c);
    if (count == 0) return MILLET_OK;
    for (int32_t i = 0; i < count; i++) {
        mlt_session_append(session, items[i].sequence, &items[i].token, 1);
        session->n_rows += items[i].logits;
    }
    mlt_forward_run_prefix(session->forward, items, count, session->n_rows ? session->logits : NULL);
    return MILLET_OK;
}

const float *millet_logits(const millet_session *session, int32_t index)
{
    if (index < 0 || index >= session->n_rows) return NULL;
    return session->logits + (size_t)index * (size_t)session->model->config.n_vocab;
}

void mlt_session_append(millet_session *session, int32_t sequence, const int32_t *tokens, size_t count)
{
    if (count == 0) return;
    int32_t *length = &session->length[sequence];
    memcpy(mlt_session_tokens(session, sequence) + *length, tokens, count * sizeof *tokens);
    *length += (int32_t)count;
}

const float *mlt_session_compute(millet_session *session, int32_t sequence, const int32_t *ahead,
                                 int32_t n_ahead)
{
    int32_t length = session->length[sequence];
    /* The last token is computed again where only its logits are missing. */
    if (mlt_forward_length(session->forward, sequence) == length)
        mlt_forward_truncate(session->forward, sequence, length - 1);
    session->given[sequence] = mlt_forward_length(session->forward, sequence);
    session->n_rows = 0;
    struct computation c = {.session = session};
    catch_up(&c, sequence, length - 1);
    push(&c, (millet_item){mlt_session_tokens(session, sequence)[length - 1], sequence, true});
    for (int32_t i = 0; i < n_ahead; i++)
        push(&c, (millet_item){ahead[i], sequence, true});
    flush(&c);
    return session->logits;
}

void mlt_session_settle(millet_session *session, int32_t sequence, int32_t length)
{
    if (mlt_forward_length(session->forward, sequence) > length)
        mlt_forward_truncate(session->forward, sequence, length);
}

/* ---- Sequences ------------------------------------------------------------------------------------------
 */

static millet_status check_sequence(const millet_session *session, int32_t sequence, millet_error *err)
{
    if (sequence >= 0 && sequence < session->options.n_sequences) return MILLET_OK;
    return mlt_fail(err, MILLET_BAD_ARGUMENT, "sequence %d; the session was opened with n_sequences %d",
                    sequence, session->options.n_sequences);
}

int32_t millet_sequence_length(const millet_session *session, int32_t sequence)
{
    return check_sequence(session, sequence, NULL) == MILLET_OK ? session->length[sequence] : 0;
}

millet_status millet_sequence_truncate(millet_session *session, int32_t sequence, int32_t length,
                                       millet_error *err)
{
    MLT_TRY(check_sequence(session, sequence, err));
    if (length < 0 || length > session->length[sequence])
        return mlt_fail(err, MILLET_BAD_ARGUMENT, "sequence %d has %d tokens and cannot be cut to %d",
                        sequence, session->length[sequence], length);
    session->length[sequence] = length;
    mlt_session_settle(session, sequence, length);
    return MILLET_OK;
}

millet_status millet_sequence_copy(millet_session *session, int32_t from, int32_t to, millet_error *err)
{
    MLT_TRY(check_sequence(session, from, err));
    MLT_TRY(check_sequence(session, to, err));
    if (from == to) return MILLET_OK;
    memcpy(mlt_session_tokens(session, to), mlt_session_tokens(session, from),
           sizeof(int32_t) * (size_t)session->length[from]);
    session->length[to] = session->length[from];
    mlt_forward_copy(session->forward, from, to);
    if (session->speculation) mlt_speculation_copy(session->speculation, from, to);
    return MILLET_OK;
}
