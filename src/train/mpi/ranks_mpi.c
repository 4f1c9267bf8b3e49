/*
 * Messages between ranks by MPI, whose point-to-point functions are all that is used: sums are taken in an
 * order of our own (ranks.c).
 *
 * MPI does not say when another process has died: a receive then waits for ever. Processes of the same
 * machine are looked after here, so that the others can say who it was before mpirun ends them, which it does
 * about a second later; those of other machines are left to mpirun.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "train/transport.h"

#include "base/clock.h"
#include "base/thread_pool.h"

#include <errno.h>
#include <mpi.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Who is where. */
struct process {
    char machine[256]; /* its name, and the namespace in which the number counts */
    int32_t number;
    int32_t n_cpus; /* that it may use */
};

struct group {
    MPI_Request *requests;
    size_t count, capacity;
};

struct mpi {
    millet_allocator allocator;
    int32_t rank, size;
    struct process *processes; /* [size] */
    bool *watched;             /* [size]: its number can be asked after from here */
    struct group groups[MLT_TRANSPORT_GROUPS];
    double looked; /* after the others, last */
};

static millet_status failed(const char *what, int code, millet_error *err)
{
    char text[MPI_MAX_ERROR_STRING + 1] = "";
    int length = 0;
    MPI_Error_string(code, text, &length);
    return mlt_fail(err, MILLET_IO, "the exchange between ranks failed: %s: %.250s", what, text);
}

/* ---- Transfers ---- */

static millet_status new_request(struct mpi *m, int group, MPI_Request **out, millet_error *err)
{
    struct group *g = &m->groups[group];
    void *requests = g->requests;
    MLT_TRY(mlt_grow(&m->allocator, &requests, &g->capacity, g->count, sizeof *g->requests, err));
    g->requests = requests;
    *out = &g->requests[g->count++];
    **out = MPI_REQUEST_NULL;
    return MILLET_OK;
}

static millet_status send_bytes(void *context, int32_t to, const void *bytes, size_t size, int group,
                                millet_error *err)
{
    MPI_Request *request;
    MLT_TRY(new_request(context, group, &request, err));
    int code = MPI_Isend(bytes, (int)size, MPI_BYTE, to, 0, MPI_COMM_WORLD, request);
    return code == MPI_SUCCESS ? MILLET_OK : failed("sending", code, err);
}

static millet_status receive_bytes(void *context, int32_t from, void *bytes, size_t size, int group,
                                   millet_error *err)
{
    MPI_Request *request;
    MLT_TRY(new_request(context, group, &request, err));
    int code = MPI_Irecv(bytes, (int)size, MPI_BYTE, from, 0, MPI_COMM_WORLD, request);
    return code == MPI_SUCCESS ? MILLET_OK : failed("receiving", code, err);
}

/* ---- Waiting ---- */

static bool is_dead(const struct mpi *m, int32_t rank)
{
    return m->watched[rank] && kill(m->processes[rank].number, 0) != 0 && errno == ESRCH;
}

static millet_status look_after_others(const struct mpi *m, int32_t *speaker, millet_error *err)
{
    int32_t dead = 0;
    while (dead < m->size && !is_dead(m, dead))
        dead++;
    if (dead == m->size) return MILLET_OK;
    *speaker = 0;
    while (is_dead(m, *speaker))
        ++*speaker;
    return mlt_fail(err, MILLET_IO, "rank %d of %d (process %d) has died", dead, m->size,
                    m->processes[dead].number);
}

/* Looks often at first: most messages are there at once. Then it leaves the CPU to those who compute. */
static void pause_between(unsigned round)
{
    enum { QUICK_ROUNDS = 64, LONGEST_NANOSECONDS = 100000 };
    if (round < QUICK_ROUNDS) {
        sched_yield();
        return;
    }
    struct timespec pause = {0, MLT_MIN((long)(round - QUICK_ROUNDS + 1) * 1000, (long)LONGEST_NANOSECONDS)};
    nanosleep(&pause, NULL);
}

static millet_status wait_for_group(void *context, int group, int32_t *speaker, millet_error *err)
{
    enum { TESTS_BETWEEN_LOOKS = 256 };
    static const double look_seconds = 0.05;
    struct mpi *m = context;
    struct group *g = &m->groups[group];
    for (unsigned round = 0;; round++) {
        int done;
        int code = MPI_Testall((int)g->count, g->requests, &done, MPI_STATUSES_IGNORE);
        if (code != MPI_SUCCESS) {
            MLT_TRY(look_after_others(m, speaker, err));
            return failed("waiting", code, err);
        }
        if (done) break;
        pause_between(round);
        if (round % TESTS_BETWEEN_LOOKS || mlt_clock_seconds() - m->looked < look_seconds) continue;
        m->looked = mlt_clock_seconds();
        MLT_TRY(look_after_others(m, speaker, err));
    }
    g->count = 0;
    return MILLET_OK;
}

