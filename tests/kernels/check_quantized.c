/* Checks of quantize, unpack and the integer dot products. SPDX-License-Identifier: Apache-2.0 */
#include "kernels/check_support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- quantize ---- */

struct quantize_case {
    const float *x;
    int64_t columns;
    int block;
};

static void run_quantize(const struct mlt_kernels *table, const void *context)
{
    const struct quantize_case *c = context;
    size_t columns = (size_t)c->columns;
    const float *x = guard_input(c->x, columns * sizeof(float));
    int8_t *q = guard_output(NULL, columns, COMPARE_BYTES);
    float *d = guard_output(NULL, columns / (size_t)c->block * sizeof(float), COMPARE_FLOATS);
    int16_t *sums = guard_output(NULL, columns / 16 * sizeof(int16_t), COMPARE_BYTES);
    int16_t *reach = guard_output(NULL, columns / (size_t)c->block * sizeof(int16_t), COMPARE_BYTES);
    table->quantize(x, c->columns, c->block, q, d, sums, reach);
}

/* Values whose scaled form lies exactly between two integers, and blocks at the edges of the contract. */
static void tie_values(struct mlt_random *random, float *x, int64_t n)
{
    static const float largest[] = {127.0f,    254.0f,           63.5f,          -127.0f,
                                    0x1p-100f, 0x1.fffffep-101f, 0x1.fffffep127f};
    float a = largest[random_below(random, (int)MLT_COUNT(largest))];
    for (int64_t i = 0; i < n; i++)
        x[i] = a / 254.0f * (float)(random_below(random, 509) - 254);
    x[random_below(random, (int)n)] = a;
}

static void check_quantize(struct check *check)
{
    enum { MAX_COLUMNS = 9 * 256 };
    float *x = test_alloc(MAX_COLUMNS * sizeof(float));
    for (int round = 0; round < 4 * check->rounds; round++) {
        for (int mode = 0; mode <= VALUE_MODES; mode++) {
            int block = round % 2 == 0 ? 32 : 256, blocks = 1 + random_below(&check->random, 9);
            struct quantize_case c = {.x = x, .columns = blocks * block, .block = block};
            if (mode < VALUE_MODES)
                random_floats(&check->random, (enum value_mode)mode, x, c.columns);
            else
                for (int b = 0; b < blocks; b++)
                    tie_values(&check->random, x + b * block, block);
            check_case(check, run_quantize, &c, "columns %d block %d mode %d", blocks * block, block, mode);
        }
    }
    free(x);
}

/* ---- unpack ---- */

struct unpack_case {
    const uint8_t *blocks; /* 16 rows of row_bytes */
    size_t row_bytes;
    mlt_dtype dtype;
    int64_t column;
    int columns, rows; /* rows: distinct ones; the last is repeated */
    bool one_matrix;   /* rows lie one after the other in one buffer, else each in its own */
    const struct mlt_panel *panel;
};

/* The sixteen rows of a case, guarded. */
static void guard_rows(const struct unpack_case *c, const uint8_t *rows[MLT_PANEL_ROWS])
{
    const uint8_t *matrix = c->one_matrix ? guard_input(c->blocks, c->row_bytes * (size_t)c->rows) : NULL;
    for (int r = 0; r < MLT_PANEL_ROWS; r++) {
        if (r >= c->rows)
            rows[r] = rows[c->rows - 1];
        else if (c->one_matrix)
            rows[r] = matrix + (size_t)r * c->row_bytes;
        else
            rows[r] = guard_input(c->blocks + (size_t)r * c->row_bytes, c->row_bytes);
    }
}

/* Adds to the codes of a panel, and to what it says of them. */
static void add_bias(struct mlt_panel *panel, int columns, int bias)
{
    for (int quad = 0; quad < columns / 4; quad++)
        for (int i = 0; i < 4 * MLT_PANEL_ROWS; i++)
            panel->q[quad][i / 4][i % 4] = (int8_t)(panel->q[quad][i / 4][i % 4] + bias);
    panel->bias += bias;
}

static void run_unpack(const struct mlt_kernels *table, const void *context)
{
    const struct unpack_case *c = context;
    const uint8_t *rows[MLT_PANEL_ROWS];
    guard_rows(c, rows);
    struct mlt_panel *panel = guard_output(c->panel, sizeof *panel, COMPARE_PANELS);
    table->unpack[c->dtype](rows, c->column, c->columns, panel);
    add_bias(panel, c->columns, -panel->bias);
}

