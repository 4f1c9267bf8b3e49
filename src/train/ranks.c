/*
 * Sums and copies among ranks over point-to-point messages.
 *
 * A reduction is the direct one: every rank sends its values of a share to the owner, which adds them up. The
 * shares are cut into pieces; while a piece is added, the next is under way.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "train/ranks.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

/* Floats of a piece: 256 KB, so that what is added is in the cache. */
enum { PIECE = 1 << 16, GROUPS = MLT_TRANSPORT_GROUPS, MOST_JOBS = 32 };

enum job_kind { REDUCE, GATHER, COLLECT, SUM, BROADCAST, AGREE };

struct job {
    enum job_kind kind;
    float *values, *mine;
    const struct mlt_share *shares;
    size_t n; /* shares, sums or bytes */
    double *sums;
    void *bytes;
};

/* Where an owner's shares are cut next. */
struct cursor {
    size_t share;
    int64_t at;
};

struct millet_ranks {
    millet_allocator allocator;
    struct mlt_transport transport;
    float *pieces;          /* [GROUPS][size - 1][PIECE] from the other ranks */
    double *sums;           /* [size][MLT_RANKS_MOST_SUMS] */
    millet_error *errors;   /* [size] */
    struct cursor *cursors; /* [size] */
    int32_t speaker;

    /* Jobs: a ring from `first`; the thread takes them in order. */
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t more, less;
    struct job jobs[MOST_JOBS];
    size_t first, n_jobs;
    bool stop, started;
    bool lost; /* a transfer has failed, as `error` says */
    millet_error error;
};

/* ---- Pieces ---- */

static bool next_piece(const struct job *job, int32_t owner, struct cursor *c, struct mlt_share *piece)
{
    for (; c->share < job->n; c->share++, c->at = 0) {
        const struct mlt_share *share = &job->shares[c->share];
        if (share->owner != owner || c->at == share->count) continue;
        *piece = (struct mlt_share){share->begin + c->at, MLT_MIN(share->count - c->at, PIECE), owner};
        c->at += piece->count;
        return true;
    }
    return false;
}

/* What rank `from` has sent of a piece. */
static float *place_of(const millet_ranks *r, int group, int32_t from)
{
    int64_t others = r->transport.size - 1, index = from - (from > r->transport.rank);
    return r->pieces + (group * others + index) * PIECE;
}

static millet_status send_floats(millet_ranks *r, int32_t to, const float *values, int64_t count, int group,
                                 millet_error *err)
{
    return r->transport.send(r->transport.context, to, values, (size_t)count * sizeof *values, group, err);
}

static millet_status receive_floats(millet_ranks *r, int32_t from, float *values, int64_t count, int group,
                                    millet_error *err)
{
    return r->transport.receive(r->transport.context, from, values, (size_t)count * sizeof *values, group,
                                err);
}

static millet_status wait_for(millet_ranks *r, int group, millet_error *err)
{
    return r->transport.wait(r->transport.context, group, &r->speaker, err);
}

/* own[i] = the sum over all ranks, in their order. */
static void add_up(millet_ranks *r, int group, float *own, int64_t count)
{
    enum { BLOCK = 1024 };
    float sum[BLOCK];
    for (int64_t at = 0; at < count; at += BLOCK) {
        int64_t n = MLT_MIN(count - at, (int64_t)BLOCK);
        for (int32_t rank = 0; rank < r->transport.size; rank++) {
            const float *x = (rank == r->transport.rank ? own : place_of(r, group, rank)) + at;
            for (int64_t i = 0; i < n; i++)
                sum[i] = rank ? sum[i] + x[i] : x[i];
        }
        memcpy(own + at, sum, (size_t)n * sizeof *sum);
    }
}

/* Starts the transfers of the next piece of each owner. *mine is this rank's own, empty where there is none;
 * *any: whether there was one at all. */
