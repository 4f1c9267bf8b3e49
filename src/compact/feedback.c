/* Rounding with error feedback: see feedback.h. SPDX-License-Identifier: Apache-2.0 */
#include "compact/feedback.h"

#include "base/memory.h"
#include "tensor/codes.h"
#include "tensor/quant_blocks.h"

#include <math.h>
#include <string.h>

/* ---- Vectors ---- */

/* Sixteen sums side by side, which compilers make vectors of; the order is the same on every machine. */
static float dot(const float *a, const float *b, int64_t n)
{
    float lanes[16] = {0}, sum = 0;
    int64_t i = 0;
    for (; i + 16 <= n; i += 16)
        for (int j = 0; j < 16; j++)
            lanes[j] += a[i + j] * b[i + j];
    for (; i < n; i++)
        lanes[0] += a[i] * b[i];
    for (int j = 0; j < 16; j++)
        sum += lanes[j];
    return sum;
}

static void add_scaled(float *y, const float *x, float scale, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        y[i] += scale * x[i];
}

/* ---- The factor ---- */

/* m = H - what the columns from j on explain, for the rows of a share. */
struct elimination {
    struct mlt_feedback *feedback;
    int64_t column;
};

static void eliminate_share(void *argument, int thread, int threads)
{
    const struct elimination *e = argument;
    const struct mlt_feedback *f = e->feedback;
    const float *row = f->m + e->column * f->n;
    float pivot = row[e->column];
    int64_t begin, end;
    mlt_thread_share(e->column, 16, thread, threads, &begin, &end);
    for (int64_t i = begin; i < end; i++)
        add_scaled(f->m + i * f->n, row, -row[i] * pivot, i + 1);
}

/* False where a pivot is not positive: more damping is needed. */
static bool factor(struct mlt_feedback *f, float damping, struct mlt_thread_pool *pool)
{
    int64_t n = f->n;
    for (int64_t i = 0; i < n; i++) {
        f->h[i * n + i] = f->importance[i] + damping;
        memcpy(f->m + i * n, f->h + i * n, (size_t)n * sizeof *f->m);
    }
    for (int64_t j = n - 1; j >= 0; j--) {
        float *row = f->m + j * n, pivot = row[j];
        if (!(pivot > 0.01f * damping)) return false;
        for (int64_t k = 0; k < j; k++)
            row[k] /= pivot;
        struct elimination e = {f, j};
        mlt_thread_pool_run(j * j < 1 << 18 ? NULL : pool, eliminate_share, &e);
    }
    return true;
}

millet_status mlt_feedback_open(struct mlt_feedback *f, const millet_allocator *allocator, const float *gram,
                                double count, int64_t n, struct mlt_thread_pool *pool, millet_error *err)
{
    *f = (struct mlt_feedback){.allocator = *allocator, .n = n, .gram = gram};
    f->h = mlt_alloc(allocator, (size_t)n * (size_t)n, sizeof *f->h, err);
    f->m = mlt_alloc(allocator, (size_t)n * (size_t)n, sizeof *f->m, err);
    f->importance = mlt_alloc(allocator, (size_t)n, sizeof *f->importance, err);
    if (!f->h || !f->m || !f->importance) {
        mlt_feedback_close(f);
        return MILLET_NO_MEMORY;
    }
    double trace = 0;
    for (int64_t i = 0; i < n * n; i++)
        f->h[i] = (float)((double)gram[i] / count);
    for (int64_t i = 0; i < n; i++)
        trace += (double)(f->importance[i] = f->h[i * n + i]);
    float mean = (float)(trace / (double)n);
    if (mean > 0 && mean < INFINITY)
        for (float damping = 0.01f * mean; damping <= 100 * mean; damping *= 10)
            if (factor(f, damping, pool)) return MILLET_OK;
    mlt_feedback_close(f);
    return mlt_fail(err, MILLET_BAD_FORMAT, "the sums of products of the importance file are none");
}

void mlt_feedback_close(struct mlt_feedback *f)
{
    mlt_free(&f->allocator, f->h);
    mlt_free(&f->allocator, f->m);
    mlt_free(&f->allocator, f->importance);
    *f = (struct mlt_feedback){.allocator = f->allocator};
}

/* ---- A row ---- */

/* What an element can be: low + step * code, or one of a table. */
enum { MAX_TABLE = 16 };

struct levels {
    int count, length; /* of a block */
    bool linear;
    float low[MLT_QK_K], step[MLT_QK_K];
    float table[MAX_TABLE][MLT_QK_K];
};

static void read_levels(struct levels *l, mlt_dtype dtype, const uint8_t *block)
{
    const struct mlt_dtype_info *info = mlt_dtype_info(dtype);
    uint8_t copy[512], codes[MLT_QK_K];
    memcpy(copy, block, (size_t)info->block_bytes);
    l->count = mlt_code_count(dtype);
    l->length = info->block_length;
    l->linear = mlt_codes_are_linear(dtype);
    if (l->linear) {
        memset(codes, 0, sizeof codes);
        mlt_set_codes(dtype, codes, copy);
        mlt_decode(dtype, copy, l->low, l->length);
        memset(codes, l->count - 1, sizeof codes);
        mlt_set_codes(dtype, codes, copy);
        mlt_decode(dtype, copy, l->step, l->length);
        for (int i = 0; i < l->length; i++)
            l->step[i] = (l->step[i] - l->low[i]) / (float)(l->count - 1);
        return;
    }
    for (int c = 0; c < l->count; c++) {
        memset(codes, c, sizeof codes);
        mlt_set_codes(dtype, codes, copy);
        mlt_decode(dtype, copy, l->table[c], l->length);
    }
}

