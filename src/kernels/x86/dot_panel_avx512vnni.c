/*
 * Integer dot products of panels with AVX-512 VNNI: a lane is a row.
 *
 * vpdpbusd multiplies unsigned with signed bytes, so weights become w + 128, and sums start at -128 times the
 * sum of x.
 *
 * Tiles are two panels by four tokens, so that a broadcast serves two products and a load of weights four;
 * with one panel or one token fewer registers are used. Accumulators have names of their own, since compilers
 * leave arrays of them in memory; conditions on a tile's size are decided when it is compiled.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "kernels/x86/x86.h"

#include <string.h>

enum { OFFSET = -128 };

#define TILE_FUNCTION static inline __attribute__((always_inline)) void

/* The tokens of a tile (the first, or four) from the panel's first column on. */
struct tokens {
    const int8_t *x[4];
    const float *d[4];
    float *y[4];
    int32_t start[4][16];             /* OFFSET * (sum of x), a group each */
    _Alignas(16) int16_t sums[4][16]; /* sum of x, a group each (of 32 columns: the first 8) */
};

static inline int32_t load_dword(const void *p)
{
    int32_t value;
    memcpy(&value, p, sizeof value);
    return value;
}

/* Four columns of sixteen rows, + 128. */
static inline __m512i load_weights(const int8_t *w)
{
    return _mm512_xor_si512(_mm512_load_si512(w), _mm512_set1_epi8(-128));
}

static inline __m512i broadcast4(const int8_t *x)
{
    return _mm512_set1_epi32(load_dword(x));
}

/* Entry i becomes token t. `pairs`: groups are of 32 columns, else of 16. */
static inline void load_token(struct tokens *tokens, int i, const struct mlt_act *act, int64_t t,
                              int64_t column, int columns, bool pairs, float *y)
{
    const int16_t *sums = act->sums + t * (act->columns / 16) + column / 16;
    tokens->x[i] = act->q + t * act->columns + column;
    tokens->d[i] = act->d + t * (act->columns / act->block) + column / act->block;
    tokens->y[i] = y;
    __mmask16 present = (__mmask16)((1u << columns / 16) - 1);
    __m256i v = _mm256_maskz_loadu_epi16(present, sums);
    if (pairs) {
        __m256i sums32 = _mm256_madd_epi16(v, _mm256_set1_epi16(1));
        _mm256_storeu_si256((__m256i *)tokens->start[i], _mm256_madd_epi16(v, _mm256_set1_epi16(OFFSET)));
        _mm_store_si128((__m128i *)tokens->sums[i], _mm256_cvtepi32_epi16(sums32));
    } else {
        __m512i sums16 = _mm512_cvtepi16_epi32(v);
        _mm512_storeu_si512(tokens->start[i], _mm512_mullo_epi32(sums16, _mm512_set1_epi32(OFFSET)));
        _mm256_storeu_si256((__m256i *)tokens->sums[i], v);
    }
}

/* Sums of one tile, a<p><t> of panel p and token t. */
struct sums {
    __m512i a00, a01, a02, a03, a10, a11, a12, a13;
};

TILE_FUNCTION start_sums(struct sums *s, int n_panels, int n_tokens, const struct tokens *tokens, int group)
{
    s->a00 = _mm512_set1_epi32(tokens->start[0][group]);
    if (n_panels > 1) s->a10 = s->a00;
    if (n_tokens == 1) return;
    s->a01 = _mm512_set1_epi32(tokens->start[1][group]);
    s->a02 = _mm512_set1_epi32(tokens->start[2][group]);
    s->a03 = _mm512_set1_epi32(tokens->start[3][group]);
    if (n_panels == 1) return;
    s->a11 = s->a01;
    s->a12 = s->a02;
    s->a13 = s->a03;
}

TILE_FUNCTION add_quad(struct sums *s, int n_panels, int n_tokens, const int8_t *w0, const int8_t *w1,
                       const struct tokens *tokens, int column)
{
    __m512i v0 = load_weights(w0), v1 = v0;
    if (n_panels > 1) v1 = load_weights(w1);
    __m512i x = broadcast4(tokens->x[0] + column);
    s->a00 = _mm512_dpbusd_epi32(s->a00, v0, x);
    if (n_panels > 1) s->a10 = _mm512_dpbusd_epi32(s->a10, v1, x);
    if (n_tokens == 1) return;
    x = broadcast4(tokens->x[1] + column);
    s->a01 = _mm512_dpbusd_epi32(s->a01, v0, x);
    if (n_panels > 1) s->a11 = _mm512_dpbusd_epi32(s->a11, v1, x);
    x = broadcast4(tokens->x[2] + column);
    s->a02 = _mm512_dpbusd_epi32(s->a02, v0, x);
    if (n_panels > 1) s->a12 = _mm512_dpbusd_epi32(s->a12, v1, x);
    x = broadcast4(tokens->x[3] + column);
    s->a03 = _mm512_dpbusd_epi32(s->a03, v0, x);
    if (n_panels > 1) s->a13 = _mm512_dpbusd_epi32(s->a13, v1, x);
}

