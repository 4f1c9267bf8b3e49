/*
 * Integer dot products of panels with vpmaddubsw, which multiplies unsigned with signed bytes and adds pairs
 * in 16 bits. The including file defines a register of LANES rows and its operations (reg_...).
 *
 * Codes of a small range are made unsigned by taking q_low off; their products with |x| <= 127 are added in
 * 16 bits over `run` times four columns, as many as cannot overflow, and only then widened, by vpmaddwd with
 * ones or with the group's scale. q_low times the sum of x comes back at the end. Codes of a wide range (run
 * 0) are taken as |q| times x with q's sign: two products of at most 128 * 127 fit.
 *
 * A tile is LANES rows by four tokens or one. Accumulators have names of their own, since compilers leave
 * arrays of them in memory; conditions on n_tokens, run and group are decided when a tile is compiled.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "kernels/x86/x86.h"

#include <string.h>

#define TILE_FUNCTION static inline __attribute__((always_inline)) void

/* The tokens of a tile (the first, or four) from the panel's first column on. */
struct tokens {
    const int8_t *x[4];
    const float *d[4];
    float *y[4];
    _Alignas(16) int16_t sums[4][16]; /* of x, by group */
};

/* One sum a token. */
struct sums {
    reg a0, a1, a2, a3;
};

struct outputs {
    reg_float y0, y1, y2, y3;
};

static inline int32_t load_dword(const void *p)
{
    int32_t value;
    memcpy(&value, p, sizeof value);
    return value;
}

static inline reg broadcast4(const int8_t *x)
{
    return reg_set32(load_dword(x));
}

/* Entry i becomes token t. Sums of 16 columns are added in pairs where `pairs` is set. */
static inline void load_token(struct tokens *tokens, int i, const struct mlt_act *act, int64_t t,
                              int64_t column, int columns, bool pairs, float *y)
{
    const int16_t *sums = act->sums + t * (act->columns / 16) + column / 16;
    tokens->x[i] = act->q + t * act->columns + column;
    tokens->d[i] = act->d + t * (act->columns / act->block) + column / act->block;
    tokens->y[i] = y;
    memcpy(tokens->sums[i], sums, (size_t)columns / 16 * sizeof *sums);
    for (int g = 0; pairs && g < columns / 32; g++)
        tokens->sums[i][g] = (int16_t)(tokens->sums[i][2 * g] + tokens->sums[i][2 * g + 1]);
}

/* ---- Sums of one group ---- */

/* Keeps a sum as it is: gcc turns chains of additions into trees, whose leaves do not fit the registers. */
#if defined(__clang__)
#define KEEP(sum) (void)(sum)
#else
#define KEEP(sum) __asm__("" : "+v"(sum))
#endif

static inline struct sums no_sums(void)
{
    reg zero = reg_set32(0);
    return (struct sums){zero, zero, zero, zero};
}

/* Products of `run` times four columns of all tokens, widened with `factor` and added to s. */
TILE_FUNCTION add_run(struct sums *s, int n_tokens, int run, const int8_t *w, const struct tokens *tokens,
                      int column, reg low, reg factor)
{
    struct sums r = no_sums();
    for (int i = 0; i < run; i++) {
        reg u = reg_sub8(reg_load(w + 64 * i), low);
        reg p0 = reg_maddubs(u, broadcast4(tokens->x[0] + column + 4 * i));
        r.a0 = i == 0 ? p0 : reg_add16(r.a0, p0);
        KEEP(r.a0);
        if (n_tokens == 1) continue;
        reg p1 = reg_maddubs(u, broadcast4(tokens->x[1] + column + 4 * i));
        reg p2 = reg_maddubs(u, broadcast4(tokens->x[2] + column + 4 * i));
        reg p3 = reg_maddubs(u, broadcast4(tokens->x[3] + column + 4 * i));
        r.a1 = i == 0 ? p1 : reg_add16(r.a1, p1);
        r.a2 = i == 0 ? p2 : reg_add16(r.a2, p2);
        r.a3 = i == 0 ? p3 : reg_add16(r.a3, p3);
        KEEP(r.a1);
        KEEP(r.a2);
        KEEP(r.a3);
    }
    s->a0 = reg_add32(s->a0, reg_madd(r.a0, factor));
    if (n_tokens == 1) return;
    s->a1 = reg_add32(s->a1, reg_madd(r.a1, factor));
    s->a2 = reg_add32(s->a2, reg_madd(r.a2, factor));
    s->a3 = reg_add32(s->a3, reg_madd(r.a3, factor));
}

