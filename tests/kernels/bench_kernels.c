/*
 * Times kernels: scalar and every tier take turns on the same inputs in one program, so that what else the
 * machine does hits all of them; the figure is the median over the rounds.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "kernels/check_support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MAX_TABLES = 8, ROUNDS = 15 };

typedef void bench_run(const struct mlt_kernels *table, void *context);

static const struct mlt_kernels *tables;
static int n_tables;
static const char *only;

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double median(double *values, int n)
{
    qsort(values, (size_t)n, sizeof *values, compare_doubles);
    return values[n / 2];
}

/* Processor time of this thread: other programs on the same core do not count. */
static double cpu_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Seconds of one call: as many calls as fill about half a millisecond. */
static double time_run(bench_run *run, const struct mlt_kernels *table, void *context)
{
    for (int64_t calls = 1;; calls *= 2) {
        double start = cpu_seconds();
        for (int64_t i = 0; i < calls; i++)
            run(table, context);
        double seconds = cpu_seconds() - start;
        if (seconds > 5e-4) return seconds / (double)calls;
    }
}

/*
 * Measures `run` on all tables and prints work / seconds in units of 1e9 a second. `peaks` (per table, in the
 * same unit): prints the share of it; NULL: the ratio to scalar.
 */
static void bench(const char *name, const char *unit, double work, bench_run *run, void *context,
                  bool skip_scalar, const double *peaks)
{
    double seconds[MAX_TABLES][ROUNDS];
    if (only && !strstr(name, only)) return;
    int first = skip_scalar ? 1 : 0;
    for (int round = 0; round < ROUNDS; round++)
        for (int i = first; i < n_tables; i++)
            seconds[i][round] = time_run(run, &tables[i], context);
    printf("%-22s %-5s", name, unit);
    double scalar = 0.0;
    for (int i = 0; i < n_tables; i++) {
        if (i < first) {
            printf(" %18s", "-");
            continue;
        }
        double rate = work / median(seconds[i], ROUNDS) * 1e-9;
        if (i == 0) scalar = rate;
        char note[32] = "";
        if (peaks && peaks[i] > 0.0)
            snprintf(note, sizeof note, "(%.0f%%)", 100.0 * rate / peaks[i]);
        else if (i > 0 && scalar > 0.0)
            snprintf(note, sizeof note, "(x%.1f)", rate / scalar);
        printf(" %10.2f %7s", rate, note);
    }
    printf("\n");
    fflush(stdout);
}

/* ---- Quantised products ---- */

struct product {
    mlt_dtype dtype;
    uint8_t *w;
    size_t row_bytes;
    int64_t rows, columns, tokens;
    int panels; /* unpacked together */
    struct mlt_act act;
    struct mlt_panel *panel;
    float *y; /* [tokens][panels * 16] */
};

static void run_unpack(const struct mlt_kernels *table, void *context)
{
    struct product *p = context;
    for (int64_t row = 0; row < p->rows; row += MLT_PANEL_ROWS) {
        const uint8_t *rows[MLT_PANEL_ROWS];
        for (int r = 0; r < MLT_PANEL_ROWS; r++)
            rows[r] = p->w + (size_t)(row + r) * p->row_bytes;
        for (int64_t column = 0; column < p->columns; column += MLT_PANEL_COLUMNS)
            table->unpack[p->dtype](rows, column, MLT_PANEL_COLUMNS, p->panel);
    }
}

static void dot_panels(const struct mlt_kernels *table, struct product *p, int64_t column)
{
    mlt_dot_kernel *dot = p->panel->kind == MLT_PANEL_BLOCK32   ? table->dot_block32
                          : p->panel->kind == MLT_PANEL_SUPER32 ? table->dot_super32
                                                                : table->dot_super16;
    dot(p->panel, p->panels, column, &p->act, 0, p->tokens, p->y, p->panels * MLT_PANEL_ROWS);
}