/* The products of one group of 32 or 16 columns from `column` on. */
TILE_FUNCTION sum_group(struct sums *s, int n_panels, int n_tokens, const struct mlt_panel *p0,
                        const struct mlt_panel *p1, const struct tokens *tokens, int column,
                        int group_columns)
{
    start_sums(s, n_panels, n_tokens, tokens, column / group_columns);
    const int8_t *w0 = p0->q[column / 4][0], *w1 = p1->q[column / 4][0];
#pragma GCC unroll 8
    for (int i = 0; i < group_columns / 4; i++)
        add_quad(s, n_panels, n_tokens, w0 + 64 * i, w1 + 64 * i, tokens, column + 4 * i);
}

/* ---- Blocks of 32 ---- */

struct outputs {
    __m512 y00, y01, y02, y03, y10, y11, y12, y13;
};

/* fma(d * dx, sum, y), then the same for the min. */
static inline __m512 add_block(__m512 y, __m512i sum, bool has_min, const struct mlt_panel *panel, int block,
                               float dx, int xsum)
{
    __m512 d = _mm512_mul_ps(_mm512_load_ps(panel->d[block]), _mm512_set1_ps(dx));
    y = _mm512_fmadd_ps(d, _mm512_cvtepi32_ps(sum), y);
    if (!has_min) return y;
    __m512 m = _mm512_mul_ps(_mm512_load_ps(panel->m[block]), _mm512_set1_ps(dx));
    return _mm512_fmadd_ps(m, _mm512_set1_ps((float)xsum), y);
}

TILE_FUNCTION load_outputs(struct outputs *y, int n_panels, int n_tokens, const struct tokens *tokens,
                           int at1)
{
    y->y00 = _mm512_loadu_ps(tokens->y[0]);
    if (n_panels > 1) y->y10 = _mm512_loadu_ps(tokens->y[0] + at1);
    if (n_tokens == 1) return;
    y->y01 = _mm512_loadu_ps(tokens->y[1]);
    y->y02 = _mm512_loadu_ps(tokens->y[2]);
    y->y03 = _mm512_loadu_ps(tokens->y[3]);
    if (n_panels == 1) return;
    y->y11 = _mm512_loadu_ps(tokens->y[1] + at1);
    y->y12 = _mm512_loadu_ps(tokens->y[2] + at1);
    y->y13 = _mm512_loadu_ps(tokens->y[3] + at1);
}

TILE_FUNCTION store_outputs(const struct outputs *y, int n_panels, int n_tokens, const struct tokens *tokens,
                            int at1)
{
    _mm512_storeu_ps(tokens->y[0], y->y00);
    if (n_panels > 1) _mm512_storeu_ps(tokens->y[0] + at1, y->y10);
    if (n_tokens == 1) return;
    _mm512_storeu_ps(tokens->y[1], y->y01);
    _mm512_storeu_ps(tokens->y[2], y->y02);
    _mm512_storeu_ps(tokens->y[3], y->y03);
    if (n_panels == 1) return;
    _mm512_storeu_ps(tokens->y[1] + at1, y->y11);
    _mm512_storeu_ps(tokens->y[2] + at1, y->y12);
    _mm512_storeu_ps(tokens->y[3] + at1, y->y13);
}