static millet_status start_pieces(millet_ranks *r, const struct job *job, int group, struct mlt_share *mine,
                                  bool *any, millet_error *err)
{
    int32_t size = r->transport.size, me = r->transport.rank;
    bool reduce = job->kind == REDUCE;
    struct mlt_share piece;
    *mine = (struct mlt_share){0};
    *any = false;
    for (int32_t owner = 0; owner < size; owner++) {
        if (!next_piece(job, owner, &r->cursors[owner], &piece)) continue;
        float *values = job->values + piece.begin;
        *any = true;
        if (owner != me) {
            MLT_TRY(reduce ? send_floats(r, owner, values, piece.count, group, err)
                           : receive_floats(r, owner, values, piece.count, group, err));
            continue;
        }
        *mine = piece;
        for (int32_t rank = 0; rank < size; rank++) {
            if (rank == me) continue;
            MLT_TRY(reduce ? receive_floats(r, rank, place_of(r, group, rank), piece.count, group, err)
                           : send_floats(r, rank, values, piece.count, group, err));
        }
    }
    return MILLET_OK;
}

static millet_status reduce_or_gather(millet_ranks *r, const struct job *job, millet_error *err)
{
    struct mlt_share mine[GROUPS] = {{0}};
    bool any = true, before = false;
    memset(r->cursors, 0, (size_t)r->transport.size * sizeof *r->cursors);
    for (int group = 0; any; group = 1 - group) {
        MLT_TRY(start_pieces(r, job, group, &mine[group], &any, err));
        if (before) {
            const struct mlt_share *done = &mine[1 - group];
            MLT_TRY(wait_for(r, 1 - group, err));
            if (job->kind == REDUCE) add_up(r, 1 - group, job->values + done->begin, done->count);
        }
        before = true;
    }
    return MILLET_OK; /* the last round had no piece to wait for */
}

static millet_status collect(millet_ranks *r, const struct job *job, millet_error *err)
{
    for (size_t i = 0; i < job->n; i++) {
        const struct mlt_share *share = &job->shares[i];
        bool mine = share->owner == r->transport.rank;
        if (r->transport.rank == 0 && mine)
            memcpy(job->values + share->begin, job->mine, (size_t)share->count * sizeof(float));
        if (r->transport.rank == 0 ? mine : !mine) continue;
        for (int64_t at = 0; at < share->count; at += PIECE) {
            int64_t count = MLT_MIN(share->count - at, (int64_t)PIECE);
            if (mine)
                MLT_TRY(send_floats(r, 0, job->mine + at, count, 0, err));
            else
                MLT_TRY(receive_floats(r, share->owner, job->values + share->begin + at, count, 0, err));
            MLT_TRY(wait_for(r, 0, err));
        }
    }
    return MILLET_OK;
}

/* ---- Through rank 0 ---- */

/* Rank 0 gets what each has at `own`, as all[rank]. */
static millet_status to_first(millet_ranks *r, const void *own, void *all, size_t size, millet_error *err)
{
    struct mlt_transport *t = &r->transport;
    if (t->rank) {
        MLT_TRY(t->send(t->context, 0, own, size, 0, err));
    } else {
        memcpy(all, own, size);
        for (int32_t rank = 1; rank < t->size; rank++)
            MLT_TRY(t->receive(t->context, rank, (char *)all + (size_t)rank * size, size, 0, err));
    }
    return wait_for(r, 0, err);
}

static millet_status from_first(millet_ranks *r, void *bytes, size_t size, millet_error *err)
{
    struct mlt_transport *t = &r->transport;
    if (t->rank) {
        MLT_TRY(t->receive(t->context, 0, bytes, size, 0, err));
    } else {
        for (int32_t rank = 1; rank < t->size; rank++)
            MLT_TRY(t->send(t->context, rank, bytes, size, 0, err));
    }
    return wait_for(r, 0, err);
}

static millet_status sum(millet_ranks *r, const struct job *job, millet_error *err)
{
    size_t n = job->n;
    MLT_TRY(to_first(r, job->sums, r->sums, n * sizeof *job->sums, err));
    for (size_t i = 0; r->transport.rank == 0 && i < n; i++) {
        job->sums[i] = r->sums[i];
        for (int32_t rank = 1; rank < r->transport.size; rank++)
            job->sums[i] += r->sums[(size_t)rank * n + i];
    }
    return from_first(r, job->sums, n * sizeof *job->sums, err);
}