/* The loop of matmul.c. */
static void run_product(const struct mlt_kernels *table, void *context)
{
    struct product *p = context;
    for (int64_t row = 0; row < p->rows; row += p->panels * MLT_PANEL_ROWS) {
        if (p->tokens == 1 && table->rows[p->dtype]) {
            const uint8_t *rows[MLT_PANEL_ROWS];
            for (int r = 0; r < MLT_PANEL_ROWS; r++)
                rows[r] = p->w + (size_t)(row + r) * p->row_bytes;
            table->rows[p->dtype](rows, &p->act, 0, p->y);
            continue;
        }
        memset(p->y, 0, (size_t)(p->tokens * p->panels * MLT_PANEL_ROWS) * sizeof(float));
        for (int64_t column = 0; column < p->columns; column += MLT_PANEL_COLUMNS) {
            for (int i = 0; i < p->panels; i++) {
                const uint8_t *rows[MLT_PANEL_ROWS];
                for (int r = 0; r < MLT_PANEL_ROWS; r++)
                    rows[r] = p->w + (size_t)(row + i * MLT_PANEL_ROWS + r) * p->row_bytes;
                table->unpack[p->dtype](rows, column, MLT_PANEL_COLUMNS, &p->panel[i]);
            }
            dot_panels(table, p, column);
        }
    }
}

static void run_dot(const struct mlt_kernels *table, void *context)
{
    struct product *p = context;
    for (int64_t column = 0; column < p->columns; column += MLT_PANEL_COLUMNS)
        dot_panels(table, p, column);
}

struct quantize_context {
    const float *x;
    int64_t columns;
    int block;
    int8_t *q;
    float *d;
    int16_t *sums, *reach;
};

static void run_quantize(const struct mlt_kernels *table, void *context)
{
    struct quantize_context *c = context;
    table->quantize(c->x, c->columns, c->block, c->q, c->d, c->sums, c->reach);
}

enum { COLUMNS = 2048, MAX_TOKENS = 256 };

static void bench_product(struct mlt_random *random, mlt_dtype dtype, const struct quantize_context *act,
                          const double *peaks, uint64_t stream_bytes)
{
    const struct mlt_dtype_info *info = mlt_dtype_info(dtype);
    struct product p = {.dtype = dtype,
                        .rows = MLT_MAX_PANELS * MLT_PANEL_ROWS,
                        .columns = COLUMNS,
                        .tokens = 1,
                        .panels = 1};
    char name[64];
    p.row_bytes = mlt_dtype_row_bytes(dtype, COLUMNS);
    if (stream_bytes) p.rows = (int64_t)(stream_bytes / p.row_bytes / p.rows * p.rows);
    size_t bytes = (size_t)p.rows * p.row_bytes;
    p.w = test_alloc(bytes);
    p.panel = test_alloc(MLT_MAX_PANELS * sizeof *p.panel);
    p.y = test_alloc(MAX_TOKENS * MLT_MAX_PANELS * MLT_PANEL_ROWS * sizeof(float));
    p.act = (struct mlt_act){
        .columns = COLUMNS, .q = act->q, .d = act->d, .sums = act->sums, .reach = act->reach};
    p.act.block = info->block_length;
    random_blocks(random, dtype, BLOCKS_SANE, p.w, MLT_MAX_PANELS * MLT_PANEL_ROWS * COLUMNS);
    const size_t made = MLT_MAX_PANELS * MLT_PANEL_ROWS * p.row_bytes;
    for (size_t at = made; at < bytes; at += made)
        memcpy(p.w + at, p.w, made);
    if (stream_bytes) {
        snprintf(name, sizeof name, "stream %s", info->name);
        bench(name, "GB/s", (double)bytes, run_product, &p, true, NULL);
    } else {
        snprintf(name, sizeof name, "unpack %s", info->name);
        bench(name, "GB/s", (double)bytes, run_unpack, &p, false, NULL);
        snprintf(name, sizeof name, "decode %s", info->name);
        bench(name, "GB/s", (double)bytes, run_product, &p, false, NULL);
        p.tokens = MAX_TOKENS;
        p.panels = MLT_MAX_PANELS;
        double operations = 2.0 * (double)(p.rows * p.columns * p.tokens);
        run_product(&tables[0], &p);
        snprintf(name, sizeof name, "prompt %s", info->name);
        bench(name, "Gop/s", operations, run_product, &p, false, peaks);
        snprintf(name, sizeof name, "dot %s", info->name);
        bench(name, "Gop/s", operations, run_dot, &p, false, peaks);
    }
    free(p.y);
    free(p.panel);
    free(p.w);
}