/* The same for four columns of any codes, with a factor of 1. */
TILE_FUNCTION add_wide(struct sums *s, int n_tokens, const int8_t *w, const struct tokens *tokens, int column,
                       reg ones)
{
    struct reg_signed q = reg_split_sign(reg_load(w));
    s->a0 = reg_add32(s->a0, reg_madd(reg_maddubs_signed(q, broadcast4(tokens->x[0] + column)), ones));
    if (n_tokens == 1) return;
    s->a1 = reg_add32(s->a1, reg_madd(reg_maddubs_signed(q, broadcast4(tokens->x[1] + column)), ones));
    s->a2 = reg_add32(s->a2, reg_madd(reg_maddubs_signed(q, broadcast4(tokens->x[2] + column)), ones));
    s->a3 = reg_add32(s->a3, reg_madd(reg_maddubs_signed(q, broadcast4(tokens->x[3] + column)), ones));
}

TILE_FUNCTION add_group(struct sums *s, int n_tokens, int run, int group, const int8_t *w,
                        const struct tokens *tokens, int column, reg low, reg factor)
{
    for (int i = 0; i < group / 4; i += run ? run : 1) {
        if (run)
            add_run(s, n_tokens, run, w + 64 * i, tokens, column + 4 * i, low, factor);
        else
            add_wide(s, n_tokens, w + 64 * i, tokens, column + 4 * i, factor);
    }
}

/* s + factor * value, a value a token */
TILE_FUNCTION add_scaled(struct sums *s, int n_tokens, reg factor, const struct sums *values)
{
    s->a0 = reg_add32(s->a0, reg_mul32(factor, values->a0));
    if (n_tokens == 1) return;
    s->a1 = reg_add32(s->a1, reg_mul32(factor, values->a1));
    s->a2 = reg_add32(s->a2, reg_mul32(factor, values->a2));
    s->a3 = reg_add32(s->a3, reg_mul32(factor, values->a3));
}

/* s + pairs . (sums of x of two groups) */
TILE_FUNCTION add_sums(struct sums *s, int n_tokens, reg pairs, const struct tokens *tokens, int group)
{
    s->a0 = reg_add32(s->a0, reg_madd(pairs, reg_set32(load_dword(&tokens->sums[0][group]))));
    if (n_tokens == 1) return;
    s->a1 = reg_add32(s->a1, reg_madd(pairs, reg_set32(load_dword(&tokens->sums[1][group]))));
    s->a2 = reg_add32(s->a2, reg_madd(pairs, reg_set32(load_dword(&tokens->sums[2][group]))));
    s->a3 = reg_add32(s->a3, reg_madd(pairs, reg_set32(load_dword(&tokens->sums[3][group]))));
}

/* ---- Outputs ---- */

TILE_FUNCTION load_outputs(struct outputs *y, int n_tokens, const struct tokens *tokens, int row)
{
    y->y0 = reg_load_float(tokens->y[0] + row);
    if (n_tokens == 1) return;
    y->y1 = reg_load_float(tokens->y[1] + row);
    y->y2 = reg_load_float(tokens->y[2] + row);
    y->y3 = reg_load_float(tokens->y[3] + row);
}

TILE_FUNCTION store_outputs(const struct outputs *y, int n_tokens, const struct tokens *tokens, int row)
{
    reg_store_float(tokens->y[0] + row, y->y0);
    if (n_tokens == 1) return;
    reg_store_float(tokens->y[1] + row, y->y1);
    reg_store_float(tokens->y[2] + row, y->y2);
    reg_store_float(tokens->y[3] + row, y->y3);
}

/* y = fma(d * dx, (float)sum, y) */
TILE_FUNCTION add_outputs(struct outputs *y, int n_tokens, const float *d, const struct sums *s,
                          const struct tokens *tokens, int block)
{
    reg_float factor = reg_load_float(d);
    y->y0 = reg_fma(reg_mul_float(factor, tokens->d[0][block]), reg_to_float(s->a0), y->y0);
    if (n_tokens == 1) return;
    y->y1 = reg_fma(reg_mul_float(factor, tokens->d[1][block]), reg_to_float(s->a1), y->y1);
    y->y2 = reg_fma(reg_mul_float(factor, tokens->d[2][block]), reg_to_float(s->a2), y->y2);
    y->y3 = reg_fma(reg_mul_float(factor, tokens->d[3][block]), reg_to_float(s->a3), y->y3);
}

