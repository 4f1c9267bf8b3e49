/*
 * Integer dot products of panels with AVX2, without VNNI: a lane is a row.
 *
 * Codes of a small range go through vpmaddubsw, which multiplies unsigned with signed bytes and adds pairs in
 * 16 bits. Which side is unsigned is a matter of the codes: those from 0 on are it themselves; where there
 * are negative ones, it is the activations, as x + 128, and sums start at -128 times the sum of the codes,
 * which is known once a panel. Sums stay in 16 bits over `run` times four columns, as many as cannot
 * overflow, and only then are widened, by vpmaddwd with ones or with the group's scale.
 *
 * Codes of a wide range leave no room for even two products in 16 bits: they and the activations become
 * 16-bit numbers for vpmaddwd, in superblocks times their scale, which fits.
 *
 * A tile is sixteen rows, two registers, by four tokens or one: a broadcast serves two products and a load of
 * codes four, since every product is followed by an addition, and the three ports that both share are the
 * limit. Accumulators have names of their own, since compilers leave arrays of them in memory; conditions on
 * n_tokens, form, run and group are decided when a tile is compiled.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "kernels/x86/x86.h"

#include <string.h>

#define TILE_FUNCTION static inline __attribute__((always_inline)) void

enum {
    LANES = 8,
    QUADS = MLT_PANEL_COLUMNS / 4, /* of columns in a panel */
    OFFSET = 128,                  /* of unsigned activations */
    FLOAT_BITS = 0x4b400000,       /* of 1.5 * 2^23: plus an integer below 2^22, those of their sum */
    PANELS = 4,                    /* that stay in the first-level cache together */
};

/* How codes and activations are multiplied. */
enum form { UNSIGNED_CODES, UNSIGNED_ACTIVATIONS, WIDE };

/* What the tiles want of a panel beside what it has itself. */
struct prepared {
    /* WIDE: columns 0 and 2 of each four, then columns 1 and 3 */
    _Alignas(32) int16_t codes[2][QUADS][MLT_PANEL_ROWS][2];
    _Alignas(32) int32_t scale[16][MLT_PANEL_ROWS]; /* both halves are the group's scale */
    _Alignas(32) int32_t min[8][MLT_PANEL_ROWS];    /* of two groups, 16 bits each */
    _Alignas(32)
        int32_t start[8][MLT_PANEL_ROWS]; /* of a block's sums (plus FLOAT_BITS), or of the superblock's */
};

/* The tokens of a tile (the first, or four) from the panel's first column on. */
struct tokens {
    const uint8_t *x[4]; /* 32 bits for each four columns, in the order of the codes */
    const float *d[4];
    float *y[4];
    _Alignas(32) int16_t sums[4][16]; /* of x, by group */
    float block_sums[4][8];           /* d * (sum of x), by block of 32 */
    _Alignas(32) int16_t copy[4][MLT_PANEL_COLUMNS];
};

static inline int32_t load_dword(const void *p)
{
    int32_t value;
    memcpy(&value, p, sizeof value);
    return value;
}

static inline __m256i broadcast32(const void *p)
{
    return _mm256_set1_epi32(load_dword(p));
}

static inline __m256i load(const void *p)
{
    return _mm256_load_si256((const __m256i *)p);
}

static inline __m256i load_any(const void *p)
{
    return _mm256_loadu_si256((const __m256i *)p);
}

static inline void store(void *p, __m256i v)
{
    _mm256_store_si256((__m256i *)p, v);
}

/* Signed bytes 0 and 2 (1 and 3) of each lane as 16-bit numbers. */
static inline __m256i even_bytes(__m256i v)
{
    return _mm256_srai_epi16(_mm256_slli_epi16(v, 8), 8);
}

static inline __m256i odd_bytes(__m256i v)
{
    return _mm256_srai_epi16(v, 8);
}

/* ---- Preparing panels and tokens ---- */

/* The low 16 bits of each lane of a, and those of b above them. */
static inline __m256i pair_of(__m256i a, __m256i b)
{
    return _mm256_blend_epi16(a, _mm256_slli_epi32(b, 16), 0xaa);
}

static void prepare_factors(struct prepared *out, int group, const struct mlt_panel *panel, int row)
{
    const int groups = MLT_PANEL_COLUMNS / group;
    for (int g = 0; g < groups; g++) {
        __m256i scale = load(panel->scale[g] + row);
        store(out->scale[g] + row, pair_of(scale, scale));
    }
    for (int g = 0; panel->has_min && g < groups; g += 2)
        store(out->min[g / 2] + row, pair_of(load(panel->min[g] + row), load(panel->min[g + 1] + row)));
}