static void check_unpack(struct check *check, mlt_dtype dtype)
{
    enum { MAX_COLUMNS = 4 * MLT_PANEL_COLUMNS };
    const struct mlt_dtype_info *info = mlt_dtype_info(dtype);
    struct mlt_panel *panel = test_alloc(sizeof *panel);
    uint8_t *blocks = test_alloc(MLT_PANEL_ROWS * mlt_dtype_row_bytes(dtype, MAX_COLUMNS));
    for (int round = 0; round < 4 * check->rounds; round++) {
        for (int mode = 0; mode < BLOCK_MODES; mode++) {
            struct mlt_random *random = &check->random;
            struct unpack_case c = {.blocks = blocks,
                                    .dtype = dtype,
                                    .column = MLT_PANEL_COLUMNS * random_below(random, 3),
                                    .columns = MLT_PANEL_COLUMNS,
                                    .rows = 1 + random_below(random, MLT_PANEL_ROWS),
                                    .one_matrix = random_below(random, 2) == 0,
                                    .panel = panel};
            if (info->block_length == 32) {
                c.column = random_below(random, 2) ? 32 * random_below(random, 20) : 0;
                c.columns = 32 * (1 + random_below(random, 8));
            }
            int64_t row_columns = c.column + c.columns;
            if (random_below(random, 2) == 0) row_columns += info->block_length;
            c.row_bytes = mlt_dtype_row_bytes(dtype, row_columns);
            random_blocks(random, dtype, (enum block_mode)mode, blocks, row_columns * MLT_PANEL_ROWS);
            random_bytes(random, panel, sizeof *panel);
            check_case(check, run_unpack, &c, "column %d columns %d rows %d mode %d", (int)c.column,
                       c.columns, c.rows, mode);
        }
    }
    free(blocks);
    free(panel);
}

/* ---- dot ---- */

struct dot_case {
    const struct mlt_panel *panels;
    int n_panels;
    struct mlt_act act;
    int64_t act_tokens, column, token, tokens, ld;
    const float *y;
};

static struct mlt_act guard_act(const struct dot_case *c)
{
    size_t elements = (size_t)(c->act_tokens * c->act.columns);
    struct mlt_act act = c->act;
    act.q = guard_input(act.q, elements);
    act.d = guard_input(act.d, elements / (size_t)act.block * sizeof(float));
    act.sums = guard_input(act.sums, elements / 16 * sizeof(int16_t));
    act.reach = guard_input(act.reach, elements / (size_t)act.block * sizeof(int16_t));
    return act;
}

static mlt_dot_kernel *dot_of(const struct mlt_kernels *table, enum mlt_panel_kind kind)
{
    return kind == MLT_PANEL_BLOCK32   ? table->dot_block32
           : kind == MLT_PANEL_SUPER32 ? table->dot_super32
                                       : table->dot_super16;
}

static void run_dot(const struct mlt_kernels *table, const void *context)
{
    const struct dot_case *c = context;
    static struct mlt_panel biased[MLT_MAX_PANELS];
    memcpy(biased, c->panels, (size_t)c->n_panels * sizeof *biased);
    for (int p = 0; table->biased && p < c->n_panels; p++)
        add_bias(&biased[p], biased[p].columns, MLT_MAX(-biased[p].q_low, 0));
    const struct mlt_panel *panels = guard_input(biased, (size_t)c->n_panels * sizeof *panels);
    struct mlt_act act = guard_act(c);
    size_t outputs = (size_t)((c->tokens - 1) * c->ld + c->n_panels * MLT_PANEL_ROWS);
    float *y = guard_output(c->y, outputs * sizeof(float), COMPARE_FLOATS);
    dot_of(table, panels->kind)(panels, c->n_panels, c->column, &act, c->token, c->tokens, y, c->ld);
}

