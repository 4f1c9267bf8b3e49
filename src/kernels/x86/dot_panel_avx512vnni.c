/*
 * Integer dot products of panels with AVX-512 VNNI: a lane is a row.
 *
 * vpdpbusd multiplies unsigned with signed bytes. Panels of this level hold unsigned codes, q + bias, so a
 * sum starts at -bias times the sum of x and nothing else is spent on signs.
 *
 * A tile is two panels by six tokens: twelve sums hide the instruction's latency, and a load of weights
 * serves six products, a broadcast two. Two panels stay in the first-level cache while a few tokens pass by,
 * copied to one place beside what is known of them.
 *
 * A superblock's sums are multiplied with the scales of their groups. Where a sum is known to fit 16 bits,
 * one vpdpwssd does this, else two instructions, one of which counts twice. Codes are centred for it: q -
 * centre is multiplied instead of q, and centre * (sum over groups of scale * sum of x) is given back.
 *
 * Sums have names of their own, since compilers leave arrays of them in memory; conditions on a tile's size
 * are decided when it is compiled.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "kernels/x86/x86.h"

#include <string.h>

enum {
    TILE_TOKENS = 6,
    BLOCK_TOKENS = 4 * TILE_TOKENS, /* two panels and so many tokens fit a first-level cache of 48 KB */
    FEW_TOKENS = 2,                 /* a smaller tile */
    GROUPS = MLT_PANEL_COLUMNS / 16,
};

#define TILE_FUNCTION static inline __attribute__((always_inline)) void

/* Does DO(i) for every token i of a tile. */
#define FOR_TOKENS(DO)                                                                                       \
    DO(0)                                                                                                    \
    DO(1)                                                                                                    \
    if (n_tokens == TILE_TOKENS) {                                                                           \
        DO(2)                                                                                                \
        DO(3)                                                                                                \
        DO(4)                                                                                                \
        DO(5)                                                                                                \
    }

/* A token from the panels' first column on. Groups are of 16 columns, or of 32: then the first 8 are used. */
struct token {
    _Alignas(64) int8_t x[MLT_PANEL_COLUMNS];
    _Alignas(64) int32_t start[GROUPS]; /* where a sum starts */
    _Alignas(32) int16_t sums[GROUPS];  /* of x */
    float d[MLT_PANEL_COLUMNS / 32],
        d_sums[MLT_PANEL_COLUMNS / 32]; /* d_sums: d * (sum of x), of blocks of 32 */
    int reach;                          /* struct mlt_act */
};

/* What a superblock's sums are multiplied with, from a panel's scales and mins. */
struct factors {
    _Alignas(64) int32_t scale[GROUPS][MLT_PANEL_ROWS];      /* the low 16 bits */
    _Alignas(64) int32_t centre[GROUPS / 2][MLT_PANEL_ROWS]; /* centre * scale of two groups, 16 bits each */
    _Alignas(64) int32_t min[GROUPS / 2][MLT_PANEL_ROWS];    /* of two groups, 16 bits each */
};

/* What the tiles of a call have in common. */
struct call {
    int group; /* columns */
    bool centred;
    int widest; /* the largest |q - centre| */
};

static inline int32_t load_dword(const void *p)
{
    int32_t value;
    memcpy(&value, p, sizeof value);
    return value;
}

static inline __m512i broadcast(const void *four_bytes)
{
    return _mm512_set1_epi32(load_dword(four_bytes));
}

/* Whole panels have constants where others have variables. */
static inline __attribute__((always_inline)) void load_columns(struct token *out, const int8_t *x,
                                                               int columns)
{
    int i = 0;
#pragma GCC unroll 4
    for (; i + 64 <= columns; i += 64)
        _mm512_store_si512(out->x + i, _mm512_loadu_si512(x + i));
    if (i < columns)
        _mm256_store_si256((__m256i *)(out->x + i), _mm256_loadu_si256((const __m256i *)(x + i)));
}