/* The first error becomes everybody's. */
static millet_status agree(millet_ranks *r, const struct job *job, millet_error *err)
{
    millet_error *own = job->bytes;
    MLT_TRY(to_first(r, own, r->errors, sizeof *own, err));
    for (int32_t rank = 0; r->transport.rank == 0 && rank < r->transport.size; rank++) {
        if (r->errors[rank].status == MILLET_OK) continue;
        size_t length;
        *own = r->errors[rank];
        length = strlen(own->message);
        if (rank)
            snprintf(own->message + length, sizeof own->message - length, " (rank %d of %d)", rank,
                     r->transport.size);
        break;
    }
    return from_first(r, own, sizeof *own, err);
}

/* ---- The thread ---- */

static millet_status carry_out(millet_ranks *r, const struct job *job, millet_error *err)
{
    switch (job->kind) {
    case REDUCE:
    case GATHER: return reduce_or_gather(r, job, err);
    case COLLECT: return collect(r, job, err);
    case SUM: return sum(r, job, err);
    case BROADCAST: return from_first(r, job->bytes, job->n, err);
    case AGREE: return agree(r, job, err);
    }
    return MILLET_OK;
}

static void *run(void *argument)
{
    millet_ranks *r = argument;
    pthread_mutex_lock(&r->mutex);
    for (;;) {
        while (r->n_jobs == 0 && !r->stop)
            pthread_cond_wait(&r->more, &r->mutex);
        if (r->n_jobs == 0) break;
        struct job job = r->jobs[r->first];
        if (!r->lost) {
            millet_error error;
            pthread_mutex_unlock(&r->mutex);
            millet_status status = carry_out(r, &job, &error);
            pthread_mutex_lock(&r->mutex);
            r->lost = status != MILLET_OK;
            if (r->lost) r->error = error;
        }
        r->first = (r->first + 1) % MOST_JOBS;
        r->n_jobs--;
        pthread_cond_signal(&r->less);
    }
    pthread_mutex_unlock(&r->mutex);
    return NULL;
}

static void start(millet_ranks *r, struct job job)
{
    if (!r) return;
    pthread_mutex_lock(&r->mutex);
    while (r->n_jobs == MOST_JOBS)
        pthread_cond_wait(&r->less, &r->mutex);
    r->jobs[(r->first + r->n_jobs++) % MOST_JOBS] = job;
    pthread_cond_signal(&r->more);
    pthread_mutex_unlock(&r->mutex);
}

millet_status mlt_ranks_wait(millet_ranks *r, millet_error *err)
{
    if (!r) return MILLET_OK;
    pthread_mutex_lock(&r->mutex);
    while (r->n_jobs)
        pthread_cond_wait(&r->less, &r->mutex);
    if (r->lost && err) *err = r->error;
    millet_status status = r->lost ? r->error.status : MILLET_OK;
    pthread_mutex_unlock(&r->mutex);
    return status;
}

/* ---- Calls ---- */

void mlt_ranks_start_reduce(millet_ranks *r, float *values, const struct mlt_share *shares, size_t n)
{
    start(r, (struct job){.kind = REDUCE, .values = values, .shares = shares, .n = n});
}

void mlt_ranks_start_gather(millet_ranks *r, float *values, const struct mlt_share *shares, size_t n)
{
    start(r, (struct job){.kind = GATHER, .values = values, .shares = shares, .n = n});
}

millet_status mlt_ranks_collect(millet_ranks *r, float *mine, float *out, const struct mlt_share *shares,
                                size_t n, millet_error *err)
{
    start(r, (struct job){.kind = COLLECT, .values = out, .mine = mine, .shares = shares, .n = n});
    return mlt_ranks_wait(r, err);
}

millet_status mlt_ranks_sum(millet_ranks *r, double *values, size_t n, millet_error *err)
{
    start(r, (struct job){.kind = SUM, .sums = values, .n = n});
    return mlt_ranks_wait(r, err);
}

millet_status mlt_ranks_broadcast(millet_ranks *r, void *bytes, size_t size, millet_error *err)
{
    start(r, (struct job){.kind = BROADCAST, .bytes = bytes, .n = size});
    return mlt_ranks_wait(r, err);
}

