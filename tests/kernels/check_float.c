/* Checks of the float dot products and of attention's kernels. SPDX-License-Identifier: Apache-2.0 */
#include "kernels/check_support.h"

#include <stdlib.h>
#include <string.h>

/* n values as F32, F16 or BF16. */
static void random_elements(struct mlt_random *random, mlt_dtype dtype, enum value_mode mode, void *values,
                            int64_t n)
{
    if (dtype == MLT_F32)
        random_floats(random, mode, values, n);
    else
        random_halves(random, mode, dtype == MLT_BF16, values, n);
}

static int element_bytes(mlt_dtype dtype)
{
    return dtype == MLT_F32 ? 4 : 2;
}

/* A length around the multiples of the vector widths, now and then a long one. */
static int random_length(struct mlt_random *random, int longest)
{
    int n = 1 + random_below(random, random_below(random, 8) == 0 ? longest : MLT_MIN(longest, 100));
    if (random_below(random, 4) == 0) n = n / 16 * 16 + 16;
    return n > longest ? longest : n;
}

/* ---- dot_f32, dot_f16, dot_bf16 ---- */

struct dot_case {
    mlt_dtype dtype;
    const uint8_t *w;
    const float *x, *y;
    size_t row_bytes;
    int64_t rows, ldx, tokens, columns, ldy;
};

static void run_dot(const struct mlt_kernels *table, const void *context)
{
    const struct dot_case *c = context;
    size_t row_end = (size_t)c->columns * (size_t)element_bytes(c->dtype);
    const uint8_t *w = guard_input(c->w, (size_t)(c->rows - 1) * c->row_bytes + row_end);
    const float *x = guard_input(c->x, (size_t)((c->tokens - 1) * c->ldx + c->columns) * sizeof(float));
    float *y =
        guard_output(c->y, (size_t)((c->tokens - 1) * c->ldy + c->rows) * sizeof(float), COMPARE_FLOATS);
    mlt_dot_float_kernel *dot = c->dtype == MLT_F32   ? table->dot_f32
                                : c->dtype == MLT_F16 ? table->dot_f16
                                                      : table->dot_bf16;
    dot(w, c->row_bytes, c->rows, x, c->ldx, c->tokens, c->columns, y, c->ldy);
}

static void check_dot(struct check *check, mlt_dtype dtype)
{
    enum { MAX_ROWS = 17, MAX_TOKENS = 17, MAX_COLUMNS = 1100, PAD = 3 };
    struct mlt_random *random = &check->random;
    uint8_t *w = test_alloc(MAX_ROWS * (MAX_COLUMNS + PAD) * 4);
    float *x = test_alloc(MAX_TOKENS * (MAX_COLUMNS + PAD) * sizeof(float));
    float *y = test_alloc(MAX_TOKENS * (MAX_ROWS + PAD) * sizeof(float));
    for (int round = 0; round < 16 * check->rounds; round++) {
        for (int mode = 0; mode < VALUE_MODES; mode++) {
            struct dot_case c = {.dtype = dtype, .w = w, .x = x, .y = y};
            c.rows = 1 + random_below(random, MAX_ROWS);
            c.tokens = 1 + random_below(random, MAX_TOKENS);
            c.columns = random_length(random, MAX_COLUMNS);
            c.row_bytes = (size_t)(c.columns + random_below(random, PAD)) * (size_t)element_bytes(dtype);
            c.ldx = c.columns + random_below(random, PAD);
            c.ldy = c.rows + random_below(random, PAD);
            random_elements(random, dtype, (enum value_mode)mode, w, c.rows * (c.columns + PAD));
            random_floats(random, mode == VALUES_BITS ? VALUES_SPECIAL : (enum value_mode)mode, x,
                          c.tokens * (c.columns + PAD));
            random_floats(random, VALUES_NORMAL, y, MAX_TOKENS * (MAX_ROWS + PAD));
            check_case(check, run_dot, &c, "rows %d tokens %d columns %d mode %d", (int)c.rows, (int)c.tokens,
                       (int)c.columns, mode);
        }
    }
    free(y);
    free(x);
    free(w);
}

/* ---- score and mix ---- */

struct attention_case {
    mlt_dtype dtype;
    const float *q; /* queries, or probabilities [heads][ld] */
    const void *kv;
    const float *out;
    int64_t stride, n, ld;
    int heads, size;
    float scale;
};

static size_t kv_bytes(const struct attention_case *c)
{
    return (size_t)(c->n - 1) * mlt_dtype_row_bytes(c->dtype, c->stride) +
           mlt_dtype_row_bytes(c->dtype, c->size);
}

