/*
 * The matrix product: quantises the input once, cuts the rows of all weights into pieces, and lets the
 * threads take piece after piece.
 *
 * Pieces are taken from a shared counter, not dealt out beforehand, so that a thread whose core is shared
 * with another process takes fewer. No sum is ever split between threads.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "kernels/matmul.h"

#include <stdatomic.h>
#include <string.h>

enum {
    STEP_ROWS = MLT_MAX_PANELS * MLT_PANEL_ROWS, /* rows that a thread takes at a time */
    MANY_TOKENS = 4,       /* from here on panels are unpacked together and shared by the tokens */
    MAX_PRODUCTS = 8,      /* of one run */
    X_TILE_BYTES = 1 << 18 /* float inputs that stay in the second-level cache while rows pass by */
};

/* One thread's scratch. */
struct scratch {
    struct mlt_panel *panels; /* [MLT_MAX_PANELS] */
    float *sums;              /* [max_tokens][STEP_ROWS] */
    float *row;               /* [max_columns]: a decoded row, for exact activations */
};

static uint64_t scratch_bytes(int64_t max_tokens, int64_t max_columns)
{
    return mlt_round_up(MLT_MAX_PANELS * sizeof(struct mlt_panel) +
                            (uint64_t)max_tokens * STEP_ROWS * sizeof(float) +
                            (uint64_t)max_columns * sizeof(float),
                        MLT_ALIGNMENT);
}

/* Activations are kept in two forms, since products of one run may need either. */
enum { FORM_32, FORM_256, FORMS };

static uint64_t act_bytes(int64_t max_tokens, int64_t max_columns)
{
    uint64_t elements = (uint64_t)max_tokens * (uint64_t)max_columns;
    return mlt_round_up(elements, MLT_ALIGNMENT) +
           mlt_round_up(elements / 32 * sizeof(float) + 64, MLT_ALIGNMENT) +
           mlt_round_up(elements / 16 * sizeof(int16_t) + 64, MLT_ALIGNMENT) +
           mlt_round_up(elements / 32 * sizeof(int16_t) + 64, MLT_ALIGNMENT);
}

uint64_t mlt_matmul_bytes(int64_t max_tokens, int64_t max_columns, int threads)
{
    return FORMS * act_bytes(max_tokens, max_columns) +
           (uint64_t)threads * scratch_bytes(max_tokens, max_columns);
}

millet_status mlt_matmul_open(struct mlt_matmul *matmul, const millet_allocator *allocator,
                              const struct mlt_kernels *kernels, struct mlt_thread_pool *pool,
                              int64_t max_tokens, int64_t max_columns, millet_error *err)
{
    int threads = mlt_thread_pool_size(pool);
    *matmul = (struct mlt_matmul){.kernels = kernels,
                                  .pool = pool,
                                  .allocator = *allocator,
                                  .max_tokens = max_tokens,
                                  .max_columns = max_columns,
                                  .thread_bytes = scratch_bytes(max_tokens, max_columns)};
    if (max_tokens < 1 || max_columns < 1 || max_tokens > INT32_MAX || max_columns > INT32_MAX)
        return mlt_fail(err, MILLET_BAD_ARGUMENT, "a product of %lld tokens and %lld columns is out of range",
                        (long long)max_tokens, (long long)max_columns);
    matmul->bytes = mlt_matmul_bytes(max_tokens, max_columns, threads);
    uint8_t *block = mlt_alloc(allocator, (size_t)matmul->bytes, 1, err);
    if (!block) return MILLET_NO_MEMORY;
    matmul->block = block;
    matmul->threads = block + FORMS * act_bytes(max_tokens, max_columns);
    return MILLET_OK;
}

void mlt_matmul_close(struct mlt_matmul *matmul)
{
    mlt_free(&matmul->allocator, matmul->block);
    matmul->block = NULL;
}

/* One run, seen by all threads. */
struct run {
    struct mlt_matmul *matmul;
    const float *x;
    int64_t ldx, tokens, columns;
    const struct mlt_product *products;
    int n_products;
    bool needs[FORMS];
    struct mlt_act act[FORMS];
    int64_t piece_rows[MAX_PRODUCTS]; /* a multiple of STEP_ROWS */
    int64_t pieces[MAX_PRODUCTS + 1]; /* pieces before product i; the last is their number */
    atomic_llong next;
};

/* The activation form that a weight dtype is multiplied with, or -1 for float products. */
static int form_of(const struct mlt_matmul *matmul, mlt_dtype dtype)
{
    const struct mlt_dtype_info *info = mlt_dtype_info(dtype);
    if (!info->quantised || matmul->exact_activations) return -1;
    return info->block_length == 32 ? FORM_32 : FORM_256;
}