millet_status millet_ranks_agree(millet_ranks *r, millet_status status, millet_error *err)
{
    if (!r) return status;
    millet_error own = {.status = MILLET_OK};
    if (status != MILLET_OK) {
        if (err)
            own = *err;
        else
            mlt_fail(&own, status, "%s", millet_status_text(status));
        own.status = status;
    }
    start(r, (struct job){.kind = AGREE, .bytes = &own});
    status = mlt_ranks_wait(r, err);
    if (status != MILLET_OK) return status;
    if (own.status != MILLET_OK && err) *err = own;
    return own.status;
}

int32_t millet_ranks_rank(const millet_ranks *r)
{
    return r ? r->transport.rank : 0;
}

int32_t millet_ranks_size(const millet_ranks *r)
{
    return r ? r->transport.size : 1;
}

int32_t mlt_ranks_threads(const millet_ranks *r)
{
    return r ? r->transport.n_threads : 0;
}

bool millet_ranks_speaks(const millet_ranks *r)
{
    return !r || r->transport.rank == r->speaker;
}

/* ---- Opening ---- */

static size_t others(int32_t size)
{
    return (size_t)GROUPS * (size_t)(size - 1) * PIECE;
}

uint64_t mlt_ranks_bytes(int32_t size)
{
    if (size < 2) return 0;
    return others(size) * sizeof(float) +
           (uint64_t)size *
               (MLT_RANKS_MOST_SUMS * sizeof(double) + sizeof(millet_error) + sizeof(struct cursor)) +
           sizeof(millet_ranks);
}

static millet_status fill(millet_ranks *r, millet_error *err)
{
    size_t size = (size_t)r->transport.size;
    r->pieces = mlt_alloc(&r->allocator, others(r->transport.size), sizeof *r->pieces, err);
    r->sums = mlt_alloc(&r->allocator, size, MLT_RANKS_MOST_SUMS * sizeof *r->sums, err);
    r->errors = mlt_alloc(&r->allocator, size, sizeof *r->errors, err);
    r->cursors = mlt_alloc(&r->allocator, size, sizeof *r->cursors, err);
    if (!r->pieces || !r->sums || !r->errors || !r->cursors) return MILLET_NO_MEMORY;
    pthread_mutex_init(&r->mutex, NULL);
    pthread_cond_init(&r->more, NULL);
    pthread_cond_init(&r->less, NULL);
    r->started = pthread_create(&r->thread, NULL, run, r) == 0;
    return r->started ? MILLET_OK : mlt_fail(err, MILLET_NO_MEMORY, "no thread for the exchange of ranks");
}

millet_status mlt_ranks_open(const millet_allocator *allocator, const struct mlt_transport *transport,
                             millet_ranks **out, millet_error *err)
{
    *out = NULL;
    millet_ranks *r = mlt_alloc_zero(allocator, 1, sizeof *r, err);
    if (!r) {
        transport->close(transport->context, true);
        return MILLET_NO_MEMORY;
    }
    r->allocator = *allocator;
    r->transport = *transport;
    *out = r;
    millet_status status = fill(r, err);
    if (status != MILLET_OK) {
        r->lost = true;
        millet_ranks_close(out);
    }
    return status;
}

void millet_ranks_close(millet_ranks **handle)
{
    millet_ranks *r = *handle;
    if (!r) return;
    millet_allocator allocator = r->allocator;
    if (r->started) {
        pthread_mutex_lock(&r->mutex);
        r->stop = true;
        pthread_cond_signal(&r->more);
        pthread_mutex_unlock(&r->mutex);
        pthread_join(r->thread, NULL);
        pthread_mutex_destroy(&r->mutex);
        pthread_cond_destroy(&r->more);
        pthread_cond_destroy(&r->less);
    }
    r->transport.close(r->transport.context, r->lost);
    mlt_free(&allocator, r->pieces);
    mlt_free(&allocator, r->sums);
    mlt_free(&allocator, r->errors);
    mlt_free(&allocator, r->cursors);
    mlt_free(&allocator, r);
    *handle = NULL;
}
