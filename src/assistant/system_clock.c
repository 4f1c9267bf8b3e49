/*
 * Time of day from CLOCK_REALTIME, lengths of time from CLOCK_BOOTTIME, which goes on while the machine
 * sleeps and does not jump when the time of day is set.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "assistant/system_clock.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static int64_t milliseconds(clockid_t id)
{
    struct timespec now;
    if (clock_gettime(id, &now) != 0) return 0;
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int64_t wall(void *context)
{
    (void)context;
    return milliseconds(CLOCK_REALTIME);
}

static int64_t uptime(void *context)
{
    (void)context;
#ifdef CLOCK_BOOTTIME
    return milliseconds(CLOCK_BOOTTIME);
#else
    return milliseconds(CLOCK_MONOTONIC);
#endif
}

void mlt_system_clock(millet_assistant_clock *clock, char *boot, size_t size)
{
    *clock = (millet_assistant_clock){NULL, wall, uptime, boot};
    boot[0] = 0;
    FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");
    if (!file) return;
    if (fgets(boot, (int)size, file)) boot[strcspn(boot, "\n")] = 0;
    fclose(file);
}