/* Any panel that the contract allows. `extreme`: all values at the ends of their ranges. */
static void synthetic_panel(struct mlt_random *random, enum mlt_panel_kind kind, int columns, bool has_min,
                            bool extreme, struct mlt_panel *panel)
{
    int sign = random_below(random, 3), low = panel->q_low, high = panel->q_high;
    panel->kind = kind;
    panel->columns = columns;
    panel->has_min = has_min;
    panel->bias = 0;
    int8_t *q = &panel->q[0][0][0];
    for (size_t i = 0; i < sizeof panel->q; i++) {
        q[i] = (int8_t)(low + random_below(random, high - low + 1));
        if (extreme) q[i] = (int8_t)(sign == 0 || (sign == 1 && random_below(random, 2) == 0) ? low : high);
    }
    random_floats(random, extreme ? VALUES_SPECIAL : VALUES_NORMAL, &panel->d[0][0], 8 * MLT_PANEL_ROWS);
    random_floats(random, extreme ? VALUES_SPECIAL : VALUES_NORMAL, &panel->m[0][0], 8 * MLT_PANEL_ROWS);
    for (int i = 0; i < 16 * MLT_PANEL_ROWS; i++) {
        (&panel->scale[0][0])[i] = extreme ? (sign == 1 ? 127 : -128) : random_below(random, 256) - 128;
        (&panel->min[0][0])[i] = extreme ? 63 : random_below(random, 64);
    }
}

/* All panels of a call have the same range of codes; wide ones, and any narrower. */
static void random_range(struct mlt_random *random, enum mlt_panel_kind kind, int *low, int *high)
{
    static const int widths[] = {1, 3, 15, 16, 17, 31, 32, 33, 63, 64, 65, 128, 253};
    int lowest = kind == MLT_PANEL_BLOCK32 ? -128 : -127;
    int width = random_below(random, 4) ? widths[random_below(random, (int)MLT_COUNT(widths))] : 127 - lowest;
    *low = lowest + random_below(random, 127 - lowest - width + 1);
    *high = *low + width;
}

enum act_mode { ACT_RANDOM, ACT_SMALL, ACT_HIGH, ACT_LOW, ACT_SIGNS, ACT_MODES };

static int act_value(struct mlt_random *random, enum act_mode mode)
{
    switch (mode) {
    case ACT_SMALL: return random_below(random, 31) - 15;
    case ACT_HIGH: return 127;
    case ACT_LOW: return -127;
    case ACT_SIGNS: return random_below(random, 2) == 0 ? 127 : -127;
    default: return random_below(random, 255) - 127;
    }
}

/* Activations of c->act_tokens tokens in the given buffers. */
static void random_act(struct mlt_random *random, struct dot_case *c, enum act_mode mode, int8_t *q, float *d,
                       int16_t *sums, int16_t *reach)
{
    int64_t elements = c->act_tokens * c->act.columns;
    memset(reach, 0, (size_t)(elements / c->act.block) * sizeof *reach);
    for (int64_t i = 0; i < elements; i += 16) {
        int sum = 0, magnitudes = 0;
        for (int64_t j = i; j < i + 16; j++) {
            sum += q[j] = (int8_t)act_value(random, mode);
            magnitudes += abs(q[j]);
        }
        sums[i / 16] = (int16_t)sum;
        reach[i / c->act.block] = (int16_t)MLT_MAX(reach[i / c->act.block], magnitudes);
    }
    random_floats(random, mode == ACT_RANDOM ? VALUES_SPECIAL : VALUES_NORMAL, d, elements / c->act.block);
    c->act.q = q;
    c->act.d = d;
    c->act.sums = sums;
    c->act.reach = reach;
}

/* One random case of `panels`, which are ready. */
static void check_dot_case(struct check *check, const struct mlt_panel *panels, const char *made_of)
{
    enum { MAX_TOKENS = 20, MAX_COLUMNS = 3 * MLT_PANEL_COLUMNS };
    static int8_t q[MAX_TOKENS * MAX_COLUMNS];
    static float d[MAX_TOKENS * MAX_COLUMNS / 32], y[MAX_TOKENS * (MLT_MAX_PANELS * MLT_PANEL_ROWS + 8)];
    static int16_t sums[MAX_TOKENS * MAX_COLUMNS / 16], reach[MAX_TOKENS * MAX_COLUMNS / 32];
    struct mlt_random *random = &check->random;
    struct dot_case c = {.panels = panels, .n_panels = 1 + random_below(random, MLT_MAX_PANELS)};
    c.act.block = panels->kind == MLT_PANEL_BLOCK32 ? 32 : 256;
    c.column = MLT_PANEL_COLUMNS * random_below(random, 2);
    c.act.columns = c.column + panels->columns + (random_below(random, 2) ? 0 : c.act.block);
    c.tokens = random_below(random, 4) == 0 ? 10 + random_below(random, 8) : 1 + random_below(random, 9);
    c.token = random_below(random, 3);
    c.act_tokens = c.token + c.tokens;
    c.ld = c.n_panels * MLT_PANEL_ROWS + random_below(random, 8);
    c.y = y;
    enum act_mode mode = (enum act_mode)random_below(random, ACT_MODES);
    random_act(random, &c, mode, q, d, sums, reach);
    random_floats(random, random_below(random, 2) ? VALUES_NORMAL : VALUES_SPECIAL, y, (int64_t)MLT_COUNT(y));
    check_case(check, run_dot, &c,
               "%s: q %d to %d panels %d columns %d column %d token %d tokens %d ld %d mode %d", made_of,
               panels->q_low, panels->q_high, c.n_panels, panels->columns, (int)c.column, (int)c.token,
               (int)c.tokens, (int)c.ld, (int)mode);
}