TILE_FUNCTION tile_block32(int n_panels, int n_tokens, bool has_min, const struct mlt_panel *p0,
                           const struct tokens *tokens)
{
    const struct mlt_panel *p1 = p0 + (n_panels - 1);
    struct sums s;
    struct outputs y;
    load_outputs(&y, n_panels, n_tokens, tokens, 16);
    for (int b = 0; b < p0->columns / 32; b++) {
        sum_group(&s, n_panels, n_tokens, p0, p1, tokens, 32 * b, 32);
        y.y00 = add_block(y.y00, s.a00, has_min, p0, b, tokens->d[0][b], tokens->sums[0][b]);
        if (n_panels > 1)
            y.y10 = add_block(y.y10, s.a10, has_min, p1, b, tokens->d[0][b], tokens->sums[0][b]);
        if (n_tokens == 1) continue;
        y.y01 = add_block(y.y01, s.a01, has_min, p0, b, tokens->d[1][b], tokens->sums[1][b]);
        y.y02 = add_block(y.y02, s.a02, has_min, p0, b, tokens->d[2][b], tokens->sums[2][b]);
        y.y03 = add_block(y.y03, s.a03, has_min, p0, b, tokens->d[3][b], tokens->sums[3][b]);
        if (n_panels == 1) continue;
        y.y11 = add_block(y.y11, s.a11, has_min, p1, b, tokens->d[1][b], tokens->sums[1][b]);
        y.y12 = add_block(y.y12, s.a12, has_min, p1, b, tokens->d[2][b], tokens->sums[2][b]);
        y.y13 = add_block(y.y13, s.a13, has_min, p1, b, tokens->d[3][b], tokens->sums[3][b]);
    }
    store_outputs(&y, n_panels, n_tokens, tokens, 16);
}

/* ---- Superblocks of 256 ---- */

static inline __m512i add_scaled(__m512i isum, __m512i sum, __m512i scale)
{
    return _mm512_add_epi32(isum, _mm512_mullo_epi32(sum, scale));
}

/* msum + min . xsum for two groups: all are 16-bit numbers. */
static inline __m512i add_mins(__m512i msum, __m512i mins, const int16_t *xsums)
{
    return _mm512_dpwssd_epi32(msum, mins, _mm512_set1_epi32(load_dword(xsums)));
}

static inline __m512i min_pair(const struct mlt_panel *panel, int group)
{
    return _mm512_or_si512(_mm512_load_si512(panel->min[group]),
                           _mm512_slli_epi32(_mm512_load_si512(panel->min[group + 1]), 16));
}

static inline __m512 add_super(__m512 y, __m512i isum, const struct mlt_panel *panel, float dx)
{
    __m512 d = _mm512_mul_ps(_mm512_load_ps(panel->d[0]), _mm512_set1_ps(dx));
    return _mm512_fmadd_ps(d, _mm512_cvtepi32_ps(isum), y);
}

static inline __m512 subtract_mins(__m512 y, __m512i msum, const struct mlt_panel *panel, float dx)
{
    __m512 m = _mm512_mul_ps(_mm512_load_ps(panel->m[0]), _mm512_set1_ps(dx));
    return _mm512_fnmadd_ps(m, _mm512_cvtepi32_ps(msum), y);
}