static struct mlt_act act_of(const struct mlt_matmul *matmul, int form, int64_t columns)
{
    uint64_t elements = (uint64_t)matmul->max_tokens * (uint64_t)matmul->max_columns;
    uint8_t *base =
        (uint8_t *)matmul->block + (uint64_t)form * act_bytes(matmul->max_tokens, matmul->max_columns);
    uint8_t *d = base + mlt_round_up(elements, MLT_ALIGNMENT);
    uint8_t *sums = d + mlt_round_up(elements / 32 * sizeof(float) + 64, MLT_ALIGNMENT);
    uint8_t *reach = sums + mlt_round_up(elements / 16 * sizeof(int16_t) + 64, MLT_ALIGNMENT);
    return (struct mlt_act){.columns = columns,
                            .block = form == FORM_32 ? 32 : 256,
                            .q = (const int8_t *)base,
                            .d = (const float *)d,
                            .sums = (const int16_t *)sums,
                            .reach = (const int16_t *)reach};
}

static void quantize_tokens(struct run *run, int64_t begin, int64_t end)
{
    for (int form = 0; form < FORMS; form++) {
        if (!run->needs[form]) continue;
        const struct mlt_act *act = &run->act[form];
        union { /* the buffers are ours; mlt_act only promises not to change them */
            const void *constant;
            void *plain;
        } q = {act->q}, d = {act->d}, sums = {act->sums}, reach = {act->reach};
        for (int64_t t = begin; t < end; t++)
            run->matmul->kernels->quantize(run->x + t * run->ldx, run->columns, act->block,
                                           (int8_t *)q.plain + t * run->columns,
                                           (float *)d.plain + t * (run->columns / act->block),
                                           (int16_t *)sums.plain + t * (run->columns / 16),
                                           (int16_t *)reach.plain + t * (run->columns / act->block));
    }
}

static void quantize_task(void *argument, int thread, int threads)
{
    struct run *run = argument;
    int64_t begin, end;
    mlt_thread_share(run->tokens, 1, thread, threads, &begin, &end);
    quantize_tokens(run, begin, end);
}

static mlt_dot_kernel *dot_for(const struct mlt_kernels *kernels, enum mlt_panel_kind kind)
{
    return kind == MLT_PANEL_BLOCK32   ? kernels->dot_block32
           : kind == MLT_PANEL_SUPER32 ? kernels->dot_super32
                                       : kernels->dot_super16;
}

/* Sixteen rows from `row` on; past the matrix's end the last one is repeated. */
static void panel_rows(const struct mlt_matrix *w, int64_t row, const uint8_t *rows[MLT_PANEL_ROWS])
{
    for (int r = 0; r < MLT_PANEL_ROWS; r++)
        rows[r] = w->data + (uint64_t)MLT_MIN(row + r, w->rows - 1) * w->row_bytes;
}

static void unpack_panel(const struct mlt_kernels *kernels, const struct mlt_matrix *w, int64_t row,
                         int64_t column, int columns, struct mlt_panel *panel)
{
    const uint8_t *rows[MLT_PANEL_ROWS];
    panel_rows(w, row, rows);
    kernels->unpack[w->dtype](rows, column, columns, panel);
}

bool mlt_rows_are_better(const struct mlt_kernels *kernels, mlt_dtype dtype, int64_t tokens)
{
    /* Rows are taken apart once for a few tokens or, where a level cannot do that, for each, and panels once
     * for all. */
    return kernels->few_rows[dtype] ? tokens <= MLT_FEW_TOKENS : kernels->rows[dtype] && tokens < MANY_TOKENS;
}

void mlt_rows_multiply(const struct mlt_kernels *kernels, mlt_dtype dtype,
                       const uint8_t *const rows[MLT_PANEL_ROWS], const struct mlt_act *act, int tokens,
                       float *y, int64_t ld)
{
    if (tokens > 1 && kernels->few_rows[dtype]) {
        kernels->few_rows[dtype](rows, act, 0, tokens, y, ld);
        return;
    }
    for (int t = 0; t < tokens; t++)
        kernels->rows[dtype](rows, act, t, y + t * ld);
}

