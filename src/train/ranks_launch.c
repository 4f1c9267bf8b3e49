/* Whether this process is one of several, and how it joins them. SPDX-License-Identifier: Apache-2.0 */
#include "train/ranks.h"

#include <stdlib.h>

/* What Open MPI, and what MPICH and its kin put into the environment. */
static const struct {
    const char *rank, *size;
} launchers[] = {{"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"}, {"PMI_RANK", "PMI_SIZE"}};

static bool read_number(const char *name, int32_t *out)
{
    const char *text = getenv(name);
    char *end = NULL;
    long value = text ? strtol(text, &end, 10) : -1;
    if (!text || end == text || *end || value < 0 || value > 1 << 24) return false;
    *out = (int32_t)value;
    return true;
}

bool millet_ranks_launched(int32_t *rank, int32_t *size)
{
    int32_t r = 0, n = 1;
    bool found = false;
    for (size_t i = 0; !found && i < MLT_COUNT(launchers); i++)
        found = read_number(launchers[i].size, &n) && read_number(launchers[i].rank, &r) && n > 1 && r < n;
    if (rank) *rank = found ? r : 0;
    if (size) *size = found ? n : 1;
    return found;
}

millet_status millet_ranks_open(const millet_allocator *allocator, millet_ranks **ranks, millet_error *err)
{
    int32_t size;
    *ranks = NULL;
    if (!allocator) allocator = mlt_default_allocator();
    if (!millet_ranks_launched(NULL, &size)) return MILLET_OK;
#ifdef MLT_HAVE_MPI
    struct mlt_transport transport;
    MLT_TRY(mlt_transport_mpi(allocator, &transport, err));
    return mlt_ranks_open(allocator, &transport, ranks, err);
#else
    return mlt_fail(
        err, MILLET_UNSUPPORTED,
        "started as one of %d processes, but this build has no MPI: configure with -DMILLET_MPI=ON", size);
#endif
}