static void run_read(const struct mlt_kernels *table, void *context)
{
    const struct product *p = context;
    const uint64_t *words = (const uint64_t *)p->w;
    uint64_t sums[8] = {0};
    static volatile uint64_t sink;
    (void)table;
    for (size_t i = 0; i + 8 <= p->row_bytes / 8; i += 8)
        for (int j = 0; j < 8; j++)
            sums[j] += words[i + j];
    sink = sums[0] ^ sums[1] ^ sums[2] ^ sums[3] ^ sums[4] ^ sums[5] ^ sums[6] ^ sums[7];
    (void)sink;
}

static void bench_quantized(struct mlt_random *random, uint64_t stream_bytes)
{
    struct quantize_context c = {.columns = MAX_TOKENS * COLUMNS};
    float *x = test_alloc((size_t)c.columns * sizeof(float));
    c.x = x;
    c.q = test_alloc((size_t)c.columns);
    c.d = test_alloc((size_t)c.columns / 32 * sizeof(float));
    c.sums = test_alloc((size_t)c.columns / 16 * sizeof(int16_t));
    c.reach = test_alloc((size_t)c.columns / 32 * sizeof(int16_t));
    random_floats(random, VALUES_NORMAL, x, c.columns);

    double peaks[MAX_TABLES] = {0};
    printf("%-22s %-5s", "integer peak", "Gop/s");
    for (int i = 0; i < n_tables; i++) {
        double rates[ROUNDS] = {0};
        for (int round = 0; round < ROUNDS && tables[i].peak_int8; round++) {
            double start = cpu_seconds();
            double operations = tables[i].peak_int8(1000);
            rates[round] = operations / (cpu_seconds() - start) * 1e-9;
        }
        peaks[i] = median(rates, ROUNDS);
        printf(" %10.2f %7s", peaks[i], "");
    }
    printf("\n");
    if (stream_bytes) {
        struct product p = {.w = test_alloc(stream_bytes), .row_bytes = stream_bytes};
        memset(p.w, 1, stream_bytes);
        bench("stream read", "GB/s", (double)stream_bytes, run_read, &p, true, NULL);
        free(p.w);
    }
    c.columns = COLUMNS;
    for (c.block = 32; c.block <= 256 && !stream_bytes; c.block *= 8)
        bench(c.block == 32 ? "quantize 32" : "quantize 256", "GB/s", 4.0 * COLUMNS, run_quantize, &c, false,
              NULL);
    for (int dtype = 0; dtype < MLT_DTYPE_LIMIT; dtype++) {
        if (!tables[0].unpack[dtype]) continue;
        c.block = mlt_dtype_info((mlt_dtype)dtype)->block_length;
        c.columns = MAX_TOKENS * COLUMNS;
        run_quantize(&tables[0], &c);
        bench_product(random, (mlt_dtype)dtype, &c, peaks, stream_bytes);
    }
    free(c.reach);
    free(c.sums);
    free(c.d);
    free(c.q);
    free(x);
}

/* ---- Float products and attention ---- */

struct float_context {
    mlt_dtype dtype;
    void *w;
    float *x, *y;
    int64_t rows, columns, tokens;
    int heads;
};