/* Few tokens: rows straight from memory. */
static void multiply_rows(const struct run *run, const struct mlt_product *product, int64_t row, int64_t rows,
                          const struct mlt_act *act)
{
    const struct mlt_kernels *kernels = run->matmul->kernels;
    const struct mlt_matrix *w = product->w;
    for (int64_t r = row; r < row + rows; r += MLT_PANEL_ROWS) {
        const uint8_t *bytes[MLT_PANEL_ROWS];
        panel_rows(w, r, bytes);
        float y[MLT_FEW_TOKENS][MLT_PANEL_ROWS];
        mlt_rows_multiply(kernels, w->dtype, bytes, act, (int)run->tokens, y[0], MLT_PANEL_ROWS);
        for (int64_t t = 0; t < run->tokens; t++)
            memcpy(product->out + t * product->ld + r, y[t],
                   (size_t)MLT_MIN(row + rows - r, MLT_PANEL_ROWS) * sizeof(float));
    }
}

/*
 * The sums of all tokens to where they belong. Rows of the output are far from each other, so their lines are
 * asked for some tokens before they are written.
 */
static void copy_sums(const struct run *run, const float *sums, float *out, int64_t ld, int64_t rows)
{
    enum { AHEAD = 6, LINE_FLOATS = MLT_ALIGNMENT / sizeof(float) };
    for (int64_t t = 0; t < run->tokens; t++, sums += STEP_ROWS, out += ld) {
        int64_t r = 0;
        for (; r + LINE_FLOATS <= rows; r += LINE_FLOATS) {
            if (t + AHEAD < run->tokens) __builtin_prefetch(out + AHEAD * ld + r, 1);
            memcpy(out + r, sums + r, LINE_FLOATS * sizeof *out);
        }
        if (r < rows) memcpy(out + r, sums + r, (size_t)(rows - r) * sizeof *out);
    }
}

static void multiply_quantized(const struct run *run, const struct mlt_product *product, int64_t row,
                               int64_t rows, const struct mlt_act *act, const struct scratch *scratch)
{
    const struct mlt_kernels *kernels = run->matmul->kernels;
    const struct mlt_matrix *w = product->w;
    int panels = (int)((rows + MLT_PANEL_ROWS - 1) / MLT_PANEL_ROWS);
    /* Few tokens: one panel after the other, so that rows are read as long streams. */
    int together = run->tokens < MANY_TOKENS ? 1 : panels;
    memset(scratch->sums, 0, (size_t)run->tokens * STEP_ROWS * sizeof(float));
    for (int first = 0; first < panels; first += together) {
        for (int64_t column = 0; column < w->columns; column += MLT_PANEL_COLUMNS) {
            int columns = (int)MLT_MIN(w->columns - column, MLT_PANEL_COLUMNS);
            for (int p = 0; p < together; p++)
                unpack_panel(kernels, w, row + (first + p) * MLT_PANEL_ROWS, column, columns,
                             &scratch->panels[p]);
            dot_for(kernels, scratch->panels[0].kind)(scratch->panels, together, column, act, 0, run->tokens,
                                                      scratch->sums + first * MLT_PANEL_ROWS, STEP_ROWS);
        }
    }
    copy_sums(run, scratch->sums, product->out + row, product->ld, rows);
}

/* Quantised weights with float activations: each row is decoded and multiplied as floats. */
static void multiply_decoded(const struct run *run, const struct mlt_product *product, int64_t row,
                             int64_t rows, const struct scratch *scratch)
{
    const struct mlt_matrix *w = product->w;
    for (int64_t r = row; r < row + rows; r++) {
        mlt_decode(w->dtype, w->data + (uint64_t)r * w->row_bytes, scratch->row, w->columns);
        run->matmul->kernels->dot_f32((const uint8_t *)scratch->row, 0, 1, run->x, run->ldx, run->tokens,
                                      w->columns, product->out + r, product->ld);
    }
}

static void multiply_float(const struct run *run, const struct mlt_product *product, int64_t row,
                           int64_t rows)
{
    const struct mlt_kernels *kernels = run->matmul->kernels;
    const struct mlt_matrix *w = product->w;
    mlt_dot_float_kernel *dot = w->dtype == MLT_F16    ? kernels->dot_f16
                                : w->dtype == MLT_BF16 ? kernels->dot_bf16
                                                       : kernels->dot_f32;
    int64_t tile = MLT_MAX(X_TILE_BYTES / (w->columns * (int64_t)sizeof(float)) / 4 * 4, 4);
    for (int64_t t = 0; t < run->tokens; t += tile)
        dot(w->data + (uint64_t)row * w->row_bytes, w->row_bytes, rows, run->x + t * run->ldx, run->ldx,
            MLT_MIN(tile, run->tokens - t), w->columns, product->out + t * product->ld + row, product->ld);
}