/* y = fma(m, dx * (float)(sum of x), y) */
TILE_FUNCTION add_mins(struct outputs *y, int n_tokens, const float *m, const struct tokens *tokens,
                       int block)
{
    reg_float factor = reg_load_float(m);
    y->y0 = reg_fma(factor, reg_set_float(tokens->d[0][block] * (float)tokens->sums[0][block]), y->y0);
    if (n_tokens == 1) return;
    y->y1 = reg_fma(factor, reg_set_float(tokens->d[1][block] * (float)tokens->sums[1][block]), y->y1);
    y->y2 = reg_fma(factor, reg_set_float(tokens->d[2][block] * (float)tokens->sums[2][block]), y->y2);
    y->y3 = reg_fma(factor, reg_set_float(tokens->d[3][block] * (float)tokens->sums[3][block]), y->y3);
}

/* y = fma(-(m * dx), (float)sum, y) */
TILE_FUNCTION subtract_outputs(struct outputs *y, int n_tokens, const float *m, const struct sums *s,
                               const struct tokens *tokens)
{
    reg_float factor = reg_load_float(m);
    y->y0 = reg_fnma(reg_mul_float(factor, *tokens->d[0]), reg_to_float(s->a0), y->y0);
    if (n_tokens == 1) return;
    y->y1 = reg_fnma(reg_mul_float(factor, *tokens->d[1]), reg_to_float(s->a1), y->y1);
    y->y2 = reg_fnma(reg_mul_float(factor, *tokens->d[2]), reg_to_float(s->a2), y->y2);
    y->y3 = reg_fnma(reg_mul_float(factor, *tokens->d[3]), reg_to_float(s->a3), y->y3);
}

/* ---- Tiles ---- */

/* Sums that start at `factor` times each token's sum of x of one group. */
TILE_FUNCTION start_sums(struct sums *s, int n_tokens, int factor, const struct tokens *tokens, int group)
{
    s->a0 = reg_set32(factor * tokens->sums[0][group]);
    if (n_tokens == 1) return;
    s->a1 = reg_set32(factor * tokens->sums[1][group]);
    s->a2 = reg_set32(factor * tokens->sums[2][group]);
    s->a3 = reg_set32(factor * tokens->sums[3][group]);
}

TILE_FUNCTION tile_block32(int n_tokens, int run, const struct mlt_panel *panel, const struct tokens *tokens,
                           int row)
{
    reg low = reg_set8(panel->q_low), ones = reg_set16(1);
    struct sums s;
    struct outputs y;
    load_outputs(&y, n_tokens, tokens, row);
    for (int b = 0; b < panel->columns / 32; b++) {
        start_sums(&s, n_tokens, run ? panel->q_low : 0, tokens, b);
        add_group(&s, n_tokens, run, 32, panel->q[8 * b][row], tokens, 32 * b, low, ones);
        add_outputs(&y, n_tokens, panel->d[b] + row, &s, tokens, b);
        if (!panel->has_min) continue;
        add_mins(&y, n_tokens, panel->m[b] + row, tokens, b);
    }
    store_outputs(&y, n_tokens, tokens, row);
}

/* The 16-bit values of two groups beside each other. */
static inline reg pair_of(const int32_t first[MLT_PANEL_ROWS], const int32_t second[MLT_PANEL_ROWS], int row)
{
    reg low_halves = reg_and(reg_load(first + row), reg_set32(0xffff));
    return reg_or(low_halves, reg_shl32(reg_load(second + row), 16));
}