static void run_score(const struct mlt_kernels *table, const void *context)
{
    const struct attention_case *c = context;
    const float *q = guard_input(c->q, (size_t)(c->heads * c->size) * sizeof(float));
    const void *k = guard_input(c->kv, kv_bytes(c));
    float *s = guard_output(c->out, (size_t)((c->heads - 1) * c->ld + c->n) * sizeof(float), COMPARE_FLOATS);
    mlt_score_kernel *score = c->dtype == MLT_F32 ? table->score_f32 : table->score_f16;
    score(q, c->heads, k, c->stride, c->n, c->size, c->scale, s, c->ld);
}

static void run_mix(const struct mlt_kernels *table, const void *context)
{
    const struct attention_case *c = context;
    const float *p = guard_input(c->q, (size_t)((c->heads - 1) * c->ld + c->n) * sizeof(float));
    const void *v = guard_input(c->kv, kv_bytes(c));
    float *out = guard_output(c->out, (size_t)(c->heads * c->size) * sizeof(float), COMPARE_FLOATS);
    mlt_mix_kernel *mix = c->dtype == MLT_F32    ? table->mix_f32
                          : c->dtype == MLT_F16  ? table->mix_f16
                          : c->dtype == MLT_Q8_0 ? table->mix_q8_0
                                                 : table->mix_iq4_nl;
    mix(p, c->ld, c->heads, v, c->stride, c->n, c->size, out);
}

static void check_attention(struct check *check, mlt_dtype dtype, check_run *run, int longest)
{
    enum { MAX_HEADS = 19, MAX_SIZE = 256, PAD = 5 };
    const bool blocks = mlt_dtype_info(dtype)->quantised;
    struct mlt_random *random = &check->random;
    int64_t per_head = MLT_MAX(longest, MAX_SIZE) + PAD;
    float *q = test_alloc((size_t)(MAX_HEADS * per_head) * sizeof(float));
    float *out = test_alloc((size_t)(MAX_HEADS * per_head) * sizeof(float));
    uint8_t *kv = test_alloc((size_t)longest * (MAX_SIZE + 32) * 4);
    random_floats(random, VALUES_NORMAL, out, MAX_HEADS * per_head);
    for (int round = 0; round < 6 * check->rounds; round++) {
        for (int mode = 0; mode < VALUE_MODES; mode++) {
            struct attention_case c = {.dtype = dtype, .q = q, .kv = kv, .out = out};
            c.heads = 1 + random_below(random, MAX_HEADS);
            c.size = random_length(random, MAX_SIZE);
            c.n = random_length(random, longest);
            c.stride = c.size + random_below(random, PAD);
            if (blocks) {
                c.size = (c.size + 31) / 32 * 32;
                c.stride = c.size + 32 * random_below(random, 2);
            }
            c.ld = c.n + random_below(random, PAD);
            c.scale = 0.1f + mlt_random_float(random);
            if (blocks)
                random_blocks(random, dtype, (enum block_mode)(mode % BLOCK_MODES), kv, c.n * c.stride);
            else
                random_elements(random, dtype, (enum value_mode)mode, kv, c.n * c.stride);
            random_floats(random, mode == VALUES_BITS ? VALUES_SPECIAL : (enum value_mode)mode, q,
                          MAX_HEADS * per_head);
            check_case(check, run, &c, "heads %d size %d positions %d stride %d mode %d", c.heads, c.size,
                       (int)c.n, (int)c.stride, mode);
        }
    }
    free(kv);
    free(out);
    free(q);
}

void check_float(struct check *check, const char *filter)
{
    const struct mlt_kernels *a = check->scalar, *b = check->variant;
    if (a->dot_f32 != b->dot_f32 && check_begin(check, "dot_f32", filter)) check_dot(check, MLT_F32);
    if (a->dot_f16 != b->dot_f16 && check_begin(check, "dot_f16", filter)) check_dot(check, MLT_F16);
    if (a->dot_bf16 != b->dot_bf16 && check_begin(check, "dot_bf16", filter)) check_dot(check, MLT_BF16);
    if (a->score_f32 != b->score_f32 && check_begin(check, "score_f32", filter))
        check_attention(check, MLT_F32, run_score, 60);
    if (a->score_f16 != b->score_f16 && check_begin(check, "score_f16", filter))
        check_attention(check, MLT_F16, run_score, 60);
    if (a->mix_f32 != b->mix_f32 && check_begin(check, "mix_f32", filter))
        check_attention(check, MLT_F32, run_mix, 600);
    if (a->mix_f16 != b->mix_f16 && check_begin(check, "mix_f16", filter))
        check_attention(check, MLT_F16, run_mix, 600);
    if (a->mix_q8_0 != b->mix_q8_0 && check_begin(check, "mix_q8_0", filter))
        check_attention(check, MLT_Q8_0, run_mix, 600);
    if (a->mix_iq4_nl != b->mix_iq4_nl && check_begin(check, "mix_iq4_nl", filter))
        check_attention(check, MLT_IQ4_NL, run_mix, 600);
}
