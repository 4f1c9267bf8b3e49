/* Ranks within one process. SPDX-License-Identifier: Apache-2.0 */
#include "support/local_ranks.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct message {
    struct message *next;
    size_t size;
    char bytes[];
};

struct queue {
    struct message *first, **end;
};

struct hub {
    pthread_mutex_t mutex;
    pthread_cond_t sent;
    int32_t n;
    long n_sent, lose_after;
    bool lost;
    struct queue queues[LOCAL_RANKS_MOST][LOCAL_RANKS_MOST]; /* from, to */
};

/* A receive that was asked for. */
struct request {
    int32_t from;
    void *bytes;
    size_t size;
};

enum { MOST_REQUESTS = 64 };

struct place {
    struct hub *hub;
    int32_t rank;
    struct request requests[MLT_TRANSPORT_GROUPS][MOST_REQUESTS];
    size_t n_requests[MLT_TRANSPORT_GROUPS];
    local_ranks_task *task;
    void *argument;
};

static millet_status send_bytes(void *context, int32_t to, const void *bytes, size_t size, int group,
                                millet_error *err)
{
    (void)group;
    struct place *p = context;
    struct hub *hub = p->hub;
    struct message *message = malloc(sizeof *message + size);
    if (!message) return mlt_fail(err, MILLET_NO_MEMORY, "a message of %zu bytes", size);
    message->next = NULL;
    message->size = size;
    memcpy(message->bytes, bytes, size);
    pthread_mutex_lock(&hub->mutex);
    struct queue *queue = &hub->queues[p->rank][to];
    if (hub->n_sent++ == hub->lose_after) hub->lost = true;
    *queue->end = message;
    queue->end = &message->next;
    pthread_cond_broadcast(&hub->sent);
    pthread_mutex_unlock(&hub->mutex);
    return MILLET_OK;
}

static millet_status receive_bytes(void *context, int32_t from, void *bytes, size_t size, int group,
                                   millet_error *err)
{
    struct place *p = context;
    if (p->n_requests[group] == MOST_REQUESTS) return mlt_fail(err, MILLET_INTERNAL, "too many receives");
    p->requests[group][p->n_requests[group]++] = (struct request){from, bytes, size};
    return MILLET_OK;
}

static millet_status wait_for_group(void *context, int group, int32_t *speaker, millet_error *err)
{
    struct place *p = context;
    struct hub *hub = p->hub;
    millet_status status = MILLET_OK;
    pthread_mutex_lock(&hub->mutex);
    for (size_t i = 0; status == MILLET_OK && i < p->n_requests[group]; i++) {
        const struct request *request = &p->requests[group][i];
        struct queue *queue = &hub->queues[request->from][p->rank];
        while (!queue->first && !hub->lost)
            pthread_cond_wait(&hub->sent, &hub->mutex);
        struct message *message = queue->first;
        if (hub->lost) {
            *speaker = 0;
            status = mlt_fail(err, MILLET_IO, "rank %d of %d has died", hub->n - 1, hub->n);
        } else if (message->size != request->size) {
            status = mlt_fail(err, MILLET_INTERNAL, "a message of %zu bytes where %zu were expected",
                              message->size, request->size);
        } else {
            memcpy(request->bytes, message->bytes, message->size);
            queue->first = message->next;
            if (!queue->first) queue->end = &queue->first;
            free(message);
        }
    }
    p->n_requests[group] = 0;
    pthread_mutex_unlock(&hub->mutex);
    return status;
}

static void close_place(void *context, bool lost)
{
    (void)context;
    (void)lost;
}

static void *run(void *argument)
{
    struct place *p = argument;
    millet_ranks *ranks;
    const struct mlt_transport transport = {.context = p,
                                            .rank = p->rank,
                                            .size = p->hub->n,
                                            .n_threads = 1,
                                            .send = send_bytes,
                                            .receive = receive_bytes,
                                            .wait = wait_for_group,
                                            .close = close_place};
    if (mlt_ranks_open(mlt_default_allocator(), &transport, &ranks, NULL) != MILLET_OK) abort();
    p->task(ranks, p->argument);
    millet_ranks_close(&ranks);
    return NULL;
}

static void drop_messages(struct hub *hub)
{
    for (int32_t from = 0; from < hub->n; from++)
        for (int32_t to = 0; to < hub->n; to++)
            for (struct message *m = hub->queues[from][to].first, *next; m; m = next) {
                next = m->next;
                free(m);
            }
}

long local_ranks_run(int32_t n, long lose_after, local_ranks_task *task, void *argument)
{
    struct hub hub = {.n = n, .lose_after = lose_after};
    struct place *places = calloc((size_t)n, sizeof *places);
    pthread_t threads[LOCAL_RANKS_MOST];
    if (!places || n > LOCAL_RANKS_MOST) abort();
    if (n == 1) {
        task(NULL, argument);
        free(places);
        return 0;
    }
    pthread_mutex_init(&hub.mutex, NULL);
    pthread_cond_init(&hub.sent, NULL);
    for (int32_t from = 0; from < n; from++)
        for (int32_t to = 0; to < n; to++)
            hub.queues[from][to].end = &hub.queues[from][to].first;
    for (int32_t rank = 0; rank < n; rank++) {
        places[rank] = (struct place){.hub = &hub, .rank = rank, .task = task, .argument = argument};
        if (pthread_create(&threads[rank], NULL, run, &places[rank])) abort();
    }
    for (int32_t rank = 0; rank < n; rank++)
        pthread_join(threads[rank], NULL);
    drop_messages(&hub);
    pthread_mutex_destroy(&hub.mutex);
    pthread_cond_destroy(&hub.sent);
    free(places);
    return hub.n_sent;
}