static inline void load_token(struct token *out, const struct mlt_act *act, int64_t t, int64_t column,
                              int columns, int group, int start)
{
    const int16_t *sums = act->sums + t * (act->columns / 16) + column / 16;
    const int64_t block = t * (act->columns / act->block) + column / act->block;
    const int8_t *x = act->q + t * act->columns + column;
    if (columns == MLT_PANEL_COLUMNS)
        load_columns(out, x, MLT_PANEL_COLUMNS);
    else
        load_columns(out, x, columns);
    _mm256_storeu_ps(out->d,
                     _mm256_maskz_loadu_ps((__mmask8)((1u << columns / act->block) - 1), act->d + block));
    out->reach = act->reach[block];
    __m256i v = _mm256_maskz_loadu_epi16((__mmask16)((1u << columns / 16) - 1), sums);
    if (group == 32) {
        __m256i sums32 = _mm256_madd_epi16(v, _mm256_set1_epi16(1));
        _mm256_store_si256((__m256i *)out->start, _mm256_madd_epi16(v, _mm256_set1_epi16((short)start)));
        _mm_store_si128((__m128i *)out->sums, _mm256_cvtepi32_epi16(sums32));
        _mm256_storeu_ps(out->d_sums, _mm256_mul_ps(_mm256_loadu_ps(out->d), _mm256_cvtepi32_ps(sums32)));
    } else {
        _mm512_store_si512(out->start,
                           _mm512_mullo_epi32(_mm512_cvtepi16_epi32(v), _mm512_set1_epi32(start)));
        _mm256_store_si256((__m256i *)out->sums, v);
    }
}

/* ---- Sums of one group ---- */

/* a<i> of the first panel and token i, b<i> of the second. */
struct sums {
    __m512i a0, a1, a2, a3, a4, a5, b0, b1, b2, b3, b4, b5;
};

/* The two panels of a tile; the second is the first again where there is no other. */
struct pair {
    const struct mlt_panel *p0, *p1;
    const struct factors *f0, *f1; /* superblocks */
};

/* Where the sums of the two panels and each token are added. */
struct targets {
    float *a[TILE_TOKENS], *b[TILE_TOKENS];
};

struct outputs {
    __m512 a0, a1, a2, a3, a4, a5, b0, b1, b2, b3, b4, b5;
};

/* The products of the group of `columns` columns from `column` on. */
TILE_FUNCTION sum_group(struct sums *s, int n_tokens, const struct mlt_panel *p0, const struct mlt_panel *p1,
                        const struct token *tokens, int column, int columns)
{
    const int group = column / columns;
#define START(i)                                                                                             \
    s->a##i = _mm512_set1_epi32(tokens[i].start[group]);                                                     \
    s->b##i = s->a##i;
    FOR_TOKENS(START)
#undef START
    const int8_t(*w0)[MLT_PANEL_ROWS][4] = &p0->q[column / 4], (*w1)[MLT_PANEL_ROWS][4] = &p1->q[column / 4];
    const int8_t *x = tokens->x + column;
#pragma GCC unroll 8
    for (int quad = 0; quad < columns / 4; quad++) {
        __m512i v0 = _mm512_load_si512(w0[quad]), v1 = _mm512_load_si512(w1[quad]);
#define MULTIPLY(i)                                                                                          \
    {                                                                                                        \
        __m512i four = broadcast(x + (i) * (int)sizeof(struct token) + 4 * quad);                            \
        s->a##i = _mm512_dpbusd_epi32(s->a##i, v0, four);                                                    \
        s->b##i = _mm512_dpbusd_epi32(s->b##i, v1, four);                                                    \
    }
        FOR_TOKENS(MULTIPLY)
#undef MULTIPLY
    }
}

/* ---- Outputs ---- */

TILE_FUNCTION load_outputs(struct outputs *y, int n_tokens, const struct targets *to)
{
#define LOAD(i)                                                                                              \
    y->a##i = _mm512_loadu_ps(to->a[i]);                                                                     \
    y->b##i = _mm512_loadu_ps(to->b[i]);
    FOR_TOKENS(LOAD)
#undef LOAD
}

