/*
 * System calls that fail when a test wants them to. A program that uses this is linked with --wrap for each
 * of the calls below (see tests/CMakeLists.txt), so that those of the code under test come here first.
 *
 * While they are counted, fsync does not wait for the disk. One thread at a time.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_FAILING_CALLS_H
#define MLT_FAILING_CALLS_H

#include "millet/status.h"

#include <stdbool.h>

enum call { OPEN, FSTAT, MMAP, READ, WRITE, FSYNC, CLOSE, RENAME, UNLINK, N_CALLS };

/* What the calls do and have seen. */
struct failing_calls {
    bool on; /* count, and fail as asked */
    enum call failing;
    long fail_at; /* this occurrence (0: the first) of `failing` fails; -1: none */
    int code;     /* with this errno */
    bool no_mmap; /* a file system that cannot map */
    bool trickle; /* reads and writes are interrupted, or take a part only, in turn */
    long kill_at; /* the process is killed before this call of any kind; -1: never */
    long seen[N_CALLS], total;
    long descriptors; /* opened and not closed */
};

extern struct failing_calls faults;

/* Off, and nothing fails. */
void faults_reset(void);

/* Counts anew and switches on; faults_end switches off. */
void faults_begin(void);
void faults_end(void);

const char *call_name(enum call call);

/* Something done with faults on: `run` surrounds `operation` and checks what must hold whatever happened. */
typedef millet_status deed(millet_error *err);
typedef millet_status run_deed(deed *operation, const char *what);

/*
 * Lets occurrence 0, 1, 2 ... of a call fail until the operation has fewer; returns how many there were. With
 * `must_fail` the operation must fail each time with the status that `code` stands for, else it must succeed.
 */
long refuse_calls(run_deed *run, deed *operation, enum call call, int code, bool must_fail);

#endif
