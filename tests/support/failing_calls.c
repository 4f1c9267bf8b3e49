/* See failing_calls.h. SPDX-License-Identifier: Apache-2.0 */
#include "support/failing_calls.h"

#include "base/base.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

struct failing_calls faults = {.fail_at = -1, .kill_at = -1};

void faults_reset(void)
{
    faults = (struct failing_calls){.fail_at = -1, .kill_at = -1};
}

void faults_begin(void)
{
    memset(faults.seen, 0, sizeof faults.seen);
    faults.total = faults.descriptors = 0;
    faults.on = true;
}

void faults_end(void)
{
    faults.on = false;
}

const char *call_name(enum call call)
{
    static const char *const names[N_CALLS] = {"open",  "fstat", "mmap",   "read",  "write",
                                               "fsync", "close", "rename", "unlink"};
    return names[call];
}

static bool refused(enum call call)
{
    if (!faults.on) return false;
    if (faults.total++ == faults.kill_at) raise(SIGKILL);
    bool now = faults.failing == call && faults.seen[call] == faults.fail_at;
    faults.seen[call]++;
    if (now) errno = faults.code;
    return now;
}

#define WRAP(result, name, ...)                                                                              \
    result __real_##name(__VA_ARGS__);                                                                       \
    result __wrap_##name(__VA_ARGS__);                                                                       \
    result __wrap_##name(__VA_ARGS__)

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    mode_t mode = flags & O_CREAT ? va_arg(args, mode_t) : 0;
    va_end(args);
    if (refused(OPEN)) return -1;
    int fd = __real_open(path, flags, mode);
    if (faults.on && fd >= 0) faults.descriptors++;
    return fd;
}

WRAP(int, fstat, int fd, struct stat *info)
{
    return refused(FSTAT) ? -1 : __real_fstat(fd, info);
}

WRAP(void *, mmap, void *at, size_t size, int protection, int flags, int fd, off_t offset)
{
    if (refused(MMAP)) return MAP_FAILED;
    if (faults.on && faults.no_mmap) {
        errno = ENODEV;
        return MAP_FAILED;
    }
    return __real_mmap(at, size, protection, flags, fd, offset);
}

/* In turn: interrupted, and at most seven bytes. */
static bool interrupted(enum call call, size_t *size)
{
    if (!faults.on || !faults.trickle) return false;
    if (faults.seen[call] % 2 == 0) {
        errno = EINTR;
        return true;
    }
    *size = MLT_MIN(*size, 7);
    return false;
}

WRAP(ssize_t, read, int fd, void *bytes, size_t size)
{
    if (refused(READ) || interrupted(READ, &size)) return -1;
    return __real_read(fd, bytes, size);
}

WRAP(ssize_t, write, int fd, const void *bytes, size_t size)
{
    if (refused(WRITE) || interrupted(WRITE, &size)) return -1;
    return __real_write(fd, bytes, size);
}

/* Counted and refused like the others, but not done: no test here takes the power away, and thousands of them
 * take minutes. */
WRAP(int, fsync, int fd)
{
    if (refused(FSYNC)) return -1;
    return faults.on ? 0 : __real_fsync(fd);
}

WRAP(int, close, int fd)
{
    bool fails = refused(CLOSE);
    int code = errno, result = __real_close(fd); /* a close that fails has closed all the same */
    if (faults.on) faults.descriptors--;
    if (fails) errno = code;
    return fails ? -1 : result;
}

WRAP(int, rename, const char *from, const char *to)
{
    return refused(RENAME) ? -1 : __real_rename(from, to);
}

WRAP(int, unlink, const char *path)
{
    return refused(UNLINK) ? -1 : __real_unlink(path);
}

long refuse_calls(run_deed *run, deed *operation, enum call call, int code, bool must_fail)
{
    for (long n = 0;; n++) {
        char what[64];
        snprintf(what, sizeof what, "%s %ld", call_name(call), n);
        faults.failing = call;
        faults.fail_at = n;
        faults.code = code;
        millet_status status = run(operation, what);
        faults.fail_at = -1;
        if (faults.seen[call] <= n) {
            assert_int_equal(status, MILLET_OK);
            return n;
        }
        if (must_fail && status == MILLET_OK) fail_msg("%s failed, and nobody noticed", what);
        if (!must_fail) assert_int_equal(status, MILLET_OK);
        if (must_fail) assert_int_equal(status, code == ENOMEM ? MILLET_NO_MEMORY : MILLET_IO);
    }
}