TILE_FUNCTION store_outputs(const struct outputs *y, int n_tokens, const struct targets *to)
{
#define STORE(i)                                                                                             \
    _mm512_storeu_ps(to->a[i], y->a##i);                                                                     \
    _mm512_storeu_ps(to->b[i], y->b##i);
    FOR_TOKENS(STORE)
#undef STORE
}

/* fma(d * dx, sum, y) */
static inline __m512 add_product(__m512 y, __m512i sum, __m512 d, float dx)
{
    return _mm512_fmadd_ps(_mm512_mul_ps(d, _mm512_set1_ps(dx)), _mm512_cvtepi32_ps(sum), y);
}

/* fma(-(m * dx), sum, y) */
static inline __m512 subtract_product(__m512 y, __m512i sum, __m512 m, float dx)
{
    return _mm512_fnmadd_ps(_mm512_mul_ps(m, _mm512_set1_ps(dx)), _mm512_cvtepi32_ps(sum), y);
}

/* ---- Blocks of 32 ---- */

TILE_FUNCTION tile_block32(int n_tokens, bool has_min, const struct pair *pair, const struct token *tokens,
                           const struct targets *to)
{
    const struct mlt_panel *p0 = pair->p0, *p1 = pair->p1;
    struct sums s;
    struct outputs y;
    load_outputs(&y, n_tokens, to);
#pragma GCC unroll 1
    for (int b = 0; b < p0->columns / 32; b++) {
        sum_group(&s, n_tokens, p0, p1, tokens, 32 * b, 32);
        __m512 d0 = _mm512_load_ps(p0->d[b]), d1 = _mm512_load_ps(p1->d[b]);
#define ADD(i)                                                                                               \
    y.a##i = add_product(y.a##i, s.a##i, d0, tokens[i].d[b]);                                                \
    y.b##i = add_product(y.b##i, s.b##i, d1, tokens[i].d[b]);
        FOR_TOKENS(ADD)
#undef ADD
        if (!has_min) continue;
        __m512 m0 = _mm512_load_ps(p0->m[b]), m1 = _mm512_load_ps(p1->m[b]);
#define ADD_MIN(i)                                                                                           \
    {                                                                                                        \
        __m512 xsum = _mm512_set1_ps(tokens[i].d_sums[b]);                                                   \
        y.a##i = _mm512_fmadd_ps(m0, xsum, y.a##i);                                                          \
        y.b##i = _mm512_fmadd_ps(m1, xsum, y.b##i);                                                          \
    }
        FOR_TOKENS(ADD_MIN)
#undef ADD_MIN
    }
    store_outputs(&y, n_tokens, to);
}

/* ---- Superblocks of 256 ---- */

static inline __m512i pair_of(const int32_t first[MLT_PANEL_ROWS], const int32_t second[MLT_PANEL_ROWS])
{
    return _mm512_or_si512(_mm512_and_si512(_mm512_load_si512(first), _mm512_set1_epi32(0xffff)),
                           _mm512_slli_epi32(_mm512_load_si512(second), 16));
}

static inline void load_factors(struct factors *out, const struct mlt_panel *panel, int groups, int centre)
{
    for (int g = 0; g < groups; g += 2) {
        for (int i = g; i < g + 2; i++) {
            __m512i scale = _mm512_load_si512(panel->scale[i]);
            _mm512_store_si512(out->scale[i], _mm512_and_si512(scale, _mm512_set1_epi32(0xffff)));
        }
        __m512i pair = pair_of(panel->scale[g], panel->scale[g + 1]);
        _mm512_store_si512(out->centre[g / 2], _mm512_mullo_epi16(pair, _mm512_set1_epi16((short)centre)));
        if (panel->has_min) _mm512_store_si512(out->min[g / 2], pair_of(panel->min[g], panel->min[g + 1]));
    }
}

/* s = the sum over groups of factor * (sum of x), from pairs of groups. */
TILE_FUNCTION weigh_sums(struct sums *s, int n_tokens, int groups, const int32_t (*pairs0)[MLT_PANEL_ROWS],
                         const int32_t (*pairs1)[MLT_PANEL_ROWS], const struct token *tokens)
{
    const __m512i zero = _mm512_setzero_si512();
    *s = (struct sums){zero, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero};
#pragma GCC unroll 1
    for (int g = 0; g < groups / 2; g++) {
        __m512i f0 = _mm512_load_si512(pairs0[g]), f1 = _mm512_load_si512(pairs1[g]);
#define WEIGH(i)                                                                                             \
    {                                                                                                        \
        __m512i xsums = broadcast(&tokens[i].sums[2 * g]);                                                   \
        s->a##i = _mm512_dpwssd_epi32(s->a##i, f0, xsums);                                                   \
        s->b##i = _mm512_dpwssd_epi32(s->b##i, f1, xsums);                                                   \
    }
        FOR_TOKENS(WEIGH)
#undef WEIGH
    }
}

static inline __m512i add_scaled(__m512i isum, __m512i sum, __m512i scale)
{
    return _mm512_add_epi32(isum, _mm512_mullo_epi32(sum, scale));
}

/* narrow: all sums of groups fit 16 bits. */
TILE_FUNCTION tile_super(int n_tokens, int group, bool narrow, bool centred, bool has_min,
                         const struct pair *pair, const struct token *tokens, const struct targets *to)
{
    const struct mlt_panel *p0 = pair->p0, *p1 = pair->p1;
    const struct factors *f0 = pair->f0, *f1 = pair->f1;
    const int groups = MLT_PANEL_COLUMNS / group;

    const __m512i zero = _mm512_setzero_si512();
    struct sums s, sum = {zero, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero};
    struct outputs y;
    if (centred) weigh_sums(&sum, n_tokens, groups, f0->centre, f1->centre, tokens);
#pragma GCC unroll 1
    for (int g = 0; g < groups; g++) {
        sum_group(&s, n_tokens, p0, p1, tokens, group * g, group);
        if (narrow) {
            __m512i scale0 = _mm512_load_si512(f0->scale[g]), scale1 = _mm512_load_si512(f1->scale[g]);
#define SCALE(i)                                                                                             \
    sum.a##i = _mm512_dpwssd_epi32(sum.a##i, s.a##i, scale0);                                                \
    sum.b##i = _mm512_dpwssd_epi32(sum.b##i, s.b##i, scale1);
            FOR_TOKENS(SCALE)
#undef SCALE
        } else {
            __m512i scale0 = _mm512_load_si512(p0->scale[g]), scale1 = _mm512_load_si512(p1->scale[g]);
#define SCALE(i)                                                                                             \
    sum.a##i = add_scaled(sum.a##i, s.a##i, scale0);                                                         \
    sum.b##i = add_scaled(sum.b##i, s.b##i, scale1);
            FOR_TOKENS(SCALE)
#undef SCALE
        }
    }
    load_outputs(&y, n_tokens, to);
    __m512 d0 = _mm512_load_ps(p0->d[0]), d1 = _mm512_load_ps(p1->d[0]);
#define ADD(i)                                                                                               \
    y.a##i = add_product(y.a##i, sum.a##i, d0, *tokens[i].d);                                                \
    y.b##i = add_product(y.b##i, sum.b##i, d1, *tokens[i].d);
    FOR_TOKENS(ADD)
#undef ADD
    if (has_min) {
        weigh_sums(&s, n_tokens, groups, f0->min, f1->min, tokens);
        __m512 m0 = _mm512_load_ps(p0->m[0]), m1 = _mm512_load_ps(p1->m[0]);
#define SUBTRACT(i)                                                                                          \
    y.a##i = subtract_product(y.a##i, s.a##i, m0, *tokens[i].d);                                             \
    y.b##i = subtract_product(y.b##i, s.b##i, m1, *tokens[i].d);
        FOR_TOKENS(SUBTRACT)
#undef SUBTRACT
    }
    store_outputs(&y, n_tokens, to);
}

/* ---- All tiles of a call ---- */

TILE_FUNCTION run_super(int n_tokens, int group, const struct call *call, const struct pair *pair,
                        bool narrow, const struct token *tokens, const struct targets *to)
{
    const bool min = pair->p0->has_min;
    if (narrow && call->centred)
        tile_super(n_tokens, group, true, true, true, pair, tokens, to);
    else if (narrow && min)
        tile_super(n_tokens, group, true, false, true, pair, tokens, to);
    else if (narrow)
        tile_super(n_tokens, group, true, false, false, pair, tokens, to);
    else if (call->centred)
        tile_super(n_tokens, group, false, true, true, pair, tokens, to);
    else if (min)
        tile_super(n_tokens, group, false, false, true, pair, tokens, to);
    else
        tile_super(n_tokens, group, false, false, false, pair, tokens, to);
}

/* Whether sums of a group fit 16 bits for all tokens of a tile. */
static inline bool is_narrow(const struct call *call, int n_tokens, const struct token *tokens)
{
    int reach = 0;
    for (int i = 0; i < n_tokens; i++)
        reach = MLT_MAX(reach, tokens[i].reach);
    return call->widest * (call->group / 16) * reach <= INT16_MAX;
}

TILE_FUNCTION run_tile(int n_tokens, bool blocks, int group, const struct call *call, const struct pair *pair,
                       const struct token *tokens, const struct targets *to)
{
    if (blocks && pair->p0->has_min)
        tile_block32(n_tokens, true, pair, tokens, to);
    else if (blocks)
        tile_block32(n_tokens, false, pair, tokens, to);
    else
        run_super(n_tokens, group, call, pair, is_narrow(call, n_tokens, tokens), tokens, to);
}

/* Tokens past the last one of a tile are copies of it; they and a panel that is missing go to where nobody
 * looks. */
TILE_FUNCTION dot_panels(bool blocks, int group, const struct mlt_panel *panels, int n_panels, int64_t column,
                         const struct mlt_act *act, int64_t token, int64_t n_tokens, float *y, int64_t ld)
{
    struct token tokens[BLOCK_TOKENS];
    struct factors factors[MLT_MAX_PANELS];
    float nowhere[MLT_PANEL_ROWS] = {0};
    const int bias = panels->bias, low = panels->q_low, high = panels->q_high;
    /* Only codes that begin at 0 are taken off their centre: the others have it near 0. */
    const int centre = !blocks && panels->has_min && low == 0 && high > 8 ? (high + 1) / 2 : 0;
    struct call call = {group, centre != 0, MLT_MAX(high - centre, centre - low)};
    for (int p = 0; !blocks && p < n_panels; p++)
        load_factors(&factors[p], panels + p, MLT_PANEL_COLUMNS / group, centre);
    for (int64_t begin = 0; begin < n_tokens; begin += BLOCK_TOKENS) {
        const int count = (int)MLT_MIN(n_tokens - begin, BLOCK_TOKENS);
        const int rest = count % TILE_TOKENS, few = rest > 0 && rest <= FEW_TOKENS;
        const int padded =
            few ? count - rest + FEW_TOKENS : (count + TILE_TOKENS - 1) / TILE_TOKENS * TILE_TOKENS;
        for (int i = 0; i < padded; i++)
            load_token(&tokens[i], act, token + begin + MLT_MIN(i, count - 1), column, panels->columns, group,
                       -(bias + centre));
        for (int p = 0; p < n_panels; p += 2) {
            const int other = p + 1 < n_panels;
            const struct pair pair = {panels + p, panels + p + other, factors + p, factors + p + other};
            for (int i = 0; i < padded; i += TILE_TOKENS) {
                struct targets to;
                for (int j = 0; j < TILE_TOKENS; j++) {
                    const bool wanted = i + j < count;
                    float *row = y + (begin + i + j) * ld + p * MLT_PANEL_ROWS;
                    to.a[j] = wanted ? row : nowhere;
                    to.b[j] = wanted && other ? row + MLT_PANEL_ROWS : nowhere;
                }
                if (i + TILE_TOKENS <= padded)
                    run_tile(TILE_TOKENS, blocks, group, &call, &pair, tokens + i, &to);
                else
                    run_tile(FEW_TOKENS, blocks, group, &call, &pair, tokens + i, &to);
            }
        }
    }
}

static void dot_block32(const struct mlt_panel *panels, int n_panels, int64_t column,
                        const struct mlt_act *act, int64_t token, int64_t tokens, float *y, int64_t ld)
{
    dot_panels(true, 32, panels, n_panels, column, act, token, tokens, y, ld);
}

static void dot_super32(const struct mlt_panel *panels, int n_panels, int64_t column,
                        const struct mlt_act *act, int64_t token, int64_t tokens, float *y, int64_t ld)
{
    dot_panels(false, 32, panels, n_panels, column, act, token, tokens, y, ld);
}

static void dot_super16(const struct mlt_panel *panels, int n_panels, int64_t column,
                        const struct mlt_act *act, int64_t token, int64_t tokens, float *y, int64_t ld)
{
    dot_panels(false, 16, panels, n_panels, column, act, token, tokens, y, ld);
}

void mlt_avx512_vnni_dot_panel(struct mlt_kernels *table)
{
    table->dot_block32 = dot_block32;
    table->dot_super32 = dot_super32;
    table->dot_super16 = dot_super16;
}