static void check_dot(struct check *check, enum mlt_panel_kind kind)
{
    struct mlt_panel *panels = test_alloc(MLT_MAX_PANELS * sizeof *panels);
    uint8_t *blocks = test_alloc(MLT_PANEL_ROWS * MLT_PANEL_COLUMNS * 2);
    for (int round = 0; round < 16 * check->rounds; round++) {
        int columns =
            kind == MLT_PANEL_BLOCK32 ? 32 * (1 + random_below(&check->random, 8)) : MLT_PANEL_COLUMNS;
        bool has_min = random_below(&check->random, 2) == 0;
        int low, high;
        random_range(&check->random, kind, &low, &high);
        for (int i = 0; i < MLT_MAX_PANELS; i++) {
            random_bytes(&check->random, &panels[i], sizeof panels[i]);
            panels[i].q_low = low;
            panels[i].q_high = high;
            synthetic_panel(&check->random, kind, columns, has_min, round % 2 == 1, &panels[i]);
        }
        check_dot_case(check, panels, "synthetic");
    }
    for (int number = 0; number < MLT_DTYPE_LIMIT; number++) {
        if (!check->scalar->unpack[number]) continue;
        mlt_dtype dtype = (mlt_dtype)number;
        const struct mlt_dtype_info *info = mlt_dtype_info(dtype);
        for (int round = 0; round < 2 * check->rounds; round++) {
            for (int mode = 0; mode < BLOCK_MODES; mode++) {
                int columns =
                    info->block_length == 32 ? 32 * (1 + random_below(&check->random, 8)) : MLT_PANEL_COLUMNS;
                for (int i = 0; i < MLT_MAX_PANELS; i++) {
                    const uint8_t *rows[MLT_PANEL_ROWS];
                    for (int r = 0; r < MLT_PANEL_ROWS; r++)
                        rows[r] = blocks + (size_t)r * mlt_dtype_row_bytes(dtype, columns);
                    random_blocks(&check->random, dtype, (enum block_mode)mode, blocks,
                                  MLT_PANEL_ROWS * columns);
                    check->scalar->unpack[dtype](rows, 0, columns, &panels[i]);
                }
                if (panels->kind != kind) break;
                check_dot_case(check, panels, info->name);
            }
        }
    }
    free(blocks);
    free(panels);
}

/* ---- rows ---- */

void rows_by_panels(const struct mlt_kernels *table, mlt_dtype dtype,
                    const uint8_t *const rows[MLT_PANEL_ROWS], const struct mlt_act *act, int64_t token,
                    float y[MLT_PANEL_ROWS])
{
    static struct mlt_panel panel;
    memset(y, 0, MLT_PANEL_ROWS * sizeof *y);
    for (int64_t column = 0; column < act->columns; column += MLT_PANEL_COLUMNS) {
        int columns = (int)MLT_MIN(act->columns - column, MLT_PANEL_COLUMNS);
        table->unpack[dtype](rows, column, columns, &panel);
        dot_of(table, panel.kind)(&panel, 1, column, act, token, 1, y, MLT_PANEL_ROWS);
    }
}

struct rows_case {
    struct unpack_case w;
    struct dot_case x;
};

static void run_rows(const struct mlt_kernels *table, const void *context)
{
    const struct rows_case *c = context;
    const uint8_t *rows[MLT_PANEL_ROWS];
    guard_rows(&c->w, rows);
    struct mlt_act act = guard_act(&c->x);
    const int64_t token = c->x.token, tokens = c->x.tokens, ld = c->x.ld;
    float *y =
        guard_output(c->x.y, (size_t)((tokens - 1) * ld + MLT_PANEL_ROWS) * sizeof(float), COMPARE_FLOATS);
    if (tokens > 1 && table->few_rows[c->w.dtype]) {
        table->few_rows[c->w.dtype](rows, &act, token, (int)tokens, y, ld);
        return;
    }
    for (int64_t t = 0; t < tokens; t++) {
        if (table->rows[c->w.dtype])
            table->rows[c->w.dtype](rows, &act, token + t, y + t * ld);
        else
            rows_by_panels(table, c->w.dtype, rows, &act, token + t, y + t * ld);
    }
}