static void multiply_step(const struct run *run, const struct mlt_product *product, int64_t row, int64_t rows,
                          const struct scratch *scratch)
{
    const struct mlt_matmul *matmul = run->matmul;
    const struct mlt_matrix *w = product->w;
    int form = form_of(matmul, w->dtype);
    if (form >= 0 && mlt_rows_are_better(matmul->kernels, w->dtype, run->tokens))
        multiply_rows(run, product, row, rows, &run->act[form]);
    else if (form >= 0)
        multiply_quantized(run, product, row, rows, &run->act[form], scratch);
    else if (mlt_dtype_info(w->dtype)->quantised)
        multiply_decoded(run, product, row, rows, scratch);
    else
        multiply_float(run, product, row, rows);
    if (product->bias)
        for (int64_t t = 0; t < run->tokens; t++)
            for (int64_t r = row; r < row + rows; r++)
                product->out[t * product->ld + r] = product->out[t * product->ld + r] + product->bias[r];
}

static void multiply_task(void *argument, int thread, int threads)
{
    (void)threads;
    struct run *run = argument;
    struct mlt_matmul *matmul = run->matmul;
    uint8_t *base = matmul->threads + (uint64_t)thread * matmul->thread_bytes;
    struct scratch scratch;
    scratch.panels = (struct mlt_panel *)base;
    scratch.sums = (float *)(base + MLT_MAX_PANELS * sizeof(struct mlt_panel));
    scratch.row = scratch.sums + matmul->max_tokens * STEP_ROWS;

    int i = 0;
    for (;;) {
        int64_t piece = atomic_fetch_add_explicit(&run->next, 1, memory_order_relaxed);
        while (i < run->n_products && piece >= run->pieces[i + 1])
            i++;
        if (i == run->n_products) return;
        const struct mlt_product *product = &run->products[i];
        int64_t row = (piece - run->pieces[i]) * run->piece_rows[i];
        int64_t end = MLT_MIN(row + run->piece_rows[i], product->w->rows);
        for (; row < end; row += STEP_ROWS)
            multiply_step(run, product, row, MLT_MIN(end - row, STEP_ROWS), &scratch);
    }
}

/*
 * Rows of a piece. For many tokens a step is work enough. For few, rows are read once from memory, in streams
 * that run ahead of the work (prefetches reach two groups of sixteen rows further): what is fetched beyond a
 * piece's end is in vain, so pieces are long, but still several for each thread.
 */
static int64_t rows_of_piece(int64_t rows, bool few_tokens, int threads)
{
    enum { PIECES_PER_THREAD = 3 };
    if (!few_tokens) return STEP_ROWS;
    int64_t share = rows / (threads * PIECES_PER_THREAD);
    return MLT_MAX((share + STEP_ROWS - 1) / STEP_ROWS * STEP_ROWS, STEP_ROWS);
}

void mlt_matmul_run(struct mlt_matmul *matmul, const float *x, int64_t ldx, int64_t tokens,
                    const struct mlt_product *products, int n_products)
{
    if (tokens == 0 || n_products == 0) return;
    if (matmul->observer) matmul->observer(matmul->observing, x, ldx, tokens, products, n_products);
    struct run run = {.matmul = matmul,
                      .x = x,
                      .ldx = ldx,
                      .tokens = tokens,
                      .columns = products[0].w->columns,
                      .products = products,
                      .n_products = n_products};
    int64_t work = 0;
    for (int i = 0; i < n_products; i++) {
        int form = form_of(matmul, products[i].w->dtype);
        if (form >= 0) run.needs[form] = true;
        const bool few = tokens < MANY_TOKENS ||
                         (form >= 0 && mlt_rows_are_better(matmul->kernels, products[i].w->dtype, tokens));
        run.piece_rows[i] = rows_of_piece(products[i].w->rows, few, mlt_thread_pool_size(matmul->pool));
        run.pieces[i + 1] = run.pieces[i] + (products[i].w->rows + run.piece_rows[i] - 1) / run.piece_rows[i];
        work += products[i].w->rows * run.columns * tokens;
    }
    struct mlt_thread_pool *pool = work < MLT_WORTH_SHARING ? NULL : matmul->pool;
    for (int form = 0; form < FORMS; form++)
        if (run.needs[form]) run.act[form] = act_of(matmul, form, run.columns);
    atomic_init(&run.next, 0);
    if (tokens >= 2 * mlt_thread_pool_size(pool))
        mlt_thread_pool_run(pool, quantize_task, &run);
    else
        quantize_tokens(&run, 0, tokens); /* cheaper than waking the others */
    mlt_thread_pool_run(pool, multiply_task, &run);
}