/* Sums of the codes of `quads` times four columns, in two 16-bit halves of each lane. */
static inline __m256i sum_codes(const struct mlt_panel *panel, int quad, int quads, int row)
{
    __m256i sum = _mm256_setzero_si256(), ones = _mm256_set1_epi8(1);
    for (int i = quad; i < quad + quads; i++)
        sum = _mm256_add_epi16(sum, _mm256_maddubs_epi16(ones, load(panel->q[i][row])));
    return sum;
}

static void prepare_start(struct prepared *out, int group, const struct mlt_panel *panel, int row)
{
    if (!group) {
        for (int b = 0; b < panel->columns / 32; b++) {
            __m256i sum = _mm256_madd_epi16(sum_codes(panel, 8 * b, 8, row), _mm256_set1_epi16(-OFFSET));
            store(out->start[b] + row, _mm256_add_epi32(sum, _mm256_set1_epi32(FLOAT_BITS)));
        }
        return;
    }
    __m256i sum = _mm256_setzero_si256();
    for (int g = 0; g < MLT_PANEL_COLUMNS / group; g++) {
        __m256i codes = sum_codes(panel, group / 4 * g, group / 4, row);
        sum = _mm256_add_epi32(sum, _mm256_madd_epi16(codes, load(out->scale[g] + row)));
    }
    store(out->start[0] + row, _mm256_mullo_epi32(sum, _mm256_set1_epi32(-OFFSET)));
}

static void prepare_codes(struct prepared *out, int group, const struct mlt_panel *panel, int row)
{
    for (int i = 0; i < panel->columns / 4; i++) {
        __m256i q = load(panel->q[i][row]), even = even_bytes(q), odd = odd_bytes(q);
        if (group) {
            __m256i scale = load(out->scale[i / (group / 4)] + row);
            even = _mm256_mullo_epi16(even, scale);
            odd = _mm256_mullo_epi16(odd, scale);
        }
        store(out->codes[0][i][row], even);
        store(out->codes[1][i][row], odd);
    }
}

static void prepare_panel(struct prepared *out, enum form form, int group, const struct mlt_panel *panel)
{
    for (int row = 0; row < MLT_PANEL_ROWS; row += LANES) {
        if (group) prepare_factors(out, group, panel, row);
        if (form == UNSIGNED_ACTIVATIONS) prepare_start(out, group, panel, row);
        if (form == WIDE) prepare_codes(out, group, panel, row);
    }
}

/* Sums of x for products with minimums, from those of 16 columns. */
static inline void prepare_sums(struct tokens *tokens, int i, int group, const int16_t *sums, int columns)
{
    int16_t sums16[16] = {0};
    if (columns == MLT_PANEL_COLUMNS)
        memcpy(sums16, sums, sizeof sums16);
    else
        memcpy(sums16, sums, (size_t)columns / 16 * sizeof *sums);
    __m256i v = load_any(sums16);
    if (group != 16) {
        __m256i sums32 = _mm256_madd_epi16(v, _mm256_set1_epi16(1));
        _mm256_storeu_ps(tokens->block_sums[i], _mm256_cvtepi32_ps(sums32));
        v = _mm256_permute4x64_epi64(_mm256_packs_epi32(sums32, sums32), _MM_SHUFFLE(3, 1, 2, 0));
    }
    store(tokens->sums[i], v);
}

/* Entry i becomes token t. */
static __attribute__((noinline)) void prepare_token(struct tokens *tokens, int i, enum form form, int group,
                                                    bool has_min, const struct mlt_act *act, int64_t t,
                                                    int64_t column, int columns, float *y)
{
    const int8_t *x = act->q + t * act->columns + column;
    uint8_t *copy = (uint8_t *)tokens->copy[i];
    tokens->d[i] = act->d + t * (act->columns / act->block) + column / act->block;
    tokens->y[i] = y;
    tokens->x[i] = form == UNSIGNED_CODES ? (const uint8_t *)x : copy;
    if (has_min) prepare_sums(tokens, i, group, act->sums + t * (act->columns / 16) + column / 16, columns);
    for (int b = 0; has_min && act->block == 32 && b < columns / 32; b++)
        tokens->block_sums[i][b] *= tokens->d[i][b];
    for (int k = 0; form != UNSIGNED_CODES && k < columns; k += 32) {
        __m256i v = load_any(x + k);
        if (form == WIDE) {
            store(copy + k, even_bytes(v));
            store(copy + MLT_PANEL_COLUMNS + k, odd_bytes(v));
        } else {
            store(copy + k, _mm256_xor_si256(v, _mm256_set1_epi8(-OFFSET)));
        }
    }
}