static void run_dot_float(const struct mlt_kernels *table, void *context)
{
    struct float_context *c = context;
    uint64_t row_bytes = mlt_dtype_row_bytes(c->dtype, c->columns);
    mlt_dot_float_kernel *dot = c->dtype == MLT_F32   ? table->dot_f32
                                : c->dtype == MLT_F16 ? table->dot_f16
                                                      : table->dot_bf16;
    dot(c->w, row_bytes, c->rows, c->x, c->columns, c->tokens, c->columns, c->y, c->rows);
}

/* Keys and values lie as in a cache of four heads: stride = 4 * size. */
static void run_score(const struct mlt_kernels *table, void *context)
{
    struct float_context *c = context;
    mlt_score_kernel *score = c->dtype == MLT_F32 ? table->score_f32 : table->score_f16;
    score(c->x, c->heads, c->w, 4 * c->columns, c->rows, (int)c->columns, 0.1f, c->y, c->rows);
}

static void run_mix(const struct mlt_kernels *table, void *context)
{
    struct float_context *c = context;
    mlt_mix_kernel *mix = c->dtype == MLT_F32    ? table->mix_f32
                          : c->dtype == MLT_F16  ? table->mix_f16
                          : c->dtype == MLT_Q8_0 ? table->mix_q8_0
                                                 : table->mix_iq4_nl;
    mix(c->x, c->rows, c->heads, c->w, 4 * c->columns, c->rows, (int)c->columns, c->y);
}

static void bench_float(struct mlt_random *random)
{
    enum { ROWS = 64, POSITIONS = 512, SIZE = 64, HEADS = 4 };
    static const mlt_dtype dtypes[] = {MLT_F32, MLT_F16, MLT_BF16};
    struct float_context c;
    c.w = test_alloc(ROWS * COLUMNS * sizeof(float));
    c.x = test_alloc(MAX_TOKENS * COLUMNS * sizeof(float));
    c.y = test_alloc(MAX_TOKENS * COLUMNS * sizeof(float));
    random_floats(random, VALUES_NORMAL, c.x, MAX_TOKENS * COLUMNS);
    for (int i = 0; i < 3; i++) {
        char name[32];
        c.dtype = dtypes[i];
        const char *type = mlt_dtype_info(c.dtype)->name;
        if (c.dtype == MLT_F32)
            random_floats(random, VALUES_NORMAL, c.w, ROWS * COLUMNS);
        else
            random_halves(random, VALUES_NORMAL, c.dtype == MLT_BF16, c.w, ROWS * COLUMNS);
        c.rows = ROWS;
        c.columns = COLUMNS;
        c.tokens = 1;
        double bytes = (double)(c.rows * (int64_t)mlt_dtype_row_bytes(c.dtype, COLUMNS));
        snprintf(name, sizeof name, "dot %s, 1 token", type);
        bench(name, "GB/s", bytes, run_dot_float, &c, false, NULL);
        c.tokens = 16;
        snprintf(name, sizeof name, "dot %s, 16 tokens", type);
        bench(name, "Gop/s", 2.0 * ROWS * COLUMNS * 16, run_dot_float, &c, false, NULL);
        if (c.dtype == MLT_BF16) continue;
        c.rows = POSITIONS;
        c.columns = SIZE;
        for (c.heads = 1; c.heads <= HEADS; c.heads += HEADS - 1) {
            bytes = (double)(c.rows * (int64_t)mlt_dtype_row_bytes(c.dtype, SIZE));
            snprintf(name, sizeof name, "score %s, %d heads", type, c.heads);
            bench(name, "GB/s", bytes, run_score, &c, false, NULL);
            snprintf(name, sizeof name, "mix %s, %d heads", type, c.heads);
            bench(name, "GB/s", bytes, run_mix, &c, false, NULL);
        }
    }
    static const mlt_dtype blocks[] = {MLT_Q8_0, MLT_IQ4_NL};
    c.rows = POSITIONS;
    c.columns = SIZE;
    for (int i = 0; i < 2; i++) {
        c.dtype = blocks[i];
        random_blocks(random, c.dtype, BLOCKS_SANE, c.w, POSITIONS * 4 * SIZE);
        for (c.heads = 1; c.heads <= 2 * HEADS; c.heads += 2 * HEADS - 1) {
            char name[32];
            double bytes = (double)(c.rows * (int64_t)mlt_dtype_row_bytes(c.dtype, SIZE));
            snprintf(name, sizeof name, "mix %s, %d heads", mlt_dtype_info(c.dtype)->name, c.heads);
            bench(name, "GB/s", bytes, run_mix, &c, false, NULL);
        }
    }
    free(c.y);
    free(c.x);
    free(c.w);
}