/* ---- Opening ---- */

static void close_mpi(void *context, bool lost)
{
    struct mpi *m = context;
    millet_allocator allocator = m->allocator;
    /* With a rank lost these would wait for it; mpirun ends the job anyhow. */
    if (!lost) {
        MPI_Barrier(MPI_COMM_WORLD);
        MPI_Finalize();
    }
    for (int i = 0; i < MLT_TRANSPORT_GROUPS; i++)
        mlt_free(&allocator, m->groups[i].requests);
    mlt_free(&allocator, m->processes);
    mlt_free(&allocator, m->watched);
    mlt_free(&allocator, m);
}

static void describe_process(struct process *p)
{
    char name[128] = "", space[64] = "";
    memset(p, 0, sizeof *p);
    gethostname(name, sizeof name - 1);
    if (readlink("/proc/self/ns/pid", space, sizeof space - 1) < 0) space[0] = 0;
    snprintf(p->machine, sizeof p->machine, "%s %s", name, space);
    p->number = (int32_t)getpid();
    p->n_cpus = mlt_cpu_count();
}

/*
 * mpirun binds each process to CPUs of its own, or none: then those of a machine share what there is. They
 * are told apart by their numbers: bound ones have no more CPUs together than the machine.
 */
static int32_t threads_of(const struct mpi *m)
{
    int64_t n_here = 0, cpus = 0, all = sysconf(_SC_NPROCESSORS_ONLN);
    const struct process *me = &m->processes[m->rank];
    for (int32_t rank = 0; rank < m->size; rank++) {
        if (strcmp(m->processes[rank].machine, me->machine) != 0) continue;
        n_here++;
        cpus += m->processes[rank].n_cpus;
    }
    int64_t threads = cpus <= all ? me->n_cpus : MLT_MIN((int64_t)me->n_cpus, all / n_here);
    return (int32_t)MLT_MAX(threads, (int64_t)1);
}

static millet_status meet(struct mpi *m, millet_error *err)
{
    struct process me;
    int rank, size;
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    m->rank = rank;
    m->size = size;
    m->processes = mlt_alloc_zero(&m->allocator, (size_t)size, sizeof *m->processes, err);
    m->watched = mlt_alloc_zero(&m->allocator, (size_t)size, sizeof *m->watched, err);
    if (!m->processes || !m->watched) return MILLET_NO_MEMORY;
    describe_process(&me);
    int code =
        MPI_Allgather(&me, (int)sizeof me, MPI_BYTE, m->processes, (int)sizeof me, MPI_BYTE, MPI_COMM_WORLD);
    if (code != MPI_SUCCESS) return failed("meeting", code, err);
    for (int i = 0; i < size; i++)
        m->watched[i] = strcmp(m->processes[i].machine, me.machine) == 0;
    return MILLET_OK;
}

millet_status mlt_transport_mpi(const millet_allocator *allocator, struct mlt_transport *out,
                                millet_error *err)
{
    int given = MPI_THREAD_SINGLE;
    struct mpi *m = mlt_alloc_zero(allocator, 1, sizeof *m, err);
    if (!m) return MILLET_NO_MEMORY;
    m->allocator = *allocator;
    int code = MPI_Init_thread(NULL, NULL, MPI_THREAD_SERIALIZED, &given);
    millet_status status = code == MPI_SUCCESS ? meet(m, err) : failed("starting", code, err);
    if (status == MILLET_OK && given < MPI_THREAD_SERIALIZED)
        status = mlt_fail(err, MILLET_UNSUPPORTED,
                          "this MPI cannot be used by several threads (MPI_THREAD_SERIALIZED)");
    if (status != MILLET_OK) {
        close_mpi(m, true);
        return status;
    }
    *out = (struct mlt_transport){.context = m,
                                  .rank = m->rank,
                                  .size = m->size,
                                  .n_threads = threads_of(m),
                                  .send = send_bytes,
                                  .receive = receive_bytes,
                                  .wait = wait_for_group,
                                  .close = close_mpi};
    return MILLET_OK;
}