/* ---- Sums ---- */

/* One for each token and half of the rows, a<half><token>. */
struct sums {
    __m256i a00, a01, a02, a03, a10, a11, a12, a13;
};

/* Keeps a sum as it is: gcc turns chains of additions into trees, whose leaves do not fit the registers. */
#if defined(__clang__)
#define KEEP(sum) (void)(sum)
#else
#define KEEP(sum) __asm__("" : "+x"(sum))
#endif

static inline __m256i multiply_bytes(enum form form, __m256i w, __m256i x)
{
    return form == UNSIGNED_CODES ? _mm256_maddubs_epi16(w, x) : _mm256_maddubs_epi16(x, w);
}

#define ADD_BYTES(token)                                                                                     \
    do {                                                                                                     \
        __m256i x = broadcast32(tokens->x[token] + 4 * i), p = multiply_bytes(form, w0, x);                  \
        s->a0##token = i == first ? p : _mm256_add_epi16(s->a0##token, p);                                   \
        KEEP(s->a0##token);                                                                                  \
        if (halves == 1) break;                                                                              \
        p = multiply_bytes(form, w1, x);                                                                     \
        s->a1##token = i == first ? p : _mm256_add_epi16(s->a1##token, p);                                   \
        KEEP(s->a1##token);                                                                                  \
    } while (0)

/* 16-bit sums of the products of `run` times four columns with the rows from `row` on. */
TILE_FUNCTION sum_bytes(struct sums *s, int halves, int n_tokens, enum form form, int run,
                        const struct mlt_panel *panel, int row, const struct tokens *tokens, int first)
{
#pragma GCC unroll 8
    for (int i = first; i < first + run; i++) {
        __m256i w0 = load(panel->q[i][row]), w1 = halves > 1 ? load(panel->q[i][row + LANES]) : w0;
        ADD_BYTES(0);
        if (n_tokens == 1) continue;
        ADD_BYTES(1);
        ADD_BYTES(2);
        ADD_BYTES(3);
    }
}
#undef ADD_BYTES

#define ADD_WORDS(token)                                                                                     \
    do {                                                                                                     \
        __m256i x = broadcast32(tokens->x[token] + MLT_PANEL_COLUMNS * part + 4 * i);                        \
        s->a0##token = _mm256_add_epi32(s->a0##token, _mm256_madd_epi16(w0, x));                             \
        s->a1##token = _mm256_add_epi32(s->a1##token, _mm256_madd_epi16(w1, x));                             \
        KEEP(s->a0##token);                                                                                  \
        KEEP(s->a1##token);                                                                                  \
    } while (0)

/* Adds the products of `quads` times four columns of 16-bit numbers. */
TILE_FUNCTION add_words(struct sums *s, int n_tokens, int quads, const struct prepared *prepared,
                        const struct tokens *tokens, int first)
{
    for (int part = 0; part < 2; part++) {
#pragma GCC unroll 8
        for (int i = first; i < first + quads; i++) {
            __m256i w0 = load(prepared->codes[part][i][0]), w1 = load(prepared->codes[part][i][LANES]);
            ADD_WORDS(0);
            if (n_tokens == 1) continue;
            ADD_WORDS(1);
            ADD_WORDS(2);
            ADD_WORDS(3);
        }
    }
}
#undef ADD_WORDS

/* All sums at `value`. */
static inline struct sums equal_sums(int32_t value)
{
    __m256i v = _mm256_set1_epi32(value);
    return (struct sums){v, v, v, v, v, v, v, v};
}

/* Calls DO(sum, half, token) for the sums of a tile. */
#define FOR_SUMS(DO, s)                                                                                      \
    do {                                                                                                     \
        DO((s).a00, 0, 0);                                                                                   \
        DO((s).a10, 1, 0);                                                                                   \
        if (n_tokens == 1) break;                                                                            \
        DO((s).a01, 0, 1);                                                                                   \
        DO((s).a11, 1, 1);                                                                                   \
        DO((s).a02, 0, 2);                                                                                   \
        DO((s).a12, 1, 2);                                                                                   \
        DO((s).a03, 0, 3);                                                                                   \
        DO((s).a13, 1, 3);                                                                                   \
    } while (0)

/* ---- Tiles ---- */

/* The numbers of which FLOAT_BITS plus themselves are given: a subtraction has a port more than a conversion.
 */
static inline __m256 from_float_bits(__m256i v)
{
    return _mm256_sub_ps(_mm256_castsi256_ps(v), _mm256_set1_ps(0x1.8p23f));
}

/* y = fma(factor * dx, value, y) for LANES rows */
static inline void add_output(float *y, __m256 factor, const float *dx, __m256 value)
{
    __m256 scale = _mm256_mul_ps(factor, _mm256_broadcast_ss(dx));
    _mm256_storeu_ps(y, _mm256_fmadd_ps(scale, value, _mm256_loadu_ps(y)));
}

/* y = fma(m, d * (sum of x), y) */
static inline void add_min(float *y, __m256 m, const float *d_sum)
{
    _mm256_storeu_ps(y, _mm256_fmadd_ps(m, _mm256_broadcast_ss(d_sum), _mm256_loadu_ps(y)));
}

TILE_FUNCTION tile_block32(int n_tokens, enum form form, int run, bool has_min, const struct mlt_panel *panel,
                           const struct prepared *prepared, const struct tokens *tokens)
{
    for (int b = 0; b < panel->columns / 32; b++) {
        const __m256i ones = _mm256_set1_epi16(1);
        const __m256 d0 = _mm256_load_ps(panel->d[b]), d1 = _mm256_load_ps(panel->d[b] + LANES);
        struct sums s = equal_sums(form == WIDE ? FLOAT_BITS : 0);
        if (form == WIDE) {
            add_words(&s, n_tokens, 8, prepared, tokens, 8 * b);
        } else if (run == 8) {
            sum_bytes(&s, 2, n_tokens, form, 8, panel, 0, tokens, 8 * b);
#define WIDEN(sum, half, token) sum = _mm256_madd_epi16(sum, ones)
            FOR_SUMS(WIDEN, s);
        } else {
            struct sums rest = equal_sums(0);
            sum_bytes(&s, 2, n_tokens, form, 4, panel, 0, tokens, 8 * b);
            FOR_SUMS(WIDEN, s);
            sum_bytes(&rest, 2, n_tokens, form, 4, panel, 0, tokens, 8 * b + 4);
            FOR_SUMS(WIDEN, rest);
#undef WIDEN
#define JOIN(half, token) s.a##half##token = _mm256_add_epi32(s.a##half##token, rest.a##half##token)
            JOIN(0, 0);
            JOIN(1, 0);
            if (n_tokens > 1) {
                JOIN(0, 1);
                JOIN(1, 1);
                JOIN(0, 2);
                JOIN(1, 2);
                JOIN(0, 3);
                JOIN(1, 3);
            }
#undef JOIN
        }
#define OUTPUT(sum, half, token)                                                                             \
    do {                                                                                                     \
        __m256 value;                                                                                        \
        if (form == UNSIGNED_CODES)                                                                          \
            value = _mm256_cvtepi32_ps(sum);                                                                 \
        else if (form == WIDE)                                                                               \
            value = from_float_bits(sum);                                                                    \
        else                                                                                                 \
            value = from_float_bits(_mm256_add_epi32(sum, load(prepared->start[b] + LANES * half)));         \
        add_output(tokens->y[token] + LANES * half, d##half, tokens->d[token] + b, value);                   \
    } while (0)
        FOR_SUMS(OUTPUT, s);
#undef OUTPUT
        if (!has_min) continue;
        const __m256 m0 = _mm256_load_ps(panel->m[b]), m1 = _mm256_load_ps(panel->m[b] + LANES);
#define OUTPUT(sum, half, token)                                                                             \
    add_min(tokens->y[token] + LANES * half, m##half, &tokens->block_sums[token][b])
        FOR_SUMS(OUTPUT, s);
#undef OUTPUT
    }
}

/* Sum over groups of min * (sum of x) of LANES rows, two groups at a time. */
static inline __m256i weigh_mins(const struct prepared *prepared, int pairs, int row, const int16_t *sums)
{
    __m256i sum = _mm256_madd_epi16(load(prepared->min[0] + row), broadcast32(sums));
    for (int i = 1; i < pairs; i++)
        sum =
            _mm256_add_epi32(sum, _mm256_madd_epi16(load(prepared->min[i] + row), broadcast32(sums + 2 * i)));
    return sum;
}

TILE_FUNCTION tile_super(int n_tokens, enum form form, int run, int group, bool has_min,
                         const struct mlt_panel *panel, const struct prepared *prepared,
                         const struct tokens *tokens)
{
    __m256i sums[2][4]; /* in memory: registers are for the 16-bit sums */
    struct sums s = equal_sums(0);
    for (int half = 0; half < 2; half++)
        for (int t = 0; t < n_tokens; t++)
            sums[half][t] = form == UNSIGNED_ACTIVATIONS ? load(prepared->start[0] + LANES * half) : s.a00;
    if (form == WIDE) {
        for (int i = 0; i < QUADS; i += 8)
            add_words(&s, n_tokens, 8, prepared, tokens, i);
#define COPY(sum, half, token) sums[half][token] = sum
        FOR_SUMS(COPY, s);
#undef COPY
    } else if (run == group / 4) {
        for (int i = 0; i < QUADS; i += run) {
            const __m256i f0 = load(prepared->scale[i / (group / 4)]),
                          f1 = load(prepared->scale[i / (group / 4)] + LANES);
            sum_bytes(&s, 2, n_tokens, form, run, panel, 0, tokens, i);
#define WIDEN(sum, half, token)                                                                              \
    sums[half][token] = _mm256_add_epi32(sums[half][token], _mm256_madd_epi16(sum, f##half))
            FOR_SUMS(WIDEN, s);
#undef WIDEN
            __asm__("" : "+m"(sums));
        }
    } else { /* many 32-bit sums: half of the rows after the other, all in registers */
        for (int half = 0; half < 2; half++) {
            __m256i t0 = sums[half][0], t1 = t0, t2 = t0, t3 = t0;
            for (int i = 0; i < QUADS; i += run) {
                const __m256i factor = load(prepared->scale[i / (group / 4)] + LANES * half);
                sum_bytes(&s, 1, n_tokens, form, run, panel, LANES * half, tokens, i);
                t0 = _mm256_add_epi32(t0, _mm256_madd_epi16(s.a00, factor));
                if (n_tokens == 1) continue;
                t1 = _mm256_add_epi32(t1, _mm256_madd_epi16(s.a01, factor));
                t2 = _mm256_add_epi32(t2, _mm256_madd_epi16(s.a02, factor));
                t3 = _mm256_add_epi32(t3, _mm256_madd_epi16(s.a03, factor));
            }
            sums[half][0] = t0;
            if (n_tokens == 1) continue;
            sums[half][1] = t1;
            sums[half][2] = t2;
            sums[half][3] = t3;
        }
    }
    const __m256 d0 = _mm256_load_ps(panel->d[0]), d1 = _mm256_load_ps(panel->d[0] + LANES);
#define OUTPUT(sum, half, token)                                                                             \
    add_output(tokens->y[token] + LANES * half, d##half, tokens->d[token],                                   \
               _mm256_cvtepi32_ps(sums[half][token]))
    FOR_SUMS(OUTPUT, s);
#undef OUTPUT
    if (!has_min) return;
    const __m256 sign = _mm256_set1_ps(-0.0f);
    const __m256 m0 = _mm256_xor_ps(_mm256_load_ps(panel->m[0]), sign),
                 m1 = _mm256_xor_ps(_mm256_load_ps(panel->m[0] + LANES), sign);
#define OUTPUT(sum, half, token)                                                                             \
    add_output(tokens->y[token] + LANES * half, m##half, tokens->d[token],                                   \
               _mm256_cvtepi32_ps(                                                                           \
                   weigh_mins(prepared, MLT_PANEL_COLUMNS / group / 2, LANES * half, tokens->sums[token])))
    FOR_SUMS(OUTPUT, s);
#undef OUTPUT
}

/* ---- All tiles of a call ---- */

enum { GROUP_NONE = 0 }; /* blocks of 32, else the columns of a group */

TILE_FUNCTION run_tile(int n_tokens, enum form form, int run, int group, bool has_min,
                       const struct mlt_panel *panel, const struct prepared *prepared,
                       const struct tokens *tokens)
{
    if (group)
        tile_super(n_tokens, form, run, group, has_min, panel, prepared, tokens);
    else
        tile_block32(n_tokens, form, run, has_min, panel, prepared, tokens);
}

struct call {
    const struct mlt_panel *panels;
    int n_panels;
    int64_t column;
    const struct mlt_act *act;
    int64_t token, tokens;
    float *y;
    int64_t ld;
};

/*
 * Tokens are taken by four. Of the last one to three, one is taken alone; two or three as four with the last
 * one repeated, into `spare` outputs.
 */
TILE_FUNCTION run_panels(enum form form, int run, int group, bool has_min, const struct call *c)
{
    struct prepared prepared[PANELS];
    struct tokens tokens;
    float spare[PANELS * MLT_PANEL_ROWS];
    const int columns = c->panels->columns;
    for (int p = 0; p < c->n_panels; p++)
        prepare_panel(&prepared[p], form, group, &c->panels[p]);
    for (int64_t t = 0; t < c->tokens; t += 4) {
        int count = (int)MLT_MIN(c->tokens - t, 4), n = count == 1 ? 1 : 4;
        if (count < n) memset(spare, 0, sizeof spare);
        for (int i = 0; i < n; i++) {
            int64_t k = t + MLT_MIN(i, count - 1);
            prepare_token(&tokens, i, form, group, has_min, c->act, c->token + k, c->column, columns,
                          i < count ? c->y + k * c->ld : spare);
        }
        for (int p = 0; p < c->n_panels; p++) {
            if (n == 4)
                run_tile(4, form, run, group, has_min, &c->panels[p], &prepared[p], &tokens);
            else
                run_tile(1, form, run, group, has_min, &c->panels[p], &prepared[p], &tokens);
            for (int i = 0; i < n; i++)
                tokens.y[i] += MLT_PANEL_ROWS;
        }
    }
}

/* Times four columns whose products, each at most `x` times `code`, fit the pairs of 16-bit sums. */
static inline int run_for(int x, int code)
{
    return 32767 / (2 * x * MLT_MAX(code, 1));
}

/*
 * At most PANELS panels. The forms other than WIDE exist for what block types are like: codes from 0 on come
 * with minimums in blocks of 32 and superblocks, others without; WIDE takes everything.
 */
TILE_FUNCTION run_part(int group, const struct call *c)
{
    const int low = c->panels->q_low, high = c->panels->q_high;
    const int longest = group == 16 ? 4 : 8;
    const bool has_min = c->panels->has_min;
    const int run = low >= 0 ? run_for(127, high) : run_for(OFFSET + 127, MLT_MAX(-low, high));
    if (low >= 0 && has_min && run >= longest)
        run_panels(UNSIGNED_CODES, longest, group, true, c);
    else if (low >= 0 && has_min && group != 16 && run >= 4)
        run_panels(UNSIGNED_CODES, 4, group, true, c);
    else if (low < 0 && !has_min && run >= longest)
        run_panels(UNSIGNED_ACTIVATIONS, longest, group, false, c);
    else if (low < 0 && !has_min && group != 32 && run >= longest / 2)
        run_panels(UNSIGNED_ACTIVATIONS, longest / 2, group, false, c);
    else if (has_min)
        run_panels(WIDE, 0, group, true, c);
    else
        run_panels(WIDE, 0, group, false, c);
}

TILE_FUNCTION run_call(int group, struct call c)
{
    for (int rest = c.n_panels; rest > 0; rest -= PANELS) {
        c.n_panels = MLT_MIN(rest, PANELS);
        run_part(group, &c);
        c.panels += PANELS;
        c.y += PANELS * MLT_PANEL_ROWS;
    }
}

static void dot_block32(const struct mlt_panel *panels, int n_panels, int64_t column,
                        const struct mlt_act *act, int64_t token, int64_t tokens, float *y, int64_t ld)
{
    struct call call = {panels, n_panels, column, act, token, tokens, y, ld};
    run_call(GROUP_NONE, call);
}

static void dot_super32(const struct mlt_panel *panels, int n_panels, int64_t column,
                        const struct mlt_act *act, int64_t token, int64_t tokens, float *y, int64_t ld)
{
    struct call call = {panels, n_panels, column, act, token, tokens, y, ld};
    run_call(32, call);
}

static void dot_super16(const struct mlt_panel *panels, int n_panels, int64_t column,
                        const struct mlt_act *act, int64_t token, int64_t tokens, float *y, int64_t ld)
{
    struct call call = {panels, n_panels, column, act, token, tokens, y, ld};
    run_call(16, call);
}

void mlt_avx2_dot_panel(struct mlt_kernels *table)
{
    table->dot_block32 = dot_block32;
    table->dot_super32 = dot_super32;
    table->dot_super16 = dot_super16;
}
