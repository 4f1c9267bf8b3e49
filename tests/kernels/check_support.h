/*
 * What the kernel checks are made of: memory with guard pages, random inputs, and running one case on the
 * scalar table and on the table under test.
 *
 * A case is a function that lays out its buffers with the guard_ functions, in the same order every time, and
 * calls one kernel of the table it is given. check_case runs it on both tables, with all buffers first behind
 * and then before a page that faults, and compares every output buffer as a whole: a byte that only one of
 * the two wrote is found too.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CHECK_SUPPORT_H
#define CHECK_SUPPORT_H

#include "base/random.h"
#include "kernels/kernels.h"

struct check {
    const struct mlt_kernels *scalar, *variant;
    const char *tier;
    const char *entry; /* the kernel under test */
    struct mlt_random random;
    int rounds; /* more rounds, more random cases */
    bool quiet; /* no messages: the checker's own test expects failures */
    long cases, failures;
};

/* ---- Buffers of the case that is running; each has its own guard pages ---- */

enum guard_compare { COMPARE_BYTES, COMPARE_FLOATS, COMPARE_HALVES, COMPARE_PANELS };

/* A copy of `bytes` that the kernel may only read: the page before it (or after it) faults, and it must be
 * unchanged afterwards. */
const void *guard_input(const void *bytes, size_t size);
/* A buffer that the kernel changes or fills; starts as a copy of `bytes`, or as a fixed pattern where NULL.
 */
void *guard_output(const void *bytes, size_t size, enum guard_compare compare);

/* ---- Running ---- */

typedef void check_run(const struct mlt_kernels *table, const void *context);

/*
 * Compares the variant with scalar on one case; the text after `context` names the case in messages. A fault
 * inside the kernel is a failure of the case, not of the program.
 */
void check_case(struct check *check, check_run *run, const void *context, const char *format, ...)
    MLT_PRINTF(4, 5);

/* ---- Random inputs ---- */

enum value_mode {
    VALUES_NORMAL,  /* standard normal */
    VALUES_WIDE,    /* any finite float, subnormals included */
    VALUES_TINY,    /* subnormals, zeros of both signs, and values whose products underflow */
    VALUES_SPECIAL, /* normal, with one in eight zero, subnormal, huge, infinite or NaN */
    VALUES_BITS,    /* any bits */
    VALUE_MODES
};

int random_below(struct mlt_random *random, int n);
void random_bytes(struct mlt_random *random, void *bytes, size_t size);
void random_floats(struct mlt_random *random, enum value_mode mode, float *values, int64_t n);
/* The same distributions as binary16 or bfloat16 bits. */
void random_halves(struct mlt_random *random, enum value_mode mode, bool bfloat, uint16_t *values, int64_t n);

enum block_mode {
    BLOCKS_SANE, /* random codes, finite scales of ordinary size */
    BLOCKS_BITS, /* any bits: scales may be infinite or NaN */
    BLOCKS_FULL, /* every byte 0xff but for sane half scales: largest codes */
    BLOCKS_ZERO, /* every byte 0 but for sane half scales: smallest codes and mins */
    BLOCKS_EDGE, /* bytes of 0x00, 0x7f, 0x80, 0xff and the largest half, the smallest subnormal half ... */
    BLOCK_MODES
};

void random_blocks(struct mlt_random *random, mlt_dtype dtype, enum block_mode mode, uint8_t *blocks,
                   int64_t elements);

/* Memory for a test's inputs: exits the program where there is none. */
void *test_alloc(size_t size);

/* ---- The checks, one a family ---- */

/* NULL where the table under test has no own variant of anything named `entry`. */
void check_quantized(struct check *check, const char *filter);
void check_float(struct check *check, const char *filter);
void check_elementwise(struct check *check, const char *filter);
/* What table->rows[dtype] does, by the table's unpack and dot. */
void rows_by_panels(const struct mlt_kernels *table, mlt_dtype dtype,
                    const uint8_t *const rows[MLT_PANEL_ROWS], const struct mlt_act *act, int64_t token,
                    float y[MLT_PANEL_ROWS]);
/* True, with check->entry set, where `entry` matches the filter (NULL: all). */
bool check_begin(struct check *check, const char *entry, const char *filter);

/* Breaks each kernel in turn and reports how many faults the checks missed. */
int check_broken(uint64_t seed);

/* Times scalar and every tier in `tiers` (n of them, ascending); `filter` as above. */
void bench_kernels(const struct mlt_kernels *tiers, int n, const char *filter, uint64_t stream_bytes);

#endif
