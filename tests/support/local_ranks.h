/*
 * Ranks within one process, for tests: each is a thread, and messages are copies in memory. One of them can
 * be lost on the way.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_TEST_LOCAL_RANKS_H
#define MLT_TEST_LOCAL_RANKS_H

#include "train/ranks.h"

enum { LOCAL_RANKS_MOST = 8 };

/* What a rank does, on a thread of its own; cmocka's assertions belong behind local_ranks_run. */
typedef void local_ranks_task(millet_ranks *ranks, void *argument);

/*
 * Runs the task as ranks 0 to n - 1 and returns when all have returned. n = 1: ranks is NULL, as for a
 * process alone. `lose_after` >= 0: rank n - 1 is lost when so many messages have been sent in all. Returns
 * the number of messages that were sent.
 */
long local_ranks_run(int32_t n, long lose_after, local_ranks_task *task, void *argument);

#endif
