/*
 * Several processes that train one model: sums and copies of parts of a block among them. Behind it is a
 * transport (transport.h); NULL for the ranks is a process alone, for which nothing has to be done.
 *
 * Each call is made by all ranks, in the same order. Those that `start` something return at once: a thread
 * carries them out in that order while the caller computes. Sums are taken in the order of the ranks, so that
 * the same number of them gives the same bits on every run, whatever the network does. When a rank is lost,
 * everything fails from then on.
 *
 * What is sent is as little as in any scheme: (size - 1) / size of a block each way for a reduction or a
 * gathering. Small sums go through rank 0, one message for each rank: meant for some tens of them.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_RANKS_H
#define MLT_RANKS_H

#include "millet/train.h"
#include "train/transport.h"

/* Takes over the transport (also when this fails). Errors: NO_MEMORY. */
millet_status mlt_ranks_open(const millet_allocator *allocator, const struct mlt_transport *transport,
                             millet_ranks **out, millet_error *err);
/* Bytes that mlt_ranks_open takes for so many ranks. */
uint64_t mlt_ranks_bytes(int32_t size);
/* Threads of this rank where nothing else is said. */
int32_t mlt_ranks_threads(const millet_ranks *ranks);

/* `count` items shared out evenly: those of a rank begin at *begin. At least one each where there are enough.
 */
static inline int64_t mlt_ranks_part(int64_t count, int32_t rank, int32_t size, int64_t *begin)
{
    *begin = count * rank / size;
    return count * (rank + 1) / size - *begin;
}

/* A part of a block of floats, and the rank that it belongs to. */
struct mlt_share {
    int64_t begin, count;
    int32_t owner;
};

/* The owner of each share gets the sum of all ranks' values there, in place. The others' values stay. Values
 * and shares must stay until mlt_ranks_wait. */
void mlt_ranks_start_reduce(millet_ranks *ranks, float *values, const struct mlt_share *shares, size_t n);
/* All ranks get the owner's values of each share, in place. */
void mlt_ranks_start_gather(millet_ranks *ranks, float *values, const struct mlt_share *shares, size_t n);
/* Until all that was started is done. IO where a rank was lost. */
millet_status mlt_ranks_wait(millet_ranks *ranks, millet_error *err);

/* Rank 0 gets all shares of `out`. `mine`: the values of this rank's only share. */
millet_status mlt_ranks_collect(millet_ranks *ranks, float *mine, float *out, const struct mlt_share *shares,
                                size_t n, millet_error *err);

enum { MLT_RANKS_MOST_SUMS = 16 };
/* values[i] becomes the sum over all ranks; n <= MLT_RANKS_MOST_SUMS. */
millet_status mlt_ranks_sum(millet_ranks *ranks, double *values, size_t n, millet_error *err);
/* All ranks get rank 0's bytes. */
millet_status mlt_ranks_broadcast(millet_ranks *ranks, void *bytes, size_t size, millet_error *err);

#endif