static float value_of(const struct levels *l, int i, int code)
{
    return l->linear ? l->low[i] + l->step[i] * (float)code : l->table[code][i];
}

static int nearest(const struct levels *l, int i, float x)
{
    if (l->linear) {
        if (l->step[i] == 0) return 0;
        float code = (x - l->low[i]) / l->step[i] + 0.5f;
        return code > 0 ? code < (float)l->count ? (int)code : l->count - 1 : 0;
    }
    int best = 0;
    for (int c = 1; c < l->count; c++)
        if (fabsf(l->table[c][i] - x) < fabsf(l->table[best][i] - x)) best = c;
    return best;
}

/* Scratch of a row. */
struct row {
    const struct mlt_feedback *f;
    mlt_dtype dtype;
    const float *w;
    int64_t block_bytes;
    float *change;   /* [n] q - w */
    float *gradient; /* [n] H change */
    float *value;    /* [n] */
    uint8_t *codes;  /* [n] */
    uint8_t *other;  /* a row of blocks */
};

/* sum D_j (d_j + M_j d)^2, which is d^T H d. */
static double loss_of(const struct row *r)
{
    const struct mlt_feedback *f = r->f;
    double loss = 0;
    for (int64_t j = 0; j < f->n; j++) {
        const float *m = f->m + j * f->n;
        double e = (double)r->change[j] + (double)dot(m, r->change, j);
        loss += (double)m[j] * e * e;
    }
    return loss;
}

static void find_change(struct row *r, const uint8_t *bytes)
{
    mlt_decode(r->dtype, bytes, r->value, r->f->n);
    for (int64_t j = 0; j < r->f->n; j++)
        r->change[j] = r->value[j] - r->w[j];
}

/* Codes with feedback, block after block; `change` ends as that of the row. */
static void round_with_feedback(struct row *r, uint8_t *bytes)
{
    const struct mlt_feedback *f = r->f;
    int length = mlt_dtype_info(r->dtype)->block_length;
    for (int64_t first = 0; first < f->n; first += length) {
        uint8_t *block = bytes + first / length * r->block_bytes;
        float wanted[MLT_QK_K];
        struct levels levels;
        for (int i = 0; i < length; i++)
            wanted[i] = r->w[first + i] - dot(f->m + (first + i) * f->n, r->change, first);
        mlt_encode(r->dtype, wanted, f->importance + first, block, length);
        read_levels(&levels, r->dtype, block);
        for (int i = 0; i < length; i++) {
            int64_t j = first + i;
            float x = wanted[i] - dot(f->m + j * f->n + first, r->change + first, i);
            int code = nearest(&levels, i, x);
            r->codes[j] = (uint8_t)code;
            r->change[j] = value_of(&levels, i, code) - r->w[j];
        }
        mlt_set_codes(r->dtype, r->codes + first, block);
    }
}

/* Moves codes by one where that lessens d^T H d, until none does or for some rounds. */
static void improve(struct row *r, uint8_t *bytes)
{
    enum { ROUNDS = 4 };
    const struct mlt_feedback *f = r->f;
    int64_t n = f->n;
    int length = mlt_dtype_info(r->dtype)->block_length;
    for (int64_t j = 0; j < n; j++)
        r->gradient[j] = dot(f->h + j * n, r->change, n);
    bool changed = true;
    for (int round = 0; round < ROUNDS && changed; round++) {
        changed = false;
        for (int64_t first = 0; first < n; first += length) {
            uint8_t *block = bytes + first / length * r->block_bytes;
            struct levels levels;
            read_levels(&levels, r->dtype, block);
            bool block_changed = false;
            for (int i = 0; i < length; i++) {
                int64_t j = first + i;
                float now = value_of(&levels, i, r->codes[j]), least = 0, by = 0;
                int best = r->codes[j];
                for (int code = r->codes[j] - 1; code <= r->codes[j] + 1; code += 2) {
                    if (code < 0 || code >= levels.count) continue;
                    float move = value_of(&levels, i, code) - now;
                    float gain = move * (2 * r->gradient[j] + move * f->h[j * n + j]);
                    if (gain < least) {
                        least = gain;
                        best = code;
                        by = move;
                    }
                }
                if (best == r->codes[j]) continue;
                r->codes[j] = (uint8_t)best;
                r->change[j] += by;
                add_scaled(r->gradient, f->h + j * n, by, n);
                block_changed = true;
            }
            if (block_changed) mlt_set_codes(r->dtype, r->codes + first, block);
            changed |= block_changed;
        }
    }
}

uint64_t mlt_feedback_scratch(int64_t n)
{
    return (uint64_t)n * 6; /* three vectors, codes, and a row of blocks of at most four bytes an element */
}

double mlt_feedback_round(const struct mlt_feedback *f, mlt_dtype dtype, const float *w, uint8_t *bytes,
                          float *scratch)
{
    int64_t n = f->n;
    size_t row_bytes = mlt_dtype_row_bytes(dtype, n);
    struct row r = {.f = f,
                    .dtype = dtype,
                    .w = w,
                    .block_bytes = mlt_dtype_info(dtype)->block_bytes,
                    .change = scratch,
                    .gradient = scratch + n,
                    .value = scratch + 2 * n,
                    .codes = (uint8_t *)(scratch + 3 * n),
                    .other = (uint8_t *)(scratch + 4 * n)};
    mlt_encode(dtype, w, f->importance, r.other, n);
    find_change(&r, r.other);
    double alone = loss_of(&r);
    round_with_feedback(&r, bytes);
    improve(&r, bytes);
    find_change(&r, bytes); /* what is written, to the bit */
    double fed = loss_of(&r);
    if (!(fed < alone)) memcpy(bytes, r.other, row_bytes);
    return fmin(fed, alone);
}