TILE_FUNCTION tile_super(int n_tokens, int run, int group, const struct mlt_panel *panel,
                         const struct tokens *tokens, int row)
{
    const int groups = MLT_PANEL_COLUMNS / group;
    reg low = reg_set8(panel->q_low), ones = reg_set16(1);
    struct sums s = no_sums();
    struct outputs y;
    for (int g = 0; g < groups; g++) {
        const int8_t *w = panel->q[group / 4 * g][row];
        if (run) {
            reg scale = pair_of(panel->scale[g], panel->scale[g], row);
            add_group(&s, n_tokens, run, group, w, tokens, group * g, low, scale);
        } else {
            struct sums one = no_sums();
            add_group(&one, n_tokens, 0, group, w, tokens, group * g, low, ones);
            add_scaled(&s, n_tokens, reg_load(panel->scale[g] + row), &one);
        }
    }
    if (run && panel->q_low) {
        struct sums lows = no_sums();
        for (int g = 0; g < groups; g += 2)
            add_sums(&lows, n_tokens, pair_of(panel->scale[g], panel->scale[g + 1], row), tokens, g);
        add_scaled(&s, n_tokens, reg_set32(panel->q_low), &lows);
    }
    load_outputs(&y, n_tokens, tokens, row);
    add_outputs(&y, n_tokens, panel->d[0] + row, &s, tokens, 0);
    if (panel->has_min) {
        struct sums mins = no_sums();
        for (int g = 0; g < groups; g += 2)
            add_sums(&mins, n_tokens, pair_of(panel->min[g], panel->min[g + 1], row), tokens, g);
        subtract_outputs(&y, n_tokens, panel->m[0] + row, &mins, tokens);
    }
    store_outputs(&y, n_tokens, tokens, row);
}

/* ---- All tiles of a call ---- */

enum { GROUP_NONE = 0 }; /* blocks of 32, else the columns of a group */

TILE_FUNCTION run_tile(int n_tokens, int run, int group, const struct mlt_panel *panel,
                       const struct tokens *tokens)
{
    for (int row = 0; row < MLT_PANEL_ROWS; row += LANES) {
        if (group == GROUP_NONE)
            tile_block32(n_tokens, run, panel, tokens, row);
        else
            tile_super(n_tokens, run, group, panel, tokens, row);
    }
}

/* How many times four columns of codes in 0..span fit 16 bits with |x| <= 127: one of three, or 0. */
static inline int run_for(int span, int most)
{
    int run = 32767 / (2 * 127 * span);
    return run >= most ? most : run >= most / 2 ? most / 2 : 0;
}

/* Tokens are taken by four; the last one to three as four with the last one repeated: the same result is then
 * stored again. */
TILE_FUNCTION dot_panels(int group, const struct mlt_panel *panels, int n_panels, int64_t column,
                         const struct mlt_act *act, int64_t token, int64_t n_tokens, float *y, int64_t ld)
{
    enum { MOST = 8 };
    const int most = group == 16 ? MOST / 2 : MOST;
    struct tokens tokens;
    int run = run_for(panels->q_high - panels->q_low, most);
    for (int p = 0; p < n_panels; p++) {
        for (int64_t t = 0; t < n_tokens; t += 4) {
            int count = (int)MLT_MIN(n_tokens - t, 4), n = count == 1 ? 1 : 4;
            for (int i = 0; i < n; i++) {
                int64_t k = t + MLT_MIN(i, count - 1);
                load_token(&tokens, i, act, token + k, column, panels->columns, group != 16,
                           y + k * ld + p * MLT_PANEL_ROWS);
            }
            if (n == 4 && run == most)
                run_tile(4, most, group, panels + p, &tokens);
            else if (n == 4 && run)
                run_tile(4, most / 2, group, panels + p, &tokens);
            else if (n == 4)
                run_tile(4, 0, group, panels + p, &tokens);
            else if (run == most)
                run_tile(1, most, group, panels + p, &tokens);
            else if (run)
                run_tile(1, most / 2, group, panels + p, &tokens);
            else
                run_tile(1, 0, group, panels + p, &tokens);
        }
    }
}

static void dot_block32(const struct mlt_panel *panels, int n_panels, int64_t column,
                        const struct mlt_act *act, int64_t token, int64_t tokens, float *y, int64_t ld)
{
    dot_panels(GROUP_NONE, panels, n_panels, column, act, token, tokens, y, ld);
}

static void dot_super32(const struct mlt_panel *panels, int n_panels, int64_t column,
                        const struct mlt_act *act, int64_t token, int64_t tokens, float *y, int64_t ld)
{
    dot_panels(32, panels, n_panels, column, act, token, tokens, y, ld);
}

static void dot_super16(const struct mlt_panel *panels, int n_panels, int64_t column,
                        const struct mlt_act *act, int64_t token, int64_t tokens, float *y, int64_t ld)
{
    dot_panels(16, panels, n_panels, column, act, token, tokens, y, ld);
}

static inline void set_dot_panels(struct mlt_kernels *table)
{
    table->dot_block32 = dot_block32;
    table->dot_super32 = dot_super32;
    table->dot_super16 = dot_super16;
}

#undef KEEP
#undef TILE_FUNCTION