TILE_FUNCTION tile_super(int n_panels, int n_tokens, int group, const struct mlt_panel *p0,
                         const struct tokens *tokens)
{
    const struct mlt_panel *p1 = p0 + (n_panels - 1);
    const __m512i zero = _mm512_setzero_si512();
    struct sums s, i = {zero, zero, zero, zero, zero, zero, zero, zero}, m = i;
    struct outputs y;
    for (int g = 0; g < MLT_PANEL_COLUMNS / group; g++) {
        sum_group(&s, n_panels, n_tokens, p0, p1, tokens, group * g, group);
        __m512i scale0 = _mm512_load_si512(p0->scale[g]), scale1 = _mm512_load_si512(p1->scale[g]);
        i.a00 = add_scaled(i.a00, s.a00, scale0);
        if (n_panels > 1) i.a10 = add_scaled(i.a10, s.a10, scale1);
        if (n_tokens == 1) continue;
        i.a01 = add_scaled(i.a01, s.a01, scale0);
        i.a02 = add_scaled(i.a02, s.a02, scale0);
        i.a03 = add_scaled(i.a03, s.a03, scale0);
        if (n_panels == 1) continue;
        i.a11 = add_scaled(i.a11, s.a11, scale1);
        i.a12 = add_scaled(i.a12, s.a12, scale1);
        i.a13 = add_scaled(i.a13, s.a13, scale1);
    }
    load_outputs(&y, n_panels, n_tokens, tokens, 16);
    y.y00 = add_super(y.y00, i.a00, p0, *tokens->d[0]);
    if (n_panels > 1) y.y10 = add_super(y.y10, i.a10, p1, *tokens->d[0]);
    if (n_tokens > 1) {
        y.y01 = add_super(y.y01, i.a01, p0, *tokens->d[1]);
        y.y02 = add_super(y.y02, i.a02, p0, *tokens->d[2]);
        y.y03 = add_super(y.y03, i.a03, p0, *tokens->d[3]);
    }
    if (n_panels > 1 && n_tokens > 1) {
        y.y11 = add_super(y.y11, i.a11, p1, *tokens->d[1]);
        y.y12 = add_super(y.y12, i.a12, p1, *tokens->d[2]);
        y.y13 = add_super(y.y13, i.a13, p1, *tokens->d[3]);
    }
    if (p0->has_min) {
        for (int g = 0; g < MLT_PANEL_COLUMNS / group; g += 2) {
            __m512i min0 = min_pair(p0, g), min1 = min0;
            m.a00 = add_mins(m.a00, min0, &tokens->sums[0][g]);
            if (n_panels > 1) {
                min1 = min_pair(p1, g);
                m.a10 = add_mins(m.a10, min1, &tokens->sums[0][g]);
            }
            if (n_tokens == 1) continue;
            m.a01 = add_mins(m.a01, min0, &tokens->sums[1][g]);
            m.a02 = add_mins(m.a02, min0, &tokens->sums[2][g]);
            m.a03 = add_mins(m.a03, min0, &tokens->sums[3][g]);
            if (n_panels == 1) continue;
            m.a11 = add_mins(m.a11, min1, &tokens->sums[1][g]);
            m.a12 = add_mins(m.a12, min1, &tokens->sums[2][g]);
            m.a13 = add_mins(m.a13, min1, &tokens->sums[3][g]);
        }
        y.y00 = subtract_mins(y.y00, m.a00, p0, *tokens->d[0]);
        if (n_panels > 1) y.y10 = subtract_mins(y.y10, m.a10, p1, *tokens->d[0]);
        if (n_tokens > 1) {
            y.y01 = subtract_mins(y.y01, m.a01, p0, *tokens->d[1]);
            y.y02 = subtract_mins(y.y02, m.a02, p0, *tokens->d[2]);
            y.y03 = subtract_mins(y.y03, m.a03, p0, *tokens->d[3]);
        }
        if (n_panels > 1 && n_tokens > 1) {
            y.y11 = subtract_mins(y.y11, m.a11, p1, *tokens->d[1]);
            y.y12 = subtract_mins(y.y12, m.a12, p1, *tokens->d[2]);
            y.y13 = subtract_mins(y.y13, m.a13, p1, *tokens->d[3]);
        }
    }
    store_outputs(&y, n_panels, n_tokens, tokens, 16);
}

/* ---- All tiles of a call ---- */

enum { GROUP_NONE = 0 }; /* blocks of 32, else the columns of a group */

TILE_FUNCTION run_tile(int n_panels, int n_tokens, int group, const struct mlt_panel *panels,
                       const struct tokens *tokens)
{
    if (group == GROUP_NONE && panels->has_min)
        tile_block32(n_panels, n_tokens, true, panels, tokens);
    else if (group == GROUP_NONE)
        tile_block32(n_panels, n_tokens, false, panels, tokens);
    else
        tile_super(n_panels, n_tokens, group, panels, tokens);
}

/*
 * Tokens are taken by four, the last one to three as four with the last one repeated: the same result is then
 * stored twice. All panels stay in the first-level cache while the tokens pass by once.
 */
TILE_FUNCTION dot_panels(int group, const struct mlt_panel *panels, int n_panels, int64_t column,
                         const struct mlt_act *act, int64_t token, int64_t n_tokens, float *y, int64_t ld)
{
    struct tokens tokens;
    for (int64_t t = 0; t < n_tokens; t += 4) {
        int count = (int)MLT_MIN(n_tokens - t, 4), n = count == 1 ? 1 : 4;
        for (int i = 0; i < n; i++) {
            int64_t k = t + MLT_MIN(i, count - 1);
            load_token(&tokens, i, act, token + k, column, panels->columns, group != 16, y + k * ld);
        }
        for (int p = 0; p < n_panels; p += 2) {
            bool two = p + 1 < n_panels;
            if (two && n == 4)
                run_tile(2, 4, group, panels + p, &tokens);
            else if (two)
                run_tile(2, 1, group, panels + p, &tokens);
            else if (n == 4)
                run_tile(1, 4, group, panels + p, &tokens);
            else
                run_tile(1, 1, group, panels + p, &tokens);
            for (int i = 0; i < n; i++)
                tokens.y[i] += 2 * MLT_PANEL_ROWS;
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

void mlt_avx512_vnni_dot_panel(struct mlt_kernels *table)
{
    table->dot_block32 = dot_block32;
    table->dot_super32 = dot_super32;
    table->dot_super16 = dot_super16;
}