/* ---- Elementwise ---- */

struct row_context {
    float *x, *w, *y;
    int64_t n;
};

static void run_softmax(const struct mlt_kernels *table, void *context)
{
    struct row_context *c = context;
    memcpy(c->y, c->x, (size_t)c->n * sizeof(float));
    table->softmax(c->y, c->n, NULL);
}

static void run_rms_norm(const struct mlt_kernels *table, void *context)
{
    struct row_context *c = context;
    table->rms_norm(c->x, c->w, c->n, 1e-5f, c->y);
}

static void run_layer_norm(const struct mlt_kernels *table, void *context)
{
    struct row_context *c = context;
    table->layer_norm(c->x, c->w, c->w, c->n, 1e-5f, c->y);
}

static void run_silu(const struct mlt_kernels *table, void *context)
{
    struct row_context *c = context;
    table->silu(c->x, c->w, c->n, c->y);
}

static void run_gelu(const struct mlt_kernels *table, void *context)
{
    struct row_context *c = context;
    table->gelu(c->x, c->w, c->n, c->y);
}

static void run_softcap(const struct mlt_kernels *table, void *context)
{
    struct row_context *c = context;
    memcpy(c->y, c->x, (size_t)c->n * sizeof(float));
    table->softcap(c->y, c->n, 30.0f);
}

static void run_to_half(const struct mlt_kernels *table, void *context)
{
    struct row_context *c = context;
    table->to_half(c->x, (uint16_t *)c->y, c->n);
}

static void bench_elementwise(struct mlt_random *random)
{
    enum { N = 4096 };
    struct row_context c = {.n = N};
    c.x = test_alloc(N * sizeof(float));
    c.w = test_alloc(N * sizeof(float));
    c.y = test_alloc(N * sizeof(float));
    random_floats(random, VALUES_NORMAL, c.x, N);
    random_floats(random, VALUES_NORMAL, c.w, N);
    const double values = N;
    bench("softmax", "Gv/s", values, run_softmax, &c, false, NULL);
    bench("rms_norm", "Gv/s", values, run_rms_norm, &c, false, NULL);
    bench("layer_norm", "Gv/s", values, run_layer_norm, &c, false, NULL);
    bench("silu", "Gv/s", values, run_silu, &c, false, NULL);
    bench("gelu", "Gv/s", values, run_gelu, &c, false, NULL);
    bench("softcap", "Gv/s", values, run_softcap, &c, false, NULL);
    bench("to_half", "Gv/s", values, run_to_half, &c, false, NULL);
    free(c.y);
    free(c.w);
    free(c.x);
}

void bench_kernels(const struct mlt_kernels *tiers, int n, const char *filter, uint64_t stream_bytes)
{
    struct mlt_random random;
    mlt_random_seed(&random, 1);
    tables = tiers;
    n_tables = n;
    only = filter;
    printf("%-22s %-5s", "kernel", "unit");
    for (int i = 0; i < n; i++)
        printf(" %18s", mlt_cpu_tier_name(tiers[i].cpu));
    printf("\n");
    bench_quantized(&random, stream_bytes);
    if (stream_bytes) return;
    bench_float(&random);
    bench_elementwise(&random);
}
