/*
 * How bytes get from one rank to another: what MPI does for processes, and the tests' threads among
 * themselves.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_TRANSPORT_H
#define MLT_TRANSPORT_H

#include "base/memory.h"

/* Transfers are waited for in groups, of which this many can be under way. */
enum { MLT_TRANSPORT_GROUPS = 2 };

/*
 * Functions are called by one thread at a time. Messages between two ranks arrive in the order in which they
 * were sent; their sizes are known on both sides. Errors are IO.
 */
struct mlt_transport {
    void *context;
    int32_t rank, size;
    int32_t n_threads; /* that this rank should take for itself, so that all on a machine share its CPUs */
    /* Begin a transfer of a group. The bytes must stay until it is waited for. */
    millet_status (*send)(void *context, int32_t to, const void *bytes, size_t size, int group,
                          millet_error *err);
    millet_status (*receive)(void *context, int32_t from, void *bytes, size_t size, int group,
                             millet_error *err);
    /* Until all transfers of the group are done. Where a rank is lost this fails, and *speaker (not touched
     * else) is the first rank that is alive. */
    millet_status (*wait)(void *context, int group, int32_t *speaker, millet_error *err);
    /* `lost`: a call has failed, there is nobody to wait for. */
    void (*close)(void *context, bool lost);
};

#ifdef MLT_HAVE_MPI
/* Joins the processes of an MPI job (mpi/ranks_mpi.c). Errors: UNSUPPORTED, IO, NO_MEMORY. */
millet_status mlt_transport_mpi(const millet_allocator *allocator, struct mlt_transport *out,
                                millet_error *err);
#endif

#endif