static void check_rows(struct check *check, mlt_dtype dtype)
{
    enum { MAX_TOKENS = 2 + MLT_FEW_TOKENS, MAX_COLUMNS = 5 * MLT_PANEL_COLUMNS };
    static const float y[MLT_FEW_TOKENS * (MLT_PANEL_ROWS + 8)];
    static int8_t q[MAX_TOKENS * MAX_COLUMNS];
    static float d[MAX_TOKENS * MAX_COLUMNS / 32];
    static int16_t sums[MAX_TOKENS * MAX_COLUMNS / 16], reach[MAX_TOKENS * MAX_COLUMNS / 32];
    const struct mlt_dtype_info *info = mlt_dtype_info(dtype);
    uint8_t *blocks = test_alloc(MLT_PANEL_ROWS * mlt_dtype_row_bytes(dtype, MAX_COLUMNS));
    struct mlt_random *random = &check->random;
    for (int round = 0; round < 4 * check->rounds; round++) {
        for (int mode = 0; mode < BLOCK_MODES; mode++) {
            int64_t columns =
                info->block_length * (1 + random_below(random, MAX_COLUMNS / info->block_length));
            struct rows_case c = {.w = {.blocks = blocks,
                                        .row_bytes = mlt_dtype_row_bytes(dtype, columns),
                                        .dtype = dtype,
                                        .rows = 1 + random_below(random, MLT_PANEL_ROWS),
                                        .one_matrix = random_below(random, 2) == 0}};
            c.x.act.block = info->block_length;
            c.x.act.columns = columns;
            c.x.token = random_below(random, 3);
            c.x.tokens = random_below(random, 2) ? 1 : 2 + random_below(random, MLT_FEW_TOKENS - 1);
            c.x.act_tokens = c.x.token + c.x.tokens;
            c.x.ld = MLT_PANEL_ROWS + random_below(random, 8);
            c.x.y = y;
            enum act_mode act = (enum act_mode)random_below(random, ACT_MODES);
            random_act(random, &c.x, act, q, d, sums, reach);
            random_blocks(random, dtype, (enum block_mode)mode, blocks, columns * MLT_PANEL_ROWS);
            check_case(check, run_rows, &c, "columns %d rows %d mode %d activations %d tokens %d",
                       (int)columns, c.w.rows, mode, (int)act, (int)c.x.tokens);
        }
    }
    free(blocks);
}

void check_quantized(struct check *check, const char *filter)
{
    const struct mlt_kernels *a = check->scalar, *b = check->variant;
    if (a->quantize != b->quantize && check_begin(check, "quantize", filter)) check_quantize(check);
    for (int dtype = 0; dtype < MLT_DTYPE_LIMIT; dtype++) {
        if (a->unpack[dtype] == b->unpack[dtype]) continue;
        char name[32];
        snprintf(name, sizeof name, "unpack %s", mlt_dtype_info((mlt_dtype)dtype)->name);
        if (check_begin(check, name, filter)) check_unpack(check, (mlt_dtype)dtype);
    }
    for (int dtype = 0; dtype < MLT_DTYPE_LIMIT; dtype++) {
        if (a->rows[dtype] == b->rows[dtype] && a->few_rows[dtype] == b->few_rows[dtype]) continue;
        char name[32];
        snprintf(name, sizeof name, "rows %s", mlt_dtype_info((mlt_dtype)dtype)->name);
        if (check_begin(check, name, filter)) check_rows(check, (mlt_dtype)dtype);
    }
    if (a->dot_block32 != b->dot_block32 && check_begin(check, "dot_block32", filter))
        check_dot(check, MLT_PANEL_BLOCK32);
    if (a->dot_super32 != b->dot_super32 && check_begin(check, "dot_super32", filter))
        check_dot(check, MLT_PANEL_SUPER32);
    if (a->dot_super16 != b->dot_super16 && check_begin(check, "dot_super16", filter))
        check_dot(check, MLT_PANEL_SUPER16);
}
